"""A recorded history is written to a file and read back as it was, without a secret."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qashier_contract import CLAUSES, Verdict, check, recorded
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
from qashier_contract.report import write
from qashier_contract.trace import file
from qashier_contract.trace.file import HIDDEN, Trace, TraceError
from qashier_contract.verdicts import judge

from tests.targets import serving, touching, within

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
HEADER = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\udc80\udcff")), max_size=12)
HEADERS = st.lists(st.tuples(st.sampled_from(["content-type", "x", "request-id"]), HEADER), max_size=3).map(tuple)
TIMES = st.integers(0, 2**62)
MAYBE_ACCOUNT = st.none() | st.integers(0, 9)
REQUESTS = st.builds(
    Request, method=TEXT, path=TEXT, query=TEXT, headers=HEADERS, body=st.none() | st.binary(max_size=20)
)
REPLIES = st.builds(Reply, status=st.integers(100, 599), headers=HEADERS, body=st.binary(max_size=20))
EXCHANGES = st.builds(
    Exchange,
    number=TIMES,
    request=REQUESTS,
    reply=st.none() | REPLIES,
    sent_ns=TIMES,
    received_ns=TIMES,
    account=MAYBE_ACCOUNT,
    credentials=st.sampled_from(Credentials),
    failure=st.none() | TEXT,
    scenario=TEXT,
    page_of=st.none() | TEXT,
    page_act=st.none() | TEXT,
    page_from=st.none() | TIMES,
)
ENDPOINTS = st.builds(
    Endpoint,
    url=TEXT,
    account=st.integers(0, 9),
    registered_ns=TIMES,
    id=st.none() | TEXT,
    removed_ns=st.none() | TIMES,
    refused_ns=st.lists(TIMES, max_size=2).map(tuple),
    secret=st.none() | st.just("a-very-secret-word"),
)
DELIVERIES = st.builds(
    Delivery,
    number=TIMES,
    endpoint=ENDPOINTS,
    method=TEXT,
    headers=HEADERS,
    body=st.binary(max_size=20),
    received_ns=TIMES,
    answered=st.integers(-1, 599),
    clock=st.none() | TIMES,
)
TERMS = st.builds(
    Terms,
    capabilities=st.frozensets(st.sampled_from(Capability)),
    currencies=st.frozensets(TEXT, max_size=2),
    wall_ns=st.none() | TIMES,
    monotonic_ns=TIMES,
    one_clock=st.booleans(),
    others_act=st.booleans(),
)
TRACES = st.builds(
    Trace,
    history=st.builds(
        History,
        exchanges=st.lists(EXCHANGES, max_size=3).map(tuple),
        deliveries=st.lists(DELIVERIES, max_size=2).map(tuple),
        endpoints=st.lists(ENDPOINTS, max_size=2).map(tuple),
        terms=TERMS,
    ),
    target=TEXT,
    seed=st.none() | TIMES,
)


def values(trace: Trace) -> Any:
    """Every field of a trace, without the secrets."""

    def hidden(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: hidden(inner) for name, inner in value.items() if name != "secret"}
        return [hidden(inner) for inner in value] if isinstance(value, list | tuple) else value

    return hidden(asdict(trace))


@given(trace=TRACES)
@settings(max_examples=150)
def test_a_trace_is_read_back_as_it_was_written(trace: Trace) -> None:
    text = file.render(trace).encode("utf-8", "backslashreplace").decode()
    assert values(file.parse(json.loads(text), "trace.json")) == values(trace)
    assert "a-very-secret-word" not in text


@given(trace=TRACES, where=st.integers(0, 10**6))
@settings(max_examples=100)
def test_a_trace_that_was_cut_short_is_refused_in_one_line(trace: Trace, where: int, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("cut") / "trace.json"
    raw = file.render(trace).encode("utf-8", "backslashreplace").rstrip()
    path.write_bytes(raw[: where % len(raw)])
    with pytest.raises(TraceError) as refused:
        file.load(path)
    assert str(refused.value) == f"{path} is not a JSON document, or only part of one"


ONE = Exchange(
    number=1,
    request=Request(method="GET", path="/checkout/sessions"),
    reply=Reply(status=200),
    sent_ns=1,
    received_ns=2,
)
WHOLE = json.loads(file.render(Trace(history=History(exchanges=(ONE,)), target="http://t.test")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "HAR"}, "is not a trace; `qashier-mock check URL --report trace=FILE` writes one"),
        ({"version": 2}, "is a trace of version 2; this qashier-mock reads version 1"),
        ({"more": 1}, "is a damaged trace: more: unknown member"),
        ({"target": None}, "is a damaged trace: target: missing"),
        ({"exchanges": {}}, "is a damaged trace: exchanges: must be a list"),
        ({"exchanges": [1]}, "is a damaged trace: exchanges[0]: must be an object"),
        ({"exchanges": [{}]}, "is a damaged trace: exchanges[0].number: missing"),
        ({"seed": "7"}, "is a damaged trace: seed: must be an integer"),
    ],
)
def test_a_damaged_or_foreign_document_is_refused_with_the_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError) as refused:
        file.parse(WHOLE | changes, "t.json")
    assert str(refused.value) == f"t.json {message}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("credentials", "cookie", "must be one of basic, bearer, none, broken"),
        ("sent_ns", True, "must be an integer"),
        ("scenario", 5, "must be text"),
        ("request", {"method": "GET", "path": "/", "body": {"base64": "?"}}, "must be valid base64"),
        ("request", {"method": "GET", "path": "/", "body": 5}, "must be text, or base64"),
        ("request", {"method": "GET", "path": "/", "body": {"zlib": "AAAA"}}, "must be valid zlib"),
        ("request", {"method": "GET", "path": "/", "headers": [["a"]]}, "must have 2 members"),
    ],
)
def test_a_member_of_another_kind_is_refused_with_the_place(name: str, value: object, message: str) -> None:
    damaged = WHOLE | {"exchanges": [WHOLE["exchanges"][0] | {name: value}]}
    with pytest.raises(TraceError, match=rf"exchanges\[0\]\.{name}.*: {message}"):
        file.parse(damaged, "t.json")


def test_a_long_body_takes_little_room_and_comes_back() -> None:
    body = b'{"a": "\xc3\xa9"' + b" " * 20 * 2**20 + b"}"
    request = replace(ONE.request, body=body)
    text = file.render(Trace(history=History(exchanges=(replace(ONE, request=request),)), target="http://t.test"))
    assert len(text) < 100_000
    assert file.parse(json.loads(text), "t.json").history.exchanges[0].request.body == body


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read: No such file or directory"):
        file.load(tmp_path / "none.json")


def test_cookies_are_not_written() -> None:
    reply = Reply(status=200, headers=(("set-cookie", "basket=s3cret"), ("content-type", "text/html")))
    text = file.render(Trace(history=History(exchanges=(replace(ONE, reply=reply),)), target="http://t.test"))
    assert "s3cret" not in text
    assert HIDDEN in text


def test_a_check_writes_all_that_it_recorded_and_no_key(tmp_path: Path) -> None:
    keys = ("sk_test_firstSecret1", "sk_test_secondSecret2")
    with serving() as url:
        report = check(url, keys=keys, seed=1, drivers=touching)
    path = tmp_path / "trace.json"
    write(report, "trace", path)
    raw = path.read_bytes()
    trace = recorded.read(path).trace
    assert values(trace)["history"] == values(Trace(history=report.history, target=""))["history"]
    assert (trace.target, trace.seed) == (report.target, 1)
    for key in keys:
        assert key.encode() not in raw
        assert base64.b64encode(f"{key}:".encode()) not in raw
    secrets = {endpoint.secret for endpoint in report.history.endpoints if endpoint.secret}
    assert secrets
    assert not {secret for secret in secrets if len(secret) > 8 and json.dumps(secret).strip('"').encode() in raw}


def test_every_field_but_secrets_has_its_place_in_the_file() -> None:
    hidden = {
        f"{kind.__name__}.{entry.name}"
        for kind in (Request, Reply, Exchange, Endpoint, Delivery, Terms)
        for entry in fields(kind)
        if not entry.repr
    }
    assert hidden == {"Endpoint.secret"}


def test_judging_what_was_read_back_finds_the_same_but_for_what_needs_a_secret(tmp_path: Path) -> None:
    report = check("http://127.0.0.1", transport=within(), seed=1, drivers=touching)
    write(report, "trace", tmp_path / "t.json")
    again = judge(recorded.read(tmp_path / "t.json").trace.history, CLAUSES.values())
    found = {entry.clause.id: (entry.verdict, entry.exercised) for entry in again}
    before = {entry.clause.id: (entry.verdict, entry.exercised) for entry in judge(report.history, CLAUSES.values())}
    assert {identifier for identifier in found if found[identifier] != before[identifier]} == {"EVT-7"}
    assert found["EVT-7"] == (Verdict.NOT_EXERCISED, 0)
