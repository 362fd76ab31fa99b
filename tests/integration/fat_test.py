#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drives with exFAT and FAT through the whole appliance: every file arrives with the right content, encrypted and plain,
whoever wrote it, and what is wrong with such a drive reaches the operator."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import exfat_writer  # noqa: E402
import make_drive  # noqa: E402
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402


def sha256_of(blobs):
    return {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}


class Fat(unittest.TestCase):
    def files(self, rng):
        return {"big.bin": rng.randbytes(9 * MIB + 77), "dir/empty": b"", "dir/deeper/still/One File.txt": b"found",
                "naïve/日本語.txt": b"names", "UPPER.TXT": b"short", **random_files(rng, 30, 60000, "many/a long name of ")}

    def drive(self, lab, serial, source, make, key=True, **options):
        """LUKS2 around what `make` makes; without a key the volume as it is."""
        manifest, expected = make_drive.manifest_of(source, serial, serial.lower())
        lab.key_file(serial)
        image = lab.shelf / f"{serial}.img"
        drive = {"serial": serial, "manifest": "\\DriveManifest.xml",
                 "manifest-hash": hashlib.md5(manifest).hexdigest().upper()}
        plain = lab.shelf / "plain" if key else image
        make(source, plain, manifest, **options)
        if key:
            drive["volume-id"] = make_drive.make_luks2(plain, image, (lab.shelf / f"{serial}.key").read_bytes())
            plain.unlink()
        return drive, expected

    def arrives(self, lab, drive, expected, signature):
        serial, job = drive["serial"], f"job-{drive['serial'].lower()}"
        lab.create(job, [drive])
        lab.plug(serial)
        lab.wait(lambda: lab.drive(job, serial, "State") in ("Completed", "CompletedMoreInfo")
                 or lab.drive(job, serial, "Faulted"), f"{serial} to end")
        self.assertEqual(lab.drive(job, serial, "CopyStatus"), "Completed", lab.log()[-2000:])
        mine = {name: data for name, data in lab.blobs().items() if name.startswith(serial.lower() + "/")}
        self.assertEqual(sha256_of(mine), sha256_of(expected), serial)
        device = next(d for d in lab.json("devices") if d["serial"] == serial)
        self.assertEqual(device["signature"], signature, serial)

    def test_exfat_and_fat32_inside_luks2_arrive_whole(self):
        rng = seed()
        with Lab() as lab:
            source = make_tree(lab.root / "source", self.files(rng))
            lab.start()
            for serial, make, options in (("EXFAT", make_drive.make_exfat, {}), ("FAT32", make_drive.make_fat, {})):
                with self.subTest(serial=serial):
                    drive, expected = self.drive(lab, serial, source, make, **options)
                    self.arrives(lab, drive, expected, "crypto_LUKS")

    def test_plain_exfat_fat12_and_fat16_sticks_arrive_where_they_are_allowed(self):
        rng = seed()
        with Lab(extra="drives: {allow-plain: true}\n") as lab:
            source = make_tree(lab.root / "source", self.files(rng))
            lab.start()
            for serial, signature, make, options in (
                    ("EXFAT", "exfat", make_drive.make_exfat, {}),
                    ("FAT12", "fat12", make_drive.make_fat, {"mkfs_options": ("-F", "12", "-s", "64")}),
                    ("FAT16", "fat16", make_drive.make_fat, {"mkfs_options": ("-F", "16", "-s", "8")})):
                with self.subTest(serial=serial):
                    drive, expected = self.drive(lab, serial, source, make, key=False, **options)
                    self.arrives(lab, drive, expected, signature)

    def test_a_plain_exfat_stick_is_refused_BitLockerNotActivated_by_default(self):
        with Lab() as lab:
            source = make_tree(lab.root / "source", {"a": b"content"})
            lab.start()
            drive, _ = self.drive(lab, "STICK", source, make_drive.make_exfat, key=False)
            lab.create("stick", [drive])
            lab.plug("STICK")
            lab.wait_drive("stick", "STICK", "State", "CompletedMoreInfo")
            self.assertEqual(lab.drive("stick", "STICK", "CopyStatus"), "BitLockerNotActivated")
            lab.wait_log("not encrypted: it holds exFAT")
            self.assertEqual(lab.blobs(), {})

    def test_a_partition_with_exfat_as_sticks_are_sold_arrives(self):
        rng = seed()
        with Lab(extra="drives: {allow-plain: true}\n") as lab:
            source = make_tree(lab.root / "source", self.files(rng))
            lab.start()

            def in_partition(source, image, manifest):
                volume = lab.shelf / "volume"
                make_drive.make_exfat(source, volume, manifest)
                make_drive.put_into_partition(volume, image, "label: dos\nstart=2048, type=7\n", 1)
                volume.unlink()

            drive, expected = self.drive(lab, "SOLD", source, in_partition, key=False)
            self.arrives(lab, drive, expected, "dos")

    def test_what_exfat_fuse_wrote_arrives_and_what_we_wrote_it_reads(self):
        if not os.path.exists("/dev/fuse") or os.geteuid() != 0 or not shutil.which("mount.exfat-fuse"):
            self.skipTest("exfat-fuse needs root and /dev/fuse")
        rng = seed()
        files = self.files(rng)
        with Lab(extra="drives: {allow-plain: true}\n") as lab:
            source = make_tree(lab.root / "source", files)
            lab.start()

            def by_fuse(source, image, manifest):
                with open(image, "wb") as out:
                    out.truncate(128 * MIB)
                make_drive.run("mkfs.exfat", image)
                with self.mounted(image, "rw") as mount:
                    # What is removed again leaves gaps for the others.
                    for number in range(40):
                        (mount / f"filler-{number}").write_bytes(rng.randbytes(100_000))
                    for number in range(0, 40, 2):
                        (mount / f"filler-{number}").unlink()
                    shutil.copytree(source, mount, dirs_exist_ok=True)
                    (mount / "DriveManifest.xml").write_bytes(manifest)
                make_drive.run("fsck.exfat", "-n", image)

            drive, expected = self.drive(lab, "FUSE", source, by_fuse, key=False)
            self.arrives(lab, drive, expected, "exfat")
            ours = lab.root / "ours"
            make_drive.make_exfat(source, ours)
            with self.mounted(ours, "ro") as mount:
                found = {path.relative_to(mount).as_posix(): path.read_bytes() for path in mount.rglob("*") if path.is_file()}
            self.assertEqual(sha256_of(found), sha256_of(files))

    @contextlib.contextmanager
    def mounted(self, image, mode):
        try:
            loop = make_drive.run("losetup", "-f", "--show", image).decode().strip()
        except subprocess.CalledProcessError:
            self.skipTest("there is no loop device")
        mount = pathlib.Path(f"{image}.mount")
        mount.mkdir()
        try:
            subprocess.run(["mount.exfat-fuse", "-o", mode, loop, mount], check=True, capture_output=True)
            try:
                yield mount
            finally:
                make_drive.run("umount", mount)
        finally:
            make_drive.run("losetup", "-d", loop)
            mount.rmdir()

    def test_what_is_odd_about_an_exfat_reaches_the_operator_and_4_8_what_is_damaged_is_logged(self):
        with Lab() as lab:
            files = {"right": b"right" * 1000, "damaged": b"never" * 3000}
            source = make_tree(lab.root / "source", files)
            lab.start()

            def odd(source, image, manifest):
                make_drive.make_exfat(source, image, manifest, layout="scattered", mkfs_options=("-c", "4096"))
                writer = exfat_writer.ExfatWriter(image)
                with open(image, "r+b") as out:
                    # Not unmounted; and the first link of a chain leads nowhere.
                    out.seek(106)
                    out.write(b"\x02\0")
                    content = out.seek(0) or out.read()
                    cluster = (content.index(b"nevernever") - writer.heap_place) // writer.cluster + 2
                    out.seek(writer.fat_place + 4 * cluster)
                    out.write(b"\0\0\0\0")
                writer.file.close()

            drive, expected = self.drive(lab, "ODD", source, odd)
            lab.create("odd", [drive])
            lab.plug("ODD")
            lab.wait_drive("odd", "ODD", "State", "CompletedMoreInfo")
            self.assertEqual(lab.blobs(), {"odd/right": expected["odd/right"]})
            log = xml.parse(lab.logs("odd")[0]).getroot()
            self.assertEqual([(blob.findtext("BlobPath"), blob.get("Status")) for blob in log.findall("Blob")],
                             [("odd/damaged", "IOFailed")])
            lab.wait_log("job odd, drive ODD: the exFAT was not unmounted cleanly")


if __name__ == "__main__":
    unittest.main()
