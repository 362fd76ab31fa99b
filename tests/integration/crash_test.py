#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of anything at any moment: every blob right, nothing more than that, and no wrong state."""

import os
import signal
import sys
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
        total = sum(map(len, files.values()))
        hits = 0
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("X", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("job-x", [drive])
            lab.plug("X")
            for kill in range(KILLS):
                # A moment: when so many bytes are done, or the state is past it.
                target = self.rng.randrange(total)
                victim = self.rng.choice(("dray-drive", "dray-transfer", "drayd"))
                lab.wait(lambda: (lab.job("job-x", "BytesDone") or 0) >= target or lab.job("job-x", "State") == "Completed",
                         f"{target} bytes")
                if lab.job("job-x", "State") == "Completed":
                    break
                before = lab.job("job-x", "BytesDone")
                if victim == "drayd":
                    lab.kill_drayd()
                    lab.start()
                    hits += 1
                elif pid := lab.pid_of(victim):
                    os.kill(pid, signal.SIGKILL)
                    hits += 1
                print(f"kill {kill}: {victim} at {before} of {total} bytes", flush=True)
                self.assertTrue(lab.blobs().items() <= expected.items(), "what is visible is whole")
            self.assertGreater(hits, 0)
            lab.ctl("wait", "job-x", "--timeout", "240", status=None)
            self.assertEqual(lab.blobs(), expected)
            self.assertEqual(lab.drive("job-x", "X", "CopyStatus"), "Completed")

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
