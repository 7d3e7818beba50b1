"""How much of the server's time a key may have, with the clock in hand."""

from __future__ import annotations

import json

import pytest
from nostr_sdk import Keys

from satmachineadmin.line import budget
from satmachineadmin.line.budget import Budget, Strangers, claimed_key
from satmachineadmin.line.engine import MAX_WAITING_PER_MACHINE, Line
from satmachineadmin.line.keys import KeyRing
from satmachineadmin.line.nostr import Incoming

from dev.line_client import LineClient

pytestmark = pytest.mark.pure

SERVICE = Keys.generate()


def test_a_paired_machine_has_its_outbox_at_once_and_then_waits() -> None:
    found = Budget(budget.PAIRED_PER_SECOND, budget.PAIRED_AT_ONCE)
    assert [found.wait_seconds("a", 0.0) for _ in range(200)] == [0.0] * 200
    assert [round(found.wait_seconds("a", 0.0), 1) for _ in range(3)] == [0.1, 0.2, 0.3]
    assert found.wait_seconds("another", 0.0) == 0.0
    # what it waited for is paid back before it is free again
    assert found.wait_seconds("a", 0.5) == 0.0
    assert found.wait_seconds("a", 1_000.0) == 0.0


def test_before_pairing_it_is_one_a_second_and_five_at_once() -> None:
    found = Budget(budget.UNPAIRED_PER_SECOND, budget.UNPAIRED_AT_ONCE)
    taken = sum(found.take("a", second / 10) for second in range(1_000))
    assert taken == 5 + 99
    assert not found.take("a", 100.0 - 0.1)
    assert found.take("b", 100.0)


def test_looking_takes_nothing() -> None:
    found = Budget(1.0, 2.0)
    assert [found.has("a", 0.0) for _ in range(5)] == [True] * 5
    assert found.take("a", 0.0) and found.take("a", 0.0)
    assert not found.has("a", 0.9)
    assert found.has("a", 1.0) and found.has("b", 0.0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    found = Budget(1.0, 1.0)
    assert found.take("a", 100.0)
    assert not found.take("a", 50.0)
    assert not found.take("a", 50.5)
    assert found.take("a", 51.1)


def test_many_keys_cost_no_memory() -> None:
    found, strangers = Budget(1.0, 1.0), Strangers()
    for number in range(budget.MAX_KEYS * 3):
        found.take(str(number), 0.0)
        strangers.add(str(number), 0.0)
    assert len(found._buckets) <= budget.MAX_KEYS
    assert len(strangers._until) <= budget.MAX_KEYS


def test_a_stranger_is_looked_up_once_a_second() -> None:
    strangers = Strangers()
    strangers.add("a", 10.0)
    assert strangers.is_known_stranger("a", 10.9)
    assert not strangers.is_known_stranger("a", 11.0)
    assert not strangers.is_known_stranger("b", 10.0)


def test_nobody_spends_the_budget_of_a_key_named_in_a_text() -> None:
    real, named = "a" * 64, "b" * 64
    event = {"content": f'"pubkey":"{named}"', "tags": [["x", named]], "pubkey": real}
    assert claimed_key(json.dumps(event)) == real
    assert claimed_key('{"content": ""}') is None


def request(keys: Keys, body_bytes: int) -> str:
    """A signed `pair` whose plaintext has so many bytes."""
    client = LineClient(keys, SERVICE.public_key().to_bech32(), [])
    empty = json.dumps({"rpcName": "pair", "requestId": "1", "body": {"code": ""}})
    text = empty.replace('""', f'"{"x" * (body_bytes - len(empty))}"')
    return client.event(21000, client.sealed(text), []).as_json()


def here(*, known: Keys, is_paired: bool) -> Line:
    line = Line()
    line.ring = KeyRing(current=None, current_pubkey="")
    line.known = {known.public_key().to_hex()}
    line.paired = set(line.known) if is_paired else set()
    return line


def test_before_pairing_a_message_has_a_kilobyte() -> None:
    keys = Keys.generate()
    line = here(known=keys, is_paired=False)
    assert line._may_be_read(request(keys, 1_024))
    assert not line._may_be_read(request(keys, 2_000))
    assert line.ignored.total["too long before pairing"] == 1
    assert here(known=keys, is_paired=True)._may_be_read(request(keys, 30_000))


def test_what_does_not_fit_into_a_machines_queue_is_not_read() -> None:
    keys = Keys.generate()
    line = here(known=keys, is_paired=True)
    event = Incoming("1", keys.public_key().to_hex(), 0, 21000, "")
    line.waiting[event.pubkey] = [event] * MAX_WAITING_PER_MACHINE  # type: ignore[assignment]
    assert not line._may_be_read(request(keys, 100))
    assert line.ignored.total["too many at once from one machine"] == 1
