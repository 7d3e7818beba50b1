"""An LP's Insight over HTTP: am I ahead, and how long does my cash last?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from ..base.database import db
from ..base.zones import Zone
from ..books import lp_insight
from ..books.lp_insight import LpInsight, Standing
from ..calculations import cents_text
from .insight import csv_of, share_text
from .lists import CSV_ANSWER
from .lp import InSpan
from .route import Caller, new_router, refusals
from .spreadsheet import InSheet
from .zones import InZone

router = new_router()


class PriceAnswer(BaseModel):
    currency: str
    price: float | None = Field(
        None, description="fiat for one bitcoin; null: no price is known"
    )
    at: datetime | None = Field(None, description="when LNbits said so")
    is_asking: bool = Field(
        ..., description="LNbits is being asked: ask again in some seconds"
    )


class StandingAnswer(BaseModel):
    """What was received, what it cost in cash, and what it is worth now."""

    currency: str
    sats_received: int
    cost: str = Field(..., description="cash that it took")
    average_price: str | None = Field(
        None, description="fiat paid for one bitcoin; null before the first payment"
    )
    value: str | None = Field(None, description="at the price now; null: none is known")
    gain: str | None = Field(None, description="value less cost; negative: a loss")
    gain_share: str | None = Field(None, description="of the cost, four places")
    at_work: str = Field(..., description="cash that is not used yet")
    used_a_day: str | None = Field(
        None, description="of the last 30 days; null: none was used"
    )
    days_left: int | None = Field(
        None, description="at that pace; null: nothing is at work, or none is used"
    )
    used_up_on: date | None = None


class MachineStanding(StandingAnswer):
    client_id: str
    machine_id: str
    machine: str
    status: str


class LimitAnswer(BaseModel):
    """Of the LP's day, which may be another than that of `tz`."""

    currency: str
    limit: str
    used: str
    left: str
    time_zone: str
    ends_at: datetime


class LpDay(BaseModel):
    date: str
    currency: str
    sats: int
    cost: str
    price: str | None = Field(None, description="fiat paid for one bitcoin that day")
    average_price: str | None = Field(
        None, description="of all that was received up to the end of that day"
    )
    cumulative_sats: int
    cumulative_cost: str


class LpInsightAnswer(BaseModel):
    time_zone: str
    prices: list[PriceAnswer]
    totals: list[StandingAnswer] = Field(..., description="one a currency")
    machines: list[MachineStanding]
    limits: list[LimitAnswer] = Field(
        ..., description="what is left of today's limit; empty: there is none"
    )
    days: list[LpDay] = Field(..., description="days on which something was received")


def _standing(one: Standing, price: float | None, zone: Zone) -> dict[str, Any]:
    average = one.average_price_cents
    fields: dict[str, Any] = {
        "sats_received": one.sats,
        "cost": cents_text(one.paid_cents),
        "average_price": None if average is None else cents_text(average),
        "at_work": cents_text(one.at_work_cents),
        "days_left": one.days_left,
    }
    if one.days_left is not None:
        fields["used_up_on"] = zone.today() + timedelta(days=one.days_left)
    if one.pace_cents > 0:
        fields["used_a_day"] = cents_text(one.pace_cents // one.pace_days)
    if price is not None:
        value = one.value_cents(round(price * 100))
        gain = value - one.paid_cents
        fields["value"], fields["gain"] = cents_text(value), cents_text(gain)
        fields["gain_share"] = share_text(gain, one.paid_cents)
    return fields


def _answer(found: LpInsight, zone: Zone) -> LpInsightAnswer:
    heard = {code: one.price if one else None for code, one in found.prices.items()}
    return LpInsightAnswer(
        time_zone=zone.name,
        prices=[
            PriceAnswer(
                currency=code,
                price=one.price if one else None,
                at=one.at if one else None,
                is_asking=code in found.asking,
            )
            for code, one in found.prices.items()
        ],
        totals=[
            StandingAnswer(currency=code, **_standing(one, heard[code], zone))
            for code, one in sorted(found.by_currency.items())
        ],
        machines=[
            MachineStanding(
                client_id=one.client_id,
                machine_id=one.machine_id,
                machine=one.machine,
                status=one.status,
                currency=one.currency,
                **_standing(one, heard[one.currency], zone),
            )
            for one in found.machines
        ],
        limits=_limits(found),
        days=[_day(one) for one in found.days],
    )


def _limits(found: LpInsight) -> list[LimitAnswer]:
    limit = found.limit
    if limit is None:
        return []
    used = {code: limit.used_cents.get(code, 0) for code in sorted(found.by_currency)}
    return [
        LimitAnswer(
            currency=code,
            limit=cents_text(limit.limit_cents),
            used=cents_text(cents),
            left=cents_text(max(0, limit.limit_cents - cents)),
            time_zone=limit.zone.name,
            ends_at=limit.ends_at,
        )
        for code, cents in used.items()
    ]


def _day(one: lp_insight.Day) -> LpDay:
    prices = [
        None if price is None else cents_text(price)
        for price in (
            Standing(one.sats, one.cents).average_price_cents,
            Standing(one.all_sats, one.all_cents).average_price_cents,
        )
    ]
    return LpDay(
        date=one.day.isoformat(),
        currency=one.currency,
        sats=one.sats,
        cost=cents_text(one.cents),
        price=prices[0],
        average_price=prices[1],
        cumulative_sats=one.all_sats,
        cumulative_cost=cents_text(one.all_cents),
    )


async def insight_of_lp(user_id: str, days: int | None, zone: Zone) -> LpInsightAnswer:
    async with db.connect() as conn:
        found = await lp_insight.lp_insight(conn, user_id, days, zone)
    return _answer(found, zone)


@router.get(
    "/lp/insight",
    summary="What the caller received as an LP, what it cost and is worth now",
    description="The price is what LNbits said last; it is asked for in the background "
    "while somebody looks, once a minute, and nobody waits for it. `days` are those of "
    "`range`; all else is of all time.",
    response_model=LpInsightAnswer,
    responses=refusals(400),
)
async def api_lp_insight(
    account: Caller, zone: InZone, days: InSpan
) -> LpInsightAnswer:
    return await insight_of_lp(account.id, days, zone)


Part = Literal["days", "machines", "totals"]
_MODELS: Mapping[Part, type[BaseModel]] = {
    "days": LpDay,
    "machines": MachineStanding,
    "totals": StandingAnswer,
}


@router.get(
    "/lp/insight.csv",
    summary="One part of the same as CSV",
    description="A row for each day on which something was received, each machine, or "
    "each currency.",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
)
async def api_lp_insight_csv(
    account: Caller, zone: InZone, days: InSpan, sheet: InSheet, part: Part = "days"
) -> Any:
    answer = await insight_of_lp(account.id, days, zone)
    rows: Sequence[BaseModel] = getattr(answer, part)
    text = csv_of(list(_MODELS[part].__fields__), [row.dict() for row in rows], sheet)
    return StreamingResponse(
        iter([text]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="my-dca-{part}.csv"'},
    )
