"""A finding names a place and looks there itself. Reports, pasted tests and baselines say the same thing of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from qashier_contract.findings import (
    Contains,
    Counts,
    Delivered,
    Differs,
    Equals,
    Expectation,
    HasShape,
    OneOf,
    OneSucceeds,
    Ordered,
    StatusIs,
    Within,
    expect,
)
from qashier_contract.history import Delivery, Endpoint, Exchange, Reply, Request
from qashier_contract.places import ABSENT, EACH, At, Entry, Part, Sum, Where, asked_in, header_of, in_body
from qashier_contract.statuses import NO_FAULT, REFUSED, SUCCESS, anything_but, exactly
from qashier_contract.values import as_words, differing_paths


def exchange(number: int, answer: Any, status: int = 200, method: str = "GET", path: str = "", **more: Any) -> Exchange:
    path, _, query = (path or "/checkout/sessions").partition("?")
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    headers = more.pop("headers", (("content-type", "application/json"), ("allow", "GET, POST")))
    asked = more.pop("asked", None)
    return Exchange(
        number=number,
        request=Request(
            method=method, path=path, query=query, body=None if asked is None else json.dumps(asked).encode()
        ),
        reply=Reply(status=status, headers=headers, body=body),
        sent_ns=number * 10,
        received_ns=number * 10 + 5,
        **more,
    )


LINES = {"data": [{"amount_total": 100, "quantity": 2}, {"amount_total": 50, "quantity": 1}]}
CREATE = exchange(
    1,
    {"id": "cs_1", "created": 1000, "amount_total": 151, "line_items": LINES, "url": "https://pay.example/1"},
    method="POST",
    asked={"success_url": "https://shop.example/thanks"},
)
READ = exchange(2, {"id": "cs_1", "created": 1001, "amount_total": 150}, path="/checkout/sessions/cs_1")
LIST = exchange(
    3, {"data": [{"id": "cs_2", "created": 7}, {"id": "cs_1", "created": 9}]}, path="/checkout/sessions?limit=2"
)
PAGE = exchange(
    4,
    b'<p>This is\n EXPIRED</p><a href="/shop">back</a><form method="post" data-testid="x"><button>Pay</button></form>',
    path="https://pay.example/1",
    headers=(("content-type", "text/html"),),
    page_of="cs_1",
    page_act="view",
)
LOST = Exchange(
    number=5,
    request=Request(method="POST", path="/checkout/sessions/cs_1/expire"),
    reply=None,
    failure="connection dropped",
    sent_ns=50,
    received_ns=55,
)
ENDPOINT = Endpoint(url="http://127.0.0.1:1/hook", account=0, registered_ns=0)
DELIVERY = Delivery(
    number=6, endpoint=ENDPOINT, method="POST", headers=(), body=b'{"id": "evt_1"}', received_ns=60, answered=200
)

KEPT: list[Expectation] = [
    StatusIs(READ, SUCCESS),
    StatusIs(READ, NO_FAULT),
    StatusIs(READ, anything_but(401, 403)),
    Equals(in_body(READ, "id"), in_body(CREATE, "id")),
    Equals(in_body(CREATE, "line_items", "data", EACH, "quantity"), [2, 1]),
    Equals(in_body(READ, "amount_total"), Sum((in_body(CREATE, "line_items", "data", EACH, "amount_total"),))),
    Equals(in_body(READ, "created"), Sum((in_body(CREATE, "created"),), plus=1)),
    Equals(in_body(LIST, "data", Where(("id",), "cs_1"), "created"), [9]),
    Equals(in_body(LIST, "data", Where(("id",), in_body(CREATE, "id")), "created"), [9]),
    Equals(in_body(LIST, "data", Entry(1, ("id",), "cs_1"), "created"), 9),
    Differs(in_body(READ, "created"), in_body(CREATE, "created")),
    HasShape(in_body(CREATE, "line_items"), "object"),
    HasShape(in_body(CREATE, "id"), "string", r"cs_\d"),
    HasShape(in_body(CREATE), "JSON"),
    OneOf(in_body(READ, "id"), ("cs_9", in_body(CREATE, "id"))),
    Within(in_body(READ, "created"), in_body(CREATE, "created"), 1001),
    Within(in_body(READ, "created"), least=1001),
    Ordered(in_body(LIST, "data", EACH, "id"), ("cs_2", "cs_3", "cs_1")),
    Counts(in_body(LIST, "data"), 2, 2),
    Counts(At(PAGE, Part.FORMS), 1),
    Contains(in_body(LIST, "data", EACH, "id"), in_body(CREATE, "id")),
    Contains(At(PAGE, Part.TEXT), "this is expired"),
    Contains(At(PAGE, Part.LINKS), "https://pay.example/shop"),
    Contains(At(PAGE, Part.LINKS), "https://pay.example/", absent=True),
    Contains(header_of(LIST, "Location"), "x", absent=True),
    OneSucceeds((READ, LOST)),
    Delivered(ENDPOINT, in_body(CREATE, "id"), (DELIVERY,), least=1),
]
BROKEN: list[tuple[Expectation, str, str]] = [
    (StatusIs(READ, REFUSED), "status 4xx", "status 200"),
    (StatusIs(LOST, exactly(401, 403)), "status 401 or 403", "no answer: connection dropped"),
    (
        Equals(in_body(READ, "created"), in_body(CREATE, "created")),
        "created: 1000, as create returned it",
        "created: 1001",
    ),
    (
        Equals(in_body(CREATE, "amount_total"), Sum((in_body(CREATE, "line_items", "data", EACH, "amount_total"),))),
        "amount_total: 150 (the sum of line_items.data[].amount_total)",
        "amount_total: 151",
    ),
    (
        Equals(in_body(READ, "success_url"), asked_in(CREATE, "success_url")),
        'success_url: "https://shop.example/thanks", as create sent it',
        "success_url: nothing",
    ),
    (Equals(in_body(CREATE, "created"), 1000.0), "created: 1000.0", "created: 1000"),
    (
        Differs(in_body(READ, "id"), in_body(CREATE, "id")),
        'id: another value than "cs_1", as create returned it',
        "id: the same value",
    ),
    (
        Equals(in_body(LIST, "data", Entry(1, ("id",), "cs_1", nth=1), "created"), 7),
        'data[id "cs_1", number 2].created: 7',
        'data[id "cs_1", number 2].created: 9',
    ),
    (HasShape(in_body(CREATE, "id"), "integer"), "id: an integer", 'id: "cs_1"'),
    (HasShape(in_body(CREATE, "id"), "string", "x", "an id such as x1"), "id: an id such as x1", 'id: "cs_1"'),
    (HasShape(in_body(PAGE), "JSON"), "body: JSON", "body: <not JSON>"),
    (OneOf(in_body(READ, "id"), ("a", "b")), 'id: "a" or "b"', 'id: "cs_1"'),
    (Within(in_body(READ, "created"), 1, 5), "created: from 1 to 5", "created: 1001"),
    (Ordered(in_body(LIST, "data", EACH, "created")), "data[].created: newest first", "data[].created: [7, 9]"),
    (
        Ordered(in_body(LIST, "data", EACH, "id"), ("cs_1", "cs_2")),
        'data[].id: "cs_1" before "cs_2"',
        'data[].id: ["cs_2", "cs_1"]',
    ),
    (Counts(in_body(LIST, "data", EACH, "id"), most=1), "data[].id: at most 1", 'data[].id: 2, ["cs_2", "cs_1"]'),
    (Counts(in_body(LIST, "data", EACH, "id"), 1, 1, "session"), "1 session", '2, ["cs_2", "cs_1"]'),
    (
        Contains(At(PAGE, Part.TEXT), "thanks", form="a way to success_url"),
        "a way to success_url",
        'page text: "This is EXPIRED back Pay"',
    ),
    (Counts(At(PAGE, Part.FORMS), 0, 0), "forms to pay: none", 'forms to pay: 1, ["https://pay.example/1"]'),
    (
        Contains(At(PAGE, Part.TEXT), "expired", absent=True),
        'page text: no "expired"',
        'page text: "This is EXPIRED back Pay"',
    ),
    (OneSucceeds((CREATE, READ)), "one of them succeeds: create, retrieve", "statuses 200, 200"),
    (
        Delivered(ENDPOINT, "cs_1", (), 1, within_s=10),
        "deliveries of its event at /hook within 10 s: at least 1",
        "deliveries of its event: 0",
    ),
]


@pytest.mark.parametrize("expectation", KEPT, ids=lambda each: type(each).__name__)
def test_an_expectation_holds(expectation: Expectation) -> None:
    assert expect(expectation).holds


@pytest.mark.parametrize(("expectation", "expected", "seen"), BROKEN, ids=lambda each: type(each).__name__)
def test_a_broken_expectation_says_what_was_expected_and_seen(
    expectation: Expectation, expected: str, seen: str
) -> None:
    finding = expect(expectation, "the reason")
    assert not finding.holds
    assert finding.expected == f"{expected} (the reason)"
    assert finding.seen == seen


def test_what_an_expectation_names_is_evidence() -> None:
    finding = expect(Equals(in_body(READ, "id"), in_body(CREATE, "id")), "", LIST)
    assert finding.exchanges == (CREATE, READ, LIST)
    assert finding.failing_exchange is READ
    assert expect(Equals(in_body(DELIVERY, "id"), "evt_2")).deliveries == (DELIVERY,)


def test_a_key_holds_no_place_in_a_list_no_id_and_no_value() -> None:
    first = expect(Equals(in_body(CREATE, "line_items", "data", 0, "amount_total"), 3), about="line_items[].quantity")
    second = expect(Equals(in_body(CREATE, "line_items", "data", 1, "amount_total"), 4), about="line_items[].quantity")
    assert first.key == second.key == "Equals create body line_items.data[].amount_total, line_items[].quantity"
    assert "cs_1" not in expect(Counts(in_body(LIST, "data", Where(("id",), "cs_1")))).key


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        ("\x00", '"\\u0000"'),
        ("\ud800", '"\\ud800"'),
        (ABSENT, "nothing"),
        ("https://shop.example/" + "/".join(["basket"] * 40), "of 300 characters"),
    ],
)
def test_values_are_told_as_json(value: Any, words: str) -> None:
    if value is ABSENT:
        assert expect(Equals(in_body(READ, "x"), 1)).seen == "x: nothing"
    else:
        assert as_words(value).endswith(words)


def test_a_long_value_is_cut_between_its_parts() -> None:
    assert as_words([f"cs_{number:09d}" for number in range(100)], most=60).endswith(", … 100 in all]")
    text = as_words({"id": "cs_1", "more": {"line_items": ["word " * 200]}}, most=60)
    assert len(text) < 160
    assert "wor…" not in text


def test_differing_paths_go_down_to_the_innermost_value() -> None:
    first = {"a": 1, "b": {"c": [1, {"d": 2}]}, "e": 1}
    second = {"a": 1, "b": {"c": [1, {"d": 2.0}]}, "f": 1}
    assert differing_paths(first, second) == [("e",), ("f",), ("b", "c", 1, "d")]
    assert differing_paths([1], [1, 2]) == [()]
