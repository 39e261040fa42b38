"""Everything that was sent and received, as HAR 1.2: what browsers' developer tools and HTTP proxies read.

Credentials are not in it: the record never held them. Deliveries of webhooks are entries too, from the target to our
receiver. What HAR has no field for starts with an underscore, as it asks. The checker itself sends bodies of 20 MiB:
without their text, which HAR allows, the file stays one that browsers open.
"""

from __future__ import annotations

import base64
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlsplit

from qashier_contract.history import CONTROL_PATH, Reply, Request
from qashier_contract.report.facts import iso_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qashier_contract.history import Delivery, Exchange, History
    from qashier_contract.values import Json
    from qashier_contract.verdicts import Report


_MOST_WRITTEN: Final = 1 << 20
"""Bytes of a body that are written out; `judge` leaves out what has no text."""


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
    request, reply = exchange.request, exchange.reply
    url = _base(report, request.path) + request.target
    entry = _entry(
        iso_time(report.history, exchange.sent_ns),
        round((exchange.received_ns - exchange.sent_ns) / 1e6, 3),
        _request(request, url),
        # HAR writes a missing answer as status 0; why it is missing stands beside it.
        {**_response(Reply(status=0), size=-1), "_error": exchange.failure or "no answer"}
        if reply is None
        else _response(reply, size=len(reply.body)),
    )
    entry |= {"_number": exchange.number, "_scenario": exchange.scenario, "_account": exchange.account}
    return entry if exchange.page_of is None else entry | {"_hostedPageOf": exchange.page_of}


def _delivery(history: History, delivery: Delivery) -> dict[str, Json]:
    sent = Request(method=delivery.method, path="", headers=delivery.headers, body=delivery.body)
    entry = _entry(
        iso_time(history, delivery.received_ns),
        0,
        _request(sent, delivery.endpoint.url),
        _response(Reply(status=max(0, delivery.answered)), size=0),
    )
    return entry | {"_number": delivery.number, "_webhook": True, "_account": delivery.endpoint.account}


def _uri(url: str) -> str:
    """A URL without what may not stand in one: a query is sent with its brackets, and HAR wants them escaped."""
    authority = re.match("https?://[^/?#]*", url)
    end = authority.end() if authority is not None else 0
    rest = re.sub("%(?![0-9A-Fa-f]{2})", "%25", url[end:])
    return url[:end] + quote(rest, safe="%:/?#@!$&'()*+,;=~", errors="replace")


def _base(report: Report, path: str) -> str:
    if path.startswith(("http://", "https://")):
        return ""
    if path.startswith(CONTROL_PATH):
        return "{0.scheme}://{0.netloc}".format(urlsplit(report.target))
    return report.target


def _entry(started: str, time_ms: float, request: Json, response: Json) -> dict[str, Json]:
    return {
        "startedDateTime": started,
        "time": time_ms,
        "request": request,
        "response": response,
        "cache": {},
        "timings": {"send": 0, "wait": time_ms, "receive": 0},
    }


def _request(request: Request, url: str) -> dict[str, Json]:
    sent: dict[str, Json] = {
        "method": request.method,
        "url": _uri(url),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _named(request.headers),
        "queryString": _named(parse_qsl(request.query, keep_blank_values=True)),
        "headersSize": -1,
        "bodySize": len(request.body or b""),
    }
    if request.body is not None:
        kind = request.header("content-type") or ""
        sent["postData"] = {"mimeType": kind, "params": [], **_text(request.body, encoding="_encoding")}
    return sent


def _response(reply: Reply, *, size: int) -> dict[str, Json]:
    content: dict[str, Json] = {"size": len(reply.body), "mimeType": reply.header("content-type") or "x-unknown"}
    if reply.body:
        content |= _text(reply.body, encoding="encoding")
    return {
        "status": reply.status,
        "statusText": _phrase(reply.status),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _named(reply.headers),
        "content": content,
        "redirectURL": reply.header("location") or "",
        "headersSize": -1,
        "bodySize": size,
    }


def _named(pairs: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in pairs]


def _text(body: bytes, *, encoding: str) -> dict[str, Json]:
    """A body as text, or as base64 where it is none. HAR has `encoding` for answers only."""
    if len(body) > _MOST_WRITTEN:
        return {"comment": f"{len(body)} bytes, left out"}
    try:
        return {"text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), encoding: "base64"}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
