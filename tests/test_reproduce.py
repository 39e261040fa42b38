"""Every violation can be seen again: what is handed out runs, fails on what is broken, and passes on what is not."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qashier_contract import CLAUSES, check
from qashier_contract.history import CONTROL_PATH, Credentials, Reply
from qashier_contract.report.reproduce import Reproduction, reproduce
from qashier_contract.report.reproduce.naming import BROKEN
from qashier_contract.report.reproduce.proofs import provable
from qashier_contract.report.reproduce.shell import BROKEN as BROKEN_IN_A_SHELL
from qashier_contract.trace.literals import Code, literal

from qashier_mock import MockServer, Settings
from qashier_mock.bugs import BUGS
from tests.targets import directed
from tests.targets.reference import DEFECTS, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from qashier_contract import Report

_MODULES = count()
KEY = "sk_test_thisIsMySecret"


@pytest.fixture(scope="module")
def correct() -> Iterator[str]:
    with MockServer() as mock:
        yield mock.url


@contextmanager
def broken(*bugs: str) -> Iterator[str]:
    with MockServer(Settings(bugs=bugs)) as mock:
        yield mock.url


def reported(url: str, *clauses: str, **options: Any) -> Report:
    return check(url, seed=1, strict=True, only=clauses, drivers=directed, timeout_s=5, **options)


def first(report: Report, clause: str) -> Reproduction:
    return reproduce(report, report[clause].violations[0])


def outcome(source: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Exception | None:
    """Paste a function into a file and call it; what it raises."""
    monkeypatch.setenv("QASHIER_URL", url)
    monkeypatch.delenv("QASHIER_API_KEY", raising=False)
    name = f"pasted_{next(_MODULES)}"
    path = folder / f"{name}.py"
    path.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (test,) = [value for name, value in vars(module).items() if name.startswith("test_")]
    try:
        test()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test has failed
        return error
    return None


def sample() -> list[str]:
    """A defect of each kind of story; all that are known where time does not matter."""
    if os.environ.get("QASHIER_SOAK") == "full":
        return list(BUGS)
    return [
        *("no-challenge", "anything-is-a-key", "other-method-is-not-found", "crash-on-nul", "request-id-repeated"),
        *("expiry-until-86401", "amounts-in-single-precision", "every-fourth-id-again", "retrieve-is-cached"),
        *("ending-before-from-the-top", "has-more-without-filters", "limit-100-gives-99", "pages-by-offset"),
        *("expires-a-second-late", "refused-expire-ends-a-complete-session", "two-expires-at-once"),
        *("declined-payment-is-final", "back-link-missing", "expired-page-still-sells"),
        *("completion-told-twice", "secret-stripped", "no-retry", "event-forgets-the-key"),
        *("key-forgotten-after-an-hour", "same-key-at-once-opens-two", "replay-shows-the-session-as-it-is"),
    ]


@pytest.mark.parametrize("bug", sample())
def test_the_function_fails_on_what_is_broken_and_passes_on_what_is_not(
    bug: str, correct: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clause = BUGS[bug].clause
    with broken(bug) as url:
        report = reported(url, clause)
        source = first(report, clause).pytest
        assert outcome(source, url, tmp_path, monkeypatch) is not None, source
    error = outcome(source, correct, tmp_path, monkeypatch)
    assert error is None, f"{error}\n{source}"


@pytest.mark.soak
@pytest.mark.parametrize("defect", DEFECTS if os.environ.get("QASHIER_SOAK") == "full" else list(DEFECTS)[::40])
def test_it_does_so_on_an_implementation_that_is_not_the_mock(
    defect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clause = DEFECTS[defect]
    with serving(defect) as url, serving() as good:
        report = reported(url, clause)
        source = first(report, clause).pytest
        assert outcome(source, url, tmp_path, monkeypatch) is not None, source
        error = outcome(source, good, tmp_path, monkeypatch)
        assert error is None, f"{error}\n{source}"


def test_the_customer_of_a_replay_keeps_cookies_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = "pages with a token in a cookie"
    with serving(pages, "cancel returns to success") as url, serving(pages) as good:
        source = first(reported(url, "PAY-5"), "PAY-5").pytest
        assert outcome(source, url, tmp_path, monkeypatch) is not None, source
        error = outcome(source, good, tmp_path, monkeypatch)
        assert error is None, f"{error}\n{source}"


def test_a_second_that_passed_by_itself_passes_in_the_replay_too(
    correct: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow machine a scenario takes seconds: what a list is bounded by, moves with what it bounds."""
    sent = count(1)
    with broken("limit-100-gives-99") as url, httpx.Client() as client:

        def slow(
            method: str, where: str, headers: Sequence[tuple[str, str]], body: bytes | None
        ) -> tuple[Reply | None, str | None]:
            given = dict(headers)
            if next(sent) % 30 == 0 and "Authorization" in given:
                seconds = {"seconds": 1}
                own = {"Authorization": given["Authorization"]}
                client.post(f"{url}{CONTROL_PATH}/clock/advance", json=seconds, headers=own).raise_for_status()
            answer = client.request(method, where, headers=given, content=body)
            received = tuple(answer.headers.multi_items())
            return Reply(status=answer.status_code, headers=received, body=answer.content), None

        report = reported(url, "LIS-3", transport=slow)
        source = first(report, "LIS-3").pytest
        assert outcome(source, url, tmp_path, monkeypatch) is not None, source
    error = outcome(source, correct, tmp_path, monkeypatch)
    assert error is None, f"{error}\n{source}"


def test_functions_can_be_pasted_into_one_file_and_run_by_pytest(correct: str, tmp_path: Path) -> None:
    bugs = ("expiring-twice-succeeds", "expiry-until-86401", "limit-100-gives-99")
    clauses = [BUGS[bug].clause for bug in bugs]
    path = tmp_path / "test_pasted.py"

    def run(url: str) -> dict[str, int]:
        environment = {**os.environ, "QASHIER_URL": url, "QASHIER_API_KEY": f"sk_test_{next(_MODULES)}pasted"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(path)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}

    with broken(*bugs) as url:
        report = reported(url, *clauses)
        path.write_text("\n\n".join(first(report, clause).pytest for clause in clauses), "utf-8")
        assert run(url) == {"failed": len(bugs)}
    assert run(correct) == {"passed": len(bugs)}


def test_the_curl_lines_show_it(tmp_path: Path) -> None:
    with broken("expiring-twice-succeeds") as url:
        lines = first(reported(url, "EXP-2"), "EXP-2").curl
        script = tmp_path / "again.sh"
        script.write_text("\n".join(lines), "utf-8")
        done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    statuses = re.findall(r"HTTP/1.1 (\d+)", done.stdout)
    assert statuses[-2:] == ["200", "200"]
    assert done.stdout.count('"status":"expired"') == 2


@pytest.mark.parametrize("bug", ["expiry-until-86401", "starting-after-inclusive", "limit-100-gives-99"])
def test_every_script_is_one_that_a_shell_understands(bug: str, tmp_path: Path) -> None:
    clause = BUGS[bug].clause
    with broken(bug) as url:
        script = tmp_path / "again.sh"
        script.write_text("\n".join(first(reported(url, clause), clause).curl), "utf-8")
        done = subprocess.run(["bash", "-eu", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_no_secret_is_in_it() -> None:
    with broken("expiring-twice-succeeds", "keys-shared-by-accounts", "password-ignored") as url:
        report = reported(url, "EXP-2", "AUTH-*", "IDM-7", keys=[KEY, f"{KEY}2"])
    assert {"EXP-2", "AUTH-4", "IDM-7"} <= {violation.clause for violation in report.violations}
    for violation in report.violations:
        reproduction = reproduce(report, violation)
        assert KEY not in reproduction.pytest + "\n".join(reproduction.curl)


def test_off_loopback_the_key_must_be_given() -> None:
    with broken("expiring-twice-succeeds") as url:
        report = reported(url, "EXP-2")
    reproduction = first(replace(report, target="https://staging.example/v3/payment/qpay"), "EXP-2")
    assert 'KEY = os.environ["QASHIER_API_KEY"]' in reproduction.pytest
    assert '"QASHIER_URL", "https://staging.example/v3/payment/qpay"' in reproduction.pytest
    assert ": ${QASHIER_API_KEY:?}" in reproduction.curl


def test_every_clause_has_a_proof() -> None:
    assert provable() == set(CLAUSES)


def test_all_broken_credentials_that_a_run_sends_can_be_sent_again(correct: str) -> None:
    report = reported(correct, "AUTH-4")
    shown = {
        str(exchange.request.header("Authorization"))
        for exchange in report.history.exchanges
        if exchange.credentials is Credentials.BROKEN
    }
    hidden = {text for text in shown if "<" in text}
    assert hidden
    assert hidden <= set(BROKEN)
    assert set(BROKEN) == set(BROKEN_IN_A_SHELL)


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(JSON)
def test_a_value_is_written_as_source_that_means_it(value: Any) -> None:
    assert eval(literal(value)) == value  # noqa: S307 - that is what source is for


@given(st.binary(), st.integers(1, 300), st.binary(min_size=1, max_size=5))
def test_bytes_that_repeat_are_folded_and_mean_the_same(head: bytes, times: int, unit: bytes) -> None:
    value = head + unit * times
    assert eval(literal(value)) == value  # noqa: S307


def test_what_is_long_because_it_repeats_is_short_as_source() -> None:
    line = {"name": "x" * 250, "tags": ["a"] * 100}
    assert literal([line] * 100) == '[{"name": "x" * 250, "tags": ["a"] * 100}] * 100'
    assert len(literal(b'{"a": 1' + b" " * 8_000_000 + b"}")) < 60


def test_expressions_stand_as_they_are() -> None:
    assert literal({"expires_at": Code("now + 1800")}) == '{"expires_at": now + 1800}'
    assert json.loads(literal({"a": [1, "b"]})) == {"a": [1, "b"]}
