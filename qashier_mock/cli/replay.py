"""`qashier-mock replay TRACE URL`: does what was recorded break the contract here, or still?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from qashier_mock.cli import check, refusing
from qashier_mock.cli.judging import JUDGING, finish, settings
from qashier_mock.cli.options import Option, given, parse

_SHARED: Final = frozenset(
    {
        "allow-live",
        "api-key-file",
        "control",
        "currency",
        "max-sessions",
        "max-time",
        "rate-limit",
        "webhook-listen",
        "webhook-public-url",
    }
)
OPTIONS: Final = (*(option for option in check.OPTIONS if option.name in _SHARED), *JUDGING)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Send a trace again; 0 when no clause failed, 1 when one did, 2 when nothing was tested."""
    options = parse(
        "replay",
        "Send a recorded trace to a target, with fresh ids, keys and times. With --only CRE-7 just its violation.",
        OPTIONS,
        arguments,
        positionals=(
            Option(
                name="trace",
                help="a trace that `check --report trace=FILE` or `watch --record FILE` wrote, or a HAR file",
            ),
            check.TARGET,
        ),
    )
    from qashier_contract import CheckError, replay  # noqa: PLC0415 - after --help

    with refusing(CheckError):
        report = replay(options.trace, options.url, **settings(OPTIONS, options))
    command = ("qashier-mock", "replay", options.trace, options.url, *given(OPTIONS, options, without=("report",)))
    return finish(replace(report, command=command), options.report)
