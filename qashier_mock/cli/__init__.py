"""The command line: one module per command, arguments in, exit code out.

A command's module is imported only when it is called, so that `qashier-mock serve --help` stays quick.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Final

from qashier_mock._version import __version__

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
TRACEBACK: Final = "--traceback"
"""Lets an internal error show where it happened; any command takes it."""

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("serve", "run the mock"),
    "check": ("check", "check an implementation against the contract"),
    "judge": ("judge", "judge recorded traffic by the contract"),
    "replay": ("replay", "send a recorded trace again, and judge what comes of it"),
    "diff": ("diff", "say where two implementations drift apart"),
    "watch": ("watch", "pass traffic on to a target, and judge it"),
    "clauses": ("clauses", "print the contract, clause by clause"),
    "selfcheck": ("selfcheck", "prove that the checker finds every known defect"),
    "spec": ("spec", "print the OpenAPI documents"),
    "drill": ("drill", "drill a shop: is each order fulfilled exactly once?"),
    "pay": ("control", "pay a session, as the customer"),
    "fail": ("control", "let the payment of a session fail"),
    "cancel": ("control", "cancel the payment of a session"),
    "events": ("control", "print the events of an account"),
    "resend": ("control", "send an event again"),
    "listen": ("listen", "see each webhook as it comes, and hand it on"),
    "advance": ("control", "move an account's clock forward"),
    "trigger": ("control", "make a sample session and take it to an event"),
    "completion": ("completion", "print a script that completes commands in a shell"),
}
"""Command: its module, and what it does."""


class CommandError(Exception):
    """A command cannot do what it was asked; the message says what to change. Exit code 2."""


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Tell of these errors, in their own words, as of what the command cannot do."""
    try:
        yield
    except errors as error:
        raise CommandError(str(error)) from None


@contextmanager
def writing(what: str, path: object) -> Iterator[None]:
    """Say which file cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{what} cannot be written to {path}: {error.strerror}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code.

    0: done. 1: a clause failed. 2: wrong usage, an unreachable target, or an internal error. 130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    shows_traceback = TRACEBACK in arguments
    arguments = [argument for argument in arguments if argument != TRACEBACK]
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a file cannot show must not be what fails.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except CommandError as error:
        return _complain(f"{arguments[0]}: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to tell.
        _give_up_stdout()
        return DONE
    except Exception as error:
        if shows_traceback:
            raise
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EIO, errno.EDQUOT}:
            _give_up_stdout()
            return _complain(f"the output cannot be written: {error.strerror}")
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return _complain(f"{arguments[0]}: an internal error: {words} ({TRACEBACK} shows where)")
    return code


def _run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_overview())  # noqa: T201 - a command prints
        return DONE if arguments else USAGE
    if arguments[0] in {"-V", "--version"}:
        print(f"qashier-mock {__version__}")  # noqa: T201
        return DONE
    name = arguments[0]
    if name not in COMMANDS:
        from difflib import get_close_matches  # noqa: PLC0415 - needed only here

        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
        return _complain(f"there is no command {name!r}; {hint}")
    try:
        code: int = import_module(f"{__name__}.{COMMANDS[name][0]}").run(name, arguments[1:])
    except SystemExit as done:  # --help, which the parser of options prints
        return DONE if done.code is None else int(done.code)
    return code


def _give_up_stdout() -> None:
    """Let nothing be written to stdout any more: what is left in its buffer would be tried again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> int:
    print(f"qashier-mock: {message}", file=sys.stderr)  # noqa: T201
    return USAGE


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: qashier-mock COMMAND [OPTIONS]\n",
            "A stateful mock of Qashier Checkout Sessions, and a checker of their contract.\n",
            *lines,
            "\nqashier-mock COMMAND --help tells a command's options. --version prints the version.",
            f"{TRACEBACK} shows where an internal error happened.\n",
        ]
    )
