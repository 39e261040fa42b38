"""What Schemathesis draws from the document: judged by clauses on any target, by its own checks on our mock alone."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from qashier_contract import CLAUSES, Verdict, check
from qashier_contract.clauses.strict import clause_of
from qashier_contract.drive.conformance import conformance, enter
from qashier_contract.drive.plan import exercised_by
from qashier_contract.drive.recording_proxy import CREDENTIALS, NUMBER, through_proxy
from qashier_contract.history import Credentials, Exchange, Reply, Request
from qashier_contract.run import Run
from qashier_contract.settings import Settings

from tests.targets import DEFECTS, VARIANTS, within

if TYPE_CHECKING:
    from qashier_contract import Report
    from qashier_contract.drive import Driver, RunContext

IN_PROCESS = "http://127.0.0.1"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the document determines, and little that is drawn beside it."""
    monkeypatch.setattr("qashier_contract.drive.conformance._EXAMPLES", 0.5)
    monkeypatch.setattr("qashier_contract.drive.conformance._EXAMPLES_OWN", 0.5)


def drawn(driver: Driver) -> bool:
    return driver is conformance


def covered(*quirks: str, **options: Any) -> Report:
    given = {"seed": 1, "strict": True, "drivers": drawn, "max_time_s": 600.0, "replay": False, **options}
    return check(IN_PROCESS, transport=within(*quirks), **given)


def told(report: Report) -> str:
    return "; ".join(f"{v.clause}: {v.expected}, not {v.seen}" for v in report.violations)


@pytest.mark.parametrize("defect", ["boolean amounts accepted", "limit 101 accepted"])
def test_what_is_drawn_finds_a_defect_by_itself(defect: str) -> None:
    report = covered(defect, only=[DEFECTS[defect]])
    assert report[DEFECTS[defect]].verdict is Verdict.FAILED
    assert {e.scenario for v in report[DEFECTS[defect]].violations for e in v.exchanges} == {"conformance"}


def test_with_the_scenarios_of_its_clause_switched_off_nothing_else_sees_a_defect() -> None:
    defect = "limit 101 accepted"
    clause = DEFECTS[defect]

    def others(driver: Driver) -> bool:
        return clause not in exercised_by(driver) and not driver.waits_s

    assert covered(defect, drivers=others)[clause].verdict is not Verdict.FAILED


def test_what_the_documents_leave_open_is_never_accused() -> None:
    variants = (
        "422 throughout",
        "unknown fields refused",
        "integral floats accepted",
        "extra properties",
        "201 on create",
    )
    assert set(variants) <= set(VARIANTS)
    assert told(covered(*variants)) == ""


def test_only_our_own_mock_is_held_to_the_strict_document() -> None:
    """A property more than the document names is anybody's right, but the mock's."""
    strict = covered("extra properties", own=True, only=["CRE-1"])
    violation = next(v for v in strict["CRE-1"].violations if "response_schema_conformance" in v.expected)
    assert "Additional properties" in violation.seen
    assert re.fullmatch(r"PassesCheck create body.*, response_schema_conformance", violation.key)
    assert violation.exchanges[0].request.path == "/checkout/sessions"
    assert strict["CRE-1"].verdict is Verdict.FAILED


def test_a_spent_budget_ends_it() -> None:
    report = covered(max_time_s=1.0)
    assert report.duration_s < 20
    assert report["CRE-18"].verdict is not Verdict.PASSED or report["CRE-18"].exercised


def test_no_more_sessions_are_opened_than_allowed() -> None:
    report = covered(max_sessions=10)
    creates = [e for e in report.history.exchanges if e.request.method == "POST" and e.operation.value == "create"]
    assert len(creates) <= 10


# ── checks and clauses ──────────────────────────────────────────────────────────────────────────────────────────────


def seen(method: str, path: str, status: int) -> Exchange:
    reply = Reply(status=status)
    return Exchange(number=1, request=Request(method=method, path=path), reply=reply, sent_ns=0, received_ns=1)


def test_every_check_of_schemathesis_belongs_to_a_clause() -> None:
    from schemathesis.checks import CHECKS, load_all_checks  # noqa: PLC0415 - slow to import

    load_all_checks()
    exchanges = [seen(m, p, s) for m, p in (("POST", "/checkout/sessions"), ("GET", "/x")) for s in (200, 400)]
    names = CHECKS.get_all_names()
    assert "response_schema_conformance" in names
    assert {clause_of(name, exchange) for name in names for exchange in exchanges} <= CLAUSES.keys()


@pytest.mark.parametrize(
    ("check_name", "exchange", "clause"),
    [
        ("not_a_server_error", seen("GET", "/checkout/sessions", 500), "HTTP-6"),
        ("response_schema_conformance", seen("POST", "/checkout/sessions", 200), "CRE-1"),
        ("response_schema_conformance", seen("GET", "/checkout/sessions/cs_test_1", 200), "RET-1"),
        ("response_schema_conformance", seen("GET", "/checkout/sessions", 200), "LIS-1"),
        ("response_schema_conformance", seen("POST", "/checkout/sessions/cs_test_1/expire", 200), "EXP-1"),
        ("response_schema_conformance", seen("GET", "/checkout/sessions", 400), "HTTP-3"),
        ("negative_data_rejection", seen("POST", "/checkout/sessions", 200), "CRE-18"),
        ("negative_data_rejection", seen("GET", "/checkout/sessions", 200), "LIS-2"),
        ("positive_data_acceptance", seen("POST", "/checkout/sessions", 400), "CRE-1"),
        ("ignored_auth", seen("GET", "/checkout/sessions", 200), "AUTH-4"),
        ("allow_header_conformance", seen("DELETE", "/checkout/sessions", 405), "HTTP-4"),
    ],
)
def test_a_failed_check_is_told_under_the_clause_it_belongs_to(
    check_name: str, exchange: Exchange, clause: str
) -> None:
    assert clause_of(check_name, exchange) == clause


def test_a_failed_check_that_no_exchange_shows_is_noted(context: RunContext) -> None:
    failure = SimpleNamespace(
        name="ignored_auth", failure_info=SimpleNamespace(failure=ValueError("taken\nall the same"))
    )
    enter(context, SimpleNamespace(checks={"case": [failure]}, interactions={}))
    assert context.failed_checks == []
    assert context.notes == ["Schemathesis's check ignored_auth failed, and no exchange shows it: taken all the same"]


# ── the recording proxy ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def context() -> RunContext:
    run = Run(IN_PROCESS, Settings(transport=within(), seed=1, keys=["sk_test_hushhush"], control="none"))
    run.connect()
    return run.context()


@pytest.fixture
def door(context: RunContext) -> Iterator[http.client.HTTPConnection]:
    with through_proxy(context) as (url, _):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        yield connection
        connection.close()


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


OURS = basic(CREDENTIALS[0])


def test_the_stand_in_becomes_the_key_and_the_key_stays_out_of_sight(
    context: RunContext, door: http.client.HTTPConnection
) -> None:
    door.request("GET", "/checkout/sessions?limit=1", headers={"Authorization": OURS})
    answer = door.getresponse()
    text = answer.read().decode()
    last = context.recorder.exchanges[-1]
    assert (answer.status, last.account, last.credentials) == (200, 0, Credentials.BASIC)
    assert answer.headers[NUMBER] == str(last.number)
    assert "hushhush" not in text + repr(last)


@pytest.mark.parametrize("authorization", [None, "Basic e30=", "Bearer nobody"])
def test_other_credentials_go_on_as_they_are(
    context: RunContext, door: http.client.HTTPConnection, authorization: str | None
) -> None:
    door.request("GET", "/checkout/sessions", headers={"Authorization": authorization} if authorization else {})
    answer = door.getresponse()
    answer.read()
    assert answer.status == 401
    assert context.recorder.exchanges[-1].account is None


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "Expect", "If-Match", "Range", "Accept", "X-HTTP-Method-Override"]
)
def test_headers_that_the_document_does_not_name_stay_behind(
    context: RunContext, door: http.client.HTTPConnection, name: str
) -> None:
    """A target may refuse what they mean to HTTP: an empty `Transfer-Encoding` is no valid one (RFC 9112)."""
    door.request("GET", "/checkout/sessions", headers={"Authorization": OURS, name: ""})
    door.getresponse().read()
    assert context.recorder.exchanges[-1].request.header(name) is None


def test_each_session_is_marked_and_each_key_used_once(context: RunContext, door: http.client.HTTPConnection) -> None:
    body = json.dumps(context.body(success_url="https://shop.example/thanks#top"))
    sent = []
    for _ in range(2):
        headers = {"Authorization": OURS, "Content-Type": "application/json", "Idempotency-Key": "k" * 255}
        door.request("POST", "/checkout/sessions", body, headers)
        door.getresponse().read()
        sent.append(context.recorder.exchanges[-1])
    assert all(exchange.succeeded for exchange in sent)
    assert len({exchange.object["id"] for exchange in sent}) == 2
    assert len({exchange.object["success_url"] for exchange in sent}) == 2
    assert {len(exchange.request.idempotency_key or "") for exchange in sent} == {255}


def test_what_no_document_decides_is_not_kept_where_it_is_refused(
    context: RunContext, door: http.client.HTTPConnection
) -> None:
    before = len(context.recorder.exchanges)
    door.request("GET", "/checkout/sessions?starting_after=", headers={"Authorization": OURS})
    answer = door.getresponse()
    answer.read()
    assert (answer.status >= 400) == (len(context.recorder.exchanges) == before)


def test_once_nothing_more_may_be_sent_the_door_is_closed(context: RunContext) -> None:
    with through_proxy(context) as (url, recording_proxy):
        context.target.pace.deadline_ns = 0
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/checkout/sessions", headers={"Authorization": OURS})
        with pytest.raises(http.client.BadStatusLine):
            connection.getresponse()
        connection.close()
        assert recording_proxy.is_over
