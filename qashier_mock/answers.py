"""Answers of the mock as typed dictionaries: the shapes of both OpenAPI documents.

Plain JSON objects at run time. Times are epoch seconds of the account's clock, amounts the currency's minor units.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

EventType = Literal["checkout.session.completed", "checkout.session.expired"]


class LineItem(TypedDict):
    """One line of a checkout session."""

    amount_total: int
    currency: str
    description: str
    quantity: int


class LineItems(TypedDict):
    """The lines of a checkout session, in request order."""

    object: Literal["list"]
    data: list[LineItem]


class CheckoutSession(TypedDict):
    """A checkout session, as the API shows it."""

    id: str
    currency: str
    line_items: LineItems
    object: Literal["checkout.session"]
    amount_total: int
    created: int
    expires_at: int
    mode: Literal["payment"]
    payment_status: Literal["paid", "unpaid", "no_payment_required"]
    status: Literal["open", "complete", "expired"]
    return_url: str
    success_url: str
    url: str


class SessionList(TypedDict):
    """A page of checkout sessions, newest first."""

    object: Literal["list"]
    data: list[CheckoutSession]
    has_more: bool
    url: str


class EventRequest(TypedDict):
    """The API request that caused an event; both null where the customer or the clock did."""

    id: str | None
    idempotency_key: str | None


class EventData(TypedDict):
    """The session right after the change that an event is about."""

    object: CheckoutSession


class Event(TypedDict):
    """An event, as it is delivered."""

    id: str
    api_version: str
    request: EventRequest
    type: EventType
    account: str
    created: int
    data: EventData


class Clock(TypedDict):
    """An account's time, and whether it is frozen."""

    now: int
    frozen: bool


class ClockMoved(Clock):
    """An account's time after a move, with the sessions that expired on the way, in order."""

    expired: list[str]


class WebhookEndpoint(TypedDict):
    """Where events are delivered."""

    id: str
    url: str
    types: list[EventType]


class Delivery(TypedDict):
    """One attempt to deliver an event to an endpoint."""

    id: str
    event: str
    type: EventType
    session: str
    endpoint: str
    url: str
    number: int
    at: int
    due: int
    status: int | None
    error: str | None
    duration_ms: float
    next_try: int | None
    outcome: Literal["delivered", "failed", "dropped"]


class Request(TypedDict):
    """One request of the account and its answer, from the journal."""

    request_id: str
    operation: str | None
    method: str
    path: str
    status: int | None
    at: int
    duration_ms: float
    request_body: str | None
    response_body: str | None
    idempotency_key: str | None
    advice: list[str]


class Advice(TypedDict):
    """What the integration does that will hurt in production."""

    kind: str
    message: str
    param: str | None
    request_id: str | None
    at: int
    count: int


class Fault(TypedDict):
    """A rule about calls or webhooks that go wrong, and how often it has applied."""

    id: str
    action: str
    applied: int
    operation: NotRequired[str]
    webhook: NotRequired[str]
    seconds: NotRequired[float]
    status: NotRequired[int]
    retry_after: NotRequired[int]
    times: NotRequired[int]
    probability: NotRequired[float]


class Settings(TypedDict):
    """The settings of an account."""

    strict: bool
    seed: int | None


class Health(TypedDict):
    """That a mock is there, which version, and where it keeps its state."""

    status: Literal["ok"]
    version: str
    store: str
