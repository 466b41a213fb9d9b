"""Builds the rows and keys of ledger-rows-1.txt with another implementation.

It follows the tables of src/manual/ledger.md: python3 tests/golden/check_ledger.py
"""

import datetime
import hashlib
import hmac
import pathlib
import struct

PATH = pathlib.Path(__file__).parent / "ledger-rows-1.txt"
KEY = bytes(range(32))
DOMAIN = b"merchant-7"
TERMINAL, MERCHANT = b"T1".ljust(8), b"M0001".ljust(15)
TOKEN = b"\1" + b"\xab" * 16


def prefixed(part):
    return bytes([len(part)]) + part


def days(year, month, day):
    return (datetime.date(year, month, day) - datetime.date(1970, 1, 1)).days


def row(key, kind, body):
    body = struct.pack(">BBI", 1, kind, 0x01020304) + body
    return body + hmac.new(KEY, prefixed(key) + body, hashlib.sha256).digest()


def name(space, content=b""):
    return bytes([space]) + prefixed(DOMAIN) + content


def main():
    lines = PATH.read_text().splitlines()
    golden = dict(line.split(": ") for line in lines if not line.startswith("#"))
    day = days(2026, 12, 31)
    identity = b"\1" + TERMINAL + struct.pack(">IQ", 3, 42)
    # The payment record's layout is that of src/payment/fields.rs.
    fields = bytes([1, 1]) + (1234).to_bytes(5, "big") + struct.pack(">H", 156)
    fields += b"".join(number.to_bytes(3, "big") for number in (77, 123, 7))
    fields += TERMINAL + MERCHANT + prefixed(b"251231000123") + prefixed(b"")
    fields += prefixed(b"00") + prefixed(b"") + prefixed(struct.pack(">I", 20261231))
    fields += prefixed(b"ORDER-1") + prefixed(b"") + prefixed(b"")
    origin = identity + struct.pack(">QIB", 1798700000, day, 2) + fields
    origin = hashlib.sha256(origin).digest()
    number = hashlib.sha256(MERCHANT + b"R-2026-1").digest()
    time = struct.pack(">Q", 1798700000)

    rows = {"payment key": name(0x41, time + identity)}
    body = struct.pack(">IBBBBQQQI", 9, 5, 2, 2, 0, 100, 20, 3, 4)
    body += struct.pack(">IH", day, 1117) + origin + b"\xe5" * 32
    body += prefixed(TOKEN) + struct.pack(">H", len(fields)) + fields
    rows["payment"] = row(rows["payment key"], 1, body)

    asked = struct.pack(">Q", 1798800000)
    rows["request key"] = name(0x43, asked + number[:16])
    host = b"\2" + b"\xc0" * 16 + bytes(4)
    body = struct.pack(">BBBBQHQI", 2, 5, 2, 1, 20, 156, 1798800009, 2)
    body += TERMINAL + MERCHANT + host + prefixed(b"") + prefixed(b"R-2026-1")
    rows["request"] = row(rows["request key"], 2, body)

    rows["event key"] = name(0x42, time + identity + struct.pack(">I", 9))
    body = struct.pack(">QBBBB", 1798800010, 5, 4, 2, 5) + origin
    body += struct.pack(">BBBQ", 2, 5, 2, 20) + asked + number[:16]
    rows["event"] = row(rows["event key"], 3, body)

    batch, voucher = struct.pack(">I", 7), struct.pack(">I", 123)
    rows["identity"] = name(0x50, identity)
    rows["token"] = name(0x51, TOKEN)
    rows["reference number"] = name(0x52, struct.pack(">I", day) + b"251231000123")
    rows["voucher"] = name(0x53, TERMINAL + batch + voucher)
    rows["order"] = name(0x54, hashlib.sha256(b"ORDER-1").digest())
    rows["number"] = name(0x55, number)
    rows["requests"] = name(0x56, host)
    rows["open"] = name(0x57)
    rows["in doubt"] = name(0x58)
    rows["batch"] = name(0x59, TERMINAL + batch)

    assert golden.keys() == rows.keys(), golden.keys() ^ rows.keys()
    for key, expected in rows.items():
        assert golden[key] == expected.hex(), key
    print(f"ledger: {len(rows)} rows and keys agree")


main()
