"""API keys: what one looks like, and how a request carries it (AUTH-1 to AUTH-4).

A message says what is wrong with a key and never shows it: a mistyped key may be a real one.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from qashier_mock.core.errors import CredentialsInvalid, CredentialsMissing, LiveKeyRefused
from qashier_mock.core.model import AccountId

LONGEST: Final = 200
"""Characters that may follow `sk_test_` in a key."""

DEFAULT_KEY: Final = "sk_test_default"
"""The key of our own commands where none is given: everybody knows it, so that it may be shown."""

_HINTED_FROM: Final = 16
"""Characters that a key must have after `sk_test_` before four of them are shown."""

_TEST: Final = b"sk_test_"
_LIVE: Final = b"sk_live_"
_OTHER: Final = re.compile(rb"[^A-Za-z0-9_-]")
_BASIC_HINT: Final = "Send the API key as Basic user name with a colon and an empty password (curl -u sk_test_…:)."


def account_of(key: str) -> AccountId:
    """The account of an API key: a hash, so that the key itself is kept nowhere."""
    return AccountId("acct_" + blake2b(key.encode(), digest_size=12).hexdigest())


def hint_of(key: str) -> str:
    """What a key may be recognised by and not guessed from: its beginning and, of a long one, its last characters."""
    rest = key.removeprefix("sk_test_")
    if key == DEFAULT_KEY:
        return key
    return "sk_test_…" + (rest[-4:] if len(rest) >= _HINTED_FROM else "")


def key_of(authorization: Sequence[bytes]) -> str:
    """The API key that the `Authorization` headers of a request carry.

    Raises:
        CredentialsMissing: There is no such header.
        CredentialsInvalid: They carry no key of a mock; the message says what to change.
        LiveKeyRefused: They carry a live key.
    """
    if not authorization:
        raise CredentialsMissing
    if len(authorization) > 1:
        raise CredentialsInvalid("Send exactly one Authorization header.")
    scheme, _, value = authorization[0].partition(b" ")
    value = value.strip(b" \t")
    match scheme.lower():
        case b"basic":
            return _checked(_user(value), scheme="Basic")
        case b"bearer":
            return _checked(value, scheme="Bearer")
    raise CredentialsInvalid("Send the API key as HTTP Basic user name with an empty password, or as a Bearer token.")


def _user(value: bytes) -> bytes:
    """The user name of Basic credentials, which have no password."""
    try:
        user, colon, password = b64decode(value, validate=True).partition(b":")
    except (Base64Error, ValueError):
        raise CredentialsInvalid(
            "The Basic credentials are not base64 of a key and a colon. Send the API key as user name with an empty "
            "password (curl -u sk_test_…:)."
        ) from None
    if user.startswith(_LIVE):
        raise LiveKeyRefused
    if password:
        raise CredentialsInvalid(f"A password came with the API key. {_BASIC_HINT}")
    if not colon:
        raise CredentialsInvalid(f"The Basic credentials have no colon after the API key. {_BASIC_HINT}")
    return user


def _checked(key: bytes, *, scheme: str) -> str:
    if key.startswith(_LIVE):
        raise LiveKeyRefused
    if not key:
        raise CredentialsInvalid(f"The API key after {scheme} is missing.")
    if not key.startswith(_TEST):
        raise CredentialsInvalid(f"What follows {scheme} is not an API key of a mock: one begins with sk_test_.")
    rest = key.removeprefix(_TEST)
    if not rest:
        raise CredentialsInvalid("The API key ends after sk_test_. At least one character has to follow.")
    other = _OTHER.search(rest)
    if other is not None:
        raise CredentialsInvalid(_what_is_wrong(rest, other))
    if len(rest) > LONGEST:
        raise CredentialsInvalid(
            f"The API key has {len(rest)} characters after sk_test_. At most {LONGEST} are allowed."
        )
    return key.decode("ascii")


def _what_is_wrong(rest: bytes, other: re.Match[bytes]) -> str:
    if rest.endswith(b":") and other.end() == len(rest):
        return "The API key ends with a colon. Only Basic credentials have one; a Bearer token is the key alone."
    shown = other.group().decode("latin-1")
    shown = shown if shown.isascii() and shown.isprintable() else f"\\x{ord(shown):02x}"
    hint = " Was a placeholder not filled in?" if shown in "{}<>$%" else ""
    return (
        f"The API key has {shown!r} as character {other.start() + 1} after sk_test_. "
        f"Only letters, digits, _ and - may stand there.{hint}"
    )
