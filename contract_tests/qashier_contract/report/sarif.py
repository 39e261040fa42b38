"""The report as SARIF 2.1.0: what code scanning services and editors read.

A clause is a rule, a violation a result. A clause that was kept is a result of the kind `pass`, and one that was not
exercised of the kind `open`, which says that there was too little to decide.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from qashier_contract.report.facts import again
from qashier_contract.transport import user_agent
from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qashier_contract.history import Exchange
    from qashier_contract.values import Json
    from qashier_contract.verdicts import ClauseReport, Report, Violation

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_MOST_BODY: Final = 4_000
_KINDS: Final = {Verdict.PASSED: "pass", Verdict.NOT_EXERCISED: "open"}


def as_sarif(report: Report) -> dict[str, Json]:
    """The run as a SARIF log."""
    name, _, version = user_agent().partition("/")
    rules = [
        {
            "id": entry.clause.id,
            "shortDescription": {"text": entry.clause.statement},
            "defaultConfiguration": {"level": "warning" if entry.clause.source.value == "assumed" else "error"},
            "properties": {"source": entry.clause.source.value},
        }
        for entry in report.clauses
    ]
    results = [result for index, entry in enumerate(report.clauses) for result in _results(report, entry, index)]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": name, "semanticVersion": version or "0", "rules": rules}},
                "invocations": [
                    {"executionSuccessful": not report.interrupted, "commandLine": again(report)},
                ],
                "results": results,
                "columnKind": "unicodeCodePoints",
                "properties": {
                    "target": report.target,
                    "verdict": report.verdict.value,
                    "seed": report.seed,
                    "requests": report.requests,
                },
            }
        ],
    }


def render(report: Report) -> str:
    """The run as the text of a SARIF file."""
    return json.dumps(as_sarif(report), indent=1, ensure_ascii=False) + "\n"


def _results(report: Report, entry: ClauseReport, index: int) -> Iterator[dict[str, Json]]:
    rule = {"ruleId": entry.clause.id, "ruleIndex": index}
    if entry.verdict in _KINDS:
        text = f"exercised {entry.exercised} times" if entry.exercised else f"not exercised: {entry.reason}"
        yield {**rule, "kind": _KINDS[entry.verdict], "level": "none", "message": {"text": text}}
        return
    for violation in entry.violations:
        yield {
            **rule,
            "kind": "fail",
            "level": "error" if entry.verdict is Verdict.FAILED else "warning",
            "message": {"text": f"expected {violation.expected}, seen {violation.seen}"},
            **_places(report, violation),
            "partialFingerprints": {"expectation/v1": _fingerprint(violation)},
            "properties": {"requestIds": list(violation.request_ids)},
        }


def _places(report: Report, violation: Violation) -> dict[str, Json]:
    """Where it was seen: the exchange that breaks the clause, and those that lead there."""
    if not violation.exchanges:
        url = violation.deliveries[-1].endpoint.url if violation.deliveries else report.target
        return {"locations": [_location(url, "webhook")]}
    last = violation.exchanges[-1]
    return {
        "locations": [_location(_url(report, last.request.path), last.operation.value)],
        "relatedLocations": [
            {
                "id": number,
                "message": {"text": str(exchange)},
                **_location(_url(report, exchange.request.path), exchange.operation),
            }
            for number, exchange in enumerate(violation.exchanges[:-1], 1)
        ],
        **_web(report, last),
    }


def _location(url: str, operation: str) -> dict[str, Json]:
    return {
        "physicalLocation": {"artifactLocation": {"uri": url}},
        "logicalLocations": [{"name": str(operation), "kind": "function"}],
    }


def _url(report: Report, path: str) -> str:
    return path if path.startswith(("http://", "https://")) else f"{report.target}{path}"


def _web(report: Report, exchange: Exchange) -> dict[str, Json]:
    """Request and answer, as SARIF has them. Of several headers of one name the last is shown."""
    request, reply = exchange.request, exchange.reply
    web: dict[str, Json] = {
        "webRequest": {
            "protocol": "HTTP",
            "version": "1.1",
            "method": request.method,
            "target": _url(report, exchange.request.target),
            "headers": dict(request.headers),
            **({"body": _body(request.body)} if request.body else {}),
        }
    }
    if reply is None:
        web["webResponse"] = {"noResponseReceived": True, "reasonPhrase": exchange.failure or "no answer"}
    else:
        web["webResponse"] = {
            "protocol": "HTTP",
            "version": "1.1",
            "statusCode": reply.status,
            "headers": dict(reply.headers),
            "body": _body(reply.body),
        }
    return web


def _body(body: bytes) -> dict[str, Json]:
    return {"text": body.decode("utf-8", "replace")[:_MOST_BODY]}


def _fingerprint(violation: Violation) -> str:
    """The same for the same expectation, run for run, whatever the ids and amounts."""
    return hashlib.sha256(f"{violation.clause}|{violation.key}".encode()).hexdigest()[:32]
