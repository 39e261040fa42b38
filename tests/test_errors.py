"""What the mock refuses: each error says what to change, names where, and has a code and a status of the document."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qashier_mock.core import errors
from qashier_mock.core.errors import ApiError, ErrorKind, ErrorType, shown
from qashier_mock.core.policy import Policy

DOCUMENT = yaml.load(
    (Path(__file__).parents[1] / "openapi" / "qashier.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader
)
ENUMS = {name: set(DOCUMENT["components"]["schemas"][name]["x-extensible-enum"]) for name in ("ErrorType", "ErrorCode")}

SAMPLES = [
    errors.CredentialsMissing(),
    errors.CredentialsInvalid("No."),
    errors.LiveKeyRefused(),
    errors.RequestInvalid("No.", code="body_invalid", kind=ErrorKind.TOO_LARGE),
    errors.SnapshotInvalid("it has ids twice", "ids"),
    errors.SessionNotFound("cs_test_1"),
    errors.ObjectNotFound("event", "evt_1"),
    errors.ExpiresAtOutOfRange(5, earliest=10, latest=20),
    errors.CurrencyMixed(2, "MYR", "SGD"),
    errors.CurrencyUnavailable(2, "MYR", "SGD"),
    errors.CursorUnknown("starting_after", "cs_test_1"),
    errors.CursorsExclusive(),
    errors.SessionNotOpen("cs_test_1", "complete"),
    errors.IdempotencyKeyInUse(),
    errors.IdempotencyKeyReused(),
    errors.RateLimited("Later."),
    errors.ServiceUnavailable("Later."),
]


def leaves(family: type[ApiError]) -> Iterator[type[ApiError]]:
    """The classes of the module that have no class of the module below them; a defect may have one elsewhere."""
    children = [child for child in family.__subclasses__() if child.__module__ == errors.__name__]
    for child in children:
        yield from leaves(child)
    if not children:
        yield family


def test_every_error_is_in_the_tree_at_the_top_of_the_module() -> None:
    assert errors.__doc__ is not None
    for leaf in leaves(ApiError):
        assert leaf.__name__ in errors.__doc__ or leaf.__bases__[0].__name__ in errors.__doc__


def test_the_samples_are_all_the_errors_that_the_document_knows() -> None:
    assert {type(each) for each in SAMPLES} == set(leaves(ApiError)) - {errors.IdTaken} | {errors.RequestInvalid}


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_http_3_an_error_has_a_type_and_code_of_the_document_and_a_bounded_message(error: ApiError) -> None:
    assert error.type in ENUMS["ErrorType"]
    assert error.code in ENUMS["ErrorCode"]
    assert 0 < len(error.message) <= 1_000
    assert str(error) == error.message
    assert Policy().status(error.kind) >= 400


def test_types_follow_from_the_status() -> None:
    expected = {
        401: ErrorType.AUTHENTICATION,
        409: ErrorType.CONFLICT,
        429: ErrorType.RATE_LIMIT,
        503: ErrorType.API,
    }
    for error in SAMPLES:
        assert error.type is expected.get(Policy().status(error.kind), ErrorType.INVALID_REQUEST)


def test_an_id_of_another_account_is_a_conflict() -> None:
    error = errors.IdTaken("cs_test_1")
    assert (Policy().status(error.kind), error.code, error.type) == (409, "id_taken", ErrorType.CONFLICT)
    assert "cs_test_1" in error.message


@given(st.text(max_size=200))
def test_what_a_caller_sent_is_shown_short_and_harmless(text: str) -> None:
    told = shown(text)
    assert told.replace("…", "").isascii()
    assert told.isprintable()
    assert len(told) <= 60 * 10 + 10
    assert told[0] == told[-1] == '"'


def test_a_long_value_is_cut() -> None:
    assert shown("x" * 60) == '"' + "x" * 60 + '"'
    assert shown("x" * 61) == '"' + "x" * 60 + '…"'
