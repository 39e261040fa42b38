"""Where traces are sent: the target of a run, in the name of accounts that nobody has used where it has such."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from qashier_contract.history import Recorder
from qashier_contract.target import Key, Target
from qashier_contract.trace.sending import Site
from qashier_contract.trace.steps import Steps


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Makes places to send traces to, all with the pace of one target.

    `nonce` is the word in the keys that were made up for the run. `keys_are_free` says whether the target takes keys
    that were made up, each as an account of its own with a clock of its own.
    """

    target: Target
    nonce: str
    keys_are_free: bool
    receiver_host: str | None = None
    """Where a webhook receiver may listen, None if no webhook can reach it."""
    receiver_port: int = 0
    receiver_url: str | None = None

    def __call__(self, steps: Steps) -> Site:
        """A place to send some steps to."""
        nonce = fresh_nonce()
        recorder = Recorder()
        return Site(
            target=self.target.with_accounts(self._keys(steps, nonce), recorder),
            recorder=recorder,
            nonce=nonce,
            are_fresh=self.keys_are_free,
            receiver_host=self.receiver_host,
            receiver_port=self.receiver_port,
            receiver_url=self.receiver_url,
        )

    def _keys(self, steps: Steps, nonce: str) -> list[Key]:
        if not self.keys_are_free:
            return list(self.target.keys)
        known = self.target.keys
        keys = []
        for number in range(max(len(known), 1 + max(steps.accounts, default=0))):
            key = known[number] if number < len(known) else replace(known[0], secret=f"{number}")
            secret = key.secret.replace(self.nonce, nonce)
            # The first two differ in the case of their last letter alone, as those of a run do.
            made_up = f"sk_test_Again{nonce}{'0' * 16}{'aA'[number] if number < 2 else number}"
            keys.append(replace(key, secret=secret if self.nonce in key.secret else made_up))
        return keys


def fresh_nonce() -> str:
    """A word that no other run uses: ten digits."""
    return str(10**9 + secrets.randbelow(9 * 10**9))
