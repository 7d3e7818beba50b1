"""Rows and inputs of the back office: what is kept, and what may be sent in.

Money: `*_sats` are integers; fiat is `Decimal` with two places at the edge and an
integer of minor units (`*_cents`) where money is decided; fractions are `Decimal`
with four places and always a share of *principal*. Times are UTC-aware.
What the HTTP API answers with is in `api/models.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel, Field

CENT = Decimal("0.01")
FRACTION_STEP = Decimal("0.0001")

CASH_OUT = "cash_out"
CASH_IN = "cash_in"

# Legs that take fiat off an LP's balance, unless their status is one of FREED.
LEGS_THAT_DEBIT = ("dca", "settlement")
FREED_STATUSES = ("voided", "refunded")
FINAL_LEG_STATUSES = ("completed", "voided", "refunded", "skipped")
UNPAID_LEG_STATUSES = ("pending", "failed")


def utc_now() -> datetime:
    """The present time, UTC-aware."""
    return datetime.now(timezone.utc)


def _decimal(value: Any) -> Decimal:
    """A `Decimal` from a database value; a float goes through its shortest text."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is not a number.")
    try:
        number = Decimal(str(value))
    except InvalidOperation as exc:
        raise ValueError(f"{value!r} is not a number.") from exc
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number.")
    return number


class Fiat(Decimal):
    """Fiat with two places, as read from a DECIMAL column of either database."""

    @classmethod
    def __get_validators__(cls) -> Iterator[Callable[[Any], Decimal]]:
        yield lambda value: _decimal(value).quantize(CENT)


class Fraction4(Decimal):
    """A share of principal with four places, as read from a DECIMAL column."""

    @classmethod
    def __get_validators__(cls) -> Iterator[Callable[[Any], Decimal]]:
        yield lambda value: _decimal(value).quantize(FRACTION_STEP)


ZERO_FRACTION = Fraction4("0.0000")


class Mark:
    """What is unusual about a settlement, as a word; nothing of it stops a payment."""

    FEE_OFF = "fee_off"  # charged off the fractions by more than 1 % of principal
    RATE_OFF = "rate_off"  # more than 10 % off the usual rate or the market's
    RATE_NOT_CHECKED = "rate_not_checked"  # neither of the two was known
    OUTSIDE_LIMITS = "outside_limits"  # less or more cash than the machine trades
    MORE_DISPENSED = "more_dispensed"  # more cash left the machine than was sold
    TEST = "test"  # the operator says so


class SuperConfig(BaseModel):
    """The platform's fee fractions (of principal) and the wallet they are paid to."""

    id: str = "default"
    super_cash_in_fee_fraction: Fraction4 = ZERO_FRACTION
    super_cash_out_fee_fraction: Fraction4 = ZERO_FRACTION
    super_fee_wallet_id: str | None = None
    # machines of one user that have never traded
    unused_machines_limit: int = 20
    updated_at: datetime = Field(default_factory=utc_now)


class UpdateSuperConfigData(BaseModel):
    """The fields of a PUT; those that are not named stay as they are."""

    super_cash_in_fee_fraction: Any = None
    super_cash_out_fee_fraction: Any = None
    super_fee_wallet_id: str | None = None
    unused_machines_limit: Any = None


class Preferences(BaseModel):
    """What a user prefers, whatever their role; what they never said is None."""

    time_zone: str | None = None
    number_format: str | None = None
    notify: dict[str, bool] = {}
    staff_refund_limit_sats: int | None = None
    cash_difference_limit: dict[str, str] = {}
    show_coverage_to_lps: bool = False
    # times of their day ("22:00"): told nothing between the first two; summed up then
    quiet_from: str | None = None
    quiet_until: str | None = None
    digest_at: str | None = None


class Machine(BaseModel):
    id: str
    operator_user_id: str
    machine_npub: str
    wallet_id: str
    name: str | None = None
    location: str | None = None
    fiat_code: str = "GTQ"
    is_active: bool = True
    operator_cash_in_fee_fraction: Fraction4 = ZERO_FRACTION
    operator_cash_out_fee_fraction: Fraction4 = ZERO_FRACTION
    payout_interval_minutes: int = 0
    min_payout_sats: int = 0
    max_payout_sats: int = 1_000_000
    max_daily_payout_sats: int = 10_000_000
    is_paired: bool = False
    paired_at: datetime | None = None
    pairing_code: str | None = None
    pairing_expires_at: datetime | None = None
    last_seen_at: datetime | None = None
    payouts_stopped_reason: str | None = None
    claimed_npub: str | None = None  # as typed; the key is theirs who pairs with it
    silent_after_minutes: int = 15
    low_cash_fraction: Fraction4 = Fraction4("0.2000")
    bay_capacities: str | None = None  # JSON: notes by position
    box_capacity: int | None = None  # notes
    invoice_expiry_minutes: int = 10
    allow_stamped_invoices: bool | None = False
    # whether sales are compared with the market's price, and by how much it is theirs
    price_check: bool = True
    market_factor: Fraction4 = Fraction4("1.0000")
    # the operator's part of each trade in fiat, beside the fraction; and how much cash
    # a trade has at least and at most
    operator_cash_in_fixed_fee: Fiat = Fiat("0.00")
    operator_cash_out_fixed_fee: Fiat = Fiat("0.00")
    min_fiat: Fiat | None = None
    max_fiat: Fiat | None = None
    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)


class Client(BaseModel):
    """An LP enrolled at one machine."""

    id: str
    machine_id: str
    user_id: str
    username: str | None = None
    status: str = "active"
    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)


class LpProfile(BaseModel):
    """The LP's own preferences: one row a user, whatever the number of machines."""

    user_id: str
    dca_wallet_id: str
    default_dca_mode: str = "flow"
    fixed_mode_daily_limit: Fiat | None = None
    autoforward_ln_address: str | None = None
    autoforward_enabled: bool = False
    notify_payouts: bool = False
    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)


class Deposit(BaseModel):
    id: str
    client_id: str
    machine_id: str
    creator_user_id: str
    amount: Fiat
    currency: str
    status: str = "pending"
    notes: str | None = None
    reason: str | None = None
    created_at: datetime = Field(default_factory=utc_now)
    confirmed_at: datetime | None = None
    reversed_at: datetime | None = None
    dispute_state: str | None = None
    dispute_by: str | None = None
    dispute_reason: str | None = None
    dispute_opened_at: datetime | None = None
    dispute_closed_at: datetime | None = None
    dispute_outcome: str | None = None
    reversal_state: str | None = None
    reversal_amount: Fiat | None = None
    reversal_reason: str | None = None
    reversal_at: datetime | None = None
    part_of: str | None = None


class CommissionSplit(BaseModel):
    """One share of the operator's fee; a set of them adds up to 1.0000."""

    id: str
    machine_id: str | None = None
    operator_user_id: str
    target: str
    target_kind: str | None = None
    target_wallet_id: str | None = None
    label: str | None = None
    fraction: Fraction4
    sort_order: int = 0
    created_at: datetime = Field(default_factory=utc_now)


class Settlement(BaseModel):
    """One payment of a machine, as it landed, and what became of it."""

    id: str
    machine_id: str
    payment_hash: str
    bitspire_event_id: str | None = None
    bitspire_txid: str | None = None
    wire_sats: int
    fiat_amount: Fiat
    fiat_code: str
    exchange_rate: float
    principal_sats: int
    fee_sats: int
    platform_fee_sats: int
    operator_fee_sats: int
    fee_mismatch_sats: int | None = None
    tx_type: str
    bills_json: str | None = None
    cassettes_json: str | None = None
    status: str = "pending"
    error_message: str | None = None
    processed_at: datetime | None = None
    created_at: datetime = Field(default_factory=utc_now)
    notes: str | None = None
    processing_claim: str | None = None
    wallet_id: str | None = None
    transaction_time: datetime | None = None
    super_cash_in_fee_fraction: Fraction4 | None = None
    super_cash_out_fee_fraction: Fraction4 | None = None
    operator_cash_in_fee_fraction: Fraction4 | None = None
    operator_cash_out_fee_fraction: Fraction4 | None = None
    operator_cash_in_fixed_fee: Fiat | None = None
    operator_cash_out_fixed_fee: Fiat | None = None
    stamp_json: str | None = None
    network_fee_sats: int = 0
    dispense_state: str | None = None
    dispensed_fiat: Fiat | None = None
    dispensed_principal_sats: int | None = None
    dispensed_fee_sats: int | None = None
    dispensed_platform_fee_sats: int | None = None
    dispensed_operator_fee_sats: int | None = None
    refund_sats: int = 0
    retained_sats: int | None = None
    loss_sats: int = 0
    planned_at: datetime | None = None
    is_test: bool = False
    # which way the payment went; None in a row that was quarantined unread long ago
    is_outgoing: bool | None = None
    # why it is held back, as a word; the sentence is `error_message`
    quarantine_code: str | None = None
    # the dispense that was reported while it was held back, and by whom
    reported_fiat: Fiat | None = None
    reported_by: str | None = None
    # words, each with a comma before and behind it
    marks: str = ""
    shortfall_sats: int = 0
    # the discount that the machine's request took (shares of the two gross fees), its
    # code as it is shown, and what was forgiven: the two fee columns are net of it
    discount_id: str | None = None
    discount_code: str | None = None
    operator_discount: Fraction4 | None = None
    platform_discount: Fraction4 | None = None
    operator_discount_sats: int = 0
    platform_discount_sats: int = 0
    seen_at: datetime | None = None
    # whose word the dispensed figures are: MACHINE, or a user's id
    dispensed_by: str | None = None
    # the platform's share by the stamp less that by a person's figures, where the two
    # differ; what the stamp says counts as 0 where it cannot be read
    resolved_sats: int | None = None
    # planned before the platform's share was a fraction of principal whatever the fee
    is_older: bool = False


class WaitCode:
    """Why a pending leg is in no payout: for the code what its sentence is for people.

    The sentence may be said in other words at any time; nothing asks for its text.
    """

    STOPPED = "stopped"  # by the operator, or by a reconciliation
    GATHERING = "gathering"  # below the machine's smallest payout
    BELOW_FEE = "below_fee"  # nothing of it would arrive
    WALLET_SHORT = "wallet_short"  # the paying wallet lacks what it owes
    FREE_BALANCE = "free_balance"  # it lacks only what is owed to nobody
    SHORTFALL = "shortfall"  # the platform is owed what a fee did not cover
    PAYING_WALLET = "paying_wallet"  # gone, shared, or somebody else's
    PLATFORM_WALLET = "platform_wallet"  # not chosen: the leg is not due
    UNCLAIMED = "unclaimed"  # nobody has said where the refund goes: not due
    BACKING_OFF = "backing_off"  # with another leg to the same destination
    LIMIT = "limit"  # of LNbits, for one payment to this destination
    REFUSED = "refused"  # by this server, whatever the destination
    LESS_CASH = "less_cash"  # it waits no more: voided, since less cash came out


class Leg(BaseModel):
    """One amount owed to one party from one settlement: a row of `dca_payments`.

    `amount_sats` is what is owed, `sent_sats` what left for it (less the routing
    reserve of an external payment). `amount_fiat` is what it takes off the LP's
    balance. `source_wallet_id` is written once: the wallet that owes it.
    """

    id: str
    settlement_id: str | None = None
    client_id: str | None = None
    machine_id: str
    operator_user_id: str
    leg_type: str
    destination_wallet_id: str | None = None
    destination_ln_address: str | None = None
    amount_sats: int
    amount_fiat: Fiat | None = None
    exchange_rate: float | None = None
    transaction_time: datetime
    external_payment_hash: str | None = None
    status: str = "pending"
    error_message: str | None = None
    created_at: datetime = Field(default_factory=utc_now)
    source_wallet_id: str | None = None
    leg_key: str | None = None
    split_id: str | None = None
    target: str | None = None
    label: str | None = None
    payout_id: str | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    sent_sats: int | None = None
    from_free_balance: bool = False
    parent_leg_id: str | None = None
    reference: str | None = None
    completed_at: datetime | None = None
    wait_code: str | None = None
    waits_since: datetime | None = None  # when it was first due and could not begin
    retried_at: datetime | None = None
    # not through Lightning: with `reference` to find the payment by
    paid_outside: bool = False
    # the operator's word that an LP was paid outside, until the LP answers
    claim_state: str | None = None
    claim_reference: str | None = None
    claim_at: datetime | None = None
    # of an LP's payment: `rate_off` or `rate_not_checked`
    rate_mark: str | None = None
    # what routing took of its payment, beyond what arrived
    routing_sats: int | None = None


class Payout(BaseModel):
    """One LNbits payment, for one or more legs with one source and one destination."""

    id: str
    source_wallet_id: str
    destination: str
    destination_wallet_id: str | None = None
    is_internal: bool = True
    amount_sats: int
    sent_sats: int | None = None
    network_fee_sats: int | None = None
    status: str = "new"
    payment_hash: str | None = None
    bolt11: str | None = None
    reason: str | None = None
    checks: int = 0
    next_try_at: datetime | None = None
    lease_token: str | None = None
    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)
    paid_at: datetime | None = None
    withdrawn_at: datetime | None = None


class Offer(BaseModel):
    """An operator's offer to pay an LP's balance at a low rate; a leg at the yes."""

    id: str
    client_id: str
    machine_id: str
    operator_user_id: str
    wallet_id: str
    exchange_rate: Decimal
    reason: str | None = None
    state: str = "waiting"
    leg_id: str | None = None
    created_at: datetime = Field(default_factory=utc_now)
    expires_at: datetime
    decided_at: datetime | None = None


class Consent(BaseModel):
    """What an operator asks of those who are owed by a planned sale: that less cash
    came out than was planned (`dispense`), or to give it up (`void`)."""

    id: str
    settlement_id: str
    machine_id: str
    operator_user_id: str
    kind: str
    sold_fiat: Fiat
    dispensed_fiat: Fiat | None = None
    reason: str | None = None
    state: str = "open"
    created_at: datetime = Field(default_factory=utc_now)
    expires_at: datetime
    decided_at: datetime | None = None


class AuditEntry(BaseModel):
    id: str
    created_at: datetime = Field(default_factory=utc_now)
    actor: str
    operator_user_id: str | None = None
    machine_id: str | None = None
    client_user_id: str | None = None
    action: str
    subject_type: str
    subject_id: str
    before_json: str | None = None
    after_json: str | None = None
    reason: str | None = None
