#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Corners of ext4 through the whole appliance: what such a drive holds arrives, what it refuses is refused by name,
and what is odd about it reaches the operator."""

import os
import random
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, make_tree  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402

UNCLEAN = "the ext4 was not unmounted cleanly: changes that only its journal knows are missing here"


def statuses(log):
    return {b.findtext("BlobPath"): b.get("Status") for b in log.findall("Blob")}


class Ext4(unittest.TestCase):
    def bring(self, lab, job, drive, end="CompletedMoreInfo"):
        lab.create(job, [drive])
        lab.plug(drive["serial"])
        lab.wait_drive(job, drive["serial"], "State", end)
        return xml.parse(lab.logs(job)[0]).getroot()

    def test_odd_content_arrives_and_4_8_denied_missing_and_io_are_logged_by_name(self):
        rng = random.Random(7)
        right = {"inline": b"within the inode", "inline-and-attribute": rng.randbytes(120), "empty": b"",
                 "block": rng.randbytes(1024), "blocks": rng.randbytes(300_001),
                 "hole-at-start": bytes(500_000) + rng.randbytes(1234),
                 "hole-in-middle": rng.randbytes(5000) + bytes(2_000_000) + rng.randbytes(77)}
        refused = {"fscrypt": "FileAccessDenied", "verity": "FileAccessDenied", "pipe": "FileAccessDenied",
                   "link": "FileAccessDenied", "vault/inside": "FileAccessDenied", "missing": "FileNotFound",
                   "damaged": "IOFailed"}
        with Lab() as lab:
            source = make_tree(lab.root / "source", right)
            make_tree(source, dict.fromkeys(("fscrypt", "verity", "vault/inside", "damaged"), rng.randbytes(4000)))
            os.symlink("block", source / "link")
            blobs = [blob_xml(f"lab/{name}", "\\" + name.replace("/", "\\"), data) for name, data in right.items()]
            blobs += [blob_xml(f"lab/{name}", "\\" + name.replace("/", "\\"), b"never") for name in refused]
            blobs += [blob_xml("lab/promised", "\\PROMISED", bytes(50_001)),
                      blob_xml("lab/hard-link", "\\Another", right["blocks"])]
            drive = lab.foreign(
                "SER", source, manifest=manifest_xml("SER", blobs),
                mke2fs_options=("-b", "1024", "-O", "inline_data,^metadata_csum"),
                debugfs="feature encrypt verity needs_recovery\nsif fscrypt flags 0x80800\nsif verity flags 0x180000\n"
                        "sif vault flags 0x80800\nmknod pipe p\nsif damaged block[5] 0xfffffff\nln blocks another\n"
                        "set_inode_field another links_count 2\nmknod promised p\nsif promised mode 0100644\n"
                        "sif promised flags 0x80000\nfallocate promised 0 48\nsif promised size 50001")
            lab.start()
            log = self.bring(lab, "odd", drive)
            self.assertEqual(lab.blobs(), {**{f"lab/{name}": data for name, data in right.items()},
                                           "lab/promised": bytes(50_001), "lab/hard-link": right["blocks"]})
            self.assertEqual(statuses(log), {f"lab/{name}": status for name, status in refused.items()})
            self.assertEqual(lab.drive("odd", "SER", "CopyStatus"), "CompletedWithErrors")
            # A journal that needs recovery is said at once, and once more where the result is said.
            lab.wait_log(f"job odd, drive SER: {UNCLEAN}")
            lab.wait_log(f"the error log names them; 5 bytes of 1 file cannot be read from the drive; {UNCLEAN}")
            for sentence in ("fscrypt: it is encrypted by the file system (fscrypt)",
                             "verity: it is protected by fs-verity", "vault/: it is encrypted by the file system (fscrypt)",
                             "pipe: it is a special file", "link: it is a symbolic link"):
                lab.wait_log(f"job odd, drive SER: {sentence}")
            self.assertNotIn("missing: there is no such file", lab.log())

    def test_files_without_extents_arrive(self):
        rng = random.Random(8)
        files = {"direct": rng.randbytes(12 * 1024), "one-table": rng.randbytes(268 * 1024),
                 "two": rng.randbytes(268 * 1024 + 1), "holes": rng.randbytes(3000) + bytes(900_000) + rng.randbytes(3000)}
        with Lab() as lab:
            source = make_tree(lab.root / "source", files)
            drive = lab.foreign("SER", source, mke2fs_options=("-b", "1024", "-O", "^extents,^64bit", "-I", "128"))
            lab.start()
            self.bring(lab, "old", drive, "Completed")
            self.assertEqual(lab.blobs(), drive["expected"])
            self.assertNotIn("unmounted", lab.log())

    def test_6_3_a_file_system_that_cannot_be_read_is_volume_not_ntfs_with_a_sentence(self):
        with Lab() as lab:
            source = make_tree(lab.root / "source", {"a": b"content"})
            drive = lab.foreign("SER", source, debugfs="feature encrypt\nsif / flags 0x80800")
            lab.start()
            log = self.bring(lab, "locked", drive)
            self.assertEqual(lab.drive("locked", "SER", "CopyStatus"), "VolumeNotNtfs")
            self.assertEqual(log.findtext("Status"), "VolumeNotNtfs")
            self.assertEqual(log.findall("Blob"), [])
            lab.wait_log("the root directory cannot be read: it is encrypted by the file system (fscrypt)")


if __name__ == "__main__":
    unittest.main()
