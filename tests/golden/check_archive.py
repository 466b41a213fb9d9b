"""Reads the golden archive of tests/archive.rs with another implementation.

It follows src/manual/archive.md. Needs `cryptography`: python3 tests/golden/check_archive.py
"""

import hashlib
import struct

from check_seal import domain_key, from_kek, golden, key_id, open_ring_parts, xaes_open


def items(text):
    while text:
        kind, size = text[0], text[1]
        first, text = text[2 : 2 + size], text[2 + size :]
        width = 2 if kind == 1 else 1
        size = int.from_bytes(text[:width], "big")
        second, text = text[width : width + size], text[width + size :]
        yield kind, first, second


def place(item):
    kind, first, second = item
    return (0, first) if kind == 1 else (len(first), first, kind, second)


archive = golden("archive.hex")
assert archive[:9] == b"CVARCH\r\n\1"
mark, ring_id = archive[9], archive[10:26]
generation, archive_id, time, version = struct.unpack(">Q16sQI", archive[26:62])
at = 79 + archive[78]
guard = archive[79:at]
(size,) = struct.unpack(">H", archive[at : at + 2])
sealed, at = archive[at + 2 : at + 2 + size], at + 2 + size
assert time == 1_800_000_000 and guard[1:26] == archive[9:34]

ring = open_ring_parts(sealed, b"cardvault/1/ring-under-kek", from_kek)
assert ring[0] == 2 and ring[1] == mark and ring[2:18] == ring_id
assert ring[18:26] == archive[26:34] and len(ring) == 55 + 90 * ring[54]
entries = [ring[start : start + 90] for start in range(55, len(ring), 90)]
(root,) = [e[58:] for e in entries if e[:5] == struct.pack(">BI", 7, version)]
key = domain_key(b"cardvault/1/archive", mark, 7, version, archive_id, root)
assert key_id(key) == archive[62:78]

digest, number, found, total = hashlib.sha256(archive[:at]).digest(), 0, [], 0
while True:
    kind, size, this, whose = struct.unpack(">BIQ16s", archive[at : at + 29])
    assert this == number and whose == archive_id and size <= 65536
    nonce, sealed = archive[at + 29 : at + 53], archive[at + 53 : at + 69 + size]
    text = xaes_open(key, nonce, sealed, digest + archive[at : at + 29])
    at, number = at + 69 + size, number + 1
    if kind == 2:
        break
    found += items(text)
    total += len(text)
assert at == len(archive)
assert found == sorted(found, key=place)
counts = [sum(item[0] == kind for item in found) for kind in (1, 2, 3)]
assert text == struct.pack(">QQQQ", *counts, total)
assert counts == [3, 2, 3]
print("rows, unique and other entries:", counts)
