"""The nouns: what a checkout session, an event, an endpoint and a delivery are.

Frozen values. Amounts are integers in the currency's minor unit, times are integer epoch seconds of the account's
clock. JSON field names are spelled in `web/wire.py` and `web/snapshots.py` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NewType, TypeVar, dataclass_transform

AccountId = NewType("AccountId", str)

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(noun: type[T]) -> type[T]:
    """A dataclass for values of which a request makes many. mypy keeps them from being changed.

    Where Python does that, too (`frozen=True`), it takes three times as long to make one. By the names of its fields it
    takes twice as long as by their order.
    """
    return dataclass(slots=True, unsafe_hash=True)(noun)


class Status(StrEnum):
    """The status of a session; `complete` and `expired` are terminal."""

    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"


OPEN: Final = Status.OPEN
"""Each request asks for it, and Python 3.11 takes as long for a member of an enum as for three calls."""


class PaymentStatus(StrEnum):
    """Whether the session is paid. One with total 0 stays `no_payment_required` (AMT-6)."""

    PAID = "paid"
    UNPAID = "unpaid"
    NO_PAYMENT_REQUIRED = "no_payment_required"


class EventType(StrEnum):
    """The two events that the API sends (EVT-2)."""

    COMPLETED = "checkout.session.completed"
    EXPIRED = "checkout.session.expired"


@value
class LineItem:
    """One line: `quantity` pieces of a product at `unit_amount` (minor units) each."""

    name: str
    description: str | None
    currency: str
    unit_amount: int
    quantity: int

    @property
    def amount_total(self) -> int:
        """Minor units; exact (AMT-2, AMT-7)."""
        return self.unit_amount * self.quantity

    @property
    def label(self) -> str:
        """What the API shows as the line's description: the product's own, or its name (AMT-5)."""
        return self.name if self.description is None else self.description


@value
class CreateSession:
    """A create request. Its shape has been validated, its rules have not."""

    line_items: tuple[LineItem, ...]
    success_url: str
    return_url: str
    cancel_url: str | None = None
    expires_at: int | None = None


@value
class CheckoutSession:
    """One session at one moment. A change makes a new value.

    `sequence` is its place in its account's order of creation, from 0; never shown.
    """

    id: str
    account: AccountId
    sequence: int
    currency: str
    line_items: tuple[LineItem, ...]
    amount_total: int
    created: int
    expires_at: int
    status: Status
    payment_status: PaymentStatus
    success_url: str
    return_url: str
    cancel_url: str | None
    url: str

    @property
    def is_open(self) -> bool:
        """Whether it can still be paid or expired."""
        return self.status is OPEN


@value
class Event:
    """Something that happened to a session, with the session right after it (EVT-1, EVT-3).

    `request_id` is the API request that caused it; None when the customer or the clock did (EVT-4).
    """

    id: str
    type: EventType
    account: AccountId
    created: int
    session: CheckoutSession
    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where an account's events are delivered.

    `secret` signs deliveries when set; it is never rendered, logged or put into a snapshot (EVT-7).
    """

    id: str
    url: str
    types: tuple[EventType, ...] = (EventType.COMPLETED, EventType.EXPIRED)
    secret: str | None = field(default=None, repr=False)


@value
class AccountClock:
    """An account's clock: the machine's time plus `offset` seconds, or frozen at `frozen_at`."""

    offset: int = 0
    frozen_at: int | None = None

    @classmethod
    def showing(cls, now: int, machine_now: int, *, frozen: bool) -> AccountClock:
        """The clock that shows `now` (epoch seconds) while the machine's shows `machine_now`."""
        return cls(frozen_at=now) if frozen else cls(offset=now - machine_now)

    def read(self, machine_now: int) -> int:
        """The account's now, in epoch seconds, while the machine's is `machine_now`."""
        return machine_now + self.offset if self.frozen_at is None else self.frozen_at


MACHINE_CLOCK: Final = AccountClock()
"""The clock of an account that never moved it."""


@value
class Profile:
    """What an account is apart from its objects.

    Attributes:
        strict: Advice about a request itself is a 4xx; None stands for the server's own setting.
        seed: What this account's ids and chances are drawn from; None stands for the server's own.
    """

    clock: AccountClock = MACHINE_CLOCK
    strict: bool | None = None
    seed: int | None = None
