"""AMT: money that is added up, labelled or written down wrongly."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.create import refuse_creates
from qashier_mock.bugs.endings import Moved
from qashier_mock.bugs.parts import Json, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, CreateSession, LineItem, PaymentStatus, Status


def _asked_total(body: Json) -> int:
    return sum(line["price_data"]["unit_amount"] * line["quantity"] for line in body["line_items"])


def _with_total(parts: Parts, total: Callable[[tuple[LineItem, ...]], int]) -> None:
    parts.on_opened(lambda session, _params: replace(session, amount_total=total(session.line_items)))


@defect("AMT-1")
def total_without_quantities(parts: Parts) -> None:
    """The total of a session adds up the prices of one piece each; the amounts of the lines are right."""
    _with_total(parts, lambda lines: sum(line.unit_amount for line in lines))


@defect("AMT-1")
def total_without_the_last_line(parts: Parts) -> None:
    """The total of a session of several lines leaves the last one out."""
    _with_total(parts, lambda lines: sum(line.amount_total for line in lines[: max(1, len(lines) - 1)]))


def _with_line_amounts(parts: Parts, amount: Callable[[int, int], Any]) -> None:
    """Show other amounts of lines, from the right one and the quantity, and their sum as the total."""

    def change(session: Json) -> None:
        lines = session["line_items"]["data"]
        for line in lines:
            line["amount_total"] = amount(line["amount_total"], line["quantity"])
        session["amount_total"] = sum(line["amount_total"] for line in lines)

    parts.on_sessions(change)


@defect("AMT-2")
def line_amount_of_one_piece(parts: Parts) -> None:
    """The amount of a line is that of one piece, whatever its quantity; the total is the sum of that."""
    _with_line_amounts(parts, lambda amount, quantity: amount // quantity)


@defect("AMT-2")
def line_amount_with_tax(parts: Parts) -> None:
    """A tax of 9 % is added to the amount of each line, and so to the total."""
    _with_line_amounts(parts, lambda amount, _quantity: amount + amount * 9 // 100)


@defect("AMT-3")
def line_currency_of_the_shop(parts: Parts) -> None:
    """The currency of each line is shown as SGD, whatever was asked for."""

    def change(session: Json) -> None:
        for line in session["line_items"]["data"]:
            line["currency"] = "SGD"

    parts.on_sessions(change)


@defect("AMT-3")
def session_currency_in_lower_case(parts: Parts) -> None:
    """The currency of a session is shown in lower case, those of its lines as asked for."""
    parts.on_sessions(lambda session: session.update(currency=session["currency"].lower()))


def _with_lines(parts: Parts, change: Callable[[tuple[LineItem, ...]], tuple[LineItem, ...]]) -> None:
    parts.on_opened(lambda session, _params: replace(session, line_items=change(session.line_items)))


@defect("AMT-4")
def lines_sorted_by_name(parts: Parts) -> None:
    """Lines come back in the order of their names."""
    _with_lines(parts, lambda lines: tuple(sorted(lines, key=lambda line: line.name)))


@defect("AMT-4")
def equal_lines_merged(parts: Parts) -> None:
    """Lines of the same product at the same price come back as one, their quantities added up."""

    def merge(lines: tuple[LineItem, ...]) -> tuple[LineItem, ...]:
        merged: dict[tuple[str, str | None, int], LineItem] = {}
        for line in lines:
            key = (line.name, line.description, line.unit_amount)
            before = merged.get(key)
            merged[key] = line if before is None else replace(before, quantity=before.quantity + line.quantity)
        return tuple(merged.values())

    _with_lines(parts, merge)


@defect("AMT-4")
def lines_cut_at_ten(parts: Parts) -> None:
    """A session shows its first ten lines only."""

    def cut(session: Json) -> None:
        del session["line_items"]["data"][10:]

    parts.on_sessions(cut)


@defect("AMT-5")
def line_without_description_is_blank(parts: Parts) -> None:
    """The `description` of a line is empty where the product has none."""
    _with_lines(parts, lambda lines: tuple(replace(line, description=line.description or "") for line in lines))


@defect("AMT-5")
def line_described_by_its_name(parts: Parts) -> None:
    """The `description` of a line is the name of the product, though it has a description."""
    _with_lines(parts, lambda lines: tuple(replace(line, description=None) for line in lines))


@defect("AMT-5")
def description_cut_at_100(parts: Parts) -> None:
    """The `description` of a line is cut at 100 characters."""
    _with_lines(parts, lambda lines: tuple(replace(line, description=line.label[:100]) for line in lines))


@defect("AMT-6")
def free_session_is_unpaid(parts: Parts) -> None:
    """A session with a total of 0 is `unpaid`."""

    def change(session: CheckoutSession, _params: CreateSession) -> CheckoutSession:
        return replace(session, payment_status=PaymentStatus.UNPAID)

    parts.on_opened(change)


@defect("AMT-6")
def free_session_becomes_paid(parts: Parts) -> None:
    """A session with a total of 0 is `paid` once it is complete."""

    def advance(inner: Callable[..., Moved], session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        moved, event = inner(session, trigger, now)
        if moved.status is Status.COMPLETE:
            moved = replace(moved, payment_status=PaymentStatus.PAID)
        return moved, event

    parts.on_advance(advance)


@defect("AMT-6")
def expired_session_needs_no_payment(parts: Parts) -> None:
    """A session that expires becomes `no_payment_required`."""

    def advance(inner: Callable[..., Moved], session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        moved, event = inner(session, trigger, now)
        if moved.status is Status.EXPIRED:
            moved = replace(moved, payment_status=PaymentStatus.NO_PAYMENT_REQUIRED)
        return moved, event

    parts.on_advance(advance)


@defect("AMT-6")
def free_session_refused(parts: Parts) -> None:
    """A create with a total of 0 is refused."""

    def reason(body: Json) -> tuple[str, str] | None:
        return None if _asked_total(body) else ("line_items", "The total must be at least 1.")

    refuse_creates(parts, reason, code="parameter_invalid")


@defect("AMT-7")
def amounts_are_floats(parts: Parts) -> None:
    """Amounts are JSON numbers with a decimal point: 1250.0."""
    _with_line_amounts(parts, lambda amount, _quantity: float(amount))


@defect("AMT-7")
def amounts_in_single_precision(parts: Parts) -> None:
    """Amounts went through a float of 32 bits: large ones are off by a few."""

    def squeeze(amount: int, _quantity: int) -> int:
        (squeezed,) = struct.unpack("f", struct.pack("f", amount))
        return int(squeezed)

    _with_line_amounts(parts, squeeze)


@defect("AMT-7")
def amounts_wrap_at_32_bits(parts: Parts) -> None:
    """The amount of a line from 2,147,483,648 on turns negative, and the total with it."""
    _with_line_amounts(parts, lambda amount, _quantity: (amount + 2**31) % 2**32 - 2**31)


@defect("AMT-7")
def large_total_refused(parts: Parts) -> None:
    """A create with a total of 2,147,483,648 or more is refused: the column is not wider."""

    def reason(body: Json) -> tuple[str, str] | None:
        return ("line_items", "The total must be below 2147483648.") if _asked_total(body) >= 2**31 else None

    refuse_creates(parts, reason, code="parameter_invalid")
