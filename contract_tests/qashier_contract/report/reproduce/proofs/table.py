"""How a proof is written down, and what many of them ask for.

A proof is a function of a story's names that gives the lines of a test: they fail on what was seen, and hold on every
implementation that keeps the clause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from qashier_contract.history import Exchange, Operation
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.trace.literals import literal
from qashier_contract.values import Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qashier_contract.ledger import Creation

Lines: TypeAlias = "list[str]"
Proof: TypeAlias = Callable[[Naming], Lines]

_written: dict[str, Proof] = {}
ALL: Final = "LASTING"
"""What generated source calls the properties that never change."""


def proof(*clauses: str) -> Callable[[Proof], Proof]:
    """Enter a function as the proof of some clauses."""

    def enter(function: Proof) -> Proof:
        for clause in clauses:
            _written[clause] = function
        return function

    return enter


def written() -> Mapping[str, Proof]:
    """The proofs that were entered so far, by clause."""
    return _written


def refused(naming: Naming, exchange: Exchange) -> str:
    reply = naming.reply(exchange)
    return f"assert 400 <= {reply}.status_code < 500, {reply}.text"


def succeeds(naming: Naming, exchange: Exchange) -> str:
    reply = naming.reply(exchange)
    return f"assert {reply}.is_success, {reply}.text"


def answers(naming: Naming, exchange: Exchange, status: int) -> str:
    reply = naming.reply(exchange)
    return f"assert {reply}.status_code == {status}, {reply}.text"


def reply_json(naming: Naming, exchange: Exchange) -> str:
    return f"{naming.reply(exchange)}.json()"


def same(naming: Naming, first: Exchange, second: Exchange, names: str = ALL) -> str:
    return f"assert view({reply_json(naming, second)}, {names}) == view({reply_json(naming, first)}, {names})"


def shows(naming: Naming, exchange: Exchange, expected: Mapping[str, Json]) -> Lines:
    return [
        f'assert {reply_json(naming, exchange)}.get("{name}") == {literal(value)}, {naming.reply(exchange)}.text'
        for name, value in expected.items()
    ]


def blamed(naming: Naming) -> Exchange:
    guilty = naming.story.guilty
    assert guilty is not None
    return guilty


def creation_of(naming: Naming, exchange: Exchange) -> Creation | None:
    return next((one for one in naming.ledger.creations if one.exchange is exchange), None)


def _created(naming: Naming) -> Exchange | None:
    """The create that the violation is about."""
    return next((e for e in reversed(naming.story.told) if e.operation is Operation.CREATE), None)


def refusal_or_success(naming: Naming, exchange: Exchange) -> Lines:
    """A create with nothing wrong in it succeeds, another is refused."""
    creation = creation_of(naming, exchange)
    if creation is None or creation.faults is None:
        return []
    if creation.is_faultless:
        return [succeeds(naming, exchange)]
    policy = naming.story.history.terms.policy
    rule = naming.story.clause in {"CRE-7", "CRE-13"}
    demanded = policy.status_rule if rule else policy.status_invalid
    if exchange.refused and demanded is not None:
        return [answers(naming, exchange, demanded)]
    return [refused(naming, exchange)]
