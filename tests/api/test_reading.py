"""Retrieving and listing (RET, LIS)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from api_calls import several
from mock_harness import NOW, Client, Json

from qashier_mock.core.sources import ManualClock


def test_ret_1_and_3_retrieve_returns_the_session_and_changes_nothing(client: Client) -> None:
    session = client.create()
    assert client.retrieve(session["id"]) == client.retrieve(session["id"]) == session
    paid = client.pay(session["id"]).json()
    assert client.retrieve(session["id"]) == client.retrieve(session["id"]) == paid


@pytest.mark.parametrize("session_id", ["cs_test_nothing", "x", "%00", "%2F", "%F0%9F%8D%B5", "a" * 5_000, "..", "~"])
def test_ret_2_an_unknown_id_is_not_found(client: Client, session_id: str) -> None:
    answer = client.get(f"/checkout/sessions/{session_id}")
    assert (answer.status, answer.error["code"]) == (404, "session_not_found")
    assert len(answer.body) < 1_000


@pytest.mark.parametrize("end", ["pay", "expire", "clock"])
def test_ret_4_only_the_two_statuses_ever_change(client: Client, end: str) -> None:
    client.freeze()
    session = client.create()
    if end == "pay":
        client.pay(session["id"])
    elif end == "expire":
        client.expire(session["id"])
    else:
        client.advance(86_400)
    after = client.retrieve(session["id"])
    assert {key for key in session if session[key] != after[key]} <= {"status", "payment_status"}
    assert after["status"] != "open"


def test_lis_1_and_10_an_empty_list(client: Client) -> None:
    assert client.page() == {"object": "list", "data": [], "has_more": False, "url": "/checkout/sessions"}


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.0", "1e1", "01", "+1", "%201", "1_0", "10&limit=10"])
def test_lis_2_a_limit_outside_one_to_a_hundred_is_refused(client: Client, limit: str) -> None:
    refused = client.get(f"/checkout/sessions?limit={limit}")
    assert (refused.status, refused.error["param"]) == (400, "limit")


@pytest.mark.parametrize(
    ("number", "limit", "length", "more"),
    [
        (9, None, 9, False),
        (10, None, 10, False),
        (11, None, 10, True),
        (2, 1, 1, True),
        (99, 100, 99, False),
        (100, 99, 99, True),
        (100, 100, 100, False),
        (101, 100, 100, True),
    ],
)
def test_lis_2_3_7_a_page_is_full_when_that_many_match(
    client: Client,
    number: int,
    limit: int | None,
    length: int,
    more: bool,  # noqa: FBT001
) -> None:
    ids = several(client, number)
    page = client.page("" if limit is None else f"limit={limit}")
    assert [each["id"] for each in page["data"]] == ids[:length]
    assert page["has_more"] is more


def test_lis_4_newest_first_also_within_a_second(client: Client, clock: ManualClock) -> None:
    ids = several(client, 9, clock)
    assert client.ids("limit=100") == client.ids("limit=100") == ids
    client.pay(ids[4])
    assert client.ids("limit=100") == ids


@pytest.mark.parametrize(
    ("query", "expected", "more"),
    [
        ("starting_after={0}&limit=2", [1, 2], True),
        ("starting_after={2}&limit=2", [3, 4], False),
        ("starting_after={3}&limit=2", [4], False),
        ("starting_after={4}&limit=2", [], False),
        ("ending_before={4}&limit=2", [2, 3], True),
        ("ending_before={2}&limit=2", [0, 1], False),
        ("ending_before={1}&limit=2", [0], False),
        ("ending_before={0}&limit=2", [], False),
        ("ending_before={4}", [0, 1, 2, 3], False),
    ],
)
def test_lis_5_6_7_a_cursor_marks_a_place(client: Client, query: str, expected: list[int], more: bool) -> None:  # noqa: FBT001
    ids = several(client, 5)
    page = client.page(query.format(*ids))
    assert [each["id"] for each in page["data"]] == [ids[index] for index in expected]
    assert page["has_more"] is more


def test_lis_8_a_status_is_as_of_now(client: Client, clock: ManualClock) -> None:
    clock.now = NOW
    overdue, paid, ended, kept = (client.create(expires_at=NOW + 1_800 + 60 * index)["id"] for index in range(4))
    client.pay(paid)
    client.expire(ended)
    assert client.ids("status=open") == [kept, overdue]
    clock.now += 1_800
    assert client.ids("status=open") == [kept]
    assert client.ids("status=complete") == [paid]
    assert client.ids("status=expired") == [ended, overdue]


@pytest.mark.parametrize("status", ["OPEN", "", "paid", "open,complete", "open&status=open"])
def test_lis_8_an_unknown_status_is_refused(client: Client, status: str) -> None:
    assert client.get(f"/checkout/sessions?status={status}").status == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("created[gte]={1}", [3, 2, 1]),
        ("created[gt]={1}", [3, 2]),
        ("created[lte]={1}", [1, 0]),
        ("created[lt]={1}", [0]),
        ("created[gte]={1}&created[lte]={2}", [2, 1]),
        ("created[gt]={1}&created[lt]={2}", []),
        ("created[gt]={0}&created[gte]={2}&created[lt]={3}&created[lte]={3}", [2]),
        ("created[gte]=0&created[lte]=4102444800", [3, 2, 1, 0]),
        ("created[gt]={3}", []),
        ("created[gte]={3}&created[lte]={0}", []),
        ("created%5Bgte%5D={2}", [3, 2]),
    ],
)
def test_lis_9_bounds_on_creation_combine(client: Client, clock: ManualClock, query: str, expected: list[int]) -> None:
    sessions = []
    for _ in range(4):
        sessions.append(client.create())
        clock.now += 10
    times = [each["created"] for each in sessions]
    assert client.ids(query.format(*times)) == [sessions[index]["id"] for index in expected]


@pytest.mark.parametrize(
    "query",
    [
        "created=1",
        "created[]=1",
        "created[gte]=",
        "created[gte]=x",
        "created[gte]=1.5",
        "created[gte]=-1",
        "created[gte]=4102444801",
        "created[eq]=1",
        "created[gte]=1&created[gte]=1",
        "created[gte][x]=1",
        "created[gte]x=1",
        "created[gte",
    ],
)
def test_lis_9_a_bound_that_is_none_is_refused(client: Client, query: str) -> None:
    assert client.get(f"/checkout/sessions?{query}").status == 400


@pytest.mark.parametrize("query", ["limits=1", "page=2", "starting-after=x", "limit[gte]=1", "x"])
def test_an_unknown_query_parameter_is_refused(client: Client, query: str) -> None:
    refused = client.get(f"/checkout/sessions?{query}")
    assert (refused.status, refused.error["code"]) == (400, "parameter_unknown")


def walk(client: Client, cursor: str, query: str, start: str | None) -> list[str]:
    """All ids that following the cursors meets, newest first."""
    met: list[str] = []
    while True:
        page = client.page(query if start is None else f"{query}&{cursor}={start}")
        ids = [each["id"] for each in page["data"]]
        met = met + ids if cursor == "starting_after" else ids + met
        if not page["has_more"]:
            return met
        start = ids[-1] if cursor == "starting_after" else ids[0]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_lis_11_and_12_walking_all_pages_meets_every_match_once(client: Client, clock: ManualClock, limit: int) -> None:
    ids = several(client, 11, clock)
    for index, session_id in enumerate(ids):
        if index % 3 == 1:
            client.pay(session_id)
    middle = client.retrieve(ids[5])["created"]
    filters: dict[str, Callable[[Json], bool]] = {
        "": lambda _: True,
        "&status=complete": lambda each: each["status"] == "complete",
        "&status=open&created[gte]=" + str(middle): lambda each: each["status"] == "open" and each["created"] >= middle,
    }
    everyone = client.page("limit=100")["data"]
    for query, keeps in filters.items():
        expected = [each["id"] for each in everyone if keeps(each)]
        assert walk(client, "starting_after", f"limit={limit}{query}", None) == expected
        oldest_first = walk(client, "ending_before", f"limit={limit}{query}", ids[-1])
        assert oldest_first == [each for each in expected if each != ids[-1]]


def test_lis_12_a_cursor_that_the_filter_leaves_out_still_marks_its_place(client: Client) -> None:
    ids = several(client, 5)
    client.pay(ids[2])
    assert client.ids(f"status=open&starting_after={ids[2]}") == ids[3:]
    assert client.ids(f"status=open&ending_before={ids[2]}") == ids[:2]


def test_lis_13_both_cursors_at_once_are_refused(client: Client) -> None:
    ids = several(client, 2)
    refused = client.get(f"/checkout/sessions?starting_after={ids[0]}&ending_before={ids[1]}")
    assert (refused.status, refused.error["code"]) == (422, "cursors_exclusive")


@pytest.mark.parametrize("cursor", ["starting_after", "ending_before"])
@pytest.mark.parametrize("session_id", ["cs_test_nothing", "", "%00", "x" * 3_000, "%F0%9F%8D%B5"])
def test_lis_13_a_cursor_that_names_no_session_is_refused(client: Client, cursor: str, session_id: str) -> None:
    refused = client.get(f"/checkout/sessions?{cursor}={session_id}")
    assert (refused.status, refused.error["code"], refused.error["param"]) == (422, "cursor_unknown", cursor)


def test_lis_14_an_entry_is_what_retrieve_returns(client: Client) -> None:
    ids = several(client, 3)
    client.pay(ids[0])
    client.expire(ids[1])
    assert client.page()["data"] == [client.retrieve(each) for each in ids]
