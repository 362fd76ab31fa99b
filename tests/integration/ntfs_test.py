#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""NTFS drives inside LUKS2 through the whole appliance: what they hold arrives, what cannot be read is refused by name,
and a volume that Windows left in disorder reaches the operator."""

import hashlib
import os
import random
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import make_drive  # noqa: E402
from lab import Lab, make_tree  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402

UNCLEAN = "the NTFS was not unmounted cleanly: changes that only its log knows are missing here"


def statuses(log):
    return {b.findtext("BlobPath"): b.get("Status") for b in log.findall("Blob")}


class Ntfs(unittest.TestCase):
    def drive(self, lab, serial, source, manifest, **options):
        plain = lab.shelf / f"{serial}.plain"
        make_drive.make_ntfs(source, plain, manifest, **options)
        identifier = make_drive.make_luks2(plain, lab.shelf / f"{serial}.img", lab.key_file(serial).read_bytes())
        plain.unlink()
        return {"serial": serial, "volume-id": identifier, "manifest": "\\DriveManifest.xml",
                "manifest-hash": hashlib.md5(manifest).hexdigest().upper()}

    def bring(self, lab, job, drive, end):
        lab.create(job, [drive])
        lab.plug(drive["serial"])
        lab.wait_drive(job, drive["serial"], "State", end)

    def test_content_of_every_kind_arrives_and_what_cannot_be_read_is_refused_by_name(self):
        rng = random.Random(9)
        words = b"".join(b"word %d " % (i % 97) for i in range(60_000))
        right = {"empty": b"", "resident": b"within the record", "large": rng.randbytes(1_300_001),
                 "deep/er/file": rng.randbytes(70_000)}
        refused = {"efs": "it is encrypted by Windows (EFS)", "link": "it is a symbolic link",
                   "junction": "it is a junction or a mount point", "dedup": "its content was moved away by Windows data deduplication",
                   "compact": "it is packed by Windows", "onedrive": "its content lies in OneDrive"}
        tags = {"link": "0xa000000c", "junction": "0xa0000003", "dedup": "0x80000013", "compact": "0x80000017",
                "onedrive": "0x9000601a"}
        with Lab() as lab:
            source = make_tree(lab.root / "source", {**right, **dict.fromkeys(refused, rng.randbytes(3000))})
            more = make_tree(lab.root / "more", {"words": words, "tooth": b"tooth"})
            blobs = [blob_xml(f"lab/{name}", "\\" + name.replace("/", "\\").upper(), data) for name, data in right.items()]
            blobs += [blob_xml(f"lab/{name}", "\\" + name, b"never") for name in (*refused, "missing")]
            sparse = bytes(2_000_000) + b"tooth" + bytes(999_995)
            blobs += [blob_xml("lab/packed", "\\PACKED", words), blob_xml("lab/sparse", "\\Sparse", sparse),
                      blob_xml("lab/again", "\\again", right["large"]), blob_xml("lab/short", "\\LONG-N~1.TEX", b"tooth")]
            manifest = manifest_xml("SER", blobs)
            requests = [f"compressed\tpacked\t{more}/words", f"sparse\tsparse\t3000000\t2000000\t{more}/tooth",
                        "link\tlarge\tagain", f"file\tlong-name.text\t{more}/tooth", "short\tlong-name.text\tLONG-N~1.TEX",
                        f"stream\tlarge\tother\t{more}/words", "encrypted\tefs", "dirty",
                        *(f"reparse\t{name}\t{tag}" for name, tag in tags.items())]
            drive = self.drive(lab, "SER", source, manifest, requests=requests)
            lab.start()
            self.bring(lab, "odd", drive, "CompletedMoreInfo")
            self.assertEqual(lab.blobs(), {**{f"lab/{name}": data for name, data in right.items()}, "lab/packed": words,
                                           "lab/sparse": sparse, "lab/again": right["large"], "lab/short": b"tooth"})
            log = xml.parse(lab.logs("odd")[0]).getroot()
            self.assertEqual(statuses(log), {**{f"lab/{name}": "FileAccessDenied" for name in refused},
                                             "lab/missing": "FileNotFound"})
            lab.wait_log(f"job odd, drive SER: {UNCLEAN}")
            for name, sentence in refused.items():
                lab.wait_log(f"job odd, drive SER: {name}: {sentence}")

    def test_large_clusters_and_large_sectors_arrive(self):
        rng = random.Random(10)
        files = {f"dir{i % 7}/file{i}": rng.randbytes(rng.randrange(200_000)) for i in range(60)}
        with Lab() as lab:
            source = make_tree(lab.root / "source", files)
            lab.start()
            for serial, options in (("64K", ("-c", "65536")), ("4KN", ("-s", "4096", "-c", "4096"))):
                manifest, expected = make_drive.manifest_of(source, serial, f"lab-{serial.lower()}")
                drive = self.drive(lab, serial, source, manifest, mkntfs_options=options)
                self.bring(lab, f"job-{serial.lower()}", drive, "Completed")
                self.assertEqual({name: data for name, data in lab.blobs().items() if name in expected}, expected)
            self.assertNotIn("unmounted", lab.log())


if __name__ == "__main__":
    unittest.main()
