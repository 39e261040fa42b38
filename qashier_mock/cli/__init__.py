"""The command line: one module per command, arguments in, exit code out.

A command's module is imported only when it is called, so that `qashier-mock serve --help` stays quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from qashier_mock._version import __version__

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("serve", "run the mock"),
    "check": ("check", "check an implementation against the contract"),
    "clauses": ("clauses", "print the contract, clause by clause"),
    "selfcheck": ("selfcheck", "prove that the checker finds every known defect"),
    "spec": ("spec", "print the OpenAPI documents"),
    "drill": ("drill", "drill a shop: is each order fulfilled exactly once?"),
    "pay": ("control", "pay a session, as the customer"),
    "fail": ("control", "let the payment of a session fail"),
    "cancel": ("control", "cancel the payment of a session"),
    "advance": ("control", "move an account's clock forward"),
    "trigger": ("control", "make a sample session and take it to an event"),
}
"""Command: its module, and what it does."""


class CommandError(Exception):
    """A command cannot do what it was asked; the message says what to change. Exit code 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code.

    0: done. 1: a clause failed. 2: wrong usage, or a target that cannot be reached. 130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
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
    except CommandError as error:
        return _complain(f"{name}: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to tell, and the interpreter must not try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return code


def _complain(message: str) -> int:
    print(f"qashier-mock: {message}", file=sys.stderr)  # noqa: T201
    return USAGE


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: qashier-mock COMMAND [OPTIONS]",
            "",
            "A stateful mock of Qashier Checkout Sessions, and a checker of their contract.",
            "",
            *lines,
            "",
            "qashier-mock COMMAND --help tells a command's options. --version prints the version.",
            "",
        ]
    )
