"""Broken clauses are grouped by cause: one defect is one group, whatever it breaks, and two defects are two."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from statistics import median
from typing import Final

import pytest
from qashier_contract import CLAUSES, check
from qashier_contract.findings import Equals, StatusIs, expect
from qashier_contract.history import Exchange, History, Reply, Request
from qashier_contract.places import in_body
from qashier_contract.report.facts import causes
from qashier_contract.statuses import exactly
from qashier_contract.verdicts import ClauseReport, Report, Verdict, Violation

from tests.targets import DEFECTS, directed, within

IN_FULL: Final = os.environ.get("QASHIER_SOAK") == "full"


def asked(number: int, session: str, *, act: str = "", **fields: str) -> Exchange:
    """A session is created (`act` is "create"), read, or something is done to it."""
    path = "/checkout/sessions" + ("" if act == "create" else f"/{session}" + (f"/{act}" if act else ""))
    body = json.dumps({"id": session, **fields}).encode()
    return Exchange(
        number=number,
        request=Request(method="POST" if act else "GET", path=path),
        reply=Reply(status=200, headers=(("content-type", "application/json"),), body=body),
        sent_ns=number * 10,
        received_ns=number * 10 + 1,
    )


NAMES: Final = ("cs_test_aaaaaaaa", "cs_test_bbbbbbbb", "cs_test_cccccccc", "cs_test_dddddddd", "cs_test_eeeeeeee")
A, B, C, D, E = NAMES
CREATES: Final = tuple(asked(number, name, act="create", status="open") for number, name in enumerate(NAMES, 1))
READS: Final = tuple(
    asked(number, name, status="open", success_url="u") for number, name in enumerate(NAMES, 1 + len(NAMES))
)


def groups(broken: dict[str, list[Violation]], *others: Exchange) -> list[tuple[str, ...]]:
    entries = [ClauseReport(CLAUSES[name], Verdict.FAILED, 9, tuple(found)) for name, found in broken.items()]
    history = History(exchanges=(*CREATES, *READS, *others))
    report = Report(target="http://h", seed=1, clauses=tuple(entries), history=history)
    return [tuple(each.clause.id for each in (cause.entry, *cause.follow)) for cause in causes(report)]


def misread(clause: str, read: Exchange, field: str = "status", wanted: str = "expired") -> Violation:
    return replace(expect(Equals(in_body(read, field), wanted)), clause=clause)


def test_the_same_mistake_in_another_session_has_the_same_cause() -> None:
    assert groups({"RET-1": [misread("RET-1", READS[0])], "EXP-1": [misread("EXP-1", READS[1])]}) == [
        ("RET-1", "EXP-1")
    ]


@pytest.mark.parametrize(("field", "wanted"), [("success_url", "expired"), ("status", "complete")])
def test_another_mistake_in_another_session_has_another_cause(field: str, wanted: str) -> None:
    found = {"RET-1": [misread("RET-1", READS[0])], "PAY-1": [misread("PAY-1", READS[1], field, wanted)]}
    assert groups(found) == [("RET-1",), ("PAY-1",)]


def test_what_breaks_in_a_session_that_went_wrong_follows_from_that() -> None:
    paid = asked(20, A, act="expire")
    refused = replace(expect(StatusIs(paid, exactly(409)), "", CREATES[0]), clause="EXP-2")
    assert groups({"EXP-2": [refused], "RET-1": [misread("RET-1", READS[0])]}, paid) == [("RET-1", "EXP-2")]


def test_what_is_wrong_with_nearly_every_session_explains_nothing_else() -> None:
    paid = asked(20, A, act="expire")
    refused = replace(expect(StatusIs(paid, exactly(409)), "", CREATES[0]), clause="EXP-2")
    everywhere = [misread("RET-1", read) for read in READS[:4]]
    assert groups({"EXP-2": [refused], "RET-1": everywhere}, paid) == [("EXP-2",), ("RET-1",)]


def test_a_text_that_is_wrong_does_not_follow_from_the_state_of_its_session() -> None:
    page = asked(20, A, status="open", success_url="u")
    found = {"RET-1": [misread("RET-1", READS[0])], "CRE-8": [misread("CRE-8", page, "success_url")]}
    assert groups(found, page) == [("RET-1",), ("CRE-8",)]


def test_what_is_wrong_in_an_answer_is_no_reason_for_its_status() -> None:
    accepted = replace(expect(StatusIs(READS[0], exactly(404)), ""), clause="AUTH-4")
    others = [asked(number, name, status="open") for number, name in enumerate(NAMES, 20)]
    found = {"RET-1": [misread("RET-1", read) for read in READS[:3]], "AUTH-4": [accepted]}
    assert groups(found, *others) == [("RET-1",), ("AUTH-4",)]


def test_a_field_that_is_wrong_once_is_wrong_wherever_it_is_shown() -> None:
    """However many sessions have it: here nearly all."""
    expired = asked(20, A, act="expire", expires_at="2")
    found = {
        "RET-4": [misread("RET-4", read, "expires_at", "1") for read in READS],
        "EXP-8": [misread("EXP-8", expired, "expires_at", "0")],
        "EXP-1": [misread("EXP-1", expired, "success_url", "u")],
    }
    assert groups(found, expired) == [("RET-4", "EXP-8"), ("EXP-1",)]


# ── defects ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SINGLE: Final = (
    *("retrieve stale after expire", "status filter stale", "stale snapshot", "lines sorted", "walk skips"),
    *("page at the deadline looks open", "key truncated to 64", "completed not sent", "amount above limit accepted"),
)
PAIRS: Final = (
    ("key case insensitive", "request id repeats"),
    ("retrieve prolongs", "cancelled payment saves what it read"),
    ("signature hex", "unknown is 400"),
    ("declined payment saves what it read", "free page without a form"),
    ("limit 0 accepted", "1800 s refused"),
    ("request id with dashes", "cancelled payment saves what it read"),
    ("completed not sent", "racy"),
    ("event on refused expire", "never expires"),
    ("oldest first", "page without descriptions"),
    ("param names another field", "expire does nothing"),
    ("page of expired looks open", "page of paid has a form"),
    ("replay re-renders", "entry with old status"),
)


def groups_of(*defects: str) -> list[set[str]]:
    report = check(
        "http://127.0.0.1",
        transport=within(*defects),
        seed=1,
        skip=["HTTP-6"],
        drivers=directed,
        replay=False,
        max_time_s=600,
    )
    return [{each.clause.id for each in (cause.entry, *cause.follow)} for cause in causes(report)]


@pytest.mark.soak
def test_one_defect_is_one_group_as_a_rule_and_never_many() -> None:
    found = [len(groups_of(name)) for name in (SINGLE if IN_FULL else SINGLE[:1])]
    assert max(found) <= 6
    assert not IN_FULL or median(found) == 1


@pytest.mark.soak
@pytest.mark.parametrize("pair", PAIRS if IN_FULL else PAIRS[:1], ids=" and ".join)
def test_two_defects_are_never_one_group(pair: tuple[str, str]) -> None:
    own = {DEFECTS[name] for name in pair}
    found = groups_of(*pair)
    assert own <= set().union(*found)
    assert not any(own <= group for group in found)
