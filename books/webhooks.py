"""What was an operator's server told, and what did it answer?"""

from __future__ import annotations

from .lists import Fields, Source

S = "satoshimachine"

WEBHOOK_FIELDS = Fields(
    kinds={
        "id": "text",
        "type": "text",
        "status": "text",
        "attempts": "int",
        "created_at": "time",
        "last_try_at": "time",
        "next_try_at": "time",
        "give_up_at": "time",
        "delivered_at": "time",
        "answer_status": "int",
        "answer": "text",
    },
    search=("id", "type", "answer"),
)


def webhook_source(operator: str) -> Source:
    """The events of an operator's webhook; a try is next only for one that waits."""
    columns = {name: f"e.{name}" for name in WEBHOOK_FIELDS.kinds}
    columns["type"] = "e.kind"
    for name in ("next_try_at", "give_up_at"):
        columns[name] = f"CASE WHEN e.status = 'waiting' THEN e.{name} END"
    return Source(
        columns=columns,
        tables=f"{S}.dca_webhook_events e",
        where=["e.operator_user_id = :operator"],
        params={"operator": operator},
        key="e.id",
    )
