"""What the parties of the demo say to each other: an invitation that waits, cash that
an LP claims, a deposit that is disputed, a fee that was not charged."""

from __future__ import annotations

from .accounts import answer
from .demo import FIAT, Demo
from .prices import Prices

CLAIMED = "250.00"
TOO_LITTLE_SATS = 100


async def charge_too_little(demo: Demo, prices: Prices) -> list[str]:
    """A sale whose fee is below the platform's share: what is missing stays a debt of
    the operator's. Of the days before the machines are paired: their wallet's keys
    stamp nothing since."""
    short = {"shortfall_sats[gt]": 0}
    found = answer(await demo.operator.api.get("/settlements", params=short))
    name, machine = next(iter(demo.machines.items()))
    rows = answer(await demo.operator.api.get("/machines"))["data"]
    if found["total"] or any(r["is_paired"] for r in rows if r["name"] == name):
        return []
    rate = prices.sats_per_unit(FIAT)
    await machine.cash_out(demo.customer, {100: 1}, rate, fee_sats=TOO_LITTLE_SATS)
    return [f"{name} charged {TOO_LITTLE_SATS} sat of fee, less than the platform's"]


async def say(demo: Demo) -> list[str]:
    """Says once what is not said yet; a line for each thing."""
    said = []
    machine = answer(await demo.operator.api.get("/machines"))["data"][-1]
    asked = "/clients?username=landlord"
    if not answer(await demo.operator.api.get(asked))["total"]:
        body = {"machine_id": machine["id"], "username": "landlord"}
        answer(await demo.operator.api.post("/clients", json=body))
        said.append("the operator invites landlord, who has not answered yet")
    ana = demo.people["ana"]
    deposits = answer(await ana.api.get("/lp/deposits"))["data"]
    if not any(row["status"] == "claimed" for row in deposits):
        body = {"machine_id": deposits[0]["machine_id"], "amount": CLAIMED}
        answer(await ana.api.post("/lp/deposits", json=body))
        said.append(f"ana claims a deposit of {CLAIMED} that nobody recorded")
    if not any(row["dispute"] for row in deposits):
        path = f"/lp/deposits/{deposits[0]['id']}/dispute"
        reason = {"reason": "I handed over 100 more."}
        answer(await ana.api.post(path, json=reason))
        said.append("ana disputes a deposit")
    return said
