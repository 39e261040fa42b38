"""The history of a violation as rows, in the order of sending: who did what, and what came of it.

A page shows each row, and draws the last of them; both number them alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qashier_contract.history import Exchange, Operation
from qashier_contract.report.json import text
from qashier_contract.trace.steps import Step
from qashier_contract.values import NOT_JSON

if TYPE_CHECKING:
    from qashier_contract.history import Delivery
    from qashier_contract.report.reproduction import Reproduction
    from qashier_contract.values import Json

_WORDS: Final = {
    Operation.EVENTS: "read events",
    Operation.ENDPOINTS: "webhook endpoint",
    Operation.PAGE: "hosted page",
    Operation.OTHER: "request",
}
_MOST_STEPS: Final = 40
_SHOWN: Final = 2_000
_LONGEST_LINE: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that happened: a request, a move of a clock, a delivery, which is a point in time.

    `role` is `failing` where the violation shows, `told` for what the clause compares that with, and `before` for what
    both rest on.
    """

    number: int
    title: str
    who: str
    line: str
    outcome: str
    tone: str
    role: str
    start_ns: int
    end_ns: int
    request_id: str | None = None
    sent: str | None = None
    received: str | None = None


def story(reproduction: Reproduction) -> tuple[Row, ...]:
    """The rows of a violation, without the first steps where there are many."""
    violation, steps = reproduction.violation, reproduction.steps
    left_out = max(0, len(steps) - _MOST_STEPS)
    in_order: list[Step | Delivery] = sorted((*steps[left_out:], *violation.deliveries), key=_number)
    told = (*violation.exchanges, *violation.deliveries)
    failing = violation.failing_exchange or (told[-1] if told else None)
    rows = []
    for number, one in enumerate(in_order, left_out + 1):
        seen = one.exchange if isinstance(one, Step) else one
        role = "failing" if seen is failing else "told" if seen in told else "before"
        rows.append(_of_step(number, role, one) if isinstance(one, Step) else _of_delivery(number, role, one))
    return tuple(rows)


def _number(one: Step | Delivery) -> int:
    return one.exchange.number if isinstance(one, Step) else one.number


def _of_step(number: int, role: str, step: Step) -> Row:
    exchange, request = step.exchange, step.exchange.request
    title, line = _WORDS.get(exchange.operation, exchange.operation.value), f"{request.method} {request.target}"
    outcome, tone = str(exchange.failure or exchange.status or "no answer"), _tone(exchange)
    if step.moved_s is not None:
        title, line, outcome, tone = "clock", "", f"+{step.moved_s} s", "clock"
    elif exchange.page_act not in {None, "view"}:
        title = f"press {exchange.page_act}"
    told = role != "before" and exchange.reply is not None
    return Row(
        number=number,
        title=title,
        who=_who(exchange),
        line=line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…",
        outcome=outcome,
        tone=tone,
        role=role,
        start_ns=exchange.sent_ns,
        end_ns=max(exchange.received_ns, exchange.sent_ns + 1),
        request_id=exchange.request_id,
        sent=_pretty(request.json, request.body) if step.moved_s is None else None,
        received=_pretty(exchange.json, exchange.reply.body) if told and exchange.reply else None,
    )


def _of_delivery(number: int, role: str, delivery: Delivery) -> Row:
    kind = str(delivery.event.get("type", ""))
    return Row(
        number=number,
        title=kind.rpartition(".")[2] or "webhook",
        who=f"webhooks of account {delivery.endpoint.account + 1}",
        line=f"{delivery.method} {kind}",
        outcome=delivery.outcome,
        tone="webhook",
        role=role,
        start_ns=delivery.received_ns,
        end_ns=delivery.received_ns + 1,
        received=_pretty(delivery.json, delivery.body),
    )


def _who(exchange: Exchange) -> str:
    if exchange.page_of is not None:
        return "customer"
    return "nobody" if exchange.account is None else f"account {exchange.account + 1}"


def _tone(exchange: Exchange) -> str:
    if exchange.is_unknown:
        return "broken"
    return "refused" if exchange.refused else "done"


def _pretty(value: Json, body: bytes | None) -> str | None:
    if not body:
        return None
    if value is NOT_JSON or len(body) > _SHOWN * 4:
        return text(body, _SHOWN)
    shown = json.dumps(value, indent=2, ensure_ascii=False)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
