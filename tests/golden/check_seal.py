"""Derives and opens the golden files of tests/seal.rs with another implementation.

It follows the layouts in the docs of src/keys and src/seal. Needs `cryptography`, for the
passphrase also `argon2-cffi`: python3 tests/golden/check_seal.py
"""

import hashlib
import hmac
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

HERE = pathlib.Path(__file__).parent


def golden(name):
    lines = (HERE / name).read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def block(key, text):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(text)


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other))


def xaes_open(key, nonce, text, aad):
    first = int.from_bytes(block(key, bytes(16)), "big")
    k1 = (first << 1) & ((1 << 128) - 1)
    if first >> 127:
        k1 ^= 0x87
    k1 = k1.to_bytes(16, "big")
    m = [bytes([0, i, 0x58, 0]) + nonce[:12] for i in (1, 2)]
    derived = b"".join(block(key, xor(part, k1)) for part in m)
    return AESGCM(derived).decrypt(nonce[12:], text, aad)


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def expand(prk, info, length):
    return mac(prk, info + b"\1")[:length]


def derive(root, info):
    return expand(mac(b"cardvault/1/extract", root), info, 32)


def prefixed(part):
    return bytes([len(part)]) + part


def key_id(key):
    return expand(key, b"cardvault/1/key-id", 16)


def check_value(key):
    cmac = CMAC(algorithms.AES(key))
    cmac.update(bytes(16))
    return cmac.finalize()[:3]


def domain_key(label, mark, usage, version, domain, root):
    head = prefixed(label) + bytes([mark, usage]) + struct.pack(">I", version)
    return derive(root, head + prefixed(domain))


def open_ring_parts(sealed, label, protecting):
    """protecting: the key as a function of the parameters and of the context."""
    assert sealed[:9] == b"CVRING\r\n\1"
    mark, ring_id = sealed[9], sealed[11:27]
    (size,) = struct.unpack(">H", sealed[35:37])
    at = 37 + size
    key = protecting(sealed[37:at], sealed[:35])
    key = derive(key, prefixed(label) + bytes([mark]) + sealed[11:35])
    assert sealed[at : at + 16] == key_id(key)
    nonce = sealed[at + 16 : at + 40]
    (length,) = struct.unpack(">H", sealed[at + 40 : at + 42])
    text = sealed[at + 42 :]
    assert len(text) == length + 16
    return xaes_open(key, nonce, text, sealed[: at + 42])


def open_ring(sealed, label, protecting):
    mark, ring_id = sealed[9], sealed[11:27]
    ring = open_ring_parts(sealed, label, protecting)
    assert ring[0] == 1 and ring[1] == mark and ring[2:18] == ring_id
    assert ring[18:26] == sealed[27:35]
    roots = {}
    assert len(ring) == 51 + 90 * ring[50]
    for start in range(51, len(ring), 90):
        entry = ring[start : start + 90]
        usage, version, state, flags = struct.unpack(">BIBB", entry[:7])
        root = entry[58:]
        if state != 6:
            check = domain_key(b"cardvault/1/root-check", mark, usage, version, b"", root)
            assert entry[7:10] == check_value(check)
        roots[usage, version] = (state, flags, root)
    assert roots[1, 1] == (6, 14, bytes(32))
    assert [roots[1, 2][0], roots[2, 1][0], roots[4, 1][0]] == [2, 2, 3]
    assert roots[2, 2][:2] == (1, 1)
    return {name: root for name, (_, _, root) in roots.items()}


def from_kek(parameters, _):
    kek = xor(bytes(range(32)), bytes((i * 7 + 0x80) & 255 for i in range(32)))
    assert parameters == check_value(kek)
    return kek


def from_module(parameters, _):
    return bytes((byte - 0x55) & 255 for byte in parameters[:32])


def from_passphrase(parameters, _):
    from argon2.low_level import Type, hash_secret_raw

    memory, passes, lanes = struct.unpack(">III", parameters[:12])
    return hash_secret_raw(
        b"correct horse battery", parameters[12:], passes, memory, lanes, 32, Type.ID
    )


def main():
    roots = open_ring(golden("ring-kek.hex"), b"cardvault/1/ring-under-kek", from_kek)
    wrapped = b"cardvault/1/ring-under-wrapped-key"
    assert roots == open_ring(golden("ring-wrapped-key.hex"), wrapped, from_module)
    print("rings: open")

    domain = b"merchant-7"
    key = domain_key(b"cardvault/1/card", 1, 1, 2, domain, roots[1, 2])
    sealed = golden("sealed-record.hex")
    assert len(sealed) == 73 and sealed[0] == 1 and sealed[1:17] == key_id(key)
    parts = [b"\1", key_id(key), domain, b"tok_0123456789", b"\x5a" * 32, b"visa 1111"]
    aad = b"".join(map(prefixed, parts))
    record = xaes_open(key, sealed[17:41], sealed[41:], aad)
    assert record.hex() == "014111111111111111ffff3012010000"
    print("record: opens")

    key = domain_key(b"cardvault/1/fingerprint", 1, 2, 1, domain, roots[2, 1])
    assert golden("fingerprint.hex") == mac(key, bytes.fromhex("4111111111111111ffff"))
    print("fingerprint: agrees")

    label = b"cardvault/1/ring-under-passphrase"
    try:
        open_ring(golden("ring-passphrase.hex"), label, from_passphrase)
        print("ring under a passphrase: opens")
    except ImportError:
        print("ring under a passphrase: not tried, argon2-cffi is missing")


if __name__ == "__main__":
    main()
