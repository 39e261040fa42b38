"""Every clause has teeth: a history that keeps it, and one that breaks it.

What breaks it comes from the tests' own implementation with a defect; `test_check.py` has the correct one. Below, by
hand, the judgements that are easy to get wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from qashier_contract import CLAUSES, Clause, Report, Verdict, check
from qashier_contract.clauses import Source
from qashier_contract.history import (
    Capability,
    Credentials,
    Delivery,
    Endpoint,
    Exchange,
    History,
    Reply,
    Request,
    Terms,
)
from qashier_contract.ledger import Ledger
from qashier_contract.policy import Policy
from qashier_contract.verdicts import judge

from tests.targets import DEFECTS, directed, serving, touching, within

CONCURRENT = {"CON-1", "CON-2", "IDM-6"}
# What shows on a socket only: requests that overlap, and a body that arrives in chunks.
ON_A_SOCKET = {defect for defect, clause in DEFECTS.items() if clause in CONCURRENT} | {
    *("chunks lost", "chunks of any number", "chunks decoded one by one"),
    *(defect for defect in DEFECTS if defect.endswith("of whoever asked last")),
    "one key for two expires at once",
}
IN_FULL = os.environ.get("QASHIER_SOAK") == "full"
LATE_SCENARIOS = {
    *("AMT-3", "AMT-5", "AUTH-2", "AUTH-5", "CRE-1", "CRE-4", "CRE-8", "CRE-9", "CRE-11", "CRE-12", "CRE-14", "CRE-15"),
    *("CRE-16", "CRE-19", "EVT-2", "EVT-3", "EVT-6", "EVT-7", "EXP-1", "EXP-7", "HTTP-6", "IDM-1", "IDM-2", "LIS-3"),
    *("LIS-7", "LIS-14", "PAY-1", "PAY-3", "PAY-4", "PAY-7"),
}
"""Clauses most of whose defects show after very many requests only: the first one proves each in every test run."""
LATE = [
    defect
    for number, (defect, clause) in enumerate(DEFECTS.items())
    if clause in LATE_SCENARIOS and clause in [*DEFECTS.values()][:number]
]


def test_the_contract_is_whole() -> None:
    for clause in CLAUSES.values():
        assert clause.statement.endswith(".")
        assert clause.source in set(Source)


def test_the_contract_is_whole_without_docstrings() -> None:
    """`python -OO` drops docstrings: a statement must not be one."""
    program = "from qashier_contract import CLAUSES; print([c.statement for c in CLAUSES.values()])"
    run = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str([clause.statement for clause in CLAUSES.values()])


def test_what_nobody_wrote_down_and_no_payment_api_may_break_is_a_failure() -> None:
    """A second payment, another merchant's session, a crash: exit code 1 without `--strict`."""
    for clause in ("PAY-2", "AUTH-5", "HTTP-6"):
        assert CLAUSES[clause].source is Source.IMPLIED
    assert worst_of_a_broken(Source.IMPLIED) is Verdict.FAILED
    assert worst_of_a_broken(Source.ASSUMED) is Verdict.WARNED


def worst_of_a_broken(source: Source) -> Verdict:
    """What a run without `--strict` says of a broken clause of a source."""
    story = Story()
    story.add("GET", "/checkout/sessions", 500, {})
    clause = Clause("HTTP-6", source, "Nothing breaks.", CLAUSES["HTTP-6"].judge, frozenset())
    (report,) = judge(story.ledger.history, [clause])
    return report.verdict


def test_every_clause_has_a_defect() -> None:
    assert {*DEFECTS.values()} == CLAUSES.keys()


@pytest.mark.parametrize("defect", [defect for defect in DEFECTS if defect not in LATE])
def test_a_defect_is_reported_under_its_clause(defect: str) -> None:
    assert_is_reported(defect)


@pytest.mark.soak
@pytest.mark.parametrize("defect", LATE if IN_FULL else LATE[::12])
def test_a_defect_that_shows_late_is_reported_under_its_clause(defect: str) -> None:
    assert_is_reported(defect)


def assert_is_reported(defect: str) -> None:
    report = first_failure(defect)
    clause = CLAUSES[DEFECTS[defect]]
    assert report[clause.id].verdict is Verdict.FAILED
    _, (broken, *_) = clause.findings(Ledger(report.history))
    assert broken.exchanges or broken.deliveries
    assert broken.expected
    assert broken.seen


def first_failure(defect: str) -> Report:
    """A run against a server with a defect, up to the scenario that shows it."""
    found = partial(
        check,
        seed=1,
        strict=True,
        only=[DEFECTS[defect]],
        drivers=directed,
        fail_fast=True,
        replay=False,
        max_time_s=600.0,
    )
    if defect not in ON_A_SOCKET:
        return found("http://127.0.0.1", transport=within(defect))
    with serving(defect) as url:
        return found(url)


def test_a_deadline_that_is_no_integer_leads_to_no_other_accusation() -> None:
    """What depends on it is judged by the deadline as it ought to be."""
    report = check(
        "http://127.0.0.1",
        transport=within("expires_at as string"),
        seed=1,
        strict=True,
        drivers=touching,
        replay=False,
        max_time_s=600.0,
    )
    assert {violation.clause for violation in report.violations} == {"CRE-1", "CRE-5", "CRE-6"}


@pytest.mark.parametrize("defect", ["cancel_url over https refused", "two URLs alike refused"])
def test_a_create_that_is_refused_for_its_urls_is_put_down_to_the_clause_of_urls(defect: str) -> None:
    report = check(
        "http://127.0.0.1",
        transport=within(defect),
        seed=1,
        only=["CRE-1", "CRE-15"],
        drivers=lambda driver: driver.name in {"when it expires", "at the limits", "keys that come again"},
        replay=False,
        max_time_s=600.0,
    )
    assert {violation.clause for violation in report.violations} == {"CRE-15"}


def test_another_word_for_a_status_breaks_no_clause_but_that_of_odd_filters() -> None:
    """The sessions that it stands for are kept, so that `status` itself does what it should."""
    report = check(
        "http://127.0.0.1",
        transport=within("another word for a status"),
        seed=1,
        only=["LIS-*"],
        drivers=lambda driver: driver.name == "filters in other words",
        replay=False,
    )
    assert {violation.clause for violation in report.violations} == {"LIS-15"}


# ── by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

NOW = 1_800_000_000


class Story:
    """Exchanges, one after another, a millisecond each, on an account whose clock stands still."""

    def __init__(self, *capabilities: Capability) -> None:
        self.exchanges: list[Exchange] = []
        self.terms = Terms(capabilities=frozenset({Capability.CLOCK, *capabilities}))
        self.add("GET", "/_mock/v1/clock", 200, {"now": NOW, "frozen": True})

    def add(self, method: str, path: str, status: int, answer: Any, body: Any = None, **more: Any) -> Exchange:
        number = len(self.exchanges) + 1
        path, _, query = path.partition("?")
        sent = more.pop("sent_ns", number * 2_000_000)
        exchange = Exchange(
            number=number,
            request=Request(
                method=method,
                path=path,
                query=query,
                headers=more.pop("headers", (("Content-Type", "application/json"),)),
                body=None if body is None else json.dumps(body).encode(),
            ),
            reply=Reply(
                status=status,
                headers=(("content-type", "application/json"), ("request-id", f"req_{number}")),
                body=json.dumps(answer).encode(),
            ),
            sent_ns=sent,
            received_ns=more.pop("received_ns", sent + 1_000_000),
            credentials=Credentials.BASIC,
            **more,
        )
        self.exchanges.append(exchange)
        return exchange

    def opened(self, name: str, **changes: Any) -> dict[str, Any]:
        """A session that was created as it should be, `changes` aside; as it was shown."""
        line = {"price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 180}, "quantity": 2}
        body = {"line_items": [line], "success_url": f"https://s.example/{name}", "return_url": "https://s.example/r"}
        session = {
            "id": name,
            "currency": "SGD",
            "line_items": {
                "object": "list",
                "data": [{"amount_total": 360, "currency": "SGD", "description": "Kopi", "quantity": 2}],
            },
            "object": "checkout.session",
            "amount_total": 360,
            "created": NOW,
            "expires_at": NOW + 86_400,
            "mode": "payment",
            "payment_status": "unpaid",
            "status": "open",
            "return_url": body["return_url"],
            "success_url": body["success_url"],
            "url": f"https://pay.example/{name}",
            **changes,
        }
        self.add("POST", "/checkout/sessions", 200, session, body)
        return session

    def listed(self, query: str, *sessions: dict[str, Any], more: bool = False) -> None:
        answer = {"object": "list", "data": list(sessions), "has_more": more, "url": "/checkout/sessions"}
        self.add("GET", f"/checkout/sessions{query}", 200, answer)

    @property
    def ledger(self) -> Ledger:
        return Ledger(History(exchanges=tuple(self.exchanges), terms=self.terms))


def verdict(identifier: str, story: Story) -> bool | None:
    """Whether a story keeps a clause, None if it does not touch it."""
    exercised, broken = CLAUSES[identifier].findings(story.ledger)
    return None if not exercised else not broken


def test_more_is_only_false_for_sure_where_nobody_else_is() -> None:
    story = Story()
    first, second = story.opened("a"), story.opened("b")
    story.listed("?limit=10", second, first)
    story.listed("?limit=2", second, first, more=True)
    assert verdict("LIS-7", story) is False
    shared = Story()
    first, second = shared.opened("a"), shared.opened("b")
    stranger = {**first, "id": "x", "success_url": "https://elsewhere.example/"}
    shared.listed("?limit=10", second, first, stranger)
    shared.listed("?limit=2", second, first, more=True)
    assert CLAUSES["LIS-7"].findings(shared.ledger)[1] == ()


def test_a_new_key_that_is_in_conflict_is_put_down_to_the_keys() -> None:
    story = Story()
    session = story.opened("a")
    body = json.loads(story.exchanges.pop().request.body or b"")

    def create(key: str, status: int, answer: Any) -> None:
        headers = (("Content-Type", "application/json"), ("Idempotency-Key", key))
        story.add("POST", "/checkout/sessions", status, answer, body, headers=headers)

    create("ab", 200, session)
    create("AB", 409, {})
    assert verdict("IDM-2", story) is False
    assert verdict("CRE-1", story) is True


def test_strangers_between_our_sessions_are_no_fault() -> None:
    story = Story()
    first, second, third = story.opened("a"), story.opened("b"), story.opened("c")
    stranger = {**first, "id": "x", "created": NOW, "success_url": "https://elsewhere.example/"}
    story.listed("?limit=3", third, stranger, second, more=True)
    story.listed("?limit=2&starting_after=c", stranger, second, more=True)
    for identifier in ("LIS-3", "LIS-4", "LIS-5", "LIS-7"):
        assert CLAUSES[identifier].findings(story.ledger)[1] == ()
    story.listed("?limit=2&starting_after=c", stranger, first, more=True)
    assert verdict("LIS-5", story) is False


def test_the_order_of_two_creates_that_overlapped_is_not_judged() -> None:
    story = Story()
    first = story.opened("a")
    second = story.opened("b")
    last = story.exchanges[-1]
    story.exchanges[-1] = Exchange(
        number=last.number,
        request=last.request,
        reply=last.reply,
        sent_ns=story.exchanges[-2].sent_ns,
        received_ns=last.received_ns,
    )
    story.listed("", first, second)
    assert CLAUSES["LIS-4"].findings(story.ledger)[1] == ()


def test_a_currency_that_this_account_may_not_charge_is_no_fault() -> None:
    story = Story()
    story.opened("a")
    line = {"price_data": {"currency": "JPY", "product_data": {"name": "Kopi"}, "unit_amount": 1}, "quantity": 1}
    body = {"line_items": [line], "success_url": "https://s.example/j", "return_url": "https://s.example/r"}
    story.add("POST", "/checkout/sessions", 400, {"error": {"message": "not this currency"}}, body)
    assert verdict("CRE-1", story) is True
    story.terms = Terms(capabilities=story.terms.capabilities, currencies=frozenset({"JPY"}))
    assert verdict("CRE-12", story) is False


def test_a_refusal_is_put_down_to_what_is_special_about_the_request() -> None:
    story = Story()
    story.opened("a")
    line = {"price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 1}, "quantity": 10_000}
    body = {"line_items": [line], "success_url": "https://s.example/q", "return_url": "https://s.example/r"}
    story.add("POST", "/checkout/sessions", 400, {"error": {"message": "too many of them"}}, body)
    assert verdict("CRE-11", story) is False
    assert verdict("CRE-1", story) is True


def test_a_key_that_is_under_way_may_be_refused_unless_a_policy_says_that_it_waits() -> None:
    story = Story()
    keyed = (("Content-Type", "application/json"), ("Idempotency-Key", "k"))
    session = story.opened("a")
    body = story.exchanges.pop().request.json
    for status, answer in ((200, session), (409, {"error": {"message": "in use"}})):
        story.add(
            "POST", "/checkout/sessions", status, answer, body, headers=keyed, sent_ns=10**9, received_ns=2 * 10**9
        )
    assert verdict("IDM-6", story) is True
    story.terms = replace(story.terms, policy=Policy(idempotency_in_flight="conflict"))
    assert verdict("IDM-6", story) is True
    story.terms = replace(story.terms, policy=Policy(idempotency_in_flight="wait"))
    assert verdict("IDM-6", story) is False


@pytest.mark.parametrize(("expires_at", "kept"), [(NOW + 86_400, None), (None, False)])
def test_a_forgotten_key_does_not_make_an_expiry_right_that_is_over(expires_at: int | None, kept: object) -> None:
    story = Story()
    keyed = (("Content-Type", "application/json"), ("Idempotency-Key", "k"))
    session = story.opened("a")
    body = {**story.exchanges.pop().request.json, **({} if expires_at is None else {"expires_at": expires_at})}
    story.add("POST", "/checkout/sessions", 200, session, body, headers=keyed)
    story.add("POST", "/_mock/v1/clock/advance", 200, {"now": NOW + 86_400, "frozen": True}, {"seconds": 86_400})
    story.add("POST", "/checkout/sessions", 422, {"error": {"message": "out of range"}}, body, headers=keyed)
    assert verdict("IDM-4", story) is kept


@pytest.mark.parametrize(("since_s", "kept"), [(60, None), (59, False)])
def test_what_ended_at_the_same_time_as_the_clock_moved_may_have_ended_before(since_s: int, kept: object) -> None:
    story = Story()
    session = story.opened("a")
    began = story.exchanges[-1].sent_ns + 2_000_000
    ended = {**session, "status": "expired"}
    times = {"sent_ns": began, "received_ns": began + 1_500_000}
    story.add("POST", "/checkout/sessions/a/expire", 200, ended, None, **times)
    moved, later = {"now": NOW + 30, "frozen": True}, {"now": NOW + since_s, "frozen": True}
    story.add("POST", "/_mock/v1/clock/advance", 200, moved, {"seconds": 30}, sent_ns=began)
    story.add("POST", "/_mock/v1/clock/advance", 200, later, {"seconds": since_s - 30})
    story.add("GET", "/checkout/sessions/a", 404, {"error": {"message": "gone"}})
    assert verdict("RET-1", story) is kept


def test_a_limited_request_is_not_judged() -> None:
    story = Story()
    story.add("GET", "/checkout/sessions/nothing", 429, "slow down")
    for identifier in ("HTTP-1", "HTTP-2", "HTTP-3", "RET-2"):
        assert verdict(identifier, story) is None


def test_a_lost_answer_leaves_the_session_unknown() -> None:
    story = Story()
    session = story.opened("a")
    last = story.add("POST", "/checkout/sessions/a/expire", 200, session)
    story.exchanges[-1] = Exchange(
        number=last.number,
        request=last.request,
        reply=None,
        failure="timed out",
        sent_ns=last.sent_ns,
        received_ns=last.received_ns,
    )
    story.add("GET", "/checkout/sessions/a", 200, {**session, "status": "expired"})
    for identifier in ("RET-1", "EXP-7", "HTTP-6", "LIS-8"):
        assert CLAUSES[identifier].findings(story.ledger)[1] == ()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", ["open", "complete"])
def test_looking_at_a_page_changes_nothing(method: str, status: str) -> None:
    story = Story(Capability.PAGE)
    session = story.opened("a")
    story.add(method, "https://pay.example/a", 200, {}, account=None, page_of="a", page_act="view")
    story.add("GET", "/checkout/sessions/a", 200, {**session, "status": status})
    assert verdict("PAY-6", story) is (status == "open")


@pytest.mark.parametrize(("status", "kept"), [(200, True), (411, None), (400, False)])
def test_a_create_in_chunks_succeeds_unless_its_length_is_wanted(status: int, kept: object) -> None:
    story = Story()
    session = story.opened("a")
    created = story.exchanges.pop()
    headers = (*created.request.headers, ("Transfer-Encoding", "chunked"))
    answer = session if status == 200 else {"error": {"message": "send it with its length"}}
    story.add("POST", "/checkout/sessions", status, answer, created.request.json, headers=headers)
    assert verdict("CRE-1", story) is kept
    if status == 411:
        assert verdict("HTTP-3", story) is None


@pytest.mark.parametrize(("lines", "kept"), [(["GET", "POST"], True), (["GET, POST"], True), (["GET"], False)])
def test_each_method_may_have_a_line_of_allow_for_itself(lines: list[str], kept: object) -> None:
    story = Story()
    refused = story.add("DELETE", "/checkout/sessions", 405, {"error": {"message": "use GET or POST"}})
    assert refused.reply is not None
    headers = (*refused.reply.headers, *(("allow", line) for line in lines))
    story.exchanges[-1] = replace(refused, reply=replace(refused.reply, headers=headers))
    assert verdict("HTTP-4", story) is kept


@pytest.mark.parametrize(("asked", "kept"), [("paid", False), ("open%20", None), ("open,expired", None), ("", None)])
def test_a_status_with_blanks_or_a_list_of_them_is_accused_of_not_being_refused_only(asked: str, kept: object) -> None:
    story = Story()
    story.listed(f"?status={asked}", story.opened("a"), story.opened("b", status="expired"))
    assert verdict("LIS-15", story) is False
    assert verdict("LIS-8", story) is kept


@pytest.mark.parametrize(("shown", "more", "kept"), [(2, True, False), (3, True, True), (2, False, True)])
def test_a_short_page_must_not_say_that_there_are_more(shown: int, more: bool, kept: bool) -> None:  # noqa: FBT001 - what is tried
    """Whoever else has sessions there: a look amid a run knows little of what an account holds."""
    story = Story()
    sessions = [story.opened(name) for name in "abc"[:shown]]
    del story.exchanges[1:]
    story.listed("?limit=3", *sessions, more=more)
    assert verdict("LIS-3", story) is kept


def test_a_key_given_twice_is_left_open_on_a_target() -> None:
    story = Story()
    story.opened("a")
    created = story.exchanges.pop()
    body = b'{"success_url": "x", ' + (created.request.body or b"")[1:]
    story.add("POST", "/checkout/sessions", 400, {"error": {"message": "success_url is there twice"}}, {})
    story.exchanges[-1] = replace(story.exchanges[-1], request=replace(created.request, body=body))
    assert verdict("CRE-1", story) is None
    story.terms = replace(story.terms, own=True)
    assert [creation.is_valid for creation in story.ledger.creations] == [True]


@pytest.mark.parametrize("total", ["3.60", "S$ 3,60", "360", "<b>3</b>.60 SGD", "003.60"])
def test_a_page_may_write_an_amount_as_it_likes(total: str) -> None:
    assert verdict("PAY-7", page_that_says(f"<p>{total}</p><li>2 x Kopi</li>")) is True


@pytest.mark.parametrize(
    "words", ["<p>3.6</p><li>2 x Kopi</li>", "<p>13.60</p><li>2 x Kopi</li>", "<p>3.60</p><li>2</li>", "3.60 Kopi"]
)
def test_a_page_shows_the_total_and_each_line(words: str) -> None:
    assert verdict("PAY-7", page_that_says(words)) is False


def test_a_session_that_ended_a_minute_ago_may_be_gone_from_replays_and_as_a_cursor() -> None:
    for since_s, keeps in ((60, True), (59, False)):
        story = Story()
        session = story.opened("a")
        keyed = {"account": 0, "headers": (("Idempotency-Key", "k"),)}
        story.add("POST", "/checkout/sessions/a/expire", 200, {**session, "status": "expired"}, **keyed)
        story.add("GET", "/_mock/v1/clock", 200, {"now": NOW, "frozen": True})
        story.add("PUT", "/_mock/v1/clock", 200, {"now": NOW + since_s, "frozen": True}, {"now": NOW + since_s})
        story.add("POST", "/checkout/sessions/a/expire", 404, {}, **keyed)
        story.add("GET", "/checkout/sessions?ending_before=a", 422, {})
        assert (verdict("IDM-5", story) is not False) is keeps
        assert (verdict("LIS-6", story) is not False) is keeps


def test_an_id_may_have_every_sign_that_a_path_takes_as_it_is() -> None:
    story = Story()
    story.opened("sg:a@b")
    assert verdict("CRE-10", story) is True
    story.opened("a/b")
    assert verdict("CRE-10", story) is False


def test_a_refusal_may_blame_a_field_that_no_document_names() -> None:
    for blamed, product, is_right in (
        ("line_items[0].price_data.product_data.colour", {"colour": "red"}, True),
        ("lineItems[0].priceData.productData.name", {}, True),
        ("price_data", {}, True),
        ("success_url", {}, False),
    ):
        story = Story()
        line = {"price_data": {"currency": "SGD", "product_data": product, "unit_amount": 1}, "quantity": 1}
        body = {"line_items": [line], "success_url": "https://s.example/", "return_url": "https://s.example/"}
        refusal = {"error": {"message": "Have another look.", "param": blamed}}
        story.add("POST", "/checkout/sessions", 400, refusal, body, account=0)
        assert verdict("HTTP-3", story) is is_right


@pytest.mark.parametrize("own", [True, False])
def test_a_refusal_may_blame_the_email_of_a_customer(own: bool) -> None:  # noqa: FBT001
    story = Story()
    story.terms = replace(story.terms, own=own)
    error = {"type": "invalid_request_error", "code": "parameter_invalid", "message": "Give a text."}
    body = {"line_items": [], "success_url": "https://s.example/", "return_url": "https://s.example/"}
    refusal = {"error": {**error, "param": "customer_email"}}
    story.add("POST", "/checkout/sessions", 400, refusal, {**body, "customer_email": 5}, account=0)
    assert verdict("HTTP-3", story) is True


def test_who_pays_twice_may_be_thanked_twice() -> None:
    story = led_on_from_a_page("https://s.example/a", presses=2)
    second = story.exchanges[-1]
    reply = Reply(status=303, headers=(("location", "https://s.example/a"),), body=b"")
    story.exchanges[-1] = replace(second, reply=reply, sent_ns=second.sent_ns - 2_000_000)
    assert verdict("CON-1", story) is True
    story.add("POST", "/checkout/sessions/a/expire", 200, {}, account=0, sent_ns=second.sent_ns - 2_000_000)
    assert verdict("CON-1", story) is False


@pytest.mark.parametrize(
    "words",
    [
        '<input readonly value="2"><textarea readonly>Kopi</textarea><button>Pay 3.60</button>',
        '<li>2 x Kopi</li><input type=submit value="Pay SGD 3.60">',
    ],
)
def test_what_a_page_shows_may_stand_in_its_fields(words: str) -> None:
    assert verdict("PAY-7", page_that_says(words)) is True
    assert verdict("PAY-7", page_that_says(words.replace("value", "type=hidden value"))) is False


def page_that_says(words: str, **asked: str) -> Story:
    """A session over two cups of Kopi for 360, and its open page."""
    story = Story(Capability.PAGE)
    story.opened("a")
    born = story.exchanges[-1]
    body = json.dumps({**born.request.json, **asked}).encode()
    story.exchanges[-1] = replace(born, request=replace(born.request, body=body))
    shown = story.add("GET", "https://pay.example/a", 200, {}, account=None, page_of="a", page_act="view")
    reply = Reply(status=200, headers=(("content-type", "text/html"),), body=words.encode())
    story.exchanges[-1] = replace(shown, reply=reply)
    return story


@pytest.mark.parametrize(
    "click", ["location.href=&quot;{}&quot;", "window.location.assign( 'https://s.example/it\\'s' ); return false"]
)
def test_a_button_with_a_handler_may_be_the_way_back(click: str) -> None:
    back = "https://s.example/it's"
    for cancel_url, kept in ((back, True), (f"{back}?b=2", False)):
        story = page_that_says(
            f'<button type=button onclick="{click.format(back)}">Back</button>', cancel_url=cancel_url
        )
        assert verdict("PAY-4", story) is kept


def test_a_customer_is_followed_though_another_press_comes_between() -> None:
    story = led_on_from_a_page("/done", "https://s.example/a", presses=2)
    assert story.ledger.end_of(story.exchanges[2]) is story.exchanges[-1]


def test_what_comes_before_a_redirect_was_followed_may_come_before_the_payment() -> None:
    """Who is sent elsewhere by 307 pays there."""
    story = Story(Capability.PAGE)
    story.opened("a")
    asked: dict[str, Any] = {"account": None, "page_of": "a"}
    sent = story.add("POST", "https://pay.example/a", 307, {}, page_act="pay-card", **asked)
    story.exchanges[-1] = replace(sent, reply=Reply(status=307, headers=(("location", "/do"),), body=b""))
    story.add("POST", "/checkout/sessions/a/expire", 200, {}, account=0)
    shown = story.add("POST", "https://pay.example/do", 200, {}, page_act="pay-card, led on", **asked)
    page = Reply(status=200, headers=(("content-type", "text/html"),), body=b"It is expired.")
    story.exchanges[-1] = replace(shown, reply=page)
    assert verdict("PAY-1", story) is not False


def test_a_customer_who_was_still_being_led_on_when_the_run_ended_is_not_missed_at_the_shop() -> None:
    assert verdict("PAY-1", led_on_from_a_page("/done")) is None
    assert verdict("PAY-1", led_on_from_a_page(*["/done"] * 6)) is False


def led_on_from_a_page(*locations: str, presses: int = 1) -> Story:
    """A session that is paid on its page, perhaps twice at once, and where the first press led to."""
    story = Story(Capability.PAGE)
    story.opened("a")
    url, asked = "https://pay.example/a", {"account": None, "page_of": "a"}
    for number, location in enumerate(locations):
        method, act = ("GET", "pay-card, led on") if number else ("POST", "pay-card")
        sent = story.add(method, url, 303, {}, page_act=act, **asked)
        reply = Reply(status=303, headers=(("location", location),), body=b"")
        story.exchanges[-1] = replace(sent, reply=reply)
        url = f"https://pay.example{location}"
        if not number and presses > 1:
            story.add("POST", "https://pay.example/a", 200, {}, page_act="pay-card", **asked)
    return story


@pytest.mark.parametrize(
    "odd", [None, 5, "x", [], {}, {"data": None}, {"data": [None, 5]}, {"id": {}}, {"id": []}, [[]]]
)
def test_no_answer_makes_a_clause_fall_over(odd: Any) -> None:
    story = Story(*Capability)
    session = story.opened("a")
    line = {"price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 180}, "quantity": 2}
    body = {"line_items": [line], "success_url": "https://s.example/o", "return_url": "https://s.example/r"}
    for status in (200, 400):
        story.add("POST", "/checkout/sessions", status, odd, body, headers=(("Idempotency-Key", "k"),))
        story.add("GET", "/checkout/sessions", status, odd)
        story.add("GET", "/checkout/sessions/a", status, odd)
        story.add("POST", "/checkout/sessions/a/expire", status, odd)
        story.add("POST", "/_mock/v1/sessions/a/pay", status, odd, {"outcome": "succeeded"})
        story.add("GET", "/_mock/v1/clock", status, odd)
        story.add(
            "GET", "/_mock/v1/events", status, {"data": [odd, {"data": odd}, {"data": {"object": odd}, "id": odd}]}
        )
        story.listed("", {**session, "id": odd}, {**session, "success_url": odd}, {**session, "line_items": odd})
        broken = {name: odd for name in session if name != "id"}
        story.add("POST", "/checkout/sessions", status, {**broken, "id": f"b{status}"}, body)
    ledger = story.ledger
    for clause in CLAUSES.values():
        clause.findings(ledger)


@pytest.mark.parametrize(
    ("after_s", "answered_s", "told"),
    [
        (5.0, [0.6, 1.2, 1.8, 2.4, 3.0, 3.6, 4.2, 4.8], "late"),
        (3.0, [0.6, 1.2, 1.8, 2.4], "kept"),
        (5.0, [], "kept"),
        (5.0, [0.6, 1.2, 1.8, 4.2, 4.8], "kept"),
        (5.0, [0.6, 1.2, 1.8], "kept"),
    ],
    ids=["late", "soon", "nobody asked", "everything stood still", "nobody knows about the end"],
)
def test_a_delivery_is_late_from_a_target_that_answers_all_the_while(
    after_s: float, answered_s: list[float], told: str
) -> None:
    story = Story(Capability.PAY, Capability.EVENTS, Capability.WEBHOOKS)
    session = story.opened("cs_1")
    paid = {**session, "status": "complete", "payment_status": "paid"}
    cause = story.add("POST", "/_mock/v1/sessions/cs_1/pay", 200, paid, {"outcome": "succeeded"})
    for seconds in answered_s:
        sent_ns = cause.received_ns + int(seconds * 1e9)
        story.add("GET", "/checkout/sessions", 200, {"object": "list", "data": []}, sent_ns=sent_ns)
    endpoint = Endpoint(url="http://127.0.0.1:1/hook", account=0, registered_ns=0)
    delivery = Delivery(
        number=99,
        endpoint=endpoint,
        method="POST",
        headers=(("content-type", "application/json"),),
        body=json.dumps({"id": "evt_1", "data": {"object": paid}}).encode(),
        received_ns=cause.received_ns + int(after_s * 1e9),
        answered=200,
    )
    history = replace(story.ledger.history, endpoints=(endpoint,), deliveries=(delivery,))
    findings = [one for one in CLAUSES["EVT-6"].judge(Ledger(history)) if one is not None and "at once" in one.reason]
    assert findings
    assert ("kept" if all(one.holds for one in findings) else "late") == told
