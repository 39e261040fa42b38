"""The composition root: settings in, an ASGI app out.

The real clock and randomness are chosen here and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from secrets import randbits
from typing import Final
from urllib.parse import urlsplit

from qashier_mock._version import __version__
from qashier_mock.accounts import AccountService
from qashier_mock.clocks import Clocks
from qashier_mock.core.credentials import account_of, key_of
from qashier_mock.core.errors import (
    ApiError,
    ConflictError,
    CredentialsInvalid,
    ErrorKind,
    IdempotencyKeyInUse,
    RateLimited,
    RequestInvalid,
    ServiceUnavailable,
)
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.journal import JournalEntry, cut
from qashier_mock.core.model import AccountId, WebhookEndpoint
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.rules import DEFAULT_RULES
from qashier_mock.core.sources import SeededIds
from qashier_mock.documents import documents_folder
from qashier_mock.machine import MachineClock, steady
from qashier_mock.outgoing import Outgoing
from qashier_mock.pipeline import (
    Call,
    Document,
    Fault,
    Reason,
    Refused,
    Reply,
    Transmit,
    UnroutedRequest,
    create_pipeline,
)
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store, StoreUnavailable
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.web import hosted, wire
from qashier_mock.web.api import ApiHandlers
from qashier_mock.web.control import ControlHandlers
from qashier_mock.web.origin import check_origin, host_of
from qashier_mock.webhooks import Dispatcher

PRODUCTION_PREFIX: Final = "/v3/payment/qpay"
_KEY_CACHE: Final = 10_000

_LOG_AGAIN_AFTER: Final = 60.0
"""Seconds until the same trouble with the store is logged again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a mock is to behave; the defaults are those of `qashier-mock serve`.

    Attributes:
        public_url: What `session.url` begins with, without a trailing slash. None: the server's own address.
        webhook_urls: Every account delivers there.
        webhook_secret: Signs those deliveries.
        webhook_ca: Certificates (PEM) of authorities that https receivers may have besides the well-known ones.
        webhook_hosts: The only hosts that webhooks may go to; None: any.
        policy: What to do where the documentation is silent.
        seed: What ids are drawn from, so that they repeat run for run; None: drawn at random.
        strict: Whether accounts without a setting of their own turn advice about a request into a refusal.
        process: Tells apart the request ids of several processes with the same seed.
        bugs: Known defects to serve, by name (`bugs.BUGS`).
    """

    public_url: str | None = None
    webhook_urls: Sequence[str] = ()
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_ca: Path | None = None
    webhook_hosts: frozenset[str] | None = None
    policy: Policy = field(default_factory=Policy)
    seed: int | None = None
    strict: bool = False
    process: str = ""
    bugs: tuple[str, ...] = ()


class MockApp:
    """A mock as an ASGI app, with the parts that a server and tests talk to.

    Attributes:
        asgi: The app.
        service: Checkout sessions.
        accounts: Everything else of an account.
        dispatcher: Webhooks.
        clocks: The clocks of accounts that are moved.
        hooks: What the pipeline, and the protocol of its server, is handed.
        address: Where the server listens (`http://127.0.0.1:4010`); see `listen_on`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        clock: Callable[[], float] | None = None,
        validate_responses: bool = False,
    ) -> None:
        """Compose an app.

        Args:
            settings: How it is to behave.
            store: Where state is kept; None: in memory.
            clock: The machine's time in epoch seconds, which never goes back; None: the real one. Tests pass their own.
            validate_responses: Validate each reply against the document, and fail on one that it does not describe.

        Raises:
            OSError: The file `settings.webhook_ca` cannot be read, or holds no certificate.
            UnknownBug: `settings.bugs` names a defect that is not known.
        """
        self.settings = settings
        self.address = "http://127.0.0.1:4010"
        self._is_open = False
        self.store: Store = MemoryStore() if store is None else store
        broken = None
        if settings.bugs:
            from qashier_mock.bugs import parts_with  # noqa: PLC0415 - costs nothing where none is asked for

            broken = parts_with(settings.bugs)
        rules = DEFAULT_RULES if broken is None else broken.rules
        store = self.store if broken is None else broken.store_over(self.store)
        timer = MachineClock() if clock is None else clock

        def whole() -> int:
            return int(timer())

        ids = self._ids = SeededIds(randbits(63) if settings.seed is None else settings.seed, process=settings.process)
        self.service = CheckoutService(
            store,
            clock=whole,
            ids=ids,
            policy=settings.policy,
            public_url=self._public_url,
            common_endpoints=[
                WebhookEndpoint(f"we_common{index}", url, secret=settings.webhook_secret)
                for index, url in enumerate(settings.webhook_urls)
            ],
            strict=settings.strict,
            rules=rules,
        )
        refuses = _delivery_rule(settings.webhook_hosts)
        self.accounts = AccountService(store, self.service, clock=whole, refuses_webhooks_to=refuses)
        self.dispatcher = Dispatcher(
            store,
            self.service,
            clock=whole,
            timer=timer,
            send=Outgoing(ca_file=settings.webhook_ca).post,
            render=wire.event_to_bytes,
            signature_header=settings.policy.signature_header,
            signature_encoding=settings.policy.signature_encoding,
            refuses=refuses,
            rules=rules,
        )
        self.clocks = Clocks(store, self.service, self.dispatcher, clock=whole)
        self.hooks = AppHooks(settings, ids, self.service, self.accounts, self.store)
        control = ControlHandlers(
            self.service, self.accounts, self.dispatcher, self.clocks, version=__version__, store=self.store.name
        )
        api = ApiHandlers(self.service)
        folder = documents_folder()
        documents: list[tuple[Document | Path, tuple[str, ...]]] = [
            (Document.of_file(folder / "qashier.yaml"), ("", PRODUCTION_PREFIX)),
            (Document.of_file(folder / "control.yaml"), ("",)),
        ]
        pages = {"/pay": hosted.create_pages(self.service)}
        if broken is not None:
            broken.install(
                documents=documents,
                pages=pages,
                ids=ids,
                service=self.service,
                accounts=self.accounts,
                dispatcher=self.dispatcher,
                hooks=self.hooks,
                api=api,
                control=control,
            )
        asgi = create_pipeline(
            documents,
            [api, control],
            self.hooks,
            pages=pages,
            timer=steady,
            lifespan=self._lifespan,
            validate_responses=validate_responses,
        )
        self.asgi = asgi if broken is None else broken.wrap(asgi)

    def listen_on(self, address: str, *, host: str) -> None:
        """Learn where the server listens; called by whoever binds it, before the first request.

        Args:
            address: Without a trailing slash.
            host: What was bound. Bound to loopback, the control API answers to names of this machine only.
        """
        self.address = address
        self.hooks.is_local = is_loopback(host)

    def _public_url(self) -> str:
        return self.settings.public_url or self.address

    async def open(self) -> None:
        """Open the store, unless that has been done; the app's lifespan does it, and closes it again.

        A server calls this first, to learn why it cannot start before its framework tells the log.

        Raises:
            StoreUnavailable: It cannot be reached or used.
        """
        if not self._is_open:
            await self.store.open()
            self._ids.tell_apart(f"{self.settings.process}/{self.store.incarnation}")
            self._is_open = True

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        await self.open()
        try:
            async with self.dispatcher.running():
                yield
        finally:
            self._is_open = False
            await self.store.close()


def create_app(settings: Settings | None = None, *, store: Store | None = None) -> MockApp:
    """A mock with the real clock; `create_app().asgi` is what an ASGI server takes."""
    return MockApp(settings or Settings(), store=store)


class AppHooks:
    """What the pipeline asks: who is calling, what goes wrong on purpose, how an error looks, what to remember.

    Attributes:
        is_local: Whether the server is bound to loopback.
    """

    def __init__(
        self, settings: Settings, ids: SeededIds, service: CheckoutService, accounts: AccountService, store: Store
    ) -> None:
        self._policy = settings.policy
        self._public_host = None if settings.public_url is None else host_of(urlsplit(settings.public_url).netloc)
        self.is_local = False
        self._service = service
        self._accounts = accounts
        self._store = store
        self._known: dict[bytes, AccountId] = {}
        self._delayed: dict[tuple[AccountId, bytes], tuple[str, float]] = {}  # keys under way: by whom, until when
        self.new_request_id = ids.request_id
        self._logged_at: dict[str, float] = {}  # why the store could not be used, and when that was last said

    def authenticate(self, authorization: Sequence[bytes]) -> AccountId:
        """The account of the key in `Authorization` (AUTH-1 to AUTH-4)."""
        known = self._known.get(authorization[0]) if len(authorization) == 1 else None
        if known is not None:
            return known
        account = account_of(key_of(authorization))
        if len(self._known) >= _KEY_CACHE:
            self._known.clear()
        self._known[authorization[0]] = account
        return account

    def intercept(self, call: Call) -> Awaitable[Fault | None] | None:
        """What the account's fault rules do to this call; the control API has none, and answers no stranger's page."""
        if _is_control(call):
            check_origin(call.headers, is_local=self.is_local, public_host=self._public_host)
            return None
        if self._store.is_faultless(call.principal):
            return None
        return self._planned(call)

    async def _planned(self, call: Call) -> Fault | None:
        rule = await self._accounts.fault_of_call(call.principal, call.operation.operation_id)
        if rule is None:
            return None
        key = call.headers.get(b"idempotency-key")
        if rule.action is FaultAction.DELAY and key is not None and self._policy.idempotency_in_flight == "conflict":
            self._delayed[call.principal, key.strip()] = (call.request_id, steady() + rule.seconds)
        return self._fault(rule)

    def _fault(self, rule: FaultRule) -> Fault:
        match rule.action:
            case FaultAction.DELAY:
                return Fault(delay_s=rule.seconds)
            case FaultAction.DROP:
                return Fault(transmit=Transmit.DROPPED, perform=False)
            case FaultAction.TRUNCATE:
                return Fault(transmit=Transmit.TRUNCATED)
            case FaultAction.LOSE_ANSWER:
                return Fault(transmit=Transmit.DROPPED)
            case _:
                return Fault(reply=self._scripted(rule), perform=False)

    def _scripted(self, rule: FaultRule) -> Reply:
        status = rule.status or 503
        why = "by a fault rule of this account."
        error: ApiError
        if status == _TOO_MANY:
            error = RateLimited(f"Too many requests, {why} Wait and try again.")
        elif status >= _SERVER_ERRORS:
            error = ServiceUnavailable(f"Unavailable, {why} Try again.")
        elif status == self._policy.status(ErrorKind.UNAUTHENTICATED):
            error = CredentialsInvalid(f"The API key is refused, {why}")
        elif status == self._policy.status(ErrorKind.CONFLICT):
            error = ConflictError(f"In conflict with another request, {why} Try again.")
            error.code = IdempotencyKeyInUse.code
        else:
            error = RequestInvalid(f"Refused, {why}", code=_SCRIPTED_CODES.get(status, "parameter_invalid"))
        retry_after = rule.retry_after if rule.retry_after is not None else (1 if status == _TOO_MANY else None)
        headers = () if retry_after is None else ((b"retry-after", b"%d" % retry_after),)
        if error.kind is ErrorKind.UNAUTHENTICATED:
            headers = (*headers, _CHALLENGE)
        return Reply(status, wire.error_to_json(error), headers)

    def admit(self, call: Call) -> None:
        """Refuse unknown fields of a body, and a key whose request is held up by a fault, where the policy says so."""
        if self._delayed:
            self._refuse_in_flight(call)
        if call.unknown_fields and self._policy.unknown_fields == "reject":
            unknown = call.unknown_fields[0]
            hint = f"; did you mean {unknown.nearest}?" if unknown.nearest else "."
            raise RequestInvalid(
                f"The body has a field that the API does not know: {unknown.path}{hint}",
                code="parameter_unknown",
                param=unknown.path,
            )

    def _refuse_in_flight(self, call: Call) -> None:
        """Refuse a key whose request a fault rule holds up; a store refuses those that it has under way itself."""
        now = steady()
        self._delayed = {each: held for each, held in self._delayed.items() if held[1] > now}
        key = call.headers.get(b"idempotency-key", b"").strip()
        request_id, _ = self._delayed.get((call.principal, key), (call.request_id, now))
        if request_id != call.request_id:
            raise IdempotencyKeyInUse

    def render_error(self, error: Exception, call: Call | None) -> Reply:  # noqa: ARG002 - the pipeline's signature
        """Render an error as the envelope; every refusal leaves through here (HTTP-3)."""
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if isinstance(error, StoreUnavailable):
            self._log_store(str(error))
            error = ServiceUnavailable("The store behind this mock cannot be reached; try again shortly.")
        if isinstance(error, Refused):
            if error.reason is Reason.INTERNAL_ERROR:
                return Reply(500, {"error": {"type": "api_error", "code": "internal_error", "message": error.message}})
            headers = error.headers
            code, kind = _REFUSALS[error.reason]
            hint = _WHERE_THINGS_ARE if error.reason is Reason.PATH_UNKNOWN else ""
            error = RequestInvalid(error.message + hint, code=code, kind=kind, param=error.param)
        if not isinstance(error, ApiError):
            raise error
        if error.kind is ErrorKind.UNAUTHENTICATED:
            headers = (*headers, _CHALLENGE)
        return Reply(self._policy.status(error.kind), wire.error_to_json(error), headers)

    def _log_store(self, reason: str) -> None:
        """Log why the store cannot be used, each reason at most once a minute: the caller is not told."""
        now = steady()
        if now - self._logged_at.get(reason, -_LOG_AGAIN_AFTER) >= _LOG_AGAIN_AFTER:
            self._logged_at = {reason: now}
            _log.error("the store cannot be used: %s", reason)

    def observe(self, call: Call, reply: Reply, body: bytes) -> Sequence[tuple[bytes, bytes]]:
        """Write the journal, and put new advice into a header. Calls of the control API are left out."""
        if _is_control(call):
            return ()
        key = call.headers.get(b"idempotency-key")
        path = call.path.encode("latin-1")
        if call.query:
            path = b"%b?%b" % (path, call.query)
        is_sent = reply.transmit is not Transmit.DROPPED
        request: RequestRef | None = call.context
        earned = [] if request is None else request.earned
        self._store.record(
            call.principal,
            JournalEntry(
                call.request_id,
                call.operation.operation_id,
                call.method,
                path,
                reply.status if is_sent else None,
                self._service.time_of(call.principal),
                (steady() - call.started) * 1000,
                None if key is None else key.decode("latin-1"),
                cut(call.raw_body),
                cut(body) if is_sent else None,
                tuple(dict.fromkeys(each.kind.value for each in earned)),
            ),
        )
        return ((_ADVICE, wire.advice_to_header(earned)),) if earned else ()

    def observe_unrouted(self, unrouted: UnroutedRequest, reply: Reply, body: bytes) -> None:
        """Write a request to an unknown path into the journal: its reader may look for a mistyped path."""
        if unrouted.path.startswith("/_mock/"):
            return
        try:
            account = self.authenticate(unrouted.authorization)
        except ApiError:
            return
        key = unrouted.headers.get(b"idempotency-key")
        path = unrouted.path if not unrouted.query else f"{unrouted.path}?{unrouted.query.decode('latin-1')}"
        self._store.record(
            account,
            JournalEntry(
                unrouted.request_id,
                None,
                unrouted.method,
                path.encode("latin-1"),
                reply.status,
                self._service.time_of(account),
                (steady() - unrouted.started) * 1000,
                None if key is None else key.decode("latin-1"),
                None,
                cut(body),
            ),
        )


_ADVICE: Final = b"qashier-mock-advice"
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500
_SCRIPTED_CODES: Final = {404: "not_found", 413: "body_too_large", 415: "media_type_unsupported"}
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="qashier", charset="UTF-8", Bearer realm="qashier"')
_WHERE_THINGS_ARE: Final = (
    f" The API is at {wire.LIST_URL}, also below {PRODUCTION_PREFIX}; the control API is at /_mock/v1."
)
_REFUSALS: Final[Mapping[Reason, tuple[str, ErrorKind]]] = {
    Reason.PATH_UNKNOWN: ("not_found", ErrorKind.NOT_FOUND),
    Reason.METHOD_NOT_ALLOWED: ("method_not_allowed", ErrorKind.METHOD),
    Reason.BODY_TOO_LARGE: ("body_too_large", ErrorKind.TOO_LARGE),
    Reason.MEDIA_TYPE_UNSUPPORTED: ("media_type_unsupported", ErrorKind.MEDIA_TYPE),
    Reason.BODY_INVALID: ("body_invalid", ErrorKind.INVALID),
    Reason.PARAMETER_MISSING: ("parameter_missing", ErrorKind.INVALID),
    Reason.PARAMETER_INVALID: ("parameter_invalid", ErrorKind.INVALID),
    Reason.PARAMETER_UNKNOWN: ("parameter_unknown", ErrorKind.INVALID),
    Reason.PROTOCOL_ERROR: ("body_invalid", ErrorKind.INVALID),
}


def _is_control(call: Call) -> bool:
    return call.operation.path.startswith("/_mock/")


def _delivery_rule(hosts: frozenset[str] | None) -> Callable[[str], str | None]:
    """Why a URL may not be delivered to, or None."""

    def refusal(url: str) -> str | None:
        if hosts is None:
            return None
        host = (urlsplit(url).hostname or "").lower()
        if host in hosts:
            return None
        return (
            f"This server does not deliver webhooks to {host!r}: it listens beyond loopback, or was told where they "
            f"may go. Start it with --webhook-allow {host} to allow that."
        )

    return refusal


def is_loopback(host: str) -> bool:
    """Whether binding to `host` keeps the server on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
