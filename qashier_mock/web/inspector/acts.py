"""What the forms of the inspector do. Each is answered with a redirect: loading a page again does nothing again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from qashier_mock.core.credentials import DEFAULT_KEY, account_of, hint_of, key_of
from qashier_mock.core.errors import RequestInvalid
from qashier_mock.core.faults import FaultAction
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId
from qashier_mock.core.request import RequestRef
from qashier_mock.web import wire
from qashier_mock.web.inspector.parts import PAGES, PREFIX, InspectorParts, account_of_path, form_of, path_of

_ACTS: Final[Mapping[str, Trigger]] = {
    "pay": Trigger.PAYMENT_SUCCEEDED,
    "fail": Trigger.PAYMENT_FAILED,
    "cancel": Trigger.PAYMENT_CANCELED,
}
_STEPS: Final = {"1h": 3_600, "24h": 86_400}
_SAMPLE: Final[Mapping[str, Any]] = {
    "line_items": [
        {"price_data": {"currency": "SGD", "product_data": {"name": "Kaya toast"}, "unit_amount": 680}, "quantity": 2},
        {
            "price_data": {
                "currency": "SGD",
                "product_data": {"name": "Kopi", "description": "Kopi, less sweet"},
                "unit_amount": 220,
            },
            "quantity": 1,
        },
    ],
    "success_url": "https://shop.example/thanks",
    "return_url": "https://shop.example/return",
    "cancel_url": "https://shop.example/basket",
}


class Acts:
    """What each form does."""

    def __init__(self, parts: InspectorParts) -> None:
        self._parts = parts

    async def find_account(self, request: Request) -> Response:
        """Open the account of a key, or make a first sample session in it."""
        form = await form_of(request)
        key = form.get("key", "").strip() or DEFAULT_KEY
        account = account_of(key_of([b"Bearer " + key.encode()]))
        self._parts.hints[account] = hint_of(key)
        if form.get("sample"):
            return await self._make_sample(account)
        return PAGES.see_other(f"{PREFIX}/accounts/{account}")

    async def make_sample(self, request: Request) -> Response:
        """Create a session with two lines."""
        return await self._make_sample(account_of_path(request))

    async def _make_sample(self, account: AccountId) -> Response:
        session = (await self._parts.service.create(account, wire.parse_create(dict(_SAMPLE)), self._as_request()))[0]
        return PAGES.see_other(f"{PREFIX}/accounts/{account}/sessions/{session.id}")

    def _as_request(self) -> RequestRef:
        """A shop's request, though no answer has its id: neither the customer nor the clock expires it here (EVT-4)."""
        return RequestRef(self._parts.new_request_id())

    async def act(self, request: Request) -> Response:
        """Pay, fail, cancel or expire a session."""
        account, session_id = account_of_path(request), request.path_params["session"]
        act = (await form_of(request)).get("act", "")
        if act == "expire":
            await self._parts.service.expire(account, session_id, self._as_request())
        elif act in _ACTS:
            await self._parts.service.apply(account, session_id, _ACTS[act])
        else:
            raise RequestInvalid(f"There is no action {act!r}: pay, fail, cancel or expire a session.")
        return PAGES.see_other(path_of(request))

    async def resend(self, request: Request) -> Response:
        """Send an event again to every endpoint."""
        await self._parts.dispatcher.resend(account_of_path(request), request.path_params["event"])
        return await self._back(request)

    async def flush(self, request: Request) -> Response:
        """Attempt what is due now."""
        await self._parts.dispatcher.flush(account_of_path(request))
        return PAGES.see_other(path_of(request))

    async def move_clock(self, request: Request) -> Response:
        """Freeze, release or move the account's clock."""
        account, clocks = account_of_path(request), self._parts.clocks
        move = (await form_of(request)).get("move", "")
        now = (await self._parts.accounts.clock(account)).now
        if move in {"freeze", "release"}:
            await clocks.advance(account, to=now, frozen=move == "freeze")
        elif move in _STEPS:
            await clocks.advance(account, by=_STEPS[move])
        elif move == "deadline":
            deadline = await self._parts.inspection.next_deadline(account)
            if deadline is None:
                raise RequestInvalid("No session of this account is open, so none can expire.")
            await clocks.advance(account, to=max(now, deadline))
        else:
            raise RequestInvalid(f"The clock has no move {move!r}.")
        return await self._back(request)

    async def add_endpoint(self, request: Request) -> Response:
        """Deliver webhooks to one more place."""
        form = await form_of(request)
        endpoint = {"url": form.get("url", "").strip()} | ({"secret": form["secret"]} if form.get("secret") else {})
        url, secret, types = wire.parse_endpoint(self._parts.parse_body("create_webhook_endpoint", endpoint))
        await self._parts.accounts.add_endpoint(account_of_path(request), url, secret=secret, types=types)
        return PAGES.see_other(path_of(request))

    async def remove_endpoint(self, request: Request) -> Response:
        """Deliver nothing there any more."""
        await self._parts.accounts.remove_endpoint(account_of_path(request), (await form_of(request)).get("id", ""))
        return PAGES.see_other(path_of(request).removesuffix("/remove"))

    async def add_fault(self, request: Request) -> Response:
        body = self._parts.parse_body("create_fault", _fault_of(await form_of(request)))
        await self._parts.accounts.add_fault(account_of_path(request), wire.parse_fault(body))
        return PAGES.see_other(path_of(request))

    async def remove_fault(self, request: Request) -> Response:
        await self._parts.accounts.remove_faults(account_of_path(request), (await form_of(request)).get("id", ""))
        return PAGES.see_other(path_of(request).removesuffix("/remove"))

    async def _back(self, request: Request) -> Response:
        """Back to the page that the form stood on."""
        form = await form_of(request)
        below = f"{PREFIX}/accounts/{account_of_path(request)}"
        back = form.get("back", "")
        return PAGES.see_other(back if back == below or back.startswith(f"{below}/") else below)


def _fault_of(form: Mapping[str, str]) -> dict[str, object]:
    """The fault rule that a form describes, as the body that the control API takes.

    The form has fields for every action, so those of other actions are left out.
    """
    action = form.get("action", "")
    body: dict[str, object] = {"webhook" if form.get("about") == "webhook" else "operation": "*", "action": action}
    if action == FaultAction.DELAY:
        body["seconds"] = _value_of(form.get("seconds") or "0")
    if action == FaultAction.STATUS:
        body["status"] = _value_of(form.get("status") or "503")
    if form.get("times"):
        body["times"] = _value_of(form["times"])
    return body


def _value_of(text: str) -> object:
    """A number where a field has one, else its text, which the document refuses."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
