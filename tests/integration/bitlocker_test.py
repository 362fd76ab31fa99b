#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""BitLocker drives through the real programs: every cipher, every kind of key, and what becomes of a drive that cannot be
opened, each by its word of the logs (6.3). The volumes are written by tests/support/bitlocker.py, around an ext4; here
cryptsetup and dislocker judge them as well."""

import json
import os
import pathlib
import random
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import bitlocker  # noqa: E402
import make_drive  # noqa: E402
from lab import MIB, Lab, seed  # noqa: E402
from volumes_test import Site, Volumes  # noqa: E402

SIZE = 24 * MIB
# The text is no ASCII: Windows derives keys from UTF-16.
PASSWORD = "anaconda"
RECOVERY = "242000-110011-000000-720885-000011-363000-121121-440044"


def damage(image, offset, content):
    with open(image, "r+b") as file:
        file.seek(offset)
        file.write(content)


class BitLockerSite(Site):
    """A site whose drives are BitLocker volumes."""

    def content(self, serial, sector_size=512, to_go=False):
        """An ext4 that leaves free what BitLocker needs. Returns its path and what add-drive has to say."""
        manifest, drive = self.drive(serial)
        plain = self.lab.shelf / f"{serial}.plain"
        bad = self.lab.shelf / "bad-blocks"
        blocks = [block for at, size in bitlocker.reserved(SIZE, sector_size, to_go)
                  for block in range(at // 4096, (at + size + 4095) // 4096)]
        bad.write_text("".join(f"{block}\n" for block in blocks))
        make_drive.make_plain(self.source, plain, manifest, size=SIZE, mke2fs_options=("-b", "4096", "-l", bad))
        return plain, drive

    def bitlocker(self, serial, image=None, key="password", sector_size=512, to_go=False, **options):
        """`key`: what the drive is to be opened with."""
        plain, drive = self.content(serial, sector_size, to_go)
        options.setdefault("password", PASSWORD if key == "password" else None)
        options.setdefault("recovery", RECOVERY if key == "recovery" else None)
        options.setdefault("start_up_key", key == "start-up key")
        self.keys = bitlocker.encrypt(plain, image or self.image(serial), sector_size=sector_size, to_go=to_go, rng=self.rng, **options)
        plain.unlink()
        self.lab.key_file(serial, self.key_of(key))
        return {**drive, "volume-id": self.keys.identifier}

    def key_of(self, kind):
        if kind == "start-up key":
            return next(iter(self.keys.start_up_keys.values()))
        return {"password": PASSWORD, "recovery": RECOVERY}[kind].encode()


class BitLocker(unittest.TestCase):
    arrives = Volumes.arrives
    is_refused = Volumes.is_refused

    def lab(self):
        rng = seed()
        lab = Lab()
        self.addCleanup(lab.close)
        site = BitLockerSite(lab, rng)
        site.rng = rng
        lab.start()
        return lab, site

    def test_every_cipher_arrives_whole_with_both_sector_sizes_and_to_go(self):
        lab, site = self.lab()
        for number, (cipher, sector, to_go) in enumerate((
                ("xts-128", 512, False), ("xts-256", 4096, False), ("cbc-128", 512, True), ("cbc-256", 512, False),
                ("cbc-128-diffuser", 512, False), ("cbc-256-diffuser", 512, False), ("xts-128", 512, True))):
            with self.subTest(cipher=cipher, sector=sector, to_go=to_go):
                drive = site.bitlocker(f"CIPHER{number}", cipher=cipher, sector_size=sector, to_go=to_go)
                self.arrives(lab, site, drive, "bitlocker")


del Volumes  # its tests are volumes_test's

if __name__ == "__main__":
    unittest.main()
