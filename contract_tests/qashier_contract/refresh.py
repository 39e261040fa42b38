"""Pages that a browser goes on from by itself: by a `meta` element of theirs, or by the header `Refresh`."""

from __future__ import annotations

import re
from typing import Final

from qashier_contract.addresses import is_same_host, joined
from qashier_contract.history import Exchange
from qashier_contract.page import page_of

_TOLD: Final = re.compile(
    r"""\s*([0-9]{1,3})[0-9.]*\s*([;,\s]\s*(url\s*=\s*)?["']?(?P<url>[^"']*).*)?""", re.IGNORECASE | re.DOTALL
)
_SOON_S: Final = 5
"""A page that leads on later than that is there to be read."""


def refresh_of(exchange: Exchange) -> tuple[int, str] | None:
    """After how many seconds a browser goes on by itself from a hosted page, and to where on the same host.

    None if it does not, not soon, or if the page has a form by which a customer acts: he goes on himself.
    """
    page = page_of(exchange) if exchange.succeeded else None
    if page is None or exchange.reply is None or exchange.page_of is None:
        return None
    told = _TOLD.fullmatch(exchange.reply.header("refresh") or page.refresh)
    if told is None or int(told[1]) > _SOON_S or page.forms_to_pay(exchange.page_of):
        return None
    url = joined(page.url, (told["url"] or "").strip())
    return (int(told[1]), url) if url is not None and is_same_host(url, page.url) else None
