#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which device is which drive (rules.md 4, 5): serial, volume, manifest, and an operator's word."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, UID, make_tree, random_files, seed  # noqa: E402


def copy_image(lab, source, name):
    """Another image beside the plugged-in ones, as a disk would be: it is there all at once."""
    part = lab.drives / f".{name}"
    subprocess.run(["cp", "--sparse=always", source, part], check=True)
    if os.getuid() == 0:
        os.chown(part, UID, UID)
    os.rename(part, lab.drives / name)


def device(lab, node):
    return next((d for d in lab.json("devices") if d["device"] == str(node)), None)


class Identity(unittest.TestCase):
    def test_the_volume_is_remembered_at_the_first_unlock(self):
        with Lab() as lab:
            drive = lab.prepare("V", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.create("vol", [drive])
            self.assertEqual(lab.drive("vol", "V", "VolumeId"), "")
            lab.plug("V")
            lab.wait_drive("vol", "V", "State", "Completed")
            self.assertEqual(lab.drive("vol", "V", "VolumeId"), drive["volume-id"])

    def test_a_drive_with_another_volume_than_it_was_given_is_refused(self):
        with Lab() as lab:
            drive = lab.prepare("W", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.ctl("create", "other", "--store", "vault")
            lab.ctl("add-drive", "other", "W", "--key-file", lab.shelf / "W.key", "--manifest", drive["manifest"],
                    "--manifest-hash", drive["manifest-hash"], "--volume-id", "00000000-1111-2222-3333-444444444444")
            lab.ctl("ship", "other")
            lab.plug("W")
            # 3.3 Transferring to CompletedMoreInfo: a result, because it is what the drive is.
            lab.wait_drive("other", "W", "State", "CompletedMoreInfo")
            self.assertFalse(lab.drive("other", "W", "Faulted"))
            self.assertEqual(lab.blobs(), {})
            lab.wait_log("00000000-1111-2222-3333-444444444444")

    def test_a_volume_id_in_the_other_case_is_the_same(self):
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("U", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.ctl("create", "upper", "--store", "vault")
            lab.ctl("add-drive", "upper", "U", "--key-file", lab.shelf / "U.key", "--manifest", drive["manifest"],
                    "--manifest-hash", drive["manifest-hash"].lower(), "--volume-id", drive["volume-id"].upper())
            lab.ctl("ship", "upper")
            lab.plug("U")
            lab.ctl("wait", "upper", "--timeout", "120")
            self.assertEqual(lab.job("upper", "State"), "Completed")

    def test_serials_compare_without_regard_to_case(self):
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("MiXed-7", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.create("mixed", [drive])
            lab.plug("MiXed-7", "mIxED-7.img")
            lab.ctl("wait", "mixed", "--timeout", "120")
            self.assertEqual(lab.blobs(), {"lab/a": b"content"})

    def test_assign_waives_the_device_and_not_the_manifest(self):
        """The manifest's DriveId must be the job's serial, whatever device it came on."""
        with Lab(hand_back="at-once") as lab:
            right = lab.prepare("RIGHT", make_tree(lab.root / "sourceR", {"r": b"right"}))
            wrong = lab.prepare("WRONG", make_tree(lab.root / "sourceW", {"w": b"wrong"}))
            lab.start()
            lab.create("right", [right])
            # The same serial in the job, another one in the manifest.
            lab.ctl("create", "wrong", "--store", "vault")
            lab.ctl("add-drive", "wrong", "EXPECTED", "--key-file", lab.shelf / "WRONG.key", "--manifest",
                    wrong["manifest"], "--manifest-hash", wrong["manifest-hash"])
            lab.ctl("ship", "wrong")
            dock = lab.plug("RIGHT", "DOCK-1.img")
            other = lab.plug("WRONG", "DOCK-2.img")
            lab.wait(lambda: device(lab, dock) and device(lab, other), "both docks to be seen")
            self.assertEqual([device(lab, d)["opens"] for d in (dock, other)], [0, 0])
            lab.ctl("assign", "/dev/null/none", "right", status=4)
            lab.ctl("assign", dock, "nobody", status=4)
            lab.ctl("assign", dock, "right")
            lab.ctl("wait", "right", "--timeout", "120")
            self.assertEqual(lab.blobs(), {"lab/r": b"right"})
            lab.ctl("assign", other, "wrong")
            lab.wait_drive("wrong", "EXPECTED", "Outcome", "completed-more-info")
            self.assertEqual(lab.blobs(), {"lab/r": b"right"})
            self.assertIn("audit:", lab.log())
            self.assertRegex(lab.log(), r"audit: .*Device\.Assign on job right")

    def test_an_assigned_device_is_known_again_and_the_last_word_counts(self):
        rng = seed()
        with Lab(transfers=1, hand_back="at-once") as lab:
            files = random_files(rng, 30, 100_000)
            drive = lab.prepare("ASG", make_tree(lab.root / "source", files))
            filler = lab.prepare("FILL", make_tree(lab.root / "sourceF", {"fill": b"fill"}))
            lab.start()
            lab.create("filler", [filler])
            lab.create("mistaken", [dict(drive, serial="ASG")])
            with lab.held_store() as let_go:
                lab.plug("FILL")
                lab.wait_drive("filler", "FILL", "CopyStatus", "Transferring")
                image = lab.plug("ASG", "DOCK.img")
                lab.wait(lambda: device(lab, image), "the dock to be seen")
                lab.ctl("assign", image, "mistaken")
                lab.wait_drive("mistaken", "ASG", "State", "Received")
                # The disk leaves and comes back, and drayd is started again: it is still the same drive.
                os.rename(image, lab.shelf / "ASG.img")
                lab.wait_drive("mistaken", "ASG", "Device", "/")
                lab.kill_drayd()
                lab.start()
                lab.plug("ASG", "DOCK.img")
                lab.wait(lambda: lab.drive("mistaken", "ASG", "Device") != "/", "the dock to be known again")
                let_go()
            lab.ctl("wait", "mistaken", "--timeout", "120")
            self.assertTrue({f"lab/{n}": d for n, d in files.items()}.items() <= lab.blobs().items())

    def test_a_twin_that_comes_in_mid_copy_does_not_disturb_it(self):
        rng = seed()
        with Lab(hand_back="release") as lab:
            files = random_files(rng, 30, 100_000)
            drive = lab.prepare("TWIN", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("twin", [drive])
            with lab.held_store() as let_go:
                image = lab.plug("TWIN")
                lab.wait_drive("twin", "TWIN", "CopyStatus", "Transferring")
                copy_image(lab, image, "TWIN.raw")
                lab.wait(lambda: device(lab, lab.drives / "TWIN.raw"), "the twin to be seen")
                self.assertIn("TWIN", device(lab, lab.drives / "TWIN.raw")["problem"])
                self.assertEqual(device(lab, image)["problem"], "")
                self.assertEqual(device(lab, lab.drives / "TWIN.raw")["opens"], 0)
                let_go()
            lab.wait_drive("twin", "TWIN", "State", "Completed")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})
            self.assertEqual(device(lab, image)["opens"], 1)

    def test_the_same_image_under_another_id_goes_on_as_the_same_drive(self):
        rng = seed()
        with Lab(hand_back="at-once") as lab:
            files = random_files(rng, 40, 200_000)
            drive = lab.prepare("SAME", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("same", [drive])
            with lab.held_store() as let_go:
                lab.plug("SAME")
                lab.wait_drive("same", "SAME", "CopyStatus", "Transferring")
                first = lab.drive("same", "SAME", "Device")
                lab.unplug("SAME")
                lab.wait_drive("same", "SAME", "State", "Received")
                lab.plug("SAME", "SAME.raw")
                lab.wait(lambda: lab.drive("same", "SAME", "Device") not in ("/", first), "another id")
                let_go()
            lab.ctl("wait", "same", "--timeout", "120")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})


if __name__ == "__main__":
    unittest.main()
