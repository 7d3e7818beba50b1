"""Which rows Insight adds up, and what each of them counts for: in SQL, once for the
sums that are kept and for what is read from the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    # keys that are coarser in the sums than in the rows
    rounded: Mapping[str, str] = field(default_factory=dict)

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
    """`sats` in minor units at the trade's own rate, half up, in integers. Split so
    that SQLite, which goes over to floats beyond 64 bits, stays below for trades up to
    60 bitcoin."""
    cents, principal = cents_sql("s.fiat_amount"), "s.principal_sats"
    if db.type == SQLITE:
        value = (
            f"({sats}) * ({cents} / {principal}) + (2 * ({sats}) * "
            f"({cents} % {principal}) + {principal}) / (2 * {principal})"
        )
    else:
        value = (
            f"DIV(CAST(2 AS NUMERIC) * ({sats}) * {cents} + {principal}, "
            f"CAST(2 AS NUMERIC) * {principal})"
        )
    return f"CASE WHEN {principal} > 0 THEN {value} ELSE 0 END"


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
    {"second": f"{_SECOND} / {QUARTER_SECONDS} * {QUARTER_SECONDS}"},
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
ALL_KEPT = (TRADES, QUARTERS, JOURNAL, WAITS)
