"""What earns, where and when: a range beside the one before it; over HTTP, as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from ..base.database import db
from ..base.refusals import BadInputError
from ..base.zones import Zone, day_of_number
from ..books import insight, insight_sums
from ..books.insight import Asked, Place, Sums
from ..books.lists import Kind
from ..calculations import cents_text, round_half_up
from ..models import CASH_OUT, utc_now
from .books import period_between
from .lists import CSV_ANSWER, csv_text
from .route import InScope, new_router, refusals
from .spreadsheet import InSheet, Sheet, defused
from .zones import InZone

router = new_router()
MOST_DAYS = 3_700
USUAL_DAYS = 30


class FiguresAnswer(BaseModel):
    """Of a machine, or of all in one currency. Sats are integers; fiat is what they
    were worth at the rate of each trade."""

    trades: int
    cash_out_count: int
    cash_in_count: int
    days_without_sale: int
    volume_sats: int = Field(..., description="principal of both kinds, as dispensed")
    volume_fiat: str
    cash_out_sats: int
    cash_out_fiat: str
    cash_in_sats: int
    cash_in_fiat: str
    average_sats: int | None = Field(
        None, description="of a trade; null: there is none"
    )
    average_fiat: str | None = None
    fees_charged_sats: int = Field(..., description="what customers paid")
    fees_charged_fiat: str
    platform_share_sats: int = Field(..., description="of these trades, paid or not")
    platform_share_fiat: str
    operator_share_sats: int = Field(..., description="of these trades, paid or not")
    operator_share_fiat: str
    operator_discounts_sats: int = Field(..., description="forgiven by the operator")
    operator_discounts_fiat: str
    platform_discounts_sats: int = Field(..., description="forgiven by the platform")
    platform_discounts_fiat: str
    fees_received_sats: int = Field(
        ..., description="by the operator: what splits received, and what they leave"
    )
    fees_received_fiat: str
    platform_paid_sats: int = Field(..., description="what the platform received")
    platform_paid_fiat: str
    splits_paid_sats: int = Field(..., description="what split targets received")
    splits_paid_fiat: str
    network_fees_sats: int = Field(..., description="all routing, whoever bore it")
    network_fees_fiat: str
    own_network_fees_sats: int = Field(..., description="of that, the operator's part")
    own_network_fees_fiat: str
    refunds_sats: int = Field(..., description="what customers got back")
    refunds_fiat: str
    losses_sats: int
    losses_fiat: str
    other_kept_sats: int = Field(
        ..., description="surplus of fees, reserves of routing, debts that were let go"
    )
    other_kept_fiat: str
    margin_sats: int = Field(
        ...,
        description="fees_received + other_kept - own_network_fees - losses: before "
        "splits, after refunds (what they cost is a loss) and discounts (not charged)",
    )
    margin_fiat: str
    margin_share: str | None = Field(
        None, description="margin of volume, four places; null: no volume"
    )


class MachineInsight(FiguresAnswer):
    machine_id: str
    machine: str = Field(..., description="its name, or the beginning of its npub")
    currency: str
    before: FiguresAnswer


class CurrencyInsight(FiguresAnswer):
    currency: str
    before: FiguresAnswer


class HourInsight(BaseModel):
    """Trades of one hour of the week; hours without any are left out."""

    currency: str
    weekday: int = Field(..., description="Monday is 1, Sunday 7")
    hour: int = Field(..., description="of the zone, 0 to 23")
    trades: int
    volume_sats: int
    volume_fiat: str


class DayInsight(BaseModel):
    date: str
    currency: str
    cash_out_count: int = 0
    cash_out_sats: int = 0
    cash_out_fiat: str = "0.00"
    cash_in_count: int = 0
    cash_in_sats: int = 0
    cash_in_fiat: str = "0.00"


class LpInsight(BaseModel):
    """One person over all machines."""

    username: str | None = None
    client_ids: list[str] = Field(..., description="their enrolments")
    machine_ids: list[str]
    at_work: dict[str, str] = Field(..., description="now, by currency")
    received_sats: int = Field(..., description="through Lightning, in the range")
    received_fiat: dict[str, str] = Field(..., description="what it was worth then")
    paid_outside_sats: int = Field(..., description="in another way, in the range")


class WaitInsight(BaseModel):
    """In whole seconds, by nearest rank; null: nobody waited."""

    who: str = Field(
        ...,
        description="customers (payment until the machine said what came out) or lps "
        "(trade until the sats arrived)",
    )
    count: int
    p50_seconds: int | None = None
    p99_seconds: int | None = None


class LeftOut(BaseModel):
    tests_count: int
    tests_sats: int


class RangeAnswer(BaseModel):
    from_day: date = Field(..., alias="from")
    to_day: date = Field(..., alias="to")

    class Config:
        allow_population_by_field_name = True


class InsightAnswer(RangeAnswer):
    time_zone: str
    before: RangeAnswer = Field(..., description="the days that it is compared with")
    totals: list[CurrencyInsight] = Field(..., description="of all machines asked for")
    machines: list[MachineInsight]
    heat_map: list[HourInsight]
    days: list[DayInsight] = Field(..., description="days with a trade, of the range")
    lps: list[LpInsight]
    waits: list[WaitInsight]
    left_out: LeftOut


@dataclass(frozen=True)
class Days:
    """Days of a zone, both included, and as many right before them."""

    zone: Zone
    first: date
    last: date

    @property
    def count(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> datetime:
        return self.zone.start_of(self.first - timedelta(days=self.count))

    @property
    def since(self) -> datetime:
        return self.zone.start_of(self.first)

    @property
    def until(self) -> datetime:
        return self.zone.start_of(self.last + timedelta(days=1))


async def days_of_request(
    zone: InZone,
    from_day: Annotated[date | None, Query(alias="from")] = None,
    to_day: Annotated[date | None, Query(alias="to")] = None,
) -> Days:
    last = to_day or zone.today()
    period_between(from_day, last, zone)
    first = from_day or last - timedelta(days=USUAL_DAYS - 1)
    days = Days(zone, first, last)
    if days.count > MOST_DAYS:
        raise BadInputError(
            f"From {first} to {last} are more than {MOST_DAYS} days: ask for less."
        )
    return days


InDays = Annotated[Days, Depends(days_of_request)]


@dataclass(frozen=True)
class Range:
    """What is asked, with its days."""

    asked: Asked
    days: Days

    @property
    def before(self) -> RangeAnswer:
        first, count = self.days.first, self.days.count
        return RangeAnswer(
            from_day=first - timedelta(days=count), to_day=first - timedelta(days=1)
        )


async def range_of_request(
    scope: InScope,
    days: InDays,
    machine_id: Annotated[str | None, Query(max_length=200)] = None,
    tests: Annotated[
        bool, Query(description="true: with those marked as tests")
    ] = False,
) -> Range:
    if machine_id and "\x00" in machine_id:
        raise BadInputError("machine_id is no id.")
    asked = Asked(
        *(scope.user_id, scope.is_all, days.before, days.since, days.until, days.zone),
        *(machine_id or None, tests),
    )
    return Range(asked, days)


InRange = Annotated[Range, Depends(range_of_request)]


# ------------------------------------------------------------------------ the answer


def _figures(sums: Sums, days: int) -> dict[str, Any]:
    """The fields of `FiguresAnswer`, of so many days."""
    counts, sats, cents = sums.counts, dict(sums.sats), dict(sums.cents)
    trades = counts["cash_out"] + counts["cash_in"]
    for of in (sats, cents):
        of["volume"] = of["cash_out"] + of["cash_in"]
    sats["margin"], cents["margin"] = sums.margin
    found: dict[str, Any] = {
        "trades": trades,
        "cash_out_count": counts["cash_out"],
        "cash_in_count": counts["cash_in"],
        "days_without_sale": max(0, days - sums.days_with_sale),
        "margin_share": share_text(sats["margin"], sats["volume"]),
    }
    if trades:
        found["average_sats"] = round_half_up(sats["volume"], trades)
        found["average_fiat"] = cents_text(round_half_up(cents["volume"], trades))
    for name, value in sats.items():
        found[f"{name}_sats"] = value
        found[f"{name}_fiat"] = cents_text(cents[name])
    return found


def share_text(part: int, whole: int) -> str | None:
    """Four places, half away from zero, as fractions are."""
    if whole <= 0:
        return None
    tenths = round_half_up(abs(part) * 10_000, whole)
    return (
        f"{'-' if part < 0 and tenths else ''}{tenths // 10_000}.{tenths % 10_000:04}"
    )


async def insight_of(asked_range: Range) -> InsightAnswer:
    until_day = await insight_sums.up_to_date()
    asked, now = replace(asked_range.asked, until_day=until_day), utc_now()
    spans = {True: (asked.since, asked.until), False: (asked.before, asked.since)}
    async with db.connect() as conn:
        machines = await insight.machines(conn, asked)
        found = await insight.sums(conn, asked)
        heat_map = await insight.heat_map(conn, asked)
        days = await insight.days(conn, asked, found)
        people = await insight.persons(conn, asked, found)
        waits = await insight.waits(conn, asked)
    rows = []
    for machine in machines:
        of_ranges = {
            is_range: _figures(
                found.at(Place(machine["id"], machine["currency"], is_range)),
                insight.days_of(asked.zone, *span, now, machine["created_at"]),
            )
            for is_range, span in spans.items()
        }
        rows.append(
            MachineInsight(
                machine_id=machine["id"],
                machine=machine["machine"],
                currency=machine["currency"],
                before=FiguresAnswer(**of_ranges[False]),
                **of_ranges[True],
            )
        )
    return InsightAnswer(
        from_day=asked_range.days.first,
        to_day=asked_range.days.last,
        time_zone=asked.zone.name,
        before=asked_range.before,
        totals=_totals(asked, found, days, machines, spans),
        machines=rows,
        heat_map=[HourInsight(**_with_fiat(x)) for x in heat_map],
        days=_days(days),
        lps=[_person(x) for x in people],
        waits=[
            WaitInsight(who=who, count=n, p50_seconds=p50, p99_seconds=p99)
            for who, (n, p50, p99) in waits.items()
        ],
        left_out=LeftOut(tests_count=found.tests_count, tests_sats=found.tests_sats),
    )


def _totals(
    asked: Asked,
    found: insight.Found,
    days: Sequence[Mapping[str, Any]],
    machines: Sequence[Mapping[str, Any]],
    spans: Mapping[bool, tuple[Any, Any]],
) -> list[CurrencyInsight]:
    total = found.total()
    sold: dict[tuple[str, bool], set[int]] = {}
    for row in days:
        key = row["currency"], bool(row["is_range"])
        sold.setdefault(key, set()).add(int(row["day"]))
    there: dict[str, Any] = {}
    for machine in machines:
        code, at = machine["currency"], machine["created_at"]
        there[code] = min(there.get(code, at), at)
    now, answers = utc_now(), []
    for code in sorted({c for c, _ in total}):
        of_ranges = {}
        for is_range, span in spans.items():
            one = total.get((code, is_range), Sums())
            one.days_with_sale = len(sold.get((code, is_range), ()))
            begun = insight.days_of(asked.zone, *span, now, there.get(code))
            of_ranges[is_range] = _figures(one, begun)
        answers.append(
            CurrencyInsight(
                currency=code,
                before=FiguresAnswer(**of_ranges[False]),
                **of_ranges[True],
            )
        )
    return answers


def _with_fiat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "volume_fiat": cents_text(row["cents"])}


def _days(rows: Iterable[Mapping[str, Any]]) -> list[DayInsight]:
    found: dict[tuple[str, str], DayInsight] = {}
    for row in rows:
        if not row["is_range"]:
            continue
        at = day_of_number(int(row["day"])).isoformat(), row["currency"]
        day = found.setdefault(at, DayInsight(date=at[0], currency=at[1]))
        kind = "cash_out" if row["tx_type"] == CASH_OUT else "cash_in"
        setattr(day, f"{kind}_count", int(row["n"]))
        setattr(day, f"{kind}_sats", int(row["principal_sats"]))
        setattr(day, f"{kind}_fiat", cents_text(int(row["principal_cents"])))
    return list(found.values())


def _person(row: Mapping[str, Any]) -> LpInsight:
    fiat = {
        name: {code: cents_text(cents) for code, cents in sorted(row[name].items())}
        for name in ("at_work", "received_fiat")
    }
    return LpInsight(**{**row, **fiat})


# ----------------------------------------------------------------------------- routes


@router.get(
    "/insight",
    summary="What earned, where and when, against the days before",
    description="Days of the zone, both included; without `from` the 30 days up to "
    "`to`, without `to` until today. `before` is as many days, right before. Trades "
    "count on their transaction time, as dispensed, and are worth their own rate; what "
    "was paid, kept or lost counts on the day on which the journal has it. Tests are "
    "left out unless asked for, and `left_out` says how much they are.",
    response_model=InsightAnswer,
    responses=refusals(400),
)
async def api_insight(asked: InRange) -> InsightAnswer:
    return await insight_of(asked)


Part = Literal["machines", "totals", "heat_map", "days", "lps", "waits"]
_NUMBER_ENDS: tuple[tuple[str, Kind], ...] = (
    ("_fiat", "fiat"),
    ("_share", "fraction"),
    *((x, "fiat") for x in ("at_work", "cost", "price", "value", "gain")),
    ("used_a_day", "fiat"),
)
_TEXTS = (
    *("machine_id", "machine", "client_id", "currency", "username", "who", "status"),
    *("date", "used_up_on", "weekday", "operator_name", "volume"),
    *("oldest_unpaid_at", "oldest_unpaid_settlement_id"),
    *("at", "known_since", "fee", "before", "after"),
)


def _kind(name: str) -> Kind:
    if name in _TEXTS:
        return "text"
    return next((k for end, k in _NUMBER_ENDS if name.endswith(end)), "int")


def _table(part: Part, answer: InsightAnswer) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of one part, as a program reads them."""
    figures = list(FiguresAnswer.__fields__)
    if part in ("machines", "totals"):
        named = ["machine_id", "machine"] if part == "machines" else []
        names = [*named, "currency", *figures, *(f"before_{x}" for x in figures)]
        rows = []
        for one in getattr(answer, part):
            row = one.dict()
            row |= {f"before_{k}": v for k, v in row.pop("before").items()}
            rows.append(row)
        return names, rows
    if part == "lps":
        names = ["username", "currency", "at_work", "received_fiat"]
        names += ["received_sats", "paid_outside_sats"]
        return names, [row for one in answer.lps for row in _person_rows(one)]
    models: dict[str, type[BaseModel]] = {
        "heat_map": HourInsight,
        "days": DayInsight,
        "waits": WaitInsight,
    }
    return list(models[part].__fields__), [x.dict() for x in getattr(answer, part)]


def _person_rows(person: LpInsight) -> Iterable[dict[str, Any]]:
    """A row for each currency; sats, which are of all of them, in the first."""
    for n, (code, at_work) in enumerate(person.at_work.items()):
        yield {
            "username": person.username,
            "currency": code,
            "at_work": at_work,
            "received_fiat": person.received_fiat.get(code, "0.00"),
            "received_sats": 0 if n else person.received_sats,
            "paid_outside_sats": 0 if n else person.paid_outside_sats,
        }


def csv_of(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]], sheet: Sheet | None
) -> str:
    kinds = {name: _kind(name) for name in names}
    if sheet:
        table = ([sheet.cell(n, kinds[n], row[n]) for n in names] for row in rows)
        return sheet.head(names, {}) + sheet.text(table)
    return csv_text([list(names), *([_plain(row[n]) for n in names] for row in rows)])


def _plain(value: Any) -> Any:
    value = value.isoformat() if isinstance(value, date) else value
    return defused(value) if isinstance(value, str) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()


@router.get(
    "/insight.csv",
    summary="One part of the same as CSV",
    description="`part` is the table: a row a machine, a currency, an hour of the "
    "week, a day, an LP (a row for each currency), or who waited.",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
)
async def api_insight_csv(
    asked: InRange, sheet: InSheet, part: Part = "machines"
) -> Any:
    text = csv_of(*_table(part, await insight_of(asked)), sheet)
    return StreamingResponse(
        iter([text]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="insight-{part}.csv"'},
    )
