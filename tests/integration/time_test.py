#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What happens for its age alone (azure-import-export.md 2.6; rules.md 3, 20, 21): each timer just before and just after
its deadline, each guard of the clock on both sides, over restarts. The service is drayd's own, around a clock that the
test moves."""

import os
import pathlib
import shutil
import sqlite3
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, make_tree, random_files, seed  # noqa: E402

USEC = 10**6
HOUR = 3600
DAY = 24 * HOUR
# "Just before" has to hold while a slow machine looks.
BEFORE = 10 * 60


class ClockLab(Lab):
    """A Lab whose drayd has a clock of its own, which only moves on by itself as the machine's does."""

    def __init__(self, require_sync=False, lifecycle="hand-back: unplug", **more):
        super().__init__(**more)
        shutil.copy2(pathlib.Path(os.environ["DRAY_BIN"]) / "tests" / "drayd_with_clock", self.bin)
        self.clock = self.root / "clock"
        self.clock.mkdir()
        self.daemon = [self.bin / "drayd_with_clock", "--config", self.config, "--clock", self.clock]
        self.wall = self.boot = 0
        self.synced = 1
        self.moves = 0
        self.require_sync = require_sync
        self.configure(lifecycle)
        self.move()

    def configure(self, lifecycle):
        lines = self.config.read_text().splitlines()
        lines = [line for line in lines if not line.startswith(("lifecycle:", "clock:"))]
        lines += [f"lifecycle: {{{lifecycle}}}", f"clock: {{require-sync: {str(self.require_sync).lower()}}}"]
        self.config.write_text("\n".join(lines) + "\n")

    def restart(self, signal=15):
        self.kill_drayd(signal)
        self.start()

    def start(self):
        super().start()
        self.moves = self.log().count("test clock:")
        return self

    def move(self, wall=0, boot=0, synced=None):
        """Moves the clock and returns when drayd has looked at it."""
        self.wall += wall
        self.boot += boot
        self.synced = self.synced if synced is None else synced
        new = self.clock / "new"
        new.write_text(f"{self.wall} {self.boot} {self.synced}\n")
        os.chmod(new, 0o644)
        os.rename(new, self.clock / "clock")
        if self.drayd is not None:
            self.moves += 1
            self.wait(lambda: self.log().count("test clock:") >= self.moves, "drayd to look at its clock")
            # What it did in the same breath is done when it answers.
            self.busctl("get-property", "org.dray1", "/org/dray1", "org.dray1.Manager", "Version")

    def pass_time(self, seconds):
        self.move(seconds, seconds)

    def now(self):
        return time.time() + self.wall

    def go_to(self, usec, seconds):
        """Time passes until so many seconds after (or before) this point."""
        self.pass_time(int(usec / USEC + seconds - self.now()) + 1)

    def problems(self):
        return self.get("/org/dray1", "Manager", "Problems")

    def traces(self, job):
        """Where a job can still be found on the appliance."""
        found = [str(p) for p in (self.state / "transfers").rglob("*") if job in str(p)]
        database = sqlite3.connect(f"file:{self.state}/catalog.sqlite?mode=ro", uri=True)
        try:
            found += database.execute("SELECT name FROM job WHERE folded=?", (job,)).fetchall()
            found += database.execute("SELECT serial FROM drive_key, job WHERE id=job AND folded=?", (job,)).fetchall()
            found += database.execute("SELECT serial FROM drive_key WHERE job NOT IN (SELECT id FROM job)").fetchall()
        finally:
            database.close()
        for path in self.state.glob("catalog.sqlite*"):
            if job.encode() in path.read_bytes():
                found.append(path.name)
        return found


def drives_of(lab, *serials):
    return [lab.prepare(serial, make_tree(lab.root / f"source{serial}", {f"{serial}.bin": serial.encode() * 1000}))
            for serial in serials]


class Timers(unittest.TestCase):
    def about(self, usec, seconds, what):
        self.assertLess(abs(usec / USEC - seconds), 120, what)

    def make_finished(self, lab, job="done-1", serial="F1"):
        """A job that is Completed, by a whole import."""
        lab.create(job, drives_of(lab, serial))
        lab.plug(serial)
        lab.wait_job(job, "State", "Packaging")
        lab.unplug(serial)
        lab.wait_job(job, "State", "Completed")

    def test_row_2_2_5_a_job_that_is_not_shipped_is_deleted_after_14_days_and_row_3_each_update_starts_them_anew(self):
        with ClockLab() as lab:
            drive, other = drives_of(lab, "U1", "U2")
            lab.start()
            lab.create("early-1", [drive], ship=False)
            self.assertEqual(lab.job("early-1", "Expiry"), "delete")
            self.about(lab.job("early-1", "ExpiresUSec"), lab.now() + 14 * DAY, "14 days from the last change on")
            shown = lab.json("show", "early-1")
            self.assertEqual(shown["expiry"], "delete")
            self.assertTrue(shown["expires"].startswith("20"), shown)
            self.assertIn("Deleted unless shipped by:", lab.ctl("show", "early-1")[0])
            # Rows 2 and 3: what changes the job starts the time anew.
            lab.pass_time(13 * DAY)
            lab.ctl("update", "early-1", "--log-level", "Verbose")
            self.about(lab.job("early-1", "ExpiresUSec"), lab.now() + 14 * DAY, "anew after an update")
            lab.pass_time(13 * DAY)
            lab.ctl("add-drive", "early-1", other["serial"], "--key-file", lab.shelf / "U2.key", "--manifest",
                    other["manifest"], "--manifest-hash", other["manifest-hash"])
            self.about(lab.job("early-1", "ExpiresUSec"), lab.now() + 14 * DAY, "anew after a new drive")
            # A changed setting is for jobs that come later.
            lab.configure("unshipped: 2d")
            lab.restart()
            deadline = lab.job("early-1", "ExpiresUSec")
            self.about(deadline, lab.now() + 14 * DAY, "a deadline is fixed")
            lab.ctl("create", "late-1", "--store", "vault")
            self.about(lab.job("late-1", "ExpiresUSec"), lab.now() + 2 * DAY, "the new setting")
            lab.ctl("update", "late-1", "--carrier", "x")
            lab.go_to(deadline, -BEFORE)
            lab.wait(lambda: lab.job("late-1", "State") is None, "the job whose two days are long over to be deleted")
            self.assertEqual(lab.job("early-1", "State"), "Creating")
            self.assertTrue(lab.traces("early-1"))
            lab.go_to(deadline, 0)
            lab.wait(lambda: lab.job("early-1", "State") is None, "the job to be deleted")
            lab.ctl("show", "early-1", status=4)
            self.assertEqual(lab.traces("early-1"), [])
            self.assertIn("job early-1 was deleted for its age: it was not shipped in its time", lab.log())

    def test_an_unshipped_job_whose_time_ended_while_drayd_was_off_is_deleted_at_the_start(self):
        with ClockLab() as lab:
            lab.start()
            lab.ctl("create", "early-1", "--store", "vault")
            lab.kill_drayd()
            lab.pass_time(14 * DAY + 60)
            lab.start()
            # Not before drives that are plugged in would have been seen.
            lab.wait(lambda: lab.job("early-1", "State") is None, "the job to be deleted")

    def test_row_3_3_specified_to_never_received_by_the_overdue_timer_and_a_late_drive_is_taken(self):
        with ClockLab() as lab:
            drives = drives_of(lab, "O1", "O2")
            lab.start()
            lab.create("late-1", drives)
            deadline = lab.job("late-1", "ExpiresUSec")
            self.assertEqual(lab.job("late-1", "Expiry"), "overdue")
            self.about(deadline, lab.now() + 14 * DAY, "14 days from Ship on")
            self.assertEqual(lab.drive("late-1", "O1", "OverdueUSec"), deadline)
            lab.go_to(deadline, -BEFORE)
            self.assertEqual(lab.drive("late-1", "O1", "State"), "Specified")
            self.assertEqual(lab.job("late-1", "Notice"), "")
            lab.restart(9)
            self.assertEqual(lab.job("late-1", "ExpiresUSec"), deadline)
            lab.go_to(deadline, 0)
            lab.wait_drive("late-1", "O1", "State", "NeverReceived")
            lab.wait_drive("late-1", "O2", "State", "NeverReceived")
            self.assertEqual(lab.job("late-1", "State"), "Shipping", "the job stays as it is")
            self.assertIn("drives O1, O2 are overdue", lab.job("late-1", "Notice"))
            self.assertIn("job late-1: drives O1, O2 are overdue", lab.log())
            self.assertIn("drayctl close late-1", lab.ctl("status")[0])
            self.assertIn("drives O1, O2 are overdue", lab.json("show", "late-1")["notice"])
            # NeverReceived to Received: it turns up after all.
            lab.plug("O1")
            lab.wait_job("late-1", "State", "Packaging")
            self.assertEqual(lab.blobs(), {"lab/O1.bin": b"O1" * 1000})
            self.assertEqual(lab.job("late-1", "Notice"), "")
            lab.unplug("O1")
            lab.wait_job("late-1", "State", "Closed")
            self.assertEqual(lab.drive("late-1", "O2", "State"), "NeverReceived")

    def test_the_overdue_timer_runs_in_transferring_too(self):
        with ClockLab() as lab:
            drives = drives_of(lab, "T1", "T2")
            lab.start()
            lab.create("half-1", drives)
            lab.plug("T1")
            lab.wait_drive("half-1", "T1", "State", "Completed")
            self.assertEqual(lab.job("half-1", "State"), "Transferring", "it waits for the other drive")
            deadline = lab.job("half-1", "ExpiresUSec")
            self.assertEqual(lab.job("half-1", "Expiry"), "overdue")
            lab.go_to(deadline, -BEFORE)
            self.assertEqual(lab.job("half-1", "State"), "Transferring")
            lab.go_to(deadline, 0)
            lab.wait_drive("half-1", "T2", "State", "NeverReceived")
            lab.wait_job("half-1", "State", "Packaging")
            self.assertIn("drive T2 is overdue and counts as never received", lab.log())

    def test_row_2_2_12_shipping_to_closed_by_the_operator_after_30_days_without_a_reply(self):
        with ClockLab() as lab:
            lab.start()
            lab.create("lost-1", drives_of(lab, "L1"))
            lab.go_to(lab.job("lost-1", "ExpiresUSec"), 0)
            lab.wait_job("lost-1", "Expiry", "no-reply")
            deadline = lab.job("lost-1", "ExpiresUSec")
            self.about(deadline, lab.now() + 30 * DAY, "30 days after the notice")
            self.assertIn("To be closed from:", lab.ctl("show", "lost-1")[0])
            lab.restart(9)
            lab.go_to(deadline, -BEFORE)
            self.assertEqual(lab.job("lost-1", "ExpiresUSec"), deadline)
            self.assertNotIn("nobody has done anything", lab.job("lost-1", "Notice"))
            lab.go_to(deadline, 0)
            lab.wait(lambda: "nobody has done anything" in lab.job("lost-1", "Notice"), "the second notice")
            self.assertEqual(lab.job("lost-1", "State"), "Shipping", "closing is for the operator")
            lab.restart()
            self.assertIn("nobody has done anything", lab.job("lost-1", "Notice"))
            lab.ctl("close", "lost-1")
            lab.wait_job("lost-1", "State", "Closed")
            self.assertEqual(lab.job("lost-1", "Notice"), "")

    def test_row_2_2_12_shipping_to_closed_by_itself_where_that_is_configured(self):
        with ClockLab(lifecycle="overdue: 1d, no-reply: 2d, auto-close: true") as lab:
            lab.start()
            lab.create("lost-1", drives_of(lab, "L1"))
            lab.pass_time(DAY + 1)
            lab.wait_job("lost-1", "Expiry", "no-reply")
            deadline = lab.job("lost-1", "ExpiresUSec")
            self.about(deadline, lab.now() + 2 * DAY, "the configured time")
            lab.go_to(deadline, -BEFORE)
            self.assertEqual(lab.job("lost-1", "State"), "Shipping")
            lab.go_to(deadline, 0)
            lab.wait_job("lost-1", "State", "Closed")
            self.assertEqual(lab.job("lost-1", "Outcome"), "completed-with-errors")

    def test_a_drive_that_was_unplugged_is_faulted_after_14_days_and_goes_on_when_it_is_back(self):
        rng = seed()
        with ClockLab() as lab:
            files = random_files(rng, 20, 100_000)
            drive = lab.prepare("A1", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("away-1", [drive])
            with lab.held_store():
                lab.plug("A1")
                lab.wait_drive("away-1", "A1", "CopyStatus", "Transferring")
                self.assertEqual(lab.drive("away-1", "A1", "OverdueUSec"), 0, "it is here")
                self.assertEqual(lab.job("away-1", "Expiry"), "")
                lab.wait(lambda: lab.get("/org/dray1", "Manager", "ActiveTransfers") == 1, "the copy to run")
                time_before = lab.now()
                lab.unplug("A1")
                lab.wait_drive("away-1", "A1", "State", "Received")
            # Only after its sources have settled does drayd know that a drive is not there.
            lab.wait(lambda: lab.drive("away-1", "A1", "OverdueUSec") != 0, "the drive to be missed")
            deadline = lab.drive("away-1", "A1", "OverdueUSec")
            self.about(deadline, time_before + 14 * DAY, "14 days from the unplugging on")
            self.assertEqual(lab.job("away-1", "Expiry"), "fault")
            lab.go_to(deadline, -BEFORE)
            self.assertFalse(lab.drive("away-1", "A1", "Faulted"))
            lab.restart(9)
            lab.wait(lambda: lab.drive("away-1", "A1", "OverdueUSec") == deadline, "the same deadline")
            lab.go_to(deadline, 0)
            lab.wait_drive("away-1", "A1", "Faulted", True)
            self.assertEqual(lab.drive("away-1", "A1", "State"), "Received")
            self.assertIn("has not come back", lab.drive("away-1", "A1", "FaultReason"))
            self.assertTrue(lab.job("away-1", "Faulted"))
            lab.plug("A1")
            lab.wait_job("away-1", "State", "Packaging")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})

    def test_row_2_2_15_completed_and_closed_are_deleted_after_90_days_with_all_that_belongs_to_them(self):
        with ClockLab() as lab:
            lab.start()
            self.make_finished(lab)
            lab.create("lost-1", drives_of(lab, "L1"))
            lab.ctl("close", "lost-1")
            lab.wait_job("lost-1", "State", "Closed")
            blobs, logs = lab.blobs(), lab.logs("done-1")
            self.assertTrue(blobs and logs)
            self.assertTrue((lab.state / "transfers" / "done-1").exists())
            deadlines = {job: lab.job(job, "ExpiresUSec") for job in ("done-1", "lost-1")}
            for job in deadlines:
                self.assertEqual(lab.job(job, "Expiry"), "delete")
                self.about(deadlines[job], lab.now() + 90 * DAY, "90 days")
                self.assertIn("Kept until:", lab.ctl("show", job)[0])
            lab.go_to(deadlines["done-1"], -BEFORE)
            self.assertEqual(lab.job("done-1", "State"), "Completed")
            # The deadline passes while drayd is off.
            lab.kill_drayd(9)
            lab.go_to(deadlines["lost-1"], 0)
            lab.start()
            for job in deadlines:
                lab.wait(lambda job=job: lab.job(job, "State") is None, f"{job} to be deleted")
                lab.ctl("show", job, status=4)
                self.assertEqual(lab.traces(job), [])
            self.assertFalse((lab.state / "transfers" / "done-1").exists())
            self.assertEqual(lab.blobs(), blobs, "what was imported stays")
            self.assertEqual(lab.logs("done-1"), logs, "and so do the logs")

    def test_many_jobs_that_are_due_at_once_all_go(self):
        with ClockLab() as lab:
            lab.start()
            for number in range(50):
                lab.busctl("call", "org.dray1", "/org/dray1", "org.dray1.Manager", "CreateJob", "sssa{sv}",
                           f"job-{number}", "import", "vault", "0")
            self.assertEqual(len(lab.json("list")), 50)
            lab.pass_time(14 * DAY + 60)
            lab.wait(lambda: lab.json("list") == [], "all of them to be deleted")

    def test_what_cannot_be_deleted_is_said_and_tried_again_an_hour_later(self):
        with ClockLab() as lab:
            lab.start()
            self.make_finished(lab)
            if os.getuid() != 0:
                self.skipTest("only root can take a directory away from drayd")
            os.chown(lab.state / "transfers" / "done-1", 0, 0)
            os.chmod(lab.state / "transfers" / "done-1", 0o755)
            lab.pass_time(90 * DAY + 60)
            lab.wait_log("its journals in")
            self.assertEqual(lab.job("done-1", "State"), "Completed")
            lab.pass_time(HOUR - BEFORE)
            self.assertEqual(lab.log().count("its journals in"), 1, "not again and again")
            os.chmod(lab.state / "transfers" / "done-1", 0o777)
            os.chown(lab.state / "transfers" / "done-1", 65534, 65534)
            lab.pass_time(BEFORE)
            lab.wait(lambda: lab.job("done-1", "State") is None, "the job to be deleted")


class Guards(unittest.TestCase):
    """rules.md 21: nothing is done for its age while the clock is not to be trusted."""

    def start_with_a_job_that_is_due(self, lab, after=14 * DAY):
        lab.start()
        lab.ctl("create", "due-1", "--store", "vault")
        self.assertEqual(lab.problems(), [])
        return after

    def assert_held(self, lab, sentence):
        self.assertEqual(lab.job("due-1", "State"), "Creating")
        self.assertEqual(len(lab.problems()), 1)
        self.assertIn(sentence, lab.problems()[0])
        self.assertIn(sentence, lab.ctl("status")[0])
        self.assertIn(sentence, lab.json("status")["needs-a-hand"][0])
        self.assertEqual(lab.log().count(sentence), 1, "logged once")

    def assert_free(self, lab):
        lab.wait(lambda: lab.job("due-1", "State") is None, "the job to be deleted")
        self.assertEqual(lab.problems(), [])
        self.assertNotIn("clock", lab.ctl("status")[0])

    def test_nothing_is_deleted_while_the_clock_is_not_synchronised(self):
        with ClockLab(require_sync=True) as lab:
            self.start_with_a_job_that_is_due(lab)
            lab.move(synced=0)
            lab.pass_time(15 * DAY)
            lab.pass_time(DAY)
            self.assert_held(lab, "the clock is not synchronised")
            lab.move(synced=1)
            self.assert_free(lab)
            self.assertIn("the clock is trusted again", lab.log())

    def test_it_is_deleted_on_a_site_without_a_time_server_that_says_so(self):
        with ClockLab(require_sync=False) as lab:
            self.start_with_a_job_that_is_due(lab)
            lab.move(synced=0)
            lab.pass_time(15 * DAY)
            self.assert_free(lab)

    def test_nothing_is_deleted_for_a_day_after_the_clock_was_set_by_more_than_an_hour(self):
        with ClockLab(require_sync=True) as lab:
            self.start_with_a_job_that_is_due(lab)
            lab.move(wall=15 * DAY)
            self.assert_held(lab, "the clock was set forward by")
            lab.pass_time(DAY - BEFORE)
            self.assert_held(lab, "the clock was set forward by")
            lab.restart(9)
            self.assertEqual(lab.job("due-1", "State"), "Creating", "a restart does not help")
            self.assertIn("the clock was set forward by", lab.problems()[0])
            lab.pass_time(BEFORE + 60)
            self.assert_free(lab)

    def test_it_is_deleted_when_the_clock_was_set_by_less(self):
        with ClockLab(require_sync=True) as lab:
            self.start_with_a_job_that_is_due(lab)
            lab.pass_time(14 * DAY - HOUR + 2 * BEFORE)
            self.assertEqual(lab.job("due-1", "State"), "Creating")
            lab.move(wall=HOUR - BEFORE)
            self.assert_free(lab)

    def test_nothing_is_deleted_for_a_day_after_a_start_more_than_30_days_after_the_last_time_seen(self):
        with ClockLab(require_sync=True) as lab:
            self.start_with_a_job_that_is_due(lab)
            lab.kill_drayd(9)
            lab.pass_time(30 * DAY + 2 * BEFORE)
            lab.start()
            self.assert_held(lab, "drayd had not run for 30d")
            lab.pass_time(DAY - BEFORE)
            self.assert_held(lab, "drayd had not run for 30d")
            lab.pass_time(BEFORE + 60)
            self.assert_free(lab)

    def test_it_is_deleted_at_a_start_less_than_30_days_after(self):
        with ClockLab(require_sync=True) as lab:
            self.start_with_a_job_that_is_due(lab)
            lab.kill_drayd(9)
            lab.pass_time(30 * DAY - 2 * BEFORE)
            lab.start()
            self.assert_free(lab)

    def test_a_guard_holds_the_other_timers_too(self):
        with ClockLab(require_sync=True) as lab:
            drive = drives_of(lab, "G1")
            lab.start()
            lab.create("ship-1", drive)
            lab.move(wall=20 * DAY)
            self.assertEqual(lab.drive("ship-1", "G1", "State"), "Specified")
            lab.pass_time(DAY + 60)
            lab.wait_drive("ship-1", "G1", "State", "NeverReceived")


if __name__ == "__main__":
    unittest.main()
