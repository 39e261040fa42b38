"""`qashier-mock listen`, `events`, `resend` and `completion`: watching an account from a shell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qashier_mock import MockAccount, MockServer
from qashier_mock.cli import COMMANDS, main
from qashier_mock.receiver import WebhookReceiver

SECRET = "whsec_shared"


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer() as running:
        yield running


@pytest.fixture
def account(server: MockServer, request: pytest.FixtureRequest) -> Iterator[MockAccount]:
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[:150]
    with MockAccount(server.url, f"sk_test_{name}") as made:
        yield made


def listening(account: MockAccount, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "qashier_mock", "listen", "--url", account.base_url, *options]
    environment = {**os.environ, "QASHIER_API_KEY": account.api_key, "QASHIER_WEBHOOK_SECRET": SECRET}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    ready = process.stderr.readline()
    assert ready.startswith("listening for webhooks of sk_test_…"), ready
    assert account.api_key not in ready
    return process


def ended(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return printed


def test_listen_prints_each_event_and_takes_its_endpoint_away_again(account: MockAccount) -> None:
    process = listening(account)
    session = account.create_session()
    account.pay(session["id"])
    account.flush()
    printed = ended(process)
    assert f"checkout.session.completed {session['id']} paid" in printed
    assert "signature ok, answered 200" in printed
    assert account.webhook_endpoints == []


def test_listen_forwards_the_raw_body_and_its_answer_decides(account: MockAccount) -> None:
    with WebhookReceiver(secret=SECRET) as application:
        application.answer(503, times=1)
        process = listening(account, "--forward-to", application.url)
        account.expire_session(account.create_session()["id"])
        (attempt,) = account.flush() or account.deliveries
        assert attempt["status"] == 503
        account.advance(seconds=10)
        printed = ended(process)
        assert [webhook.is_signed_with(SECRET) for webhook in application.deliveries] == [True, True]
    assert "answered 503" in printed
    assert "answered 200" in printed


def test_listen_says_when_the_application_does_not_answer(account: MockAccount) -> None:
    process = listening(account, "--forward-to", "http://127.0.0.1:9/hook")
    account.expire_session(account.create_session()["id"])
    (attempt,) = account.flush() or account.deliveries
    assert attempt["status"] == 502
    assert "http://127.0.0.1:9/hook did not answer" in ended(process)


def test_listen_without_a_mock_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["listen", "--url", "http://127.0.0.1:9"]) == 2
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
    assert "Start one with qashier-mock serve" in capsys.readouterr().err


def test_events_are_printed_and_sent_again_for_the_key_of_a_file(
    account: MockAccount, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QASHIER_API_KEY", raising=False)
    (tmp_path / "key").write_text(f"{account.api_key}\n")
    options = ["--url", account.base_url, "--api-key-file", str(tmp_path / "key")]
    account.expire_session(account.create_session()["id"])
    assert main(["events", *options]) == 0
    printed = capsys.readouterr()
    (event,) = json.loads(printed.out)
    assert event["type"] == "checkout.session.expired"
    assert "account of sk_test_…" in printed.err
    assert account.api_key not in printed.err
    with WebhookReceiver() as receiver:
        account.deliver_webhooks_to(receiver.url)
        assert main(["resend", event["id"], *options]) == 0
        assert [each["id"] for each in receiver.received] == [event["id"]]
    assert json.loads(capsys.readouterr().out)[0]["status"] == 200


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command_and_its_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in script] == []
    assert "webhook-url" in script


def test_completion_works_in_bash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    bash = shutil.which("bash")
    assert bash is not None
    asked = 'COMP_WORDS=(qashier-mock serve --webhook-a); COMP_CWORD=2; _qashier_mock; echo "${COMPREPLY[*]}"'
    run = subprocess.run([bash, "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "--webhook-allow", run.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_completion_works_in_fish(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 0
    asked = 'complete -C "qashier-mock serve --webhook-a"'
    command = ["fish", "--no-config", "-c", f"{capsys.readouterr().out}\n{asked}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line.split("\t")[0] for line in run.stdout.splitlines()] == ["--webhook-allow"], run.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
def test_completion_works_in_zsh(capsys: pytest.CaptureFixture[str]) -> None:
    """zsh completes in its line editor alone, so what the script tells the editor is looked at."""
    assert main(["completion", "zsh"]) == 0
    editor = "compdef() { print compdef $@ }; _arguments() { print -l -- $@ }; _describe() { print -l -- $commands }"
    asked = (
        "words=(qashier-mock serve --web); CURRENT=3; _qashier_mock; words=(qashier-mock se); CURRENT=2; _qashier_mock"
    )
    script = f"{editor}\n{capsys.readouterr().out}\n{asked}"
    run = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    assert lines[0] == "compdef _qashier_mock qashier-mock", run.stderr
    assert [line for line in lines if line.startswith("*--webhook-allow[")] != []
    assert [line.partition(":")[0] for line in lines[-len(COMMANDS) :]] == list(COMMANDS)


def test_completion_of_another_shell_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "is not one of bash, zsh, fish" in capsys.readouterr().err
