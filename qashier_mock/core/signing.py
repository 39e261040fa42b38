"""How webhooks are signed (EVT-7)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from hmac import new as hmac


def sign(body: bytes, secret: str, *, encoding: str = "base64") -> str:
    """The signature of a webhook's raw body: HMAC-SHA256, keyed with the secret's UTF-8 bytes (EVT-7).

    Args:
        body: As it is sent.
        secret: The endpoint's.
        encoding: `base64` or `hex`, as the policy's `signature_encoding`.
    """
    digest = hmac(secret.encode(), body, sha256).digest()
    return digest.hex() if encoding == "hex" else b64encode(digest).decode("ascii")
