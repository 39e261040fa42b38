"""Amounts as a customer reads them: `S$12.50`, `¥1,250`, `CHF 1,250.00`.

Amounts travel as integers of the currency's minor unit and never become a float, so the text is exact at any size. What
lives here is display only; which currencies are accepted, the document says.
"""

from collections.abc import Mapping
from typing import Final

_USUAL_DECIMALS: Final = 2

DECIMALS: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        (
            *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"),
            *("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
        ),
        0,
    ),
    # Metals, bond market units, drawing rights and the list's own two codes have no minor unit: they count in wholes.
    **dict.fromkeys(("XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""Digits after the point, by ISO 4217 code, for each code where that is not two."""

SYMBOLS: Final[Mapping[str, str]] = {
    "AUD": "A$",
    "BDT": "৳",
    "BND": "B$",
    "BRL": "R$",
    "CAD": "CA$",
    "CNY": "CN¥",
    "CRC": "₡",
    "EUR": "€",
    "FJD": "FJ$",
    "GBP": "£",
    "GEL": "₾",
    "GHS": "GH₵",
    "HKD": "HK$",
    "IDR": "Rp",
    "ILS": "₪",
    "INR": "₹",
    "JPY": "¥",
    "KHR": "៛",
    "KRW": "₩",
    "KZT": "₸",
    "LAK": "₭",
    "MNT": "₮",
    "MOP": "MOP$",
    "MXN": "MX$",
    "MYR": "RM",
    "NGN": "₦",
    "NZD": "NZ$",
    "PHP": "₱",
    "PYG": "₲",
    "SGD": "S$",
    "THB": "฿",
    "TRY": "₺",
    "TWD": "NT$",
    "UAH": "₴",
    "USD": "US$",
    "VND": "₫",
    "XCD": "EC$",
    "ZAR": "R",
}
"""What stands before the digits. No two currencies share one; a currency without shows its code and a blank."""


def format_amount(minor_units: int, currency: str) -> str:
    """Write an amount the way a receipt does: symbol, digits in groups of three, the currency's own number of decimals.

    1250 minor units are S$12.50 in SGD and ¥1,250 in JPY. A code that is not listed here has two decimals.

    Raises:
        ValueError: The amount is negative; no amount of this API is.
    """
    if minor_units < 0:
        raise ValueError(f"an amount is never negative, got {minor_units} {currency}")
    decimals = DECIMALS.get(currency, _USUAL_DECIMALS)
    whole, fraction = divmod(minor_units, 10**decimals)
    digits = f"{whole:,}.{fraction:0{decimals}d}" if decimals else f"{whole:,}"
    symbol = SYMBOLS.get(currency)
    return f"{currency} {digits}" if symbol is None else f"{symbol}{digits}"
