"""Settings, reset, and an account as a snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from mock_harness import NOW, Client, Json, Receiver, basket

from qashier_mock.core.policy import Policy
from qashier_mock.core.sources import ManualClock
from qashier_mock.web import control, snapshots

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


def test_settings_are_the_accounts_own_and_what_is_left_out_stays(client: Client) -> None:
    assert client.ok("GET", "/_mock/v1/settings") == {"strict": False, "seed": None}
    assert client.ok("PUT", "/_mock/v1/settings", {"strict": True}) == {"strict": True, "seed": None}
    assert client.ok("PUT", "/_mock/v1/settings", {"seed": 7}) == {"strict": True, "seed": 7}
    assert client.ok("PUT", "/_mock/v1/settings", {}) == {"strict": True, "seed": 7}
    assert client.other.ok("GET", "/_mock/v1/settings") == {"strict": False, "seed": None}
    assert client.put("/_mock/v1/settings", {"strict": None}).status == 400
    assert client.put("/_mock/v1/settings", {"seed": -1}).status == 400


def test_a_strict_server_makes_strict_accounts_and_an_account_may_say_otherwise(make_client: MakeClient) -> None:
    client = make_client(strict=True)
    assert client.ok("GET", "/_mock/v1/settings")["strict"] is True
    assert client.post("/checkout/sessions", basket()).status == 400
    client.ok("PUT", "/_mock/v1/settings", {"strict": False})
    assert client.create()["status"] == "open"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({}, "parameter_missing", "Idempotency-Key"),
        ({"sucess_url": "https://x.example"}, "parameter_unknown", "sucess_url"),
        ({"success_url": "http://shop.example/thanks"}, "parameter_invalid", "success_url"),
        ({"return_url": "https://shop.example/{CHECKOUT_SESSION_ID}"}, "parameter_invalid", "return_url"),
    ],
)
def test_strict_turns_advice_about_a_request_into_a_refusal(
    client: Client, changes: Json, code: str, param: str
) -> None:
    client.ok("PUT", "/_mock/v1/settings", {"strict": True})
    headers = {"idempotency-key": "k"} if changes else {}
    refused = client.post("/checkout/sessions", basket(**changes), headers=headers)
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, code, param)
    assert refused.error["message"].startswith("Refused in strict mode: ")
    assert client.ids() == []
    assert client.data("advice") == []


def test_a_refusal_names_every_unknown_field(client: Client, make_client: MakeClient) -> None:
    client.ok("PUT", "/_mock/v1/settings", {"strict": True})
    policy = make_client(policy=Policy(unknown_fields="reject"))
    for each in (client, policy):
        body = basket(sucess_url="https://x.example", colour="red")
        refused = each.post("/checkout/sessions", body, headers={"idempotency-key": "k"})
        assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "parameter_unknown", "colour")
        told = "fields that the API does not know: colour, sucess_url (did you mean success_url?)."
        assert told in refused.error["message"]


def test_strict_refuses_a_key_that_was_used_for_another_request(client: Client) -> None:
    client.ok("PUT", "/_mock/v1/settings", {"strict": True})
    session = client.create(key="k")
    refused = client.expire(session["id"], key="k")
    assert (refused.status, refused.error["code"]) == (409, "idempotency_key_reused")
    assert client.create(key="k") == session


def test_a_seed_makes_the_ids_of_an_account_repeat(client: Client, make_client: MakeClient) -> None:
    twin, stranger = make_client(seed=2), make_client(seed=2)
    for each in (client, twin):
        each.ok("PUT", "/_mock/v1/settings", {"seed": 7})
    ids = [[each.create()["id"] for _ in range(3)] for each in (client, twin, stranger)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


def test_a_reset_account_is_as_new_but_never_gives_an_id_twice(client: Client, clock: ManualClock) -> None:
    client.freeze(NOW + 50)
    client.ok("PUT", "/_mock/v1/settings", {"strict": False, "seed": 3})
    before = client.create(key="k")["id"]
    client.pay(before)
    client.subscribe("http://127.0.0.1:9/x")
    client.break_(webhook="*", action="drop")
    clock.now += 7
    assert client.ok("POST", "/_mock/v1/reset") == {"now": NOW + 7, "frozen": False}
    for what in ("events", "webhook-endpoints", "deliveries", "faults", "requests", "advice"):
        assert client.data(what) == []
    assert client.ids() == []
    assert client.get(f"/checkout/sessions/{before}").status == 404
    assert client.get(f"/pay/{before}", authorization=None).status == 404
    assert client.ok("GET", "/_mock/v1/settings") == {"strict": False, "seed": None}
    client.ok("PUT", "/_mock/v1/settings", {"seed": 3})
    again = client.create(key="k")
    assert again["id"] != before
    assert again["created"] == NOW + 7


def test_a_reset_leaves_other_accounts_alone(client: Client) -> None:
    other = client.other
    session = other.create()
    client.create()
    client.ok("POST", "/_mock/v1/reset")
    assert other.ids() == [session["id"]]


def full_account(client: Client, receiver: Receiver) -> None:
    """Something of everything that a snapshot holds."""
    client.freeze(NOW)
    client.ok("PUT", "/_mock/v1/settings", {"seed": 5})
    client.subscribe(receiver.url, secret="whsec_1")
    client.subscribe(receiver.url, types=["checkout.session.expired"])
    client.break_(webhook="*", action="delay", seconds=7_200, times=1)
    client.break_(operation="list_checkout_sessions", action="delay", seconds=0.001, probability=0.5)
    receiver.answers.extend([200, 500, 200])
    paid = client.create(key="a", cancel_url="https://shop.example/basket")["id"]
    client.create(line_items=[{**basket()["line_items"][0], "quantity": 3}], surprise=1)
    client.create(expires_at=NOW + 1_800)
    client.pay(paid)
    client.expire(client.create(key="b")["id"], key="c")
    client.advance(1_800)


def settled(snapshot: Json) -> Json:
    """A snapshot without what is not carried over."""
    return {
        **snapshot,
        "account": None,
        "settings": {**snapshot["settings"], "strict": None},
        "webhook_endpoints": [{**each, "signed": False} for each in snapshot["webhook_endpoints"]],
    }


def test_a_snapshot_moves_an_account_to_another_server(
    client: Client, make_client: MakeClient, receiver: Receiver
) -> None:
    full_account(client, receiver)
    before = client.ok("GET", "/_mock/v1/snapshot")
    assert all(before[part] for part in ("sessions", "idempotency", "events", "deliveries", "attempts", "advice"))
    target = make_client(seed=9).other
    restored = target.ok("PUT", "/_mock/v1/snapshot", before)
    signed = [each["id"] for each in before["webhook_endpoints"] if each["signed"]]
    assert restored == {"sessions": 4, "events": 3, "endpoints_needing_secret": signed}
    assert settled(target.ok("GET", "/_mock/v1/snapshot")) == settled(before)
    for what in ("deliveries", "faults", "advice"):
        assert target.data(what) == client.data(what)
    assert target.page() == client.page()
    assert target.ok("GET", "/_mock/v1/clock") == client.ok("GET", "/_mock/v1/clock")
    assert target.create(key="a") == client.create(key="a")
    assert target.expire(client.ids()[0], key="c").json() == client.expire(client.ids()[0], key="c").json()
    assert target.advance(86_400)["expired"] == client.advance(86_400)["expired"]
    assert len(target.data("events")) == len(client.data("events")) == 4


def test_restored_ids_do_not_come_again(make_client: MakeClient, receiver: Receiver) -> None:
    source = make_client(seed=9)
    full_account(source, receiver)
    snapshot = source.ok("GET", "/_mock/v1/snapshot")
    target = make_client(seed=9)
    target.other.ok("PUT", "/_mock/v1/snapshot", snapshot)
    target.ok("PUT", "/_mock/v1/settings", {"seed": 5})
    fresh = {target.create()["id"] for _ in range(10)} | {target.subscribe("http://127.0.0.1:9")["id"]}
    assert not fresh & set(str(snapshot).split("'"))


def test_a_running_clock_goes_on_from_the_snapshots_time(
    client: Client, make_client: MakeClient, clock: ManualClock
) -> None:
    client.advance(100)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    clock.now += 1_000
    target = make_client()
    target.ok("PUT", "/_mock/v1/snapshot", snapshot)
    clock.now += 1
    assert target.ok("GET", "/_mock/v1/clock") == {"now": NOW + 101, "frozen": False}


def test_a_snapshot_replaces_all_that_the_account_had(client: Client) -> None:
    empty = client.ok("GET", "/_mock/v1/snapshot")
    client.pay(client.create()["id"])
    client.subscribe("http://127.0.0.1:9")
    client.ok("PUT", "/_mock/v1/snapshot", empty)
    assert client.ids() == []
    assert client.data("events") == client.data("webhook-endpoints") == []


def test_a_snapshot_is_taken_as_of_now(client: Client, clock: ManualClock) -> None:
    client.create()
    clock.now += 86_400
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    assert snapshot["sessions"][0]["status"] == "expired"
    assert len(snapshot["events"]) == 1


def test_a_snapshot_comes_back_into_its_own_account(client: Client, receiver: Receiver) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    client.ok("PUT", "/_mock/v1/snapshot", snapshot)
    assert settled(client.ok("GET", "/_mock/v1/snapshot")) == settled(snapshot)


@pytest.mark.parametrize("what", ["session", "endpoint", "fault"])
def test_an_id_of_another_account_is_refused_and_nothing_is_restored(client: Client, what: str) -> None:
    match what:
        case "session":
            object_id = client.create()["id"]
        case "endpoint":
            object_id = client.subscribe("http://127.0.0.1:9")["id"]
        case _:
            object_id = client.break_(webhook="*", action="drop")["id"]
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    other = client.other
    kept = other.create()
    refused = other.put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["code"]) == (409, "id_taken")
    assert object_id in refused.error["message"]
    assert other.ids() == [kept["id"]]


def test_an_account_has_so_many_endpoints_and_rules_and_no_more(client: Client) -> None:
    """Each event is put into the outbox of every endpoint, and each call looks through all rules."""
    client.subscribe("http://127.0.0.1:9")
    client.break_(webhook="*", action="drop")
    full = client.ok("GET", "/_mock/v1/snapshot")
    for part, most in (("webhook_endpoints", 100), ("faults", 1_000)):
        full[part] = [{**full[part][0], "id": f"{full[part][0]['id'][:-4]}{number:04}"} for number in range(most)]
    client.ok("PUT", "/_mock/v1/snapshot", full)
    for path, body in (
        ("/_mock/v1/webhook-endpoints", {"url": "http://127.0.0.1:9"}),
        ("/_mock/v1/faults", {"webhook": "*", "action": "drop"}),
    ):
        refused = client.post(path, body)
        assert (refused.status, refused.error["code"]) == (422, "parameter_invalid")
        assert "at most 1" in refused.error["message"]
    for part in ("webhook_endpoints", "faults"):
        more = {**full, part: [*full[part], {**full[part][0], "id": full[part][0]["id"][:-4] + "more"}]}
        refused = client.put("/_mock/v1/snapshot", more)
        assert (refused.status, refused.error["param"]) == (400, part)


def test_ids_that_an_account_no_longer_has_may_be_put_into_another(client: Client, receiver: Receiver) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    client.ok("PUT", "/_mock/v1/snapshot", snapshot)
    client.ok("POST", "/_mock/v1/reset")
    assert client.other.ok("PUT", "/_mock/v1/snapshot", snapshot)["sessions"] == 4


def changed(snapshot: Json, path: str, value: Any) -> Json:
    """The snapshot with one value changed; the path is in the words of an error's `param`."""
    *steps, last = [
        int(each) if each.isdigit() else each for each in path.replace("]", "").replace("[", ".").split(".")
    ]
    place: Any = snapshot
    for step in steps:
        place = place[step]
    place[last] = value
    return snapshot


@pytest.mark.parametrize(
    ("path", "value", "param"),
    [
        ("clock.now", LATEST + 1, "clock.now"),
        ("counter", 2**53 - 1, "counter"),
        ("sessions[1].status", "complete", "sessions[1].payment_status"),
        ("sessions[1].payment_status", "paid", "sessions[1].payment_status"),
        ("sessions[1].payment_status", "no_payment_required", "sessions[1].payment_status"),
        ("sessions[1].expires_at", NOW + 86_401, "sessions[1].expires_at"),
        ("sessions[1].expires_at", NOW + 1_799, "sessions[1].expires_at"),
        ("sessions[3].created", NOW + 1_801, "sessions[3].created"),
        ("sessions[2].created", NOW - 1, "sessions[2].created"),
        ("sessions[1].id", None, "sessions"),
        ("events[0].type", "checkout.session.expired", "events[0].type"),
        ("events[0].session", "cs_test_nothing", "events[0].session"),
        ("events[0].session", None, "events[0].type"),
        ("idempotency[0].session", "cs_test_nothing", "idempotency[0].session"),
        ("deliveries[0].event", "evt_nothing", "deliveries[0].event"),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(
    client: Client, receiver: Receiver, path: str, value: Any, param: str
) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    if value is None:
        value = snapshot["sessions"][3 if path.startswith("sessions") else 1]["id"]
    refused = client.put("/_mock/v1/snapshot", changed(snapshot, path, value))
    assert (refused.status, refused.error["code"], refused.error["param"]) == (422, "parameter_invalid", param)
    assert len(client.ids()) == 4


@pytest.mark.parametrize("part", ["sessions", "idempotency", "events", "webhook_endpoints", "deliveries", "faults"])
def test_a_snapshot_that_holds_something_twice_is_refused(client: Client, receiver: Receiver, part: str) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    snapshot[part].append(snapshot[part][0])
    refused = client.put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["param"]) == (422, part)
    assert "twice" in refused.error["message"]
    assert client.ok("GET", "/_mock/v1/snapshot")[part] == snapshot[part][:-1]


def test_a_session_of_two_currencies_or_two_ends_is_refused(client: Client) -> None:
    client.expire(client.create()["id"])
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    twice = {**snapshot, "events": [*snapshot["events"], {**snapshot["events"][0], "id": "evt_2"}]}
    refused = client.put("/_mock/v1/snapshot", twice)
    assert (refused.status, refused.error["param"]) == (422, "events[1].session")
    line = snapshot["sessions"][0]["line_items"][0]
    other = {**line, "price_data": {**line["price_data"], "currency": "MYR"}}
    snapshot["sessions"][0]["line_items"] = [line, other]
    refused = client.put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["param"]) == (422, "sessions[0].line_items")


def test_a_snapshot_of_another_form_is_refused(client: Client) -> None:
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    assert client.put("/_mock/v1/snapshot", {**snapshot, "version": 2}).status == 400
    del snapshot["counter"]
    assert client.put("/_mock/v1/snapshot", snapshot).error["param"] == "counter"


def test_a_snapshot_may_be_larger_than_any_other_body(client: Client, make_client: MakeClient) -> None:
    lines = [
        {"price_data": {**basket()["line_items"][0]["price_data"], "product_data": {"name": "x" * 250}}, "quantity": 1}
    ]
    for _ in range(4):
        client.create(line_items=lines * 100)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    snapshot["sessions"] = [
        {**each, "id": f"{each['id']}{number}"} for number in range(20) for each in snapshot["sessions"]
    ]
    assert len(str(snapshot)) > 2 * 1024 * 1024
    target = make_client()
    assert target.ok("PUT", "/_mock/v1/snapshot", snapshot)["sessions"] == 80
    assert len(target.page("limit=100")["data"]) == 80


def test_webhooks_of_a_snapshot_may_go_only_where_this_server_lets_them(
    client: Client, make_client: MakeClient
) -> None:
    client.subscribe("http://elsewhere.example/hooks")
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    refused = make_client(webhook_hosts=frozenset({"shop.example"})).put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["param"]) == (422, "webhook_endpoints[0].url")
    assert "--webhook-allow elsewhere.example" in refused.error["message"]


def test_a_large_snapshot_is_read_in_a_thread_and_is_the_same(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.pay(client.create()["id"])
    small = client.ok("GET", "/_mock/v1/snapshot")
    threads: list[threading.Thread] = []

    def noting(convert: Callable[..., Any]) -> Callable[..., Any]:
        def convert_and_note(*given: Any) -> Any:
            threads.append(threading.current_thread())
            return convert(*given)

        return convert_and_note

    monkeypatch.setattr(snapshots, "parse_snapshot", noting(snapshots.parse_snapshot))
    monkeypatch.setattr(control, "_LARGE_SNAPSHOT", 0)
    client.ok("PUT", "/_mock/v1/snapshot", small)
    assert len(threads) == 1
    assert threading.main_thread() not in threads
    assert client.ok("GET", "/_mock/v1/snapshot")["sessions"] == small["sessions"]
