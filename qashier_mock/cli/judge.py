"""`qashier-mock judge FILE`: did the traffic that somebody recorded keep the contract?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qashier_mock.cli import refusing
from qashier_mock.cli.judging import JUDGING, finish, settings
from qashier_mock.cli.options import Flag, Option, given, parse
from qashier_mock.cli.values import base_url

if TYPE_CHECKING:
    from qashier_contract import Report

OPTIONS: Final = (
    Option(
        name="base-url",
        metavar="URL",
        parse=base_url,
        help="where /checkout/sessions hangs, if a HAR file has it in several places",
    ),
    Flag(
        name="one-account",
        help="all keys in a HAR file are of one account; by default each is taken for another one",
    ),
    *JUDGING,
)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Judge a file; 0 when no clause failed, 1 when one did, 2 when nothing was judged."""
    options = parse(
        "judge",
        "Judge recorded traffic by the contract: a HAR file of a browser or a proxy, or a trace.",
        OPTIONS,
        arguments,
        positionals=(
            Option(name="file", help="a HAR 1.2 file, or a trace that `check --report trace=FILE` or `watch` wrote"),
        ),
    )
    from qashier_contract import CheckError, judge  # noqa: PLC0415 - after --help

    with refusing(CheckError):
        report = judge(options.file, **settings(OPTIONS, options))
    command = ("qashier-mock", "judge", options.file, *given(OPTIONS, options, without=("report",)))
    notes = (*report.notes, reached(report))
    return finish(replace(report, command=command, notes=notes), options.report)


def reached(report: Report) -> str:
    """Which clauses the traffic reached, and how often."""
    counts = [f"{entry.clause.id} ({entry.exercised})" for entry in report.clauses if entry.exercised]
    listed = f": {', '.join(counts)}." if counts else "."
    return f"The traffic reached {len(counts)} of {len(report.clauses)} clauses{listed}"
