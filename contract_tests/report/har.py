"""The whole run as HAR 1.2, for tools that read recorded traffic. Keys are not in it: the record has none."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from contract_tests.history import Exchange, Json
    from contract_tests.verdicts import Report

_UNKNOWN: Final = -1
"""What HAR says for a size or time that is not known."""


def render(report: Report) -> str:
    """Every exchange with the target, in the order in which it was sent."""
    # The record's clock is monotonic; here it is pinned to the calendar, which it runs beside.
    origin = datetime.now(UTC) - timedelta(microseconds=time.monotonic_ns() / 1_000)  # noqa: TID251 - a file's date
    log = {
        "version": "1.2",
        "creator": {"name": "qashier-mock", "version": "1"},
        "comment": f"Contract check of {report.target}, seed {report.seed}: {report.verdict.value}",
        "entries": [_entry(exchange, report.target, origin) for exchange in report.history.exchanges],
    }
    return json.dumps({"log": log}, indent=1, ensure_ascii=False) + "\n"


def _entry(exchange: Exchange, target: str, origin: datetime) -> dict[str, Json]:
    took_ms = (exchange.received_ns - exchange.sent_ns) / 1e6
    started = origin + timedelta(microseconds=exchange.sent_ns / 1_000)
    return {
        "startedDateTime": started.isoformat(timespec="milliseconds"),
        "time": took_ms,
        "request": _request(exchange, target),
        "response": _response(exchange),
        "cache": {},
        "timings": {"send": 0, "wait": took_ms, "receive": 0},
        "comment": exchange.scenario,
    }


def _request(exchange: Exchange, target: str) -> dict[str, Json]:
    request = exchange.request
    query = f"?{request.query}" if request.query else ""
    address = request.path if "://" in request.path else target.rstrip("/") + request.path
    told: dict[str, Json] = {
        "method": request.method,
        "url": address + query,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [{"name": name, "value": value} for name, value in request.headers],
        "queryString": [
            {"name": name, "value": value} for name, value in parse_qsl(request.query or "", keep_blank_values=True)
        ],
        "headersSize": _UNKNOWN,
        "bodySize": len(request.body or b""),
    }
    if request.body is not None:
        media_type = next((value for name, value in request.headers if name.lower() == "content-type"), "")
        told["postData"] = {"mimeType": media_type, "text": request.body.decode("utf-8", "replace")}
    return told


def _response(exchange: Exchange) -> dict[str, Json]:
    reply = exchange.reply
    headers = [] if reply is None else [{"name": name, "value": value} for name, value in reply.headers]
    body = b"" if reply is None else reply.body
    media_type = next((str(each["value"]) for each in headers if str(each["name"]).lower() == "content-type"), "")
    return {
        "status": 0 if reply is None else reply.status,
        "statusText": "",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers,
        "content": {"size": len(body), "mimeType": media_type, "text": body.decode("utf-8", "replace")},
        "redirectURL": next((str(each["value"]) for each in headers if str(each["name"]).lower() == "location"), ""),
        "headersSize": _UNKNOWN,
        "bodySize": len(body),
        **({"comment": exchange.failure} if exchange.failure else {}),
    }
