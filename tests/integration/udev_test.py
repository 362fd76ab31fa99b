#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A real loop device under a real udevd. Needs root, loop devices and systemd-udevd."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import make_drive  # noqa: E402
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

    def test_a_partitioned_disk_is_opened_whole_and_its_partition_read(self):
        rng = seed()
        with running_udevd(), Lab(sources="[udev]") as lab:
            source = make_tree(lab.root / "source", random_files(rng, 20, 200_000))
            lab.start()
            for serial, script, options in (
                    ("PART512", "label: gpt\nsize=2MiB, type=U\n,,L\n", {"number": 2}),
                    ("PART4K", "g\nn\n\n\n\nw\n", {"number": 1, "sector_size": 4096, "writer": "fdisk"})):
                lab.key_file(serial)
                drive = lab.foreign(serial, source, serial.lower())
                volume, disk = lab.shelf / f"{serial}.volume", lab.shelf / f"{serial}.img"
                os.rename(disk, volume)
                make_drive.put_into_partition(volume, disk, script, **options)
                lab.create(serial.lower(), [drive])
                node = subprocess.run(["losetup", "-f", "--show", "-P", "--sector-size",
                                       str(options.get("sector_size", 512)), disk], check=True, capture_output=True,
                                      text=True).stdout.strip()
                lab.closing.callback(subprocess.run, ["losetup", "-d", node], capture_output=True)
                lab.wait_job(serial.lower(), "State", "Packaging")
                self.assertEqual(lab.drive(serial.lower(), serial, "CopyStatus"), "Completed")
                device = next(d for d in lab.json("devices") if d["device"] == node)
                self.assertEqual((device["serial"], device["signature"]), (serial, "gpt"))
                self.assertIn("partitions (GPT)", lab.ctl("devices")[0])
                mine = {name: data for name, data in lab.blobs().items() if name.startswith(serial.lower() + "/")}
                self.assertEqual(mine, drive["expected"])

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

    def test_a_loop_device_pulled_while_it_drains_ends_the_drain(self):
        rng = seed()
        with running_udevd(), Lab(sources="[udev]", hand_back="at-once") as lab:
            files = {f"f{n}": rng.randbytes(8 * MIB) for n in range(4)}
            drive = lab.prepare("LOOPSER4", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("drained", [drive])
            node = f"/dev/loop{next(iter(free_loops(1)))}"
            with lab.held_store() as let_go:
                subprocess.run(["losetup", node, lab.shelf / "LOOPSER4.img"], check=True)
                lab.wait_drive("drained", "LOOPSER4", "CopyStatus", "Transferring")
                lab.ctl("cancel", "drained")
                lab.wait(lambda: lab.drive("drained", "LOOPSER4", "Draining"), "the drive to drain")
                # Lazily, as above: with the pair it goes, before another pair can have it.
                subprocess.run(["losetup", "-d", node], check=True)
                os.kill(lab.pid_of("dray-drive"), 9)
                let_go()
            lab.wait_job("drained", "State", "Completed")
            self.assertEqual(lab.drive("drained", "LOOPSER4", "CopyStatus"), "Cancelled")
            self.assertEqual(lab.job("drained", "DrivesHere"), 0)

    def attach(self, lab, serial):
        node = subprocess.run(["losetup", "-f", "--show", lab.shelf / f"{serial}.img"], check=True,
                              capture_output=True, text=True).stdout.strip()
        lab.closing.callback(subprocess.run, ["losetup", "-d", node], capture_output=True)
        return node

    def test_a_storm_of_events_in_mid_copy_disturbs_nothing(self):
        rng = seed()
        with running_udevd(), Lab(sources="[udev]", hand_back="at-once") as lab:
            files = random_files(rng, 30, 200_000)
            drive = lab.prepare("STORM", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("storm", [drive])
            with lab.held_store() as let_go:
                node = self.attach(lab, "STORM")
                lab.wait_drive("storm", "STORM", "CopyStatus", "Transferring")
                pair = sorted(lab.pair())
                events = pathlib.Path("/sys/block") / node[5:] / "uevent"
                for _ in range(40):
                    events.write_text(rng.choice(["add", "change", "remove", "bind"]))
                events.write_text("change")
                subprocess.run(["udevadm", "settle", "--timeout=60"], check=True)
                device = next(d for d in lab.json("devices") if d["device"] == node)
                self.assertEqual((device["serial"], device["job"], device["opens"], device["bus"]),
                                 ("STORM", "storm", 1, "loop"))
                self.assertEqual(device["size"], (lab.shelf / "STORM.img").stat().st_size)
                self.assertEqual(sorted(lab.pair()), pair, "the same processes are at work")
                let_go()
            lab.ctl("wait", "storm", "--timeout", "120")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})

    def test_a_medium_taken_out_in_mid_copy_returns_the_drive_to_received(self):
        """Its node stays and its size is 0 (rules.md 1)."""
        rng = seed()
        with running_udevd(), Lab(sources="[udev]", hand_back="at-once") as lab:
            files = {f"f{n}": rng.randbytes(8 * MIB) for n in range(4)}
            drive = lab.prepare("MEDIUM", make_tree(lab.root / "source", files))
            shutil.copy2(lab.shelf / "MEDIUM.img", lab.shelf / "whole")
            lab.start()
            lab.create("medium", [drive])
            with lab.held_store() as let_go:
                node = self.attach(lab, "MEDIUM")
                lab.wait_drive("medium", "MEDIUM", "CopyStatus", "Transferring")
                os.truncate(lab.shelf / "MEDIUM.img", 0)
                subprocess.run(["losetup", "-c", node], check=True)
                lab.wait_drive("medium", "MEDIUM", "Device", "/")
                let_go()
                lab.wait_drive("medium", "MEDIUM", "State", "Received")
            self.assertFalse(lab.drive("medium", "MEDIUM", "Faulted"))
            subprocess.run(["losetup", "-d", node], check=True)
            lab.wait(lambda: not pathlib.Path(f"/sys/block/{node[5:]}/loop/backing_file").exists(),
                     "the kernel to let the device go")
            shutil.copyfile(lab.shelf / "whole", lab.shelf / "MEDIUM.img")
            self.attach(lab, "MEDIUM")
            lab.ctl("wait", "medium", "--timeout", "120")
            self.assertEqual(lab.blobs(), {f"lab/{n}": d for n, d in files.items()})
            self.assertEqual(lab.logs("medium")[0].read_text().count("<Blob "), 0, "nothing counts as unreadable")

    def test_one_copy_at_a_time_on_a_bus_that_is_to_take_no_more(self):
        with running_udevd(), Lab(sources="[udev]", hand_back="at-once") as lab:
            lab.config.write_text(lab.config.read_text().replace("{max: 4}", "{max: 4, per-bus: 1}"))
            drives = [lab.prepare(s, make_tree(lab.root / f"source{s}", {f"{s}/a": s.encode()})) for s in ("BUSA", "BUSB")]
            lab.start()
            lab.create("bus", drives)
            with lab.held_store() as let_go:
                self.attach(lab, "BUSA")
                lab.wait_drive("bus", "BUSA", "CopyStatus", "Transferring")
                self.attach(lab, "BUSB")
                lab.wait_drive("bus", "BUSB", "State", "Received")
                lab.wait(lambda: lab.drive("bus", "BUSB", "Device") != "/", "the second device")
                self.assertEqual(lab.get("/org/dray1", "Manager", "ActiveTransfers"), 1)
                let_go()
            lab.ctl("wait", "bus", "--timeout", "120")

    def test_two_disks_with_one_serial_are_told_apart_by_a_known_volume(self):
        with running_udevd(), Lab(sources="[udev]", hand_back="at-once") as lab:
            drive = lab.prepare("DOCKSER", make_tree(lab.root / "source", {"a": b"content"}))
            (lab.shelf / "other").mkdir()
            lab.prepare("OTHER", make_tree(lab.root / "source2", {"b": b"other"}))
            os.rename(lab.shelf / "OTHER.img", lab.shelf / "other" / "DOCKSER.img")
            lab.start()
            other = self.attach(lab, "other/DOCKSER")
            self.attach(lab, "DOCKSER")
            lab.wait(lambda: [d["signature"] for d in lab.json("devices") if d["serial"] == "DOCKSER"] ==
                     ["crypto_LUKS"] * 2, "both to be looked at")
            lab.create("unknown", [drive])
            lab.wait(lambda: all("drayctl assign" in d["problem"] for d in lab.json("devices")
                                 if d["serial"] == "DOCKSER"), "both to wait for assign")
            lab.ctl("cancel", "unknown")
            lab.ctl("create", "known", "--store", "vault")
            lab.ctl("add-drive", "known", "DOCKSER", "--key-file", lab.shelf / "DOCKSER.key", "--manifest",
                    drive["manifest"], "--manifest-hash", drive["manifest-hash"], "--volume-id", drive["volume-id"])
            lab.ctl("ship", "known")
            lab.ctl("wait", "known", "--timeout", "120")
            self.assertEqual(lab.blobs(), {"lab/a": b"content"})
            self.assertEqual(next(d["opens"] for d in lab.json("devices") if d["device"] == other), 0)


def free_loops(count):
    found = []
    for number in range(64):
        if os.path.exists(f"/dev/loop{number}") and not os.path.exists(f"/sys/block/loop{number}/loop/backing_file"):
            found.append(number)
    return found[:count]


if __name__ == "__main__":
    unittest.main()
