"""Whose wallet or account is gone while sats or fiat are owed: who, and what to do.

LNbits' tables are in another database on SQLite, so that no statement reads both: what
is owed is read here, then LNbits is asked once, for all of them. Nobody's connection is
held meanwhile. Each is one cause with a key of its own, for the overview and for
notices; the super sees those of every operator, and alone those whose operator is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..base.database import db, from_db_time
from ..books.reports import own_machines_sql, whose
from ..calculations import cents_text
from ..host.people import accounts_gone, super_user
from ..host.wallets import WalletFacts, wallet_facts
from . import gone_crud as sql

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Gone:
    """One cause; `tell` are the LNbits users who are told of it."""

    kind: str
    message: str
    action: str
    subject_type: str
    subject_id: str
    machine_id: str | None = None
    settlement_id: str | None = None
    client_id: str | None = None
    since: datetime | None = None
    tell: tuple[str, ...] = ()


async def read_gone(user_id: str, is_all: bool) -> list[Gone]:
    """What of the reader's machines is owed by, or to, somebody who is gone."""
    own = own_machines_sql(is_all)
    async with db.connect() as conn:
        machines = await sql.machines_owing(conn, own, whose(user_id, is_all))
        lps = await sql.lps_owing(conn, own, whose(user_id, is_all))
        splits = await sql.splits_owing(conn, own, whose(user_id, is_all))
        fees = await sql.platform_owed(conn) if is_all else []
    users = {r["operator_user_id"] for r in machines} | {r["user_id"] for r in lps}
    left = await accounts_gone(users)
    wallets = await wallet_facts(
        {
            *(r["wallet_id"] for r in machines),
            *(r["dca_wallet_id"] for r in lps),
            *(r["wallet_id"] for r in splits if r["wallet_id"]),
            *(r["wallet_id"] for r in fees),
        }
    )
    found: list[Gone] = []
    if is_all:
        found += [_operator(r) for r in machines if r["operator_user_id"] in left]
    found += _of_machines(machines, wallets, left)
    found += _of_lps(lps, wallets, left)
    found += [_split(r) for r in splits if _is_gone(wallets.get(r["wallet_id"]))]
    found += [_fee(r) for r in fees if _is_gone(wallets.get(r["wallet_id"]))]
    return found


def _is_gone(wallet: WalletFacts | None, owner: str | None = None) -> bool:
    if wallet is None or not wallet.is_usable:
        return True
    return owner is not None and wallet.user_id != owner


# ----------------------------------------------------------------------- the sentences


def _operator(row: Row) -> Gone:
    return Gone(
        "operator_gone",
        f"{row['machine']}: the LNbits account of its operator was deleted; "
        f"{row['sats']} sat are owed to others from its wallet.",
        "Restore the account and its wallets, or settle with the LPs outside.",
        "machine",
        row["id"],
        machine_id=row["id"],
        since=from_db_time(row["updated_at"]),
        tell=(super_user(),),
    )


def _of_machines(
    machines: Iterable[Row], wallets: Mapping[str, WalletFacts], left: set[str]
) -> list[Gone]:
    """The wallet of a machine; what an operator left behind is one cause already."""
    return [
        Gone(
            "wallet_gone",
            f"{row['machine']}: its wallet was deleted, or is not its operator's any "
            f"more; {row['sats']} sat are owed from it and cannot be paid.",
            "Restore the wallet in LNbits, or choose another one for the machine.",
            "machine",
            row["id"],
            machine_id=row["id"],
            since=from_db_time(row["updated_at"]),
            tell=(row["operator_user_id"], super_user()),
        )
        for row in machines
        if row["operator_user_id"] not in left
        and _is_gone(wallets.get(row["wallet_id"]), row["operator_user_id"])
    ]


def _of_lps(
    lps: Iterable[Row], wallets: Mapping[str, WalletFacts], left: set[str]
) -> list[Gone]:
    found = []
    for row in lps:
        owed = (
            f"{cents_text(max(0, int(row['cents'])))} {row['fiat_code']} of their "
            f"deposits are left, and {row['sats']} sat wait for them."
        )
        facts: dict[str, Any] = {
            "subject_type": "client",
            "subject_id": row["id"],
            "machine_id": row["machine_id"],
            "client_id": row["id"],
            "since": from_db_time(row["updated_at"]),
        }
        if row["user_id"] in left:
            found.append(
                Gone(
                    "lp_gone",
                    f"{row['machine']}: the LNbits account of {row['lp']} was deleted. "
                    f"{owed}",
                    "Settle with them outside; what fails of their payments can be "
                    "voided.",
                    tell=(row["operator_user_id"],),
                    **facts,
                )
            )
        elif row["dca_wallet_id"] and _is_gone(
            wallets.get(row["dca_wallet_id"]), row["user_id"]
        ):
            found.append(
                Gone(
                    "lp_wallet_gone",
                    f"{row['machine']}: the wallet that {row['lp']} receives in was "
                    f"deleted. {owed}",
                    "The LP must choose another wallet; their payments then go on.",
                    tell=(row["operator_user_id"], row["user_id"]),
                    **facts,
                )
            )
    return found


def _split(row: Row) -> Gone:
    return Gone(
        "split_gone",
        f"{row['machine']}: {row['legs']} splits of {row['sats']} sat go to a wallet "
        f"that was deleted ({row['label']}).",
        "Send them elsewhere, and change the splits.",
        "payment",
        row["id"],
        machine_id=row["machine_id"],
        settlement_id=row["settlement_id"],
        since=from_db_time(row["since"]),
        tell=(row["operator_user_id"],),
    )


def _fee(row: Row) -> Gone:
    return Gone(
        "platform_wallet_gone",
        f"The platform's wallet was deleted; fees of {row['sats']} sat wait for it.",
        "Choose another wallet for the platform's fee.",
        "super_config",
        "default",
        since=from_db_time(row["since"]),
        tell=(super_user(),),
    )
