"""How modules look: how long they and their functions are, and what they import for types alone."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = {"qashier_mock": 450, "contract_tests/qashier_contract": 500}
MOST_LINES_OF_A_FUNCTION = 60
LAZY = {"qashier_mock", "qashier_contract"}
"""Packages that resolve each name on first use: importing a name costs more than the package."""


def long_modules(house: Path, most: int) -> list[str]:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in sorted(house.rglob("*.py"))}
    return [f"{path}: {length} lines" for path, length in lengths.items() if length > most]


def long_functions(house: Path, most: int) -> list[str]:
    return [
        f"{path}:{function.lineno} {function.name}: {length} lines"
        for path in sorted(house.rglob("*.py"))
        for function in functions_of(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > most
    ]


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("house", MOST_LINES)
def test_no_module_is_too_long(house: str) -> None:
    assert (ROOT / house).is_dir()
    assert long_modules(ROOT / house, MOST_LINES[house]) == []


CHECKER = "contract_tests/qashier_contract"
ROOMS = [f"{CHECKER}/{room}" for room in ("clauses", "drive", "ledger", "trace")]


@pytest.mark.parametrize("house", ["qashier_mock", *ROOMS])
def test_no_function_is_too_long(house: str) -> None:
    assert long_functions(ROOT / house, MOST_LINES_OF_A_FUNCTION) == []


def test_what_is_a_line_too_long_is_found(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "module.py").write_text(
        "def short():\n    pass\n\nclass A:\n    async def long(self):\n        1\n        2\n"
    )
    assert long_modules(tmp_path, 7) == []
    (found,) = long_modules(tmp_path, 6)
    assert found.endswith("module.py: 7 lines")
    (found,) = long_functions(tmp_path, 2)
    assert found.endswith("module.py:5 long: 3 lines")


def imports_for_types(module: ast.Module) -> Iterator[str]:
    """What stands under `if TYPE_CHECKING:` although importing it costs nothing."""
    for block in module.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for each in block.body:
                names = [each.module or ""] if isinstance(each, ast.ImportFrom) else []
                names += [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
                for name in names:
                    if name.partition(".")[0] in sys.stdlib_module_names or name.startswith("qashier_mock.core."):
                        yield ast.unparse(each)


@pytest.mark.parametrize("house", ["qashier_mock", "tests", "benchmarks", *ROOMS])
def test_what_costs_nothing_to_import_is_not_imported_for_types_alone(house: str) -> None:
    found = {
        str(path): each
        for path in sorted((ROOT / house).rglob("*.py"))
        if path.name != "unpatched.py"  # its names stand for copies, which only the type checker may take for these
        for each in imports_for_types(ast.parse(path.read_text("utf-8")))
    }
    assert found == {}


def imported_twice(module: ast.Module) -> Iterator[str]:
    """What is imported for types alone from a module that is imported anyway, unless that resolves names later."""
    anyway = {each.module for each in module.body if isinstance(each, ast.ImportFrom)} - LAZY
    for block in module.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            yield from (ast.unparse(each) for each in block.body if getattr(each, "module", None) in anyway)


@pytest.mark.parametrize("house", ["qashier_mock", "tests", "benchmarks"])
def test_a_module_is_imported_in_one_place(house: str) -> None:
    found = {
        str(path): each
        for path in sorted((ROOT / house).rglob("*.py"))
        for each in imported_twice(ast.parse(path.read_text("utf-8")))
    }
    assert found == {}


def test_a_module_that_is_imported_in_two_places_is_found() -> None:
    text = "from a import b\nfrom qashier_contract import c\nif TYPE_CHECKING:\n"
    text += "    from a import d\n    from e import f\n    from qashier_contract import g"
    assert list(imported_twice(ast.parse(text))) == ["from a import d"]


def test_an_import_for_types_alone_is_found() -> None:
    block = "if TYPE_CHECKING:\n    import os\n    from qashier_mock.core.model import Event\n    import starlette"
    assert list(imports_for_types(ast.parse(block))) == ["import os", "from qashier_mock.core.model import Event"]
