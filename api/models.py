"""What the HTTP API gives.

Sats are integers, fiat and fractions are decimal text ("750.00", "0.0300"), rates
numbers, times ISO 8601 UTC. Nobody's LNbits user id is in any of them but the caller's
own in `/me`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lnbits.db import Page
from pydantic import BaseModel, Field, root_validator, validator

from ..books.figures import Balance, Corrections, DayOfSeries, Totals
from ..desk.attention import AttentionItem
from ..models import SuperConfig


class ActingFor(BaseModel):
    """An operator whom the caller works for; `id` is for `X-Acting-For`."""

    id: str
    name: str | None = None
    role: str
    machines: list[str] | None = Field(
        None, description="ids of those that a collector was named for; null: all"
    )


class Me(BaseModel):
    """The caller and their roles, which follow from data."""

    user_id: str
    super: bool
    operator: bool
    lp: bool
    enrolled: bool = Field(
        ..., description="an operator's LP or invited to be one, with a profile or not"
    )
    invitations: int = Field(0, description="that wait for the caller's yes")
    platform_cash_in_fee_fraction: str = Field(
        "0.0000", description="what a machine's own fees are added to"
    )
    platform_cash_out_fee_fraction: str = "0.0000"
    service_npub: str | None = None
    relays: list[str] = []
    acting_for: list[ActingFor] = []


class SuperConfigAnswer(BaseModel):
    super_cash_in_fee_fraction: str
    super_cash_out_fee_fraction: str
    super_fee_wallet_id: str | None = None
    unused_machines_limit: int = Field(
        20, description="machines of one user that have never traded"
    )
    updated_at: datetime

    @classmethod
    def of(cls, config: SuperConfig) -> SuperConfigAnswer:
        return cls(
            super_cash_in_fee_fraction=fraction_text(config.super_cash_in_fee_fraction),
            super_cash_out_fee_fraction=fraction_text(
                config.super_cash_out_fee_fraction
            ),
            super_fee_wallet_id=config.super_fee_wallet_id,
            unused_machines_limit=config.unused_machines_limit,
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
    machine_npub: str = Field(
        ..., description="its key; waiting:<id> while another registration holds it"
    )
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
        None,
        description="what the cash book says that is in it; null if nobody ever said",
    )
    days_until_empty: float | None = Field(
        None, description="its first bay; from the same weekdays of the last weeks"
    )
    payouts_stopped_reason: str | None = None
    claimed_npub: str | None = Field(None, description="the key that was typed")
    allow_stamped_invoices: bool = Field(
        False, description="others may make its invoices, though it is paired"
    )
    price_check: bool = Field(
        True, description="whether sales are compared with the market's price"
    )
    market_factor: str = Field(
        "1.0000", description="of the market's price of a bitcoin"
    )
    operator_cash_in_fixed_fee: str = Field(
        "0.00", description="of each trade, in the machine's currency"
    )
    operator_cash_out_fixed_fee: str = "0.00"
    min_fiat: str | None = Field(
        None, description="the least cash of a trade; null: no limit"
    )
    max_fiat: str | None = Field(None, description="the most; null: no limit")
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
    bay_capacities: dict[str, int] | None = Field(
        None, description="notes that fit into each bay, by position"
    )
    box_capacity: int | None = None
    invoice_expiry_minutes: int = 10


class MachineForCollector(BaseModel):
    """A machine as who fills it sees it: no sats, no fees, no LPs."""

    id: str
    name: str | None = None
    location: str | None = None
    fiat_code: str
    is_active: bool
    status: str
    last_seen_at: datetime | None = None
    cash_fiat: str | None = None
    days_until_empty: float | None = None
    box_capacity: int | None = None


class MachineForCollectorPage(Page[MachineForCollector]):
    data: list[MachineForCollector]


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
    id: str = Field(..., description="of the invitation, and kept after the yes")
    machine_id: str
    username: str | None = None
    status: str = Field(..., description="invited, active, paused, or left (by the LP)")
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
    person: str = Field(
        ...,
        description="the same of all enrolments of one person at this operator's "
        "machines: the id of the first",
    )
    person_machines: int = Field(
        ..., description="at how many of the operator's machines they are; 0: invited"
    )


class Summed(BaseModel):
    """A page that says, where it was asked, what the whole filtered list adds up to."""

    totals: list[dict[str, Any]] | None = Field(
        None,
        description="with `totals=true`: sums of all rows, by currency, and `rows`",
    )

    def dict(self, **options: Any) -> dict[str, Any]:
        """Without `totals` where nobody asked: a page is `data` and `total`."""
        found = super().dict(**options)
        if found.get("totals") is None:
            found.pop("totals", None)
        return found


class ClientPage(Summed, Page[ClientAnswer]):
    data: list[ClientAnswer]


class InvitationAnswer(BaseModel):
    """A link for one person; whoever opens it may say yes once."""

    id: str
    code: str
    url: str
    expires_at: datetime


class EnrolmentAnswer(BaseModel):
    """A machine that invites the caller, or where they are an LP."""

    id: str
    machine_id: str
    machine: str = Field(..., description="its name, or the beginning of its npub")
    operator_name: str | None = None
    currency: str
    status: str = Field(..., description="invited, active, paused, left or declined")
    created_at: datetime
    expires_at: datetime | None = Field(None, description="of an invitation")
    role: str | None = Field(
        None, description="of an invitation to work for the operator, at no machine"
    )


class EnrolmentPage(Page[EnrolmentAnswer]):
    data: list[EnrolmentAnswer]


class BalanceAnswer(Balance):
    pass


class Dispute(BaseModel):
    """An LP's word that a deposit is wrong. It changes nothing of the money."""

    state: str = Field(..., description="open or closed")
    opened_by: str = Field(..., description="lp")
    reason: str
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: str | None = Field(None, description="withdrawn, upheld or dismissed")


class Reversal(BaseModel):
    """What the operator asks the LP to agree to: that cash was given back."""

    state: str = Field(..., description="requested, accepted or declined")
    amount: str
    reason: str
    requested_at: datetime | None = None


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
    dispute: Dispute | None = None
    reversal: Reversal | None = None
    part_of: str | None = Field(
        None, description="the deposit of which this part was taken back"
    )

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> DepositAnswer:
        """A row of the lists, with what is open about it as objects of their own."""
        dispute = reversal = None
        if row["dispute"]:
            dispute = Dispute(
                state=row["dispute"],
                opened_by=row["dispute_by"],
                reason=row["dispute_reason"],
                opened_at=row["dispute_opened_at"],
                closed_at=row["dispute_closed_at"],
                outcome=row["dispute_outcome"],
            )
        if row["reversal"]:
            reversal = Reversal(
                state=row["reversal"],
                amount=row["reversal_amount"],
                reason=row["reversal_reason"],
                requested_at=row["reversal_at"],
            )
        opened = {"dispute": dispute, "reversal": reversal}
        return cls(**{**pick(row, cls), **opened})


class DepositPage(Summed, Page[DepositAnswer]):
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
    shortfall_sats: int = Field(
        0, description="of the platform's share, what the fee does not cover"
    )
    discount_code: str | None = Field(
        None, description="that the machine's request took"
    )
    operator_discount_sats: int = Field(
        0, description="forgiven by the operator of their fee, which is net of it"
    )
    platform_discount_sats: int = 0
    traded_sats: int | None = Field(
        None, description="principal as dispensed, where that is known"
    )
    traded_fiat: str | None = Field(None, description="cash as dispensed")
    retained_sats: int | None = Field(None, description="stays in the machine wallet")
    loss_sats: int = Field(
        0, description="what was paid beyond what came in: it cost the operator"
    )
    refund_sats: int = Field(0, description="owed or paid back to the customer")
    refundable_sats: int = Field(..., description="still owed to the customer")
    seen_at: datetime | None = Field(
        None, description="when its operator said that they have seen its marks"
    )
    marks: list[str] = Field(
        [],
        description="fee_off: charged off the fractions by more than 1 % of principal; "
        "rate_off: more than 10 % off the usual rate or the market's; "
        "rate_not_checked: neither was known; less_arrived: less than the principal; "
        "more_dispensed: more cash left than was sold; outside_limits: of the machine; "
        "test: the operator says so",
    )

    @validator("marks", pre=True)
    @classmethod
    def _words(cls, value: Any) -> Any:
        """The words of a row's column."""
        if isinstance(value, str):
            return [word for word in value.split(",") if word]
        return value or []


class SettlementPage(Summed, Page[SettlementAnswer]):
    data: list[SettlementAnswer]


class ClaimAnswer(BaseModel):
    """The operator's word that an LP was paid in another way."""

    state: str = Field(
        ..., description="waiting for the LP, accepted, declined, or lapsed"
    )
    reference: str | None = None
    at: datetime | None = None


class LegConsent(BaseModel):
    """What the operator asks of the one who is owed by this leg."""

    state: str = Field(..., description="waiting for their yes, accepted or declined")
    kind: str = Field(
        ..., description="dispense: less cash came out than was planned; void: the sale"
    )
    sold_fiat: str = Field(..., description="the cash of the whole sale")
    dispensed_fiat: str | None = Field(None, description="the cash that came out")
    reason: str | None = None
    asked_at: datetime
    expires_at: datetime


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
    paid_outside: bool = Field(..., description="not through Lightning")
    reference: str | None = Field(None, description="what to find that payment by")
    claim: ClaimAnswer | None = None
    rate_mark: str | None = Field(
        None, description="of an LP's payment: rate_off or rate_not_checked"
    )
    consent: LegConsent | None = Field(
        None, description="while something is asked about its sale and it is unpaid"
    )
    paid_at: datetime | None = Field(None, description="when LNbits booked it")
    arrived_sats: int | None = Field(
        None, description="nothing where it was paid outside"
    )
    routing_sats: int | None = Field(None, description="what routing took of it")
    currency: str | None = None
    is_test: bool = False

    @root_validator(pre=True)
    @classmethod
    def _one_consent(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The question's columns of a row as one object."""
        if not isinstance(values.get("consent"), str):
            return values
        names = (name for name in LegConsent.__fields__ if name != "state")
        asked = {name: values.get(f"consent_{name}") for name in names}
        return {**values, "consent": {"state": values["consent"], **asked}}

    @root_validator(pre=True)
    @classmethod
    def _one_claim(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The claim's columns of a row as one object."""
        state = values.get("claim")
        if not isinstance(state, str):
            return values
        of_claim = {
            "state": state,
            "reference": values.get("claim_reference"),
            "at": values.get("claim_at"),
        }
        return {**values, "claim": of_claim}


class LegPage(Summed, Page[LegAnswer]):
    data: list[LegAnswer]


class ConsentAnswer(BaseModel):
    """What the operator asked last of those who are owed by a settlement, which stays
    as it is until everybody who is owed has said yes or is paid. Of a lower dispense
    the super may decide for all."""

    id: str
    kind: str = Field(
        ..., description="dispense: less cash came out than was planned; void: the sale"
    )
    state: str = Field(
        ...,
        description="open, accepted, declined, lapsed after 14 days, replaced by "
        "another, or overtaken by payments",
    )
    sold_fiat: str
    dispensed_fiat: str | None = Field(None, description="the cash that came out")
    reason: str | None = None
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    waits_for: list[str] = Field(
        ..., description="who has not answered: LPs by name, and 'platform'"
    )
    accepted_by: list[str]
    declined_by: list[str]


class SettlementDetail(SettlementAnswer):
    """One settlement with everything that became of it."""

    legs: list[LegAnswer]
    max_refund_sats: int = Field(
        ..., description="of that, what can be sent outside, less the routing reserve"
    )
    dispense_state: str | None = Field(None, description="awaiting, confirmed, partial")
    dispensed_fiat: str | None = None
    dispensed_by: str | None = Field(
        None, description="whose word that is: machine or person"
    )
    consent: ConsentAnswer | None = Field(
        None, description="what was asked last of those who are owed by it"
    )
    dispensed_principal_sats: int | None = None
    dispensed_fee_sats: int | None = None
    stamp: Any = Field(None, description="what the machine said, as it said it")
    history: list[AuditAnswer]
    operator_name: str | None = Field(None, description="whose it is; for the super")


# ------------------------------------------------------------------------------ sums


class Overview(BaseModel):
    needs_attention: list[AttentionItem]
    totals: Totals
    series: list[DayOfSeries]
    corrections: Corrections
    time_zone: str = Field(..., description="whose days these are")
    since: datetime = Field(..., description="the first moment of the first day")


class SuperOverview(Overview):
    operators: int
    machines: int
    lps: int


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
    now: datetime = Field(..., description="the server's clock, which ages go by")
