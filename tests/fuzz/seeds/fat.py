#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the corpora of the fuzz targets exfat and fat with mkfs.exfat, mkfs.fat, mtools and the tests' own writer:
small images, of which only what is not zero is kept (see filesystem_walk.hpp).

    tests/fuzz/seeds/fat.py CORPUS_DIRECTORY
"""

import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from exfat_writer import ExfatWriter  # noqa: E402
from ext4 import compact  # noqa: E402

QUIET = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

# name: (size in KiB, options of mkfs.fat)
FATS = {
    "fat12": (96, "-F 12 -s 1 -r 32 -f 2"),
    "fat12-4k": (256, "-F 12 -S 4096 -s 1 -r 128 -f 1"),
    "fat16": (2200, "-F 16 -s 1 -r 32 -f 1"),
    "fat32": (192, "-F 32 -s 1 -f 2"),
}
# name: (size in KiB, options of mkfs.exfat, layout)
EXFATS = {
    "contiguous": (256, "-b 4K -c 512", "contiguous"),
    "scattered": (256, "-b 4K -c 512", "scattered"),
    "clusters-4k": (512, "-b 4K -c 4K", "scattered"),
}


def fill(tree):
    rng = random.Random(1)
    (tree / "dir").mkdir()
    (tree / "file").write_bytes(b"content of the file")
    (tree / "dir" / "File").write_bytes(rng.randbytes(3000))
    (tree / "empty").write_bytes(b"")
    (tree / "na\u00efve").write_bytes(b"x")
    for i in range(12):
        (tree / "dir" / f"a name of some length {i}").write_bytes(bytes([i]))


def empty_image(path, size, command):
    with open(path, "wb") as out:
        out.truncate(size * 1024)
    subprocess.run([*command, path], **QUIET)


def short_entry(name, attributes, cluster, size):
    return struct.pack("<11sB8xHHHHI", name, attributes, cluster >> 16, 0, 0, cluster & 0xFFFF, size)


def fill_fat32(path):
    """mtools takes none with so few clusters: by hand, a file of two clusters and a directory."""
    with open(path, "r+b") as image:
        boot = image.read(512)
        reserved, = struct.unpack_from("<H", boot, 14)
        length, root = struct.unpack_from("<I4xI", boot, 36)[0], struct.unpack_from("<I", boot, 44)[0]
        heap = (reserved + boot[16] * length) * 512
        for table in range(boot[16]):
            image.seek((reserved + table * length) * 512 + 12)
            image.write(struct.pack("<4I", 5, 0x0FFFFFFF, 0x0FFFFFFF, 0))
        image.seek(heap + (root - 2) * 512)
        image.write(short_entry(b"FILE       ", 0x20, 3, 700) + short_entry(b"DIR        ", 0x10, 4, 0))
        for cluster, content in ((3, b"content" * 50), (5, b"more" * 50),
                                 (4, short_entry(b".          ", 0x10, 4, 0) + short_entry(b"..         ", 0x10, 0, 0)
                                  + short_entry(b"FILE       ", 0x20, 0, 0))):
            image.seek(heap + (cluster - 2) * 512)
            image.write(content)


def main():
    target = pathlib.Path(sys.argv[1])
    (target / "fat").mkdir(parents=True, exist_ok=True)
    (target / "exfat").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        tree, image = pathlib.Path(work, "tree"), pathlib.Path(work, "image")
        tree.mkdir()
        fill(tree)
        for name, (size, options) in FATS.items():
            empty_image(image, size, ["mkfs.fat", "-i", "12345678", *options.split()])
            if name == "fat32":
                fill_fat32(image)
            else:
                subprocess.run(["mcopy", "-sQp", "-i", image, *sorted(tree.iterdir()), "::/"],
                               env=dict(os.environ, LC_ALL="C.UTF-8"), **QUIET)
            (target / "fat" / name).write_bytes(compact(image.read_bytes()))
        for name, (size, options, layout) in EXFATS.items():
            empty_image(image, size, ["mkfs.exfat", *options.split()])
            writer = ExfatWriter(image)
            writer.add_tree(tree, layout)
            writer.add_deleted("", "deleted")
            writer.add("vendor", b"x", extra=struct.pack("<BB16s14x", 0xE0, 0, b"nobody's at all!"))
            writer.add("half \ud83d pair", b"x")
            writer.add("promised", b"written" + bytes(3000), layout, valid=7)
            writer.close()
            kept = compact(image.read_bytes())
            (target / "exfat" / name).write_bytes(kept)
            (target / "exfat" / (name + "-mended")).write_bytes(kept[:1] + bytes([kept[1] | 0x80]) + kept[2:])


if __name__ == "__main__":
    main()
