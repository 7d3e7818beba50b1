"""A payment over HTTP after 100 000 of one wallet, with and without the host's change.

The change is the one of docs/host.md. Invoice and payment by a user who has nothing to
do with the busy wallet, and by the busy wallet itself; on an empty LNbits, then as
LNbits comes, changed, and put back. The rows are copies of one really paid, made by the
database itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.figures import engine_at_rest, say, seconds_of
from bench.stage import Stage, give
from bench.year import tidy

# isort: split
from lnbits.core.db import db as core_db

from satmachineadmin.base.database import execute, fetch_all
from satmachineadmin.host import speed

from dev.accounts import UserSession, WalletKeys

PAYMENTS = 100_000
CUSTOMERS = 20
TIMES = 5
SUPER = "0" * 32


@dataclass(frozen=True)
class Cost:
    """Seconds of an internal payment: of somebody else, and of the busy wallet."""

    other: float
    busy: float


async def measure(scene: Stage) -> None:
    await engine_at_rest()
    user, owner = await scene.make_user("other"), await scene.make_user("busy")
    target = await scene.make_wallet(user, "target")
    crowd = [
        (await scene.make_wallet(owner, f"customer {n}")).id for n in range(CUSTOMERS)
    ]
    for wallet in (user.wallet, owner.wallet):
        await give(wallet.id, 1_000_000)

    async def cost() -> Cost:
        return Cost(
            await seconds_of(lambda: _pay(user, user.wallet, target), TIMES),
            await seconds_of(lambda: _pay(user, owner.wallet, target), TIMES),
        )

    await cost()  # imports and caches of LNbits are not what is measured
    empty = await cost()
    await _grow(owner.wallet.id, crowd)
    stock, before = await cost(), await _balance_ms()
    begun = await seconds_of(lambda: speed.apply(SUPER))
    changed, after = await cost(), await _balance_ms()
    ended = await seconds_of(lambda: speed.put_back(SUPER))
    again = await cost()
    say(
        f"a payment after {PAYMENTS} of one wallet, with the host's change: another "
        f"user's {changed.other / empty.other:.1f} x, the busy wallet's "
        f"{changed.busy / empty.busy:.1f} x an empty LNbits'; without "
        f"{stock.other / empty.other:.1f} x and {stock.busy / empty.busy:.1f} x"
    )
    for name, figures in (
        ("empty", empty),
        ("as LNbits comes", stock),
        ("changed", changed),
        ("put back", again),
    ):
        say(
            f"the same, {name}: another user's {figures.other * 1000:.0f} ms, the "
            f"busy wallet's {figures.busy * 1000:.0f} ms"
        )
    say(f"to make the change took {begun:.1f} s, to put it back {ended:.1f} s")
    say(
        f"one balance of the busy wallet: {before['busiest'] / after['busiest']:.1f} x "
        f"faster ({before['busiest']:.0f} ms, then {after['busiest']:.0f} ms)"
    )


async def _pay(session: UserSession, source: WalletKeys, target: WalletKeys) -> None:
    bill = {"out": False, "amount": 10, "memo": "bench"}
    made = await _post(session, target.inkey, bill)
    await _post(session, source.adminkey, {"out": True, "bolt11": made["bolt11"]})


async def _post(session: UserSession, key: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await session.core.post(
        "/api/v1/payments", json=body, headers={"X-Api-Key": key}
    )
    if answer.status_code != 201:
        raise RuntimeError(answer.text)
    return answer.json()


async def _balance_ms() -> dict[str, float]:
    """What the Platform page's button measures: one balance."""
    await speed.measure()
    found = (await speed.figures(await speed.read_state())).now
    if found is None:
        raise RuntimeError("nothing was measured")
    return found


async def _grow(wallet_id: str, crowd: list[str]) -> None:
    """One receipt after the other, and its payer's row, until there are 100 000."""
    payer = " ".join(f"WHEN {n} THEN '{one}'" for n, one in enumerate(crowd))
    changed = {
        "checking_id": "checking_id || '-' || CAST(n AS TEXT)",
        "payment_hash": "payment_hash || '-' || CAST(n AS TEXT)",
        "wallet_id": f"CASE side WHEN 1 THEN wallet_id ELSE CASE n % {CUSTOMERS} "
        f"{payer} END END",
        "amount": "amount * side",
    }
    async with core_db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT * FROM apipayments WHERE wallet_id = :id AND amount > 0",
            {"id": wallet_id},
        )
        columns = list(found[0])
        await execute(
            conn,
            f"""
            WITH RECURSIVE numbers(n) AS (
                SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {PAYMENTS}),
            sides(side) AS (SELECT 1 UNION ALL SELECT -1)
            INSERT INTO apipayments ({", ".join(f'"{c}"' for c in columns)})
            SELECT {", ".join(changed.get(c, f'"{c}"') for c in columns)}
            FROM numbers CROSS JOIN sides CROSS JOIN apipayments
            WHERE checking_id = :checking_id ORDER BY n
            """,  # noqa: S608
            {"checking_id": found[0]["checking_id"]},
        )
        await conn.conn.commit()
    await tidy(core_db)
