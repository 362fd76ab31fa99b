#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A real loop device under a real udevd. Needs root, loop devices and systemd-udevd."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, Lab, alive, make_tree, random_files, seed  # noqa: E402

UDEVD = "/lib/systemd/systemd-udevd"


def missing():
    if os.getuid() != 0:
        return "not root"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices"
    if not os.path.exists(UDEVD):
        return "no systemd-udevd"
    return None


@contextlib.contextmanager
def running_udevd():
    """The machine's own udevd, or one of ours for as long as this lasts."""
    if subprocess.run(["udevadm", "control", "--ping"], capture_output=True).returncode == 0:
        yield
        return
    daemon = subprocess.Popen([UDEVD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # Its control socket is the only sign of life it gives.
        end = time.monotonic() + 20
        while subprocess.run(["udevadm", "control", "--ping"], capture_output=True).returncode != 0:
            assert daemon.poll() is None and time.monotonic() < end, "systemd-udevd does not run here"
            time.sleep(0.05)
        # What a boot does once: nodes that were there before get their groups.
        subprocess.run(["udevadm", "trigger", "--action=add", "--subsystem-match=block"], check=True)
        subprocess.run(["udevadm", "settle", "--timeout=30"], check=True)
        yield
    finally:
        daemon.terminate()
        daemon.wait()


@unittest.skipIf(missing(), missing())
class Udev(unittest.TestCase):
    def test_a_loop_device_is_recognised_copied_and_handed_back(self):
        rng = seed()
        with running_udevd(), Lab(sources="[udev]") as lab:
            files = random_files(rng, 50, 200_000)
            drive = lab.prepare("LOOPSER1", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("loop", [drive])
            node = subprocess.run(["losetup", "-f", "--show", lab.shelf / "LOOPSER1.img"], check=True,
                                  capture_output=True, text=True).stdout.strip()
            lab.closing.callback(subprocess.run, ["losetup", "-d", node], capture_output=True)
            lab.wait_job("loop", "State", "Packaging")
            device = next(d for d in lab.json("devices") if d["device"] == node)
            self.assertEqual((device["serial"], device["job"], device["signature"]),
                             ("LOOPSER1", "loop", "crypto_LUKS"))
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})
            subprocess.run(["losetup", "-d", node], check=True)
            lab.wait_job("loop", "State", "Completed")

    def test_a_loop_device_pulled_in_mid_copy_goes_on_under_another_name(self):
        rng = seed()
        with running_udevd(), Lab(sources="[udev]", hand_back="at-once") as lab:
            files = {f"f{n}": rng.randbytes(8 * MIB) for n in range(4)}
            drive = lab.prepare("LOOPSER2", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("again", [drive])
            first, second = (f"/dev/loop{n}" for n in free_loops(2))
            with lab.held_store() as let_go:
                subprocess.run(["losetup", first, lab.shelf / "LOOPSER2.img"], check=True)
                lab.wait_drive("again", "LOOPSER2", "CopyStatus", "Transferring")
                # Lazily: the pair still has it open, so the kernel lets go when the pair ends.
                subprocess.run(["losetup", "-d", first], check=True)
                os.kill(lab.pid_of("dray-drive"), 9)
                let_go()
                lab.wait_drive("again", "LOOPSER2", "State", "Received")
            lab.wait(lambda: not pathlib.Path(f"/sys/block/{first[5:]}/loop/backing_file").exists(),
                     "the kernel to let the device go")
            subprocess.run(["losetup", second, lab.shelf / "LOOPSER2.img"], check=True)
            lab.closing.callback(subprocess.run, ["losetup", "-d", second], capture_output=True)
            lab.ctl("wait", "again", "--timeout", "60")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})


def free_loops(count):
    found = []
    for number in range(64):
        if os.path.exists(f"/dev/loop{number}") and not os.path.exists(f"/sys/block/loop{number}/loop/backing_file"):
            found.append(number)
    return found[:count]


if __name__ == "__main__":
    unittest.main()
