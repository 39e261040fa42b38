"""Ids and chances that follow from a seed, and a clock that shows what it was set to."""

import re

from hypothesis import given
from hypothesis import strategies as st
from mock_harness import ACCOUNT, OTHER_ACCOUNT

from qashier_mock.core.sources import ManualClock, SeededIds

SEEDS = st.integers(0, 2**53 - 1)


def test_a_manual_clock_shows_what_it_was_set_to() -> None:
    clock = ManualClock(5)
    assert clock() == 5
    clock.now = 3
    assert clock() == 3


@given(SEEDS, st.integers(0, 10**12))
def test_an_id_follows_from_seed_account_and_counter_alone(seed: int, counter: int) -> None:
    ids = SeededIds(seed)
    first = ids.new_id("cs_test_", ACCOUNT, counter, None)
    ids.tell_apart("another process")
    assert first == ids.new_id("cs_test_", ACCOUNT, counter, None)
    assert first == SeededIds(seed + 1).new_id("cs_test_", ACCOUNT, counter, seed)
    assert re.fullmatch(r"cs_test_[0-9a-f]{24}", first)


def test_cre_10_ids_of_seeds_accounts_and_counters_differ() -> None:
    ids = SeededIds(1)
    drawn = {
        ids.new_id("x_", account, counter, seed)
        for account in (ACCOUNT, OTHER_ACCOUNT)
        for counter in range(200)
        for seed in (None, 2, 3)
    }
    assert len(drawn) == 2 * 200 * 3


def test_http_1_request_ids_never_repeat_and_differ_by_process() -> None:
    one, two = SeededIds(1), SeededIds(1)
    two.tell_apart("another process")
    drawn = [source.request_id() for source in (one, two) for _ in range(500)]
    assert len(set(drawn)) == 1_000
    assert all(re.fullmatch(r"req_[0-9A-Za-z_]+", each) for each in drawn)


@given(SEEDS, st.integers(0, 10**12))
def test_a_chance_is_a_fraction_that_repeats(seed: int, counter: int) -> None:
    ids = SeededIds(seed)
    chance = ids.chance(ACCOUNT, counter, None)
    assert 0 <= chance < 1
    assert chance == ids.chance(ACCOUNT, counter, seed)


def test_chances_are_spread() -> None:
    chances = [SeededIds(1).chance(ACCOUNT, counter, None) for counter in range(2_000)]
    assert 0.45 < sum(chances) / len(chances) < 0.55
    assert len({int(each * 10) for each in chances}) == 10
