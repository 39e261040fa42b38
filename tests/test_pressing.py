"""What a customer presses on a page goes out as a browser sends it."""

from __future__ import annotations

from typing import Any

import pytest
from qashier_contract.history import Exchange, Recorder, Reply, Terms
from qashier_contract.target import Account, Key, Target
from qashier_contract.trace.sending import press

URL = "http://127.0.0.1/pay/cs_test_1?step=1"
PAGE = """<html><body><form method="{method}" action="/method/cs_test_1?old=1#top">
<input type="hidden" name="token" value="a b&amp;c">
<button {button} name="act" value="card" data-testid="pay-card">Pay</button>
</form></body></html>"""


def pressed(method: str, button: str = "") -> tuple[str, str, bytes | None]:
    sent: list[tuple[str, str, bytes | None]] = []

    def carry(way: str, url: str, _: Any, body: bytes | None) -> tuple[Reply | None, str | None]:
        sent.append((way, url, body))
        page = PAGE.format(method=method, button=button).encode()
        return Reply(status=200, headers=(("content-type", "text/html"),), body=page), None

    target = Target("http://127.0.0.1", [Key("sk_test_a")], recorder=Recorder(Terms()), transport=carry)
    account = Account(target, 0)
    page: Exchange = account.view("cs_test_1", URL)
    act = press(account, "cs_test_1", page, "pay-card")
    assert act is not None
    act()
    return sent[-1]


@pytest.mark.parametrize(("method", "button"), [("get", ""), ("GET", ""), ("post", "formmethod=get")])
def test_a_form_whose_method_is_get_sends_its_fields_in_place_of_the_query(method: str, button: str) -> None:
    assert pressed(method, button) == ("GET", "http://127.0.0.1/method/cs_test_1?token=a+b%26c&act=card", None)


@pytest.mark.parametrize(("method", "button"), [("post", ""), ("get", "formmethod=post")])
def test_a_form_whose_method_is_post_sends_its_fields_as_a_body(method: str, button: str) -> None:
    assert pressed(method, button) == ("POST", "http://127.0.0.1/method/cs_test_1?old=1#top", b"token=a+b%26c&act=card")
