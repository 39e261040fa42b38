"""Where the OpenAPI documents are found."""

from __future__ import annotations

from pathlib import Path


def documents_folder() -> Path:
    """The folder of `qashier.yaml` and `control.yaml`: in the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "openapi"
    return installed if installed.is_dir() else here.parent / "openapi"
