"""Webhooks in tests that use the plugin: the receiver, and disorder."""

from __future__ import annotations

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401
from plugin_harness import Run, said

import qashier_mock.server  # noqa: F401
from qashier_mock import pytest_plugin, testing

pytest_plugins = ["pytester", "plugin_fixtures"]
pytestmark = pytest.mark.usefixtures("project")


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
            qashier_mock.flush()  # returns nothing of an attempt that was made before
            assert {each["outcome"] for each in qashier_mock.deliveries} == {"failed"}
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
