"""How webhooks are signed (EVT-7)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from hmac import new as hmac


def sign(body: bytes, secret: str, *, encoding: str = "base64") -> str:
    """The signature, in `base64` or `hex`, of a raw body: HMAC-SHA256, keyed with the secret's UTF-8 bytes (EVT-7)."""
    digest = hmac(secret.encode(), body, sha256).digest()
    return digest.hex() if encoding == "hex" else b64encode(digest).decode("ascii")
