"""Breadth: what Schemathesis makes of the document, sent to the target.

On any target it only generates, and the clauses judge what came back. On our own mock, which must answer exactly as the
document says, all its phases and checks run, and a check that fails is a violation of the clause that it belongs to.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from qashier_contract import oracle
from qashier_contract.document import document
from qashier_contract.drive import Driver, RunContext, Stage
from qashier_contract.drive.recording_proxy import CREDENTIALS, NUMBER, RecordingProxy, through_proxy
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import parse_query
from qashier_contract.target import OutOfTime
from qashier_contract.verdicts import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLES: Final = 12
"""How many inputs are drawn for each operation and minute of the budget, beside those that the document determines."""
_EXAMPLES_OWN: Final = 25
_STEPS: Final = 6
_PATIENCE_S: Final = 300
"""Longer than a request may wait for its turn and for an answer: `Target` decides when an answer is lost."""
_MOST_PER_CHECK: Final = 3

_OF_OPERATION: Final[Mapping[Operation, str]] = {
    Operation.CREATE: "CRE-1",
    Operation.RETRIEVE: "RET-1",
    Operation.LIST: "LIS-1",
    Operation.EXPIRE: "EXP-1",
    Operation.OTHER: "HTTP-4",
}
_OF_REFUSAL: Final[Mapping[Operation, str]] = {Operation.CREATE: "CRE-18", Operation.LIST: "LIS-2"}
_OF_CHECK: Final[Mapping[str, str]] = {
    "not_a_server_error": "HTTP-6",
    "status_code_conformance": "HTTP-3",
    "content_type_conformance": "HTTP-2",
    "response_headers_conformance": "HTTP-1",
    "missing_required_header": "AUTH-1",
    "ignored_auth": "AUTH-4",
    "object_level_authorization": "AUTH-5",
    "unsupported_method": "HTTP-4",
    "allow_header_conformance": "HTTP-4",
    "use_after_free": "RET-2",
    "ensure_resource_availability": "RET-1",
}
_TOUCHED: Final = (
    *("HTTP-1", "HTTP-2", "HTTP-3", "HTTP-4", "HTTP-5", "HTTP-6", "AUTH-1", "AUTH-4", "CRE-1", "CRE-2", "CRE-11"),
    *("CRE-12", "CRE-14", "CRE-15", "CRE-16", "CRE-18", "CRE-19", "LIS-1", "LIS-2", "RET-1", "RET-2", "EXP-1"),
)


def clause_of(check: str, exchange: Exchange | None) -> str:
    """The clause that a check of Schemathesis belongs to, for the exchange that failed it."""
    if check in _OF_CHECK:
        return _OF_CHECK[check]
    if exchange is None or exchange.reply is None:
        return "HTTP-6"
    if check == "negative_data_rejection":
        return _OF_REFUSAL.get(exchange.operation, "HTTP-3")
    if check == "response_schema_conformance" and not exchange.succeeded:
        return "HTTP-3"
    return _OF_OPERATION.get(exchange.operation, "HTTP-3")


def configuration(context: RunContext, url: str) -> dict[str, Any]:
    """How Schemathesis works on this world, in the terms of its own configuration file."""
    examples = _EXAMPLES_OWN if context.own else _EXAMPLES
    checks: dict[str, Any] = {"enabled": False}
    if context.own:
        answers = ["2xx", 401, 403, 404, 409, 413, 422, 429]
        checks = {"positive_data_acceptance": {"expected-statuses": answers}}
    return {
        "base-url": url,
        "seed": context.seed,
        "workers": 1,
        "continue-on-failure": True,
        "request-timeout": _PATIENCE_S,
        "auth": {"basic": dict(zip(("username", "password"), CREDENTIALS, strict=True))},
        "generation": {
            "mode": "all",
            "max-examples": max(1, round(examples * context.budget_s / 60)),
            "no-shrink": True,  # one exchange shows it, and the time is better spent on others
            "database": "none",
        },
        "phases": {
            "stateful": {"enabled": context.own, "max-steps": _STEPS},
        },
        "checks": checks,
    }


def conformance(context: RunContext) -> None:
    """Send what Schemathesis makes of the document.

    Raises:
        OutOfTime: The budget was spent before it was done.
    """
    import schemathesis  # noqa: PLC0415 - heavy, and needed only once something is driven
    from schemathesis.engine import events, from_schema  # noqa: PLC0415

    with through_proxy(context) as (url, recording_proxy):
        config = schemathesis.Config.from_dict(configuration(context, url))
        schema = schemathesis.openapi.from_dict(copy.deepcopy(document()), config=config)
        stream = from_schema(schema).execute()
        recording_proxy.when_over = stream.stop
        for event in stream:
            if isinstance(event, events.Interrupted) and not recording_proxy.is_over:
                raise KeyboardInterrupt  # and not the end of the budget, at which it was told to stop
            if isinstance(event, events.ScenarioFinished) and context.own and not recording_proxy.is_over:
                _remark(context, event.recorder)
            elif isinstance(event, (events.NonFatalError, events.FatalError)):
                _note(context, recording_proxy, event)
        spent = recording_proxy.is_over
    if context.can(Capability.CLOCK):
        context.account.advance(oracle.LONGEST_LIFE)  # what it opened, ends
    if spent:
        raise OutOfTime


def _remark(context: RunContext, recorder: Any) -> None:
    """Enter the checks that failed, each with its exchange, under their clauses."""
    for case_id, nodes in recorder.checks.items():
        for node in nodes:
            if node.failure_info is None:
                continue
            exchange = _exchange(context, recorder, case_id)
            if node.name == "negative_data_rejection" and exchange is not None and _is_in_order(exchange):
                continue
            clause, failure = clause_of(node.name, exchange), node.failure_info.failure
            earlier = [v for v in context.driver_violations if v.clause == clause and v.expected.startswith(node.name)]
            if len(earlier) < _MOST_PER_CHECK:
                expected = f"{node.name}: {failure.title}"
                seen = " ".join(str(failure.message).split())[:300]
                context.driver_violations.append(
                    Violation(clause, expected, seen, () if exchange is None else (exchange,))
                )


def _is_in_order(exchange: Exchange) -> bool:
    """Whether a list that was meant to be broken went out as a valid one: what was odd has no form in a URL."""
    return exchange.operation is Operation.LIST and isinstance(parse_query(exchange), oracle.Query)


def _exchange(context: RunContext, recorder: Any, case_id: str) -> Exchange | None:
    interaction = recorder.interactions.get(case_id)
    response = None if interaction is None else interaction.response
    number = None if response is None else response.headers.get(NUMBER)
    if not number:
        return None
    return next((e for e in reversed(context.recorder.exchanges) if e.number == int(number[0])), None)


def _note(context: RunContext, recording_proxy: RecordingProxy, event: Any) -> None:
    """Say that Schemathesis itself gave up on something: what it did not do must not count as done."""
    if context.own and not recording_proxy.is_over:
        context.notes.append(
            f"Schemathesis could not go on: {' '.join(str(getattr(event, 'info', event)).split())[:300]}"
        )


DRIVERS: Final = (
    Driver(
        name="conformance",
        purpose="Send what Schemathesis draws from the document: examples, bounds, and what breaks the rules.",
        clauses=_TOUCHED,
        run=conformance,
        stage=Stage.HARSH,
    ),
)
