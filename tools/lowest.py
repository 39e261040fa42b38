"""Run the tests with the oldest versions that `pyproject.toml` allows, in an environment of its own.

    .venv/bin/python tools/lowest.py [pytest arguments]

Run by `make lowest`. The direct dependencies are resolved to their lowest versions by uv; the tools of the tests are
not, so the tests of what asks for newer frameworks stay out. Further arguments go to pytest. Exit code: pytest's.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
NEWER: Final = re.compile(
    "httpretty|mocket|openapi-(generator|python)|playwright|pook|pytest-httpx|respx|responses|vcrpy"
)
"""Tools of the tests that ask for newer frameworks than the oldest ones."""
PASSES: Final = {
    # Schemathesis asks for newer versions than the mock does, so the mock is tested without it as well.
    "postgres": (
        "api", "control", "test_client.py", "test_cli.py", "test_delivery.py", "test_hosted_page.py",
        "test_outgoing.py", "test_pipeline.py", "test_pipeline_bodies.py", "test_pipeline_loading.py",
        "test_pipeline_parameters.py", "test_pipeline_replies.py", "test_protocol.py", "test_receiver.py",
        "test_server.py", "test_sqlite.py", "test_store_outboxes.py", "test_stores.py", "test_webhooks.py",
    ),
    "all": ("test_clauses.py", "test_schemathesis.py", "test_transport.py"),
}  # fmt: skip
"""The tests that run with each extra."""
OLD_NAMES: Final = "ignore:_pytest.python.CallSpec2 has been renamed:pytest.PytestRemovedIn10Warning"
"""What pytest says of the pytest plugin of an old anyio."""


def main(arguments: list[str]) -> int:
    """Make an environment for each pass and run its tests in it."""
    return max(run(extra, tests, arguments) for extra, tests in PASSES.items())


def run(extra: str, names: Sequence[str], arguments: Sequence[str]) -> int:
    """Run tests of these names with the lowest versions of the project and an extra; return pytest's exit code."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    tools = ["hypothesis", *(each for each in pyproject["dependency-groups"]["test"] if not NEWER.match(each))]
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "lowest"
        uv("venv", "--quiet", "--python", sys.executable, str(environment))
        python = next(
            path for path in (environment / "bin/python", environment / "Scripts/python.exe") if path.exists()
        )
        install = ("pip", "install", "--quiet", "--python", str(python))
        uv(*install, "--resolution", "lowest-direct", "--refresh-package", "qashier-mock", f"{ROOT}[{extra}]")
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text("\n".join(direct_versions(python, pyproject["project"])))
        print(f"Testing with: {', '.join(pinned.read_text().split())}", flush=True)
        uv(*install, "--constraint", str(pinned), *tools)
        uv(*install, "--no-deps", "--editable", str(ROOT))
        tests = [f"tests/{name}" for name in names]
        command = [str(python), "-m", "pytest", "-W", OLD_NAMES, *tests, *arguments]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def direct_versions(python: Path, project: dict[str, Any]) -> list[str]:
    """The versions that were installed of the project's own dependencies, as constraints."""
    listed = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[^A-Za-z0-9-]", each)[0] for each in listed}
    command = [sys.executable, "-m", "uv", "pip", "freeze", "--quiet", "--python", str(python)]
    frozen = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [each for each in frozen if each.partition("==")[0] in names]


def uv(*arguments: str) -> None:
    """Run uv, which has to succeed."""
    subprocess.run([sys.executable, "-m", "uv", *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
