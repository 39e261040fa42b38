"""Values of `Authorization` that name no account, though most are made from a key.

A record never holds them: it shows their words in angle brackets. From those they can be made again, for another key.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Forged:
    """One such value: a scheme and a text with `{key}`, `{public}` (`pk_` for `sk_`) or `{capitals}` in it.

    `is_encoded` says whether the text is sent in base64.
    """

    scheme: str
    text: str
    is_encoded: bool = False

    def value(self, key: str) -> str:
        """The header's value for a key."""
        text = self.text.format(key=key, public=key.replace("sk_", "pk_", 1), capitals=key.upper())
        if self.is_encoded:
            text = base64.b64encode(text.encode()).decode()
        return f"{self.scheme} {text}" if self.scheme else text


FORGED: Final[Mapping[str, Forged]] = {
    "Basic <the key, with a password>": Forged("Basic", "{key}:hunter2", is_encoded=True),
    "Basic <no key>": Forged("Basic", "no-such-key:", is_encoded=True),
    "Bearer <no key>": Forged("Bearer", "no-such-key"),
    "Token <the key>": Forged("Token", "{key}"),
    "Basic <the key, with itself as password>": Forged("Basic", "{key}:{key}", is_encoded=True),
    "Basic <the key, with a blank as password>": Forged("Basic", "{key}: ", is_encoded=True),
    "Basic <no user name>": Forged("Basic", ":", is_encoded=True),
    "Basic <the key as password>": Forged("Basic", ":{key}", is_encoded=True),
    "Basic <a word like a key>": Forged("Basic", "sk_no-such-key:", is_encoded=True),
    "Basic <a publishable key>": Forged("Basic", "{public}:", is_encoded=True),
    "Basic <the key in capitals>": Forged("Basic", "{capitals}:", is_encoded=True),
    "Basic <the key without its colon>": Forged("Basic", "{key}", is_encoded=True),
    "Bearer <the key, and another word>": Forged("Bearer", "{key} x"),
    "Bearer": Forged("Bearer", ""),
    "Bearer test": Forged("Bearer", "test"),
    "": Forged("", ""),
    "Basic": Forged("", "Basic"),
    "Basic <no base64>": Forged("Basic", "!!!"),
    "<the key alone>": Forged("", "{key}"),
    "Basic <the key, not encoded>": Forged("Basic", "{key}"),
    "Bearer <the key, encoded>": Forged("Bearer", "{key}:", is_encoded=True),
}
"""By how a record shows them, in the order in which a checker sends them."""


def forged(shown: str) -> Forged:
    """What a record shows as a broken `Authorization`; what is not ours holds no key, and is sent as it is shown."""
    return FORGED.get(shown) or Forged("", shown.replace("{", "{{").replace("}", "}}"))
