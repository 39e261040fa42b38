"""Run once, replay, or refuse; a memory of 24 hours."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_harness import ACCOUNT, NOW, OTHER_ACCOUNT, drive, make_service, order, request

from qashier_mock.core.errors import ApiError, IdempotencyKeyReused
from qashier_mock.core.idempotency import KEY_MEMORY_S, Decision, IdempotencyRecord, decide
from qashier_mock.core.lifecycle import Trigger, open_session
from qashier_mock.core.paging import ListQuery
from qashier_mock.core.policy import Policy
from qashier_mock.stores.memory import MemoryStore

SESSION = open_session(order(), session_id="cs_test_1", account=ACCOUNT, sequence=0, now=NOW, pay_url="http://m/pay/")
RECORD = IdempotencyRecord("k", b"create", SESSION, NOW)


@pytest.mark.parametrize("reject", [True, False])
def test_idm_1_and_4_a_key_replays_until_it_is_forgotten(reject: bool) -> None:  # noqa: FBT001
    ages = {
        0: Decision.REPLAY,
        KEY_MEMORY_S - 1: Decision.REPLAY,
        KEY_MEMORY_S: Decision.RUN,
        KEY_MEMORY_S + 1: Decision.RUN,
    }
    for age, expected in ages.items():
        assert decide(RECORD, b"create", now=NOW + age, reject_reuse=reject) is expected


def test_idm_9_a_key_with_another_request_replays_or_is_refused() -> None:
    assert decide(RECORD, b"expire", now=NOW, reject_reuse=False) is Decision.REPLAY_DIFFERENT
    assert decide(RECORD, b"expire", now=NOW, reject_reuse=True) is Decision.REFUSE
    assert decide(RECORD, b"expire", now=NOW + KEY_MEMORY_S, reject_reuse=True) is Decision.RUN


KEYS = st.sampled_from([None, "a", "b"])
REQUESTS = st.lists(
    st.tuples(st.sampled_from(["create", "expire", "pay"]), KEYS, st.integers(0, 3), st.sampled_from([0, 60, 43_200])),
    max_size=15,
)


@given(REQUESTS)
def test_a_key_gives_the_same_answer_for_a_day_and_nothing_is_done_twice(
    requests: list[tuple[str, str | None, int, int]],
) -> None:
    """IDM-1, 4, 5, 8: each remembered key answers as it first did, whatever came between; no refusal is remembered."""
    service, clock = make_service()
    remembered: dict[str, tuple[int, object]] = {}
    for kind, key, index, seconds in requests:
        clock.now += seconds
        sessions = drive(service.list_sessions(ACCOUNT, ListQuery(limit=100))).sessions
        if kind == "pay":
            if index < len(sessions) and sessions[index].is_open:
                drive(service.apply(ACCOUNT, sessions[index].id, Trigger.PAYMENT_SUCCEEDED))
            continue
        known = None if key is None else remembered.get(key)
        is_known = known is not None and clock.now < known[0] + KEY_MEMORY_S
        target = sessions[index].id if index < len(sessions) else "cs_test_nothing"
        asked = request(key, fingerprint=f"{kind} {target if kind == 'expire' else ''}".encode())
        try:
            if kind == "create":
                answer = drive(service.create(ACCOUNT, order(), asked))[0]
            else:
                answer = drive(service.expire(ACCOUNT, target, asked))[0]
        except ApiError:
            assert not is_known or target == "cs_test_nothing"
            continue
        after = drive(service.list_sessions(ACCOUNT, ListQuery(limit=100))).sessions
        if known is not None and is_known:
            assert answer == known[1]
            assert after == sessions
        elif key is not None:
            remembered[key] = (clock.now, answer)


def test_idm_7_accounts_do_not_share_keys() -> None:
    service, _ = make_service()
    mine = drive(service.create(ACCOUNT, order(), request("k")))[0]
    theirs = drive(service.create(OTHER_ACCOUNT, order(), request("k")))[0]
    assert mine.id != theirs.id


def test_a_replay_of_another_request_is_advised_against_once() -> None:
    service, _ = make_service()
    session = drive(service.create(ACCOUNT, order(), request("k", fingerprint=b"1")))[0]
    replayed, advice = drive(service.create(ACCOUNT, order(), request("k", fingerprint=b"2")))
    assert replayed == session
    assert [each.kind for each in advice] == ["idempotency_key_reused"]
    _, advice = drive(service.create(ACCOUNT, order(), request("k", fingerprint=b"3")))
    assert advice == []


def test_a_policy_refuses_a_replay_of_another_request() -> None:
    service, _ = make_service(policy=replace(Policy(), idempotency_reuse="reject"))
    drive(service.create(ACCOUNT, order(), request("k", fingerprint=b"1")))
    with pytest.raises(IdempotencyKeyReused):
        drive(service.create(ACCOUNT, order(), request("k", fingerprint=b"2")))


def test_what_is_forgotten_is_not_kept() -> None:
    store = MemoryStore()
    service, clock = make_service(store=store)
    for number in range(5):
        drive(service.create(ACCOUNT, order(), request(f"k{number}")))
        clock.now += 60
    clock.now = NOW + KEY_MEMORY_S + 120
    drive(service.create(ACCOUNT, order(), request("new")))
    assert [each.key for each in drive(store.transaction(ACCOUNT).records())] == ["k3", "k4", "new"]
