"""SQL of the machines' line: keys, relays, pairing, and what machines report.

Guaranteed here: one service key is in use, however many processes make one at once; a
pairing code works once, for the key it was made for; an older event never replaces a
newer one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lnbits.db import Connection
from pydantic import BaseModel

from ..base import lease
from ..base.audit import MACHINE, write_audit
from ..base.database import (
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_models,
    fetch_one,
    in_list,
    insert_sql,
    reuse,
    transaction,
)
from ..models import Machine, utc_now

S = "satoshimachine"

# A beacon or a request only says "alive": written at most this often for a machine.
LAST_SEEN_SECONDS = 10
MAX_WRONG_CODES = 20


class MachineLine(BaseModel):
    """What is kept of one machine's line: the service key it last wrote to, the code
    it paired with, and how often a wrong one came since the last new one."""

    machine_id: str
    service_pubkey: str | None = None
    used_code: str | None = None
    wrong_codes: int = 0


# ------------------------------------------------------------------ the service key


async def key_rows(retired_after: datetime) -> list[Mapping[str, Any]]:
    """The key in use (first, if there is one) and those retired since then."""
    async with db.connect() as conn:
        return await fetch_all(
            conn,
            f"""
            SELECT id, pubkey, nsec_encrypted FROM {S}.dca_nostr_keys
            WHERE id = 'current' OR retired_at > :since
            ORDER BY CASE WHEN id = 'current' THEN 0 ELSE 1 END, retired_at DESC
            """,  # noqa: S608
            {"since": db_time(retired_after)},
        )


async def insert_key_unless_there(pubkey: str, nsec_encrypted: str) -> None:
    """Of several processes that start at once, the first one's key stays."""
    async with transaction() as conn:
        await _insert_key(conn, pubkey, nsec_encrypted)


async def _insert_key(conn: Connection, pubkey: str, nsec_encrypted: str) -> int:
    params = {
        "id": "current",
        "pubkey": pubkey,
        "nsec_encrypted": nsec_encrypted,
        "created_at": db_time(utc_now()),
    }
    sql = insert_sql("dca_nostr_keys", params, "ON CONFLICT DO NOTHING")
    return await execute(conn, sql, params)


async def replace_key(
    conn: Connection, old_pubkey: str, pubkey: str, nsec_encrypted: str
) -> bool:
    """Retire the key in use; False if it was `old_pubkey` no more."""
    retired = await execute(
        conn,
        f"UPDATE {S}.dca_nostr_keys SET id = pubkey, retired_at = :now "  # noqa: S608
        "WHERE id = 'current' AND pubkey = :old",
        {"now": db_time(utc_now()), "old": old_pubkey},
    )
    return retired == 1 and await _insert_key(conn, pubkey, nsec_encrypted) == 1


async def revoke_retired(conn: Connection, pubkey: str | None) -> list[str]:
    """Forget keys that were retired, one or all: nothing written to them can be read
    any more. The public keys that there were."""
    params = {} if pubkey is None else {"pubkey": pubkey}
    which = "" if pubkey is None else "AND pubkey = :pubkey"
    found = await fetch_all(
        conn,
        f"SELECT pubkey FROM {S}.dca_nostr_keys "  # noqa: S608
        f"WHERE id <> 'current' {which}",
        params,
    )
    await execute(
        conn,
        f"DELETE FROM {S}.dca_nostr_keys WHERE id <> 'current' {which}",  # noqa: S608
        params,
    )
    return [row["pubkey"] for row in found]


# ------------------------------------------------------------------------ settings


async def get_relays() -> list[str]:
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"SELECT relays_json FROM {S}.dca_nostr WHERE id = 'default'",  # noqa: S608
        )
    return list(json.loads(row["relays_json"])) if row else []


async def set_relays(conn: Connection, urls: Sequence[str]) -> None:
    params = {"id": "default", "relays_json": json.dumps(list(urls))}
    await execute(
        conn,
        insert_sql(
            "dca_nostr",
            params,
            "ON CONFLICT (id) DO UPDATE SET relays_json = excluded.relays_json",
        ),
        params,
    )


async def write_status(status: Mapping[str, Any]) -> None:
    """The engine's view of its relays, so that every process can show it."""
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.dca_nostr SET status_json = :status, status_at = :now "  # noqa: S608
            "WHERE id = 'default'",
            {"status": json.dumps(status), "now": db_time(utc_now())},
        )


async def read_status() -> tuple[dict[str, Any], bool]:
    """The last status written, and whether some process is the engine now.

    It is written when it changes: how old it is says nothing.
    """
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"SELECT status_json, {lease.engine_lives_sql()} AS lives "  # noqa: S608
            f"FROM {S}.dca_nostr WHERE id = 'default'",
        )
    if not row or not row["status_json"]:
        return {}, False
    return json.loads(row["status_json"]), bool(row["lives"])


# ------------------------------------------------------------------------ machines


async def machine_keys() -> tuple[list[str], list[str]]:
    """The npubs of all machines, and of those that are paired."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT machine_npub, is_paired FROM {S}.dca_machines "  # noqa: S608
            "WHERE machine_npub NOT LIKE 'waiting:%'",
        )
    return (
        [row["machine_npub"] for row in found],
        [row["machine_npub"] for row in found if row["is_paired"]],
    )


async def machine_by_npub(npub: str) -> Machine | None:
    """The machine with this key: a line's message is the machine's own, so nobody
    else's rows can be reached from here."""
    async with db.connect() as conn:
        found = await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_machines WHERE machine_npub = :npub",  # noqa: S608
            Machine,
            {"npub": npub},
        )
    return found[0] if found else None


async def machine_of_operator(machine_id: str, operator_user_id: str) -> Machine | None:
    async with db.connect() as conn:
        found = await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_machines "  # noqa: S608
            "WHERE id = :id AND operator_user_id = :operator",
            Machine,
            {"id": machine_id, "operator": operator_user_id},
        )
    return found[0] if found else None


async def wallets_of_machine(machine_id: str) -> list[str]:
    """Every wallet that is or ever was this machine's."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT wallet_id FROM {S}.dca_machine_wallets "  # noqa: S608
            "WHERE machine_id = :machine",
            {"machine": machine_id},
        )
    return [row["wallet_id"] for row in found]


async def machine_was_heard(machine: Machine, at: datetime) -> None:
    """Move `last_seen_at` forward, but not for every word."""
    seen = machine.last_seen_at
    if seen and (at - seen).total_seconds() < LAST_SEEN_SECONDS:
        return
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.dca_machines SET last_seen_at = :at WHERE id = :id "  # noqa: S608
            "AND (last_seen_at IS NULL OR last_seen_at < :at)",
            {"id": machine.id, "at": db_time(at)},
        )


# ------------------------------------------------------------------------- pairing


async def set_pairing_code(
    conn: Connection, machine_id: str, operator_user_id: str, code: str, until: datetime
) -> bool:
    """A new code takes the place of the old one; False if it is not their machine."""
    set_codes = await execute(
        conn,
        f"UPDATE {S}.dca_machines SET pairing_code = :code, "  # noqa: S608
        "pairing_expires_at = :until WHERE id = :id AND operator_user_id = :operator",
        {
            "code": code,
            "until": db_time(until),
            "id": machine_id,
            "operator": operator_user_id,
        },
    )
    if set_codes != 1:
        return False
    await execute(
        conn,
        f"UPDATE {S}.dca_machine_lines SET wrong_codes = 0 "  # noqa: S608
        "WHERE machine_id = :id",
        {"id": machine_id},
    )
    return True


async def pair_machine(machine: Machine, code: str, service_pubkey: str) -> bool:
    """Use up the code: compare-and-set on machine, key, code and time."""
    now = db_time(utc_now())
    async with transaction() as conn:
        paired = await execute(
            conn,
            f"""
            UPDATE {S}.dca_machines SET is_paired = :yes, paired_at = :now,
                pairing_code = NULL, pairing_expires_at = NULL
            WHERE id = :id AND machine_npub = :npub AND pairing_code = :code
              AND pairing_expires_at > :now
            """,  # noqa: S608
            {
                "yes": True,
                "now": now,
                "id": machine.id,
                "npub": machine.machine_npub,
                "code": code,
            },
        )
        machine_id = machine.id
        if paired != 1:
            claimant = await _pair_claimant(conn, machine, code)
            if claimant is None:
                return False
            machine_id = claimant
        await _write_line(
            conn, machine_id, service_pubkey=service_pubkey, used_code=code
        )
        # a new board has seen nothing of what was published to the old one
        await execute(
            conn,
            f"UPDATE {S}.dca_cassette_events SET event_json = NULL, "  # noqa: S608
            "offered_at = NULL, published_at = NULL, confirmed_at = NULL "
            "WHERE machine_id = :id",
            {"id": machine_id},
        )
    return True


async def _pair_claimant(conn: Connection, holder: Machine, code: str) -> str | None:
    """Give the key to another registration that claims it, whose code the machine
    sent; its id. The key signed the message, so it is the machine's own word."""
    now = db_time(utc_now())
    found = await fetch_models(
        conn,
        f"""
        SELECT * FROM {S}.dca_machines WHERE claimed_npub = :npub AND id <> :holder
          AND pairing_code = :code AND pairing_expires_at > :now
        """,  # noqa: S608
        Machine,
        {
            "npub": holder.machine_npub,
            "holder": holder.id,
            "code": code,
            "now": now,
        },
    )
    if not found:
        return None
    claimant = found[0]
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_machines SET machine_npub = 'waiting:' || id, is_paired = :no,
            paired_at = NULL, pairing_code = NULL, pairing_expires_at = NULL
        WHERE id = :id
        """,  # noqa: S608
        {"id": holder.id, "no": False},
    )
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_machines SET machine_npub = :npub, is_paired = :yes,
            paired_at = :now, pairing_code = NULL, pairing_expires_at = NULL
        WHERE id = :id
        """,  # noqa: S608
        {"id": claimant.id, "npub": holder.machine_npub, "yes": True, "now": now},
    )
    for machine, action in (
        (holder, "machine.key_lost"),
        (claimant, "machine.key_won"),
    ):
        await write_audit(
            conn,
            MACHINE,
            action,
            "machine",
            machine.id,
            operator_user_id=machine.operator_user_id,
            machine_id=machine.id,
        )
    return claimant.id


async def count_wrong_code(machine_id: str) -> None:
    """After too many wrong codes the right one is gone: the operator makes another."""
    async with transaction() as conn:
        await execute(
            conn,
            f"""
            INSERT INTO {S}.dca_machine_lines (machine_id, wrong_codes)
            VALUES (:id, 1) ON CONFLICT (machine_id) DO UPDATE
            SET wrong_codes = dca_machine_lines.wrong_codes + 1
            """,  # noqa: S608
            {"id": machine_id},
        )
        await execute(
            conn,
            f"""
            UPDATE {S}.dca_machines SET pairing_code = NULL, pairing_expires_at = NULL
            WHERE id = :id AND (SELECT wrong_codes FROM {S}.dca_machine_lines
                WHERE machine_id = :id) >= :most
            """,  # noqa: S608
            {"id": machine_id, "most": MAX_WRONG_CODES},
        )


async def get_line(machine_id: str, conn: Connection | None = None) -> MachineLine:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            f"SELECT * FROM {S}.dca_machine_lines "  # noqa: S608
            "WHERE machine_id = :id",
            MachineLine,
            {"id": machine_id},
        )
    return found[0] if found else MachineLine(machine_id=machine_id)


async def note_service_key(machine_id: str, service_pubkey: str) -> None:
    """Remember which of our keys the machine knows: it reads what that one signed."""
    async with transaction() as conn:
        line = await get_line(machine_id, conn)
        if line.service_pubkey == service_pubkey:
            return
        await _write_line(conn, machine_id, service_pubkey=service_pubkey)
        await execute(
            conn,
            f"UPDATE {S}.dca_cassette_events SET event_json = NULL, "  # noqa: S608
            "event_id = NULL, offered_at = NULL, published_at = NULL "
            "WHERE machine_id = :id AND confirmed_at IS NULL",
            {"id": machine_id},
        )


async def _write_line(conn: Connection, machine_id: str, **facts: Any) -> None:
    params = {"machine_id": machine_id, **facts}
    changes = ", ".join(f"{name} = excluded.{name}" for name in facts)
    await execute(
        conn,
        insert_sql(
            "dca_machine_lines",
            params,
            f"ON CONFLICT (machine_id) DO UPDATE SET {changes}",
        ),
        params,
    )


# ------------------------------------------------------------- replaceable events


async def advance_clock(
    conn: Connection, machine_id: str, name: str, epoch: int, event_id: str
) -> bool:
    """Newest `created_at` wins, the lower event id on a tie; False if it is older."""
    return (
        await execute(
            conn,
            f"""
            INSERT INTO {S}.dca_nostr_clocks (machine_id, name, event_epoch, event_id)
            VALUES (:machine, :name, :epoch, :event)
            ON CONFLICT (machine_id, name) DO UPDATE
            SET event_epoch = excluded.event_epoch, event_id = excluded.event_id
            WHERE excluded.event_epoch > dca_nostr_clocks.event_epoch
               OR (excluded.event_epoch = dca_nostr_clocks.event_epoch
                   AND excluded.event_id < dca_nostr_clocks.event_id)
            """,  # noqa: S608
            {"machine": machine_id, "name": name, "epoch": epoch, "event": event_id},
        )
        == 1
    )


async def upsert_telemetry(
    conn: Connection, machine_id: str, columns: Mapping[str, Any]
) -> None:
    """Write these columns of the machine's newest snapshot."""
    params = {"machine_id": machine_id, **columns}
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
    await execute(
        conn,
        insert_sql(
            "dca_telemetry", params, f"ON CONFLICT (machine_id) DO UPDATE SET {changes}"
        ),
        params,
    )


async def get_telemetry(machine_id: str) -> Mapping[str, Any] | None:
    async with db.connect() as conn:
        return await fetch_one(
            conn,
            f"SELECT * FROM {S}.dca_telemetry WHERE machine_id = :id",  # noqa: S608
            {"id": machine_id},
        )


async def delete_positions(
    conn: Connection, machine_id: str, keep: Sequence[int]
) -> None:
    params: dict[str, Any] = {"machine": machine_id}
    listed = in_list("p", list(keep) or [-1], params)
    await execute(
        conn,
        f"DELETE FROM {S}.cassette_configs WHERE machine_id = :machine "  # noqa: S608
        f"AND position NOT IN {listed}",
        params,
    )


async def upsert_positions(
    conn: Connection, params: Sequence[Mapping[str, Any]], changed: Sequence[str]
) -> None:
    """Insert positions; of those that are there change only the columns named."""
    if params:
        changes = ", ".join(f"{name} = excluded.{name}" for name in changed)
        await execute_many(
            conn,
            insert_sql(
                "cassette_configs",
                params[0],
                f"ON CONFLICT (machine_id, position) DO UPDATE SET {changes}",
            ),
            params,
        )
