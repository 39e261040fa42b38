"""The composition root: settings in, an ASGI app out.

The real clock and randomness are chosen here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import randbits
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from qashier_mock._version import __version__
from qashier_mock.accounts import AccountService
from qashier_mock.address import host_in, is_loopback
from qashier_mock.clocks import Clocks
from qashier_mock.core.model import Event, EventType, WebhookEndpoint
from qashier_mock.core.policy import Policy
from qashier_mock.core.rules import DEFAULT_RULES
from qashier_mock.core.sources import SeededIds
from qashier_mock.documents import documents_folder
from qashier_mock.hooks import ADVICE, PRODUCTION_PREFIX, AppHooks
from qashier_mock.inspection import Inspection
from qashier_mock.livelog import LiveLog
from qashier_mock.machine import MachineClock, steady
from qashier_mock.outgoing import Outgoing
from qashier_mock.pipeline.app import ReplyCheck, create_pipeline
from qashier_mock.pipeline.document import Document
from qashier_mock.pipeline.scope import RESPOND
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.web import hosted, wire
from qashier_mock.web.api import ApiHandlers
from qashier_mock.web.control import ControlHandlers
from qashier_mock.web.docs import create_docs
from qashier_mock.web.inspector import InspectorParts, create_inspector
from qashier_mock.webhooks import Dispatcher

if TYPE_CHECKING:
    from qashier_mock.bugs import Parts


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
        bugs: Known defects to serve, by name (`bugs.BUGS`).
        inspector_token: Lets clients beyond loopback use the inspector; None: none may.
        cors: Origins (`http://localhost:3000`, or `*` for all) whose pages may read answers.
        tls: The files (PEM) of the certificate and of its key, for https; None: plain http.
    """

    public_url: str | None = None
    webhook_urls: Sequence[str] = ()
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_ca: Path | None = None
    webhook_hosts: frozenset[str] | None = None
    policy: Policy = field(default_factory=Policy)
    seed: int | None = None
    strict: bool = False
    bugs: tuple[str, ...] = ()
    inspector_token: str | None = field(default=None, repr=False)
    cors: Sequence[str] = ()
    tls: tuple[Path, Path] | None = None


class MockApp:
    """A mock as an ASGI app, with the parts that a server and tests talk to.

    Attributes:
        asgi: The app.
        hooks: What the pipeline, and the protocol of its server, is handed.
        address: Where the server listens (`http://127.0.0.1:4010`); see `listen_on`.
        is_closing: Set by a server that is about to stop: answers that go on for ever end.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        clock: Callable[[], float] | None = None,
        judge: ReplyCheck | None = None,
    ) -> None:
        """Compose an app.

        Tests pass a `clock` of their own, epoch seconds that never go back, and a `judge`, which is called with each
        reply that goes out (see `create_pipeline`). Without a `store`, state is kept in memory.

        Raises:
            OSError: The file `settings.webhook_ca` cannot be read, or holds no certificate.
            UnknownBug: `settings.bugs` names a defect that is not known.
        """
        self.settings = settings
        self.address = "http://127.0.0.1:4010"
        self.is_closing = False
        self._is_open = False
        self.store: Store = MemoryStore() if store is None else store
        defects = None
        if settings.bugs:
            from qashier_mock.bugs import parts_with  # noqa: PLC0415 - costs nothing where none is asked for

            defects = parts_with(settings.bugs)
        self._ids = SeededIds(randbits(63) if settings.seed is None else settings.seed)
        self._make_services(MachineClock() if clock is None else clock, defects)
        self.asgi = self._make_asgi(defects, judge)

    def _make_services(self, timer: Callable[[], float], defects: Parts | None) -> None:
        settings = self.settings
        rules = DEFAULT_RULES if defects is None else defects.rules
        store = self.store if defects is None else defects.store_over(self.store)
        refuses = _delivery_rule(settings.webhook_hosts)

        def whole() -> int:
            return int(timer())

        self.service = CheckoutService(
            store,
            clock=whole,
            ids=self._ids,
            policy=settings.policy,
            public_url=self._public_url,
            common_endpoints=[
                WebhookEndpoint(f"we_common{index}", url, secret=settings.webhook_secret)
                for index, url in enumerate(settings.webhook_urls)
            ],
            strict=settings.strict,
            rules=rules,
        )
        self.accounts = AccountService(store, self.service, clock=whole, refuses_webhooks_to=refuses)
        self.dispatcher = Dispatcher(
            store,
            self.service,
            clock=whole,
            timer=timer,
            send=Outgoing(ca_file=settings.webhook_ca).post,
            render=wire.event_to_bytes,
            policy=settings.policy,
            refuses=refuses,
            rules=rules,
        )
        self.clocks = Clocks(store, self.service, self.dispatcher, clock=whole)
        self.hooks = AppHooks(
            settings.policy,
            public_url=settings.public_url,
            cors=settings.cors,
            ids=self._ids,
            service=self.service,
            accounts=self.accounts,
            store=self.store,
            note_outage=self.dispatcher.note_outage,
        )

    def _make_asgi(self, defects: Parts | None, judge: ReplyCheck | None) -> ASGIApp:
        control = ControlHandlers(
            self.service, self.accounts, self.dispatcher, self.clocks, version=__version__, store=self.store.name
        )
        api = ApiHandlers(self.service)
        folder = documents_folder()
        public = Document.of_file(folder / "qashier.yaml")
        documents: list[tuple[Document, tuple[str, ...]]] = [
            (public, ("", PRODUCTION_PREFIX)),
            (Document.of_file(folder / "control.yaml"), ("",)),
        ]
        pages = {"/pay": hosted.create_pages(self.service, observe=self.hooks.observe_page)}
        if defects is not None:
            defects.install(
                documents=documents,
                pages=pages,
                ids=self._ids,
                service=self.service,
                accounts=self.accounts,
                dispatcher=self.dispatcher,
                hooks=self.hooks,
                api=api,
                control=control,
            )
        inspector = create_inspector(
            InspectorParts(
                inspection=Inspection(self.store, self.service),
                service=self.service,
                accounts=self.accounts,
                dispatcher=self.dispatcher,
                clocks=self.clocks,
                hints=self.hooks.hints,
                address=self._public_url,
                public_host=self.hooks.public_host,
                token=self.settings.inspector_token,
                is_closing=lambda: self.is_closing,
                new_request_id=self.hooks.new_request_id,
                parse_body=lambda operation_id, body: pipeline.parse_body(operation_id, body),  # noqa: PLW0108 - it is made below
            )
        )
        docs = create_docs(public.content)
        pipeline = create_pipeline(
            documents,
            [api, control],
            self.hooks,
            # What is unknown below the control API is refused as the control API refuses.
            pages={
                **pages,
                "/docs": docs,
                "/openapi.json": docs,
                "/": inspector,
                "/_mock": inspector,
                "/_mock/v1": None,
            },
            timer=steady,
            lifespan=self._lifespan,
            judge=judge,
        )
        asgi = pipeline if defects is None else defects.wrap(pipeline)
        return _with_cors(asgi, self.settings.cors) if self.settings.cors else asgi

    def listen_on(self, address: str, *, host: str) -> None:
        """Learn where the server listens, before the first request.

        Where `host`, which was bound, is loopback, the control API answers to names of this machine only.
        """
        self.address = address
        self.hooks.is_local = is_loopback(host)

    def show_on(self, live: LiveLog) -> None:
        """Show each request, webhook attempt and expiry on a live log from now on."""

        def tell(event: Event) -> None:
            if event.type is EventType.EXPIRED and event.request_id is None:
                live.tell(event)

        self.hooks.live = live
        self.service.on_event = tell
        self.dispatcher.on_attempt = live.tell

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
            self._ids.tell_apart(f"/{self.store.incarnation}")
            self._is_open = True

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        await self.open()
        try:
            async with self.dispatcher.running():
                yield
        finally:
            self._is_open = False
            if self.hooks.live is not None:
                await asyncio.to_thread(self.hooks.live.close)
            await self.store.close()


def create_app(settings: Settings | None = None, *, store: Store | None = None) -> MockApp:
    """A mock with the real clock; `create_app().asgi` is what an ASGI server takes."""
    return MockApp(settings or Settings(), store=store)


def _with_cors(asgi: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of some origins read answers, and ask beforehand."""
    from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415 - hardly anyone asks for it

    async def unhurried(scope: Scope, receive: Receive, send: Send) -> None:
        # The protocol's own way to send a response would pass the middleware by.
        extensions = {name: value for name, value in (scope.get("extensions") or {}).items() if name != RESPOND}
        await asgi({**scope, "extensions": extensions}, receive, send)

    return CORSMiddleware(
        unhurried,
        allow_origins=list(origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Request-Id", "Retry-After", ADVICE.decode()],
    )


def _delivery_rule(hosts: frozenset[str] | None) -> Callable[[str], str | None]:
    """Why a URL may not be delivered to, or None."""

    def refusal(url: str) -> str | None:
        host = host_in(url)
        if hosts is None or host in hosts:
            return None
        return (
            f"This server does not deliver webhooks to {host!r}: it listens beyond loopback, or was told where they "
            f"may go. Start it with --webhook-allow {host} to allow that."
        )

    return refusal
