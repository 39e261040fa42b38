"""A correct implementation of the contract, for the checker's own tests: in memory, and apart from the mock.

It knows no defect. Each limit and delay is one of its `Settings`, each rule a method of its own, so that a defect
(`defects.py`) or what the documents leave open (`variants.py`) is a few lines outside of it: see `tampering.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
import secrets
import threading
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import uuid4  # noqa: TID251 - a server of its own, outside of the mock

from tests.targets.values import (
    BRACKETS_MOST,
    CONTROL,
    KEY,
    ROUTES,
    URL,
    Account,
    Answer,
    HangUp,
    Job,
    Kept,
    Keyed,
    Refused,
    Request,
    Session,
    Settings,
    broken,
    invalid,
    missing,
    not_found,
    not_open,
)


class Reference:
    """The implementation."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.base = "http://127.0.0.1"
        self.accounts: dict[str, Account] = {}
        self.lock: Any = threading.RLock()
        self.current: tuple[str, str | None] = ("", None)
        """The id and the idempotency key of the request that is served."""

    # ── one request ─────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, request: Request) -> Answer:
        """What a request is answered with; `HangUp` if it is not."""
        try:
            with self.lock:
                return self.respond(request)
        except HangUp:
            raise
        except Exception:  # noqa: BLE001 - what a careless server answers
            return Answer(500, self.named(self.new_request_id()), {})

    def named(self, request_id: str) -> dict[str, str]:
        return {"Content-Type": "application/json", "Request-Id": request_id}

    def respond(self, request: Request) -> Answer:
        request_id = self.new_request_id()
        self.current = (request_id, request.headers.get("Idempotency-Key"))
        try:
            if request.path.startswith("/pay/"):
                return self.page(request)
            serve = self.control if request.path.startswith(CONTROL) else self.api
            status, content = serve(request)
            return Answer(status, self.named(request_id), content)
        except Refused as refusal:
            return Answer(refusal.status, {**self.named(request_id), **refusal.headers}, {"error": refusal.error})

    def new_request_id(self) -> str:
        return f"req_{secrets.token_hex(8)}"

    def account_of(self, request: Request) -> Account:
        kind, _, value = (request.headers.get("Authorization") or "").partition(" ")
        key = self.key_of(kind, value)
        if key is None or not KEY.fullmatch(key):
            raise self.key_refused(key)
        return self.account(key)

    def key_of(self, kind: str, value: str) -> str | None:
        if kind.lower() == "bearer":
            return value
        if kind.lower() == "basic":
            user, colon, password = self.user_of(value)
            return user if colon and not password else None
        return None

    def user_of(self, value: str) -> tuple[str, str, str]:
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return "", "", ""

    def key_refused(self, key: str | None) -> Refused:
        code = "credentials_invalid" if key else "credentials_missing"
        return Refused(401, code, "Send your secret key.", WWW_Authenticate='Basic realm="qashier"')

    def account(self, key: str) -> Account:
        if key not in self.accounts:
            self.accounts[key] = self.new_account()
        return self.accounts[key]

    def new_account(self) -> Account:
        return Account()

    def api(self, request: Request) -> tuple[int, Any]:
        for name, pattern, methods in ROUTES:
            if (match := pattern.fullmatch(request.path)) is not None:
                if request.method not in methods:
                    allow, message = ", ".join(methods), f"{request.method} is not allowed here."
                    raise Refused(405, "method_not_allowed", message, Allow=allow)
                return self.perform(self.account_of(request), name, unquote("".join(match.groups())), request)
        raise not_found("There is no such path.")

    def perform(self, account: Account, route: str, session_id: str, request: Request) -> tuple[int, Any]:
        self.sweep(account)
        try:
            if route == "retrieve":
                return 200, self.shown(self.retrieve(account, session_id))
            if route == "expire":
                asked = ("expire", session_id)
                return self.once(account, asked, lambda: (200, self.shown(self.expire(account, session_id))))
            if request.method == "GET":
                return 200, self.list(account, self.queried(request.query))
            wanted, status = self.wanted(request), self.settings.created_status
            return self.once(account, ("create", wanted), lambda: (status, self.shown(self.create(account, wanted))))
        finally:
            self.deliver(account)

    def wanted(self, request: Request) -> Any:
        if len(request.body) > self.settings.body_most:
            raise Refused(413, "body_too_large", "The body is larger than 2 MiB.")
        if not self.is_json((request.headers.get("Content-Type") or "application/json").lower()):
            raise Refused(415, "media_type_unsupported", "Send application/json.", "Content-Type")
        return self.parsed(request.body)

    def is_json(self, media_type: str) -> bool:
        return media_type.partition(";")[0].strip() == "application/json"

    def parsed(self, body: bytes) -> Any:
        def refuse(word: str) -> None:
            raise ValueError(word)

        try:
            if body.count(b"[") + body.count(b"{") > BRACKETS_MOST:
                # At once, for whatever is collected as garbage so deep down would fail as well.
                raise RecursionError  # noqa: TRY301 - as reading it would
            parsed = json.loads(body.decode(), parse_constant=refuse)
            json.dumps(parsed, ensure_ascii=False).encode()
        except RecursionError:
            raise Refused(400, "body_too_deep", "The body is nested too deeply.") from None
        except ValueError:
            raise Refused(400, "body_invalid", "The body is not valid JSON.") from None
        return parsed

    # ── create ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def create(self, account: Account, body: Any) -> Session:
        if not isinstance(body, dict):
            raise invalid("The body must be an object.")
        urls = {name: self.url(body, name) for name in ("success_url", "return_url", "cancel_url")}
        lines, now = self.lines(body), account.now
        self.check_currencies(lines)
        session = self.built(account, lines, urls, now, self.expiry(body, now))
        account.sessions.append(session)
        return session

    def url(self, body: dict[str, Any], name: str) -> str | None:
        if name not in body:
            if name in self.settings.urls_required:
                raise missing(name)
            return None
        url = body[name]
        if not isinstance(url, str):
            raise invalid(f"{name} must be a string.", name)
        if len(url) > self.settings.url_most or not self.url_fits(url, name):
            raise invalid(f"{name} must be an absolute http or https URL.", name)
        return url

    def url_fits(self, url: str, name: str) -> bool:  # noqa: ARG002 - a defect looks at it
        return URL.fullmatch(url) is not None

    def lines(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        if "line_items" not in body:
            raise missing("line_items")
        items = body["line_items"]
        if not isinstance(items, list):
            raise invalid("line_items must be an array.", "line_items")
        least, most = self.settings.lines
        if not least <= len(items) <= most:
            raise invalid(f"line_items must have {least} to {most} entries.", "line_items")
        return [self.line(item, f"line_items[{index}]") for index, item in enumerate(items)]

    def line(self, line: Any, path: str) -> dict[str, Any]:
        line = self.object(line, path, ("price_data", "quantity"))
        path_of_price = f"{path}.price_data"
        price = self.object(line["price_data"], path_of_price, ("currency", "product_data", "unit_amount"))
        product_path = f"{path_of_price}.product_data"
        product = self.object(price["product_data"], product_path, self.settings.product_required)
        title = self.text(product, "name", self.settings.names, product_path)
        description = self.text(product, "description", self.settings.descriptions, product_path)
        amount = self.integer(price["unit_amount"], self.settings.amounts, f"{path_of_price}.unit_amount")
        quantity = self.integer(line["quantity"], self.settings.quantities, f"{path}.quantity")
        return {
            "amount_total": self.line_total(amount, quantity),
            "currency": self.currency(price["currency"], f"{path_of_price}.currency"),
            "description": self.described(title, description),
            "quantity": quantity,
        }

    def object(self, value: Any, path: str, required: Sequence[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise invalid(f"{path} must be an object.", path)
        for name in required:
            if name not in value:
                raise missing(f"{path}.{name}")
        return value

    def integer(self, value: Any, limits: tuple[int, int], path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not limits[0] <= value <= limits[1]:
            raise invalid(f"{path} must be an integer from {limits[0]} to {limits[1]}.", path)
        return value

    def text(self, holder: dict[str, Any], name: str, limits: tuple[int, int], path: str) -> str | None:
        if name not in holder:
            return None
        text, path = holder[name], f"{path}.{name}"
        if not isinstance(text, str):
            raise invalid(f"{path} must be a string.", path)
        if not limits[0] <= self.length(text) <= limits[1]:
            raise invalid(f"{path} must have {limits[0]} to {limits[1]} characters.", path)
        return text

    def length(self, text: str) -> int:
        return len(text)

    def currency(self, code: Any, path: str) -> str:
        if not isinstance(code, str) or code not in self.settings.currencies:
            raise invalid(f"{path} is no currency of this account.", path)
        return code

    def line_total(self, amount: int, quantity: int) -> int:
        return amount * quantity

    def described(self, title: str | None, description: str | None) -> str:
        return (description if description is not None else title) or ""

    def expiry(self, body: dict[str, Any], now: int) -> int:
        if "expires_at" not in body:
            return now + self.settings.lifetime_s
        expires_at = body["expires_at"]
        if isinstance(expires_at, bool) or not isinstance(expires_at, int):
            raise invalid("expires_at must be an integer.", "expires_at")
        shortest, longest = self.settings.lifetimes_s
        if not now + shortest <= expires_at <= now + longest:
            raise broken("expires_at must be 30 minutes to 24 hours from now.", "expires_at")
        return expires_at

    def check_currencies(self, lines: list[dict[str, Any]]) -> None:
        if len({line["currency"] for line in lines}) > 1:
            raise broken("All line items must have one currency.", "line_items")

    def total(self, lines: list[dict[str, Any]]) -> int:
        return sum(line["amount_total"] for line in lines)

    def built(
        self, account: Account, lines: list[dict[str, Any]], urls: dict[str, Any], now: int, expires_at: int
    ) -> Session:
        session_id, total = self.new_id(account), self.total(lines)
        return {
            "id": session_id,
            "currency": lines[0]["currency"] if lines else self.settings.home_currency,
            "line_items": {"object": "list", "data": lines},
            "object": "checkout.session",
            "amount_total": total,
            "created": now,
            "expires_at": expires_at,
            "mode": "payment",
            "payment_status": "unpaid" if total else "no_payment_required",
            "status": "open",
            "return_url": urls["return_url"],
            "success_url": urls["success_url"],
            "url": self.page_url(session_id),
            "_cancel": urls["cancel_url"],
            "_failed": False,
        }

    def new_id(self, account: Account) -> str:  # noqa: ARG002 - a defect counts its sessions
        return f"cs_test_{secrets.token_hex(12)}Aa"

    def page_url(self, session_id: str) -> str:
        return f"{self.base}/pay/{session_id}"

    def shown(self, session: Session) -> Session:
        return dict(json.loads(json.dumps({k: v for k, v in session.items() if not k.startswith("_")})))

    # ── retrieve, list ──────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, account: Account, session_id: str) -> Session:
        for session in account.sessions:
            if session["id"] == session_id:
                return session
        raise Refused(404, "session_not_found", f"No session has the id {session_id[:60]}.", "id")

    def retrieve(self, account: Account, session_id: str) -> Session:
        return self.find(account, session_id)

    def queried(self, query: str) -> dict[str, str]:
        pairs = parse_qsl(query, keep_blank_values=True)
        names = {
            "limit",
            "starting_after",
            "ending_before",
            "status",
            *(f"created[{bound}]" for bound in self.settings.bounds),
        }
        odd = [name for name, _ in pairs if name not in names]
        if odd or len(dict(pairs)) < len(pairs):
            raise Refused(400, "parameter_unknown", f"There is no parameter {(odd or ['twice'])[0][:60]}.", "query")
        return dict(pairs)

    def list(self, account: Account, query: dict[str, str]) -> dict[str, Any]:
        limit, filters = self.limit(query), self.filters(query)
        cursors = [name for name in ("starting_after", "ending_before") if name in query]
        if len(cursors) > 1:
            raise broken("Send starting_after or ending_before, not both.", "ending_before")
        backwards = cursors == ["ending_before"]
        sessions = self.newest_first(account)
        for name in cursors:
            sessions = self.window(sessions, self.place(sessions, query[name], name), backwards=backwards)
        page, more = self.chosen(sessions, filters, limit, backwards=backwards)
        entries = [*map(self.entry, page)]
        return {"object": "list", "data": entries, "has_more": more, "url": "/checkout/sessions"}

    def limit(self, query: dict[str, str]) -> int:
        if "limit" not in query:
            return self.settings.limit_default
        least, most = self.settings.limits
        if not re.fullmatch("[0-9]{1,9}", query["limit"]) or not least <= int(query["limit"]) <= most:
            raise invalid(f"limit must be an integer from {least} to {most}.", "limit")
        return int(query["limit"])

    def filters(self, query: dict[str, str]) -> dict[str, Any]:
        """The status that is asked for, and each bound of created."""
        status = query.get("status")
        if status not in {None, "open", "complete", "expired"}:
            raise invalid("status must be open, complete or expired.", "status")
        filters: dict[str, Any] = {} if status is None else {"status": status}
        for bound in self.settings.bounds:
            if (text := query.get(f"created[{bound}]")) is not None:
                if not re.fullmatch("[0-9]{1,12}", text):
                    raise invalid(f"created[{bound}] must be an integer.", f"created[{bound}]")
                filters[bound] = int(text)
        return filters

    def keeps(self, filters: dict[str, Any], session: Session) -> bool:
        return session["status"] == filters.get("status", session["status"]) and all(
            fits(session["created"], filters[bound]) for bound, fits in self.settings.bounds.items() if bound in filters
        )

    def newest_first(self, account: Account) -> Sequence[Session]:
        return account.sessions[::-1]

    def place(self, sessions: Sequence[Session], cursor: str, name: str) -> int:
        for place, session in enumerate(sessions):
            if session["id"] == cursor:
                return place
        raise broken(f"No session has the id {cursor[:60]}.", name)

    def window(self, sessions: Sequence[Session], place: int, *, backwards: bool) -> Sequence[Session]:
        return sessions[:place] if backwards else sessions[place + 1 :]

    def chosen(
        self, sessions: Sequence[Session], filters: dict[str, Any], limit: int, *, backwards: bool
    ) -> tuple[Sequence[Session], Any]:
        return self.cut([session for session in sessions if self.keeps(filters, session)], limit, backwards=backwards)

    def cut(self, sessions: Sequence[Session], limit: int, *, backwards: bool) -> tuple[Sequence[Session], Any]:
        """One page, and whether there are more."""
        return sessions[max(0, len(sessions) - limit) :] if backwards else sessions[:limit], len(sessions) > limit

    def entry(self, session: Session) -> Session:
        return self.shown(session)

    # ── expire, pay ─────────────────────────────────────────────────────────────────────────────────────────────────

    def expire(self, account: Account, session_id: str) -> Session:
        session = self.find(account, session_id)
        if session["status"] != "open":
            raise not_open(session)
        self.finish(account, session, "expired", by_api=True)
        return session

    def pay(self, account: Account, session: Session, outcome: str) -> Session:
        if not self.payable(session):
            raise not_open(session)
        if outcome == "succeeded":
            self.finish(account, session, "complete")
        else:
            session["_failed"] = True
        return session

    def payable(self, session: Session) -> bool:
        return bool(session["status"] == "open")

    def finish(self, account: Account, session: Session, status: str, *, by_api: bool = False) -> None:
        self.change(account, session, status, by_api=by_api)
        self.tell(account, session, {"complete": "completed", "expired": "expired"}[status], by_api=by_api)

    def change(self, account: Account, session: Session, status: str, *, by_api: bool) -> None:  # noqa: ARG002 - as above
        session["status"] = status
        if status == "complete" and session["payment_status"] == "unpaid":
            session["payment_status"] = "paid"

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, account: Account, session: Session, kind: str, *, by_api: bool = False) -> None:
        event = self.event(account, session, kind, by_api=by_api)
        account.events.append(event)
        now = account.now
        account.queue.extend(Job(event, endpoint, now) for endpoint in self.recipients(account))

    def event(self, account: Account, session: Session, kind: str, *, by_api: bool) -> dict[str, Any]:
        request_id, key = self.current if by_api else (None, None)
        return {
            "id": f"evt_{uuid4()}",
            "api_version": "1.0.0",
            "request": {"id": request_id, "idempotency_key": key},
            "type": f"checkout.session.{kind}",
            "account": account.name,
            "created": account.now,
            "data": {"object": self.shown(session)},
        }

    def recipients(self, account: Account) -> Sequence[dict[str, Any]]:
        return account.endpoints

    def deliver(self, account: Account) -> None:
        for job in list(account.queue):
            if job.due <= account.now and job.endpoint in account.endpoints:
                received = self.post(job.endpoint, job.event)
                job.tries += 1
                if received or job.tries > len(self.settings.retries_s):
                    account.queue.remove(job)
                else:
                    self.postpone(account, job)

    def postpone(self, account: Account, job: Job) -> None:
        job.due = account.now + self.settings.retries_s[job.tries - 1]

    def post(self, endpoint: dict[str, Any], event: dict[str, Any]) -> bool:
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = self.webhook_headers(endpoint.get("secret"), body)
        request = urllib.request.Request(endpoint["url"], data=body, headers=headers, method="POST")
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.settings.patience_s) as answer:
                return self.is_received(answer.status)
        except OSError as error:
            return self.failed(error)

    def failed(self, error: OSError) -> bool:
        """What becomes of a try that got an error, or no answer: whether it counts as received after all."""
        return self.is_received(getattr(error, "code", 0))

    def is_received(self, status: int) -> bool:
        return 200 <= status < 300

    def webhook_headers(self, secret: str | None, body: bytes) -> dict[str, str]:
        signature = {} if secret is None else {"X-Qashier-Sign": self.signature(secret, body)}
        return {"Content-Type": "application/json", **signature}

    def signature(self, secret: str, body: bytes) -> str:
        return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()

    # ── idempotency ─────────────────────────────────────────────────────────────────────────────────────────────────

    def once(
        self, account: Account, asked: tuple[str, Any], act: Callable[[], tuple[int, Session]]
    ) -> tuple[int, Session]:
        if self.current[1] is None:
            return act()
        keyed = Keyed(account, self.checked_key(self.current[1]), asked, act)
        kept = self.keys_of(account).get(keyed.key)
        if kept is None or account.now >= kept.at + self.settings.key_memory_s:
            return self.executed(keyed)
        return self.replayed(keyed, kept)

    def checked_key(self, key: str) -> str:
        if not 1 <= len(key) <= self.settings.key_most or not re.fullmatch("[!-~]+", key):
            raise invalid("Idempotency-Key must have 1 to 255 characters.", "Idempotency-Key")
        return key

    def keys_of(self, account: Account) -> dict[str, Kept]:
        return account.keys

    def executed(self, keyed: Keyed) -> tuple[int, Session]:
        answer = keyed.act()
        self.keys_of(keyed.account)[keyed.key] = Kept(keyed.account.now, keyed.asked, answer)
        return answer

    def replayed(self, keyed: Keyed, kept: Kept) -> tuple[int, Session]:  # noqa: ARG002 - whatever is asked
        answer: tuple[int, Session] = kept.answer
        return answer

    # ── time, control ───────────────────────────────────────────────────────────────────────────────────────────────

    def set_clock(self, account: Account, now: int, *, frozen: bool) -> None:
        for one in self.sharing(account):
            one.set_clock(now, frozen=frozen)

    def sharing(self, account: Account) -> Sequence[Account]:
        """The accounts that have the clock of this one."""
        return [account]

    def deadline(self, session: Session) -> float:
        return int(session["expires_at"])

    def sweep(self, account: Account) -> None:
        self.expire_due(account, account.sessions)

    def expire_due(self, account: Account, sessions: Sequence[Session]) -> None:
        for session in sessions:
            if session["status"] == "open" and account.now >= self.deadline(session):
                self.finish(account, session, "expired")

    def due(self, account: Account) -> Sequence[Any]:
        """When something happens by itself."""
        deadlines = (self.deadline(session) for session in account.sessions if session["status"] == "open")
        return [*(job.due for job in account.queue if job.endpoint in account.endpoints), *deadlines]

    def advance(self, account: Account, seconds: int) -> None:
        goal, frozen = account.now + seconds, account.frozen is not None
        while due := [at for one in self.sharing(account) for at in self.due(one) if at <= goal]:
            self.set_clock(account, max(min(due), account.now), frozen=True)
            for one in self.sharing(account):
                self.sweep(one)
                self.deliver(one)
        self.set_clock(account, goal, frozen=frozen)

    def control(self, request: Request) -> tuple[int, Any]:
        account = self.account_of(request)
        self.sweep(account)
        try:
            return self.controlled(account, request.method, request.path.removeprefix(CONTROL), request)
        finally:
            self.deliver(account)

    def controlled(self, account: Account, method: str, path: str, request: Request) -> tuple[int, Any]:
        wanted = json.loads(request.body) if request.body else {}
        if path in {"/clock", "/clock/advance"}:
            if path == "/clock/advance":
                self.advance(account, wanted["seconds"])
            elif method == "PUT":
                self.put_clock(account, wanted)
            return 200, {"now": account.now, "frozen": account.frozen is not None}
        if path == "/events":
            return 200, {"data": self.told(account)}
        if path == "/webhook-endpoints":
            if method == "GET":
                return 200, {"data": [{"id": e["id"], "url": e["url"]} for e in account.endpoints]}
            endpoint = {"id": f"we_{secrets.token_hex(4)}", **wanted}
            account.endpoints.append(endpoint)
            return 201, {"id": endpoint["id"], "url": endpoint["url"]}
        if path.startswith("/webhook-endpoints/") and method == "DELETE":
            self.remove_endpoint(account, path.rpartition("/")[2])
            return 204, None
        if match := re.fullmatch(r"/sessions/([^/]+)/pay", path):
            session = self.find(account, unquote(match[1]))
            return 200, self.shown(self.pay(account, session, wanted.get("outcome", "succeeded")))
        raise not_found("There is no such call.")

    def put_clock(self, account: Account, wanted: dict[str, Any]) -> None:
        frozen = wanted.get("frozen", account.frozen is not None)
        self.set_clock(account, wanted.get("now", account.now), frozen=frozen)

    def told(self, account: Account) -> Sequence[dict[str, Any]]:
        return account.events

    def remove_endpoint(self, account: Account, endpoint_id: str) -> None:
        account.endpoints = [endpoint for endpoint in account.endpoints if endpoint["id"] != endpoint_id]

    # ── the hosted page ─────────────────────────────────────────────────────────────────────────────────────────────

    def page(self, request: Request) -> Answer:
        session_id, _, step = request.path.removeprefix("/pay/").partition("/")
        answer = Answer(404, {}, "<p>There is no such session.</p>")
        for account in self.accounts.values():
            for session in account.sessions:
                if session["id"] == unquote(session_id) and step in {"", "method"}:
                    self.sweep(account)
                    answer = self.page_of(account, session, step, request)
                    self.deliver(account)
        return replace(answer, headers={"Content-Type": "text/html; charset=utf-8", **answer.headers})

    def page_of(self, account: Account, session: Session, step: str, request: Request) -> Answer:
        if request.method == "POST" and session["status"] == "open":
            act = dict(parse_qsl(request.body.decode())).get("act", "")
            return Answer(303, {"Location": self.pressed(account, session, act)}, "")
        return Answer(200, {}, self.viewed(account, session, step, request.method))

    def pressed(self, account: Account, session: Session, act: str) -> str:
        """Where a button of the page leads to."""
        own = f"/pay/{session['id']}"
        if act == "redirect":
            return f"{own}/method"
        self.pay(account, session, {"card": "succeeded", "authorise": "succeeded"}.get(act, "failed"))
        return {"card": str(session["success_url"]), "declined": own}.get(act, str(session["return_url"]))

    def viewed(self, account: Account, session: Session, step: str, method: str) -> str:  # noqa: ARG002 - looking changes nothing
        return f"<html><head><title>x</title></head><body>{self.drawn(session, step)}</body></html>"

    def drawn(self, session: Session, step: str) -> str:
        if session["status"] != "open":
            word = {"expired": "This session is <b>expired</b>.", "complete": "This session is paid."}
            return f"<p data-testid=message>{word[session['status']]}</p>"
        lines = "".join(
            f"<li>{line['quantity']} x {html.escape(line['description'])}</li>"
            for line in session["line_items"]["data"]
        )
        buttons = "".join(
            f'<form method="post" action="/pay/{session["id"]}"><input type=hidden name=act value={name}>'
            f'<button data-testid="{name if step else "pay-" + name}">{name}</button></form>'
            for name in self.buttons(session, step)
        )
        back = None if step else self.way_back(session)
        link = "" if back is None else f'<a data-testid=back href="{html.escape(back)}">Back</a>'
        return f"<p>{self.price(session)}</p><ul>{lines}</ul>{buttons}{link}"

    def buttons(self, session: Session, step: str) -> Sequence[str]:  # noqa: ARG002 - free or not
        return ("authorise", "cancel") if step else ("card", "declined", "redirect")

    def way_back(self, session: Session) -> str | None:
        return session["_cancel"] and str(session["_cancel"])

    def price(self, session: Session) -> str:
        return f"{session['amount_total']:,}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None
