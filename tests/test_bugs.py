"""The known defects: each is visible from outside, in its own clause, and the correct mock shows none of them."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from defect_caller import Broken, Mock, line, order
from defect_probes import PROBES

from qashier_mock import MockServer, Settings
from qashier_mock.bugs import BUGS, Bug, UnknownBug, find
from qashier_mock.bugs.changes import method, rule, transaction
from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import Change, defect
from qashier_mock.core.sources import SeededIds
from qashier_mock.documents import documents_folder
from qashier_mock.pipeline.document import Document, precompile

ROOT = Path(__file__).parents[1]
CLAUSES = re.findall(r"^\| ([A-Z]+-[0-9]+) \|", (ROOT / "docs" / "contract.md").read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def _documents_read_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile the documents once: a mock is then made in a tenth of the time, and there is one for each defect."""
    folder = tmp_path_factory.mktemp("openapi")
    for source in documents_folder().glob("*.yaml"):
        shutil.copy(source, folder)
    for name in ("qashier.yaml", "control.yaml"):
        precompile(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qashier_mock.app.documents_folder", lambda: folder)
        yield


@pytest.fixture(scope="module")
def correct() -> Mock:
    return Mock()


@pytest.mark.parametrize("clause", PROBES)
def test_the_correct_mock_keeps_the_clause(correct: Mock, clause: str) -> None:
    correct.begin()
    asyncio.run(PROBES[clause](correct))
    assert max(correct.statuses) < 500


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_a_defect_breaks_its_clause(bug: Bug) -> None:
    mock = Mock(bug.name)
    with pytest.raises(Broken):
        asyncio.run(PROBES[bug.clause](mock))
    assert bug.clause == "HTTP-6" or max(mock.statuses, default=200) < 500, "the defect itself is broken"


def test_every_clause_has_a_defect_and_a_probe() -> None:
    assert len(CLAUSES) == len(set(CLAUSES))
    assert {bug.clause for bug in BUGS.values()} == PROBES.keys() == set(CLAUSES)


def test_most_clauses_have_several_defects() -> None:
    several = [clause for clause in CLAUSES if sum(bug.clause == clause for bug in BUGS.values()) > 1]
    assert len(several) > 80


def test_names_are_sorted_and_can_be_typed() -> None:
    assert list(BUGS) == sorted(BUGS)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= 45 for name in BUGS)
    assert all(bug.name == name for name, bug in BUGS.items())


def test_each_summary_is_a_sentence_of_its_own() -> None:
    summaries = [bug.summary for bug in BUGS.values()]
    assert len(set(summaries)) == len(summaries)
    assert all(summary[0] in "`/" + summary[0].upper() and summary.endswith(".") for summary in summaries)


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UnknownBug, match=r"'float-money'; did you mean [a-z0-9-]+\?"):
        find("float-money")
    with pytest.raises(UnknownBug, match=r"did you mean oldest-first\?"):
        Mock("oldest_first")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="two defects are called oldest-first"):

        @defect("LIS-4")
        def oldest_first() -> Change:
            """Again."""
            return lambda _parts: None


def test_a_defect_stays_in_its_own_app(correct: Mock) -> None:
    broken = Mock("oldest-first", "amounts-are-floats", "signature-in-hex")
    for clause in ("LIS-4", "AMT-7", "EVT-7"):
        correct.begin()
        asyncio.run(PROBES[clause](correct))
        broken.begin()
        with pytest.raises(Broken):
            asyncio.run(PROBES[clause](broken))


@pytest.mark.parametrize("bug", [bug.name for bug in BUGS.values() if bug.clause == "EXP-7"])
def test_a_command_is_answered_whatever_a_defect_thinks_of_deadlines(bug: str) -> None:
    mock = Mock(bug)

    async def ask() -> None:
        session = await mock.create()
        await mock.advance(86_400)
        await asyncio.wait_for(mock.try_expire(session), 10)  # it would begin again for ever

    asyncio.run(ask())


def test_defects_add_up() -> None:
    """Several of one method, of one function, of one schema, of the pages and of the wire, one of them named twice."""
    names = (
        "default-life-of-23-hours",
        "total-without-the-last-line",
        "line-100-refused",
        "quantity-10001-accepted",
        "back-link-missing",
        "complete-page-says-thanks",
        "no-allow",
        "request-id-missing-on-lists",
        "no-allow",
    )
    mock = Mock(*names)
    for name in names:
        mock.begin()
        with pytest.raises(Broken):
            asyncio.run(PROBES[BUGS[name].clause](mock))
    for clause in ("CRE-1", "AMT-2", "LIS-1", "EXP-1", "PAY-1", "EVT-2", "IDM-1"):
        mock.begin()
        asyncio.run(PROBES[clause](mock))


def test_a_defect_is_there_under_the_prefix_of_production_too() -> None:
    async def total(prefix: str) -> Any:
        mock = Mock("any-media-type-accepted", "total-without-quantities")
        body = order(line(amount=100, quantity=3))
        seen = await mock.send("POST", f"{prefix}/checkout/sessions", body, content_type="text/plain")
        return seen.json["amount_total"]

    assert [asyncio.run(total(prefix)) for prefix in ("", "/v3/payment/qpay")] == [100, 100]


def test_a_defect_of_code_that_has_moved_is_an_error() -> None:
    """A defect that finds nothing to break would be a correct mock under a false name."""
    for word in (rule, transaction):
        with pytest.raises(AttributeError, match="price_of"):
            word("price_of")(lambda inner: inner)(Parts())
    parts = Parts()
    method("service", "price_of")(lambda _parts, inner: inner)(parts)
    with pytest.raises(AttributeError, match="price_of"):
        parts.install(documents=[(Document({}), ())], pages={}, ids=SeededIds(1), service=Mock().app.service)


def test_a_mock_without_defects_does_not_know_of_them() -> None:
    code = (
        "import sys; from qashier_mock.app import MockApp, Settings; MockApp(Settings());"
        "print([name for name in sys.modules if name.startswith('qashier_mock.bugs')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_defects_over_a_real_connection() -> None:
    """Where a request that waits in the middle, and one that is hung up on, are more than a function's return."""
    settings = Settings(seed=7, bugs=("two-expires-at-once", "too-large-hangs-up", "opening-the-page-pays"))

    async def converse(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, auth=("sk_test_bugs", "")) as client:
            session = (await client.post("/checkout/sessions", json=order())).json()
            expire = f"/checkout/sessions/{session['id']}/expire"
            assert [(await client.post(expire)).status_code for _ in range(2)] == [200, 409]
            with pytest.raises(httpx.TransportError):
                await client.post("/checkout/sessions", content=b" " * 2**22)
            other = (await client.post("/checkout/sessions", json=order())).json()
            assert (await client.get(f"/pay/{other['id']}")).status_code == 200
            assert (await client.get(f"/checkout/sessions/{other['id']}")).json()["status"] == "complete"

    with MockServer(settings) as server:
        asyncio.run(converse(server.url))
