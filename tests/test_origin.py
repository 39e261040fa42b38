"""The control API in a browser's reach: no stranger's page may call it, and no stranger's name leads to it."""

from __future__ import annotations

import http.client
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from qashier_mock import MockServer, Settings
from qashier_mock.core.errors import RequestInvalid
from qashier_mock.web.origin import check_origin, host_of

KEY = b64encode(b"sk_test_origin:").decode()


def refused(*, is_local: bool = True, public_host: str | None = "mock.example", **headers: str) -> str | None:
    """The header that a control call is refused for."""
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    try:
        check_origin(sent, is_local=is_local, public_host=public_host)
    except RequestInvalid as error:
        return error.param
    return None


@pytest.mark.parametrize(
    "host",
    ["localhost:4010", "LOCALHOST", "shop.localhost:80", "127.0.0.1:4010", "127.1.2.3", "[::1]:4010", "0.0.0.0:4010",
     "localhost.", "mock.example:443", ""],
)  # fmt: skip
def test_a_server_bound_to_loopback_answers_its_own_names(host: str) -> None:
    assert refused(host=host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example:4010", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]:4010", "10.0.0.1", "[", "x@y"],
)
def test_a_server_bound_to_loopback_answers_no_other_name(host: str) -> None:
    assert refused(host=host) == "Host"
    assert refused(host=host, is_local=False) is None


@pytest.mark.parametrize(
    ("origin", "blamed"),
    [
        ("http://localhost:3000", None),
        ("http://127.0.0.1:4010", None),
        ("https://mock.example", None),
        ("https://team.example", None),  # the server's own name, by which it was called
        ("chrome-extension://abc", None),
        ("https://evil.example", "Origin"),
        ("null", "Origin"),
        ("http://localhost.evil.example", "Origin"),
        ("https://", "Origin"),
    ],
)
def test_a_page_calls_only_its_own_server(origin: str, blamed: str | None) -> None:
    assert refused(is_local=False, host="team.example:4010", origin=origin) == blamed


@pytest.mark.parametrize(("site", "blamed"), [("cross-site", "Sec-Fetch-Site"), ("same-origin", None), ("none", None)])
def test_a_browser_says_where_a_request_comes_from(site: str, blamed: str | None) -> None:
    assert refused(host="localhost", sec_fetch_site=site) == blamed


@pytest.mark.parametrize(("authority", "host"), [("A.b.:1", "a.b"), ("[::1]:80", "[::1]"), ("a:b", "a"), ("[", "?")])
def test_the_host_of_an_authority(authority: str, host: str) -> None:
    assert host_of(authority) == host


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(Settings(public_url="https://pay.example/mock")) as server:
        yield server


def status(server: MockServer, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Basic {KEY}", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_served_control_api_refuses_a_name_that_was_rebound_and_a_strangers_page(server: MockServer) -> None:
    assert status(server, "/_mock/v1/clock") == 200
    assert status(server, "/_mock/v1/clock", Host="pay.example") == 200
    assert status(server, "/_mock/v1/clock", Host="evil.example") == 400
    assert status(server, "/_mock/v1/clock", Origin="https://evil.example") == 400


def test_the_api_itself_may_be_called_by_any_name(server: MockServer) -> None:
    assert status(server, "/checkout/sessions", Host="qashier.internal") == 200
