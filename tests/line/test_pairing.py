"""Whose machine is it? Pairing, the service key, and keys that change hands."""

from __future__ import annotations

import secrets
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from examples import examples
from line_world import Lines, MakeOnLine
from loguru import logger
from nostr_sdk import Keys
from world import update

from satmachineadmin.base.database import db_time, fetch_all, transaction
from satmachineadmin.line import crud as line_crud
from satmachineadmin.line import engine as line
from satmachineadmin.line import keys as line_keys
from satmachineadmin.line.nostr import ServiceKey
from satmachineadmin.models import utc_now

from conftest import wait_for
from dev.accounts import UserSession, answer
from dev.line_client import NoAnswerError
from dev.nostr_machine import NostrMachine


async def code_is_refused(found: Any, code: Any) -> None:
    assert (await found.refused("pair", {"code": code}))["code"] == "bad_code"


# ------------------------------------------------------------------------- the code


async def test_before_pairing_only_pair_is_answered(make_on_line: MakeOnLine) -> None:
    found = await make_on_line(is_paired=False)
    figures = found.figures("one", bolt11="lnbc1")
    for rpc in ("ping", "quote", "invoice", "payout", "settlement", "dispense", "x"):
        assert (await found.refused(rpc, figures))["code"] == "not_paired"
    told = await found.machine.pair(await found.qr())
    assert (told["name"], told["fiat_code"]) == ("Antigua", "GTQ")
    assert (await found.ask("ping"))["pong"] is True
    pairing = answer(
        await found.world.operator.api.get(
            f"/machines/{found.world.machine.id}/pairing"
        )
    )
    assert pairing["is_paired"] is True
    assert pairing["pairing_code"] is None
    assert pairing["machine_npub"] == found.machine.npub


async def test_a_repeated_pair_is_answered_from_the_present_state(
    make_on_line: MakeOnLine,
) -> None:
    """The reply got lost: the machine asks again with the code that it has."""
    found = await make_on_line(is_paired=False)
    qr = await found.qr()
    code = found.machine.scan(qr)
    for _ in range(3):
        assert (await found.ask("pair", {"code": code}))["status"] == "OK"
    await code_is_refused(found, code + "x")


async def test_a_code_works_for_the_machine_it_was_made_for(
    make_on_line: MakeOnLine,
) -> None:
    one, two = await make_on_line(is_paired=False), await make_on_line(is_paired=False)
    code = (await one.qr())["pairing_code"]
    await code_is_refused(two, code)
    assert (await one.ask("pair", {"code": code}))["status"] == "OK"
    await code_is_refused(two, code)


async def test_a_new_code_voids_the_old_one(make_on_line: MakeOnLine) -> None:
    found = await make_on_line(is_paired=False)
    old = (await found.qr())["pairing_code"]
    new = (await found.qr())["pairing_code"]
    assert old != new
    await code_is_refused(found, old)
    assert (await found.ask("pair", {"code": new}))["status"] == "OK"


async def test_a_code_expires_after_an_hour(make_on_line: MakeOnLine) -> None:
    found = await make_on_line(is_paired=False)
    qr = await found.qr()
    until = utc_now() - timedelta(seconds=1)
    await update(
        "dca_machines", found.world.machine.id, pairing_expires_at=db_time(until)
    )
    await code_is_refused(found, qr["pairing_code"])
    path = f"/machines/{found.world.machine.id}/pairing"
    shown = answer(await found.world.operator.api.get(path))
    assert (shown["pairing_code"], shown["is_paired"]) == (None, False)


async def test_hundreds_of_guesses(make_on_line: MakeOnLine) -> None:
    """Nobody but the machine's own key can guess at all, and the code dies of it."""
    found = await make_on_line(is_paired=False)
    qr = await found.qr()
    for _ in range(examples(400)):
        guess = found.client.request("pair", {"code": secrets.token_urlsafe(16)})
        told = await found.direct(guess)
        assert told and told["code"] == "bad_code"
    await code_is_refused(found, qr["pairing_code"])


async def test_before_pairing_a_key_is_heard_once_a_second(
    make_on_line: MakeOnLine,
) -> None:
    """Five at once, then one a second, and none longer than a pairing."""
    found = await make_on_line(is_paired=False)
    assert line.current
    ignored = line.current.ignored.total
    few, long = ignored["too many before pairing"], ignored["too long before pairing"]
    for _ in range(30):
        await found.client.send(found.client.request("ping", {}))
    await wait_for(lambda: ignored["too many before pairing"] - few >= 15)
    await found.client.send(found.client.request("ping", {"x": "y" * 2_000}))
    await wait_for(lambda: ignored["too long before pairing"] == long + 1)
    assert (await found.machine.pair(await found.qr()))["status"] == "OK"


@pytest.mark.parametrize("code", [None, "", 5, ["x"], {}])
async def test_a_pair_without_a_code(make_on_line: MakeOnLine, code: Any) -> None:
    found = await make_on_line(is_paired=False)
    assert (await found.refused("pair", {"code": code}))["code"] == "bad_request"


async def test_a_new_code_leaves_a_paired_machine_paired(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    await found.qr()
    assert (await found.ask("ping"))["pong"] is True


# ------------------------------------------------------------------- other people


async def test_a_stranger_who_registers_the_npub_first_gets_nothing(
    make_on_line: MakeOnLine, make_user: Any
) -> None:
    """A registration proves nothing and takes nothing: the machine speaks to whose QR
    it has scanned."""
    stranger = await make_user("stranger")
    owner = await make_user("owner")
    machine = NostrMachine()
    body = {"machine_npub": machine.npub, "fiat_code": "GTQ", "name": "mine"}
    theirs = answer(
        await stranger.api.post(
            "/machines", json={**body, "wallet_id": stranger.wallet.id}
        )
    )
    made = answer(
        await owner.api.post("/machines", json={**body, "wallet_id": owner.wallet.id})
    )
    found = await make_on_line()  # relays are set
    qr = answer(await owner.api.post(f"/machines/{made['id']}/pairing"))
    try:
        assert (await machine.pair(qr))["name"] == "mine"
    finally:
        await machine.go_offline()
    shown = answer(await owner.api.get(f"/machines/{made['id']}"))
    assert shown["is_paired"] is True
    assert shown["machine_npub"] == machine.npub
    kept = answer(await stranger.api.get(f"/machines/{theirs['id']}"))
    assert kept["is_paired"] is False
    assert kept["machine_npub"] == f"waiting:{theirs['id']}"
    assert kept["claimed_npub"] == machine.npub
    del found


async def test_a_new_board_pairs_again_and_the_old_key_is_refused(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    world = found.world
    board = NostrMachine()
    path = f"/machines/{world.machine.id}"
    changed = answer(
        await world.operator.api.put(path, json={"machine_npub": board.npub})
    )
    assert changed["is_paired"] is False
    with pytest.raises(NoAnswerError):
        await found.client.ask("ping", {}, timeout_seconds=1)
    try:
        assert (await board.pair(await found.qr()))["name"] == "Antigua"
        assert (await board.ask("ping", {}))["pong"] is True
    finally:
        await board.go_offline()


async def test_another_operator_sees_no_code(
    make_on_line: MakeOnLine, make_user: Any
) -> None:
    found = await make_on_line()
    other = await make_user("other")
    machine_id = found.world.machine.id
    for path in ("pairing", "cassettes", "telemetry"):
        told = await other.api.get(f"/machines/{machine_id}/{path}")
        assert told.status_code == 404
    assert (await other.api.post(f"/machines/{machine_id}/pairing")).status_code == 404
    put = await other.api.put(
        f"/machines/{machine_id}/cassettes", json={"positions": {}}
    )
    assert put.status_code == 404


# -------------------------------------------------------------------- the service key


async def test_npub_and_hex_are_one_machine(make_user: Any) -> None:
    one, two = await make_user("one"), await make_user("two")
    keys = Keys.generate()
    body = {"fiat_code": "GTQ", "wallet_id": one.wallet.id}
    made = answer(
        await one.api.post(
            "/machines",
            json={**body, "machine_npub": keys.public_key().to_hex().upper()},
        )
    )
    assert made["machine_npub"] == keys.public_key().to_bech32()
    again = await one.api.post(
        "/machines",
        json={
            "fiat_code": "GTQ",
            "wallet_id": one.wallet.id,
            "machine_npub": keys.public_key().to_bech32(),
        },
    )
    assert again.status_code == 409
    del two


async def test_an_nsec_is_refused_and_is_in_no_log(
    make_user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    user = await make_user("careless")
    nsec = Keys.generate().secret_key().to_bech32()
    lines: list[str] = []
    sink = logger.add(lines.append, level=0)
    try:
        told = await user.api.post(
            "/machines",
            json={
                "machine_npub": nsec,
                "fiat_code": "GTQ",
                "wallet_id": user.wallet.id,
            },
        )
    finally:
        logger.remove(sink)
    assert told.status_code == 400
    assert "secret" in told.json()["detail"].lower()
    assert nsec not in told.text
    assert nsec not in "".join(lines) + caplog.text


async def test_the_secret_is_encrypted_at_rest_and_in_no_answer(
    super_session: UserSession, lines: Lines
) -> None:
    ring = await line_keys.key_ring()
    assert ring.current
    async with transaction() as conn:
        found = await fetch_all(conn, "SELECT * FROM satoshimachine.dca_nostr_keys")
    secret = ring.current.nsec()
    assert all(secret not in str(dict(row)) for row in found)
    for path in ("/super/nostr", "/me", "/health", "/audit?scope=all"):
        told = await super_session.api.get(path)
        assert told.status_code == 200, path
        assert secret not in told.text
    assert ring.npub in (await super_session.api.get("/me")).text


async def test_processes_that_start_at_once_share_one_key(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them looks, finds none, and makes one: the first one written stays."""
    before = await line_keys.key_ring()
    for _ in range(3):
        key = ServiceKey.generate()
        await line_crud.insert_key_unless_there(key.pubkey, "x")
    assert (await line_keys.key_ring()).current_pubkey == before.current_pubkey


async def test_a_key_that_cannot_be_decrypted_is_not_replaced(
    super_session: UserSession, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await line_keys.key_ring()
    with monkeypatch.context() as patch:
        patch.setattr(line_keys, "_decrypt", lambda encrypted: None)
        ring = await line_keys.key_ring()
        assert (ring.current, ring.current_pubkey) == (None, before.current_pubkey)
        assert "cannot be decrypted" in str(ring.problem)
        line.wake()  # it reads its keys when they change

        async def problem() -> str:
            health = answer(await super_session.api.get("/health"))
            return health["relays"]["problem"] or ""

        assert "cannot be decrypted" in await wait_for(problem)
        shown = answer(await super_session.api.get("/super/nostr"))
        assert "cannot be decrypted" in shown["problem"]
    line.wake()
    after = await line_keys.key_ring()
    assert after.current and after.current_pubkey == before.current_pubkey


async def test_what_decrypts_to_another_key_is_not_used(lines: Lines) -> None:
    other = ServiceKey.generate()
    row = {
        "pubkey": (await line_keys.key_ring()).current_pubkey,
        "nsec_encrypted": line_keys._encrypted(other),
    }
    assert line_keys._decrypted(row) is None
    assert line_keys._decrypted({**row, "nsec_encrypted": "rubbish"}) is None
    assert line_keys._decrypted({**row, "nsec_encrypted": ""}) is None


async def test_the_key_is_rotated_while_reports_are_on_their_way(
    make_on_line: MakeOnLine, super_session: UserSession
) -> None:
    """Reports to the old key are answered, by the old key; the machine learns the new
    one from the answer and goes on with it."""
    found = await make_on_line()
    old = found.machine.state.service_npub
    invoice = await found.ask("invoice", found.figures("one"))
    await found.customer_pays(invoice["bolt11"])
    rotated = answer(await super_session.api.post("/super/nostr/rotate", json={}))
    new = rotated["service_npub"]
    assert new != old
    assert line.current
    await wait_for(lambda: _ring().npub == new)
    told = await found.ask(
        "dispense",
        {"payment_hash": invoice["payment_hash"], "dispensed_fiat": "200.00"},
    )
    assert (told["status"], told["service_npub"]) == ("OK", new)
    assert (await found.machine.ask("ping", {}))["pong"] is True
    assert found.machine.state.service_npub == new
    told = await found.machine.ask("ping", {})
    assert "service_npub" not in told
    await found.world.until(invoice["payment_hash"], "completed")


def _ring() -> line_keys.KeyRing:
    """The keys that the line listens with now."""
    assert line.current and line.current.ring
    return line.current.ring


def _reads(pubkey: str, is_read: bool) -> bool:
    """Whether the line reads (or no longer reads) what is sent to an older key."""
    return (pubkey in _ring().readable) is is_read


async def test_an_old_key_is_read_for_thirty_days(
    make_on_line: MakeOnLine, super_session: UserSession
) -> None:
    found = await make_on_line()
    old = (await line_keys.key_ring()).current_pubkey
    answer(await super_session.api.post("/super/nostr/rotate", json={}))
    for days, is_read in ((29, True), (31, False)):
        retired = db_time(utc_now() - timedelta(days=days))
        await update("dca_nostr_keys", old, key="pubkey", retired_at=retired)
        line.wake()
        await wait_for(partial(_reads, old, is_read))
        if is_read:
            assert (await found.ask("ping"))["pong"] is True
        else:
            with pytest.raises(NoAnswerError):
                await found.client.ask("ping", {}, timeout_seconds=1)


async def test_only_the_super_rotates(make_user: Any) -> None:
    user = await make_user("user")
    for told in (
        await user.api.get("/super/nostr"),
        await user.api.put("/super/nostr", json={"relays": []}),
        await user.api.post("/super/nostr/rotate", json={}),
        await user.api.get("/health"),
    ):
        assert told.status_code == 403
