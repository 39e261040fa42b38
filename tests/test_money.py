"""Amounts as a customer reads them."""

import re

import pytest

from qashier_mock.core.money import DECIMALS, SYMBOLS, format_amount


@pytest.mark.parametrize(
    ("minor_units", "currency", "text"),
    [
        (1250, "SGD", "S$12.50"),
        (1250, "JPY", "¥1,250"),
        (1250, "MYR", "RM12.50"),
        (123456, "PHP", "₱1,234.56"),
        (1500000, "IDR", "Rp15,000.00"),
        (9900, "THB", "฿99.00"),
        (100, "HKD", "HK$1.00"),
        (100, "TWD", "NT$1.00"),
        (100, "AUD", "A$1.00"),
        (100, "USD", "US$1.00"),
        (100, "EUR", "€1.00"),
        (100, "GBP", "£1.00"),
        (50000, "VND", "₫50,000"),
        (50000, "KRW", "₩50,000"),
        (1250, "CHF", "CHF 12.50"),
        (1234567, "BHD", "BHD 1,234.567"),
        (12345, "CLF", "CLF 1.2345"),
        (1250, "XAF", "XAF 1,250"),
    ],
)
def test_an_amount_has_its_currencys_symbol_and_decimals(minor_units: int, currency: str, text: str) -> None:
    assert format_amount(minor_units, currency) == text


@pytest.mark.parametrize(
    ("minor_units", "text"),
    [(0, "S$0.00"), (1, "S$0.01"), (10, "S$0.10"), (99999, "S$999.99"), (100000, "S$1,000.00")],
)
def test_small_amounts_keep_their_zeros(minor_units: int, text: str) -> None:
    assert format_amount(minor_units, "SGD") == text


def test_the_largest_total_is_exact() -> None:
    """AMT-7: a hundred lines of 10,000 pieces at the highest price."""
    assert format_amount(99_999_999 * 10_000 * 100, "SGD") == "S$999,999,990,000.00"
    assert format_amount(2**53 + 1, "SGD") == "S$90,071,992,547,409.93"


def test_zero_of_a_currency_without_decimals_has_no_point() -> None:
    assert format_amount(0, "JPY") == "¥0"


def test_a_negative_amount_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="-1 SGD"):
        format_amount(-1, "SGD")


def test_no_two_currencies_share_a_symbol() -> None:
    assert len(set(SYMBOLS.values())) == len(SYMBOLS)


def test_the_tables_speak_of_codes() -> None:
    assert all(re.fullmatch("[A-Z]{3}", code) for code in (*DECIMALS, *SYMBOLS))
    assert 2 not in DECIMALS.values()
