"""Which codes does an owner have, how often were they used, what did they forgive?"""

from __future__ import annotations

from typing import Any

from .lists import Fields, Source

S = "satoshimachine"

DISCOUNT_FIELDS = Fields(
    kinds={
        "id": "text",
        "code": "text",
        "fraction": "fraction",
        "valid_from": "time",
        "valid_until": "time",
        "machine_ids": "text",
        "max_uses": "int",
        "max_uses_a_day": "int",
        "is_active": "bool",
        "uses": "int",
        "forgiven_sats": "int",
        "created_at": "time",
    },
    search=("code", "id"),
)


def discounts_source(owner: str, discount_id: str | None = None) -> Source:
    """The codes of an operator, or of the platform. What was forgiven is that of the
    sales that stand: not of those that are held back or were voided."""
    columns = {name: f"d.{name}" for name in DISCOUNT_FIELDS.kinds}
    columns["machine_ids"] = "d.machines_json"
    columns["forgiven_sats"] = (
        "(SELECT COALESCE(SUM("  # noqa: S608
        "s.operator_discount_sats + s.platform_discount_sats), 0) "
        f"FROM {S}.dca_settlements s WHERE s.discount_id = d.id "
        "AND s.status NOT IN ('quarantined', 'voided'))"
    )
    where, params = ["d.owner = :owner"], dict[str, Any](owner=owner)
    if discount_id is not None:
        where.append("d.id = :discount_id")
        params["discount_id"] = discount_id
    return Source(
        columns=columns,
        tables=f"{S}.dca_discounts d",
        where=where,
        params=params,
        key="d.id",
    )
