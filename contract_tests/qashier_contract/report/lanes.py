"""The history of a violation as a drawing: who did what when, and what was under way at the same time.

There is a lane for each account, one for the customer and one for webhooks. Time goes to the right, compressed: what
took long is drawn longer, but not to scale, and long idle time is cut out and named. Requests that crossed each other
stand one below the other and share a part of the axis. The numbers are those of the steps of `timeline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from qashier_contract.history import Exchange, Operation
from qashier_contract.trace.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qashier_contract.history import Delivery
    from qashier_contract.report.reproduction import Reproduction
    from qashier_contract.verdicts import Violation

_WORDS: Final = {
    Operation.EVENTS: "events",
    Operation.ENDPOINTS: "endpoint",
    Operation.OTHER: "request",
}
_MOST_STEPS: Final = 40
_MOST_DRAWN: Final = 14
_LETTER: Final = 6.7
"""Width of a letter in a bar, px."""
_MOST_LETTERS: Final = 16
_BAR: Final = 31
"""Height of a bar, px."""
_ROW: Final = 36
"""Height of a bar with the room below it, px."""
_HEAD: Final = 19
"""Height of a lane's name, px."""
_IDLE_NS: Final = 50_000_000
"""From here on idle time is named."""
_IDLE: Final = 46.0
_PAUSE: Final = 5.0
"""Widths of idle time, named or not, px."""
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing in the drawing: a request, a move of the clock, a delivery.

    `role` is `failing` where the violation shows, `told` for what the clause compares that with, and `before` for what
    both rest on. A delivery is a point in time.
    """

    number: int
    word: str
    lane: str
    outcome: str
    tone: str
    role: str
    start_ns: int
    end_ns: int

    @property
    def width(self) -> float:
        """The least width in which its words can be read, px."""
        return 20 + _LETTER * max(len(f"{self.number} {self.word}"), len(self.outcome))


def lanes(reproduction: Reproduction) -> Markup:
    """The drawing of a violation as SVG in its natural size, its last steps alone where there are many."""
    return draw(marks(reproduction)[-_MOST_DRAWN:])


def marks(reproduction: Reproduction) -> list[Mark]:
    """What is to be drawn of a violation, in the order of sending."""
    violation, steps = reproduction.violation, reproduction.steps
    left_out = max(0, len(steps) - _MOST_STEPS)
    in_order: list[Step | Delivery] = sorted((*steps[left_out:], *violation.deliveries), key=_number)
    failing = _failing(violation)
    told = (*violation.exchanges, *violation.deliveries)
    found = []
    for number, one in enumerate(in_order, left_out + 1):
        seen = one.exchange if isinstance(one, Step) else one
        role = "failing" if seen is failing else "told" if seen in told else "before"
        found.append(_step(number, one, role) if isinstance(one, Step) else _delivery(number, one, role))
    return found


def _failing(violation: Violation) -> Exchange | Delivery | None:
    """Where a violation shows: in what its finding names, else in the last delivery or exchange."""
    named = violation.finding.failing_exchange if violation.finding is not None else None
    shown: list[Exchange | Delivery] = [*violation.exchanges, *violation.deliveries]
    return named or (shown[-1] if shown else None)


def _number(one: Step | Delivery) -> int:
    return one.exchange.number if isinstance(one, Step) else one.number


def _step(number: int, step: Step, role: str) -> Mark:
    exchange = step.exchange
    word = _WORDS.get(exchange.operation, exchange.operation.value)
    outcome, tone = str(exchange.failure or exchange.status or "no answer"), _tone(exchange)
    if step.moved_s is not None:
        outcome, tone = f"+{step.moved_s} s", "clock"
    elif exchange.page_act not in {None, "view"}:
        word = f"press {exchange.page_act}"
    if exchange.page_of is not None:
        lane = "customer"
    else:
        lane = "nobody" if exchange.account is None else f"account {exchange.account + 1}"
    return Mark(
        number,
        _cut(word),
        lane,
        _cut(outcome),
        tone,
        role,
        exchange.sent_ns,
        max(exchange.received_ns, exchange.sent_ns + 1),
    )


def _delivery(number: int, delivery: Delivery, role: str) -> Mark:
    kind = str(delivery.event.get("type", "")).rpartition(".")[2]
    # A nanosecond, so that it has a width.
    begin, end = delivery.received_ns, delivery.received_ns + 1
    lane = f"webhooks of account {delivery.endpoint.account + 1}"
    return Mark(
        number, _cut(kind or "webhook"), lane, delivery.outcome.removeprefix("answered "), "webhook", role, begin, end
    )


def _tone(exchange: Exchange) -> str:
    if exchange.is_unknown:
        return "broken"
    return "done" if exchange.succeeded else "refused"


def _cut(word: str) -> str:
    return word if len(word) <= _MOST_LETTERS else word[: _MOST_LETTERS - 1] + "…"


def draw(marks: Sequence[Mark]) -> Markup:
    """The drawing, as SVG in its natural size; nothing for no mark."""
    if not marks:
        return Markup()
    place = _axis(marks)
    by_lane: dict[str, list[Mark]] = {}
    for mark in marks:
        by_lane.setdefault(mark.lane, []).append(mark)
    width = max(place.values()) + 8
    parts, top = [], 0
    for name, members in by_lane.items():
        rows = _rows(members, place)
        height = _HEAD + (1 + max(rows.values())) * _ROW
        parts.append(_LANE.format(y=top, height=height, text=top + 14, name=name, width=f"{width:.0f}"))
        parts += [_bar(one, place, top + _HEAD + rows[one.number] * _ROW) for one in members]
        top += height
    parts += _gaps(marks, place, top)
    told = ", ".join(f"{one.number} {one.word} by {one.lane}, {one.outcome}" for one in marks)
    crossed = _crossings(marks)
    label = f"Timeline: {told}." + (f" At the same time: {crossed}." if crossed else "")
    return _SVG.format(width=f"{width:.0f}", height=top + 18, label=label, parts=Markup().join(parts))


_SVG: Final = Markup(
    '<svg class="lanes" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    ' aria-label="{label}">{parts}</svg>'
)
_LANE: Final = Markup(
    '<rect class="lane" x="0" y="{y}" width="{width}" height="{height}"/>'
    '<text class="who" x="8" y="{text}">{name}</text>'
)
_RECT: Final = Markup(
    '<g class="tone-{tone} {role}"><title>{elapsed}</title>'
    '<rect class="box" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="{round}"/>'
    '<text x="{text:.1f}" y="{upper}">{number} {word}</text>'
    '<text class="out" x="{text:.1f}" y="{lower}">{outcome}</text></g>'
)
_GAP: Final = Markup('<path class="gap" d="M{x:.1f} 0V{y}"/><text class="idle" x="{x:.1f}" y="{text}">{time}</text>')


def _axis(marks: Sequence[Mark]) -> Mapping[int, float]:
    """Where each beginning and end stands, px. Every bar is wide enough for its words, and none loses its order."""
    ticks = sorted({mark.start_ns for mark in marks} | {mark.end_ns for mark in marks})
    widths = []
    for begin, end in pairwise(ticks):
        busy = any(mark.start_ns <= begin and end <= mark.end_ns for mark in marks)
        widths.append(6.0 if busy else _IDLE if end - begin >= _IDLE_NS else _PAUSE)
    for mark in sorted(marks, key=lambda one: one.end_ns - one.start_ns):
        first, last = ticks.index(mark.start_ns), ticks.index(mark.end_ns)
        lack = mark.width - sum(widths[first:last])
        if lack > 0:
            whole = max(1, ticks[last] - ticks[first])
            for index in range(first, last):
                widths[index] += lack * (ticks[index + 1] - ticks[index]) / whole
    place, x = {ticks[0]: 8.0}, 8.0
    for tick, width in zip(ticks[1:], widths, strict=True):
        x += width
        place[tick] = x
    return place


def _rows(members: Sequence[Mark], place: Mapping[int, float]) -> dict[int, int]:
    """In which row of its lane each mark stands: the first that is free."""
    rows: dict[int, int] = {}
    free: list[float] = []
    for one in members:
        begin = place[one.start_ns]
        row = next((row for row, end in enumerate(free) if end < begin), len(free))
        free[row : row + 1] = [place[one.end_ns]]
        rows[one.number] = row
    return rows


def _bar(one: Mark, place: Mapping[int, float], top: int) -> Markup:
    x, end = place[one.start_ns], place[one.end_ns]
    return _RECT.format(
        tone=one.tone,
        role=one.role,
        x=x,
        y=top,
        width=end - x,
        height=_BAR,
        round=_BAR // 2 if one.tone == "webhook" else 5,
        elapsed="at once" if one.tone == "webhook" else _time(one.end_ns - one.start_ns),
        text=x + 9,
        upper=top + 13,
        lower=top + 26,
        number=one.number,
        word=one.word,
        outcome=one.outcome,
    )


def _gaps(marks: Sequence[Mark], place: Mapping[int, float], bottom: int) -> Iterator[Markup]:
    ended = marks[0].start_ns
    for one in sorted(marks, key=lambda each: each.start_ns):
        if one.start_ns - ended >= _IDLE_NS:
            x = (place[one.start_ns] + place[ended]) / 2
            yield _GAP.format(x=x, y=bottom, text=bottom + 13, time=_time(one.start_ns - ended))
        ended = max(ended, one.end_ns)


def _time(elapsed_ns: int) -> str:
    return (
        f"{elapsed_ns / 1e9:.1f} s"
        if elapsed_ns >= _SECOND_NS
        else f"{elapsed_ns / 1e6:.{0 if elapsed_ns > _IDLE_NS else 1}f} ms"
    )


def _crossings(marks: Sequence[Mark]) -> str:
    """Which requests were under way at the same time, in words."""
    found = [
        f"{first.number} and {second.number}"
        for index, first in enumerate(marks)
        for second in marks[index + 1 :]
        if first.start_ns <= second.end_ns and second.start_ns <= first.end_ns
    ]
    return ", ".join(found[:6])
