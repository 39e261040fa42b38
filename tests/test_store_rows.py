"""Values as rows of a database: nothing is lost on the way there and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from store_harness import ACCOUNTS
from store_samples import ATTEMPT, DELIVERY, ENTRY, EVENT, SESSION, STATE

from qashier_mock.core.account import AccountState
from qashier_mock.stores import rows

pytest_plugins = ["store_fixtures"]

ONE, TWO = ACCOUNTS


def fields_left_out(value: Any) -> list[str]:
    """The fields of a value, and of the values in it, that stand at their defaults."""
    found = []
    for each in dataclasses.fields(value):
        held = getattr(value, each.name)
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        if held == default:
            found.append(f"{type(value).__name__}.{each.name}")
        for inner in held if isinstance(held, list | tuple) else [held]:
            if dataclasses.is_dataclass(inner):
                found += fields_left_out(inner)
    return found


@pytest.mark.parametrize(
    ("value", "again"),
    [
        pytest.param(SESSION, rows.unpack_session(rows.pack_session(SESSION), ONE), id="session"),
        pytest.param(STATE, rows.unpack(AccountState, rows.pack(STATE)), id="state"),
        pytest.param(DELIVERY, rows.unpack_delivery([rows.pack(DELIVERY)], ONE), id="delivery"),
        pytest.param(ATTEMPT, rows.unpack_attempt([rows.pack(ATTEMPT)], ONE), id="attempt"),
        pytest.param(
            EVENT,
            rows.unpack_event([*rows.pack_session(SESSION), "evt_1", EVENT.type.value, rows.pack_event(EVENT)], ONE),
            id="event",
        ),
    ],
)
def test_nothing_of_a_value_is_lost_in_its_row(value: Any, again: Any) -> None:
    """A field that is added to a value and forgotten here stands at its default in the samples: name it there."""
    assert fields_left_out(value) == []
    assert again == value


def test_nothing_of_a_journal_entry_is_lost_in_its_row() -> None:
    assert rows.unpack_entry(rows.pack_entry(ENTRY), ONE) == ENTRY
