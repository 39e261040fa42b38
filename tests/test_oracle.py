"""The reference model, by itself."""

from __future__ import annotations

import pytest
from qashier_contract import oracle
from qashier_contract.oracle import Act, Known, Open, Query, State, event_of, faults, opened, page, step

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
        Act.PAYMENT_SUCCEEDED: ("complete", "paid" if total else "no_payment_required", "checkout.session.completed"),
        Act.PAYMENT_FAILED: ("open", before.payment_status, None),
        Act.PAYMENT_CANCELED: ("open", before.payment_status, None),
        Act.EXPIRE_REQUESTED: ("expired", before.payment_status, "checkout.session.expired"),
        Act.DEADLINE_PASSED: ("expired", before.payment_status, "checkout.session.expired"),
    }[act]
    assert (*after, event_of(before, after)) == expected


@pytest.mark.parametrize(
    ("life", "clauses"), [(1_799, {"CRE-7"}), (1_800, set()), (86_400, set()), (86_401, {"CRE-7"}), (-5, {"CRE-7"})]
)
def test_the_window_of_expires_at(life: int, clauses: set[str]) -> None:
    assert {f.clause for f in faults(body(expires_at=NOW + life), earliest=NOW, latest=NOW)} == clauses


@pytest.mark.parametrize("life", [1_800, 86_401])
def test_a_bound_is_open_while_the_second_is_not_known(life: int) -> None:
    with pytest.raises(Open):
        faults(body(expires_at=NOW + life), earliest=NOW, latest=NOW + 1)


def test_an_unknown_field_is_left_open() -> None:
    with pytest.raises(Open):
        faults(body(metadata={}))


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
    assert (faults(body(cancel_url=url)) == ()) is right


def sessions(*times: int) -> list[Known]:
    return [
        Known(id=f"s{i}", ordinal=i, created=time, expires_at=time + 86_400, state=State("open", "unpaid"))
        for i, time in enumerate(times)
    ]


def test_pages_go_newest_first_and_say_whether_there_is_more() -> None:
    known = sessions(5, 5, 6, 7)
    assert [s.id for s in page(known, Query(limit=2))[0]] == ["s3", "s2"]
    assert page(known, Query(limit=4))[1] is False
    shown, more = page(known, Query(limit=2, ending_before="s0"))
    assert ([s.id for s in shown], more) == (["s2", "s1"], True)
    shown, more = page(known, Query(limit=2, starting_after="s2"))
    assert ([s.id for s in shown], more) == (["s1", "s0"], False)


def test_a_cursor_that_the_filter_leaves_out_still_marks_its_place() -> None:
    shown, more = page(sessions(5, 6, 7), Query(starting_after="s2", created=(("lt", 7),)))
    assert ([s.id for s in shown], more) == (["s1", "s0"], False)


def test_a_session_expires_at_its_deadline_and_not_before() -> None:
    (session,) = sessions(NOW)
    assert session.at(NOW + 86_399).state.status == "open"
    assert session.at(NOW + 86_400).state.status == "expired"


def test_limits_are_those_of_the_document() -> None:
    assert oracle.LINES_MOST * oracle.UNIT_AMOUNT_MOST * oracle.QUANTITY_MOST < 2**53
