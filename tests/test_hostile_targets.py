"""`check` against targets that are hostile or broken: it ends in time, within its memory, and with the right exit code.

Each target is a few lines in a thread of a small process; the checker runs as its users run it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hostile_targets import TARGETS
from qashier_contract import CLAUSES, TargetUnreachable, Verdict, check
from qashier_contract.clauses import Clause
from qashier_contract.history import Exchange, Reply, Request
from qashier_contract.interrupts import Stop
from qashier_contract.ledger import Ledger
from qashier_contract.page import Page, page_of
from qashier_contract.run import Run
from qashier_contract.target import Transport
from qashier_contract.values import NOT_JSON, read_json

from qashier_mock.cli import clauses, main
from tests.targets import directed, serving, touching, within
from tests.targets.reference import Reference

IN_FULL: Final = os.environ.get("QASHIER_SOAK") == "full"
MEMORY_MIB: Final = 512
SAMPLE: Final = ("endless interim responses", "nested too deeply", "silent after forty requests")
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": "contract_tests", "QASHIER_API_KEY": "sk_test_hostile"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "qashier_mock", *arguments]


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="this system does not tell what it takes")
@pytest.mark.parametrize("name", TARGETS if IN_FULL else SAMPLE)
def test_a_run_ends_in_time_within_its_memory_and_with_the_right_exit_code(
    name: str, figure: Callable[[str, float, float], None]
) -> None:
    budget_s = 10 if IN_FULL else 4
    options = ("check", "--max-time", f"{budget_s}s", "--control", "none")
    with TARGETS[name].serving() as url:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *options, url],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=300,
            check=False,
        )
        took_s = time.monotonic() - began
    printed, _, told = done.stdout.rpartition("took ")
    assert done.returncode in TARGETS[name].codes, printed + done.stderr
    assert "Traceback" not in done.stderr
    assert "an internal error" not in done.stderr
    peak, queued_ns = map(int, told.split())
    figure(f"{name}: exit code {done.returncode}, MiB", peak, MEMORY_MIB)
    figure(f"{name}: exit code {done.returncode}, seconds", took_s - queued_ns / 1e9, budget_s + 12)


MEASURED: Final = """
import re, sys
from pathlib import Path
from qashier_mock.cli import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
queued_ns = Path("/proc/thread-self/schedstat").read_text().split()[1]
print("took", int(peak[1]) // 1024, queued_ns)
sys.exit(code)
"""
"""A command that says at its end how many MiB it took at most, and how long it was ready and had no processor."""


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Hours:
    """Time that passes by what is done: so long for each answer, and so long for each exchange that a clause judges."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, answer_s: float, judging_s: float) -> None:
        self.now_ns = 10**12
        self.answer_s, self.judging_s = answer_s, judging_s
        findings = Clause.findings

        def judged(clause: Clause, ledger: Ledger, *, most: int = 20) -> Any:
            self.pass_s(self.judging_s * len(ledger.history.exchanges) / len(CLAUSES))
            return findings(clause, ledger, most=most)

        monkeypatch.setattr("time.monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(Stop, "sleep", lambda _, seconds: self.pass_s(seconds))
        monkeypatch.setattr(Clause, "findings", judged)

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)

    def carry(self, carry: Transport) -> Transport:
        def slow(*request: Any) -> Any:
            self.pass_s(self.answer_s)
            return carry(*request)

        return slow


@pytest.mark.parametrize(
    "quirks", [(), ("default 23 h", "405 without allow", "no challenge", "retrieve stale after expire")]
)
@pytest.mark.parametrize(
    ("max_time_s", "answer_s", "judging_s"), [(1, 0.02, 0.001), (3, 0.01, 0.02), (5, 0.1, 0.1), (60, 0.3, 0.4)]
)
def test_a_run_takes_at_most_a_second_more_than_it_may_clean_up_aside(
    quirks: tuple[str, ...], max_time_s: float, answer_s: float, judging_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = Hours(monkeypatch, answer_s=answer_s, judging_s=judging_s)
    carry = hours.carry(within("no webhooks", *quirks))
    report = check("http://127.0.0.1", transport=carry, seed=1, max_time_s=max_time_s, drivers=directed)
    clean_up_s = answer_s * sum(exchange.scenario == "clean-up" for exchange in report.history.exchanges)
    assert report.duration_s - clean_up_s < max_time_s + 1
    assert "out of time" in {entry.reason for entry in report.clauses}
    assert any(entry.verdict is Verdict.PASSED for entry in report.clauses)


def test_a_machine_that_becomes_busy_at_the_end_makes_a_run_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    hours, leave = Hours(monkeypatch, answer_s=0.3, judging_s=0.01), Run.leave

    def left(run: Run) -> None:
        leave(run)
        hours.judging_s = 0.1

    monkeypatch.setattr(Run, "leave", left)
    carry = hours.carry(within("no webhooks"))
    report = check("http://127.0.0.1", transport=carry, seed=1, max_time_s=60, drivers=directed, replay=False)
    clean_up_s = hours.answer_s * sum(exchange.scenario == "clean-up" for exchange in report.history.exchanges)
    assert 59 < report.duration_s - clean_up_s < 61
    assert "out of time" in {entry.reason for entry in report.clauses}


@pytest.mark.soak
@pytest.mark.parametrize("max_time_s", [1, 3, 5] if IN_FULL else [1])
def test_a_target_that_never_answers_takes_no_longer(max_time_s: int) -> None:
    with TARGETS["silent"].serving() as url:
        began = time.monotonic()
        with pytest.raises(TargetUnreachable):
            check(url, max_time_s=max_time_s)
        assert time.monotonic() - began < max_time_s + 1
    with TARGETS["silent after forty requests"].serving() as url:
        report = check(url, max_time_s=max_time_s)
    ending = [exchange for exchange in report.history.exchanges if exchange.scenario == "clean-up"]
    clean_up_s = (ending[-1].received_ns - ending[0].sent_ns) / 1e9
    assert report.duration_s - clean_up_s < max_time_s + 1


MOMENTS: Final = 200 if IN_FULL else 2


def at_work_s(pid: int) -> float:
    """A clock that stands while a process is ready and has no processor: what other work there is does not count."""
    return time.monotonic() - int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not tell what it takes")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_ctrl_c_ends_a_run_within_a_second_and_its_clean_up(
    moment: int, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One time in eight while it starts, else up to a few milliseconds after some request."""
    random, answer, came = Random(moment), Reference.answer, count(1)  # noqa: S311 - no secret
    is_early, part = moment % 8 == 1, random.random()
    wanted, reached, marks = int(3_000 * part**2) + 1, threading.Event(), list[float]()

    def watched(reference: Reference, request: Any) -> Any:
        if next(came) == wanted:
            reached.set()
        if marks:
            marks.append(at_work_s(process.pid))  # it cleans up
        return answer(reference, request)

    monkeypatch.setattr(Reference, "answer", watched)
    with serving() as url:
        process = subprocess.Popen(
            command("check", url, "--max-time", "60s"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert is_early or reached.wait(120)
        time.sleep(part if is_early else random.random() / 20)
        marks.append(at_work_s(process.pid))
        process.send_signal(signal.SIGINT)
        with process, ThreadPoolExecutor(2) as pool:
            printed, told = (pool.submit(stream.read) for stream in (process.stdout, process.stderr) if stream)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its figures can be read until it is waited for
            marks.append(at_work_s(process.pid))
            out, err = printed.result(), told.result()
    # The clean-up is one request after the other: what is longer comes before it, or after.
    *others, second, first = sorted(later - earlier for earlier, later in pairwise(sorted([*marks, marks[0]])))
    heard_s = first + second
    record_property("heard_s", round(heard_s, 2))
    record_property("clean_up_s", round(sum(others), 2))
    # Before a line of ours has run, Python itself says what becomes of it.
    words = ("Fatal Python error", "Could not import runpy module")
    is_pythons = next(came) == 1 and (process.returncode == -signal.SIGINT or any(each in err for each in words))
    assert process.returncode == 130 or is_pythons, err
    assert "✓" not in out
    assert "✗" not in out
    assert "Traceback" not in err or is_early
    assert heard_s < 1


# ── output is never what fails ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("arguments", [("clauses",), ("check", "--help"), ("spec",), ("--help",)])
def test_a_terminal_that_shows_ascii_only_is_enough(arguments: tuple[str, ...]) -> None:
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(command(*arguments), capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


@pytest.mark.parametrize("arguments", ["clauses", "spec", "check --help"])
def test_a_closed_pipe_ends_quietly(arguments: str) -> None:
    whole = f"{sys.executable} -m qashier_mock {arguments} | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", whole], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_is_one_line_and_exit_code_2() -> None:
    whole = f"{sys.executable} -m qashier_mock clauses >/dev/full"
    done = subprocess.run(["bash", "-c", whole], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"qashier-mock: the output cannot be written: No space left on device\n", done.stderr)


def test_an_error_of_ours_is_one_line_and_never_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> int:
        raise ZeroDivisionError("by\nnothing")

    monkeypatch.setattr(clauses, "run", fails)
    assert main(["clauses"]) == 2
    told = "qashier-mock: clauses: an internal error: ZeroDivisionError: by nothing (--traceback shows where)\n"
    assert capsys.readouterr().err == told
    with pytest.raises(ZeroDivisionError):
        main(["clauses", "--traceback"])


def test_nothing_is_left_in_the_working_folder_which_may_be_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    root = Path(__file__).resolve().parents[1]
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(root), str(root / "contract_tests")])}
    try:
        with serving() as url:
            done = subprocess.run(
                command("check", url, "--max-time", "2s", "--only", "LIS-*"),
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env=environment,
                check=False,
            )
        assert (done.returncode, done.stderr) == (0, "")
        assert list(tmp_path.iterdir()) == []
    finally:
        tmp_path.chmod(0o755)


# ── what a target sends is never what ends a run ────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("no_second_is_awaited")
@pytest.mark.parametrize("url", ["http://a b/", "http://h:99999/", "http://[::1", "http://\ud800/", "javascript:x", ""])
def test_a_bad_address_of_a_page_breaks_cre_9_and_nothing_else_ends(url: str) -> None:
    carry = within("no control")

    def moved(*request: Any) -> Any:
        reply, failure = carry(*request)
        if reply is None or not isinstance(reply.json, dict) or "url" not in reply.json:
            return reply, failure
        content = json.dumps({**reply.json, "url": url}).encode()
        return Reply(status=reply.status, headers=reply.headers, body=content), failure

    report = check("http://127.0.0.1", transport=moved, seed=1, only=["CRE-9", "PAY-*", "EXP-1"], drivers=touching)
    assert {violation.clause for violation in report.violations} == {"CRE-9"}


@pytest.mark.parametrize(
    "body", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b"[" * 4_000_000]
)
def test_json_that_is_nested_too_deeply_is_none(body: bytes) -> None:
    assert read_json(body) is NOT_JSON


def test_brackets_in_strings_and_wide_values_are_no_depth() -> None:
    assert read_json(b'["' + b"[" * 999 + b'\\"["]') == ["[" * 999 + '"[']
    assert read_json(b"[" + b"[[]]," * 999 + b"{}]") == [*[[[]]] * 999, {}]


@pytest.mark.parametrize(
    "html",
    [
        "<b>" * 20_000 + "</i>" * 20_000,
        "<!--" * 30_000,
        "<a" * 60_000,
        "<![CDATA[" * 13_000,
        "</" * 60_000,
        "<?" * 60_000,
        "<form>" + "<input type=radio name=a form=f>" * 20_000,
        "<textarea name=a>" + "x<b>" * 60_000,
        "<select name=a><option>" + "x<b>" * 60_000,
        "<fieldset><input name=a>" * 20_000,
        "<select><option>" * 20_000,
    ],
    ids=[
        *("end tags", "comments", "tags", "sections", "ends", "instructions"),
        *("radio buttons", "text", "option", "fieldsets", "lists"),
    ],
)
def test_reading_a_page_takes_time_that_grows_with_its_length(html: str) -> None:
    began = time.process_time()
    Page(html, "http://h/")
    assert time.process_time() - began < 5


def test_a_page_that_begins_what_does_not_end_is_read_all_the_same() -> None:
    page = Page('<p>expired<!-- x <form action="/pay" method="post"><input name="a"></form><b', "http://h/p")
    assert page.text.startswith("expired")
    assert page.forms == []  # as in a browser, for which the rest is a comment


@pytest.mark.usefixtures("no_second_is_awaited")
@pytest.mark.parametrize("press", ["form", "link"])
def test_nothing_is_sent_to_another_host(press: str) -> None:
    carry = within("no control")
    asked: list[str] = []

    def lured(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        asked.append(url)
        reply, failure = carry(method, url, headers, body)
        if reply is None or "html" not in reply.media_type:
            return reply, failure
        lure: Callable[[str], str] = (
            (lambda text: re.sub(r'action="[^"]*"', 'action="http://evil.example/take"', text))
            if press == "form"
            else (lambda text: re.sub(r'href="[^"]*"', 'href="http://evil.example/look"', text))
        )
        content = lure(reply.body.decode()).encode()
        return Reply(status=reply.status, headers=reply.headers, body=content), failure

    check("http://127.0.0.1", transport=lured, seed=1, only=["PAY-*"], drivers=directed)
    assert asked
    assert not [url for url in asked if "evil" in url]


def test_a_page_is_parsed_once() -> None:
    request = Request(method="GET", path="http://h/p")
    reply = Reply(status=200, headers=(("content-type", "text/html"),), body=b"<p>paid")
    shown = Exchange(number=1, request=request, reply=reply, sent_ns=1, received_ns=2)
    assert page_of(shown) is page_of(shown)


@pytest.mark.parametrize("charset", ["punycode", "hex", "utf\0", "nonsense", "é"])
def test_what_is_no_encoding_of_pages_is_read_as_utf_8_at_once(charset: str) -> None:
    headers = (("content-type", f"text/html; charset={charset}"),)
    reply = Reply(status=200, headers=headers, body=b"<p>paid " + b"a" * 2**20)
    began = time.process_time()
    page = page_of(
        Exchange(number=1, request=Request(method="GET", path="http://h/p"), reply=reply, sent_ns=1, received_ns=2)
    )
    assert time.process_time() - began < 5
    assert page is not None
    assert page.text.startswith("paid")
