"""Whether what a command prints is coloured, and how wide it may be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Final, TextIO

_WITHOUT_TERMINAL: Final = 120


def wants_colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether to colour what is written to a stream.

    `NO_COLOR` says no, `FORCE_COLOR` says yes; else a terminal is coloured.
    """
    known = os.environ if environ is None else environ
    if known.get("NO_COLOR"):
        return False
    if known.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return stream.isatty() and known.get("TERM") != "dumb"


def columns() -> int:
    """How many columns a line may have: those of the terminal, and 120 in a file or a log of CI."""
    return shutil.get_terminal_size((_WITHOUT_TERMINAL, 24)).columns
