"""What the sums say. Sats are integers, fiat is decimal text ("750.00")."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class Balance(BaseModel):
    currency: str
    deposited: str
    pending_deposits: str
    paid_out: str
    remaining: str
    sats_received: int
    sats_on_the_way: int


class Totals(BaseModel):
    """Sums over a period's entries, tests left out. Fiat is by currency."""

    cash_out_count: int = 0
    cash_out_sats: int = Field(0, description="principal, as dispensed")
    cash_out_fiat: dict[str, str] = {}
    cash_in_count: int = 0
    cash_in_sats: int = 0
    cash_in_fiat: dict[str, str] = {}
    platform_fee_sats: int = 0
    operator_fee_sats: int = 0
    paid_to_lps_sats: int = 0
    owed_to_lps_fiat: dict[str, str] = Field({}, description="now, not of the period")
    cash_in_machines_fiat: dict[str, str] = Field({}, description="now, as recorded")


class Corrections(BaseModel):
    """How much of the totals corrects sales of before the period: without it, they are
    what the list of the period's sales adds up to."""

    cash_out_count: int = 0
    cash_out_sats: int = 0
    cash_out_fiat: dict[str, str] = {}
    cash_in_count: int = 0
    cash_in_sats: int = 0
    cash_in_fiat: dict[str, str] = {}
    platform_fee_sats: int = 0
    operator_fee_sats: int = 0


class DayOfSeries(BaseModel):
    """One UTC day."""

    date: str
    cash_out_count: int = 0
    cash_out_sats: int = 0
    cash_out_fiat: dict[str, str] = {}
    cash_in_count: int = 0
    cash_in_sats: int = 0
    cash_in_fiat: dict[str, str] = {}
    platform_fee_sats: int = 0
    operator_fee_sats: int = 0
    paid_to_lps_sats: int = 0


class LimitToday(BaseModel):
    """An LP's daily limit in a currency: over all machines of it, in the LP's day."""

    limit: str
    used: str
    left: str = Field(..., description="0.00: nothing more is bought before ends_at")
    ends_at: datetime
    time_zone: str


class LpMachineSummary(BaseModel):
    """What one machine did for the caller as an LP."""

    client_id: str
    machine_id: str
    machine: str = Field(..., description="its name, or the beginning of its npub")
    status: str
    currency: str
    remaining: str
    deposited: str
    paid_out: str
    sats_received: int
    sats_on_the_way: int
    average_price: float | None = Field(
        None, description="fiat paid for one bitcoin; null before the first payment"
    )
    price_now: float | None = Field(
        None, description="fiat for one bitcoin, as heard last; null: none is known"
    )
    price_at: datetime | None = Field(None, description="when it was heard")
    price_is_asked: bool = Field(
        False, description="LNbits is being asked: look again in a few seconds"
    )
    limit_today: LimitToday | None = Field(
        None, description="of who buys at most so much a day; null without a limit"
    )
    price_check: bool = Field(
        True, description="whether its sales are compared with the market's price"
    )
    market_factor: str = Field("1.0000", description="of the market's price")
    allow_stamped_invoices: bool = Field(
        False, description="others than the machine may make its invoices"
    )
    shows_coverage: bool = Field(
        False, description="whether the operator shows LPs how much cash there is"
    )
    coverage: str | None = Field(
        None,
        description="the operator's cash to what LPs are owed, a share; null: not "
        "shown, or not counted yet",
    )


class LpHistoryDay(BaseModel):
    """What an LP received on one UTC day in one currency."""

    date: str
    currency: str
    sats: int
    fiat: str
    price: float | None = Field(None, description="fiat for one bitcoin")
    cumulative_sats: int = Field(..., description="since the beginning, all currencies")
