"""The history of a violation as rows of a timeline: who did what, in which order, and what ran at the same time.

Time goes down. Each row is one request, move of the clock or delivery; in its gutter run the bars of the requests that
were under way, so that two that crossed each other are seen to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from qashier_contract.history import Exchange, Operation
from qashier_contract.report.json import text
from qashier_contract.values import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qashier_contract.history import Delivery
    from qashier_contract.report.reproduction import Reproduction
    from qashier_contract.trace.steps import Step
    from qashier_contract.values import Json

_WORDS: Final = {
    Operation.CREATE: "create",
    Operation.RETRIEVE: "retrieve",
    Operation.LIST: "list",
    Operation.EXPIRE: "expire",
    Operation.PAY: "pay",
    Operation.CLOCK: "clock",
    Operation.EVENTS: "read events",
    Operation.ENDPOINTS: "webhook endpoint",
    Operation.PAGE: "hosted page",
    Operation.OTHER: "request",
}
_MOST_ROWS: Final = 40
_SHOWN: Final = 2_000


Bars: TypeAlias = "tuple[tuple[str, str], ...]"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened.

    `bars` says for each column of the gutter what to draw there, `start`, `through`, `end`, `only` or nothing, and the
    tone of the request whose bar it is. `is_told` marks what the clause blames, beside what it rests on.
    """

    title: str
    who: str
    line: str
    outcome: str
    bars: Bars
    is_told: bool
    request_id: str | None = None
    sent: str | None = None
    received: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rows of a violation's story, and how many were left out at its beginning."""

    rows: tuple[Row, ...]
    left_out: int = 0


def timeline(reproduction: Reproduction) -> Timeline:
    """The timeline of a violation."""
    violation, steps = reproduction.violation, reproduction.steps
    left_out = max(0, len(steps) - _MOST_ROWS)
    steps = steps[left_out:]
    columns = _columns(steps)
    width = len(columns[0]) if columns else 1
    rows = [
        (step.exchange.number, _row(step, bars, told=step.exchange in violation.exchanges))
        for step, bars in zip(steps, columns, strict=True)
    ]
    rows += [(delivery.number, _delivery(delivery, width)) for delivery in violation.deliveries]
    return Timeline(tuple(row for _, row in sorted(rows, key=lambda pair: pair[0])), left_out)


def _columns(steps: Sequence[Step]) -> list[Bars]:
    """For each row the bars of its gutter: requests that cross each other stand in columns side by side."""
    spans: list[tuple[int, int, int]] = []  # column, first row, last row
    for place, step in enumerate(steps):
        last = place
        if step.moved_s is None:
            for later in range(place + 1, len(steps)):
                other = steps[later]
                if other.moved_s is None and step.exchange.overlaps(other.exchange):
                    last = later
                else:
                    break
        taken = {column for column, start, end in spans if start <= place <= end}
        spans.append((next(column for column in range(len(steps) + 1) if column not in taken), place, last))
    width = 1 + max((column for column, _, _ in spans), default=0)
    rows = []
    for place in range(len(steps)):
        bars = [("", "")] * width
        for column, start, end in spans:
            if start <= place <= end:
                kinds = {start: "start", end: "end"}
                bars[column] = ("only" if start == end else kinds.get(place, "through"), _tone_of(steps[start]))
        rows.append(tuple(bars))
    return rows


def _row(step: Step, bars: Bars, *, told: bool) -> Row:
    exchange, request = step.exchange, step.exchange.request
    if step.moved_s is not None:
        return Row("the clock moves on", _who(exchange), f"{step.moved_s} s", "", bars, is_told=told)
    query = f"?{request.query}" if request.query else ""
    word = _WORDS[exchange.operation]
    if exchange.page_act not in {None, "view"}:
        word = f"press {exchange.page_act}"
    return Row(
        title=word,
        who=_who(exchange),
        line=f"{request.method} {_shortened(request.path + query)}",
        outcome=str(exchange.failure or exchange.status or ""),
        bars=bars,
        is_told=told,
        request_id=exchange.request_id,
        sent=_pretty(request.json, request.body),
        received=_pretty(exchange.json, exchange.reply.body if exchange.reply else None) if told else None,
    )


def _delivery(delivery: Delivery, width: int) -> Row:
    return Row(
        title="a webhook arrives",
        who=f"account {delivery.endpoint.account + 1}",
        line=f"{delivery.method} {delivery.event.get('type', '')}",
        outcome=delivery.outcome,
        bars=(("only", "webhook"), *[("", "")] * (width - 1)),
        is_told=True,
        received=_pretty(delivery.json, delivery.body),
    )


def _who(exchange: Exchange) -> str:
    if exchange.page_of is not None:
        return "the customer"
    return "nobody" if exchange.account is None else f"account {exchange.account + 1}"


def _tone_of(step: Step) -> str:
    return "clock" if step.moved_s is not None else _tone(step.exchange)


def _tone(exchange: Exchange) -> str:
    if exchange.reply is None or (exchange.status or 0) >= 500:
        return "broken"
    if exchange.refused:
        return "refused"
    return "done"


def _pretty(value: Json, body: bytes | None) -> str | None:
    if not body:
        return None
    if value is NOT_JSON or len(body) > _SHOWN * 4:
        return text(body, _SHOWN)
    shown = json.dumps(value, indent=2, ensure_ascii=False)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


def _shortened(path: str) -> str:
    return path if len(path) <= 160 else path[:157] + "…"
