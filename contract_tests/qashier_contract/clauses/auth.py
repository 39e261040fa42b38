"""AUTH: who may ask, and for what."""

from __future__ import annotations

from qashier_contract.clauses.table import IMPLIED, KEPT, PUBLIC, Findings, broken, clause, kept_if
from qashier_contract.history import Capability, Credentials, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, entries_of


@clause(
    "AUTH-1",
    "Without credentials every operation answers 401, with `WWW-Authenticate`.",
    source=PUBLIC,
)
def no_credentials_no_answer(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.credentials is not Credentials.NONE or not exchange.operation.is_api or exchange.reply is None:
            continue
        yield kept_if(exchange.status == 401, "401 without credentials", f"{exchange.status}", exchange)
        if exchange.status == 401:
            challenge = exchange.reply.header("www-authenticate")
            yield kept_if(challenge, "a WWW-Authenticate header with the 401", "none", exchange)


def _denied(exchange: Exchange) -> bool:
    """Whether credentials were turned down. 403 may be any 4xx that a rule of the API deserves, except for a list."""
    return exchange.operation.is_api and (
        exchange.status == 401 or (exchange.status == 403 and exchange.operation is Operation.LIST)
    )


@clause(
    "AUTH-2",
    "HTTP Basic with a key as user name and an empty password is accepted.",
    source=PUBLIC,
)
def basic_is_accepted(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.credentials is Credentials.BASIC and exchange.account is not None and exchange.reply is not None:
            yield kept_if(
                not _denied(exchange), "Basic with the key and no password accepted", exchange.status, exchange
            )


@clause(
    "AUTH-3",
    "`Authorization: Bearer` with the same key is accepted, and means the same account.",
    source=PUBLIC,
)
def bearer_is_accepted(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.credentials is not Credentials.BEARER or exchange.account is None or exchange.reply is None:
            continue
        if not exchange.operation.is_api:
            continue
        yield kept_if(not _denied(exchange), "the key accepted as a bearer token", exchange.status, exchange)
        observed = ledger.sessions.get(exchange.request.session_id or "")
        if exchange.operation is Operation.RETRIEVE and observed and observed.account == exchange.account:
            found = exchange.status != 404
            yield kept_if(found, "the account's own session found with the bearer token", 404, observed.born, exchange)


@clause(
    "AUTH-4",
    "Anything else in `Authorization`, a value that is no key, or a password, is answered with 401.",
    source=IMPLIED,
)
def anything_else_is_refused(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.credentials is Credentials.BROKEN and exchange.operation.is_api and exchange.reply is not None:
            shown = exchange.request.header("Authorization")
            yield kept_if(exchange.status == 401, f"401 for {shown}", f"{exchange.status}", exchange)


def _untouched(ledger: Ledger, observed: ObservedSession, reach: Exchange) -> Findings:
    """What another account reached for, stays as it was."""
    state = ledger.state_before(observed, reach) if reach in observed.writes else None
    read = ledger.following_read(observed, reach) if state is not None else None
    if state is not None and read is not None:
        status = read.object.get("status")
        yield kept_if(status == state.status, f"still {state.status}", status, observed.born, reach, read)


@clause(
    "AUTH-5",
    "Another account's session does not exist for this key: retrieve and expire answer 404, list leaves it out, "
    "and as a cursor it is unknown.",
    source=IMPLIED,
    needs=(Capability.SECOND_ACCOUNT,),
)
def accounts_do_not_see_each_other(ledger: Ledger) -> Findings:
    sessions = ledger.sessions
    for exchange in ledger.history.of(Operation.RETRIEVE, Operation.EXPIRE, Operation.LIST):
        if exchange.is_lost:
            continue
        observed = sessions.get(exchange.request.session_id or "")
        if observed is not None and observed.account != exchange.account and observed.born.is_before(exchange):
            if not ledger.key_was_seen(exchange):
                yield kept_if(
                    exchange.status == 404,
                    "404 for another account's session",
                    exchange.status,
                    observed.born,
                    exchange,
                )
            yield from _untouched(ledger, observed, exchange)
            continue
        if exchange.operation is Operation.LIST:
            for name in ("starting_after", "ending_before"):
                other = sessions.get(exchange.request.parameters.get(name, ""))
                if other is not None and other.account != exchange.account and other.born.is_before(exchange):
                    expected = "4xx for another account's session as a cursor"
                    yield kept_if(exchange.refused, expected, exchange.status, other.born, exchange)
            strangers = [
                sessions[entry["id"]]
                for entry in entries_of(exchange)
                if isinstance(entry.get("id"), str)
                and entry["id"] in sessions
                and sessions[entry["id"]].account != exchange.account
            ]
            if strangers:
                expected = "a list without the sessions of another account"
                yield broken(expected, f"{strangers[0].id} in it", strangers[0].born, exchange)
            elif any(
                observed.account != exchange.account and observed.born.is_before(exchange)
                for observed in sessions.values()
            ):
                yield KEPT
