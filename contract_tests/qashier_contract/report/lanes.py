"""The history of a violation as a drawing: who did what when, and what was under way at the same time.

There is a lane for each account, one for the customer and one for webhooks. Time goes to the right, compressed: what
took long is drawn longer, but not to scale, and long idle time is cut out and named. Requests that crossed each other
stand one below the other and share a part of the axis. The numbers are those of the rows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qashier_contract.report.story import Row

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


def lanes(rows: Sequence[Row]) -> Markup:
    """The drawing of a violation as SVG in its natural size: its last rows; nothing for no row."""
    rows = rows[-_MOST_DRAWN:]
    if not rows:
        return Markup()
    place = _axis(rows)
    by_lane: dict[str, list[Row]] = {}
    for row in rows:
        by_lane.setdefault(row.who, []).append(row)
    width = max(place.values()) + 8
    parts, top = [], 0
    for name, members in by_lane.items():
        lines = _lines(members, place)
        height = _HEAD + (1 + max(lines.values())) * _ROW
        parts.append(_LANE.format(y=top, height=height, text=top + 14, name=name, width=f"{width:.0f}"))
        parts += [_bar(one, place, top + _HEAD + lines[one.number] * _ROW) for one in members]
        top += height
    parts += _gaps(rows, place, top)
    told = ", ".join(f"{_upper(one)} by {one.who}, {_lower(one)}" for one in rows)
    crossed = _crossings(rows)
    label = f"Timeline: {told}." + (f" At the same time: {crossed}." if crossed else "")
    return _SVG.format(width=f"{width:.0f}", height=top + 18, label=label, parts=Markup().join(parts))


def _upper(row: Row) -> str:
    return f"{row.number} {_cut(row.title)}"


def _lower(row: Row) -> str:
    return _cut(row.outcome.removeprefix("answered "))


def _cut(word: str) -> str:
    return word if len(word) <= _MOST_LETTERS else word[: _MOST_LETTERS - 1] + "…"


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
    '<text x="{text:.1f}" y="{first}">{upper}</text>'
    '<text class="out" x="{text:.1f}" y="{second}">{lower}</text></g>'
)
_GAP: Final = Markup('<path class="gap" d="M{x:.1f} 0V{y}"/><text class="idle" x="{x:.1f}" y="{text}">{time}</text>')


def _axis(rows: Sequence[Row]) -> Mapping[int, float]:
    """Where each beginning and end stands, px. Every bar is wide enough for its words, and none loses its order."""
    ticks = sorted({row.start_ns for row in rows} | {row.end_ns for row in rows})
    widths = []
    for begin, end in pairwise(ticks):
        busy = any(row.start_ns <= begin and end <= row.end_ns for row in rows)
        widths.append(6.0 if busy else _IDLE if end - begin >= _IDLE_NS else _PAUSE)
    for row in sorted(rows, key=lambda one: one.end_ns - one.start_ns):
        first, last = ticks.index(row.start_ns), ticks.index(row.end_ns)
        lack = _least_width(row) - sum(widths[first:last])
        if lack > 0:
            whole = max(1, ticks[last] - ticks[first])
            for index in range(first, last):
                widths[index] += lack * (ticks[index + 1] - ticks[index]) / whole
    place, x = {ticks[0]: 8.0}, 8.0
    for tick, width in zip(ticks[1:], widths, strict=True):
        x += width
        place[tick] = x
    return place


def _least_width(row: Row) -> float:
    """The least width in which the words of a bar can be read, px."""
    return 20 + _LETTER * max(len(_upper(row)), len(_lower(row)))


def _lines(members: Sequence[Row], place: Mapping[int, float]) -> dict[int, int]:
    """On which line of its lane each bar stands: the first that is free."""
    lines: dict[int, int] = {}
    free: list[float] = []
    for one in members:
        line = next((line for line, end in enumerate(free) if end < place[one.start_ns]), len(free))
        free[line : line + 1] = [place[one.end_ns]]
        lines[one.number] = line
    return lines


def _bar(one: Row, place: Mapping[int, float], top: int) -> Markup:
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
        first=top + 13,
        second=top + 26,
        upper=_upper(one),
        lower=_lower(one),
    )


def _gaps(rows: Sequence[Row], place: Mapping[int, float], bottom: int) -> Iterator[Markup]:
    ended = rows[0].start_ns
    for one in sorted(rows, key=lambda each: each.start_ns):
        if one.start_ns - ended >= _IDLE_NS:
            x = (place[one.start_ns] + place[ended]) / 2
            yield _GAP.format(x=x, y=bottom, text=bottom + 13, time=_time(one.start_ns - ended))
        ended = max(ended, one.end_ns)


def _time(elapsed_ns: int) -> str:
    if elapsed_ns >= _SECOND_NS:
        return f"{elapsed_ns / 1e9:.1f} s"
    return f"{elapsed_ns / 1e6:.{0 if elapsed_ns > _IDLE_NS else 1}f} ms"


def _crossings(rows: Sequence[Row]) -> str:
    """Which requests were under way at the same time, in words."""
    found = [
        f"{first.number} and {second.number}"
        for index, first in enumerate(rows)
        for second in rows[index + 1 :]
        if first.start_ns <= second.end_ns and second.start_ns <= first.end_ns
    ]
    return ", ".join(found[:6])
