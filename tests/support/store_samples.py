"""A value of each kind that stores keep; no field ends_frozen at its default."""

from __future__ import annotations

import dataclasses

from mock_harness import NOW
from store_harness import ACCOUNTS

from qashier_mock.core.account import AccountState, ClockMove
from qashier_mock.core.advice import Advice, AdviceKind, AdviceNote
from qashier_mock.core.delivery import Attempt, Delivery, Outcome
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.model import (
    AccountClock,
    CheckoutSession,
    Event,
    EventType,
    LineItem,
    PaymentStatus,
    Profile,
    Status,
    WebhookEndpoint,
)

ONE, _ = ACCOUNTS

SESSION = CheckoutSession(
    id="cs_test_1",
    account=ONE,
    sequence=0,
    currency="JPY",
    line_items=(
        LineItem("Tea \N{TEACUP WITHOUT HANDLE} \0", "Green, 日本", "JPY", 350, 2),
        LineItem("Free", None, "JPY", 0, 1),
    ),
    amount_total=700,
    created=NOW,
    expires_at=NOW + 1_800,
    status=Status.OPEN,
    payment_status=PaymentStatus.UNPAID,
    success_url="https://shop.example/thanks",
    return_url="https://shop.example/order",
    cancel_url="https://shop.example/basket",
    url="http://mock.test/pay/cs_test_1",
)
RULE = FaultRule(
    id="flt_1",
    action=FaultAction.STATUS,
    operation="create_checkout_session",
    webhook="*",
    seconds=1.5,
    status=429,
    retry_after=7,
    times=3,
    probability=0.25,
    applied=2,
)
ENDPOINT = WebhookEndpoint("we_1", "http://shop.example/hooks", (EventType.EXPIRED,), "whsec_\N{KEY}")
NOTE = AdviceNote(Advice(AdviceKind.UNKNOWN_FIELD, "A message", "metadata", "mode"), "req_9", NOW, 4)
DELIVERY = Delivery("dlv_1", "evt_1", "we_1", NOW, 3, is_held=True, is_dropped=True, is_missigned=True)
ATTEMPT = Attempt(
    delivery_id="dlv_1",
    event_id="evt_1",
    event_type="checkout.session.expired",
    session_id="cs_test_1",
    endpoint_id="we_1",
    url="http://shop.example/hooks",
    number=3,
    at=NOW,
    due=NOW - 5,
    status=500,
    error="it hurt",
    duration_ms=12.25,
    outcome=Outcome.FAILED,
    next_try=NOW + 60,
)
EVENT = Event(
    "evt_1",
    EventType.EXPIRED,
    ONE,
    NOW + 9,
    dataclasses.replace(SESSION, status=Status.EXPIRED, payment_status=PaymentStatus.NO_PAYMENT_REQUIRED),
    "req_1",
    "key 1",
)
STATE = AccountState(
    profile=Profile(clock=AccountClock(offset=-5, frozen_at=NOW), strict=True, seed=2**53 - 1),
    faults=(RULE,),
    endpoints=(ENDPOINT,),
    advice=(NOTE,),
    drawn=12,
    sessions=3,
    newest=NOW,
    deadline=NOW + 1,
    ticks=4,
    oldest_answer=NOW - 7,
    attempts=5,
    delivery_due=NOW + 2,
    move=ClockMove(6, ends_frozen=True),
)
ENTRY = JournalEntry(
    "req_1", "retrieve", "GET", b"/checkout/\xff\0?x=1", 200, NOW, 0.25, "key 1", b"\xff\0", b'{"id": "\xc3\xa9"}'
)
