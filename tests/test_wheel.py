"""The wheel carries what people install: both houses, the documents, the pages, the types and the entry points."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = (ROOT / "qashier_mock", ROOT / "contract_tests" / "qashier_contract")


pytest_plugins = ["wheel_fixtures"]


def dist_info(installed: Path, name: str) -> str:
    (path,) = installed.glob(f"qashier_mock-*.dist-info/{name}")
    return path.read_text()


def source_files() -> set[str]:
    """What the packages consist of in the checkout, but for what running them leaves behind."""
    return {
        str(path.relative_to(package.parent))
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_it_is_pure_python_for_any_platform(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


def test_every_file_of_both_packages_is_in_it_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if not name.endswith("/")}
    documents = {f"qashier_mock/openapi/{path.name}" for path in (ROOT / "openapi").iterdir()}
    assert {name for name in carried if ".dist-info/" not in name} == source_files() | documents


@pytest.mark.parametrize("name", ["qashier.yaml", "control.yaml"])
def test_it_carries_the_documents_unchanged(installed: Path, name: str) -> None:
    assert (installed / "qashier_mock" / "openapi" / name).read_bytes() == (ROOT / "openapi" / name).read_bytes()


def test_it_carries_the_pages_and_the_types(installed: Path) -> None:
    assert (installed / "qashier_mock" / "py.typed").is_file()
    assert list((installed / "qashier_mock" / "web" / "templates").rglob("*.html"))


def test_its_entry_points_are_the_command_and_the_plugin(installed: Path) -> None:
    entry_points = ConfigParser()
    entry_points.read_string(dist_info(installed, "entry_points.txt"))
    assert {section: dict(entry_points[section]) for section in entry_points.sections()} == {
        "console_scripts": {"qashier-mock": "qashier_mock.cli:main"},
        "pytest11": {"qashier_mock": "qashier_mock.pytest_plugin"},
    }


def test_its_metadata_names_licence_python_and_extras(installed: Path) -> None:
    metadata = Parser().parsestr(dist_info(installed, "METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {"all", "contract", "postgres"}
    assert dist_info(installed, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()


def test_no_link_of_its_readme_leads_to_a_file_that_an_index_does_not_have(installed: Path) -> None:
    text = Parser().parsestr(dist_info(installed, "METADATA")).get_payload()
    assert isinstance(text, str)
    assert "Test your shop" in text
    assert re.findall(r"\]\((?!https?://)[^)]+\)", text) == []


def test_links_of_the_readme_lead_to_the_source_once_it_has_an_address() -> None:
    for_an_index = runpy.run_path(str(ROOT / "hatch_build.py"))["for_an_index"]
    shown = "![A page](docs/a.png)\n\nSee [the contract](docs/contract.md) and [this](https://a.example)."
    assert for_an_index(shown, None) == "See the contract and [this](https://a.example)."
    assert for_an_index(shown, "https://b.example/q").startswith(
        "![A page](https://b.example/q/raw/main/docs/a.png)\n\n"
    )
    assert "(https://b.example/q/blob/main/docs/contract.md)" in for_an_index(shown, "https://b.example/q")


def test_what_it_carries_runs_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The command finds its documents where the wheel has put them."""
    # -P keeps the working folder off the path; PYTHONPATH stands before the link to the checkout.
    script = (
        "import pathlib, runpy, sys, qashier_mock\n"
        "print(pathlib.Path(qashier_mock.__file__).parent, flush=True)\n"
        "sys.argv = ['qashier-mock', 'spec', '--format', 'yaml']\n"
        "runpy.run_module('qashier_mock', run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    run = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    place, _, document = run.stdout.partition("\n")
    assert Path(place) == installed / "qashier_mock"
    assert document == (ROOT / "openapi" / "qashier.yaml").read_text()
