#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drayctl drive prepare over several drives: each file whole on one of them, each drive with a manifest of its own."""

import csv
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from drive_case import DriveCase  # noqa: E402
from lab import MIB, PATIENCE, Lab, alive, make_tree, random_files, seed  # noqa: E402
from prepare_test import decrypt, read_tree, run  # noqa: E402

HEAD = ("DriveLetter", "FormatOption", "SilentOrPromptOnFormat", "Encryption", "ExistingBitLockerKey", "Serial", "KeyFile", "Size")


class PrepareDriveSet(DriveCase):
    def driveset(self, *rows):
        """Rows of (path, serial, key file, size, silent)."""
        path = self.root / "drives.csv"
        with open(path, "w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([HEAD, *((drive, "Format", "SilentMode" if silent else "PromptOnFormat", "Encrypt", "",
                                                serial, key, size) for drive, serial, key, size, silent in rows)])
        return path

    def image_rows(self, *sizes):
        return [(self.shelf / f"{number}.img", f"SER-{number}", "", size, False) for number, size in enumerate(sizes, 1)]

    def command(self, source, driveset, *more):
        return ("drive", "prepare", "--source", source, "--container", "lab", "--driveset", driveset, "--key-file", self.key, *more)

    def tree(self, drive):
        plain, tree = self.root / "plain", self.root / ("tree-" + drive["serial"])
        decrypt(drive["output"], self.key, plain)
        run("e2fsck", "-f", "-n", plain)
        found = read_tree(plain, tree)
        run("sha256sum", "--check", "--strict", "--quiet", drive["checksums"], cwd=tree)
        for name in (drive["manifest"].lstrip("\\"), drive["checksums"]):
            found.pop(name)
        report = self.json("drive", "verify", drive["output"], "--key-file", self.key)
        self.assertEqual((report["is-right"], report["drive-id"], report["manifest-hash"]),
                         (True, drive["serial"], drive["manifest-hash"]))
        return found, tree

    def test_each_file_is_whole_on_the_first_drive_with_room(self):
        rng = seed()
        files = {f"d{i % 5}/f{i:03}": rng.randbytes(rng.randrange(2 * MIB)) for i in range(100)}
        files["large"] = rng.randbytes(40 * MIB)
        source = make_tree(self.root / "source", files)
        (source / "nothing" / "in here").mkdir(parents=True)
        made = self.json(*self.command(source, self.driveset(*self.image_rows("80MiB", "120MiB", "", ))))
        self.assertEqual((made["files"], made["bytes"]), (101, sum(map(len, files.values()))))
        self.assertEqual([drive["serial"] for drive in made["drives"]], ["SER-1", "SER-2", "SER-3"])
        self.assertEqual([drive["size"] for drive in made["drives"]][:2], [80 * MIB, 120 * MIB])
        together, places = {}, []
        for drive in made["drives"]:
            found, tree = self.tree(drive)
            self.assertFalse(together.keys() & found.keys(), "nothing twice")
            together.update(found)
            places.append({path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_dir()})
            self.assertEqual(drive["files"], len(found))
        self.assertEqual(together, files)
        self.assertEqual(sum("nothing/in here" in each for each in places), 1, "an empty directory is somewhere")
        # The first drive is full: the smallest file of the last one would not have fitted.
        self.assertGreater(made["drives"][0]["bytes"], 25 * MIB)
        out, _ = self.ctl(*self.command(source, self.driveset(*self.image_rows("80MiB", "120MiB", "")), "--yes"))
        self.assertIn("on 3 drives", out)
        self.assertEqual(out.count("drayctl add-drive JOB SER-"), 3)

    def test_many_small_files_fill_drives_to_their_limits(self):
        rng = seed()
        files = random_files(rng, 3000, 8000, "some/what/deep/f")
        source = make_tree(self.root / "source", files)
        rows = self.image_rows("38MiB", "39MiB", "40MiB", "41MiB", "42MiB", "43MiB", "")
        made = self.json(*self.command(source, self.driveset(*rows), "--block-size", "4096"))
        together = {}
        for drive in made["drives"]:
            together.update(self.tree(drive)[0])
        self.assertEqual(together, files)

    def test_a_drive_that_is_not_needed_stays_as_it_is(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        rows = self.image_rows("60MiB", "60MiB")
        rows[1][0].write_bytes(b"precious")
        rows[1] = (*rows[1][:4], True)
        out, said = self.ctl("--json=short", *self.command(source, self.driveset(*rows)))
        self.assertIn("2.img is not needed: it stays as it is", said)
        self.assertEqual(rows[1][0].read_bytes(), b"precious")
        self.assertIn('"serial":"SER-1"', out)
        self.assertNotIn("SER-2", out)

    def test_what_cannot_be_is_refused_before_anything_is_written(self):
        source = make_tree(self.root / "source", {"a": b"content", "large": bytes(70 * MIB)})
        rows = self.image_rows("60MiB", "60MiB")
        self.refused(*self.command(source, self.driveset(*rows)), sentence="large (70.0MiB) fits onto none of the 2 drives")
        self.refused(*self.command(source, self.driveset(*self.image_rows("", "60MiB"))), sentence="has no Size")
        self.refused(*self.command(source, self.driveset(*self.image_rows("60MiB", "lots"))), sentence="line 3")
        twice = [rows[0], (rows[1][0], "ser-1", "", "200MiB", False)]
        self.refused(*self.command(source, self.driveset(*twice)), sentence="the serial number ser-1 is there twice")
        good = self.image_rows("60MiB", "200MiB")
        good[1][0].write_bytes(b"precious")
        self.refused(*self.command(source, self.driveset(*good)), sentence="2.img holds data")
        good[1] = (*good[1][:2], self.root / "absent", *good[1][3:])
        self.refused(*self.command(source, self.driveset(*good)), sentence="absent", status=4)
        self.refused(*self.command(source, self.driveset(*rows), "--serial", "X"), sentence="--", status=2)
        self.refused("drive", "prepare", "--source", source, "--container", "lab", "--driveset", self.driveset(*rows),
                     sentence="has no KeyFile, and there is no --key-file")

    def test_stopped_in_between_the_drives_that_are_whole_stay(self):
        rng = seed()
        source = make_tree(self.root / "source", {f"{i:02}": rng.randbytes(16 * MIB) for i in range(40)})
        rows = self.image_rows("400MiB", "")
        process = subprocess.Popen([str(word) for word in (self.bin / "drayctl", *self.command(source, self.driveset(*rows)))],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        part, end = self.shelf / "2.img.part", time.monotonic() + PATIENCE
        while not part.exists():
            self.assertIsNone(process.poll(), "it ended too early")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, out), (130, ""), said)
        self.assertEqual(list(self.shelf.iterdir()), [rows[0][0]])
        self.assertIn("1.img is made, and good: drayctl add-drive JOB SER-1", said)
        self.assertTrue(self.json("drive", "verify", rows[0][0], "--key-file", self.key)["is-right"])
        self.assertFalse(alive(process.pid))

    @unittest.skipIf(os.getuid() != 0 or not os.path.exists("/dev/loop-control"), "no root, or no loop devices")
    def test_devices_are_taken_by_their_lasting_names(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        disk = self.root / "disk"
        with open(disk, "wb") as out:
            out.truncate(100 * MIB)
        node = run("losetup", "--find", "--show", disk).stdout.strip()
        self.addCleanup(run, "losetup", "--detach", node)
        link = self.root / "ata-DISK_1"
        os.symlink(node, link)
        made = self.json(*self.command(source, self.driveset((link, "SER-1", "", "", False))))
        self.assertEqual((made["drives"][0]["output"], made["drives"][0]["size"]), (node, 100 * MIB))
        self.assertTrue(self.json("drive", "verify", node, "--key-file", self.key)["is-right"])

    def test_both_drives_of_a_set_are_imported_by_one_job(self):
        rng = seed()
        with Lab() as lab:
            files = {f"f{i:02}": rng.randbytes(3 * MIB) for i in range(20)}
            source = make_tree(lab.root / "source", files)
            keys = [lab.key_file("SER-1"), lab.key_file("SER-2")]
            rows = [(lab.shelf / f"SER-{n}.img", f"SER-{n}", keys[n - 1], size, False) for n, size in ((1, "64MiB"), (2, ""))]
            made = self.json(*self.command(source, self.driveset(*rows)))
            lab.start()
            lab.create("job", made["drives"])
            for drive in made["drives"]:
                lab.plug(drive["serial"])
            for drive in made["drives"]:
                lab.wait_drive("job", drive["serial"], "State", "Completed")
            self.assertEqual(lab.blobs(), {f"lab/{name}": data for name, data in files.items()})


if __name__ == "__main__":
    unittest.main()
