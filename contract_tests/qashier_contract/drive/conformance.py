"""Breadth: what Schemathesis makes of the document, sent to the target.

On any target it only generates, and the clauses judge what came back. On our own mock, which must answer exactly as the
document says, all its phases and checks run, and a check that fails is a violation of the clause that it belongs to.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from qashier_contract import oracle
from qashier_contract.document import closed_document, document
from qashier_contract.drive import RunContext, Stage, driver
from qashier_contract.drive.recording_proxy import CREDENTIALS, NUMBER, RecordingProxy, through_proxy
from qashier_contract.findings import Finding, PassesCheck, StatusIs, expect
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.interrupts import OutOfTime
from qashier_contract.ledger import parse_query
from qashier_contract.places import in_body, status_of
from qashier_contract.statuses import Statuses

_EXAMPLES: Final = 12
"""How many inputs are drawn for each operation and minute of the budget, beside those that the document determines."""
_EXAMPLES_OWN: Final = 25
_STEPS: Final = 6
_PATIENCE_S: Final = 300
"""Longer than a request may wait for its turn and for an answer: `Target` decides when an answer is lost."""
_MOST_PER_CHECK: Final = 3
_STATUSES: Final = ("allowed_status_codes", "expected_statuses", "allowed_statuses")
"""What failures of Schemathesis call the statuses that would have been right."""


def configuration(context: RunContext, url: str) -> dict[str, Any]:
    """How Schemathesis works on this world, in the terms of its own configuration file."""
    examples = _EXAMPLES_OWN if context.terms.own else _EXAMPLES
    checks: dict[str, Any] = {"enabled": False}
    if context.terms.own:
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
            "stateful": {"enabled": context.terms.own, "max-steps": _STEPS},
        },
        "checks": checks,
    }


@driver(
    "Send what Schemathesis draws from the document: examples, bounds, and what breaks the rules.", stage=Stage.ENDLESS
)
def conformance(context: RunContext) -> None:
    import schemathesis  # noqa: PLC0415 - heavy, and needed only once something is driven
    from schemathesis.engine import events, from_schema  # noqa: PLC0415

    with through_proxy(context) as (url, recording_proxy):
        config = schemathesis.Config.from_dict(configuration(context, url))
        judged = closed_document() if context.terms.own else copy.deepcopy(document())
        schema = schemathesis.openapi.from_dict(judged, config=config)
        stream = from_schema(schema).execute()
        recording_proxy.when_over = stream.stop
        for event in stream:
            if isinstance(event, events.Interrupted) and not recording_proxy.is_over:
                raise KeyboardInterrupt  # and not the end of the budget, at which it was told to stop
            if isinstance(event, events.ScenarioFinished) and context.terms.own and not recording_proxy.is_over:
                enter(context, event.recorder)
            elif isinstance(event, (events.NonFatalError, events.FatalError)):
                _note(context, recording_proxy, event)
        spent = recording_proxy.is_over
    if context.can(Capability.CLOCK):
        context.account.advance(oracle.LONGEST_LIFE)  # what it opened, ends
    if spent:
        raise OutOfTime


def enter(context: RunContext, recorder: Any) -> None:
    """Enter the checks that failed, each with its exchange."""
    for case_id, nodes in recorder.checks.items():
        for node in nodes:
            if node.failure_info is None:
                continue
            exchange = _exchange(context, recorder, case_id)
            if exchange is None:
                said = " ".join(str(node.failure_info.failure).split())[:300]
                context.notes.append(f"Schemathesis's check {node.name} failed, and no exchange shows it: {said}")
                continue
            if node.name == "negative_data_rejection" and _is_in_order(exchange):
                continue
            failed = _finding(node.name, node.failure_info.failure, exchange)
            earlier = [one for one in context.failed_checks if _kind(one) == _kind(failed)]
            if len(earlier) < _MOST_PER_CHECK:
                context.failed_checks.append(failed)


def _finding(check: str, failure: Any, exchange: Exchange) -> Finding:
    """What a failed check expected: a status where it names some, else at the place that it names."""
    statuses = next((found for name in _STATUSES if (found := getattr(failure, name, None))), None)
    if statuses is not None:
        words = [str(status) for status in statuses]
        ranges = tuple((int(word.replace("x", "0")), int(word.replace("x", "9"))) for word in words)
        return expect(StatusIs(exchange, Statuses(ranges, " or ".join(words))), failure.title, about=check)
    path = getattr(failure, "instance_path", None)
    place = status_of(exchange) if path is None else in_body(exchange, *path)
    return expect(PassesCheck(place, check, " ".join(f"{failure.title}: {failure.message}".split())[:300]), about=check)


def _kind(failed: Finding) -> tuple[str, object]:
    """What is not worth more than a few examples: the check and the operation."""
    return failed.about, failed.failing_exchange and failed.failing_exchange.operation


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
    if context.terms.own and not recording_proxy.is_over:
        context.notes.append(
            f"Schemathesis could not go on: {' '.join(str(getattr(event, 'info', event)).split())[:300]}"
        )
