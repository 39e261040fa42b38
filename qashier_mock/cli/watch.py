"""`qashier-mock watch TARGET`: a proxy that judges what passes through it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from qashier_mock.cli import refusing
from qashier_mock.cli.colour import columns
from qashier_mock.cli.judge import reached
from qashier_mock.cli.judging import JUDGING, finish, settings
from qashier_mock.cli.options import HOST, PORT, Flag, Option, given, parse
from qashier_mock.cli.values import base_url

_SWITCH_S: Final = 0.0005
OPTIONS: Final = (
    HOST,
    PORT(default=4011),
    Option(name="record", metavar="FILE", help="keep all that passed as a trace, for judge, replay and diff"),
    Flag(name="one-account", help="all keys are of one account; by default each is taken for another one"),
    *JUDGING,
)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Pass traffic on until Ctrl-C; 0 when no clause failed, 1 when one did, 2 when nothing was judged."""
    options = parse(
        "watch",
        "Pass requests on to a target unchanged, and say where its answers break the contract. Ctrl-C ends it.",
        OPTIONS,
        arguments,
        positionals=(
            Option(
                name="target",
                parse=base_url,
                help="where requests go, such as https://staging.example/v3/payment/qpay",
            ),
        ),
    )
    from qashier_contract import CheckError  # noqa: PLC0415 - after --help
    from qashier_contract.recorded import watch  # noqa: PLC0415 - after --help
    from qashier_contract.report.terminal import ProgressLine  # noqa: PLC0415

    line = ProgressLine(sys.stderr, width=columns(), is_shown=False)

    def ready(url: str) -> None:
        print(f"qashier-mock watch ready on {url}, passing on to {options.target}", flush=True)  # noqa: T201

    # Judging must not keep requests waiting for longer than this: it shares the interpreter with the proxy.
    sys.setswitchinterval(_SWITCH_S)
    with refusing(CheckError):
        report = watch(options.target, ready=ready, violated=line.tell, **settings(OPTIONS, options))
    files = [*options.report, *([("trace", Path(options.record))] if options.record else [])]
    if options.record:
        words = ("judge", options.record, *given(OPTIONS, options, without=("report", "record", "host", "port")))
    else:
        words = ("watch", options.target, *given(OPTIONS, options, without=("report",)))
    return finish(replace(report, command=("qashier-mock", *words), notes=(*report.notes, reached(report))), files)
