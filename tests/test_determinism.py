"""The same seed sends the same requests in the same order; and no seed makes the checker accuse the mock."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from qashier_contract import check
from qashier_contract.drive import Driver, conformance, lifecycle, webhooks
from qashier_contract.history import Exchange, Recorder
from qashier_contract.run import Run
from qashier_contract.settings import Settings

from qashier_mock import MockServer
from tests.targets import touching

CONCURRENT = {"the same at once", "races", "the same at once, again", "further races", "races, again"}
SEEDS = {"sample": 1, "full": 50}[os.environ.get("QASHIER_SOAK", "sample")]


def normalised(text: str, nonce: str) -> str:
    """Without what the target gives (ids, times) and what is new in every run (marks, the receiver's port)."""
    text = text.replace("\0", "")  # a body in UTF-16
    text = re.sub(rf"{nonce}(%2D|[-+_])?\d+", "<mark>", text, flags=re.IGNORECASE)
    text = re.sub(nonce, "<nonce>", text, flags=re.IGNORECASE)
    text = re.sub(r"(cs_test|evt|req|we)_[0-9A-Za-z]+", "<id>", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<!\d)1[5-9]\d{8}(\d{3})?(?!\d)", "<time>", text)
    text = re.sub(r"20\d\d-\d\d-\d\dT[\d:]+Z", "<date>", text)
    return re.sub(r"127\.0\.0\.1:\d+", "<host>", text)


def drawn_or_touching(driver: Driver) -> bool:
    return touching(driver) or not driver.is_directed


def all_of_them(_: Driver) -> bool:
    return True


def sequence(monkeypatch: pytest.MonkeyPatch, drivers: Callable[[Driver], bool], *, judged: bool) -> list[str]:
    """Everything that one run of some scenarios sends to a fresh mock, in the order of sending."""
    sent: list[Exchange] = []
    add = Recorder.add

    def noted(recorder: Recorder, exchange: Exchange) -> None:
        sent.append(exchange)
        add(recorder, exchange)

    monkeypatch.setattr(Recorder, "add", noted)
    # Enough of what is drawn at random to see that it is drawn alike.
    monkeypatch.setattr(lifecycle, "_STORIES", 3)
    monkeypatch.setattr(conformance, "_EXAMPLES", 0.5)
    # An answer that is held is late all the same.
    monkeypatch.setattr(webhooks, "HOLD_S", 2.5)
    monkeypatch.setattr("qashier_mock.webhooks.ATTEMPT_TIMEOUT", 2.0)
    with MockServer() as server:
        run = Run(server.url, Settings(seed=7, drivers=drivers, max_time_s=120))
        if judged:
            assert run.whole().violations == ()
        else:
            run.connect()
            run.drive()
            run.leave()
            run.target.close()
    (nonce,) = {found[1] for e in sent if (found := re.search(rb"thanks/([0-9]{10})-", e.request.body or b""))}
    told = []
    for exchange in sent:
        if exchange.scenario in CONCURRENT or exchange.scenario == "clean-up":
            continue
        request = exchange.request
        body = normalised((request.body or b"").decode("utf-8", "backslashreplace"), nonce.decode())
        target = normalised(f"{request.path}?{request.query}", nonce.decode())
        headers = normalised(repr(request.headers), nonce.decode())
        told.append(f"{exchange.scenario}: {request.method} {target} {headers} {body}")
    return told


@pytest.mark.parametrize("drivers", [drawn_or_touching, pytest.param(all_of_them, marks=pytest.mark.soak)])
def test_the_same_seed_sends_the_same_requests_in_the_same_order(drivers: Callable[[Driver], bool]) -> None:
    runs: list[list[str]] = []
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            runs.append(sequence(patch, drivers, judged=not runs))
    first, second = runs
    assert {told.partition(":")[0] for told in first} >= {"a first session", "lifecycle", "conformance"}
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        assert one == other, f"request {number} differs"
    assert len(first) == len(second)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1_000, 1_000 + SEEDS))
def test_no_seed_makes_the_checker_accuse_the_mock(seed: int) -> None:
    with MockServer() as server:
        report = check(server.url, seed=seed, own=True, max_time_s=120)
    assert [f"{v.clause}: {v.expected}, not {v.seen}" for v in report.violations] == []
    assert [entry.clause.id for entry in report.clauses if not entry.exercised] == []
