"""Writes ZIP archives with classic encryption, which the standard library can only read."""

import io
import os
import struct
import zipfile
import zlib


def _crc_table() -> list[int]:
    table = []
    for i in range(256):
        crc = i
        for _ in range(8):
            crc = (crc >> 1) ^ 0xEDB88320 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_TABLE = _crc_table()


def _encrypt(data: bytes, password: bytes, check: int) -> bytes:
    """APPNOTE.TXT, section 6.1: three keys, updated with every plain byte; 12 bytes in front, the last a check."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def update(byte: int) -> None:
        keys[0] = (keys[0] >> 8) ^ _TABLE[(keys[0] ^ byte) & 0xFF]
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = (keys[2] >> 8) ^ _TABLE[(keys[2] ^ (keys[1] >> 24)) & 0xFF]

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in os.urandom(11) + bytes([check]) + data:
        key = keys[2] | 2
        out.append(byte ^ ((key * (key ^ 1)) >> 8) & 0xFF)
        update(byte)
    return bytes(out)


def encrypted_zip(files: dict[str, bytes], password: str) -> bytes:
    """Return a ZIP archive whose members are stored with classic encryption."""
    out = io.BytesIO()
    directory = b""
    for name, data in files.items():
        crc = zlib.crc32(data)
        body = _encrypt(data, password.encode(), crc >> 24)
        raw = name.encode()
        # version, flags (encrypted), method (stored), time, date, CRC, sizes, lengths of name and extra field
        common = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 33, crc, len(body), len(data), len(raw), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + common
        directory += struct.pack("<HHHII", 0, 0, 0, 0, out.tell()) + raw
        out.write(b"PK\x03\x04" + common + raw + body)
    start = out.tell()
    out.write(directory)
    out.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(directory), start, 0))
    return out.getvalue()


def plain_zip(files: dict[str, bytes], *, deflate: bool = False) -> bytes:
    """Return an ordinary ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()
