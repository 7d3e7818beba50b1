"""What does not agree, of two books that were read: pure, and each by id.

Held against each other: every payout and leg with LNbits' rows, every stamped payment
with its settlement, what each settlement owes with what came in, the wallet's balance
with every payment we know of, LPs' fiat with their legs, the bays with fills and
dispenses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import bitspire
from ..base.currencies import money
from ..cash import bays as cash
from ..host.payments import extra_of
from ..models import CASH_OUT, Settlement
from ..money.payouts import TAG
from ..money.planning import owed_of
from .gone import Gone
from .reconciliation_crud import UNKNOWN, Row

LP_RECEIVED = "lp_received"


@dataclass(frozen=True)
class Difference:
    """Two books that do not agree, about one thing.

    `stops`: money could leave twice while this is not understood.
    """

    kind: str
    subject_type: str
    subject_id: str
    message: str
    ids: tuple[str, ...] = ()
    sats: int | None = None
    stops: bool = False

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject_id}:{self.sats or 0}"


def balance_delta_msat(row: Row) -> int:
    """What a row of LNbits does to its wallet's balance."""
    amount, status = int(row["amount"]), row["status"]
    counts = ("success",) if amount > 0 else ("success", "pending")
    return amount - abs(int(row["fee"] or 0)) if status in counts else 0


def has_left(row: Row | None) -> bool:
    """Whether LNbits has paid this, or may still."""
    return row is not None and row["status"] in ("success", "pending")


def outgoing(found: Iterable[Row], wallet_id: str) -> Row | None:
    return next(
        (r for r in found if int(r["amount"]) < 0 and r["wallet_id"] == wallet_id), None
    )


def compare_payouts(
    payouts: Sequence[Row],
    tries: Sequence[Row],
    core: Mapping[str, Sequence[Row]],
) -> list[Difference]:
    """Every payout with LNbits' rows, and every leg with all payouts it was in."""
    found = []
    sums: dict[str, int] = {}
    legs_of: dict[str, list[str]] = {}
    for row in tries:
        payout_id = row["payout_id"]
        sums[payout_id] = sums.get(payout_id, 0) + int(row["amount_sats"])
        legs_of.setdefault(payout_id, []).append(row["leg_id"])
    for payout in payouts:
        sides = core.get(payout["payment_hash"] or "", ())
        found += _compare_payout(payout, sides, legs_of.get(payout["id"], []))
        total = sums.get(payout["id"], 0)
        if total != int(payout["amount_sats"]):
            found.append(
                Difference(
                    "payout_sum",
                    "payout",
                    payout["id"],
                    f"The payout of {payout['amount_sats']} sat is made of legs of "
                    f"{total} sat.",
                    tuple(legs_of.get(payout["id"], [])),
                    total - int(payout["amount_sats"]),
                )
            )
    return found + _paid_twice(tries, core)


def _compare_payout(
    payout: Row, sides: Sequence[Row], leg_ids: Sequence[str]
) -> list[Difference]:
    out = outgoing(sides, payout["source_wallet_id"])
    status = str(out["status"]) if out else "nothing"
    ids = (payout["payment_hash"] or "", *leg_ids)
    sats = int(payout["sent_sats"] or 0)
    if payout["status"] == "failed" and payout["payment_hash"] and has_left(out):
        return [
            Difference(
                "failed_payout_left",
                "payout",
                payout["id"],
                f"A payout of {sats} sat failed in our books, and LNbits says {status}:"
                " its legs could be paid again.",
                ids,
                sats,
                stops=True,
            )
        ]
    if payout["status"] == "invoiced":
        return _stuck(payout, sides, out, ids)
    if payout["status"] != "paid":
        return []
    if status != "success":
        return [
            Difference(
                "payout_not_paid",
                "payout",
                payout["id"],
                f"A payout of {sats} sat is paid in our books, and LNbits says "
                f"{status}.",
                ids,
                sats,
            )
        ]
    into = next((r for r in sides if int(r["amount"]) > 0), None)
    if into is not None and into["status"] != "success":
        return [
            Difference(
                "payout_not_received",
                "payout",
                payout["id"],
                f"A payout of {sats} sat left its wallet and did not reach wallet "
                f"{into['wallet_id'][:8]}…",
                ids,
                sats,
            )
        ]
    return []


def _stuck(
    payout: Row, sides: Sequence[Row], out: Row | None, ids: tuple[str, ...]
) -> list[Difference]:
    """A payment that is under way for ever: it never left its wallet, and its invoice
    was paid by another wallet, or failed, or is no more."""
    if has_left(out):
        return []
    others = [r for r in sides if r is not out]
    into = [r for r in others if int(r["amount"]) > 0]
    by_another = [r for r in others if int(r["amount"]) < 0 and has_left(r)]
    if by_another or any(r["status"] == "success" for r in into):
        why = "another wallet has paid its invoice"
    elif out is not None or any(r["status"] == "failed" for r in into):
        why = "LNbits says that it failed"
    elif not sides:
        why = "LNbits knows nothing of it"
    else:
        return []
    sats = int(payout["sent_sats"] or payout["amount_sats"])
    return [
        Difference(
            "payout_stuck",
            "payout",
            payout["id"],
            f"A payout of {sats} sat is under way in our books, and {why}.",
            ids,
            sats,
        )
    ]


def _paid_twice(
    tries: Sequence[Row], core: Mapping[str, Sequence[Row]]
) -> list[Difference]:
    left: dict[str, list[str]] = {}
    amounts: dict[str, int] = {}
    for row in tries:
        sides = core.get(row["payment_hash"] or "", ())
        amounts[row["leg_id"]] = int(row["amount_sats"])
        if has_left(outgoing(sides, row["source_wallet_id"])):
            left.setdefault(row["leg_id"], []).append(row["payout_id"])
    return [
        Difference(
            "paid_twice",
            "payment",
            leg_id,
            f"{amounts[leg_id]} sat left LNbits in {len(payout_ids)} payments.",
            tuple(sorted(payout_ids)),
            amounts[leg_id],
            stops=True,
        )
        for leg_id, payout_ids in sorted(left.items())
        if len(payout_ids) > 1
    ]


def compare_legs(
    legs: Sequence[Row],
    payouts: Mapping[str, Row],
    tries: Sequence[Row],
    core: Mapping[str, Sequence[Row]],
) -> list[Difference]:
    """Every leg with the payout it says it was paid by."""
    gone = {
        row["leg_id"]
        for row in tries
        if has_left(
            outgoing(core.get(row["payment_hash"] or "", ()), row["source_wallet_id"])
        )
    }
    found = []
    for leg in legs:
        payout = payouts.get(leg["payout_id"] or "")
        problem = _leg_problem(leg, payout, leg["id"] in gone)
        if problem:
            kind, text, stops = problem
            found.append(
                Difference(
                    kind,
                    "payment",
                    leg["id"],
                    f"A leg of {leg['amount_sats']} sat {text}",
                    tuple(x for x in (leg["payout_id"], leg["settlement_id"]) if x),
                    int(leg["amount_sats"]),
                    stops,
                )
            )
    return found


def _leg_problem(
    leg: Row, payout: Row | None, has_gone: bool
) -> tuple[str, str, bool] | None:
    is_open = leg["status"] in ("pending", "failed")
    if is_open and leg["payout_id"] is None and has_gone:
        return "open_leg_left", "waits to be paid, and LNbits has paid it.", True
    if leg["status"] == "voided" and has_gone:
        return "voided_leg_left", "was voided, and LNbits has paid it.", False
    if leg["status"] != "completed" or leg["leg_key"] is None:
        return None  # legs of older versions had no payouts
    if leg["payout_id"] is None:
        if leg["reference"]:
            return None
        return "leg_without_payment", "is completed without any payment.", False
    if payout is None or payout["status"] != "paid":
        return "leg_without_payment", "is completed, and its payout is not.", False
    if leg["external_payment_hash"] != payout["payment_hash"]:
        return "leg_hash", "names another payment than its payout does.", False
    return None


def compare_settlements(
    settlements: Sequence[Row],
    core: Mapping[str, Sequence[Row]],
    payout_hashes: set[str],
) -> list[Difference]:
    """Every settlement with LNbits' payment, and that it is none of our own."""
    found = []
    for row in settlements:
        payment_hash = row["payment_hash"].partition(":")[0]
        sides = [
            r
            for r in core.get(payment_hash, ())
            if r["wallet_id"] == row["wallet_id"]
            and (not row["tx_type"] or _fits(row["tx_type"], int(r["amount"])))
        ]
        paid = [r for r in sides if r["status"] == "success"]
        is_open = row["status"] not in ("completed", "voided")
        if not paid:
            status = sides[0]["status"] if sides else "nothing"
            found.append(
                _settlement(
                    row,
                    "settlement_not_paid",
                    f"A settlement of {row['wire_sats']} sat stands on a payment of "
                    f"which LNbits says {status}.",
                    is_open,
                )
            )
        elif payment_hash in payout_hashes:
            found.append(
                _settlement(
                    row,
                    "own_payment_landed",
                    f"A settlement of {row['wire_sats']} sat is a payout of our own.",
                    row["status"] != "voided",
                )
            )
    return found


def _fits(tx_type: str, amount: int) -> bool:
    return (tx_type == CASH_OUT) == (amount > 0)


def _settlement(row: Row, kind: str, message: str, stops: bool) -> Difference:
    return Difference(
        kind,
        "settlement",
        row["id"],
        message,
        (row["payment_hash"],),
        int(row["wire_sats"]),
        stops,
    )


def compare_marked(
    marked: Sequence[Row],
    recorded_keys: set[tuple[str, str]],
    own_hashes: set[str],
    half_done: set[str],
) -> list[Difference]:
    """Every stamped payment with its settlement, and our own payments with a payout.
    `half_done` are hashes that left a customer's wallet and did not arrive."""
    found = []
    for row in marked:
        extra = extra_of(row)
        payment_hash, sats = row["payment_hash"], abs(int(row["amount"])) // 1000
        if extra.get("source") == bitspire.SOURCE:
            side = (payment_hash, row["wallet_id"])
            if row["status"] == "pending" and payment_hash in half_done:
                found.append(
                    Difference(
                        "half_done",
                        "lnbits_payment",
                        payment_hash,
                        f"A payment of {sats} sat left its customer's wallet and did "
                        "not reach the machine's.",
                        (row["wallet_id"],),
                        sats,
                    )
                )
            if row["status"] == "success" and side not in recorded_keys:
                found.append(
                    Difference(
                        "not_landed",
                        "lnbits_payment",
                        payment_hash,
                        f"A stamped payment of {sats} sat has no settlement.",
                        (row["wallet_id"],),
                        sats,
                    )
                )
        elif extra.get("tag") == TAG and int(row["amount"]) < 0:
            if payment_hash not in own_hashes:
                found.append(
                    Difference(
                        "unknown_payout",
                        "lnbits_payment",
                        payment_hash,
                        f"LNbits has a payment of ours of {sats} sat that is in none "
                        "of our books: what it paid could be paid again.",
                        tuple(x for x in (row["external_id"], row["wallet_id"]) if x),
                        sats,
                        stops=True,
                    )
                )
    return found


def half_done_payments(core: Mapping[str, Sequence[Row]]) -> set[str]:
    """Hashes of which one side of this instance was paid and the other waits: LNbits
    stopped between its two commits."""
    return {
        payment_hash
        for payment_hash, sides in core.items()
        if any(int(r["amount"]) < 0 and r["status"] == "success" for r in sides)
        and any(int(r["amount"]) > 0 and r["status"] == "pending" for r in sides)
    }


def compare_gone(causes: Iterable[Gone], machine_id: str) -> list[Difference]:
    """What of a machine is owed by, or to, a wallet or an account that is no more."""
    return [
        Difference(
            cause.kind,
            cause.subject_type,
            cause.subject_id,
            f"{cause.message} {cause.action}",
            tuple(x for x in (cause.settlement_id,) if x),
        )
        for cause in causes
        if cause.machine_id == machine_id
    ]


def compare_conservation(
    settlements: Sequence[Settlement], legs: Sequence[Row]
) -> list[Difference]:
    """What a planned settlement owes and keeps adds up to what came in."""
    owing: dict[str, int] = {}
    for leg in legs:
        if leg["leg_type"] != "autoforward" and leg["status"] != "voided":
            settlement_id = str(leg["settlement_id"])
            amount = int(leg["amount_sats"])
            owing[settlement_id] = owing.get(settlement_id, 0) + amount
    found = []
    for settlement in settlements:
        if settlement.planned_at is None or settlement.status == "voided":
            continue
        available = owed_of(settlement).available_sats
        total = owing.get(settlement.id, 0) + (settlement.retained_sats or 0)
        total -= settlement.loss_sats
        if total != available:
            found.append(
                Difference(
                    "not_conserved",
                    "settlement",
                    settlement.id,
                    f"Its legs and what stays are {total} sat, and {available} sat "
                    "came in.",
                    (),
                    total - available,
                    stops=total > available,
                )
            )
    return found


def compare_lps(balances: Sequence[Row], currency: str) -> list[Difference]:
    """Deposits less debits, and the running totals that plans are made from."""
    found = []
    for row in balances:
        debited, total = int(row["debited"]), int(row["total"])
        name = row["username"] or row["id"]
        if debited != total:
            found.append(
                Difference(
                    "lp_total",
                    "client",
                    row["id"],
                    f"{name}: the legs took {money(debited, currency)}, the "
                    f"running total says {money(total, currency)}.",
                    (),
                    total - debited,
                    # fiat that is spent would be taken for fiat that is there
                    stops=total < debited,
                )
            )
        received, shown = int(row["received_sats"]), int(row["total_received_sats"])
        if received != shown:
            found.append(
                Difference(
                    LP_RECEIVED,
                    "client",
                    row["id"],
                    f"{name}: the legs brought {received} sat, the running total said "
                    f"{shown}; it is counted anew.",
                    (),
                    shown - received,
                )
            )
        if debited > int(row["deposited"]):
            found.append(
                Difference(
                    "lp_below_zero",
                    "client",
                    row["id"],
                    f"{name}: the legs took {money(debited, currency)} of "
                    f"{money(int(row['deposited']), currency)} deposited.",
                    (),
                    int(row["deposited"]) - debited,
                    stops=True,
                )
            )
    return found


def compare_bays(bays: Sequence[cash.Bay]) -> list[Difference]:
    """What the machine counted with what the cash book says of that moment."""
    found = []
    for bay in bays:
        if bay.reported is None:
            continue
        expected = bay.expected_at_report
        if bay.reported != expected:
            found.append(
                Difference(
                    "cash_differs",
                    "bay",
                    f"{bay.machine_id}:{bay.position}",
                    f"Bay {bay.position}: the machine reports {bay.reported} notes of "
                    f"{bay.denomination}; the cash book says {expected}.",
                    (),
                    bay.reported - expected,
                )
            )
    return found


def compare_places(rows: Sequence[Row], machine_id: str) -> list[Difference]:
    """What each place is said to hold with the sum of its movements: `place`,
    `currency`, `held_cents`, `moved_cents`."""
    return [
        Difference(
            "cash_places",
            "bay",
            f"{machine_id}:{row['place'].removeprefix('bay:')}",
            f"{row['place']}: the cash book shows "
            f"{money(int(row['held_cents']), row['currency'])}, its movements add up "
            f"to {money(int(row['moved_cents']), row['currency'])}.",
            (),
        )
        for row in rows
        if int(row["held_cents"]) != int(row["moved_cents"])
    ]


def compare_trades(rows: Sequence[Row]) -> list[Difference]:
    """Trades whose notes are not those of their money: `settlement_id`, `tx_type`,
    `fiat_code`, `sold_cents`, `cents`, `more_cents`, `fault`."""
    found = []
    for row in rows:
        sold_cents, moved = int(row["sold_cents"]), int(row["cents"])
        sold = money(sold_cents, row["fiat_code"])
        if row["fault"]:
            said = f"The notes of a sale of {sold} are not in the cash book."
        elif row["tx_type"] == CASH_OUT:
            left = max(moved, sold_cents + int(row["more_cents"]))
            amount = money(left, row["fiat_code"])
            said = f"{amount} left the machine for a sale of {sold}."
        else:
            amount = money(moved, row["fiat_code"])
            said = f"{amount} came in for a sale of {sold}."
        found.append(
            Difference("cash_trade", "settlement", row["settlement_id"], said, ())
        )
    return found


@dataclass
class WalletBook:
    """The balance of a wallet with every payment of it that is in our books, summed
    while they are read. What LNbits has and we have not is foreign, and none of our
    business."""

    wallet_id: str
    ours_msat: int = 0
    known_msat: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(
        self, moves: Iterable[tuple[str, int]], core: Mapping[str, Sequence[Row]]
    ) -> None:
        for payment_hash, said_msat in moves:
            sides = [
                r
                for r in core.get(payment_hash, ())
                if r["wallet_id"] == self.wallet_id
            ]
            if said_msat != UNKNOWN and len(sides) > 1:
                sides = [r for r in sides if (int(r["amount"]) > 0) == (said_msat > 0)]
            real_msat = sum(balance_delta_msat(r) for r in sides)
            self.known_msat += real_msat
            # our fees are whole sats, rounded up
            if said_msat == UNKNOWN or abs(real_msat - said_msat) < 1000:
                self.ours_msat += real_msat
                continue
            self.ours_msat += said_msat
            self.differences.append(
                Difference(
                    "wallet_move",
                    "lnbits_payment",
                    payment_hash,
                    f"This payment moved {real_msat / 1000:g} sat in LNbits and "
                    f"{said_msat / 1000:g} sat in our books.",
                    (self.wallet_id,),
                    (real_msat - said_msat) // 1000,
                )
            )

    def compare(
        self, balance_msat: int, unpaid_sats: int, unplanned_sats: int
    ) -> tuple[list[Difference], dict[str, Any]]:
        found = list(self.differences)
        foreign_msat = balance_msat - self.known_msat
        owed = unpaid_sats + unplanned_sats
        if balance_msat // 1000 < owed:
            found.append(
                Difference(
                    "wallet_short",
                    "wallet",
                    self.wallet_id,
                    f"The wallet holds {balance_msat // 1000} sat and owes {owed} sat.",
                    (),
                    balance_msat // 1000 - owed,
                )
            )
        facts = {
            "wallet_id": self.wallet_id,
            "balance_sats": balance_msat // 1000,
            "own_sats": self.ours_msat // 1000 - owed,
            "unpaid_sats": unpaid_sats,
            "unplanned_sats": unplanned_sats,
            "foreign_sats": foreign_msat // 1000,
            "difference_sats": (balance_msat - foreign_msat - self.ours_msat) // 1000,
        }
        return found, facts
