"""Which rows Insight adds up, and what each of them counts for: in SQL, once for the
sums that are kept and for what is read from the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lnbits.db import SQLITE

from ..base.database import cents_sql, db
from ..base.zones import QUARTER_SECONDS

S = "satoshimachine"
# The share of a fee that stays in the machine's wallet because the one it is owed to
# has that wallet: it arrived, and is in `splits_paid` or `platform_paid` already.
FEES_HERE = "fees_here"
# What routing took of a payment to somebody else came off what arrived.
OWN_ROUTING = "own_routing"
LP_ACCOUNTS = ("lp_paid", "lp_paid_outside")
ACCOUNTS = (
    *("platform_paid", "splits_paid", "operator_fees", "surplus", "reserve_kept"),
    *("let_go", "routing", "refunded", "loss", *LP_ACCOUNTS),
)
# of trades: the figure, and the settlement's column
OF_TRADES = {
    "fees_charged": "COALESCE(s.dispensed_fee_sats, s.fee_sats)",
    "platform_share": "COALESCE(s.dispensed_platform_fee_sats, s.platform_fee_sats)",
    "operator_share": "COALESCE(s.dispensed_operator_fee_sats, s.operator_fee_sats)",
    "operator_discounts": "s.operator_discount_sats",
    "platform_discounts": "s.platform_discount_sats",
}
COUNTED = "s.status NOT IN ('quarantined', 'voided')"
_PRINCIPAL = "COALESCE(s.dispensed_principal_sats, s.principal_sats)"
_CENTS = cents_sql("COALESCE(s.dispensed_fiat, s.fiat_amount)")


@dataclass(frozen=True)
class Rows:
    """Some rows with a machine and a time, and what each is: words and numbers by
    which they are told apart, and figures that are added up."""

    tables: str
    machine: str
    at: str
    where: str
    keys: Mapping[str, str]
    sums: Mapping[str, str]


@dataclass(frozen=True)
class Kept:
    """A table of their sums by machine and day."""

    table: str
    rows: Sequence[Rows]
    # keys, in seconds, that are quarters of an hour in the sums
    by_quarters: Sequence[str] = ()

    def summed_keys(self, rows: Rows) -> Sequence[str]:
        return [
            (
                f"{sql} / {QUARTER_SECONDS} * {QUARTER_SECONDS}"
                if name in self.by_quarters
                else sql
            )
            for name, sql in rows.keys.items()
        ]

    @property
    def keys(self) -> Sequence[str]:
        return tuple(self.rows[0].keys)

    @property
    def sums(self) -> Sequence[str]:
        return tuple(self.rows[0].sums)


def seconds_sql(column: str) -> str:
    """Whole seconds since 1970 of a time."""
    if db.type == SQLITE:
        return f"CAST({column} AS BIGINT)"
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM {column})) AS BIGINT)"


def worth_sql(sats: str) -> str:
    """`sats` in minor units at the trade's own rate, half up."""
    return _share_sql(sats, cents_sql("s.fiat_amount"), "s.principal_sats")


def _share_sql(amount: str, numerator: str, denominator: str) -> str:
    """`amount` times a fraction, half up, in integers; 0 without a denominator. Split
    so that SQLite, which goes over to floats beyond 64 bits, stays below for trades up
    to 60 bitcoin."""
    if db.type == SQLITE:
        value = (
            f"({amount}) * ({numerator} / {denominator}) + (2 * ({amount}) * "
            f"({numerator} % {denominator}) + {denominator}) / (2 * {denominator})"
        )
    else:
        value = (
            f"DIV(CAST(2 AS NUMERIC) * ({amount}) * {numerator} + {denominator}, "
            f"CAST(2 AS NUMERIC) * {denominator})"
        )
    return f"CASE WHEN {denominator} > 0 THEN {value} ELSE 0 END"


def _waited_sql(column: str) -> str:
    """Whole seconds from the trade until then; clocks that disagree make nobody wait
    less than 0."""
    gone = f"{column} - s.transaction_time"
    if db.type != SQLITE:
        gone = f"FLOOR(EXTRACT(EPOCH FROM {gone}))"
    is_later = f"{column} > s.transaction_time"
    return f"CASE WHEN {is_later} THEN CAST({gone} AS BIGINT) ELSE 0 END"


def _trades(keys: Mapping[str, str], sums: Mapping[str, str]) -> Rows:
    kind = {"currency": "s.fiat_code", "tx_type": "s.tx_type", "is_test": "s.is_test"}
    principal = {"n": "1", "principal_sats": _PRINCIPAL, "principal_cents": _CENTS}
    return Rows(
        tables=f"{S}.dca_settlements s",
        machine="s.machine_id",
        at="s.transaction_time",
        where=COUNTED,
        keys={**kind, **keys},
        sums={**principal, **sums},
    )


def _waits(who: str, joined: str, until: str, where: str) -> Rows:
    of = joined.rpartition(" ")[2]
    return Rows(
        # CROSS JOIN: trades first, whatever SQLite thinks of the other's indexes
        tables=f"{S}.dca_settlements s CROSS JOIN {joined}",
        machine="s.machine_id",
        at="s.transaction_time",
        where=f"{of}.settlement_id = s.id AND {COUNTED} AND {where}",
        keys={
            "who": f"'{who}'",
            "is_test": "s.is_test",
            "seconds": _waited_sql(until),
        },
        sums={"n": "1"},
    )


# trades and what customers paid of them
TRADES = Kept(
    "insight_trades",
    [
        _trades(
            {},
            {
                name: sql
                for figure, sats in OF_TRADES.items()
                for name, sql in (
                    (f"{figure}_sats", sats),
                    (f"{figure}_cents", worth_sql(sats)),
                )
            },
        )
    ],
)

# when trades were: every zone's offset is a multiple of a quarter of an hour
_SECOND = seconds_sql("s.transaction_time")
QUARTERS = Kept(
    "insight_quarters",
    [_trades({"second": _SECOND}, {})],
    ("second",),
)

# what was paid, kept or lost, and what LPs received
JOURNAL = Kept(
    "insight_journal",
    [
        Rows(
            tables=f"{S}.journal j CROSS JOIN {S}.journal_lines l",
            machine="j.machine_id",
            at="j.at",
            where="l.journal_id = j.id AND l.account IN ("
            + ", ".join(f"'{x}'" for x in ACCOUNTS)
            + ")",
            keys={
                "currency": "j.currency",
                "is_test": "j.is_test",
                "account": "CASE WHEN l.account = 'operator_fees' AND j.payment_id IS "
                f"NOT NULL THEN '{FEES_HERE}' WHEN l.account = 'routing' AND "
                f"j.payment_id IS NULL THEN '{OWN_ROUTING}' ELSE l.account END",
                "client_id": "l.client_id",
            },
            sums={"sats": "l.sats", "cents": "l.counter_cents"},
        )
    ],
)

# who waited how long: customers from their payment until the machine said what came
# out, LPs from the trade until their sats arrived
WAITS = Kept(
    "insight_waits",
    [
        _waits(
            "customers",
            f"{S}.cash_trades t",
            "t.first_said_at",
            "s.tx_type = 'cash_out' AND t.first_said_at > s.transaction_time",
        ),
        _waits(
            "lps",
            f"{S}.dca_payments p",
            "p.completed_at",
            # COALESCE: by the settlement, and not by the index of a status that a
            # million legs have
            "p.leg_type = 'dca' AND COALESCE(p.status, '') = 'completed' "
            "AND p.paid_outside = false AND p.completed_at IS NOT NULL",
        ),
    ],
)


# What entries come to in sales, fees and sats that arrived, by the time of the entry:
# the overview's sums. A trade counts whole from when it landed until it is planned, and
# then as its cash says, as in `trade_lines.py`.


def _is(*accounts: str) -> str:
    return f"l.account IN ({', '.join(repr(x) for x in accounts)})"


_DIRECTION = (
    "CASE WHEN s.is_outgoing = true OR (s.is_outgoing IS NULL AND "
    "s.tx_type = 'cash_in') THEN -1 ELSE 1 END"
)
# 1 where the line is what landing does to the wallet, -1 where it undoes that
_SIGN = f"(CASE WHEN l.sats > 0 THEN 1 ELSE -1 END * {_DIRECTION})"
_CASH = _is("cash_dispensed", "cash_taken")
_HANDED = (
    "CASE WHEN {0}.account = 'cash_taken' THEN {0}.fiat_cents ELSE -{0}.fiat_cents END"
)
_SALES_CENTS = cents_sql("s.fiat_amount")
# the trade's cash by its entries before this one
_CASH_BEFORE = f"""(
    SELECT COALESCE(SUM({_HANDED.format("b")}), 0)
    FROM {S}.journal e CROSS JOIN {S}.journal_lines b
    WHERE e.settlement_id = j.settlement_id AND COALESCE(e.payment_id, '') = ''
      AND e.is_test = j.is_test AND (e.at < j.at OR (e.at = j.at AND e.id < j.id))
      AND b.journal_id = e.id AND b.account IN ('cash_dispensed', 'cash_taken'))
    """  # noqa: S608


def _principal_sql() -> str:
    """Sats that go with the cash of a line: the part of all cash until then less that
    of the cash before, so that corrections add up to the sat."""
    handed = _HANDED.format("l")
    after = f"{_CASH_BEFORE} + {handed}"
    before, after = (
        _share_sql(cents, "s.principal_sats", _SALES_CENTS)
        for cents in (_CASH_BEFORE, after)
    )
    return (
        f"WHEN NOT {_CASH} THEN 0 "
        # all of it at once, as nearly always
        f"WHEN {handed} = {_SALES_CENTS} THEN s.principal_sats "
        f"WHEN {handed} = -{_SALES_CENTS} THEN -s.principal_sats "
        f"ELSE ({after}) - ({before})"
    )


def _of_customer(figure: str, otherwise: str) -> str:
    """`figure` while the sats are the customer's; then what the line says."""
    return f"CASE WHEN {_is('customer')} THEN -{_SIGN} * {figure} {otherwise} END"


def _minus(account: str, paid: str) -> str:
    return (
        f"WHEN l.account = '{paid}' THEN l.sats WHEN {_is(*account.split())} "
        "THEN -l.sats ELSE 0"
    )


_TRADED_AT = seconds_sql("COALESCE(s.transaction_time, s.created_at)")
_BOOKED_AT = seconds_sql("j.at")


BOOKED = Kept(
    "insight_booked",
    [
        Rows(
            tables=f"{S}.journal j CROSS JOIN {S}.dca_settlements s "
            f"CROSS JOIN {S}.journal_lines l",
            machine="j.machine_id",
            at="j.at",
            # What paid legs did is theirs. COALESCE: by machine and time, and not by
            # the index of payments, of which all of these have none
            where="s.id = j.settlement_id AND COALESCE(j.payment_id, '') = '' "
            "AND l.journal_id = j.id AND "
            + _is(
                *("machine_wallet", "held_back", "customer", "let_go", "loss"),
                *("cash_dispensed", "cash_taken", "platform", "platform_paid"),
                *("splits", "splits_paid", "operator_fees"),
            ),
            keys={
                "currency": "j.currency",
                "tx_type": "s.tx_type",
                "is_test": "j.is_test",
                "second": _BOOKED_AT,
                "trade_second": _TRADED_AT,
            },
            sums={
                # a sale is one, but while it is held back, and until it is voided
                # before it was planned
                "n": f"CASE WHEN {_is('machine_wallet', 'held_back')} OR "
                f"({_is('let_go', 'loss')} AND s.planned_at IS NULL) "
                f"THEN {_SIGN} ELSE 0 END",
                "principal_sats": _of_customer("s.principal_sats", _principal_sql()),
                "principal_cents": _of_customer(
                    _SALES_CENTS,
                    f"WHEN {_CASH} THEN {_HANDED.format('l')} ELSE 0",
                ),
                "platform_sats": _of_customer(
                    "s.platform_fee_sats", _minus("platform", "platform_paid")
                ),
                "operator_sats": _of_customer(
                    "s.operator_fee_sats", _minus("splits operator_fees", "splits_paid")
                ),
                "lp_paid_sats": "0",
            },
        ),
        Rows(
            tables=f"{S}.journal j CROSS JOIN {S}.journal_lines l",
            machine="j.machine_id",
            at="j.at",
            where="l.journal_id = j.id AND l.account = 'lp_paid'",
            keys={
                "currency": "j.currency",
                # LPs are paid of these alone, and when their balance is closed
                "tx_type": "'cash_out'",
                "is_test": "j.is_test",
                "second": _BOOKED_AT,
                "trade_second": _BOOKED_AT,
            },
            sums={
                **dict.fromkeys(
                    (
                        *("n", "principal_sats", "principal_cents"),
                        *("platform_sats", "operator_sats"),
                    ),
                    "0",
                ),
                "lp_paid_sats": "l.sats",
            },
        ),
    ],
    ("second", "trade_second"),
)
ALL_KEPT = (TRADES, QUARTERS, JOURNAL, WAITS, BOOKED)
