"""The JSON Schemas for editors say what the code says: they take what it takes, and refuse what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from qashier_mock.core.policy import Policy, PolicyError

ROOT = Path(__file__).resolve().parent.parent


def errors(name: str, toml: str) -> list[str]:
    schema: dict[str, Any] = json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    return [error.message for error in Draft7Validator(schema).iter_errors(tomllib.loads(toml))]


def test_they_are_what_the_code_says() -> None:
    command = [sys.executable, str(ROOT / "tools" / "schemas.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("toml", "is_right"),
    [
        ("[tool.qashier-mock.serve]\nport = 4444\nstrict = true\nwebhook-url = ['http://127.0.0.1:1/']", True),
        ("[tool.qashier-mock.check]\nmax-time = '5m'\nonly = ['LIS-*']", True),
        ("[tool.qashier-mock.serve]\nprot = 4444", False),
        ("[tool.qashier-mock.server]\nport = 4444", False),
        ("[tool.qashier-mock.serve]\nstrict = 'maybe'", False),
    ],
)
def test_a_configuration_file_is_judged(toml: str, *, is_right: bool) -> None:
    assert (errors("qashier-mock", toml) == []) is is_right


@pytest.mark.parametrize(
    "toml",
    [
        "",
        "status_rule = 400",
        "status_rule = 500",
        "idempotency_reuse = 'reject'",
        "idempotency_reuse = 'refuse'",
        "signature_encoding = 'hex'",
        "currencies = ['SGD', 'MYR']",
        "currencies = ['sgd']",
        "signature_header = 'X-Qashier-Signature'",
        "signature_header = 'two words'",
        "colour = 'blue'",
    ],
)
def test_a_policy_is_judged_as_the_code_judges_it(toml: str) -> None:
    try:
        Policy.read(toml)
        is_right = True
    except PolicyError:
        is_right = False
    assert (errors("policy", toml) == []) is is_right
