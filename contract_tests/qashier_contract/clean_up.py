"""Leaving nothing behind: whatever happened, our sessions are expired, our endpoints removed, and the clocks go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from qashier_contract.history import Capability, Operation, Recorder
from qashier_contract.interrupts import Interrupted, OutOfTime
from qashier_contract.ledger import Ledger, entries_of
from qashier_contract.target import Account, Target

CLEAN_UP_S: Final = 10.0
"""The clean-up's own budget."""
_PAGES_SEARCHED: Final = 5
"""How many pages of open sessions are looked through for what a faulty target opened unasked."""
_PATIENCE_S: Final = 4.0
"""How long one answer is waited for: who does not answer twice is not asked any more."""
_ROOM: Final = 16 * 1024 * 1024
"""How much may be recorded, though the run has used up what it had."""


def clean_up(target: Target, recorder: Recorder, accounts: Sequence[Account], nonce: str) -> list[str]:
    """Expire every session that is not known to have ended, remove our endpoints, let the clocks go on.

    Nothing is sent where no session was asked for. A second Ctrl-C ends it. The target's pace says how long it may
    take; `nonce` marks the sessions of this run.

    Returns:
        What a reader of the report should know of what is left.
    """
    if not any(exchange.operation is Operation.CREATE for exchange in recorder.exchanges):
        return []
    target.scenario = "clean-up"
    target.pace.room = max(target.pace.room, _ROOM)
    target.timeout_s = min(target.timeout_s, _PATIENCE_S)
    left, notes = 0, []
    try:
        for found in _left_open(recorder):
            left += not _ended(target, *found)
            _give_up_on_silence(recorder)
        left += sum(not _ended(target, *found) for found in _unasked(accounts, nonce))
        _remove_endpoints(target, recorder)
        _restore_clocks(target, recorder, accounts)
    except Interrupted:
        notes.append("The clean-up was interrupted: some sessions may still be open.")
    except OutOfTime:
        notes.append("The clean-up ran out of time: some sessions may still be open.")
    if left:
        notes.append(f"{left} sessions could not be expired at the end, and may still be open.")
    return notes


def _give_up_on_silence(recorder: Recorder) -> None:
    """Do not ask a target any more that left the last two requests without an answer."""
    if all(exchange.reply is None for exchange in recorder.exchanges[-2:]):
        raise OutOfTime


def _ended(target: Target, number: int, session_id: str) -> bool:
    """Expire a session; whether it is ended now. Some are, though their history did not show it for certain."""
    account = Account(target, number)
    if account.expire(session_id).succeeded:
        return True
    return account.retrieve(session_id).object.get("status") in {"complete", "expired"}


def _unasked(accounts: Sequence[Account], nonce: str) -> list[tuple[int, str]]:
    """Open sessions that carry the mark of this run, though no answer named them: a faulty target made them."""
    found = []
    for account in accounts:
        page = account.list(status="open", limit=100)
        for _ in range(_PAGES_SEARCHED):
            if not (entries := entries_of(page)):
                break
            found += [(account.number, str(e.get("id"))) for e in entries if nonce in str(e.get("success_url"))]
            if page.object.get("has_more") is not True:
                break
            page = account.list(status="open", limit=100, starting_after=str(entries[-1].get("id")))
    return found


def _left_open(recorder: Recorder) -> list[tuple[int, str]]:
    """The sessions that answers named, and that may still be open after everything that was seen."""
    history, now = recorder.history(), time.monotonic_ns()
    ledger, last = Ledger(history), history.exchanges[-1]
    afterwards = replace(last, number=last.number + 1, sent_ns=now, received_ns=now)
    states = {observed: ledger.state_before(observed, afterwards) for observed in ledger.sessions.values()}
    return [(one.account, one.id) for one, state in states.items() if state is None or state.status == "open"]


def _remove_endpoints(target: Target, recorder: Recorder) -> None:
    """Remove the endpoints that their driver could not remove any more."""
    for endpoint in recorder.endpoints:
        if endpoint.removed_ns is None and endpoint.id is not None:
            Account(target, endpoint.account).remove_endpoint(endpoint.id)


def _restore_clocks(target: Target, recorder: Recorder, accounts: Sequence[Account]) -> None:
    if target.control_url is None or Capability.CLOCK not in recorder.terms.capabilities:
        return
    for account in accounts:
        if any(e.account == account.number and e.object.get("frozen") is True for e in recorder.exchanges):
            account.set_clock(frozen=False)
