"""Everything of this extension, over HTTP: downloaded, and deleted. Super only."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any

from fastapi import Depends
from fastapi.responses import StreamingResponse
from lnbits.decorators import check_super_user
from pydantic import BaseModel, Field

from .. import tasks
from ..base import tables
from ..base.database import db, from_db_time, transaction
from ..desk import erasing
from ..models import utc_now
from .fields import Input, Reason
from .lists import csv_text
from .route import Super, new_router, refusals
from .spreadsheet import defused

router = new_router()

CHUNK = 64 * 1024
IN_MEMORY = 4 * 1024 * 1024
# What opens something, and is nobody's figure: it stays where it is.
SECRET = frozenset(
    {
        ("dca_nostr_keys", "nsec_encrypted"),
        ("dca_machines", "pairing_code"),
        ("dca_machine_lines", "used_code"),
        ("dca_invitations", "code"),
        ("dca_staff", "code"),
        ("dca_webhooks", "secret"),
        ("dca_webhooks", "previous_secret"),
    }
)


class EraseInput(Input):
    confirmation: str = Field(
        ..., max_length=40, description="`DELETE EVERYTHING`, or `BORRAR TODO`"
    )
    reason: Reason


class EverythingAnswer(BaseModel):
    """Whether everything may be deleted."""

    open: list[str] = Field(..., description="what forbids it, a sentence for each")
    exported_at: datetime | None = Field(
        None, description="when everything was downloaded last"
    )
    is_exported: bool = Field(
        ..., description="and nothing happened since: it may be deleted"
    )

    @classmethod
    def of(cls, found: erasing.Standing) -> EverythingAnswer:
        return cls(**vars(found))


@router.get(
    "/super/everything",
    summary="Whether everything may be deleted now, and what forbids it",
    response_model=EverythingAnswer,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_everything() -> EverythingAnswer:
    return EverythingAnswer.of(await erasing.read_standing())


def _cell(kind: str, value: Any) -> Any:
    if value is None:
        return ""
    if kind.startswith("TIMESTAMP"):
        at = from_db_time(value)
        return at.isoformat() if at else ""
    if kind == "BOOLEAN":
        return "true" if value else "false"
    return defused(value) if isinstance(value, str) else value


async def _write_all(file: IO[bytes]) -> None:
    """A CSV for each table, in a ZIP."""
    async with db.connect() as conn:
        names = await tables.table_names(conn)
        kinds = {name: await tables.columns_of(conn, name) for name in names}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            shown = {c: k for c, k in kinds[name].items() if (name, c) not in SECRET}
            with archive.open(f"{name}.csv", "w") as entry:
                entry.write(csv_text([list(shown)]).encode())
                async for page in tables.rows_of(name, shown):
                    cells = [
                        [_cell(k, row[c]) for c, k in shown.items()] for row in page
                    ]
                    entry.write(csv_text(cells).encode())


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


@router.get(
    "/super/everything.zip",
    summary="Everything of this extension: a CSV for each table, in a ZIP",
    description="Without keys and codes. It is noted, for who deletes it after.",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"application/zip": {"schema": {"type": "string"}}},
            "description": "The file.",
        },
        **refusals(),
    },
)
async def api_everything_zip(account: Super) -> Any:
    # kept in memory while it is small; the other file is gone when it is closed
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)
    began = utc_now()
    await _write_all(file)
    async with transaction() as conn:
        await erasing.note_export(conn, account.id, began)
    file.seek(0)
    name = f"satoshi-machine-{utc_now():%Y-%m-%d-%H%M}.zip"
    return StreamingResponse(
        _chunks(file),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post(
    "/super/everything/delete",
    summary="Delete everything of this extension, for good",
    description="Refused while anybody is owed anything or has a balance, while cash "
    "is in a place, and before everything was downloaded as it is. The change of "
    "LNbits' balances is put back first. Nothing of LNbits' is deleted: wallets and "
    "payments stay.",
    response_model=EverythingAnswer,
    responses=refusals(400, 409),
)
async def api_delete_everything(account: Super, body: EraseInput) -> EverythingAnswer:
    await erasing.erase(account.id, body.confirmation, body.reason)
    tasks.begin_anew()
    return EverythingAnswer.of(await erasing.read_standing())
