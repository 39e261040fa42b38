"""The control API: one function per operation of `control.yaml`, named exactly as its operationId."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from qashier_mock.accounts import AccountService
from qashier_mock.clocks import Clocks
from qashier_mock.core.model import AccountId, EventType
from qashier_mock.pipeline.exchange import Call
from qashier_mock.pipeline.garbage import let_go
from qashier_mock.pipeline.reply import Reply
from qashier_mock.service import CheckoutService
from qashier_mock.web import snapshots, wire
from qashier_mock.webhooks import Dispatcher

_T = TypeVar("_T")

_LARGE_SNAPSHOT: Final = 300_000
"""Bytes of a snapshot that takes some 5 ms to convert."""


class ControlHandlers:
    """Handlers over the services, as `control.yaml` describes them; `call.principal` is the account to act on."""

    def __init__(
        self,
        service: CheckoutService,
        accounts: AccountService,
        dispatcher: Dispatcher,
        clocks: Clocks,
        *,
        version: str,
        store: str,
    ) -> None:
        self._service = service
        self._accounts = accounts
        self._dispatcher = dispatcher
        self._clocks = clocks
        self._health = wire.health_to_json(version, store)

    async def get_health(self, call: Call) -> Reply:  # noqa: ARG002 - every handler gets its call
        return Reply(200, self._health)

    async def pay_session(self, call: Call, *, id: str, body: dict[str, Any]) -> Reply:  # noqa: A002
        """Pay, fail or cancel, as the customer would."""
        session = await self._service.apply(call.principal, id, wire.parse_outcome(body))
        return Reply(200, wire.session_to_json(session))

    # time

    async def get_clock(self, call: Call) -> Reply:
        return Reply(200, wire.clock_to_json(await self._accounts.clock(call.principal)))

    async def put_clock(self, call: Call, *, body: dict[str, Any]) -> Reply:
        """Jump forward, freeze or release. An account that has nothing yet may be set to any instant."""
        now, frozen = wire.parse_clock(body)
        return await self._moved(call.principal, await self._clocks.set(call.principal, to=now, frozen=frozen))

    async def advance_clock(self, call: Call, *, body: dict[str, Any]) -> Reply:
        """Move the clock forward; what falls due happens on the way."""
        expired = await self._clocks.advance(call.principal, by=wire.parse_advance(body))
        return await self._moved(call.principal, expired)

    async def _moved(self, account: AccountId, expired: list[str]) -> Reply:
        reading = await self._accounts.clock(account)
        return Reply(200, wire.clock_moved_to_json(reading, expired))

    # webhooks

    async def list_events(self, call: Call, *, session: str | None = None, type: str | None = None) -> Reply:  # noqa: A002
        event_type = None if type is None else EventType(type)
        return await _list(
            await self._accounts.events(call.principal, session_id=session, event_type=event_type), wire.event_to_json
        )

    async def deliver_event(self, call: Call, *, id: str) -> Reply:  # noqa: A002
        return await _list(await self._dispatcher.resend(call.principal, id), wire.attempt_to_json)

    async def list_webhook_endpoints(self, call: Call) -> Reply:
        return await _list(await self._accounts.endpoints(call.principal), wire.endpoint_to_json)

    async def create_webhook_endpoint(self, call: Call, *, body: dict[str, Any]) -> Reply:
        """Deliver future events there too."""
        url, secret, types = wire.parse_endpoint(body)
        endpoint = await self._accounts.add_endpoint(call.principal, url, secret=secret, types=types)
        return Reply(201, wire.endpoint_to_json(endpoint))

    async def delete_webhook_endpoint(self, call: Call, *, id: str) -> Reply:  # noqa: A002
        """Stop delivering there."""
        await self._accounts.remove_endpoint(call.principal, id)
        return Reply(204)

    async def list_deliveries(self, call: Call) -> Reply:
        return await _list(await self._accounts.attempts(call.principal), wire.attempt_to_json)

    async def flush_deliveries(self, call: Call) -> Reply:
        """Attempt all that is due, and wait for the result."""
        return await _list(await self._dispatcher.flush(call.principal), wire.attempt_to_json)

    # faults

    async def list_faults(self, call: Call) -> Reply:
        return await _list(await self._accounts.faults(call.principal), wire.fault_to_json)

    async def create_fault(self, call: Call, *, body: dict[str, Any]) -> Reply:
        rule = await self._accounts.add_fault(call.principal, wire.parse_fault(body))
        return Reply(201, wire.fault_to_json(rule))

    async def delete_faults(self, call: Call) -> Reply:
        await self._accounts.remove_faults(call.principal)
        return Reply(204)

    async def delete_fault(self, call: Call, *, id: str) -> Reply:  # noqa: A002
        await self._accounts.remove_faults(call.principal, id)
        return Reply(204)

    # the integration, and the account as a whole

    async def list_requests(self, call: Call) -> Reply:
        """The journal."""
        return await _list(await self._accounts.journal(call.principal), wire.journal_entry_to_json)

    async def list_advice(self, call: Call) -> Reply:
        return await _list(await self._accounts.advice(call.principal), wire.advice_to_json)

    async def get_settings(self, call: Call) -> Reply:
        return Reply(200, wire.settings_to_json(await self._accounts.settings(call.principal)))

    async def put_settings(self, call: Call, *, body: dict[str, Any]) -> Reply:
        strict, seed = wire.parse_settings(body)
        profile = await self._accounts.change_settings(call.principal, strict=strict, seed=seed)
        return Reply(200, wire.settings_to_json(profile))

    async def reset_account(self, call: Call) -> Reply:
        return Reply(200, wire.clock_to_json(await self._accounts.reset(call.principal)))

    async def get_snapshot(self, call: Call) -> Reply:
        snapshot = await self._accounts.snapshot(call.principal)
        written = await snapshots.snapshot_to_json(snapshot, call.principal)
        let_go(snapshot.lists())
        return Reply(200, written)

    async def put_snapshot(self, call: Call, *, body: dict[str, Any]) -> Reply:
        parse = partial(snapshots.parse_snapshot, body, call.principal)
        # A large one in a thread, so that others go on meanwhile; a small one is faster without.
        is_large = len(call.raw_body or b"") > _LARGE_SNAPSHOT
        snapshot = await asyncio.to_thread(parse) if is_large else parse()
        await self._accounts.restore(call.principal, snapshot)
        return Reply(200, snapshots.restored_to_json(snapshot, body))


async def _list(values: Sequence[_T], to_json: Callable[[_T], wire.Json]) -> Reply:
    written = await wire.list_to_json(values, to_json)
    had = [*values]
    del values
    let_go([had])
    return Reply(200, written)
