"""Projects that test with other tools beside the plugin: each in a process of its own, with what the wheel installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytest_plugins = ["wheel_fixtures"]

PROJECTS: Final = Path(__file__).parent / "neighbours"
PATIENCE: Final = 120


@pytest.mark.parametrize("name", sorted(path.name for path in PROJECTS.iterdir() if path.is_dir()))
def test_a_project_beside_other_tools_passes(name: str, installed: Path, tmp_path: Path) -> None:
    shutil.copytree(PROJECTS / name, tmp_path, dirs_exist_ok=True)
    shutil.copy(PROJECTS / "shop.py", tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin"],
        cwd=tmp_path,
        # Each project has the plugins that its pytest.ini names, and not all that this environment has.
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
