"""AMT: money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from qashier_contract.clauses.create import allowed, answered
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, KEPT, Findings, clause
from qashier_contract.findings import Equals, HasShape, OneOf, expect
from qashier_contract.ledger import Creation, Ledger, lines_of
from qashier_contract.places import EACH, At, Sum, in_body
from qashier_contract.values import Json


def _asked(creation: Creation) -> Sequence[Mapping[str, Json]]:
    lines: Sequence[Mapping[str, Json]] = creation.exchange.request.json["line_items"]
    return lines


def _line(creation: Creation, place: int, name: str) -> At:
    return in_body(creation.exchange, "line_items", "data", place, name)


def _price(line: Mapping[str, Json]) -> int:
    price: int = line["price_data"]["unit_amount"] * line["quantity"]
    return price


def _sum_words(line: Mapping[str, Json]) -> str:
    return f"{line['price_data']['unit_amount']} times {line['quantity']}"


def _aligned(ledger: Ledger) -> Iterator[tuple[Creation, Sequence[Mapping[str, Json]]]]:
    """The creates whose lines came back in their order, with the asked lines."""
    for creation, session in answered(ledger):
        asked, shown = _asked(creation), lines_of(session)
        if [line["quantity"] for line in asked] == [line.get("quantity") for line in shown]:
            yield creation, asked


@clause("AMT-1", "A session's `amount_total` is the sum of its lines' `amount_total`.", source=DOCUMENTED)
def the_total_is_the_sum_of_the_lines(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        amounts = [line.get("amount_total") for line in lines_of(session)]
        numbers = [amount for amount in amounts if isinstance(amount, (int, float))]
        if len(numbers) != len(amounts):
            continue
        total = in_body(creation.exchange, "amount_total")
        lines = Sum((in_body(creation.exchange, "line_items", "data", EACH, "amount_total"),))
        # Amounts that are floats are AMT-7; here only their sum counts.
        yield KEPT if session.get("amount_total") == sum(numbers) else expect(Equals(total, lines))


@clause("AMT-2", "A line's `amount_total` is `unit_amount` times `quantity`.", source=DOCUMENTED)
def a_line_costs_its_price_times_its_quantity(ledger: Ledger) -> Findings:
    for creation, asked in _aligned(ledger):
        for place, line in enumerate(asked):
            at, price = _line(creation, place, "amount_total"), _price(line)
            yield KEPT if at.value == price else expect(Equals(at, price), _sum_words(line))


@clause("AMT-3", "A session's `currency` is the requested one, and that of each line.", source=DOCUMENTED)
def one_currency_throughout(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        code = _asked(creation)[0]["price_data"]["currency"]
        yield expect(Equals(in_body(creation.exchange, "currency"), code), "create asked for it")
        for place, _ in enumerate(lines_of(session)):
            yield expect(Equals(_line(creation, place, "currency"), code), "create asked for it")


@clause(
    "AMT-4",
    "Lines come back complete, in the order of the request, with their `quantity`; `line_items.object` is `list`.",
    source=DOCUMENTED,
)
def lines_come_back_complete_and_in_order(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        exchange, lines = creation.exchange, _asked(creation)
        yield expect(Equals(in_body(exchange, "line_items", "object"), "list"))
        quantities = in_body(exchange, "line_items", "data", EACH, "quantity")
        complete = expect(Equals(quantities, [line["quantity"] for line in lines]), "create asked for these lines")
        yield complete
        if complete.holds:
            titles = [_title(line) for line in lines]
            shown = [line.get("description") for line in lines_of(session)]
            shuffled = titles != shown and sorted(titles) == sorted(str(title) for title in shown)
            at = in_body(exchange, "line_items", "data", EACH, "description")
            yield expect(Equals(at, titles), "create asked for this order") if shuffled else KEPT


def _title(line: Mapping[str, Json]) -> str:
    product = line["price_data"]["product_data"]
    title: str = product.get("description", product["name"])
    return title


@clause(
    "AMT-5", "A line's `description` is the product's description, or its name where none was given.", source=DOCUMENTED
)
def a_line_is_described(ledger: Ledger) -> Findings:
    for creation, asked in _aligned(ledger):
        titles = [_title(line) for line in asked]
        seen = [_line(creation, place, "description").value for place, _ in enumerate(asked)]
        if titles != seen and sorted(titles) == sorted(str(title) for title in seen):
            continue  # out of order: AMT-4
        for place, line in enumerate(asked):
            given = "description" in line["price_data"]["product_data"]
            reason = "the product's description" if given else "the product's name, as it has no description"
            yield expect(Equals(_line(creation, place, "description"), titles[place]), reason)


@clause(
    "AMT-6",
    "With a total of 0 `payment_status` is `no_payment_required` for life; otherwise `unpaid` until paid.",
    source=ASSUMED,
)
def nothing_to_pay_is_never_paid(ledger: Ledger) -> Findings:
    for creation, _ in answered(ledger):
        free = sum(_price(line) for line in _asked(creation)) == 0
        expected = "no_payment_required" if free else "unpaid"
        reason = "the total is 0" if free else "nobody has paid"
        yield expect(Equals(in_body(creation.exchange, "payment_status"), expected), reason)
    for observed in ledger.sessions.values():
        free = ledger.initial(observed).payment_status == "no_payment_required"
        for read in observed.reads:
            at = in_body(read, "payment_status")
            if free:
                writes = (observed.born, *observed.writes)
                yield expect(Equals(at, "no_payment_required"), "the total is 0", *writes)
            elif at.value == "no_payment_required":
                yield expect(OneOf(at, ("unpaid", "paid")), "the total is above 0", observed.born)
    yield from allowed(ledger, "AMT-6")


@clause("AMT-7", "Amounts are exact integers up to the limits, never a rounded float.", source=DOCUMENTED)
def amounts_are_exact_integers(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        yield expect(HasShape(in_body(creation.exchange, "amount_total"), "integer"), "amounts are whole")
        for place, _ in enumerate(lines_of(session)):
            yield expect(HasShape(_line(creation, place, "amount_total"), "integer"), "amounts are whole")
    for creation, asked in _aligned(ledger):
        exact = [(_line(creation, place, "amount_total"), _price(line)) for place, line in enumerate(asked)]
        exact.append((in_body(creation.exchange, "amount_total"), sum(_price(line) for line in asked)))
        for at, amount in exact:
            seen = at.value
            off = abs(seen - amount) if isinstance(seen, (int, float)) else 0
            # What is far off, and small, is a sum gone wrong (AMT-1, AMT-2); what is nearly right was rounded.
            if 0 < off <= max(2, amount // 50) or (off and amount >= 2**31):
                yield expect(Equals(at, amount), "exactly")
    yield from allowed(ledger, "AMT-7")
