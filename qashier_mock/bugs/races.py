"""CON: requests at the same time, each of which looks, and then acts on what it saw."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.changes import RACE_S, command
from qashier_mock.bugs.listing import sliced
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
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


def _wins_anyway(name: str, *, over: Collection[Status] = tuple(Status)) -> Change:
    """Let a command that found a session open succeed, though another has ended it meanwhile, in one of some ways."""

    async def act(parts: Parts, inner: Inner, account: AccountId, session_id: str, given: object) -> object:
        seen = await _look(parts, account, session_id)
        try:
            return await inner(account, session_id, given)
        except SessionNotOpen:
            ended, _ = await parts.stored(account, session_id)
            if seen is None or ended is None or ended.status not in over:
                raise
        if isinstance(given, Trigger):
            return advance(seen, given, seen.created)[0]
        return advance(seen, Trigger.EXPIRE_REQUESTED, seen.created)[0], ()

    return command(name)(act)


# fmt: off
row("CON-1", "expire-beside-a-payment",
    "An expire that finds a session open succeeds, though a payment completes it at the same time.",
    _wins_anyway("expire", over=[Status.COMPLETE]))
row("CON-1", "two-expires-at-once", "Of two expires at the same time both succeed.", _wins_anyway("expire"))
row("CON-1", "two-payments-at-once", "Of two payments at the same time both succeed.", _wins_anyway("apply"))
# fmt: on


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
