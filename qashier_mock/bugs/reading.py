"""RET: reads that show something else, change something, or tire of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from qashier_mock.bugs.changes import RETRIEVE, command, reply, shown, unknown_id
from qashier_mock.bugs.parts import Inner, Json, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.core.lifecycle import LONGEST_LIFE, Trigger, advance
from qashier_mock.core.model import AccountId, CheckoutSession
from qashier_mock.service import Advised


def _per_read(change: Callable[[Json, int], object]) -> Change:
    """Change what retrieve shows by how often the session was retrieved before."""

    def apply(parts: Parts) -> None:
        reads: Counter[str] = Counter()

        def show(session: Json) -> None:
            change(session, reads[session["id"]])
            reads[session["id"]] += 1

        reply(RETRIEVE, show)(parts)

    return apply


# fmt: off
row("RET-1", "retrieve-shows-the-default-expiry",
    "Retrieve shows `expires_at` 24 hours after `created`, whatever the create answered.",
    reply(RETRIEVE, lambda session: session.update(expires_at=session["created"] + LONGEST_LIFE)))
row("RET-2", "unknown-id-is-a-bad-request", "Retrieving an unknown id is answered with 400 instead of 404.",
    unknown_id(RETRIEVE, 400))
row("RET-2", "unknown-id-is-empty", "Retrieving an unknown id is answered with 200 and an empty object.",
    unknown_id(RETRIEVE, 200, lambda _session_id: {}))
row("RET-3", "reading-prolongs", "Each retrieve shows an `expires_at` a minute later than the one before.",
    _per_read(lambda session, before: session.update(expires_at=session["expires_at"] + 60 * before)))
row("RET-3", "reading-renews-the-url", "Each retrieve after the first shows another `url`.",
    _per_read(lambda session, before: session.update(url=session["url"] + (f"?visit={before}" if before else ""))))
row("RET-4", "url-gone-when-complete", "A complete session shows its `url` no more: it is empty.",
    shown(lambda session: session.update(url="" if session["status"] == "complete" else session["url"])))
row("RET-4", "lines-gone-when-expired", "An expired session shows its lines no more.",
    shown(lambda session: session["line_items"].update(
        data=[] if session["status"] == "expired" else session["line_items"]["data"])))
# fmt: on


@defect("RET-1")
def retrieve_is_cached(parts: Parts) -> None:
    """Retrieve remembers an open session, and expire forgets to tell it: a session that was read before shows open."""
    cached: dict[str, CheckoutSession] = {}
    expired: set[str] = set()

    async def retrieve(inner: Inner, account: AccountId, session_id: str, ref: object) -> Advised:
        session, advice = await inner(account, session_id, ref)
        if session.is_open:
            cached[session_id] = session
        return (cached.get(session_id, session) if session_id in expired else session), advice

    async def expire(inner: Inner, account: AccountId, session_id: str, ref: object) -> object:
        answer = await inner(account, session_id, ref)
        expired.add(session_id)
        return answer

    parts.on_method("service", "retrieve", retrieve)
    parts.on_method("service", "expire", expire)


@defect("RET-1", command("expire"))
async def expire_is_not_saved(parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: object) -> object:
    """Expire answers with the expired session and saves nothing: retrieve shows it open."""
    session, now = await parts.stored(account, session_id)
    if session is None or not session.is_open or now >= session.expires_at:
        return await inner(account, session_id, ref)
    return advance(session, Trigger.EXPIRE_REQUESTED, now)[0], ()
