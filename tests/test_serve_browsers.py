"""`serve` for browsers of other origins (`--cors`), and over https (`--tls-cert`, `--tls-key`)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from qashier_mock import MockServer, Settings
from qashier_mock.cli import CommandError, main, serve

SHOP = "http://localhost:3000"
KEY = ("sk_test_browser", "")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of our own for this machine, and its key."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def test_a_page_of_a_named_origin_may_ask_and_read(mock_cors: str) -> None:
    ask = {"Origin": SHOP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = httpx.options(f"{mock_cors}/checkout/sessions", headers=ask)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SHOP
    answer = httpx.get(f"{mock_cors}/checkout/sessions", headers={"Origin": SHOP}, auth=KEY)
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "Request-Id" in answer.headers["access-control-expose-headers"]
    refused = httpx.get(f"{mock_cors}/checkout/sessions", headers={"Origin": SHOP})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, SHOP)


def test_a_page_of_another_origin_is_told_nothing(mock_cors: str) -> None:
    answer = httpx.get(f"{mock_cors}/checkout/sessions", headers={"Origin": "http://other.example"}, auth=KEY)
    assert "access-control-allow-origin" not in answer.headers


def test_a_named_origin_may_move_the_clock_and_any_other_may_not(mock_cors: str) -> None:
    statuses = [
        httpx.post(f"{mock_cors}/_mock/v1/clock/advance", json={"seconds": 1}, headers={"Origin": origin}, auth=KEY)
        for origin in (SHOP, "http://other.example")
    ]
    assert [answer.status_code for answer in statuses] == [200, 400]


@pytest.fixture(scope="module")
def mock_cors() -> Iterator[str]:
    with MockServer(Settings(cors=(SHOP,))) as server:
        yield server.url


def test_without_the_option_no_origin_is_told_anything() -> None:
    with MockServer() as server:
        answer = httpx.get(f"{server.url}/checkout/sessions", headers={"Origin": SHOP}, auth=KEY)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["localhost:3000", "http://localhost:3000/", "http://localhost/app", "ftp://x"])
def test_what_is_no_origin_is_refused(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--cors", origin]) == 2
    assert "--cors" in capsys.readouterr().err


def test_it_serves_https(authority: trustme.CA, certificate: tuple[Path, Path]) -> None:
    with MockServer(Settings(tls=certificate)) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        with httpx.Client(base_url=server.url, verify=trusting, auth=KEY) as client:
            body = {
                "line_items": [
                    {
                        "price_data": {"currency": "SGD", "product_data": {"name": "x"}, "unit_amount": 1},
                        "quantity": 1,
                    }
                ],
                "success_url": "https://shop.example/",
                "return_url": "https://shop.example/",
            }
            session = client.post("/checkout/sessions", json=body).json()
            assert session["url"].startswith(f"{server.url}/pay/")
            assert client.get(session["url"]).status_code == 200


@pytest.mark.parametrize(("certificate_of", "key_of"), [(0, None), (None, 1), (1, 1), (0, 0)])
def test_files_that_do_not_fit_are_refused_before_anything_is_bound(
    certificate: tuple[Path, Path], certificate_of: int | None, key_of: int | None
) -> None:
    with pytest.raises(CommandError, match="--tls-cert"):
        serve._tls(*(None if each is None else str(certificate[each]) for each in (certificate_of, key_of)))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(CommandError, match="No such file"):
        serve._tls("/nowhere/cert.pem", "/nowhere/key.pem")
