"""The two houses say the same of a session's life: the mock's table and the checker's oracle, pair by pair.

The only test that sees both. Neither is derived from the other, so what one of them has wrong shows here.
"""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from qashier_contract import oracle

from qashier_mock import answers
from qashier_mock.cli import control
from qashier_mock.core.lifecycle import TRANSITIONS, Trigger
from qashier_mock.core.model import EventType, PaymentStatus, Status

STATES = [
    oracle.State(status, payment_status)
    for status, payment_status in (
        ("open", "unpaid"),
        ("open", "no_payment_required"),
        ("complete", "paid"),
        ("complete", "no_payment_required"),
        ("expired", "unpaid"),
        ("expired", "no_payment_required"),
    )
]
"""Every state that a session can be in."""


def test_they_know_the_same_types_of_events() -> None:
    """The client and the command line spell them once more, because they import no enum to start."""
    types = [str(each) for each in EventType]
    assert list(oracle.EVENTS_OF.values()) == types == list(get_args(answers.EventType)) == list(control.EVENTS)


def test_they_know_the_same_triggers() -> None:
    assert {trigger.value for trigger in Trigger} == {act.value for act in oracle.Act}


@pytest.mark.parametrize(("state", "trigger"), list(product(STATES, Trigger)))
def test_they_agree_on_every_pair(state: oracle.State, trigger: Trigger) -> None:
    move = TRANSITIONS.get((Status(state.status), trigger))
    after = oracle.step(state, oracle.Act(trigger.value))
    if move is None:
        assert after is None
        return
    free = state.payment_status == PaymentStatus.NO_PAYMENT_REQUIRED
    payment_status = state.payment_status if free else move.payment_status.value  # AMT-6
    assert after == oracle.State(move.status.value, payment_status)
    event = oracle.EVENTS_OF.get(after.status) if after.status != state.status else None
    assert event == (None if move.event is None else move.event.value)


def test_both_can_get_into_every_state_that_is_compared() -> None:
    reached = {oracle.opened(0), oracle.opened(1)}
    for state, act in product(sorted(reached), oracle.Act):
        reached |= {after for after in [oracle.step(state, act)] if after is not None}
    assert reached == set(STATES)
