"""Defects of creating a session and of its amounts."""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tests.targets.reference import Reference
from tests.targets.tampering import (
    Defect,
    Inner,
    Tampering,
    both,
    built,
    fresh,
    replaced,
    request,
    result,
    setting,
    shown,
    without,
    wrapped,
)
from tests.targets.values import DAY_S, URL, Account, Answer, Request, Session, wall_s

SHOP: Final = "https://shop.example/"


def optional(name: str) -> Tampering:
    return wrapped("url", lambda inner, body, asked: SHOP if asked == name and name not in body else inner(body, asked))


def accepts(fits: Any) -> Tampering:
    """Addresses that are none."""
    return wrapped("url_fits", lambda inner, url, name: inner(url, name) or fits(url, name))


def read_as(change: Any) -> Tampering:
    """Integers that are read from something else."""
    return wrapped("integer", lambda inner, value, limits, path: inner(change(value), limits, path))


def of_lines(change: Any) -> Tampering:
    """A new session with other line items."""
    return built(lambda session: {"line_items": {"object": "list", "data": change(session["line_items"]["data"])}})


def same_session() -> Tampering:
    made: dict[tuple[str, str], Session] = {}

    def create(inner: Inner, account: Account, body: Any) -> Session:
        name = (account.name, json.dumps(body))
        if name not in made:
            made[name] = inner(account, body)
        return made[name]

    return wrapped("create", create)


def first_only(inner: Inner, item: Any, path: str) -> dict[str, Any]:
    if path == "line_items[0]":
        return dict(inner(item, path))
    price, quantity = item["price_data"], item.get("quantity", 1)
    return {
        "amount_total": price["unit_amount"] * quantity,
        "currency": price["currency"],
        "description": price["product_data"].get("description", price["product_data"]["name"]),
        "quantity": quantity,
    }


def unless(inner: Inner, name: str, value: Any) -> Any:
    """The text of a product, if it is not this value of this property: else the value."""
    return lambda holder, asked, limits, path: (
        value if asked == name and holder.get(name, ...) == value else inner(holder, asked, limits, path)
    )


def written_out(inner: Inner, holder: dict[str, Any], name: str, limits: tuple[int, int], path: str) -> Any:
    is_number = isinstance(holder.get(name), int)
    return inner({**holder, name: str(holder[name])} if is_number else holder, name, limits, path)


def in_float32(total: int) -> int:
    return total - total % (1 << (total.bit_length() - 24)) if total > 2**24 else total


def merged(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for index, line in enumerate(lines) if line not in lines[:index]]


def upper(code: Any) -> Any:
    return code.upper() if isinstance(code, str) else code


def in_chunks(change: Callable[[bytes], bytes]) -> Tampering:
    """What a body that comes in chunks is taken for."""

    def changed(_: Reference, seen: Request) -> Request:
        is_chunked = (seen.headers.get("Transfer-Encoding") or "").lower() == "chunked"
        return replace(seen, body=change(seen.body)) if is_chunked else seen

    return request(changed)


def takes_over(*names: str) -> Tampering:
    """What a body has under these names of a session is written into it."""

    def create(inner: Inner, account: Account, body: Any) -> Session:
        session: Session = inner(account, body)
        session.update({name: body[name] for name in names if name in body})
        return session

    return wrapped("create", create)


def takes_over_of_lines(name: str) -> Tampering:
    return wrapped(
        "line", lambda inner, item, path: {**inner(item, path), **({name: item[name]} if name in item else {})}
    )


def in_pieces(body: bytes, size: int) -> bytes:
    """What becomes of a body each of whose pieces is decoded by itself."""
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return "".join(piece.decode("utf-8", "replace") for piece in pieces).encode()


CREATE_DEFECTS: Final = {
    "no mode": Defect("CRE-1", result("shown", without("mode"))),
    "chunks lost": Defect("CRE-1", in_chunks(lambda _: b"")),
    "chunks of any number": Defect("HTTP-4", in_chunks(lambda body: body.replace(b" " * 999, b""))),
    "expires_at as string": Defect("CRE-1", shown(lambda session: {"expires_at": str(session["expires_at"])})),
    "status taken over": Defect("CRE-3", takes_over("status")),
    "created taken over": Defect("CRE-4", takes_over("created")),
    "url taken over": Defect("CRE-9", takes_over("url")),
    "id taken over": Defect("CRE-10", takes_over("id")),
    "total taken over": Defect("AMT-1", takes_over("amount_total")),
    "currency taken over": Defect("AMT-3", takes_over("currency")),
    "amount of a line taken over": Defect("AMT-2", takes_over_of_lines("amount_total")),
    "description of a line taken over": Defect("AMT-5", takes_over_of_lines("description")),
    "large bodies decoded in pieces": Defect(
        "AMT-5", request(lambda _, seen: replace(seen, body=in_pieces(seen.body, 65_536)))
    ),
    "chunks decoded one by one": Defect("AMT-5", in_chunks(lambda body: in_pieces(body, max(1, len(body) // 2)))),
    "success_url optional": Defect("CRE-2", optional("success_url")),
    "return_url optional": Defect("CRE-2", optional("return_url")),
    "line_items optional": Defect(
        "CRE-2",
        both(
            setting(lines=(0, 100)),
            wrapped("lines", lambda inner, body: inner({"line_items": [], **body})),
        ),
    ),
    "new is complete": Defect("CRE-3", built(lambda _: {"status": "complete"})),
    "created in ms": Defect("CRE-4", built(lambda session: {"created": session["created"] * 1_000})),
    "created is wall clock": Defect("CRE-4", built(lambda _: {"created": wall_s()})),
    "default 23 h": Defect("CRE-5", setting(lifetime_s=82_800)),
    "expires_at rounded to minutes": Defect(
        "CRE-6", built(lambda session: {"expires_at": session["expires_at"] // 60 * 60})
    ),
    "expires_at ignored": Defect("CRE-6", built(lambda session: {"expires_at": session["created"] + DAY_S})),
    "1799 s accepted": Defect("CRE-7", setting(lifetimes_s=(1_799, DAY_S))),
    "1800 s refused": Defect("CRE-7", setting(lifetimes_s=(1_801, DAY_S))),
    "86401 s accepted": Defect("CRE-7", setting(lifetimes_s=(1_800, DAY_S + 1))),
    "86400 s refused": Defect("CRE-7", setting(lifetimes_s=(1_800, DAY_S - 1))),
    "past accepted": Defect(
        "CRE-7",
        wrapped(
            "expiry",
            lambda inner, body, now: (
                body["expires_at"]
                if type(body.get("expires_at")) is int and body["expires_at"] < now
                else inner(body, now)
            ),
        ),
    ),
    "fragment dropped": Defect("CRE-8", result("url", lambda url: url and url.partition("#")[0])),
    "urls normalised": Defect("CRE-8", result("url", lambda url: f"{url}/" if url and url.count("/") == 2 else url)),
    "urls swapped": Defect(
        "CRE-8",
        built(lambda session: {"success_url": session["return_url"], "return_url": session["success_url"]}),
    ),
    "relative page url": Defect("CRE-9", replaced("page_url", lambda session_id: f"/pay/{session_id}")),
    "page is 404": Defect("CRE-9", replaced("page", lambda _: Answer(404, {"Content-Type": "text/html"}, "No."))),
    "page where nobody listens": Defect(
        "CRE-9", replaced("page_url", lambda session_id: f"http://127.0.0.1:9/pay/{session_id}")
    ),
    "free page without a form": Defect(
        "CRE-9",
        wrapped("buttons", lambda inner, session, step: inner(session, step) if session["amount_total"] else ()),
    ),
    "id with slash": Defect("CRE-10", replaced("new_id", lambda _: f"cs/test/{secrets.token_hex(12)}Aa")),
    "same body same session": Defect("CRE-10", fresh(same_session)),
    "amount strings accepted": Defect(
        "CRE-11", read_as(lambda value: int(value) if isinstance(value, str) and value.isdigit() else value)
    ),
    "amount fractions accepted": Defect(
        "CRE-11", read_as(lambda value: int(value) if isinstance(value, float) else value)
    ),
    "negative amount accepted": Defect("CRE-11", setting(amounts=(-(10**9), 99_999_999))),
    "amount above limit accepted": Defect("CRE-11", setting(amounts=(0, 10**12))),
    "amount at limit refused": Defect("CRE-11", setting(amounts=(0, 99_999_998))),
    "zero amount refused": Defect("CRE-11", setting(amounts=(1, 99_999_999))),
    "quantity zero accepted": Defect("CRE-11", setting(quantities=(0, 10_000))),
    "quantity 10000 refused": Defect("CRE-11", setting(quantities=(1, 9_999))),
    "quantity 10001 accepted": Defect("CRE-11", setting(quantities=(1, 10_001))),
    "boolean amounts accepted": Defect(
        "CRE-11", read_as(lambda value: int(value) if isinstance(value, bool) else value)
    ),
    "only first line checked": Defect("CRE-11", wrapped("line", first_only)),
    "lower case currency accepted": Defect(
        "CRE-12", wrapped("currency", lambda inner, code, path: inner(upper(code), path))
    ),
    "any three letters": Defect(
        "CRE-12",
        wrapped(
            "currency",
            lambda inner, code, path: (
                code if isinstance(code, str) and re.fullmatch("[A-Z]{3}", code) else inner(code, path)
            ),
        ),
    ),
    "mixed currencies accepted": Defect("CRE-13", replaced("check_currencies", lambda _: None)),
    "no lines accepted": Defect("CRE-14", setting(lines=(0, 100))),
    "101 lines accepted": Defect("CRE-14", setting(lines=(1, 101))),
    "100 lines refused": Defect("CRE-14", setting(lines=(1, 99))),
    "one line only": Defect("CRE-14", setting(lines=(1, 1))),
    "javascript url accepted": Defect("CRE-15", accepts(lambda url, _: url.startswith("javascript:"))),
    "relative cancel_url accepted": Defect(
        "CRE-15", accepts(lambda url, name: name == "cancel_url" and url.startswith("/"))
    ),
    "upper case scheme refused": Defect(
        "CRE-15", replaced("url_fits", lambda url, _: URL.fullmatch(url) and not url.startswith("H"))
    ),
    "description required": Defect("CRE-16", setting(product_required=("name", "description"))),
    "name optional": Defect("CRE-16", setting(product_required=())),
    "quantity defaults to 1": Defect(
        "CRE-16",
        wrapped(
            "line", lambda inner, item, path: inner({"quantity": 1, **item} if isinstance(item, dict) else item, path)
        ),
    ),
    "cancel_url required": Defect("CRE-17", setting(urls_required=("success_url", "return_url", "cancel_url"))),
    "null cancel_url accepted": Defect(
        "CRE-18",
        wrapped(
            "url",
            lambda inner, body, name: None if name == "cancel_url" and body.get(name) is None else inner(body, name),
        ),
    ),
    "null expires_at accepted": Defect(
        "CRE-18",
        wrapped(
            "expiry",
            lambda inner, body, now: inner({} if body.get("expires_at") is None else body, now),
        ),
    ),
    "null description accepted": Defect(
        "CRE-18", wrapped("text", lambda inner, *args: unless(inner, "description", None)(*args))
    ),
    "name number accepted": Defect("CRE-18", wrapped("text", written_out)),
    "name 251 accepted": Defect("CRE-19", setting(names=(1, 260))),
    "name counted in bytes": Defect("CRE-19", replaced("length", lambda text: len(text.encode()))),
    "name counted in utf-16": Defect("CRE-19", replaced("length", lambda text: len(text.encode("utf-16-le")) // 2)),
    "empty description accepted": Defect("CRE-19", setting(descriptions=(0, 1_000))),
    "description 1000 refused": Defect("CRE-19", setting(descriptions=(1, 999))),
    "url 2049 accepted": Defect("CRE-19", setting(url_most=2_148)),
    "url 2048 refused": Defect("CRE-19", setting(url_most=2_047)),
    "total off by one": Defect("AMT-1", result("total", lambda total: total + 1)),
    "total of first line": Defect(
        "AMT-1", replaced("total", lambda lines: next((line["amount_total"] for line in lines), 0))
    ),
    "total counts lines once": Defect("AMT-2", replaced("line_total", lambda amount, _: amount)),
    "currency of account": Defect(
        "AMT-3",
        both(
            built(lambda _: {"currency": "SGD"}),
            of_lines(lambda lines: [{**line, "currency": "SGD"} for line in lines]),
        ),
    ),
    "lines sorted": Defect("AMT-4", of_lines(lambda lines: sorted(lines, key=lambda line: str(line["description"])))),
    "equal lines merged": Defect("AMT-4", of_lines(merged)),
    "lines without object": Defect(
        "AMT-4", built(lambda session: {"line_items": {"data": session["line_items"]["data"]}})
    ),
    "quantity lost": Defect("AMT-4", of_lines(lambda lines: [{**line, "quantity": 1} for line in lines])),
    "description is name": Defect("AMT-5", wrapped("described", lambda inner, title, _: inner(title, None))),
    "description missing is empty": Defect("AMT-5", replaced("described", lambda _, description: description or "")),
    "description escaped": Defect("AMT-5", result("described", html.escape)),
    "free is unpaid": Defect("AMT-6", built(lambda _: {"payment_status": "unpaid"})),
    "free becomes paid": Defect(
        "AMT-6",
        wrapped(
            "change",
            lambda inner, account, session, status, **named: (
                inner(account, session, status, **named),
                session.update(payment_status="paid") if status == "complete" else None,
            ),
        ),
    ),
    "float cents": Defect("AMT-7", replaced("line_total", lambda amount, quantity: int(amount / 100 * quantity * 100))),
    "float32": Defect("AMT-7", result("line_total", in_float32)),
    "amounts as floats": Defect("AMT-7", shown(lambda session: {"amount_total": float(session["amount_total"])})),
    "wraps at 32 bits": Defect("AMT-7", result("line_total", lambda total: total & 0xFFFFFFFF)),
}
