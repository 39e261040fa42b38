"""Which fault rule applies to a call or a webhook: the first that fits, is not used up and has luck."""

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_harness import ACCOUNT, drive, make_service

from qashier_mock import client
from qashier_mock.core.faults import FaultAction, FaultRule, pick
from qashier_mock.core.model import EventType
from qashier_mock.documents import documents_folder
from qashier_mock.pipeline.document import Document
from qashier_mock.stores.memory import MemoryStore

CREATE = "create_checkout_session"
LIST = "list_checkout_sessions"


def rule(name: str = "flt_1", action: FaultAction = FaultAction.DROP, **more: Any) -> FaultRule:
    return FaultRule(name, action, **more)


def drawing(*chances: float) -> Callable[[], float]:
    numbers: Iterator[float] = iter(chances)
    return lambda: next(numbers)


never_drawn = drawing()


def test_the_client_the_document_and_the_core_have_the_same_actions() -> None:
    document = Document.of_file(documents_folder() / "control.yaml").content
    actions = [str(action) for action in FaultAction]
    assert list(get_args(client.FaultAction)) == document["components"]["schemas"]["FaultAction"]["enum"] == actions


@pytest.mark.parametrize(
    ("target", "expected"),
    [("*", True), (CREATE, True), (LIST, False), (None, False)],
)
def test_a_rule_about_calls_applies_to_its_operation(target: str | None, expected: bool) -> None:  # noqa: FBT001
    rules = [rule(operation=target, webhook="*" if target is None else None)]
    assert (pick(rules, draw=never_drawn, operation=CREATE) is not None) is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [("*", True), (EventType.COMPLETED, True), (EventType.EXPIRED, False), (None, False)],
)
def test_a_rule_about_webhooks_applies_to_its_type(target: str | None, expected: bool) -> None:  # noqa: FBT001
    rules = [rule(webhook=target, operation="*" if target is None else None)]
    assert (pick(rules, draw=never_drawn, webhook=EventType.COMPLETED) is not None) is expected


def test_the_first_rule_that_fits_is_taken() -> None:
    rules = [rule("flt_1", operation=LIST), rule("flt_2", operation="*"), rule("flt_3", operation=CREATE)]
    assert pick(rules, draw=never_drawn, operation=CREATE) is rules[1]


def test_a_rule_that_is_used_up_gives_way_to_the_next() -> None:
    spent = rule("flt_1", operation="*", times=2, applied=1).once_more()
    assert spent.is_used_up
    after = rule("flt_2", operation="*", times=1)
    assert pick([spent, after], draw=never_drawn, operation=CREATE) is after
    assert pick([spent], draw=never_drawn, operation=CREATE) is None


def test_a_rule_without_times_is_never_used_up() -> None:
    assert not rule(applied=1_000_000).is_used_up


@pytest.mark.parametrize(("chance", "applies"), [(0.0, True), (0.29, True), (0.3, False), (0.99, False)])
def test_a_probability_is_compared_with_the_number_drawn(chance: float, applies: bool) -> None:  # noqa: FBT001
    rules = [rule(operation="*", probability=0.3)]
    assert (pick(rules, draw=drawing(chance), operation=CREATE) is not None) is applies


def test_each_rule_with_a_probability_draws_for_itself() -> None:
    rules = [rule("flt_1", operation="*", probability=0.5), rule("flt_2", operation="*", probability=0.5)]
    assert pick(rules, draw=drawing(0.7, 0.2), operation=CREATE) is rules[1]


@given(st.floats(0, 0.999))
def test_certain_and_impossible_are_what_they_say(chance: float) -> None:
    assert pick([rule(operation="*", probability=1)], draw=drawing(chance), operation=CREATE)
    assert not pick([rule(operation="*", probability=0)], draw=drawing(chance), operation=CREATE)


def picked(store: MemoryStore, number: int) -> list[str | None]:
    service, _ = make_service(store=store)

    async def pick_all() -> list[str | None]:
        async with store.transaction(ACCOUNT) as tx:
            found = [await service.pick_fault(tx, operation=CREATE) for _ in repeat(None, number)]
        return [each.id if each else None for each in found]

    return drive(pick_all())


def test_chances_repeat_with_the_seed_and_two_even_rules_share_the_calls() -> None:
    stores = MemoryStore(), MemoryStore()
    for store in stores:
        tx = store.transaction(ACCOUNT)
        names = ("flt_1", "flt_2")
        drive(tx.change()).faults = tuple([rule(each, operation="*", probability=0.5) for each in names])
    first, second = picked(stores[0], 200), picked(stores[1], 200)
    assert first == second
    assert 75 < first.count("flt_1") < 125
    assert 30 < first.count("flt_2") < 75
    assert 30 < first.count(None) < 75
    applied = {each.id: each.applied for each in stores[0].transaction(ACCOUNT).state.faults}
    assert applied == {"flt_1": first.count("flt_1"), "flt_2": first.count("flt_2")}


def test_without_rules_nothing_is_drawn_so_that_ids_do_not_depend_on_faults() -> None:
    store = MemoryStore()
    assert picked(store, 3) == [None, None, None]
    assert store.transaction(ACCOUNT).state.drawn == 0
