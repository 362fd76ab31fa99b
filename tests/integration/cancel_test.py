#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Cancelling drains: what runs is brought to its end, what has not begun is never opened (rules.md 31)."""

import json
import os
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402

USEC_90_DAYS = 90 * 86400 * 10**6


def opens(lab, serial):
    """drayd's own counter of how often the device was opened."""
    for device in lab.json("devices"):
        if device["serial"] == serial:
            return device["opens"]
    return None


def uploaded(lab):
    """Bytes that lie in the store without a name."""
    return sum(path.stat().st_size for path in (lab.vault / ".dray" / "uploads").iterdir())


class Cancel(unittest.TestCase):
    def start_three(self, lab, rng, count=200):
        """Three drives, one transfer at a time, the first in mid-copy against a held store."""
        drives, files = [], {}
        for serial in ("A", "B", "C"):
            files[serial] = random_files(rng, count, 200_000, f"{serial}/f")
            drives.append(lab.prepare(serial, make_tree(lab.root / f"source{serial}", files[serial])))
        lab.start()
        lab.create("trio", drives)
        return files

    def plug_all(self, lab):
        """Plugs all in and returns (running, [waiting, waiting]) once one is in mid-copy."""
        for serial in ("A", "B", "C"):
            lab.plug(serial)
        states = lambda: {s: lab.drive("trio", s, "State") for s in ("A", "B", "C")}  # noqa: E731
        lab.wait(lambda: sorted(states().values()) == ["Received", "Received", "Transferring"], "one drive to run")
        running = next(s for s, state in states().items() if state == "Transferring")
        lab.wait_drive("trio", running, "CopyStatus", "Transferring")
        return running, [s for s in ("A", "B", "C") if s != running]

    def test_cancel_during_the_first_of_three_drains_it_and_never_opens_the_others(self):
        self.check_drain()

    def test_the_same_fails_where_a_drain_ends_before_its_drive(self):
        # The test of the test: with a shorter drain as the site's default the drive in hand does not arrive whole.
        with self.assertRaisesRegex(AssertionError, "the drive in hand has arrived whole"):
            self.check_drain("cancel: {drain: piece}\n")

    def check_drain(self, extra=""):
        rng = seed()
        with Lab(transfers=1, extra=extra) as lab:
            files = self.start_three(lab, rng)
            with lab.held_store() as let_go:
                running, waiting = self.plug_all(lab)
                # Really between its first and its last byte: some of it lies in the store, and not all of it.
                lab.wait(lambda: uploaded(lab) > 0, "content of the first drive to be in the store")
                self.assertLess(uploaded(lab), sum(map(len, files[running].values())))
                atime = {s: os.stat(lab.drives / f"{s}.img").st_atime_ns for s in waiting}
                self.assertEqual(lab.blobs(), {}, "the store is held, so nothing can be there yet")
                self.assertEqual(opens(lab, running), 1)
                for serial in waiting:
                    self.assertEqual(opens(lab, serial), 0)

                done = lab.busctl("call", "org.dray1", "/org/dray1/job/trio", "org.dray1.Job", "Cancel", "a{sv}", "0")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertTrue(lab.job("trio", "CancelRequested"))
                self.assertTrue(lab.drive("trio", running, "Draining"))
                self.assertEqual(lab.drive("trio", running, "State"), "Transferring")
                self.assertEqual(lab.job("trio", "State"), "Transferring", "it drains before it goes on")
                for serial in waiting:
                    self.assertEqual(lab.drive("trio", serial, "State"), "CompletedMoreInfo")
                    self.assertEqual(lab.drive("trio", serial, "CopyStatus"), "Cancelled")
                # A repeated cancel succeeds, a new ship does not.
                lab.ctl("cancel", "trio")
                lab.ctl("ship", "trio", status=1)
                lab.ctl("delete", "trio", status=1)
                let_go()
            lab.wait_job("trio", "State", "Packaging")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files[running].items()},
                             "the drive in hand has arrived whole, the others not at all")
            self.assertEqual(lab.drive("trio", running, "State"), "Completed")
            self.assertFalse(lab.drive("trio", running, "Draining"))
            for serial in waiting:
                self.assertEqual(opens(lab, serial), 0, "never opened")
                self.assertEqual(os.stat(lab.drives / f"{serial}.img").st_atime_ns, atime[serial])
            for serial in ("A", "B", "C"):
                lab.unplug(serial)
            lab.wait_job("trio", "State", "Completed")
            self.assertTrue(lab.job("trio", "CancelRequested"))
            self.assertEqual(lab.job("trio", "Outcome"), "cancelled")
            self.assertEqual(lab.job("trio", "ExpiresUSec") - lab.job("trio", "CompletedUSec"), USEC_90_DAYS)
            self.assertEqual(lab.ctl("wait", "trio", "--timeout", "30", status=None)[2], 3)
            self.assertEqual(len(lab.logs("trio")), 1, "drives never opened get no log")

    def test_draining_goes_on_after_a_kill_of_drayd(self):
        rng = seed()
        with Lab(transfers=1) as lab:
            files = self.start_three(lab, rng)
            with lab.held_store() as let_go:
                running, waiting = self.plug_all(lab)
                lab.ctl("cancel", "trio")
                lab.kill_drayd()
                lab.start()
                self.assertTrue(lab.job("trio", "CancelRequested"))
                lab.wait_drive("trio", running, "CopyStatus", "Transferring")
                self.assertTrue(lab.drive("trio", running, "Draining"))
                let_go()
            lab.wait_job("trio", "State", "Packaging")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files[running].items()})
            for serial in waiting:
                self.assertEqual(opens(lab, serial), 0)

    def test_drain_blob_and_piece_end_early_and_leave_nothing_half_done(self):
        rng = seed()
        for mode in ("blob", "piece"):
            with self.subTest(mode=mode), Lab(transfers=1) as lab:
                # More than may be in hand at once (128): with the store held, some are surely not begun.
                files = random_files(rng, 200, 30_000, "small/f")
                files.update({f"large{n}.bin": rng.randbytes(30 * MIB) for n in range(4)})
                drive = lab.prepare("D", make_tree(lab.root / "source", files))
                lab.start()
                lab.create("job-d", [drive])
                with lab.held_store() as let_go:
                    lab.plug("D")
                    lab.wait_drive("job-d", "D", "CopyStatus", "Transferring")
                    lab.ctl("cancel", "job-d", "--drain", "drive")
                    lab.ctl("cancel", "job-d", "--drain", mode)
                    self.assertEqual(lab.job("job-d", "Drain"), mode)
                    # It may only tighten.
                    lab.ctl("cancel", "job-d", "--drain", "drive", status=None)
                    self.assertEqual(lab.job("job-d", "Drain"), mode)
                    let_go()
                lab.wait_job("job-d", "State", "Packaging")
                found = lab.blobs()
                expected = {f"lab/{name}": data for name, data in files.items()}
                self.assertTrue(found.items() <= expected.items(), "what is there is whole")
                self.assertLess(len(found), len(expected), "and not everything is there")
                uploads = lab.vault / ".dray" / "uploads"
                self.assertEqual([p.name for p in uploads.rglob("*")] if uploads.exists() else [], [],
                                 "nothing uncommitted is left in the store")
                self.assertEqual(lab.drive("job-d", "D", "State"), "CompletedMoreInfo")
                self.assertEqual(lab.drive("job-d", "D", "CopyStatus"), "Cancelled")
                log = xml.parse(lab.logs("job-d")[0]).getroot()
                missing = {b.findtext("BlobPath") for b in log.findall("Blob")}
                self.assertEqual(missing, expected.keys() - found.keys(), "the log names all that is missing")

    def test_cancel_where_no_drive_is_here_completes_at_once(self):
        with Lab() as lab:
            drive = lab.prepare("N", make_tree(lab.root / "source", {"a": b"x"}))
            lab.start()
            lab.create("creating", [drive], ship=False)
            lab.ctl("cancel", "creating")
            lab.wait_job("creating", "State", "Completed")
            self.assertEqual(lab.drive("creating", "N", "State"), "Specified")
            lab.create("shipping", [drive])
            lab.ctl("cancel", "shipping")
            lab.wait_job("shipping", "State", "Completed")
            lab.ctl("delete", "creating")
            lab.ctl("show", "creating", status=4)

    def test_pulling_a_draining_drive_ends_the_drain(self):
        rng = seed()
        with Lab() as lab:
            drive = lab.prepare("P", make_tree(lab.root / "source", random_files(rng, 40, 100_000)))
            lab.start()
            lab.create("job-p", [drive])
            with lab.held_store() as let_go:
                lab.plug("P")
                lab.wait_drive("job-p", "P", "CopyStatus", "Transferring")
                lab.ctl("cancel", "job-p")
                lab.unplug("P")
                let_go()
            lab.wait_job("job-p", "State", "Completed")
            self.assertEqual(lab.drive("job-p", "P", "CopyStatus"), "Cancelled")


if __name__ == "__main__":
    unittest.main()
