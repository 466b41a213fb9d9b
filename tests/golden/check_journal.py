"""Reads the golden files of tests/journal.rs with another implementation.

It follows src/manual/journal.md. Needs `cryptography`: python3 tests/golden/check_journal.py
"""

import hashlib
import hmac
import pathlib
import struct
import zlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).parent


def golden(name):
    lines = (HERE / name).read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def expand(key, label, info=b""):
    text = b"cardvault/1/journal-" + label + info + b"\1"
    return hmac.new(key, text, hashlib.sha256).digest()


def items(data):
    while data:
        version, kind, length = struct.unpack(">BBH", data[:4])
        item, data = data[:length], data[length:]
        assert version == 1 and zlib.crc32(item[:-4]) == struct.unpack(">I", item[-4:])[0]
        yield kind, item


chain = golden("journal-chain-key.hex")
journal = expand(chain, b"id")[:8]


def read(upload, expected_kinds):
    """The keys behind the upload, and the nonce and card of each entry that has one."""
    e, a = expand(chain, b"first"), expand(chain, b"start")
    count, kinds, cards = 0, [], {}
    for kind, item in items(upload):
        assert item[4:12] == journal
        kinds.append(kind)
        if kind in (1, 2):
            sequence, time = struct.unpack(">QQ", item[12:28])
            assert (sequence, time) == (count, 1_800_000_000)
            sealed = 32 if kind == 2 else 16 * item[40]
            start = len(item) - 4 - 16 - sealed
            clear = AESGCM(expand(e, b"entry")).decrypt(item[28:40], item[start:-4], item[:start])
            if kind == 2:
                assert clear == a
            elif clear:
                print("entry", sequence, clear[1:11].hex().rstrip("f"))
                cards[sequence] = item[28:40], clear
            a = expand(e, b"aggregate", a + item[-20:-4])
            e = expand(e, b"next")
            count += 1
        elif kind == 4:
            assert item[12:-4] == struct.pack(">Q", count) + a
    assert kinds == expected_kinds
    return e, a, count, cards


def check_state(slot, flags, e, a, count):
    assert zlib.crc32(slot[:252]) == struct.unpack(">I", slot[252:])[0]
    state = slot[8:232]
    assert state[0] == 1 and state[1] == flags
    assert state[20:28] == journal and state[56:64] == struct.pack(">Q", count)
    assert state[64:96] == e and state[96:128] == a
    return state


e, a, count, _ = read(golden("journal-upload.hex"), [3, 1, 1, 2, 1, 4])
state = check_state(golden("journal-state.hex"), 2, e, a, count)
assert state[36:56] == bytes(20)
card = AESGCM(state[160:192]).decrypt(bytes(12), state[192:224], journal)
print("pending", card[1:11].hex().rstrip("f"))

page = golden("journal-page.hex")
assert page[4:12] == journal and page[12:28] == bytes(16)

# The same terminal with a batch open from entry 1 on.
e, a, count, cards = read(golden("journal-batch-upload.hex"), [3, 1, 1, 1, 2, 1, 4])
state = check_state(golden("journal-batch-state.hex"), 2 | 8, e, a, count)
key, slot_nonce = AESGCM(state[160:192]), state[36:48]
assert state[48:56] == struct.pack(">Q", 1)
card = key.decrypt(slot_nonce, state[192:224], journal)
print("pending in a batch", card[1:11].hex().rstrip("f"))
frames, copies = [], []
for kind, item in items(golden("journal-batch-page.hex")):
    assert item[4:12] == journal
    frames.append(kind)
    if kind == 7:
        sequence = struct.unpack(">Q", item[12:20])[0]
        nonce, expected = cards[sequence]
        assert key.decrypt(nonce, item[20:52], item[:20]) == expected and len(item) == 56
        copies.append(sequence)
assert frames == [6, 1, 1, 7, 1, 2, 1, 7] and copies == [1, 4]
print("the golden files agree")
