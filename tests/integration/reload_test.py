#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reading the configuration anew (rules.md 22): all or nothing, with the real drayd on a private bus."""

import os
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import UID, Lab, make_tree, random_files, seed  # noqa: E402

STRANGER = 1


class Reload(unittest.TestCase):
    def change(self, lab, *pairs):
        """Replaces texts in the configuration."""
        text = lab.config.read_text()
        for old, new in pairs:
            self.assertIn(old, text)
            text = text.replace(old, new)
        lab.config.write_text(text)

    def add_store(self, lab, name):
        path = lab.root / name
        path.mkdir()
        if os.getuid() == 0:
            os.chown(path, UID, UID)
        self.change(lab, ("stores: {", f"stores: {{{name}: {{type: directory, path: {path}}}, "))
        return path

    def manager(self, lab, name):
        return lab.get("/org/dray1", "Manager", name)

    def call_reload(self, lab):
        """The answer as the bus has it: the error's sentence, or nothing."""
        return lab.busctl("call", "org.dray1", "/org/dray1", "org.dray1.Manager", "Reload").stderr

    def test_new_stores_limits_times_and_log_level_hold_at_once_and_a_running_copy_is_not_touched(self):
        rng = seed()
        with Lab(transfers=1) as lab:
            files = random_files(rng, 20, 100_000)
            one = lab.prepare("R1", make_tree(lab.root / "source1", files))
            two = lab.prepare("R2", make_tree(lab.root / "source2", {"two.bin": b"2"}))
            lab.start()
            lab.create("run-1", [one])
            with lab.held_store() as let_go:
                lab.plug("R1")
                lab.wait_drive("run-1", "R1", "CopyStatus", "Transferring")
                pair = lab.pair()
                self.assertEqual(len(pair), 2)
                lab.ctl("create", "before-1", "--store", "vault")
                deadline = lab.job("before-1", "ExpiresUSec")
                lab.ctl("create", "no-store", "--store", "annex", status=4)

                annex = self.add_store(lab, "annex")
                self.change(lab, ("{max: 1}", "{max: 2}"), ("hand-back: unplug",
                                                            "hand-back: unplug, retention: 3d, unshipped: 1d"))
                lab.config.write_text(lab.config.read_text() + "log: {level: error}\ncancel: {drain: blob}\n")
                self.assertIn("anew", lab.ctl("reload")[0])

                self.assertEqual(lab.pair(), pair, "the copy goes on in its processes")
                self.assertEqual(self.manager(lab, "MaxTransfers"), 2)
                self.assertEqual(self.manager(lab, "RetentionUSec"), 3 * 86400 * 10**6)
                self.assertEqual(self.manager(lab, "Drain"), "blob")
                self.assertIn("/org/dray1/store/annex", self.manager(lab, "Stores"))
                self.assertEqual(lab.get("/org/dray1/store/annex", "Store", "Url"), f"file://{annex}")
                self.assertEqual(lab.job("before-1", "ExpiresUSec"), deadline, "a deadline is fixed")
                length = len(lab.log())
                # The second copy runs beside the first, into the new store.
                lab.ctl("create", "run-2", "--store", "annex")
                lab.ctl("add-drive", "run-2", "R2", "--key-file", lab.shelf / "R2.key", "--manifest", two["manifest"],
                        "--manifest-hash", two["manifest-hash"])
                lab.ctl("ship", "run-2")
                lab.plug("R2")
                lab.wait_job("run-2", "State", "Packaging")
                self.assertEqual((annex / "lab" / "two.bin").read_bytes(), b"2")
                self.assertEqual(lab.drive("run-1", "R1", "State"), "Transferring")
                self.assertEqual(lab.log()[length:], "", "nothing but errors is logged now")
                let_go()
            lab.wait_job("run-1", "State", "Packaging")
            self.assertEqual(lab.blobs(), {f"lab/{name}": data for name, data in files.items()})
            lab.unplug("R1")
            lab.wait_job("run-1", "State", "Completed")
            self.assertEqual(lab.job("run-1", "ExpiresUSec") - lab.job("run-1", "CompletedUSec"), 3 * 86400 * 10**6)

    def test_any_mistake_keeps_all_of_the_old_and_is_told_with_file_line_and_reason(self):
        with Lab(transfers=3) as lab:
            lab.start()
            good = lab.config.read_text()
            self.change(lab, ("{max: 3}", "{max: 4}"))
            lab.config.write_text(lab.config.read_text() + "log: {level: loud}\nfrobnicate: 1\n")
            lines = len(lab.config.read_text().splitlines())
            out, err, _ = lab.ctl("reload", status=1)
            self.assertEqual(out, "")
            self.assertIn(f"{lab.config}:{lines - 1}: log.level: \"loud\"", err)
            self.assertIn(f"\n{lab.config}:{lines}: ", err)
            self.assertIn("the old one is kept", err)
            self.assertEqual(self.manager(lab, "MaxTransfers"), 3)
            self.assertIn(f"{lab.config}:{lines - 1}: log.level", self.call_reload(lab))
            done = subprocess.run(["dbus-send", f"--bus={lab.environment['DBUS_SYSTEM_BUS_ADDRESS']}",
                                   "--print-reply", "--dest=org.dray1", "/org/dray1", "org.dray1.Manager.Reload"],
                                  capture_output=True, text=True)
            self.assertIn("org.dray1.Error.InvalidArgument", done.stderr)
            for line in (f"{lab.config}:{lines - 1}: log.level", "the old one is kept"):
                self.assertIn(line, lab.log())
            lab.config.unlink()
            self.assertIn("No such file", self.call_reload(lab))
            lab.config.write_text(good.replace("{max: 3}", "{max: 5}"))
            self.assertEqual(self.call_reload(lab), "")
            self.assertEqual(self.manager(lab, "MaxTransfers"), 5)

    def test_what_is_decided_at_the_start_is_refused(self):
        with Lab(transfers=3) as lab:
            lab.start()
            good = lab.config.read_text()
            rows = [("state-directory: ", "state-directory: /elsewhere", "state-directory"),
                    ("[images]", "[udev, images]", "devices.sources"),
                    ("drives, allow", "drives2, allow", "devices.images"),
                    ("allow-loop: true", "allow-loop: false", "devices.allow-loop")]
            for old, new, setting in rows:
                lab.config.write_text(good.replace("{max: 3}", "{max: 4}").replace(old, new, 1))
                self.assertIn(f"{setting} cannot be changed while drayd runs", lab.ctl("reload", status=1)[1])
                self.assertEqual(self.manager(lab, "MaxTransfers"), 3, "nothing of it is taken")

    def test_a_store_with_unfinished_jobs_can_be_neither_removed_nor_changed(self):
        with Lab() as lab:
            self.add_store(lab, "annex")
            with_annex = lab.config.read_text()
            lab.start()
            for job in ("first-1", "second-1"):
                lab.ctl("create", job, "--store", "annex")
            lab.ctl("create", "other-1", "--store", "vault")
            removed = with_annex.replace(f"annex: {{type: directory, path: {lab.root}/annex}}, ", "")
            moved = with_annex.replace(f"path: {lab.root}/annex", f"path: {lab.root}/elsewhere")
            for text, word in ((removed, "removed"), (moved, "changed")):
                lab.config.write_text(text)
                err = lab.ctl("reload", status=1)[1]
                self.assertIn(f"stores.annex cannot be {word} while jobs that need it are unfinished: "
                              "first-1, second-1\n", err)
                self.assertEqual(lab.get("/org/dray1/store/annex", "Store", "Url"), f"file://{lab.root}/annex")
            lab.ctl("cancel", "first-1")
            lab.wait_job("first-1", "State", "Completed")
            self.assertIn("unfinished: second-1\n", lab.ctl("reload", status=1)[1])
            lab.ctl("delete", "second-1")
            lab.ctl("reload")
            self.assertEqual(lab.get("/org/dray1/store/annex", "Store", "Url"), f"file://{lab.root}/elsewhere")
            lab.config.write_text(removed)
            lab.ctl("reload")
            self.assertEqual(self.manager(lab, "Stores"), ["/org/dray1/store/vault"])
            self.assertIsNone(lab.get("/org/dray1/store/annex", "Store", "Url"))
            self.assertEqual(lab.job("first-1", "State"), "Completed", "a finished job needs it no more")

    def test_sighup_does_the_same(self):
        with Lab(transfers=3) as lab:
            lab.start()
            self.change(lab, ("{max: 3}", "{max: 4}"))
            lab.drayd.send_signal(signal.SIGHUP)
            lab.wait(lambda: self.manager(lab, "MaxTransfers") == 4, "the new limit")
            lab.wait_log("the configuration was read anew")
            self.change(lab, ("{max: 4}", "{max: 0}"))
            lab.drayd.send_signal(signal.SIGHUP)
            lab.wait_log("the old one is kept")
            lab.wait_log(f"{lab.config}:4: transfers.max")
            self.assertEqual(self.manager(lab, "MaxTransfers"), 4)

    def test_systemd_is_told_when_it_begins_and_when_it_is_done(self):
        with Lab(transfers=3) as lab, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notes:
            name = f"dray-reload-{os.getpid()}"
            notes.bind(f"\0{name}")
            notes.settimeout(120)
            lab.daemon_environment = {"NOTIFY_SOCKET": f"@{name}"}
            lab.start()

            def heard(word):
                while True:
                    note = notes.recv(4096).decode().split("\n")
                    if word in note:
                        return note

            heard("READY=1")
            for text in (lab.config.read_text(), "broken: ["):
                lab.config.write_text(text)
                self.call_reload(lab)
                begin = heard("RELOADING=1")
                self.assertTrue(any(line.startswith("MONOTONIC_USEC=") and int(line[15:]) > 0 for line in begin), begin)
                heard("READY=1")

    def test_only_who_may_manage_may_reload(self):
        if os.getuid() != 0:
            self.skipTest("only root can be somebody else")
        with Lab(transfers=3) as lab:
            lab.start()
            self.change(lab, ("{max: 3}", "{max: 4}"))
            done = subprocess.run(["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups",
                                   lab.bin / "drayctl", "reload"], env=lab.environment, capture_output=True, text=True)
            self.assertEqual(done.returncode, 5, done.stderr)
            self.assertIn("polkit", done.stderr)
            self.assertEqual(self.manager(lab, "MaxTransfers"), 3)
            self.assertIn(f"uid {STRANGER} calls Manager.Reload on the configuration: refused", lab.log())

    def test_a_store_that_is_missing_at_the_start_has_a_problem_and_its_jobs_can_be_ended_or_get_it_back(self):
        with Lab() as lab:
            annex = self.add_store(lab, "annex")
            with_annex = lab.config.read_text()
            without = with_annex.replace(f"annex: {{type: directory, path: {annex}}}, ", "")
            drives = {job: lab.prepare(job.upper(), make_tree(lab.root / f"source-{job}", {f"{job}.bin": b"x" * 5000}))
                      for job in ("mend", "stop", "free", "gone")}
            lab.start()
            for job, drive in drives.items():
                lab.ctl("create", job, "--store", "annex")
                lab.ctl("add-drive", job, drive["serial"], "--key-file", lab.shelf / f"{job.upper()}.key", "--manifest",
                        drive["manifest"], "--manifest-hash", drive["manifest-hash"])
                if job != "gone":
                    lab.ctl("ship", job)
            lab.kill_drayd(signal.SIGTERM)
            lab.config.write_text(without)
            lab.start()
            self.assertIn("not in the configuration", lab.get("/org/dray1/store/annex", "Store", "Problem"))
            self.assertFalse(lab.get("/org/dray1/store/annex", "Store", "Reachable"))
            for job in ("mend", "stop", "free"):
                lab.plug(job.upper())
                lab.wait_drive(job, job.upper(), "Faulted", True)
                self.assertIn('store "annex"', lab.drive(job, job.upper(), "FaultReason"))
            self.assertIn('store "annex"', lab.ctl("status")[0])
            lab.ctl("delete", "gone")
            self.assertIsNone(lab.job("gone", "State"))
            lab.ctl("cancel", "stop")
            lab.wait_job("stop", "State", "Packaging")
            lab.ctl("release", "stop", "STOP")
            lab.wait_job("stop", "State", "Completed")
            lab.ctl("delete", "stop")
            lab.ctl("release", "free", "FREE")
            lab.wait_drive("free", "FREE", "State", "CompletedMoreInfo")
            # With the store back, what waited for it goes on by itself.
            lab.config.write_text(with_annex)
            lab.ctl("reload")
            lab.wait_job("mend", "State", "Packaging")
            self.assertEqual((annex / "lab" / "mend.bin").read_bytes(), b"x" * 5000)
            self.assertEqual(lab.get("/org/dray1/store/annex", "Store", "Problem"), "")
            self.assertEqual(lab.get("/org/dray1/store/annex", "Store", "Type"), "directory")


if __name__ == "__main__":
    unittest.main()
