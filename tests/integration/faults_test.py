#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the site can mend is a fault and is mended with retry; what the drive is, is a result (rules.md 2)."""

import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, Lab, make_tree, random_files, seed, UID  # noqa: E402


class Faults(unittest.TestCase):
    def test_a_wrong_key_is_a_fault_that_retry_mends(self):
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("K", make_tree(lab.root / "source", {"a": b"content"}))
            right = (lab.shelf / "K.key").read_bytes()
            lab.start()
            lab.key_file("K", right + b"\n")
            lab.create("job-k", [drive])
            lab.plug("K")
            lab.wait_drive("job-k", "K", "Faulted", True)
            self.assertEqual(lab.drive("job-k", "K", "State"), "Received")
            reason = lab.drive("job-k", "K", "FaultReason")
            self.assertIn("key", reason)
            self.assertIn("line break", reason)
            self.assertIn(reason, lab.log())
            self.assertEqual(lab.blobs(), {})
            self.assertEqual(lab.job("job-k", "State"), "Transferring", "jobs never go back")
            lab.wait(lambda: lab.get("/org/dray1", "Manager", "ActiveTransfers") == 0, "the slot to be free")
            lab.key_file("K", right)
            lab.ctl("retry", "job-k", "K", "--key-file", lab.shelf / "K.key")
            lab.ctl("wait", "job-k", "--timeout", "60")
            self.assertEqual(lab.blobs(), {"lab/a": b"content"})

    def test_a_faulted_drive_can_be_given_up(self):
        with Lab() as lab:
            drive = lab.prepare("G", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.key_file("G", b"wrong")
            lab.create("job-g", [drive])
            lab.plug("G")
            lab.wait_drive("job-g", "G", "Faulted", True)
            lab.ctl("release", "job-g", "G")
            lab.wait_drive("job-g", "G", "State", "CompletedMoreInfo")
            lab.unplug("G")
            lab.wait_job("job-g", "State", "Closed")
            self.assertEqual(lab.ctl("wait", "job-g", status=None)[2], 3)

    def test_a_truncated_image_ends_with_a_sentence_and_nothing_in_the_store(self):
        rng = seed()
        with Lab() as lab:
            drive = lab.prepare("T", make_tree(lab.root / "source", {"a": rng.randbytes(8 * MIB)}))
            size = (lab.shelf / "T.img").stat().st_size
            os.truncate(lab.shelf / "T.img", size // 2)
            lab.start()
            lab.create("job-t", [drive])
            lab.plug("T")
            lab.wait(lambda: lab.drive("job-t", "T", "State") == "CompletedMoreInfo" or lab.drive("job-t", "T", "Faulted"),
                     "the truncated image to be refused")
            self.assertNotIn("lab/a", lab.blobs())
            self.assertNotEqual(lab.drive("job-t", "T", "CopyStatus"), "Completed")

    def test_a_flipped_byte_is_found_and_all_other_blobs_arrive(self):
        rng = seed()
        with Lab() as lab:
            files = {f"f{n}": rng.randbytes(5 * MIB + n) for n in range(5)}
            source = make_tree(lab.root / "source", files)
            good = lab.foreign("F", source)
            # The same manifest over a tree in which one byte of the second piece of f2 is another one.
            changed = bytearray(files["f2"])
            changed[4 * MIB + 99] ^= 1
            (source / "f2").write_bytes(changed)
            manifest = lab_manifest(lab, good, files, "F")
            lab.foreign("F", source, manifest=manifest)
            lab.start()
            lab.create("job-f", [good])
            lab.plug("F")
            lab.wait_job("job-f", "State", "Packaging")
            self.assertEqual(lab.drive("job-f", "F", "State"), "CompletedMoreInfo")
            self.assertEqual(lab.drive("job-f", "F", "CopyStatus"), "CompletedWithErrors")
            self.assertEqual(lab.job("job-f", "BlobsFailed"), 1)
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items() if n != "f2"})
            log = xml.parse(lab.logs("job-f")[0]).getroot()
            blob = log.find("Blob")
            self.assertEqual((blob.get("Status"), blob.findtext("BlobPath")), ("CompletedWithErrors", "lab/f2"))
            statuses = {b.get("Offset"): b.get("Status") for b in blob.iter("Block")}
            self.assertEqual(statuses[str(4 * MIB)], "Corrupted")
            lab.unplug("F")
            lab.wait_job("job-f", "State", "Closed")

    @unittest.skipUnless(os.getuid() == 0, "mounting a small file system needs root")
    def test_a_full_store_is_a_fault_and_nothing_is_lost(self):
        rng = seed()
        with Lab(hand_back="at-once") as lab:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=12m,uid={UID},gid={UID}", "none", lab.vault], check=True)
            lab.closing.callback(subprocess.run, ["umount", "-l", lab.vault])
            files = {f"f{n}": rng.randbytes(5 * MIB) for n in range(5)}
            drive = lab.prepare("FULL", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("full", [drive])
            lab.plug("FULL")
            lab.wait_drive("full", "FULL", "Faulted", True)
            self.assertRegex(lab.drive("full", "FULL", "FaultReason"), "(?i)no space|full")
            self.assertTrue(lab.blobs().items() <= {f"lab/{n}": d for n, d in files.items()}.items())
            subprocess.run(["mount", "-o", "remount,size=200m", lab.vault], check=True)
            lab.ctl("retry", "full", "FULL")
            lab.ctl("wait", "full", "--timeout", "60")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})

    def test_an_image_that_no_job_knows_is_never_opened(self):
        with Lab() as lab:
            lab.prepare("U", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            image = lab.plug("U")
            before = os.stat(image).st_atime_ns
            lab.wait(lambda: lab.json("devices"), "the image to be seen")
            device = lab.json("devices")[0]
            self.assertEqual((device["serial"], device["job"], device["opens"]), ("U", "", 0))
            self.assertEqual(os.stat(image).st_atime_ns, before)

    def test_an_image_removed_in_mid_copy_goes_on_when_it_is_back(self):
        rng = seed()
        with Lab(hand_back="at-once") as lab:
            files = random_files(rng, 60, 400_000)
            drive = lab.prepare("M", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("job-m", [drive])
            with lab.held_store() as let_go:
                lab.plug("M")
                lab.wait_drive("job-m", "M", "CopyStatus", "Transferring")
                lab.unplug("M")
                lab.wait_drive("job-m", "M", "Device", "/")
                let_go()
                lab.wait_drive("job-m", "M", "State", "Received")
            self.assertFalse(lab.drive("job-m", "M", "Faulted"))
            lab.plug("M")
            lab.ctl("wait", "job-m", "--timeout", "60")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})

    def test_two_devices_with_one_serial_wait_for_assign(self):
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("TWIN", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.create("twin", [drive], ship=False)
            subprocess.run(["cp", "--sparse=always", lab.shelf / "TWIN.img", lab.drives / "TWIN.raw"], check=True)
            if os.getuid() == 0:
                os.chown(lab.drives / "TWIN.raw", UID, UID)
            lab.plug("TWIN")
            lab.wait(lambda: len(lab.json("devices")) == 2, "both images to be seen")
            lab.ctl("ship", "twin")
            for device in lab.json("devices"):
                self.assertIn("serial", device["problem"])
                self.assertEqual(device["opens"], 0)
            lab.ctl("assign", lab.drives / "TWIN.img", "twin")
            lab.ctl("wait", "twin", "--timeout", "60")
            self.assertEqual(lab.blobs(), {"lab/a": b"content"})

    def test_a_store_that_is_not_there_is_a_fault_that_names_it(self):
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("S", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.create("job-s", [drive])
            os.rename(lab.vault, lab.root / "away")
            lab.plug("S")
            lab.wait_drive("job-s", "S", "Faulted", True)
            self.assertIn("vault", lab.drive("job-s", "S", "FaultReason"))
            out, _, status = lab.ctl("stores", status=None)
            self.assertEqual(status, 1)
            self.assertIn(str(lab.vault), out)
            os.rename(lab.root / "away", lab.vault)
            lab.ctl("stores")
            lab.ctl("retry", "job-s", "S")
            lab.ctl("wait", "job-s", "--timeout", "60")


def lab_manifest(lab, good, files, serial):
    """The manifest that `good` was made with, over the unchanged files."""
    import make_drive

    source = make_tree(lab.root / "unchanged", files)
    manifest, _ = make_drive.manifest_of(source, serial, "lab")
    return manifest


if __name__ == "__main__":
    unittest.main()
