"""Traffic that somebody else recorded: HAR files as browsers and proxies write them, and traces."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from qashier_contract import CLAUSES, CheckError, Verdict, check, judge
from qashier_contract.drive import Driver
from qashier_contract.drive.traffic import har
from qashier_contract.history import Capability, Credentials, History, Operation
from qashier_contract.recorded import read
from qashier_contract.report import FORMATS, render, write
from qashier_contract.trace import file
from qashier_contract.trace.file import Trace
from qashier_contract.verdicts import judge as judge_history

from qashier_mock import MockServer
from qashier_mock.cli import COMMANDS, main
from tests.targets import directed, touching, within

BASE = "https://api.shop.test/v3/payment/qpay"
KEY, OTHER_KEY = "sk_test_TheFirstKey", "sk_test_TheSecondKey"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


# What nobody recorded.


def correct_run(drivers: Callable[[Driver], bool]) -> History:
    """What a run against a correct target observes."""
    return check("http://127.0.0.1", transport=within(), seed=1, drivers=drivers, max_time_s=600).history


@pytest.fixture(scope="module")
def short() -> History:
    return correct_run(touching)


@pytest.fixture(scope="module")
def whole() -> History:
    return correct_run(directed)


def seen_by_one(history: History, share: float, *, control: bool) -> History:
    """The part of a history that one client of several sent. Whoever shares a key with it sends the same with it."""
    # The same part every time.
    draw, by_key = random.Random(f"{share}{control}"), dict[tuple[int | None, str], bool]()  # noqa: S311 - what is drawn is no secret

    def is_kept(exchange: Any) -> bool:
        if exchange.request.path.startswith("/_mock") and not control:
            return False
        kept, key = draw.random() < share, exchange.request.idempotency_key
        return by_key.setdefault((exchange.account, key), kept) if key else kept

    hidden = frozenset() if control else {Capability.CLOCK}
    terms = replace(history.terms, others_act=True, capabilities=history.terms.capabilities - hidden)
    kept = tuple(exchange for exchange in history.exchanges if is_kept(exchange))
    return replace(history, exchanges=kept, deliveries=(), endpoints=(), terms=terms)


@pytest.mark.parametrize("api", ["the API alone", "with the control API"])
@pytest.mark.parametrize("share", [1.0, 0.9, 0.6, 0.3])
@pytest.mark.parametrize("run", ["short", pytest.param("whole", marks=pytest.mark.soak)])
def test_what_others_did_unseen_is_held_against_nobody(
    request: pytest.FixtureRequest, run: str, share: float, api: str
) -> None:
    seen = seen_by_one(request.getfixturevalue(run), share, control=api == "with the control API")
    judged = judge_history(seen, CLAUSES.values(), strict=True)
    accused = [(v.clause, v.expected, v.seen, [str(e) for e in v.exchanges]) for e in judged for v in e.violations]
    assert accused == []
    assert sum(bool(entry.exercised) for entry in judged) > 50


# HAR, form by form.


def entry(method: str, path: str, status: int, body: Any = None, sent: Any = None, **more: Any) -> dict[str, Any]:
    """One entry as HAR 1.2 asks for it. `at` is the millisecond of its start, `key` the account's."""
    key = more.get("key", KEY)
    headers = [{"name": "Host", "value": "api.shop.test"}]
    if key:
        token = base64.b64encode(f"{key}:".encode()).decode()
        headers.append({"name": "Authorization", "value": f"Basic {token}"})
    headers += [{"name": name, "value": value} for name, value in more.get("headers", {}).items()]
    text = body if isinstance(body, str) else json.dumps(body)
    at = more.get("at", 0)
    request: dict[str, Any] = {
        "method": method,
        "url": more.get("base", BASE) + path,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers,
        "queryString": [],
        "headersSize": -1,
        "bodySize": 0,
    }
    if sent is not None:
        headers.append({"name": "Content-Type", "value": "application/json"})
        request["postData"] = {"mimeType": "application/json", "text": json.dumps(sent), "params": []}
        request["bodySize"] = len(json.dumps(sent))
    return {
        "startedDateTime": f"2026-01-31T12:00:{at // 1000:02}.{at % 1000:03}Z",
        "time": 4.2,
        "request": request,
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [
                {"name": "Content-Type", "value": "application/json"},
                {"name": "Request-Id", "value": f"req_{at}"},
                *({"name": n, "value": v} for n, v in more.get("reply_headers", {}).items()),
            ],
            "content": {"size": len(text.encode()), "mimeType": "application/json", "text": text},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 4.2, "receive": 0},
    }


def log(entries: Sequence[dict[str, Any]], creator: str = "somebody") -> dict[str, Any]:
    return {"log": {"version": "1.2", "creator": {"name": creator, "version": "1"}, "entries": list(entries)}}


NOON = 1_769_860_800
ASKED = {
    "line_items": [
        {
            "price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 500},
            "quantity": 2,
        }
    ],
    "success_url": "https://shop.test/thanks",
    "return_url": "https://shop.test/return",
}
SESSION = {
    "id": "cs_test_1aB",
    "object": "checkout.session",
    "mode": "payment",
    "status": "open",
    "payment_status": "unpaid",
    "created": NOON,
    "expires_at": NOON + 86_400,
    "currency": "SGD",
    "amount_total": 1000,
    "line_items": {
        "object": "list",
        "data": [{"currency": "SGD", "description": "Kopi", "quantity": 2, "amount_total": 1000}],
    },
    "success_url": "https://shop.test/thanks",
    "return_url": "https://shop.test/return",
    "url": "https://pay.shop.test/cs_test_1aB",
}
TOTAL_OFF = SESSION | {"amount_total": 999}
ONE = "/checkout/sessions/cs_test_1aB"


def traffic(session: Any = SESSION, **more: Any) -> list[dict[str, Any]]:
    """A session that is created, retrieved, expired, and retrieved again."""
    expired = session | {"status": "expired"}
    return [
        entry("POST", "/checkout/sessions", 200, session, ASKED, at=100, **more),
        entry("GET", ONE, 200, session, at=200, **more),
        entry("POST", f"{ONE}/expire", 200, expired, at=300, **more),
        entry("GET", ONE, 200, expired, at=400, **more),
        entry("GET", "/", 200, "<html>", at=450, base="https://elsewhere.test"),
    ]


def as_firefox(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """HTTP/2 with lower-case names, a body for every request, sizes of -1, times with an offset."""
    for number, one in enumerate(entries):
        one["startedDateTime"] = one["startedDateTime"].replace("T12", "T20").replace("Z", "+08:00")
        one["pageref"] = "page_1"
        one["request"]["httpVersion"] = one["response"]["httpVersion"] = "HTTP/2"
        for half in ("request", "response"):
            for header in one[half]["headers"]:
                header["name"] = header["name"].lower()
        if one["request"]["method"] == "POST":
            one["request"].setdefault("postData", {"mimeType": "", "params": [], "text": ""})
        one["serverIPAddress"], one["connection"] = "192.0.2.1", str(443 + number)
        one["time"] = 4
    return log(entries, "Firefox")


def as_mitmproxy(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Bodies in base64, the size as compressed, microseconds in times."""
    for one in entries:
        one["startedDateTime"] = one["startedDateTime"].replace("Z", "123+00:00")
        content = one["response"]["content"]
        raw = content["text"].encode()
        content.update(size=len(raw) - 7, compression=7, text=base64.b64encode(raw).decode(), encoding="base64")
        one["request"].setdefault("postData", {"mimeType": "", "text": "", "params": []})
    return log(entries, "mitmproxy")


def as_charles(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """No `params`, no `queryString`, headers of the connection, empty comments."""
    for one in entries:
        one["request"].pop("queryString")
        one["request"].get("postData", {}).pop("params", None)
        one["request"]["headers"].append({"name": "Connection", "value": "keep-alive"})
        one["response"]["comment"] = one["comment"] = ""
    return log(entries, "Charles Proxy")


def as_chromium(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Names of HTTP/2 that begin with a colon, and details of its own."""
    for one in entries:
        one["request"]["headers"].insert(0, {"name": ":authority", "value": "api.shop.test"})
        one["_resourceType"], one["_initiator"] = "fetch", {"type": "script"}
    return log(entries, "WebInspector")


def saved(document: Any, folder: Path) -> Path:
    path = folder / "traffic.har"
    path.write_text(json.dumps(document), "utf-8")
    return path


@pytest.mark.parametrize("form", [as_firefox, as_mitmproxy, as_charles, as_chromium])
def test_a_har_file_is_judged_whoever_wrote_it(form: Any, tmp_path: Path) -> None:
    report = judge(saved(form(traffic()), tmp_path))
    assert [(v.clause, v.expected, v.seen) for v in report.violations] == []
    assert (report.target, report.requests, report.verdict) == (BASE, 4, Verdict.PASSED)
    reached = {entry.clause.id for entry in report.clauses if entry.exercised}
    assert reached >= {"AUTH-2", "HTTP-1", "CRE-1", "CRE-5", "CRE-8", "AMT-1", "RET-1", "RET-4", "EXP-1", "EXP-8"}
    assert {entry.reason for entry in report.clauses if not entry.exercised} == {"no request reached it"}

    broken = judge(saved(form(traffic(TOTAL_OFF)), tmp_path))
    assert {violation.clause for violation in broken.violations} == {"AMT-1", "AMT-7"}
    assert broken.verdict is Verdict.FAILED


@pytest.mark.parametrize("form", FORMATS)
def test_a_key_in_a_har_file_gets_into_no_report(form: str, tmp_path: Path) -> None:
    odd = f"/checkout/sessions?limit={KEY}"
    entries = [
        *traffic(TOTAL_OFF),
        entry("GET", odd, 400, {"error": f"no {KEY}"}, at=500, headers={"Cookie": "s3cret=1", "X-Key": OTHER_KEY}),
        entry("GET", ONE, 401, {"error": "no key"}, at=600, key=OTHER_KEY),
        entry("GET", ONE, 401, {"error": "no key"}, at=700, key="", headers={"Authorization": f"bearer  {OTHER_KEY}"}),
        entry("GET", ONE, 401, {"error": "no key"}, at=800, key="", headers={"Authorization": OTHER_KEY}),
        entry("POST", "/_mock/v1/webhook-endpoints", 201, {"id": "we_1"}, {"url": "https://x.test", "secret": 'wh"s3'}),
    ]
    text = render(judge(saved(log(entries), tmp_path)), form)
    tokens = [base64.b64encode(f"{key}:".encode()).decode().rstrip("=")[:-1] for key in (KEY, OTHER_KEY)]
    for secret in (KEY, OTHER_KEY, *tokens, "s3cret", 'wh\\"s3', "wh&quot;s3"):
        assert secret not in text


def test_accounts_are_numbered_by_key(tmp_path: Path) -> None:
    entries = [
        *traffic(),
        entry("GET", "/checkout/sessions", 200, {}, at=500, key=OTHER_KEY),
        entry("GET", "/checkout/sessions", 200, {}, at=600, key="", headers={"Authorization": f"BEARER {KEY}"}),
        entry("GET", "/checkout/sessions", 401, {}, at=700, key="sk_test_never_taken"),
        entry("GET", "/checkout/sessions", 401, {}, at=800, key=""),
    ]
    recorded = read(saved(log(entries), tmp_path))
    found = [(e.account, e.credentials) for e in recorded.trace.history.exchanges[3:]]
    assert found == [
        (0, Credentials.BASIC),
        (1, Credentials.BASIC),
        (0, Credentials.BEARER),
        (None, Credentials.BROKEN),
        (None, Credentials.NONE),
    ]
    assert any("2 keys were used" in note for note in recorded.notes)
    alone = read(saved(log(entries), tmp_path), one_account=True).trace.history
    assert {e.account for e in alone.exchanges} == {0, None}


def test_a_file_without_credentials_blames_nobody_for_it(tmp_path: Path) -> None:
    report = judge(saved(log(traffic(key="")), tmp_path))
    assert report.verdict is Verdict.PASSED
    assert not any(report[identifier].exercised for identifier in ("AUTH-1", "AUTH-2", "AUTH-3", "AUTH-4"))
    assert any("no credentials" in note for note in report.notes)


def without(part: str, one: dict[str, Any]) -> dict[str, Any]:
    if part == "request":
        one["request"] |= {"method": "POST", "bodySize": 9}
        one["request"].pop("postData", None)
    elif part == "reply":
        one["response"]["content"] = {"size": -1, "mimeType": "application/json"}
    elif part == "half":
        one["response"]["content"]["text"] = one["response"]["content"]["text"][:40]
    elif part == "answer":
        one["response"] = {"status": 0, "headers": [], "content": {"size": 0}, "_error": "net::ERR_ABORTED"}
    elif part == "cached":
        one["response"]["status"] = 304
        one["response"]["content"] = {"size": 0}
    return one


@pytest.mark.parametrize(
    ("part", "note"),
    [
        ("request", "1 requests without the body that was sent were left out."),
        ("reply", "1 answers have no whole body in the file, and were not judged."),
        ("half", "1 answers have no whole body in the file, and were not judged."),
        ("answer", "1 requests have no answer in the file."),
        ("cached", "1 answers from a cache were left out."),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_a_file_does_not_hold_is_not_judged(part: str, note: str, place: int, tmp_path: Path) -> None:
    entries = traffic()
    without(part, entries[place])
    report = judge(saved(log(entries), tmp_path), strict=True)
    assert [(v.clause, v.expected, v.seen) for v in report.violations] == []
    assert note in report.notes


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"log": {"entries": []}}, "has no request to /checkout/sessions; --base-url says where the API hangs"),
        ({"log": {}}, "is neither a HAR file nor a trace"),
        ([], "is neither a HAR file nor a trace"),
        (log([{"request": {"method": "GET"}}]), "log.entries[0].request.url must be text"),
        (log([*traffic(), {}]), "log.entries[5].request must be an object"),
        (log([*traffic(), *traffic(base="http://localhost:4010")]), "requests to 2 APIs"),
    ],
)
def test_a_file_that_cannot_be_judged_is_one_clear_line(document: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckError) as refused:
        judge(saved(document, tmp_path))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_base_url_says_whose_traffic_is_judged(tmp_path: Path) -> None:
    path = saved(log([*traffic(), *traffic(TOTAL_OFF, base="http://LOCALHOST:80")]), tmp_path)
    assert judge(path, base_url=BASE).verdict is Verdict.PASSED
    assert judge(path, base_url="http://localhost").verdict is Verdict.FAILED
    with pytest.raises(CheckError, match="has no request below"):
        judge(path, base_url="http://localhost:4010")


@pytest.mark.parametrize("quirk", ["no challenge", "retrieve across accounts", "expire across accounts"])
def test_our_own_har_report_is_judged_as_the_run_was(quirk: str, tmp_path: Path) -> None:
    report = check(
        "http://127.0.0.1",
        transport=within(quirk),
        seed=1,
        drivers=lambda driver: driver.name in {"credentials", "two accounts"},
        control="none",
        keys=(KEY, OTHER_KEY),
        replay=False,
    )
    write(report, "har", tmp_path / "run.har")
    again = judge(tmp_path / "run.har")
    assert {v.clause for v in report.violations} >= {v.clause for v in again.violations} != set()


def test_a_trace_is_judged_without_what_others_may_have_done(short: History, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(file.render(Trace(history=short, target="http://t.test", seed=7)), "utf-8")
    report = judge(tmp_path / "t.json", strict=True)
    assert (report.verdict, report.target, report.seed) == (Verdict.PASSED, "http://t.test", 7)
    # Whether requests met that were sent at the same time is for chance to say.
    assert {e.clause.id for e in report.clauses if not e.exercised} - {"CON-1", "CON-2", "IDM-6"} == {"EVT-7"}


# A real browser.

SHOP = """async ([key, line]) => {
  const headers = {Authorization: 'Basic ' + btoa(key + ':'), 'Content-Type': 'application/json'};
  const body = {line_items: [line], success_url: 'https://shop.test/thanks', return_url: 'https://shop.test/back',
                cancel_url: 'https://shop.test/basket'};
  const made = await (await fetch('/checkout/sessions',
    {method: 'POST', headers: {...headers, 'Idempotency-Key': 'order-1'}, body: JSON.stringify(body)})).json();
  await (await fetch('/checkout/sessions/' + made.id, {headers})).text();
  await (await fetch('/checkout/sessions?limit=3', {headers})).text();
  const empty = JSON.stringify({...body, line_items: []});
  await (await fetch('/checkout/sessions', {method: 'POST', headers, body: empty})).text();
  return made; }"""
LATER = """async ([key, id]) => {
  const headers = {Authorization: 'Basic ' + btoa(key + ':')};
  const read = await (await fetch('/checkout/sessions/' + id, {headers})).json();
  await (await fetch('/checkout/sessions/' + id + '/expire', {method: 'POST', headers})).text();
  return read.status; }"""


def test_a_shops_traffic_is_recorded_with_a_browser_and_judged(tmp_path: Path) -> None:
    named = os.environ.get("QASHIER_TEST_BROWSER")
    path = named or next((found for name in BROWSERS if (found := shutil.which(name))), None)
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    recording, key = tmp_path / "shop.har", "sk_test_InTheBrowser"
    with MockServer() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        context = browser.new_context(record_har_path=recording)
        context.route("https://shop.test/**", lambda route: route.fulfill(body="<h1>the shop</h1>"))
        context.route(f"{server.url}/shop", lambda route: route.fulfill(body="<h1>the shop</h1>"))
        page = context.new_page()
        page.goto(f"{server.url}/shop")
        session = page.evaluate(SHOP, [key, ASKED["line_items"][0]])
        page.goto(session["url"])
        page.get_by_test_id("pay-card").click()
        page.wait_for_url("https://shop.test/thanks")
        page.goto(f"{server.url}/shop")
        assert page.evaluate(LATER, [key, session["id"]]) == "complete"
        page.goto(session["url"])
        context.close()
        browser.close()
    report = judge(recording, strict=True)
    assert [(v.clause, v.expected, v.seen) for v in report.violations] == []
    reached = {entry.clause.id for entry in report.clauses if entry.exercised}
    assert reached >= {"AUTH-2", "HTTP-1", "HTTP-3", "CRE-1", "CRE-8", "CRE-9", "CRE-14", "AMT-1", "AMT-5", "RET-1"}
    assert reached >= {"LIS-1", "LIS-14", "PAY-1", "PAY-4"}
    pages = [e.page_act for e in report.history.exchanges if e.operation is Operation.PAGE]
    assert pages == ["view", "pay-card", "view"]
    assert key not in render(report, "trace")
    assert key in recording.read_text("utf-8") or base64.b64encode(f"{key}:".encode()).decode() in recording.read_text()


# The command.


def test_judge_says_which_clauses_the_traffic_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(log(traffic()), tmp_path)
    assert main(["judge", str(path), "--report", f"json={tmp_path / 'r.json'}"]) == 0
    shown = capsys.readouterr().out
    assert "The traffic reached" in shown
    assert "CRE-1 (1)" in shown
    assert f"again:qashier-mockjudge{path}" in "".join(shown.split())
    clauses = {one["id"]: one for one in json.loads((tmp_path / "r.json").read_text("utf-8"))["clauses"]}
    assert (clauses["CRE-1"]["exercised"], clauses["CRE-1"]["verdict"]) == (1, "passed")
    assert (clauses["LIS-5"]["verdict"], clauses["LIS-5"]["reason"]) == ("not exercised", "no request reached it")


def test_judge_is_1_when_a_clause_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(log(traffic(TOTAL_OFF)), tmp_path)
    assert main(["judge", str(path), "--only", "AMT-*"]) == 1
    assert "AMT-1" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["none.har"], ["--only", "LIS-5"], ["--only", "nothing"]])
def test_judge_is_2_when_nothing_was_judged(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(log(traffic()), tmp_path)
    words = arguments if len(arguments) == 1 else [str(path), *arguments]
    assert main(["judge", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


WITHOUT_THE_EXTRA = """
import sys
for name in ('hypothesis', 'schemathesis', 'openapi_schema_validator', 'pytest'):
    sys.modules[name] = None  # as if it were not installed
from qashier_mock.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a Python that lacks what the extra `contract` brings."""
    command = [sys.executable, "-c", WITHOUT_THE_EXTRA, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_judging_needs_no_extra(tmp_path: Path) -> None:
    done = alone("judge", str(saved(log(traffic()), tmp_path)), "--report", f"html={tmp_path / 'r.html'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The traffic reached" in done.stdout


@pytest.mark.parametrize("form", ["text", "json"])
def test_printing_the_clauses_needs_no_extra(form: str) -> None:
    done = alone("clauses", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CRE-7" in done.stdout


def test_help_needs_no_extra() -> None:
    lines = ";".join(f"main([{name!r}, '--help'])" for name in COMMANDS)
    script = WITHOUT_THE_EXTRA.replace("raise SystemExit(main(sys.argv[1:]))", "")
    script += "\n".join(f"try: {one}\nexcept SystemExit as end: assert not end.code" for one in lines.split(";"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: ") == len(COMMANDS)


def test_importing_the_checker_imports_nothing_that_draws_requests() -> None:
    script = "import sys, qashier_contract; print(sorted({'hypothesis', 'schemathesis', 'pytest'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[]\n"


def test_a_har_document_is_told_from_others() -> None:
    assert har.is_har(log([]))
    assert not har.is_har({"format": file.FORMAT})
