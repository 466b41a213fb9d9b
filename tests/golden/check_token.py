"""Makes the tokens of tokens.txt with another implementation.

It follows NIST SP 800-38G and the layouts in the docs of src/token and src/keys. Needs
`cryptography`: python3 tests/golden/check_token.py
"""

import hashlib
import hmac
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SYMBOLS = "0123456789abcdefghjkmnpqrstvwxyz"


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def root(first):
    return bytes(range(first, first + 32))


def domain_key(root, label, usage, version):
    head = bytes([len(label)]) + label + bytes([1, usage]) + struct.pack(">I", version)
    return mac(mac(b"cardvault/1/extract", root), head + b"\x0amerchant-7\1")


def ff1(key, tweak, digits):
    """SP 800-38G Algorithm 7, radix 10."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    n, t = len(digits), len(tweak)
    u = n // 2
    v = n - u
    a, b = digits[:u], digits[u:]
    size = ((10**v - 1).bit_length() + 7) // 8
    d = 4 * -(-size // 4) + 4
    p = bytes([1, 2, 1, 0, 0, 10, 10, u % 256]) + struct.pack(">II", n, t)
    for i in range(10):
        q = tweak + bytes((-t - size - 1) % 16) + bytes([i]) + int(b).to_bytes(size, "big")
        r = bytes(16)
        for start in range(0, len(p + q), 16):
            r = cipher.update(bytes(x ^ y for x, y in zip(r, (p + q)[start : start + 16])))
        assert d <= 16
        m = u if i % 2 == 0 else v
        c = (int(a) + int.from_bytes(r[:d], "big")) % 10**m
        a, b = b, str(c).zfill(m)
    return a + b


def luhn(digits):
    doubled = lambda digit: 2 * digit - 9 * (digit > 4)
    pairs = enumerate(map(int, reversed(digits)))
    return sum(doubled(d) if place % 2 else d for place, d in pairs) % 10


def vaultless(generation, first, last, card):
    end = len(card) - last
    bcd = lambda part, size: bytes.fromhex(part.zfill(2 * size))
    tweak = bytes([1, len(card), first << 4 | last]) + bcd(card[:first], 4) + bcd(card[end:], 2)
    key = domain_key(root(0xA1 + generation), b"cardvault/1/vaultless", 3, generation)
    hidden = ff1(key, tweak, card[first : end - 1])
    tokens = [card[:first] + hidden + digit + card[end:] for digit in "0123456789"]
    return next(token for token in tokens if luhn(token) == 1 + (generation - 1) % 9)


def irreversible(card):
    key = domain_key(root(0xA1), b"cardvault/1/irreversible", 4, 1)
    for attempt in range(256):
        tag = mac(key, bytes([1, attempt]) + bytes.fromhex(card.ljust(20, "f")))[:20]
        if not has_run(text(b"\3" + tag)):
            return tag


def has_run(token):
    digits = "".join("d" if symbol.isdigit() else "." for symbol in token)
    return "d" * 8 in digits


def text(binary):
    if binary[0] == 2:
        return binary[1:].hex().rstrip("f")
    number = int.from_bytes(binary[1:], "big")
    count = -(-8 * len(binary[1:]) // 5)
    crc = number << 10
    for place in range(5 * count - 1, -1, -1):
        if crc >> (place + 10) & 1:
            crc ^= 0x633 << place
    number = number << 10 | crc
    symbols = (SYMBOLS[number >> 5 * place & 31] for place in range(count + 1, -1, -1))
    return {1: "cvt_", 3: "cvh_"}[binary[0]] + "".join(symbols)


def main():
    lines = (pathlib.Path(__file__).parent / "tokens.txt").read_text().splitlines()
    made = {}
    for line in lines:
        if line.startswith("#"):
            continue
        kind, kept, card, token, binary = line.split(" ")
        binary = bytes.fromhex(binary)
        assert text(binary) == token
        kind, _, generation = kind.partition("-")
        if kind == "opaque":
            assert binary == b"\1" + root(0xA0)[:16]
        elif kind == "irreversible":
            assert binary == b"\3" + irreversible(card)
        else:
            first, last = map(int, kept.split("+"))
            assert token == vaultless(int(generation), first, last, card)
            assert binary == b"\2" + bytes.fromhex(token.ljust(20, "f"))
        made[kind] = made.get(kind, 0) + 1
    print(made)


main()
