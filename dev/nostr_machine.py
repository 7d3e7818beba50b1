"""A simulated bitSpire: a real Nostr client with a key, an outbox and cash.

It knows its own secret key, the service's npub and some relays, and nothing of LNbits:
no URL, no login, no wallet key. What it must report it keeps in an outbox, on disk, and
repeats until it has an OK, also after a crash and after days without a network.

`python -m dev.machine` is this as a command; `make run` and the tests use it as is.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from nostr_sdk import Keys

from .line_client import (
    APP_DATA_KIND,
    TELEMETRY_KIND,
    Answer,
    LineClient,
    NoAnswerError,
)

Bills = Mapping[int, int]
# What each ERROR asks of a machine: the table of docs/machines.md, which
# tests/line/test_trades.py holds against this one and against machine.mjs.
TELL, MEND, SET_CLOCK, NO_TRADE = (
    "tell somebody",
    "mend it",
    "set the clock",
    "no trade",
)
NEW_TXID, KEEP, SET_ASIDE = "a new txid", "keep the report", "set it aside"
LESS, LATER, ANOTHER, REPEAT = "less", "later", "another invoice", "repeat"
WHAT_TO_DO = {
    "not_paired": TELL,
    "bad_code": TELL,
    "undecryptable": MEND,
    "too_long": MEND,
    "bad_request": MEND,
    "unknown_rpc": MEND,
    "stale": SET_CLOCK,
    "inactive": NO_TRADE,
    "stopped": NO_TRADE,
    "conflict": NEW_TXID,
    "expired": NEW_TXID,
    "not_paid": KEEP,
    "unknown_payment": SET_ASIDE,
    "mismatch": SET_ASIDE,
    "not_a_settlement": SET_ASIDE,
    "cash_short": LESS,
    "wallet_short": LATER,
    "limit": LATER,
    "bad_invoice": ANOTHER,
    "wrong_amount": ANOTHER,
    "refused": LATER,
    "busy": REPEAT,
    "server_error": REPEAT,
}
# A report that was refused so will never be taken as it is.
HOPELESS = (MEND, NEW_TXID, SET_ASIDE)
MOST_INVOICES = 3
POLL_SECONDS = 0.3
DONE_PAYOUTS = ("paid", "failed")
FULL_CASSETTES = {1: (20, 500), 2: (50, 500), 3: (100, 500), 4: (200, 500)}


class RefusedError(RuntimeError):
    """The service said ERROR. `answer` is all it said."""

    def __init__(self, rpc: str, answer: Answer) -> None:
        super().__init__(f"{rpc}: {answer['code']}: {answer['reason']}")
        self.code: str = answer["code"]
        self.answer = answer

    @property
    def what_to_do(self) -> str:
        """By the table; a code that is newer than this machine stops the trade."""
        return WHAT_TO_DO.get(self.code, NO_TRADE)


@dataclass
class Report:
    """One thing that the service must hear."""

    rpc: str
    body: dict[str, Any]


@dataclass
class State:
    """All that survives a power cut."""

    nsec: str
    service_npub: str = ""
    relays: list[str] = field(default_factory=list)
    name: str = ""
    fiat_code: str = "GTQ"
    counter: int = 0
    outbox: list[Report] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    cassettes: dict[int, tuple[int, int]] = field(
        default_factory=lambda: dict(FULL_CASSETTES)
    )
    cash_box: dict[int, int] = field(default_factory=dict)

    @classmethod
    def new(cls) -> State:
        return cls(nsec=Keys.generate().secret_key().to_bech32())

    @classmethod
    def load(cls, path: Path) -> State:
        raw = json.loads(path.read_text())
        raw["outbox"] = [Report(**report) for report in raw["outbox"]]
        raw["cassettes"] = {
            int(bay): (denomination, count)
            for bay, (denomination, count) in raw["cassettes"].items()
        }
        raw["cash_box"] = {int(bill): n for bill, n in raw["cash_box"].items()}
        return cls(**raw)

    def save(self, path: Path) -> None:
        """In one step: a crash leaves the old file or the new one."""
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(asdict(self), indent=1))
        os.replace(new, path)


@dataclass(frozen=True)
class Trade:
    """What the machine did, in its own words."""

    tx_type: str
    txid: str
    payment_hash: str
    fiat_amount: Decimal
    principal_sats: int
    fee_sats: int
    status: str


def value_of(bills: Bills) -> int:
    """Whole units of fiat."""
    return sum(denomination * count for denomination, count in bills.items())


def _half_up(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


Pay = Callable[[str], Awaitable[Any]]
MakeInvoice = Callable[[int], Awaitable[str]]


class NostrMachine:
    """One machine. `path` keeps its state; without one it lives in memory."""

    def __init__(self, state: State | None = None, path: Path | None = None) -> None:
        self.state = state or State.new()
        self.path = path
        self.keys = Keys.parse(self.state.nsec)
        self.npub = self.keys.public_key().to_bech32()
        self.hex = self.keys.public_key().to_hex()
        self.line: LineClient | None = None
        self.trades: list[Trade] = []
        self.patience_seconds = 60.0

    def save(self) -> None:
        if self.path:
            self.state.save(self.path)

    # the line --------------------------------------------------------------------

    def scan(self, qr: Mapping[str, Any]) -> str:
        """Takes the service's key and relays off a pairing QR; returns the code."""
        self.state.service_npub = str(qr["service_npub"])
        self.state.relays = [str(url) for url in qr["relays"]]
        self.save()
        return str(qr["pairing_code"])

    async def go_online(self) -> None:
        if self.line is None:
            self.line = LineClient(
                self.keys,
                self.state.service_npub,
                self.state.relays,
                self.take_cassettes,
            )
            await self.line.open()

    async def go_offline(self) -> None:
        line, self.line = self.line, None
        if line:
            await line.close()

    @property
    def client(self) -> LineClient:
        if self.line is None:
            raise NoAnswerError("The machine is offline.")
        return self.line

    async def ask(self, rpc: str, body: dict[str, Any]) -> Answer:
        """Insists until it is answered, and does by itself what an ERROR asks of the
        machine alone: sets its clock, or repeats the request, newly signed.

        Raises `RefusedError` for all other ERRORs, or `NoAnswerError`.
        """
        deadline = time.monotonic() + self.patience_seconds
        was_set = False
        while True:
            answer = await self.client.insist(
                rpc, body, timeout_seconds=self.patience_seconds
            )
            await self._follow(answer)
            if answer["status"] == "OK":
                return answer
            refused = RefusedError(rpc, answer)
            is_late = time.monotonic() > deadline
            if refused.what_to_do == SET_CLOCK and not was_set:
                self.client.set_clock(answer["server_time"])
                was_set = True
            elif refused.what_to_do == REPEAT and not is_late:
                await asyncio.sleep(POLL_SECONDS)
            else:
                raise refused

    async def _follow(self, answer: Answer) -> None:
        """The service has a new key, and says so under the old one."""
        npub = answer.get("service_npub")
        if npub and npub != self.state.service_npub:
            self.state.service_npub = npub
            self.save()
            await self.go_offline()
            await self.go_online()

    async def pair(self, qr: Mapping[str, Any]) -> Answer:
        code = self.scan(qr)
        await self.go_offline()
        await self.go_online()
        answer = await self.ask("pair", {"code": code})
        self.state.name = answer["name"]
        self.state.fiat_code = answer["fiat_code"]
        self.save()
        return answer

    # the outbox ------------------------------------------------------------------

    def report(self, rpc: str, body: dict[str, Any]) -> None:
        """Keeps a report until the service has taken it."""
        self.state.outbox.append(Report(rpc, body))
        self.save()

    async def drain(self) -> int:
        """Sends what is in the outbox, oldest first; returns how many were taken.

        Raises `NoAnswerError` when nobody answers: the rest stays where it is. What
        cannot be taken yet (`not_paid`) stays too, and what never will is set aside.
        """
        taken = 0
        for report in list(self.state.outbox):
            try:
                await self.ask(report.rpc, report.body)
                taken += 1
            except RefusedError as refused:
                if refused.what_to_do not in HOPELESS:
                    continue
                self.state.refused.append({**asdict(report), "answer": refused.answer})
            self.state.outbox.remove(report)
            self.save()
        return taken

    # trades ----------------------------------------------------------------------

    def _next_txid(self) -> str:
        self.state.counter += 1
        self.save()
        return f"{self.hex[:6]}-{self.state.counter}"

    async def _terms(
        self,
        tx_type: str,
        bills: Bills,
        sats_per_unit: Decimal,
        txid: str | None,
        code: str | None = None,
    ) -> dict[str, Any]:
        fiat_code = self.state.fiat_code
        fiat_amount = f"{value_of(bills)}.00"
        # with the amount: a trade outside the limits is refused before notes move
        asked = {"fiat_code": fiat_code, "fiat_amount": fiat_amount}
        typed = {"code": code} if code else {}
        quote = await self.ask("quote", {"tx_type": tx_type, **asked, **typed})
        principal = _half_up(value_of(bills) * sats_per_unit)
        fractions = (quote["platform_fee_fraction"], quote["operator_fee_fraction"])
        platform, operator = (_half_up(principal * Decimal(x)) for x in fractions)
        fixed = Decimal(quote["operator_fixed_fee"])
        operator += _half_up(fixed * principal / value_of(bills))
        fee = platform + operator
        for share, of in (("platform", platform), ("operator", operator)):
            fee -= _half_up(of * Decimal(quote.get(f"{share}_discount", "0")))
        if tx_type == "cash_in" and principal - fee > quote["max_cash_in_sats"]:
            raise RefusedError(
                "quote",
                {
                    "code": "wallet_short",
                    "reason": f"at most {quote['max_cash_in_sats']} sat now",
                },
            )
        return {
            "principal_sats": principal,
            "fee_sats": fee,
            **asked,
            "exchange_rate": float(sats_per_unit),
            "txid": txid or self._next_txid(),
            **typed,
            "bills": {str(bill): count for bill, count in bills.items()},
        }

    async def cash_out(
        self,
        bills: Bills,
        sats_per_unit: Decimal,
        pay: Pay,
        *,
        dispensed: int | None = None,
        txid: str | None = None,
        code: str | None = None,
    ) -> Trade:
        """Sells cash: shows an invoice, waits until `pay` has paid it, dispenses.

        `dispensed` is how many units of fiat come out of the slot, default all. The
        settlement and the dispense are reported through the outbox. `RefusedError`
        comes before anybody has paid: with `bad_code`, the customer's code gives
        nothing here and now; with `cash_short`, `quote` says what is there.
        """
        body = await self._terms("cash_out", bills, sats_per_unit, txid, code)
        invoice = await self._invoice(body)
        await pay(invoice["bolt11"])
        payment_hash = invoice["payment_hash"]
        self.report(
            "settlement", {"tx_type": "cash_out", "payment_hash": payment_hash, **body}
        )
        await self._wait_until_taken()
        return await self._dispense(body, payment_hash, bills, dispensed)

    async def _invoice(self, body: dict[str, Any]) -> Answer:
        """An invoice for the customer; under a new txid where this one was used, as by
        a counter that began again after a broken disk."""
        try:
            return await self.ask("invoice", body)
        except RefusedError as refused:
            if refused.what_to_do != NEW_TXID:
                raise
        body["txid"] = self._next_txid()
        return await self.ask("invoice", body)

    async def _wait_until_taken(self) -> None:
        """No cash before the service has the customer's payment."""
        deadline = time.monotonic() + self.patience_seconds
        while self.state.outbox and time.monotonic() < deadline:
            await self.drain()
            if self.state.outbox:
                await asyncio.sleep(POLL_SECONDS)
        if self.state.outbox:
            raise NoAnswerError("The customer has not paid, or nobody answers.")

    async def _dispense(
        self,
        body: dict[str, Any],
        payment_hash: str,
        bills: Bills,
        dispensed: int | None,
    ) -> Trade:
        total = value_of(bills) if dispensed is None else dispensed
        if total == value_of(bills):
            self._take_out(bills)
        self.report(
            "dispense",
            {"payment_hash": payment_hash, "dispensed_fiat": f"{total}.00"},
        )
        return self._done("cash_out", body, payment_hash, "dispensed")

    def _take_out(self, bills: Bills) -> None:
        for bill, count in bills.items():
            for bay, (denomination, left) in self.state.cassettes.items():
                if denomination == bill and left >= count:
                    self.state.cassettes[bay] = (denomination, left - count)
                    break
        self.save()

    async def cash_in(
        self,
        bills: Bills,
        sats_per_unit: Decimal,
        make_invoice: MakeInvoice,
        *,
        txid: str | None = None,
    ) -> Trade:
        """Buys cash: takes the bills, has the customer paid principal - fee.

        A payout that failed, or an invoice that cannot be paid, is followed by another
        invoice of the customer's. After any other ERROR nothing was paid and nothing
        will be: the bills are handed back, and `RefusedError` says why. Without an
        answer nothing is handed back: it may have been paid.
        """
        body = await self._terms("cash_in", bills, sats_per_unit, txid)
        self._take_in(bills, 1)
        sats = body["principal_sats"] - body["fee_sats"]
        for left in reversed(range(MOST_INVOICES)):
            bolt11 = await make_invoice(sats)
            try:
                answer = await self._paid_out({**body, "bolt11": bolt11})
            except RefusedError as refused:
                if refused.what_to_do == ANOTHER and left:
                    continue
                self._take_in(bills, -1)
                raise
            if answer["payment_status"] != "failed":
                break
        else:
            self._take_in(bills, -1)
        return self._done(
            "cash_in", body, answer["payment_hash"], answer["payment_status"]
        )

    def _take_in(self, bills: Bills, sign: int) -> None:
        """Into the box, or (-1) out of it and back to the customer."""
        for bill, count in bills.items():
            self.state.cash_box[bill] = self.state.cash_box.get(bill, 0) + sign * count
        self.save()

    async def _paid_out(self, body: dict[str, Any]) -> Answer:
        """Asks for the payout until its outcome is known, however long that takes: an
        answer that says `pending` is no reason to hand the cash back."""
        deadline = time.monotonic() + self.patience_seconds
        while True:
            answer = await self.ask("payout", body)
            is_late = time.monotonic() > deadline
            if answer["payment_status"] in DONE_PAYOUTS or is_late:
                return answer
            await asyncio.sleep(POLL_SECONDS)

    def _done(
        self, tx_type: str, body: dict[str, Any], payment_hash: str, status: str
    ) -> Trade:
        trade = Trade(
            tx_type=tx_type,
            txid=body["txid"],
            payment_hash=payment_hash,
            fiat_amount=Decimal(body["fiat_amount"]),
            principal_sats=body["principal_sats"],
            fee_sats=body["fee_sats"],
            status=status,
        )
        self.trades.append(trade)
        return trade

    # what it publishes -----------------------------------------------------------

    def take_cassettes(self, message: Mapping[str, Any]) -> None:
        """The operator filled the bays, and said with what."""
        self.state.cassettes = {
            int(bay): (value["denomination"], value["count"])
            for bay, value in message["positions"].items()
        }
        self.save()

    async def publish_cassettes(self, created_at: int | None = None) -> int:
        """What is in the bays now; returns how many relays took it."""
        positions = {
            str(bay): {"denomination": denomination, "count": count}
            for bay, (denomination, count) in self.state.cassettes.items()
        }
        name = f"bitspire-cassettes-state:{self.hex}"
        return await self._publish(
            APP_DATA_KIND,
            name,
            self.client.sealed(json.dumps({"positions": positions})),
            created_at,
        )

    async def publish_beacon(self, created_at: int | None = None, **facts: Any) -> int:
        """The public word: where it is and what it does."""
        content = {
            "cash_in": True,
            "cash_out": True,
            "cash_level": self.cash_level(),
            "fiat": self.state.fiat_code,
            "model": "bitSpire simulator",
            "name": self.state.name,
            "denominations": sorted({d for d, _ in self.state.cassettes.values()}),
            "version": "1.0.0",
            **facts,
        }
        return await self._publish(
            APP_DATA_KIND, "bitspire-beacon", json.dumps(content), created_at
        )

    async def publish_telemetry(
        self, content: Mapping[str, Any] | None = None, created_at: int | None = None
    ) -> int:
        """For the operator's eyes only."""
        report = content or {
            "cash_box": {str(bill): n for bill, n in self.state.cash_box.items()},
            "outbox": len(self.state.outbox),
            "transactions": self.state.counter,
            "door_open": False,
        }
        return await self._publish(
            TELEMETRY_KIND,
            "bitspire-telemetry",
            self.client.sealed(json.dumps(report)),
            created_at,
        )

    async def _publish(
        self, kind: int, name: str, content: str, created_at: int | None
    ) -> int:
        event = self.client.event(kind, content, [["d", name]], created_at)
        return await self.client.send(event)

    def cash_level(self) -> str:
        left = min((count for _, count in self.state.cassettes.values()), default=0)
        return "low" if left < 20 else "ok"

    # what a bad day looks like ---------------------------------------------------

    async def replay(self) -> int:
        """Sends the last events once more, unchanged; returns how many."""
        events = list(self.client.sent)
        for event in events:
            await self.client.send(event)
        return len(events)

    async def send_garbage(self) -> int:
        """Every kind of message that no machine should send; returns how many."""
        client = self.client
        contents = [
            "not encrypted",
            "",
            "A" * 90_000,
            client.sealed("not json"),
            client.sealed("[1, 2, 3]"),
            client.sealed("[" * 5_000 + "]" * 5_000),
            client.sealed('{"rpcName": "ping"}'),
            client.sealed('{"rpcName": "explode", "requestId": "x", "body": {}}'),
            client.sealed('{"rpcName": "payout", "requestId": "y", "body": {}}'),
        ]
        for content in contents:
            await client.send(client.event(21000, content, []))
        return len(contents)
