#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drayctl drive prepare onto a block device: a loop device. Needs root and loop devices."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, PATIENCE, make_tree, seed  # noqa: E402

DISK = 300 * MIB


def missing():
    if os.getuid() != 0:
        return "not root"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices"
    return None


@unittest.skipIf(missing(), missing())
class PrepareDevice(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="dray-device.", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.key = self.root / "key"
        self.key.write_bytes(b"key of a device")
        self.key.chmod(0o600)
        self.disk = self.root / "disk"
        with open(self.disk, "wb") as disk:
            disk.truncate(DISK)
        done = subprocess.run(["losetup", "-f", "--show", self.disk], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f"no loop device to be had: {done.stderr.strip()}")
        self.device = done.stdout.strip()
        self.addCleanup(subprocess.run, ["losetup", "-d", self.device])

    def command(self, source, *more, output=None):
        return [str(word) for word in (pathlib.Path(os.environ["DRAY_BIN"]) / "drayctl", "--json=short", "drive",
                                       "prepare", "--source", source, "--container", "lab", "--serial", "LOOP",
                                       "--key-file", self.key, "--output", output or self.device, *more)]

    def prepare(self, source, *more, status=0, **options):
        done = subprocess.run(self.command(source, *more, **options), capture_output=True, text=True,
                              timeout=PATIENCE * 2)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def opens(self):
        return subprocess.run(["cryptsetup", "open", "--test-passphrase", "--key-file", self.key, self.device],
                              capture_output=True).returncode == 0

    def test_a_device_is_filled_and_what_it_held_is_named_before_it_is_lost(self):
        source = make_tree(self.root / "source", {"a": seed().randbytes(20 * MIB)})
        drive = json.loads(self.prepare(source).stdout)
        self.assertEqual(drive["size"], DISK)
        self.assertTrue(self.opens())

        refused = self.prepare(source, status=1)
        self.assertRegex(refused.stderr, re.escape(self.device) + r" \(300MiB.*\) holds a LUKS volume; with --yes")
        self.assertTrue(self.opens())
        again = self.prepare(source, "--yes", "--size", "200MiB")
        self.assertRegex(again.stderr, "overwriting " + re.escape(self.device) + r" \(300MiB.*\), which holds a LUKS")
        self.assertNotEqual(json.loads(again.stdout)["volume-id"], drive["volume-id"])
        self.assertTrue(self.opens())
        self.assertIn("is more than", self.prepare(source, "--yes", "--size", "301MiB", status=1).stderr)

    def test_a_device_with_something_at_its_end_is_not_overwritten_unasked(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        with open(self.device, "r+b") as device:
            device.seek(DISK - 4096)
            device.write(b"a RAID header")
        self.assertIn("holds data", self.prepare(source, status=1).stderr)
        link = self.root / "by-id"
        os.symlink(self.device, link)
        self.assertIn(f"name the file or device itself: {self.device}",
                      self.prepare(source, "--yes", output=link, status=1).stderr)
        with open(self.device, "rb") as device:
            device.seek(DISK - 4096)
            self.assertEqual(device.read(13), b"a RAID header")

    def test_a_device_that_is_too_small_keeps_what_it_holds(self):
        source = make_tree(self.root / "source", {"a": bytes(290 * MIB)})
        with open(self.device, "r+b") as device:
            device.write(b"precious")
        self.assertIn("is too small for this source", self.prepare(source, "--yes", status=1).stderr)
        with open(self.device, "rb") as device:
            self.assertEqual(device.read(8), b"precious")

    def test_a_device_in_use_is_left_alone(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", self.device], check=True, capture_output=True)
        mounted = self.root / "mounted"
        mounted.mkdir()
        if subprocess.run(["mount", self.device, mounted], capture_output=True).returncode != 0:
            self.skipTest("nothing can be mounted here")
        try:
            self.assertIn("is in use", self.prepare(source, "--yes", status=1).stderr)
        finally:
            subprocess.run(["umount", mounted], check=True)

    def test_stopped_half_way_the_device_is_no_drive(self):
        rng = seed()
        source = make_tree(self.root / "source", {f"{i}": rng.randbytes(24 * MIB) for i in range(8)})
        process = subprocess.Popen(self.command(source), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + PATIENCE
        while self.disk.stat().st_blocks * 512 < 60 * MIB:
            self.assertIsNone(process.poll(), "it ended too early")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130, said)
        self.assertFalse(self.opens())
        self.assertNotEqual(subprocess.run(["cryptsetup", "isLuks", self.device]).returncode, 0)


if __name__ == "__main__":
    unittest.main()
