"""`qashier-mock serve`: the main job."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qashier_mock.address import AddressUnavailable, Listener, bind, host_in, is_loopback, url_of
from qashier_mock.cli import DONE, CommandError, refusing
from qashier_mock.cli.logs import live_log, set_up_logging, tell_ready
from qashier_mock.cli.options import HOST, POLICY, PORT, SEED, Flag, Option, Repeatable, one_of, parse
from qashier_mock.cli.values import base_url, host, http_url, integer, text_of

if TYPE_CHECKING:
    from qashier_mock.app import MockApp, Settings
    from qashier_mock.stores.base import Store

DEFAULT_PORT: Final = 4010
EXAMPLES: Final = "examples"
"""In place of the file of `--data`: the account that the examples of the documents tell of."""


def _ca_file(text: str) -> Path:
    """A file with certificates of authorities."""
    import ssl  # noqa: PLC0415 - only with --webhook-ca

    try:
        ssl.create_default_context().load_verify_locations(text)
    except ssl.SSLError:
        raise ValueError(f"the file of --webhook-ca holds no certificate in PEM form: {text}") from None
    except OSError as error:
        raise ValueError(f"the file of --webhook-ca cannot be read: {text}: {error.strerror}") from None
    return Path(text)


def _origin(text: str) -> str:
    """An origin that browsers send: scheme, host and perhaps a port, or `*`."""
    if text != "*" and (base_url(text) != text or text.count("/") > 2):  # noqa: PLR2004 - those of ://
        raise ValueError(f"{text!r} is not an origin; one looks like http://localhost:3000")
    return text


def _bug_names() -> Iterable[str]:
    from qashier_mock.bugs import BUGS  # noqa: PLC0415 - for completion alone

    return BUGS


OPTIONS: Final = (
    HOST,
    PORT(default=DEFAULT_PORT),
    Option(
        name="store",
        metavar="URL",
        default="memory",
        offers=lambda: ("memory", "sqlite:///", "postgresql://"),
        help="where state is kept: memory, sqlite:///FILE, or postgresql://…, which several servers can share",
    ),
    Option(
        name="workers",
        metavar="N",
        default=1,
        parse=partial(integer, at_least=1, at_most=64, what="the number of workers"),
        help="serve with N processes; more than one needs a store that they can share",
    ),
    Repeatable(
        name="webhook-url",
        metavar="URL",
        parse=http_url,
        help="every account delivers its webhooks there; may be repeated",
    ),
    Option(
        name="webhook-secret-file",
        metavar="FILE",
        help="signs those webhooks with the text of FILE, one line ending stripped; or set QASHIER_WEBHOOK_SECRET",
    ),
    Option(
        name="webhook-ca",
        metavar="FILE",
        parse=_ca_file,
        help="trust the authorities in FILE (PEM) as well when webhooks go to https",
    ),
    Repeatable(
        name="webhook-allow",
        metavar="HOST",
        parse=host,
        help="webhooks may go to HOST; by default anywhere when bound to loopback, else only to the hosts of "
        "--webhook-url; may be repeated",
    ),
    Option(
        name="public-url",
        metavar="URL",
        parse=base_url,
        help="what the url of a session begins with; by default the address that is bound",
    ),
    POLICY,
    SEED(help="draw ids from N, so that they repeat run for run"),
    Option(
        name="data",
        metavar="FILE",
        help="begin with this snapshot, in the account of QASHIER_API_KEY; 'examples': with what the documents tell of",
    ),
    Flag(name="strict", help="refuse requests that are otherwise only advised against"),
    Repeatable(
        name="bug",
        metavar="NAME",
        offers=_bug_names,
        help="serve this known defect; qashier-mock selfcheck --list names them; may be repeated",
    ),
    Repeatable(
        name="cors",
        metavar="ORIGIN",
        parse=_origin,
        help="let pages of ORIGIN (http://localhost:3000, or * for any) call the API; may be repeated",
    ),
    Option(name="tls-cert", metavar="FILE", help="serve https with this certificate (PEM), its chain included"),
    Option(name="tls-key", metavar="FILE", help="the key (PEM) of that certificate"),
    Option(
        name="inspector-token-file",
        metavar="FILE",
        help="let other machines open the inspector with ?token=, the text of FILE; or set QASHIER_INSPECTOR_TOKEN",
    ),
    one_of("log-format", "text", "json", help="how the log on stderr and the ready line on stdout are written"),
    Flag(name="quiet", help="log no requests, webhooks and expiries"),
)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = parse("serve", "Run the mock until SIGINT or SIGTERM.", OPTIONS, arguments)
    secret = _secret(options.webhook_secret_file, option="webhook-secret-file", variable="QASHIER_WEBHOOK_SECRET")
    snapshot = _snapshot(options.data)
    tls = _tls(options.tls_cert, options.tls_key)
    try:
        listener = bind(options.host, options.port)
    except AddressUnavailable as error:
        _refuse_mistakes(options)  # a port is soon changed: what else is wrong would be told only then
        raise CommandError(str(error)) from None
    with listener:
        # Clients can connect from here on, and wait while the rest is imported.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, _leave)
        set_up_logging(options.log_format)
        address = url_of(listener, scheme="http" if tls is None else "https")
        if options.data == EXAMPLES:
            snapshot = _example_account(options.public_url or address)
        ready = partial(tell_ready, address, options.log_format)
        make_app = partial(_compose, options, secret, address)
        if options.workers == 1:
            _serve(make_app(), listener, ready=ready, snapshot=snapshot)
        else:
            _serve_with_workers(options, make_app, listener, ready=ready, snapshot=snapshot)
    return DONE


def _leave(_signal: int, _frame: object) -> None:
    """Stop while there is nothing yet that would have to be stopped cleanly."""
    raise SystemExit(DONE)


def _secret(path: str | None, *, option: str, variable: str) -> str | None:
    """A secret from the file of an option, or from the environment; None where neither is given."""
    if path is None:
        return os.environ.get(variable) or None
    secret = text_of(path, f"the file of --{option}").removesuffix("\n").removesuffix("\r")
    if not secret:
        raise CommandError(f"the file of --{option} is empty")
    return secret


def _tls(certificate: str | None, key: str | None) -> tuple[Path, Path] | None:
    """The files for https, which fit together; None where neither is named."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise CommandError("--tls-cert and --tls-key go together; one of them is missing")
    import ssl  # noqa: PLC0415 - only with https

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        what = error.reason or str(error)
        raise CommandError(f"--tls-cert {certificate} and --tls-key {key} cannot be used: {what}") from None
    except OSError as error:
        raise CommandError(f"--tls-cert {certificate}, --tls-key {key}: {error.strerror}") from None
    return Path(certificate), Path(key)


def _settings(options: argparse.Namespace, secret: str | None) -> Settings:
    from qashier_mock.app import Settings  # noqa: PLC0415 - after the socket is bound

    hosts = {host_in(url) for url in options.webhook_url} | {each.lower() for each in options.webhook_allow}
    anywhere = is_loopback(options.host) and not options.webhook_allow
    return Settings(
        public_url=options.public_url,
        webhook_urls=tuple(options.webhook_url),
        webhook_secret=secret,
        webhook_ca=options.webhook_ca,
        webhook_hosts=None if anywhere else frozenset(hosts),
        policy=_policy(options.policy),
        seed=options.seed,
        strict=options.strict,
        bugs=_bugs(options.bug),
        cors=tuple(options.cors),
        tls=None if options.tls_cert is None else (Path(options.tls_cert), Path(options.tls_key)),
        inspector_token=_secret(
            options.inspector_token_file, option="inspector-token-file", variable="QASHIER_INSPECTOR_TOKEN"
        ),
    )


def _bugs(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    from qashier_mock.bugs import UnknownBug, find  # noqa: PLC0415 - costs nothing where none is asked for

    with refusing(UnknownBug):
        return tuple(find(name).name for name in names)


def _policy(path: str | None) -> Any:
    from qashier_mock.core.policy import Policy  # noqa: PLC0415

    try:
        return Policy() if path is None else Policy.read(text_of(path, "the policy"))
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from None


def _snapshot(path: str | None) -> bytes | None:
    if path is None:
        return None
    if not os.environ.get("QASHIER_API_KEY"):
        raise CommandError("--data needs QASHIER_API_KEY in the environment: the key whose account begins with it")
    if path == EXAMPLES:
        return b""  # made once the address is known
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"the snapshot cannot be read: {path}: {error.strerror}") from None


def _example_account(address: str) -> bytes:
    """The account in which every id exists that the examples of the documents name, its pages at this address."""
    import json  # noqa: PLC0415

    from qashier_mock.documents import documents_folder  # noqa: PLC0415
    from qashier_mock.pipeline.document import Document  # noqa: PLC0415

    document = Document.of_file(documents_folder() / "control.yaml").content
    account = document["components"]["examples"]["ExampleAccount"]["value"]
    sessions = [
        {**session, "url": f"{address}/pay/{session['url'].rpartition('/')[2]}"} for session in account["sessions"]
    ]
    return json.dumps({**account, "sessions": sessions}).encode()


def _compose(options: argparse.Namespace, secret: str | None, address: str) -> MockApp:
    # Importing makes a great many objects that live as long as the process: looking through them for garbage costs a
    # tenth of the start, and later a pause each time.
    gc.disable()
    # Connexion imports httpx, which imports its own command, and with it Rich where that is installed: a twentieth of
    # the start. This process never runs that command: httpx does as if Rich were missing.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # the documented way to refuse a module
    # It also imports requests, to fetch documents from elsewhere: another twentieth.
    import_later("requests")
    from qashier_mock.app import MockApp  # noqa: PLC0415 - the heavy import, after the socket is bound

    app = MockApp(_settings(options, secret), store=_store(options.store))
    if not options.quiet:
        app.show_on(live_log(options.log_format))
    app.listen_on(address, host=options.host)
    gc.freeze()
    gc.enable()
    return app


def import_later(name: str) -> None:
    """Let something else stand for a module until it is asked for anything, which imports it."""
    from importlib import import_module  # noqa: PLC0415
    from types import ModuleType  # noqa: PLC0415

    def ask(attribute: str) -> Any:
        if sys.modules[name] is stand_in:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    stand_in = ModuleType(name)
    stand_in.__getattr__ = ask  # type: ignore[method-assign]  # PEP 562
    sys.modules.setdefault(name, stand_in)


def _store(url: str) -> Store:
    from qashier_mock.stores.base import StoreUrlError  # noqa: PLC0415
    from qashier_mock.stores.factory import open_store  # noqa: PLC0415

    with refusing(StoreUrlError):
        return open_store(url)


def _serve(app: MockApp, listener: Listener, *, ready: Any, snapshot: bytes | None) -> None:
    import asyncio  # noqa: PLC0415

    from qashier_mock.pipeline.garbage import collect_seldom  # noqa: PLC0415
    from qashier_mock.server import Server, new_event_loop, on_stop_signals  # noqa: PLC0415
    from qashier_mock.stores.base import StoreUnavailable  # noqa: PLC0415

    async def main() -> None:
        with refusing(StoreUnavailable):
            await app.open()
        server = Server(app)

        def stop() -> None:
            server.stop(force=server.should_exit)

        on_stop_signals(stop)
        serving = await server.begin(listener)
        if not server.started:
            await serving
            raise CommandError("the server could not start; its log says why")
        try:
            if snapshot is not None:
                await _restore(app, snapshot)
            collect_seldom()
            ready()
        except CommandError:
            stop()
            await serving
            raise
        await serving

    with asyncio.Runner(loop_factory=partial(new_event_loop, app.store)) as runner:
        runner.run(main())


def _serve_with_workers(
    options: argparse.Namespace,
    make_app: Callable[[], MockApp],
    listener: Listener,
    *,
    ready: Any,
    snapshot: bytes | None,
) -> None:
    _refuse_mistakes(options)  # before there are processes to end
    from qashier_mock.workers import WorkersFailed, run_workers  # noqa: PLC0415 - where processes can fork

    prepare = None if snapshot is None else partial(_restore, snapshot=snapshot)
    with refusing(WorkersFailed):
        run_workers(listener, options.workers, make_app=make_app, ready=ready, prepare=prepare)


def _refuse_mistakes(options: argparse.Namespace) -> None:
    """Refuse what is wrong with the options beside the address."""
    _settings(options, None)
    store = _store(options.store)
    if options.workers == 1:
        return
    if not hasattr(os, "fork"):
        raise CommandError("--workers needs a system that can fork, which Windows cannot. Leave the option out")
    if not store.is_shared:
        raise CommandError(
            f"--workers {options.workers} needs a store that several processes can share: --store postgresql://…"
        )


async def _restore(app: MockApp, snapshot: bytes) -> None:
    """Put the snapshot in through the control API, which validates it."""
    import httpx  # noqa: PLC0415 - only with --data

    transport = httpx.ASGITransport(app.asgi)
    headers = {"content-type": "application/json"}
    auth = (os.environ["QASHIER_API_KEY"], "")
    live, app.hooks.live = app.hooks.live, None  # it is nobody's request
    async with httpx.AsyncClient(transport=transport, base_url=app.address) as client:
        reply = await client.put("/_mock/v1/snapshot", content=snapshot, headers=headers, auth=auth)
    app.hooks.live = live
    if not reply.is_success:
        raise CommandError(f"the snapshot of --data is refused: {reply.json()['error']['message']}")
