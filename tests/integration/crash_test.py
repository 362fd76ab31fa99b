#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of anything at any moment: every blob right, nothing more than that, and no wrong state."""

import os
import signal
import sys
import time
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from crash_lab import CrashLab  # noqa: E402
from lab import MIB, Lab, encode, make_tree, random_files, seed  # noqa: E402

KILLS = int(os.environ.get("DRAY_TEST_KILLS", "10"))

KIB = 1024
PIECE = 64 * KIB
REQUESTS = 16
# Pieces that a kill may make come again: those asked for or being put (twice the requests), and those whose record the
# journal has not committed yet.
IN_FLIGHT = 2 * REQUESTS + 128


class KillRun:
    """One drive imported again and again into an empty store, each time with a kill in a given phase."""

    PHASES = ("unlock", "manifest", "copy", "journal", "commit", "log", "catalog", "mid-drain", "packaging", "moment")
    # Where threads are stopped: operation, file. Both sides of each are points.
    MANIFEST = (("w", "manifest.xml.part"), ("y", "manifest.xml.part"), ("r", "manifest.xml.part"))
    UPLOAD = "????????????????-*"
    LOG_UPLOAD = "????????????????????????????????"
    LOG = (("w", "error.xml"), ("y", "error.xml"), ("w", LOG_UPLOAD), ("r", LOG_UPLOAD))

    def __init__(self, test, lab, rng):
        self.test, self.lab, self.rng = test, lab, rng
        files = {f"large{n}": rng.randbytes(16 * MIB + rng.randrange(PIECE)) for n in range(5)}
        files.update(random_files(rng, 300, PIECE, "small/f"))
        self.expected = {f"lab/{name}": data for name, data in files.items()}
        self.drive = lab.prepare("X", make_tree(lab.root / "source", files), "lab", "--block-size", "64KiB")
        # Pieces whose writing the store sees: an empty blob has none.
        self.pieces = sum(-(-len(data) // PIECE) for data in files.values())
        self.bytes = sum(map(len, files.values()))
        self.hits = {}
        self.twice = {}
        lab.start()

    def begin(self, job):
        self.lab.empty_store()
        self.lab.create(job, [self.drive])
        self.lab.points.forget()

    def calm(self):
        """Without a kill: what there is to stop at, and that the counters count."""
        self.begin("calm")
        begin = time.monotonic()
        self.lab.plug("X")
        self.lab.wait_job("calm", "State", "Packaging")
        self.length = time.monotonic() - begin
        operations = [(operation, name) for operation, name, _, _ in self.lab.points.records()]
        self.flushes = operations.count(("y", "catalog.sqlite-wal"))
        self.finish("calm")
        puts = self.lab.points.puts(PIECE)
        self.test.assertEqual((len(puts), sum(puts.values())), (self.pieces, self.pieces), "each piece once")
        self.renames = sum(operation == "r" and "-" in name for operation, name in operations)
        self.test.assertEqual(self.renames, len(self.expected))

    def kill(self, job, phase):
        """Begins an import, kills in the phase, lets it end, and looks at everything."""
        self.begin(job)
        victim = self.rng.choice(("drayd", "dray-drive", "dray-transfer", "all"))
        point, victim = getattr(self, "in_" + phase.replace("-", "_"))(job, victim)
        puts = len(self.lab.points.puts(PIECE))
        visible = self.lab.blobs()
        self.test.assertTrue(visible.items() <= self.expected.items(), "what is visible is whole")
        if phase in ("copy", "journal", "commit", "mid-drain"):
            self.test.assertTrue(0 < puts < self.pieces, f"between first and last byte: {puts} of {self.pieces}")
        is_hit = self.lab.kill_now(victim)
        if phase == "packaging":
            self.lab.unplug("X")
        else:
            self.lab.wait_job(job, "State", "Packaging")
        twice = self.finish(job)
        if is_hit:
            self.hits.setdefault(phase, []).append(victim)
            self.twice.setdefault(phase, []).append(twice)
        print(f"{job}: {victim} in {phase} ({point}), {puts} of {self.pieces} pieces and {len(visible)} of "
              f"{len(self.expected)} blobs there; {twice} pieces put twice", flush=True)

    def finish(self, job):
        """From Packaging to the end. Returns how many pieces were put more than once."""
        lab, test = self.lab, self.test
        if (lab.drives / "X.img").exists():
            lab.unplug("X")
        lab.wait_job(job, "State", "Completed")
        test.assertEqual(lab.blobs(), self.expected, "both sides: nothing less and nothing more")
        test.assertEqual(lab.uploads(), [], "nothing uncommitted is left in the store")
        test.assertEqual(lab.drive(job, "X", "State"), "ShippedBack")
        test.assertEqual(lab.drive(job, "X", "Outcome"), "completed")
        test.assertEqual(lab.drive(job, "X", "CopyStatus"), "Completed",
                         "after a kill blobs are Created: a log with Skipped, Renamed or Overwritten has warnings")
        for name, value in (("BytesDone", self.bytes), ("BytesTotal", self.bytes), ("BlobsFailed", 0),
                            ("BlobsDone", len(self.expected)), ("BlobsTotal", len(self.expected)), ("Percent", 100)):
            test.assertEqual(lab.job(job, name), value, name)
        logs = lab.logs(job)
        test.assertEqual(len(logs), 1, "one log")
        log = xml.parse(logs[0]).getroot()
        test.assertEqual((log.findtext("Status"), len(log.findall("Blob"))), ("Completed", 0))
        path = f"/org/dray1/job/{encode(job)}"
        lab.wait(lambda: lab.states[path][-1] == "Completed", "the monitor to have seen the end")
        test.assertEqual(lab.wrong_steps, [])
        test.assertEqual(lab.states[path][0], "Creating")
        puts = lab.points.puts(PIECE)
        test.assertEqual(len(puts), self.pieces, "the store has seen every piece")
        twice = sum(puts.values()) - self.pieces
        test.assertLessEqual(twice, IN_FLIGHT, "pieces put twice")
        return twice

    def stop_in(self, job, points, phase, after=0):
        """Plugs the drive in and comes back when a thread stands at one of the points, and the bus says the phase."""
        operation, pattern = self.rng.choice(points)
        is_after = self.rng.random() < 0.5
        self.lab.points.stop_at(operation, pattern, after, is_after)
        self.lab.plug("X")
        self.lab.wait(self.lab.points.is_reached, f"{operation} of {pattern}")
        if phase:
            self.lab.wait_drive(job, "X", "CopyStatus", phase)
        return f"{'after' if is_after else 'before'} {operation} {pattern} {after}"

    def in_unlock(self, job, victim):
        return self.stop_in(job, (("k", "volume-key"),), "Unlocking"), victim

    def in_manifest(self, job, victim):
        return self.stop_in(job, self.MANIFEST, "Verifying"), victim

    def in_copy(self, job, victim):
        # The first piece put is behind, and the last one not begun.
        return self.stop_in(job, (("w", self.UPLOAD),), "Transferring", self.rng.randrange(1, self.pieces - 64)), victim

    def in_journal(self, job, victim):
        """The journal's disk does not answer: pieces go on being put, but not many."""
        self.lab.plug("X")
        self.lab.wait(lambda: self.lab.points.puts(PIECE), "the first piece to be put")
        self.lab.points.stop_at("y", "journal.sqlite-wal", self.rng.randrange(4), self.rng.random() < 0.5)
        self.lab.wait(self.lab.points.is_reached, "the journal to be flushed")
        self.lab.wait_drive(job, "X", "CopyStatus", "Transferring")
        seen = [0, time.monotonic()]

        def is_still():
            puts = sum(self.lab.points.puts(PIECE).values())
            if puts != seen[0]:
                seen[:] = puts, time.monotonic()
            return time.monotonic() - seen[1] > 1

        self.lab.wait(is_still, "the puts to wait for the journal")
        return "its flush", victim

    def in_commit(self, job, victim):
        return self.stop_in(job, (("r", self.UPLOAD),), "Transferring", self.rng.randrange(self.renames // 2)), victim

    def in_log(self, job, victim):
        return self.stop_in(job, self.LOG, "WritingLogs"), victim

    def in_catalog(self, job, victim):
        # The daemon itself stands still, so that the bus does not answer; that it is reached is the proof.
        point = self.stop_in(job, (("y", "catalog.sqlite-wal"),), None, self.rng.randrange(self.flushes - 2))
        return point, "all" if victim == "all" else "drayd"

    def in_mid_drain(self, job, victim):
        point = self.in_copy(job, victim)[0]
        self.lab.ctl("cancel", job, "--drain", "drive")
        self.test.assertTrue(self.lab.drive(job, "X", "Draining"))
        return point, victim

    def in_packaging(self, job, victim):
        self.lab.plug("X")
        self.lab.wait_job(job, "State", "Packaging")
        self.test.assertEqual(self.lab.pair(), [], "the pair is gone by then")
        return "", "drayd"

    def in_moment(self, job, victim):
        # The moment is what is random here, so this one waits for a time.
        self.lab.plug("X")
        moment = self.rng.random() * self.length
        time.sleep(moment)
        return f"{moment:.2f} s, {self.lab.drive(job, 'X', 'CopyStatus')}", victim

    def tell(self):
        print(f"kills by phase: { {phase: len(victims) for phase, victims in sorted(self.hits.items())} }; pieces put "
              f"twice, at most: { {phase: max(twice) for phase, twice in sorted(self.twice.items())} } of {self.pieces}; "
              f"wrong states: {len(self.lab.wrong_steps)}", flush=True)
        self.test.assertTrue(set(self.PHASES) - {"moment"} <= self.hits.keys() or KILLS < len(self.PHASES))


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

    def test_kills_in_every_phase_lose_nothing_and_double_nothing(self):
        with CrashLab(extra=f"transfers: {{requests: {REQUESTS}}}\n", transfers=None) as lab:
            run = KillRun(self, lab, self.rng)
            run.calm()
            # Every phase comes up in any ten kills, in another order each time.
            phases = []
            while len(phases) < KILLS:
                phases += self.rng.sample(run.PHASES, len(run.PHASES))
            for number, phase in enumerate(phases[:KILLS]):
                run.kill(f"kill-{number}", phase)
            run.tell()

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
