#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A manifest as long as it may be costs no more memory than a small one (rules.md 13). With DRAY_TEST_LONG it has
about 1 GiB, else some tens of MiB."""

import hashlib
import os
import pathlib
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import make_drive  # noqa: E402
from lab import MIB, Lab, make_tree  # noqa: E402

LIMIT = 1024 * MIB
IS_LONG = bool(os.environ.get("DRAY_TEST_LONG"))
MOST_MEMORY = 192 * MIB
BLOCKS = 50_000


def pss(pid):
    """Bytes, or 0 for a process that is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def long_manifest(serial, size, lists):
    """About `size` bytes: blobs with a lot of data of the client's, and `lists` blobs of as many blocks as are allowed."""
    head, _, tail = make_drive.manifest_xml(serial, ["@"]).partition(b"@")
    digit = hashlib.md5(b"7").hexdigest().upper()
    blocks = "".join(f'<Block Offset="{n}" Length="1" Id="MD5/j4Xlf6j5sdvsz7TsNspJgA==" Hash="{digit}"/>'
                     for n in range(BLOCKS))
    parts = [head]
    for number in range(lists):
        parts.append((f"<Blob><BlobPath>lab/blocks{number}</BlobPath><FilePath>\\sevens</FilePath>"
                      f"<Length>{BLOCKS}</Length><ImportDisposition>no-overwrite</ImportDisposition>"
                      f"<BlockList>{blocks}</BlockList></Blob>").encode())
    filling = "c" * 60_000
    written = sum(map(len, parts)) + len(tail)
    number = 0
    while True:
        blob = (f"<Blob><BlobPath>lab/dir/b{number}</BlobPath><FilePath>\\seven</FilePath><ClientData>{filling}</ClientData>"
                f'<Length>1</Length><BlockList><Block Offset="0" Length="1" Hash="{digit}"/></BlockList></Blob>').encode()
        if written + len(blob) > size:
            return b"".join([*parts, tail]), number
        parts.append(blob)
        written += len(blob)
        number += 1


class ManifestSize(unittest.TestCase):
    def test_a_long_manifest_costs_no_more_memory_than_a_small_one(self):
        lists = 10 if IS_LONG else 1
        manifest, count = long_manifest("BIG", LIMIT if IS_LONG else 40 * MIB, lists)
        self.assertLessEqual(len(manifest), LIMIT)
        with Lab() as lab:
            source = make_tree(lab.root / "source", {"seven": b"7", "sevens": b"7" * BLOCKS})
            drive = lab.foreign("BIG", source, manifest=manifest)
            size = len(manifest)
            del manifest
            lab.start()
            lab.create("big", [drive])
            lab.plug("BIG")
            most = 0

            def is_done():
                nonlocal most
                # Unlocking has a limit of its own.
                if lab.drive("big", "BIG", "CopyStatus") in ("Verifying", "Transferring", "WritingLogs"):
                    most = max(most, sum(pss(pid) for pid, _ in lab.pair()))
                return lab.drive("big", "BIG", "State") in ("Completed", "CompletedMoreInfo")

            while not is_done():
                self.assertFalse(lab.drive("big", "BIG", "Faulted"), lab.drive("big", "BIG", "FaultReason"))
                with lab.changed:
                    lab.changed.wait(0.1)
            print(f"manifest of {size / MIB:.0f} MiB, {count + lists} blobs: PSS of the pair at most {most / MIB:.0f} MiB")
            self.assertEqual(lab.drive("big", "BIG", "CopyStatus"), "Completed")
            self.assertGreater(most, 0, "nobody looked while it was copied")
            self.assertLess(most, MOST_MEMORY)
            found = lab.blobs()
            self.assertEqual(len(found), count + lists)
            for number in range(lists):
                self.assertEqual(found[f"lab/blocks{number}"], b"7" * BLOCKS)
            self.assertEqual({content for name, content in found.items() if name.startswith("lab/dir/")}, {b"7"})
            log = xml.parse(lab.logs("big")[0]).getroot()
            self.assertEqual(log.findtext("Status"), "Completed")

    def test_one_byte_above_the_limit_is_refused_before_anything_is_put(self):
        """6.3: ManifestFormatInvalid. The limit itself is read through."""
        for size in (LIMIT + 1, LIMIT) if IS_LONG else (LIMIT + 1,):
            with self.subTest(size=size), Lab() as lab:
                source = make_tree(lab.root / "source", {"a": b"content"})
                with open(source / "Long.xml", "wb") as sparse:
                    sparse.truncate(size)
                identifier = make_drive.make_drive(source, lab.shelf / "L.img", lab.key_file("L").read_bytes(),
                                                   size=64 * MIB)
                lab.start()
                lab.create("long", [{"serial": "L", "volume-id": identifier, "manifest": "\\Long.xml",
                                     "manifest-hash": "0" * 32}])
                lab.plug("L")
                lab.wait_drive("long", "L", "State", "CompletedMoreInfo")
                # Within the limit it is hashed, and the hash is another one.
                self.assertEqual(lab.drive("long", "L", "CopyStatus"),
                                 "ManifestFormatInvalid" if size > LIMIT else "ManifestCorrupted")
                if size > LIMIT:
                    self.assertIn(f"it has {size} bytes, at most {LIMIT} are read", lab.log())
                self.assertEqual(lab.blobs(), {})
                log = xml.parse(lab.logs("long")[0]).getroot()
                self.assertEqual(log.findall("Blob"), [])


if __name__ == "__main__":
    unittest.main()
