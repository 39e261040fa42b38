"""The hosted page, used as a customer does: without a key, by its links and forms.

What is on a page is found by its `data-testid`s; on a page that has none, nothing is pressed.
"""

from __future__ import annotations

from typing import Final

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import long_url
from qashier_contract.history import Capability
from qashier_contract.page import page_of
from qashier_contract.values import Json, is_integer

PAY, CLOCK, EVENTS, PAGE = Capability.PAY, Capability.CLOCK, Capability.EVENTS, Capability.PAGE
_CANCEL_URL: Final = "https://shop.example/Basket/it's?x=1&copy;y=2"
"""Put on a page without being escaped, it leads elsewhere."""
_SHOP: Final = "https://shop.example"
_QUOTED_URL: Final = f"""{_SHOP}/Basket?q="a"&b='<i>'&copy;y=2"""
_TO_TEMPLATES: Final = (
    r"C:\dir \n \\ \1 \g",
    "100% %s %(total)s %d",
    "{0} {name} {{ 7*7 }} {% x %}",
    "$& $1 $$ ${total} $name",
    "@Model #{x} [[y]] *|Z|*",
)
"""What templates, replacements and formats read as theirs."""
_TRIES: Final = 6
"""How often a payment fails: three times may be taken for enough."""
_RETURN_URL: Final = "https://shop.example/return?order=7&step=2#done"


def fresh(context: RunContext, **fields: Json) -> Opened:
    """A new session with a page; one that has none counts as not opened."""
    session = context.open(**{"return_url": _RETURN_URL, **fields})
    if session.url is None:
        session.id = None
    return session


@driver("Open the page of sessions of every status, and do there what a customer would.", needs=[PAGE], requests=50)
def the_hosted_page(context: RunContext) -> None:
    two_lines = [context.line(), context.line(990, 3, name="Kopi", description="With condensed milk")]
    with_back, without = fresh(context, cancel_url=_CANCEL_URL), fresh(context, line_items=two_lines)
    if not with_back or not without:
        return
    for session in (with_back, fresh(context, line_items=[context.line(0, 1)], cancel_url=_CANCEL_URL), without):
        session.retrieve()
        shown = session.view()
        session.retrieve()
    page = page_of(shown) if shown is not None else None
    if page is None or (not page.forms and page.may_show_more):
        context.recorder.withdraw(PAGE)  # nothing to read without a browser
        return
    if without.button("pay-card", shown) is None:
        context.notes.append(
            'The hosted page has nothing with data-testid="pay-card": no customer paid there, and PAY-1 to PAY-3 were '
            "judged without it."
        )
    if "pay-redirect" not in page.tests:
        context.notes.append(
            'The hosted page has nothing with data-testid="pay-redirect": no customer went to a payment method, and '
            "none came back from one (PAY-5)."
        )
    if context.can(PAY):
        with_back.pay("failed")
        with_back.view()
    with_back.expire()
    with_back.view()
    if context.can(PAY):
        without.pay()
        without.view()
    for acts in (("pay-card",), ("pay-declined", "pay-card")):
        session = fresh(context, cancel_url=_CANCEL_URL)
        for act in acts:
            session.press(act)
            session.retrieve()
        session.view()
    for act in ("authorise", "cancel"):
        session = fresh(context, cancel_url=_CANCEL_URL)
        session.press(act, session.at_the_method())
        session.retrieve()
        session.view()
    if context.can(EVENTS):
        context.account.events()


@driver(
    "Open the page of a session several times, by GET, HEAD and with what its form holds, and look at the session "
    "after each.",
    needs=[PAGE],
    requests=24,
)
def a_page_looked_at(context: RunContext) -> None:
    odd = 'brown <sugar>, "gula" & café 咖啡 🍵 &lt;'
    lines = [context.line(), context.line(399, 3, name="Kopi & Teh"), context.line(20, 7, description=odd)]
    lines += [context.line(125, 5)]  # named as the first one
    session = fresh(context, cancel_url=_QUOTED_URL, line_items=lines)
    session.retrieve()
    for _ in range(3):
        session.view()
        session.retrieve()
    if session.id is not None and session.url is not None:
        context.account.look(session.id, session.url)
    session.retrieve()
    # Written into a page as they are, these make a link to the shop, or hide what they stand in.
    link = f"<a/href='{_SHOP}/elsewhere'>"
    written = (f"""Kaya"{link}'{link}toast""", 'Kaya" hidden x="toast', "Kaya' hidden x='toast")
    url = f"""{_SHOP}/?x="{link}&y='{link}"""
    lines = [context.line(1250 + n, 2 + n, name=text) for n, text in enumerate(written)]
    lines += [context.line(680, 5 + n, description=text) for n, text in enumerate(written)]
    lines += [context.line(340, 8 + n, description=text) for n, text in enumerate(_TO_TEMPLATES)]
    session = fresh(context, line_items=lines, success_url=f"{url}&n={context.mark()}", return_url=url)
    page = session.view()
    session.retrieve()
    if session.ask_by_get("pay-card", page) is not None:
        session.retrieve()
    session.do("cancel", page=session.at_the_method())
    session.do("pay-card", page=session.view())


@driver(
    "Press buttons of pages that were opened before the session ended, and try again after what failed.",
    needs=[PAGE],
    stage=Stage.DEPTH,
    requests=139,
)
def pages_left_open(context: RunContext) -> None:
    account = context.account
    expired, paid, method, authorised, cancelled, declined = (fresh(context, cancel_url=_CANCEL_URL) for _ in range(6))
    elsewhere = fresh(context, cancel_url=f"{_CANCEL_URL}&other=1#pay")
    for session in (declined, elsewhere):
        session.view()
    account.list(limit=9)
    page = expired.view()
    expired.expire()
    expired.retrieve()
    expired.do("pay-card", "pay-declined", page=page)
    page = paid.view()
    paid.retrieve()
    paid.do("pay-card", "pay-card", "pay-declined", "expire", page=page)
    paid.view()
    there = method.at_the_method()
    method.expire()
    method.retrieve()
    method.do("authorise", "cancel", page=there)
    authorised.do("authorise", "cancel", "authorise", "expire", page=authorised.at_the_method())
    cancelled.do("cancel", page=cancelled.at_the_method())
    cancelled.do("pay-card", page=cancelled.view())
    declined.retrieve()
    _fail_often(context, declined)
    declined.view()
    declined.do("authorise", page=declined.at_the_method())
    # What was declined can be ended, too.
    ended = fresh(context)
    ended.do("pay-declined", "expire", page=ended.view())
    given = fresh(context, line_items=[context.line(0, 2)])
    given.do("authorise", page=given.at_the_method())
    given.view()
    plain = fresh(context, success_url=f"http://shop.example/Thanks/{context.mark()}?b=it's&a=%2Fx#top")
    plain.do("pay-card", page=plain.view())
    _show_much(context)
    back = f"{_SHOP}/Basket%20of/{{id}}?x=%26&y=a+b"
    fresh(context, cancel_url=back, return_url=back).view()
    free = fresh(context, line_items=[context.line(0, 1)])
    free.do("cancel", page=free.at_the_method())
    free.do("pay-declined", "pay-card", page=free.view())
    if context.can(PAY):
        again = fresh(context)
        again.do("cancel", page=again.at_the_method())
        again.pay()
        again.retrieve()
    for status in ("complete", "open", "expired"):
        account.list(status=status, limit=9)
    account.list(limit=9)
    if context.can(EVENTS):
        account.events()


def _show_much(context: RunContext) -> None:
    """Open pages of sessions at their limits, and with amounts that are easily written wrong."""
    many = [context.line(100 + n, 1, name=f"No. {100 + n}") for n in range(oracle.LINES_MOST)]
    fresh(context, line_items=many).view()
    # A minor unit is a thousandth, or the unit itself; the account may not charge them.
    for code in ("KWD", "JPY"):
        line = context.line(1235, 1)
        line["price_data"]["currency"] = code
        fresh(context, line_items=[line]).view()
    fresh(context, line_items=[context.line(98_765_432, 7)]).view()
    long = {"name": "toast " * 41, "description": "with kaya & butter, " * 49}
    largest = context.line(oracle.UNIT_AMOUNT_MOST, oracle.QUANTITY_MOST, **long)
    fresh(context, line_items=[largest, context.line(3, 123, name="long name " * 24)]).view()
    round_sum = context.line(61_728_350, 2)
    fresh(context, cancel_url=long_url(oracle.URL_MOST, context), line_items=[round_sum]).view()


def _fail_often(context: RunContext, declined: Opened) -> None:
    """Fail to pay so often that whoever counts that has enough, and look at the session now and then."""
    for number in range(_TRIES):
        declined.press("pay-declined")
        if number % 2:
            declined.retrieve()
    given_up = fresh(context, cancel_url=_CANCEL_URL)
    for _ in range(_TRIES):
        given_up.press("cancel", given_up.at_the_method())
    given_up.do("authorise", page=given_up.at_the_method())


@driver(
    "Let the time of sessions run out whose pages are open, and press buttons there.",
    needs=[PAGE, CLOCK],
    stage=Stage.DEPTH,
    requests=45,
)
def pages_past_the_deadline(context: RunContext) -> None:
    account = context.account
    moment = account.set_clock(frozen=True).object.get("now")
    if not is_integer(moment):
        return
    deadline = moment + oracle.SHORTEST_LIFE
    card, method, declined, viewed, paid, last = (fresh(context, expires_at=deadline) for _ in range(6))
    card_page, method_page = card.view(), method.at_the_method()
    declined_page = declined.view()
    declined.press("pay-declined", declined_page)
    viewed.view()
    paid.press("pay-card", paid.view())
    # A second before it, everything still goes.
    last_page = last.view()
    account.set_clock(now=deadline - 1)
    viewed.view()
    viewed.retrieve()
    last.press("pay-card", last_page)
    last.retrieve()
    account.set_clock(now=deadline)
    account.list(status="open", limit=9)
    account.list(status="expired", limit=9)
    for session in (viewed, declined, paid):
        session.retrieve()
        session.view()
    for session, page, acts in (
        (card, card_page, ["pay-card"]),
        (declined, declined_page, ["pay-card"]),
        (method, method_page, ["authorise", "cancel"]),
    ):
        session.retrieve()
        session.do(*acts, page=page)
    if context.can(EVENTS):
        context.events(account)
