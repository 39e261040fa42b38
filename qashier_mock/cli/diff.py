"""`qashier-mock diff A B`: where do two implementations drift apart?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from qashier_mock.cli import DONE, FAILED, INTERRUPTED, check, refusing
from qashier_mock.cli.extras import needs_contract, without_hypothesis_folder
from qashier_mock.cli.judging import settings
from qashier_mock.cli.options import Option, Repeatable, parse

if TYPE_CHECKING:
    from qashier_contract.comparison import Difference
    from qashier_contract.history import Exchange

_SHARED: Final = (
    *("api-key-file", "max-time", "seed", "rate-limit", "control", "currency", "max-sessions", "allow-live", "policy"),
)
_MOST_TEXT: Final = 160
OPTIONS: Final = (
    Repeatable(
        name="ignore",
        metavar="KINDS",
        help="drifts that do not count, such as 'headers.*' or 'error.message'; may be repeated",
    ),
    Repeatable(name="api-key-file-b", metavar="FILE", help="the key for B, if it takes another one than A"),
    *(option for option in check.OPTIONS if option.name in _SHARED),
)


@without_hypothesis_folder()
def run(_name: str, arguments: Sequence[str]) -> int:
    """Compare two targets; 0 when they answer alike, 1 when they drift apart, 2 when nothing was compared."""
    options = parse(
        "diff",
        "Send the same scenarios with the same seed to two targets, and say where their answers drift apart.",
        OPTIONS,
        arguments,
        positionals=(
            Option(name="a", help="a base URL, or a trace that `check --report trace=FILE` wrote"),
            Option(name="b", help="another base URL, or a trace"),
        ),
    )
    needs_contract("diff")
    from qashier_contract import CheckError, diff  # noqa: PLC0415 - after --help

    with refusing(CheckError, ValueError):
        found = diff(options.a, options.b, **settings(OPTIONS, options))
    sys.stdout.write("\n".join(_lines(found)) + "\n")
    if found.interrupted:
        return INTERRUPTED
    return FAILED if found.drifts else DONE


def _lines(found: Difference) -> Iterator[str]:
    for drift in found.drifts:
        places = "1 place" if drift.count == 1 else f"{drift.count} places"
        yield f"✗ {drift.kind}, {places}" + (f", first in {drift.scenario!r}" if drift.scenario else "")
        yield f"  a  {_shown(drift.a)}{_of(drift.exchange_a)}"
        yield f"  b  {_shown(drift.b)}{_of(drift.exchange_b)}"
        if drift.following:
            yield f"  probably follows: {', '.join(drift.following)}"
    if found.interrupted:
        yield "interrupted: what came later was not compared"
    count = {0: "No drift", 1: "1 drift"}.get(len(found.drifts), f"{len(found.drifts)} drifts")
    yield f"{count} between {found.a} (a) and {found.b} (b): {found.compared} requests compared, seed {found.seed}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _of(exchange: Exchange | None) -> str:
    if exchange is None:
        return ""
    request_id = f"  {exchange.request_id}" if exchange.request_id else ""
    return f"    {_shown(str(exchange))}{request_id}"
