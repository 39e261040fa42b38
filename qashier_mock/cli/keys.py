"""API keys on the command line: from the environment or a file, never from an argument, and never printed."""

from __future__ import annotations

import os
from typing import Final

from qashier_mock.cli import CommandError
from qashier_mock.cli.options import Option
from qashier_mock.cli.values import text_of

DEFAULT_KEY: Final = "sk_test_default"
VARIABLE: Final = "QASHIER_API_KEY"

KEY_FILE: Final = Option(
    name="api-key-file", metavar="FILE", help=f"the file that holds the API key; by default {VARIABLE} is used"
)


def read_key(file: str) -> str:
    """The key that a file holds."""
    key = text_of(file, "the key file").strip()
    if not key:
        raise CommandError(f"the key file {file} is empty")
    return key


def account_key(file: str | None) -> str:
    """The key of the account to act on: that of a file, else of the environment, else one that everybody knows.

    A live key is refused: no mock takes one.
    """
    key = read_key(file) if file is not None else os.environ.get(VARIABLE) or DEFAULT_KEY
    if key.startswith("sk_live_"):
        where = VARIABLE if file is None else f"the key file {file}"
        raise CommandError(f"{where} has a live key, which was not sent: a mock takes any key like {DEFAULT_KEY}")
    return key
