#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes BitLocker volumes around an image of a file system, so that every clone can test what Windows makes.

    keys = encrypt("ntfs.img", "drive.img", cipher="xts-256", password="secret", recovery=True, start_up_key=True)

`keys` tells the volume's identifier and whatever opens it. What is written is what cryptsetup and dislocker read
(bitlocker_test.py has them judge it); it was never shown to a Windows. As a program: bitlocker.py CONTENT IMAGE [options]
prints the keys as JSON.
"""

import argparse
import array
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import random
import struct
import sys
import uuid
import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

MIB = 1024 * 1024
AREA = 64 * 1024
# Number of the cipher in the metadata, bytes of each of its keys.
CIPHERS = {"cbc-128-diffuser": (0x8000, 16), "cbc-256-diffuser": (0x8001, 32), "cbc-128": (0x8002, 16),
           "cbc-256": (0x8003, 32), "xts-128": (0x8004, 32), "xts-256": (0x8005, 64)}
NORMAL = uuid.UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001")
ENCRYPT_ON_WRITE = uuid.UUID("92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8")
# Now and next.
STATES = {"encrypted": (4, 4), "encrypting": (2, 4), "decrypting": (2, 1), "encryption-paused": (5, 4),
          "decryption-paused": (5, 1), "decrypted": (1, 1)}
CLEAR_KEY, TPM, START_UP_KEY, TPM_PIN, RECOVERY, SMART_CARD, PASSWORD = 0, 0x100, 0x200, 0x500, 0x800, 0x1000, 0x2000
FOREIGN = {"tpm": TPM, "tpm-pin": TPM_PIN, "smart-card": SMART_CARD}
FILETIME = 0x01DA000000000000


@dataclasses.dataclass
class Keys:
    """What a volume was made with: give open() a password as text, a recovery key as text, or the bytes of a .BEK file."""

    identifier: str
    volume_key: bytes
    passwords: list = dataclasses.field(default_factory=list)
    recovery: list = dataclasses.field(default_factory=list)
    start_up_keys: dict = dataclasses.field(default_factory=dict)  # {file name: content}


# -- keys


@functools.cache  # a second or two each
def stretched(secret, salt, rounds=0x100000):
    """`secret` is SHA-256 of SHA-256 of what was typed, or SHA-256 of a recovery key's 16 bytes."""
    last = bytes(32)
    for count in range(rounds):
        last = hashlib.sha256(last + secret + salt + count.to_bytes(8, "little")).digest()
    return last


def password_secret(password):
    return hashlib.sha256(hashlib.sha256(password.encode("utf-16-le")).digest()).digest()


def recovery_secret(key):
    return hashlib.sha256(b"".join((int(group) // 11).to_bytes(2, "little") for group in key.split("-"))).digest()


def new_recovery_key(rng):
    return "-".join(f"{rng.randrange(65536) * 11:06d}" for _ in range(8))


# -- metadata


def entry(kind, value, body, version=1):
    return struct.pack("<4H", 8 + len(body), kind, value, version) + body


class Nonces:
    def __init__(self):
        self.count = 0

    def next(self):
        self.count += 1
        return struct.pack("<QI", FILETIME, self.count)


def key_entry(method, key):
    return entry(0, 1, struct.pack("<I", method) + key)


def wrapped(nonces, with_key, content, kind=0):
    """An entry that AES-CCM has encrypted: nonce, tag, ciphertext."""
    nonce = nonces.next()
    sealed = AESCCM(with_key, tag_length=16).encrypt(nonce, content, None)
    return entry(kind, 5, nonce + sealed[-16:] + sealed[:-16])


def protector(kind, parts, identifier):
    return entry(2, 8, identifier.bytes_le + struct.pack("<QHH", FILETIME, 0, kind) + b"".join(parts))


class Protectors:
    """Makes the entries by which the volume master key is found."""

    def __init__(self, rng, keys):
        self.rng, self.keys = rng, keys
        self.nonces = Nonces()
        self.master = rng.randbytes(32)
        self.entries = []

    def add(self, kind, *parts, identifier=None):
        self.entries.append(protector(kind, parts, identifier or uuid.UUID(bytes=self.rng.randbytes(16), version=4)))

    def master_wrapped(self, key):
        return wrapped(self.nonces, key, key_entry(0x2003, self.master))

    def stretching(self, method, secret):
        # The same for the same key, so that many volumes of one test cost one derivation.
        salt = hashlib.sha256(b"salt" + secret).digest()[:16]
        key = stretched(secret, salt)
        # Within, the key is kept for Windows, wrapped with the master key.
        kept = wrapped(self.nonces, self.master, key_entry(0x2003, key))
        return entry(0, 3, struct.pack("<I", method) + salt + kept), self.master_wrapped(key)

    def password(self, password):
        self.add(PASSWORD, *self.stretching(0x1001, password_secret(password)))
        self.keys.passwords.append(password)

    def recovery(self, key=None):
        key = key or new_recovery_key(self.rng)
        self.add(RECOVERY, *self.stretching(0x1000, recovery_secret(key)))
        self.keys.recovery.append(key)

    def start_up_key(self):
        key, identifier = self.rng.randbytes(32), uuid.UUID(bytes=self.rng.randbytes(16), version=4)
        name = entry(0, 2, "ExternalKey\0".encode("utf-16-le"))
        kept = wrapped(self.nonces, self.master, key_entry(0x2002, key))
        self.add(START_UP_KEY, name, entry(0, 4, struct.pack("<I", 0x2002) + kept), self.master_wrapped(key), identifier=identifier)
        content = entry(6, 9, identifier.bytes_le + struct.pack("<Q", FILETIME) + name + key_entry(0x2002, key))
        size = 48 + len(content)
        head = struct.pack("<4I16sIIQ", size, 1, 48, size, identifier.bytes_le, 1, 0, FILETIME)
        self.keys.start_up_keys[f"{identifier}.BEK".upper()] = head + content

    def clear_key(self):
        key = self.rng.randbytes(32)
        self.add(CLEAR_KEY, key_entry(0x2000, key), self.master_wrapped(key))

    def foreign(self, name):
        """One that takes hardware: its secret is nowhere."""
        self.add(FOREIGN[name], self.master_wrapped(self.rng.randbytes(32)))


def metadata_block(layout, number, identifier, protectors, volume_key, state, description):
    key = volume_key
    if number == 0x8000:  # both keys have room for 32 bytes
        key = volume_key[:16] + bytes(16) + volume_key[16:] + bytes(16)
    entries = [entry(7, 2, (description + "\0").encode("utf-16-le")), *protectors.entries,
               wrapped(protectors.nonces, protectors.master, key_entry(number, key), kind=3),
               entry(0xF, 0xF, struct.pack("<QQ", layout.header_offset, layout.header_size))]
    body = b"".join(entries)
    size = 48 + len(body)
    block_size = (64 + size + 15) // 16 * 16
    block = (b"-FVE-FS-" + struct.pack("<4HQ2I3QQ", block_size // 16, 2, *state, layout.size, 0,
                                       layout.header_size // layout.sector, *layout.areas, layout.header_offset)
             + struct.pack("<4I16sIHHQ", size, 1, 48, size, identifier.bytes_le, protectors.nonces.count + 2, number, 0,
                           FILETIME) + body)
    block += bytes(block_size - len(block))
    # That the block is this one, for who has the master key.
    hashed = entry(0, 1, struct.pack("<I", 0x2005) + hashlib.sha256(block).digest())
    check = struct.pack("<HHI", AREA - block_size, 2, zlib.crc32(block)) + wrapped(protectors.nonces, protectors.master, hashed)
    area = block + check
    assert len(area) <= AREA, "too many protectors"
    return area + bytes(AREA - len(area))


def resealed(area):
    """The same area after somebody changed its block by hand: with the checksum that it must have."""
    size = struct.unpack_from("<H", area, 8)[0] * 16
    return area[:size] + area[size : size + 4] + struct.pack("<I", zlib.crc32(area[:size])) + area[size + 8 :]


def boot_sector(layout, to_go, guid):
    sector = bytearray(512)
    sector[0:3] = b"\xeb\x58\x90"
    sector[3:11] = b"MSWIN4.1" if to_go else b"-FVE-FS-"
    struct.pack_into("<HBH", sector, 11, layout.sector, 8 if layout.sector == 512 else 1, 32)
    sector[21] = 0xF8
    sector[82:90] = b"FAT32   "
    sector[510:512] = b"\x55\xaa"
    struct.pack_into("<16s3Q", sector, 424 if to_go else 160, guid.bytes_le, *layout.areas)
    return bytes(sector)


# -- sectors


class Layout:
    """Where things lie in a volume; the places that the content must leave free."""

    def __init__(self, size, sector, to_go):
        self.size, self.sector = size, sector
        # Windows keeps a small FAT with a reader program in front of a volume "to go".
        self.header_size = min(size // 16, 5 * MIB) // AREA * AREA if to_go else 8192
        first = size // 3 // AREA * AREA
        self.header_offset = first + AREA
        behind = self.header_offset + (self.header_size + AREA - 1) // AREA * AREA
        step = (size - behind) // 3 // AREA * AREA
        self.areas = (first, behind + step, behind + 2 * step)
        assert size % sector == 0 and first >= self.header_size and step >= AREA, "the content is too small"

    def reserved(self):
        """[(offset, size)] in order: what reads as zeros."""
        return sorted([(place, AREA) for place in self.areas] + [(self.header_offset, self.header_size)])


def blocks_encrypted(key, blocks):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def diffused(content, sector, keys):
    """The Elephant diffuser over all sectors at once: word number i of all of them is one large number of 64-bit lanes."""
    count, sectors = sector // 4, len(content) // sector
    low = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * sectors, "little")
    carry = int.from_bytes(b"\0\0\0\0\1\0\0\0" * sectors, "little")
    whole = (int.from_bytes(content, "little") ^ int.from_bytes(b"".join(key * (sector // 32) for key in keys), "little"))
    flat = array.array("I", whole.to_bytes(len(content), "little"))
    words = [int.from_bytes(array.array("Q", flat[i::count]).tobytes(), "little") for i in range(count)]

    def turned(word, bits):
        return (word << bits | word >> (32 - bits)) & low if bits else word

    def undo(turns, near, far, cycles):
        for _ in range(cycles):
            for i in reversed(range(count)):
                taken = words[(i + near) % count] ^ turned(words[(i + far) % count], turns[i % 4])
                words[i] = ((words[i] | carry) - taken) & low

    undo((9, 0, 13, 0), -2, -5, 5)
    undo((0, 10, 0, 25), 2, 5, 3)
    for i, word in enumerate(words):
        flat[i::count] = array.array("I", array.array("Q", word.to_bytes(8 * sectors, "little")))
    return flat.tobytes()


def encrypt_sectors(cipher, key, sector, place, content):
    """`content` as it stands at `place` of the volume."""
    places = range(place, place + len(content), sector)
    pieces = [content[i : i + sector] for i in range(0, len(content), sector)]
    if cipher.startswith("xts"):
        return b"".join(Cipher(algorithms.AES(key), modes.XTS((at // sector).to_bytes(16, "little"))).encryptor().update(piece)
                        for at, piece in zip(places, pieces))
    if cipher.endswith("diffuser"):
        key, other = key[: len(key) // 2], key[len(key) // 2 :]
        numbers = blocks_encrypted(other, b"".join(at.to_bytes(16, "little") + at.to_bytes(15, "little") + b"\x80" for at in places))
        content = diffused(content, sector, [numbers[i : i + 32] for i in range(0, len(numbers), 32)])
        pieces = [content[i : i + sector] for i in range(0, len(content), sector)]
    starts = blocks_encrypted(key, b"".join(at.to_bytes(16, "little") for at in places))
    return b"".join(Cipher(algorithms.AES(key), modes.CBC(starts[16 * i : 16 * i + 16])).encryptor().update(piece)
                    for i, piece in enumerate(pieces))


def encrypt_content(source, out, layout, cipher, key):
    """All but the places that read as zeros, where `source` must hold none but zeros."""
    position = 0
    borders = sorted({0, layout.header_size, layout.size, *(edge for at, size in layout.reserved() for edge in (at, at + size))})
    for start, end in zip(borders, borders[1:]):
        is_reserved = any(at <= start < at + size for at, size in layout.reserved())
        for position in range(start, end, MIB):
            piece = os.pread(source, min(MIB, end - position), position)
            if is_reserved:
                assert not any(piece), f"the content uses {position}, which BitLocker needs"
                continue
            place = layout.header_offset + position if start < layout.header_size else position
            os.pwrite(out, encrypt_sectors(cipher, key, layout.sector, place, piece), place)


# -- volumes


def reserved(size, sector_size=512, to_go=False):
    """[(offset, size)] of a volume of that size: what its content must not use. Known before there is any content."""
    return Layout(size, sector_size, to_go).reserved()


def encrypt(content, image, cipher="xts-128", sector_size=512, to_go=False, password=None, recovery=False, start_up_key=False,
            clear_key=False, foreign=(), state="encrypted", encrypt_on_write=False, description="DRAY E: 01/02/2026",
            damaged=(), rng=None):
    """Makes `image` of the file `content`. `recovery`: True for a new one, or the key itself; a list for several.
    `damaged`: numbers of the copies of the metadata (0 to 2) that are to be broken. Returns Keys."""
    rng = rng or random.SystemRandom()
    number, key_size = CIPHERS[cipher]
    has_diffuser = cipher.endswith("diffuser")
    keys = Keys(identifier="", volume_key=rng.randbytes(key_size * 2 if has_diffuser else key_size))
    identifier = uuid.UUID(bytes=rng.randbytes(16), version=4)
    keys.identifier = str(identifier)
    layout = Layout(os.path.getsize(content), sector_size, to_go)
    protectors = Protectors(rng, keys)
    if password is not None:
        protectors.password(password)
    for wanted in recovery if isinstance(recovery, (list, tuple)) else [recovery]:
        if wanted:
            protectors.recovery(None if wanted is True else wanted)
    if start_up_key:
        protectors.start_up_key()
    if clear_key:
        protectors.clear_key()
    for name in foreign:
        protectors.foreign(name)
    area = metadata_block(layout, number, identifier, protectors, keys.volume_key, STATES[state], description)
    source = os.open(content, os.O_RDONLY)
    out = os.open(image, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.ftruncate(out, layout.size)
        encrypt_content(source, out, layout, cipher, keys.volume_key)
        os.pwrite(out, boot_sector(layout, to_go, ENCRYPT_ON_WRITE if encrypt_on_write else NORMAL), 0)
        for copy, place in enumerate(layout.areas):
            broken = bytearray(area)
            if copy in damaged:
                broken[100] ^= 0xFF
            os.pwrite(out, broken, place)
    finally:
        os.close(source)
        os.close(out)
    return keys


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("content", nargs="?")
    parser.add_argument("image", nargs="?")
    parser.add_argument("--reserved", type=int, metavar="SIZE", help="print what a content of that size must leave free, and end")
    parser.add_argument("--cipher", choices=CIPHERS, default="xts-128")
    parser.add_argument("--sector-size", type=int, choices=(512, 4096), default=512)
    parser.add_argument("--to-go", action="store_true")
    parser.add_argument("--password")
    parser.add_argument("--recovery", action="append", metavar="KEY", help="a recovery key, or `new`")
    parser.add_argument("--bek", metavar="DIRECTORY", help="where the start-up key file goes")
    parser.add_argument("--clear-key", action="store_true")
    parser.add_argument("--foreign", choices=FOREIGN, action="append", default=[])
    parser.add_argument("--state", choices=STATES, default="encrypted")
    parser.add_argument("--encrypt-on-write", action="store_true")
    parser.add_argument("--damaged", type=int, choices=(0, 1, 2), action="append", default=[])
    parser.add_argument("--seed", help="makes the same volume each time")
    options = parser.parse_args()
    if options.reserved is not None:
        for offset, size in reserved(options.reserved, options.sector_size, options.to_go):
            print(offset, size)
        return
    keys = encrypt(options.content, options.image, options.cipher, options.sector_size, options.to_go, options.password,
                   [True if key == "new" else key for key in options.recovery or []], options.bek is not None,
                   options.clear_key, options.foreign, options.state, options.encrypt_on_write, damaged=options.damaged,
                   rng=random.Random(options.seed) if options.seed else None)
    for name, content in keys.start_up_keys.items():
        pathlib.Path(options.bek, name).write_bytes(content)
    json.dump({"volume-id": keys.identifier, "volume-key": keys.volume_key.hex(), "passwords": keys.passwords,
               "recovery": keys.recovery, "start-up-keys": sorted(keys.start_up_keys)}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
