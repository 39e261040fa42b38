"""The report as JSON: the same facts as every other format, for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contract_tests.history import Delivery, Exchange, Json
    from contract_tests.verdicts import ClauseReport, Report, Violation


def as_json(report: Report) -> dict[str, Json]:
    """The report as plain values."""
    return {
        "verdict": report.verdict.value,
        "target": report.target,
        "seed": report.seed,
        "requests": report.requests,
        "duration_s": round(report.duration_s, 3),
        "interrupted": report.interrupted,
        "notes": list(report.notes),
        "matrix": {name: {str(status): n for status, n in sorted(row.items())} for name, row in report.matrix.items()},
        "visited": {name: dict(sorted(row.items())) for name, row in report.visited.items()},
        "clauses": [_clause(entry) for entry in report.clauses],
    }


def render(report: Report) -> str:
    """The report as indented JSON."""
    return json.dumps(as_json(report), indent=2, ensure_ascii=False) + "\n"


def _clause(entry: ClauseReport) -> dict[str, Json]:
    return {
        "id": entry.clause.id,
        "source": entry.clause.source.value,
        "statement": entry.clause.statement,
        "verdict": entry.verdict.value,
        "exercised": entry.exercised,
        "violations": [_violation(violation) for violation in entry.violations],
        **({"reason": entry.reason} if entry.reason else {}),
    }


def _violation(violation: Violation) -> dict[str, Json]:
    return {
        "expected": violation.expected,
        "seen": violation.seen,
        "request_ids": list(violation.request_ids),
        "exchanges": [_exchange(exchange) for exchange in violation.exchanges],
        "deliveries": [_delivery(delivery) for delivery in violation.deliveries],
    }


def _exchange(exchange: Exchange) -> dict[str, Json]:
    request, reply = exchange.request, exchange.reply
    query = f"?{request.query}" if request.query else ""
    return {
        "number": exchange.number,
        "scenario": exchange.scenario,
        "account": exchange.account,
        "method": request.method,
        "path": request.path + query,
        "headers": [list(header) for header in request.headers],
        "body": _text(request.body),
        "status": exchange.status,
        "failure": exchange.failure,
        "request_id": exchange.request_id,
        "reply": _text(reply.body) if reply is not None else None,
    }


def _delivery(delivery: Delivery) -> dict[str, Json]:
    return {
        "number": delivery.number,
        "url": delivery.endpoint.url,
        "headers": [list(header) for header in delivery.headers],
        "body": _text(delivery.body),
        "answered": delivery.answered,
    }


def _text(body: bytes | None, most: int = 4_000) -> str | None:
    if body is None:
        return None
    text = body.decode("utf-8", "replace")
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
