#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of anything at any moment: every blob right, nothing more than that, and no wrong state."""

import os
import shutil
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402

KILLS = int(os.environ.get("DRAY_TEST_KILLS", "10"))


class Crash(unittest.TestCase):
    def setUp(self):
        self.rng = seed()

    def test_a_killed_pair_goes_on_at_the_next_piece(self):
        for victim in ("dray-drive", "dray-transfer", "drayd"):
            with self.subTest(victim), Lab(hand_back="at-once") as lab:
                files = {f"large{n}": self.rng.randbytes(12 * MIB) for n in range(3)}
                files.update(random_files(self.rng, 100, 50_000, "small/f"))
                drive = lab.prepare("V", make_tree(lab.root / "source", files))
                lab.start()
                lab.create("job-v", [drive])
                with lab.held_store() as let_go:
                    lab.plug("V")
                    lab.wait_drive("job-v", "V", "CopyStatus", "Transferring")
                    self.assertEqual(lab.blobs(), {}, "the kill falls before the last byte")
                    if victim == "drayd":
                        lab.kill_drayd()
                        lab.start()
                    else:
                        os.kill(lab.pid_of(victim), signal.SIGKILL)
                    let_go()
                lab.ctl("wait", "job-v", "--timeout", "120")
                self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})
                self.assertEqual(lab.drive("job-v", "V", "CopyStatus"), "Completed",
                                 "after a kill blobs are Created, not Skipped and not renamed")

    def test_kills_at_random_moments_lose_nothing_and_double_nothing(self):
        files = {f"large{n}": self.rng.randbytes(20 * MIB) for n in range(6)}
        files.update(random_files(self.rng, 400, 40_000, "small/f"))
        expected = {f"lab/{n}": d for n, d in files.items()}
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("X", make_tree(lab.root / "source", files))
            lab.start()
            phases = {}

            def copy(job, kill_after=None):
                """One import into an empty store, with a kill so many seconds after the drive came."""
                for place in (lab.vault, lab.vault / ".dray" / "side"):
                    shutil.rmtree(place / "lab", ignore_errors=True)
                lab.create(job, [drive])
                lab.plug("X")
                begin = time.monotonic()
                if kill_after is not None:
                    # The moment is what is random here, so this one waits for a time.
                    time.sleep(kill_after)
                    victim = self.rng.choice(("dray-drive", "dray-transfer", "drayd"))
                    phase, done = lab.drive(job, "X", "CopyStatus"), lab.job(job, "BytesDone")
                    if victim == "drayd":
                        lab.kill_drayd()
                        lab.start()
                        phases.setdefault(phase, []).append(victim)
                    elif pid := lab.pid_of(victim):
                        os.kill(pid, signal.SIGKILL)
                        phases.setdefault(phase, []).append(victim)
                    print(f"{job}: {victim} killed after {kill_after:.2f} s in {phase} at {done} bytes", flush=True)
                    self.assertTrue(lab.blobs().items() <= expected.items(), "what is visible is whole")
                lab.ctl("wait", job, "--timeout", "240")
                length = time.monotonic() - begin
                self.assertEqual(lab.blobs(), expected)
                self.assertEqual(lab.drive(job, "X", "CopyStatus"), "Completed",
                                 "after a kill blobs are Created, not Skipped and not renamed")
                self.assertEqual(len(lab.logs(job)), 1)
                lab.unplug("X")
                return length

            whole = copy("calm")
            for kill in range(KILLS):
                copy(f"kill-{kill}", self.rng.random() * whole)
            print(f"kills by phase: { {phase: len(victims) for phase, victims in phases.items()} }", flush=True)
            self.assertIn("Transferring", phases, "at least one kill fell between the first and the last byte")

    def test_three_crashes_in_a_row_without_a_piece_end_the_drive(self):
        with Lab() as lab:
            drive = lab.prepare("C", make_tree(lab.root / "source", {"unlucky": self.rng.randbytes(8 * MIB)}))
            lab.start()
            lab.create("job-c", [drive])
            with lab.held_store():
                lab.plug("C")
                for _ in range(3):
                    pid = lab.wait(lambda: lab.drive("job-c", "C", "CopyStatus") == "Transferring"
                                   and lab.pid_of("dray-drive"), "the pair to copy")
                    os.kill(pid, signal.SIGKILL)
                    lab.wait(lambda pid=pid: lab.pid_of("dray-drive") != pid, "the pair to end")
                lab.wait_log("three times without a new piece")
            # Its log waits for the store, too.
            lab.wait_drive("job-c", "C", "State", "CompletedMoreInfo")
            self.assertEqual(lab.drive("job-c", "C", "CopyStatus"), "InternalError")
            self.assertEqual(lab.blobs(), {})

    def test_a_stop_checkpoints_and_a_start_goes_on(self):
        with Lab(hand_back="at-once") as lab:
            files = random_files(self.rng, 200, 200_000)
            drive = lab.prepare("S", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("job-s", [drive])
            with lab.held_store() as let_go:
                lab.plug("S")
                lab.wait_drive("job-s", "S", "CopyStatus", "Transferring")
                self.assertEqual(lab.kill_drayd(signal.SIGTERM), 0)
                let_go()
            lab.start()
            lab.ctl("wait", "job-s", "--timeout", "60")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})


if __name__ == "__main__":
    unittest.main()
