"""Where traces are sent: the target of a run, in the name of accounts that nobody has used where it has such."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from qashier_contract.history import Recorder
from qashier_contract.target import Target
from qashier_contract.trace.steps import Steps


@dataclass(frozen=True, kw_only=True)
class Site:
    """A target to send traces to, at the pace of one run.

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

    def target_for(self, steps: Steps, nonce: str, recorder: Recorder) -> Target:
        """The target, spoken to in the name of the accounts of some steps, new ones where that is possible."""
        known = list(self.target.keys)
        if not self.keys_are_free:
            return self.target.with_accounts(known, recorder)
        keys = []
        for number in range(max(len(known), 1 + max(steps.accounts, default=0))):
            key = known[number] if number < len(known) else replace(known[0], secret=f"{number}")
            # The first two differ in the case of their last letter alone, as those of a run do.
            made_up = f"sk_test_Again{nonce}{'0' * 16}{'aA'[number] if number < 2 else steps.key_end(number)}"
            is_ours = self.nonce in key.secret
            keys.append(replace(key, secret=key.secret.replace(self.nonce, nonce) if is_ours else made_up))
        return self.target.with_accounts(keys, recorder)


def fresh_nonce() -> str:
    """A word that no other run uses: ten digits."""
    return str(10**9 + secrets.randbelow(9 * 10**9))
