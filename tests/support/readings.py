"""How what people type is read: one table for the server and for the page.

What is taken stands with what it means; None is refused. `TWO_WAYS` names both
readings.
"""

from __future__ import annotations

NBSP = "\u00a0"
THIN = "\u202f"

TWO_WAYS = {
    "1.000": ("1000", "1.00"),
    "1,000": ("1000", "1.00"),
    " 1.000 ": ("1000", "1.00"),
    "12,345": ("12345", "12.34"),
    "750.000": ("750000", "750.00"),
}
AMOUNTS: dict[str, str | None] = {
    "750": "750.00",
    "750.00": "750.00",
    "750,00": "750.00",
    "750.5": "750.50",
    "750,5": "750.50",
    "1234.5": "1234.50",
    "1,234.50": "1234.50",
    "1.234,50": "1234.50",
    " 1 000 ": "1000.00",
    "1 000,50": "1000.50",
    f"1{NBSP}000": "1000.00",
    f"12{THIN}345{THIN}678.9": "12345678.90",
    "1'000.05": "1000.05",
    "1.234.567": "1234567.00",
    "1,234,567": "1234567.00",
    "1,234,567.89": "1234567.89",
    "1.234.567,8": "1234567.80",
    # a thousand is never written with a 0 before it, or after four digits
    "0.500": "0.50",
    "0,500": "0.50",
    "1234.500": "1234.50",
    "750.0000": "750.00",
    "007": "7.00",
    **dict.fromkeys(TWO_WAYS),
    "": None,
    "abc": None,
    ".5": None,
    "5.": None,
    "1,,5": None,
    "1.2.3": None,
    "1,23,456": None,
    "1 00": None,
    "10 0000": None,
    "1.234,567": None,
    "1,234.567": None,
    "0.125": None,
    "1234.567": None,
    "1,5.5": None,
    "1e3": None,
    "0x10": None,
    "१२": None,
    "750 GTQ": None,
}
# of a currency without decimals
YEN: dict[str, str | None] = {
    "10000": "10000.00",
    "10 000": "10000.00",
    "10000.00": "10000.00",
    "10000,0": "10000.00",
    "10000.50": None,
    "1,5": None,
    "1.000": None,
}
RATES: dict[str, str | None] = {
    "133.3333": "133.3333",
    "1.333": "1.333",
    "1333": "1333",
    "1,333.5": "1333.5",
    "1 333.5": "1333.5",
    "0.0005": "0.0005",
    "1,333": None,
    "133,33": None,
    "1,234,567": None,
    "1.333,5": None,
    "1.3.5": None,
    "": None,
    "0": None,
}
SATS: dict[str, int | None] = {
    "1000": 1000,
    "1,000": 1000,
    "1.000": 1000,
    "1 000": 1000,
    "1'000'000": 1_000_000,
    "1.000.000": 1_000_000,
    " 54 000 ": 54_000,
    "0": 0,
    "1.5": None,
    "1,50": None,
    "1000.0": None,
    "1,000.000": None,
    "0.100": None,
    "1 00": None,
    "": None,
}
# percent, as the screens ask for it, and the fraction that is sent
PERCENTS: dict[str, str | None] = {
    "3": "0.0300",
    "3.5": "0.0350",
    "3.25": "0.0325",
    "100": "1.0000",
    "3,5": None,
    "3.255": None,
    "1000": None,
    "": None,
}
