"""The live log of `serve`: what it says of requests, webhooks and expiries, and what it never says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest
from mock_harness import Client

from qashier_mock import MockAccount, livelog
from qashier_mock.cli import background
from qashier_mock.cli.background import BackgroundWriter
from qashier_mock.connections import MockRefused
from qashier_mock.core.advice import Advice, AdviceKind
from qashier_mock.core.delivery import Attempt, Outcome
from qashier_mock.livelog import LiveLog, SeenRequest, left_out_line

NOW = 1_800_000_000.25


def written(
    *requests: SeenRequest, attempts: tuple[Attempt, ...] = (), as_json: bool = False, colour: bool = False
) -> str:
    lines: list[str] = []
    live = LiveLog(lines.append, lambda: NOW, as_json=as_json, colour=colour)
    for each in requests:
        live.tell(each)
    for attempt in attempts:
        live.tell(attempt)
    return "".join(lines)


ATTEMPT = Attempt(
    delivery_id="dlv_1",
    event_id="evt_1",
    event_type="checkout.session.completed",
    session_id="cs_test_1",
    endpoint_id="we_1",
    url="https://shop.example/hook?token=hush",
    number=2,
    at=100,
    due=100,
    status=503,
    error=None,
    duration_ms=3,
    outcome=Outcome.FAILED,
    next_try=160,
)


def test_a_request_is_one_line_with_method_path_status_and_what_was_wrong() -> None:
    line = written(
        SeenRequest("POST", b"/checkout/sessions", 400, 1.23, "line_items is required.", account="sk_test_…")
    )
    assert line == "08:00:00 POST /checkout/sessions 400 1.2 ms sk_test_… line_items is required.\n"


def test_advice_follows_on_a_line_of_its_own() -> None:
    advice = Advice(AdviceKind.UNKNOWN_FIELD, "The body has a field that the API ignores: metadat")
    lines = written(SeenRequest("POST", b"/", 200, 1, advice=(advice,))).splitlines()
    assert lines[1].strip() == "advice unknown_field: The body has a field that the API ignores: metadat"


def test_a_webhook_that_failed_says_when_it_is_tried_again_and_keeps_the_query_of_its_url() -> None:
    line = written(attempts=(ATTEMPT,))
    assert "to https://shop.example/hook, attempt 2: 503, next try in 60 s" in line
    assert "hush" not in line


def test_as_json_each_line_is_an_object() -> None:
    request = SeenRequest("GET", b"/x", None, 1, "", (), "sk_test_…")
    objects = [json.loads(line) for line in written(request, attempts=(ATTEMPT,), as_json=True).splitlines()]
    assert [each["event"] for each in objects] == ["request", "webhook"]
    assert objects[0]["status"] is None
    assert objects[0]["at"] == "2027-01-15T08:00:00.250000Z"
    assert objects[1]["next_try"] == 160


@pytest.mark.parametrize("as_json", [False, True])
def test_no_key_and_no_control_character_gets_through(*, as_json: bool) -> None:
    hostile = SeenRequest("GET", b"/x?key=sk_test_hushhush\x1b[2J\r\n", 404, 1, "sk_live_hushhush is\x07 no id")
    line = written(hostile, as_json=as_json)
    assert "hush" not in line
    assert line.count("\n") == 1
    assert not {"\x1b", "\r", "\x07"} & set(line)


def test_colours_are_for_terminals() -> None:
    assert "\033[31m404\033[0m" in written(SeenRequest("GET", b"/", 404, 1), colour=True)
    assert "\033" not in written(SeenRequest("GET", b"/", 404, 1))


@pytest.mark.parametrize(("options", "is_quiet"), [((), False), (("--quiet",), True)])
def test_serve_shows_requests_and_expiries_unless_it_is_quiet(options: tuple[str, ...], is_quiet: bool) -> None:  # noqa: FBT001
    command = [sys.executable, "-m", "qashier_mock", "serve", "--port", "0", "--log-format", "json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with MockAccount(json.loads(process.stdout.readline())["url"], "sk_test_watched_closely_1234") as account:
            session = account.create_session()
            account.advance(days=1)
            with pytest.raises(MockRefused):
                account.retrieve_session("cs_test_none")
        process.terminate()
        _, told = process.communicate(timeout=30)
    seen = [json.loads(line) for line in told.splitlines()]
    if is_quiet:
        assert seen == []
        return
    assert "watched_closely" not in told
    assert {each["event"] for each in seen} == {"request", "expired"}
    assert [each["session"] for each in seen if each["event"] == "expired"] == [session["id"]]
    assert [each["status"] for each in seen if each["event"] == "request"] == [200, 200, 404]


def calls_of_a_retrieve(client: Client) -> int:
    """How many functions of the live log a retrieve calls."""
    path = f"/checkout/sessions/{client.create()['id']}"
    live = client.app.hooks.live
    calls = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename in {livelog.__file__, background.__file__}

    if live is not None:
        live.flush()
    sys.setprofile(count)
    try:
        client.get(path)
        if live is not None:
            live.flush()
    finally:
        sys.setprofile(None)
    return calls


def test_a_live_log_that_is_off_costs_nothing_and_one_that_is_on_little(
    make_client: Callable[..., Client],
) -> None:
    """What it costs in time, `python -m benchmarks.livelog` measures."""
    client = make_client()
    assert calls_of_a_retrieve(client) == 0
    client.app.show_on(LiveLog(lambda _: None, lambda: NOW, as_json=False))
    assert 0 < calls_of_a_retrieve(client) <= 10


def test_serve_answers_and_ends_although_nobody_reads_its_log() -> None:
    """A pipe takes 64 KiB, then whoever writes to it stands still."""
    command = [sys.executable, "-m", "qashier_mock", "serve", "--port", "0", "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with MockAccount(json.loads(process.stdout.readline())["url"], "sk_test_nobody_reads_1234") as account:
            for _ in range(400):
                with pytest.raises(MockRefused):
                    account.retrieve_session("cs_test_" + "x" * 250)
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_lines_that_nobody_reads_in_time_are_left_out_and_counted() -> None:
    """The first ones wait, up to a limit; the next that fit begin with how many are missing."""
    may_write, lines = threading.Event(), list[str]()

    def slow(text: str) -> None:
        assert may_write.wait(30)
        lines.append(text)

    write = BackgroundWriter(slow, left_out=partial(left_out_line, as_json=False))
    long = "x" * (1 << 19) + "\n"
    write(long)
    write(long * 2)
    write(long)
    assert not write.drain(0)
    may_write.set()
    assert write.drain(30)
    write("the end\n")
    assert write.drain(30)
    assert lines == [long, "3 lines were left out: nobody read them in time\nthe end\n"]


def test_as_json_the_count_of_lines_left_out_is_an_object() -> None:
    assert json.loads(left_out_line(3, as_json=True)) == {"event": "left_out", "lines": 3}
