"""Webhooks to real receivers on loopback: signature, retries on the account's clock, order, disorder, what hangs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_harness import HANG, NOW, Client, Json, Received, Receiver, basket

from qashier_mock import MockApp, webhooks
from qashier_mock.core.policy import Policy
from qashier_mock.core.signing import sign
from qashier_mock.core.sources import ManualClock
from qashier_mock.machine import MachineClock

MakeClient = Callable[..., Client]
RETRIES = [10, 60, 300, 1_800, 7_200, 21_600, 43_200]


@pytest.fixture
def second(runner: asyncio.Runner) -> Iterator[Receiver]:
    """Another receiver."""
    receiver = Receiver()
    runner.run(receiver.start())
    yield receiver
    runner.run(receiver.stop())


@pytest.fixture
def shop(client: Client, receiver: Receiver) -> Client:
    """A client whose clock stands and whose webhooks go to the receiver."""
    client.freeze()
    client.subscribe(receiver.url)
    return client


def flush(client: Client) -> list[Json]:
    attempts: list[Json] = client.ok("POST", "/_mock/v1/deliveries/flush")["data"]
    return attempts


def paid(client: Client) -> str:
    session: str = client.create()["id"]
    assert client.pay(session).status == 200
    return session


# the signature


def test_evt_7_the_signature_is_base64_of_hmac_sha256_over_the_raw_body() -> None:
    expected = base64.b64encode(hmac.new(b"whsec_1", b'{"id":"evt_1"}', hashlib.sha256).digest()).decode()
    assert sign(b'{"id":"evt_1"}', "whsec_1") == expected


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_evt_7_any_text_is_a_secret_as_it_stands(body: bytes, secret: str) -> None:
    expected = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    assert base64.b64decode(sign(body, secret), validate=True) == expected


@pytest.mark.parametrize("secret", ["whsec_1", " padded \n", "géheim\U0001f511", "c2VjcmV0"])
def test_evt_6_and_7_a_webhook_is_signed_json(client: Client, receiver: Receiver, secret: str) -> None:
    client.subscribe(receiver.url, secret=secret)
    session = paid(client)
    flush(client)
    (received,) = receiver.received
    (event,) = client.data("events")
    assert received.event == event
    assert event["data"]["object"] == client.retrieve(session)
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-qashier-sign"] == sign(received.body, secret)
    assert received.path == "/hooks"


def test_evt_7_without_a_secret_nothing_is_signed(shop: Client, receiver: Receiver) -> None:
    paid(shop)
    flush(shop)
    assert "x-qashier-sign" not in receiver.received[0].headers


@pytest.mark.parametrize("encoding", ["base64", "hex"])
def test_the_policy_names_header_and_encoding_of_the_signature(
    make_client: MakeClient, receiver: Receiver, encoding: str
) -> None:
    client = make_client(policy=Policy(signature_header="x-signature", signature_encoding=encoding))
    client.subscribe(receiver.url, secret="s")
    paid(client)
    flush(client)
    headers, body = receiver.received[0].headers, receiver.received[0].body
    digest = hmac.new(b"s", body, hashlib.sha256).digest()
    expected = {"base64": base64.b64encode(digest).decode(), "hex": digest.hex()}
    assert headers["x-signature"] == sign(body, "s", encoding=encoding) == expected[encoding]
    assert "x-qashier-sign" not in headers


# who gets what


def test_evt_6_every_endpoint_of_that_moment_gets_what_it_asked_for(
    shop: Client, receiver: Receiver, second: Receiver
) -> None:
    shop.subscribe(second.url, types=["checkout.session.expired"])
    paid(shop)
    shop.expire(shop.create()["id"])
    flush(shop)
    assert sorted(receiver.types) == ["checkout.session.completed", "checkout.session.expired"]
    assert second.types == ["checkout.session.expired"]


def test_evt_6_an_endpoint_that_comes_later_gets_nothing_of_before(shop: Client, second: Receiver) -> None:
    paid(shop)
    shop.subscribe(second.url)
    flush(shop)
    assert second.received == []


def test_an_endpoint_that_is_removed_gets_nothing_more(shop: Client, receiver: Receiver) -> None:
    (endpoint,) = shop.data("webhook-endpoints")
    paid(shop)
    shop.delete(f"/_mock/v1/webhook-endpoints/{endpoint['id']}")
    assert flush(shop) == []
    shop.advance(86_400)
    assert receiver.received == []


def test_webhooks_stay_within_the_account(shop: Client, receiver: Receiver) -> None:
    paid(shop.other)
    flush(shop.other)
    flush(shop)
    assert receiver.received == []


def test_the_servers_own_endpoints_get_the_events_of_every_account(make_client: MakeClient, receiver: Receiver) -> None:
    client = make_client(webhook_urls=[receiver.url], webhook_secret="whsec_all")
    for each in (client, client.other):
        paid(each)
        flush(each)
    assert len({received.event["account"] for received in receiver.received}) == 2
    assert all(each.headers["x-qashier-sign"] == sign(each.body, "whsec_all") for each in receiver.received)


def test_webhooks_go_only_where_the_server_lets_them(make_client: MakeClient, receiver: Receiver) -> None:
    client = make_client(webhook_hosts=frozenset({"127.0.0.1"}))
    client.subscribe(receiver.url)
    refused = client.post("/_mock/v1/webhook-endpoints", {"url": "http://elsewhere.example/hooks"})
    assert (refused.status, refused.error["param"]) == (422, "url")
    assert "--webhook-allow elsewhere.example" in refused.error["message"]
    paid(client)
    flush(client)
    assert len(receiver.received) == 1


def test_a_configured_endpoint_beyond_the_allowed_hosts_is_not_called(
    make_client: MakeClient, receiver: Receiver
) -> None:
    client = make_client(webhook_urls=[receiver.url], webhook_hosts=frozenset({"shop.example"}))
    paid(client)
    (attempt,) = flush(client)
    assert (attempt["status"], attempt["outcome"]) == (None, "failed")
    assert "--webhook-allow 127.0.0.1" in attempt["error"]
    assert receiver.received == []


# the body


def test_no_common_library_writes_the_bytes_of_a_webhook(shop: Client, receiver: Receiver) -> None:
    """An integration that verifies the signature over JSON written again must fail here, as it does in production."""
    paid(shop)
    flush(shop)
    (received,) = receiver.received
    again = []
    for sort_keys, ascii_, indent in itertools.product([False, True], [False, True], [None, 0, 2, 4, "\t"]):
        for separators in (None, (",", ":"), (", ", ": "), (",", ": ")):
            text = json.dumps(
                received.event, sort_keys=sort_keys, ensure_ascii=ascii_, indent=indent, separators=separators
            )
            again += [text, text.replace("/", r"\/"), text + "\n"]
    assert received.body not in [text.encode() for text in again]
    assert received.body.count(b"\n") == 0, "and it stays one line in a log"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_signature_tells_that_the_raw_body_is_signed(client: Client, receiver: Receiver, status: int) -> None:
    client.freeze()
    client.subscribe(receiver.url, secret="whsec_1")
    receiver.answers.append(status)
    paid(client)
    (attempt,) = flush(client)
    assert (attempt["status"], attempt["outcome"]) == (status, "failed")
    assert "over the body's bytes as they came" in attempt["error"]
    (advice,) = [each for each in client.data("advice") if each["kind"] == "webhook_never_acknowledged"]
    assert f"It answered {status}: {attempt['error']}." in advice["message"]


def test_nobody_is_told_to_check_a_secret_that_an_endpoint_has_not(client: Client, receiver: Receiver) -> None:
    client.freeze()
    client.subscribe(receiver.url)
    receiver.answers.append(404)
    paid(client)
    (attempt,) = flush(client)
    assert (attempt["status"], attempt["error"]) == (404, None)
    (advice,) = [each for each in client.data("advice") if each["kind"] == "webhook_never_acknowledged"]
    assert "secret" not in advice["message"]


def test_a_refusal_of_a_forged_signature_says_that_it_was_forged_on_purpose(client: Client, receiver: Receiver) -> None:
    client.subscribe(receiver.url, secret="whsec_1")
    client.break_(webhook="*", action="bad_signature", times=1)
    receiver.answers.append(401)
    paid(client)
    (attempt,) = flush(client)
    assert "on purpose" in attempt["error"]


# retries


def test_evt_6_a_failed_delivery_is_tried_again_on_the_accounts_clock_and_then_given_up(
    shop: Client, receiver: Receiver
) -> None:
    receiver.answers.extend([500] * 20)
    paid(shop)
    (first,) = flush(shop)
    assert (first["number"], first["at"], first["status"], first["next_try"]) == (1, NOW, 500, NOW + 10)
    due = NOW
    for number, delay in enumerate(RETRIES, start=2):
        due += delay
        shop.advance(delay - 1)
        assert len(receiver.received) == number - 1
        shop.advance(1)
        assert len(receiver.received) == number
        assert shop.data("deliveries")[-1]["at"] == due
    assert shop.data("deliveries")[-1]["next_try"] is None
    shop.advance(30 * 86_400)
    assert len(receiver.received) == len(RETRIES) + 1
    assert len({each.event["id"] for each in receiver.received}) == 1
    assert len({each.body for each in receiver.received}) == 1


def test_one_move_of_the_clock_makes_all_tries_at_their_times(shop: Client, receiver: Receiver) -> None:
    receiver.answers.extend([500, 404, 301, 100])
    paid(shop)
    shop.advance(86_400)
    attempts = shop.data("deliveries")
    assert [each["at"] - NOW for each in attempts] == [0, 10, 70, 370, 2_170]
    assert [each["due"] for each in attempts] == [each["at"] for each in attempts]
    assert [each["outcome"] for each in attempts] == ["failed"] * 4 + ["delivered"]
    assert [each["next_try"] for each in attempts] == [each["at"] for each in attempts[1:]] + [None]
    assert len({each["id"] for each in attempts}) == 1


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_evt_6_any_2xx_ends_it(shop: Client, receiver: Receiver, status: int) -> None:
    receiver.answers.append(status)
    paid(shop)
    shop.advance(86_400)
    assert len(receiver.received) == 1


def test_a_redirect_is_not_followed(shop: Client, receiver: Receiver) -> None:
    receiver.answers.append(307)
    paid(shop)
    (attempt,) = flush(shop)
    assert (attempt["status"], attempt["outcome"]) == (307, "failed")


def test_an_endpoint_that_is_not_there_is_tried_again(shop: Client, receiver: Receiver, runner: asyncio.Runner) -> None:
    runner.run(receiver.close())
    paid(shop)
    (attempt,) = flush(shop)
    assert (attempt["status"], attempt["outcome"], attempt["next_try"]) == (None, "failed", NOW + 10)
    assert attempt["error"]


@pytest.mark.parametrize(
    "error", [RuntimeError("a surprise"), KeyError("\udcff\0"), UnicodeError(), ExceptionGroup("two", [OSError()])]
)
def test_evt_6_whatever_goes_wrong_in_an_attempt_it_has_failed_and_is_tried_again(
    shop: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_: object) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(shop.app.dispatcher, "_send", fail)
        paid(shop)
        (attempt,) = flush(shop)
    assert (attempt["status"], attempt["outcome"], attempt["next_try"]) == (None, "failed", NOW + 10)
    assert attempt["error"].startswith(type(error).__name__)
    shop.advance(10)
    assert [each["outcome"] for each in shop.data("deliveries")] == ["failed", "delivered"]


def test_evt_6_an_attempt_that_cannot_be_recorded_is_made_again(
    shop: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> int:
        raise RuntimeError("a surprise")

    with monkeypatch.context() as patch:
        patch.setattr(shop.app.dispatcher, "_settle", fail)
        paid(shop)
        assert flush(shop) == []
    shop.advance(10)
    assert [(each["number"], each["outcome"]) for each in shop.data("deliveries")] == [(2, "delivered")]


def test_an_endpoint_that_hangs_is_given_its_time_and_tried_again(
    shop: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "ATTEMPT_TIMEOUT", 0.05)
    receiver.answers.append(HANG)
    paid(shop)
    (attempt,) = flush(shop)
    assert (attempt["status"], attempt["outcome"]) == (None, "failed")
    assert "no answer within" in attempt["error"]
    assert attempt["duration_ms"] >= 50
    shop.advance(10)
    assert [each["outcome"] for each in shop.data("deliveries")] == ["failed", "delivered"]


def test_a_hanging_endpoint_holds_up_no_other(
    shop: Client, receiver: Receiver, second: Receiver, runner: asyncio.Runner
) -> None:
    """Even if it holds as many attempts as an account may have under way at a time."""
    held = asyncio.Event()

    async def hold(_: Received) -> None:
        await held.wait()

    receiver.on_arrival = hold
    other = shop.other
    other.freeze()
    other.subscribe(second.url)
    for _ in range(webhooks.AT_ONCE_OF_AN_ACCOUNT + 3):
        paid(shop)

    async def both() -> Any:
        slow = asyncio.create_task(shop.asend("POST", "/_mock/v1/deliveries/flush"))
        await receiver.arrived(webhooks.AT_ONCE_OF_AN_ACCOUNT)
        session = (await other.asend("POST", "/checkout/sessions", basket())).json()["id"]
        await other.asend("POST", f"/_mock/v1/sessions/{session}/pay", {"outcome": "succeeded"})
        quick = await other.asend("POST", "/_mock/v1/deliveries/flush")
        held.set()
        return quick.json()["data"], (await slow).json()["data"]

    quick, slow = runner.run(both())
    assert [each["outcome"] for each in quick] == ["delivered"]
    assert [each["outcome"] for each in slow] == ["delivered"] * (webhooks.AT_ONCE_OF_AN_ACCOUNT + 3)


def test_evt_6_attempts_under_way_end_before_the_clock_moves(
    shop: Client, receiver: Receiver, runner: asyncio.Runner
) -> None:
    clocks = []

    async def look(_: Received) -> None:
        for _again in range(3):
            await asyncio.sleep(0)
            clocks.append((await shop.asend("GET", "/_mock/v1/clock")).json()["now"])

    receiver.on_arrival = look
    receiver.answers.append(500)
    paid(shop)
    shop.advance(3_600)
    assert clocks == [NOW] * 3 + [NOW + 10] * 3


def test_whatever_falls_due_happens_in_order_of_its_time(shop: Client, receiver: Receiver) -> None:
    """Retries at 10 s and 70 s, a deadline at 1,800 s, the retry of its webhook at 1,810 s, a deadline at 1,805 s."""
    at = []

    async def look(received: Received) -> None:
        now = (await shop.asend("GET", "/_mock/v1/clock")).json()["now"] - NOW
        at.append((now, received.event["data"]["object"]["id"]))

    receiver.on_arrival = look
    receiver.answers.extend([500, 500, 200, 500])
    session = paid(shop)
    first = shop.create(expires_at=NOW + 1_800)["id"]
    later = shop.create(expires_at=NOW + 1_805)["id"]
    assert shop.advance(7_200)["expired"] == [first, later]
    assert at == [(0, session), (10, session), (70, session), (1_800, first), (1_805, later), (1_810, first)]


def test_a_receiver_may_ask_the_api_while_it_is_called(shop: Client, receiver: Receiver) -> None:
    seen = []

    async def confirm(received: Received) -> None:
        path = f"/checkout/sessions/{received.event['data']['object']['id']}"
        seen.append((await shop.asend("GET", path)).json() == received.event["data"]["object"])

    receiver.on_arrival = confirm
    shop.create()
    shop.advance(86_400)
    assert seen == [True]


# disorder


def test_dropped_webhooks_never_arrive_but_are_in_the_log(shop: Client, receiver: Receiver) -> None:
    shop.break_(webhook="checkout.session.completed", action="drop", times=1)
    lost, kept = paid(shop), paid(shop)
    shop.advance(86_400)
    assert [each.event["data"]["object"]["id"] for each in receiver.received] == [kept]
    (attempt,) = [each for each in shop.data("deliveries") if each["session"] == lost]
    assert (attempt["outcome"], attempt["status"], attempt["next_try"]) == ("dropped", None, None)
    assert shop.data("faults")[0]["applied"] == 1


def test_a_duplicated_webhook_comes_twice_with_the_same_id(shop: Client, receiver: Receiver) -> None:
    shop.break_(webhook="*", action="duplicate", times=1)
    paid(shop)
    flush(shop)
    assert len(receiver.received) == 2
    assert receiver.received[0].body == receiver.received[1].body


def test_a_delayed_webhook_comes_late_on_the_accounts_clock(shop: Client, receiver: Receiver) -> None:
    shop.break_(webhook="*", action="delay", seconds=3_600, times=1)
    paid(shop)
    assert flush(shop) == []
    shop.advance(3_599)
    assert receiver.received == []
    shop.advance(1)
    assert len(receiver.received) == 1


def test_a_reordered_webhook_is_overtaken_by_the_next(shop: Client, receiver: Receiver) -> None:
    shop.break_(webhook="*", action="reorder", times=1)
    first = paid(shop)
    assert flush(shop) == []
    second = paid(shop)
    flush(shop)
    assert [each.event["data"]["object"]["id"] for each in receiver.received] == [second, first]


def test_a_reordered_webhook_that_nothing_overtakes_comes_after_a_minute(shop: Client, receiver: Receiver) -> None:
    shop.break_(webhook="*", action="reorder")
    session = paid(shop)
    shop.advance(59)
    assert receiver.received == []
    shop.advance(1)
    assert [each.event["data"]["object"]["id"] for each in receiver.received] == [session]


def test_a_bad_signature_is_another_keys(client: Client, receiver: Receiver) -> None:
    client.freeze()
    client.subscribe(receiver.url, secret="whsec_1")
    client.break_(webhook="*", action="bad_signature", times=1)
    paid(client)
    flush(client)
    paid(client)
    flush(client)
    wrong, right = receiver.received
    assert wrong.headers["x-qashier-sign"] != sign(wrong.body, "whsec_1")
    assert len(base64.b64decode(wrong.headers["x-qashier-sign"])) == 32
    assert right.headers["x-qashier-sign"] == sign(right.body, "whsec_1")


def test_a_rule_hits_each_endpoint_anew(shop: Client, receiver: Receiver, second: Receiver) -> None:
    shop.subscribe(second.url)
    shop.break_(webhook="*", action="drop", times=1)
    paid(shop)
    flush(shop)
    assert (len(receiver.received), len(second.received)) == (0, 1)


# on demand


def test_resending_delivers_again_to_every_endpoint_and_tells_the_attempts(
    shop: Client, receiver: Receiver, second: Receiver
) -> None:
    paid(shop)
    flush(shop)
    (event,) = shop.data("events")
    shop.subscribe(second.url)
    attempts = shop.ok("POST", f"/_mock/v1/events/{event['id']}/deliver")["data"]
    assert [each["outcome"] for each in attempts] == ["delivered", "delivered"]
    assert {each["event"] for each in attempts} == {event["id"]}
    assert [len(each.received) for each in (receiver, second)] == [2, 1]
    assert receiver.received[0].body == receiver.received[1].body
    assert len(shop.data("deliveries")) == 3


def test_a_resent_event_that_fails_is_tried_again(shop: Client, receiver: Receiver) -> None:
    paid(shop)
    flush(shop)
    receiver.answers.append(500)
    (event,) = shop.data("events")
    (attempt,) = shop.ok("POST", f"/_mock/v1/events/{event['id']}/deliver")["data"]
    assert (attempt["outcome"], attempt["next_try"]) == ("failed", NOW + 10)
    shop.advance(10)
    assert len(receiver.received) == 3


def test_an_unknown_event_and_another_accounts_cannot_be_resent(shop: Client) -> None:
    paid(shop)
    (event,) = shop.data("events")
    assert shop.post("/_mock/v1/events/evt_nothing/deliver").error["code"] == "not_found"
    assert shop.other.post(f"/_mock/v1/events/{event['id']}/deliver").status == 404


def test_flush_tells_each_attempt_and_does_nothing_twice(shop: Client, receiver: Receiver) -> None:
    assert flush(shop) == []
    session = paid(shop)
    (attempt,) = flush(shop)
    (event,) = shop.data("events")
    (endpoint,) = shop.data("webhook-endpoints")
    assert attempt | {"duration_ms": 0} == {
        "id": attempt["id"],
        "event": event["id"],
        "type": "checkout.session.completed",
        "session": session,
        "endpoint": endpoint["id"],
        "url": receiver.url,
        "number": 1,
        "at": NOW,
        "due": NOW,
        "status": 200,
        "error": None,
        "duration_ms": 0,
        "next_try": None,
        "outcome": "delivered",
    }
    assert flush(shop) == []
    assert shop.data("deliveries") == [attempt]


def test_flush_delivers_hundreds(shop: Client, receiver: Receiver) -> None:
    for _ in range(150):
        shop.create(expires_at=NOW + 1_800)
    assert len(shop.advance(1_800)["expired"]) == 150
    assert len(receiver.received) == 150


def test_an_account_that_is_reset_during_an_attempt_knows_nothing_of_it(
    shop: Client, receiver: Receiver, runner: asyncio.Runner, clock: ManualClock
) -> None:
    """Nor does the move of its clock, that the attempt held up, go on."""

    async def reset(_: Received) -> None:
        await shop.asend("POST", "/_mock/v1/reset")

    receiver.on_arrival = reset
    shop.create()
    shop.advance(90_000)
    assert shop.data("deliveries") == []
    assert shop.ok("GET", "/_mock/v1/clock") == {"now": clock.now, "frozen": False}


def test_an_endpoint_that_is_removed_during_an_attempt_is_not_tried_again(shop: Client, receiver: Receiver) -> None:
    (endpoint,) = shop.data("webhook-endpoints")
    receiver.answers.append(500)

    async def remove(_: Received) -> None:
        await shop.asend("DELETE", f"/_mock/v1/webhook-endpoints/{endpoint['id']}")

    receiver.on_arrival = remove
    paid(shop)
    flush(shop)
    shop.advance(86_400)
    assert len(receiver.received) == 1


# in the background


class Background:
    """An app whose dispatcher runs."""

    def __init__(self, app: MockApp, runner: asyncio.Runner) -> None:
        self._context = app.dispatcher.running()
        self._runner = runner

    def __enter__(self) -> None:
        self._runner.run(self._context.__aenter__())

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._context.__aexit__(None, None, None))


def test_evt_6_webhooks_are_sent_at_once_without_being_asked(
    make_client: MakeClient, receiver: Receiver, runner: asyncio.Runner
) -> None:
    client = make_client()
    client.freeze()
    client.subscribe(receiver.url)
    with Background(client.app, runner):
        paid(client)
        runner.run(receiver.arrived(1))
        client.expire(client.create()["id"])
        runner.run(receiver.arrived(2))
    assert receiver.types == ["checkout.session.completed", "checkout.session.expired"]


def test_exp_7_deadlines_pass_and_are_told_without_any_request(
    make_client: MakeClient, receiver: Receiver, runner: asyncio.Runner, clock: ManualClock
) -> None:
    client = make_client()
    client.subscribe(receiver.url)
    session = client.create()["id"]
    clock.now += 86_400
    with Background(client.app, runner):
        runner.run(receiver.arrived(1))
    assert receiver.received[0].event["data"]["object"]["id"] == session
    assert receiver.received[0].event["type"] == "checkout.session.expired"


def test_webhooks_go_out_although_the_machines_clock_is_set_back(
    make_client: MakeClient, receiver: Receiver, runner: asyncio.Runner
) -> None:
    """Both by the clock that an account shows and by the one that the background waits with."""
    calendar, passed = float(NOW), 0.0
    client = make_client(clock=MachineClock(wall=lambda: calendar + passed, steady=lambda: passed))
    client.subscribe(receiver.url)
    with Background(client.app, runner):
        client.create(expires_at=NOW + 1_800)
        calendar -= 7_200
        passed += 1_800
        client.app.dispatcher._changed.set()  # what `_LONGEST_WAIT` does after ten seconds
        runner.run(receiver.arrived(1))
    assert receiver.types == ["checkout.session.expired"]
    assert receiver.received[0].event["created"] == NOW + 1_800


def test_more_that_is_due_than_may_be_under_way_does_not_keep_the_machine_busy(
    make_client: MakeClient, receiver: Receiver, runner: asyncio.Runner
) -> None:
    held = asyncio.Event()

    async def hold(_: Received) -> None:
        await held.wait()

    receiver.on_arrival = hold
    client = make_client()
    client.freeze()
    client.subscribe(receiver.url)
    total = webhooks.AT_ONCE_OF_AN_ACCOUNT + 5
    for _ in range(total):
        paid(client)
    sweeps = []
    sweep = client.app.service.sweep

    async def count(account: Any) -> Any:
        sweeps.append(account)
        return await sweep(account)

    client.app.service.sweep = count  # type: ignore[method-assign]
    with Background(client.app, runner):
        runner.run(receiver.arrived(webhooks.AT_ONCE_OF_AN_ACCOUNT))
        before = len(sweeps)
        for _ in range(50):
            runner.run(asyncio.sleep(0))
        assert len(sweeps) - before <= 2
        held.set()
        runner.run(receiver.arrived(total))
    assert len({each.event["id"] for each in receiver.received}) == total


def test_stopping_ends_what_hangs(make_client: MakeClient, receiver: Receiver, runner: asyncio.Runner) -> None:
    receiver.answers.append(HANG)
    client = make_client()
    client.subscribe(receiver.url)
    with Background(client.app, runner):
        paid(client)
        runner.run(receiver.arrived(1))
    assert client.data("deliveries") == []
