"""What LNbits' rows say of payments. Amounts are msat, negative what was paid out.

A payment within this instance is two rows of one hash; with a service fee there is a
third, positive and successful from the start, which is nobody's receipt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lnbits.core.crud.payments import get_payment
from lnbits.core.models import Payment
from lnbits.db import dict_to_model

from ..base.database import db_time, fetch_all, from_db_time, in_list, in_lists
from ..models import utc_now
from .database import CoreConn, core_connection, is_sqlite

Row = Mapping[str, Any]
SIDE_COLUMNS = "checking_id, payment_hash, wallet_id, amount, fee, status"
PAGE = 1000


@dataclass(frozen=True)
class LnbitsRow:
    """One row of LNbits' payments, as far as an outcome depends on it."""

    checking_id: str
    wallet_id: str
    amount_msat: int
    fee_msat: int
    status: str
    updated_at: datetime

    @property
    def is_receipt(self) -> bool:
        return self.amount_msat > 0 and not is_service_fee(self.checking_id)


def is_service_fee(checking_id: str) -> bool:
    """Whether it is LNbits' third row, of the same hash."""
    return checking_id.startswith("service_fee_")


# ------------------------------------------------------------------------- by its hash


async def rows_by_hash(
    hashes: Sequence[str], conn: CoreConn | None = None
) -> dict[str, list[LnbitsRow]]:
    """LNbits' rows of payments, all of them: hash -> rows."""
    by_hash: dict[str, list[LnbitsRow]] = {}
    async with core_connection(conn) as core:
        for listed, params in in_lists(hashes):
            for row in await fetch_all(
                core,
                "SELECT checking_id, payment_hash, wallet_id, amount, fee, status, "  # noqa: S608
                f"updated_at FROM apipayments WHERE payment_hash IN {listed}",
                params,
            ):
                by_hash.setdefault(row["payment_hash"], []).append(_lnbits_row(row))
    return by_hash


def _lnbits_row(row: Row) -> LnbitsRow:
    return LnbitsRow(
        checking_id=row["checking_id"],
        wallet_id=row["wallet_id"],
        amount_msat=int(row["amount"]),
        fee_msat=int(row["fee"] or 0),
        status=str(row["status"]),
        updated_at=from_db_time(row["updated_at"]) or utc_now(),
    )


async def sides_of(payment_hash: str) -> list[Row]:
    """LNbits' rows of a payment without its service fee: checking_id, wallet_id,
    amount (msat, signed), status."""
    async with core_connection() as conn:
        found = await fetch_all(
            conn,
            "SELECT checking_id, wallet_id, amount, status FROM apipayments "
            "WHERE payment_hash = :hash",
            {"hash": payment_hash},
        )
    return [r for r in found if not is_service_fee(r["checking_id"])]


async def sides_by_hash(hashes: Iterable[str]) -> dict[str, list[Row]]:
    """The rows of many payments, by hash, without service fees. Others have their turn
    on LNbits' database in between."""
    wanted = sorted(set(hashes))
    found: dict[str, list[Row]] = {}
    for listed, params in in_lists(wanted):
        async with core_connection() as conn:
            page = await fetch_all(
                conn,
                f"SELECT {SIDE_COLUMNS} FROM apipayments "  # noqa: S608
                f"WHERE payment_hash IN {listed}",
                params,
            )
        for row in page:
            if not is_service_fee(row["checking_id"]):
                found.setdefault(row["payment_hash"], []).append(row)
        await asyncio.sleep(0)
    return found


async def receipts_of(payment_hash: str) -> list[Row]:
    """The wallets of this instance that a payment goes to, its service fee's last:
    checking_id, wallet_id, extra."""
    async with core_connection() as conn:
        found = await fetch_all(
            conn,
            "SELECT checking_id, wallet_id, extra FROM apipayments "
            "WHERE payment_hash = :hash AND amount > 0",
            {"hash": payment_hash},
        )
    return sorted(found, key=lambda row: is_service_fee(row["checking_id"]))


@dataclass(frozen=True)
class InvoiceState:
    """What LNbits' row of an invoice says."""

    is_paid: bool
    is_open: bool


async def invoice_states(hashes: Sequence[str]) -> dict[str, InvoiceState]:
    """Of invoices of this instance, by hash: paid, or may still be paid."""
    found: dict[str, InvoiceState] = {}
    now = utc_now()
    async with core_connection() as conn:
        for listed, params in in_lists(hashes):
            for row in await fetch_all(
                conn,
                "SELECT payment_hash, status, expiry FROM apipayments "  # noqa: S608
                f"WHERE amount > 0 AND payment_hash IN {listed} "
                "AND checking_id NOT LIKE 'service_fee_%'",
                params,
            ):
                expiry = from_db_time(row["expiry"])
                is_over = expiry is not None and expiry < now
                found[row["payment_hash"]] = InvoiceState(
                    is_paid=row["status"] == "success",
                    is_open=row["status"] == "pending" and not is_over,
                )
    return found


async def issuer_of(payment_hash: str) -> str | None:
    """The wallet of this instance whose invoice has this hash."""
    found = await receipts_of(payment_hash)
    own = [r["wallet_id"] for r in found if not is_service_fee(r["checking_id"])]
    return own[0] if own else None


async def payment_of(
    wallet_ids: list[str], payment_hash: str, *, is_incoming: bool
) -> Payment | None:
    """LNbits' row of a payment in one of these wallets, in one direction."""
    params: dict[str, Any] = {"hash": payment_hash}
    listed = in_list("w", wallet_ids, params)
    sign = ">" if is_incoming else "<"
    async with core_connection() as conn:
        found = await fetch_all(
            conn,
            "SELECT * FROM apipayments WHERE payment_hash = :hash "  # noqa: S608
            f"AND amount {sign} 0 AND wallet_id IN {listed}",
            params,
        )
    own = [r for r in found if not is_service_fee(r["checking_id"])]
    return as_payment(own[0]) if own else None


def as_payment(row: Row) -> Payment:
    """LNbits' own model of a whole row. What is raised depends on what is in it."""
    return dict_to_model(dict(row), Payment)


async def payment_by_checking_id(checking_id: str) -> Payment:
    return await get_payment(checking_id)


async def invoice_by_external_id(
    wallet_id: str, external_id: str
) -> tuple[str, str] | None:
    """(payment hash, bolt11) of the wallet's first invoice that we gave this name."""
    async with core_connection() as conn:
        found = await fetch_all(
            conn,
            "SELECT payment_hash, bolt11 FROM apipayments "
            "WHERE wallet_id = :wallet AND external_id = :id AND amount > 0 "
            "ORDER BY created_at LIMIT 1",
            {"wallet": wallet_id, "id": external_id},
        )
    return (found[0]["payment_hash"], found[0]["bolt11"]) if found else None


# -------------------------------------------------------------------------- by wallet


async def debited_hashes(
    wallet_id: str, payment_hashes: Iterable[str | None]
) -> set[str]:
    """Those of a wallet's payments that LNbits has taken off its balance."""
    hashes = sorted({h for h in payment_hashes if h})
    found: set[str] = set()
    async with core_connection() as conn:
        for listed, params in in_lists(hashes, {"wallet": wallet_id}):
            found.update(
                row["payment_hash"]
                for row in await fetch_all(
                    conn,
                    "SELECT payment_hash FROM apipayments "  # noqa: S608
                    f"WHERE wallet_id = :wallet AND payment_hash IN {listed} "
                    "AND amount < 0 AND status IN ('success', 'pending')",
                    params,
                )
            )
    return found


async def receipts_since(wallet_ids: Sequence[str], since: datetime) -> list[Row]:
    """What wallets received: payment_hash, wallet_id, amount (msat), extra."""
    found: list[Row] = []
    async with core_connection() as conn:
        for listed, params in in_lists(wallet_ids, {"since": db_time(since)}):
            found += await fetch_all(
                conn,
                "SELECT payment_hash, wallet_id, amount, extra "  # noqa: S608
                f"FROM apipayments WHERE wallet_id IN {listed} AND amount > 0 "
                "AND status = 'success' AND updated_at >= :since",
                params,
            )
    return found


def page_sql(listed: str) -> str:
    """A page behind (`:after`, `:last`), of the wallets listed, read by the index of
    `updated_at` alone: by another one each page reads and sorts the whole history.

    SQLite would take those of status or wallet, and is kept from it by an expression.
    PostgreSQL chooses by how many rows it expects, and an expression would hide that.
    """
    hide = " || ''" if is_sqlite() else ""
    return (
        "SELECT * FROM apipayments WHERE updated_at >= :after "  # noqa: S608
        "AND (updated_at > :after OR checking_id > :last) "
        f"AND (wallet_id{hide}) IN {listed} AND (status{hide}) = 'success' "
        "ORDER BY updated_at, checking_id LIMIT :limit"
    )


async def successful_page(
    wallet_ids: Sequence[str], after: tuple[Any, str], limit: int
) -> list[Row]:
    """Whole rows of successful payments behind (updated_at, checking_id), in their
    order: `created_at` is when an invoice was *made*."""
    params: dict[str, Any] = {"limit": limit, "after": after[0], "last": after[1]}
    listed = in_list("w", wallet_ids, params)
    async with core_connection() as conn:
        return await fetch_all(conn, page_sql(listed), params)


async def tagged_payments(
    wallet_ids: Sequence[str], since: datetime, until: datetime
) -> AsyncIterator[list[Row]]:
    """Payments of these wallets in a period that carry a machine's stamp or our mark,
    and were not refused, page by page."""
    last: str | None = ""
    while last is not None:
        params: dict[str, Any] = {"last": last, "limit": PAGE}
        params |= {"since": db_time(since), "until": db_time(until)}
        listed = in_list("w", wallet_ids, params)
        async with core_connection() as conn:
            page = await fetch_all(
                conn,
                f"""
                SELECT {SIDE_COLUMNS}, external_id, extra FROM apipayments
                WHERE wallet_id IN {listed} AND checking_id > :last
                  AND updated_at >= :since AND updated_at < :until
                  AND status IN ('success', 'pending')
                  AND (extra LIKE '%bitspire%' OR extra LIKE '%satmachineadmin%')
                ORDER BY checking_id LIMIT :limit
                """,  # noqa: S608
                params,
            )
        yield page
        last = page[-1]["checking_id"] if len(page) == PAGE else None
        await asyncio.sleep(0)


def extra_of(row: Row) -> Mapping[str, Any]:
    """LNbits' `extra` of a row, whatever form it came in."""
    extra = row["extra"]
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError:
            return {}
    return extra if isinstance(extra, Mapping) else {}
