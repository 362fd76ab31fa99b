#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is taken away comes back and goes on: an image under another name, a daemon in mid-drain, a store."""

import os
import re
import signal
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from crash_lab import CrashLab  # noqa: E402
from lab import MIB, UID, Lab, encode, make_tree, random_files, seed  # noqa: E402

PIECE = 64 * 1024
REQUESTS = 16
# As in crash_test.py: asked for or being put, and put without a record in the journal.
IN_FLIGHT = 2 * REQUESTS + 128
UPLOAD = "????????????????-*"


class Resume(unittest.TestCase):
    def setUp(self):
        self.rng = seed()

    def lab_in_mid_copy(self, lab, job):
        """A drive of 4 x 12 MiB and 100 small blobs, and a thread standing at a piece of it. Returns {blob: content}."""
        files = {f"large{n}": self.rng.randbytes(12 * MIB) for n in range(4)}
        files.update(random_files(self.rng, 100, PIECE, "small/f"))
        drive = lab.prepare("X", make_tree(lab.root / "source", files), "lab", "--block-size", "64KiB")
        lab.start()
        lab.create(job, [drive])
        lab.points.forget()
        self.pieces = sum(-(-len(data) // PIECE) for data in files.values())
        lab.points.stop_at("w", UPLOAD, self.rng.randrange(200, 600))
        lab.plug("X")
        lab.wait(lab.points.is_reached, "a piece to be put")
        lab.wait_drive(job, "X", "CopyStatus", "Transferring")
        self.assertTrue(0 < len(lab.points.puts(PIECE)) < self.pieces, "between first and last byte")
        return {f"lab/{name}": data for name, data in files.items()}

    def check_end(self, lab, job):
        """No state that the tables do not allow, nothing uncommitted, and few pieces put twice."""
        path = f"/org/dray1/job/{encode(job)}"
        lab.wait(lambda: lab.states[path][-1] == lab.job(job, "State"), "the monitor to have seen the end")
        self.assertEqual(lab.wrong_steps, [])
        self.assertEqual(lab.uploads(), [], "nothing uncommitted is left in the store")
        puts = lab.points.puts(PIECE)
        twice = sum(puts.values()) - len(puts)
        print(f"{job}: {twice} of {len(puts)} pieces put twice", flush=True)
        self.assertLessEqual(twice, IN_FLIGHT)

    def test_an_image_pulled_in_mid_copy_goes_on_under_another_name(self):
        with CrashLab(hand_back="at-once", transfers=None, extra=f"transfers: {{requests: {REQUESTS}}}\n") as lab:
            expected = self.lab_in_mid_copy(lab, "job-x")
            lab.unplug("X")
            lab.points.let_go()
            lab.wait_drive("job-x", "X", "State", "Received")
            self.assertEqual(lab.drive("job-x", "X", "Device"), "/")
            self.assertFalse(lab.drive("job-x", "X", "Faulted"))
            lab.plug("X", "X.raw")
            lab.wait_job("job-x", "State", "Completed")
            self.assertEqual(lab.blobs(), expected)
            self.assertEqual(lab.drive("job-x", "X", "CopyStatus"), "Completed")
            self.assertIn(["Specified", "Received", "Transferring", "Received", "Transferring", "Completed",
                           "ShippedBack"], [lab.states["/org/dray1/job/job_2dx/drive/X"]])
            self.check_end(lab, "job-x")

    def test_pulling_a_draining_drive_ends_the_drain(self):
        with CrashLab(transfers=None, extra=f"transfers: {{requests: {REQUESTS}}}\n") as lab:
            expected = self.lab_in_mid_copy(lab, "job-x")
            lab.ctl("cancel", "job-x", "--drain", "drive")
            self.assertTrue(lab.drive("job-x", "X", "Draining"))
            lab.unplug("X")
            lab.points.let_go()
            lab.wait_job("job-x", "State", "Completed")
            lab.wait(lambda: lab.states["/org/dray1/job/job_2dx/drive/X"][-1] == "ShippedBack", "the monitor to have seen the end")
            self.assertEqual(lab.states["/org/dray1/job/job_2dx/drive/X"],
                             ["Specified", "Received", "Transferring", "Received", "CompletedMoreInfo", "ShippedBack"])
            self.assertEqual(lab.drive("job-x", "X", "CopyStatus"), "Cancelled")
            self.assertEqual(lab.drive("job-x", "X", "Outcome"), "cancelled")
            self.assertEqual(lab.job("job-x", "Outcome"), "cancelled")
            self.assertFalse(lab.drive("job-x", "X", "Draining"))
            self.check_log(lab, "job-x", expected)
            self.check_end(lab, "job-x")
            # It is over: the same drive in again is nobody's.
            lab.plug("X")
            lab.wait(lambda: lab.json("devices"), "the image to be seen")
            self.assertEqual(lab.json("devices")[0]["opens"], 0)

    def check_log(self, lab, job, expected):
        """Blobs that are there are whole, and the error log names exactly those that are not."""
        found = lab.blobs()
        self.assertTrue(found.items() <= expected.items(), "what is there is whole")
        logs = lab.logs(job)
        self.assertEqual(len(logs), 1)
        missing = {blob.findtext("BlobPath") for blob in xml.parse(logs[0]).getroot().findall("Blob")}
        self.assertEqual(missing, expected.keys() - found.keys())
        return found

    def test_draining_survives_drayd_in_every_mode(self):
        for mode, number in (("drive", signal.SIGKILL), ("blob", signal.SIGKILL), ("piece", signal.SIGKILL),
                             ("drive", signal.SIGTERM), ("blob", signal.SIGTERM), ("piece", signal.SIGTERM)):
            with self.subTest(mode=mode, signal=number), \
                    CrashLab(transfers=None, extra=f"transfers: {{requests: {REQUESTS}}}\n") as lab:
                expected = self.lab_in_mid_copy(lab, "job-x")
                lab.ctl("cancel", "job-x", "--drain", mode)
                self.assertTrue(lab.drive("job-x", "X", "Draining"))
                if number == signal.SIGTERM:
                    lab.points.let_go()
                    self.assertEqual(lab.kill_drayd(number), 0)
                    lab.start()
                else:
                    self.assertTrue(lab.kill_now("drayd"))
                begun = {name for name, _ in lab.points.puts(PIECE)}
                self.assertTrue(lab.job("job-x", "CancelRequested"))
                self.assertEqual(lab.job("job-x", "Drain"), mode)
                lab.wait_job("job-x", "State", "Packaging")
                found = self.check_log(lab, "job-x", expected)
                after = {name for name, _ in lab.points.puts(PIECE)}
                if mode == "drive":
                    self.assertEqual(found, expected, "the drive in hand is brought to its end")
                    self.assertEqual(lab.drive("job-x", "X", "CopyStatus"), "Completed")
                else:
                    # Of what was in hand (about to be committed, says the journal), some had no byte in the store yet.
                    self.assertLessEqual(len(after - begun), 2 * REQUESTS if mode == "blob" else 0,
                                         "no blob is begun after the restart")
                    self.assertLess(len(found), len(expected))
                    self.assertEqual(lab.drive("job-x", "X", "CopyStatus"), "Cancelled")
                if mode == "blob":
                    # large0 to large3 are the blobs 0 to 3.
                    whole = {name for name in begun if int(name.split("-")[1]) < 4}
                    self.assertTrue(whole)
                    self.assertTrue({f"lab/large{name.split('-')[1]}" for name in whole} <= found.keys(),
                                    "what was begun is brought to its end")
                self.assertFalse(lab.drive("job-x", "X", "Draining"))
                lab.unplug("X")
                lab.wait_job("job-x", "State", "Completed")
                self.assertEqual(lab.job("job-x", "Outcome"), "cancelled")
                self.check_end(lab, "job-x")

    def test_a_store_that_is_not_mounted_is_a_fault_and_no_new_store(self):
        with Lab(hand_back="at-once") as lab:
            source = make_tree(lab.root / "source", {"a": b"content"})
            drives = [lab.prepare(serial, source, "lab", "--disposition", "overwrite") for serial in ("ONE", "TWO")]
            lab.start()
            lab.create("one", [drives[0]])
            lab.plug("ONE")
            lab.ctl("wait", "one", "--timeout", "60")

            # Its file system is not mounted: what is left is the mount point.
            away = lab.root / "away"
            os.rename(lab.vault, away)
            lab.vault.mkdir()
            if os.getuid() == 0:
                os.chown(lab.vault, UID, UID)
            # Known over a restart, too.
            lab.kill_drayd()
            lab.start()
            lab.create("two", [drives[1]])
            lab.plug("TWO")
            lab.wait_drive("two", "TWO", "Faulted", True)
            self.assertEqual(lab.drive("two", "TWO", "State"), "Received")
            reason = lab.drive("two", "TWO", "FaultReason")
            self.assertIn("mount what belongs there", reason)
            self.assertEqual(list(lab.vault.iterdir()), [], "nothing goes onto the disk below the mount point")
            out, _, status = lab.ctl("stores", status=None)
            self.assertEqual(status, 1)
            self.assertIn("mount what belongs there", re.sub(r"\s+", " ", out))

            lab.vault.rmdir()
            os.rename(away, lab.vault)
            lab.ctl("stores")
            lab.ctl("retry", "two", "TWO")
            lab.ctl("wait", "two", "--timeout", "60", status=None)
            self.assertEqual(lab.blobs(), {"lab/a": b"content"})
            self.assertEqual(lab.drive("two", "TWO", "State"), "ShippedBack")

            # On purpose: the operator's word.
            os.rename(lab.vault, away)
            (lab.vault / ".dray").mkdir(parents=True)
            if os.getuid() == 0:
                os.chown(lab.vault, UID, UID)
                os.chown(lab.vault / ".dray", UID, UID)
            lab.ctl("stores")
            self.assertTrue((lab.vault / ".dray" / "store.json").exists())


if __name__ == "__main__":
    unittest.main()
