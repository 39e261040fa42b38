"""AMT: money."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract.clauses.create import answered
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, Findings, broken, clause, kept_if
from qashier_contract.ledger import Creation, Ledger
from qashier_contract.values import Json, is_integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def _lines(session: Json) -> list[Mapping[str, Json]]:
    holder = session.get("line_items")
    data = holder.get("data") if isinstance(holder, dict) else None
    return [line for line in data if isinstance(line, dict)] if isinstance(data, list) else []


def _asked(creation: Creation) -> Sequence[Mapping[str, Json]]:
    lines: Sequence[Mapping[str, Json]] = creation.exchange.request.json["line_items"]
    return lines


def _aligned(
    ledger: Ledger,
) -> Iterator[tuple[Creation, Mapping[str, Json], list[tuple[Mapping[str, Json], Mapping[str, Json]]]]]:
    """The creates whose lines came back in their order, with each asked line beside the one that was shown."""
    for creation, session in answered(ledger):
        asked, shown = _asked(creation), _lines(session)
        if [line["quantity"] for line in asked] == [line.get("quantity") for line in shown]:
            yield creation, session, list(zip(asked, shown, strict=True))


@clause(
    "AMT-1",
    "A session's `amount_total` is the sum of its lines' `amount_total`.",
    source=DOCUMENTED,
)
def the_total_is_the_sum_of_the_lines(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        amounts = [line.get("amount_total") for line in _lines(session)]
        numbers = [amount for amount in amounts if isinstance(amount, (int, float))]
        if len(numbers) == len(amounts):
            total = session.get("amount_total")
            yield kept_if(total == sum(numbers), f"amount_total {sum(numbers)}", total, creation.exchange)


@clause(
    "AMT-2",
    "A line's `amount_total` is `unit_amount` times `quantity`.",
    source=DOCUMENTED,
)
def a_line_costs_its_price_times_its_quantity(ledger: Ledger) -> Findings:
    for creation, _, lines in _aligned(ledger):
        for asked, shown in lines:
            amount = asked["price_data"]["unit_amount"] * asked["quantity"]
            seen = shown.get("amount_total")
            yield kept_if(
                seen == amount,
                f"{asked['price_data']['unit_amount']} * {asked['quantity']} = {amount}",
                seen,
                creation.exchange,
            )


@clause(
    "AMT-3",
    "A session's `currency` is the requested one, and that of each line.",
    source=DOCUMENTED,
)
def one_currency_throughout(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        code = _asked(creation)[0]["price_data"]["currency"]
        seen = [session.get("currency"), *(line.get("currency") for line in _lines(session))]
        yield kept_if(all(one == code for one in seen), f"{code} throughout", seen, creation.exchange)


@clause(
    "AMT-4",
    "Lines come back complete, in the order of the request, with their `quantity`; `line_items.object` is `list`.",
    source=DOCUMENTED,
)
def lines_come_back_complete_and_in_order(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        holder = session.get("line_items")
        kind = holder.get("object") if isinstance(holder, dict) else None
        yield kept_if(kind == "list", "line_items.object list", kind, creation.exchange)
        asked = [line["quantity"] for line in _asked(creation)]
        seen = [line.get("quantity") for line in _lines(session)]
        yield kept_if(
            asked == seen,
            f"{len(asked)} lines with quantities {asked[:12]}",
            f"{len(seen)} lines with {seen[:12]}",
            creation.exchange,
        )
        if asked == seen:
            titles = [_title(line) for line in _asked(creation)]
            shown = [line.get("description") for line in _lines(session)]
            shuffled = titles != shown and sorted(titles) == sorted(str(title) for title in shown)
            yield kept_if(not shuffled, f"lines in the order {titles[:6]}", f"{shown[:6]}", creation.exchange)


def _title(line: Mapping[str, Json]) -> str:
    product = line["price_data"]["product_data"]
    title: str = product.get("description", product["name"])
    return title


@clause(
    "AMT-5",
    "A line's `description` is the product's description, or its name where none was given.",
    source=DOCUMENTED,
)
def a_line_is_described(ledger: Ledger) -> Findings:
    for creation, _, lines in _aligned(ledger):
        titles = [_title(asked) for asked, _ in lines]
        seen = [shown.get("description") for _, shown in lines]
        if titles != seen and sorted(titles) == sorted(str(title) for title in seen):
            continue  # out of order: AMT-4
        for title, description in zip(titles, seen, strict=True):
            yield kept_if(description == title, f"description {title[:80]!r}", description, creation.exchange)


@clause(
    "AMT-6",
    "With a total of 0 `payment_status` is `no_payment_required` for life; otherwise `unpaid` until paid.",
    source=ASSUMED,
)
def nothing_to_pay_is_never_paid(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        free = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in _asked(creation)) == 0
        expected = "no_payment_required" if free else "unpaid"
        seen = session.get("payment_status")
        yield kept_if(seen == expected, f"payment_status {expected}", seen, creation.exchange)
    for observed in ledger.sessions.values():
        free = ledger.initial(observed).payment_status == "no_payment_required"
        for read in observed.reads:
            seen = read.object.get("payment_status")
            if free:
                yield kept_if(
                    seen == "no_payment_required",
                    "no_payment_required for life",
                    seen,
                    observed.born,
                    *observed.writes,
                    read,
                )
            elif seen == "no_payment_required":
                yield broken("unpaid or paid", seen, observed.born, read)
    for creation in ledger.creations:
        if creation.is_faultless and creation.exchange.refused and "AMT-6" in ledger.attributed_clauses(creation):
            yield broken("success: a total of 0 is allowed", creation.exchange.status, creation.exchange)


@clause(
    "AMT-7",
    "Amounts are exact integers up to the limits, never a rounded float.",
    source=DOCUMENTED,
)
def amounts_are_exact_integers(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        amounts = [session.get("amount_total"), *(line.get("amount_total") for line in _lines(session))]
        inexact = [amount for amount in amounts if not is_integer(amount)]
        yield kept_if(not inexact, "amounts that are JSON integers", inexact[:3], creation.exchange)
    for creation, session, lines in _aligned(ledger):
        exact = [asked["price_data"]["unit_amount"] * asked["quantity"] for asked, _ in lines]
        pairs = [
            *zip(exact, (shown.get("amount_total") for _, shown in lines), strict=True),
            (sum(exact), session.get("amount_total")),
        ]
        for amount, seen in pairs:
            off = abs(seen - amount) if isinstance(seen, (int, float)) else 0
            if 0 < off <= max(2, amount // 50) or (off and amount >= 2**31):
                yield broken(f"exactly {amount}", seen, creation.exchange)
    for creation in ledger.creations:
        if creation.is_faultless and creation.exchange.refused and "AMT-7" in ledger.attributed_clauses(creation):
            yield broken("success: a total near the limits is allowed", creation.exchange.status, creation.exchange)
