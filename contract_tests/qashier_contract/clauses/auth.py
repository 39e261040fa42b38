"""AUTH: who may ask, and for what."""

from __future__ import annotations

from qashier_contract.clauses.table import IMPLIED, KEPT, PUBLIC, Findings, clause
from qashier_contract.findings import Contains, Equals, HasShape, StatusIs, expect
from qashier_contract.history import Capability, Credentials, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession
from qashier_contract.places import EACH, header_of, in_body
from qashier_contract.statuses import REFUSED, anything_but, exactly


@clause("AUTH-1", "Without credentials every operation answers 401, with `WWW-Authenticate`.", source=PUBLIC)
def no_credentials_no_answer(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.credentials is not Credentials.NONE or not exchange.operation.is_api or exchange.reply is None:
            continue
        yield expect(StatusIs(exchange, exactly(401)), "no credentials were sent")
        if exchange.status == 401:
            yield expect(HasShape(header_of(exchange, "WWW-Authenticate"), "string"), "a 401 names the scheme")


def _accepted(exchange: Exchange) -> StatusIs:
    """That credentials are not turned down.

    403 may be any 4xx that a rule of the API deserves, except for a list, which has none.
    """
    denied = (401, 403) if exchange.operation is Operation.LIST else (401,)
    return StatusIs(exchange, anything_but(*denied))


@clause("AUTH-2", "HTTP Basic with a key as user name and an empty password is accepted.", source=PUBLIC)
def basic_is_accepted(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.credentials is Credentials.BASIC and exchange.account is not None and exchange.reply is not None:
            yield expect(_accepted(exchange), "the key was sent by Basic") if exchange.operation.is_api else KEPT


@clause("AUTH-3", "`Authorization: Bearer` with the same key is accepted, and means the same account.", source=PUBLIC)
def bearer_is_accepted(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.credentials is not Credentials.BEARER or exchange.account is None or exchange.reply is None:
            continue
        if not exchange.operation.is_api:
            continue
        yield expect(_accepted(exchange), "the key was sent as a bearer token")
        observed = ledger.sessions.get(exchange.request.session_id or "")
        if exchange.operation is Operation.RETRIEVE and observed and observed.account == exchange.account:
            yield expect(StatusIs(exchange, anything_but(404)), "the session belongs to this key", observed.born)


@clause(
    "AUTH-4",
    "Anything else in `Authorization`, or a value that is no key, gives no access: 401 (403 on a target). The mock "
    "refuses a password too.",
    source=IMPLIED,
)
def anything_else_is_refused(ledger: Ledger) -> Findings:
    own = ledger.history.terms.own
    for exchange in ledger.history.judged:
        if exchange.credentials is Credentials.BROKEN and exchange.operation.is_api and exchange.reply is not None:
            shown = exchange.request.header("Authorization") or "empty"
            if not own and ", with " in shown:
                continue  # whether a password beside a right key counts is left open on a target
            wanted = exactly(401) if own else exactly(401, 403)
            if not own and not shown.isascii():
                wanted = REFUSED  # what HTTP allows in a header only for the sake of old clients
            yield expect(StatusIs(exchange, wanted), f"Authorization was {shown}", about="Authorization")


def _untouched(ledger: Ledger, observed: ObservedSession, reach: Exchange) -> Findings:
    """What another account reached for stays as it was."""
    state = ledger.state_before(observed, reach) if reach in observed.writes else None
    read = ledger.following_read(observed, reach) if state is not None else None
    if state is not None and read is not None:
        reason = "another account has no power over it"
        yield expect(Equals(in_body(read, "status"), state.status), reason, observed.born, reach)


@clause(
    "AUTH-5",
    "Another account's session does not exist for this key: retrieve and expire answer 404, list leaves it out, and as "
    "a cursor it is unknown.",
    source=IMPLIED,
    needs=(Capability.SECOND_ACCOUNT,),
)
def accounts_do_not_see_each_other(ledger: Ledger) -> Findings:
    sessions = ledger.sessions
    reason = "the session belongs to another account"
    for exchange in ledger.history.of(Operation.RETRIEVE, Operation.EXPIRE, Operation.LIST):
        if exchange.is_lost:
            continue
        observed = sessions.get(exchange.request.session_id or "")
        if observed is not None and observed.account != exchange.account and observed.born.is_before(exchange):
            if not ledger.key_was_seen(exchange):
                yield expect(StatusIs(exchange, exactly(404)), reason, observed.born)
            yield from _untouched(ledger, observed, exchange)
        elif exchange.operation is Operation.LIST:
            yield from _in_lists(ledger, exchange, reason)


def _in_lists(ledger: Ledger, exchange: Exchange, reason: str) -> Findings:
    """A list neither shows sessions of another account nor takes them for cursors."""
    for name in ("starting_after", "ending_before"):
        other = ledger.sessions.get(exchange.request.parameters.get(name, ""))
        if other is not None and other.account != exchange.account and other.born.is_before(exchange):
            yield expect(StatusIs(exchange, REFUSED), reason, other.born, about=name)
    others = [
        observed
        for observed in ledger.sessions.values()
        if observed.account != exchange.account and observed.born.is_before(exchange)
    ]
    ids = in_body(exchange, "data", EACH, "id")
    shown = [observed for observed in others if not Contains(ids, observed.id, absent=True).holds]
    for observed in (shown or others)[:1]:
        yield expect(Contains(ids, in_body(observed.born, "id"), absent=True), reason)
