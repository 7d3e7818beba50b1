"""What the HTTP API takes and gives.

Inputs: every field is checked by its type in `api_fields.py`; what is not named in a
PUT stays as it is, and what is only read is ignored. Answers: sats are integers, fiat
and fractions are decimal text ("750.00", "0.0300"), rates numbers, times ISO 8601 UTC.
Nobody's LNbits user id is in any of them but the caller's own in `/me`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lnbits.db import Page
from pydantic import BaseModel, Field

from ..models import SuperConfig, UpdateSuperConfigData
from .fields import (
    ClientStatus,
    DcaMode,
    DepositStep,
    Direction,
    FiatCode,
    Fraction,
    Input,
    LightningAddress,
    Minutes,
    Name,
    Note,
    Npub,
    PositiveFiat,
    PositiveSats,
    Reason,
    RowId,
    Sats,
    SortOrder,
    Target,
)

# ---------------------------------------------------------------------------- inputs


class SuperConfigInput(Input, UpdateSuperConfigData):
    """The platform's fees. A wallet of `null` means that no fee is paid out."""

    super_cash_in_fee_fraction: Fraction | None = None
    super_cash_out_fee_fraction: Fraction | None = None
    super_fee_wallet_id: RowId | None = None


class MachineSettings(Input):
    """What an operator may set on a machine; all optional here."""

    name: Name | None = None
    location: Name | None = None
    is_active: bool | None = None
    operator_cash_in_fee_fraction: Fraction | None = None
    operator_cash_out_fee_fraction: Fraction | None = None
    payout_interval_minutes: Minutes | None = Field(
        None, description="0: at once; 60: hourly; 1440: daily"
    )
    min_payout_sats: Sats | None = None
    max_payout_sats: Sats | None = Field(None, description="of one cash-in payout")
    max_daily_payout_sats: Sats | None = Field(
        None, description="of all cash-in payouts of a UTC day"
    )
    silent_after_minutes: Minutes | None = Field(
        None, description="somebody is told when it has been silent so long; 0: never"
    )
    low_cash_fraction: Fraction | None = Field(
        None, description="somebody is told when a bay holds less of what was filled in"
    )


class MachineInput(MachineSettings):
    machine_npub: Npub
    wallet_id: RowId
    fiat_code: FiatCode


class MachineChanges(MachineSettings):
    machine_npub: Npub | None = Field(None, description="a new key pairs again")
    wallet_id: RowId | None = None
    fiat_code: FiatCode | None = None


class SplitInput(Input):
    target: Target = Field(
        ..., description="Lightning address, LNURL, invoice key or wallet id"
    )
    label: Name | None = None
    fraction: Fraction = Field(..., description="of the operator's fee; sum 1.0000")
    sort_order: SortOrder | None = None


class SplitsInput(Input):
    splits: list[SplitInput]


class PreviewSplit(Input):
    target: Target | None = None
    label: Name | None = None
    fraction: Fraction


class PreviewInput(Input):
    machine_id: RowId
    tx_type: Direction
    principal_sats: PositiveSats
    splits: list[PreviewSplit] | None = Field(
        None, description="splits not saved yet; without it the saved ones"
    )


class ClientInput(Input):
    machine_id: RowId
    user_id: RowId | None = None
    username: Name | None = None


class ClientChanges(Input):
    status: ClientStatus | None = None
    username: Name | None = None


class DepositInput(Input):
    client_id: RowId
    amount: PositiveFiat
    notes: Note | None = None


class DepositChanges(Input):
    amount: PositiveFiat | None = None
    notes: Note | None = None


class DepositStatusInput(Input):
    status: DepositStep
    reason: Reason | None = None


class LpInput(Input):
    dca_wallet_id: RowId
    default_dca_mode: DcaMode | None = None
    fixed_mode_daily_limit: PositiveFiat | None = None
    autoforward_ln_address: LightningAddress | None = None
    autoforward_enabled: bool | None = None
    notify_payouts: bool | None = None


class LpChanges(LpInput):
    dca_wallet_id: RowId | None = None  # type: ignore[assignment]


# --------------------------------------------------------------------------- answers


class Me(BaseModel):
    """The caller and their roles, which follow from data."""

    user_id: str
    super: bool
    operator: bool
    lp: bool
    enrolled: bool = Field(..., description="an operator's LP, with a profile or not")
    service_npub: str | None = None
    relays: list[str] = []


class SuperConfigAnswer(BaseModel):
    super_cash_in_fee_fraction: str
    super_cash_out_fee_fraction: str
    super_fee_wallet_id: str | None = None
    updated_at: datetime

    @classmethod
    def of(cls, config: SuperConfig) -> SuperConfigAnswer:
        return cls(
            super_cash_in_fee_fraction=fraction_text(config.super_cash_in_fee_fraction),
            super_cash_out_fee_fraction=fraction_text(
                config.super_cash_out_fee_fraction
            ),
            super_fee_wallet_id=config.super_fee_wallet_id,
            updated_at=config.updated_at,
        )


class PayoutOption(BaseModel):
    interval_minutes: int = Field(..., description="0 is at once")
    payments_per_day: int = Field(
        ..., description="LNbits payments, DCA and fees, rounded up"
    )


class PayoutAdvice(BaseModel):
    """What the machine's past says about its payout interval.

    `options` are in order of `interval_minutes`: 0, 60, 1440 and the machine's own:
    "at once: 2 000 payments a day; hourly: 300". At once is the most it can be:
    settlements of one moment share their payments. `suggested_interval_minutes` is the
    shortest of them with at most 300 payments a day, or else the longest.
    """

    days: int = Field(..., description="of history that was looked at, 1 to 7")
    settlements_per_day: float
    options: list[PayoutOption]
    suggested_interval_minutes: int


class MachineAnswer(BaseModel):
    id: str
    machine_npub: str
    wallet_id: str
    name: str | None = None
    location: str | None = None
    fiat_code: str
    is_active: bool
    operator_cash_in_fee_fraction: str
    operator_cash_out_fee_fraction: str
    payout_interval_minutes: int
    min_payout_sats: int
    max_payout_sats: int
    max_daily_payout_sats: int
    silent_after_minutes: int
    low_cash_fraction: str
    is_paired: bool
    balance_sats: int = Field(..., description="what its LNbits wallet holds")
    free_balance_sats: int = Field(
        ..., description="the balance less what is owed: the operator's to withdraw"
    )
    status: str = Field(
        ..., description="online, quiet or offline: the age of the machine's last word"
    )
    last_seen_at: datetime | None = None
    last_settlement_at: datetime | None = None
    platform_cash_in_fee_fraction: str = Field(..., description="in force now")
    platform_cash_out_fee_fraction: str
    cash_fiat: str | None = Field(
        None, description="what must be in its bays; null if nobody ever said"
    )
    days_until_empty: float | None = Field(
        None, description="at the pace of the last seven days"
    )
    payouts_stopped_reason: str | None = None
    payout_advice: PayoutAdvice | None = Field(
        None,
        description="of one machine, from its last seven days; null in lists, and "
        "before its first payout",
    )
    operator_name: str | None = Field(
        None, description="whose it is; told to the super with scope=all"
    )
    created_at: datetime
    updated_at: datetime


class MachinePage(Page[MachineAnswer]):
    data: list[MachineAnswer]


class SplitAnswer(BaseModel):
    id: str
    target: str
    target_kind: str | None = Field(None, description="wallet, key, address or lnurl")
    label: str | None = None
    fraction: str
    sort_order: int


class SplitsAnswer(BaseModel):
    splits: list[SplitAnswer]


class PreviewLeg(BaseModel):
    leg_type: str
    label: str | None = None
    client_id: str | None = None
    target: str | None = None
    amount_sats: int
    amount_fiat: str | None = None


class PreviewAnswer(BaseModel):
    """What a settlement of this size would lead to, with the balances of now."""

    tx_type: str
    wire_sats: int
    principal_sats: int
    fee_sats: int
    platform_fee_sats: int
    operator_fee_sats: int
    exchange_rate: float | None = Field(
        None, description="of the machine's newest settlement; null if there is none"
    )
    fiat_amount: str | None = None
    fiat_code: str
    legs: list[PreviewLeg]
    retained_sats: int


class ClientAnswer(BaseModel):
    id: str
    machine_id: str
    username: str | None = None
    status: str
    has_profile: bool = Field(
        ..., description="whether the LP has said where their sats go"
    )
    dca_mode: str | None = Field(None, description="the LP's choice: flow or fixed")
    fixed_mode_daily_limit: str | None = None
    remaining: str
    currency: str
    sats_received: int
    sats_on_the_way: int
    created_at: datetime


class ClientPage(Page[ClientAnswer]):
    data: list[ClientAnswer]


class BalanceAnswer(BaseModel):
    currency: str
    deposited: str
    pending_deposits: str
    paid_out: str
    remaining: str
    sats_received: int
    sats_on_the_way: int


class DepositAnswer(BaseModel):
    id: str
    client_id: str
    machine_id: str
    username: str | None = None
    amount: str
    currency: str
    status: str
    notes: str | None = None
    reason: str | None = None
    created_at: datetime
    confirmed_at: datetime | None = None
    reversed_at: datetime | None = None


class DepositPage(Page[DepositAnswer]):
    data: list[DepositAnswer]


class LpAnswer(BaseModel):
    dca_wallet_id: str
    default_dca_mode: str
    fixed_mode_daily_limit: str | None = None
    autoforward_ln_address: str | None = None
    autoforward_enabled: bool
    notify_payouts: bool
    created_at: datetime | None = None
    updated_at: datetime | None = None


def fraction_text(fraction: Any) -> str:
    """A fraction with its four places."""
    return f"{fraction:.4f}"


def fiat_text(amount: Any) -> str:
    """Fiat with its two places."""
    return f"{amount:.2f}"


def pick(row: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The columns of a row that a model has."""
    return {k: v for k, v in row.items() if k in model.__fields__}


class AuditAnswer(BaseModel):
    """One entry of the log. `actor` is the reader's own id, or somebody's role."""

    id: str
    created_at: datetime
    actor: str
    action: str
    subject_type: str
    subject_id: str
    machine_id: str | None = None
    before: Any = Field(None, description="the changed fields as they were")
    after: Any = Field(None, description="the changed fields as they are")
    reason: str | None = None


class AuditPage(Page[AuditAnswer]):
    data: list[AuditAnswer]


# ------------------------------------------------------------- settlements and legs


class SettlementAnswer(BaseModel):
    """One payment of a machine. What did not parse of a quarantined one is null."""

    id: str
    machine_id: str
    payment_hash: str
    tx_type: str | None = Field(None, description="cash_out or cash_in")
    status: str
    wire_sats: int
    principal_sats: int | None = None
    fee_sats: int | None = None
    platform_fee_sats: int | None = None
    operator_fee_sats: int | None = None
    fee_mismatch_sats: int | None = Field(
        None, description="charged less what the fractions give"
    )
    network_fee_sats: int
    fiat_amount: str | None = None
    fiat_code: str | None = None
    exchange_rate: float | None = Field(None, description="sats for one unit of fiat")
    bitspire_txid: str | None = None
    bitspire_event_id: str | None = None
    error_message: str | None = None
    notes: str | None = None
    transaction_time: datetime | None = None
    created_at: datetime
    processed_at: datetime | None = None
    is_test: bool


class SettlementPage(Page[SettlementAnswer]):
    data: list[SettlementAnswer]


class LegAnswer(BaseModel):
    """One amount owed to one party. Wallets and addresses of others are cut short."""

    id: str
    settlement_id: str | None = None
    client_id: str | None = None
    machine_id: str
    machine: str | None = Field(None, description="its name")
    leg_type: str
    destination_wallet_id: str | None = None
    destination_ln_address: str | None = None
    label: str | None = None
    amount_sats: int
    sent_sats: int | None = Field(None, description="less the routing reserve")
    amount_fiat: str | None = Field(None, description="taken off the LP's balance")
    exchange_rate: float | None = None
    status: str
    error_message: str | None = None
    attempts: int
    next_try_at: datetime | None = None
    external_payment_hash: str | None = None
    in_flight: bool = Field(..., description="being paid: nothing can be done to it")
    from_free_balance: bool = Field(
        ..., description="paid from what the wallet owes to nobody"
    )
    has_destination: bool = Field(
        ..., description="false: nobody has said yet where it goes"
    )
    transaction_time: datetime
    created_at: datetime


class LegPage(Page[LegAnswer]):
    data: list[LegAnswer]


class SettlementDetail(SettlementAnswer):
    """One settlement with everything that became of it."""

    legs: list[LegAnswer]
    retained_sats: int | None = Field(None, description="stays in the machine wallet")
    loss_sats: int = Field(
        ..., description="the customer's refund beyond what the settlement still held"
    )
    refundable_sats: int = Field(..., description="still owed to the customer")
    max_refund_sats: int = Field(
        ..., description="of that, what can be sent outside, less the routing reserve"
    )
    refund_sats: int = Field(..., description="owed to the customer in all")
    dispense_state: str | None = Field(None, description="awaiting, confirmed, partial")
    dispensed_fiat: str | None = None
    dispensed_principal_sats: int | None = None
    dispensed_fee_sats: int | None = None
    stamp: Any = Field(None, description="what the machine said, as it said it")
    history: list[AuditAnswer]


# ------------------------------------------------------------------------------ sums


class AttentionItem(BaseModel):
    """Something that waits for a person, in one sentence."""

    kind: str
    message: str
    subject_type: str
    subject_id: str
    machine_id: str | None = None
    settlement_id: str | None = None
    client_id: str | None = None
    since: datetime | None = None
    action: str = Field(..., description="what the person can do about it")


class Totals(BaseModel):
    """Sums over a period, test settlements left out. Fiat is by currency."""

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


class Overview(BaseModel):
    needs_attention: list[AttentionItem]
    totals: Totals
    series: list[DayOfSeries]


class SuperOverview(Overview):
    operators: int
    machines: int
    lps: int


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
        None, description="fiat for one bitcoin, if LNbits has heard a price lately"
    )


class LpHistoryDay(BaseModel):
    """What an LP received on one UTC day in one currency."""

    date: str
    currency: str
    sats: int
    fiat: str
    price: float | None = Field(None, description="fiat for one bitcoin")
    cumulative_sats: int = Field(..., description="since the beginning, all currencies")


class Health(BaseModel):
    listener: Any = None
    sweep: Any = None
    engine: Any = Field(None, description="who holds the lease")
    relays: Any = None
    backlog: Any = None
    oldest_unpaid_leg: datetime | None = None


class Changes(BaseModel):
    version: str = Field(
        ..., description="differs from the last one when the caller's data may have"
    )
