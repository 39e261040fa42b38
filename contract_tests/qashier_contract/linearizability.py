"""Whether a concurrent history of one session is linearizable (CON-1). Pure; knows no target.

A session is a register that leaves `open` once. Each operation began at `call` and ended at `end`; what it answered
says whether it saw the session open, saw it terminal, or ended it itself. The history is linearizable if the operations
can be put in one order that respects these intervals and explains every answer.

`linearize` uses that there is a single change: there must be an instant at which it happened, inside the interval of
the operation that made it, not before the last call that saw `open` could see it, not after the first end that saw the
terminal status. `search` is the generic checker, slow and for any model: it proves the first one right in tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NEVER: Final = 2**63
"""The end of an operation whose outcome is unknown: it may take effect at any time after its call, or not at all."""


class Saw(StrEnum):
    """What the answer of an operation tells."""

    OPEN = "open"
    """It read the session open, or a payment failed, which only an open one allows."""
    ENDED = "ended"
    """It made the session terminal."""
    TERMINAL = "terminal"
    """It read the session terminal, or was refused because it is."""
    UNKNOWN = "unknown"
    """It tried to make the session terminal, and no answer came."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. `to` is the terminal status that it made, tried to make, or saw; None where it does not tell."""

    call: int
    end: int
    saw: Saw
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Why a history is not linearizable: in words, and the operations that disagree, by their place in it."""

    reason: str
    places: tuple[int, ...]


def linearize(ops: Sequence[Op]) -> Anomaly | None:
    """The first anomaly of a session's history, or None if it is linearizable."""
    ended = [place for place, op in enumerate(ops) if op.saw is Saw.ENDED]
    if len(ended) > 1:
        return Anomaly("more than one operation ended the session", tuple(ended))
    statuses: dict[str, int] = {}
    for place, op in enumerate(ops):
        if op.saw in {Saw.ENDED, Saw.TERMINAL} and op.to is not None:
            statuses.setdefault(op.to, place)
    if len(statuses) > 1:
        return Anomaly("the session was seen in two terminal statuses", tuple(sorted(statuses.values())))
    opens = [place for place, op in enumerate(ops) if op.saw is Saw.OPEN]
    terminals = [place for place, op in enumerate(ops) if op.saw is Saw.TERMINAL]
    if not ended and not terminals:
        return None
    latest = max(opens, key=lambda place: ops[place].call, default=None)
    earliest = min(terminals, key=lambda place: ops[place].end, default=None)
    seen = next(iter(statuses), None)
    candidates = ended or [
        place for place, op in enumerate(ops) if op.saw is Saw.UNKNOWN and (seen is None or op.to in {None, seen})
    ]
    if not candidates:
        return Anomaly("the session became terminal, and no operation ended it", tuple(terminals[:1]))
    for place in candidates:
        begin = max(ops[place].call, ops[latest].call if latest is not None else -1)
        finish = min(ops[place].end, ops[earliest].end if earliest is not None else NEVER)
        if begin <= finish:
            return None
    story = {place for place in (latest, earliest, candidates[0]) if place is not None}
    return Anomaly("the session was seen open after it had been terminal", tuple(sorted(story)))
