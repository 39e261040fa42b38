"""Everything that was sent and received, as HAR 1.2: what browsers' developer tools and HTTP proxies read.

Credentials are not in it: the record never held them. Deliveries of webhooks are entries too, from the target to our
receiver. What HAR has no field for starts with an underscore, as it asks.
"""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from qashier_contract.history import CONTROL_PATH
from qashier_contract.report.timestamps import iso_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qashier_contract.history import Delivery, Exchange, History, Reply
    from qashier_contract.values import Json
    from qashier_contract.verdicts import Report


def as_har(report: Report) -> dict[str, Json]:
    """The run as HAR."""
    entries = [
        *(_exchange(report, exchange) for exchange in report.history.exchanges),
        *(_delivery(report.history, delivery) for delivery in report.history.deliveries),
    ]
    entries.sort(key=lambda entry: entry["startedDateTime"])
    seed = "" if report.seed is None else f", seed {report.seed}"
    comment = f"contract check of {report.target}{seed}, verdict: {report.verdict}"
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "qashier-mock check", "version": "1"},
            "pages": [],
            "entries": entries,
            "comment": comment,
        }
    }


def render(report: Report) -> str:
    """The run as the text of a HAR file."""
    return json.dumps(as_har(report), indent=1, ensure_ascii=False) + "\n"


def _exchange(report: Report, exchange: Exchange) -> dict[str, Json]:
    request = exchange.request
    time_ms = round((exchange.received_ns - exchange.sent_ns) / 1e6, 3)
    query = f"?{request.query}" if request.query else ""
    sent: dict[str, Json] = {
        "method": request.method,
        "url": f"{_base(report, request.path)}{request.path}{query}",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _headers(request.headers),
        "queryString": [
            {"name": name, "value": value} for name, value in parse_qsl(request.query, keep_blank_values=True)
        ],
        "headersSize": -1,
        "bodySize": len(request.body or b""),
    }
    if request.body is not None:
        kind = request.header("Content-Type") or ""
        sent["postData"] = {"mimeType": kind, "params": [], **_text(request.body, encoding="_encoding")}
    entry = {
        "startedDateTime": iso_time(report.history, exchange.sent_ns),
        "time": time_ms,
        "request": sent,
        "response": _response(exchange.reply, exchange.failure),
        "cache": {},
        "timings": {"send": 0, "wait": time_ms, "receive": 0},
        "_number": exchange.number,
        "_scenario": exchange.scenario,
        "_account": exchange.account,
    }
    if exchange.page_of is not None:
        entry["_hostedPageOf"] = exchange.page_of
    return entry


def _base(report: Report, path: str) -> str:
    if path.startswith(("http://", "https://")):
        return ""
    if path.startswith(CONTROL_PATH):
        return "{0.scheme}://{0.netloc}".format(urlsplit(report.target))
    return report.target


def _response(reply: Reply | None, failure: str | None) -> dict[str, Json]:
    if reply is None:
        # HAR writes a missing answer as status 0; why it is missing stands beside it.
        return {
            "status": 0,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": "x-unknown"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
            "_error": failure or "no answer",
        }
    content: dict[str, Json] = {"size": len(reply.body), "mimeType": reply.header("content-type") or "x-unknown"}
    if reply.body:
        content |= _text(reply.body, encoding="encoding")
    return {
        "status": reply.status,
        "statusText": _phrase(reply.status),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _headers(reply.headers),
        "content": content,
        "redirectURL": reply.header("location") or "",
        "headersSize": -1,
        "bodySize": len(reply.body),
    }


def _delivery(history: History, delivery: Delivery) -> dict[str, Json]:
    return {
        "startedDateTime": iso_time(history, delivery.received_ns),
        "time": 0,
        "request": {
            "method": delivery.method,
            "url": delivery.endpoint.url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _headers(delivery.headers),
            "queryString": [],
            "postData": {
                "mimeType": delivery.header("content-type") or "",
                "params": [],
                **_text(delivery.body, encoding="_encoding"),
            },
            "headersSize": -1,
            "bodySize": len(delivery.body),
        },
        "response": {
            "status": max(0, delivery.answered),
            "statusText": _phrase(max(0, delivery.answered)),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": "x-unknown"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": 0,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
        "_number": delivery.number,
        "_webhook": True,
        "_account": delivery.endpoint.account,
    }


def _headers(headers: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in headers]


def _text(body: bytes, *, encoding: str) -> dict[str, Json]:
    """A body as text, or as base64 where it is none. HAR has `encoding` for answers only."""
    try:
        return {"text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), encoding: "base64"}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
