"""The pytest plugin in processes of its own: what it costs, what it leaves behind, and that the wheel is enough."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from qashier_mock import pytest_plugin

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120

pytest_plugins = ["pytester"]

WITNESS = """
import json, sys, threading

def pytest_unconfigure(config):
    heavy = ("asyncio", "connexion", "http.client", "orjson", "uvicorn")
    modules = [name for name in heavy if name in sys.modules]
    threads = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
    print("\\nleft=" + json.dumps({"modules": modules, "threads": threads}), file=sys.__stdout__)
"""


@pytest.fixture(autouse=True)
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makeconftest(WITNESS)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin", *arguments, timeout=PATIENCE
    )


def left(output: str) -> dict[str, list[str]]:
    """What was imported, and which threads there are, when a test run ended."""
    (line,) = (line for line in output.splitlines() if line.startswith("left="))
    return cast("dict[str, list[str]]", json.loads(line.removeprefix("left=")))


def assert_free(url: str) -> None:
    """Nothing listens there any more."""
    parts = urlsplit(url)
    with socket.socket() as probe:
        assert probe.connect_ex((parts.hostname or "", parts.port or 0)) != 0


# what it costs


def test_importing_the_plugin_costs_pytest_less_than_5_ms() -> None:
    """Processor time, the least of some tries: a busy machine counts for nothing."""
    script = "import pytest, time; began = time.process_time(); import qashier_mock.pytest_plugin as plugin; "
    script += "print(time.process_time() - began)"
    tries: list[float] = []
    while len(tries) < 5 and (not tries or tries[-1] >= 0.005):
        tries.append(float(subprocess.check_output([sys.executable, "-c", script], cwd=ROOT)))
    assert min(tries) < 0.005, tries


def test_a_test_run_that_asks_for_nothing_imports_and_starts_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert left(result.stdout.str()) == {"modules": [], "threads": []}


# what it leaves behind


def test_a_test_that_leaves_a_mess_leaves_neither_thread_nor_port(pytester: pytest.Pytester) -> None:
    """A client in the middle of a request, another that waits for an answer, and a receiver that hangs."""
    pytester.makepyfile(
        """
        import socket
        import threading
        from urllib.parse import urlsplit

        import pytest
        from qashier_mock.connections import MockError

        kept = []

        def test_it(qashier_mock):
            print(f"url={qashier_mock.base_url} receiver={qashier_mock.webhooks.url}")
            host = urlsplit(qashier_mock.base_url)
            client = socket.create_connection((host.hostname, host.port))
            client.sendall(b"POST /checkout/sessions HTTP/1.1\\r\\nContent-Le")
            kept.append(client)

            def wait():
                with pytest.raises(MockError):
                    qashier_mock.list_sessions()

            qashier_mock.fault("delay", operation="list_checkout_sessions", seconds=3600)
            waiting = threading.Thread(target=wait, daemon=True)
            waiting.start()
            kept.append(waiting)
            qashier_mock.webhooks.hang()
            qashier_mock.pay(qashier_mock.create_session()["id"])
            qashier_mock.webhooks.wait_for("checkout.session.completed", timeout=60)
            assert False

        @pytest.fixture(scope="session", autouse=True)
        def close_at_the_very_end():
            yield
            client, waiting = kept
            client.close()
            waiting.join(60)
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    output = result.stdout.str()
    assert left(output)["threads"] == []
    urls = [word.partition("=")[2] for word in output.split() if word.startswith(("url=http", "receiver=http"))]
    assert len(urls) == 2
    for url in urls:
        assert_free(url)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_test_run_leaves_neither_thread_nor_port(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading

        def test_it(qashier_mock):
            print(f"url={qashier_mock.base_url}", flush=True)
            print(f"url={qashier_mock.webhooks.url}", flush=True)
            threading.Event().wait()
        """
    )
    arguments = ["-m", "pytest", "-s", "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin"]
    urls: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            while len(urls) < 2:
                line = process.stdout.readline()
                assert line
                urls += [line.partition("url=")[2].strip()] if "url=" in line else []
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert left(output)["threads"] == []
    for url in urls:
        assert_free(url)


# one server for each worker


def test_each_xdist_worker_has_a_server_of_its_own(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.makepyfile(
        f"""
        import os
        import pathlib
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_it(qashier_mock, number):
            qashier_mock.pay(qashier_mock.create_session()["id"])
            assert len(qashier_mock.webhooks.wait_for("checkout.session.completed", timeout=60)["id"]) > 4
            worker = os.environ["PYTEST_XDIST_WORKER"]
            pathlib.Path({str(tmp_path)!r}, f"{{worker}}-{{number}}").write_text(qashier_mock.base_url)
        """
    )
    result = run(pytester, "-p", "xdist", "-p", "randomly", "-n", "2", "--dist", "worksteal")
    result.assert_outcomes(passed=6)
    urls: dict[str, set[str]] = {}
    for file in tmp_path.glob("gw*-*"):
        urls.setdefault(file.name.partition("-")[0], set()).add(file.read_text())
    assert sum(map(len, urls.values())) == len(urls)
    assert len(set.union(*urls.values())) == len(urls)


@pytest.mark.parametrize(("workerinput", "number"), [(None, 0), ({"workerid": "gw0"}, 0), ({"workerid": "gw13"}, 13)])
def test_a_fixed_port_is_one_more_for_each_worker(workerinput: Any, number: int) -> None:
    config = SimpleNamespace() if workerinput is None else SimpleNamespace(workerinput=workerinput)
    assert pytest_plugin._worker_number(cast("pytest.Config", config)) == number


def test_a_worker_without_a_number_is_told_to_leave_the_port_out() -> None:
    config = SimpleNamespace(workerinput={"workerid": "alpha"})
    with pytest.raises(
        pytest.fail.Exception, match=r"the xdist worker alpha has no number.*leave --qashier-mock-port out"
    ):
        pytest_plugin._worker_number(cast("pytest.Config", config))


# from the wheel


@pytest.fixture(scope="module")
def fresh_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: the built wheel installed by pip, what it requires, pytest, and nothing else."""
    folder = tmp_path_factory.mktemp("fresh")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    # What is required is taken from this environment, link by link, so that no package index is needed.
    for name in required_by("qashier-mock", "pytest"):
        for part in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
            link, target = site / part, Path(str(distribution(name).locate_file(part)))
            if not link.exists() and target.exists() and part != "__pycache__":
                link.symlink_to(target)
    return python


def required_by(*names: str) -> Iterator[str]:
    """Everything that distributions require, whatever they require in turn, and those that are not ours themselves."""
    wanted, seen = list(names), set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        if name != "qashier-mock":
            yield name
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)


def test_it_brings_fewer_packages_than_it_once_did() -> None:
    """41 with its own, before the lower bounds were looked at."""
    assert len({canonicalize_name(name) for name in required_by("qashier-mock")}) < 40


def test_the_wheel_is_all_that_a_project_needs(fresh_python: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config\n"
    )
    (tmp_path / "test_shop.py").write_text(
        dedent(
            """
            import pathlib
            import sys
            import httpx
            import pytest
            import qashier_mock as package

            def test_it_is_the_installed_one():
                assert pathlib.Path(package.__file__).is_relative_to(sys.prefix)

            @pytest.mark.qashier_mock(frozen_at="2026-01-01T00:00:00Z")
            def test_a_payment(qashier_mock, qashier_webhook_disorder):
                session = qashier_mock.create_session()
                assert httpx.get(session["url"]).status_code == 200
                qashier_mock.pay(session["id"])
                qashier_webhook_disorder.settle()
                assert qashier_mock.sessions[0]["status"] == "complete"
            """
        )
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHONPATH"))}
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [fresh_python, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "9 passed" in result.stdout


# Looking at a failure afterwards


@pytest.mark.usefixtures("interruptible")
def test_after_a_failure_the_mock_is_kept_until_ctrl_c(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(qashier_mock): assert qashier_mock.create_session()['status'] == 'paid'")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin"]
    with subprocess.Popen(
        [*command, "--qashier-mock-keep"], cwd=pytester.path, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "The mock keeps running" in line)
            front = line.split("running: ")[1].split(" shows")[0]
            test, _, account = process.stdout.readline().strip().partition(": ")
            assert test.endswith("::test_it")
            for page in (front, account):
                with urllib.request.urlopen(page, timeout=PATIENCE) as answer:  # noqa: S310 - our own server's address
                    assert answer.status == 200
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 1
        finally:
            process.kill()
    assert account.startswith(f"{front}accounts/acct_")
    assert account in told, "the report names it, too"
    assert_free(front)


def test_an_ini_value_that_is_neither_true_nor_false_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nqashier_mock_strict = maybe\n")
    pytester.makepyfile("def test_it(qashier_mock): pass")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*qashier_mock_strict in the ini file is true or false*"])
