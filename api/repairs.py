"""Repairs, over HTTP: what an operator, or an LP, does when something went wrong.

Every route names its owner in the SQL beneath it (`repairs_crud.py`), says why not in
one sentence, and answers with the object as it then stands.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from lnbits.db import Operator
from pydantic import BaseModel, Field

from ..books.lists import Condition, Source, fetch_row
from ..books.payments import LEG_FIELDS, legs_source, lp_legs_source
from ..calculations import fiat_cents
from ..desk import (
    balances,
    consents,
    dispense,
    legs,
    quarantine,
    refund,
    restored,
    settlements,
    stops,
)
from ..host.wallets import wallets_of
from ..money.targets import check_own_wallet
from .fields import (
    Direction,
    FiatCode,
    FiatFigure,
    Input,
    Note,
    PositiveFiat,
    PositiveSats,
    Rate,
    Reason,
    RowId,
    Sats,
    Target,
    Text,
)
from .inputs import ToOutside
from .machines import machine_answer
from .models import LegAnswer, MachineAnswer, SettlementDetail
from .offers import OfferWaiting
from .route import (
    Caller,
    ClientId,
    MachineId,
    SettlementId,
    Super,
    new_router,
    refusals,
)
from .settlements import settlement_detail

router = new_router()
LegId = Annotated[str, Path(description="a leg of a settlement of yours")]
FeeId = Annotated[str, Path(description="a leg of type `super_fee`")]
OwnLegId = Annotated[str, Path(description="a forwarding of yours")]


# ---------------------------------------------------------------------------- inputs


class IdempotencyKey(Text):
    """Any text of the caller's; the same one again changes nothing."""


class Destination(Text):
    """A bolt11 invoice or a Lightning address."""

    max_length = 4000


class NoteText(Note):
    may_be_empty = False


class WhyInput(Input):
    reason: Reason = Field(..., description="kept in the log, with your name")


class MaybeWhyInput(Input):
    reason: Reason | None = None


class ResolveInput(WhyInput):
    tx_type: Direction
    principal_sats: PositiveSats
    fee_sats: Sats
    fiat_amount: PositiveFiat
    fiat_code: FiatCode


class DispenseInput(WhyInput):
    dispensed_fiat: FiatFigure


class RefundInput(WhyInput, ToOutside):
    destination: Destination
    idempotency_key: IdempotencyKey


class NoteInput(Input):
    note: NoteText


class TestInput(WhyInput):
    is_test: bool


class MarkPaidInput(WhyInput):
    reference: Text = Field(..., description="what to find the payment by")


class RedirectInput(WhyInput, ToOutside):
    target: Target


class CloseBalanceInput(WhyInput):
    wallet_id: RowId = Field(..., description="a wallet of yours, which pays")
    exchange_rate: Rate = Field(..., description="sats for one unit of fiat")
    idempotency_key: IdempotencyKey
    confirm_rate: bool = Field(
        False, description="a rate of more than three times the known one is meant"
    )


# ----------------------------------------------------------------------- settlements


@router.post(
    "/settlements/{settlement_id}/resolve",
    summary="Give a quarantined settlement the right figures",
    description="They go through the same checks as a machine's, and the fee is split "
    "by the fractions that were in force when the payment landed.",
    response_model=SettlementDetail,
    responses=refusals(400, 404, 409),
)
async def api_resolve(
    account: Caller, settlement_id: SettlementId, body: ResolveInput
) -> SettlementDetail:
    fields = body.dict(exclude={"reason"})
    await quarantine.resolve(account.id, settlement_id, fields, body.reason)
    return await settlement_detail(account.id, settlement_id)


@router.post(
    "/settlements/{settlement_id}/dispense",
    summary="Say how much cash the machine really paid out",
    description="Less than was ordered: the fees shrink in proportion and the rest is "
    "owed to the customer. After the payments were planned it can only become less. "
    "Less than the machine's own figure, or after the payments were planned, it is a "
    "question to those who are owed (`consent`): nothing changes until they agree or "
    "the super decides.",
    response_model=SettlementDetail,
    responses=refusals(400, 404, 409),
)
async def api_dispense(
    account: Caller, settlement_id: SettlementId, body: DispenseInput
) -> SettlementDetail:
    cents = fiat_cents(body.dispensed_fiat)
    await dispense.report_dispense(account.id, settlement_id, cents, body.reason)
    return await settlement_detail(account.id, settlement_id)


class DispensePreviewInput(Input):
    dispensed_fiat: FiatFigure


class DispensePreview(BaseModel):
    """Who gets what of the sale after such a report; nothing is done."""

    asks: bool = Field(
        ..., description="those who are owed are asked first: this is so if they agree"
    )
    changes: bool = Field(..., description="false: that is what is counted already")
    lps_sats: int = Field(..., description="the LPs' part, or what is shared out")
    platform_sats: int
    operator_sats: int = Field(
        ..., description="the operator's: for split targets, or kept"
    )
    refund_sats: int = Field(..., description="owed to the customer in all")
    paid_sats: int = Field(..., description="of the three parts, paid already")
    loss_sats: int = Field(..., description="paid beyond what came in")


@router.post(
    "/settlements/{settlement_id}/dispense/preview",
    summary="What saying so much cash came out would lead to; nothing is done",
    description="Computed by the report itself, from the payments as they are, and "
    "taken back. Refused with the report's own sentences.",
    response_model=DispensePreview,
    status_code=200,
    responses=refusals(400, 404, 409),
)
async def api_preview_dispense(
    account: Caller, settlement_id: SettlementId, body: DispensePreviewInput
) -> DispensePreview:
    cents = fiat_cents(body.dispensed_fiat)
    outcome = await dispense.preview_dispense(account.id, settlement_id, cents)
    return DispensePreview(**vars(outcome))


@router.post(
    "/settlements/{settlement_id}/refund",
    summary="Say where the customer's refund goes",
    description="A bolt11 invoice or a Lightning address; at most `max_refund_sats`. "
    "One destination at a time; repeated with the same key, nothing happens again.",
    response_model=SettlementDetail,
    responses=refusals(400, 404, 409),
)
async def api_refund(
    account: Caller, settlement_id: SettlementId, body: RefundInput
) -> SettlementDetail:
    await refund.refund(
        account.id,
        settlement_id,
        body.destination,
        body.reason,
        body.idempotency_key,
        body.must_answer,
    )
    return await settlement_detail(account.id, settlement_id)


@router.post(
    "/settlements/{settlement_id}/retry",
    summary="Try all open payments of a settlement again now",
    response_model=SettlementDetail,
    responses=refusals(400, 404, 409),
)
async def api_retry_settlement(
    account: Caller, settlement_id: SettlementId, body: WhyInput
) -> SettlementDetail:
    await settlements.retry_settlement(account.id, settlement_id, body.reason)
    return await settlement_detail(account.id, settlement_id)


@router.post(
    "/settlements/{settlement_id}/void",
    summary="Give up a settlement that has paid nothing",
    description="Its sats stay in the machine wallet; LPs get their fiat back. Once "
    "planned it is a question to those who are owed (`consent`): nothing changes until "
    "every one of them agrees.",
    response_model=SettlementDetail,
    responses=refusals(400, 404, 409),
)
async def api_void_settlement(
    account: Caller, settlement_id: SettlementId, body: WhyInput
) -> SettlementDetail:
    await settlements.void_settlement(account.id, settlement_id, body.reason)
    return await settlement_detail(account.id, settlement_id)


@router.post(
    "/settlements/{settlement_id}/notes",
    summary="Add a line to the settlement's memo",
    response_model=SettlementDetail,
    status_code=200,
    responses=refusals(400, 404),
)
async def api_note(
    account: Caller, settlement_id: SettlementId, body: NoteInput
) -> SettlementDetail:
    await settlements.add_note(account.id, settlement_id, body.note)
    return await settlement_detail(account.id, settlement_id)


@router.post(
    "/settlements/{settlement_id}/test",
    summary="Mark a settlement as a test, which leaves the totals, or not",
    response_model=SettlementDetail,
    responses=refusals(400, 404),
)
async def api_test(
    account: Caller, settlement_id: SettlementId, body: TestInput
) -> SettlementDetail:
    await settlements.mark_test(account.id, settlement_id, body.is_test, body.reason)
    return await settlement_detail(account.id, settlement_id)


@router.post(
    "/settlements/{settlement_id}/seen",
    summary="Say that a mark on a settlement was seen; attention then leaves it out",
    response_model=SettlementDetail,
    responses=refusals(400, 404, 409),
)
async def api_seen(
    account: Caller, settlement_id: SettlementId, body: MaybeWhyInput | None = None
) -> SettlementDetail:
    reason = body.reason if body else None
    await settlements.mark_seen(account.id, settlement_id, reason)
    return await settlement_detail(account.id, settlement_id)


# ------------------------------------------------------------------------------ legs


async def _one_leg(source: Source, leg_id: str) -> LegAnswer:
    is_it = Condition("id", Operator.EQ, [leg_id])
    missing = "There is no such payment of yours."
    return LegAnswer(**await fetch_row(source, LEG_FIELDS, missing, is_it))


async def _own_leg(user_id: str, leg_id: str) -> LegAnswer:
    wallets = await wallets_of(user_id)
    return await _one_leg(legs_source(user_id, False, wallets), leg_id)


async def _lp_leg(user_id: str, leg_id: str) -> LegAnswer:
    wallets = await wallets_of(user_id)
    return await _one_leg(lp_legs_source(user_id, wallets), leg_id)


@router.post(
    "/payments/{leg_id}/retry",
    summary="Try an unpaid leg again now",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_retry_leg(account: Caller, leg_id: LegId, body: WhyInput) -> LegAnswer:
    await legs.retry_leg(account.id, leg_id, body.reason)
    return await _own_leg(account.id, leg_id)


@router.post(
    "/payments/{leg_id}/void",
    summary="Give an unpaid leg up; an LP's fiat returns to their balance",
    description="A split or a refund; an LP's once it has failed. The platform's fee "
    "is the super's alone (403).",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_void_leg(account: Caller, leg_id: LegId, body: WhyInput) -> LegAnswer:
    await legs.void_leg(account.id, leg_id, body.reason)
    return await _own_leg(account.id, leg_id)


@router.post(
    "/payments/{leg_id}/mark-paid",
    summary="Say that an unpaid leg was paid outside, with a reference",
    description="Of an LP's leg it is a claim, and the leg stays as it is until the LP "
    "accepts (`claim`). The platform's fee is the super's alone (403).",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_mark_paid(
    account: Caller, leg_id: LegId, body: MarkPaidInput
) -> LegAnswer:
    await legs.mark_leg_paid(account.id, leg_id, body.reference, body.reason)
    return await _own_leg(account.id, leg_id)


@router.post(
    "/payments/{leg_id}/redirect",
    summary="Send an unpaid split to another target",
    description="For a split whose target is gone; what others are owed goes where "
    "they say (409).",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_redirect(
    account: Caller, leg_id: LegId, body: RedirectInput
) -> LegAnswer:
    await legs.redirect_leg(
        account.id, leg_id, body.target, body.reason, body.must_answer
    )
    return await _own_leg(account.id, leg_id)


async def _fee(user_id: str, leg_id: str) -> LegAnswer:
    wallets = await wallets_of(user_id)
    return await _one_leg(legs_source(user_id, True, wallets), leg_id)


@router.post(
    "/super/payments/{leg_id}/retry",
    summary="Try a fee of the platform again now",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_retry_fee(account: Super, leg_id: FeeId, body: WhyInput) -> LegAnswer:
    await legs.retry_fee(account.id, leg_id, body.reason)
    return await _fee(account.id, leg_id)


@router.post(
    "/super/payments/{leg_id}/void",
    summary="Let a fee of the platform go: its sats stay the operator's",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_void_fee(account: Super, leg_id: FeeId, body: WhyInput) -> LegAnswer:
    await legs.void_fee(account.id, leg_id, body.reason)
    return await _fee(account.id, leg_id)


@router.post(
    "/super/payments/{leg_id}/mark-paid",
    summary="Say that a fee of the platform was paid outside, with a reference",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_mark_fee_paid(
    account: Super, leg_id: FeeId, body: MarkPaidInput
) -> LegAnswer:
    await legs.mark_fee_paid(account.id, leg_id, body.reference, body.reason)
    return await _fee(account.id, leg_id)


@router.post(
    "/lp/payments/{leg_id}/retry",
    summary="Try a forwarding of one's own again now",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_retry_autoforward(
    account: Caller, leg_id: OwnLegId, body: MaybeWhyInput | None = None
) -> LegAnswer:
    reason = body.reason if body else None
    await legs.retry_autoforward(account.id, leg_id, reason)
    return await _lp_leg(account.id, leg_id)


@router.post(
    "/lp/payments/{leg_id}/void",
    summary="Keep the sats instead of forwarding them",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_void_autoforward(
    account: Caller, leg_id: OwnLegId, body: MaybeWhyInput | None = None
) -> LegAnswer:
    reason = body.reason if body else None
    await legs.void_autoforward(account.id, leg_id, reason)
    return await _lp_leg(account.id, leg_id)


@router.post(
    "/lp/payments/{leg_id}/accept",
    summary="Say yes to what the operator asks about a payment of one's own",
    description="That it was paid outside (`claim`): it is completed, never counted "
    "as received through Lightning. Or that less cash came out, or that the sale is "
    "given up (`consent`): done once everybody who is owed agrees.",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_accept_claim(
    account: Caller, leg_id: OwnLegId, body: MaybeWhyInput | None = None
) -> LegAnswer:
    reason = body.reason if body else None
    await consents.answer_leg(account.id, leg_id, True, reason)
    return await _lp_leg(account.id, leg_id)


@router.post(
    "/lp/payments/{leg_id}/decline",
    summary="Say no to what the operator asks about a payment: it stays owed",
    response_model=LegAnswer,
    responses=refusals(400, 404, 409),
)
async def api_decline_claim(
    account: Caller, leg_id: OwnLegId, body: MaybeWhyInput | None = None
) -> LegAnswer:
    reason = body.reason if body else None
    await consents.answer_leg(account.id, leg_id, False, reason)
    return await _lp_leg(account.id, leg_id)


# -------------------------------------------------------------------- LPs, machines


@router.post(
    "/clients/{client_id}/close-balance",
    status_code=200,
    summary="Pay an LP's whole remaining balance in sats",
    description="At a stated rate, from a wallet of the operator's that holds it. "
    "More than 10 % below the machine's usual rate or the market's it is an offer, "
    "which the LP accepts or declines, and nothing is debited before. More than three "
    "times above them it needs `confirm_rate`. Repeated with the same key, it answers "
    "the same and pays nothing more.",
    response_model=LegAnswer | OfferWaiting,
    responses=refusals(400, 404, 409),
)
async def api_close_balance(
    account: Caller, client_id: ClientId, body: CloseBalanceInput
) -> LegAnswer | OfferWaiting:
    wallet_id = await check_own_wallet(body.wallet_id, account.id, "wallet_id")
    closed = await balances.close_balance(
        account.id,
        client_id,
        wallet_id,
        body.exchange_rate,
        body.reason,
        body.idempotency_key,
        confirm_rate=body.confirm_rate,
    )
    if closed.offer:
        return OfferWaiting(
            offer_id=closed.offer.id, expires_at=closed.offer.expires_at
        )
    return await _own_leg(account.id, closed.leg_id or "")


@router.post(
    "/machines/{machine_id}/resume-payouts",
    summary="Let a machine pay again after a reconciliation stopped it",
    response_model=MachineAnswer,
    responses=refusals(400, 404, 409),
)
async def api_resume_payouts(
    account: Caller, machine_id: MachineId, body: WhyInput
) -> MachineAnswer:
    await stops.resume_payouts(account.id, machine_id, body.reason)
    return await machine_answer(account.id, machine_id)


class RestoredAnswer(BaseModel):
    """What was dealt with after a database had been restored."""

    payments: int = Field(..., description="payments that were dealt with")
    amount_sats: int = Field(..., description="their sum")
    left: int = Field(..., description="payments of this machine that still wait")


@router.post(
    "/machines/{machine_id}/take-over",
    summary="After a restored backup: write down what LNbits paid since",
    description="Payments of this extension that LNbits made and that are not known "
    "here become completed legs, by what the payments themselves say, and are not paid "
    "again. When nothing is left to look at, the machine's payouts go on.",
    response_model=RestoredAnswer,
    responses=refusals(400, 404, 409),
)
async def api_take_over(
    account: Caller, machine_id: MachineId, body: WhyInput
) -> RestoredAnswer:
    done = await restored.take_over(account.id, machine_id, body.reason)
    return RestoredAnswer(**vars(done))


@router.post(
    "/machines/{machine_id}/undo",
    summary="After a restored LNbits: void what LNbits does not know any more",
    description="Settlements whose payment LNbits does not know are voided with their "
    "legs, whatever their state, and LPs get their fiat back; legs that were held for "
    "paid by payments that LNbits does not know are owed again.",
    response_model=RestoredAnswer,
    responses=refusals(400, 404, 409),
)
async def api_undo(
    account: Caller, machine_id: MachineId, body: WhyInput
) -> RestoredAnswer:
    done = await restored.undo(account.id, machine_id, body.reason)
    return RestoredAnswer(**vars(done))


@router.post(
    "/machines/{machine_id}/void-past",
    summary="Give up all that a wallet received before it was a machine's",
    response_model=MachineAnswer,
    responses=refusals(400, 404, 409),
)
async def api_void_past(
    account: Caller, machine_id: MachineId, body: WhyInput
) -> MachineAnswer:
    await quarantine.void_past(account.id, machine_id, body.reason)
    return await machine_answer(account.id, machine_id)
