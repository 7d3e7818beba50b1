"""The people and machines of the demo: made on the first run, found on later ones.

Everything goes through the HTTP APIs of LNbits and of the extension, as a person
would do it. Each step looks first, so a set-up that was interrupted goes on where
it stopped.

One platform (the super user), one operator with two machines, three LPs:
    lucia   flow mode, at both machines
    felix   fixed mode, with a daily limit, at the first
    ana     flow mode, forwards every sat to her own Lightning address, at both
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
from pynostr.key import PrivateKey

from .accounts import (
    UserSession,
    WalletKeys,
    answer,
    balance_sats,
    create_user,
    create_wallet,
    credit,
    enable_extension,
    enrol,
    first_install,
    log_in,
    refresh_wallets,
)
from .http_machine import HttpMachine, Quote
from .prices import Prices

# LNbits' own domain in the demo: a Lightning address needs a name with a dot, and
# browsers take every *.localhost for this machine.
DOMAIN = "lnbits.localhost"
FIAT = "GTQ"
PLATFORM_CASH_OUT, PLATFORM_CASH_IN = Decimal("0.0300"), Decimal("0.0200")
OPERATOR_CASH_OUT, OPERATOR_CASH_IN = Decimal("0.0500"), Decimal("0.0400")
MACHINES = (("Zona 10", "Oakland Mall, Guatemala"), ("Antigua", "Parque Central"))
DEPOSITS = {"lucia": "3000.00", "felix": "1500.00", "ana": "1000.00"}
# who works for the operator, as what, and the code that their customers have
TEAM = {"carla": "collector", "bruno": "bookkeeper"}
CODE = "VECINO50"
MACHINE_FLOAT_SATS = 2_000_000
CUSTOMER_SATS = 3_000_000
FIXED_DAILY = "1000.00"
LOW_FIAT = Decimal("500.00")


@dataclass
class Demo:
    """Who is who. `people` holds every session by username."""

    anonymous: httpx.AsyncClient
    people: dict[str, UserSession] = field(default_factory=dict)
    machines: dict[str, HttpMachine] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)

    @property
    def platform(self) -> UserSession:
        return self.people["super"]

    @property
    def operator(self) -> UserSession:
        return self.people["operator"]

    @property
    def customer(self) -> WalletKeys:
        return self.people["customer"].wallet

    async def aclose(self) -> None:
        for session in self.people.values():
            await session.aclose()
        await self.anonymous.aclose()


async def _everything(session: UserSession, path: str, **filters: Any) -> list[Any]:
    page = answer(await session.api.get(path, params={"limit": 100, **filters}))
    return list(page["data"])


async def _wallet(session: UserSession, name: str) -> WalletKeys:
    for wallet in session.wallets:
        if wallet.name == name:
            return wallet
    return await create_wallet(session, name)


async def _people(demo: Demo, url: str) -> None:
    platform = await log_in(url, "super") or await first_install(url, "super")
    demo.people["super"] = platform
    await enable_extension(platform)
    for name in ("operator", "landlord", "customer", *TEAM, *DEPOSITS):
        demo.people[name] = await log_in(url, name) or await create_user(platform, name)
        # An interrupted first run may have left it switched off.
        await enable_extension(demo.people[name])
        await refresh_wallets(demo.people[name])


async def _platform(demo: Demo, prices: Prices) -> None:
    answer(
        await demo.platform.core.patch(
            "/admin/api/v1/settings",
            json={"lnbits_exchange_rate_providers": [prices.provider()]},
        )
    )
    wallet = await _wallet(demo.platform, "Platform fees")
    answer(
        await demo.platform.api.put(
            "/super/config",
            json={
                "super_cash_out_fee_fraction": str(PLATFORM_CASH_OUT),
                "super_cash_in_fee_fraction": str(PLATFORM_CASH_IN),
                "super_fee_wallet_id": wallet.id,
            },
        )
    )


async def _machines(demo: Demo) -> dict[str, str]:
    """Machine ids by name."""
    operator = demo.operator
    known = {row["name"]: row["id"] for row in await _everything(operator, "/machines")}
    for name, location in MACHINES:
        wallet = await _wallet(operator, f"Machine {name}")
        if name not in known:
            made = answer(
                await operator.api.post(
                    "/machines",
                    json={
                        "machine_npub": PrivateKey().public_key.bech32(),
                        "wallet_id": wallet.id,
                        "name": name,
                        "location": location,
                        "fiat_code": FIAT,
                        "operator_cash_out_fee_fraction": str(OPERATOR_CASH_OUT),
                        "operator_cash_in_fee_fraction": str(OPERATOR_CASH_IN),
                    },
                )
            )
            known[name] = made["id"]
        demo.machines[name] = HttpMachine(
            demo.anonymous,
            wallet,
            Quote(
                cash_out=(PLATFORM_CASH_OUT, OPERATOR_CASH_OUT),
                cash_in=(PLATFORM_CASH_IN, OPERATOR_CASH_IN),
                fiat_code=FIAT,
            ),
            name,
        )
    return known


async def _splits(demo: Demo, machine_ids: dict[str, str]) -> None:
    """Defaults: earnings and the landlord. The second machine has its own set."""
    earnings = await _wallet(demo.operator, "Earnings")
    service = await _wallet(demo.operator, "Service fund")
    landlord = demo.people["landlord"].wallet

    def split(target: str, label: str, fraction: str) -> dict[str, str]:
        return {"target": target, "label": label, "fraction": fraction}

    sets = {
        "/splits": [
            split(earnings.id, "Earnings", "0.6000"),
            split(landlord.inkey, "Landlord", "0.4000"),
        ],
        f"/machines/{machine_ids['Antigua']}/splits": [
            split(earnings.id, "Earnings", "0.5000"),
            split(landlord.inkey, "Landlord", "0.3333"),
            split(service.id, "Service fund", "0.1667"),
        ],
    }
    for path, splits in sets.items():
        if not answer(await demo.operator.api.get(path))["splits"]:
            answer(await demo.operator.api.put(path, json={"splits": splits}))


async def _preferences(demo: Demo, name: str) -> None:
    """The LP's own choices, made by the LP."""
    session = demo.people[name]
    if (await session.api.get("/lp")).status_code == 200:
        return
    wanted: dict[str, Any] = {"dca_wallet_id": session.wallet.id}
    if name == "felix":
        wanted |= {"default_dca_mode": "fixed", "fixed_mode_daily_limit": FIXED_DAILY}
    if name == "ana":
        savings = await _wallet(session, "Savings")
        wanted |= {
            "autoforward_enabled": True,
            "autoforward_ln_address": f"{savings.lightning_address}@{DOMAIN}",
        }
    answer(await session.api.post("/lp", json=wanted))


async def _lps(demo: Demo, machine_ids: dict[str, str]) -> None:
    enrolled = {
        (row["machine_id"], row["username"]): row
        for row in await _everything(demo.operator, "/clients")
    }
    for machine_id in machine_ids.values():
        for name in DEPOSITS:
            if name == "felix" and machine_id != machine_ids[MACHINES[0][0]]:
                continue
            await _preferences(demo, name)
            row = enrolled.get((machine_id, name)) or await enrol(
                demo.operator, demo.people[name], machine_id
            )
            demo.clients[row["id"]] = name


async def _team(demo: Demo, machine_ids: dict[str, str]) -> None:
    """People who work for the operator; the collector at the first machine."""
    there = answer(await demo.operator.api.get("/staff"))["data"]
    working = {row["username"] for row in there if row["status"] == "active"}
    for name, role in TEAM.items():
        if name in working:
            continue
        named = [machine_ids[MACHINES[0][0]]] if role == "collector" else None
        body = {"role": role, "machine_ids": named, "name": name}
        made = answer(await demo.operator.api.post("/staff", json=body))
        path = f"/invitations/{made['code']}/accept"
        answer(await demo.people[name].api.post(path))
    if not await _everything(demo.operator, "/discounts", code=CODE):
        body = {"code": CODE, "fraction": "0.5000"}
        answer(await demo.operator.api.post("/discounts", json=body))


async def deposit(demo: Demo, client_id: str, amount: str, notes: str) -> None:
    """Cash handed over, recorded and confirmed by the operator."""
    operator = demo.operator
    made = answer(
        await operator.api.post(
            "/deposits", json={"client_id": client_id, "amount": amount, "notes": notes}
        )
    )
    answer(
        await operator.api.put(
            f"/deposits/{made['id']}/status", json={"status": "confirmed"}
        )
    )


async def refill(demo: Demo) -> list[str]:
    """What people do when something runs low. Returns a line for each thing done."""
    said: list[str] = []
    for row in await _everything(demo.operator, "/clients"):
        name = demo.clients.get(row["id"])
        if name and Decimal(row["remaining"]) < LOW_FIAT:
            amount = DEPOSITS[name]
            await deposit(demo, row["id"], amount, "cash at the counter")
            said.append(f"{name} deposits {amount} {row['currency']} in cash")
    wallets = [(f"machine {m.name}", m.wallet) for m in demo.machines.values()]
    floats = [(*pair, MACHINE_FLOAT_SATS) for pair in wallets]
    for what, wallet, wanted in [*floats, ("customer", demo.customer, CUSTOMER_SATS)]:
        if await balance_sats(demo.anonymous, wallet.inkey) < wanted // 4:
            await credit(demo.platform, wallet.id, wanted)
            said.append(f"{what}: wallet topped up with {wanted:,} sat")
    return said


async def set_up(url: str, prices: Prices) -> Demo:
    """Makes what is missing, and returns everybody, logged in."""
    demo = Demo(httpx.AsyncClient(base_url=url, timeout=60))
    await _people(demo, url)
    await _platform(demo, prices)
    machine_ids = await _machines(demo)
    await _splits(demo, machine_ids)
    await _lps(demo, machine_ids)
    await _team(demo, machine_ids)
    await refill(demo)
    return demo
