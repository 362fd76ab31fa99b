#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the real processes may do in mid-copy, and that no key is where it should not be."""

import os
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, UID, Lab, make_tree, random_files, seed  # noqa: E402


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


class Processes(unittest.TestCase):
    def test_the_pair_in_mid_copy_is_confined_and_no_key_is_in_reach(self):
        rng = seed()
        with Lab() as lab:
            drive = lab.prepare("P", make_tree(lab.root / "source", random_files(rng, 60, 100_000)))
            key = (lab.shelf / "P.key").read_bytes()
            monitor_log = lab.root / "monitor.log"
            with open(monitor_log, "wb") as out:
                monitor = subprocess.Popen(["dbus-monitor", "--address",
                                            lab.environment["DBUS_SYSTEM_BUS_ADDRESS"]], stdout=out, stderr=out)
            lab.closing.callback(monitor.kill)
            lab.wait(lambda: monitor_log.stat().st_size > 0, "the monitor")
            lab.start()
            lab.create("job-p", [drive])
            with lab.held_store() as let_go:
                lab.plug("P")
                lab.wait_drive("job-p", "P", "CopyStatus", "Transferring")
                pair = dict((name, pid) for pid, name in lab.pair())
                self.assertEqual(set(pair), {"dray-drive", "dray-transfer"})
                for name, pid in pair.items():
                    with self.subTest(name):
                        status = status_of(pid)
                        self.assertEqual(status["Seccomp"], "2")
                        self.assertEqual(status["NoNewPrivs"], "1")
                        for capabilities in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                            self.assertEqual(int(status[capabilities], 16), 0)
                        if os.getuid() == 0:
                            self.assertEqual(set(status["Uid"].split()), {str(UID)})
                            # Not dumpable: its /proc entries belong to root.
                            self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)
                        arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
                        self.assertNotIn(key, arguments + environment)
                # dray-drive: its socket, the device, the key, the ring, standard streams, and no more.
                targets = [os.readlink(f"/proc/{pair['dray-drive']}/fd/{fd}")
                           for fd in os.listdir(f"/proc/{pair['dray-drive']}/fd")]
                others = [t for t in targets if not t.startswith(("socket:", "/memfd:", "pipe:", "/dev/null", "/dev/random", "/dev/urandom"))
                          and not t.endswith(("P.img", "drayd.log"))]
                self.assertEqual(others, [])
                self.assertEqual([t for t in targets if t.startswith("socket:")].__len__(), 1)
                let_go()
            lab.wait_job("job-p", "State", "Packaging")
            monitor.send_signal(signal.SIGTERM)
            monitor.wait()
            for what, content in (("log", lab.log().encode()), ("bus", monitor_log.read_bytes())):
                self.assertNotIn(key, content, f"the key is on the {what}")
            for path in lab.state.rglob("*"):
                if path.is_file():
                    self.assertNotIn(key, path.read_bytes(), f"the key lies open in {path.name}")
            self.assertEqual((lab.state / "master.key").stat().st_mode & 0o777, 0o600)

    def test_only_dray_drive_is_linked_to_gpl_libraries(self):
        for program in ("drayd", "drayctl", "dray-transfer", "dray-drive"):
            linked = subprocess.run(["ldd", pathlib.Path(os.environ["DRAY_BIN"]) / program], check=True,
                                    capture_output=True, text=True).stdout
            is_gpl = "libcryptsetup" in linked or "libntfs" in linked
            self.assertEqual(is_gpl, program == "dray-drive", program)

    @unittest.skipUnless(os.getuid() == 0, "not root")
    def test_drayd_started_as_root_does_not_stay_root(self):
        with Lab() as lab:
            drive = lab.prepare("R", make_tree(lab.root / "source", {"a": b"x" * MIB}))
            lab.state.rmdir()
            with open(lab.log_path, "ab") as log:
                lab.drayd = subprocess.Popen([lab.bin / "drayd", "--config", lab.config], env=lab.environment,
                                             stdout=log, stderr=log)
            lab.wait(lambda: lab.busctl("status", "org.dray1").returncode == 0, "drayd to come up")
            self.assertNotIn("0", status_of(lab.drayd.pid)["Uid"].split())
            uid = int(status_of(lab.drayd.pid)["Uid"].split()[0])
            os.chown(lab.vault, uid, uid)
            os.chown(lab.drives, uid, uid)
            lab.create("job-r", [drive])
            image = lab.plug("R")
            os.chown(image, uid, uid)
            lab.wait(lambda: lab.drive("job-r", "R", "State") in ("Completed", "Transferring")
                     or lab.drive("job-r", "R", "Faulted"), "the drive")


if __name__ == "__main__":
    unittest.main()
