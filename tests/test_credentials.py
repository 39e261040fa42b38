"""API keys: what is one, what is none, and what the refusal tells (AUTH-1 to AUTH-4)."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qashier_mock.cli import keys
from qashier_mock.core.credentials import DEFAULT_KEY, LONGEST, account_of, key_of
from qashier_mock.core.errors import CredentialsInvalid, CredentialsMissing, LiveKeyRefused

KEY_CHARACTERS = st.sampled_from("ABCXYZabcxyz0189_-")
KEYS = st.text(KEY_CHARACTERS, min_size=1, max_size=LONGEST).map("sk_test_{}".format)


def basic(text: str) -> bytes:
    return b"Basic " + b64encode(text.encode())


def test_the_command_line_and_the_server_mean_the_same_key_where_none_is_given() -> None:
    assert keys.DEFAULT_KEY == DEFAULT_KEY  # written twice: the command line does not import the core to start


@given(KEYS)
def test_auth_2_and_3_a_key_is_the_same_one_under_both_schemes(key: str) -> None:
    assert key_of([basic(f"{key}:")]) == key_of([f"Bearer {key}".encode()]) == key


@pytest.mark.parametrize("header", [b"bearer sk_test_x", b"BEARER  sk_test_x", b"Bearer sk_test_x\t"])
def test_case_and_blanks_of_the_scheme_do_not_matter(header: bytes) -> None:
    assert key_of([header]) == "sk_test_x"


def test_auth_1_without_a_header_the_credentials_are_missing() -> None:
    with pytest.raises(CredentialsMissing):
        key_of([])


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"Bearer sk_test_x:", "ends with a colon"),
        (b"Bearer sk_test_{{x}}", "has '{' as character 1 after sk_test_.*placeholder"),
        (b"Bearer sk_test_<key>", "has '<' as character 1"),
        (b'Bearer sk_test_"x"', "has '\"' as character 1"),
        (b'Bearer "sk_test_x"', "begins with sk_test_"),
        (b"Bearer sk_test_a,b", "has ',' as character 2"),
        (b"Bearer sk_test_a b", "has ' ' as character 2"),
        (b"Bearer sk_test_a.b", r"has '\.' as character 2"),
        (b"Bearer sk_test_\xe9", "as character 1"),
        (b"Bearer sk_test_", "ends after sk_test_"),
        (
            b"Bearer sk_test_" + b"x" * (LONGEST + 1),
            f"has 201 characters after sk_test_. At most {LONGEST} are allowed",
        ),
        (b"Bearer pk_test_x", "begins with sk_test_"),
        (b"Bearer", "is missing"),
        (b"Basic !", "not base64"),
        (basic("sk_test_x"), "no colon"),
        (basic("sk_test_x:secret"), "A password came"),
        (basic(":"), "is missing"),
        (basic("sk_test_{{x}}:"), "placeholder"),
        (b"Digest sk_test_x", "HTTP Basic user name"),
        (b"sk_test_x", "HTTP Basic user name"),
        (b"", "HTTP Basic user name"),
    ],
)
def test_auth_4_what_is_no_key_is_refused_in_words_that_do_not_show_it(header: bytes, told: str) -> None:
    with pytest.raises(CredentialsInvalid, match=told) as refused:
        key_of([header])
    assert "secret" not in refused.value.message
    assert "xxxx" not in refused.value.message


def test_auth_4_two_headers_are_refused() -> None:
    with pytest.raises(CredentialsInvalid, match="exactly one"):
        key_of([b"Bearer sk_test_x", b"Bearer sk_test_x"])


@pytest.mark.parametrize("key", ["sk_live_x", "sk_live_", "sk_live_x y", "sk_live_{{x}}"])
def test_auth_4_a_live_key_is_refused_however_it_is_written(key: str) -> None:
    for header in (f"Bearer {key}".encode(), basic(f"{key}:"), basic(key), basic(f"{key}:password")):
        with pytest.raises(LiveKeyRefused, match="never be sent here"):
            key_of([header])


def test_an_account_is_named_after_its_key_and_does_not_show_it() -> None:
    assert account_of("sk_test_x") == account_of("sk_test_x") != account_of("sk_test_y")
    assert "sk_test_x" not in account_of("sk_test_x")
