"""The report as JSON: the same facts as every other format, for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from qashier_contract.report.facts import causes
from qashier_contract.report.reproduction import reproduce

if TYPE_CHECKING:
    from qashier_contract.history import Delivery, Exchange
    from qashier_contract.values import Json
    from qashier_contract.verdicts import ClauseReport, Report, Violation


def as_json(report: Report) -> dict[str, Json]:
    """The report as plain values."""
    return {
        "verdict": report.verdict.value,
        "target": report.target,
        "seed": report.seed,
        "requests": report.requests,
        "duration_s": round(report.duration_s, 3),
        "interrupted": report.interrupted,
        "first_violation_s": None if report.first_violation_s is None else round(report.first_violation_s, 3),
        "notes": list(report.notes),
        "matrix": {name: {str(status): n for status, n in sorted(row.items())} for name, row in report.matrix.items()},
        "visited": {name: dict(sorted(row.items())) for name, row in report.visited.items()},
        "causes": [
            {"clause": cause.entry.clause.id, "follow": [entry.clause.id for entry in cause.follow]}
            for cause in causes(report)
        ],
        "clauses": [_clause(report, entry) for entry in report.clauses],
    }


def render(report: Report) -> str:
    """The report as indented JSON."""
    return json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n"


def _clause(report: Report, entry: ClauseReport) -> dict[str, Json]:
    return {
        "id": entry.clause.id,
        "source": entry.clause.source.value,
        "statement": entry.clause.statement,
        "verdict": entry.verdict.value,
        "exercised": entry.exercised,
        "violations": [_violation(report, violation) for violation in entry.violations],
        **({"reason": entry.reason} if entry.reason else {}),
    }


def _violation(report: Report, violation: Violation) -> dict[str, Json]:
    again = reproduce(report, violation)
    return {
        "expected": violation.expected,
        "seen": violation.seen,
        "request_ids": list(violation.request_ids),
        "sent_again": again.outcome,
        "curl": list(again.curl),
        "pytest": again.pytest,
        "exchanges": [_exchange(exchange) for exchange in violation.exchanges],
        "deliveries": [_delivery(delivery) for delivery in violation.deliveries],
    }


def _exchange(exchange: Exchange) -> dict[str, Json]:
    request, reply = exchange.request, exchange.reply
    return {
        "number": exchange.number,
        "scenario": exchange.scenario,
        "account": exchange.account,
        "method": request.method,
        "path": request.target,
        "headers": [list(header) for header in request.headers],
        "body": text(request.body),
        "status": exchange.status,
        "failure": exchange.failure,
        "request_id": exchange.request_id,
        "reply": text(reply.body) if reply is not None else None,
    }


def _delivery(delivery: Delivery) -> dict[str, Json]:
    return {
        "number": delivery.number,
        "url": delivery.endpoint.url,
        "headers": [list(header) for header in delivery.headers],
        "body": text(delivery.body),
        "answered": delivery.answered,
    }


def text(body: bytes | None, most: int = 4_000) -> str | None:
    """A body for showing, cut where it is long."""
    if body is None:
        return None
    shown = body.decode("utf-8", "replace")
    return shown if len(shown) <= most else f"{shown[:most]}… ({len(shown)} characters)"
