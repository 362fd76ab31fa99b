#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fills an exFAT that mkfs.exfat has made, without kernel and mount, from the description of the format alone; fsck.exfat
says whether it is right.

As a program: exfat_writer.py IMAGE TREE [--layout contiguous|scattered|both] [--odd]
puts a directory into the image. `--odd` adds what no file system driver makes in a test: deleted entries, a benign
secondary entry, a name with half of a surrogate pair, a file whose end was never written.
"""

import argparse
import pathlib
import random
import struct

END = 0xFFFFFFFF
DIRECTORY, ARCHIVE = 0x10, 0x20


def checksum16(entries):
    total = 0
    for place, byte in enumerate(entries):
        if place not in (2, 3):
            total = ((total << 15) | (total >> 1)) + byte & 0xFFFF
    return total


def name_hash(units):
    total = 0
    for byte in struct.pack(f"<{len(units)}H", *units):
        total = ((total << 15) | (total >> 1)) + byte & 0xFFFF
    return total


def units_of(name):
    """A name as UTF-16; half of a surrogate pair goes as it is."""
    raw = name.encode("utf-16-le", "surrogatepass")
    return struct.unpack(f"<{len(raw) // 2}H", raw)


class Directory:
    def __init__(self, first):
        self.first = first
        self.entries = bytearray()
        # The stream entry that says how long it is: the parent's bytes, and where in them.
        self.parent = None
        self.contiguous = False


class ExfatWriter:
    def __init__(self, image, seed=1):
        self.file = open(image, "r+b")
        boot = self.file.read(512)
        assert boot[3:11] == b"EXFAT   ", "mkfs.exfat comes first"
        self.sector = 1 << boot[108]
        self.cluster = self.sector << boot[109]
        (fat, _, heap, self.count, root) = struct.unpack_from("<5I", boot, 80)
        self.fat_place, self.heap_place = fat * self.sector, heap * self.sector
        self.rng = random.Random(seed)
        self.fat = {}
        self.root = self._open_root(root)
        self.directories = {"": self.root}

    def _place(self, cluster):
        return self.heap_place + (cluster - 2) * self.cluster

    def _read(self, place, length):
        self.file.seek(place)
        return self.file.read(length)

    def _open_root(self, first):
        root = Directory(first)
        content = self._read(self._place(first), self.cluster)
        end = next((i for i in range(0, len(content), 32) if content[i] == 0), len(content))
        root.entries += content[:end]
        for i in range(0, end, 32):
            if content[i] == 0x81:
                self.bitmap_first, self.bitmap_length = struct.unpack_from("<IQ", content, i + 20)
            if content[i] == 0x82:
                self.upcase = self._read_upcase(*struct.unpack_from("<IQ", content, i + 20))
        self.bitmap = bytearray(self._read(self._place(self.bitmap_first), self.bitmap_length))
        self.next_free = 2
        return root

    def _read_upcase(self, first, length):
        table, unit, words = list(range(65536)), 0, struct.unpack(f"<{length // 2}H", self._read(self._place(first), length))
        skip = False
        for word, after in zip(words, words[1:] + (None,)):
            if skip:
                skip = False
            elif word == 0xFFFF and after is not None:
                unit, skip = unit + after, True
            else:
                table[unit] = word
                unit += 1
        return table

    def _is_used(self, cluster):
        return self.bitmap[(cluster - 2) // 8] >> (cluster - 2) % 8 & 1

    def _use(self, cluster):
        self.bitmap[(cluster - 2) // 8] |= 1 << (cluster - 2) % 8

    def allocate(self, number, layout="contiguous"):
        """Clusters: one behind the other, or with gaps and out of order."""
        found = []
        stride = 1 if layout == "contiguous" else 2
        cluster = self.next_free
        while len(found) < number:
            assert cluster - 2 < self.count, "the image is too small"
            if self._is_used(cluster):
                found = [] if layout == "contiguous" else found
                cluster += 1
                continue
            found.append(cluster)
            cluster += stride
        if layout == "contiguous":
            self.next_free = cluster
        else:
            for i in range(0, len(found) - 3, 4):
                part = found[i : i + 4]
                self.rng.shuffle(part)
                found[i : i + 4] = part
        for one in found:
            self._use(one)
        return found

    def chain(self, clusters):
        for one, following in zip(clusters, clusters[1:] + [END]):
            self.fat[one] = following

    def _store(self, clusters, content):
        for number, cluster in enumerate(clusters):
            self.file.seek(self._place(cluster))
            self.file.write(content[number * self.cluster : (number + 1) * self.cluster])

    def _set(self, name, attributes, first, size, valid, contiguous, extra=b""):
        units = units_of(name)
        assert 0 < len(units) <= 255, name
        names = (len(units) + 14) // 15
        padded = units + (0,) * (names * 15 - len(units))
        stream = struct.pack("<BBBBHHQIIQ", 0xC0, 1 | (2 if contiguous else 0), 0, len(units),
                             name_hash([self.upcase[u] for u in units]), 0, valid, 0, first, size)
        parts = b"".join(struct.pack("<BB15H", 0xC1, 0, *padded[i * 15 : i * 15 + 15]) for i in range(names)) + extra
        time = 0x5A210000
        head = struct.pack("<BBHHHIIIBBBBB7x", 0x85, 1 + names + len(extra) // 32, 0, attributes, 0, time, time, time, 0, 0,
                           0, 0, 0)
        whole = bytearray(head + stream + parts)
        struct.pack_into("<H", whole, 2, checksum16(whole))
        return whole

    def add_directory(self, path, layout="contiguous"):
        parent, _, name = path.rpartition("/")
        directory = Directory(None)
        directory.layout = layout
        place = len(self.directories[parent].entries)
        self.directories[parent].entries += self._set(name, DIRECTORY, 0, 0, 0, False)
        directory.parent = (self.directories[parent], place)
        self.directories[path] = directory

    def add(self, path, content, layout="contiguous", valid=None, extra=b""):
        """`valid`: so many bytes are written, the rest is promised. `extra`: more entries of the set."""
        parent, _, name = path.rpartition("/")
        valid = len(content) if valid is None else valid
        number = -(-len(content) // self.cluster)
        clusters = self.allocate(number, layout) if number else []
        contiguous = layout == "contiguous" and number > 0
        if number and not contiguous:
            self.chain(clusters)
        # What was never written is whatever was there before.
        self._store(clusters, content[:valid] + self.rng.randbytes(len(content) - valid))
        self.directories[parent].entries += self._set(name, ARCHIVE, clusters[0] if clusters else 0, len(content), valid,
                                                      contiguous, extra)

    def add_huge(self, name, size, end, layout):
        """A file that is zero up to its end, and takes no room in a sparse image."""
        number = -(-size // self.cluster)
        clusters = self.allocate(number, layout)
        contiguous = layout == "contiguous"
        if not contiguous:
            self.chain(clusters)
        self.file.seek(self._place(clusters[-1]) + (size - len(end)) % self.cluster)
        self.file.write(end)
        self.root.entries += self._set(name, ARCHIVE, clusters[0], size, size, contiguous)

    def add_deleted(self, parent, name):
        entries = self._set(name, ARCHIVE, 0, 0, 0, False)
        for i in range(0, len(entries), 32):
            entries[i] &= 0x7F
        self.directories[parent].entries += entries

    def add_tree(self, tree, layout="both"):
        for path in sorted(pathlib.Path(tree).rglob("*")):
            name = path.relative_to(tree).as_posix()
            chosen = layout if layout != "both" else self.rng.choice(("contiguous", "scattered"))
            if path.is_dir():
                self.add_directory(name, chosen)
            else:
                self.add(name, path.read_bytes(), chosen)

    def close(self):
        # The deepest ones first: where they lie goes into their parents.
        for path, directory in sorted(self.directories.items(), key=lambda item: -len(item[0].split("/")) if item[0] else 1):
            number = max(1, -(-len(directory.entries) // self.cluster))
            content = bytes(directory.entries).ljust(number * self.cluster, b"\0")
            if directory is self.root:
                clusters = [directory.first] + (self.allocate(number - 1, "scattered") if number > 1 else [])
                self.chain(clusters)
            else:
                clusters = self.allocate(number, directory.layout)
                contiguous = directory.layout == "contiguous"
                if not contiguous:
                    self.chain(clusters)
                parent, place = directory.parent
                struct.pack_into("<B", parent.entries, place + 33, 3 if contiguous else 1)
                struct.pack_into("<Q", parent.entries, place + 32 + 8, number * self.cluster)
                struct.pack_into("<IQ", parent.entries, place + 32 + 20, clusters[0], number * self.cluster)
                length = 32 * (parent.entries[place + 1] + 1)
                struct.pack_into("<H", parent.entries, place + 2, checksum16(parent.entries[place : place + length]))
            self._store(clusters, content)
        self.file.seek(self._place(self.bitmap_first))
        self.file.write(self.bitmap)
        for cluster, following in self.fat.items():
            self.file.seek(self.fat_place + 4 * cluster)
            self.file.write(struct.pack("<I", following))
        used = sum(byte.bit_count() for byte in self.bitmap)
        self.file.seek(112)
        self.file.write(bytes([used * 100 // self.count]))
        self.file.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("tree")
    parser.add_argument("--layout", default="both", choices=("contiguous", "scattered", "both"))
    parser.add_argument("--odd", action="store_true")
    parser.add_argument("--huge", type=int, metavar="BYTES", help="a file of this size, and one of 1 GiB and 50 bytes in pieces")
    options = parser.parse_args()
    writer = ExfatWriter(options.image)
    writer.add_tree(options.tree, options.layout)
    if options.odd:
        writer.add_deleted("", "deleted")
        # A vendor's own entry: benign, its GUID is nobody's.
        writer.add("vendor", b"behind it is an entry of a vendor", extra=struct.pack("<BB16s14x", 0xE0, 0, b"nobody's at all!"))
        writer.add("half \ud83d pair", b"named by half of a pair")
        writer.add("promised", b"written" + bytes(300_000), "scattered", valid=7)
        writer.add("promised-whole", bytes(70_000), valid=0)
    if options.huge:
        writer.add_huge("huge-contiguous", options.huge, b"theend", "contiguous")
        writer.add_huge("huge-chain", 1024 * 1024 * 1024 + 50, b"theend", "scattered")
    writer.close()


if __name__ == "__main__":
    main()
