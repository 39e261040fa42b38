"""What configures the plugin: the marker, options, ini keys, the fixture."""

from __future__ import annotations

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401
from plugin_harness import INI, Run, run_alone, said

import qashier_mock.server  # noqa: F401
from qashier_mock import MockServer

pytest_plugins = ["pytester", "plugin_fixtures"]
pytestmark = pytest.mark.usefixtures("project")


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
        ("frozen_at='noon'", "*frozen_at: 'noon' is not a time in ISO 8601*"),
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
