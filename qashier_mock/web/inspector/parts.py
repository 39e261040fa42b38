"""What the pages of the inspector share: what they work with, how they look, how forms are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import Response

from qashier_mock.accounts import AccountService
from qashier_mock.clocks import Clocks
from qashier_mock.core.errors import RequestInvalid
from qashier_mock.core.model import AccountId
from qashier_mock.core.money import format_amount
from qashier_mock.inspection import Inspection
from qashier_mock.service import CheckoutService
from qashier_mock.web.rendering import Pages
from qashier_mock.webhooks import Dispatcher

PREFIX: Final = "/_mock"
_MAX_FORM_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectorParts:
    """What the inspector works with.

    Attributes:
        hints: What is known of each account's key, to be recognised by: never the key.
        address: Where the server is (`http://127.0.0.1:4010`), for curl lines.
        public_host: The host of `--public-url`, None without one.
        token: What clients beyond loopback have to give; None: none of them is answered.
        is_closing: Whether the server is about to stop.
        new_request_id: Names what is done here, as the request of an integration would be.
        parse_body: Takes an operationId of the control API and a body for it; returns the body once it is valid, else
            raises `Refused`.
    """

    inspection: Inspection
    service: CheckoutService
    accounts: AccountService
    dispatcher: Dispatcher
    clocks: Clocks
    hints: dict[AccountId, str]
    address: Callable[[], str]
    public_host: str | None
    token: str | None
    is_closing: Callable[[], bool]
    new_request_id: Callable[[], str]
    parse_body: Callable[[str, Mapping[str, Any]], Any]


def account_of_path(request: Request) -> AccountId:
    return AccountId(request.path_params["account"])


def problem(status: HTTPStatus, title: str, text: str) -> Response:
    return PAGES.render("problem.html", status, title=title, text=text)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, of bounded size; of a repeated one the last."""
    if not hasattr(request.state, "form"):
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM_BYTES:
                raise RequestInvalid("The form is too large.")
        try:
            request.state.form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=32))
        except ValueError:
            raise RequestInvalid("The form cannot be read.") from None
    found: dict[str, str] = request.state.form
    return found


def path_of(request: Request) -> str:
    """The path of a request, percent-encoded. Before 1.0.1 Starlette takes a request's `url` from any `Host`."""
    return quote(request.scope["path"])


def _json(body: bytes) -> str:
    """A body for a person: indented if it is JSON, else as it is."""
    text = _text(body)
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _moment(instant: int) -> str:
    try:
        return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError):
        return str(instant)


PAGES: Final = Pages(
    "inspector",
    "inspector.css",
    "inspector.js",
    referrer="same-origin",
    filters={"json": _json, "moment": _moment, "money": format_amount, "text": _text},
)
