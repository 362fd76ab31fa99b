#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One job with three drives as customers send them: LUKS2 with ext4, BitLocker with NTFS, a plain exFAT; side by side."""

import contextlib
import hashlib
import lzma
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import bitlocker  # noqa: E402
import make_drive  # noqa: E402
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402

# Made by other programs; they lie beside the clone or are not there.
IMAGES = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bitlk"
IMAGE, PASSWORD = "selfmade-ntfs-aes-xts-256.img.xz", b"anaconda"


def sha256s(blobs):
    return {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}


@contextlib.contextmanager
def decrypted(image, password, mount):
    """The plaintext volume of a BitLocker image as a file that can be written to, by dislocker."""
    mount.mkdir()
    subprocess.run(["dislocker-fuse", "-V", image, f"-u{password.decode()}", "--", mount], check=True, capture_output=True)
    try:
        yield mount / "dislocker-file"
    finally:
        subprocess.run(["umount", mount], check=True)


class ThreeDrives(unittest.TestCase):
    def bitlocker_from_the_images(self, lab, _):
        """The image with a manifest written into it by other programs. Returns the drive and what must arrive."""
        image = lab.shelf / "BITLOCKER.img"
        with lzma.open(IMAGES / IMAGE) as packed, open(image, "wb") as out:
            while piece := packed.read(4 * MIB):
                if piece.count(0) == len(piece):
                    out.seek(len(piece), os.SEEK_CUR)
                else:
                    out.write(piece)
            out.truncate(out.tell())
        listed = {}
        for line in (IMAGES / "selfmade-ntfs.sha256").read_text().splitlines():
            digest, _, name = line.partition("  ")
            listed[name] = digest
        source = lab.root / "ntfs-files"
        with decrypted(image, PASSWORD, lab.root / "plain") as volume:
            for name in listed:
                path = source / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(make_drive.run("ntfscat", volume, name))
            manifest, expected = make_drive.manifest_of(source, "BITLOCKER", "windows")
            (lab.root / "manifest.xml").write_bytes(manifest)
            make_drive.run("ntfscp", volume, lab.root / "manifest.xml", "DriveManifest.xml")
        self.assertEqual(sha256s(expected), {f"windows/{name}": digest for name, digest in listed.items()})
        lab.key_file("BITLOCKER", PASSWORD)
        return self.drive("BITLOCKER", manifest), expected

    def bitlocker_of_our_own(self, lab, rng):
        source = make_tree(lab.root / "ntfs-files", {"Grundriß.dwg": rng.randbytes(7 * MIB + 3), "empty": b"",
                                                     **random_files(rng, 40, 30_000, "Fotos/2026/f")})
        manifest, expected = make_drive.manifest_of(source, "BITLOCKER", "windows")
        plain = lab.root / "ntfs"
        # Where files lie is the library's choice: a size is looked for with which none lies where BitLocker's own data go.
        for size in range(96 * MIB, 192 * MIB, 8 * MIB):
            make_drive.make_ntfs(source, plain, manifest, size=size)
            content = plain.read_bytes()
            if not any(any(content[at : at + length]) for at, length in bitlocker.reserved(size)):
                break
        else:
            self.fail("no NTFS leaves free what BitLocker needs")
        keys = bitlocker.encrypt(plain, lab.shelf / "BITLOCKER.img", "xts-256", recovery=True, rng=rng)
        lab.key_file("BITLOCKER", keys.recovery[0].encode())
        return {**self.drive("BITLOCKER", manifest), "volume-id": keys.identifier}, expected

    def drive(self, serial, manifest):
        return {"serial": serial, "manifest": "\\DriveManifest.xml", "manifest-hash": hashlib.md5(manifest).hexdigest()}

    def luks(self, lab, rng):
        source = make_tree(lab.root / "linux-files", {"disk.raw": rng.randbytes(20 * MIB + 5), "empty": b"",
                                                      **random_files(rng, 40, 30_000, "deep/er/f")})
        manifest, expected = make_drive.manifest_of(source, "LUKS", "linux")
        make_drive.make_drive(source, lab.shelf / "LUKS.img", lab.key_file("LUKS").read_bytes(), manifest=manifest)
        return self.drive("LUKS", manifest), expected

    def exfat(self, lab, rng):
        source = make_tree(lab.root / "stick-files", {"Film \u00e9t\u00e9.mov": rng.randbytes(9 * MIB + 1), "leer": b"",
                                                      **random_files(rng, 40, 30_000, "DCIM/100/f")})
        manifest, expected = make_drive.manifest_of(source, "STICK", "stick")
        make_drive.make_exfat(source, lab.shelf / "STICK.img", manifest)
        lab.key_file("STICK")
        return self.drive("STICK", manifest), expected

    def test_three_drives_arrive_side_by_side(self):
        self.arrive_side_by_side(self.bitlocker_of_our_own)

    def test_three_drives_arrive_side_by_side_with_a_given_image(self):
        if not IMAGES.is_dir():
            self.skipTest("the given images are not beside this clone")
        if not shutil.which("dislocker-fuse") or not os.path.exists("/dev/fuse"):
            self.skipTest("dislocker or /dev/fuse is missing: nothing can be written into the images")
        self.arrive_side_by_side(self.bitlocker_from_the_images)

    def arrive_side_by_side(self, windows):
        rng = seed()
        with Lab(extra="drives: {allow-plain: true}\n") as lab:
            drives = [self.luks(lab, rng), windows(lab, rng), self.exfat(lab, rng)]
            serials = [drive["serial"] for drive, _ in drives]
            lab.start()
            lab.create("three", [drive for drive, _ in drives])
            with lab.held_store() as let_go:
                for serial in serials:
                    lab.plug(serial)
                for serial in serials:
                    lab.wait_drive("three", serial, "CopyStatus", "Transferring")
                self.assertEqual([name for _, name in lab.pair()].count("dray-transfer"), 3)
                self.assertEqual(lab.blobs(), {})
                let_go()
            for serial in serials:
                lab.wait(lambda s=serial: lab.drive("three", s, "State") in ("Completed", "CompletedMoreInfo")
                         or lab.drive("three", s, "Faulted"), f"{serial} to end")
                self.assertEqual(lab.drive("three", serial, "CopyStatus"), "Completed", lab.log()[-2000:])
            expected = {}
            for _, blobs in drives:
                expected.update(blobs)
            self.assertEqual(sha256s(lab.blobs()), sha256s(expected))
            self.assertEqual({d["serial"]: d["signature"] for d in lab.json("devices")},
                             {"LUKS": "crypto_LUKS", "BITLOCKER": "BitLocker", "STICK": "exfat"})


if __name__ == "__main__":
    unittest.main()
