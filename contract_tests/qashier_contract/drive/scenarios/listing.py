"""Pages, filters, cursors and walks over lists that are short, tied, and long (LIS)."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import UNKNOWN_ID, now, walk, wildcards
from qashier_contract.history import Capability
from qashier_contract.ledger import entries_of
from qashier_contract.values import is_integer

SECOND_S: Final = 1.05
"""After so long another second has begun."""


class _Nine(NamedTuple):
    """Nine sessions in three seconds, a third of each status; the oldest first."""

    ids: tuple[str, ...]
    times: tuple[int, ...]

    @property
    def window(self) -> dict[str, int]:
        """What keeps just these."""
        return {"created_gte": self.times[0], "created_lte": self.times[-1]}


def _open_nine(context: RunContext) -> _Nine | None:
    opened: list[Opened] = []
    for group in range(3):
        if context.can(Capability.CLOCK):
            context.account.advance((1, 2, 5)[group])
        elif group:
            context.target.pace.sleep(SECOND_S)  # nobody can move the clock of the target: its seconds have to pass
        for place in range(3):
            two_lines = context.line(100 * group + place, 1 + place), context.line(7, 1, name=f"No. {place}")
            session = context.open(*two_lines)
            opened.append(session)
            how = ("open", "complete", "expired")[(group + place) % 3]
            if how == "complete" and context.can(Capability.PAY):
                session.pay()
            elif how == "expired":
                session.expire()
    ids = tuple(session.id for session in opened if session.id is not None)
    times = tuple(moment for session in opened if is_integer(moment := session.exchange.object.get("created")))
    return _Nine(ids, times) if len(ids) == len(times) == 9 else None


@driver("Open nine sessions in three seconds, end some, and page, filter and walk over them in every way.", requests=75)
def lists(context: RunContext) -> None:
    account = context.account
    nine = _open_nine(context)
    if nine is None:
        return
    ids, (start, *_, last) = nine.ids, nine.times
    middle, newest, oldest = nine.times[4], ids[8], ids[0]
    account.list()
    for count in (1, 2, 9, 100):
        account.list(limit=count)
    for odd in ("0", "-1", "101", "abc", ""):
        account.list(limit=odd)
    for cursor, limit in ((newest, 1), (newest, 3), (ids[4], 2), (ids[3], 3), (oldest, 5)):
        account.list(starting_after=cursor, limit=limit)
    for cursor, limit in ((newest, 3), (ids[7], 1), (ids[6], 1), (ids[6], 2), (ids[6], 3), (ids[4], 2), (oldest, 3)):
        account.list(ending_before=cursor, limit=limit)
    for status in ("open", "complete", "expired"):
        account.list(status=status)
        account.list(status=status, limit=2)
    for bound in ("gt", "gte", "lt", "lte"):
        account.list(**{f"created_{bound}": middle})
    account.list(limit=9, **nine.window)
    account.list(limit=8, **nine.window)
    account.list(created_gt=start, created_lt=last, limit=100)
    account.list(created_gt=last + 100_000)
    account.list(created_gte=last + 100_000, status="open")
    # Filters and cursors together; the cursors are sessions that the filter leaves out.
    account.list(status="open", starting_after=ids[7], limit=1, **nine.window)
    account.list(status="open", ending_before=ids[1], limit=2, **nine.window)
    account.list(created_gte=middle, starting_after=newest, limit=5)
    account.list(created_lte=middle, ending_before=oldest, limit=4)
    account.list(starting_after=newest, ending_before=oldest)
    account.list(status="paid")
    account.list(starting_after=UNKNOWN_ID)
    account.list(ending_before=UNKNOWN_ID)
    for session_id in (ids[8], ids[7], ids[6]):
        account.retrieve(session_id)
    account.list(limit=9)
    walk(account, {"limit": 3, **nine.window})
    walk(account, {"limit": 2, **nine.window}, backwards_from=oldest)


@driver(
    "Combine what lists take: bounds, statuses and cursors that agree, exclude one another, or name nothing.",
    stage=Stage.DEPTH,
    requests=82,
)
def lists_further(context: RunContext) -> None:
    account = context.account
    nine = _open_nine(context)
    if nine is None:
        return
    ids, (start, *_, last) = nine.ids, nine.times
    middle, newest, oldest = nine.times[4], ids[8], ids[0]
    for odd in ("1000", "1.5", "%205", "5%20"):
        account.list_raw(f"limit={odd}")
    for limit in (7, 8):
        account.list(ending_before=oldest, limit=limit)
    account.list(starting_after=ids[5])
    account.list(ending_before=ids[2])
    account.list(created_gte=middle, created_lte=middle, limit=3)
    account.list(created_gte=middle, created_lte=middle, limit=2)
    account.list(created_gt=middle, created_lt=middle)
    account.list(created_gte=last, created_lte=start, limit=3)
    account.list(created_lte=0)
    account.list(created_gte=0, limit=3)
    # Fewer and more digits than a session's time has.
    account.list(created_gt=999_999_999, limit=3)
    account.list(created_lte=999_999_999)
    # More than 31 bits have room for.
    account.list(created_lt=4_000_000_000, limit=3)
    account.list(created_gte=4_000_000_000, limit=3)
    # Some cursors are sessions that the filter leaves out.
    for status, cursor in (("open", ids[7]), ("open", ids[8]), ("complete", ids[6]), ("expired", ids[4])):
        if status == "complete" and not context.can(Capability.PAY):
            continue
        account.list(status=status, starting_after=cursor, limit=1, **nine.window)
        account.list(status=status, ending_before=ids[1], limit=1, **nine.window)
        account.list(status=status, ending_before=ids[1], limit=2, **nine.window)
    account.list(created_gte=middle, starting_after=ids[3], limit=5)
    account.list(created_lt=middle, starting_after=newest, limit=2)
    account.list(created_gt=middle, ending_before=oldest, limit=2)
    account.list(created_gt=start, starting_after=newest, limit=9)
    account.list(created_lt=last, ending_before=oldest, limit=9)
    account.list(status="open", limit=2, created_gte=middle)
    for unknown in (oldest + "x", "", f" {oldest}", f"{oldest} ", *wildcards(oldest)):
        account.list(starting_after=unknown)
        account.list(ending_before=unknown)
    account.list(starting_after=UNKNOWN_ID, status="open")
    for session_id in (ids[8], ids[4]):
        account.retrieve(session_id)
    account.list(limit=9)
    walk(account, {"limit": 2, **nine.window})
    walk(account, {"limit": 2, "status": "open", **nine.window})


_STATUSES: Final = (
    *("", "OPEN", "Open", "Complete", "eXPIRED", "open ", "all", "open,expired", "open|complete", "*", "%"),
    *("op", "o", "opened", "unpaid", "pending", "compl", "completed", "succeeded", "success"),
    *("expir", "canceled", "cancelled", "closed", "0", "1", "null", "true", "constructor"),
)
"""What is none of the three: in another case, cut, several at once, and other words for one of them."""
_BOUNDS: Final = (
    *("", "yesterday", "now", "2030-01-01", "2030-01-01T00:00:00Z", "2030-01-01T08:00:00+08:00", "2030-01-01 00:00"),
    *("Tue, 01 Jan 2030 00:00:00 GMT", "1.5", "12abc", "1e9", "1_000", "1,000", "0x10", "null", "true", "NaN"),
    *(" 12", "12 "),
)
"""What is no integer, though much of it names a moment."""


@driver(
    "Ask for statuses under other names, and for bounds that are dates or other numbers.",
    stage=Stage.DEPTH,
    requests=54,
)
def filters_in_other_words(context: RunContext) -> None:
    account = context.account
    context.open().expire()
    context.open()
    for status in _STATUSES:
        account.list(status=status, limit=2)
    for place, moment in enumerate(_BOUNDS):
        bound = ("gte", "lte", "gt", "lt")[place % 4]
        account.list_raw(urlencode({f"created[{bound}]": moment, "limit": 2}, quote_via=quote))
    for odd in ("created%5Bfrom%5D=1", "created%5BGTE%5D=1", "created%5Beq%5D=1", "created%5Bconstructor%5D=1"):
        account.list_raw(odd)


@driver(
    "List sessions of one second, two of a status, their deadlines in another order, ended out of order and later.",
    stage=Stage.DEPTH,
    requests=36,
)
def an_order_of_their_own(context: RunContext) -> None:
    account = context.account
    moment = now(context)
    if moment is None:
        return
    opened = [context.open(expires_at=moment + observed) for observed in (7_200, 3_600, 5_400, 1_900)]
    if context.can(Capability.CLOCK):
        account.advance(2)
    context.open()
    account.list(limit=5)
    opened[2].expire()
    opened[1].expire()
    page = [str(entry.get("id")) for entry in entries_of(account.list(limit=5))]
    # As many as the page has room for, and one more; and both cursors at once, though they agree.
    for cursor in page[2:4]:
        account.list(ending_before=cursor, limit=2)
    for cursor in page[1:2]:
        account.list(starting_after=cursor, ending_before=cursor)
    account.list(starting_after=UNKNOWN_ID, created_gte=moment)
    account.list(ending_before=UNKNOWN_ID, created_lte=moment, status="expired")
    opened[0].retrieve()
    account.list(limit=5)
    account.list(created_gt=moment, created_lte=moment + 2, limit=9)
    account.list(created_gte=moment, created_lt=moment + 2, limit=9)
    account.list(created_gt=moment - 1, created_lt=moment + 1, limit=9)
    # Two bounds on one side: the narrower one counts, whichever it is.
    account.list(created_gt=moment - 5, created_gte=moment + 2, limit=9)
    account.list(created_gt=moment, created_gte=moment - 5, limit=9)
    account.list(created_gte=moment, created_lt=moment + 9, created_lte=moment, limit=9)
    account.list(created_gte=moment, created_lt=moment + 1, created_lte=moment + 9, limit=9)
    window = {"created_gte": moment, "created_lte": moment}
    account.list(limit=4, **window)
    for status in ("open", "expired"):
        account.list(status=status, **window)
    if (tied := opened[3].id) is not None:
        account.list(status="open", starting_after=tied, limit=1, **window)
    walk(account, {"limit": 2, "created_gte": moment}, between=context.open)


@driver(
    "Have more than a hundred sessions, each with a key, ask for pages of 99, 100 and 101, and repeat the first ones.",
    stage=Stage.DEPTH,
    requests=144,
)
def a_long_list(context: RunContext) -> None:
    account = context.account
    first, last = context.key(), context.key()
    opened = context.open(key=first)
    opened.expire(key=last)
    if context.can(Capability.CLOCK) and is_integer(moment := account.advance(3).object.get("now")):
        # Exactly so many match: a full page with nothing behind it.
        for count in (99, 100, 101):
            for _ in range(99 if count == 99 else 1):
                context.open(context.line(1, 1), key=context.key())
            for limit in (99, 100):
                account.list(limit=limit, created_gte=moment)
    else:
        page = account.list(limit=100)
        have = len(entries_of(page))
        for _ in range(max(0, 102 - have) if page.object.get("has_more") is not True else 2):
            context.open(context.line(1, 1), key=context.key())
    for limit in (99, 100, 101):
        account.list(limit=limit)
    # What some languages take for a number.
    for odd in ("1_0", "1e1", "0x10", "10.0", "10abc", "10,20", "null", "true"):
        account.list(limit=odd)
    account.list()
    if len(page_of_fifty := entries_of(account.list(limit=50))) > oracle.LIMIT_DEFAULT:
        account.list(ending_before=str(page_of_fifty[-1].get("id")))
        account.list(ending_before=str(page_of_fifty[-1].get("id")), limit=2 * oracle.LIMIT_DEFAULT)
        account.list(ending_before=str(page_of_fifty[oracle.LIMIT_DEFAULT].get("id")))
    walk(account, {"limit": 100})
    walk(account, {"limit": 50})
    # However many keys came in between, none is forgotten.
    account.create(opened.exchange.request.json, key=first)
    opened.expire(key=last)
