"""The reference model, by itself."""

from __future__ import annotations

import pytest
from openapi_harness import PUBLIC
from qashier_contract import oracle
from qashier_contract.oracle import Act, Open, State, mistakes, opened, step

NOW = 1_800_000_000


def body(**fields: object) -> dict[str, object]:
    line = {
        "price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 180},
        "quantity": 2,
    }
    return {"line_items": [line], "success_url": "https://s.example/", "return_url": "https://s.example/r", **fields}


@pytest.mark.parametrize("act", list(Act))
@pytest.mark.parametrize("status", ["complete", "expired"])
def test_a_terminal_status_is_terminal(status: str, act: Act) -> None:
    assert step(State(status, "unpaid"), act) is None


@pytest.mark.parametrize("total", [0, 1])
@pytest.mark.parametrize("act", list(Act))
def test_what_becomes_of_an_open_session(act: Act, total: int) -> None:
    before = opened(total)
    after = step(before, act)
    assert after is not None
    expected = {
        Act.PAYMENT_SUCCEEDED: ("complete", "paid" if total else "no_payment_required"),
        Act.PAYMENT_FAILED: ("open", before.payment_status),
        Act.PAYMENT_CANCELED: ("open", before.payment_status),
        Act.EXPIRE_REQUESTED: ("expired", before.payment_status),
        Act.DEADLINE_PASSED: ("expired", before.payment_status),
    }[act]
    assert after == expected


@pytest.mark.parametrize(
    ("life", "clauses"), [(1_799, {"CRE-7"}), (1_800, set()), (86_400, set()), (86_401, {"CRE-7"}), (-5, {"CRE-7"})]
)
def test_the_window_of_expires_at(life: int, clauses: set[str]) -> None:
    assert {f.clause for f in mistakes(body(expires_at=NOW + life), earliest=NOW, latest=NOW)} == clauses


@pytest.mark.parametrize("life", [1_800, 86_401])
def test_a_bound_is_open_while_the_second_is_not_known(life: int) -> None:
    with pytest.raises(Open):
        mistakes(body(expires_at=NOW + life), earliest=NOW, latest=NOW + 1)


def test_an_unknown_field_is_left_open() -> None:
    with pytest.raises(Open):
        mistakes(body(metadata={}))


@pytest.mark.parametrize("email", ["a@b.example", "", 5, None])
@pytest.mark.parametrize("unknown_fields", [None, "ignore", "reject"])
def test_no_target_is_judged_by_a_customer_email(unknown_fields: str | None, email: object) -> None:
    with pytest.raises(Open):
        mistakes(body(customer_email=email), unknown_fields=unknown_fields)
    (other,) = mistakes(body(customer_email=email, success_url=""), unknown_fields=unknown_fields)[:1]
    assert other.path == "success_url"


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://s.example", True),
        ("HTTP://S.example:8080/a?b#c", True),
        ("https://s.example/{CHECKOUT_SESSION_ID}", True),
        ("http://localhost:3000/", True),
        ("https://u@s.example/", False),
        ("https://s.example/a b", False),
        ("https://s.example/\\", False),
        ("https://[::1]/", False),
        ("//s.example/", False),
        ("javascript:alert(1)", False),
        ("https://s.example/\n", False),
    ],
)
def test_which_urls_are_right(url: str, right: bool) -> None:  # noqa: FBT001
    assert (mistakes(body(cancel_url=url)) == ()) is right


def test_limits_are_those_of_the_document() -> None:
    known, limit = PUBLIC["components"]["schemas"], PUBLIC["components"]["parameters"]["PageLimit"]["schema"]
    product = known["ProductData"]["properties"]
    assert known["CheckoutSessionCreate"]["properties"]["line_items"]["maxItems"] == oracle.LINES_MOST
    assert known["UnitAmount"]["maximum"] == oracle.UNIT_AMOUNT_MOST
    assert known["Quantity"]["maximum"] == oracle.QUANTITY_MOST
    assert product["name"]["maxLength"] == oracle.NAME_MOST
    assert product["description"]["maxLength"] == oracle.DESCRIPTION_MOST
    assert known["RedirectUrl"]["maxLength"] == oracle.URL_MOST
    assert known["RedirectUrl"]["pattern"] == f"^{oracle.URL.pattern}$"
    assert known["IdempotencyKey"]["maxLength"] == oracle.KEY_LENGTH
    assert known["Timestamp"]["maximum"] == oracle.LATEST
    assert (limit["maximum"], limit["default"]) == (oracle.LIMIT_MOST, oracle.LIMIT_DEFAULT)
