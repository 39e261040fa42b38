"""What in a request belongs to the run that was recorded, as symbols: ids, times, keys, addresses.

A `Text` is a text with symbols in it. Who sends it again gives each symbol its new value; who writes it down, a name.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import quote

FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "": str,
    "[:-1]": lambda text: text[:-1],
    ".swapcase()": str.swapcase,
    ".upper()": str.upper,
    ".replace('sk_', 'pk_', 1)": lambda text: text.replace("sk_", "pk_", 1),
}
"""How the value of a symbol may have been changed, by how Python writes it after a name."""


@dataclass(frozen=True, slots=True)
class SessionId:
    """The id of a session, by the one that it had; changed as one of `FORMS`."""

    id: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in epoch seconds, as an account's clock showed it in the recorded run."""

    value: int | float
    account: int


@dataclass(frozen=True, slots=True)
class Nonce:
    """The word that was new in the recorded run; changed as one of `FORMS`."""

    form: str = ""


@dataclass(frozen=True, slots=True)
class ReceiverUrl:
    """The address of the receiver that stood behind a webhook endpoint."""

    url: str


@dataclass(frozen=True, slots=True)
class Secret:
    """The signing secret of a webhook endpoint. The record shows none."""

    url: str


@dataclass(frozen=True, slots=True)
class EndpointId:
    """The id that the target gave to a webhook endpoint."""

    id: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The secret key of an account; changed as one of `FORMS`."""

    account: int = 0
    form: str = ""


@dataclass(frozen=True, slots=True)
class Base64:
    """A text that is sent in base64."""

    text: Text


Symbol: TypeAlias = SessionId | Moment | Nonce | ReceiverUrl | Secret | EndpointId | ApiKey | Base64
Text: TypeAlias = "tuple[str | Symbol, ...]"


def in_url(text: str) -> str:
    """A text as a part of a path or a query, with all encoded that could end it."""
    return quote(text, safe="", errors="surrogatepass")


def nearly(text: str, ids: Mapping[str, object]) -> Text:
    """The session id that a text is or was made from by one change; empty if it is none."""
    if text in ids:
        return (SessionId(text),)
    if len(text) > 12:
        if text[:-1] in ids:
            return SessionId(text[:-1]), text[-1]
        cut = next((one for one in ids if one[:-1] == text), None)
        if cut is not None:
            return (SessionId(cut, "[:-1]"),)
    return (SessionId(text.swapcase(), ".swapcase()"),) if text.swapcase() in ids else ()


def spelled(text: Text, value_of: Callable[[Symbol], str]) -> str:
    """A text with the value of each symbol put in."""

    def of(part: str | Symbol) -> str:
        if isinstance(part, Base64):
            return base64.b64encode(spelled(part.text, value_of).encode()).decode()
        return part if isinstance(part, str) else value_of(part)

    return "".join(of(part) for part in text)


def as_text(parts: Iterable[str | Symbol]) -> Text:
    """Parts of a text, with neighbours that are plain put together."""
    found: list[str | Symbol] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return tuple(found)
