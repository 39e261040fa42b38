"""What the plugin reports of a failing test."""

from __future__ import annotations

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401
from plugin_harness import Run, run_alone, said

import qashier_mock.server  # noqa: F401
from qashier_mock import MockServer, testing

pytest_plugins = ["pytester", "plugin_fixtures"]
pytestmark = pytest.mark.usefixtures("project")


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


def test_a_report_links_to_the_inspector_where_the_mock_outlives_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(qashier_mock): assert not qashier_mock.create_session()")
    with MockServer() as server:
        result = run_alone(pytester, f"--qashier-mock-url={server.url}")
        result.stdout.fnmatch_lines(["*- qashier_mock inspector -*", f"{server.url}/_mock/accounts/acct_*"])
    assert "qashier_mock inspector" not in run_alone(pytester).stdout.str()


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
    result.stdout.fnmatch_lines(["*- qashier_mock journal -*", "unavailable: *"])
