"""CON: requests at the same time, each of which looks, and then acts on what it saw."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.changes import RACE_S, command
from qashier_mock.bugs.listing import sliced
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.core.errors import SessionNotOpen
from qashier_mock.core.lifecycle import Trigger, advance
from qashier_mock.core.model import AccountId, CheckoutSession, Status
from qashier_mock.core.paging import ListQuery, Page
from qashier_mock.service import Advised


async def _look(parts: Parts, account: AccountId, session_id: str) -> CheckoutSession | None:
    """See whether a session is open, and take so long that another request can act on it meanwhile."""
    session, now = await parts.stored(account, session_id)
    await asyncio.sleep(RACE_S)
    return session if session is not None and session.is_open and now < session.expires_at else None


def _wins_anyway(session: CheckoutSession | None, trigger: Trigger, lost: SessionNotOpen) -> CheckoutSession:
    """What a request answers that looked, found the session open, and did not look again."""
    if session is None:
        raise lost
    return advance(session, trigger, session.created)[0]


@defect("CON-1", command("expire"))
async def expire_beside_a_payment(
    parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: object
) -> object:
    """An expire that finds a session open succeeds, though a payment completes it at the same time."""
    seen = await _look(parts, account, session_id)
    try:
        return await inner(account, session_id, ref)
    except SessionNotOpen as lost:
        session, _ = await parts.stored(account, session_id)
        if session is None or session.status is not Status.COMPLETE:
            raise
        return _wins_anyway(seen, Trigger.EXPIRE_REQUESTED, lost), ()


@defect("CON-1", command("expire"))
async def two_expires_at_once(parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: object) -> object:
    """Of two expires at the same time both succeed."""
    seen = await _look(parts, account, session_id)
    try:
        return await inner(account, session_id, ref)
    except SessionNotOpen as lost:
        return _wins_anyway(seen, Trigger.EXPIRE_REQUESTED, lost), ()


@defect("CON-1", command("apply"))
async def two_payments_at_once(
    parts: Parts, inner: Inner, account: AccountId, session_id: str, trigger: Trigger
) -> object:
    """Of two payments at the same time both succeed."""
    seen = await _look(parts, account, session_id)
    try:
        return await inner(account, session_id, trigger)
    except SessionNotOpen as lost:
        return _wins_anyway(seen, trigger, lost)


@defect("CON-2", command("draw"))
async def concurrent_creates_share_an_id(parts: Parts, inner: Inner, tx: Any, prefix: str) -> object:
    """Two creates at the same time read the same counter, and get the same id."""
    if prefix != "cs_test_":
        return await inner(tx, prefix)
    seen = tx.profile()
    await asyncio.sleep(RACE_S)
    now = tx.profile()
    await tx.save_profile(replace(now, drawn=max(now.drawn, seen.drawn + 1)))
    return parts.ids.new_id(prefix, tx.account, seen.drawn, seen.seed)


@defect("CON-2")
def concurrent_create_not_listed(parts: Parts) -> None:
    """Of two creates at the same time one overwrites the other in the index: it can be retrieved, no list shows it."""
    under_way: Counter[AccountId] = Counter()
    known: set[str] = set()
    lost: set[str] = set()

    async def create(inner: Inner, account: AccountId, *arguments: Any) -> Advised:
        under_way[account] += 1
        try:
            await asyncio.sleep(RACE_S)
            session, advice = await inner(account, *arguments)
            if under_way[account] > 1 and session.id not in known:
                lost.add(session.id)
            known.add(session.id)
            return session, advice
        finally:
            under_way[account] -= 1

    async def page(inner: Inner, _tx: Any, query: ListQuery, cursor: int | None) -> Page:
        found: Page = await inner(replace(query, limit=query.limit + len(lost)), cursor)
        shown = sliced([session for session in found.sessions if session.id not in lost], query)
        return replace(shown, has_more=found.has_more or shown.has_more)

    parts.on_method("service", "create", create)
    parts.on_transaction("page", page)
