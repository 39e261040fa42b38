"""The hosted payment page, where `session.url` leads the customer, and the payment method's own page below it.

Opening a page changes nothing (PAY-6); each act of the customer is a POST of a form, handed to the service as a
trigger. The pages need no script and load nothing from elsewhere. Their links are relative, so they work below any
`--public-url`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from qashier_mock.core.errors import SessionNotFound
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, PaymentStatus, Status
from qashier_mock.core.money import format_amount
from qashier_mock.machine import steady
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.web.rendering import Pages

CARD: Final[Mapping[str, Trigger]] = {"approved": Trigger.PAYMENT_SUCCEEDED, "declined": Trigger.PAYMENT_FAILED}
"""What the field `card` of the page's forms may say."""

TEST_CARDS: Final[Mapping[str, Trigger]] = {
    "4242424242424242": Trigger.PAYMENT_SUCCEEDED,
    "4000000000000002": Trigger.PAYMENT_FAILED,
}
"""Card numbers that can be typed. Any other is refused."""

DECISION: Final[Mapping[str, Trigger]] = {"authorise": Trigger.PAYMENT_SUCCEEDED, "cancel": Trigger.PAYMENT_CANCELED}
"""What the field `decision` of the payment method's forms may say."""

_MAX_FORM_BYTES: Final = 8 * 1024
_MAX_DRAINED_BYTES: Final = 4 * 1024 * 1024
_MAX_FORM_FIELDS: Final = 16

# An id of another form is not looked up, so no store gets a NUL or a very long text as a key.
_SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")

_Handler = Callable[[Request], Awaitable[Response]]

Observe = Callable[["AccountId", Request, int, float], None]
"""Told of each request for the page of a session: whose session, the request, the status, when it began."""


def create_pages(service: CheckoutService, *, observe: Observe | None = None) -> ASGIApp:
    """Make the application that serves everything below `/pay`.

    The pages ask for no key: whoever has the URL of a session may pay it, as in production.
    """
    pages = _Pages(service)
    resource = partial(_Resource, observe=observe)
    return Router(
        [
            Route("/pay/{session_id}", resource(get=pages.show, post=pages.pay)),
            Route("/pay/{session_id}/redirect", resource(get=pages.ask, post=pages.decide)),
        ],
        default=resource(),
        redirect_slashes=False,
    )


class _Refused(Exception):
    """A refused request; becomes a page that says why."""

    def __init__(self, status: HTTPStatus, title: str, text: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.text = text


class _Resource:
    """One path and its methods. Every refusal leaves through here, as a page."""

    def __init__(self, *, get: _Handler | None = None, post: _Handler | None = None, observe: Observe | None) -> None:
        handlers = {"GET": get, "HEAD": get, "POST": post}
        self._handlers = {method: handler for method, handler in handlers.items() if handler is not None}
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        began = steady()
        try:
            response = await self._answer(request)
        except _Refused as refused:
            response = _problem(refused.status, refused.title, refused.text)
        except StoreUnavailable:
            response = _problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "This page is unavailable for a moment", "Please try again shortly."
            )
        except ClientDisconnect:
            return
        account = getattr(request.state, "account", None)
        if account is not None and self._observe is not None:
            self._observe(account, request, response.status_code, began)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not self._handlers:
            raise _unknown_session()
        handler = self._handlers.get(request.method)
        if handler is None:
            how = "It is opened with GET and answered with POST."
            response = _problem(HTTPStatus.METHOD_NOT_ALLOWED, "This page cannot be used that way", how)
            response.headers["allow"] = ", ".join(self._handlers)
            return response
        return await handler(request)


class _Pages:
    """What each path shows and does."""

    def __init__(self, service: CheckoutService) -> None:
        self._service = service

    async def show(self, request: Request) -> Response:
        """The session's page as of now: to pay, or how it ended."""
        session = await self._session(request)
        if session.status is Status.OPEN:
            outcome = request.query_params.get("outcome", "")
            problem = outcome if outcome in {"declined", "unknown_card"} else ""
            return _page("checkout.html", session, here=f"./{session.id}", problem=problem)
        return _page("closed.html", session, complete=session.status is Status.COMPLETE)

    async def pay(self, request: Request) -> Response:
        """Pay by card: on to `success_url` (PAY-1), or back to the page with the reason (PAY-3)."""
        fields = await _form(request)
        trigger: Trigger | None = _choice(fields, "card", CARD)
        if trigger is Trigger.PAYMENT_SUCCEEDED and "number" in fields:
            trigger = TEST_CARDS.get("".join(fields["number"]).replace(" ", "").replace("-", ""))
        if trigger is None:
            session = await self._session(request)
            return _PAGES.see_other(f"./{session.id}" + "?outcome=unknown_card#payment" * session.is_open)
        session, was_open = await self._act(request, trigger)
        if not was_open:
            return _PAGES.see_other(f"./{session.id}")
        if trigger is Trigger.PAYMENT_FAILED:
            return _PAGES.see_other(f"./{session.id}?outcome=declined#payment")
        return _PAGES.see_other(session.success_url)

    async def ask(self, request: Request) -> Response:
        """The payment method's own page."""
        session = await self._session(request)
        if session.status is not Status.OPEN:
            return _PAGES.see_other(f"../{session.id}")
        return _page("method.html", session, here="./redirect")

    async def decide(self, request: Request) -> Response:
        """Authorise or cancel at the method, and go to `return_url` either way, also when it was too late (PAY-5)."""
        trigger = _choice(await _form(request), "decision", DECISION)
        # The method knows nothing of the session's state; the shop reads the outcome from the session.
        session, _ = await self._act(request, trigger)
        return _PAGES.see_other(session.return_url)

    async def _act(self, request: Request, trigger: Trigger) -> tuple[CheckoutSession, bool]:
        session_id: str = request.path_params["session_id"]
        try:
            acted = await self._service.act(session_id if _SESSION_ID.fullmatch(session_id) else "", trigger)
        except SessionNotFound:
            raise _unknown_session() from None
        request.state.account = acted[0].account
        return acted

    async def _session(self, request: Request) -> CheckoutSession:
        session_id: str = request.path_params["session_id"]
        found = await self._service.find(session_id) if _SESSION_ID.fullmatch(session_id) else None
        if found is None:
            raise _unknown_session()
        request.state.account = found[0]
        return found[1]


def _unknown_session() -> _Refused:
    return _Refused(
        HTTPStatus.NOT_FOUND,
        "There is no checkout here",
        "The address may be mistyped, or belong to another server. Go back to the shop and check out again.",
    )


async def _form(request: Request) -> Mapping[str, Sequence[str]]:
    """The fields of a form; none where it cannot be parsed."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _read(request)
    if media_type != "application/x-www-form-urlencoded":
        raise _Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "This form cannot be read",
            "It has to be sent as application/x-www-form-urlencoded, as the page does.",
        )
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        return {}


def _choice(fields: Mapping[str, Sequence[str]], field: str, choices: Mapping[str, Trigger]) -> Trigger:
    """Which of a page's own forms was sent."""
    match fields.get(field):
        case [value] if value in choices:
            return choices[value]
    raise _Refused(
        HTTPStatus.BAD_REQUEST,
        "This form cannot be read",
        f"It has to say {field}={' or '.join(choices)}, once. Open the page again and use its buttons.",
    )


async def _read(request: Request) -> bytes:
    """Read a body of bounded size. A larger one is read to its end, so that its sender gets the refusal."""
    kept = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= _MAX_FORM_BYTES:
            kept += chunk
        elif size > _MAX_DRAINED_BYTES:
            break
    if size > _MAX_FORM_BYTES:
        raise _Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "This form is too large",
            f"A form of this page has at most {_MAX_FORM_BYTES:,} bytes.",
        )
    return bytes(kept)


def _page(template: str, session: CheckoutSession, **more: object) -> Response:
    return _PAGES.render(
        template,
        HTTPStatus.OK,
        session=session,
        shop=_host(session.success_url),
        back=None if session.cancel_url is None else _host(session.cancel_url),
        total=format_amount(session.amount_total, session.currency),
        free=session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED,
        closes=datetime.fromtimestamp(session.expires_at, UTC),
        **more,
    )


def _host(url: str) -> str:
    """The shop's name as the customer sees it: the host without the port."""
    return urlsplit(url).hostname or url


def _moment(instant: datetime) -> str:
    return f"{instant.day} {instant:%B %Y, %H:%M} UTC"


def _problem(status: HTTPStatus, title: str, text: str) -> Response:
    return _PAGES.render("problem.html", status, http_status=status.value, title=title, text=text)


_PAGES: Final = Pages("pay", "pay.css", filters={"money": format_amount, "moment": _moment})
