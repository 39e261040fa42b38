"""The hosted page, used as a customer does: without a key, by its links and forms.

What is on a page is found by its `data-testid`s; on a page that has none, nothing is pressed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qashier_contract import oracle
from qashier_contract.drive import Driver, RunContext, Stage, id_of, page_url_of
from qashier_contract.history import Capability
from qashier_contract.page import page_of
from qashier_contract.trace import sending as trace
from qashier_contract.values import is_integer

if TYPE_CHECKING:
    from qashier_contract.history import Exchange
    from qashier_contract.values import Json

PAY, CLOCK, EVENTS, PAGE = Capability.PAY, Capability.CLOCK, Capability.EVENTS, Capability.PAGE
_CANCEL_URL: Final = "https://shop.example/Basket/again?x=1&y=2"
_RETURN_URL: Final = "https://shop.example/return?order=7&step=2#done"


def fresh(context: RunContext, **fields: Json) -> tuple[str, str] | None:
    """A new session: its id and the address of its page; None if it has none."""
    exchange = context.account.create(context.body(**{"return_url": _RETURN_URL, **fields}))
    session_id, url = id_of(exchange), page_url_of(exchange)
    return None if session_id is None or url is None else (session_id, url)


def press(context: RunContext, session: tuple[str, str], act: str, page: Exchange | None = None) -> Exchange | None:
    """Press what carries a `data-testid` on a page, by default the session's as it is now; None if there is nothing."""
    pressed = trace.press(context.account, session[0], page or context.account.view(*session), act)
    return None if pressed is None else pressed()


def has(context: RunContext, session: tuple[str, str], page: Exchange, act: str) -> bool:
    """Whether a page has a button for an act that may be pressed: one whose form stays on the page's host."""
    shown = page_of(page)
    has_button = shown is not None and "form" in shown.tests.get(act, {})
    return has_button and trace.press(context.account, session[0], page, act) is not None


def at_the_method(context: RunContext, session: tuple[str, str]) -> Exchange | None:
    """The payment method's own page for a session; None if there is none."""
    there = press(context, session, "pay-redirect")
    return there if there is not None and page_of(there) is not None else None


def the_hosted_page(context: RunContext) -> None:
    """Open the page of sessions of every status, and do there what a customer would."""
    account = context.account
    two_lines = [context.line(), context.line(990, 3, name="Kopi", description="With condensed milk")]
    with_back, without = fresh(context, cancel_url=_CANCEL_URL), fresh(context, line_items=two_lines)
    if with_back is None or without is None:
        return
    free = fresh(context, line_items=[context.line(0, 1)])
    for session_id, url in (with_back, *([free] if free is not None else []), without):
        account.retrieve(session_id)
        shown = account.view(session_id, url)
        account.retrieve(session_id)
        page = page_of(shown)
        last = (session_id, url)
    if page is None or (not page.forms and page.has_script):
        # Nothing to read without a browser.
        context.capabilities -= {PAGE}
        context.recorder.withdraw(PAGE)
        return
    if not has(context, last, shown, "pay-card"):
        context.notes.append(
            'The hosted page has nothing with data-testid="pay-card": no customer paid there, and PAY-1 to PAY-3 were '
            "judged without it."
        )
    if context.can(PAY):
        account.pay(with_back[0], "failed")
        account.view(*with_back)
    account.expire(with_back[0])
    account.view(*with_back)
    if context.can(PAY):
        account.pay(without[0])
        account.view(*without)
    for act in ("pay-card", "pay-declined"):
        session = fresh(context, cancel_url=_CANCEL_URL)
        if session is not None:
            press(context, session, act)
            account.retrieve(session[0])
            if act == "pay-declined":
                press(context, session, "pay-card")
                account.retrieve(session[0])
            account.view(*session)
    for act in ("authorise", "cancel"):
        session = fresh(context, cancel_url=_CANCEL_URL)
        if session is not None:
            press(context, session, act, at_the_method(context, session))
            account.retrieve(session[0])
            account.view(*session)
    if context.can(EVENTS):
        account.events()


def a_page_looked_at_again_and_again(context: RunContext) -> None:
    """Open the page of a session several times, by GET and HEAD, and look at the session after each."""
    lines = [context.line(), context.line(399, 3, name="Kopi & Teh"), context.line(20, 7, description="brown <sugar>")]
    session = fresh(context, cancel_url=_CANCEL_URL, line_items=lines)
    if session is None:
        return
    context.account.retrieve(session[0])
    for _ in range(3):
        context.account.view(*session)
        context.account.retrieve(session[0])
    context.account.look(*session)
    context.account.retrieve(session[0])


def _tried(context: RunContext, session: tuple[str, str], page: Exchange | None, *acts: str) -> None:
    """Press one thing after another on a page that may be stale, and look at the session after each."""
    if page is None:
        return
    for act in acts:
        if act == "expire":
            context.account.expire(session[0])
        else:
            press(context, session, act, page)
        context.account.retrieve(session[0])


def pages_left_open(context: RunContext) -> None:
    """Press buttons of pages that were opened before the session ended, and try again after what failed."""
    account = context.account
    names = ("expired", "paid", "method", "authorised", "cancelled", "declined")
    sessions = {name: fresh(context, cancel_url=_CANCEL_URL) for name in names}
    elsewhere = fresh(context, cancel_url=f"{_CANCEL_URL}&other=1")
    for session in (sessions["declined"], elsewhere):
        if session is not None:
            account.view(*session)
    account.list(limit=9)
    if (expired := sessions["expired"]) is not None:
        page = account.view(*expired)
        account.expire(expired[0])
        account.retrieve(expired[0])
        _tried(context, expired, page, "pay-card", "pay-declined")
    if (paid := sessions["paid"]) is not None:
        page = account.view(*paid)
        account.retrieve(paid[0])
        _tried(context, paid, page, "pay-card", "pay-card", "pay-declined", "expire")
        account.view(*paid)
    if (method := sessions["method"]) is not None:
        there = at_the_method(context, method)
        account.expire(method[0])
        account.retrieve(method[0])
        _tried(context, method, there, "authorise", "cancel")
    if (authorised := sessions["authorised"]) is not None:
        _tried(context, authorised, at_the_method(context, authorised), "authorise", "cancel", "authorise", "expire")
    if (cancelled := sessions["cancelled"]) is not None:
        _tried(context, cancelled, at_the_method(context, cancelled), "cancel")
        _tried(context, cancelled, account.view(*cancelled), "pay-card")
    if (declined := sessions["declined"]) is not None:
        account.retrieve(declined[0])
        for _ in range(2):
            _tried(context, declined, account.view(*declined), "pay-declined")
        account.view(*declined)
        _tried(context, declined, at_the_method(context, declined), "authorise")
    given = fresh(context, line_items=[context.line(0, 2)])
    if given is not None:
        _tried(context, given, at_the_method(context, given), "authorise")
        account.view(*given)
    plain = fresh(context, success_url=f"http://shop.example/Thanks/{context.mark()}?b=1&a=%2Fx#top")
    if plain is not None:
        _tried(context, plain, account.view(*plain), "pay-card")
    many = fresh(context, line_items=[context.line(100 + n, 1, name=f"No. {n}") for n in range(26)])
    if many is not None:
        account.view(*many)
    free = fresh(context, line_items=[context.line(0, 1)])
    if free is not None:
        _tried(context, free, account.view(*free), "pay-declined", "pay-card")
    if context.can(PAY) and (again := fresh(context)) is not None:
        _tried(context, again, at_the_method(context, again), "cancel")
        account.pay(again[0])
        account.retrieve(again[0])
    for status in ("complete", "open", "expired"):
        account.list(status=status, limit=9)
    account.list(limit=9)
    if context.can(EVENTS):
        account.events()


def pages_past_the_deadline(context: RunContext) -> None:
    """Let the time of sessions run out whose pages are open, and press buttons there."""
    account = context.account
    moment = account.set_clock(frozen=True).object.get("now")
    if not is_integer(moment):
        return
    names = ("card", "method", "declined", "viewed", "paid")
    deadline = moment + oracle.SHORTEST_LIFE
    sessions = {name: fresh(context, expires_at=deadline) for name in names}
    pages: dict[str, Exchange | None] = {}
    for name, session in sessions.items():
        if session is not None:
            pages[name] = at_the_method(context, session) if name == "method" else account.view(*session)
            if name in {"declined", "paid"}:
                press(context, session, "pay-card" if name == "paid" else "pay-declined", pages[name])
    account.set_clock(now=deadline)
    account.list(status="open", limit=9)
    account.list(status="expired", limit=9)
    for name in ("viewed", "declined", "paid"):
        if (session := sessions[name]) is not None:
            account.retrieve(session[0])
            account.view(*session)
    for name, acts in (("card", ("pay-card",)), ("declined", ("pay-card",)), ("method", ("authorise", "cancel"))):
        if (session := sessions[name]) is not None:
            account.retrieve(session[0])
            _tried(context, session, pages[name], *acts)
    if context.can(EVENTS):
        context.events(account)


DRIVERS: Final = (
    Driver(
        name="the hosted page",
        purpose="Open the page of sessions of every status, and do there what a customer would.",
        run=the_hosted_page,
        needs=frozenset({PAGE}),
        requests=50,
    ),
    Driver(
        name="a page looked at",
        purpose="Open the page of a session several times, by GET and HEAD, and look at the session after each.",
        run=a_page_looked_at_again_and_again,
        needs=frozenset({PAGE}),
        requests=10,
    ),
    Driver(
        name="pages left open",
        purpose="Press buttons of pages that were opened before the session ended, and try again after what failed.",
        run=pages_left_open,
        needs=frozenset({PAGE}),
        stage=Stage.DEPTH,
        requests=90,
    ),
    Driver(
        name="pages past the deadline",
        purpose="Let the time of sessions run out whose pages are open, and press buttons there.",
        run=pages_past_the_deadline,
        needs=frozenset({PAGE, CLOCK}),
        stage=Stage.DEPTH,
        requests=30,
    ),
)
