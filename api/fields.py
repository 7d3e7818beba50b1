"""What a single field of a request may hold, and the sentence when it does not.

Every type here refuses what a database would choke on (NUL characters, lone
surrogates, numbers beyond their column), so that bad input is a 400 on SQLite and on
PostgreSQL alike. Numbers may come as JSON numbers or as text, which `base/typed.py`
reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel
from pydantic.datetime_parse import parse_datetime
from pydantic.errors import DictError
from pydantic.fields import ModelField

from ..base.text import checked_text
from ..base.typed import typed_cents, typed_fraction, typed_number, typed_whole
from ..calculations import cents_text, shown
from ..host.rates import is_currency
from ..line.nostr import npub_of
from ..money.targets import normalise_forwarding

Validators = Iterator[Callable[..., Any]]
M = TypeVar("M", bound="Input")

MAX_SATS = 2_100_000_000_000_000


class Input(BaseModel):
    """A JSON object. pydantic alone takes `[["name", "x"]]` for one too."""

    @classmethod
    def validate(cls: type[M], value: Any) -> M:
        if not isinstance(value, Mapping | cls):
            raise DictError()
        return super().validate(value)


class Text(str):
    """Trimmed text of limited length; empty counts as missing unless allowed."""

    max_length: ClassVar[int] = 200
    may_be_empty: ClassVar[bool] = False

    @classmethod
    def __get_validators__(cls) -> Validators:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", maxLength=cls.max_length)

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> str:
        text = checked_text(value, field.name).strip()
        if not text and not cls.may_be_empty:
            raise ValueError(f"{field.name} is empty.")
        if len(text) > cls.max_length:
            raise ValueError(
                f"{field.name} has {len(text)} characters; "
                f"it may have {cls.max_length}."
            )
        return text


class RowId(Text):
    """An id of ours or of LNbits."""

    max_length = 200


class Name(Text):
    max_length = 120
    may_be_empty = True


class Username(Text):
    """What somebody calls themselves in LNbits, as another typed it. Shorter than a
    key pasted by mistake."""

    max_length = 60


class Note(Text):
    max_length = 2000
    may_be_empty = True


class Reason(Text):
    max_length = 500


class Target(Text):
    """A split target: as long as an LNURL may be."""

    max_length = 2000


class Choice(Text):
    """One word out of a few."""

    choices: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", enum=list(cls.choices))

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> str:
        text = checked_text(value, field.name).strip()
        if text not in cls.choices:
            raise ValueError(
                f"{field.name} is {shown(value)}: it must be one of "
                f"{', '.join(cls.choices)}."
            )
        return text


class DcaMode(Choice):
    choices = ("flow", "fixed")


class ClientStatus(Choice):
    """`active` or `paused`; the others only where they are so: what was read can be
    sent back."""

    choices = ("active", "paused", "invited", "left")


class DepositStep(Choice):
    choices = ("confirmed", "cancelled", "reversed")


class Outcome(Choice):
    choices = ("accepted", "declined")


class Direction(Choice):
    choices = ("cash_out", "cash_in")


class FiatCode(Text):
    """A currency LNbits knows, in capitals."""

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", example="GTQ")

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> str:
        code = checked_text(value, field.name).strip().upper()
        if not is_currency(code):
            raise ValueError(
                f"{field.name} is {shown(value)}: it must be a currency code "
                "like GTQ or USD."
            )
        return code


class LightningAddress(Text):
    """A Lightning address, case-folded, or an LNURL."""

    max_length = 2000

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", example="alice@example.com")

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> str:
        try:
            return normalise_forwarding(super().validate(value, field))
        except ValueError as exc:
            raise ValueError(f"{field.name}: {exc}") from exc


# What a registration reads as its key while another holds the one that was typed.
WAITING = "waiting:"


class Npub(Text):
    """A machine's public key, sent as npub or 64 hex digits, kept as npub."""

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", example="npub1...", description="npub or 64 hex")

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> str:
        text = checked_text(value, field.name)
        if text.startswith(WAITING):
            return text  # what was read can be sent back
        try:
            return npub_of(text)
        except ValueError as exc:
            raise ValueError(f"{field.name}: {exc}") from None


class WholeNumber(int):
    """An integer between two bounds; text and numbers without a fraction pass."""

    minimum: ClassVar[int] = 0
    maximum: ClassVar[int] = 2_147_483_647

    @classmethod
    def __get_validators__(cls) -> Validators:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="integer", minimum=cls.minimum, maximum=cls.maximum)

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> int:
        number = typed_whole(value, field.name)
        if number and number.adjusted() > 18:
            raise ValueError(f"{field.name} is too large: at most {cls.maximum}.")
        if number != number.to_integral_value():
            raise ValueError(
                f"{field.name} is {shown(value)}: it must be a whole number."
            )
        if not cls.minimum <= number <= cls.maximum:
            raise ValueError(
                f"{field.name} is {shown(value)}: it must be from {cls.minimum} "
                f"to {cls.maximum}."
            )
        return int(number)


class Sats(WholeNumber):
    maximum = MAX_SATS


class PositiveSats(Sats):
    minimum = 1


class Minutes(WholeNumber):
    """Up to thirty days."""

    maximum = 43_200


class ExpiryMinutes(WholeNumber):
    minimum = 1
    maximum = 1440


class Capacity(WholeNumber):
    """Notes that fit somewhere."""

    minimum = 1
    maximum = 1_000_000


class UnusedMachines(WholeNumber):
    """Machines of one user that have never traded."""

    minimum = 1
    maximum = 1000


class SortOrder(WholeNumber):
    minimum = -1_000_000
    maximum = 1_000_000


class Moment(datetime):
    """A time in UTC, of years that both databases keep; without a zone UTC is meant."""

    @classmethod
    def __get_validators__(cls) -> Validators:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", format="date-time")

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> datetime:
        at = parse_datetime(value)
        at = at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at
        if not 2000 <= at.year <= 2200:
            raise ValueError(f"{field.name} must be between 2000 and 2200.")
        return at.astimezone(timezone.utc)


class Fraction(Decimal):
    """A share of principal, 0 to 1 with four places."""

    @classmethod
    def __get_validators__(cls) -> Validators:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", example="0.0300")

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> Decimal:
        return typed_fraction(value, field.name)


class Factor(Decimal):
    """More than 0 and at most 100, with four places."""

    @classmethod
    def __get_validators__(cls) -> Validators:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", example="1.0000")

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> Decimal:
        number = typed_number(value, field.name, "1.2500")
        if not number.is_finite() or not 0 < number <= 100:
            raise ValueError(
                f"{field.name} is {shown(value)}: it must be more than 0 and at most "
                "100."
            )
        if number != round(number, 4):
            raise ValueError(
                f"{field.name} is {shown(value)}: it may have four decimal places, no "
                "more."
            )
        return round(number, 4)


class FiatFigure(Decimal):
    """Fiat of 0 or more with at most two places."""

    may_be_zero: ClassVar[bool] = True

    @classmethod
    def __get_validators__(cls) -> Validators:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="string", example="750.00")

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> Decimal:
        cents = typed_cents(value, field.name)
        if cents <= 0 and not cls.may_be_zero:
            raise ValueError(f"{field.name} is {shown(value)}: it must be more than 0.")
        if cents < 0:
            raise ValueError(
                f"{field.name} is {shown(value)}: it must not be negative."
            )
        return Decimal(cents_text(cents))


class PositiveFiat(FiatFigure):
    """Fiat above 0 with at most two places."""

    may_be_zero = False


class Rate(Decimal):
    """Sats for one unit of fiat."""

    @classmethod
    def __get_validators__(cls) -> Validators:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(type="number", example=133.3333)

    @classmethod
    def validate(cls, value: Any, field: ModelField) -> Decimal:
        rate = typed_number(value, field.name)
        if rate <= 0 or not -20 <= rate.adjusted() <= 20:
            raise ValueError(
                f"{field.name} is {shown(value)}: it must be sats for one unit of "
                "fiat, like 133.3333."
            )
        return rate
