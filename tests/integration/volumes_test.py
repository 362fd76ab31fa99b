#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a drive may hold: LUKS by other programs, no encryption where that is allowed, partition tables; and what
becomes of a drive that cannot be opened, each by its word of the logs (6.3)."""

import hashlib
import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import make_drive  # noqa: E402
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402


class Site:
    """A lab with the same files for every drive, and drives of all kinds."""

    def __init__(self, lab, rng):
        self.lab = lab
        self.source = make_tree(lab.root / "source", {"big.bin": rng.randbytes(5 * MIB + 77), "dir/empty": b"",
                                                      **random_files(rng, 20, 20000, "dir/f")})

    def drive(self, serial, **more):
        manifest, self.expected = make_drive.manifest_of(self.source, serial, serial.lower())
        self.lab.key_file(serial)
        return manifest, {"serial": serial, "manifest": "\\DriveManifest.xml",
                          "manifest-hash": hashlib.md5(manifest).hexdigest().upper(), **more}

    def image(self, serial):
        return self.lab.shelf / f"{serial}.img"

    def plain(self, serial, image=None):
        manifest, drive = self.drive(serial)
        make_drive.make_plain(self.source, image or self.image(serial), manifest)
        return drive

    def luks1(self, serial, **options):
        plain = self.lab.shelf / "plain"
        drive = self.plain(serial, plain)
        drive["volume-id"] = make_drive.make_luks1(plain, self.image(serial), self.lab.shelf / f"{serial}.key", **options)
        plain.unlink()
        return drive

    def luks2(self, serial, image=None, **options):
        manifest, drive = self.drive(serial)
        drive["volume-id"] = make_drive.make_drive(self.source, image or self.image(serial),
                                                   (self.lab.shelf / f"{serial}.key").read_bytes(), manifest=manifest,
                                                   **options)
        return drive

    def partitioned(self, serial, kind, *partitioning, **options):
        volume = self.lab.shelf / "volume"
        drive = kind(serial, volume)
        make_drive.put_into_partition(volume, self.image(serial), *partitioning, **options)
        volume.unlink()
        return drive


class Volumes(unittest.TestCase):
    def arrives(self, lab, site, drive, signature):
        serial = drive["serial"]
        job = f"job-{serial.lower()}"
        lab.create(job, [drive])
        image = lab.plug(serial)
        lab.wait(lambda: lab.drive(job, serial, "State") in ("Completed", "CompletedMoreInfo")
                 or lab.drive(job, serial, "Faulted"), f"{serial} to end")
        self.assertEqual(lab.drive(job, serial, "CopyStatus"), "Completed", serial)
        mine = {name: data for name, data in lab.blobs().items() if name.startswith(serial.lower() + "/")}
        self.assertEqual(mine, site.expected, serial)
        self.assertEqual(lab.drive(job, serial, "VolumeId"), drive.get("volume-id", ""))
        device = next(d for d in lab.json("devices") if d["serial"] == serial)
        self.assertEqual(device["signature"], signature, serial)
        image.unlink()

    def is_refused(self, lab, drive, status, sentence):
        serial = drive["serial"]
        job = f"job-{serial.lower()}"
        lab.create(job, [drive])
        image = lab.plug(serial)
        lab.wait(lambda: lab.drive(job, serial, "State") == "CompletedMoreInfo" or lab.drive(job, serial, "Faulted"),
                 f"{serial} to be refused")
        self.assertEqual(lab.drive(job, serial, "CopyStatus"), status, lab.log()[-2000:])
        self.assertEqual(lab.drive(job, serial, "State"), "CompletedMoreInfo", serial)
        log = xml.parse(lab.logs(job)[0]).getroot()
        self.assertEqual((log.findtext("DriveId"), log.findtext("Status")), (serial, status))
        line = next(line for line in lab.log().splitlines() if f"drive {serial}: " in line and "warning" in line)
        self.assertRegex(line, sentence)
        self.assertFalse([name for name in lab.blobs() if name.startswith(serial.lower() + "/")])
        image.unlink()

    def test_luks1_made_by_qemu_arrives_whole_with_every_cipher_we_know(self):
        rng = seed()
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            for number, options in enumerate((
                    {},
                    {"cipher_alg": "aes-128", "cipher_mode": "xts", "ivgen_alg": "plain64", "hash_alg": "sha512"},
                    {"cipher_alg": "aes-256", "cipher_mode": "cbc", "ivgen_alg": "essiv", "ivgen_hash_alg": "sha256",
                     "hash_alg": "sha1"},
                    {"cipher_alg": "aes-256", "cipher_mode": "cbc", "ivgen_alg": "plain64", "hash_alg": "ripemd160"})):
                with self.subTest(options=options):
                    self.arrives(lab, site, site.luks1(f"QEMU{number}", **options), "crypto_LUKS")

    def test_other_ciphers_of_qemu_are_refused_by_name_BitLockerUnlockVolumeFailed(self):
        rng = seed()
        refused = []
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            for number, (name, options) in enumerate((
                    ("serpent-xts-plain64", {"cipher_alg": "serpent-256"}),
                    ("twofish-xts-plain64", {"cipher_alg": "twofish-256"}),
                    ("aes-xts-plain;", {"ivgen_alg": "plain"}))):
                with self.subTest(name=name):
                    try:
                        drive = site.luks1(f"BAD{number}", **options)
                    except subprocess.CalledProcessError as error:
                        # Builds of qemu differ in what they can.
                        self.assertIn(b"not supported", error.stderr)
                        continue
                    self.is_refused(lab, drive, "BitLockerUnlockVolumeFailed", name)
                    refused.append(name)
        self.assertTrue(refused, "this qemu makes none of them, so nothing was tried")

    def test_a_plain_drive_is_refused_BitLockerNotActivated_unless_the_configuration_allows_it(self):
        rng = seed()
        for allowed in ("false", "true"):
            with self.subTest(allowed=allowed), Lab(extra=f"drives: {{allow-plain: {allowed}}}\n") as lab:
                site = Site(lab, rng)
                lab.start()
                disk = site.partitioned("PARTED", site.plain, "label: gpt\n,,L\n", 1)
                if allowed == "true":
                    self.arrives(lab, site, disk, "gpt")
                    self.arrives(lab, site, site.plain("BARE"), "ext4")
                else:
                    sentence = r"not encrypted: it holds ext4.*drives\.allow-plain: true"
                    self.is_refused(lab, site.plain("BARE"), "BitLockerNotActivated", sentence)
                    self.is_refused(lab, disk, "BitLockerNotActivated", "partition 1: " + ".*" + sentence)

    def test_a_partition_table_leads_to_the_first_partition_for_data(self):
        rng = seed()
        windows = ("label: gpt\nsize=2MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"
                   "size=1MiB, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE\n"
                   "size={size}, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n"
                   "size=1MiB, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC\n{more}")
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            self.arrives(lab, site, site.partitioned("GPT", site.luks2, windows.format(size="60MiB", more=""), 3), "gpt")
            self.arrives(lab, site, site.partitioned("TWO", site.luks2, windows.format(size="60MiB", more=",,L\n"), 3), "gpt")
            self.assertIn("the disk has 2 partitions for data; only the first one, number 3, is read", lab.log())
            self.arrives(lab, site, site.partitioned("MBR", site.luks2, "label: dos\n,,L\n", 1), "dos")
            logical = "label: dos\nsize=1MiB, type=27\n,,E\nsize=1MiB, type=82\n,,83\n"
            self.arrives(lab, site, site.partitioned("LOGICAL", site.luks2, logical, 6), "dos")
            for name, first, signature in (("GPT4K", "g", "gpt"), ("MBR4K", "o", "dos")):
                script = first + "\nn\n" + ("p\n" if first == "o" else "") + "\n\n\nw\n"
                drive = site.partitioned(name, site.luks2, script, 1, sector_size=4096, writer="fdisk")
                self.arrives(lab, site, drive, signature)
            damaged = site.partitioned("SECOND", site.luks2, "label: gpt\n,,L\n", 1)
            flip(site.image("SECOND"), 512 + 40)
            self.arrives(lab, site, damaged, "gpt")
            self.assertRegex(lab.log(), r"SECOND: the first copy of the partition table \(GPT\) is damaged")

    def test_the_partition_that_the_job_names_is_read(self):
        rng = seed()
        two = "label: gpt\nsize=4MiB, type=L\nsize=60MiB, type=L\nsize=1MiB, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC\n"
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            drive = site.partitioned("NAMED", site.luks2, two, 2)
            self.arrives(lab, site, {**drive, "options": ["--partition", "2"]}, "gpt")
            self.assertEqual(lab.drive("job-named", "NAMED", "Partition"), 2)
            self.assertNotIn("only the first one", lab.log())
            drive = site.partitioned("RECOVERY", site.luks2, two.replace("size=60MiB, type=L", "size=60MiB, type="
                                     "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC"), 2)
            self.arrives(lab, site, {**drive, "options": ["--partition", "2"]}, "gpt")
            drive = site.partitioned("MISSING", site.luks2, two, 2)
            self.is_refused(lab, {**drive, "options": ["--partition", "7"]}, "BitLockerVolumeNotFound",
                            r"the job names partition 7, which the drive's partition table \(GPT\) has not \(1: ")
            drive = site.luks2("NOTABLE")
            self.is_refused(lab, {**drive, "options": ["--partition", "1"]}, "BitLockerVolumeNotFound",
                            "the job names partition 1, and the drive has no partition table")

    def test_a_partition_can_be_named_when_the_first_one_is_another_s(self):
        rng = seed()
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            drive = site.partitioned("OTHER", site.luks2, "label: gpt\nsize=60MiB, type=L\nsize=40MiB, type=L\n", 1)
            image = site.image("OTHER")
            # The customer's volume is the second: the first one has another key.
            os.truncate(image, os.path.getsize(image) + 60 * MIB)
            make_drive.run("sfdisk", "-q", image, input=b"label: gpt\nsize=60MiB, type=L\nsize=60MiB, type=L\n")
            with open(image, "r+b") as disk:
                disk.seek(MIB)
                volume = disk.read(60 * MIB)
                disk.seek(61 * MIB)
                disk.write(volume)
            first = lab.shelf / "first"
            make_drive.make_drive(site.source, first, b"somebody else's")
            with open(image, "r+b") as disk:
                disk.seek(MIB)
                disk.write(first.read_bytes()[:60 * MIB])
            lab.create("other", [drive])
            lab.plug("OTHER")
            lab.wait_drive("other", "OTHER", "Faulted", True)
            self.assertIn("the key does not unlock", lab.drive("other", "OTHER", "FaultReason"))
            lab.ctl("retry", "other", "OTHER", "--partition", "2")
            lab.wait_drive("other", "OTHER", "State", "Completed")
            self.assertEqual(lab.blobs(), site.expected)

    def test_a_drive_header_hash_3_4_that_differs_is_warned_of_or_refused(self):
        rng = seed()
        for strict in (False, True):
            with self.subTest(strict=strict), Lab(extra=f"drives: {{strict-header-hash: {str(strict).lower()}}}\n") as lab:
                site = Site(lab, rng)
                lab.start()
                drive = site.partitioned("RIGHT", site.luks2, "label: gpt\n,,L\n", 1)
                right = header_hash(site.image("RIGHT"), (0, MIB), (MIB + 3, 70_001))
                self.arrives(lab, site, {**drive, "options": ["--header-hash", right]}, "gpt")
                self.assertNotIn("header hash", lab.log())
                beyond = f"0:1:{hashlib.sha512(bytes(1)).hexdigest()};{1 << 40}:512:{'0' * 128}"
                differs = "drive header hash does not agree: 1048576 bytes at offset 0 of the disk are not what they were"
                ends = "drive header hash does not agree: it names 512 bytes at offset 1099511627776"
                for serial, sentence in (("WRONG", differs), ("SHORT", ends)):
                    drive = site.partitioned(serial, site.luks2, "label: gpt\n,,L\n", 1)
                    wrong = header_hash(site.image(serial), (0, MIB), (MIB, 4096))
                    flip(site.image(serial), MIB - 1)
                    named = {**drive, "options": ["--header-hash", wrong if serial == "WRONG" else beyond]}
                    if strict:
                        self.is_refused(lab, named, "DiskOperationFailed", sentence)
                    else:
                        self.arrives(lab, site, named, "gpt")
                        self.assertIn(sentence, lab.log())

    def test_a_drive_header_hash_that_is_none_is_refused_before_the_job_has_the_drive(self):
        with Lab() as lab:
            lab.start()
            lab.ctl("create", "hash", "--store", "vault")
            out, err, status = lab.ctl("add-drive", "hash", "H", "--key-file", lab.key_file("H"), "--manifest", "\\m.xml",
                                       "--manifest-hash", "0" * 32, "--header-hash", "0:512:AB", status=None)
            self.assertNotEqual(status, 0)
            self.assertIn('"0:512:AB" in header-hash is no OFFSET:LENGTH:SHA512', out + err)

    def test_disks_without_a_volume_are_refused_BitLockerVolumeNotFound_and_damaged_ones_DiskOperationFailed(self):
        rng = seed()
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            _, drive = site.drive("EMPTY")
            sparse(site.image("EMPTY"))
            self.is_refused(lab, drive, "BitLockerVolumeNotFound", "holds nothing known")
            _, drive = site.drive("EFIONLY")
            sparse(site.image("EFIONLY"))
            make_drive.run("sfdisk", "-q", site.image("EFIONLY"), input=b"label: gpt\nsize=2MiB, type=U\n")
            self.is_refused(lab, drive, "BitLockerVolumeNotFound", r"without a partition for data \(1: EFI system\)")
            _, drive = site.drive("HOLLOW")
            sparse(site.image("HOLLOW"))
            make_drive.run("sfdisk", "-q", site.image("HOLLOW"), input=b"label: gpt\n,,L\n")
            self.is_refused(lab, drive, "BitLockerVolumeNotFound", "partition 1: .*holds nothing known")
            drive = site.partitioned("BROKEN", site.luks2, "label: gpt\n,,L\n", 1)
            flip(site.image("BROKEN"), 512 + 40)
            flip(site.image("BROKEN"), os.path.getsize(site.image("BROKEN")) - 512 + 40)
            self.is_refused(lab, drive, "DiskOperationFailed", r"partition table \(GPT\) is damaged in both places")
            drive = site.partitioned("CUT", site.luks2, "label: gpt\n,,L\n", 1)
            os.truncate(site.image("CUT"), 30 * MIB)
            self.is_refused(lab, drive, "DiskOperationFailed", "the GPT is for a disk of .* sectors at least")

    def test_costs_are_bounded_by_the_configuration_on_both_sides(self):
        rng = seed()
        with Lab(extra="drives: {unlock-memory: 64MiB}\n") as lab:
            site = Site(lab, rng)
            lab.start()
            self.arrives(lab, site, site.luks2("FITS", memory=65536), "crypto_LUKS")
            self.is_refused(lab, site.luks2("GREEDY", memory=65540), "BitLockerUnlockVolumeFailed",
                            r"key slot 0 asks for .*drives\.unlock-memory allows 64")

    def test_a_damaged_first_luks2_header_falls_back_to_the_second_and_both_are_BitLockerFailed(self):
        rng = seed()
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            for serial, sector_size in (("FIRST512", 512), ("FIRST4K", 4096)):
                drive = site.luks2(serial, sector_size=sector_size)
                flip(site.image(serial), 5000)
                self.arrives(lab, site, drive, "crypto_LUKS")
                self.assertIn(f"{serial}: the first LUKS header is damaged; the second one was used", lab.log())
            drive = site.luks2("BOTH")
            flip(site.image("BOTH"), 5000)
            flip(site.image("BOTH"), 16384 + 5000)
            self.is_refused(lab, drive, "BitLockerFailed", "LUKS headers are damaged")
            drive = site.luks2("ERASED")
            make_drive.run("cryptsetup", "luksErase", "-q", site.image("ERASED"))
            self.is_refused(lab, drive, "BitLockerProtectorNotFound", "no key slot")

    def test_other_file_systems_are_refused_by_name_VolumeNotNtfs(self):
        rng = seed()
        with Lab(extra="drives: {allow-plain: true}\n") as lab:
            site = Site(lab, rng)
            lab.start()
            for serial, name, command in (("XFS", "XFS", ["mkfs.xfs", "-q"]), ("BTRFS", "Btrfs", ["mkfs.btrfs", "-q"])):
                _, drive = site.drive(serial)
                sparse(site.image(serial), 512 * MIB)
                make_drive.run(*command, site.image(serial))
                self.is_refused(lab, drive, "VolumeNotNtfs", f"the volume holds {name}; .* can be read")

    def test_a_drive_given_up_with_a_wrong_key_ends_BitLockerKeyInvalid(self):
        rng = seed()
        with Lab() as lab:
            site = Site(lab, rng)
            lab.start()
            drive = site.luks1("WRONG")
            lab.key_file("WRONG", b"another key")
            lab.create("job-wrong", [drive])
            lab.plug("WRONG")
            lab.wait_drive("job-wrong", "WRONG", "Faulted", True)
            self.assertIn("the key does not unlock the volume", lab.drive("job-wrong", "WRONG", "FaultReason"))
            lab.ctl("release", "job-wrong", "WRONG")
            lab.wait_drive("job-wrong", "WRONG", "State", "CompletedMoreInfo")
            self.assertEqual(lab.drive("job-wrong", "WRONG", "CopyStatus"), "BitLockerKeyInvalid")
            log = xml.parse(lab.logs("job-wrong")[0]).getroot()
            self.assertEqual(log.findtext("Status"), "BitLockerKeyInvalid")


def header_hash(path, *regions):
    with open(path, "rb") as disk:
        parts = []
        for offset, length in regions:
            disk.seek(offset)
            parts.append(f"{offset}:{length}:{hashlib.sha512(disk.read(length)).hexdigest()}")
    return ";".join(parts)


def flip(path, offset):
    with open(path, "r+b") as image:
        image.seek(offset)
        byte = image.read(1)[0]
        image.seek(offset)
        image.write(bytes([byte ^ 1]))


def sparse(path, size=32 * MIB):
    with open(path, "wb") as image:
        image.truncate(size)


if __name__ == "__main__":
    unittest.main()
