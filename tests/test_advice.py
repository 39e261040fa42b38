"""What is advised against, and when: the rules, each on its own."""

from dataclasses import replace

import pytest
from mock_harness import ACCOUNT, NOW, order

from qashier_mock.core.advice import (
    INSECURE_URL,
    MISSING_KEY,
    NO_ENDPOINT,
    NOT_CONFIRMED,
    REUSED_KEY,
    TIGHT_POLLING,
    TIGHT_POLLS,
    TIGHT_WINDOW,
    AdviceKind,
    PollWatch,
    about_webhooks,
    is_insecure,
    unknown_field,
)
from qashier_mock.core.delivery import Attempt, Outcome
from qashier_mock.core.lifecycle import open_session
from qashier_mock.core.model import Event, EventType, WebhookEndpoint

SESSION = open_session(order(), session_id="cs_test_1", account=ACCOUNT, sequence=0, now=NOW, pay_url="http://m/pay/")
EVENT = Event("evt_1", EventType.COMPLETED, ACCOUNT, NOW, SESSION)
ENDPOINT = WebhookEndpoint("we_1", "http://127.0.0.1:9")
FAILED = Attempt(
    delivery_id="dlv_1",
    event_id="evt_1",
    event_type="checkout.session.completed",
    session_id="cs_test_1",
    endpoint_id="we_1",
    url="http://127.0.0.1:9",
    number=1,
    at=NOW + 5,
    due=NOW + 5,
    status=500,
    error=None,
    duration_ms=1.0,
    outcome=Outcome.FAILED,
    next_try=NOW + 15,
)
DELIVERED = replace(FAILED, at=NOW + 15, number=2, status=200, outcome=Outcome.DELIVERED, next_try=None)
DROPPED = replace(FAILED, status=None, error="dropped by a fault rule", outcome=Outcome.DROPPED, next_try=None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://shop.example/thanks", True),
        ("HTTP://shop.example", True),
        ("https://shop.example", False),
        ("http://localhost:3000/thanks", False),
        ("http://LOCALHOST", False),
        ("http://127.0.0.1:8000/x", False),
        ("http://0.0.0.0/x", False),
        ("http://shop.localhost:8000/x", False),
        ("http://127.0.1.1/x", False),
        ("http://localhost.example", True),
        ("http://notlocalhost", True),
        ("http://127.0.0.1.example", True),
        ("http://10.0.0.1", True),
        ("http://shop.example/http://localhost", True),
    ],
)
def test_plain_http_is_fine_on_this_machine_only(url: str, expected: bool) -> None:  # noqa: FBT001
    assert is_insecure(url) is expected


def test_an_unknown_field_is_named_with_the_nearest_known_one() -> None:
    near = unknown_field("line_items[0].quantty", "quantity")
    assert near.message.endswith("line_items[0].quantty; did you mean quantity?")
    assert (near.kind, near.param) == (AdviceKind.UNKNOWN_FIELD, "line_items[0].quantty")
    assert unknown_field("metadata", None).message.endswith("ignores: metadata")


def test_each_kind_of_advice_about_a_request_says_what_to_do_instead() -> None:
    told = {
        each.kind: each for each in (MISSING_KEY, REUSED_KEY, INSECURE_URL, TIGHT_POLLING, NO_ENDPOINT, NOT_CONFIRMED)
    }
    assert len(told) == 6
    assert all(". " in each.message or "; " in each.message for each in told.values())


def test_tight_polling_is_told_once_per_stretch_of_reads() -> None:
    watch = PollWatch()
    assert [watch.note("cs_1", NOW) for _ in range(TIGHT_POLLS + 3)].index(True) == TIGHT_POLLS - 1
    assert not watch.note("cs_1", NOW + TIGHT_WINDOW)


def test_another_session_or_a_pause_starts_the_count_again() -> None:
    watch = PollWatch()
    for _ in range(5):
        assert not any(watch.note("cs_1", NOW) for _ in range(TIGHT_POLLS - 1))
        assert not watch.note("cs_2", NOW)
    assert not any(watch.note("cs_1", NOW) for _ in range(TIGHT_POLLS - 1))
    assert not watch.note("cs_1", NOW + TIGHT_WINDOW + 1)


def kinds(
    *, has_event: bool = True, endpoints: int = 1, attempts: tuple[Attempt, ...] = (), unconfirmed: tuple[str, ...] = ()
) -> dict[str, int]:
    notes = about_webhooks(
        first_event=EVENT if has_event else None,
        endpoints=[ENDPOINT] * endpoints,
        attempts=attempts,
        unconfirmed=unconfirmed,
    )
    assert all(note.count == 1 and note.request_id is None for note in notes)
    return {note.advice.kind: note.at for note in notes}


def test_a_quiet_account_is_told_nothing() -> None:
    assert kinds(has_event=False, endpoints=0) == {}
    assert kinds(attempts=(FAILED, DELIVERED)) == {}
    assert kinds(attempts=(DROPPED,)) == {}


def test_events_without_an_endpoint_are_lost() -> None:
    assert kinds(endpoints=0) == {"no_webhook_endpoint": NOW}


def test_an_endpoint_that_only_fails_is_named() -> None:
    assert kinds(attempts=(FAILED,)) == {"webhook_never_acknowledged": NOW + 5}
    (note,) = about_webhooks(first_event=EVENT, endpoints=[ENDPOINT], attempts=[FAILED], unconfirmed=())
    assert "we_1" in note.advice.message
    assert kinds(attempts=(replace(FAILED, endpoint_id="we_gone"),)) == {}
    assert kinds(attempts=(FAILED, replace(DELIVERED, endpoint_id="we_2"))) == {"webhook_never_acknowledged": NOW + 5}


def test_an_acknowledged_webhook_wants_its_session_retrieved() -> None:
    assert kinds(attempts=(DELIVERED,), unconfirmed=("cs_test_1",)) == {"webhook_not_confirmed": NOW + 15}
    assert kinds(attempts=(DELIVERED,), unconfirmed=("cs_test_2",)) == {}
