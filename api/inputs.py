"""What the HTTP API takes.

Every field is checked by its type in `fields.py`; what is not named in a PUT stays as
it is, and what is only read is ignored.
"""

from __future__ import annotations

from pydantic import Field

from ..models import UpdateSuperConfigData
from .fields import (
    Capacity,
    ClientStatus,
    DcaMode,
    DepositStep,
    Direction,
    ExpiryMinutes,
    Factor,
    FiatCode,
    FiatFigure,
    Fraction,
    Input,
    LightningAddress,
    Minutes,
    Name,
    Note,
    Npub,
    Outcome,
    PositiveFiat,
    PositiveSats,
    Reason,
    RowId,
    Sats,
    SortOrder,
    Target,
    UnusedMachines,
    Username,
)


class SuperConfigInput(Input, UpdateSuperConfigData):
    """The platform's fees. A wallet of `null` means that no fee is paid out."""

    super_cash_in_fee_fraction: Fraction | None = None
    super_cash_out_fee_fraction: Fraction | None = None
    super_fee_wallet_id: RowId | None = None
    unused_machines_limit: UnusedMachines | None = None


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
    bay_capacities: dict[str, Capacity] | None = Field(
        None, description="notes that fit into a bay, by position", example={"1": 2000}
    )
    box_capacity: Capacity | None = Field(
        None, description="notes that fit into the cash box"
    )
    invoice_expiry_minutes: ExpiryMinutes | None = Field(
        None, description="how long an unpaid invoice of the line sets notes aside"
    )
    allow_stamped_invoices: bool | None = Field(
        None, description="of a paired machine: others may make its invoices"
    )
    price_check: bool | None = Field(
        None, description="whether sales are compared with the market's price"
    )
    market_factor: Factor | None = Field(
        None, description="of the market's price of a bitcoin; for two rates"
    )
    operator_cash_in_fixed_fee: FiatFigure | None = Field(
        None, description="of each trade, in the machine's currency"
    )
    operator_cash_out_fixed_fee: FiatFigure | None = None
    min_fiat: PositiveFiat | None = Field(
        None, description="the least cash of a trade; null: no limit"
    )
    max_fiat: PositiveFiat | None = Field(None, description="the most; null: no limit")


class MachineInput(MachineSettings):
    machine_npub: Npub
    wallet_id: RowId
    fiat_code: FiatCode


class MachineChanges(MachineSettings):
    machine_npub: Npub | None = Field(None, description="a new key pairs again")
    wallet_id: RowId | None = None
    fiat_code: FiatCode | None = None


class ToOutside(Input):
    """Names where sats go, perhaps to a server that is not this one."""

    must_answer: bool = Field(
        False,
        description="refuse an address whose server says nothing now (409); without "
        "it only one that is known to take no payments (400)",
    )


class SplitInput(Input):
    target: Target = Field(
        ..., description="Lightning address, LNURL, invoice key or wallet id"
    )
    label: Name | None = None
    fraction: Fraction = Field(..., description="of the operator's fee; sum 1.0000")
    sort_order: SortOrder | None = None


class SplitsInput(ToOutside):
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
    username: Username


class LinkInput(Input):
    username: Name | None = Field(
        None, description="what you call who it is for, until they say yes"
    )


class AnswerInput(Input):
    """What may be said with a yes or a no."""

    reason: Reason | None = None


class CodeInput(Input):
    code: RowId = Field(..., description="of a link that invites")


class ClientChanges(Input):
    status: ClientStatus | None = None
    username: Name | None = None


class DepositInput(Input):
    client_id: RowId
    amount: PositiveFiat
    notes: Note | None = None
    idempotency_key: RowId | None = Field(
        None, description="the same key and body again answers the first deposit"
    )


class DepositClaim(Input):
    """Cash that the LP handed over and nobody recorded."""

    client_id: RowId | None = Field(None, description="the enrolment; or machine_id")
    machine_id: RowId | None = None
    amount: PositiveFiat
    notes: Note | None = None
    idempotency_key: RowId | None = None


class ReasonInput(Input):
    reason: Reason


class DecisionInput(Input):
    outcome: Outcome = Field(
        ...,
        description="accepted: the reversal is made, the dispute upheld; declined: "
        "neither",
    )
    reason: Reason


class DepositChanges(Input):
    amount: PositiveFiat | None = None
    notes: Note | None = None


class DepositStatusInput(Input):
    status: DepositStep
    amount: PositiveFiat | None = Field(
        None, description="of a reversal: a part of the deposit"
    )
    reason: Reason | None = None


class LpInput(ToOutside):
    dca_wallet_id: RowId
    default_dca_mode: DcaMode | None = None
    fixed_mode_daily_limit: PositiveFiat | None = None
    autoforward_ln_address: LightningAddress | None = None
    autoforward_enabled: bool | None = None
    notify_payouts: bool | None = None


class LpChanges(LpInput):
    dca_wallet_id: RowId | None = None  # type: ignore[assignment]
