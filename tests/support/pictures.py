"""The pictures of the documentation: what each shows, and whether it still shows that.

A picture holds a digest of the page that it was taken of: its HTML, style included, without what differs from run to
run. Fonts and browsers draw the same page differently, so the digest is compared and not the pixels.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import Page

from qashier_mock import MockAccount
from qashier_mock.core.credentials import account_of
from qashier_mock.receiver import WebhookReceiver

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "images"
ADDRESS: Final = "http://127.0.0.1:4010"
"""What the pages call the mock, wherever it listens."""
NOON: Final = 1_780_315_200
"""When the pictures are taken: noon of a day in June 2026, in UTC."""
_VARIES: Final = re.compile(r"\breq_[0-9a-f]+|\b\d+(\.\d+)? ?ms\b|127\.0\.0\.1:\d+|\b\d\d:\d\d:\d\d\b")
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TEXT: Final = b"tEXt"
_KEYWORD: Final = b"Page\0"


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        prepare: Makes it happen in an account that has nothing yet: the path of the page.
        width: Of the window, in pixels.
        height: Of the window.
        is_phone: Whether it is a phone's.
    """

    prepare: Callable[[MockAccount], str]
    width: int
    height: int
    is_phone: bool = False


def _order(account: MockAccount) -> str:
    prices = (("House blend", 1450, 2), ("Pour-over kettle", 5900, 1))
    line_items = [
        {
            "price_data": {"currency": "SGD", "unit_amount": amount, "product_data": {"name": name}},
            "quantity": quantity,
        }
        for name, amount, quantity in prices
    ]
    session = account.create_session(
        line_items=line_items,
        success_url="https://shop.example/thanks",
        return_url="https://shop.example/orders/1001",
        cancel_url="https://shop.example/basket",
        idempotency_key="order-1001",
    )
    return session["id"]


def _page(account: MockAccount) -> str:
    return f"/pay/{_order(account)}"


def _timeline(account: MockAccount) -> str:
    with WebhookReceiver(secret="whsec_example") as shop:
        shop.answer(503, times=1)
        account.deliver_webhooks_to(shop.url, secret=shop.secret)
        session_id = _order(account)
        account.advance(minutes=2)
        account.pay(session_id)
        account.flush()
        account.advance(seconds=10)
        account.advance(seconds=1)
        account.retrieve_session(session_id)
    return f"/_mock/accounts/{account_of(account.api_key)}/sessions/{session_id}"


SCENES: Final[Mapping[str, Scene]] = {
    "hosted-page": Scene(_page, 960, 700),
    "hosted-page-phone": Scene(_page, 390, 780, is_phone=True),
    "inspector": Scene(_timeline, 960, 700),
}
"""Each picture by its name."""


def path_of(name: str) -> Path:
    """The file of a picture."""
    return FOLDER / f"{name}.png"


def digest_of(html: str) -> str:
    """What decides how a page looks."""
    return hashlib.sha256(_VARIES.sub("", html).encode()).hexdigest()


def page_of(account: MockAccount, path: str) -> str:
    """The page as it is sent, style included."""
    answer = httpx.get(account.base_url + path)
    assert answer.status_code == 200, answer.text
    return answer.text


def take(page: Page, url: str, digest: str) -> bytes:
    """Take a picture, as small as it gets without loss; it holds the digest."""
    page.goto(url)
    header, *others, end = _chunks(page.screenshot(animations="disabled", caret="hide"))
    pixels = zlib.decompress(b"".join(body for kind, body in others if kind == b"IDAT"))
    kept = [header, (_TEXT, _KEYWORD + digest.encode()), (b"IDAT", zlib.compress(pixels, 9)), end]
    return _SIGNATURE + b"".join(_written(kind, body) for kind, body in kept)


def digest_in(picture: bytes) -> str | None:
    """The digest that a picture holds."""
    found = [body for kind, body in _chunks(picture) if kind == _TEXT and body.startswith(_KEYWORD)]
    return found[0].removeprefix(_KEYWORD).decode() if found else None


def _chunks(picture: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of each chunk of a PNG file."""
    assert picture.startswith(_SIGNATURE)
    found, at = [], len(_SIGNATURE)
    while at < len(picture):
        length, kind = struct.unpack_from(">I4s", picture, at)
        found.append((kind, picture[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def _written(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
