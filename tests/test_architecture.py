"""What docs/architecture.md and docs/glossary.md say is so: floors, files, where JSON is spelled, each word once."""

import re
import runpy
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"


def test_the_picture_is_what_the_import_rules_say() -> None:
    written = runpy.run_path(str(ROOT / "tools" / "architecture.py"))["written"]
    assert PAGE.read_text("utf-8") == written(), "run: python tools/architecture.py"


def test_the_page_fits_on_one_screen() -> None:
    assert len(PAGE.read_text("utf-8").splitlines()) <= 75


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    words = re.findall(r"(?m)^\| ([a-zA-Z ]+) \| [A-Z]", (ROOT / "docs" / "glossary.md").read_text("utf-8"))
    assert len(words) >= 23
    assert words == sorted(set(words), key=str.lower)


def test_json_field_names_are_spelled_in_two_modules_only() -> None:
    """A handler hands a body on and does not look into it."""
    package = ROOT / "qashier_mock"
    top = [package / f"{name}.py" for name in ("accounts", "app", "clocks", "hooks", "service", "webhooks")]
    others = [*top, *(package / "core").glob("*.py"), *(package / "web").glob("*.py")]
    found = {
        f"{path.name}: {line.strip()}"
        for path in others
        if path.name not in {"wire.py", "snapshots.py"}
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"""\bbody(\[|\.get\()["']""", line)
    }
    assert found == set()


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:core|web|openapi|docs)/[a-z_.]+)`", PAGE.read_text("utf-8"))
    assert len(named) > 5
    assert [name for name in named if not ((ROOT / "qashier_mock" / name).exists() or (ROOT / name).exists())] == []


HOUSES = (
    ("qashier_mock", ("core", "stores", "pipeline", "web"), ("cli", "bugs", "testing"), 80),
    ("contract_tests/qashier_contract", ("ledger", "trace"), ("clauses", "drive", "report"), 50),
)


@pytest.mark.parametrize(("house", "rooms", "uniform", "least"), HOUSES)
def test_every_module_has_its_place_in_the_rooms(
    house: str, rooms: Sequence[str], uniform: Sequence[str], least: int
) -> None:
    """Of a uniform room, with one module per command, group of clauses, form of report …, the room itself is named."""
    tree = re.search(rf"\n{house}/ .*\n(?:  .*\n)+", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert tree is not None
    assert [room for room in (*rooms, *uniform) if f"\n  {room}/" not in tree[0]] == []
    modules = [each for room in (".", *rooms) for each in (ROOT / house / room).glob("*.py")]
    named = set(re.findall(r"[a-z_]+\.py", tree[0]))
    assert len(modules) > least
    assert sorted({each.name for each in modules if not each.name.startswith("_")} - named) == []
    assert sorted(named - {each.name for each in (ROOT / house).rglob("*.py")}) == [], "modules that are gone"
