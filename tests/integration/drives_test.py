#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Several drives that come at different times (rules.md 3): order of work, Close, late and extra drives, handing back."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, make_tree, random_files, seed  # noqa: E402


def device(lab, serial):
    return next((d for d in lab.json("devices") if d["serial"] == serial), None)


class Drives(unittest.TestCase):
    def drive(self, lab, serial):
        return lab.prepare(serial, make_tree(lab.root / f"source{serial}", {f"{serial}/a": serial.encode()}))

    def test_a_job_goes_through_all_its_states_as_its_drives_come_and_go(self):
        """2.2 #1, #4, #6, #8, #9, #10; 3.3: Specified, Received, Transferring, Completed, ShippedBack."""
        with Lab(transfers=1) as lab:
            drives = [self.drive(lab, s) for s in ("A", "B")]
            lab.start()
            lab.create("life", drives, ship=False)
            self.assertEqual(lab.job("life", "State"), "Creating")
            self.assertEqual(lab.drive("life", "A", "State"), "Specified")
            with lab.held_store() as let_go:
                # 2.7: nothing is done with a drive that comes early, and it is said why.
                lab.plug("A")
                lab.wait(lambda: device(lab, "A"), "A to be seen")
                lab.wait(lambda: "early" in device(lab, "A")["problem"], "A to be early")
                self.assertEqual(lab.drive("life", "A", "State"), "Specified")
                self.assertEqual(device(lab, "A")["opens"], 0)
                lab.ctl("ship", "life")
                # 2.2 #7: work begins before all have come.
                lab.wait_drive("life", "A", "CopyStatus", "Transferring")
                self.assertEqual(lab.job("life", "State"), "Transferring")
                self.assertEqual(lab.drive("life", "B", "State"), "Specified")
                lab.plug("B")
                lab.wait_drive("life", "B", "State", "Received")
                self.assertEqual(lab.drive("life", "B", "CopyStatus"), "", "absent until it is transferring")
                let_go()
            lab.wait_drive("life", "B", "State", "Completed")
            lab.wait_job("life", "State", "Packaging")
            self.assertEqual(lab.job("life", "Percent"), 100)
            for serial in ("A", "B"):
                self.assertEqual(lab.drive("life", serial, "CopyStatus"), "Completed")
                lab.unplug(serial)
                lab.wait_drive("life", serial, "State", "ShippedBack")
                self.assertEqual(lab.drive("life", serial, "Outcome"), "completed", "kept when it is handed back")
            lab.wait_job("life", "State", "Completed")

    def test_all_drives_are_here_before_a_slot_is_free(self):
        """2.2 #6 Shipping to Received, #8 Received to Transferring; #13 cancelled in Received: Packaging."""
        with Lab(transfers=1) as lab:
            drives = [self.drive(lab, s) for s in ("A", "B", "C")]
            lab.start()
            lab.create("first", [drives[0]])
            lab.create("second", [drives[1]])
            lab.create("third", [drives[2]])
            with lab.held_store() as let_go:
                lab.plug("A")
                lab.wait_drive("first", "A", "CopyStatus", "Transferring")
                for serial, job in (("B", "second"), ("C", "third")):
                    lab.plug(serial)
                    lab.wait_job(job, "State", "Received")
                    self.assertEqual(lab.drive(job, serial, "State"), "Received")
                lab.ctl("cancel", "third")
                lab.wait_job("third", "State", "Packaging")
                self.assertEqual(lab.drive("third", "C", "State"), "CompletedMoreInfo")
                self.assertEqual(lab.drive("third", "C", "CopyStatus"), "Cancelled")
                self.assertEqual(device(lab, "C")["opens"], 0)
                lab.ctl("cancel", "second")  # #13 once more, then it is handed back: Completed
                lab.unplug("B")
                lab.wait_job("second", "State", "Completed")
                self.assertEqual(lab.job("second", "Outcome"), "cancelled")
                let_go()
            lab.wait_job("first", "State", "Packaging")
            self.assertEqual(set(lab.blobs()), {"lab/A/a"})

    def test_work_goes_by_ship_time_and_passes_over_jobs_without_a_drive(self):
        with Lab(transfers=1, hand_back="at-once") as lab:
            drives = {s: self.drive(lab, s) for s in ("A", "B", "C", "D")}
            lab.start()
            # Shipped in the order absent, late, early; created the other way round.
            lab.create("early", [drives["B"]], ship=False)
            lab.create("late", [drives["C"]], ship=False)
            lab.create("absent", [drives["D"]], ship=False)
            lab.create("running", [drives["A"]])
            with lab.held_store() as let_go:
                lab.plug("A")
                lab.wait_drive("running", "A", "CopyStatus", "Transferring")
                for job in ("absent", "late", "early"):
                    lab.ctl("ship", job)
                lab.plug("B")
                lab.plug("C")
                lab.wait_drive("early", "B", "State", "Received")
                lab.wait_drive("late", "C", "State", "Received")
                let_go()
            for job in ("running", "late", "early"):
                lab.ctl("wait", job, "--timeout", "120")
            self.assertEqual(lab.job("absent", "State"), "Shipping")
            started = [line for line in lab.log().splitlines() if "Transferring after Received" in line and "drive" in line]
            order = [next(s for s in "ABC" if f"drive {s}:" in line) for line in started]
            self.assertEqual(order, ["A", "C", "B"])

    def test_a_resumed_drive_goes_before_fresh_ones(self):
        rng = seed()
        with Lab(transfers=1, hand_back="at-once") as lab:
            files = random_files(rng, 30, 100_000)
            drives = [self.drive(lab, "A"), lab.prepare("Z", make_tree(lab.root / "sourceZ", files))]
            lab.start()
            lab.create("first", [drives[0]], ship=False)
            lab.create("second", [drives[1]], ship=False)
            lab.ctl("ship", "first")
            lab.ctl("ship", "second")
            with lab.held_store() as let_go:
                lab.plug("Z")
                lab.wait_drive("second", "Z", "CopyStatus", "Transferring")
                lab.plug("A")
                lab.wait_drive("first", "A", "State", "Received")
                lab.kill_drayd()
                lab.start()
                # Though its job was shipped later and its serial comes later.
                lab.wait_drive("second", "Z", "CopyStatus", "Transferring")
                self.assertEqual(lab.drive("first", "A", "State"), "Received")
                let_go()
            for job in ("first", "second"):
                lab.ctl("wait", job, "--timeout", "120")

    def test_close_says_that_no_further_drive_will_come(self):
        """2.2 #6 with a drive NeverReceived, #11; 3.3 Specified to NeverReceived, NeverReceived to Received."""
        with Lab(transfers=1) as lab:
            drives = [self.drive(lab, s) for s in ("A", "B", "C")]
            lab.start()
            lab.create("part", drives, ship=False)
            self.assertIn("Creating", lab.ctl("close", "part", status=1)[1])
            lab.ctl("ship", "part")
            with lab.held_store() as let_go:
                lab.plug("A")
                lab.wait_drive("part", "A", "CopyStatus", "Transferring")
                lab.ctl("close", "part")
                for serial in ("B", "C"):
                    self.assertEqual(lab.drive("part", serial, "State"), "NeverReceived")
                lab.ctl("close", "part")  # once more changes nothing
                # Before Packaging a drive that turns up late is taken all the same.
                lab.plug("B")
                lab.wait_drive("part", "B", "State", "Received")
                let_go()
            lab.wait_job("part", "State", "Packaging")
            self.assertEqual(set(lab.blobs()), {"lab/A/a", "lab/B/a"})
            # In Packaging it is only shown, with a reason.
            lab.plug("C")
            lab.wait(lambda: device(lab, "C"), "C to be seen")
            self.assertIn("too late", device(lab, "C")["problem"])
            self.assertEqual(lab.drive("part", "C", "State"), "NeverReceived")
            self.assertEqual(device(lab, "C")["opens"], 0)
            lab.unplug("A")
            lab.unplug("B")
            lab.wait_job("part", "State", "Closed")  # a drive never came
            self.assertEqual(lab.job("part", "Outcome"), "completed-with-errors")
            self.assertEqual(lab.ctl("wait", "part", status=None)[2], 3)

    def test_a_job_whose_drives_never_came_is_closed(self):
        """2.2 #12 Shipping to Closed."""
        with Lab() as lab:
            drives = [self.drive(lab, "A")]
            lab.start()
            lab.create("lost", drives)
            lab.ctl("close", "lost")
            lab.wait_job("lost", "State", "Closed")
            self.assertEqual(lab.drive("lost", "A", "State"), "NeverReceived")
            lab.plug("A")
            lab.wait(lambda: device(lab, "A"), "A to be seen")
            self.assertRegex(device(lab, "A")["problem"], "lost.*Closed")
            self.assertEqual(lab.drive("lost", "A", "State"), "NeverReceived")
            lab.ctl("delete", "lost")  # 2.2 #15 by the client

    def test_a_received_drive_that_is_unplugged_stays_received(self):
        with Lab(transfers=1, hand_back="at-once") as lab:
            drives = [self.drive(lab, s) for s in ("A", "B")]
            lab.start()
            lab.create("pair", drives)
            with lab.held_store() as let_go:
                lab.plug("A")
                lab.wait_drive("pair", "A", "CopyStatus", "Transferring")
                lab.plug("B")
                lab.wait_drive("pair", "B", "State", "Received")
                lab.wait(lambda: lab.drive("pair", "B", "Device") != "/", "B's device")
                self.assertEqual(lab.job("pair", "DrivesHere"), 2)
                lab.unplug("B")
                lab.wait_drive("pair", "B", "Device", "/")
                self.assertEqual(lab.drive("pair", "B", "State"), "Received")
                self.assertFalse(lab.drive("pair", "B", "Faulted"))
                self.assertEqual(lab.job("pair", "DrivesHere"), 1)
                let_go()
            lab.wait_drive("pair", "A", "State", "ShippedBack")
            self.assertEqual(lab.job("pair", "State"), "Transferring", "it waits for B")
            self.assertIn("not faulted", lab.ctl("release", "pair", "B", status=1)[1])
            lab.plug("B")
            lab.ctl("wait", "pair", "--timeout", "120")

    def test_a_finished_drive_is_handed_back_while_its_job_goes_on(self):
        with Lab(hand_back="release") as lab:
            drives = [self.drive(lab, s) for s in ("A", "B")]
            lab.start()
            lab.create("duo", drives)
            self.assertIn("has not come", lab.ctl("release", "duo", "A", status=1)[1])
            lab.plug("A")
            lab.wait_drive("duo", "A", "State", "Completed")
            lab.unplug("A")  # not what hands back here
            lab.wait_drive("duo", "A", "Device", "/")
            self.assertEqual(lab.drive("duo", "A", "State"), "Completed")
            lab.ctl("release", "duo", "A")
            self.assertEqual(lab.drive("duo", "A", "State"), "ShippedBack")
            self.assertEqual(lab.job("duo", "State"), "Transferring")
            lab.ctl("release", "duo", "A")  # once more changes nothing
            lab.plug("A")
            lab.wait(lambda: device(lab, "A"), "A to be back")
            self.assertIn("handed this drive back", device(lab, "A")["problem"])
            lab.plug("B")
            lab.wait_job("duo", "State", "Packaging")
            lab.ctl("release", "duo", "B")
            lab.wait_job("duo", "State", "Completed")

    def test_extra_drives_are_shown_and_left_alone(self):
        with Lab(hand_back="at-once") as lab:
            drive = self.drive(lab, "A")
            self.drive(lab, "X")
            lab.start()
            lab.create("one", [drive])
            lab.plug("X")
            lab.plug("A")
            lab.ctl("wait", "one", "--timeout", "120")
            extra = device(lab, "X")
            self.assertEqual((extra["job"], extra["opens"]), ("", 0))
            self.assertEqual(set(lab.blobs()), {"lab/A/a"})

    def test_cancelled_drives_that_wait_are_turned_away_after_a_restart_too(self):
        rng = seed()
        with Lab(transfers=1) as lab:
            files = random_files(rng, 30, 100_000)
            drive = lab.prepare("W", make_tree(lab.root / "sourceW", files))
            lab.start()
            lab.create("wait", [drive])
            with lab.held_store() as let_go:
                lab.plug("W")
                lab.wait_drive("wait", "W", "CopyStatus", "Transferring")
                lab.unplug("W")  # begun, and its disk is away when the cancel comes
                lab.wait_drive("wait", "W", "State", "Received")
                self.assertEqual(lab.drive("wait", "W", "CopyStatus"), "", "nothing is under way")
                # The process that clears up is held with the store, and dies with drayd.
                lab.ctl("cancel", "wait")
                lab.kill_drayd()
                let_go()
            lab.start()
            lab.wait_drive("wait", "W", "Outcome", "cancelled")
            self.assertEqual(lab.drive("wait", "W", "CopyStatus"), "Cancelled")
            lab.wait_job("wait", "State", "Completed")
            self.assertEqual(len(lab.logs("wait")), 1, "what it had begun is told of")
            found, expected = lab.blobs(), {f"lab/{n}": d for n, d in files.items()}
            self.assertTrue(found.items() <= expected.items())

    def test_lists_for_scripts_say_all_that_a_state_does_not(self):
        with Lab() as lab:
            drive = self.drive(lab, "A")
            lab.start()
            lab.create("job", [drive])
            listed = next(j for j in lab.json("list") if j["job"] == "job")
            self.assertEqual((listed["cancel-requested"], listed["outcome"], listed["faulted"]), (False, "", False))
            lab.ctl("cancel", "job")
            lab.wait_job("job", "State", "Completed")
            listed = next(j for j in lab.json("list") if j["job"] == "job")
            self.assertEqual((listed["cancel-requested"], listed["outcome"]), (True, "cancelled"))
            shown = lab.json("show", "job")["drives"][0]
            self.assertEqual((shown["faulted"], shown["draining"], shown["device"]), (False, False, ""))


if __name__ == "__main__":
    unittest.main()
