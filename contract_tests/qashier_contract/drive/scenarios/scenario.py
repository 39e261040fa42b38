"""What several scenarios need: bodies that are altered, ids, the account's time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from qashier_contract.drive import Driver, RunContext, Stage, driver
from qashier_contract.history import Capability
from qashier_contract.ledger import entries_of
from qashier_contract.target import Account
from qashier_contract.values import Json, is_integer

UNKNOWN_ID: Final = "cs_test_0000000000000000unknown"
"""Has the form of an id of our mock, and names no session."""
PRICE: Final = ("line_items", 0, "price_data")
PRODUCT: Final = (*PRICE, "product_data")
"""Where the price and the product of the first line are in a body, as `altered` and `without` take it."""
URLS: Final = ("success_url", "return_url", "cancel_url")


def wildcards(session_id: str) -> tuple[str, ...]:
    """What names a session to whoever takes an id for a pattern, of SQL, of file names, or a regular expression."""
    return ("%", session_id[:-2] + "__", "*", session_id[:-2] + "..")


def now(context: RunContext) -> int | None:
    """The account's time in epoch seconds: from its clock, else from a session that was just created."""
    if context.can(Capability.CLOCK):
        return context.now()
    created = context.open().exchange.object.get("created")
    return created if is_integer(created) else None


def without(body: dict[str, Json], *path: str | int) -> dict[str, Json]:
    """The body without what the path names."""
    changed: dict[str, Json] = json.loads(json.dumps(body))
    holder: Json = changed
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return changed


def altered(body: dict[str, Json], value: Json, *path: str | int) -> dict[str, Json]:
    """The body with another value where the path leads."""
    changed: dict[str, Json] = json.loads(json.dumps(body))
    holder: Json = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return changed


def of_two_currencies(context: RunContext, *lines: Json, odd: int = -1) -> dict[str, Json]:
    """A body of some lines, of which one, by default the last, has another currency."""
    return altered(context.body(*lines), context.second_currency, "line_items", odd, "price_data", "currency")


def creates(
    purpose: str, *, stage: Stage = Stage.BREADTH, requests: int
) -> Callable[[Callable[[RunContext], Iterator[Json]]], Driver]:
    """Make a driver of what yields bodies: it creates with each, and looks whether what was refused opened something.

    The arguments are those of `driver`.
    """

    def enter(bodies: Callable[[RunContext], Iterator[Json]]) -> Driver:
        def run(context: RunContext) -> None:
            for body in bodies(context):
                context.account.create(body)
            # Whatever was refused must not have opened anything: every request is marked, and would be seen here.
            page = context.account.list(limit=100)
            if page.object.get("has_more") is True and (entries := entries_of(page)):
                context.account.list(limit=100, starting_after=str(entries[-1].get("id")))

        return driver(purpose, name=bodies.__name__.replace("_", " "), stage=stage, requests=requests)(run)

    return enter


def walk(
    account: Account,
    query: Mapping[str, str | int],
    *,
    backwards_from: str | None = None,
    between: Callable[[], object] | None = None,
    most: int = 40,
) -> None:
    """Follow the pages from the newest on, or back from a session, until one says that there is no more."""
    name, end = ("ending_before", 0) if backwards_from else ("starting_after", -1)
    page = account.list(**query, **({name: backwards_from} if backwards_from else {}))
    for _ in range(most):
        entries = entries_of(page)
        if page.object.get("has_more") is not True or not entries:
            return
        if between is not None:
            between()
        page = account.list(**query, **{name: str(entries[end].get("id"))})


def long_url(length: int, context: RunContext) -> str:
    """A marked URL of so many characters."""
    start = f"https://shop.example/{context.mark()}/"
    return start + "x" * (length - len(start))
