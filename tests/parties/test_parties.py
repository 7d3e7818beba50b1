"""Nobody has to take another's word: the ways to cheat, one by one.

Who tries, over HTTP or with a customer's payment; what happens to the money; and what
the three parties then see. Each way of the issue's list and of the specification's,
with its tests, here or in the file that is named:

An LP's daily limit is burnt by a stranger.
    test_a_stranger_cannot_use_up_an_lps_daily_limit
An LP is emptied for two sats: by the operator, after sales marked as tests or made to
move the usual rate; by the holder of the wallet's invoice key; with a person's figures.
    test_an_lp_is_not_emptied_for_two_sats
    test_one_days_sales_do_not_move_the_usual_rate (money/test_rates.py)
    test_an_invoice_that_a_paired_machine_did_not_make_is_held_back
        (money/test_whose_payments.py)
The platform's fee is voided, or marked paid.
    test_the_platforms_fee_is_not_the_operators_to_void_or_mark_paid
It is charged as 0.
    test_a_fee_of_0_in_the_stamp_costs_the_operator_not_the_platform
    test_splits_wait_while_the_platform_is_owed
It is hidden by a test mark.
    test_a_test_mark_takes_nothing_out_of_the_supers_sums
It is resolved away, or held back and voided.
    test_sales_are_not_held_back_to_be_voided_or_resolved_away
A sale is shifted from principal to fee.
    test_a_sale_shifted_from_principal_to_fee_pays_the_fraction_of_principal
A discount is stamped that no customer got.
    test_a_discount_that_no_customer_got_is_the_operators_own
An LP is marked as paid who was not.
    test_an_lp_marked_as_paid_who_was_not
A balance is closed at a hundredth of the rate; a deposit is reversed in the night.
    test_a_balance_closed_at_a_hundredth_and_a_deposit_reversed_in_the_night
    test_a_low_rate_is_an_offer_that_debits_nothing (desk/test_closing.py)
    test_an_old_deposit_is_taken_back_with_the_lps_yes (test_deposits.py)
A machine's npub is taken over, before and after pairing; 1 250 of them are registered.
    test_a_squatter_of_an_npub_gets_nothing
    test_a_stranger_who_registers_the_npub_first_gets_nothing (line/test_pairing.py)
    test_a_paired_key_stays_with_who_paired
    test_the_super_raises_how_many_machines_nobody_uses (test_super_reads.py)
A name is a lure.
    test_a_price_check_that_is_switched_off_is_told
    test_what_is_left_of_a_name (test_names.py)
Preferences are read and usernames tried; a username is registered after it was invited.
    test_the_answer_is_the_same_whoever_exists (test_invitations.py)
    test_a_name_that_nobody_has_never_comes_to_life (test_invitations.py)
An operator says "nothing came out" and refunds themselves.
    test_an_operator_who_says_nothing_came_out_refunds_themselves_nothing
    test_before_planning_it_is_told_and_the_refund_is_listed
    test_a_late_report_of_less_waits_for_every_creditor (test_consents.py)
    test_below_the_machines_own_figure_it_waits_before_planning_too (test_consents.py)
An operator voids a planned sale, or one that is not planned yet.
    test_a_planned_sale_is_not_the_operators_to_void
    test_a_void_of_a_planned_sale_wants_every_yes (test_consents.py)
    test_a_void_before_planning_is_told_to_lps_and_super
An LP reads the operator's balance; anybody reads what is not theirs.
    test_an_lp_reads_nothing_of_what_the_operator_holds
    test_nobodys_list_shows_what_is_not_theirs
The price check is switched off.
    test_a_price_check_that_is_switched_off_is_told
Any sequence of what an operator, failures and strangers do (not yet of LPs and super).
    test_any_sequence_of_actions_and_failures_conserves_every_sat
        (desk/test_desk_machine.py)
On the screen.
    test_an_lp_reports_cash_that_is_missing (browser/test_said.py)
    test_a_link_that_invites (browser/test_said.py)
    test_the_super_reads_the_sums_of_operators (browser/test_said.py)
    test_a_lower_dispense_waits_for_the_lps_yes (browser/test_said.py)
    test_the_super_decides_a_deposit (browser/test_said.py)
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_world import add_lp, add_machine, make_desk, ok, random_hex_key, refused
from lnbits.core.services import create_invoice, pay_invoice
from money_rows import add_leg, nobody_elses_word
from world import MakeWorld, World, balance_sats, insert, update

from satmachineadmin import distribution
from satmachineadmin.base.database import db, db_time
from satmachineadmin.desk import attention
from satmachineadmin.desk.party_news import party_news
from satmachineadmin.models import Leg, LpProfile, utc_now

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession


def test_every_way_has_its_test() -> None:
    """The list above names tests that are there."""
    folder = Path(__file__).resolve().parent.parent
    source = "".join(path.read_text() for path in folder.rglob("test_*.py"))
    named = re.findall(r"^    (test_\w+|Test\w+)", __doc__ or "", re.MULTILINE)
    assert len(named) > 25
    missing = [
        name
        for name in named
        if f"def {name}(" not in source and not re.search(rf"^{name}\b", source, re.M)
    ]
    assert missing == []


def by_key(legs: list[Leg], leg_type: str) -> dict[str, Leg]:
    return {str(x.leg_key): x for x in legs if x.leg_type == leg_type}


async def platform_sums(
    super_session: UserSession, operator: UserSession
) -> dict[str, Any]:
    page = ok(await super_session.api.get("/super/operators"))
    (row,) = [r for r in page["data"] if r["operator_name"] == operator.username]
    return row


async def fill(world: World, sats: int) -> None:
    """The operator puts sats of their own into the machine's wallet."""
    await world.fund(world.machine_wallet.id, sats)


# ------------------------------------------------------------- the platform's share


async def test_a_fee_of_0_in_the_stamp_costs_the_operator_not_the_platform(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"])
    payment_hash = await world.cash_out(fee=0)
    settlement = await world.settle(payment_hash)
    assert settlement.platform_fee_sats == 3_000
    assert (settlement.shortfall_sats, settlement.operator_fee_sats) == (3_000, 0)
    assert settlement.fee_mismatch_sats == -8_000
    fees = by_key(await world.legs(payment_hash), "super_fee")
    assert set(fees) == {"shortfall"}
    # the LP is paid whole, and the platform waits for the operator's sats
    assert await world.lps[0].balance_sats() == 100_000
    assert fees["shortfall"].status == "pending"
    seen = ok(await world.operator.api.get(f"/settlements/{settlement.id}"))
    assert seen["shortfall_sats"] == 3_000
    assert (await platform_sums(super_session, world.operator))["shortfall_sats"] == (
        3_000
    )
    await fill(world, 3_000)
    await world.make_due()
    await distribution.worker.run_until_idle()
    (paid,) = await world.legs(payment_hash, "super_fee")
    assert paid.status == "completed"
    sums = await platform_sums(super_session, world.operator)
    assert (sums["paid_sats"], sums["owed_sats"]) == (3_000, 0)
    await world.assert_ledger()


async def test_a_sale_shifted_from_principal_to_fee_pays_the_fraction_of_principal(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """36 000 principal and 72 000 fee are what the stamp says; the rate check is what
    stops it where there is a usual rate."""
    world = await make_world(deposits=["900.00"])
    for _ in range(2):
        await world.settle(await world.cash_out())
    shifted = await world.cash_out(principal=30_000, fee=78_000)
    assert (await world.landed(shifted)).status == "quarantined"


async def test_splits_wait_while_the_platform_is_owed(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    box = await world.make_wallet(world.operator, "splits")
    await world.add_split(box.id, "1.0000", wallet_id=box.id)
    # 2 000 of the platform's 3 000: a shortfall of 1 000, and nothing is free
    short = await world.cash_out(fee=2_000)
    await world.settle(short)
    fees = by_key(await world.legs(short), "super_fee")
    assert {k: v.amount_sats for k, v in fees.items()} == {
        "super": 2_000,
        "shortfall": 1_000,
    }
    # the next sale's split is the operator's own: it pays the platform first
    good = await world.cash_out()
    await world.settle(good)
    await world.make_due()
    await distribution.worker.run_until_idle()
    await world.make_due()
    await distribution.worker.run_until_idle()
    assert await world.platform_sats() == 6_000
    (split,) = await world.legs(good, "operator_split")
    assert split.status == "pending"
    assert await balance_sats(box.id) == 0
    await fill(world, 1_000)
    await world.make_due()
    await distribution.worker.run_until_idle()
    assert await balance_sats(box.id) == 5_000
    await world.assert_ledger()


async def test_a_test_mark_takes_nothing_out_of_the_supers_sums(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"])
    settlement = await world.settle(await world.cash_out())
    mark = {"is_test": True, "reason": "only a test"}
    ok(await world.operator.api.post(f"/settlements/{settlement.id}/test", json=mark))
    sums = await platform_sums(super_session, world.operator)
    assert (sums["paid_sats"], sums["test_count"]) == (3_000, 1)
    seen = ok(await super_session.api.get(f"/super/settlements/{settlement.id}"))
    assert seen["is_test"] is True
    assert seen["operator_name"] == world.operator.username


async def test_a_planned_sale_is_not_the_operators_to_void(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"], payout_interval_minutes=60)
    settlement = await world.settle(await world.cash_out())
    path = f"/settlements/{settlement.id}/void"
    reason = {"reason": "nothing came out"}
    asked = ok(await world.operator.api.post(path, json=reason))
    assert (asked["status"], asked["consent"]["kind"]) == (settlement.status, "void")
    sums = await platform_sums(super_session, world.operator)
    assert (sums["owed_sats"], sums["lost_sats"]) == (3_000, 0)


async def test_a_void_before_planning_is_told_to_lps_and_super(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"])
    settlement = await world.landed(await world.cash_out(dispense="awaiting"))
    path = f"/settlements/{settlement.id}/void"
    ok(await world.operator.api.post(path, json={"reason": "nothing came out"}))
    (entry,) = ok(await world.lps[0].user.api.get("/audit"))["data"]
    assert (entry["action"], entry["reason"]) == (
        "settlement.void",
        "nothing came out",
    )
    # that it was done and why; not the operator's figures
    assert (entry["before"], entry["after"]) == (None, None)
    sums = await platform_sums(super_session, world.operator)
    assert (sums["lost_sats"], sums["voided_count"]) == (3_000, 1)


async def test_an_lp_marked_as_paid_who_was_not(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    leg = await add_leg(
        desk.machine,
        None,
        client_id=desk.client["id"],
        amount_fiat="1.00",
        status="pending",
    )
    say = {"reason": "in cash", "reference": "receipt 7"}
    mark, own = f"/payments/{leg}/mark-paid", f"/lp/payments/{leg}"
    refused(await desk.lp.api.post(f"{own}/accept"), 409, "nobody says")
    claimed = ok(await desk.operator.api.post(mark, json=say))
    assert claimed["status"] == "pending"
    assert claimed["claim"]["state"] == "waiting"
    for user in (desk.operator, await make_user("other")):
        refused(await user.api.post(f"{own}/accept"), 404)
    no = ok(await desk.lp.api.post(f"{own}/decline", json={"reason": "no"}))
    assert (no["status"], no["claim"]["state"]) == ("pending", "declined")
    refused(await desk.lp.api.post(f"{own}/decline"), 409)
    ok(await desk.operator.api.post(mark, json=say))
    paid = ok(await desk.lp.api.post(f"{own}/accept"))
    assert (paid["status"], paid["paid_outside"]) == ("completed", True)
    (sums,) = ok(await desk.lp.api.get("/lp/summary"))
    assert sums["sats_received"] == 0


# ---------------------------------------------------------------------------- machines


async def test_a_squatter_of_an_npub_gets_nothing(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """Who comes second takes nothing from the first, with or without a deposit."""
    desk = await make_desk(make_user, make_wallet)
    squatter = await make_user("squatter")
    claim = await add_machine(
        squatter, make_wallet, machine_npub=desk.machine["machine_npub"]
    )
    assert claim["machine_npub"] == f"waiting:{claim['id']}"
    path = f"/machines/{desk.machine['id']}"
    assert ok(await desk.operator.api.get(path)) == {
        **desk.machine,
        "updated_at": ok(await desk.operator.api.get(path))["updated_at"],
    }
    assert ok(await desk.operator.api.get("/clients"))["total"] == 2
    refused(await squatter.api.get(path), 404)


async def test_a_paired_key_stays_with_who_paired(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    await update(
        "dca_machines", desk.machine["id"], is_paired=True, paired_at=db_time(utc_now())
    )
    squatter = await make_user("squatter")
    claim = await add_machine(
        squatter, make_wallet, machine_npub=desk.machine["machine_npub"]
    )
    assert (claim["is_paired"], claim["machine_npub"]) == (
        False,
        f"waiting:{claim['id']}",
    )
    await squatter.api.delete(f"/machines/{claim['id']}")
    kept = ok(await desk.operator.api.get(f"/machines/{desk.machine['id']}"))
    assert (kept["is_paired"], kept["machine_npub"]) == (
        True,
        desk.machine["machine_npub"],
    )


# ------------------------------------------------------------------- the daily limit


async def test_a_stranger_cannot_use_up_an_lps_daily_limit(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """It took an enrolment by name and a deposit of one's own word: both want a yes."""
    stranger, lp = await make_user("stranger"), await make_user("lp")
    fixed = {
        "dca_wallet_id": lp.wallet.id,
        "default_dca_mode": "fixed",
        "fixed_mode_daily_limit": "500.00",
    }
    ok(await lp.api.post("/lp", json=fixed), 201)
    machine = await add_machine(stranger, make_wallet, machine_npub=random_hex_key())
    body = {"machine_id": machine["id"], "username": lp.username}
    client = ok(await stranger.api.post("/clients", json=body), 201)
    assert client["fixed_mode_daily_limit"] is None
    deposit = {"client_id": client["id"], "amount": "500.00"}
    refused(await stranger.api.post("/deposits", json=deposit), 409, "yes")
    assert ok(await lp.api.get("/lp/summary")) == []


async def test_nobodys_list_shows_what_is_not_theirs(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    other = await make_desk(make_user, make_wallet)
    await add_lp(desk.operator, desk.machine["id"], other.lp)
    seen = ok(await other.lp.api.get("/lp/enrolments"))
    assert seen["total"] == 2
    assert ok(await desk.lp.api.get("/lp/enrolments"))["total"] == 1
    for user, path in ((desk.lp, "/lp/deposits"), (other.operator, "/deposits")):
        text = (await user.api.get(path)).text
        assert (other if user is desk.lp else desk).deposit["id"] not in text


# --------------------------------------------------------------- emptied for two sats


async def test_an_lp_is_not_emptied_for_two_sats(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    """Two honest sales are marked as tests, and twenty-three of a sat pay for a new
    usual rate; then 2 sat are 600.00. By the operator, and with the invoice key."""
    world = await make_world(deposits=["900.00"])
    lp = world.lps[0]
    for _ in range(2):
        sale = await world.settle(await world.cash_out())
        mark = {"is_test": True, "reason": "only a test"}
        ok(await world.operator.api.post(f"/settlements/{sale.id}/test", json=mark))
    theft: dict[str, Any] = {"principal": 2, "fee": 0, "fiat": "500.00"}
    held = await world.settle(await world.cash_out(**theft))
    assert held.status == "quarantined"
    # sales of the operator's own, to move what is usual: they are off it themselves
    for _ in range(3):
        small = await world.cash_out(principal=8, fee=0, fiat="0.30")
        assert (await world.settle(small)).status == "quarantined"
    # whoever holds the wallet's invoice key stamps an invoice as the machine would
    body = {"out": False, "amount": 2, "memo": "x", "extra": world.stamp(**theft)}
    headers = {"X-Api-Key": world.machine_wallet.inkey}
    made = await world.operator.core.post(
        "/api/v1/payments", json=body, headers=headers
    )
    invoice = ok(made, 201)
    await world.fund(world.customer.wallet.id, 10)
    await pay_invoice(
        wallet_id=world.customer.wallet.id, payment_request=invoice["bolt11"]
    )
    assert (await world.settle(invoice["payment_hash"])).status == "quarantined"
    assert await world.remaining(lp) == 500
    # the figures of a person pass the same checks
    figures = {
        "tx_type": "cash_out",
        "principal_sats": 2,
        "fee_sats": 0,
        "fiat_amount": "500.00",
        "fiat_code": "GTQ",
        "reason": "it was so",
    }
    path = f"/settlements/{held.id}/resolve"
    refused(await world.operator.api.post(path, json=figures), 400, "usual")
    # the three see it: the operator in attention, the super as well, the LP nothing
    mine = ok(await world.operator.api.get("/overview"))["needs_attention"]
    assert "quarantined" in {x["kind"] for x in mine}
    sums = await platform_sums(super_session, world.operator)
    assert (sums["quarantined_count"], sums["test_count"]) == (5, 2)
    assert ok(await lp.user.api.get("/lp/payments"))["total"] == 2
    # a paired machine makes its own invoices: there the rate is not even asked
    await update(
        "dca_machines", world.machine.id, is_paired=True, paired_at=db_time(utc_now())
    )
    honest = await world.settle(await world.cash_out())
    assert (honest.status, honest.quarantine_code) == ("quarantined", "not_made_here")


async def test_sales_are_not_held_back_to_be_voided_or_resolved_away(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine is switched off, so that sales are held back: what is given up then
    is lost in the super's sums, and other figures than the machine's are shown."""
    # machines of other tests wait too
    monkeypatch.setattr(attention, "MOST", 10_000)
    world = await make_world(deposits=["900.00"])
    await update("dca_machines", world.machine.id, is_active=False)
    kept, given_up = [await world.landed(await world.cash_out()) for _ in range(2)]
    assert {kept.status, given_up.status} == {"quarantined"}
    path = f"/settlements/{given_up.id}/void"
    ok(await world.operator.api.post(path, json={"reason": "not a customer"}))
    figures = {
        "tx_type": "cash_out",
        "principal_sats": 60_000,
        "fee_sats": 48_000,
        "fiat_amount": "120.00",
        "fiat_code": "GTQ",
        "reason": "the machine was wrong",
    }
    path = f"/settlements/{kept.id}/resolve"
    await update("dca_machines", world.machine.id, is_active=True)
    ok(await world.operator.api.post(path, json=figures))
    await world.settle(kept.payment_hash)
    sums = await platform_sums(super_session, world.operator)
    assert (sums["paid_sats"], sums["lost_sats"], sums["share_sats"]) == (
        1_800,
        3_000,
        4_800,
    )
    assert (sums["resolved_count"], sums["resolved_sats"]) == (1, 1_200)
    seen = ok(await super_session.api.get("/super/overview"))["needs_attention"]
    mine = {x["kind"]: x for x in seen if x["machine_id"] == world.machine.id}
    assert (mine["resolved"]["sats"], mine["voided"]["sats"]) == (1_200, 3_000)
    assert (mine["fee_off"]["count"], mine["voided"]["amount_fiat"]) == (1, "200.00")
    lps = ok(await world.lps[0].user.api.get("/audit"))["data"]
    assert {x["action"] for x in lps} == {"settlement.void", "settlement.resolve"}


async def test_the_platforms_fee_is_not_the_operators_to_void_or_mark_paid(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"], payout_interval_minutes=60)
    sale = await world.settle(await world.cash_out())
    (fee,) = await world.legs(sale.payment_hash, "super_fee")
    body = {"reason": "in cash", "reference": "slip 9"}
    for verb in ("void", "mark-paid"):
        asked = await world.operator.api.post(f"/payments/{fee.id}/{verb}", json=body)
        refused(asked, 403, "super")
        by_lp = await world.lps[0].user.api.post(
            f"/payments/{fee.id}/{verb}", json=body
        )
        refused(by_lp, 404)
    assert (await platform_sums(super_session, world.operator))["owed_sats"] == 3_000
    path = f"/super/payments/{fee.id}/void"
    ok(await super_session.api.post(path, json={"reason": "a gift"}))
    sums = await platform_sums(super_session, world.operator)
    assert (sums["owed_sats"], sums["let_go_sats"]) == (0, 3_000)


async def test_a_discount_that_no_customer_got_is_the_operators_own(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    """A stamp may say what it likes of discounts: the platform forgives only what the
    super has given."""
    world = await make_world(deposits=["900.00"])
    said: dict[str, Any] = {
        "discount_code": "FRIENDS",
        "platform_discount_sats": 3_000,
        "operator_discount_sats": 5_000,
    }
    sale = await world.settle(await world.cash_out(fee=0, **said))
    assert (sale.platform_fee_sats, sale.shortfall_sats) == (3_000, 3_000)
    sums = await platform_sums(super_session, world.operator)
    assert (sums["share_sats"], sums["owed_sats"]) == (3_000, 3_000)


async def test_an_operator_who_says_nothing_came_out_refunds_themselves_nothing(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"], payout_interval_minutes=60)
    sale = await world.settle(await world.cash_out())
    path = f"/settlements/{sale.id}"
    nothing = {"dispensed_fiat": "0", "reason": "nothing came out"}
    asked = ok(await world.operator.api.post(f"{path}/dispense", json=nothing))
    assert asked["consent"]["waits_for"] == sorted(
        ["platform", str(world.lps[0].user.username)]
    )
    refund = {"destination": "me@example.com", "idempotency_key": "k", "reason": "x"}
    refused(await world.operator.api.post(f"{path}/refund", json=refund), 409)
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000
    assert (await platform_sums(super_session, world.operator))["paid_sats"] == 3_000
    # all three read that it was tried
    log = ok(await world.lps[0].user.api.get("/audit"))["data"]
    assert "settlement.dispense_asked" in {x["action"] for x in log}
    seen = ok(await super_session.api.get(f"/super{path}"))
    assert seen["consent"]["dispensed_fiat"] == "0.00"


async def test_before_planning_it_is_told_and_the_refund_is_listed(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    """Of a sale that waits for its dispense only a person may know: it counts, LPs and
    the super are told, and the super reads the refund."""
    world = await make_world(deposits=["900.00"])
    sale = await world.landed(await world.cash_out(dispense="awaiting"))
    path = f"/settlements/{sale.id}/dispense"
    half = {"dispensed_fiat": "100.00", "reason": "a bill jammed"}
    # the super's list has room for so many, the oldest first
    await nobody_elses_word(world.machine.id)
    ok(await world.operator.api.post(path, json=half))
    await world.settle(sale.payment_hash)
    async with db.connect() as conn:
        since = utc_now() - timedelta(minutes=5)
        news = await party_news(conn, since, super_session.user_id)
    told = {n.user_id: n.message for n in news if n.machine_id == world.machine.id}
    assert set(told) == {world.lps[0].user.user_id, super_session.user_id}
    for message in told.values():
        assert "100.00 GTQ came out" in message and "54000 sat" in message
        assert '"a bill jammed"' in message
    seen = ok(await super_session.api.get("/super/overview"))["needs_attention"]
    (word,) = [
        x
        for x in seen
        if x["machine_id"] == world.machine.id and x["kind"] == "refunds_by_word"
    ]
    assert (word["count"], word["sats"]) == (1, 54_000)


# ------------------------------------------------------------------- an LP's balance


async def test_a_balance_closed_at_a_hundredth_and_a_deposit_reversed_in_the_night(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world()
    lp = await world.add_lp("800.00")
    for _ in range(2):
        await world.settle(await world.cash_out())
    assert await world.remaining(lp) == 400
    await world.fund(world.operator.wallet.id, 1_000)
    body = {
        "wallet_id": world.operator.wallet.id,
        "exchange_rate": 0.0025,
        "reason": "goodbye",
        "idempotency_key": "k",
    }
    path = f"/clients/{lp.client.id}/close-balance"
    offer = ok(await world.operator.api.post(path, json=body))
    assert offer["status"] == "waiting for the LP"
    (deposit,) = ok(await world.operator.api.get("/deposits"))["data"]
    await update(
        "dca_deposits",
        deposit["id"],
        confirmed_at=db_time(utc_now() - timedelta(days=1)),
    )
    taken = {"status": "reversed", "amount": "400.00", "reason": "given back"}
    asked = ok(
        await world.operator.api.put(f"/deposits/{deposit['id']}/status", json=taken)
    )
    assert (asked["status"], asked["reversal"]["state"]) == ("confirmed", "requested")
    assert await world.remaining(lp) == 400
    # each of the three: the LP is asked, the operator waits, the super may decide
    (seen,) = ok(await lp.user.api.get("/lp/offers"))["data"]
    assert (seen["status"], seen["remaining"]) == ("waiting", "400.00")
    (own,) = ok(await lp.user.api.get("/lp/deposits"))["data"]
    assert own["reversal"]["reason"] == "given back"
    kinds = {
        x["kind"]
        for x in ok(await super_session.api.get("/super/overview"))["needs_attention"]
        if x["machine_id"] == world.machine.id
    }
    assert "reversal" in kinds
    async with db.connect() as conn:
        since = utc_now() - timedelta(minutes=5)
        news = await party_news(conn, since, super_session.user_id)
    assert {n.kind for n in news if n.user_id == lp.user.user_id} == {
        "client_offer",
        "deposit_reversal_requested",
    }


async def test_an_lp_reads_nothing_of_what_the_operator_holds(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    sale = await world.landed(await world.cash_out())
    # the operator empties the wallet before the engine looks
    box = await world.make_wallet(world.operator, "elsewhere")
    invoice = await create_invoice(wallet_id=box.id, amount=107_223, memo="mine")
    await pay_invoice(wallet_id=world.machine_wallet.id, payment_request=invoice.bolt11)
    await world.settle(sale.payment_hash)
    lp = world.lps[0].user
    (leg,) = ok(await lp.api.get("/lp/payments"))["data"]
    assert leg["status"] == "pending"
    everything = [
        (await lp.api.get(path)).text
        for path in ("/lp/payments", "/lp/payments.csv", "/lp/summary", "/audit")
    ]
    assert not [text for text in everything if "777 of" in text]
    assert "777 of" in (await world.operator.api.get(f"/settlements/{sale.id}")).text


# -------------------------------------------------------------- names, keys and prices


async def test_a_price_check_that_is_switched_off_is_told(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"])
    lp = world.lps[0].user
    path = f"/machines/{world.machine.id}"
    for change in (
        {"price_check": False},
        {"market_factor": "1.3"},
        {"allow_stamped_invoices": True},
        {"name": "http://evil.example/win your prize"},
    ):
        ok(await world.operator.api.put(path, json=change))
    async with db.connect() as conn:
        since = utc_now() - timedelta(minutes=5)
        news = await party_news(conn, since, super_session.user_id)
    told = [n for n in news if n.machine_id == world.machine.id]
    for user_id in (lp.user_id, super_session.user_id):
        said = " ".join(n.message for n in told if n.user_id == user_id)
        for words in ("no longer compared", "1.3", "others than the machine"):
            assert words in said
        # the machine's name is no lure
        assert "evil.example" not in said and "prize" in said
    (seen,) = ok(await lp.api.get("/lp/summary"))
    assert (seen["price_check"], seen["market_factor"]) == (False, "1.3000")
    log = ok(await lp.api.get("/audit"))["data"]
    assert [x["action"] for x in log] == ["machine.change"] * 3
    assert {x["before"] for x in log} == {None}
    machine = ok(await super_session.api.get(f"/super{path}"))
    assert machine["price_check"] is False


async def test_who_onboarded_in_the_other_extension_finds_the_invitation(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    """Their row in `dca_lp` is all there is: they have never opened this extension."""
    operator = await make_user("operator")
    lp = await make_user("lp", enable=False)
    await insert("dca_lp", LpProfile(user_id=lp.user_id, dca_wallet_id=lp.wallet.id))
    machine = await add_machine(operator, make_wallet)
    body = {"machine_id": machine["id"], "username": lp.username}
    client = ok(await operator.api.post("/clients", json=body), 201)
    assert client["status"] == "invited"
    # the tile is there, and leads to it
    me = ok(await lp.api.get("/me"))
    assert (me["lp"], me["enrolled"], me["invitations"]) == (True, True, 1)
    (mine,) = ok(await lp.api.get("/lp/enrolments"))["data"]
    assert mine["status"] == "invited"
    async with db.connect() as conn:
        since = utc_now() - timedelta(minutes=5)
        news = await party_news(conn, since, super_session.user_id)
    (said,) = [n.message for n in news if n.user_id == lp.user_id]
    assert f'"{operator.username}" invites you' in said and "Satoshi Machine" in said
