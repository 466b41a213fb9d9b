"""Reads audit-*.hex with another implementation of the log and of checkpoints.

It follows src/manual/audit.md: python3 tests/golden/check_audit.py
"""

import hashlib
import hmac
import pathlib
import struct

FOLDER = pathlib.Path(__file__).parent


def golden(name):
    lines = (FOLDER / name).read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def expand(key, label, *info):
    """HKDF-Expand to one block."""
    return mac(key, b"cardvault/1/audit-" + label, *info, b"\1")


def prefixed(data, at):
    return data[at + 1 : at + 1 + data[at]], at + 1 + data[at]


def accesses(body):
    at, head, found = 0, None, []
    while at < len(body):
        flags, time = struct.unpack(">BQ", body[at : at + 9])
        at += 9
        if not flags & 1:
            head = []
            for _ in range(5):
                part, at = prefixed(body, at)
                head.append(part.decode())
        rest = []
        for _ in range(3):
            part, at = prefixed(body, at)
            rest.append(part)
        found.append((time, bool(flags & 2), *head, *rest))
    return found


chain_key = golden("audit-chain-key.hex")
identity = expand(chain_key, b"id")[:8]
chain, aggregate = expand(chain_key, b"first"), expand(chain_key, b"start")
sequence, kinds, found = 0, [], []
for number in range(2):
    log = golden(f"audit-{number}.hex")
    assert log[:9] == b"CVAUDIT\n\1"
    base, epoch, whose, file, first = struct.unpack(">II8sIQ", log[9:37])
    name, at = prefixed(log, 37)
    assert (base, epoch, name) == (1, 7, b"switch-1")
    assert (whose, file, first) == (identity, number, sequence)
    while at < len(log):
        size, version, kind, this, time = struct.unpack(">IBBQQ", log[at : at + 22])
        body, tag = log[at + 22 : at + size - 16], log[at + size - 16 : at + size]
        assert (version, this, time) == (1, sequence, 1_800_000_000)
        assert kind & 128, "each of these writes is of one frame"
        key = expand(chain, b"entry")
        assert mac(key, log[at : at + size - 16])[:16] == tag
        aggregate = expand(chain, b"aggregate", aggregate, tag)
        chain = expand(chain, b"next")
        kinds.append(kind & 127)
        found += accesses(body) if kind & 127 == 1 else []
        sequence, at = sequence + 1, at + size
    assert at == len(log)
assert kinds == [2, 1, 1, 3]
who = ("desk-3", "refund 17", "host-a")
times = [1_800_000_001, 1_800_000_002, 1_800_000_003]
assert [access[0] for access in found] == times
assert [access[1] for access in found] == [True, True, False]
assert found[0][2:7] == found[1][2:7] == ("detokenize", *who, "shop-1")
assert found[2][2:] == ("destroy-key", *who, "", b"", b"card-1", b"")

checkpoint = golden("audit-checkpoint.hex")
assert checkpoint[:9] == b"CVCHKPT\n\1"
generation, base, time, rows = struct.unpack(">QIQB", checkpoint[26:47])
assert (checkpoint[9], base, time, rows) == (2, 1, 1_800_000_000, 0)
kind, size = struct.unpack(">BI", checkpoint[47:52])
text = checkpoint[52 : 52 + size]
proof = expand(chain, b"receipt", struct.pack(">Q", sequence), aggregate)[:16]
log = struct.pack(">II8sQ", 7, 1, identity, sequence)
assert (kind, text) == (1, b"\1\x08switch-1" + log + proof)
at = 52 + size + 32
assert checkpoint[at:-32] == struct.pack(">BIQQ", 2, 16, 1, 0)
