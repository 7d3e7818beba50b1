"""
What the database looks like, and how every older one becomes that.

LNbits runs the `mNNN_` functions below in definition order and stores the number
of the last one that finished. Each statement is committed on its own, so:

* a migration that was killed half-way starts again from its first line: every step
  first asks the catalogue what is there, and does nothing if it is done;
* data is copied before what it came from is dropped, by one statement each;
* uninstalling forgets the number and keeps the tables, so m001 and all that follow
  meet a current database again, and must change nothing in it.

No step deletes a row. What cannot be converted is set aside as `v1_<table>`.

Guaranteed on SQLite (3.35 or newer, for DROP COLUMN) and PostgreSQL. Not guaranteed:
two LNbits processes that migrate one database at the same moment; LNbits itself does
not allow for that.

A landed migration is never edited. A new one goes below the last, and adds with
`_create_table`, `_create_index` and `_add_column` (or `_add_columns`).
"""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from lnbits.db import SQLITE, Connection
from loguru import logger
from sqlalchemy.sql import text

from .ledger.before_crud import write_before

SCHEMA = "satoshimachine"


async def m001_initial(db: Connection) -> None:
    """Sets the Lamassu tables of version 1 aside and creates those of version 2."""
    await _set_lamassu_tables_aside(db)
    now = _utc_now(db)

    await _create_table(
        db,
        "super_config",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        super_fee_fraction DECIMAL(10,4) NOT NULL DEFAULT 0,
        super_fee_wallet_id TEXT,
        updated_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    # WHERE, and not ON CONFLICT alone: an older super_config may demand a column
    # that is not named here, and is asked for it before the conflict is seen.
    await db.execute("""
        INSERT INTO satoshimachine.super_config (id)
        SELECT 'default'
        WHERE NOT EXISTS (
            SELECT 1 FROM satoshimachine.super_config WHERE id = 'default'
        )
        ON CONFLICT DO NOTHING
        """)

    await _create_table(
        db,
        "dca_machines",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        operator_user_id TEXT NOT NULL,
        machine_npub TEXT NOT NULL UNIQUE,
        wallet_id TEXT NOT NULL,
        name TEXT,
        location TEXT,
        fiat_code TEXT NOT NULL DEFAULT 'GTQ',
        is_active BOOLEAN NOT NULL DEFAULT true,
        created_at TIMESTAMP NOT NULL DEFAULT {now},
        updated_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    await _create_index(
        db, "dca_machines_operator_idx", "dca_machines", "operator_user_id"
    )
    await _create_unique_index(
        db, "dca_machines_wallet_id_uq", "dca_machines", "wallet_id"
    )

    await _create_table(
        db,
        "dca_clients",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        username TEXT,
        status TEXT NOT NULL DEFAULT 'active',
        created_at TIMESTAMP NOT NULL DEFAULT {now},
        updated_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    await _create_unique_index(
        db, "dca_clients_machine_user_uq", "dca_clients", "machine_id, user_id"
    )
    await _create_index(db, "dca_clients_user_idx", "dca_clients", "user_id")

    await _create_lp_table(db)

    await _create_table(
        db,
        "dca_deposits",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        client_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        creator_user_id TEXT NOT NULL,
        amount DECIMAL(10,2) NOT NULL,
        currency TEXT NOT NULL DEFAULT 'GTQ',
        status TEXT NOT NULL DEFAULT 'pending',
        notes TEXT,
        created_at TIMESTAMP NOT NULL DEFAULT {now},
        confirmed_at TIMESTAMP
        """,
    )
    await _create_index(
        db, "dca_deposits_client_idx", "dca_deposits", "client_id, created_at DESC"
    )

    await _create_table(
        db,
        "dca_settlements",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT NOT NULL,
        payment_hash TEXT NOT NULL UNIQUE,
        bitspire_event_id TEXT,
        bitspire_txid TEXT,
        wire_sats BIGINT NOT NULL,
        fiat_amount DECIMAL(10,2) NOT NULL,
        fiat_code TEXT NOT NULL DEFAULT 'GTQ',
        exchange_rate REAL NOT NULL,
        principal_sats BIGINT NOT NULL,
        fee_sats BIGINT NOT NULL,
        platform_fee_sats BIGINT NOT NULL,
        operator_fee_sats BIGINT NOT NULL,
        tx_type TEXT NOT NULL,
        bills_json TEXT,
        cassettes_json TEXT,
        status TEXT NOT NULL DEFAULT 'pending',
        error_message TEXT,
        processed_at TIMESTAMP,
        created_at TIMESTAMP NOT NULL DEFAULT {now},
        notes TEXT,
        processing_claim TEXT
        """,
    )
    await _create_index(
        db,
        "dca_settlements_machine_idx",
        "dca_settlements",
        "machine_id, created_at DESC",
    )

    await _create_table(
        db,
        "dca_commission_splits",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT,
        operator_user_id TEXT NOT NULL,
        target TEXT NOT NULL,
        label TEXT,
        fraction DECIMAL(10,4) NOT NULL,
        sort_order INTEGER NOT NULL DEFAULT 0,
        created_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    await _create_index(
        db,
        "dca_commission_splits_lookup_idx",
        "dca_commission_splits",
        "operator_user_id, machine_id",
    )

    await _create_table(
        db,
        "dca_payments",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        settlement_id TEXT,
        client_id TEXT,
        machine_id TEXT NOT NULL,
        operator_user_id TEXT NOT NULL,
        leg_type TEXT NOT NULL,
        destination_wallet_id TEXT,
        destination_ln_address TEXT,
        amount_sats BIGINT NOT NULL,
        amount_fiat DECIMAL(10,2),
        exchange_rate REAL,
        transaction_time TIMESTAMP NOT NULL,
        external_payment_hash TEXT,
        status TEXT NOT NULL DEFAULT 'pending',
        error_message TEXT,
        created_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    await _create_index(
        db, "dca_payments_client_idx", "dca_payments", "client_id, created_at DESC"
    )
    await _create_index(
        db, "dca_payments_settlement_idx", "dca_payments", "settlement_id"
    )
    await _create_index(
        db, "dca_payments_operator_idx", "dca_payments", "operator_user_id, leg_type"
    )

    await _create_table(
        db,
        "dca_telemetry",
        """
        machine_id TEXT PRIMARY KEY NOT NULL,
        beacon_cash_in BOOLEAN,
        beacon_cash_out BOOLEAN,
        beacon_cash_level TEXT,
        beacon_fiat TEXT,
        beacon_model TEXT,
        beacon_name TEXT,
        beacon_location TEXT,
        beacon_geo TEXT,
        beacon_fees_json TEXT,
        beacon_limits_json TEXT,
        beacon_denominations_json TEXT,
        beacon_version TEXT,
        beacon_received_at TIMESTAMP,
        telemetry_json TEXT,
        telemetry_received_at TIMESTAMP
        """,
    )


async def m002_split_target(db: Connection) -> None:
    """A split pays more than wallets: its `wallet_id` becomes `target`."""
    await _rename_column(db, "dca_commission_splits", "wallet_id", "target")


async def m003_principal_sats(db: Connection) -> None:
    """`net_sats` of a settlement becomes `principal_sats`."""
    await _rename_column(db, "dca_settlements", "net_sats", "principal_sats")


async def m004_lp_preferences(db: Connection) -> None:
    """
    Moves what an LP prefers from each of their enrolments to one row in `dca_lp`.

    Of an LP's enrolments the one with the newest `updated_at`, then `created_at`,
    speaks for them; a `dca_lp` row that exists is the LP's own word and stays.
    """
    if not {"machine_id", "wallet_id"} <= await _columns(db, "dca_clients"):
        return
    await _create_lp_table(db)
    # Whichever of these is missing was dropped by a run that was killed, after its
    # copy; it comes back empty so that one statement serves every such state.
    await _add_columns(
        db,
        "dca_clients",
        {
            "dca_mode": "TEXT",
            "fixed_mode_daily_limit": "DECIMAL(10,2)",
            "autoforward_ln_address": "TEXT",
            "autoforward_enabled": "BOOLEAN",
        },
    )
    await db.execute("""
        INSERT INTO satoshimachine.dca_lp (
            user_id, dca_wallet_id, default_dca_mode, fixed_mode_daily_limit,
            autoforward_ln_address, autoforward_enabled, created_at, updated_at
        )
        SELECT
            user_id, COALESCE(wallet_id, ''), COALESCE(dca_mode, 'flow'),
            fixed_mode_daily_limit, autoforward_ln_address,
            COALESCE(autoforward_enabled, false), created_at, updated_at
        FROM (
            SELECT c.*, ROW_NUMBER() OVER (
                PARTITION BY c.user_id
                ORDER BY
                    CASE WHEN COALESCE(c.wallet_id, '') = '' THEN 1 ELSE 0 END,
                    c.updated_at DESC, c.created_at DESC, c.id
            ) AS newest
            FROM satoshimachine.dca_clients c
        ) ranked
        WHERE newest = 1
        ON CONFLICT DO NOTHING
        """)
    # wallet_id last: as long as it is there, the copy is known to be possible.
    for column in (
        "dca_mode",
        "fixed_mode_daily_limit",
        "autoforward_ln_address",
        "autoforward_enabled",
        "wallet_id",
    ):
        await _drop_column(db, "dca_clients", column)


async def m005_deposit_currency(db: Connection) -> None:
    """The currency of a deposit is what its machine dispenses."""
    if "machine_id" not in await _columns(db, "dca_deposits"):
        return
    await db.execute("""
        UPDATE satoshimachine.dca_deposits
        SET currency = (
            SELECT m.fiat_code FROM satoshimachine.dca_machines m
            WHERE m.id = dca_deposits.machine_id
        )
        WHERE EXISTS (
            SELECT 1 FROM satoshimachine.dca_machines m
            WHERE m.id = dca_deposits.machine_id
            AND m.fiat_code <> dca_deposits.currency
        )
        """)


async def m006_one_vocabulary(db: Connection) -> None:
    """Columns get the names that the product uses; unused fallbacks go."""
    await _rename_column(db, "dca_settlements", "gross_sats", "wire_sats")
    await _rename_column(db, "dca_settlements", "commission_sats", "fee_sats")
    await _rename_column(db, "super_config", "super_fee_pct", "super_fee_fraction")
    await _rename_column(db, "dca_commission_splits", "pct", "fraction")
    await _drop_column(db, "dca_machines", "fallback_commission_pct")
    await _drop_column(db, "dca_machines", "fallback_commission_fraction")
    await _drop_column(db, "dca_settlements", "used_fallback_split")


async def m007_cassettes(db: Connection) -> None:
    """Creates `cassette_configs`, as yet keyed by denomination."""
    await _finish_cassette_rebuild(db)
    await _create_table(
        db,
        "cassette_configs",
        f"""
        machine_id TEXT NOT NULL,
        denomination INTEGER NOT NULL,
        position INTEGER NOT NULL,
        count INTEGER NOT NULL,
        updated_at TIMESTAMP NOT NULL DEFAULT {_utc_now(db)},
        updated_by TEXT,
        state_count INTEGER,
        state_at TIMESTAMP,
        state_event_id TEXT,
        PRIMARY KEY (machine_id, denomination)
        """,
    )


async def m008_cassettes_by_position(db: Connection) -> None:
    """
    Keys `cassette_configs` by the hardware bay, as two may hold one denomination.

    Rows of one machine that share a position get the next free ones.
    """
    await _finish_cassette_rebuild(db)
    if await _primary_key(db, "cassette_configs") == ["machine_id", "position"]:
        await _add_column(db, "cassette_configs", "state_denomination", "INTEGER")
        return
    await _add_column(db, "cassette_configs", "state_denomination", "INTEGER")
    await db.execute("""
        UPDATE satoshimachine.cassette_configs SET state_denomination = denomination
        WHERE state_denomination IS NULL
        """)
    await _separate_shared_positions(db)
    await _key_cassettes_by_position(db)


async def m009_fractions_by_direction(db: Connection) -> None:
    """
    Fees by direction: two fractions of the platform, two of each operator.

    A single `super_fee_fraction` goes into both, unless they are set already.
    """
    if not await _columns(db, "dca_settlements"):
        return  # Version 1, upgraded in place: m010 begins with m001.
    for direction in ("in", "out"):
        await _add_column(
            db,
            "super_config",
            f"super_cash_{direction}_fee_fraction",
            "DECIMAL(10,4) NOT NULL DEFAULT 0",
        )
        await _add_column(
            db,
            "dca_machines",
            f"operator_cash_{direction}_fee_fraction",
            "DECIMAL(10,4) NOT NULL DEFAULT 0",
        )
    if "super_fee_fraction" in await _columns(db, "super_config"):
        await db.execute("""
            UPDATE satoshimachine.super_config
            SET super_cash_in_fee_fraction = super_fee_fraction,
                super_cash_out_fee_fraction = super_fee_fraction
            WHERE super_fee_fraction <> 0
            AND super_cash_in_fee_fraction = 0
            AND super_cash_out_fee_fraction = 0
            """)
        await _drop_column(db, "super_config", "super_fee_fraction")
    await _add_column(db, "dca_settlements", "fee_mismatch_sats", "BIGINT")


async def m010_money_engine(db: Connection) -> None:
    """What landing, planning and paying keep beyond the settlement and its legs."""
    # Version 1 counted its migrations under the same extension id, so LNbits skips as
    # many of ours where it was upgraded in place. Done once more, they cost little.
    for migration in (
        m001_initial,
        m002_split_target,
        m003_principal_sats,
        m004_lp_preferences,
        m005_deposit_currency,
        m006_one_vocabulary,
        m007_cassettes,
        m008_cassettes_by_position,
        m009_fractions_by_direction,
    ):
        await migration(db)

    await _widen_money_columns(db)
    await _add_columns(
        db,
        "dca_machines",
        {
            "payout_interval_minutes": "INTEGER NOT NULL DEFAULT 0",
            "min_payout_sats": "BIGINT NOT NULL DEFAULT 0",
            "max_payout_sats": "BIGINT NOT NULL DEFAULT 1000000",
            "max_daily_payout_sats": "BIGINT NOT NULL DEFAULT 10000000",
            "is_paired": "BOOLEAN NOT NULL DEFAULT false",
            "paired_at": "TIMESTAMP",
            "pairing_code": "TEXT",
            "pairing_expires_at": "TIMESTAMP",
            "last_seen_at": "TIMESTAMP",
            "payouts_stopped_reason": "TEXT",
        },
    )
    await _add_columns(
        db,
        "dca_settlements",
        {
            "wallet_id": "TEXT",
            "transaction_time": "TIMESTAMP",
            "super_cash_in_fee_fraction": "DECIMAL(10,4)",
            "super_cash_out_fee_fraction": "DECIMAL(10,4)",
            "operator_cash_in_fee_fraction": "DECIMAL(10,4)",
            "operator_cash_out_fee_fraction": "DECIMAL(10,4)",
            "stamp_json": "TEXT",
            "network_fee_sats": "BIGINT NOT NULL DEFAULT 0",
            "dispense_state": "TEXT",
            "dispensed_fiat": "DECIMAL(20,2)",
            "dispensed_principal_sats": "BIGINT",
            "dispensed_fee_sats": "BIGINT",
            "dispensed_platform_fee_sats": "BIGINT",
            "dispensed_operator_fee_sats": "BIGINT",
            "refund_sats": "BIGINT NOT NULL DEFAULT 0",
            "retained_sats": "BIGINT",
            "planned_at": "TIMESTAMP",
            "is_test": "BOOLEAN NOT NULL DEFAULT false",
        },
    )
    await _create_index(
        db,
        "dca_settlements_status_idx",
        "dca_settlements",
        "status, machine_id, transaction_time",
    )
    await _create_index(
        db,
        "dca_settlements_time_idx",
        "dca_settlements",
        "machine_id, transaction_time",
    )
    await _add_columns(
        db,
        "dca_payments",
        {
            "source_wallet_id": "TEXT",
            "leg_key": "TEXT",
            "split_id": "TEXT",
            "target": "TEXT",
            "label": "TEXT",
            "payout_id": "TEXT",
            "attempts": "INTEGER NOT NULL DEFAULT 0",
            "next_try_at": "TIMESTAMP",
            "sent_sats": "BIGINT",
            "from_free_balance": "BOOLEAN NOT NULL DEFAULT false",
            "parent_leg_id": "TEXT",
            "reference": "TEXT",
            "completed_at": "TIMESTAMP",
        },
    )
    # Legs from before have no leg_key: NULLs are never equal, so they all fit.
    await _create_unique_index(
        db, "dca_payments_leg_uq", "dca_payments", "settlement_id, leg_type, leg_key"
    )
    await _create_index(
        db, "dca_payments_due_idx", "dca_payments", "status, source_wallet_id"
    )
    await _create_index(db, "dca_payments_payout_idx", "dca_payments", "payout_id")
    await _create_index(
        db, "dca_payments_machine_idx", "dca_payments", "machine_id, created_at"
    )
    await _create_index(
        db, "dca_payments_lp_idx", "dca_payments", "client_id, leg_type, status"
    )
    await _add_columns(
        db, "dca_deposits", {"reversed_at": "TIMESTAMP", "reason": "TEXT"}
    )
    await _add_columns(
        db,
        "dca_commission_splits",
        {"target_kind": "TEXT", "target_wallet_id": "TEXT"},
    )
    await _add_column(db, "dca_lp", "notify_payouts", "BOOLEAN NOT NULL DEFAULT false")
    await _create_engine_tables(db)
    if not await _columns(db, "dca_idempotency"):
        await _fill_in_old_rows(db)
    # Last, as its absence says that old rows may still have to be filled in.
    await _create_table(
        db,
        "dca_idempotency",
        """
        user_id TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        action TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        PRIMARY KEY (user_id, idempotency_key)
        """,
    )


async def m011_machine_line(db: Connection) -> None:
    """What the Nostr line keeps: service keys, relays, requests of machines that pay,
    the clock of each replaceable event, and published cassettes."""
    # The row `current` is the key in use; a retired one is kept under its public key.
    await _create_table(
        db,
        "dca_nostr_keys",
        """
        id TEXT PRIMARY KEY NOT NULL,
        pubkey TEXT NOT NULL,
        nsec_encrypted TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        retired_at TIMESTAMP
        """,
    )
    await _create_table(
        db,
        "dca_nostr",
        """
        id TEXT PRIMARY KEY NOT NULL,
        relays_json TEXT NOT NULL DEFAULT '[]',
        status_json TEXT,
        status_at TIMESTAMP
        """,
    )
    await db.execute("""
        INSERT INTO satoshimachine.dca_nostr (id) VALUES ('default')
        ON CONFLICT DO NOTHING
        """)
    await _create_table(
        db,
        "dca_machine_lines",
        """
        machine_id TEXT PRIMARY KEY NOT NULL,
        service_pubkey TEXT,
        used_code TEXT,
        wrong_codes INTEGER NOT NULL DEFAULT 0
        """,
    )
    await _create_table(
        db,
        "dca_machine_requests",
        """
        machine_id TEXT NOT NULL,
        txid TEXT NOT NULL,
        rpc TEXT NOT NULL,
        wallet_id TEXT NOT NULL,
        wire_sats BIGINT NOT NULL,
        principal_sats BIGINT NOT NULL,
        fee_sats BIGINT NOT NULL,
        fiat_amount DECIMAL(20,2) NOT NULL,
        fiat_code TEXT NOT NULL,
        stamp_json TEXT NOT NULL,
        payment_hash TEXT,
        bolt11 TEXT,
        status TEXT NOT NULL,
        code TEXT,
        reason TEXT,
        event_id TEXT NOT NULL,
        event_epoch BIGINT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        updated_at TIMESTAMP NOT NULL,
        PRIMARY KEY (machine_id, txid)
        """,
    )
    await _create_index(
        db, "dca_machine_requests_status_idx", "dca_machine_requests", "rpc, status"
    )
    # Every invoice that a cash-in was ever paid to, or was about to be.
    await _create_table(
        db,
        "dca_machine_attempts",
        """
        payment_hash TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT NOT NULL,
        txid TEXT NOT NULL,
        wallet_id TEXT NOT NULL,
        wire_sats BIGINT NOT NULL,
        destination TEXT NOT NULL,
        bolt11 TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        checks INTEGER NOT NULL DEFAULT 0,
        next_look_at TIMESTAMP,
        failed_at TIMESTAMP,
        reason TEXT
        """,
    )
    await _create_index(
        db,
        "dca_machine_attempts_idx",
        "dca_machine_attempts",
        "machine_id, created_at",
    )
    await _create_table(
        db,
        "dca_nostr_clocks",
        """
        machine_id TEXT NOT NULL,
        name TEXT NOT NULL,
        event_epoch BIGINT NOT NULL,
        event_id TEXT NOT NULL,
        PRIMARY KEY (machine_id, name)
        """,
    )
    await _create_table(
        db,
        "dca_cassette_events",
        """
        machine_id TEXT PRIMARY KEY NOT NULL,
        event_epoch BIGINT NOT NULL,
        event_id TEXT,
        event_json TEXT,
        positions_json TEXT NOT NULL,
        saved_at TIMESTAMP NOT NULL,
        published_at TIMESTAMP,
        confirmed_at TIMESTAMP
        """,
    )


async def m012_lists(db: Connection) -> None:
    """Indexes for every list and sum that is shown, at a million legs.

    Each begins with whose rows they are and ends with the key, so that a page is the
    end of an index; those of the sums hold all that is summed.
    """
    for name, table, columns in (
        ("dca_settlements_newest_idx", "dca_settlements", "machine_id, created_at, id"),
        ("dca_payments_newest_idx", "dca_payments", "operator_user_id, created_at, id"),
        ("dca_payments_own_idx", "dca_payments", "client_id, created_at, id"),
        ("dca_payments_all_idx", "dca_payments", "created_at, id"),
        (
            "dca_payments_received_idx",
            "dca_payments",
            "client_id, leg_type, status, transaction_time, amount_sats, amount_fiat",
        ),
        (
            "dca_payments_sums_idx",
            "dca_payments",
            "operator_user_id, leg_type, transaction_time, status, amount_sats,"
            " settlement_id",
        ),
        ("dca_payouts_updated_idx", "dca_payouts", "updated_at"),
        ("dca_deposits_machine_idx", "dca_deposits", "machine_id, created_at, id"),
        ("dca_audit_client_idx", "dca_audit", "client_user_id, created_at"),
    ):
        await _create_index(db, name, table, columns)
    # Few settlements are marked as tests, and every sum leaves them out.
    await db.execute(
        "CREATE INDEX IF NOT EXISTS dca_settlements_test_idx"
        f" ON {db.references_schema}dca_settlements (id) WHERE is_test = true"
    )


async def m013_desk(db: Connection) -> None:
    """What the operator's desk keeps: who was told of what, and reconciliations."""
    await _add_columns(
        db,
        "dca_machines",
        {
            "silent_after_minutes": "INTEGER NOT NULL DEFAULT 15",
            "low_cash_fraction": "DECIMAL(10,4) NOT NULL DEFAULT 0.2",
        },
    )
    # One row for each cause that ever was, until it is forgotten: told once, and
    # again every day while `closed_at` is NULL.
    await _create_table(
        db,
        "dca_notices",
        """
        cause TEXT PRIMARY KEY NOT NULL,
        kind TEXT NOT NULL,
        user_id TEXT NOT NULL,
        machine_id TEXT,
        subject_type TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        message TEXT NOT NULL,
        opened_at TIMESTAMP NOT NULL,
        told_at TIMESTAMP,
        times INTEGER NOT NULL DEFAULT 0,
        closed_at TIMESTAMP
        """,
    )
    await _create_index(db, "dca_notices_closed_idx", "dca_notices", "closed_at")
    await _create_table(
        db,
        "dca_reconciliations",
        """
        id TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        actor TEXT NOT NULL,
        period_from TIMESTAMP NOT NULL,
        period_to TIMESTAMP NOT NULL,
        differences INTEGER NOT NULL,
        report_json TEXT NOT NULL
        """,
    )
    await _create_index(
        db,
        "dca_reconciliations_machine_idx",
        "dca_reconciliations",
        "machine_id, created_at",
    )
    # What an operator has looked at stops the machine's payouts no second time.
    await _create_table(
        db,
        "dca_accepted_differences",
        """
        machine_id TEXT NOT NULL,
        difference TEXT NOT NULL,
        accepted_at TIMESTAMP NOT NULL,
        PRIMARY KEY (machine_id, difference)
        """,
    )


async def m014_loss(db: Connection) -> None:
    """What a settlement cost the operator: paid out beyond what came in."""
    await _add_column(db, "dca_settlements", "loss_sats", "BIGINT NOT NULL DEFAULT 0")


async def m015_sums(db: Connection) -> None:
    """Sums that the screens show of a year of legs, kept where the legs are finished.

    Counted anew from the legs each time that this runs: the sums of a legs' table of
    any age are right afterwards.
    """
    await _add_column(
        db, "dca_settlements", "paid_to_lps_sats", "BIGINT NOT NULL DEFAULT 0"
    )
    await _add_columns(
        db,
        "dca_client_totals",
        {
            "received_sats": "BIGINT NOT NULL DEFAULT 0",
            "received_cents": "BIGINT NOT NULL DEFAULT 0",
        },
    )
    await db.execute("""
        UPDATE satoshimachine.dca_settlements SET paid_to_lps_sats = (
            SELECT COALESCE(SUM(p.amount_sats), 0) FROM satoshimachine.dca_payments p
            WHERE p.settlement_id = dca_settlements.id AND p.leg_type = 'dca'
              AND p.status IN ('completed', 'skipped'))
        """)
    await db.execute("""
        INSERT INTO satoshimachine.dca_client_totals (
            client_id, received_sats, received_cents
        )
        SELECT client_id, SUM(amount_sats),
            COALESCE(SUM(CAST(ROUND(amount_fiat * 100) AS BIGINT)), 0)
        FROM satoshimachine.dca_payments
        WHERE client_id IS NOT NULL AND leg_type IN ('dca', 'settlement')
          AND status IN ('completed', 'skipped')
        GROUP BY client_id
        ON CONFLICT (client_id) DO UPDATE SET
            received_sats = excluded.received_sats,
            received_cents = excluded.received_cents
        """)
    # all that the overview sums up, so that it reads no row of the table itself
    await _create_index(
        db,
        "dca_settlements_sums_idx",
        "dca_settlements",
        "machine_id, transaction_time, status, is_test, tx_type, fiat_code,"
        " principal_sats, dispensed_principal_sats, platform_fee_sats,"
        " dispensed_platform_fee_sats, operator_fee_sats,"
        " dispensed_operator_fee_sats, fiat_amount, dispensed_fiat, paid_to_lps_sats",
    )


async def m016_waits(db: Connection) -> None:
    """Why a leg waits, as a word that the code may ask for; payouts that are given up;
    hosts outside that did not answer in time; and what LPs received as it arrived.

    The sums are counted anew each time that this runs.
    """
    await _add_columns(
        db, "dca_payments", {"wait_code": "TEXT", "waits_since": "TIMESTAMP"}
    )
    await _add_column(db, "dca_payouts", "withdrawn_at", "TIMESTAMP")
    await db.execute("""
        CREATE TABLE IF NOT EXISTS satoshimachine.dca_paused_hosts (
            host TEXT PRIMARY KEY,
            timeouts INTEGER NOT NULL,
            paused_until TIMESTAMP NOT NULL
        )
        """)
    for code, sentence in (
        ("gathering", "gathering: %"),
        ("stopped", "Payouts of this machine are stopped%"),
        ("platform_wallet", "The platform has not chosen the wallet%"),
        ("free_balance", "% sat needed are free in the paying wallet%"),
        ("wallet_short", "The paying wallet holds %"),
        ("paying_wallet", "The paying wallet was deleted%"),
        ("paying_wallet", "The paying wallet is a shared wallet%"),
        ("paying_wallet", "The paying wallet no longer belongs%"),
        ("unclaimed", "waiting for a destination%"),
    ):
        await db.execute(
            "UPDATE satoshimachine.dca_payments SET wait_code = :code "
            "WHERE wait_code IS NULL AND status = 'pending' AND payout_id IS NULL "
            "AND error_message LIKE :sentence",
            {"code": code, "sentence": sentence},
        )
    await db.execute("""
        INSERT INTO satoshimachine.dca_client_totals (client_id, received_sats)
        SELECT client_id, SUM(COALESCE(sent_sats, amount_sats))
        FROM satoshimachine.dca_payments
        WHERE client_id IS NOT NULL AND leg_type IN ('dca', 'settlement')
          AND status IN ('completed', 'skipped')
        GROUP BY client_id
        ON CONFLICT (client_id) DO UPDATE SET received_sats = excluded.received_sats
        """)


async def m017_rights(db: Connection) -> None:
    """What the owner of a payment says of it: a claim that it was paid outside, which
    its LP answers; when it was last tried again; offers to close an LP's balance; and
    what a key of idempotency was used with.

    Sats that were marked as paid never came through Lightning: they leave the sums of
    what LPs received, which are counted anew for these LPs.
    """
    await _add_columns(
        db,
        "dca_payments",
        {
            "retried_at": "TIMESTAMP",
            "paid_outside": "BOOLEAN NOT NULL DEFAULT false",
            "claim_state": "TEXT",
            "claim_reference": "TEXT",
            "claim_at": "TIMESTAMP",
        },
    )
    await _add_column(db, "dca_idempotency", "body_hash", "TEXT")
    await _create_table(
        db,
        "dca_offers",
        """
        id TEXT PRIMARY KEY NOT NULL,
        client_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        operator_user_id TEXT NOT NULL,
        wallet_id TEXT NOT NULL,
        exchange_rate TEXT NOT NULL,
        reason TEXT,
        state TEXT NOT NULL,
        leg_id TEXT,
        created_at TIMESTAMP NOT NULL,
        expires_at TIMESTAMP NOT NULL,
        decided_at TIMESTAMP
        """,
    )
    await _create_index(db, "dca_offers_client_idx", "dca_offers", "client_id, state")
    await db.execute("""
        UPDATE satoshimachine.dca_payments SET paid_outside = true
        WHERE status = 'completed' AND reference IS NOT NULL AND payout_id IS NULL
        """)
    await db.execute("""
        UPDATE satoshimachine.dca_client_totals SET
            received_sats = (
                SELECT COALESCE(SUM(COALESCE(p.sent_sats, p.amount_sats)), 0)
                FROM satoshimachine.dca_payments p
                WHERE p.client_id = dca_client_totals.client_id
                  AND p.leg_type IN ('dca', 'settlement')
                  AND p.status IN ('completed', 'skipped') AND p.paid_outside = false),
            received_cents = (
                SELECT COALESCE(SUM(CAST(ROUND(p.amount_fiat * 100) AS BIGINT)), 0)
                FROM satoshimachine.dca_payments p
                WHERE p.client_id = dca_client_totals.client_id
                  AND p.leg_type IN ('dca', 'settlement')
                  AND p.status IN ('completed', 'skipped') AND p.paid_outside = false)
        WHERE client_id IN (
            SELECT client_id FROM satoshimachine.dca_payments
            WHERE paid_outside = true AND client_id IS NOT NULL)
        """)


async def m018_second_audit(db: Connection) -> None:
    """What the second audit of the money path asked to be kept.

    Of a settlement: which way its payment went, why it is held back (a word, beside
    the sentence), what was reported of the dispense meanwhile, marks, and that the
    operator has seen them. Of a machine: whether others may make its invoices. And
    payments of ours that only LNbits knows, or only we.
    """
    await _add_columns(
        db,
        "dca_settlements",
        {
            "is_outgoing": "BOOLEAN",
            "quarantine_code": "TEXT",
            "reported_fiat": "DECIMAL(20,2)",
            "reported_by": "TEXT",
            "marks": "TEXT NOT NULL DEFAULT ''",
            "seen_at": "TIMESTAMP",
        },
    )
    await _add_column(db, "dca_machines", "allow_stamped_invoices", "BOOLEAN")
    # Few rows are in it: attention looks for them each time that it is read.
    await db.execute(
        f"CREATE INDEX IF NOT EXISTS dca_settlements_less_idx "
        f"ON {db.references_schema}dca_settlements (machine_id) "
        "WHERE network_fee_sats > fee_sats AND seen_at IS NULL"
    )
    # What was quarantined unread keeps its direction open: only LNbits knows it.
    await db.execute("""
        UPDATE satoshimachine.dca_settlements SET is_outgoing = (tx_type = 'cash_in')
        WHERE is_outgoing IS NULL AND tx_type IN ('cash_in', 'cash_out')
        """)
    # A paired machine whose invoices somebody else makes goes on as it is. Decided
    # once: what its operator has set since stays.
    since = datetime.now(timezone.utc) - timedelta(days=30)
    at = int(since.timestamp()) if db.type == SQLITE else f"'{since:%Y-%m-%d %H:%M:%S}'"
    await db.execute(f"""
        UPDATE satoshimachine.dca_machines
        SET allow_stamped_invoices = (is_paired = true AND EXISTS (
            SELECT 1 FROM satoshimachine.dca_settlements s
            WHERE s.machine_id = dca_machines.id AND s.tx_type = 'cash_out'
              AND s.status <> 'quarantined' AND s.transaction_time >= {at}
              AND NOT EXISTS (
                SELECT 1 FROM satoshimachine.dca_machine_requests r
                WHERE r.payment_hash = s.payment_hash AND r.rpc = 'invoice')))
        WHERE allow_stamped_invoices IS NULL
        """)  # noqa: S608 (a time of this moment)
    await _create_table(
        db,
        "dca_stray_payments",
        """
        kind TEXT NOT NULL,
        payment_hash TEXT NOT NULL,
        wallet_id TEXT NOT NULL,
        machine_id TEXT,
        amount_sats BIGINT NOT NULL,
        extra_json TEXT,
        found_at TIMESTAMP NOT NULL,
        ended_at TIMESTAMP,
        ended_as TEXT,
        PRIMARY KEY (kind, payment_hash, wallet_id)
        """,
    )


async def m019_line_events(db: Connection) -> None:
    """What became of each event that asks for money, so that a copy of one that was
    refused is never paid; and when cassettes were sent without a relay saying so."""
    await _create_table(
        db,
        "dca_line_events",
        """
        event_id TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT NOT NULL,
        verdict TEXT NOT NULL,
        code TEXT,
        reason TEXT,
        keep_until_epoch BIGINT NOT NULL
        """,
    )
    await _create_index(
        db,
        "dca_line_events_machine_idx",
        "dca_line_events",
        "machine_id, keep_until_epoch",
    )
    # An event that an older version refused stays refused: its id is in the request.
    # Events are fresh for ten minutes, and twenty are more than that.
    await db.execute("""
        INSERT INTO satoshimachine.dca_line_events (
            event_id, machine_id, verdict, code, reason, keep_until_epoch
        )
        SELECT event_id, MIN(machine_id), 'refused', MIN(code), MIN(reason),
            MAX(event_epoch) + 1200
        FROM satoshimachine.dca_machine_requests
        WHERE rpc = 'payout' AND code IS NOT NULL AND event_id <> ''
        GROUP BY event_id
        ON CONFLICT (event_id) DO NOTHING
        """)
    await _add_column(db, "dca_cassette_events", "offered_at", "TIMESTAMP")


async def m020_cash_book(db: Connection) -> None:
    """Where every note is: movements, counts, visits, and what is reserved of the bays.

    What the bays hold today becomes opening movements, carried on from the newest count
    of each; the dispenses before that stay in the settlements' history.
    """
    now = _utc_now(db)
    await _create_table(
        db,
        "cash_movements",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        operator_user_id TEXT NOT NULL,
        machine_id TEXT,
        visit_id TEXT,
        settlement_id TEXT,
        deposit_id TEXT,
        from_place TEXT NOT NULL,
        to_place TEXT NOT NULL,
        denomination BIGINT,
        notes BIGINT,
        amount DECIMAL(20,2) NOT NULL,
        currency TEXT NOT NULL,
        at TIMESTAMP NOT NULL,
        "by" TEXT NOT NULL,
        reason TEXT,
        source TEXT NOT NULL,
        number INTEGER,
        created_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    await _create_unique_index(
        db, "cash_movements_settlement_uq", "cash_movements", "settlement_id, number"
    )
    for name, columns in (
        ("cash_movements_operator_idx", "operator_user_id, at, id"),
        ("cash_movements_machine_idx", "machine_id, at, id"),
        ("cash_movements_deposit_idx", "deposit_id"),
        ("cash_movements_visit_idx", "visit_id"),
    ):
        await _create_index(db, name, "cash_movements", columns)
    # The sum of all movements of a place, kept where they are written.
    await _create_table(
        db,
        "cash_balances",
        """
        operator_user_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        place TEXT NOT NULL,
        denomination BIGINT NOT NULL,
        currency TEXT NOT NULL,
        notes BIGINT NOT NULL,
        cents BIGINT NOT NULL,
        PRIMARY KEY (operator_user_id, machine_id, place, denomination, currency)
        """,
    )
    await _create_index(db, "cash_balances_machine_idx", "cash_balances", "machine_id")
    await _create_table(
        db,
        "cash_counts",
        """
        id TEXT PRIMARY KEY NOT NULL,
        operator_user_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        place TEXT NOT NULL,
        currency TEXT NOT NULL,
        at TIMESTAMP NOT NULL,
        notes_json TEXT NOT NULL,
        cents BIGINT NOT NULL,
        is_opening BOOLEAN NOT NULL,
        visit_id TEXT,
        "by" TEXT NOT NULL,
        source TEXT NOT NULL
        """,
    )
    await _create_index(
        db, "cash_counts_place_idx", "cash_counts", "machine_id, place, at"
    )
    # The newest report of each settlement, and what was booked for it.
    await _create_table(
        db,
        "cash_trades",
        """
        settlement_id TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT NOT NULL,
        is_machine BOOLEAN NOT NULL,
        said_at TIMESTAMP NOT NULL,
        event_id TEXT NOT NULL,
        first_said_at TIMESTAMP NOT NULL,
        moved_at TIMESTAMP NOT NULL,
        is_timed BOOLEAN NOT NULL DEFAULT false,
        lines_json TEXT NOT NULL,
        cents BIGINT NOT NULL,
        more_cents BIGINT NOT NULL DEFAULT 0,
        fault TEXT
        """,
    )
    await _create_index(
        db, "cash_trades_machine_idx", "cash_trades", "machine_id, moved_at"
    )
    await _create_table(
        db,
        "cash_visits",
        """
        id TEXT PRIMARY KEY NOT NULL,
        operator_user_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        status TEXT NOT NULL,
        opened_at TIMESTAMP NOT NULL,
        opened_by TEXT NOT NULL,
        closed_at TIMESTAMP,
        closed_by TEXT,
        entries_json TEXT NOT NULL,
        differences_json TEXT,
        difference_cents BIGINT NOT NULL DEFAULT 0,
        reason TEXT
        """,
    )
    await _create_index(
        db, "cash_visits_operator_idx", "cash_visits", "operator_user_id, opened_at, id"
    )
    await _create_index(
        db, "cash_visits_machine_idx", "cash_visits", "machine_id, opened_at, id"
    )
    await db.execute(
        "CREATE UNIQUE INDEX IF NOT EXISTS cash_visits_open_uq"
        f" ON {db.references_schema}cash_visits (machine_id) WHERE status = 'open'"
    )
    await _create_table(
        db,
        "cash_reservations",
        """
        machine_id TEXT NOT NULL,
        txid TEXT NOT NULL,
        payment_hash TEXT,
        notes_json TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        expires_at TIMESTAMP NOT NULL,
        PRIMARY KEY (machine_id, txid)
        """,
    )
    await _create_index(
        db, "cash_reservations_hash_idx", "cash_reservations", "payment_hash"
    )
    await _add_columns(
        db,
        "dca_machines",
        {
            "bay_capacities": "TEXT",
            "box_capacity": "INTEGER",
            "invoice_expiry_minutes": "INTEGER NOT NULL DEFAULT 10",
        },
    )
    # What a bay held after it was last filled: it runs low against that.
    await _add_column(db, "cassette_configs", "filled", "INTEGER")
    # One row a user; whoever adds a preference adds a column.
    await _create_table(
        db,
        "dca_preferences",
        f"""
        user_id TEXT PRIMARY KEY NOT NULL,
        time_zone TEXT,
        number_format TEXT,
        notify_json TEXT,
        staff_refund_limit_sats BIGINT,
        cash_difference_limit TEXT,
        show_coverage_to_lps BOOLEAN NOT NULL DEFAULT false,
        time_zone_before TEXT,
        time_zone_from TIMESTAMP,
        updated_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    await db.execute("""
        INSERT INTO satoshimachine.dca_locks (id, n) VALUES ('cash', 0)
        ON CONFLICT DO NOTHING
        """)
    await db.execute(f"""
        INSERT INTO satoshimachine.dca_cursors (id, value, updated_at)
        VALUES ('cash_book_began', '', {now}) ON CONFLICT DO NOTHING
        """)  # noqa: S608
    await _open_the_bays(db)


async def m021_parties(db: Connection) -> None:
    """Invitations, disputes, claims and consent: what each party says of another's.

    Enrolments of today were made without asking, and stay `active`; deposits stay as
    they are, undisputed.
    """
    await _create_table(
        db,
        "dca_invitations",
        """
        id TEXT PRIMARY KEY NOT NULL,
        machine_id TEXT NOT NULL,
        operator_user_id TEXT NOT NULL,
        code TEXT NOT NULL,
        username TEXT,
        name_key TEXT,
        user_id TEXT,
        client_id TEXT,
        state TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        expires_at TIMESTAMP NOT NULL,
        answered_at TIMESTAMP
        """,
    )
    await _create_unique_index(db, "dca_invitations_code_uq", "dca_invitations", "code")
    await _create_index(
        db, "dca_invitations_operator_idx", "dca_invitations", "operator_user_id, state"
    )
    await _create_index(
        db, "dca_invitations_machine_idx", "dca_invitations", "machine_id"
    )
    await _create_index(db, "dca_invitations_user_idx", "dca_invitations", "user_id")
    # What was typed, which proves nothing; `machine_npub` is it for one that holds it.
    await _add_column(db, "dca_machines", "claimed_npub", "TEXT")
    await db.execute("""
        UPDATE satoshimachine.dca_machines SET claimed_npub = machine_npub
        WHERE claimed_npub IS NULL
        """)
    await _create_index(db, "dca_machines_claimed_idx", "dca_machines", "claimed_npub")
    # Whether a sale is compared with the market's price, and what that is.
    await _add_columns(
        db,
        "dca_machines",
        {
            "price_check": "BOOLEAN NOT NULL DEFAULT true",
            "market_factor": "DECIMAL(10,4) NOT NULL DEFAULT 1",
        },
    )
    await _create_table(
        db,
        "dca_prices",
        """
        fiat_code TEXT NOT NULL,
        asked_epoch BIGINT NOT NULL,
        price TEXT NOT NULL,
        PRIMARY KEY (fiat_code, asked_epoch)
        """,
    )
    await _add_column(db, "dca_payments", "rate_mark", "TEXT")
    # What the fee of a settlement did not cover of the platform's share.
    await _add_column(
        db, "dca_settlements", "shortfall_sats", "BIGINT NOT NULL DEFAULT 0"
    )
    # What is asked of a deposit and not decided yet is a state beside its own. A part
    # that was taken back is a row of its own, so that every sum stays a sum of rows.
    await _add_columns(
        db,
        "dca_deposits",
        {
            "dispute_state": "TEXT",
            "dispute_by": "TEXT",
            "dispute_reason": "TEXT",
            "dispute_opened_at": "TIMESTAMP",
            "dispute_closed_at": "TIMESTAMP",
            "dispute_outcome": "TEXT",
            "reversal_state": "TEXT",
            "reversal_amount": "DECIMAL(20,2)",
            "reversal_reason": "TEXT",
            "reversal_at": "TIMESTAMP",
            "part_of": "TEXT",
        },
    )


async def m022_fees_and_team(db: Connection) -> None:
    """Fixed fees and limits of a trade, discounts, and who works for an operator.

    Machines of today have no fixed fee and no limits, and nobody works for anybody.
    A settlement keeps the fixed fees that were in force when it landed, and what was
    forgiven of each share; a machine's request the discount that it took.
    """
    fiat = "DECIMAL(20,2)"
    await _add_columns(
        db,
        "dca_machines",
        {
            "operator_cash_in_fixed_fee": f"{fiat} NOT NULL DEFAULT 0",
            "operator_cash_out_fixed_fee": f"{fiat} NOT NULL DEFAULT 0",
            "min_fiat": fiat,
            "max_fiat": fiat,
        },
    )
    taken = {
        "discount_id": "TEXT",
        "discount_code": "TEXT",
        "operator_discount": "DECIMAL(10,4)",
        "platform_discount": "DECIMAL(10,4)",
    }
    await _add_columns(
        db,
        "dca_settlements",
        {
            "operator_cash_in_fixed_fee": fiat,
            "operator_cash_out_fixed_fee": fiat,
            **taken,
            "operator_discount_sats": "BIGINT NOT NULL DEFAULT 0",
            "platform_discount_sats": "BIGINT NOT NULL DEFAULT 0",
        },
    )
    await _add_columns(db, "dca_machine_requests", taken)
    await db.execute(
        "CREATE INDEX IF NOT EXISTS dca_settlements_discount_idx "
        f"ON {db.references_schema}dca_settlements (discount_id) "
        "WHERE discount_id IS NOT NULL"
    )
    now = _utc_now(db)
    await _create_table(
        db,
        "dca_discounts",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        owner TEXT NOT NULL,
        code TEXT NOT NULL,
        fraction DECIMAL(10,4) NOT NULL,
        valid_from TIMESTAMP,
        valid_until TIMESTAMP,
        machines_json TEXT,
        max_uses BIGINT,
        max_uses_a_day BIGINT,
        is_active BOOLEAN NOT NULL DEFAULT true,
        uses BIGINT NOT NULL DEFAULT 0,
        created_at TIMESTAMP NOT NULL DEFAULT {now},
        updated_at TIMESTAMP NOT NULL DEFAULT {now}
        """,
    )
    await _create_unique_index(
        db, "dca_discounts_code_uq", "dca_discounts", "owner, code"
    )
    await _create_table(
        db,
        "dca_discount_uses",
        """
        machine_id TEXT NOT NULL,
        txid TEXT NOT NULL,
        discount_id TEXT NOT NULL,
        used_at TIMESTAMP NOT NULL,
        payment_hash TEXT,
        expires_at TIMESTAMP,
        given_back_at TIMESTAMP,
        PRIMARY KEY (machine_id, txid)
        """,
    )
    await _create_index(
        db, "dca_discount_uses_idx", "dca_discount_uses", "discount_id, used_at"
    )
    await _create_table(
        db,
        "dca_staff",
        f"""
        id TEXT PRIMARY KEY NOT NULL,
        operator_user_id TEXT NOT NULL,
        user_id TEXT,
        name TEXT,
        role TEXT NOT NULL,
        machines_json TEXT,
        status TEXT NOT NULL,
        code TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL DEFAULT {now},
        expires_at TIMESTAMP NOT NULL,
        answered_at TIMESTAMP,
        ended_at TIMESTAMP
        """,
    )
    await _create_unique_index(db, "dca_staff_code_uq", "dca_staff", "code")
    await _create_index(
        db, "dca_staff_operator_idx", "dca_staff", "operator_user_id, created_at"
    )
    await _create_index(db, "dca_staff_user_idx", "dca_staff", "user_id, status")


async def m023_consents(db: Connection) -> None:
    """What an operator asks of a planned sale, and who has said yes to it.

    What was planned before stays a sum of its own for the platform: its share was
    worked out from the fee then. Who reported an older dispense is not known.
    """
    await _create_table(
        db,
        "dca_consents",
        """
        id TEXT PRIMARY KEY NOT NULL,
        settlement_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        operator_user_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        sold_fiat DECIMAL(20,2) NOT NULL,
        dispensed_fiat DECIMAL(20,2),
        reason TEXT,
        state TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        expires_at TIMESTAMP NOT NULL,
        decided_at TIMESTAMP
        """,
    )
    await _create_index(
        db, "dca_consents_settlement_idx", "dca_consents", "settlement_id, state"
    )
    await _create_index(db, "dca_consents_state_idx", "dca_consents", "state")
    await _create_table(
        db,
        "dca_consent_answers",
        """
        consent_id TEXT NOT NULL,
        party TEXT NOT NULL,
        answer TEXT NOT NULL,
        answered_at TIMESTAMP NOT NULL,
        PRIMARY KEY (consent_id, party)
        """,
    )
    await _add_columns(
        db,
        "dca_settlements",
        {
            # whose word the dispensed figures are: the machine's or a user's
            "dispensed_by": "TEXT",
            # what a person's figures took off the platform's share by the stamp's
            "resolved_sats": "BIGINT",
            "is_older": "BOOLEAN NOT NULL DEFAULT false",
        },
    )
    await db.execute("""
        UPDATE satoshimachine.dca_settlements SET is_older = true
        WHERE planned_at IS NOT NULL OR status = 'voided'
        """)
    await _add_column(
        db, "super_config", "unused_machines_limit", "INTEGER NOT NULL DEFAULT 20"
    )


async def m024_journal(db: Connection) -> None:
    """The journal: balanced entries, dated at their own time, which nobody changes.

    That of a database which had none is written from what stands, once; what has an
    entry already is left alone.
    """
    await _add_column(db, "dca_payments", "routing_sats", "BIGINT")
    await _create_table(
        db,
        "journal",
        """
        id TEXT PRIMARY KEY NOT NULL,
        at TIMESTAMP NOT NULL,
        recorded_at TIMESTAMP NOT NULL,
        operator_user_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        settlement_id TEXT,
        payment_id TEXT,
        deposit_id TEXT,
        kind TEXT NOT NULL,
        is_test BOOLEAN NOT NULL DEFAULT false,
        currency TEXT NOT NULL
        """,
    )
    await _create_table(
        db,
        "journal_lines",
        """
        journal_id TEXT NOT NULL,
        account TEXT NOT NULL,
        client_id TEXT,
        sats BIGINT NOT NULL DEFAULT 0,
        fiat_cents BIGINT NOT NULL DEFAULT 0,
        counter_cents BIGINT NOT NULL DEFAULT 0
        """,
    )
    for name, columns in (
        ("journal_operator_idx", "operator_user_id, at"),
        ("journal_machine_idx", "machine_id, at"),
        ("journal_settlement_idx", "settlement_id"),
        ("journal_payment_idx", "payment_id"),
        ("journal_deposit_idx", "deposit_id"),
    ):
        await _create_index(db, name, "journal", columns)
    await _create_index(db, "journal_lines_entry_idx", "journal_lines", "journal_id")
    await _create_index(
        db, "journal_lines_client_idx", "journal_lines", "client_id, account"
    )
    await write_before(db)


async def m025_host(db: Connection) -> None:
    """What is kept about the change of LNbits' balances: its own text, and figures."""
    await _create_table(
        db, "host_change", "name TEXT PRIMARY KEY NOT NULL,\nvalue TEXT NOT NULL"
    )


async def m027_people_and_codes(db: Connection) -> None:
    """Since when somebody who works for an operator was not here, and uses of codes by
    when they end: the sweep asks for those that are over, and most have no end."""
    await _add_column(db, "dca_staff", "last_seen_at", "TIMESTAMP")
    await _create_index(
        db, "dca_discount_uses_expiry_idx", "dca_discount_uses", "expires_at"
    )


async def m028_insight(db: Connection) -> None:
    """Sums by machine and day for Insight, and triggers that mark what is not theirs
    any more. Empty at first: days are summed up when somebody looks."""
    await _create_table(
        db,
        "insight_state",
        "id TEXT PRIMARY KEY NOT NULL,\nuntil_day BIGINT NOT NULL DEFAULT 0",
    )
    await db.execute(
        "INSERT INTO satoshimachine.insight_state (id) VALUES ('days') "
        "ON CONFLICT DO NOTHING"
    )
    await _create_table(
        db,
        "insight_marks",
        """
        machine_id TEXT NOT NULL,
        day BIGINT NOT NULL,
        is_taken BOOLEAN NOT NULL DEFAULT false
        """,
    )
    await _create_index(db, "insight_marks_machine_idx", "insight_marks", _A_DAY)
    await _create_index(
        db, "insight_marks_day_idx", "insight_marks", "day, machine_id, is_taken"
    )
    trade = "currency TEXT NOT NULL,\ntx_type TEXT NOT NULL,\nis_test BOOLEAN NOT NULL"
    principal = ("n", "principal_sats", "principal_cents")
    figures = (
        *("fees_charged", "platform_share", "operator_share"),
        *("operator_discounts", "platform_discounts"),
    )
    more = [f"{name}_{unit}" for name in figures for unit in ("sats", "cents")]
    for table, keys, sums in (
        ("insight_trades", trade, (*principal, *more)),
        ("insight_quarters", f"{trade},\nsecond BIGINT NOT NULL", principal),
        (
            "insight_journal",
            "currency TEXT NOT NULL,\nis_test BOOLEAN NOT NULL,\n"
            "account TEXT NOT NULL,\nclient_id TEXT",
            ("sats", "cents"),
        ),
        (
            "insight_waits",
            "who TEXT NOT NULL,\nis_test BOOLEAN NOT NULL,\nseconds BIGINT NOT NULL",
            ("n",),
        ),
    ):
        numbers = "".join(f",\n{name} BIGINT NOT NULL" for name in sums)
        await _create_table(
            db,
            table,
            f"machine_id TEXT NOT NULL,\nday BIGINT NOT NULL,\n{keys}{numbers}",
        )
        # all of a row, so that none of the table is read; few are as wide as trades
        columns = [line.split()[0] for line in f"{keys}{numbers}".split(",\n")]
        rest = "" if table == "insight_trades" else ", ".join(["", *columns])
        await _create_index(db, f"{table}_idx", table, f"{_A_DAY}{rest}")
    await _create_marking_triggers(db)


async def m029_webhooks(db: Connection) -> None:
    """An operator's webhook, what it is told, and what stands open as it knows it.

    What has completed is looked for by when it did: without its index that would
    read every settlement there is.
    """
    await _create_table(
        db,
        "dca_webhooks",
        """
        operator_user_id TEXT PRIMARY KEY NOT NULL,
        url TEXT NOT NULL,
        events_json TEXT,
        secret TEXT NOT NULL,
        previous_secret TEXT,
        previous_until TIMESTAMP,
        rotated_at TIMESTAMP,
        created_at TIMESTAMP NOT NULL,
        updated_at TIMESTAMP NOT NULL,
        read_from TIMESTAMP NOT NULL,
        failures INTEGER NOT NULL DEFAULT 0,
        paused_until TIMESTAMP
        """,
    )
    await _create_table(
        db,
        "dca_webhook_events",
        """
        id TEXT PRIMARY KEY NOT NULL,
        operator_user_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        subject_at TIMESTAMP NOT NULL,
        body TEXT NOT NULL,
        status TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at TIMESTAMP NOT NULL,
        next_try_at TIMESTAMP NOT NULL,
        give_up_at TIMESTAMP NOT NULL,
        last_try_at TIMESTAMP,
        delivered_at TIMESTAMP,
        answer_status INTEGER,
        answer TEXT,
        seen_at TIMESTAMP
        """,
    )
    await _create_unique_index(
        db,
        "dca_webhook_once_uq",
        "dca_webhook_events",
        "operator_user_id, subject_id, kind, subject_at",
    )
    for name, columns in (
        ("dca_webhook_events_due_idx", "operator_user_id, status, next_try_at"),
        ("dca_webhook_events_newest_idx", "operator_user_id, created_at, id"),
    ):
        await _create_index(db, name, "dca_webhook_events", columns)
    await _create_table(
        db,
        "dca_webhook_causes",
        """
        operator_user_id TEXT NOT NULL,
        cause TEXT NOT NULL,
        item_json TEXT NOT NULL,
        opened_at TIMESTAMP NOT NULL,
        PRIMARY KEY (operator_user_id, cause)
        """,
    )
    await _create_index(
        db, "dca_settlements_processed_idx", "dca_settlements", "processed_at"
    )
    await _create_index(
        db, "cash_visits_closed_idx", "cash_visits", "operator_user_id, closed_at"
    )


async def m031_booked_days(db: Connection) -> None:
    """What entries come to in sales and fees, by quarters of an hour: the overview's
    sums. Empty at first, and with it all days are summed up anew when somebody looks;
    until then rows are read."""
    keys = (
        "currency TEXT NOT NULL,\ntx_type TEXT NOT NULL,\nis_test BOOLEAN NOT NULL,\n"
        "second BIGINT NOT NULL,\ntrade_second BIGINT NOT NULL"
    )
    sums = (
        *("n", "principal_sats", "principal_cents", "platform_sats"),
        *("operator_sats", "lp_paid_sats"),
    )
    numbers = "".join(f",\n{name} BIGINT NOT NULL" for name in sums)
    await _create_table(
        db,
        "insight_booked",
        f"machine_id TEXT NOT NULL,\nday BIGINT NOT NULL,\n{keys}{numbers}",
    )
    columns = [line.split()[0] for line in f"{keys}{numbers}".split(",\n")]
    await _create_index(
        db, "insight_booked_idx", "insight_booked", ", ".join((_A_DAY, *columns))
    )
    await db.execute("UPDATE satoshimachine.insight_state SET until_day = 0")


async def m032_messages(db: Connection) -> None:
    """What people are told, kept until it went; when each wants to be left alone, and
    when they want their day summed up."""
    await _create_table(
        db,
        "dca_messages",
        """
        id TEXT PRIMARY KEY NOT NULL,
        user_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        cause TEXT NOT NULL,
        text TEXT NOT NULL,
        status TEXT NOT NULL,
        created_at TIMESTAMP NOT NULL,
        is_held BOOLEAN NOT NULL DEFAULT false,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_try_at TIMESTAMP NOT NULL,
        give_up_at TIMESTAMP NOT NULL,
        claim TEXT,
        ended_at TIMESTAMP,
        said TEXT
        """,
    )
    for name, columns in (
        ("dca_messages_due_idx", "status, next_try_at"),
        ("dca_messages_user_idx", "user_id, status, ended_at"),
        ("dca_messages_claim_idx", "claim"),
    ):
        await _create_index(db, name, "dca_messages", columns)
    names = ("quiet_from", "quiet_until", "digest_at")
    await _add_columns(db, "dca_preferences", dict.fromkeys(names, "TEXT"))


async def m033_machine_states(db: Connection) -> None:
    """How each machine was, one row a change: the second from which on."""
    await _create_table(
        db,
        "machine_states",
        """
        machine_id TEXT NOT NULL,
        since BIGINT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (machine_id, since)
        """,
    )


# Parts of single migrations ---------------------------------------------------------


async def _set_lamassu_tables_aside(db: Connection) -> None:
    """Renames the tables of version 1, which knew no `machine_id`, to `v1_<table>`."""
    for table in (
        "lamassu_transactions",
        "lamassu_config",
        "dca_clients",
        "dca_deposits",
        "dca_payments",
    ):
        columns = await _columns(db, table)
        if not columns or "machine_id" in columns:
            continue
        # Index names are unique in the schema: one that stayed with the old table
        # would make CREATE INDEX IF NOT EXISTS leave the new table without.
        for index in await _indexes(db, table):
            await db.execute(f"DROP INDEX {SCHEMA}.{index}")
        await db.execute(
            f"ALTER TABLE {SCHEMA}.{table} RENAME TO {await _name_aside(db, table)}"
        )


async def _name_aside(db: Connection, table: str) -> str:
    """The first of `v1_<table>`, `v1_<table>_2`, `v1_<table>_3` ... that is free."""
    name, number = f"v1_{table}", 1
    while await _columns(db, name):
        number += 1
        name = f"v1_{table}_{number}"
    return name


async def _create_lp_table(db: Connection) -> None:
    """What an LP prefers. The companion extension inserts rows here as well."""
    await _create_table(
        db,
        "dca_lp",
        f"""
        user_id TEXT PRIMARY KEY NOT NULL,
        dca_wallet_id TEXT NOT NULL,
        default_dca_mode TEXT NOT NULL DEFAULT 'flow',
        fixed_mode_daily_limit DECIMAL(10,2),
        autoforward_ln_address TEXT,
        autoforward_enabled BOOLEAN NOT NULL DEFAULT false,
        created_at TIMESTAMP NOT NULL DEFAULT {_utc_now(db)},
        updated_at TIMESTAMP NOT NULL DEFAULT {_utc_now(db)}
        """,
    )


async def _finish_cassette_rebuild(db: Connection) -> None:
    """
    Ends what m008 began on SQLite if it was killed between its DROP and its RENAME.

    m007 asks too: after a reinstall it would otherwise create an empty table where
    the rebuilt one belongs.
    """
    if not await _columns(db, "cassette_configs_rebuilt"):
        return
    if await _columns(db, "cassette_configs"):
        # The rows are still, all of them, in the table they were being copied from.
        await db.execute("DROP TABLE satoshimachine.cassette_configs_rebuilt")
    else:
        await db.execute("""
            ALTER TABLE satoshimachine.cassette_configs_rebuilt
            RENAME TO cassette_configs
            """)


async def _separate_shared_positions(db: Connection) -> None:
    """
    Gives every cassette of a machine a position of its own.

    The lowest denomination keeps a shared position, which makes the outcome the same
    however often this was begun.
    """
    rows = await _rows(
        db,
        """
        SELECT machine_id, denomination, position FROM satoshimachine.cassette_configs
        ORDER BY machine_id, position, denomination
        """,
    )
    taken = {(row["machine_id"], row["position"]) for row in rows}
    settled = set()
    for row in rows:
        machine_id, position = row["machine_id"], row["position"]
        if position is not None and (machine_id, position) not in settled:
            settled.add((machine_id, position))
            continue
        position = position or 1
        while (machine_id, position) in taken:
            position += 1
        taken.add((machine_id, position))
        settled.add((machine_id, position))
        await db.execute(
            """
            UPDATE satoshimachine.cassette_configs SET position = :position
            WHERE machine_id = :machine_id AND denomination = :denomination
            """,
            {
                "position": position,
                "machine_id": machine_id,
                "denomination": row["denomination"],
            },
        )


async def _key_cassettes_by_position(db: Connection) -> None:
    """Changes the primary key; SQLite can do that only by building the table anew."""
    if db.type != SQLITE:
        await db.execute(f"""
            ALTER TABLE satoshimachine.cassette_configs
            DROP CONSTRAINT "{await _primary_key_name(db, "cassette_configs")}",
            ADD PRIMARY KEY (machine_id, position)
            """)
        return
    await _create_table(
        db,
        "cassette_configs_rebuilt",
        f"""
        machine_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        denomination INTEGER NOT NULL,
        count INTEGER NOT NULL,
        updated_at TIMESTAMP NOT NULL DEFAULT {_utc_now(db)},
        updated_by TEXT,
        state_denomination INTEGER,
        state_count INTEGER,
        state_at TIMESTAMP,
        state_event_id TEXT,
        PRIMARY KEY (machine_id, position)
        """,
    )
    await db.execute("""
        INSERT INTO satoshimachine.cassette_configs_rebuilt (
            machine_id, position, denomination, count, updated_at, updated_by,
            state_denomination, state_count, state_at, state_event_id
        )
        SELECT
            machine_id, position, denomination, count, updated_at, updated_by,
            state_denomination, state_count, state_at, state_event_id
        FROM satoshimachine.cassette_configs
        """)
    await db.execute("DROP TABLE satoshimachine.cassette_configs")
    await _finish_cassette_rebuild(db)


async def _widen_money_columns(db: Connection) -> None:
    """
    PostgreSQL: fiat beyond 100 million units, and rates of double precision.

    SQLite keeps what it is given, whatever the column says.
    """
    if db.type == SQLITE:
        return
    for table, column in (
        ("dca_lp", "fixed_mode_daily_limit"),
        ("dca_deposits", "amount"),
        ("dca_settlements", "fiat_amount"),
        ("dca_payments", "amount_fiat"),
    ):
        if await _column_type(db, table, column) != "numeric(20,2)":
            await db.execute(
                f"ALTER TABLE {SCHEMA}.{table} ALTER COLUMN {column}"
                " TYPE DECIMAL(20,2)"
            )
    for table in ("dca_settlements", "dca_payments"):
        # By way of text: a REAL 133.3333 cast at once would read 133.33329772949.
        if await _column_type(db, table, "exchange_rate") == "real":
            await db.execute(
                f"ALTER TABLE {SCHEMA}.{table} ALTER COLUMN exchange_rate"
                " TYPE DOUBLE PRECISION"
                " USING CAST(CAST(exchange_rate AS TEXT) AS DOUBLE PRECISION)"
            )


async def _create_engine_tables(db: Connection) -> None:
    """Payouts, the engine's lease and locks, sweep watermarks, and the audit log."""
    # Every wallet that is or ever was a machine's: its payments are still to land.
    await _create_table(
        db,
        "dca_machine_wallets",
        """
        wallet_id TEXT NOT NULL,
        machine_id TEXT NOT NULL,
        since_at TIMESTAMP NOT NULL,
        PRIMARY KEY (wallet_id, machine_id)
        """,
    )
    await _create_table(
        db,
        "dca_payouts",
        """
        id TEXT PRIMARY KEY NOT NULL,
        source_wallet_id TEXT NOT NULL,
        destination TEXT NOT NULL,
        destination_wallet_id TEXT,
        is_internal BOOLEAN NOT NULL DEFAULT true,
        amount_sats BIGINT NOT NULL,
        sent_sats BIGINT,
        network_fee_sats BIGINT,
        status TEXT NOT NULL,
        payment_hash TEXT,
        bolt11 TEXT,
        reason TEXT,
        checks INTEGER NOT NULL DEFAULT 0,
        next_try_at TIMESTAMP,
        lease_token TEXT,
        created_at TIMESTAMP NOT NULL,
        updated_at TIMESTAMP NOT NULL,
        paid_at TIMESTAMP
        """,
    )
    await _create_unique_index(db, "dca_payouts_hash_uq", "dca_payouts", "payment_hash")
    await _create_index(
        db, "dca_payouts_status_idx", "dca_payouts", "status, source_wallet_id"
    )
    await _create_index(db, "dca_payouts_paid_idx", "dca_payouts", "paid_at")
    await _create_table(
        db,
        "dca_payout_legs",
        """
        payout_id TEXT NOT NULL,
        leg_id TEXT NOT NULL,
        amount_sats BIGINT NOT NULL,
        PRIMARY KEY (payout_id, leg_id)
        """,
    )
    await _create_index(db, "dca_payout_legs_leg_idx", "dca_payout_legs", "leg_id")
    await _create_table(
        db,
        "dca_lease",
        """
        id TEXT PRIMARY KEY NOT NULL,
        holder TEXT,
        expires_epoch BIGINT NOT NULL DEFAULT 0
        """,
    )
    await db.execute("""
        INSERT INTO satoshimachine.dca_lease (id) VALUES ('engine')
        ON CONFLICT DO NOTHING
        """)
    await _create_table(
        db,
        "dca_locks",
        """
        id TEXT PRIMARY KEY NOT NULL,
        n BIGINT NOT NULL DEFAULT 0
        """,
    )
    await db.execute("""
        INSERT INTO satoshimachine.dca_locks (id) VALUES ('ledger')
        ON CONFLICT DO NOTHING
        """)
    await _create_table(
        db,
        "dca_cursors",
        """
        id TEXT PRIMARY KEY NOT NULL,
        value TEXT,
        updated_at TIMESTAMP
        """,
    )
    await _create_table(
        db,
        "dca_audit",
        """
        id TEXT PRIMARY KEY NOT NULL,
        created_at TIMESTAMP NOT NULL,
        actor TEXT NOT NULL,
        operator_user_id TEXT,
        machine_id TEXT,
        client_user_id TEXT,
        action TEXT NOT NULL,
        subject_type TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        before_json TEXT,
        after_json TEXT,
        reason TEXT
        """,
    )
    await _create_index(
        db, "dca_audit_operator_idx", "dca_audit", "operator_user_id, created_at"
    )
    await _create_index(
        db, "dca_audit_subject_idx", "dca_audit", "subject_type, subject_id"
    )

    # The running sum of what an LP's legs took off their balance: a sum over a year
    # of legs at every plan would make each settlement slower than the one before.
    await _create_table(
        db,
        "dca_client_totals",
        "client_id TEXT PRIMARY KEY NOT NULL, debited_cents BIGINT NOT NULL DEFAULT 0",
    )
    await _create_index(db, "dca_payments_time_idx", "dca_payments", "transaction_time")
    await _create_index(
        db, "dca_payments_hash_idx", "dca_payments", "external_payment_hash"
    )


async def _fill_in_old_rows(db: Connection) -> None:
    """Gives rows from before m010 the facts that new rows are written with."""
    await db.execute("""
        INSERT INTO satoshimachine.dca_machine_wallets (
            wallet_id, machine_id, since_at
        )
        SELECT wallet_id, id, created_at FROM satoshimachine.dca_machines
        WHERE true
        ON CONFLICT DO NOTHING
        """)
    await db.execute("""
        UPDATE satoshimachine.dca_settlements SET
            transaction_time = created_at,
            wallet_id = (
                SELECT m.wallet_id FROM satoshimachine.dca_machines m
                WHERE m.id = dca_settlements.machine_id
            ),
            super_cash_in_fee_fraction = (
                SELECT s.super_cash_in_fee_fraction
                FROM satoshimachine.super_config s WHERE s.id = 'default'
            ),
            super_cash_out_fee_fraction = (
                SELECT s.super_cash_out_fee_fraction
                FROM satoshimachine.super_config s WHERE s.id = 'default'
            ),
            operator_cash_in_fee_fraction = (
                SELECT m.operator_cash_in_fee_fraction
                FROM satoshimachine.dca_machines m
                WHERE m.id = dca_settlements.machine_id
            ),
            operator_cash_out_fee_fraction = (
                SELECT m.operator_cash_out_fee_fraction
                FROM satoshimachine.dca_machines m
                WHERE m.id = dca_settlements.machine_id
            )
        WHERE transaction_time IS NULL
        """)
    await db.execute("""
        UPDATE satoshimachine.dca_payments SET source_wallet_id = (
            SELECT m.wallet_id FROM satoshimachine.dca_machines m
            WHERE m.id = dca_payments.machine_id
        )
        WHERE source_wallet_id IS NULL
        """)
    # An older version may have paid these without saying so: a person looks first.
    await db.execute("""
        UPDATE satoshimachine.dca_payments SET status = 'failed', error_message =
            'Left open by an older version: check in LNbits whether it was paid.'
        WHERE status = 'pending' AND leg_key IS NULL
        """)
    legs = """
        FROM satoshimachine.dca_payments p
        WHERE p.settlement_id = dca_settlements.id AND p.leg_type <> 'autoforward'
        """
    await db.execute(f"""
        UPDATE satoshimachine.dca_settlements SET
            planned_at = created_at,
            retained_sats = CASE WHEN tx_type = 'cash_in' THEN fee_sats
                ELSE wire_sats END - (SELECT COALESCE(SUM(p.amount_sats), 0) {legs}
                    AND p.status <> 'voided'),
            status = CASE WHEN EXISTS (SELECT 1 {legs} AND p.status = 'failed')
                THEN 'attention' ELSE 'completed' END
        WHERE planned_at IS NULL AND status <> 'voided' AND EXISTS (SELECT 1 {legs})
        """)  # noqa: S608 (the texts are of this file)
    # No engine picks these words up: without a person they would stay for ever.
    await db.execute("""
        UPDATE satoshimachine.dca_settlements SET status = 'attention',
            error_message = 'Left open by an older version: check in LNbits what was '
                || 'paid, then void it or retry it.'
        WHERE planned_at IS NULL AND status NOT IN (
            'pending', 'completed', 'quarantined', 'voided', 'attention',
            'awaiting_dispense')
        """)
    await db.execute("""
        INSERT INTO satoshimachine.dca_client_totals (client_id, debited_cents)
        SELECT client_id, SUM(CAST(ROUND(amount_fiat * 100) AS BIGINT))
        FROM satoshimachine.dca_payments
        WHERE client_id IS NOT NULL AND amount_fiat IS NOT NULL
          AND leg_type IN ('dca', 'settlement')
          AND status NOT IN ('voided', 'refunded')
        GROUP BY client_id
        ON CONFLICT (client_id) DO UPDATE SET debited_cents = excluded.debited_cents
        """)


async def _open_the_bays(db: Connection) -> None:
    """Opening movements and counts of bays of which the cash book knows nothing.

    The ids are the bays' own, so that a second run writes nothing twice; the balances
    are summed up anew from the movements each time.
    """
    found = await _rows(
        db,
        """
        SELECT k.*, m.operator_user_id, m.fiat_code
        FROM satoshimachine.cassette_configs k
        JOIN satoshimachine.dca_machines m ON m.id = k.machine_id
        WHERE k.denomination > 0 AND NOT EXISTS (
            SELECT 1 FROM satoshimachine.cash_counts c
            WHERE c.machine_id = k.machine_id AND c.place = 'bay:' || k.position)
        ORDER BY k.machine_id, k.position
        """,
    )
    paid_out = await _notes_paid_out(db, {row["machine_id"] for row in found})
    for bay in found:
        count = _present_count(bay, paid_out.get(bay["machine_id"], []))
        values = {
            "id": f"opening:{bay['machine_id']}:{bay['position']}",
            "operator": bay["operator_user_id"],
            "machine": bay["machine_id"],
            "place": f"bay:{bay['position']}",
            "denomination": bay["denomination"],
            "notes": count,
            "amount": bay["denomination"] * count,
            "currency": bay["fiat_code"],
            "notes_json": json.dumps({str(bay["denomination"]): count}),
            "cents": bay["denomination"] * count * 100,
        }
        if count:
            await db.execute(
                """
                INSERT INTO satoshimachine.cash_movements (
                    id, operator_user_id, machine_id, from_place, to_place,
                    denomination, notes, amount, currency, at, "by", source
                ) SELECT :id, :operator, :machine, 'opening', :place, :denomination,
                    :notes, :amount, :currency, updated_at, 'engine', 'person'
                FROM satoshimachine.dca_cursors WHERE id = 'cash_book_began'
                ON CONFLICT DO NOTHING
                """,
                values,
            )
        await db.execute(
            """
            INSERT INTO satoshimachine.cash_counts (
                id, operator_user_id, machine_id, place, currency, at, notes_json,
                cents, is_opening, "by", source
            ) SELECT :id, :operator, :machine, :place, :currency, updated_at,
                :notes_json, :cents, true, 'engine', 'upgrade'
            FROM satoshimachine.dca_cursors WHERE id = 'cash_book_began'
            ON CONFLICT DO NOTHING
            """,
            values,
        )
    await _sum_up_cash(db)


async def _notes_paid_out(
    db: Connection, machine_ids: set[str]
) -> dict[str, list[tuple[Any, dict[str, int]]]]:
    """When and from which bays notes came out, of every sale that says so."""
    paid_out: dict[str, list[tuple[Any, dict[str, int]]]] = {}
    for machine_id in sorted(machine_ids):
        sales = await _rows(
            db,
            """
            SELECT transaction_time, cassettes_json FROM satoshimachine.dca_settlements
            WHERE machine_id = :machine AND tx_type = 'cash_out'
              AND cassettes_json IS NOT NULL AND transaction_time IS NOT NULL
              AND status NOT IN ('quarantined', 'voided')
              AND COALESCE(dispense_state, 'confirmed') = 'confirmed'
              AND transaction_time >= (
                SELECT MIN(CASE WHEN state_at IS NOT NULL AND state_at < updated_at
                           THEN state_at ELSE updated_at END)
                FROM satoshimachine.cassette_configs WHERE machine_id = :machine)
            """,
            {"machine": machine_id},
        )
        paid_out[machine_id] = [
            (sale["transaction_time"], _notes_by_bay(sale["cassettes_json"]))
            for sale in sales
        ]
    return paid_out


def _notes_by_bay(text_: str) -> dict[str, int]:
    """Notes by bay as a machine says them; what makes no sense counts for nothing."""
    try:
        said = json.loads(text_)
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    return {k: n for k, n in said.items() if type(n) is int and 0 <= n < 1_000_000}


def _present_count(bay: Any, sales: list[tuple[Any, dict[str, int]]]) -> int:
    """The newest count of a bay, the operator's or the machine's, less the sales since;
    at least 0."""
    counted, at = int(bay["count"]), bay["updated_at"]
    is_newer = bay["state_at"] is not None and (at is None or bay["state_at"] >= at)
    if bay["state_count"] is not None and is_newer:
        counted, at = int(bay["state_count"]), bay["state_at"]
    position = str(bay["position"])
    since = [notes.get(position, 0) for when, notes in sales if at and when >= at]
    return max(0, counted - sum(since))


async def _sum_up_cash(db: Connection) -> None:
    """`cash_balances` from the movements, each time anew."""
    of_machine = "({0} IN ('box', 'bays') OR {0} LIKE 'bay:%')"
    sides = " UNION ALL ".join(f"""
        SELECT operator_user_id,
            CASE WHEN {side} = 'hand' THEN '' ELSE machine_id END AS machine_id,
            {side} AS place, currency,
            CASE WHEN {side} = 'hand' THEN 0 ELSE COALESCE(denomination, 0) END
                AS denomination,
            {sign} * CASE WHEN {side} = 'hand' THEN 0 ELSE COALESCE(notes, 0) END
                AS notes,
            {sign} * CAST(ROUND(amount * 100) AS BIGINT) AS cents
        FROM satoshimachine.cash_movements
        WHERE {side} = 'hand' OR {of_machine.format(side)}
        """ for side, sign in (("to_place", 1), ("from_place", -1)))  # noqa: S608
    await db.execute(f"""
        INSERT INTO satoshimachine.cash_balances (
            operator_user_id, machine_id, place, denomination, currency, notes, cents
        )
        SELECT operator_user_id, machine_id, place, denomination, currency,
            SUM(notes), SUM(cents)
        FROM ({sides}) AS moved
        WHERE true
        GROUP BY operator_user_id, machine_id, place, denomination, currency
        ON CONFLICT (operator_user_id, machine_id, place, denomination, currency)
        DO UPDATE SET notes = excluded.notes, cents = excluded.cents
        """)  # noqa: S608


# Steps that any migration may take, and take again ----------------------------------


def _utc_now(db: Connection) -> str:
    """A column default: now, in UTC whatever the time zone of the session."""
    if db.type == SQLITE:
        return db.timestamp_now
    return "(now() AT TIME ZONE 'utc')"


_A_DAY = "machine_id, day"
# What of a settlement's row counts in sums. Other changes of it, which are most, mark
# nothing.
_SUMMED = (
    *("machine_id", "transaction_time", "tx_type", "fiat_code", "is_test"),
    *("fiat_amount", "dispensed_fiat", "principal_sats", "dispensed_principal_sats"),
    *("fee_sats", "dispensed_fee_sats", "platform_fee_sats"),
    *("dispensed_platform_fee_sats", "operator_fee_sats"),
    *("dispensed_operator_fee_sats", "operator_discount_sats"),
    "platform_discount_sats",
)
_WAITED = ("settlement_id", "leg_type", "status", "paid_outside", "completed_at")


async def _create_marking_triggers(db: Connection) -> None:
    """Whatever changes a row of a day that is over marks the day of its machine, in the
    same transaction. Days are over by the database's own clock; those that are not are
    never summed up, so that a mark is written by what comes late alone."""
    settlement = ("machine_id", "transaction_time")
    is_less = "{0}.status IN ('quarantined', 'voided')"
    changed = " OR ".join(_differs(db, name) for name in _SUMMED)
    changed += f" OR ({is_less.format('OLD')}) <> ({is_less.format('NEW')})"
    of_entry = "FROM {table} j WHERE j.id = {row}.journal_id"
    of_trade = "FROM {table} j WHERE j.id = {row}.settlement_id"
    wait = " OR ".join(_differs(db, name) for name in _WAITED)
    said = " OR ".join(_differs(db, x) for x in ("settlement_id", "first_said_at"))
    waits = "{0}.leg_type = 'dca' AND {0}.status = 'completed'"
    both = f"(({waits.format('OLD')}) OR ({waits.format('NEW')})) AND ({wait})"
    for table, event, when, columns, source in (
        ("dca_settlements", "INSERT", "", settlement, ""),
        ("dca_settlements", "UPDATE", changed, settlement, ""),
        ("dca_settlements", "DELETE", "", settlement, ""),
        ("journal", "INSERT", "", ("machine_id", "at"), ""),
        ("journal", "UPDATE", "", ("machine_id", "at"), ""),
        ("journal", "DELETE", "", ("machine_id", "at"), ""),
        # a new line comes with its entry, which has marked the day
        ("journal_lines", "UPDATE", "", ("machine_id", "at"), "journal"),
        ("journal_lines", "DELETE", "", ("machine_id", "at"), "journal"),
        ("dca_payments", "INSERT", waits.format("NEW"), settlement, "dca_settlements"),
        ("dca_payments", "UPDATE", both, settlement, "dca_settlements"),
        ("dca_payments", "DELETE", waits.format("OLD"), settlement, "dca_settlements"),
        ("cash_trades", "INSERT", "", settlement, "dca_settlements"),
        ("cash_trades", "UPDATE", said, settlement, "dca_settlements"),
        ("cash_trades", "DELETE", "", settlement, "dca_settlements"),
    ):
        of = of_entry if source == "journal" else of_trade if source else ""
        await _create_marking_trigger(db, table, event, when, columns, source, of)


def _differs(db: Connection, column: str) -> str:
    unlike = "IS NOT" if db.type == SQLITE else "IS DISTINCT FROM"
    return f"OLD.{column} {unlike} NEW.{column}"


async def _create_marking_trigger(
    db: Connection,
    table: str,
    event: str,
    when: str,
    columns: tuple[str, str],
    source: str,
    of: str,
) -> None:
    """One that marks the machine and day of the row, or of the row in `source` that it
    is of; before and after the change."""
    name = f"insight_{table}_{event.lower()}"
    is_sqlite = db.type == SQLITE
    # a trigger of SQLite's names tables of its own file, and without the file
    place = "" if is_sqlite else f"{SCHEMA}."
    inserts = ""
    for row in {"INSERT": ("NEW",), "DELETE": ("OLD",)}.get(event, ("OLD", "NEW")):
        machine, at = (f"{'j' if source else row}.{column}" for column in columns)
        found = of.format(table=f"{place}{source}", row=row)
        inserts += (
            f"INSERT INTO {place}insight_marks (machine_id, day) "
            f"SELECT {machine}, {_day_number(db, at)} {found} "
            f"{'AND' if source else 'WHERE'} {_is_over(db, at)}; "
        )
    on = f"AFTER {event} ON {place}{table} FOR EACH ROW"
    if is_sqlite:
        condition = f"WHEN {when}" if when else ""
        await db.execute(
            f"CREATE TRIGGER IF NOT EXISTS {db.references_schema}{name} {on} "
            f"{condition} BEGIN {inserts}END"
        )
        return
    await db.execute(
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.{name}() RETURNS trigger "
        f"LANGUAGE plpgsql AS $$ BEGIN {inserts}RETURN NULL; END $$"
    )
    if not await _rows(
        db,
        f"SELECT 1 AS n FROM pg_trigger WHERE tgname = '{name}' "  # noqa: S608
        f"AND tgrelid = CAST('{SCHEMA}.{table}' AS regclass)",
    ):
        condition = f"WHEN ({when})" if when else ""
        await db.execute(
            f"CREATE TRIGGER {name} {on} {condition} "
            f"EXECUTE FUNCTION {SCHEMA}.{name}()"
        )


def _day_number(db: Connection, at: str) -> str:
    if db.type == SQLITE:
        return f"CAST({at} / 86400 AS BIGINT)"
    return f"(CAST({at} AS DATE) - DATE '1970-01-01')"


def _is_over(db: Connection, at: str) -> str:
    """Whether the day of UTC that a time is in has ended."""
    if db.type == SQLITE:
        return f"{at} < CAST(strftime('%s', 'now', 'start of day') AS BIGINT)"
    return f"{at} < date_trunc('day', clock_timestamp() AT TIME ZONE 'utc')"


async def _create_table(db: Connection, table: str, columns: str) -> None:
    await db.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{table} ({columns})")


async def _create_index(db: Connection, name: str, table: str, columns: str) -> None:
    await db.execute(
        f"CREATE INDEX IF NOT EXISTS {name}"
        f" ON {db.references_schema}{table} ({columns})"
    )


async def _create_unique_index(
    db: Connection, name: str, table: str, columns: str
) -> None:
    """
    Creates a unique index, unless rows of an older database stand against it.

    These rows are money: they stay as they are, the log says which columns to look
    at, and the extension runs without its second line of defence.
    """
    present = " AND ".join(f"{column} IS NOT NULL" for column in columns.split(", "))
    # The names come from this file, never from outside.
    duplicates = await _rows(
        db,
        f"SELECT COUNT(*) AS n FROM {SCHEMA}.{table} WHERE {present}"  # noqa: S608
        f" GROUP BY {columns} HAVING COUNT(*) > 1 LIMIT 1",
    )
    if duplicates:
        logger.warning(
            f"satmachineadmin: {table} holds rows with the same ({columns}); give each"
            f" its own and reinstall the extension, so that {name} can be created."
        )
        return
    await db.execute(
        f"CREATE UNIQUE INDEX IF NOT EXISTS {name}"
        f" ON {db.references_schema}{table} ({columns})"
    )


async def _add_columns(db: Connection, table: str, columns: dict[str, str]) -> None:
    """Adds the columns, named with their types, that the table does not have yet."""
    present = await _columns(db, table)
    for column, ddl in columns.items():
        if column not in present:
            await db.execute(f"ALTER TABLE {SCHEMA}.{table} ADD COLUMN {column} {ddl}")


async def _add_column(db: Connection, table: str, column: str, ddl: str) -> None:
    """Adds a column of the type `ddl`, unless it is there."""
    await _add_columns(db, table, {column: ddl})


async def _rename_column(db: Connection, table: str, old: str, new: str) -> None:
    """Renames a column, unless it has been renamed, or never had the old name."""
    columns = await _columns(db, table)
    if old in columns and new not in columns:
        await db.execute(f"ALTER TABLE {SCHEMA}.{table} RENAME COLUMN {old} TO {new}")


async def _drop_column(db: Connection, table: str, column: str) -> None:
    """Drops a column, unless it is gone, with the indexes that are made of it."""
    if column not in await _columns(db, table):
        return
    if db.type == SQLITE:  # PostgreSQL drops them itself
        for index, columns in (await _indexes(db, table)).items():
            if column in columns:
                await db.execute(f"DROP INDEX {SCHEMA}.{index}")
    await db.execute(f"ALTER TABLE {SCHEMA}.{table} DROP COLUMN {column}")


# What the catalogue says ------------------------------------------------------------


async def _rows(
    db: Connection, query: str, values: dict[str, str] | None = None
) -> list[Any]:
    """The rows of a query, by column name."""
    result = await db.conn.execute(text(query), values or {})
    return result.mappings().all()


async def _columns(db: Connection, table: str) -> set[str]:
    """The names of a table's columns; empty if there is no such table."""
    if db.type == SQLITE:
        rows = await _rows(db, f"PRAGMA {SCHEMA}.table_info({table})")
        return {row["name"] for row in rows}
    rows = await _rows(
        db,
        """
        SELECT column_name FROM information_schema.columns
        WHERE table_schema = :schema AND table_name = :table
        """,
        {"schema": SCHEMA, "table": table},
    )
    return {row["column_name"] for row in rows}


async def _column_type(db: Connection, table: str, column: str) -> str:
    """PostgreSQL's name for a column's type, such as `real` or `numeric(20,2)`."""
    row, *_ = await _rows(
        db,
        """
        SELECT format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a
        JOIN pg_class t ON t.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = :schema AND t.relname = :table AND a.attname = :column
        """,
        {"schema": SCHEMA, "table": table, "column": column},
    )
    return row["type"]


async def _primary_key(db: Connection, table: str) -> list[str]:
    """The columns of a table's primary key, in the key's order."""
    if db.type == SQLITE:
        rows = await _rows(db, f"PRAGMA {SCHEMA}.table_info({table})")
        key = sorted((row["pk"], row["name"]) for row in rows if row["pk"])
        return [name for _, name in key]
    rows = await _rows(
        db,
        """
        SELECT k.column_name
        FROM information_schema.table_constraints c
        JOIN information_schema.key_column_usage k
            ON k.constraint_schema = c.constraint_schema
            AND k.constraint_name = c.constraint_name
            AND k.table_name = c.table_name
        WHERE c.table_schema = :schema AND c.table_name = :table
        AND c.constraint_type = 'PRIMARY KEY'
        ORDER BY k.ordinal_position
        """,
        {"schema": SCHEMA, "table": table},
    )
    return [row["column_name"] for row in rows]


async def _primary_key_name(db: Connection, table: str) -> str:
    """What PostgreSQL calls the constraint that is a table's primary key."""
    row, *_ = await _rows(
        db,
        """
        SELECT constraint_name FROM information_schema.table_constraints
        WHERE table_schema = :schema AND table_name = :table
        AND constraint_type = 'PRIMARY KEY'
        """,
        {"schema": SCHEMA, "table": table},
    )
    return row["constraint_name"]


async def _indexes(db: Connection, table: str) -> dict[str, list[str]]:
    """The indexes of a table, with their columns, but those that are constraints."""
    if db.type == SQLITE:
        rows = await _rows(db, f"PRAGMA {SCHEMA}.index_list({table})")
        return {
            row["name"]: [
                part["name"]
                for part in await _rows(
                    db, f"PRAGMA {SCHEMA}.index_info({row['name']})"
                )
            ]
            for row in rows
            if row["origin"] == "c"
        }
    rows = await _rows(
        db,
        """
        SELECT i.relname AS name, a.attname AS part
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_class t ON t.oid = x.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_attribute a ON a.attrelid = i.oid
        LEFT JOIN pg_constraint c ON c.conindid = x.indexrelid
        WHERE n.nspname = :schema AND t.relname = :table AND c.oid IS NULL
        ORDER BY i.relname, a.attnum
        """,
        {"schema": SCHEMA, "table": table},
    )
    indexes: dict[str, list[str]] = {}
    for row in rows:
        indexes.setdefault(row["name"], []).append(row["part"])
    return indexes
