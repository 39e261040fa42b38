"""The table that changes sessions, and the laws that hold whatever happens to one."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_harness import ACCOUNT, NOW, order

from qashier_mock.core.errors import CurrencyMixed, ExpiresAtOutOfRange, SessionNotOpen
from qashier_mock.core.lifecycle import LONGEST_LIFE, SHORTEST_LIFE, TRANSITIONS, Trigger, advance, open_session
from qashier_mock.core.model import CheckoutSession, CreateSession, EventType, LineItem, PaymentStatus, Status

CUSTOMERS = (Trigger.PAYMENT_SUCCEEDED, Trigger.PAYMENT_FAILED, Trigger.PAYMENT_CANCELED)
LINES = st.builds(
    LineItem,
    name=st.text(min_size=1, max_size=5),
    description=st.none() | st.text(min_size=1, max_size=5),
    currency=st.just("SGD"),
    unit_amount=st.integers(0, 99_999_999),
    quantity=st.integers(1, 10_000),
)
BASKETS = st.lists(LINES, min_size=1, max_size=100).map(tuple)
HISTORIES = st.lists(st.tuples(st.sampled_from(Trigger), st.integers(0, 50_000)), max_size=20)


def opened(params: CreateSession | None = None, *, now: int = NOW) -> CheckoutSession:
    return open_session(
        params or order(), session_id="cs_test_1", account=ACCOUNT, sequence=3, now=now, pay_url="http://m/pay/"
    )


def test_a_new_session_is_what_was_asked_for() -> None:
    lines = (LineItem("Tea", None, "JPY", 350, 2), LineItem("Cake", "With cream", "JPY", 420, 1))
    session = opened(order(line_items=lines, cancel_url="https://shop.example/basket"))
    assert session == CheckoutSession(
        id="cs_test_1",
        account=ACCOUNT,
        sequence=3,
        currency="JPY",
        line_items=lines,
        amount_total=1_120,
        created=NOW,
        expires_at=NOW + 86_400,
        status=Status.OPEN,
        payment_status=PaymentStatus.UNPAID,
        success_url="https://shop.example/orders/1/thanks",
        return_url="https://shop.example/orders/1",
        cancel_url="https://shop.example/basket",
        url="http://m/pay/cs_test_1",
    )
    assert session.is_open


@pytest.mark.parametrize("life", [1_800, 1_801, 86_399, 86_400])
def test_cre_7_both_bounds_of_the_expiry_window_are_accepted(life: int) -> None:
    assert opened(order(expires_at=NOW + life)).expires_at == NOW + life


@pytest.mark.parametrize("life", [-1, 0, 1_799, 86_401])
def test_cre_7_an_expiry_outside_the_window_is_refused_and_the_window_is_told(life: int) -> None:
    with pytest.raises(ExpiresAtOutOfRange) as refused:
        opened(order(expires_at=NOW + life))
    assert f"{NOW + life} is outside" in refused.value.message
    assert f"from {NOW + 1_800} " in refused.value.message
    assert f"to {NOW + 86_400} " in refused.value.message
    assert refused.value.param == "expires_at"


def test_cre_13_the_first_line_of_another_currency_is_to_blame() -> None:
    lines = tuple(LineItem("Tea", None, code, 1, 1) for code in ("SGD", "SGD", "MYR", "PHP"))
    with pytest.raises(CurrencyMixed) as refused:
        opened(order(line_items=lines))
    assert refused.value.param == "line_items[2].price_data.currency"
    assert "line 0 has SGD, line 2 has MYR" in refused.value.message


@given(BASKETS)
def test_amt_1_2_7_totals_are_exact_sums(lines: tuple[LineItem, ...]) -> None:
    session = opened(order(line_items=lines))
    assert session.amount_total == sum(line.amount_total for line in session.line_items)
    assert all(line.amount_total == line.unit_amount * line.quantity for line in session.line_items)
    assert session.amount_total < 2**53


@given(BASKETS)
def test_amt_5_a_line_is_called_by_its_description_or_its_name(lines: tuple[LineItem, ...]) -> None:
    for line in lines:
        assert line.label == (line.description or line.name)


@pytest.mark.parametrize(("status", "trigger"), list(product(Status, Trigger)))
def test_each_pair_of_status_and_trigger_moves_as_the_table_says_or_is_refused(
    status: Status, trigger: Trigger
) -> None:
    session = replace(opened(), status=status)
    now = session.expires_at if trigger is Trigger.DEADLINE_PASSED else NOW
    move = TRANSITIONS.get((status, trigger))
    if move is None:
        with pytest.raises(SessionNotOpen, match=f"cs_test_1 is {status}"):
            advance(session, trigger, now)
    else:
        moved, event = advance(session, trigger, now)
        assert (moved.status, moved.payment_status, event) == (move.status, move.payment_status, move.event)


def test_the_table_is_the_documented_lifecycle() -> None:
    assert {status for status, _ in TRANSITIONS} == {Status.OPEN}
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)
    ends = {trigger: (move.status, move.event) for (_, trigger), move in TRANSITIONS.items()}
    assert ends == {
        Trigger.PAYMENT_SUCCEEDED: (Status.COMPLETE, EventType.COMPLETED),
        Trigger.PAYMENT_FAILED: (Status.OPEN, None),
        Trigger.PAYMENT_CANCELED: (Status.OPEN, None),
        Trigger.EXPIRE_REQUESTED: (Status.EXPIRED, EventType.EXPIRED),
        Trigger.DEADLINE_PASSED: (Status.EXPIRED, EventType.EXPIRED),
    }


@pytest.mark.parametrize("trigger", [each for each in Trigger if each is not Trigger.DEADLINE_PASSED])
def test_exp_7_at_the_deadline_nothing_but_the_clock_moves_a_session(trigger: Trigger) -> None:
    session = opened()
    advance(session, trigger, session.expires_at - 1)
    with pytest.raises(SessionNotOpen, match="is expired"):
        advance(session, trigger, session.expires_at)


def test_exp_7_one_second_before_the_deadline_the_clock_does_not_move_it() -> None:
    session = opened()
    with pytest.raises(SessionNotOpen, match="is open"):
        advance(session, Trigger.DEADLINE_PASSED, session.expires_at - 1)
    moved, event = advance(session, Trigger.DEADLINE_PASSED, session.expires_at)
    assert (moved.status, event) == (Status.EXPIRED, EventType.EXPIRED)


@pytest.mark.parametrize("trigger", Trigger)
def test_amt_6_a_session_that_costs_nothing_needs_no_payment_for_life(trigger: Trigger) -> None:
    session = opened(order(line_items=(LineItem("Voucher", None, "MYR", 0, 1),)))
    assert session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED
    now = session.expires_at if trigger is Trigger.DEADLINE_PASSED else NOW
    moved, _ = advance(session, trigger, now)
    assert moved.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED


@given(st.integers(SHORTEST_LIFE, LONGEST_LIFE), st.integers(0, 1), HISTORIES)
def test_whatever_happens_an_ended_session_stays_as_it_is_and_has_told_of_it_once(
    life: int, price: int, history: list[tuple[Trigger, int]]
) -> None:
    """RET-4, EVT-5: only the statuses ever change, a terminal one never, and each change gives rise to one event."""
    first = session = opened(order(line_items=(LineItem("Tea", None, "SGD", price, 1),), expires_at=NOW + life))
    now, events = NOW, []
    for trigger, seconds in history:
        now += seconds
        before = session
        try:
            session, event = advance(session, trigger, now)
        except SessionNotOpen:
            continue
        assert before.is_open
        assert (event is None) == (session.status is before.status)
        events += [event] if event else []
    assert len(events) == (0 if session.is_open else 1)
    assert replace(session, status=first.status, payment_status=first.payment_status) == first
    paid = session.status is Status.COMPLETE and price > 0
    assert (session.payment_status is PaymentStatus.PAID) == paid
