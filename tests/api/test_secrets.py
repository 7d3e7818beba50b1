"""No secret is ever in a log: not of the machine, of a wallet, or pasted by mistake.

A whole story is told with everything that logs turned up to its most talkative:
selling, paying, failing, pairing's keys, refused input. Then the log is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from api_world import add_machine, random_hex_key, refused
from lnurl_server import LnurlServer
from loguru import logger
from pynostr.key import PrivateKey
from world import MakeWorld, update

from satmachineadmin import distribution
from satmachineadmin.line import keys as line_keys

from conftest import MakeWallet
from dev.accounts import UserSession


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Everything that is logged, by loguru and by the standard library, as text."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {record.exc_info}")

    # our own lines as an administrator sees them, with tracebacks and their values
    sink = logger.add(lines.append, level=0, backtrace=True, diagnose=False)
    handler, root = Keep(), logging.getLogger()
    names = ("satmachineadmin", "nostr_sdk", "httpx")
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield lines
    for name in names:
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.removeHandler(handler)
    logger.remove(sink)


def keys_of(*users: UserSession) -> dict[str, str]:
    return {
        f"{user.username}'s {kind}": key
        for user in users
        for wallet in user.wallets
        for kind, key in (("admin key", wallet.adminkey), ("key", wallet.inkey))
    }


async def test_no_secret_is_logged(
    make_world: MakeWorld,
    make_wallet: MakeWallet,
    engine_paused: distribution.Worker,
    super_session: UserSession,
    log: list[str],
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    operator, partner = world.operator, await world.make_user("partner")
    async with LnurlServer() as shop:
        shop.is_down = True
        await world.add_split(shop.target, "0.5000", kind="lnurl")
        await world.add_split(
            partner.wallet.inkey, "0.5000", kind="key", wallet_id=partner.wallet.id
        )
        gone = world.lps[1].user
        await update("dca_lp", gone.user_id, key="user_id", dca_wallet_id="f" * 32)
        await world.settle(await world.cash_out())
        await world.settle(await world.cash_out(fee=1, principal=100_000, sats=99))
        await world.run_due()

    # what people paste where it does not belong
    nsec, hex_secret = PrivateKey().bech32(), partner.wallet.adminkey
    machine = await add_machine(operator, make_wallet)
    body: dict[str, Any] = {"machine_npub": nsec, "wallet_id": operator.wallet.id}
    sentences = [
        refused(await operator.api.post("/machines", json=body), 400, "secret"),
        refused(
            await operator.api.put(
                f"/machines/{machine['id']}", json={"machine_npub": nsec}
            ),
            400,
        ),
        refused(
            await operator.api.put(
                "/splits",
                json={"splits": [{"target": hex_secret, "fraction": "1"}]},
            ),
            400,
            "admin key",
        ),
    ]
    for path, wrong in (
        ("/clients", {"machine_id": machine["id"], "username": nsec}),
        ("/machines", {"machine_npub": random_hex_key(), "wallet_id": hex_secret}),
        ("/machines", {"machine_npub": random_hex_key(), "wallet_id": [nsec]}),
        ("/lp", {"dca_wallet_id": hex_secret}),
        ("/lp", {"dca_wallet_id": operator.wallet.id, "autoforward_ln_address": nsec}),
    ):
        answer = await operator.api.post(path, json=wrong)
        assert 400 <= answer.status_code < 500, answer.text
        sentences.append(answer.text)
    assert (await super_session.api.get("/super/nostr")).status_code == 200

    ring = await line_keys.key_ring()
    secrets = keys_of(operator, partner, world.customer, super_session)
    for lp in world.lps:
        secrets.update(keys_of(lp.user))
    secrets.update({"a pasted nsec": nsec, "a pasted admin key": hex_secret})
    assert ring.current
    secrets["the service key"] = ring.current.nsec()
    said = "\n".join(str(line) for line in log)
    assert "landed" in said, "this log is empty: the test sees nothing"
    told = [
        f"{name}: {said[max(0, said.index(secret) - 200):][:300]}"
        for name, secret in secrets.items()
        if secret in said
    ]
    assert told == [], "these secrets are in the log"
    assert "nsec1" not in said
    told = [s for s in sentences if nsec in s or hex_secret in s]
    assert told == [], "these answers repeat a secret"
