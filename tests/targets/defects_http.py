"""Defects of the credentials and of HTTP."""

from __future__ import annotations

import json
import re
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from tests.targets.reference import Reference
from tests.targets.tampering import (
    Defect,
    Inner,
    Tampering,
    answer,
    both,
    error,
    fresh,
    headers,
    replaced,
    request,
    setting,
    unlocked,
    wrapped,
)
from tests.targets.values import Account, Answer, HangUp, Refused, Request, Session


def as_first_account(server: Reference, seen: Request) -> Request:
    """The request with the key of the first account."""
    seen.headers["Authorization"] = f"Bearer {next(iter(server.accounts))}"
    return seen


def owner(inner: Inner, account: Account, session_id: str) -> Account:
    """The account that a session is in, whoever asks."""
    accounts = [account, *inner.server.accounts.values()]
    return next((one for one in accounts if any(s["id"] == session_id for s in one.sessions)), account)


def any_place(inner: Inner, sessions: list[Session], cursor: str, name: str) -> int:
    if any(s["id"] == cursor for one in inner.server.accounts.values() for s in one.sessions):
        return next((place for place, session in enumerate(sessions) if session["id"] == cursor), -1)
    return int(inner(sessions, cursor, name))


def of_everybody(inner: Inner, _: Account) -> list[Session]:
    sessions = [session for one in inner.server.accounts.values() for session in inner(one)]
    return sorted(sessions, key=lambda session: int(session["created"]), reverse=True)


def any_user(inner: Inner, kind: str, value: str) -> str | None:
    key: str | None = inner(kind, value)
    return "sk_test_" + re.sub("\\W|_", "", key.removeprefix("sk_test_")) if key and kind.lower() == "basic" else key


def cached() -> Tampering:
    """What a retrieve showed is shown to whoever asks for it then."""
    seen: dict[str, Session] = {}

    def retrieve(inner: Inner, account: Account, session_id: str) -> Session:
        try:
            return seen.setdefault(session_id, inner(account, session_id))
        except Refused:
            if session_id in seen:
                return seen[session_id]
            raise

    return wrapped("retrieve", retrieve)


def noted(inner: Inner, seen: Request) -> Account:
    """Whoever asks is kept for all requests at once."""
    account: Account = inner(seen)
    inner.server.__dict__["asking"] = account
    return account


def for_whoever_asked_last(inner: Inner, _: Account, *args: Any) -> Any:
    time.sleep(0.004)
    return inner(inner.server.__dict__["asking"], *args)


def fails(kind: type[Exception]) -> Any:
    """What lets one kind of error of the parser pass."""

    def parsed(inner: Inner, body: bytes) -> Any:
        try:
            json.loads(body)
        except kind:
            raise
        except Exception:  # noqa: BLE001, S110 - the server judges it
            pass
        return inner(body)

    return parsed


def odd_query(_: Reference, seen: Request) -> Request:
    if "][" in seen.query:
        raise KeyError(seen.query)
    return seen


def hang_up(given: Answer) -> Answer:
    raise HangUp(given.status)


def stores_refused(inner: Inner, account: Account, body: Any) -> Session:
    try:
        session: Session = inner(account, body)
    except Refused:
        if isinstance(body, dict) and isinstance(body.get("success_url"), str):
            price = {"currency": "SGD", "product_data": {"name": "x"}, "unit_amount": 1}
            good = {"line_items": [{"price_data": price, "quantity": 1}], "return_url": "https://shop.example/"}
            with suppress(Refused):
                inner(account, {**good, "success_url": body["success_url"]})
        raise
    return session


def is_open(method: str, path: str) -> Any:
    """What asks for no credentials there."""

    def change(server: Reference, seen: Request) -> Request:
        is_anonymous = seen.headers.get("Authorization") is None and seen.method == method
        return as_first_account(server, seen) if is_anonymous and re.fullmatch(path, seen.path) else seen

    return request(change)


HTTP_DEFECTS: Final = {
    "no challenge": Defect("AUTH-1", error(lambda given: headers(given, WWW_Authenticate=None))),
    "list without credentials": Defect("AUTH-1", is_open("GET", "/checkout/sessions")),
    "expire without credentials": Defect("AUTH-1", is_open("POST", ".*/expire")),
    "no basic": Defect("AUTH-2", replaced("user_of", lambda _: ("", "", ""))),
    "no bearer": Defect(
        "AUTH-3",
        wrapped("key_of", lambda inner, kind, value: None if kind.lower() == "bearer" else inner(kind, value)),
    ),
    "keys cut at 32": Defect("AUTH-5", wrapped("account", lambda inner, key: inner(key[:32]))),
    "keys cut at 64": Defect("AUTH-5", wrapped("account", lambda inner, key: inner(key[:64]))),
    "account of whoever asked last": Defect(
        "AUTH-5", both(unlocked, wrapped("account_of", noted), wrapped("perform", for_whoever_asked_last))
    ),
    "keys in lower case": Defect("AUTH-5", wrapped("account", lambda inner, key: inner(key.lower()))),
    "bearer is another account": Defect(
        "AUTH-3",
        wrapped("key_of", lambda inner, kind, value: inner(kind, value + "x" * (kind.lower() == "bearer"))),
    ),
    "any basic user": Defect("AUTH-4", wrapped("key_of", any_user)),
    "retrieve across accounts": Defect(
        "AUTH-5", wrapped("retrieve", lambda inner, account, wanted: inner(owner(inner, account, wanted), wanted))
    ),
    "retrieve cached across accounts": Defect("AUTH-5", fresh(cached)),
    "expire across accounts": Defect(
        "AUTH-5", wrapped("expire", lambda inner, account, wanted: inner(owner(inner, account, wanted), wanted))
    ),
    "list across accounts": Defect("AUTH-5", wrapped("newest_first", of_everybody)),
    "cursor across accounts": Defect("AUTH-5", wrapped("place", any_place)),
    "no request id on errors": Defect("HTTP-1", error(lambda given: headers(given, Request_Id=None))),
    "request id repeats": Defect("HTTP-1", replaced("new_request_id", lambda: "req_1")),
    "request id with dashes": Defect("HTTP-1", replaced("new_request_id", lambda: f"req-{secrets.token_hex(8)}")),
    "errors as html": Defect(
        "HTTP-2",
        error(lambda given: replace(headers(given, Content_Type="text/html"), content=f"<h1>{given.status}</h1>")),
    ),
    "success as text": Defect(
        "HTTP-2",
        answer(
            lambda _, given: (
                headers(given, Content_Type="text/plain")
                if given.status < 400 and not isinstance(given.content, str)
                else given
            )
        ),
    ),
    "404 is html": Defect(
        "HTTP-2",
        error(
            lambda given: replace(headers(given, Content_Type="text/html"), content="<h1>404</h1>"), code="not_found"
        ),
    ),
    "empty error": Defect("HTTP-3", error(lambda given: replace(given, content={}))),
    "error of codes only": Defect(
        "HTTP-3",
        error(
            lambda given: replace(
                given, content={"error": {"type": "invalid_request_error", "code": given.content["error"]["code"]}}
            )
        ),
    ),
    "error is a string": Defect(
        "HTTP-3", error(lambda given: replace(given, content=json.dumps(given.content["error"]["message"])))
    ),
    "param names another field": Defect(
        "HTTP-3",
        error(
            lambda given: replace(
                given,
                content={
                    "error": {
                        name: "cancel_url" if name == "param" else value
                        for name, value in given.content["error"].items()
                    }
                },
            )
        ),
    ),
    "405 without allow": Defect("HTTP-4", error(lambda given: headers(given, Allow=None))),
    "405 is 404": Defect(
        "HTTP-4", error(lambda given: replace(headers(given, Allow=None), status=404), code="method_not_allowed")
    ),
    "unknown path is 200": Defect(
        "HTTP-4",
        answer(
            lambda seen, given: (
                Answer(200, given.headers, {})
                if given.status == 404
                and not seen.path.startswith(("/_mock/", "/pay/"))
                and given.content["error"]["code"] == "not_found"
                else given
            )
        ),
    ),
    "form accepted": Defect(
        "HTTP-4", wrapped("is_json", lambda inner, media_type: inner(media_type) or "urlencoded" in media_type)
    ),
    "malformed json is 500": Defect("HTTP-6", wrapped("parsed", fails(ValueError))),
    "charset refused": Defect(
        "HTTP-4", wrapped("is_json", lambda inner, media_type: inner(media_type) and ";" not in media_type)
    ),
    "no size limit": Defect("HTTP-4", setting(body_most=float("inf"))),
    "hangs up on large": Defect("HTTP-4", error(hang_up, code="body_too_large")),
    "refused create is stored": Defect("HTTP-5", wrapped("create", stores_refused)),
    "500 on odd query": Defect("HTTP-6", request(odd_query)),
    "500 on deep json": Defect("HTTP-6", wrapped("parsed", fails(RecursionError))),
}
