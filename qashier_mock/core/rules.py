"""The rules that the services follow, as one frozen value.

A service looks its rules up here instead of calling them by name. So a known defect of a rule is the same service with
`replace(rules, …)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from qashier_mock.core import delivery, idempotency, lifecycle
from qashier_mock.core.delivery import Delivery
from qashier_mock.core.idempotency import Decision
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, EventType

Advance: TypeAlias = Callable[[CheckoutSession, Trigger, int], tuple[CheckoutSession, EventType | None]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides, apart from who asks."""

    open_session: Callable[..., CheckoutSession] = lifecycle.open_session
    advance: Advance = lifecycle.advance
    decide: Callable[..., Decision] = idempotency.decide
    after_attempt: Callable[..., Delivery | None] = delivery.after_attempt


DEFAULT_RULES = Rules()
"""The contract's own."""
