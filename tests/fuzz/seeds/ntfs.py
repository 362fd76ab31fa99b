#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the corpus of the fuzz target ntfs with mkntfs and ntfs_writer: small images, of which only what is not zero is
kept (see ntfs_fuzz.cpp). The table of upper case and the log are left out, they would be most of it.

    tests/fuzz/seeds/ntfs.py NTFS_WRITER DIRECTORY
"""

import pathlib
import random
import struct
import subprocess
import sys
import tempfile

BLOCK = 1024
RECORD = 1024

# name: (size in KiB, options of mkntfs)
IMAGES = {"512": (1536, "-c 512"), "4k": (2000, "-c 4096"), "64k": (2048, "-c 65536")}


def script(work, has_room):
    rng = random.Random(1)
    contents = {"small": b"content of the file", "random": rng.randbytes(3000), "words": b"word again " * 4000}
    for name, data in contents.items():
        (work / name).write_bytes(data)
    yield f"file\tfile\t{work}/small"
    yield f"file\tdir/Small\t{work}/small"
    yield f"file\tlink\t{work}/small"
    yield "reparse\tlink\t0xa000000c"
    if not has_room:
        return
    yield f"file\tdir/File\t{work}/random"
    yield f"stream\tfile\tother\t{work}/small"
    yield "link\tfile\tdir/again"
    yield "comb\tdir/comb\t9"
    yield f"file\tefs\t{work}/random"
    yield "encrypted\tefs"
    yield "many\tmany\t20"
    yield f"file\tlong-name.text\t{work}/small"
    yield "short\tlong-name.text\tLONG-N~1.TEX"
    yield f"compressed\tpacked\t{work}/words"


def number(image, at, size):
    return int.from_bytes(image[at : at + size], "little")


def data_of(image, record):
    """Where the attribute with the content of an MFT record stands, and the clusters of its first run."""
    cluster = number(image, 11, 2) * image[13]
    at = number(image, 48, 8) * cluster + record * RECORD
    at += number(image, at + 20, 2)
    while number(image, at, 4) != 0x80:
        at += number(image, at + 4, 4)
    packed = at + number(image, at + 32, 2)
    length_size, place_size = image[packed] & 15, image[packed] >> 4
    length = number(image, packed + 1, length_size)
    place = number(image, packed + 1 + length_size, place_size)
    return at, place * cluster, length * cluster


def compact(image):
    image = bytearray(image)
    for record in (2, 10):
        at, place, length = data_of(image, record)
        image[place : place + length] = bytes(length)
        # Too short a table is none.
        if record == 10:
            image[at + 48 : at + 56] = (1024).to_bytes(8, "little")
    cluster = number(image, 11, 2) * image[13]
    table = number(image, 48, 8) * cluster
    for record in range(table, table + 64 * RECORD, RECORD):
        if image[record : record + 4] == b"FILE" and not image[record + 22] & 1:
            image[record : record + RECORD] = bytes(RECORD)
    kept = struct.pack("<H", len(image) // BLOCK)
    for block in range(len(image) // BLOCK):
        part = image[block * BLOCK : (block + 1) * BLOCK]
        if part.strip(b"\0"):
            kept += struct.pack("<H", block) + part
    return kept


def main():
    writer, target = sys.argv[1], pathlib.Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for name, (size, options) in IMAGES.items():
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            image = work / "image"
            with open(image, "wb") as out:
                out.truncate(size * 1024)
            quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            subprocess.run(["mkntfs", "-Q", "-F", "-q", *options.split(), image], **quiet)
            lines = "\n".join(script(work, name != "64k")) + "\n"
            subprocess.run([writer, image], input=lines.encode(), **quiet)
            (target / name).write_bytes(compact(image.read_bytes()))


if __name__ == "__main__":
    main()
