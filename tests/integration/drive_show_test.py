#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drayctl drive show: drives of every kind, most of them by other programs than dray's."""

import fcntl
import hashlib
import os
import pathlib
import shlex
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import bitlocker  # noqa: E402
import make_drive  # noqa: E402
from drive_case import KEY, DriveCase  # noqa: E402
from lab import MIB, make_tree, random_files, seed  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402


def md5(content):
    return hashlib.md5(content).hexdigest().upper()


class DriveShow(DriveCase):
    def source(self, files=None):
        return make_tree(self.root / "source", files or {"a.bin": b"content", "dir/b": b"more"})

    def show(self, *more, status=0, key=True):
        return self.json("drive", "show", self.image, *(("--key-file", self.key) if key else ()), *more, status=status)

    def test_a_prepared_drive_is_shown_with_all_that_add_drive_asks_for(self):
        files = random_files(seed(), 20, 9000, "d/f")
        drive = self.prepare(self.source(files))
        shown = self.show()
        self.assertEqual((shown["volume"], shown["volume-id"], shown["file-system"], shown["size"]),
                         ("luks2", drive["volume-id"], "ext4", self.image.stat().st_size))
        manifest, = shown["manifests"]
        self.assertEqual((manifest["manifest"], manifest["manifest-hash"], manifest["drive-id"], manifest["kind"]),
                         (drive["manifest"], drive["manifest-hash"], "SER-1", "import"))
        self.assertEqual((manifest["blobs"], manifest["bytes"], manifest["version"], manifest["containers"]),
                         (20, sum(map(len, files.values())), "2014-11-01", ["lab"]))
        self.assertEqual(shlex.split(manifest["next"]), shlex.split(drive["next"]))
        # For eyes the same, and a sentence about what it is good for.
        out, said = self.ctl("drive", "show", self.image, "--key-file", self.key)
        self.assertIn(drive["manifest-hash"], out)
        self.assertIn("made for an import: a job can take it", out)
        self.assertEqual(said, "")
        self.assertNotIn("made for an import", self.ctl("-q", "drive", "show", self.image, "--key-file", self.key)[0])

    def test_volumes_and_file_systems_of_every_kind_are_named(self):
        source = self.source()
        manifest, _ = make_drive.manifest_of(source, "SER-1", "lab")
        plain = self.root / "plain"

        def shown(volume, file_system, **more):
            found = self.show(**more)
            self.assertEqual((found["volume"], found["file-system"]), (volume, file_system))
            self.assertEqual(found["manifests"][0]["manifest-hash"], md5(manifest))
            self.image.unlink()
            return found

        for file_system, make in (("ntfs", make_drive.make_ntfs), ("exfat", make_drive.make_exfat),
                                  ("fat32", make_drive.make_fat)):
            make(source, plain, manifest)
            make_drive.make_luks2(plain, self.image, KEY)
            shown("luks2", file_system)
        make_drive.make_plain(source, plain, manifest)
        self.key.write_bytes(b"text, because qemu-img asks for UTF-8")
        identifier = make_drive.make_luks1(plain, self.image, self.key)
        self.assertEqual(shown("luks1", "ext4")["volume-id"], identifier)
        self.key.write_bytes(KEY)
        plain.rename(self.image)
        found = shown("plain", "ext4", key=False)
        self.assertEqual(found["volume-id"], "")
        # In a partition.
        make_drive.make_drive(source, self.root / "volume", KEY, manifest=manifest)
        make_drive.put_into_partition(self.root / "volume", self.image, "label: gpt\n2048,8192,U\n,\n", 2)
        self.assertEqual(shown("luks2", "ext4")["partition-table"], "gpt")
        # BitLocker around an NTFS whose free middle is where its metadata goes.
        size = 24 * MIB
        bad = self.root / "bad-blocks"
        bad.write_text("".join(f"{block}\n" for at, length in bitlocker.reserved(size, 512, False)
                               for block in range(at // 4096, (at + length + 4095) // 4096)))
        make_drive.make_plain(source, plain, manifest, size=size, mke2fs_options=("-b", "4096", "-l", bad))
        keys = bitlocker.encrypt(plain, self.image, password="anaconda", recovery=None, start_up_key=False)
        self.key.write_bytes(b"anaconda")
        self.assertEqual(shown("bitlocker", "ext4")["volume-id"].lower(), keys.identifier.lower())

    def test_an_exported_drive_is_known_by_its_manifest_without_credential(self):
        manifest = manifest_xml("EX-9", [blob_xml("lab/a", "\\lab\\a", b"content")]).replace(
            b"<ContainerSas>none?sig=none</ContainerSas>", b"")
        self.foreign(self.source({"lab/a": b"content"}), manifest=manifest, name="EX-9.manifest")
        found, = self.show()["manifests"]
        self.assertEqual((found["kind"], found["drive-id"], found["manifest"]), ("export", "EX-9", "\\EX-9.manifest"))
        self.assertEqual(shlex.split(found["next"])[:3], ["drayctl", "drive", "verify"])
        self.assertIn("written by an export", self.ctl("drive", "show", self.image, "--key-file", self.key)[0])

    def test_several_manifests_none_and_a_broken_one_are_told_apart(self):
        source = self.source()
        second = manifest_xml("SER-2", [blob_xml("other/a", "\\a.bin", b"content")])
        (source / "Old-MANIFEST-copy.xml").write_bytes(second)
        (source / "manifest of a ship.txt").write_bytes(b"not XML")
        self.foreign(source)
        found = {each["manifest"]: each for each in self.show()["manifests"]}
        self.assertEqual({path: each["kind"] for path, each in found.items()},
                         {"\\DriveManifest.xml": "import", "\\Old-MANIFEST-copy.xml": "import",
                          "\\manifest of a ship.txt": "unusable"})
        self.assertIn("not well-formed", found["\\manifest of a ship.txt"]["problem"])
        self.assertIn("several manifests", self.ctl("drive", "show", self.image, "--key-file", self.key)[0])
        named = self.show("--manifest", "\\old-manifest-COPY.xml")["manifests"]
        self.assertEqual([each["drive-id"] for each in named], ["SER-2"])
        self.assertEqual(self.show("--manifest", "\\a.bin", status=1)["manifests"][0]["kind"], "unusable")
        self.assertIn("no such file", self.show("--manifest", "\\absent", status=1)["manifests"][0]["problem"])

        self.foreign(make_tree(self.root / "bare", {"a": b"x"}), manifest=False)
        self.assertEqual(self.show()["manifests"], [])
        self.assertIn("no manifest in the drive's root", self.ctl("drive", "show", self.image, "--key-file", self.key)[0])

    def test_more_manifests_than_are_looked_at_are_said(self):
        for count in (16, 17):
            files = {f"manifest{i:02}": b"x" for i in range(count)}
            self.foreign(make_tree(self.root / f"source{count}", files), manifest=False)
            self.assertEqual(len(self.show()["manifests"]), 16)
            out, _ = self.ctl("drive", "show", self.image, "--key-file", self.key)
            self.assertEqual("more files with such names" in out, count == 17)

    def test_what_does_not_open_is_said_in_a_sentence(self):
        self.prepare(self.source())
        show = ("drive", "show", self.image)
        self.refused(*show, sentence="without --key-file only a drive that is not encrypted opens")
        wrong = self.root / "wrong"
        wrong.write_bytes(b"wrong")
        self.refused(*show, "--key-file", wrong, sentence="x.img")
        self.refused(*show, "--key-file", self.root / "absent", sentence="absent", status=4)
        self.refused("drive", "show", self.shelf / "absent", "--key-file", self.key, sentence="absent", status=4)
        self.refused("drive", "show", self.shelf, "--key-file", self.key, sentence="neither an image file nor a block device")
        self.refused("drive", "show", sentence="IMAGE|DEVICE", status=2)
        with open(self.image, "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            self.refused(*show, "--key-file", self.key, sentence="is in use")
            fcntl.flock(held, fcntl.LOCK_SH)
            self.ctl(*show, "--key-file", self.key)
        pathlib.Path(self.image).write_bytes(bytes(MIB))
        self.refused(*show, "--key-file", self.key, sentence="cannot open")

    def test_names_of_a_hostile_drive_steer_no_terminal(self):
        manifest = manifest_xml("\u009b31mSER", [blob_xml("lab\u009b31m/a", "\\a", b"content")])
        source = make_tree(self.root / "source", {"a": b"content", "manifest\x1b[31m": b"x"})
        self.foreign(source, manifest=manifest)
        out, said = self.ctl("drive", "show", self.image, "--key-file", self.key)
        for text in (out, said):
            self.assertNotIn("\x1b", text)
            self.assertNotIn("\u009b", text)


if __name__ == "__main__":
    unittest.main()
