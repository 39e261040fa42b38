"""The special checker, by the generic one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from qashier_contract.linearizability import NEVER, Op, Saw, linearize

S = TypeVar("S", bound="Hashable")
O = TypeVar("O")  # noqa: E741 - the letter the literature uses


def search(
    ops: Sequence[O],
    initial: S,
    step: Callable[[S, O], Sequence[S]],
    interval: Callable[[O], tuple[int, int]],
) -> bool:
    """Whether some order that respects the intervals explains every operation, by trying them all.

    Args:
        ops: The operations. Beyond a dozen that all overlap, this takes seconds.
        initial: The state before the first.
        step: The states that an operation with its answer can lead to from a state; none if it cannot be explained.
        interval: When an operation began and ended; an end of `NEVER` lets it come last, or not at all.
    """
    everything = (1 << len(ops)) - 1
    optional = sum(1 << place for place, op in enumerate(ops) if interval(op)[1] >= NEVER)
    seen: set[tuple[int, S]] = set()
    stack: list[tuple[int, S]] = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if (done | optional) == everything:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        waiting = [place for place in range(len(ops)) if not done >> place & 1]
        deadline = min(interval(ops[place])[1] for place in waiting)
        for place in waiting:
            if interval(ops[place])[0] <= deadline:
                stack.extend((done | 1 << place, after) for after in step(state, ops[place]))
    return False


def session_step(state: str, op: Op) -> Sequence[str]:
    """The model of `linearize` for `search`: the state is a status, and what an operation saw must fit it."""
    if op.saw is Saw.OPEN:
        return ["open"] if state == "open" else []
    if op.saw is Saw.TERMINAL:
        return [state] if state != "open" and op.to in {None, state} else []
    ends = [op.to] if op.to is not None else ["complete", "expired"]
    if op.saw is Saw.ENDED:
        return ends if state == "open" else []
    return [*ends, "open"] if state == "open" else [state]


def interval(op: Op) -> tuple[int, int]:
    return op.call, op.end


def is_linearizable(ops: list[Op]) -> bool:
    return search(ops, "open", session_step, interval)


@st.composite
def ops(draw: st.DrawFn) -> Op:
    call = draw(st.integers(0, 12))
    saw = draw(st.sampled_from(list(Saw)))
    end = NEVER if saw is Saw.UNKNOWN else call + draw(st.integers(0, 6))
    to = None if saw is Saw.OPEN else draw(st.sampled_from(["complete", "expired"]))
    return Op(call, end, saw, None if saw is Saw.TERMINAL and draw(st.booleans()) else to)


@given(st.lists(ops(), max_size=7))
def test_the_special_checker_agrees_with_the_generic_one(history: list[Op]) -> None:
    assert (linearize(history) is None) is is_linearizable(history)


def test_one_winner_is_fine() -> None:
    history = [
        Op(0, 5, Saw.ENDED, "complete"),
        Op(1, 6, Saw.TERMINAL),
        Op(0, 1, Saw.OPEN),
        Op(7, 8, Saw.TERMINAL, "complete"),
    ]
    assert linearize(history) is None


def test_two_winners_are_an_anomaly() -> None:
    anomaly = linearize([Op(0, 5, Saw.ENDED, "complete"), Op(1, 6, Saw.ENDED, "expired")])
    assert anomaly is not None
    assert anomaly.places == (0, 1)


def test_open_after_terminal_is_an_anomaly() -> None:
    assert linearize([Op(0, 1, Saw.ENDED, "complete"), Op(2, 3, Saw.OPEN)]) is not None


def test_terminal_without_a_cause_is_an_anomaly() -> None:
    assert linearize([Op(0, 1, Saw.TERMINAL, "expired")]) is not None


def test_a_lost_answer_may_be_the_cause() -> None:
    assert linearize([Op(0, NEVER, Saw.UNKNOWN, "expired"), Op(5, 6, Saw.TERMINAL, "expired")]) is None
