"""The change of LNbits' balances, over HTTP. Super only; GET never measures."""

from __future__ import annotations

from fastapi import Depends
from lnbits.decorators import check_super_user
from pydantic import BaseModel, Field

from ..host import balances_view, speed
from .route import Super, new_router, refusals

router = new_router()

# Seen on SQLite: 6 s of standing still and 55 MB for a million payments.
PAYMENTS_A_SECOND = 170_000
BYTES_A_PAYMENT = 55


class BalanceCost(BaseModel):
    """Milliseconds that one balance costs LNbits, the middle of three readings."""

    idle: float = Field(..., description="of the wallet with the fewest payments")
    busiest: float = Field(..., description="of the wallet with the most payments")


class HostAnswer(BaseModel):
    """What the change is, whether it can be made here, and whether it is made."""

    offered: bool = Field(..., description="this LNbits is one that we know")
    applied: bool = Field(..., description="as the database says, not our record")
    reason: str | None = Field(
        None, description="why it is not offered, or what is only half there"
    )
    payments: int = Field(..., description="rows in LNbits' payments")
    balance_ms: BalanceCost | None = Field(
        None, description="as measured last in the present state; null: never"
    )
    changes: list[str] = Field(
        ...,
        description="what is changed, statement by statement, and what it costs; "
        "empty: there is nothing to make or to put back",
    )


def _changes(
    state: speed.HostState, figures: speed.Figures, payments: int
) -> list[str]:
    """Empty where nothing can be changed; the DROP alone where only our index is left
    beside a view that we do not know."""
    if not state.is_offered:
        return [balances_view.DROP_INDEX] if state.index else []
    if not state.is_sqlite:
        told = [
            balances_view.CREATE_INDEX_CONCURRENTLY,
            "VACUUM (ANALYZE) apipayments",
        ]
    else:
        told = [
            balances_view.CREATE_INDEX,
            balances_view.DROP_VIEW,
            balances_view.OUR_VIEW,
        ]
    return told + (
        _since(figures) if state.is_applied else _before(state, figures, payments)
    )


def _since(figures: speed.Figures) -> list[str]:
    if not figures.before:
        return []
    idle, busiest = figures.before["idle"], figures.before["busiest"]
    return [
        f"Before the change a balance cost {idle} ms, the busiest wallet's "
        f"{busiest} ms."
    ]


def _before(state: speed.HostState, figures: speed.Figures, payments: int) -> list[str]:
    """What everybody bears, and gains, if it is made."""
    megabytes = max(1, -(-payments * BYTES_A_PAYMENT // 1_000_000))
    if not state.is_sqlite:
        return [
            "Nobody waits while it is made; the database grows by about "
            f"{megabytes} MB."
        ]
    seconds = max(1, -(-payments // PAYMENTS_A_SECOND))
    told = [
        f"Everybody on LNbits stands still for about {seconds} s; its file grows by "
        f"about {megabytes} MB."
    ]
    if figures.then:
        told.append(
            f"A balance will cost at most {figures.then['idle']} ms, the busiest "
            f"wallet's {figures.then['busiest']} ms: measured without the index."
        )
    return told


async def _answer() -> HostAnswer:
    state = await speed.read_state()
    figures = await speed.figures(state)
    payments = await speed.count_payments()
    return HostAnswer(
        offered=state.is_offered,
        applied=state.is_applied,
        reason=state.reason,
        payments=payments,
        balance_ms=BalanceCost(**figures.now) if figures.now else None,
        changes=_changes(state, figures, payments),
    )


@router.get(
    "/super/host",
    summary="The change that makes LNbits' balances fast: what it is, whether it is on",
    response_model=HostAnswer,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_host() -> HostAnswer:
    return await _answer()


@router.post(
    "/super/host",
    summary="Make the change: an index, and on SQLite the view asked per wallet",
    description="All of it or none; every wallet's balance is compared before it is "
    "kept. Put it back before LNbits is upgraded.",
    response_model=HostAnswer,
    responses=refusals(409),
)
async def api_apply_host(account: Super) -> HostAnswer:
    await speed.apply(account.id)
    return await _answer()


@router.post(
    "/super/host/undo",
    summary="Put LNbits' view back as it was, and drop our index",
    response_model=HostAnswer,
    responses=refusals(409),
)
async def api_undo_host(account: Super) -> HostAnswer:
    await speed.put_back(account.id)
    return await _answer()


@router.post(
    "/super/host/measure",
    summary="Measure what a balance costs now, and would cost",
    response_model=HostAnswer,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_measure_host() -> HostAnswer:
    await speed.measure()
    return await _answer()
