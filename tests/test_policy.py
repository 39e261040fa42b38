"""The open choices: what a policy may say, and what its statuses are."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from qashier_mock.core.errors import ErrorKind
from qashier_mock.core.policy import Policy, PolicyError


def test_a_policy_that_says_nothing_is_the_contracts_own() -> None:
    assert Policy.parse({}) == Policy()
    statuses = {kind: Policy().status(kind) for kind in ErrorKind}
    assert statuses == {
        ErrorKind.UNAUTHENTICATED: 401,
        ErrorKind.INVALID: 400,
        ErrorKind.NOT_FOUND: 404,
        ErrorKind.METHOD: 405,
        ErrorKind.TOO_LARGE: 413,
        ErrorKind.MEDIA_TYPE: 415,
        ErrorKind.RULE: 422,
        ErrorKind.NOT_OPEN: 409,
        ErrorKind.CONFLICT: 409,
        ErrorKind.RATE_LIMITED: 429,
        ErrorKind.UNAVAILABLE: 503,
    }


def test_every_choice_can_be_written_in_toml() -> None:
    text = """
        status_invalid = 422
        status_rule = 400
        status_not_open = 400
        idempotency_reuse = "reject"
        idempotency_in_flight = "conflict"
        unknown_fields = "reject"
        signature_header = "X-Signature"
        signature_encoding = "hex"
        currencies = ["SGD", "MYR"]
    """
    policy = Policy.read(text)
    assert policy == Policy(422, 400, 400, "reject", "conflict", "reject", "x-signature", "hex", ("SGD", "MYR"))
    assert [policy.status(kind) for kind in (ErrorKind.INVALID, ErrorKind.RULE, ErrorKind.NOT_OPEN)] == [422, 400, 400]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("status_invalid", 200, "400 to 499, not 200"),
        ("status_invalid", 500, "400 to 499, not 500"),
        ("status_rule", True, "not True"),
        ("status_not_open", "409", "not '409'"),
        ("idempotency_reuse", "ignore", "one of replay, reject, not 'ignore'"),
        ("idempotency_in_flight", ["wait"], "one of wait, conflict"),
        ("unknown_fields", None, "one of ignore, reject"),
        ("signature_encoding", "base32", "one of base64, hex, not 'base32'"),
        ("signature_header", "", "header name"),
        ("signature_header", "x sign", "header name"),
        ("signature_header", "x-é", "header name"),
        ("signature_header", 1, "header name"),
        ("currencies", "SGD", "list of codes"),
        ("currencies", [1], "list of codes"),
        ("currencies", ["sgd"], "list of codes"),
        ("currencies", ["SGDX"], "list of codes"),
    ],
)
def test_a_value_that_is_no_choice_is_refused_with_what_would_be(name: str, value: Any, told: str) -> None:
    with pytest.raises(PolicyError, match=told) as refused:
        Policy.parse({name: value})
    assert name in str(refused.value)


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(PolicyError, match=r"'status_rules'; did you mean status_rule\?"):
        Policy.parse({"status_rules": 400})
    with pytest.raises(PolicyError, match="the known fields are status_invalid, "):
        Policy.parse({"zzz": 1})


def test_the_documentation_shows_every_choice_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "checking.md").read_text("utf-8")
    (shown,) = (block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "status_invalid" in block)
    table = tomllib.loads(shown)
    assert list(table) == [field.name for field in fields(Policy)]
    assert Policy.parse(table) == Policy()
