#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the corpus of the fuzz target ext4 with mke2fs, e2fsck and debugfs: small images, of which only what is not
zero is kept (see ext4_fuzz.cpp).

    tests/fuzz/seeds/ext4.py DIRECTORY
"""

import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

BLOCK = 1024

# name: (size in KiB, options of mke2fs, requests to debugfs)
IMAGES = {
    "ext4": (128, "-t ext4 -b 1024 -O ^has_journal,^metadata_csum", "write /dev/null promised\nfallocate promised 0 9\nsif promised size 9000"),
    "ext4-4k": (256, "-t ext4 -b 4096 -O ^has_journal,^metadata_csum", ""),
    "checksums": (128, "-t ext4 -b 1024 -O ^has_journal", ""),
    "inline": (96, "-t ext4 -b 1024 -O ^has_journal,inline_data,^metadata_csum -I 256", ""),
    "ext2": (192, "-t ext2 -b 1024 -I 128", ""),
    "bigalloc": (512, "-t ext4 -b 1024 -O ^has_journal,bigalloc,^metadata_csum -C 4096", ""),
    "groups": (800, "-t ext4 -b 1024 -g 256 -O ^has_journal,meta_bg,^metadata_csum,^flex_bg,^resize_inode", ""),
    "casefold": (96, "-t ext4 -b 1024 -O ^has_journal,casefold,^metadata_csum -E encoding=utf8", "sif dir flags 0x40080000"),
    "refused": (96, "-t ext4 -b 1024 -O ^has_journal,^metadata_csum", "feature encrypt verity\nsif dir flags 0x80800\n"
                "sif file flags 0x180000\nmknod pipe p\nsymlink link file"),
}


def fill(tree, is_hashed):
    rng = random.Random(1)
    (tree / "dir").mkdir()
    (tree / "file").write_bytes(b"content of the file")
    (tree / "dir" / "File").write_bytes(rng.randbytes(3000))
    for size in (70, 150):
        (tree / "dir" / str(size)).write_bytes(b"x" * size)
    for name, teeth, step in (("comb", 8, 3000), ("deep", 3, 400_000)):
        with open(tree / "dir" / name, "wb") as out:
            for i in range(teeth):
                out.seek(i * step)
                out.write(b"tooth")
    if is_hashed:
        for i in range(100):
            os.link(tree / "file", tree / f"a-name-of-some-length-{i}")


def compact(image):
    kept = struct.pack("<H", len(image) // BLOCK)
    for number in range(len(image) // BLOCK):
        block = image[number * BLOCK : (number + 1) * BLOCK]
        if block.strip(b"\0"):
            kept += struct.pack("<H", number) + block
    return kept


def make(name, size, options, requests, target):
    with tempfile.TemporaryDirectory() as work:
        tree = pathlib.Path(work, "tree")
        tree.mkdir()
        fill(tree, name == "hashed")
        image = pathlib.Path(work, "image")
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["mke2fs", "-q", "-F", "-N", "32", "-U", "11111111-2222-3333-4444-555555555555", "-E",
                        "hash_seed=11111111-2222-3333-4444-555555555555", *options.split(), "-d", tree, image, f"{size}k"], **quiet)
        if name == "hashed":
            assert subprocess.run(["e2fsck", "-fyD", image], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode <= 1
        if requests:
            subprocess.run(["debugfs", "-w", "-f", "/dev/stdin", image], input=requests.encode(), **quiet)
        (target / name).write_bytes(compact(image.read_bytes()))


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name, (size, options, requests) in IMAGES.items():
        make(name, size, options, requests, target)
    make("hashed", 128, "-t ext4 -b 1024 -O ^has_journal,^metadata_csum", "", target)


if __name__ == "__main__":
    main()
