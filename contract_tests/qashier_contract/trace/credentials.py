"""How a request says who it is, as a text with the key as a symbol: a record never holds a key.

Of values that name no account, though most are made from a key, it shows the words in angle brackets. From those they
can be made again, for another key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qashier_contract.history import Credentials, Exchange
from qashier_contract.trace.symbols import FORMS, ApiKey, Base64, Text, spelled

_KEY: Final = ApiKey()
FORGED: Final[Mapping[str, Text]] = {
    "Basic <the key, with a password>": ("Basic ", Base64((_KEY, ":hunter2"))),
    "Basic <no key>": ("Basic ", Base64(("no-such-key:",))),
    "Bearer <no key>": ("Bearer no-such-key",),
    "Token <the key>": ("Token ", _KEY),
    "Basic <the key, with itself as password>": ("Basic ", Base64((_KEY, ":", _KEY))),
    "Basic <the key, with a blank as password>": ("Basic ", Base64((_KEY, ": "))),
    "Basic <no user name>": ("Basic ", Base64((":",))),
    "Basic <the key as password>": ("Basic ", Base64((":", _KEY))),
    "Basic <a word like a key>": ("Basic ", Base64(("sk_no-such-key:",))),
    "Basic <a publishable key>": ("Basic ", Base64((ApiKey(form=".replace('sk_', 'pk_', 1)"), ":"))),
    "Basic <the key in capitals>": ("Basic ", Base64((ApiKey(form=".upper()"), ":"))),
    "Basic <the key without its colon>": ("Basic ", Base64((_KEY,))),
    "Basic <the key after a blank>": ("Basic ", Base64((" ", _KEY, ":"))),
    "Basic <the key before a null>": ("Basic ", Base64((_KEY, "\0:"))),
    "Basic <the key before a line feed>": ("Basic ", Base64((_KEY, "\n:"))),
    "Bearer <the key, and another word>": ("Bearer ", _KEY, " x"),
    "Bearer <the key, and a colon>": ("Bearer ", _KEY, ":"),
    "Bearer": ("Bearer ",),
    "Bearer test": ("Bearer test",),
    "": ("",),
    "Basic": ("Basic",),
    "Basic <no base64>": ("Basic !!!",),
    "Basic <the key, a star before its base64>": ("Basic *", Base64((_KEY, ":"))),
    "<the key alone>": (_KEY,),
    "Basic <the key, not encoded>": ("Basic ", _KEY),
    "Basic <the key and its colon, not encoded>": ("Basic ", _KEY, ":"),
    "Bearer <the key, encoded>": ("Bearer ", Base64((_KEY, ":"))),
    "Bearer <how a key begins>": ("Bearer sk_test_",),
    "Basic <how a key begins>": ("Basic ", Base64(("sk_test_:",))),
    "Bearer <a word longer than any key>": (f"Bearer sk_test_{'k' * 201}",),
}
"""What names no account, by how a record shows it, in the order in which a checker sends it."""


def authorization_of(exchange: Exchange) -> Text | None:
    """The value of `Authorization` that a request carried; None for one without."""
    if exchange.credentials is Credentials.BROKEN:
        shown = exchange.request.header("Authorization") or ""
        # What is not ours holds no key, and is sent as it is shown.
        return FORGED.get(shown, (shown,))
    if exchange.account is None or exchange.credentials is Credentials.NONE:
        return None
    return of_key(exchange.account, exchange.credentials)


def of_key(account: int, scheme: Credentials) -> Text:
    """The value of `Authorization` that names an account."""
    key = ApiKey(account)
    return ("Bearer ", key) if scheme is Credentials.BEARER else ("Basic ", Base64((key, ":")))


def for_key(text: Text, key: str) -> str:
    """What a text that names no account is for a key."""
    return spelled(text, lambda symbol: FORMS[symbol.form](key) if isinstance(symbol, ApiKey) else "")
