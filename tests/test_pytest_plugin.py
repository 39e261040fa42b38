"""The pytest plugin, as a project uses it: test runs inside a test run."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401

import qashier_mock.server  # noqa: F401
from qashier_mock import MockServer, pytest_plugin, testing

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

INI = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""


@pytest.fixture(autouse=True)
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini(INI)
    # Only the plugins that matter here: importing all the others anew would take most of the time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture(scope="module")
def running() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def run(pytester: pytest.Pytester, running: MockServer) -> Callable[..., pytest.RunResult]:
    """Run the tests that were written with a mock that runs already: starting one takes its time."""

    def run(*arguments: str) -> pytest.RunResult:
        return run_alone(pytester, f"--qashier-mock-url={running.url}", *arguments)

    return run


def run_alone(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the tests that were written; they start a mock of their own."""
    plugins = ("qashier_mock.pytest_plugin", "pytest_asyncio.plugin", "anyio.pytest_plugin")
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *(f"-p{plugin}" for plugin in plugins), *arguments)


def said(result: pytest.RunResult, name: str) -> list[str]:
    """What the tests printed as `name=value`."""
    return re.findall(rf"\b{name}=(\S+)", result.stdout.str())


# the account


def test_each_test_gets_a_fresh_account_on_the_one_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_it(qashier_mock, qashier_mock_server, number):
            assert qashier_mock.sessions == []
            qashier_mock.create_session()
            assert qashier_mock.base_url == qashier_mock_server.base_url == qashier_mock_server.url
            print(f"url={qashier_mock.base_url} key={qashier_mock.api_key}")
        """
    )
    result = run_alone(pytester, "-s")
    result.assert_outcomes(passed=3)
    assert len(set(said(result, "url"))) == 1
    assert len(set(said(result, "key"))) == 3


def test_the_account_acts_as_customer_clock_and_witness(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import httpx
        from datetime import UTC, datetime

        def test_it(qashier_mock):
            qashier_mock.freeze(at=datetime(2026, 1, 1, tzinfo=UTC))
            with httpx.Client(base_url=qashier_mock.base_url, auth=qashier_mock.auth) as client:
                line = {
                    "price_data": {"currency": "SGD", "product_data": {"name": "Tea"}, "unit_amount": 350},
                    "quantity": 2,
                }
                body = {"line_items": [line], "success_url": "https://shop.example", "return_url": "https://shop.example"}
                first, second = (client.post("/checkout/sessions", json=body).json() for _ in range(2))
                assert first["created"] == qashier_mock.now == 1_767_225_600
                qashier_mock.fail(first["id"])
                qashier_mock.cancel(first["id"])
                assert qashier_mock.pay(first["id"])["status"] == "complete"
                assert qashier_mock.advance(hours=25)["expired"] == [second["id"]]
                assert [each["status"] for each in qashier_mock.sessions] == ["expired", "complete"]
                assert [each["type"] for each in qashier_mock.events] == [
                    "checkout.session.completed", "checkout.session.expired"
                ]
                assert [each["status"] for each in qashier_mock.requests] == [200, 200]
                assert "idempotency_key_missing" in [each["kind"] for each in qashier_mock.advice]
                with qashier_mock.fault("status", status=503, times=1):
                    assert client.get("/checkout/sessions").status_code == 503
                    assert client.get("/checkout/sessions").status_code == 200
        """
    )
    run().assert_outcomes(passed=1)


def test_a_test_that_does_nothing_sends_nothing(pytester: pytest.Pytester, run: Run) -> None:
    """A fresh key costs no request: the account exists on the server once somebody uses it."""
    pytester.makepyfile(
        """
        import pytest
        from qashier_mock.connections import Connections

        @pytest.fixture(scope="session", autouse=True)
        def sent(qashier_mock_server):
            calls = []
            send = Connections.send
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Connections, "send", lambda self, *a, **k: calls.append(a) or send(self, *a, **k))
                yield calls

        def test_one(qashier_mock, sent): pass
        def test_two(qashier_mock, sent): assert sent == []
        def test_three(qashier_mock, sent):
            assert sent == []
            qashier_mock.now
            assert len(sent) == 1
        """
    )
    run().assert_outcomes(passed=3)


def test_it_signs_for_unit_tests_of_a_handler(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import base64, hashlib, hmac

        def test_it(qashier_mock):
            expected = base64.b64encode(hmac.new("ключ".encode(), b'{"a": 1}', hashlib.sha256).digest()).decode()
            assert qashier_mock.sign(b'{"a": 1}', "ключ") == qashier_mock.sign('{"a": 1}', "ключ") == expected
            assert qashier_mock.sign(b'{"a": 1}', "ключ", encoding="hex") == base64.b64decode(expected).hex()
        """
    )
    run().assert_outcomes(passed=1)


def test_a_second_account_can_be_had(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest
        from qashier_mock.connections import MockRefused

        def test_it(qashier_mock, qashier_mock_server):
            other = qashier_mock_server.account("another merchant")
            session = other.create_session()
            with pytest.raises(MockRefused, match="session_not_found"):
                qashier_mock.retrieve_session(session["id"])
            other.close()
        """
    )
    run().assert_outcomes(passed=1)


# webhooks


def test_the_receiver_gets_what_comes_and_what_came_before_it_was_asked_for(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        def test_before(qashier_mock):
            session = qashier_mock.create_session()
            qashier_mock.pay(session["id"])
            event = qashier_mock.webhooks.wait_for("checkout.session.completed", timeout=30)
            assert event == qashier_mock.events[0]
            qashier_mock.expire_session(qashier_mock.create_session()["id"])
            qashier_mock.webhooks.wait_for("checkout.session.expired", timeout=30)
            assert qashier_mock.webhooks.received == qashier_mock.events
            (delivery,) = qashier_mock.webhooks.deliveries
            assert delivery.is_signed_with(qashier_mock.webhooks.secret)

        def test_nothing_is_counted_twice(qashier_mock):
            receiver = qashier_mock.webhooks
            qashier_mock.pay(qashier_mock.create_session()["id"])
            qashier_mock.flush()
            assert len(receiver.received) == len(qashier_mock.webhooks.received) == 1
        """
    )
    run().assert_outcomes(passed=2)


def test_disturbed_webhooks_do_not_slip_past_a_receiver_asked_for_later(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize(("action", "count"), [("drop", 0), ("duplicate", 2), ("bad_signature", 1)])
        def test_it(qashier_mock, action, count):
            qashier_mock.fault(action, webhook="*")
            qashier_mock.pay(qashier_mock.create_session()["id"])
            qashier_mock.flush()
            assert len(qashier_mock.webhooks.received) == count
            assert [each.is_signed_with(qashier_mock.webhooks.secret) for each in qashier_mock.webhooks.deliveries] == [
                action != "bad_signature"
            ] * count

        def test_sent_again(qashier_mock):
            qashier_mock.pay(qashier_mock.create_session()["id"])
            qashier_mock.deliver_again(qashier_mock.events[0]["id"])
            assert len(qashier_mock.webhooks.received) == 2
        """
    )
    run().assert_outcomes(passed=4)


def test_a_receiver_that_nobody_asked_for_neither_takes_a_fault_nor_hides_advice(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from qashier_mock.receiver import WebhookReceiver

        def test_fault(qashier_mock):
            qashier_mock.fault("drop", webhook="*", times=1)
            with WebhookReceiver() as shop:
                qashier_mock.deliver_webhooks_to(shop.url, types=["checkout.session.completed"])
                assert len(qashier_mock.webhook_endpoints) == 1
                qashier_mock.pay(qashier_mock.create_session()["id"])
                qashier_mock.pay(qashier_mock.create_session()["id"])
                qashier_mock.flush()
                assert len(shop.received) == 1

        def test_advice(qashier_mock):
            qashier_mock.pay(qashier_mock.create_session()["id"])
            assert "no_webhook_endpoint" in [each["kind"] for each in qashier_mock.advice]
        """
    )
    run().assert_outcomes(passed=2)


def test_after_a_reset_the_receiver_receives_still(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        def test_it(qashier_mock):
            receiver = qashier_mock.webhooks
            qashier_mock.reset()
            qashier_mock.pay(qashier_mock.create_session()["id"])
            assert receiver.wait_for("checkout.session.completed", timeout=30)
        """
    )
    run().assert_outcomes(passed=1)


def test_nothing_is_delivered_any_more_when_the_test_has_ended(pytester: pytest.Pytester, run: Run) -> None:
    """A retry would reach whoever listens on the same port by then: the receiver of another test."""
    pytester.makepyfile(
        """
        import pytest
        left = []

        def test_one(qashier_mock):
            qashier_mock.webhooks.answer(500)
            qashier_mock.deliver_webhooks_to("http://127.0.0.1:1/shop")
            qashier_mock.pay(qashier_mock.create_session()["id"])
            assert {each["outcome"] for each in qashier_mock.flush()} == {"failed"}
            left.append(qashier_mock)

        def test_two():
            (earlier,) = left
            assert earlier.webhook_endpoints == []
            assert earlier.snapshot()["deliveries"] == []
        """
    )
    run().assert_outcomes(passed=2)


def test_disorder_runs_a_test_once_for_each_way_in_which_webhooks_come(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        def test_it(qashier_mock, qashier_webhook_disorder):
            ids = [qashier_mock.create_session()["id"] for _ in range(5)]
            for each in ids:
                qashier_mock.pay(each)
                qashier_mock.flush()
            qashier_webhook_disorder.settle()
            receiver = qashier_mock.webhooks
            secret = receiver.secret
            numbers = [ids.index(each["data"]["object"]["id"]) for each in receiver.received]
            signed = all(each.is_signed_with(secret) for each in receiver.deliveries)
            came = "".join(map(str, numbers))
            print(f"came={qashier_webhook_disorder.name}:{came}:{signed}:{qashier_webhook_disorder.loses}")
        """
    )
    result = run("-s")
    result.assert_outcomes(passed=len(pytest_plugin._DISORDERS))
    came = dict(each.split(":", 1) for each in said(result, "came"))
    late = came.pop("late").partition(":")  # what is due at the same time comes in any order
    assert sorted(late[0]) == list("01234")
    assert late[2] == "True:False"
    assert came == {
        "in_order": "01234:True:False",
        "duplicated": "0011223344:True:False",
        "swapped": "10234:True:False",
        "lost": ":True:True",
        "forged": "01234:False:True",
        "replayed": "0123401234:True:False",
        "mixed": "00432:True:True",
    }


def test_the_disorders_are_those_that_there_are_rules_for() -> None:
    assert tuple(testing.disorder._RULES) == pytest_plugin._DISORDERS


def test_disorders_can_be_chosen(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("qashier_webhook_disorder", ["lost", "loud"], indirect=True)
        def test_it(qashier_webhook_disorder):
            assert repr(qashier_webhook_disorder) == "<WebhookDisorder lost>"
        """
    )
    result = run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*unknown disorder 'loud'; the disorders are in_order, duplicated, late,*"])


# the marker


def test_the_marker_configures_the_account_and_the_closest_one_has_the_last_word(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from datetime import UTC, datetime

        pytestmark = pytest.mark.qashier_mock(frozen_at=1_767_225_600, seed=3)

        def test_module(qashier_mock):
            assert qashier_mock.settings == {"strict": False, "seed": 3}
            assert qashier_mock.clock == {"now": 1_767_225_600, "frozen": True}

        @pytest.mark.qashier_mock(strict=True)
        class TestClass:
            @pytest.mark.qashier_mock(frozen_at="2026-01-02T08:00:00+08:00", seed=4)
            def test_both(self, qashier_mock):
                assert qashier_mock.settings == {"strict": True, "seed": 4}
                assert qashier_mock.now == 1_767_225_600 + 86_400

            @pytest.mark.qashier_mock(strict=False, frozen_at=datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC))
            def test_not_strict(self, qashier_mock):
                assert qashier_mock.settings["strict"] is False
                assert qashier_mock.now == 1_000_000_000
        """
    )
    run("--strict-markers").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("frozenat=1", "*does not take frozenat; did you mean frozen_at?*"),
        ("True", "*does not take True; it takes strict, seed, frozen_at, each by its name*"),
        ("frozen_at='noon'", "*frozen_at: 'noon' is no time in ISO 8601*"),
        ("frozen_at='2026-01-01'", "*has no time zone*"),
        ("seed=-1", "*seed*"),
    ],
)
def test_a_marker_that_is_wrong_says_so(pytester: pytest.Pytester, run: Run, marker: str, message: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.qashier_mock({marker})
        def test_it(qashier_mock): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    assert "During handling" not in result.stdout.str()


# seeds, options and ini keys


def test_with_a_seed_a_test_gets_the_same_ids_in_every_run_and_order(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_one(qashier_mock): print("one=" + qashier_mock.create_session()["id"])
        def test_two(qashier_mock): print("two=" + qashier_mock.create_session()["id"])
        """
    )
    runs = [
        run_alone(pytester, "-s", *arguments)
        for arguments in (
            ("--qashier-mock-seed=7",),
            ("--qashier-mock-seed=7", "-k", "test_two"),
            ("--qashier-mock-seed=8", "-k", "test_two"),
        )
    ]
    assert said(runs[0], "one") != said(runs[0], "two")
    assert said(runs[0], "two") == said(runs[1], "two")
    assert said(runs[1], "two") != said(runs[2], "two")


def test_ini_keys_say_what_options_say(pytester: pytest.Pytester, running: MockServer) -> None:
    pytester.path.joinpath("policy.toml").write_text("status_rule = 418\n")
    pytester.makeini(
        INI
        + """
qashier_mock_seed = 5
qashier_mock_strict = true
qashier_mock_policy = policy.toml
qashier_mock_report = 3
qashier_mock_webhook_host = localhost
"""
    )
    pytester.makepyfile(
        f"""
        import pytest
        from qashier_mock.connections import MockRefused

        def test_it(qashier_mock, qashier_mock_config):
            assert qashier_mock_config.seed == 5
            assert qashier_mock_config.report == 3
            assert qashier_mock.settings["strict"] is True
            assert qashier_mock.webhooks.url.startswith("http://localhost:")
            with pytest.raises(MockRefused) as refused:
                qashier_mock.create_session(expires_at=1)
            assert refused.value.status == 418
            assert qashier_mock.base_url != {running.url!r}
        """
    )
    run_alone(pytester).assert_outcomes(passed=1)


def test_the_port_can_be_chosen_and_a_taken_one_is_an_error_that_says_so(
    pytester: pytest.Pytester, running: MockServer
) -> None:
    pytester.makepyfile("def test_it(qashier_mock): pass")
    port = running.url.rpartition(":")[2]
    result = run_alone(pytester, f"--qashier-mock-port={port}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*the mock could not be started: cannot listen on 127.0.0.1:{port}:*"])


@pytest.mark.parametrize("how", ["option", "ini"])
def test_a_running_mock_can_be_used(pytester: pytest.Pytester, running: MockServer, how: str) -> None:
    pytester.makepyfile(
        f"""
        import sys

        def test_one(qashier_mock, qashier_mock_config):
            assert qashier_mock.base_url == {running.url!r}
            assert qashier_mock.sessions == []
            qashier_mock.pay(qashier_mock.create_session()["id"])
            assert qashier_mock.webhooks.wait_for("checkout.session.completed", timeout=30)
        """
    )
    if how == "ini":
        pytester.makeini(f"{INI}\nqashier_mock_url = {running.url}/\nqashier_mock_strict = true")
    arguments = [f"--qashier-mock-url={running.url}"] if how == "option" else []
    # Twice: an account is fresh although the mock remembers the first run.
    for _ in range(2):
        run_alone(pytester, *arguments).assert_outcomes(passed=1)


def test_a_mock_that_is_not_there_is_an_error_that_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(qashier_mock): pass")
    result = run_alone(pytester, "--qashier-mock-url=http://127.0.0.1:1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*no mock answers at http://127.0.0.1:1 (start one with qashier-mock serve): *no answer*"]
    )
    result = run_alone(pytester, "--qashier-mock-url=nonsense")
    result.stdout.fnmatch_lines(["*the address of a mock looks like http://127.0.0.1:4010, not like 'nonsense'*"])


def test_an_option_that_is_no_number_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI + "qashier_mock_seed = many")
    pytester.makepyfile("def test_it(qashier_mock): pass")
    run_alone(pytester).stdout.fnmatch_lines(["*qashier_mock_seed is a whole number, not 'many'*"])


def test_the_config_fixture_is_the_override_point(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        from dataclasses import replace

        @pytest.fixture(scope="session")
        def qashier_mock_config(qashier_mock_config):
            return replace(qashier_mock_config, strict=True, seed=11)
        """
    )
    pytester.makepyfile("def test_it(qashier_mock): assert qashier_mock.settings['strict'] is True")
    run_alone(pytester).assert_outcomes(passed=1)


# the report of a failing test

FAILING = """
import httpx
import pytest

def post(qashier_mock, body, **headers):
    url = qashier_mock.base_url + "/checkout/sessions"
    return httpx.post(url, auth=qashier_mock.auth, json=body, headers=headers)

def shop(qashier_mock):
    qashier_mock.freeze(at=1_767_225_600)
    qashier_mock.deliver_webhooks_to("http://127.0.0.1:1/hook?token=hook-token", secret="whsec_of_the_shop")
    session = qashier_mock.create_session(
        idempotency_key="order-1", success_url=f"https://shop.example/?key={qashier_mock.api_key}"
    )
    qashier_mock.pay(session["id"])
    qashier_mock.flush()
    post(qashier_mock, {"note": qashier_mock.api_key + " whsec_of_the_shop"})
"""


def test_a_failing_test_reports_what_the_account_has_seen(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(FAILING + "def test_it(qashier_mock):\n    shop(qashier_mock)\n    assert False\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- qashier_mock requests -*",
            "200 POST /checkout/sessions * ms  Idempotency-Key order-1  req_*",
            "400 POST /checkout/sessions * ms  req_*",
            "    sent: {*",
            "    parameter_missing: `line_items` is required*",
            "*- qashier_mock events -*",
            "2026-01-01 00:00:00 checkout.session.completed cs_test_*  paid  evt_*",
            "*- qashier_mock deliveries -*",
            "2026-01-01 00:00:00 failed, attempt 1: checkout.session.completed cs_test_* to http://127.0.0.1:1/hook *",
            "    ConnectionRefusedError:*",
            "    next try 2026-01-01 00:00:10",
            "*- qashier_mock advice -*",
            "webhook_never_acknowledged: *",
        ]
    )


@pytest.mark.parametrize("arguments", [[], ["--showlocals"], ["-vv"]])
def test_no_report_shows_a_secret(pytester: pytest.Pytester, run: Run, arguments: list[str]) -> None:
    pytester.makepyfile(FAILING + "def test_it(qashier_mock):\n    shop(qashier_mock)\n    assert False")
    with pytest.MonkeyPatch.context() as patch:
        keys = []
        account = testing.QashierMockServer.account

        def remembering(self: testing.QashierMockServer, name: str = "") -> testing.QashierMock:
            made = account(self, name)
            keys.append(made.api_key)
            return made

        patch.setattr(testing.QashierMockServer, "account", remembering)
        result = run("-o", "qashier_mock_report=100", *arguments)
    result.assert_outcomes(failed=1)
    (key,) = keys
    sections = result.stdout.str().partition("qashier_mock requests")[2]
    assert "sent: " in sections
    for secret in (key, "whsec_of_the_shop", "hook-token"):
        assert secret not in sections


@pytest.mark.parametrize("arguments", [[], ["--full-trace", "--showlocals"]])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("fault('explode')", "*MockRefused: POST /_mock/v1/faults was refused with 400 parameter_invalid*"),
        ("pay('cs_test_none')", "*MockRefused: POST * was refused with 404 session_not_found*"),
        ("webhooks.wait_for(timeout=0)", "*WebhookTimeout: no webhook came within 0 s (none came)"),
        ("advance(hours=-1)", "*ValueError: a clock moves forward by whole seconds, not by -3600"),
    ],
)
def test_a_call_that_fails_is_shown_in_the_test_and_without_the_key(
    pytester: pytest.Pytester, run: Run, call: str, message: str, arguments: list[str]
) -> None:
    pytester.makepyfile(
        f"""
        from base64 import b64encode

        def test_it(qashier_mock):
            print("key=" + qashier_mock.api_key, "basic=" + b64encode(f"{{qashier_mock.api_key}}:".encode()).decode())
            qashier_mock.{call}
        """
    )
    result = run(*arguments)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*def test_it(qashier_mock):", f">*qashier_mock.{call}", f"E {message}"])
    text = result.stdout.str()
    if not arguments:
        assert "client.py" not in text
        assert "receiver.py" not in text
    key, basic = said(result, "key")[-1], said(result, "basic")[-1]
    assert key.startswith("sk_test_")
    assert text.count(key) == text.count(basic) == 1


def test_a_failing_setup_and_teardown_report_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def shop(qashier_mock):
            qashier_mock.create_session(idempotency_key="in-setup")
            raise RuntimeError("no shop today")

        @pytest.fixture
        def closing(qashier_mock):
            yield
            qashier_mock.create_session(idempotency_key="in-teardown")
            raise RuntimeError("cannot close")

        def test_setup(shop): pass
        def test_teardown(closing): pass
        """
    )
    result = run_alone(pytester)
    result.assert_outcomes(passed=1, errors=2)
    text = result.stdout.str()
    assert text.count("qashier_mock requests") == 2
    assert text.index("in-setup") < text.rindex("in-teardown")


def test_an_account_that_nobody_used_says_so(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("def test_it(qashier_mock): assert False")
    result = run()
    result.stdout.fnmatch_lines(["*- qashier_mock requests -*", "none: nothing has used this account*"])
    assert "qashier_mock events" not in result.stdout.str()


def test_long_journals_are_cut_and_reports_can_be_switched_off(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        def test_it(qashier_mock):
            for _ in range(5):
                qashier_mock.create_session()
            assert False
        """
    )
    result = run("-o", "qashier_mock_report=2")
    result.stdout.fnmatch_lines(["the last 2 of 5 requests:", "200 POST *", "200 POST *"])
    assert result.stdout.str().count("200 POST") == 2
    assert "qashier_mock requests" not in run("-o", "qashier_mock_report=0").stdout.str()


def test_tests_that_pass_or_ask_for_nothing_have_no_report(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("def test_one(qashier_mock): pass\ndef test_two(): assert False")
    result = run("-rA")
    result.assert_outcomes(passed=1, failed=1)
    assert "qashier_mock requests" not in result.stdout.str()


def test_a_mock_that_is_gone_does_not_spoil_the_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(qashier_mock, qashier_mock_server):
            qashier_mock.webhooks
            qashier_mock_server._server.stop()
            assert False
        """
    )
    result = run_alone(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- qashier_mock journal -*", "not to be had: *"])


# event loops


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_an_async_test_talks_to_the_server_and_receives_in_its_own_loop(
    pytester: pytest.Pytester, run: Run, mark: str
) -> None:
    pytester.makepyfile(
        f"""
        import asyncio
        import httpx
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.{mark}
        async def test_it(qashier_mock):
            came = []

            async def receive(reader, writer):
                await reader.readuntil(b"\\r\\n\\r\\n")
                came.append(1)
                writer.write(b"HTTP/1.1 204 OK\\r\\nConnection: close\\r\\n\\r\\n")
                await writer.drain()
                writer.close()
                await writer.wait_closed()

            async with await asyncio.start_server(receive, "127.0.0.1", 0) as shop:
                port = shop.sockets[0].getsockname()[1]
                await qashier_mock.afreeze()
                qashier_mock.deliver_webhooks_to(f"http://127.0.0.1:{{port}}/")
                async with httpx.AsyncClient(base_url=qashier_mock.base_url, auth=qashier_mock.auth) as client:
                    session = qashier_mock.create_session()
                    answer = await client.get("/checkout/sessions/" + session["id"])
                    assert answer.json() == session
                assert (await qashier_mock.aadvance(hours=25))["expired"] == [session["id"]]
                assert came == [1]
                await qashier_mock.adeliver_again(qashier_mock.events[0]["id"])
                assert came == [1, 1]
                assert await qashier_mock.aflush() == []
                await qashier_mock.arelease()
                event = await qashier_mock.webhooks.await_for("checkout.session.expired", timeout=30)
                assert event["data"]["object"]["id"] == session["id"]

        @pytest.mark.{mark}
        @pytest.mark.parametrize("qashier_webhook_disorder", ["replayed"], indirect=True)
        async def test_disorder(qashier_mock, qashier_webhook_disorder):
            qashier_mock.pay(qashier_mock.create_session()["id"])
            await qashier_webhook_disorder.asettle()
            assert len(qashier_mock.webhooks.received) == 2
        """
    )
    run().assert_outcomes(passed=2)


def test_a_server_without_pytest_is_a_context_manager() -> None:
    server = testing.QashierMockServer()
    assert repr(server) == "<QashierMockServer at no address>"
    with pytest.raises(RuntimeError, match="not started"):
        server.account()
    with server:
        # The second is what a test gets that is run again.
        accounts = [server.account("test_shop.py::test_it") for _ in range(2)]
        for account in accounts:
            assert account.create_session()["url"].startswith(server.base_url)
        assert [len(each.sessions) for each in accounts] == [1, 1]
        receiver = accounts[0].webhooks
    server.stop()
    with pytest.raises(ConnectionRefusedError):  # what nobody closed is closed with the server
        socket.create_connection(("127.0.0.1", urlsplit(receiver.url).port or 0))
