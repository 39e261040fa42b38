"""What a customer presses on a page goes out as a browser sends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from qashier_contract.history import Exchange, Recorder, Reply, Terms
from qashier_contract.pace import RELOADS_S
from qashier_contract.page import Page, to_confirm
from qashier_contract.refresh import refresh_of
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


CONTROLS = {
    "a list without a choice": ("<select name=a><option value=1>One<option>Two</select>", {"a": "1"}),
    "an option without a value": ("<select name=a><option> Two &amp;\n more </select>", {"a": "Two & more"}),
    "what is selected": ("<select name=a required><option value=1><option selected>2</select>", {"a": "2"}),
    "what must not be empty": ("<select name=a required><option value=''>Choose<option>2</select>", {"a": "2"}),
    "what is switched off": (
        """<select name=a><option disabled>1<optgroup disabled><option>2</optgroup><option>3</select>
        <input name=b value=2 disabled><fieldset disabled><input name=c value=3><textarea name=d></textarea></fieldset>
        <select name=e disabled><option>1</select><input name=f value=4>""",
        {"a": "3", "f": "4"},
    ),
    "a list that shows several": ("<select name=a multiple><option>1</select><select name=b size=3><option>1", {}),
    "several that must be one": ("<select name=a multiple required><option>1<option>2</select>", {"a": "1"}),
    "a list without an end": ("<select name=a><option>1<input name=b value=2>", {"a": "1", "b": "2"}),
    "a text": ("<textarea name=a>\nOne &amp;\n\n two</textarea>", {"a": "One &\r\n\r\n two"}),
    "no text": ("<textarea name=a></textarea>", {"a": ""}),
    "a text that nobody sees": ("<template><textarea name=a>x</textarea></template>", {}),
    "a box that must be ticked": ("<input type=checkbox name=a required>", {"a": "on"}),
    "a box that need not be": ("<input type=checkbox name=a><input type=checkbox name=b checked value=''>", {"b": ""}),
    "a group of which one is due": (
        "<input type=radio name=a value=1><input type=radio name=a value=2 required>",
        {"a": "1"},
    ),
    "a group of which one is chosen": (
        "<input type=radio name=a value=1 required><input type=radio name=a value=2 checked>",
        {"a": "2"},
    ),
    "a group of which none is due": ("<input type=radio name=a value=1><input type=radio name=a value=2>", {}),
    "what is not in its form": (
        "</form><input form=f name=a value=1><select form=f name=b><option>2</select>",
        {"a": "1", "b": "2"},
    ),
    "what has no name": ("<select><option>1</select><textarea>x</textarea><input type=checkbox required>", {}),
}


@pytest.mark.parametrize(("controls", "sent"), CONTROLS.values(), ids=CONTROLS.keys())
def test_a_customer_leaves_everything_as_it_is_but_for_what_must_be_chosen(controls: str, sent: dict[str, str]) -> None:
    page = Page(f"<form id=f method=post><button data-testid=pay-card>Pay</button>{controls}", URL)
    assert Page.sent_by(page.forms[0], page.tests["pay-card"]) == sent


@pytest.mark.parametrize(
    ("controls", "asks"),
    [
        ("<select name=a required><option>1</select>", True),
        ("<select name=a required><option selected>1</select>", False),
        ("<textarea name=a required></textarea>", True),
        ("<textarea name=a required>x</textarea>", False),
        ("<input name=a required>", True),
        ("<input name=a required value=1>", False),
        ("<input name=a required disabled>", False),
        ("<input type=radio name=a value=1 required>", True),
        ("<input type=radio name=a value=1 required><input type=radio name=a checked>", False),
    ],
)
def test_a_form_asks_for_what_a_customer_has_to_decide(controls: str, asks: bool) -> None:  # noqa: FBT001
    (form,) = Page(f"<form method=post>{controls}</form>", URL).forms
    assert ("asks" in form) is asks


def test_what_a_customer_writes_does_not_make_a_form_one_that_pays() -> None:
    page = Page("<form method=post action=/help><textarea name=a>cs_test_1</textarea></form>", URL)
    assert page.forms_to_pay("cs_test_1") == []


BUTTON = "<form method=post action={action}>{more}<button name=act value=x{name}>{text}</button></form>"


def confirms(
    act: str, *, action: str = "/pay/cs_test_1", more: str = "", name: str = "", text: str = "Confirm"
) -> bool:
    page = Page(BUTTON.format(action=action, more=more, name=name, text=text), URL)
    return page.confirmation(act) is not None


@pytest.mark.parametrize(
    ("page", "is_one"),
    [
        ({}, True),
        ({"text": "Pay <b>S$25.00</b> now"}, True),
        ({"text": "Continue"}, True),
        ({"text": "Go back"}, False),
        ({"text": "Pay with another card"}, False),
        ({"text": "Try again"}, False),
        ({"text": "Cancel"}, False),
        ({"name": " data-testid=back"}, False),
        ({"action": "/pay/cs_test_1/return"}, False),
        ({"action": "https://shop.example/basket"}, False),
        ({"more": "<input name=code required>"}, False),
        ({"more": "<input type=checkbox name=sure required>"}, True),
        ({"more": "<button>Or this</button>"}, False),
        ({"more": "<button name=act value=back>Back</button>"}, True),
        ({"more": "<button disabled>Wait</button><button hidden>x</button><button type=button>y</button>"}, True),
        ({"more": "</form><form action=/search method=get><button>Search</button></form><form method=post>"}, True),
        ({"more": "</form><form method=post hidden><button>x</button></form><form method=post>"}, True),
        ({"name": " data-testid=pay-declined"}, False),
    ],
)
def test_a_payment_is_confirmed_by_the_one_button_that_leads_on(page: dict[str, str], is_one: bool) -> None:  # noqa: FBT001
    assert confirms("pay-card", **page) is is_one


@pytest.mark.parametrize(
    ("page", "is_one"),
    [
        ({}, True),
        ({"text": "Continue"}, False),
        ({"text": "Continue", "action": "/pay/cs_test_1/confirm"}, True),
        ({"text": "Continue", "name": " data-testid=authorise"}, True),
        ({"text": "I have paid"}, False),
        ({"text": "Pay instead by card"}, False),
    ],
)
def test_a_payment_at_the_method_is_confirmed_by_a_button_that_says_so(page: dict[str, str], is_one: bool) -> None:  # noqa: FBT001
    assert confirms("authorise", **page) is is_one


@pytest.mark.parametrize("act", ["pay-declined", "pay-redirect", "cancel"])
def test_what_does_not_pay_is_confirmed_only_by_a_button_that_says_so(act: str) -> None:
    assert not confirms(act)
    assert confirms(act, name=f" data-testid={act}", text="Cancel")


def test_a_page_that_is_shown_again_asks_for_no_confirmation() -> None:
    form = "<form method=post><input type=hidden name=token value={}><button data-testid=pay-card>Pay</button></form>"
    first, again, other = (
        Page(text, URL) for text in (form.format(1), form.format(2), "<i data-testid=x></i>" + form.format(3))
    )
    assert to_confirm(first, "pay-card", again) is None
    assert to_confirm(first, "pay-card", other) == other.buttons[0]


def led_on(*pages: tuple[str, str]) -> list[Exchange]:
    """What a customer is shown who opens the first page: texts, with their `Refresh`; the last one again and again."""
    recorder, left = Recorder(Terms()), [*pages]

    def carry(*_: Any) -> tuple[Reply | None, str | None]:
        return replied(*(left.pop(0) if len(left) > 1 else left[0])), None

    target = Target("http://127.0.0.1", [Key("sk_test_a")], recorder=recorder, transport=carry)
    Account(target, 0).view("cs_test_1", URL)
    return recorder.exchanges


def replied(refresh: str, text: str) -> Reply:
    headers = (("content-type", "text/html"), *((("refresh", refresh),) if refresh else ()))
    return Reply(status=200, headers=headers, body=text.encode())


def shown(refresh: str, text: str) -> Exchange:
    """A page as a customer is shown it."""
    (seen,) = led_on(("", ""))
    return replace(seen, reply=replied(refresh, text))


@pytest.mark.parametrize(
    ("told", "leads_to"),
    [
        ("1", (1, URL)),
        (" 0.5 ; ", (0, URL)),
        ("0; url=/pay/2", (0, "http://127.0.0.1/pay/2")),
        ("5;URL='?step=2'", (5, "http://127.0.0.1/pay/cs_test_1?step=2")),
        ("3 , http://127.0.0.1/", (3, "http://127.0.0.1/")),
        ("6", None),
        ("99999", None),
        ("0; url=https://shop.example/", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_page_says_when_it_leads_where_by_itself(told: str, leads_to: tuple[int, str] | None) -> None:
    assert refresh_of(shown(told, "")) == leads_to
    assert refresh_of(shown("", f'<head><meta content="{told}" http-equiv=REFRESH></head>')) == leads_to


def test_a_page_with_a_form_that_pays_leads_nowhere_by_itself() -> None:
    assert refresh_of(shown("1", PAGE.format(method="post", button=""))) is None


def test_a_customer_goes_on_as_a_page_says() -> None:
    ways = [(e.request.path, e.page_act) for e in led_on(("0; url=/pay/2", ""), ("0", "Wait"), ("", "There"))]
    there = "http://127.0.0.1/pay/2"
    assert ways == [(URL, "view"), (there, "view, led on"), (there, "view, led on")]


def test_a_customer_does_not_wait_for_ever() -> None:
    assert len(led_on(("0", "Wait"))) == 1 + len(RELOADS_S)
