"""What ought to become of the sessions of a story, by the rules alone.

The history that a story comes from was made by a target that breaks them, so what it showed is no measure. Here each
step of the story is followed through the reference model instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract import oracle
from qashier_contract.history import Operation
from qashier_contract.ledger import ObservedSession, act_of
from qashier_contract.values import is_integer

if TYPE_CHECKING:
    from qashier_contract.history import Exchange
    from qashier_contract.ledger import Listing
    from qashier_contract.report.reproduce.story import Story


def deadline(observed: ObservedSession) -> int:
    """When a session expires by itself, epoch seconds."""
    body = observed.born.request.json
    asked = body.get("expires_at") if isinstance(body, dict) else None
    return asked if is_integer(asked) else observed.created + oracle.LONGEST_LIFE


def is_overdue(story: Story, observed: ObservedSession, exchange: Exchange) -> bool:
    """Whether the clock had reached a session's deadline when a request was served."""
    if exchange.operation is Operation.CLOCK and is_integer(now := exchange.object.get("now")):
        return now >= deadline(observed)
    least, most = story.ledger.clock_of(observed, exchange)
    known = least if least is not None else most
    return known is not None and known >= deadline(observed)


def state_at(story: Story, observed: ObservedSession, exchange: Exchange) -> oracle.State:
    """What a session is when a request reaches it, after the steps of the story that come before."""
    state = story.ledger.initial(observed)
    for step in story.steps:
        write = step.exchange
        if write.number >= exchange.number or step.moved_s is not None or story.session_of(write) is not observed:
            continue
        act = _act(story, observed, write)
        if act is None:
            continue
        if is_overdue(story, observed, write):
            state = oracle.step(state, oracle.Act.DEADLINE_PASSED) or state
        state = oracle.step(state, act) or state
    if is_overdue(story, observed, exchange):
        state = oracle.step(state, oracle.Act.DEADLINE_PASSED) or state
    return state


def state_after(story: Story, observed: ObservedSession, exchange: Exchange) -> oracle.State:
    """What a session is right after a request."""
    state = state_at(story, observed, exchange)
    act = _act(story, observed, exchange)
    return state if act is None else oracle.step(state, act) or state


def _act(story: Story, observed: ObservedSession, write: Exchange) -> oracle.Act | None:
    """What a request does to a session; None if nothing: a read, a replay, another account's."""
    if write.operation is Operation.PAGE:
        return act_of(write)
    if write.operation not in {Operation.PAY, Operation.EXPIRE} or write.account != observed.account:
        return None
    if story.is_about_a_list:
        return act_of(write)
    sent = {step.exchange.number for step in story.steps}
    used = [use for use in story.ledger.earlier_uses(write) if use.number in sent and not use.refused]
    return None if used else act_of(write)


def opened_before(story: Story, exchange: Exchange) -> tuple[ObservedSession, ...]:
    """The sessions that the story has opened in an account before a request, oldest first."""
    return tuple(
        observed
        for observed in story.sessions
        if observed.account == exchange.account
        and observed.born.number < exchange.number
        and (story.is_about_a_list or not [use for use in story.ledger.earlier_uses(observed.born) if not use.refused])
    )


def matching(story: Story, listing: Listing) -> list[ObservedSession]:
    """The sessions of the story that a list's filters and cursor leave, newest first."""
    exchange, query = listing.exchange, listing.query
    sessions = opened_before(story, exchange)
    ordinals = {observed.id: observed.ordinal for observed in sessions}
    cursor = ordinals.get(query.starting_after or query.ending_before or "")
    found = []
    for observed in reversed(sessions):
        if cursor is not None and query.starting_after is not None and observed.ordinal >= cursor:
            continue
        if cursor is not None and query.ending_before is not None and observed.ordinal <= cursor:
            continue
        if not query.keeps(observed.created):
            continue
        if query.status is None or state_at(story, observed, exchange).status == query.status:
            found.append(observed)
    return found
