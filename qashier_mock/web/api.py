"""The public API: one function per operation of `qashier.yaml`, named exactly as its operationId."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qashier_mock.core.advice import MISSING_KEY, Advice, about_urls, unknown_field
from qashier_mock.core.request import RequestRef
from qashier_mock.pipeline.exchange import Call
from qashier_mock.pipeline.reply import Reply
from qashier_mock.service import CheckoutService
from qashier_mock.web import wire


class ApiHandlers:
    """Handlers over a checkout service; `call.principal` is the account.

    The advice that a command returns goes into `call.context`, where `hooks.py` finds it for header, journal and log.
    """

    def __init__(self, service: CheckoutService) -> None:
        self._service = service

    async def create_checkout_session(
        self, call: Call, *, body: dict[str, Any], idempotency_key: str | None = None
    ) -> Reply:
        """Open a session."""
        params = wire.parse_create(body)
        request = _request(call, idempotency_key, "", body, about_urls(params))
        session, call.context = await self._service.create(call.principal, params, request)
        return Reply(200, wire.session_to_json(session))

    async def list_checkout_sessions(self, call: Call, **parameters: Any) -> Reply:
        """A page of sessions, newest first."""
        page = await self._service.list_sessions(call.principal, wire.parse_list_query(**parameters))
        return Reply(200, wire.page_to_json(page))

    async def retrieve_checkout_session(self, call: Call, *, id: str) -> Reply:  # noqa: A002 - the document's name
        """One session as of now."""
        session, call.context = await self._service.retrieve(call.principal, id, call.request_id)
        return Reply(200, wire.session_to_json(session))

    async def expire_checkout_session(
        self,
        call: Call,
        *,
        id: str,  # noqa: A002 - the document's name
        idempotency_key: str | None = None,
    ) -> Reply:
        """End an open session."""
        request = _request(call, idempotency_key, id, None)
        session, call.context = await self._service.expire(call.principal, id, request)
        return Reply(200, wire.session_to_json(session))


def _request(
    call: Call, key: str | None, session_id: str, body: dict[str, Any] | None, about_it: Sequence[Advice] = ()
) -> RequestRef:
    """The request behind a POST, with the advice about it."""
    fingerprint = b"" if key is None else wire.fingerprint(call.operation_id, session_id, body)
    advice = [MISSING_KEY] if key is None else []
    if call.unknown_fields:
        advice += [unknown_field(field.path, field.nearest) for field in call.unknown_fields]
    return RequestRef(call.request_id, key, fingerprint, [*advice, *about_it])
