"""The special checker, by the generic one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from qashier_contract.linearizability import NEVER, Op, Saw, linearize, search, session_step


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
