#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of bitlocker_header: for each kind of volume the boot sector and the block of metadata, which the
target puts into a device of 512 KiB by itself. usage: bitlocker.py DIRECTORY"""

import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "support"))
import bitlocker  # noqa: E402

DEVICE = 512 * 1024


class Small(bitlocker.Layout):
    def __init__(self, sector):  # pylint: disable=super-init-not-called
        self.size, self.sector, self.header_size, self.header_offset = DEVICE, sector, 8192, 400 * 1024
        self.areas = (65536, 131072, 262144)


def seed(name, cipher="xts-128", sector=512, to_go=False, foreign=(), clear_key=False, start_up_key=True, state="encrypted",
         encrypt_on_write=False):
    rng = random.Random(name)
    number, size = bitlocker.CIPHERS[cipher]
    keys = bitlocker.Keys("", rng.randbytes(size * 2 if "diffuser" in cipher else size))
    protectors = bitlocker.Protectors(rng, keys)
    if start_up_key:
        protectors.start_up_key()
    for kind in foreign:
        protectors.foreign(kind)
    if clear_key:
        protectors.clear_key()
    layout = Small(sector)
    identifier = bitlocker.uuid.UUID(bytes=rng.randbytes(16), version=4)
    area = bitlocker.metadata_block(layout, number, identifier, protectors, keys.volume_key, bitlocker.STATES[state], name)
    length = struct.unpack_from("<H", area, 8)[0] * 16
    boot = bitlocker.boot_sector(layout, to_go, bitlocker.ENCRYPT_ON_WRITE if encrypt_on_write else bitlocker.NORMAL)
    pathlib.Path(sys.argv[1], name).write_bytes(boot + area[: length + 96])
    for file, content in keys.start_up_keys.items():
        if name == "xts_128":
            pathlib.Path(sys.argv[1], "start_up_key").write_bytes(content)
            assert file


for each in bitlocker.CIPHERS:
    seed(each.replace("-", "_"), each)
seed("sectors_of_4096", sector=4096)
seed("to_go", to_go=True)
seed("hardware", foreign=bitlocker.FOREIGN, start_up_key=False)
seed("suspended", clear_key=True)
seed("paused", state="encryption-paused")
seed("on_write", encrypt_on_write=True)
pathlib.Path(sys.argv[1], "recovery_key").write_bytes(b"000011-720885-000022-000033-000044-000055-000066-000077\n")
