"""The payment provider's API, as far as this shop uses it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Any

import requests

Session = dict[str, Any]

PAUSES = (0.5, 2.0)
"""Seconds before the second and the third try."""

BUSY = frozenset({429, 503})


class ProviderDown(Exception):
    """The provider gave no usable answer, not even when asked again."""


class SessionNotOpen(Exception):
    """The session was paid or has expired."""


class Provider:
    """Creates, retrieves, expires and lists checkout sessions."""

    def __init__(self, base_url: str, api_key: str, *, wait: Callable[[float], None]) -> None:
        self._base_url = base_url
        self._auth = (api_key, "")
        self._wait = wait

    def create_session(self, body: dict[str, Any], *, key: str) -> Session:
        """Create a session. Whoever did not get the answer may ask again with the same key."""
        return self._send("POST", "/checkout/sessions", json=body, headers={"Idempotency-Key": key})

    def retrieve_session(self, session_id: str) -> Session:
        return self._send("GET", f"/checkout/sessions/{session_id}")

    def expire_session(self, session_id: str, *, key: str) -> Session:
        return self._send("POST", f"/checkout/sessions/{session_id}/expire", headers={"Idempotency-Key": key})

    def sessions_since(self, instant: int) -> Iterator[Session]:
        """Every session created at or after `instant`, newest first."""
        query: dict[str, str | int] = {"created[gte]": instant, "limit": 100}
        while True:
            page = self._send("GET", "/checkout/sessions", params=query)
            yield from page["data"]
            if not page["has_more"]:
                return
            query["starting_after"] = page["data"][-1]["id"]

    def _send(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Send a request, up to three times: each of ours is safe to repeat."""
        for pause in (*PAUSES, None):
            try:
                answer = requests.request(method, self._base_url + path, auth=self._auth, timeout=10, **request)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                reason, asked_to_wait = str(error), None
            else:
                if answer.status_code == 409:
                    raise SessionNotOpen
                if answer.status_code not in BUSY:
                    answer.raise_for_status()
                    found: dict[str, Any] = answer.json()
                    return found
                reason, asked_to_wait = f"status {answer.status_code}", answer.headers.get("Retry-After")
            if pause is not None:
                self._wait(pause if asked_to_wait is None else float(asked_to_wait))
        raise ProviderDown(f"{method} {path}: {reason}")


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Whether the provider sent this webhook: base64 of the HMAC-SHA256 of the raw body."""
    expected = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
    return hmac.compare_digest(expected, signature.encode())
