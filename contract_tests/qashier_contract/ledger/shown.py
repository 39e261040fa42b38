"""The status of a session by what answers showed, where others may act on it whom nobody recorded.

What our requests should have made of a session tells nothing then: the customer may have paid it meanwhile. But a
session that is shown to be open has been open all the time before, and one that has ended stays ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from qashier_contract import oracle
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger.replays import Replays
from qashier_contract.ledger.sessions import ObservedSession, Sessions, act_of

_ENDS: Final = {oracle.Act.PAYMENT_SUCCEEDED: "complete", oracle.Act.EXPIRE_REQUESTED: "expired"}
_STATUSES: Final = frozenset({"open", "complete", "expired"})


class _View(NamedTuple):
    """An answer that tells the status of a session as of then. One that ended it tells that it was open before."""

    exchange: Exchange
    status: str
    is_end: bool = False


class Shown:
    """What answers showed of each session."""

    def __init__(self, sessions: Sessions, replays: Replays) -> None:
        self._sessions, self._replays = sessions, replays

    def before(self, observed: ObservedSession, exchange: Exchange) -> str | None:
        """The status of a session when a request reached it; None if no answer tells."""
        views = self._views.get(observed.id, ())
        ended = {v.status for v in views if v.status != "open" and v.exchange.is_before(exchange)}
        later = [v for v in views if v.status == "open" or v.is_end]
        is_open = any(
            exchange.is_before(v.exchange) or (v.exchange is exchange and v.is_end and not ended) for v in later
        )
        if is_open:
            return None if ended else "open"
        return ended.pop() if len(ended) == 1 else None

    @cached_property
    def _views(self) -> Mapping[str, Sequence[_View]]:
        views: dict[str, list[_View]] = defaultdict(list)
        for observed in self._sessions.by_id.values():
            views[observed.id] += [_View(read, str(read.object.get("status"))) for read in observed.reads]
            for write in observed.writes:
                views[observed.id] += self._views_of(observed, write)
        for page in self._sessions.history.of(Operation.LIST):
            data = page.object.get("data")
            for entry in data if isinstance(data, list) else ():
                listed = self._sessions.by_id.get(str(entry.get("id"))) if isinstance(entry, dict) else None
                if listed is not None and listed.account == page.account:
                    views[listed.id].append(_View(page, str(entry.get("status"))))
        return {one: [view for view in found if view.status in _STATUSES] for one, found in views.items()}

    def _views_of(self, observed: ObservedSession, write: Exchange) -> Sequence[_View]:
        act = act_of(write)
        status = _ENDS.get(act) if act is not None else None
        if status is None or write.account not in {observed.account, None} or self._replays.may_be(write):
            return ()
        if write.operation is Operation.PAGE:
            wanted = observed.first.get("success_url" if write.page_act == "pay-card" else "return_url")
            end = self._sessions.end_of(write)
            done = write.page_act == "pay-card" and end.reply is not None and end.reply.header("location") == wanted
        else:
            done = write.succeeded
        # With a key it may be the answer to an earlier request again.
        return (_View(write, status, is_end=write.request.idempotency_key is None),) if done else ()
