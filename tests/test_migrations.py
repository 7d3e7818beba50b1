"""The schema, and how databases of every older shape come to have it.

Each upgrade starts from rows that the fixtures spell out, and accounts for every one
of them afterwards. What a kill in between does is in `test_migrations_killed.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from fixtures import databases, older_databases, schema, schema_added
from fixtures.databases import dump, migrate, opened, row_of, schema_lines
from fixtures.older_databases import T0, build, database_at, insert, lamassu_database
from fixtures.upgraded import assert_every_row_accounted_for
from lnbits.db import POSTGRES, SQLITE, Connection, Database
from sqlalchemy import text

from satmachineadmin.base import tables
from satmachineadmin.books.opening import compare
from satmachineadmin.ledger.before_crud import write_before

from dev import opening

OLD_VERSIONS = range(1, 10)
LAMASSU = [table.name for table in lamassu_database()]


@pytest_asyncio.fixture
async def empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    async with databases.empty_database(tmp_path, monkeypatch) as database:
        yield database


@pytest_asyncio.fixture
async def conn(empty: Database) -> AsyncIterator[Connection]:
    async with opened(empty) as connection:
        yield connection


# The schema -------------------------------------------------------------------------


def test_migrations_are_defined_in_numeric_order() -> None:
    numbers = [number for number, _ in databases.all_migrations()]
    # each once, in order; engineers who work at a time keep a number each
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    assert len(numbers) >= 10


async def test_m001_on_nothing_is_the_first_version(conn: Connection) -> None:
    await migrate(conn, last=1)
    lines = await schema_lines(conn)
    assert "cassette_configs" not in lines
    assert "super_fee_fraction DECIMAL(10,4) NN 0" in lines["super_config"]
    assert (await dump(conn))["super_config"] == [
        {
            "id": "default",
            "super_fee_fraction": 0,
            "super_fee_wallet_id": None,
            "updated_at": "now",
        }
    ]


async def test_m007_keys_cassettes_by_denomination(conn: Connection) -> None:
    await migrate(conn, last=7)
    lines = (await schema_lines(conn))["cassette_configs"]
    assert "PRIMARY KEY machine_id, denomination" in lines
    assert not any(line.startswith("state_denomination") for line in lines)


async def test_schema_after_m009_is_the_contract(conn: Connection) -> None:
    await migrate(conn, last=9)
    assert await schema_lines(conn) == schema.lines(schema.AFTER_M009)


async def test_schema_after_m010_is_what_the_engine_needs(conn: Connection) -> None:
    await migrate(conn, last=10)
    assert await schema_lines(conn) == schema.at_m010(conn.type == POSTGRES)
    tables = await dump(conn)
    assert tables["dca_lease"] == [{"id": "engine", "holder": None, "expires_epoch": 0}]
    assert tables["dca_locks"] == [{"id": "ledger", "n": 0}]


async def test_later_migrations_only_add_to_the_schema(conn: Connection) -> None:
    await migrate(conn)
    # deleting everything leaves what a first installation has
    rows = {name: len(found) for name, found in (await dump(conn)).items() if found}
    assert rows == Counter(table for table, *_ in tables.FIRST_ROWS)
    lines = await schema_lines(conn)
    for table, expected in schema.at_m010(conn.type == POSTGRES).items():
        assert expected <= lines[table]
    for added in schema_added.ALL:
        for table, expected in schema.lines(added).items():
            assert expected <= lines[table]


# Older shapes -----------------------------------------------------------------------


@pytest.mark.parametrize("reinstalled", [False, True], ids=["", "reinstalled"])
@pytest.mark.parametrize("version", OLD_VERSIONS)
async def test_upgrade_accounts_for_every_row(
    conn: Connection, version: int, reinstalled: bool
) -> None:
    await build(conn, database_at(version))
    before = await dump(conn)
    await migrate(conn, recorded=0 if reinstalled else version)
    after = await dump(conn)
    assert_every_row_accounted_for(before, after)
    assert len(after["dca_lp"]) == 4
    # the journal's figures beside those of the rows, and a rule for each difference
    said, is_explained = opening.table(await compare(conn))
    assert is_explained and len(said) > 3, "\n".join(said)


@pytest.mark.parametrize("version", OLD_VERSIONS)
async def test_upgrade_ends_in_the_schema_of_a_fresh_install(
    conn: Connection, version: int
) -> None:
    await build(conn, database_at(version))
    await migrate(conn, recorded=version, last=10)
    assert await schema_lines(conn) == schema.at_m010(conn.type == POSTGRES)


async def test_m002_a_wallet_becomes_a_target(conn: Connection) -> None:
    await build(conn, database_at(1))
    await migrate(conn, recorded=1)
    after = await dump(conn)
    assert row_of(after, "dca_commission_splits", "split-1")["target"] == "w-olga"
    assert row_of(after, "dca_commission_splits", "split-3")["target"] == "w-rent"


async def test_m003_m006_amounts_keep_their_size_to_the_sat(conn: Connection) -> None:
    await build(conn, database_at(1))
    await migrate(conn, recorded=1)
    big = row_of(await dump(conn), "dca_settlements", "set-big")
    assert big["wire_sats"] == big["principal_sats"] == 2_100_000_000_000_000
    assert big["fiat_amount"] == Decimal("99999999.99")
    settlement = row_of(await dump(conn), "dca_settlements", "set-out")
    assert settlement["wire_sats"] == 108_000
    assert settlement["principal_sats"] == 100_000
    assert settlement["fee_sats"] == 8_000
    assert settlement["fee_mismatch_sats"] is None


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_m004_the_newest_enrolment_speaks_for_an_lp(
    conn: Connection, version: int
) -> None:
    await build(conn, database_at(version))
    await migrate(conn, recorded=version)
    after = await dump(conn)

    ana = row_of(after, "dca_lp", "ana")
    assert ana["dca_wallet_id"] == "w-ana-new"
    assert ana["default_dca_mode"] == "fixed"
    assert ana["fixed_mode_daily_limit"] == Decimal("250.5")
    assert ana["autoforward_ln_address"] == "ana@x.org"
    assert ana["autoforward_enabled"] is True
    assert (ana["created_at"], ana["updated_at"]) == (T0 + 10, T0 + 90)

    bo = row_of(after, "dca_lp", "bo")
    assert bo["dca_wallet_id"] == "w-bo-new"
    assert bo["default_dca_mode"] == "flow"
    assert bo["fixed_mode_daily_limit"] is None
    assert bo["autoforward_ln_address"] is None
    assert bo["autoforward_enabled"] is False

    assert row_of(after, "dca_lp", "di")["autoforward_ln_address"] == "di@x.org"


async def test_m004_what_an_lp_chose_already_is_never_overwritten(
    conn: Connection,
) -> None:
    await build(conn, database_at(3))
    chosen = row_of(await dump(conn), "dca_lp", "cy")
    await migrate(conn, recorded=3, last=9)
    assert row_of(await dump(conn), "dca_lp", "cy") == chosen


async def test_m004_creates_dca_lp_where_it_was_not_yet(conn: Connection) -> None:
    tables = [table for table in database_at(3) if table.name != "dca_lp"]
    await build(conn, tables)
    await migrate(conn, recorded=3)
    after = await dump(conn)
    assert {row["user_id"] for row in after["dca_lp"]} == {"ana", "bo", "cy", "di"}
    assert row_of(after, "dca_lp", "cy")["dca_wallet_id"] == "w-cy-old"


async def test_m005_deposits_are_in_the_currency_of_their_machine(
    conn: Connection,
) -> None:
    await build(conn, database_at(4))
    await migrate(conn, recorded=4)
    after = await dump(conn)
    currencies = {row["id"]: row["currency"] for row in after["dca_deposits"]}
    assert currencies == {
        "dep-gtq": "GTQ",
        "dep-mxn": "MXN",
        "dep-vnd": "VND",
        "dep-orphan": "GTQ",
    }
    assert row_of(after, "dca_deposits", "dep-gtq")["notes"] == (
        "cash <in> an envelope & sealed"
    )


@pytest.mark.parametrize(
    "fallback", ["fallback_commission_pct", "fallback_commission_fraction"]
)
async def test_m006_drops_the_fallback_under_either_name(
    conn: Connection, fallback: str
) -> None:
    await build(conn, database_at(5, fallback=fallback))
    await migrate(conn, recorded=5)
    machine = row_of(await dump(conn), "dca_machines", "machine-gtq")
    assert not any(name.startswith("fallback") for name in machine)
    assert machine["wallet_id"] == "w-gtq"


async def test_m008_cassettes_that_share_a_bay_get_the_next_free_ones(
    conn: Connection,
) -> None:
    await build(conn, database_at(7))
    await migrate(conn, recorded=7)
    rows = (await dump(conn))["cassette_configs"]
    bays = {
        (row["machine_id"][8:], row["denomination"]): row["position"] for row in rows
    }
    assert bays == older_databases.BAYS
    assert all(row["state_denomination"] == row["denomination"] for row in rows)
    counted = {
        (row["machine_id"][8:], row["denomination"]): row["state_count"] for row in rows
    }
    assert counted == {
        (machine, denomination): state_count
        for machine, denomination, _, _, state_count in older_databases.CASSETTES
    }


async def test_m008_allows_one_denomination_in_two_bays(conn: Connection) -> None:
    await migrate(conn)
    cassette = {"machine_id": "m", "denomination": 20, "count": 1}
    await insert(conn, "cassette_configs", {**cassette, "position": 1})
    await insert(conn, "cassette_configs", {**cassette, "position": 2})
    await conn.conn.commit()
    rows = (await dump(conn))["cassette_configs"]
    assert [row["position"] for row in rows] == [1, 2]


@pytest.mark.parametrize("version", [1, 5, 6, 8])
async def test_m009_a_single_platform_fee_goes_into_both_directions(
    conn: Connection, version: int
) -> None:
    await build(conn, database_at(version))
    await migrate(conn, recorded=version)
    config = row_of(await dump(conn), "super_config", "default")
    assert config["super_cash_in_fee_fraction"] == Decimal("0.03")
    assert config["super_cash_out_fee_fraction"] == Decimal("0.03")
    assert config["super_fee_wallet_id"] == "w-super"


@pytest.mark.parametrize(
    ("single", "cash_in", "cash_out"),
    [("0.03", "0.01", "0.02"), ("0.03", "0", "0.02"), ("0", "0", "0.02")],
)
async def test_m009_directions_that_are_set_already_stay(
    conn: Connection, single: str, cash_in: str, cash_out: str
) -> None:
    await build(conn, database_at(8, super_fee=float(single)))
    for direction, fraction in (("in", cash_in), ("out", cash_out)):
        column = f"super_cash_{direction}_fee_fraction"
        await conn.execute(
            f"ALTER TABLE satoshimachine.super_config ADD COLUMN {column}"
            f" DECIMAL(10,4) NOT NULL DEFAULT {fraction}"
        )
    await migrate(conn, recorded=8)
    config = row_of(await dump(conn), "super_config", "default")
    assert config["super_cash_in_fee_fraction"] == Decimal(cash_in)
    assert config["super_cash_out_fee_fraction"] == Decimal(cash_out)
    assert "super_fee_fraction" not in config


# Version 1 --------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [0, 1, 4, 8, 9])
async def test_lamassu_tables_are_set_aside_with_their_rows(
    conn: Connection, recorded: int
) -> None:
    """`recorded`: version 1 was upgraded in place, and had that many migrations."""
    await build(conn, lamassu_database())
    before = await dump(conn)
    await migrate(conn, recorded=recorded, last=10)
    after = await dump(conn)
    assert {table: after.pop(f"v1_{table}") for table in LAMASSU} == before
    assert not after["dca_clients"] + after["dca_deposits"] + after["dca_payments"]
    lines = await schema_lines(conn)
    expected = schema.at_m010(conn.type == POSTGRES)
    assert {table: lines[table] for table in expected} == expected
    assert lines.keys() == expected.keys() | {f"v1_{table}" for table in LAMASSU}


async def test_tables_set_aside_twice_are_numbered(conn: Connection) -> None:
    for number in ("", "_2"):
        for table in lamassu_database():
            table.name = f"v1_{table.name}{number}"
            table.indexes = ()
            await build(conn, [table])
    await build(conn, lamassu_database())
    before = await dump(conn)
    await migrate(conn)
    after = await dump(conn)
    for name in LAMASSU:
        assert after[f"v1_{name}_3"] == before[name]
        assert after[f"v1_{name}_2"] == before[f"v1_{name}_2"]
        assert after[f"v1_{name}"] == before[f"v1_{name}"]


async def test_leftovers_of_lamassu_beside_a_current_database(conn: Connection) -> None:
    """Only what is shaped like version 1 moves; our tables of the same names stay."""
    leftovers = [t for t in lamassu_database() if t.name.startswith("lamassu_")]
    await build(conn, [*database_at(9), *leftovers])
    before = await dump(conn)
    await migrate(conn)
    after = await dump(conn)
    for table in leftovers:
        assert after[f"v1_{table.name}"] == before.pop(table.name)
    assert_every_row_accounted_for(before, after)


# A current database -----------------------------------------------------------------


async def make_current(conn: Connection) -> None:
    """A database of now, with rows that an older one could not have had."""
    await build(conn, database_at(9))
    await migrate(conn, recorded=9)
    await conn.execute("""
        UPDATE satoshimachine.super_config SET super_cash_in_fee_fraction = 0,
        super_cash_out_fee_fraction = 0.0125
        """)
    await conn.execute(
        "UPDATE satoshimachine.dca_machines SET wallet_id = 'w-moved', is_paired = true"
        " WHERE id = 'machine-gtq'"
    )
    # Landed with less than usual: nothing may be made up for it later.
    await insert(
        conn,
        "dca_settlements",
        {
            "id": "set-quarantined",
            "machine_id": "machine-gtq",
            "payment_hash": "hash-quarantined",
            "wire_sats": 1,
            "fiat_amount": "99999999999.99" if conn.type == POSTGRES else 1,
            "fiat_code": "",
            "exchange_rate": 0,
            "principal_sats": 0,
            "fee_sats": 0,
            "platform_fee_sats": 0,
            "operator_fee_sats": 0,
            "tx_type": "",
            "status": "quarantined",
            "created_at": T0,
        },
    )
    await conn.conn.commit()
    await insert(
        conn,
        "cassette_configs",
        {"machine_id": "m", "position": 1, "denomination": 20, "count": 3},
    )
    await conn.conn.commit()
    await insert(
        conn,
        "dca_payments",
        {
            "id": "leg-new",
            "settlement_id": "set-out",
            "leg_type": "super_fee",
            "leg_key": "super",
            "machine_id": "machine-gtq",
            "operator_user_id": "olga",
            "amount_sats": 3_000,
            "transaction_time": T0,
            "created_at": T0,
        },
    )
    await conn.conn.commit()
    await conn.execute("""
        UPDATE satoshimachine.dca_lease SET holder = 'me', expires_epoch = 4000000000
        """)
    await conn.execute("UPDATE satoshimachine.dca_locks SET n = 77")
    # the extension writes an entry with each of its rows
    await write_before(conn)


async def test_a_current_database_met_again_by_m001_stays_as_it_is(
    conn: Connection,
) -> None:
    await make_current(conn)
    rows, lines = await dump(conn), await schema_lines(conn)
    for _ in range(2):
        await migrate(conn)
        assert await dump(conn) == rows
        assert await schema_lines(conn) == lines


async def test_uninstalled_when_new_and_installed_again(conn: Connection) -> None:
    await migrate(conn)
    rows, lines = await dump(conn), await schema_lines(conn)
    await migrate(conn)
    assert await dump(conn) == rows
    assert await schema_lines(conn) == lines


# The money engine's beginnings ------------------------------------------------------


async def test_m010_gives_old_rows_what_new_ones_are_written_with(
    conn: Connection,
) -> None:
    await build(conn, database_at(9))
    await migrate(conn, recorded=9)
    after = await dump(conn)
    for row in after["dca_settlements"]:
        assert row["wallet_id"] == f"w-{row['machine_id'][8:]}"
        assert row["transaction_time"] == row["created_at"]
        assert row["super_cash_in_fee_fraction"] == Decimal("0.03")
        assert row["super_cash_out_fee_fraction"] == Decimal("0.03")
        assert row["operator_cash_in_fee_fraction"] == Decimal("0.05")
        assert row["operator_cash_out_fee_fraction"] == Decimal("0.05")
    assert {row["source_wallet_id"] for row in after["dca_payments"]} == {"w-gtq"}
    assert {row["leg_key"] for row in after["dca_payments"]} == {None}
    assert [
        (row["wallet_id"], row["machine_id"]) for row in after["dca_machine_wallets"]
    ] == [(f"w-{fiat}", f"machine-{fiat}") for fiat in ("gtq", "mxn", "vnd")]


async def test_m010_settlements_with_legs_count_as_planned(conn: Connection) -> None:
    """Else the engine would plan, and pay, what an older version has paid."""
    await build(conn, database_at(9))
    await migrate(conn, recorded=9)
    after = await dump(conn)
    paid = row_of(after, "dca_settlements", "set-out")
    assert paid["planned_at"] == paid["created_at"]
    assert paid["retained_sats"] == 0
    assert paid["status"] == "attention"
    without_legs = row_of(after, "dca_settlements", "set-in")
    assert without_legs["planned_at"] is None
    assert without_legs["status"] == "completed"
    assert after["dca_client_totals"] == [
        {
            "client_id": "ana-1",
            "debited_cents": 76_000,
            "received_sats": 101_333,
            "received_cents": 76_000,
        }
    ]


async def test_m015_counts_what_lps_received_each_time_anew(conn: Connection) -> None:
    await build(conn, database_at(9))
    await migrate(conn, recorded=9)
    for _ in range(2):
        await migrate(conn, recorded=14)
        after = await dump(conn)
        done = [
            x
            for x in after["dca_payments"]
            if x["status"] == "completed" and x["leg_type"] in ("dca", "settlement")
        ]
        assert {x["leg_type"] for x in done} == {"dca", "settlement"}
        (total,) = after["dca_client_totals"]
        assert total["received_sats"] == sum(x["amount_sats"] for x in done)
        assert total["received_cents"] == sum(
            round((x["amount_fiat"] or 0) * 100) for x in done
        )
        by_settlement = {
            x["settlement_id"]: x["amount_sats"] for x in done if x["leg_type"] == "dca"
        }
        assert {
            x["id"]: x["paid_to_lps_sats"]
            for x in after["dca_settlements"]
            if x["paid_to_lps_sats"]
        } == by_settlement


async def test_m020_opens_the_cash_book_with_what_the_bays_hold(
    conn: Connection,
) -> None:
    await build(conn, database_at(9))
    await migrate(conn, recorded=9, last=19)
    before = await dump(conn)
    sale, *others = before["dca_settlements"]
    bay = next(x for x in before["cassette_configs"] if x["state_count"])
    machine = bay["machine_id"]
    for row, minutes in ((sale, 1), (others[0], -60)):
        await conn.execute(
            f"""
            UPDATE satoshimachine.dca_settlements SET machine_id = :machine,
                tx_type = 'cash_out', status = 'completed', dispense_state = NULL,
                cassettes_json = :notes, transaction_time = (
                    SELECT {_minutes_later(conn, minutes)}
                    FROM satoshimachine.cassette_configs
                    WHERE machine_id = :machine AND position = :position)
            WHERE id = :id
            """,
            {
                "id": row["id"],
                "machine": machine,
                "position": int(bay["position"]),
                "notes": f'{{"{bay["position"]}": 1}}',
            },
        )
    expected = bay["state_count"] - 1
    for _ in range(2):  # the second finds everything there
        await migrate(conn, recorded=19)
        after = await dump(conn)
        place = f"bay:{bay['position']}"
        (opening,) = (
            x
            for x in after["cash_movements"]
            if (x["machine_id"], x["to_place"]) == (machine, place)
        )
        assert opening["from_place"] == "opening"
        assert opening["notes"] == expected
        assert opening["amount"] == expected * bay["denomination"]
        (count,) = (
            x
            for x in after["cash_counts"]
            if (x["machine_id"], x["place"]) == (machine, place)
        )
        # nobody is refused a sale from what nobody counted
        assert count["source"] == "upgrade"
        (balance,) = (
            x
            for x in after["cash_balances"]
            if (x["machine_id"], x["place"]) == (machine, place)
        )
        assert (balance["notes"], balance["cents"]) == (
            expected,
            expected * bay["denomination"] * 100,
        )
    assert after["dca_settlements"]


def _minutes_later(conn: Connection, minutes: int) -> str:
    at = "COALESCE(state_at, updated_at)"
    if conn.type == POSTGRES:
        return f"{at} + INTERVAL '{minutes} minutes'"
    return f"{at} + {minutes * 60}"


async def test_m010_legs_left_open_by_an_older_version_wait_for_a_person(
    conn: Connection,
) -> None:
    await build(conn, database_at(9))
    leg = {
        "settlement_id": "set-in",
        "machine_id": "machine-mxn",
        "operator_user_id": "olga",
        "amount_sats": 3_000,
        "transaction_time": T0,
        "created_at": T0,
    }
    open_leg = {"id": "leg-open", "leg_type": "super_fee", "status": "pending"}
    # An LP's own business: it neither takes from the settlement nor holds it up.
    forward = {"id": "leg-forward", "leg_type": "autoforward", "status": "failed"}
    for own in (open_leg, forward):
        await insert(conn, "dca_payments", leg | own)
        await conn.conn.commit()
    await migrate(conn, recorded=9)
    after = await dump(conn)
    left_open = row_of(after, "dca_payments", "leg-open")
    assert left_open["status"] == "failed"
    assert "check in LNbits" in left_open["error_message"]
    settlement = row_of(after, "dca_settlements", "set-in")
    assert settlement["status"] == "attention"
    assert settlement["retained_sats"] == 5_000


async def test_m010_rates_keep_every_digit_they_show(conn: Connection) -> None:
    await build(conn, database_at(1))
    await migrate(conn, recorded=1)
    for table, expected in (
        ("dca_settlements", [0.21, 133.3333, 285.5103]),
        ("dca_payments", [133.3333]),
    ):
        query = (
            f"SELECT DISTINCT exchange_rate FROM satoshimachine.{table}"
            " WHERE exchange_rate IS NOT NULL ORDER BY exchange_rate"
        )
        assert [row[0] for row in await conn.conn.execute(text(query))] == expected


async def test_fiat_beyond_a_hundred_million_is_kept(conn: Connection) -> None:
    await build(conn, database_at(4))
    await migrate(conn, recorded=4)
    for table, column in (
        ("dca_deposits", "amount"),
        ("dca_settlements", "fiat_amount"),
        ("dca_payments", "amount_fiat"),
        ("dca_lp", "fixed_mode_daily_limit"),
    ):
        await conn.execute(
            f"UPDATE satoshimachine.{table} SET {column} = 123456789012.34"
        )
        rows = (await dump(conn))[table]
        assert {row[column] for row in rows} == {Decimal("123456789012.34")}


async def test_a_leg_is_unique_in_its_settlement(conn: Connection) -> None:
    await make_current(conn)
    duplicate = """
        INSERT INTO satoshimachine.dca_payments (
            id, settlement_id, leg_type, leg_key, machine_id, operator_user_id,
            amount_sats, transaction_time, created_at
        )
        SELECT 'again', settlement_id, leg_type, leg_key, machine_id,
            operator_user_id, amount_sats, transaction_time, created_at
        FROM satoshimachine.dca_payments WHERE id = 'leg-new'
        ON CONFLICT DO NOTHING
        """
    assert (await conn.execute(duplicate)).rowcount == 0


async def test_the_companion_extension_inserts_without_our_columns(
    conn: Connection,
) -> None:
    await migrate(conn)
    await insert(conn, "dca_lp", {"user_id": "ana", "dca_wallet_id": "w-ana"})
    await insert(
        conn, "dca_clients", {"id": "ana-1", "machine_id": "m", "user_id": "ana"}
    )
    await conn.conn.commit()
    after = await dump(conn)
    assert row_of(after, "dca_lp", "ana")["default_dca_mode"] == "flow"
    assert row_of(after, "dca_clients", "ana-1")["status"] == "active"


async def test_defaults_are_utc_in_every_time_zone(conn: Connection) -> None:
    if conn.type == POSTGRES:
        await conn.execute("SET TIME ZONE 'America/Guatemala'")
    await migrate(conn)
    config = row_of(await dump(conn), "super_config", "default")
    assert config["updated_at"] == "now"


# What an older database may hold against us -----------------------------------------


async def test_two_machines_with_one_wallet_do_not_stop_the_upgrade(
    conn: Connection,
) -> None:
    tables = database_at(1)
    machines = next(table for table in tables if table.name == "dca_machines")
    machines.indexes = ()
    machines.rows[1]["wallet_id"] = machines.rows[0]["wallet_id"]
    await build(conn, tables)
    await migrate(conn)
    lines = (await schema_lines(conn))["dca_machines"]
    assert not any("dca_machines_wallet_id_uq" in line for line in lines)
    assert len((await dump(conn))["dca_machines"]) == 3

    # Mended and reinstalled, the database gets its second line of defence.
    await conn.execute(
        "UPDATE satoshimachine.dca_machines SET wallet_id = 'w-mended'"
        " WHERE id = 'machine-mxn'"
    )
    await migrate(conn)
    lines = (await schema_lines(conn))["dca_machines"]
    assert "INDEX dca_machines_wallet_id_uq UNIQUE wallet_id" in lines


async def test_m001_needs_no_column_that_an_older_config_demands(
    conn: Connection,
) -> None:
    tables = database_at(5)
    tables[0].columns["super_fee_pct"] = "DECIMAL(10,4) NOT NULL"
    await build(conn, tables)
    await migrate(conn)
    config = row_of(await dump(conn), "super_config", "default")
    assert config["super_cash_out_fee_fraction"] == Decimal("0.03")


async def test_sqlite_is_new_enough_to_drop_a_column(conn: Connection) -> None:
    if conn.type == SQLITE:
        version = (await conn.conn.execute(text("SELECT sqlite_version()"))).scalar()
        assert tuple(int(part) for part in version.split(".")) >= (3, 35)
