"""Every host and bind option: IPv4, IPv6 and both, and an address told that can be opened."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from qashier_contract import CheckError, listening
from qashier_contract.drive.traffic.exchanges import Traffic, base_of
from qashier_contract.drive.traffic.watching import Watching
from qashier_contract.history import Recorder, Terms
from qashier_contract.receiver import Receiver
from qashier_contract.run import check

from qashier_mock import MockAccount, MockServer, address
from qashier_mock.address import AddressUnavailable, bind, is_loopback, url_of
from qashier_mock.cli import listen, main, serve, watch
from qashier_mock.cli.options import Option
from qashier_mock.cli.values import host
from qashier_mock.receiver import WebhookReceiver

ANY: str = "0.0.0.0"  # noqa: S104 - bound for a moment, by a test of just that
BOTH = ("127.0.0.1", "[::1]")
HOSTS = [
    ("127.0.0.1", BOTH[:1]),
    ("::1", BOTH[1:]),
    ("localhost", BOTH),
    ("LOCALHOST", BOTH),
    (ANY, BOTH[:1]),
    ("::", BOTH),
]
"""What is bound, and where a client on this machine gets an answer."""


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host.strip("[]"), port), 5).close()
    except OSError:
        return False
    return True


@contextmanager
def mock_at(host: str) -> Iterator[str]:
    with closing(bind(host, 0)) as listener:
        yield url_of(listener)


@contextmanager
def proxy_at(host: str) -> Iterator[str]:
    with Watching("http://127.0.0.1:9", Traffic("http://127.0.0.1:9"), host=host, port=0) as proxy:
        yield proxy.url


@contextmanager
def checker_at(host: str) -> Iterator[str]:
    with Receiver(Recorder(Terms()), host=host) as receiver:
        yield receiver.url


@pytest.mark.parametrize("listening", [mock_at, proxy_at, checker_at])
@pytest.mark.parametrize(("bound", "answers_at"), HOSTS)
def test_a_host_is_bound_in_each_of_its_families_and_told_as_it_can_be_opened(
    listening: Callable[[str], AbstractContextManager[str]], bound: str, answers_at: tuple[str, ...]
) -> None:
    with listening(bound) as url:
        assert {each: connects(each, port_of(url)) for each in BOTH} == {each: each in answers_at for each in BOTH}
        assert connects(str(httpx.URL(url).host), port_of(url)), url


@pytest.mark.parametrize("bound", ["::1", "::", "localhost", ANY])
def test_a_server_answers_control_calls_and_the_inspector_wherever_it_is_bound(bound: str) -> None:
    with MockServer(host=bound) as server, MockAccount(server.url, "sk_test_a") as account:
        session = account.create_session()
        assert httpx.get(session["url"]).status_code == 200
        assert httpx.get(f"{server.url}/_mock/").status_code == 200


@pytest.mark.parametrize("bound", ["::1", "localhost", ANY, "::"])
def test_a_receiver_of_tests_gets_its_webhooks_wherever_it_is_bound(server: MockServer, bound: str) -> None:
    with WebhookReceiver(bind=bound) as receiver, MockAccount(server.url, f"sk_test_{len(bound)}") as account:
        account.deliver_webhooks_to(receiver.url)
        account.expire_session(account.create_session()["id"])
        account.flush()
        assert [event["type"] for event in receiver.received] == ["checkout.session.expired"]


def test_a_receiver_tells_the_name_that_it_was_given_as_a_url() -> None:
    with WebhookReceiver(host="fd00::7") as receiver:
        assert receiver.url.startswith("http://[fd00::7]:")


def test_a_port_that_is_taken_in_the_other_family_is_not_half_taken() -> None:
    with closing(bind("::1", 0)) as other:
        port = port_of(url_of(other))
        with pytest.raises(AddressUnavailable, match=f"localhost:{port}.*in use"):
            bind("localhost", port)
        bind("127.0.0.1", port).close()
        with pytest.raises(OSError, match="in use"):
            listening.listen("localhost", port)


def test_a_free_port_is_one_that_is_free_in_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    real = address._listen
    refused: list[object] = []

    def taken_once(family: socket.AddressFamily, place: tuple[str, int]) -> socket.socket:
        if family == socket.AF_INET6 and not refused:
            refused.append(place)
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, place)

    monkeypatch.setattr(address, "_listen", taken_once)
    with closing(bind("localhost", 0)) as listener:
        assert len(listener.sockets) == 2
    assert refused


def test_localhost_is_bound_where_ipv6_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    real = address._listen

    def ipv4_alone(family: socket.AddressFamily, place: tuple[str, int]) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return real(family, place)

    monkeypatch.setattr(address, "_listen", ipv4_alone)
    with closing(bind("localhost", 0)) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


def test_an_ipv4_client_of_a_socket_for_both_families_is_on_this_machine() -> None:
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("::ffff:10.0.0.1")


@pytest.mark.parametrize(("text", "bare"), [("[::1]", "::1"), ("::1", "::1"), ("mock.test", "mock.test")])
def test_an_ipv6_host_may_have_brackets(text: str, bare: str) -> None:
    assert host(text) == bare


@pytest.mark.parametrize("text", ["", "[]", "127.0.0.1:4010", "[::1]:4010", "http://localhost", "localhost/"])
@pytest.mark.parametrize(
    ("options", "name"),
    [
        (serve.OPTIONS, "host"),
        (serve.OPTIONS, "webhook-allow"),
        (watch.OPTIONS, "host"),
        (listen.OPTIONS, "bind"),
        (listen.OPTIONS, "host"),
    ],
)
def test_what_is_no_host_is_refused_in_words(options: Sequence[Option], name: str, text: str) -> None:
    (option,) = (each for each in options if each.name == name)
    with pytest.raises(ValueError, match=r"one looks like 127\.0\.0\.1, ::1 or localhost"):
        option.parse(text)


def test_where_no_webhook_can_be_received_is_said_before_the_run() -> None:
    with pytest.raises(CheckError, match=r"cannot receive webhooks on 192\.0\.2\.1:0: .*Check --webhook-listen"):
        check("http://127.0.0.1:9", webhook_listen="192.0.2.1:0")


@pytest.mark.parametrize("command", [["clauses"], ["spec"], ["pay", "cs_test_1", "--url", "http://127.0.0.1:9"]])
def test_a_command_works_where_its_working_folder_was_deleted(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    main(command)
    assert "an internal error" not in capsys.readouterr().err


@pytest.mark.asyncio
@pytest.mark.parametrize("bound", [lambda: bind("127.0.0.1", 0).sockets, lambda: listening.listen("127.0.0.1", 0)])
async def test_what_is_written_in_two_steps_goes_out_at_once(bound: Callable[[], Sequence[socket.socket]]) -> None:
    """Else the second step waits until the client has acknowledged the first, which takes it 40 ms."""
    accepted: asyncio.Queue[int] = asyncio.Queue()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = writer.get_extra_info("socket")
        await accepted.put(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    (listener,) = bound()
    async with await asyncio.start_server(accept, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await accepted.get() != 0
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("url", ["http://[bad/checkout/sessions", "http://x.example:port/checkout/sessions"])
def test_recorded_traffic_may_have_malformed_addresses(url: str) -> None:
    assert base_of(url) is None
    assert not Traffic("http://x.example").is_of_the_api("GET", url)
