"""What the commands share that end in a report: which clauses judge, what is written, and the exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qashier_mock.cli import DONE, FAILED, INTERRUPTED, CommandError, writing
from qashier_mock.cli.colour import columns, wants_colour
from qashier_mock.cli.keys import read_key
from qashier_mock.cli.options import POLICY, Flag, Option, Repeatable
from qashier_mock.cli.values import format_and_file

if TYPE_CHECKING:
    from qashier_contract import Report


def _report(text: str) -> tuple[str, Path]:
    from qashier_contract.report import FORMATS  # noqa: PLC0415 - the checker is loaded when it is used

    return format_and_file(text, formats=FORMATS)


def _formats() -> Iterable[str]:
    from qashier_contract.report import FORMATS  # noqa: PLC0415

    return (f"{name}=" for name in FORMATS)


def _clauses() -> Iterable[str]:
    from qashier_contract.clauses import CLAUSES  # noqa: PLC0415

    return CLAUSES


_KEY_VARIABLES: Final = ("QASHIER_API_KEY", "QASHIER_API_KEY_2")
_CLAUSES: Final = partial(Repeatable, metavar="CLAUSES", offers=_clauses)
JUDGING: Final = (
    _CLAUSES(name="only", help="just these, such as 'LIS-*'"),
    _CLAUSES(name="skip", help="not these, such as 'EVT-*'"),
    Flag(name="strict", help="a broken assumed clause is a failure, not a warning"),
    POLICY,
    Repeatable(
        name="report",
        metavar="FORMAT=FILE",
        parse=_report,
        offers=_formats,
        help="write a report: json, junit, html, markdown, har, sarif, or trace (all that was recorded); may be "
        "repeated",
    ),
)


_NAMES: Final = {
    "api-key-file": "keys",
    "api-key-file-b": "keys_of_b",
    "currency": "currencies",
    "max-time": "max_time_s",
    "rate-limit": "rate",
}
_OF_THE_COMMAND: Final = frozenset({"baseline", "plan", "record", "report", "update-baseline"})


def settings(allowed: Sequence[Option], options: argparse.Namespace) -> dict[str, Any]:
    """What the options of a command are to the checker, by the names that it has for them."""
    from qashier_contract.policy import read_policy  # noqa: PLC0415

    found: dict[str, Any] = {}
    for option in allowed:
        value = getattr(options, option.key)
        if option.name in _OF_THE_COMMAND:
            continue
        if option.name == "policy" and value is not None:
            value = read_policy(Path(value))
        elif option.name.startswith("api-key-file"):
            value = tuple(map(read_key, value))
        found[_NAMES.get(option.name, option.key)] = value
    if not found.get("keys", True):
        found["keys"] = tuple(key for key in map(os.environ.get, _KEY_VARIABLES) if key)
    return found


def make_folders(files: Sequence[tuple[str, Path]]) -> None:
    """Make the folders of reports, before a long run rather than after it."""
    for name, path in files:
        with writing(f"the {name} report", path):
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            why = "it is a folder" if path.is_dir() else "it may not be written"
            raise CommandError(f"the {name} report cannot be written to {path}: {why}")


def finish(report: Report, files: Sequence[tuple[str, Path]]) -> int:
    """Write the reports, print the summary, and give the exit code."""
    from qashier_contract.report import terminal, write  # noqa: PLC0415

    for name, path in files:
        with writing(f"the {name} report", path):
            write(report, name, path)
    written = {name: str(path) for name, path in files}
    colour, width = wants_colour(sys.stdout), columns()
    annotates = os.environ.get("GITHUB_ACTIONS") == "true"
    text = terminal.summary(report, files=written, colour=colour, width=width, annotates=annotates)
    with suppress(BrokenPipeError):  # whoever read it has gone: the exit code still says what came of it
        sys.stdout.write(text)
        sys.stdout.flush()
    if report.interrupted:
        return INTERRUPTED
    if report.verdict.value == "not exercised":
        raise CommandError("nothing was tested; the lines above say why")
    if report.verdict.value == "failed":
        return FAILED
    if report.crashes:
        raise CommandError(f"an internal error: {report.crashes[0]}")
    return DONE
