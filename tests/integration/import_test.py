#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A drive is plugged in, and its content is in the store."""

import json
import os
import pathlib
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402


class Import(unittest.TestCase):
    def test_a_prepared_drive_arrives_whole_and_nothing_else_does(self):
        rng = seed()
        files = {
            "empty": b"",
            "one": b"x",
            "exact.bin": rng.randbytes(4 * MIB),
            "over.bin": rng.randbytes(4 * MIB + 1),
            "large.bin": rng.randbytes(21 * MIB + 513),
            "deep/er/and/deeper/file.txt": b"deep",
            "name with blanks & ampersand <x>.txt": b"odd",
            "f\u00fcr \u65e5\u672c.txt": b"unicode",
            **random_files(rng, 300, 9000, "many/f"),
        }
        with Lab() as lab:
            source = make_tree(lab.root / "source", files)
            drive = lab.prepare("SER-1", source, "lab/in")
            lab.start()
            lab.create("lyon-1", [drive])
            self.assertEqual(lab.job("lyon-1", "State"), "Shipping")
            lab.plug("SER-1")
            lab.wait_job("lyon-1", "State", "Packaging")
            self.assertEqual(lab.drive("lyon-1", "SER-1", "State"), "Completed")
            self.assertEqual(lab.drive("lyon-1", "SER-1", "CopyStatus"), "Completed")
            self.assertEqual(lab.blobs(), {f"lab/in/{name}": data for name, data in files.items()})
            self.assertEqual(lab.job("lyon-1", "BlobsDone"), len(files))
            self.assertEqual(lab.job("lyon-1", "BytesDone"), sum(map(len, files.values())))
            self.assertEqual(lab.job("lyon-1", "Percent"), 100.0)
            self.assertEqual(lab.drive("lyon-1", "SER-1", "VolumeId"), drive["volume-id"])

            log = xml.parse(lab.logs("lyon-1")[0]).getroot()
            self.assertEqual(log.tag, "DriveLog")
            self.assertEqual(log.findtext("DriveId"), "SER-1")
            self.assertEqual(log.findtext("Status"), "Completed")
            self.assertEqual(log.findall("Blob"), [], "an error log of a clean drive names no blob")

            lab.unplug("SER-1")
            lab.ctl("wait", "lyon-1", "--timeout", "60")
            self.assertEqual(lab.drive("lyon-1", "SER-1", "State"), "ShippedBack")
            self.assertEqual(lab.job("lyon-1", "State"), "Completed")
            self.assertEqual(lab.job("lyon-1", "Outcome"), "completed")
            kept = lab.job("lyon-1", "ExpiresUSec") - lab.job("lyon-1", "CompletedUSec")
            self.assertEqual(kept, 90 * 86400 * 10**6)

            lab.ctl("delete", "lyon-1")
            self.assertIsNone(lab.job("lyon-1", "State"))
            self.assertEqual(lab.json("list"), [])
            key = (lab.shelf / "SER-1.key").read_bytes()
            for path in lab.state.rglob("*"):
                if path.is_file():
                    for secret in (key, b"lyon-1", b"SER-1", drive["volume-id"].encode()):
                        self.assertNotIn(secret, path.read_bytes(), f"{path.name} still knows the job")
            self.assertEqual(list((lab.state / "transfers").rglob("*")), [])
            self.assertEqual(len(lab.blobs()), len(files), "what was imported stays")

    def test_a_drive_made_by_cryptsetup_and_mke2fs_arrives_whole_with_both_sector_sizes(self):
        rng = seed()
        for number, sector_size in enumerate((512, 4096)):
            with self.subTest(sector_size=sector_size), Lab(hand_back="at-once") as lab:
                files = {"big.bin": rng.randbytes(9 * MIB + 77), "dir/empty": b"",
                         **random_files(rng, 200, 20000, "dir/sub/f")}
                source = make_tree(lab.root / "source", files)
                with open(source / "sparse.bin", "wb") as sparse:
                    sparse.truncate(6 * MIB)
                    sparse.seek(5 * MIB)
                    sparse.write(b"after the hole")
                options = ("-O", "^metadata_csum,^64bit") if number == 0 else ()
                drive = lab.foreign("FOREIGN", source, "lab", sector_size, mke2fs_options=options)
                lab.start()
                lab.create("oslo", [drive])
                lab.plug("FOREIGN")
                lab.ctl("wait", "oslo", "--timeout", "120")
                self.assertEqual(lab.blobs(), drive["expected"])
                self.assertEqual(lab.drive("oslo", "FOREIGN", "VolumeId"), drive["volume-id"])

    def test_three_drives_at_once_and_a_binary_key(self):
        rng = seed()
        with Lab(hand_back="at-once") as lab:
            drives, expected = [], {}
            for number in range(3):
                files = random_files(rng, 40, 300_000, f"d{number}/f")
                expected.update({f"lab/{name}": data for name, data in files.items()})
                lab.key_file(f"S{number}", bytes(range(256)) + b"\n")
                source = make_tree(lab.root / f"source{number}", files)
                out, _, _ = lab.ctl("--json=short", "drive", "prepare", "--source", source, "--container", "lab",
                                    "--serial", f"S{number}", "--key-file", lab.shelf / f"S{number}.key", "--output",
                                    lab.shelf / f"S{number}.img")
                drives.append(json.loads(out))
            lab.start()
            lab.create("trio", drives)
            for number in range(3):
                lab.plug(f"S{number}")
            lab.ctl("wait", "trio", "--timeout", "120")
            self.assertEqual(lab.blobs(), expected)

    def test_auto_ship_makes_creating_and_plugging_in_all_there_is_to_do(self):
        with Lab(extra="", hand_back="at-once") as lab:
            text = lab.config.read_text().replace("hand-back: at-once", "hand-back: at-once, auto-ship: true")
            lab.config.write_text(text)
            drive = lab.prepare("AUTO", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            lab.create("auto", [drive], ship=False)
            self.assertEqual(lab.job("auto", "State"), "Creating")
            lab.plug("AUTO")
            lab.ctl("wait", "auto", "--timeout", "60")
            self.assertEqual(lab.blobs(), {"lab/a": b"content"})

    def test_every_hand_back_mode_ends_the_job(self):
        for mode in ("release", "unplug", "at-once"):
            with self.subTest(mode=mode), Lab(hand_back=mode) as lab:
                drive = lab.prepare("H", make_tree(lab.root / "source", {"a": b"content"}))
                lab.start()
                lab.create("job-h", [drive])
                lab.plug("H")
                if mode != "at-once":
                    lab.wait_job("job-h", "State", "Packaging")
                if mode == "release":
                    lab.ctl("release", "job-h", "H")
                if mode == "unplug":
                    lab.unplug("H")
                lab.ctl("wait", "job-h", "--timeout", "60")
                self.assertEqual(lab.drive("job-h", "H", "State"), "ShippedBack")

    def test_dispositions_leave_replace_or_rename_what_is_there(self):
        with Lab(hand_back="at-once") as lab:
            lab.start()
            for round_number, disposition in enumerate(("rename", "no-overwrite", "overwrite", "rename")):
                content = f"round {round_number}".encode()
                source = make_tree(lab.root / f"source{round_number}", {"dir.d/a.b.txt": content})
                serial = f"R{round_number}"
                drive = lab.prepare(serial, source, "lab", "--disposition", disposition)
                lab.create(f"r{round_number}", [drive])
                lab.plug(serial)
                lab.wait_job(f"r{round_number}", "State", "Completed")
            self.assertEqual(lab.blobs(), {"lab/dir.d/a.b.txt": b"round 2", "lab/dir.d/a.b (2).txt": b"round 3"})
            self.assertEqual(lab.drive("r1", "R1", "CopyStatus"), "CompletedWithWarnings")
            log = xml.parse(lab.logs("r3")[0]).getroot()
            self.assertEqual(log.find("Blob/ImportDisposition").get("Status"), "Renamed")
            self.assertEqual(log.findtext("Blob/BlobPath"), "lab/dir.d/a.b (2).txt")

    def test_what_scripts_read_is_json_with_raw_numbers(self):
        with Lab() as lab:
            drive = lab.prepare("J", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            self.assertEqual(lab.ctl("list")[0], "No jobs.\n")
            lab.create("job-j", [drive], ship=False)
            job = lab.json("list")[0]
            self.assertEqual((job["job"], job["type"], job["store"], job["state"]),
                             ("job-j", "import", "vault", "Creating"))
            shown = lab.json("show", "job-j")
            self.assertEqual(shown["drives"][0]["serial"], "J")
            self.assertEqual(lab.json("devices"), [])
            self.assertEqual(lab.json("stores")[0]["reachable"], True)
            self.assertIn("jobs", lab.json("status"))

    def test_an_image_that_is_still_being_written_is_not_a_drive(self):
        with Lab() as lab:
            lab.start()
            with open(lab.drives / "slow.img", "wb") as image:
                image.write(b"x" * 1000)
                image.flush()
                (lab.drives / "done.img").write_bytes(b"y" * 1000)
                (lab.drives / ".hidden.img").write_bytes(b"y" * 1000)
                (lab.drives / "copy.img.part").write_bytes(b"y" * 1000)
                lab.wait(lambda: lab.json("devices"), "the closed image to be seen")
                self.assertEqual([device["serial"] for device in lab.json("devices")], ["done"])
            lab.wait(lambda: len(lab.json("devices")) == 2, "the image to be seen once it is closed")


if __name__ == "__main__":
    unittest.main()
