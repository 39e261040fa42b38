"""Fault rules: which calls and webhooks go wrong on purpose, how often, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from qashier_mock.core.model import EventType

ANY: Final = "*"


class FaultAction(StrEnum):
    """What goes wrong: the first five with an API call; the last three, `drop` and `delay` with a webhook."""

    DELAY = "delay"
    STATUS = "status"
    DROP = "drop"
    TRUNCATE = "truncate"
    LOSE_ANSWER = "lose_answer"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    BAD_SIGNATURE = "bad_signature"


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One rule.

    Attributes:
        operation: An operationId, `*`, or None for a rule about webhooks.
        webhook: An event type, `*`, or None for a rule about calls.
        seconds: For `delay`: real seconds for a call, seconds of the account's clock for a webhook.
        status: For `status`: what is answered instead.
        retry_after: For `status` 429 and 503: the `Retry-After`, seconds.
        times: How often it applies in all; None is for ever.
        probability: The chance that it applies, 0 to 1.
    """

    id: str
    action: FaultAction
    operation: str | None = None
    webhook: str | None = None
    seconds: float = 0
    status: int | None = None
    retry_after: int | None = None
    times: int | None = None
    probability: float | None = None
    applied: int = 0

    @property
    def is_used_up(self) -> bool:
        """Whether it has applied as often as it may."""
        return self.times is not None and self.applied >= self.times

    def once_more(self) -> FaultRule:
        """The rule after it has applied once more."""
        return replace(self, applied=self.applied + 1)


def pick(
    rules: Iterable[FaultRule],
    *,
    draw: Callable[[], float],
    operation: str | None = None,
    webhook: EventType | None = None,
) -> FaultRule | None:
    """The first rule that applies to this call or webhook, or None; `draw` gives a fresh number from [0, 1)."""
    for rule in rules:
        if rule.is_used_up:
            continue
        matches = rule.webhook in (ANY, webhook) if operation is None else rule.operation in (ANY, operation)
        if matches and (rule.probability is None or draw() < rule.probability):
            return rule
    return None
