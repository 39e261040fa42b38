"""The command line: options from four places, exit codes, the documents, and a real server or two."""

from __future__ import annotations

import base64
import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from mock_harness import basket

from qashier_mock import MockServer, Settings, __version__
from qashier_mock.address import bind, is_loopback, url_of
from qashier_mock.cli import COMMANDS, CommandError, main, serve
from qashier_mock.cli.options import Option, parse
from qashier_mock.cli.values import base_url, duration, http_url
from qashier_mock.client import MockAccount

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it
OPTIONS = (
    Option(name="host", short="H", default="here", help="a text"),
    Option(name="port", parse=int, default=1, help="a number"),
    Option(name="loud", is_flag=True, default=False, help="a flag"),
    Option(name="webhook-url", is_repeatable=True, default=(), help="a list"),
)


def parse_alone(options: Sequence[Option], arguments: Sequence[str]) -> Any:
    """The options of `serve` where neither environment nor file says anything."""
    with patch.dict(os.environ, {}, clear=True), chdir("/"):
        return parse("serve", "", options, arguments)


def parsed(*arguments: str, env: Mapping[str, str] | None = None, folder: Path = Path("/")) -> dict[str, Any]:
    with patch.dict(os.environ, env or {}, clear=True), chdir(folder):
        return vars(parse("serve", "", OPTIONS, arguments))


def configured(folder: Path, text: str, name: str = "qashier-mock.toml") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder


# where options come from


def test_defaults_apply_where_nobody_says_anything() -> None:
    assert parsed() == {"host": "here", "port": 1, "loud": False, "webhook_url": ()}


def test_options_precede_the_environment_precedes_the_file_precedes_the_default(tmp_path: Path) -> None:
    configured(tmp_path, '[tool.qashier-mock.serve]\nhost = "file"\nport = 3\nloud = true\nwebhook-url = ["f"]\n')
    env = {"QASHIER_MOCK_SERVE_HOST": "env", "QASHIER_MOCK_SERVE_PORT": "2", "QASHIER_MOCK_SERVE_WEBHOOK_URL": "a b"}
    assert parsed("--host", "typed", env=env, folder=tmp_path) == {
        "host": "typed",
        "port": 2,
        "loud": True,
        "webhook_url": ["a", "b"],
    }
    assert parsed("-H", "x", "--no-loud", "--webhook-url", "t", "--webhook-url", "u", env=env, folder=tmp_path) == {
        "host": "x",
        "port": 2,
        "loud": False,
        "webhook_url": ["t", "u"],
    }
    assert parsed(folder=tmp_path) == {"host": "file", "port": 3, "loud": True, "webhook_url": ["f"]}


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("TRUE", True), ("on", True), ("no", False), ("0", False)])
def test_a_flag_in_the_environment_is_a_word(text: str, expected: bool) -> None:  # noqa: FBT001
    assert parsed(env={"QASHIER_MOCK_SERVE_LOUD": text})["loud"] is expected


def test_what_kubernetes_says_of_a_service_named_like_us_is_no_option() -> None:
    link = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "4010",
        "SERVICE_PORT_HTTP": "4010",
        "PORT": "tcp://10.0.0.1:4010",
        "PORT_4010_TCP": "tcp://10.0.0.1:4010",
        "PORT_4010_TCP_PROTO": "tcp",
        "PORT_4010_TCP_PORT": "4010",
        "PORT_4010_TCP_ADDR": "10.0.0.1",
    }
    assert parsed(env={f"QASHIER_MOCK_SERVE_{name}": value for name, value in link.items()}) == parsed()


def test_the_nearest_file_that_speaks_of_us_counts(tmp_path: Path) -> None:
    configured(tmp_path, "[tool.qashier-mock.serve]\nport = 5\n", "pyproject.toml")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    configured(inner.parent, "[tool.other]\nx = 1\n", "pyproject.toml")
    assert parsed(folder=inner)["port"] == 5
    configured(inner, "[tool.qashier-mock.serve]\nport = 6\n")
    configured(inner, "[tool.qashier-mock.serve]\nport = 7\n", "pyproject.toml")
    assert parsed(folder=inner)["port"] == 6


def test_a_file_may_write_underscores_and_speak_of_other_commands(tmp_path: Path) -> None:
    configured(tmp_path, "[tool.qashier-mock.spec]\nformat = 'json'\n[tool.qashier-mock.serve]\nwebhook_url = ['x']\n")
    assert parsed(folder=tmp_path)["webhook_url"] == ["x"]


def test_a_file_of_somebody_elses_tool_is_none_of_our_business(tmp_path: Path) -> None:
    assert parsed(folder=configured(tmp_path, "tool = 1\n", "pyproject.toml"))["port"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--prot", "1"], "no option --prot; did you mean --port?"),
        (["--prot=1"], "no option --prot; did you mean --port?"),
        (["--zzz"], "no option --zzz."),
        (["-x"], "no option -x."),
        (["stray"], "unexpected argument: stray"),
        (["--port"], "expected one argument"),
        (["--port", "x"], "invalid literal"),
        (["--po", "1"], "no option --po; did you mean --port?"),
    ],
)
def test_a_wrong_argument_is_refused_and_the_nearest_named(arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match="qashier-mock serve --help") as refused:
        parsed(*arguments)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (
            {"QASHIER_MOCK_SERVE_PROT": "1"},
            "QASHIER_MOCK_SERVE_PROT, which is not an option; did you mean QASHIER_MOCK_SERVE_PORT",
        ),
        ({"QASHIER_MOCK_SERVE_PORT": "x"}, "QASHIER_MOCK_SERVE_PORT: invalid literal"),
        ({"QASHIER_MOCK_SERVE_LOUD": "perhaps"}, "QASHIER_MOCK_SERVE_LOUD must be true or false, not 'perhaps'"),
    ],
)
def test_a_wrong_variable_is_refused_and_the_nearest_named(env: Mapping[str, str], told: str) -> None:
    with pytest.raises(CommandError) as refused:
        parsed(env=env)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[tool.qashier-mock.serve]\nprot = 1\n",
            "prot in [tool.qashier-mock.serve] is not an option; did you mean port?",
        ),
        (
            "[tool.qashier-mock.serv]\nport = 1\n",
            "[tool.qashier-mock.serv] names no command; did you mean serve?",
        ),
        ("[tool.qashier-mock.serve]\nport = 'x'\n", "invalid literal"),
        ("[tool.qashier-mock.serve]\nport = [1]\n", "must be a single value"),
        ("[tool.qashier-mock.serve]\nport = true\n", "must be a single value"),
        ("[tool.qashier-mock.serve]\nloud = 'yes'\n", "must be true or false"),
        ("[tool.qashier-mock.serve]\nwebhook-url = 'x'\n", "must be a list"),
        ("[tool.qashier-mock]\nserve = 1\n", "must be a table"),
        ("[tool]\nqashier-mock = 1\n", "must be a table"),
        ("[serve]\nport = 1\n", "nobody reads serve; the options of serve stand in [tool.qashier-mock.serve]"),
        ("[tool.other]\nport = 1\n", "nobody reads tool.other"),
        ("[tool.qashier-mock.serve]\nport = 1\n[extra]\n", "nobody reads extra"),
        ("[tool", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_and_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CommandError) as refused:
        parsed(folder=configured(tmp_path, text))
    assert told in str(refused.value)
    assert str(tmp_path / "qashier-mock.toml") in str(refused.value)


def test_a_name_in_pyproject_that_was_meant_for_us_is_refused(tmp_path: Path) -> None:
    folder = configured(
        tmp_path, "[tool.ruff]\nline-length = 9\n[tool.qashier_mock.serve]\nport = 1\n", "pyproject.toml"
    )
    with pytest.raises(CommandError, match=r"nobody reads tool\.qashier_mock"):
        parsed(folder=folder)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1_800), ("25h", 90_000), ("2d", 172_800), ("1h30m", 5_400)]
)
def test_durations_are_written_as_people_do(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1s", "1.5h", "1w", "h", "1h 30m", "9" * 5_000])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|limit"):
        duration(text)


@pytest.mark.parametrize("text", ["http://a", "https://a.b:8/c?d=e#f", "HTTP://127.0.0.1", "http://[::1]:80/x"])
def test_a_url_has_a_scheme_and_a_host(text: str) -> None:
    assert http_url(text) == text


@pytest.mark.parametrize("text", ["", "a", "ftp://a", "http://", "http:///a", "http://a b", "http://a/b c", "//a"])
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an http or https URL"):
        http_url(text)


@pytest.mark.parametrize("text", ["http://x:99999/", "http://x:0", "https://[::1]:65536"])
def test_a_url_has_a_port_that_there_is(text: str) -> None:
    with pytest.raises(ValueError, match="is not from 1 to 65535"):
        http_url(text)


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="no user name") as refused:
        http_url("http://user:hunter2@shop.example/")
    assert "hunter2" not in str(refused.value)


def test_a_base_url_can_be_appended_to() -> None:
    assert base_url("https://mock.example/base/") == "https://mock.example/base"
    for text in ("https://mock.example?x", "https://mock.example/#x", "mock.example"):
        with pytest.raises(ValueError, match="mock"):
            base_url(text)


# the overview


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in COMMANDS)
    assert main([]) == 2


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"qashier-mock {__version__}\n"


def test_an_unknown_command_is_wrong_usage_and_the_nearest_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sevre"]) == 2
    assert "no command 'sevre'; did you mean serve?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "spec", "pay", "advance", "trigger"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"qashier-mock {command}" in capsys.readouterr().out


# serve, without serving


def settings(*arguments: str, secret: str | None = None) -> Any:
    options = parse_alone(serve.OPTIONS, arguments)
    return serve._settings(options, secret)


def test_serve_without_options_is_what_the_interface_says() -> None:
    options = parse_alone(serve.OPTIONS, [])
    assert (options.host, options.port, options.log_format) == ("127.0.0.1", 4010, "text")
    assert settings() == Settings()


def test_serve_takes_its_options(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("status_rule = 400\n")
    found = settings(
        "--public-url", "https://mock.example/", "--seed", "7", "--strict", "--policy", str(policy),
        "--webhook-url", "http://a.example/x", "--webhook-url", "http://b.example", secret="whsec",
    )  # fmt: skip
    assert (found.public_url, found.seed, found.strict) == ("https://mock.example", 7, True)
    assert found.policy.status_rule == 400
    assert found.webhook_urls == ("http://a.example/x", "http://b.example")
    assert found.webhook_secret == "whsec"
    assert "whsec" not in repr(found)


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        ([], None),
        (["--webhook-url", "http://a.example"], None),
        (["--host", "localhost"], None),
        (["--host", "::1"], None),
        (["--host", "127.9.9.9"], None),
        (["--host", EVERYWHERE], set()),
        (["--host", "127.evil.example"], set()),
        (["--host", EVERYWHERE, "--webhook-url", "http://A.example:80/x"], {"a.example"}),
        (
            ["--host", EVERYWHERE, "--webhook-url", "http://a.example", "--webhook-allow", "B.example"],
            {"a.example", "b.example"},
        ),
        (["--webhook-allow", "b.example"], {"b.example"}),
        (["--webhook-allow", "b.example", "--webhook-url", "http://[::1]:9"], {"b.example", "::1"}),
    ],
)
def test_webhooks_go_anywhere_only_from_a_server_on_loopback(arguments: list[str], hosts: set[str] | None) -> None:
    assert settings(*arguments).webhook_hosts == (None if hosts is None else frozenset(hosts))


def test_loopback_is_an_address_or_localhost() -> None:
    assert [is_loopback(each) for each in ("127.0.0.1", "::1", "LOCALHOST")] == [True] * 3
    assert [is_loopback(each) for each in (EVERYWHERE, "::", "127.0.0.1.example", "10.0.0.1", "")] == [False] * 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "65536"], "the port must be a whole number from 0 to 65535"),
        (["--seed", "-1"], "the seed must be a whole number"),
        (["--log-format", "xml"], "'xml' is not one of text, json"),
        (["--webhook-url", "nonsense"], "not an http or https URL"),
        (["--public-url", "https://a?b"], "query"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:4010"),
        (["--webhook-secret-file", "/nonexistent"], "--webhook-secret-file cannot be read"),
        (["--webhook-ca", "/nonexistent"], "--webhook-ca cannot be read: /nonexistent"),
        (["--webhook-ca", __file__], "--webhook-ca holds no certificate"),
        (["--data", "/nonexistent"], "--data needs QASHIER_API_KEY"),
    ],
)
def test_serve_refuses_what_it_cannot_do_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QASHIER_API_KEY", raising=False)
    assert main(["serve", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("qashier-mock: serve: ")
    assert printed.err.count("\n") == 1
    assert told in printed.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--store", "nonsense"], "nonsense"), (["--policy", "/nonexistent"], "policy"), (["--bug", "no"], "no")],
)
def test_another_mistake_is_told_before_a_taken_port(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with bind("127.0.0.1", 0) as listener:
        port = url_of(listener).rpartition(":")[2]
        assert main(["serve", "--port", port, *arguments]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert "cannot listen" not in printed


def test_a_taken_port_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as listener:
        port = url_of(listener).rpartition(":")[2]
        assert main(["serve", "--port", port]) == 2
    told = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(("text", "told"), [("status_rules = 1\n", "did you mean status_rule?"), ("[", "policy.toml")])
def test_a_wrong_policy_is_named(tmp_path: Path, text: str, told: str) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    with pytest.raises(CommandError) as refused:
        settings("--policy", str(policy))
    assert told in str(refused.value)
    assert str(policy) in str(refused.value)


def webhook_secret(path: str | None) -> str | None:
    return serve._secret(path, option="webhook-secret-file", variable="QASHIER_WEBHOOK_SECRET")


@pytest.mark.parametrize(
    ("content", "secret"), [(b"whsec", "whsec"), (b"whsec\n", "whsec"), (b" a b \r\n", " a b "), (b"\n\n", "\n")]
)
def test_a_secret_is_read_from_a_file_as_it_stands(tmp_path: Path, content: bytes, secret: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert webhook_secret(str(path)) == secret


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff"])
def test_an_empty_secret_is_a_mistake(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(CommandError, match="--webhook-secret-file"):
        webhook_secret(str(path))


def test_serve_starts_without_what_it_may_never_need() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "qashier_mock", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.terminate()
        _, imported = process.communicate()
    assert "connexion.json_schema" in imported
    assert "urllib3" not in imported


def test_a_module_that_is_imported_later_is_there_once_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "wsgiref"]:
        monkeypatch.delitem(sys.modules, name)
    serve.import_later("wsgiref")
    assert not hasattr(sys.modules["wsgiref"], "nothing of this name")
    assert sys.modules["wsgiref"].__file__ is not None
    serve.import_later("wsgiref")
    assert importlib.import_module("wsgiref.util").FileWrapper is not None


def test_what_stands_for_a_module_lets_its_parts_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "wsgiref"]:
        monkeypatch.delitem(sys.modules, name)
    serve.import_later("wsgiref")
    assert importlib.import_module("wsgiref.util").FileWrapper is not None


def test_a_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QASHIER_WEBHOOK_SECRET", raising=False)
    assert webhook_secret(None) is None
    monkeypatch.setenv("QASHIER_WEBHOOK_SECRET", "whsec")
    assert webhook_secret(None) == "whsec"


# spec


def spec(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["spec", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("control", [[], ["--control"]])
def test_spec_prints_the_document_in_both_formats_and_versions(
    control: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from openapi_spec_validator import validate  # noqa: PLC0415 - slow to import

    for version in ("3.0", "3.1"):
        as_yaml = yaml.load(spec(capsys, "--openapi", version, *control), Loader=yaml.CSafeLoader)
        as_json = json.loads(spec(capsys, "--openapi", version, "--format", "json", *control))
        assert json.loads(json.dumps(as_yaml)) == as_json
        assert as_json["openapi"].startswith(version)
        assert any("/_mock/" in path for path in as_json["paths"]) is bool(control)
        validate(as_json)


def test_spec_prints_the_public_document_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    written = (Path(__file__).parents[1] / "openapi" / "qashier.yaml").read_text("utf-8")
    assert spec(capsys) == written


def test_spec_refuses_a_format_that_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "--format", "xml"]) == 2
    assert main(["spec", "--openapi", "2.0"]) == 2
    assert "'2.0' is not one of 3.0, 3.1" in capsys.readouterr().err


# the control API from a shell


@pytest.fixture
def shell(
    server: MockServer, api_key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    monkeypatch.setenv("QASHIER_API_KEY", api_key)

    def call(*arguments: str) -> Any:
        assert main([*arguments, "--url", server.url]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_a_shell_acts_as_the_customer_and_moves_time(
    shell: Callable[..., Any], server: MockServer, api_key: str
) -> None:
    with MockAccount(server.url, api_key) as account:
        session = account.create_session()
        assert shell("fail", session["id"]) == shell("cancel", session["id"]) == session
        assert shell("pay", session["id"])["status"] == "complete"
        late = account.create_session()["id"]
        assert shell("advance", "25h")["expired"] == [late]


@pytest.mark.parametrize("event", ["checkout.session.completed", "checkout.session.expired"])
def test_a_shell_triggers_a_sample_event(shell: Callable[..., Any], event: str) -> None:
    assert shell("trigger", event)["type"] == event


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pay", "cs_test_nothing"], "session_not_found"),
        (["pay"], "required: ID"),
        (["advance", "tomorrow"], "is not a duration"),
        (["trigger", "checkout.session.opened"], "is not one of checkout.session.completed"),
        (["advance", "-1h"], "-1h: a clock only moves forward"),
    ],
)
def test_a_shell_is_told_what_is_wrong(
    server: MockServer, api_key: str, arguments: list[str], told: str, *,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("QASHIER_API_KEY", api_key)
    assert main([*arguments, "--url", server.url]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", [["trigger", "checkout.session.expired"], ["listen"], ["events"]])
def test_a_live_key_is_not_sent(
    server: MockServer, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QASHIER_API_KEY", "sk_live_secret")
    assert main([*command, "--url", server.url]) == 2
    told = capsys.readouterr().err
    assert "QASHIER_API_KEY has a live key, which was not sent" in told
    assert "secret" not in told


def test_https_to_a_port_of_http_says_which_to_write(server: MockServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--url", server.url.replace("http:", "https:")]) == 2
    assert "it speaks no TLS: write http:// instead of https://" in capsys.readouterr().err


def test_a_mock_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as listener:
        url = url_of(listener)
    assert main(["pay", "cs_test_1", "--url", url]) == 2
    told = capsys.readouterr().err
    assert url in told
    assert "Start one with qashier-mock serve" in told


def test_a_session_that_is_not_found_without_a_key_says_where_it_was_looked_for(
    server: MockServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QASHIER_API_KEY", raising=False)
    assert main(["pay", "cs_test_1", "--url", server.url]) == 2
    assert "this looked in the account of sk_test_default" in capsys.readouterr().err
    monkeypatch.setenv("QASHIER_API_KEY", "sk_test_chosen")
    assert main(["pay", "cs_test_1", "--url", server.url]) == 2
    assert "sk_test_" not in capsys.readouterr().err


# real servers


@contextmanager
def served(*arguments: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`qashier-mock serve` as a process, once it can answer, and the line that it printed then."""
    command = [sys.executable, "-m", "qashier_mock", "serve", "--port", "0", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QASHIER")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **env}
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def call(url: str, method: str, path: str, body: Any = None, *, key: str = "sk_test_cli") -> tuple[int, Any]:
    sent = urllib.request.Request(  # noqa: S310 - an address of our own server
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
            "content-type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(sent, timeout=10) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def test_serve_is_ready_when_it_says_so_and_stops_cleanly_and_a_seed_repeats_its_ids(tmp_path: Path) -> None:
    with served("--seed", "5", "--quiet") as (process, line):
        assert line.startswith("qashier-mock ready on http://127.0.0.1:")
        url = line.split()[-1]
        status, session = call(url, "POST", "/checkout/sessions", basket())
        assert status == 200
        assert session["url"] == f"{url}/pay/{session['id']}"
        _, snapshot = call(url, "GET", "/_mock/v1/snapshot")
        twins = [call(url, "POST", "/checkout/sessions", basket(), key="sk_test_twin")[1]["id"] for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.communicate() == ("", "")

    data, policy = tmp_path / "data.json", tmp_path / "policy.toml"
    data.write_text(json.dumps(snapshot))
    policy.write_text("status_not_open = 400\n")
    options = ["--quiet", "--seed", "5", "--log-format", "json", "--data", str(data), "--policy", str(policy)]
    with served(*options, "--public-url", "https://mock.example", QASHIER_API_KEY="sk_test_restored") as (
        process,
        line,
    ):
        ready = json.loads(line)
        url = ready["url"]
        assert ready == {"event": "ready", "url": url}
        restored = call(url, "GET", f"/checkout/sessions/{session['id']}", key="sk_test_restored")
        assert restored == (200, session)
        call(url, "POST", f"/_mock/v1/sessions/{session['id']}/pay", {"outcome": "succeeded"}, key="sk_test_restored")
        path = f"/checkout/sessions/{session['id']}/expire"
        assert call(url, "POST", path, key="sk_test_restored")[0] == 400
        _, other = call(url, "POST", "/checkout/sessions", basket())
        assert other["url"] == f"https://mock.example/pay/{other['id']}"
        assert other["id"] != session["id"], "an id that was restored is never drawn again"
        again = [call(url, "POST", "/checkout/sessions", basket(), key="sk_test_twin")[1]["id"] for _ in range(3)]
        assert again == twins
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.communicate() == ("", "")


def test_serve_imports_connexion_without_the_command_of_httpx() -> None:
    with served("--quiet", PYTHONPROFILEIMPORTTIME="1") as (process, line):
        assert line.startswith("qashier-mock ready on")
        process.send_signal(signal.SIGTERM)
        imported = {each.rpartition("|")[2].strip() for each in process.communicate()[1].splitlines()}
    assert {"connexion", "httpx"} <= imported
    assert "rich" not in imported


def test_a_signal_before_there_is_a_server_is_a_clean_stop_too() -> None:
    with pytest.raises(SystemExit) as stopped:
        serve._leave(signal.SIGTERM, None)
    assert stopped.value.code == 0


def test_serve_begins_with_the_account_of_the_examples() -> None:
    account, shown = "sk_test_examples", "cs_test_a1B2c3D4e5F6g7H8i9J0k1L2"
    with served("--data", "examples", QASHIER_API_KEY=account) as (_, line):
        url = line.split()[-1]
        status, session = call(url, "GET", f"/checkout/sessions/{shown}", key=account)
        assert (status, session["status"], session["url"]) == (200, "open", f"{url}/pay/{shown}")
        assert call(url, "GET", "/checkout/sessions", key=account)[1]["data"][-1] == session
        assert call(url, "GET", f"/checkout/sessions/{shown}")[0] == 404, "another account has nothing of it"


def test_data_that_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    data.write_text("{}")
    with served("--data", str(data), QASHIER_API_KEY="sk_test_x") as (process, line):
        assert (line, process.wait(10)) == ("", 2)
        _, told = process.communicate()
        assert told.startswith("qashier-mock: serve: the snapshot of --data is refused: ")
        assert told.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_closes_every_quotation_it_opens(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert shlex.split(script.replace("\\'", "") if shell == "fish" else script)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["se"], "serve selfcheck"),
        (["serve", "--log-"], "--log-format"),
        (["serve", "--log-format", ""], "text json"),
        (["check", "http://127.0.0.1", "--control", ""], "none auto"),
        (["check", "--report", "h"], "html= har="),
        (["spec", "--openapi", ""], "3.0 3.1"),
        (["drill", "--only", "re"], "replayed restart"),
        (["trigger", ""], "checkout.session.completed checkout.session.expired"),
        (["check", ""], ""),
    ],
)
def test_bash_completes_commands_options_and_values(
    typed: list[str], offered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    words = shlex.join(["qashier-mock", *typed])
    ask = f'COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _qashier_mock 2>/dev/null; echo "${{COMPREPLY[*]}}"'
    script = f"{capsys.readouterr().out}\n{ask}"
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == offered.split()
