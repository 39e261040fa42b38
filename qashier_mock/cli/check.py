"""`qashier-mock check URL`: does this implementation keep the contract, and if not, where?"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qashier_mock.cli import DONE, INTERRUPTED, CommandError, refusing, writing
from qashier_mock.cli.colour import columns
from qashier_mock.cli.extras import needs_contract, without_hypothesis_folder
from qashier_mock.cli.judging import JUDGING, finish, make_folders, settings
from qashier_mock.cli.options import SEED, Flag, Option, Repeatable, given, parse
from qashier_mock.cli.values import duration, http_url, integer

if TYPE_CHECKING:
    from qashier_contract import Report
    from qashier_contract.baseline import Known
    from qashier_contract.interrupts import Stop

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)/(s|m)")


def _rate(text: str) -> float:
    found = _RATE.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"{text!r} is not a rate; write it like 20/s or 300/m")
    return float(found[1]) / (60 if found[2] == "m" else 1)


def _control(text: str) -> str:
    return text if text in {"auto", "none"} else http_url(text)


def _listen(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ValueError(f"{text!r} is no HOST:PORT")
    return text


TARGET: Final = Option(
    name="url", parse=http_url, help="where /checkout/sessions is, such as https://staging.example/v3/payment/qpay"
)
OPTIONS: Final = (
    Repeatable(
        name="api-key-file",
        metavar="FILE",
        help="a file with a secret key; a second one names another account. Or set QASHIER_API_KEY and "
        "QASHIER_API_KEY_2. On loopback, keys are made up where none is given",
    ),
    Option(
        name="max-time",
        metavar="TIME",
        default=60,
        parse=duration,
        written=lambda seconds: f"{seconds}s",
        help="the most it takes, such as 60s or 5m",
    ),
    SEED(help="draw from N, so that the same requests are sent again; by default drawn, and printed"),
    Option(
        name="rate-limit",
        metavar="RATE",
        parse=_rate,
        written=lambda rate: f"{rate:g}/s" if float(f"{rate:g}") == rate else f"{rate * 60:g}/m",
        help="such as 20/s; by default none on loopback, and 20/s elsewhere",
    ),
    Option(
        name="control",
        metavar="URL|none|auto",
        default="auto",
        parse=_control,
        help="where the control API is, through which the checker pays and moves time",
    ),
    Option(
        name="webhook-listen",
        metavar="HOST:PORT",
        parse=_listen,
        help="where to receive webhooks; without it a target off loopback gets no delivery checks",
    ),
    Option(name="webhook-public-url", metavar="URL", parse=http_url, help="how the target reaches that receiver"),
    Repeatable(name="currency", metavar="CODE", help="what this account may charge; may be repeated"),
    Flag(name="fail-fast", short="x", help="stop at the first clause that fails"),
    Option(
        name="max-sessions",
        metavar="N",
        parse=partial(integer, at_least=1, at_most=1_000_000, what="the number of sessions"),
        help="open no more sessions than this",
    ),
    Flag(name="replay", default=True, help="send each violation again, to see if it breaks again"),
    Flag(name="plan", help="say what would be done, and do nothing"),
    Option(
        name="baseline",
        metavar="FILE",
        help="known violations, each accepted until the day it names; a TOML file that --update-baseline writes",
    ),
    Flag(
        name="update-baseline",
        help="write what failed now into the file of --baseline, for ninety days, and take out what is gone",
    ),
    Flag(name="allow-live", help="take a key that begins with sk_live_"),
    *JUDGING,
)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Check a target; 0 when no clause failed, 1 when one did, 2 when nothing was tested, 130 when interrupted."""
    options = parse("check", "Check an implementation against the contract.", OPTIONS, arguments, positionals=(TARGET,))
    needs_contract("check")
    if options.update_baseline and options.baseline is None:
        raise CommandError("--update-baseline needs --baseline FILE, the file to write")
    with without_hypothesis_folder():
        from qashier_contract.interrupts import Stop, stopping_on_signals  # noqa: PLC0415 - after --help

        stop = Stop()
        with stopping_on_signals(stop):
            code = _check(options, stop)
            return INTERRUPTED if stop.is_set else code


def _check(options: argparse.Namespace, stop: Stop) -> int:
    from qashier_contract import CheckError, Settings, check, planned  # noqa: PLC0415 - after --help
    from qashier_contract.report.terminal import ProgressLine  # noqa: PLC0415

    line = ProgressLine(sys.stderr, width=columns())
    with refusing(CheckError), ExitStack() as afterwards:
        afterwards.callback(line.clear)
        wanted = settings(OPTIONS, options)
        known = _known(options)
        if options.plan:
            _print_plan(planned(options.url, Settings(**wanted)))
            return DONE
        make_folders(options.report)
        report = check(options.url, progress=line, violated=line.tell, stop=stop, **wanted)
    words = given(OPTIONS, options, without=("seed", "report", "plan", "update-baseline"))
    command = ("qashier-mock", "check", report.target, "--seed", str(report.seed), *words)
    report = _excused(replace(report, command=command), known, options)
    return finish(report, options.report)


def _known(options: argparse.Namespace) -> tuple[Known, ...]:
    """The accepted violations, read before anything is sent."""
    if options.baseline is None:
        return ()
    from qashier_contract.baseline import BaselineError, read  # noqa: PLC0415

    path = Path(options.baseline)
    if not path.exists():
        if options.update_baseline:
            return ()
        raise CommandError(f"there is no baseline {path}; --update-baseline writes one")
    with refusing(BaselineError):
        return read(path)


def _excused(report: Report, known: tuple[Known, ...], options: argparse.Namespace) -> Report:
    """The report with what is known excused, and the file of known violations brought up to date if that is asked."""
    if options.baseline is None:
        return report
    from qashier_contract import baseline  # noqa: PLC0415

    if options.update_baseline and not report.interrupted:
        known = baseline.updated(report, known)
        with writing("the baseline", options.baseline):
            baseline.write(Path(options.baseline), known)
    return baseline.apply(report, known)


def _print_plan(steps: Sequence[Any]) -> None:
    for step in steps:
        groups = dict.fromkeys(clause.partition("-")[0] for clause in step.clauses)
        cost = f"about {step.driver.requests} requests" if step.driver.requests else "until the time is up"
        print(f"{step.driver.name}: {step.driver.purpose} ({cost}; {', '.join(groups)})")  # noqa: T201
    print(f"{len(steps)} steps, {sum(step.driver.requests for step in steps)} requests planned")  # noqa: T201
