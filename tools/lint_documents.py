"""Lint the OpenAPI documents as they are published: OpenAPI 3.0 and 3.1, each under three tools.

    .venv/bin/python tools/lint_documents.py

Run by `make lint`, which sets up Node's tools. Each warning is an error; the exceptions stand, with their reasons, in
`redocly.yaml` and `.spectral.yaml`. Exit code 1 if a tool complains.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MODULES: Final = ROOT / "node_modules"
REDOCLY: Final = MODULES / "@redocly" / "cli" / "bin" / "cli.js"
SPECTRAL: Final = MODULES / "@stoplight" / "spectral-cli" / "dist" / "index.js"
QUIETLY: Final = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def main() -> int:
    """Export each document in each version, and lint all of them."""
    environment = {**os.environ, **QUIETLY}
    with tempfile.TemporaryDirectory() as folder:
        documents = [
            export(Path(folder), name, version) for name in ("qashier", "control") for version in ("3.0", "3.1")
        ]
        public, control = documents[:2], documents[2:]
        redocly: list[str | Path] = [node(), REDOCLY, "lint", "--config", ROOT / "redocly.yaml", "--format", "stylish"]
        commands: list[list[str | Path]] = [
            [sys.executable, "-m", "openapi_spec_validator", *documents],
            [*redocly, *public],
            # Its paths begin with /_mock, so that none can ever be one of the API's.
            [*redocly, "--skip-rule", "paths-kebab-case", *control],
            [node(), SPECTRAL, "lint", "--ruleset", ROOT / ".spectral.yaml", "--fail-severity", "warn", *documents],
        ]
        codes = [subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode for command in commands]
    return int(any(codes))


def export(folder: Path, name: str, version: str) -> Path:
    """Write a document as `qashier-mock spec` prints it, and return its path."""
    path = folder / f"{name}-{version}.yaml"
    command = [sys.executable, "-m", "qashier_mock", "spec", "--openapi", version]
    with path.open("wb") as file:
        subprocess.run([*command, *(["--control"] if name == "control" else [])], stdout=file, cwd=ROOT, check=True)
    return path


def node() -> str:
    """The node of the machine, or the one that the set-up has put beside this Python."""
    found = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        sys.exit("There is no node program: run `make node`.")
    return found


if __name__ == "__main__":
    sys.exit(main())
