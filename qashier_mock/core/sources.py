"""Where time and ids come from, and the two sources that need nothing from the machine.

The machine's clock and its randomness are chosen in `app.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TypeAlias

from qashier_mock.core.model import AccountId

_DIGEST = 12
_CHANCE_BITS = 53


Clock: TypeAlias = Callable[[], int]
"""The machine's time: whole seconds since the Unix epoch, never less than it returned before."""


class ManualClock:
    """A clock for tests: it shows what it was set to."""

    def __init__(self, now: int = 1_750_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        """The instant it was set to, epoch seconds."""
        return self.now


class SeededIds:
    """Ids that repeat run for run with the same seed: a keyed hash of account and counter."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._requests = 0
        self.tell_apart("")

    def tell_apart(self, process: str) -> None:
        """Draw request ids that no source of this seed draws for another `process`."""
        self._request_prefix = "req_" + _digest(f"{self._seed}/request/{process}")[:10]

    def new_id(self, prefix: str, account: AccountId, counter: int, seed: int | None) -> str:
        """`prefix` and 24 digits that follow from the seed (None: the source's own), account and counter (CRE-10)."""
        return prefix + _digest(f"{self._seed if seed is None else seed}/{account}/{counter}")

    def request_id(self) -> str:
        """A `Request-Id`, never the same twice: `req_`, ten digits of this source and a count (HTTP-1)."""
        self._requests += 1
        return f"{self._request_prefix}{self._requests:08x}"

    def chance(self, account: AccountId, counter: int, seed: int | None) -> float:
        """A number in [0, 1) that follows from seed, account and counter."""
        digest = _digest(f"{self._seed if seed is None else seed}/chance/{account}/{counter}")
        return (int(digest[:16], 16) >> (64 - _CHANCE_BITS)) / (1 << _CHANCE_BITS)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=_DIGEST).hexdigest()
