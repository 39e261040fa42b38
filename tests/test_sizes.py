"""How long a module and a function may be: what is longer has a second subject, and somebody looks for it in vain."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = {"qashier_mock": 450, "contract_tests/qashier_contract": 500}
MOST_LINES_OF_A_FUNCTION = 60


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


def test_no_function_of_the_mock_is_too_long() -> None:
    assert long_functions(ROOT / "qashier_mock", MOST_LINES_OF_A_FUNCTION) == []


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
