"""`qashier-mock drill`: a right shop passes every drill, and each fault of a shop fails one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drill_shop import FAULTS, SECRET, ConfirmingShop, TrustingShop, open_shop

from qashier_mock import MockAccount, MockServer
from qashier_mock.cli import USAGE, main
from qashier_mock.drill import DRILLS, Outcome, hold


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def account(mock: MockServer, request: pytest.FixtureRequest) -> Iterator[MockAccount]:
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    with MockAccount(mock.url, f"sk_test_{name}") as made:
        yield made


def drilled(shop: ConfirmingShop) -> dict[str, Outcome]:
    with open_shop(shop):
        return {outcome.drill.name: outcome for outcome in hold(shop, shop.account, DRILLS.values())}


@pytest.mark.parametrize("kind", [ConfirmingShop, TrustingShop])
def test_a_right_shop_passes_every_drill(account: MockAccount, kind: type[ConfirmingShop]) -> None:
    assert {
        name: outcome.wrong for name, outcome in drilled(kind(account)).items() if outcome.verdict != "passed"
    } == {}


CAUGHT_BY = {
    "ships twice": "twice",
    "trusts forged events": "forged",
    "misses lost ones": "lost",
    "ships expired ones": "expired",
    "ships at order": "unpaid",
    "forgets when restarted": "restart",
    "answers 200 while the provider is down": "provider-down",
}


PAIRS = [(ConfirmingShop, fault) for fault in FAULTS]
PAIRS += [(TrustingShop, fault) for fault in FAULTS if fault != "answers 200 while the provider is down"]


@pytest.mark.parametrize(("kind", "fault"), PAIRS)
def test_each_fault_of_a_shop_fails_its_drill(account: MockAccount, kind: type[ConfirmingShop], fault: str) -> None:
    shop = kind(account, fault)
    if fault == "answers 200 while the provider is down":
        shop.abilities = frozenset({"restart"})  # reconciling would make up for it
    outcome = drilled(shop)[CAUGHT_BY[fault]]
    assert outcome.verdict == "failed"
    assert "The order of cs_test_" in outcome.wrong[0]
    assert outcome.steps


def test_what_a_shop_cannot_do_is_not_held_and_says_which_option_to_give(account: MockAccount) -> None:
    shop = ConfirmingShop(account)
    shop.abilities = frozenset()
    outcomes = drilled(shop)
    assert {name for name, outcome in outcomes.items() if outcome.verdict == "skipped"} == {
        "lost",
        "badly-signed",
        "restart",
    }
    assert outcomes["restart"].skipped == "give --restart to hold it"


# The command, with real commands for the shop


def shell(code: str) -> str:
    return f'{sys.executable} -c "{code}"'


ORDER = (
    "import os; from qashier_mock import MockAccount; "
    "MockAccount(os.environ['MOCK'], os.environ['QASHIER_API_KEY']).create_session()"
)


@pytest.fixture
def environment(account: MockAccount, monkeypatch: pytest.MonkeyPatch) -> MockAccount:
    monkeypatch.setenv("MOCK", account.base_url)
    monkeypatch.setenv("QASHIER_API_KEY", account.api_key)
    monkeypatch.setenv("QASHIER_WEBHOOK_SECRET", SECRET)
    return account


def fulfilled(shipments: Path) -> str:
    code = f"import sys; print(open(r'{shipments}').read().split().count(sys.argv[1]))"
    return shell(code) + " {session_id}"


def test_the_command_drills_writes_its_reports_and_removes_its_endpoint(
    environment: MockAccount, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipments = tmp_path / "shipments"
    shipments.write_text("")

    class Shop(ConfirmingShop):
        def _ship(self, session_id: str) -> None:
            with shipments.open("a") as file:
                file.write(f"{session_id}\n")

    with open_shop(Shop(environment)) as shop:
        environment.stop_delivering_to(environment.webhook_endpoints[0]["id"])
        reports = ["--report", f"json={tmp_path / 'r.json'}", "--report", f"junit={tmp_path / 'r.xml'}"]
        options = ["--url", environment.base_url, "--webhook-url", shop.url, "--patience", "5", *reports]
        options += ["--only", "in-order", "--only", "expired", "--only", "restart"]
        code = main(["drill", "--order", shell(ORDER), "--fulfilled", fulfilled(shipments), *options])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "2 passed, 0 failed, 1 not held" in printed
    assert environment.webhook_endpoints == []
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "passed"
    assert 'skipped="1"' in (tmp_path / "r.xml").read_text()


def test_a_shop_that_never_fulfils_fails_with_its_story(
    environment: MockAccount, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shipments").write_text("")
    with open_shop(ConfirmingShop(environment)):
        options = ["--url", environment.base_url, "--patience", "0", "--only", "in-order"]
        code = main(["drill", "--order", shell(ORDER), "--fulfilled", fulfilled(tmp_path / "shipments"), *options])
    printed = capsys.readouterr().out
    assert code == 1
    assert "was fulfilled 0 times, not 1." in printed
    steps = (
        "The customer paid",
        "Webhook attempt 1 of checkout.session.completed: 200.",
        "Eleven minutes passed",
        "fulfilled 0",
    )
    places = [printed.rfind(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places), "steps are told in the order of their time"


@pytest.mark.parametrize(
    ("order", "counted", "says"),
    [
        ("true", "echo 1", "created no checkout session in this account"),
        ("exit 3", "echo 1", "--order ended with exit code 3"),
        (shell(ORDER), "echo many", "--fulfilled must print a whole number on its last line, not 'many'"),
    ],
)
def test_a_command_that_does_not_do_its_part_is_named(
    environment: MockAccount, capsys: pytest.CaptureFixture[str], order: str, counted: str, says: str
) -> None:
    with open_shop(ConfirmingShop(environment)):
        url = ["--url", environment.base_url, "--only", "in-order", "--patience", "0"]
        assert main(["drill", "--order", order, "--fulfilled", counted, *url]) == 2
    assert says in capsys.readouterr().err


def test_an_account_without_an_endpoint_is_told_how_to_get_one(
    environment: MockAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drill", "--order", "true", "--fulfilled", "echo 1", "--url", environment.base_url]) == 2
    assert "give --webhook-url URL" in capsys.readouterr().err


def test_a_drill_that_does_not_exist_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--only", "lots", "--list"]) == 2
    assert "there are in-order, twice" in capsys.readouterr().err


def test_a_misspelt_placeholder_is_refused_before_the_shop_is_blamed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--order", "true", "--fulfilled", "count {sessionid}"]) == USAGE
    assert "write {session_id}" in capsys.readouterr().err
