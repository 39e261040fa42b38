"""Disorder: what real networks and providers do to webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from qashier_mock.client import MockAccount
from qashier_mock.testing.account import in_a_thread

# pytest shows the line of a test that a call of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True

_LATE: Final = 600
"""Seconds that a late webhook is late."""

_SETTLED: Final = 660
"""Seconds after which all scripted disorder has happened; less than the shortest life of a session."""

_RULES: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "in_order": (),
    "duplicated": ({"action": "duplicate"},),
    "late": ({"action": "delay", "seconds": _LATE},),
    "swapped": ({"action": "reorder", "times": 1},),
    "lost": ({"action": "drop"},),
    "forged": ({"action": "bad_signature"},),
    "replayed": (),
    "mixed": (
        {"action": "duplicate", "times": 1},
        {"action": "drop", "times": 1},
        {"action": "delay", "seconds": _LATE, "times": 1},
        {"action": "reorder", "times": 1},
    ),
}


class WebhookDisorder:
    """One way in which webhooks go wrong. Its fault rules are in force already.

    Attributes:
        name: `in_order`; `duplicated`: each comes twice; `late`: each comes ten minutes late; `swapped`: the second
            overtakes the first; `lost`: none comes; `forged`: each is signed with another key; `replayed`: each comes
            again in the end; `mixed`: the first comes twice, the second is lost, the third is late, the fifth overtakes
            the fourth.
        loses: Whether webhooks may not come, or must be refused, so that an integration has to reconcile.
    """

    def __init__(self, account: MockAccount, name: str) -> None:
        """Disturb the webhooks of an account.

        Raises:
            ValueError: There is no such disorder.
        """
        if name not in _RULES:
            raise ValueError(f"unknown disorder {name!r}; the disorders are {', '.join(_RULES)}")
        self._account = account
        self.name = name
        self.loses = name in {"lost", "forged", "mixed"}
        for rule in _RULES[name]:
            account.fault(webhook="*", **rule)

    def settle(self) -> None:
        """Let eleven minutes pass, so that all of the disorder happens; send replayed events again."""
        self._account.advance(seconds=_SETTLED)
        if self.name == "replayed":
            for event in self._account.events:
                self._account.deliver_again(event["id"])

    async def asettle(self) -> None:
        """`settle`, while the test's event loop goes on."""
        await in_a_thread(self.settle)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
