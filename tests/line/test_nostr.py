"""What comes over the line: keys, envelopes and every kind of garbage.

Pure: no relay, no database. Events are made by pynostr and by nostr-sdk, and spoilt by
hand and by hypothesis; `open_event` either returns what was signed or raises
`IgnoredError`, and a machine's message either reads or raises a `LineError`.
"""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from nostr_sdk import (
    EventBuilder,
    Keys,
    Kind,
    Nip44Version,
    PublicKey,
    Tag,
    nip04_encrypt,
    nip44_decrypt,
    nip44_encrypt,
)
from pynostr.event import Event as PynostrEvent
from pynostr.key import PrivateKey

from satmachineadmin.line.nostr import (
    MAX_EVENT_BYTES,
    MAX_PAYLOAD,
    MAX_PLAINTEXT_BYTES,
    RPC_KIND,
    IgnoredCounts,
    IgnoredError,
    LineError,
    ServiceKey,
    hex_of,
    npub_of,
    open_event,
    read_json,
    read_request,
    reply_event,
)

pytestmark = pytest.mark.pure

SERVICE = ServiceKey.generate()
OURS = {SERVICE.pubkey: SERVICE}
MACHINE = Keys.generate()
MACHINE_HEX = MACHINE.public_key().to_hex()


def sealed(text: str) -> str:
    """NIP-44 v2 from the machine to the service."""
    return nip44_encrypt(
        MACHINE.secret_key(), PublicKey.parse(SERVICE.pubkey), text, Nip44Version.V2
    )


def event(
    content: str, kind: int = RPC_KIND, tags: list[list[str]] | None = None
) -> dict[str, Any]:
    """A signed event of the machine, as nostr-sdk makes it."""
    if tags is None:
        tags = [["p", SERVICE.pubkey]]
    signed = (
        EventBuilder(Kind(kind), content)
        .tags([Tag.parse(tag) for tag in tags])
        .allow_self_tagging()
        .sign_with_keys(MACHINE)
    )
    return json.loads(signed.as_json())


def reason(message: dict[str, Any] | str) -> str:
    text = message if isinstance(message, str) else json.dumps(message)
    with pytest.raises(IgnoredError) as ignored:
        open_event(text, OURS)
    return str(ignored.value)


# ------------------------------------------------------------------------------ keys


def test_npub_and_hex_are_one_key() -> None:
    npub = npub_of(MACHINE_HEX)
    assert npub == MACHINE.public_key().to_bech32()
    assert npub_of(npub) == npub
    assert npub_of(npub.upper()) == npub  # as an alphanumeric QR code carries it
    assert npub_of(f"  nostr:{npub} ") == npub
    assert npub_of(MACHINE_HEX.upper()) == npub
    assert hex_of(npub) == MACHINE_HEX


def _misspelt(npub: str) -> str:
    return npub[:-1] + ("p" if npub.endswith("q") else "q")


# Keys are new in every process, and processes must agree on the names of the tests.
@pytest.mark.parametrize(
    "text",
    [
        "",
        "npub1",
        "alice",
        "g" * 64,
        pytest.param(MACHINE_HEX[:-1], id="63 digits"),
        pytest.param(_misspelt(npub_of(MACHINE_HEX)), id="misspelt"),
        "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhy",
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Nostr public key"):
        npub_of(text)


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_an_nsec_is_refused_and_never_repeated(spelling: Any) -> None:
    nsec = spelling(MACHINE.secret_key().to_bech32())
    with pytest.raises(ValueError, match="SECRET key") as refused:
        npub_of(nsec)
    assert nsec[5:] not in str(refused.value)


def test_the_secret_of_the_service_key_is_in_no_text() -> None:
    key = ServiceKey.generate()
    for text in (repr(key), str(key), f"{key}", f"{[key]}"):
        assert key.nsec() not in text
        assert PrivateKey.from_nsec(key.nsec()).hex() not in text
    assert key.npub in repr(key)
    assert ServiceKey(key.nsec()).pubkey == key.pubkey


@pytest.mark.parametrize(
    "text", ["", "nsec1", "x" * 64, pytest.param(npub_of(MACHINE_HEX), id="npub")]
)
def test_what_is_no_nsec_is_no_service_key(text: str) -> None:
    with pytest.raises(ValueError, match="not an nsec"):
        ServiceKey(text)


# ---------------------------------------------------------------- events that are good


def test_an_event_of_nostr_sdk_is_opened() -> None:
    made = event(sealed('{"rpcName": "ping", "requestId": "1"}'))
    opened = open_event(json.dumps(made), OURS)
    assert (opened.id, opened.pubkey) == (made["id"], MACHINE_HEX)
    assert (opened.kind, opened.to) == (RPC_KIND, SERVICE.pubkey)
    assert opened.created_at == made["created_at"]
    request = read_request(SERVICE.decrypt(opened.pubkey, opened.content))
    assert (request.rpc, request.request_id, request.body) == ("ping", "1", {})


def test_an_event_of_pynostr_is_opened() -> None:
    made = PynostrEvent(
        content=sealed('{"rpcName": "ping", "requestId": 7}'),
        kind=RPC_KIND,
        tags=[["p", SERVICE.pubkey], ["é", "ü\n"]],
    )
    made.sign(MACHINE.secret_key().to_hex())
    opened = open_event(json.dumps(made.to_dict()), OURS)
    assert (opened.id, opened.pubkey) == (made.id, MACHINE_HEX)
    assert read_request(SERVICE.decrypt(opened.pubkey, opened.content)).request_id == 7


def test_a_reply_is_signed_and_only_the_machine_reads_it() -> None:
    request = open_event(json.dumps(event(sealed("{}"))), OURS)
    reply = json.loads(reply_event(SERVICE, request, {"status": "OK", "name": "é"}))
    assert reply["tags"] == [["p", MACHINE_HEX], ["e", request.id]]
    assert (reply["kind"], reply["pubkey"]) == (RPC_KIND, SERVICE.pubkey)
    assert open_event(json.dumps(reply), {MACHINE_HEX}).pubkey == SERVICE.pubkey
    plain = nip44_decrypt(
        MACHINE.secret_key(), PublicKey.parse(SERVICE.pubkey), reply["content"]
    )
    assert json.loads(plain) == {"status": "OK", "name": "é"}


def test_a_reports_name_is_its_d_tag_and_it_needs_no_addressee() -> None:
    beacon = event("{}", kind=30078, tags=[["d", "bitspire-beacon"], ["d", "other"]])
    opened = open_event(json.dumps(beacon), OURS)
    assert (opened.d, opened.to) == ("bitspire-beacon", "")


# ----------------------------------------------------------------- events that are not


def test_the_checks_come_in_order() -> None:
    """Each event fails everything after the check that is named, too."""
    spoilt = event("x", kind=1, tags=[["p", MACHINE_HEX]]) | {"sig": "00" * 64}
    assert reason(json.dumps(spoilt) + " " * MAX_EVENT_BYTES) == "size"
    assert reason(spoilt) == "kind"
    assert reason(spoilt | {"kind": RPC_KIND}) == "addressee"
    assert (
        reason(spoilt | {"kind": RPC_KIND, "tags": [["p", SERVICE.pubkey]]})
        == "signature"
    )


def test_a_megabyte_is_thrown_away_unread() -> None:
    assert reason(event("x" * 1_000_000)) == "size"
    assert reason("é" * (MAX_EVENT_BYTES - 10)) == "size"


def test_a_signature_holds_for_everything_in_the_event() -> None:
    good = event(sealed("{}"))
    for field, value in (
        ("content", good["content"] + "A"),
        ("created_at", good["created_at"] + 1),
        ("pubkey", SERVICE.pubkey),
        ("tags", [["p", SERVICE.pubkey], ["x", "y"]]),
        ("id", "00" * 32),
        ("sig", "00" * 64),
        ("sig", good["sig"][:-2]),
        ("sig", None),
    ):
        assert reason(good | {field: value}) == "signature", field
    unsigned = {name: value for name, value in good.items() if name != "sig"}
    assert reason(unsigned) == "signature"


def test_a_field_named_twice_is_read_as_it_was_checked() -> None:
    good = json.dumps(event(sealed("{}")))
    assert open_event('{"kind": 1, ' + good[1:], OURS).kind == RPC_KIND
    assert reason(good[:-1] + ', "kind": 1}') == "kind"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "null",
        "[]",
        '"x"',
        "1e999",
        "{}",
        "[" * 50_000,
        '{"a":' * 9_000,
        '{"kind": 21000, "tags": [["p", "\\ud800"]]}',
        '{"kind": 21000, "tags": "p"}',
        '{"kind": 21000, "tags": [1, [], ["p"], ["p", 1], null]}',
        '{"kind": true, "tags": []}',
        '{"kind": [21000], "tags": []}',
        json.dumps({"kind": 21000, "tags": [["x", "y"]] * 21}),
    ],
)
def test_garbage_is_ignored(text: str) -> None:
    assert reason(text) in ("json", "kind", "tags", "addressee")


# ----------------------------------------------------------- messages of a real machine


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "AAAA",
        "not base64 é",
        "A" * 50_000,
        pytest.param(
            nip04_encrypt(MACHINE.secret_key(), PublicKey.parse(SERVICE.pubkey), "{}"),
            id="nip04",
        ),
        nip44_encrypt(
            MACHINE.secret_key(), MACHINE.public_key(), "to itself", Nip44Version.V2
        ),
        sealed("{}")[:-8] + "AAAAAAA=",
    ],
)
def test_what_is_not_nip44_for_us_is_undecryptable(payload: str) -> None:
    with pytest.raises(LineError) as refused:
        SERVICE.decrypt(MACHINE_HEX, payload)
    assert refused.value.code == "undecryptable"


def test_the_plaintext_has_a_longest_length() -> None:
    assert SERVICE.decrypt(MACHINE_HEX, sealed("x" * MAX_PLAINTEXT_BYTES))
    assert len(sealed("x" * MAX_PLAINTEXT_BYTES)) == MAX_PAYLOAD
    with pytest.raises(LineError) as refused:
        SERVICE.decrypt(MACHINE_HEX, sealed("é" * (MAX_PLAINTEXT_BYTES // 2 + 1)))
    assert refused.value.code == "too_long"


@pytest.mark.parametrize(
    ("text", "request_id"),
    [
        ("not json", None),
        ("[]", None),
        ('"ping"', None),
        ("null", None),
        ("{}", None),
        ('{"rpcName": "ping"}', None),
        ('{"requestId": true, "rpcName": "ping"}', None),
        ('{"requestId": ["1"], "rpcName": "ping"}', None),
        (json.dumps({"requestId": "x" * 201, "rpcName": "ping"}), None),
        ('{"requestId": "1", "rpcName": 5}', "1"),
        ('{"requestId": "1", "rpcName": "ping", "body": [1]}', "1"),
        ('{"requestId": "1", "rpcName": "ping", "body": null}', "1"),
        ('{"requestId": "1", "rpcName": "ping", "body": {"a": NaN}}', None),
        ('{"requestId": "1", "rpcName": "ping", "body": {"a": "\\u0000"}}', None),
        ('{"requestId": "1", "rpcName": "ping", "body": {"a": "\\ud800"}}', None),
        ('{"requestId": "1", "body": {"a": ' + "9" * 5_000 + "}}", None),
        ("[" * 30_000 + "]" * 30_000, None),
    ],
)
def test_a_message_of_another_shape_is_a_bad_request(
    text: str, request_id: str | None
) -> None:
    with pytest.raises(LineError) as refused:
        read_request(text)
    assert refused.value.code == "bad_request"
    assert refused.value.facts.get("requestId") == request_id


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["p", "d", SERVICE.pubkey, MACHINE_HEX, "rpcName", "requestId"]),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
@settings(max_examples=examples(300), deadline=None)
def test_any_json_reads_or_is_a_bad_request(value: Any) -> None:
    try:
        request = read_request(json.dumps(value))
    except LineError as refused:
        assert refused.code == "bad_request" and refused.reason
    else:
        assert isinstance(request.body, dict)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(max_examples=examples(300), deadline=None)
def test_any_bytes_are_ignored(raw: bytes) -> None:
    for text in (raw.decode(errors="replace"), raw.decode(errors="surrogateescape")):
        with pytest.raises(IgnoredError):
            open_event(text, OURS)


GOOD = event(sealed('{"rpcName": "ping", "requestId": "1"}'))


@given(
    st.dictionaries(
        st.sampled_from(["id", "pubkey", "created_at", "kind", "tags", "content"]),
        JSON_VALUES,
        min_size=1,
    )
)
@settings(max_examples=examples(300), deadline=None)
def test_a_changed_event_is_ignored(changes: dict[str, Any]) -> None:
    changed = GOOD | changes
    if changed == GOOD:
        return
    with pytest.raises(IgnoredError):
        open_event(json.dumps(changed), OURS)


@given(st.binary(max_size=500) | st.text(max_size=500).map(str.encode))
@settings(max_examples=examples(200), deadline=None)
def test_any_payload_decrypts_or_is_refused(raw: bytes) -> None:
    with pytest.raises(LineError) as refused:
        SERVICE.decrypt(MACHINE_HEX, raw.decode(errors="replace"))
    assert refused.value.code == "undecryptable"


def test_garbage_leaves_no_memory_behind() -> None:
    spoilt = json.dumps(GOOD | {"sig": "00" * 64})
    tracemalloc.start()
    try:
        for _ in range(200):
            reason(spoilt)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3_000):
            reason(spoilt)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000


def test_strangers_are_logged_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("satmachineadmin.line.nostr.logger.info", lines.append)
    counts = IgnoredCounts(seconds=60)
    for _ in range(1_000):
        counts.note("unknown key")
    assert len(lines) == 1
    assert counts.total["unknown key"] == 1_000


@pytest.mark.parametrize("length", [300, 90_000])
def test_reading_is_cheap(length: int) -> None:
    """A flood of 200 events a second, however long they are, leaves the server idle."""
    text = json.dumps(event("x" * length))
    started = time.process_time()
    for _ in range(200):
        open_event(text, OURS)
    assert (time.process_time() - started) / 200 < 0.003


def test_json_that_a_database_cannot_keep_is_refused() -> None:
    assert read_json('{"a": ["é", 1.5, null]}') == {"a": ["é", 1.5, None]}
    for text in ("NaN", "[Infinity]", '"\\u0000"', '"\\udfff"', "{"):
        with pytest.raises(ValueError):
            read_json(text)
