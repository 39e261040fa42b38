"""AMT: money that is added up, labelled or written down wrongly."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.changes import moved, opened, refused_create, sessions
from qashier_mock.bugs.parts import Json
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.core.model import CheckoutSession, CreateSession, LineItem, PaymentStatus, Status


def _total(total: Callable[[tuple[LineItem, ...]], int]) -> Change:
    return opened(lambda session, _params: replace(session, amount_total=total(session.line_items)))


def _each_line(change: Callable[[LineItem], LineItem]) -> Change:
    return opened(lambda session, _params: replace(session, line_items=tuple(map(change, session.line_items))))


def _shown_lines(change: Callable[[list[Json]], object]) -> Change:
    return sessions(lambda session: change(session["line_items"]["data"]))


def _line_amounts(amount: Callable[[int, int], Any]) -> Change:
    """Show other amounts of lines, from the right one and the quantity, and their sum as the total."""

    def change(session: Json) -> None:
        lines = session["line_items"]["data"]
        for line in lines:
            line["amount_total"] = amount(line["amount_total"], line["quantity"])
        session["amount_total"] = sum(line["amount_total"] for line in lines)

    return sessions(change)


def _refused_total(is_refused: Callable[[int], bool], words: str) -> Change:
    def reason(body: Json, _key: str | None) -> tuple[str, str] | None:
        total = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in body["line_items"])
        return ("line_items", words) if is_refused(total) else None

    return refused_create(reason, "parameter_invalid")


# fmt: off
row("AMT-1", "total-without-quantities",
    "The total of a session adds up the prices of one piece each; the amounts of the lines are right.",
    _total(lambda lines: sum(line.unit_amount for line in lines)))
row("AMT-1", "total-without-the-last-line", "The total of a session of several lines leaves the last one out.",
    _total(lambda lines: sum(line.amount_total for line in lines[: max(1, len(lines) - 1)])))
row("AMT-2", "line-amount-of-one-piece",
    "The amount of a line is that of one piece, whatever its quantity; the total is the sum of that.",
    _line_amounts(lambda amount, quantity: amount // quantity))
row("AMT-2", "line-amount-with-tax", "A tax of 9 % is added to the amount of each line, and so to the total.",
    _line_amounts(lambda amount, _quantity: amount + amount * 9 // 100))
row("AMT-3", "line-currency-of-the-shop", "The currency of each line is shown as SGD, whatever was asked for.",
    _shown_lines(lambda lines: [line.update(currency="SGD") for line in lines]))
row("AMT-3", "session-currency-in-lower-case",
    "The currency of a session is shown in lower case, those of its lines as asked for.",
    sessions(lambda session: session.update(currency=session["currency"].lower())))
row("AMT-4", "lines-sorted-by-name", "Lines come back in the order of their names.",
    opened(lambda session, _params: replace(
        session, line_items=tuple(sorted(session.line_items, key=lambda line: line.name)))))
row("AMT-4", "lines-cut-at-ten", "A session shows its first ten lines only.",
    _shown_lines(lambda lines: lines.__delitem__(slice(10, None))))
row("AMT-5", "line-without-description-is-blank", "The `description` of a line is empty where the product has none.",
    _each_line(lambda line: replace(line, description=line.description or "")))
row("AMT-5", "line-described-by-its-name",
    "The `description` of a line is the name of the product, though it has a description.",
    _each_line(lambda line: replace(line, description=None)))
row("AMT-5", "description-cut-at-100", "The `description` of a line is cut at 100 characters.",
    _each_line(lambda line: replace(line, description=line.label[:100])))
row("AMT-6", "free-session-is-unpaid", "A session with a total of 0 is `unpaid`.",
    opened(lambda session, _params: replace(session, payment_status=PaymentStatus.UNPAID)))
row("AMT-6", "free-session-becomes-paid", "A session with a total of 0 is `paid` once it is complete.",
    moved(lambda session, _trigger, _now: replace(session, payment_status=PaymentStatus.PAID)
          if session.status is Status.COMPLETE else session))
row("AMT-6", "expired-session-needs-no-payment", "A session that expires becomes `no_payment_required`.",
    moved(lambda session, _trigger, _now: replace(session, payment_status=PaymentStatus.NO_PAYMENT_REQUIRED)
          if session.status is Status.EXPIRED else session))
row("AMT-6", "free-session-refused", "A create with a total of 0 is refused.",
    _refused_total(lambda total: not total, "The total must be at least 1."))
row("AMT-7", "amounts-are-floats", "Amounts are JSON numbers with a decimal point: 1250.0.",
    _line_amounts(lambda amount, _quantity: float(amount)))
row("AMT-7", "amounts-in-single-precision",
    "Amounts went through a float of 32 bits: large ones are off by a few.",
    _line_amounts(lambda amount, _quantity: int(*struct.unpack("f", struct.pack("f", amount)))))
row("AMT-7", "amounts-wrap-at-32-bits",
    "The amount of a line from 2,147,483,648 on turns negative, and the total with it.",
    _line_amounts(lambda amount, _quantity: (amount + 2**31) % 2**32 - 2**31))
row("AMT-7", "large-total-refused",
    "A create with a total of 2,147,483,648 or more is refused: the column is not wider.",
    _refused_total(lambda total: total >= 2**31, "The total must be below 2147483648."))
# fmt: on


@defect("AMT-4", opened)
def equal_lines_merged(session: CheckoutSession, _params: CreateSession) -> CheckoutSession:
    """Lines of the same product at the same price come back as one, their quantities added up."""
    merged: dict[tuple[str, str | None, int], LineItem] = {}
    for line in session.line_items:
        key = (line.name, line.description, line.unit_amount)
        before = merged.get(key)
        merged[key] = line if before is None else replace(before, quantity=before.quantity + line.quantity)
    return replace(session, line_items=tuple(merged.values()))
