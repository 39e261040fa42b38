"""An implementation for the checker's own tests: correct, in memory, on the standard library, and apart from the mock.

`Reference(quirks={…})` changes it: each quirk is either a defect, with the clause that it breaks (`DEFECTS`), or a
variation that the documents allow (`VARIANTS`). It is written for being broken: every rule stands in one place.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import http.client
import itertools
import json
import re
import secrets
import socket
import threading
import time
import urllib.error
import urllib.request
from bisect import bisect_right
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote
from uuid import uuid4  # noqa: TID251 - a server of its own, outside of the mock

from qashier_contract.document import currencies
from qashier_contract.history import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qashier_contract.target import Transport

URL: Final = re.compile(
    r"[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?([/?#][!-\[\]-~]*)?"
)
PATIENCE_S = 5.0
"""How long it waits for the answer to a webhook."""
RETRIES: Final = (10, 60, 300, 1_800, 7_200, 21_600, 43_200)

DEFECTS: Final[dict[str, str]] = {
    # AUTH
    "no challenge": "AUTH-1",
    "list without credentials": "AUTH-1",
    "expire without credentials": "AUTH-1",
    "no basic": "AUTH-2",
    "no bearer": "AUTH-3",
    "keys cut at 32": "AUTH-5",
    "keys in lower case": "AUTH-5",
    "bearer is another account": "AUTH-3",
    "any basic user": "AUTH-4",
    "retrieve across accounts": "AUTH-5",
    "expire across accounts": "AUTH-5",
    "list across accounts": "AUTH-5",
    "cursor across accounts": "AUTH-5",
    # HTTP
    "no request id on errors": "HTTP-1",
    "request id repeats": "HTTP-1",
    "request id with dashes": "HTTP-1",
    "errors as html": "HTTP-2",
    "success as text": "HTTP-2",
    "404 is html": "HTTP-2",
    "empty error": "HTTP-3",
    "error of codes only": "HTTP-3",
    "error is a string": "HTTP-3",
    "param names another field": "HTTP-3",
    "405 without allow": "HTTP-4",
    "405 is 404": "HTTP-4",
    "unknown path is 200": "HTTP-4",
    "form accepted": "HTTP-4",
    "malformed json is 500": "HTTP-6",
    "charset refused": "HTTP-4",
    "no size limit": "HTTP-4",
    "hangs up on large": "HTTP-4",
    "refused create is stored": "HTTP-5",
    "500 on odd query": "HTTP-6",
    "500 on deep json": "HTTP-6",
    # CRE
    "no mode": "CRE-1",
    "chunks lost": "CRE-1",
    "expires_at as string": "CRE-1",
    "success_url optional": "CRE-2",
    "return_url optional": "CRE-2",
    "line_items optional": "CRE-2",
    "new is complete": "CRE-3",
    "created in ms": "CRE-4",
    "created is wall clock": "CRE-4",
    "default 23 h": "CRE-5",
    "expires_at rounded to minutes": "CRE-6",
    "expires_at ignored": "CRE-6",
    "1799 s accepted": "CRE-7",
    "1800 s refused": "CRE-7",
    "86401 s accepted": "CRE-7",
    "86400 s refused": "CRE-7",
    "past accepted": "CRE-7",
    "urls normalised": "CRE-8",
    "urls swapped": "CRE-8",
    "fragment dropped": "CRE-8",
    "relative page url": "CRE-9",
    "page is 404": "CRE-9",
    "page where nobody listens": "CRE-9",
    "free page without a form": "CRE-9",
    "id with slash": "CRE-10",
    "same body same session": "CRE-10",
    "amount strings accepted": "CRE-11",
    "amount fractions accepted": "CRE-11",
    "negative amount accepted": "CRE-11",
    "amount above limit accepted": "CRE-11",
    "amount at limit refused": "CRE-11",
    "zero amount refused": "CRE-11",
    "quantity zero accepted": "CRE-11",
    "quantity 10000 refused": "CRE-11",
    "quantity 10001 accepted": "CRE-11",
    "boolean amounts accepted": "CRE-11",
    "only first line checked": "CRE-11",
    "lower case currency accepted": "CRE-12",
    "any three letters": "CRE-12",
    "mixed currencies accepted": "CRE-13",
    "no lines accepted": "CRE-14",
    "101 lines accepted": "CRE-14",
    "100 lines refused": "CRE-14",
    "one line only": "CRE-14",
    "javascript url accepted": "CRE-15",
    "relative cancel_url accepted": "CRE-15",
    "upper case scheme refused": "CRE-15",
    "description required": "CRE-16",
    "name optional": "CRE-16",
    "quantity defaults to 1": "CRE-16",
    "cancel_url required": "CRE-17",
    "null cancel_url accepted": "CRE-18",
    "null expires_at accepted": "CRE-18",
    "null description accepted": "CRE-18",
    "name number accepted": "CRE-18",
    "name 251 accepted": "CRE-19",
    "name counted in bytes": "CRE-19",
    "name counted in utf-16": "CRE-19",
    "empty description accepted": "CRE-19",
    "description 1000 refused": "CRE-19",
    "url 2049 accepted": "CRE-19",
    "url 2048 refused": "CRE-19",
    # AMT
    "total off by one": "AMT-1",
    "total of first line": "AMT-1",
    "total counts lines once": "AMT-2",
    "currency of account": "AMT-3",
    "lines sorted": "AMT-4",
    "equal lines merged": "AMT-4",
    "lines without object": "AMT-4",
    "quantity lost": "AMT-4",
    "description is name": "AMT-5",
    "description missing is empty": "AMT-5",
    "description escaped": "AMT-5",
    "free is unpaid": "AMT-6",
    "free becomes paid": "AMT-6",
    "float cents": "AMT-7",
    "float32": "AMT-7",
    "amounts as floats": "AMT-7",
    "wraps at 32 bits": "AMT-7",
    # RET
    "retrieve stale after expire": "RET-1",
    "retrieve rounds amounts": "RET-1",
    "unknown is 400": "RET-2",
    "retrieve prolongs": "RET-3",
    "page view expires": "RET-3",
    "success_url changes on paying": "RET-4",
    # LIS
    "list without url": "LIS-1",
    "has_more as string": "LIS-1",
    "limit 101 accepted": "LIS-2",
    "limit 0 accepted": "LIS-2",
    "limit 100 refused": "LIS-2",
    "default limit 20": "LIS-2",
    "limit abc is default": "LIS-2",
    "limit 100 gives 99": "LIS-3",
    "limit plus one": "LIS-3",
    "oldest first": "LIS-4",
    "same second in creation order": "LIS-4",
    "sorted by id": "LIS-4",
    "starting_after inclusive": "LIS-5",
    "starting_after skips one": "LIS-5",
    "ending_before inclusive": "LIS-6",
    "ending_before from the top": "LIS-6",
    "ending_before reversed": "LIS-6",
    "has_more when full": "LIS-7",
    "has_more never backwards": "LIS-7",
    "has_more ignores filter": "LIS-7",
    "status filter stale": "LIS-8",
    "status filter ignored": "LIS-8",
    "gt is gte": "LIS-9",
    "lte is lt": "LIS-9",
    "bounds do not combine": "LIS-9",
    "empty list is 404": "LIS-10",
    "walk skips": "LIS-11",
    "filter after limit": "LIS-8",
    "cursor must match filter": "LIS-12",
    "filter dropped with cursor": "LIS-12",
    "both cursors accepted": "LIS-13",
    "unknown cursor is start": "LIS-13",
    "entry without lines": "LIS-14",
    "entry with old status": "LIS-14",
    "unknown status is any": "LIS-15",
    "unknown bound of created ignored": "LIS-15",
    # EXP, PAY
    "expire returns open": "EXP-1",
    "expire does nothing": "EXP-1",
    "expire twice": "EXP-2",
    "expire complete": "EXP-3",
    "expire complete refused but done": "EXP-3",
    "expire unknown is 200": "EXP-4",
    "expired can be paid": "EXP-5",
    "page of expired looks open": "EXP-6",
    "expires one second late": "EXP-7",
    "expires one second early": "EXP-7",
    "expires only when read": "EXP-7",
    "never expires": "EXP-7",
    "expires_at becomes now": "EXP-8",
    "paid stays unpaid": "PAY-1",
    "success page first": "PAY-1",
    "paid twice": "PAY-2",
    "page of paid silent": "PAY-2",
    "failed payment expires": "PAY-3",
    "failed payment blocks": "PAY-3",
    "no way back": "PAY-4",
    "way back to success": "PAY-4",
    "third view pays": "PAY-6",
    "head of the page pays": "PAY-6",
    "page of the first line": "PAY-7",
    "page without total": "PAY-7",
    "page without descriptions": "PAY-7",
    "page without quantities": "PAY-7",
    "cancel returns to success": "PAY-5",
    "method is 404": "PAY-5",
    "method leads back to the page": "PAY-5",
    # CON
    "racy": "CON-1",
    "racy ids": "CON-2",
    # EVT
    "event id repeats": "EVT-1",
    "event without api_version": "EVT-1",
    "completed not sent": "EVT-2",
    "expired by clock not sent": "EVT-2",
    "expired by clock told when read": "EVT-2",
    "types swapped": "EVT-2",
    "event twice": "EVT-5",
    "event on failed payment": "EVT-5",
    "event on create": "EVT-5",
    "event on refused expire": "EVT-5",
    "stale snapshot": "EVT-3",
    "event without request": "EVT-4",
    "event request on payment": "EVT-4",
    "event key lost": "EVT-4",
    "account random": "EVT-8",
    "webhook as form": "EVT-6",
    "first endpoint only": "EVT-6",
    "no retry": "EVT-6",
    "three retries": "EVT-6",
    "nine retries a minute apart": "EVT-6",
    "retry with new id": "EVT-6",
    "first retry after 5 minutes": "EVT-6",
    "302 counts as received": "EVT-6",
    "removed endpoint stays": "EVT-6",
    "signature hex": "EVT-7",
    "signature of reordered json": "EVT-7",
    "secret stripped": "EVT-7",
    # IDM
    "replay executes": "IDM-1",
    "replay re-renders": "IDM-1",
    "replay as 201": "IDM-1",
    "replay creates in silence": "IDM-1",
    "key case insensitive": "IDM-2",
    "key truncated to 64": "IDM-2",
    "key 255 refused": "IDM-3",
    "key 256 accepted": "IDM-3",
    "key forgotten after 12 h": "IDM-4",
    "key never forgotten": "IDM-4",
    "key memory renewed": "IDM-4",
    "key forgotten one second late": "IDM-4",
    "expire replay refused": "IDM-5",
    "racy keys": "IDM-6",
    "keys shared by accounts": "IDM-7",
    "refusals remembered": "IDM-8",
    "key for another body executes": "IDM-9",
    "key for another session executes": "IDM-9",
}
"""Every defect and the clause that it breaks."""

SLOW_DEFECTS: Final[dict[str, str]] = {"waits for any answer": "EVT-6"}
"""What shows only to a checker that lets seconds pass."""
VARIANTS: Final = (
    "201 on create",
    "password accepted",
    "ids case insensitive",
    "unknown key is 403",
    "malformed json is 422",
    "problem documents",
    "422 throughout",
    "404 for terminal",
    "extra properties",
    "unknown fields refused",
    "short ids",
    "one currency",
    "clock 9 s off",
    "429 now and then",
    "no control",
    "no second account",
    "no webhooks",
    "no events",
    "events listed later",
    "a worker delivers now and then",
    "others arrive",
    "integral floats accepted",
    "reuse refused",
    "strict queries off",
    "page by script",
    "search on every page",
    "pages with a token in a cookie",
    "one clock for all accounts",
    "clocks that cannot be stopped",
)
"""What the documents leave open, each a quirk."""


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class HangUp(Exception):
    """No answer at all."""


class Account:
    """Everything of one key."""

    def __init__(self) -> None:
        self.sessions: list[dict[str, Any]] = []
        self.keys: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.told_at: list[float] = []
        self.untold: set[str] = set()
        self.endpoints: list[dict[str, Any]] = []
        self.queue: list[dict[str, Any]] = []
        self.offset = 0
        self.frozen: int | None = None
        self.name = f"acct_{secrets.token_hex(6)}"


class Reference:
    """The implementation. `quirks` are names of `DEFECTS`, `SLOW_DEFECTS` or `VARIANTS`."""

    def __init__(self, quirks: frozenset[str] = frozenset()) -> None:
        unknown = quirks - DEFECTS.keys() - SLOW_DEFECTS.keys() - set(VARIANTS)
        assert not unknown, unknown
        self.quirks = quirks
        self.base = ""
        self.accounts: dict[str, Account] = {}
        self.counter = itertools.count(1)
        self.lock: Any = nullcontext() if self.quirks & {"racy", "racy keys", "racy ids"} else threading.RLock()
        self.first_key: str | None = None
        self.current = ("", None)

    def has(self, quirk: str) -> bool:
        return quirk in self.quirks

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def now(self, account: Account) -> int:
        return account.frozen if account.frozen is not None else int(time.time_ns() // 10**9) + account.offset

    def set_now(self, account: Account, now: int, *, frozen: bool) -> None:
        for one in self.sharing(account):
            one.frozen = now if frozen else None
            one.offset = now - int(time.time_ns() // 10**9)

    def sharing(self, account: Account) -> list[Account]:
        """The accounts that have the clock of this one."""
        return [*self.accounts.values()] if self.has("one clock for all accounts") else [account]

    def deadline(self, session: dict[str, Any]) -> int:
        deadline: int = session["expires_at"]
        deadline += self.has("expires one second late") - self.has("expires one second early")
        return deadline

    def sweep(self, account: Account, only: dict[str, Any] | None = None) -> None:
        if self.has("never expires"):
            return
        for session in [only] if only is not None else account.sessions:
            if session["status"] == "open" and self.now(account) >= self.deadline(session):
                self.finish(account, session, "expired", by_clock=True)

    def advance(self, account: Account, seconds: int) -> None:
        goal = self.now(account) + seconds
        frozen = account.frozen is not None
        while True:
            due = [
                d["due"]
                for one in self.sharing(account)
                for d in one.queue
                if d["due"] <= goal and not self.has("a worker delivers now and then")
            ]
            if not self.has("expires only when read") and not self.has("never expires"):
                due += [
                    self.deadline(s)
                    for one in self.sharing(account)
                    for s in one.sessions
                    if s["status"] == "open" and self.deadline(s) <= goal
                ]
            if not due:
                break
            self.set_now(account, max(min(due), self.now(account)), frozen=True)
            for one in self.sharing(account):
                if not self.has("expires only when read"):
                    self.sweep(one)
                self.deliver(one)
        self.set_now(account, goal, frozen=frozen)

    # ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self, account: Account, session: dict[str, Any], status: str, *, by_clock: bool = False) -> None:
        before = dict(session)
        if self.has("racy"):
            time.sleep(0.004)
        session["status"] = status
        if status == "complete":
            free = session["payment_status"] == "no_payment_required" and not self.has("free becomes paid")
            if not free and not self.has("paid stays unpaid"):
                session["payment_status"] = "paid"
            if self.has("success_url changes on paying"):
                session["success_url"] += "?paid=1"
        elif not by_clock and self.has("expires_at becomes now"):
            session["expires_at"] = self.now(account)
        if status == "complete" and self.has("completed not sent"):
            return
        if by_clock and self.has("expired by clock not sent"):
            return
        if by_clock and self.has("expired by clock told when read"):
            account.untold.add(session["id"])
            return
        kind = {"complete": "completed", "expired": "expired"}[status]
        if self.has("types swapped"):
            kind = {"completed": "expired", "expired": "completed"}[kind]
        by_api = status == "expired" and not by_clock
        for _ in range(2 if self.has("event twice") else 1):
            self.event(account, before if self.has("stale snapshot") else session, kind, by_api=by_api)

    def event(self, account: Account, session: dict[str, Any], kind: str, *, by_api: bool = False) -> None:
        request_id, key = self.current
        named = (by_api and not self.has("event without request")) or self.has("event request on payment")
        event = {
            "id": "evt_1" if self.has("event id repeats") else f"evt_{uuid4()}",
            "api_version": "1.0.0",
            "request": {
                "id": request_id if named else None,
                "idempotency_key": key if named and not self.has("event key lost") else None,
            },
            "type": f"checkout.session.{kind}",
            "account": f"acct_{secrets.token_hex(4)}" if self.has("account random") else account.name,
            "created": self.now(account),
            "data": {"object": self.shown(session)},
        }
        if self.has("event without api_version"):
            del event["api_version"]
        account.events.append(event)
        account.told_at.append(time.monotonic())
        for endpoint in account.endpoints[:1] if self.has("first endpoint only") else account.endpoints:
            account.queue.append({"due": self.now(account), "tries": 0, "event": event, "endpoint": endpoint})

    def deliver(self, account: Account, *, worker: bool = False) -> None:
        if self.has("a worker delivers now and then") and not worker:
            return
        for job in list(account.queue):
            if job["due"] > self.now(account) or job["endpoint"] not in account.endpoints:
                continue
            received = self.post(job["endpoint"], job["event"])
            job["tries"] += 1
            delays = RETRIES[: 3 if self.has("three retries") else 0 if self.has("no retry") else None]
            if self.has("first retry after 5 minutes"):
                delays = (300, *RETRIES[2:])
            if self.has("nine retries a minute apart"):
                delays = (60,) * 9
            if received or job["tries"] > len(delays):
                account.queue.remove(job)
            else:
                job["due"] = self.now(account) + delays[job["tries"] - 1]
                if self.has("retry with new id"):
                    job["event"] = {**job["event"], "id": f"evt_{secrets.token_hex(8)}"}

    def post(self, endpoint: dict[str, Any], event: dict[str, Any]) -> bool:
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if self.has("webhook as form"):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        secret = endpoint.get("secret")
        if secret is not None:
            signed = json.dumps(event, sort_keys=True).encode() if self.has("signature of reordered json") else body
            key = secret.strip() if self.has("secret stripped") else secret
            digest = hmac.new(key.encode(), signed, hashlib.sha256)
            signature = digest.hexdigest() if self.has("signature hex") else base64.b64encode(digest.digest()).decode()
            headers["X-Qashier-Sign"] = signature
        request = urllib.request.Request(endpoint["url"], data=body, headers=headers, method="POST")
        patience_s = 60 if self.has("waits for any answer") else PATIENCE_S
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=patience_s) as answer:
                return bool(200 <= answer.status < 300)
        except urllib.error.HTTPError as error:
            return error.code == 302 and self.has("302 counts as received")
        except OSError:
            return False

    def shown(self, session: dict[str, Any], *, entry: bool = False) -> dict[str, Any]:
        session = json.loads(json.dumps({k: v for k, v in session.items() if not k.startswith("_")}))
        if self.has("extra properties"):
            session |= {"livemode": False, "cancel_url": None, "metadata": {}}
            for line in session["line_items"]["data"]:
                line["id"] = f"li_{secrets.token_hex(4)}"
        if self.has("amounts as floats"):
            session["amount_total"] = float(session["amount_total"])
        if self.has("no mode"):
            del session["mode"]
        if self.has("expires_at as string"):
            session["expires_at"] = str(session["expires_at"])
        if entry and self.has("entry without lines"):
            session["line_items"]["data"] = []
        if entry and self.has("entry with old status"):
            session["status"], session["payment_status"] = (
                "open",
                session["payment_status"].replace("paid", "unpaid").replace("unun", "un"),
            )
        return session

    # ── create ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def invalid(self, message: str, param: str | None = None) -> Refused:
        return Refused(400, "parameter_invalid", message, param)

    def rule(self, message: str, param: str | None = None) -> Refused:
        return Refused(422, "rule_broken", message, param)

    def integer(self, value: Any, least: int, most: int, path: str) -> int:
        if isinstance(value, bool) and self.has("boolean amounts accepted"):
            return int(value)
        if isinstance(value, str) and value.isdigit() and self.has("amount strings accepted"):
            value = int(value)
        if isinstance(value, float) and (
            self.has("amount fractions accepted") or (value.is_integer() and self.has("integral floats accepted"))
        ):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.invalid(f"{path} must be an integer from {least} to {most}.", path)
        return value

    def text(self, holder: dict[str, Any], name: str, most: int, path: str) -> str | None:
        if name not in holder:
            return None
        text, path = holder[name], f"{path}.{name}"
        if text is None and name == "description" and self.has("null description accepted"):
            return None
        if isinstance(text, int) and self.has("name number accepted"):
            text = str(text)
        if not isinstance(text, str):
            raise self.invalid(f"{path} must be a string.", path)
        length = len(text)
        if self.has("name counted in bytes"):
            length = len(text.encode())
        if self.has("name counted in utf-16"):
            length = len(text.encode("utf-16-le")) // 2
        if name == "description" and length == 0 and self.has("empty description accepted"):
            return text
        if name == "description" and length == most and self.has("description 1000 refused"):
            raise self.invalid(f"{path} is too long.", path)
        if name == "name" and self.has("name 251 accepted"):
            most += 10
        if not 1 <= length <= most:
            raise self.invalid(f"{path} must have 1 to {most} characters.", path)
        return text

    def url(self, body: dict[str, Any], name: str) -> str | None:
        if name not in body:
            if name == "cancel_url" and not self.has("cancel_url required"):
                return None
            if self.has(f"{name} optional"):
                return "https://shop.example/"
            raise Refused(400, "parameter_missing", f"{name} is required.", name)
        url = body[name]
        if url is None and name == "cancel_url" and self.has("null cancel_url accepted"):
            return None
        if not isinstance(url, str):
            raise self.invalid(f"{name} must be a string.", name)
        most = 2_048 + 100 * self.has("url 2049 accepted") - self.has("url 2048 refused")
        fits = URL.fullmatch(url) and not (self.has("upper case scheme refused") and url.startswith("H"))
        fits = fits or (url.startswith("javascript:") and self.has("javascript url accepted"))
        fits = fits or (url.startswith("/") and name == "cancel_url" and self.has("relative cancel_url accepted"))
        if len(url) > most or not fits:
            raise self.invalid(f"{name} must be an absolute http or https URL.", name)
        if self.has("urls normalised") and url.count("/") == 2:
            url += "/"
        if self.has("fragment dropped"):
            url = url.partition("#")[0]
        return url

    def line(self, line: Any, path: str) -> dict[str, Any]:
        if not isinstance(line, dict):
            raise self.invalid(f"{path} must be an object.", path)
        if "quantity" not in line and self.has("quantity defaults to 1"):
            line = {**line, "quantity": 1}
        for name in ("price_data", "quantity"):
            if name not in line:
                raise Refused(400, "parameter_missing", f"{path}.{name} is required.", f"{path}.{name}")
        price = line["price_data"]
        if not isinstance(price, dict):
            raise self.invalid(f"{path}.price_data must be an object.", f"{path}.price_data")
        for name in ("currency", "product_data", "unit_amount"):
            if name not in price:
                raise Refused(
                    400, "parameter_missing", f"{path}.price_data.{name} is required.", f"{path}.price_data.{name}"
                )
        product = price["product_data"]
        if not isinstance(product, dict):
            raise self.invalid(f"{path}.price_data.product_data must be an object.", f"{path}.price_data.product_data")
        where = f"{path}.price_data.product_data"
        if "name" not in product and not self.has("name optional"):
            raise Refused(400, "parameter_missing", f"{where}.name is required.", f"{where}.name")
        if "description" not in product and self.has("description required"):
            raise Refused(400, "parameter_missing", f"{where}.description is required.", f"{where}.description")
        title, description = self.text(product, "name", 250, where), self.text(product, "description", 1_000, where)
        most = 99_999_999 + 10**12 * self.has("amount above limit accepted") - self.has("amount at limit refused")
        least = (-(10**9) if self.has("negative amount accepted") else 0) + self.has("zero amount refused")
        amount = self.integer(price["unit_amount"], least, most, f"{path}.price_data.unit_amount")
        least = 1 - self.has("quantity zero accepted")
        most = 10_000 + self.has("quantity 10001 accepted") - self.has("quantity 10000 refused")
        quantity = self.integer(line["quantity"], least, most, f"{path}.quantity")
        code = price["currency"]
        if isinstance(code, str) and self.has("lower case currency accepted"):
            code = code.upper()
        known = isinstance(code, str) and (
            code in currencies() or (self.has("any three letters") and re.fullmatch("[A-Z]{3}", code))
        )
        if not known or (self.has("one currency") and code != "MYR"):
            raise self.invalid(
                f"{path}.price_data.currency is no currency of this account.", f"{path}.price_data.currency"
            )
        if self.has("unknown fields refused"):
            extra = {*line} - {"price_data", "quantity"} | {*price} - {"currency", "product_data", "unit_amount"}
            if extra:
                raise self.invalid(f"There is no {min(extra)}.", min(extra))
        total = amount * quantity
        if self.has("float cents"):
            total = int(amount / 100 * quantity * 100)
        if self.has("float32") and total > 2**24:
            total -= total % (1 << (total.bit_length() - 24))
        if self.has("wraps at 32 bits"):
            total &= 0xFFFFFFFF
        if self.has("total counts lines once"):
            total = amount
        shown: str | None = description if description is not None and not self.has("description is name") else title
        if description is None and self.has("description missing is empty"):
            shown = ""
        if self.has("description escaped"):
            shown = html.escape(shown or "")
        return {"amount_total": total, "currency": code, "description": shown or "", "quantity": quantity}

    def create(self, account: Account, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise self.invalid("The body must be an object.")
        if self.has("unknown fields refused") and (
            extra := {*body} - {"line_items", "success_url", "return_url", "cancel_url", "expires_at"}
        ):
            raise self.invalid(f"There is no {min(extra)}.", min(extra))
        items = body.get("line_items")
        if "line_items" not in body:
            if not self.has("line_items optional"):
                raise Refused(400, "parameter_missing", "line_items is required.", "line_items")
            items = []
        success, back = self.url(body, "success_url"), self.url(body, "return_url")
        cancel = self.url(body, "cancel_url")
        if not isinstance(items, list):
            raise self.invalid("line_items must be an array.", "line_items")
        most = 100 + self.has("101 lines accepted") - self.has("100 lines refused")
        most = 1 if self.has("one line only") else most
        least = 0 if self.has("no lines accepted") or self.has("line_items optional") else 1
        if not least <= len(items) <= most:
            raise self.invalid("line_items must have 1 to 100 entries.", "line_items")
        lines = []
        for index, item in enumerate(items):
            if index and self.has("only first line checked"):
                price, quantity = item["price_data"], item.get("quantity", 1)
                lines.append(
                    {
                        "amount_total": price["unit_amount"] * quantity,
                        "currency": price["currency"],
                        "description": price["product_data"].get("description", price["product_data"]["name"]),
                        "quantity": quantity,
                    }
                )
            else:
                lines.append(self.line(item, f"line_items[{index}]"))
        now = self.now(account)
        if self.has("created is wall clock"):
            now = int(time.time_ns() // 10**9)
        expires_at = body.get("expires_at", now + 86_400 - 3_600 * self.has("default 23 h"))
        if expires_at is None and self.has("null expires_at accepted"):
            expires_at = now + 86_400
        if isinstance(expires_at, bool) or not isinstance(expires_at, int):
            raise self.invalid("expires_at must be an integer.", "expires_at")
        earliest = now + 1_800 - self.has("1799 s accepted") + self.has("1800 s refused")
        latest = now + 86_400 + self.has("86401 s accepted") - self.has("86400 s refused")
        if "expires_at" in body and not earliest <= expires_at <= latest:
            if not (self.has("past accepted") and expires_at < now):
                raise self.rule("expires_at must be 30 minutes to 24 hours from now.", "expires_at")
        if self.has("expires_at ignored"):
            expires_at = now + 86_400
        if self.has("expires_at rounded to minutes"):
            expires_at -= expires_at % 60
        codes = {line["currency"] for line in lines}
        if len(codes) > 1 and not self.has("mixed currencies accepted"):
            raise self.rule("All line items must have one currency.", "line_items")
        if self.has("same body same session"):
            for old in account.sessions:
                if old["_body"] == body:
                    return old
        total = sum(line["amount_total"] for line in lines) + self.has("total off by one")
        if self.has("total of first line") and lines:
            total = lines[0]["amount_total"]
        if self.has("lines sorted"):
            lines.sort(key=lambda line: str(line["description"]))
        if self.has("equal lines merged"):
            lines = [line for index, line in enumerate(lines) if line not in lines[:index]]
        if self.has("quantity lost"):
            lines = [{**line, "quantity": 1} for line in lines]
        number = next(self.counter)
        session_id = f"cs_test_{number:06d}{secrets.token_hex(6)}Aa"
        if self.has("racy ids"):
            session_id = f"cs_test_{len(account.sessions):06d}{account.name[-6:]}Aa"
            time.sleep(0.004)
        if self.has("sorted by id"):
            session_id = f"cs_test_{secrets.token_hex(9)}Aa"
        if self.has("short ids"):
            session_id = f"{number}-{secrets.token_hex(2)}a"
        if self.has("id with slash"):
            session_id = session_id.replace("_test_", "/test/")
        if self.has("urls swapped"):
            success, back = back, success
        session = {
            "id": session_id,
            "currency": "SGD" if self.has("currency of account") or not lines else lines[0]["currency"],
            "line_items": {"object": "list", "data": lines},
            "object": "checkout.session",
            "amount_total": total,
            "created": now * 1_000 if self.has("created in ms") else now,
            "expires_at": expires_at,
            "mode": "payment",
            "payment_status": "unpaid" if total or self.has("free is unpaid") else "no_payment_required",
            "status": "complete" if self.has("new is complete") else "open",
            "return_url": back,
            "success_url": success,
            "url": f"{self.page_base()}/pay/{session_id}",
            "_cancel": cancel,
            "_body": body,
            "_failed": False,
        }
        if self.has("currency of account"):
            for line in lines:
                line["currency"] = "SGD"
        if self.has("lines without object"):
            session["line_items"] = {"data": lines}
        account.sessions.append(session)
        if self.has("event on create"):
            self.event(account, session, "completed")
        return session

    # ── finding, listing ────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, account: Account, session_id: str, *, across: bool = False) -> dict[str, Any]:
        accounts = [account, *self.accounts.values()] if across else [account]
        for one in accounts:
            for session in one.sessions:
                if session["id"] == session_id or (
                    self.has("ids case insensitive") and session["id"].lower() == session_id.lower()
                ):
                    return session
        raise Refused(
            400 if self.has("unknown is 400") else 404,
            "session_not_found",
            f"No session has the id {session_id[:60]}.",
            "id",
        )

    def parse_limit(self, query: dict[str, str]) -> int:
        if "limit" not in query:
            return 20 if self.has("default limit 20") else 10
        text = query["limit"]
        if not re.fullmatch("[0-9]{1,9}", text):
            if self.has("limit abc is default"):
                return 10
            raise self.invalid("limit must be an integer from 1 to 100.", "limit")
        limit = int(text)
        if limit == 100 and self.has("limit 100 refused"):
            raise self.invalid("limit must be below 100.", "limit")
        if not 1 <= limit <= 100:
            if (limit > 100 and self.has("limit 101 accepted")) or (limit == 0 and self.has("limit 0 accepted")):
                return limit
            raise self.invalid("limit must be an integer from 1 to 100.", "limit")
        return limit

    def list(self, account: Account, raw: str) -> dict[str, Any]:
        pairs = parse_qsl(raw, keep_blank_values=True)
        query = dict(pairs)
        if self.has("500 on odd query") and "][" in raw:
            raise KeyError(raw)
        names = {
            "limit",
            "starting_after",
            "ending_before",
            "status",
            *(f"created[{b}]" for b in ("gt", "gte", "lt", "lte")),
        }
        odd = [name for name, _ in pairs if name not in names]
        bounds_unknown = any(name.startswith("created[") for name in odd)
        lenient = "unknown bound of created ignored" if bounds_unknown else "strict queries off"
        if (odd or len(query) < len(pairs)) and not self.has(lenient):
            raise Refused(400, "parameter_unknown", f"There is no parameter {(odd or ['twice'])[0][:60]}.", "query")
        limit = self.parse_limit(query)
        status = query.get("status")
        if status not in {None, "open", "complete", "expired"} and self.has("unknown status is any"):
            status = None
        elif status not in {None, "open", "complete", "expired"}:
            raise self.invalid("status must be open, complete or expired.", "status")
        bounds = {}
        for bound in ("gt", "gte", "lt", "lte"):
            if (text := query.get(f"created[{bound}]")) is not None:
                if not re.fullmatch("[0-9]{1,12}", text):
                    raise self.invalid(f"created[{bound}] must be an integer.", f"created[{bound}]")
                bounds[bound] = int(text)
        if self.has("bounds do not combine") and len(bounds) > 1:
            bounds = dict([next(iter(bounds.items()))])
        after, before = query.get("starting_after"), query.get("ending_before")
        if after is not None and before is not None and not self.has("both cursors accepted"):
            raise self.rule("Send starting_after or ending_before, not both.", "ending_before")
        sessions = list(reversed(account.sessions))
        if self.has("list across accounts"):
            sessions = [s for one in self.accounts.values() for s in reversed(one.sessions)]
            sessions.sort(key=lambda s: s["created"], reverse=True)
        if self.has("oldest first"):
            sessions.reverse()
        if self.has("sorted by id"):
            sessions.sort(key=lambda s: str(s["id"]), reverse=True)
        if self.has("same second in creation order"):
            sessions = sorted(account.sessions, key=lambda s: -int(s["created"]))
        stale = self.has("status filter stale")

        def keeps(session: dict[str, Any]) -> bool:
            created = session["created"]
            seen = session["status"]
            if stale and seen == "expired":
                seen = "open"
            if status is not None and seen != status and not self.has("status filter ignored"):
                return False
            if self.has("filter dropped with cursor") and (after or before):
                return True
            return not (
                ("gt" in bounds and not (created > bounds["gt"] or (self.has("gt is gte") and created == bounds["gt"])))
                or ("gte" in bounds and not created >= bounds["gte"])
                or ("lt" in bounds and not created < bounds["lt"])
                or (
                    "lte" in bounds
                    and not (created < bounds["lte"] or (created == bounds["lte"] and not self.has("lte is lt")))
                )
            )

        cursor = after if after is not None else before
        if cursor is not None:
            if self.has("cursor must match filter"):
                sessions = [s for s in sessions if keeps(s)]
            places = [i for i, s in enumerate(sessions) if s["id"] == cursor]
            if not places and self.has("cursor across accounts"):
                self.find(account, cursor, across=True)
                places = [-1]
            if not places and self.has("unknown cursor is start"):
                places = [-1]
            if not places:
                raise self.rule(f"No session has the id {cursor[:60]}.", "starting_after" if after else "ending_before")
            place = places[0]
            if after is not None:
                skip = 1 - self.has("starting_after inclusive") + self.has("starting_after skips one")
                sessions = sessions[place + skip :]
                if self.has("walk skips") and limit == 2 and len(sessions) > 3:
                    sessions = sessions[1:]
            else:
                sessions = sessions[: place + self.has("ending_before inclusive")]
        backwards = after is None and before is not None
        unfiltered = sessions
        if self.has("filter after limit"):
            page_source = sessions[-limit:] if backwards else sessions[:limit]
            more = len(sessions) > limit
            page = [s for s in page_source if keeps(s)]
        else:
            sessions = [s for s in sessions if keeps(s)]
            more = len(sessions) > limit
            if self.has("limit 100 gives 99") and limit == 100:
                limit = 99
            if self.has("limit plus one"):
                limit += 1
            page = sessions[-limit:] if backwards and not self.has("ending_before from the top") else sessions[:limit]
            if limit == 0:
                page = []
        if self.has("has_more when full"):
            more = len(page) == limit
        if self.has("has_more never backwards") and backwards:
            more = False
        if self.has("has_more ignores filter"):
            more = len(unfiltered) > limit
        if backwards and self.has("ending_before reversed"):
            page = page[::-1]
        if not page and self.has("empty list is 404"):
            raise Refused(404, "not_found", "There are none.")
        answer: dict[str, Any] = {
            "object": "list",
            "data": [self.shown(session, entry=True) for session in page],
            "has_more": str(more).lower() if self.has("has_more as string") else more,
            "url": "/checkout/sessions",
        }
        if self.has("list without url"):
            del answer["url"]
        return answer

    # ── expire, pay ─────────────────────────────────────────────────────────────────────────────────────────────────

    def not_open(self, session: dict[str, Any]) -> Refused:
        status = 404 if self.has("404 for terminal") else 409
        return Refused(status, "session_not_open", f"The session is {session['status']}, not open.", "id")

    def expire(self, account: Account, session_id: str) -> dict[str, Any]:
        if self.has("expire unknown is 200") and all(s["id"] != session_id for s in account.sessions):
            return {"id": session_id, "status": "expired"}
        session = self.find(account, session_id, across=self.has("expire across accounts"))
        status = session["status"]
        allowed = status == "open" or (status == "expired" and self.has("expire twice"))
        allowed = allowed or (status == "complete" and self.has("expire complete"))
        if self.has("expire complete refused but done") and status == "complete":
            session["status"] = "expired"
        if not allowed:
            if self.has("event on refused expire"):
                self.event(account, session, "expired")
            raise self.not_open(session)
        if self.has("expire does nothing"):
            return {**session, "status": "expired"}
        before = dict(session)
        if status == "open" or self.has("expire complete"):
            self.finish(account, session, "expired")
        if self.has("retrieve stale after expire"):
            session["status"] = "open"
            return {**session, "status": "expired"}
        return before if self.has("expire returns open") else session

    def pay(self, account: Account, session: dict[str, Any], outcome: str) -> dict[str, Any]:
        status = session["status"]
        allowed = status == "open" or (status == "expired" and self.has("expired can be paid"))
        allowed = allowed or (status == "complete" and self.has("paid twice"))
        if not allowed or (session["_failed"] and self.has("failed payment blocks")):
            raise self.not_open(session)
        if outcome == "succeeded":
            self.finish(account, session, "complete")
        else:
            session["_failed"] = True
            if self.has("failed payment expires"):
                self.finish(account, session, "expired", by_clock=True)
            if self.has("event on failed payment"):
                self.event(account, session, "completed")
        return session

    # ── idempotency ─────────────────────────────────────────────────────────────────────────────────────────────────

    def with_key(self, account: Account, key: str | None, asked: Any, act: Any) -> tuple[int, dict[str, Any]]:
        answer: tuple[int, dict[str, Any]]
        if key is None:
            answer = act()
            return answer
        most = 255 + 100 * self.has("key 256 accepted") - self.has("key 255 refused")
        if not 1 <= len(key) <= most or not re.fullmatch("[!-~]+", key):
            raise self.invalid("Idempotency-Key must have 1 to 255 characters.", "Idempotency-Key")
        if self.has("key case insensitive"):
            key = key.lower()
        if self.has("key truncated to 64"):
            key = key[:64]
        store = next(iter(self.accounts.values())).keys if self.has("keys shared by accounts") else account.keys
        kept = store.get(key)
        memory = 43_200 if self.has("key forgotten after 12 h") else 86_400 + self.has("key forgotten one second late")
        if kept is not None and self.now(account) >= kept["at"] + memory and not self.has("key never forgotten"):
            kept = None
        if kept is not None:
            if self.has("key memory renewed"):
                kept["at"] = self.now(account)
            other_body = kept["asked"] != asked
            executes = self.has("replay executes") and asked[0] == "create" and not other_body
            executes = executes or (other_body and asked[0] == "create" and self.has("key for another body executes"))
            executes = executes or (
                other_body and asked[0] == "expire" and self.has("key for another session executes")
            )
            executes = executes or (asked[0] == "expire" and self.has("expire replay refused") and not other_body)
            if not executes:
                if other_body and self.has("reuse refused"):
                    raise Refused(
                        409, "idempotency_key_reused", "This key was used for another request.", "Idempotency-Key"
                    )
                if isinstance(kept["answer"], Refused):
                    raise kept["answer"]
                if self.has("replay creates in silence") and asked[0] == "create":
                    self.create(account, asked[1])
                status, first = kept["answer"]
                if self.has("replay as 201"):
                    status = 201
                if self.has("replay re-renders") and "id" in first:
                    first = self.shown(self.find(account, first["id"]))
                return status, first
        try:
            if self.has("racy keys"):
                time.sleep(0.003)
            answer = act()
        except Refused as refusal:
            if self.has("refusals remembered"):
                store[key] = {"at": self.now(account), "asked": asked, "answer": refusal}
            raise
        store[key] = {"at": self.now(account), "asked": asked, "answer": answer}
        return answer

    # ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def account_of(self, authorization: str | None, path: str, method: str) -> Account:
        challenge = {} if self.has("no challenge") else {"WWW_Authenticate": 'Basic realm="qashier"'}
        anonymous = (self.has("list without credentials") and path == "/checkout/sessions" and method == "GET") or (
            self.has("expire without credentials") and path.endswith("/expire")
        )
        if authorization is None:
            if anonymous:
                return next(iter(self.accounts.values()))
            raise Refused(401, "credentials_missing", "Send your secret key.", **challenge)
        kind, _, value = authorization.partition(" ")
        key = None
        if kind.lower() == "bearer" and not self.has("no bearer"):
            key = value
            if self.has("bearer is another account"):
                key += "x"
        elif kind.lower() == "basic" and not self.has("no basic"):
            try:
                user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
            except ValueError:
                user, colon, password = "", "", ""
            if colon and (not password or self.has("password accepted")):
                key = user
        if key is not None and self.has("any basic user") and key and kind.lower() == "basic":
            key = "sk_test_" + re.sub("[^A-Za-z0-9]", "", key.removeprefix("sk_test_"))
        if (
            key is None
            or not re.fullmatch(r"sk_test_[A-Za-z0-9_]+", key)
            or (self.has("no second account") and self.first_key not in {None, key})
        ):
            status = 403 if self.has("unknown key is 403") and key else 401
            raise Refused(status, "credentials_invalid", "This is no secret key.", **challenge)
        if self.has("keys cut at 32"):
            key = key[:32]
        if self.has("keys in lower case"):
            key = key.lower()
        self.first_key = self.first_key or key
        if key not in self.accounts:
            self.accounts[key] = Account()
            if self.has("one clock for all accounts"):
                clock = next(iter(self.accounts.values()))
                self.accounts[key].offset, self.accounts[key].frozen = clock.offset, clock.frozen
            if self.has("clock 9 s off"):
                self.accounts[key].offset = 9
        return self.accounts[key]

    def json_body(self, headers: Any, body: bytes) -> Any:
        media_type = (headers.get("Content-Type") or "application/json").lower()
        plain = media_type.partition(";")[0].strip()
        if plain != "application/json" and not (self.has("form accepted") and plain.endswith("urlencoded")):
            raise Refused(415, "media_type_unsupported", "Send application/json.", "Content-Type")
        if ";" in media_type and self.has("charset refused"):
            raise Refused(415, "media_type_unsupported", "Send application/json.", "Content-Type")

        def refuse(word: str) -> None:
            raise ValueError(word)

        try:
            parsed = json.loads(body.decode(), parse_constant=refuse)
            json.dumps(parsed, ensure_ascii=False).encode()
        except RecursionError:
            if self.has("500 on deep json"):
                raise
            raise Refused(400, "body_invalid", "The body is nested too deeply.") from None
        except ValueError:
            if self.has("malformed json is 500"):
                raise
            status = 422 if self.has("malformed json is 422") else 400
            raise Refused(status, "body_invalid", "The body is not valid JSON.") from None
        return parsed

    def api(self, method: str, path: str, query: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        routes = {
            "create list": (r"/checkout/sessions", ("GET", "POST")),
            "retrieve": (r"/checkout/sessions/([^/]+)", ("GET",)),
            "expire": (r"/checkout/sessions/([^/]+)/expire", ("POST",)),
        }
        found = [(n, m, methods) for n, (pattern, methods) in routes.items() if (m := re.fullmatch(pattern, path))]
        if not found:
            if self.has("unknown path is 200"):
                return 200, {}
            raise Refused(404, "not_found", "There is no such path.")
        name, match, methods = found[0]
        if method not in methods:
            if self.has("405 is 404"):
                raise Refused(404, "not_found", "There is no such path.")
            allow = {} if self.has("405 without allow") else {"Allow": ", ".join(methods)}
            raise Refused(405, "method_not_allowed", f"{method} is not allowed here.", **allow)
        account = self.account_of(headers.get("Authorization"), path, method)
        if self.has("429 now and then") and next(self.counter) % 17 == 0:
            raise Refused(429, "rate_limited", "Too many requests.", Retry_After="0")
        if self.has("others arrive") and next(self.counter) % 3 == 0:
            self.create(
                account,
                {
                    "line_items": [
                        {
                            "price_data": {"currency": "SGD", "product_data": {"name": "Other"}, "unit_amount": 5},
                            "quantity": 1,
                        }
                    ],
                    "success_url": "https://other.example/",
                    "return_url": "https://other.example/",
                },
            )
        only = self.has("expires only when read")
        if not only:
            self.sweep(account)
        key = headers.get("Idempotency-Key")
        request_id, _ = self.current
        self.current = (request_id, key)
        try:
            if name == "retrieve":
                session = self.find(account, unquote(match[1]), across=self.has("retrieve across accounts"))
                self.sweep(account, session)
                if session["id"] in account.untold:
                    account.untold.remove(session["id"])
                    self.event(account, session, "expired")
                if self.has("retrieve prolongs") and session["status"] == "open":
                    session["expires_at"] += 1
                shown = self.shown(session)
                if self.has("retrieve rounds amounts"):
                    shown["amount_total"] = round(shown["amount_total"], -1)
                return 200, shown
            if name == "expire":
                session_id = unquote(match[1])
                return self.with_key(
                    account, key, ["expire", session_id], lambda: (200, self.shown(self.expire(account, session_id)))
                )
            if method == "GET":
                if only:
                    self.sweep(account)
                return 200, self.list(account, query)
            most = 2 * 1024 * 1024
            if len(body) > most and not self.has("no size limit"):
                if self.has("hangs up on large"):
                    raise HangUp
                raise Refused(413, "body_too_large", "The body is larger than 2 MiB.")
            parsed = self.json_body(headers, body)
            created = 201 if self.has("201 on create") else 200
            try:
                return self.with_key(
                    account, key, ["create", parsed], lambda: (created, self.shown(self.create(account, parsed)))
                )
            except Refused:
                if (
                    self.has("refused create is stored")
                    and isinstance(parsed, dict)
                    and isinstance(parsed.get("success_url"), str)
                ):
                    try:
                        good = {
                            "price_data": {"currency": "SGD", "product_data": {"name": "x"}, "unit_amount": 1},
                            "quantity": 1,
                        }
                        self.create(
                            account,
                            {
                                "line_items": [good],
                                "success_url": parsed["success_url"],
                                "return_url": "https://shop.example/",
                            },
                        )
                    except Refused:
                        pass
                raise
        finally:
            self.deliver(account)

    def control(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        path = path.removeprefix("/_mock/v1")
        if self.has("no control"):
            raise Refused(404, "not_found", "There is no such path.")
        account = self.account_of(headers.get("Authorization"), path, method)
        if not self.has("expires only when read"):
            self.sweep(account)
        self.current = (f"req_{secrets.token_hex(6)}", None)
        wanted = json.loads(body) if body else {}
        try:
            if path == "/clock" and method == "GET":
                return 200, {"now": self.now(account), "frozen": account.frozen is not None}
            if path == "/clock" and method == "PUT":
                frozen = wanted.get("frozen", account.frozen is not None)
                frozen = frozen and not self.has("clocks that cannot be stopped")
                self.set_now(account, wanted.get("now", self.now(account)), frozen=frozen)
                return 200, {"now": self.now(account), "frozen": frozen}
            if path == "/clock/advance":
                self.advance(account, wanted["seconds"])
                return 200, {"now": self.now(account), "frozen": account.frozen is not None}
            if path == "/events" and not self.has("no events"):
                until = time.monotonic() - 0.5 * self.has("events listed later")
                return 200, {"data": account.events[: bisect_right(account.told_at, until)]}
            if path == "/webhook-endpoints" and not self.has("no webhooks"):
                if method == "GET":
                    return 200, {"data": [{"id": e["id"], "url": e["url"]} for e in account.endpoints]}
                endpoint = {"id": f"we_{secrets.token_hex(4)}", **wanted}
                account.endpoints.append(endpoint)
                return 201, {"id": endpoint["id"], "url": endpoint["url"]}
            if path.startswith("/webhook-endpoints/") and method == "DELETE":
                if not self.has("removed endpoint stays"):
                    account.endpoints = [e for e in account.endpoints if e["id"] != path.rpartition("/")[2]]
                return 204, None
            if match := re.fullmatch(r"/sessions/([^/]+)/pay", path):
                session = self.find(account, unquote(match[1]))
                return 200, self.shown(self.pay(account, session, wanted.get("outcome", "succeeded")))
        finally:
            self.deliver(account)
        raise Refused(404, "not_found", "There is no such call.")

    # ── the hosted page ─────────────────────────────────────────────────────────────────────────────────────────────

    def page_base(self) -> str:
        if self.has("page where nobody listens"):
            return "http://127.0.0.1:9"
        return "" if self.has("relative page url") else self.base

    def page(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], str]:
        _, _, rest = path.partition("/pay/")
        session_id, _, step = rest.partition("/")
        for account in self.accounts.values():
            for session in account.sessions:
                known = session["id"] == unquote(session_id) and step in {"", "method"}
                if known and not self.has("page is 404"):
                    self.sweep(account)
                    self.current = (f"req_{secrets.token_hex(6)}", None)
                    try:
                        return self.page_of(account, session, method, step, body)
                    finally:
                        self.deliver(account)
        return 404, {}, "<p>There is no such session.</p>"

    def token(self, method: str, headers: Any, body: bytes) -> str | None:
        """What ties a form to the browser that it was shown to; empty if nothing does, None if it is another one."""
        if not self.has("pages with a token in a cookie"):
            return ""
        held = re.search(r"token=(\w+)", headers.get("Cookie") or "")
        if method == "POST" and (held is None or dict(parse_qsl(body.decode())).get("token") != held[1]):
            return None
        return held[1] if held else secrets.token_hex(4)

    def page_of(
        self, account: Account, session: dict[str, Any], method: str, step: str, body: bytes
    ) -> tuple[int, dict[str, str], str]:
        own = f"/pay/{session['id']}"
        search = (
            "<form action=/search><input name=q></form><form method=post action=/language><button>中文</button></form>"
        )
        search = search if self.has("search on every page") else ""
        if self.has("page by script"):
            return 200, {}, "<div id=app></div><script src=/app.js></script>"
        if method == "POST" and session["status"] == "open":
            act = dict(parse_qsl(body.decode())).get("act", "")
            if act == "card":
                self.pay(account, session, "succeeded")
                return 303, {"Location": session["return_url" if self.has("success page first") else "success_url"]}, ""
            if act == "declined":
                self.pay(account, session, "failed")
                return 303, {"Location": own}, ""
            if act == "redirect":
                step = "" if self.has("method leads back to the page") else "/method"
                step = "/methods" if self.has("method is 404") else step
                return 303, {"Location": f"{own}{step}"}, ""
            self.pay(account, session, "succeeded" if act == "authorise" else "canceled")
            wrong = self.has("cancel returns to success") and act == "cancel"
            return 303, {"Location": session["success_url" if wrong else "return_url"]}, ""
        if session["status"] == "open" and self.has("third view pays") and not step:
            session["_views"] = session.get("_views", 0) + 1
            if session["_views"] == 3:
                self.pay(account, session, "succeeded")
        if session["status"] == "open" and self.has("head of the page pays") and method == "HEAD":
            self.pay(account, session, "succeeded")
        if self.has("page view expires") and session["status"] == "open" and not session["_failed"]:
            session["expires_at"] -= 1
        if session["status"] != "open" and not (
            session["status"] == "expired" and self.has("page of expired looks open")
        ):
            word = {"expired": "This session is <b>expired</b>.", "complete": "This session is paid."}[
                session["status"]
            ]
            if session["status"] == "complete" and self.has("page of paid silent"):
                word = "Thank you."
            head = f"<html><head><title>x</title></head><body>{search}"
            return 200, {}, f"{head}<p data-testid=message>{word}</p></body></html>"
        names: tuple[str, ...] = ("authorise", "cancel") if step == "method" else ("card", "declined", "redirect")
        if self.has("free page without a form") and not session["amount_total"]:
            names = ()
        buttons = "".join(
            f'<form method="post" action="{own}"><input type=hidden name=act value={name}>'
            f'<button data-testid="{name if step else "pay-" + name}">{name}</button></form>'
            for name in names
        )
        cancel = session["_cancel"]
        back = (
            f'<a data-testid=back href="{html.escape(cancel)}">Back</a>'
            if cancel and not step and not self.has("no way back")
            else ""
        )
        if self.has("way back to success") and not step:
            back = f'<a href="{html.escape(session["success_url"])}">Back</a>'
        lines = "".join(
            f"<li>{1 if self.has('page without quantities') else line['quantity']} x"
            f" {'Item' if self.has('page without descriptions') else html.escape(line['description'])}</li>"
            for line in session["line_items"]["data"][: 1 if self.has("page of the first line") else None]
        )
        total = "" if self.has("page without total") else f"{session['amount_total']:,}"
        return 200, {}, f"<html><body>{search}<p>{total}</p><ul>{lines}</ul>{buttons}{back}</body></html>"

    # ── one request ─────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        path, _, query = target.partition("?")
        request_id = "req_1" if self.has("request id repeats") else f"req_{secrets.token_hex(8)}"
        if self.has("request id with dashes"):
            request_id = request_id.replace("req_", "req-")
        sent = {"Content-Type": "application/json", "Request-Id": request_id}
        with self.lock:
            self.current = (request_id, None)
            if path.startswith("/pay/"):
                token = self.token(method, headers, body)
                status, more, text = (403, {}, "<p>No.</p>") if token is None else self.page(method, path, body)
                if token:
                    more["Set-Cookie"] = f"token={token}; Path=/pay; HttpOnly; SameSite=Lax"
                    # Each button outside of its form, which only its id ties it to.
                    text = re.sub(
                        r"<form method(.*?)(<button)(.*?</button>)</form>",
                        lambda form: (
                            f"<form id=f{form.start()} method{form[1]}<input type=hidden name=token value={token}></form>"
                            f"{form[2]} form=f{form.start()}{form[3]}"
                        ),
                        text,
                    )
                return status, {"Content-Type": "text/html; charset=utf-8", **more}, text.encode()
            try:
                if path.startswith("/_mock/"):
                    status, answer = self.control(method, path, headers, body)
                else:
                    status, answer = self.api(method, path, query, headers, body)
                if self.has("success as text"):
                    sent["Content-Type"] = "text/plain"
                return status, sent, b"" if answer is None else json.dumps(answer).encode()
            except Refused as refusal:
                return self.refusal(refusal, sent)

    def refusal(self, refusal: Refused, sent: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        status = refusal.status
        if self.has("422 throughout") and status in {400, 409} and refusal.code != "body_invalid":
            status = 422
        error = {"type": "invalid_request_error", "code": refusal.code, "message": refusal.message}
        if refusal.param is not None:
            error["param"] = "cancel_url" if self.has("param names another field") else refusal.param
        answer: Any = {"error": error}
        if self.has("problem documents"):
            sent["Content-Type"] = "application/problem+json"
            answer = {"title": refusal.message, "status": status}
        if self.has("empty error"):
            answer = {}
        if self.has("error of codes only"):
            answer = {"error": {"type": "invalid_request_error", "code": refusal.code}}
        if self.has("error is a string"):
            answer = refusal.message
        if self.has("no request id on errors"):
            del sent["Request-Id"]
        text = json.dumps(answer)
        if self.has("errors as html") or (self.has("404 is html") and refusal.code == "not_found"):
            sent["Content-Type"], text = "text/html", f"<h1>{status}</h1>"
        return status, {**sent, **refusal.headers}, text.encode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    reference: Reference

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def _body(self) -> bytes:
        if (self.headers.get("Transfer-Encoding") or "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"" if self.reference.has("chunks lost") else body

    def _serve(self) -> None:
        body = self._body()
        try:
            status, headers, content = self.reference.answer(self.command, self.path, self.headers, body)
        except HangUp:
            self.close_connection = True
            return
        except Exception:  # noqa: BLE001 - what a careless server answers
            status, headers, content = (
                500,
                {"Content-Type": "application/json", "Request-Id": f"req_{secrets.token_hex(8)}"},
                b"{}",
            )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204 and self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def within(*quirks: str) -> Transport:
    """The implementation with some quirks, without a socket: what carries requests to it."""
    reference = Reference(frozenset(quirks))
    reference.base = "http://127.0.0.1"

    def carry(
        method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> tuple[Reply | None, str | None]:
        message = http.client.HTTPMessage()
        for name, value in headers:
            message[name] = value
        target = url.removeprefix(reference.base) or "/"
        if not target.startswith(("/", "?")):
            return None, "no connection: nobody listens there"
        try:
            status, named, content = reference.answer(method, target, message, body or b"")
        except HangUp:
            return None, "connection dropped"
        except Exception:  # noqa: BLE001 - what a careless server answers
            status, named, content = (
                500,
                {"Content-Type": "application/json", "Request-Id": f"req_{secrets.token_hex(8)}"},
                b"{}",
            )
        pairs = tuple((name.lower(), value) for name, value in named.items())
        return Reply(status=status, headers=pairs, body=content), None

    return carry


@contextmanager
def serving(*quirks: str) -> Iterator[str]:
    """The implementation with some quirks, served on loopback; its URL."""
    reference = Reference(frozenset(quirks))
    handler = type("Handler", (_Handler,), {"reference": reference})
    server = _Server(("127.0.0.1", 0), handler)
    reference.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.wait(0.4):
            for account in [*reference.accounts.values()]:
                with reference.lock:
                    reference.deliver(account, worker=True)

    if reference.has("a worker delivers now and then"):
        threading.Thread(target=work, daemon=True).start()
    try:
        yield reference.base
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
