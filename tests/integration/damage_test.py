#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drives with places that cannot be read, by a fault device of the tests' own: as images, and as real block devices.
Bad places cost what lies in them, byte for byte, and nothing else."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import errno  # noqa: E402
import hashlib  # noqa: E402

import make_drive  # noqa: E402
from expected_logs import RNG, md5  # noqa: E402
from fault_device import FaultDevice, missing  # noqa: E402
from lab import MIB, UID, Lab, make_tree, seed  # noqa: E402
from udev_test import missing as udev_missing  # noqa: E402
from udev_test import running_udevd  # noqa: E402

BLOCK = 4096
PIECE = 4 * MIB


def page_blob(path, name, data, extra=""):
    ranges = "".join(f'<PageRange Offset="{at}" Length="{len(part)}" Hash="{md5(part)}"/>'
                     for at, part in make_drive.pieces_of(data))
    return (f"<Blob><BlobPath>{path}</BlobPath><FilePath>\\{name}</FilePath><Length>{len(data)}</Length>"
            f"<PageRangeList>{ranges}</PageRangeList>{extra}</Blob>")


class Drive:
    """A drive of files, one blob each (`*.page` page blobs), and where what of it lies in its image."""

    def __init__(self, lab, serial, files, sector_size=None, side_files=None):
        self.lab, self.serial, self.files = lab, serial, files
        source = make_tree(lab.root / f"source-{serial}", {**files, **(side_files or {})})
        blobs = []
        for name, data in files.items():
            path, extra = "\\" + name.replace("/", "\\"), ""
            if name + ".meta" in (side_files or {}):
                extra = f'<MetadataPath Hash="{md5(side_files[name + ".meta"])}">{path}.meta</MetadataPath>'
            if name.endswith(".page"):
                blobs.append(page_blob(f"lab/{name}", path[1:], data, extra))
            else:
                blobs.append(make_drive.blob_xml(f"lab/{name}", path, data, extra=extra))
        manifest = make_drive.manifest_xml(serial, blobs)
        self.manifest_hash = hashlib.md5(manifest).hexdigest()
        self.plain, self.image = lab.shelf / f"{serial}.plain", lab.shelf / f"{serial}.img"
        make_drive.make_plain(source, self.plain, manifest, mke2fs_options=("-b", str(BLOCK), "-O", "^has_journal"))
        self.key, self.offset = lab.key_file(serial), 0
        if sector_size is None:
            os.rename(self.plain, self.image)
            self.plain = self.image
        else:
            make_drive.make_luks2(self.plain, self.image, self.key.read_bytes(), sector_size)
            self.offset = int(make_drive.luks2_segment(self.image)["offset"])

    def _debugfs(self, request):
        return make_drive.run("debugfs", "-R", request, self.plain).decode()

    def at(self, name, byte=0):
        """Where in the image a byte of a file lies, or of a directory's list."""
        blocks = [int(number) for number in self._debugfs(f'blocks "/{name}"').split()]
        return self.offset + blocks[byte // BLOCK] * BLOCK + byte % BLOCK

    def inode(self, name):
        """Where in the image the block of the inode table lies that has this file."""
        return self.offset + int(re.search("located at block ([0-9]+)", self._debugfs(f'imap "/{name}"'))[1]) * BLOCK

    def job(self, name="job"):
        self.lab.ctl("create", name, "--type", "import", "--store", "vault")
        self.lab.ctl("add-drive", name, self.serial, "--key-file", self.key, "--manifest", "\\DriveManifest.xml",
                     "--manifest-hash", self.manifest_hash)
        self.lab.ctl("ship", name)

    def expected(self, without=()):
        return {f"lab/{name}": data for name, data in self.files.items() if name not in without}


@unittest.skipIf(missing(), missing())
class Damage(unittest.TestCase):
    @contextlib.contextmanager
    def breaking(self, **options):
        with Lab(extra="drives: {allow-plain: true}\n", hand_back="at-once", **options) as lab, \
                FaultDevice(lab.drives) as device:
            try:
                yield lab, device
            finally:
                # The image source must let go of the directory first.
                if lab.drayd is not None:
                    lab.kill_drayd(15)

    def log_of(self, lab, job="job"):
        """({blob: (status, {offset: status}, [lost])}, the drive's status); checked against the format."""
        path, = lab.logs(job)
        make_drive.run("xmllint", "--noout", "--relaxng", RNG, path)
        root = xml.parse(path, xml.XMLParser(target=xml.TreeBuilder(insert_comments=True))).getroot()
        blobs = {}
        for blob in root.findall("Blob"):
            pieces = {int(piece.get("Offset")): piece.get("Status") for piece in blob.iter()
                      if piece.tag in ("Block", "PageRange")}
            lost = [(tuple(map(int, re.findall('"([0-9]+)"', comment.text))), "at most" not in comment.text)
                    for comment in blob if comment.tag is xml.Comment]
            blobs[blob.findtext("BlobPath")] = (blob.get("Status"), pieces, lost)
        return blobs, root.findtext("Status")

    def test_one_bad_sector_costs_the_piece_over_it_and_is_named_to_the_byte(self):
        rng = seed()
        with self.breaking() as (lab, device):
            files = {"dir/large": rng.randbytes(5 * PIECE + 77), "image.page": rng.randbytes(3 * PIECE),
                     "dir/good": rng.randbytes(6 * MIB), "small": rng.randbytes(999), "twice": rng.randbytes(9 * MIB)}
            drive = Drive(lab, "SECTOR", files, 4096)
            rule = device.bad(drive.at("dir/large", 2 * PIECE + 123_456 // BLOCK * BLOCK),
                              drive.at("dir/large", 2 * PIECE + 123_456 // BLOCK * BLOCK) + 512)
            device.bad(drive.at("image.page", PIECE + BLOCK), drive.at("image.page", PIECE + BLOCK) + 1)
            # Bad at its first reading alone: the long read, and the short one in its place.
            healed = device.bad(drive.at("twice", 5 * MIB), drive.at("twice", 5 * MIB) + 512, times=2)
            device.add(drive.image)
            lab.start()
            drive.job()
            lab.ctl("wait", "job", "--timeout", "240", status=None)
            blobs, status = self.log_of(lab)
            self.assertEqual(status, "CompletedWithErrors")
            lost = 2 * PIECE + 123_456 // BLOCK * BLOCK
            self.assertEqual(blobs, {
                "lab/dir/large": ("CompletedWithErrors", {**{n * PIECE: "Uncommitted" for n in (0, 1, 3, 4, 5)},
                                                          2 * PIECE: "IOFailed"}, [((lost, 4096), True)]),
                "lab/image.page": ("CompletedWithErrors", {PIECE: "IOFailed"}, [((PIECE + BLOCK, 4096), True)])})
            page = files["image.page"]
            self.assertEqual(lab.blobs(), {**drive.expected(["dir/large", "image.page"]),
                                           "lab/image.page": page[:PIECE] + bytes(PIECE) + page[2 * PIECE:]})
            self.assertEqual(device.hits(healed), 2, "it was met, and was whole at the second reading")
            self.assertIn(f"drive SECTOR: \\dir\\large: 4096 bytes from {lost} on cannot be read", lab.log())
            self.assertIn(f"drive SECTOR: \\image.page: 4096 bytes from {PIECE + BLOCK} on cannot be read", lab.log())
            self.assertIn("2 of 5 blobs have errors; the error log names them; 8192 bytes of 2 files cannot be read "
                          "from the drive", lab.log())
            self.assertEqual(lab.log().count("on cannot be read"), 2)
            self.assertEqual(min(device.told(rule)["sizes"]), 4096, "the smallest read is the encryption's sector")
            self.assertLess(device.hits(rule), 40)
            self.assertEqual(lab.leftovers(), [])

    @unittest.skipIf(udev_missing(), udev_missing())
    def test_a_block_device_with_bad_sectors(self):
        """EIO from the block layer, and sectors of 512 bytes: two beside each other, one elsewhere, one at the end."""
        rng = seed()
        with running_udevd(), Lab(sources="[udev]", hand_back="at-once") as lab, contextlib.ExitStack() as ends:
            (lab.root / "faulty").mkdir()
            device = ends.enter_context(FaultDevice(lab.root / "faulty"))
            files = {"large": rng.randbytes(3 * PIECE), "good": rng.randbytes(2 * MIB), "last": rng.randbytes(70_001)}
            drive = Drive(lab, "BLOCKDEV", files, 512)
            rule = device.bad(drive.at("large", PIECE + 8192), drive.at("large", PIECE + 8192) + 1024)
            device.bad(drive.at("large", PIECE + 3 * MIB + 512), drive.at("large", PIECE + 3 * MIB + 512) + 512)
            device.bad(drive.at("last", 70_000), drive.at("last", 70_000) + 1)
            image = device.add(drive.image)
            node = make_drive.run("losetup", "-f", "--show", "--direct-io=on", image).decode().strip()
            ends.callback(subprocess.run, ["losetup", "-d", node], capture_output=True)
            lab.start()
            ends.callback(lambda: lab.kill_drayd(15))
            drive.job()
            lab.ctl("wait", "job", "--timeout", "240", status=None)
            end = 70_001 // 512 * 512
            self.assertEqual(self.log_of(lab), ({
                "lab/large": ("CompletedWithErrors", {0: "Uncommitted", PIECE: "IOFailed", 2 * PIECE: "Uncommitted"},
                              [((PIECE + 8192, 1024), True), ((PIECE + 3 * MIB + 512, 512), True)]),
                "lab/last": ("IOFailed", {0: "IOFailed"}, [((end, 70_001 - end), True)])}, "CompletedWithErrors"))
            self.assertEqual(lab.blobs(), drive.expected(["large", "last"]))
            self.assertEqual(min(device.told(rule)["sizes"]), 512)

    def test_damage_in_metadata_costs_the_files_beneath_and_no_others(self):
        rng = seed()
        with self.breaking() as (lab, device):
            files = {f"{folder}/f{number:02}": rng.randbytes(rng.randrange(1, 20_000))
                     for folder in ("a", "b", "c") for number in range(40)}
            drive = Drive(lab, "META", files)
            of_folders = {drive.inode(folder) for folder in ("a", "b", "c", "DriveManifest.xml")}
            blocks = {name: drive.inode(name) for name in files if name[0] != "c"}
            block = next(block for block in blocks.values() if block not in of_folders)
            beneath = {name for name, place in blocks.items() if place == block}
            self.assertLess(len(beneath), 17)
            beneath |= {name for name in files if name[0] == "c"}
            device.bad(block, block + BLOCK)
            device.bad(drive.at("c"), drive.at("c") + BLOCK)
            device.add(drive.image)
            lab.start()
            drive.job()
            lab.ctl("wait", "job", "--timeout", "240", status=None)
            blobs, _ = self.log_of(lab)
            self.assertEqual(blobs, {f"lab/{name}": ("IOFailed", {0: "Cancelled"}, [((0, len(files[name])), True)])
                                     for name in beneath})
            self.assertEqual(lab.blobs(), drive.expected(beneath))

    def test_a_manifest_or_a_side_file_that_cannot_be_read(self):
        rng = seed()
        with self.breaking() as (lab, device):
            side = {"one.meta": b"<Metadata><site>dc7</site></Metadata>"}
            drives = [Drive(lab, serial, {"one": rng.randbytes(MIB), "two": b"2"}, side_files=side)
                      for serial in ("MANIFEST", "SIDEFILE")]
            device.add(drives[0].image)
            rule = device.bad(drives[0].at("DriveManifest.xml"), drives[0].at("DriveManifest.xml") + 1)
            lab.start()
            drives[0].job("manifest")
            lab.ctl("wait", "manifest", "--timeout", "240", status=None)
            self.assertEqual(self.log_of(lab, "manifest"), ({}, "ReadManifestFailed"))
            self.assertRegex(lab.log(), r"drive MANIFEST: the manifest \\?DriveManifest.xml: .*cannot be read at offset")
            self.assertEqual(lab.blobs(), {})
            self.assertGreater(device.hits(rule), 0)
            device.heal()
            device.bad(drives[1].at("one.meta"), drives[1].at("one.meta") + 1)
            device.add(drives[1].image)
            drives[1].job("side")
            lab.ctl("wait", "side", "--timeout", "240", status=None)
            self.assertEqual(self.log_of(lab, "side")[0], {"lab/one": ("CompletedWithErrors", {}, [])})
            self.assertIn('<Metadata Status="IOFailed">', lab.logs("side")[0].read_text())
            self.assertEqual(lab.blobs(), drives[1].expected())

    def test_a_luks_header_that_cannot_be_read_is_read_from_its_second_place(self):
        """And with the first block bad, the last one tells that the device is there."""
        rng = seed()
        with self.breaking() as (lab, device):
            drives = [Drive(lab, f"HEADER{n}", {f"{n}/large": rng.randbytes(2 * PIECE), f"{n}/good": rng.randbytes(99)},
                            4096) for n in range(4)]
            lab.start()
            both = 32 * 1024
            cases = (((0, 1), "CompletedWithErrors"), ((both // 2 - 1, both // 2), "CompletedWithErrors"),
                     ((0, both), "DiskOperationFailed"), ((both, both + 4 * MIB), "DiskOperationFailed"))
            for number, (drive, (bad, status)) in enumerate(zip(drives, cases)):
                with self.subTest(bad=bad):
                    device.heal()
                    device.bad(*bad)
                    device.bad(drive.at(f"{number}/large", PIECE), drive.at(f"{number}/large", PIECE) + 1)
                    device.add(drive.image)
                    drive.job(drive.serial)
                    lab.ctl("wait", drive.serial, "--timeout", "240", status=None)
                    blobs, found = self.log_of(lab, drive.serial)
                    self.assertEqual(found, status)
                    is_open = status == "CompletedWithErrors"
                    self.assertEqual(blobs, {f"lab/{number}/large": (
                        "CompletedWithErrors", {0: "Uncommitted", PIECE: "IOFailed"}, [((PIECE, 4096), True)])}
                                     if is_open else {})
                    self.assertIn(f"drive {drive.serial}: the first LUKS header is damaged; the second one was used"
                                  if is_open else "cannot be read at offset", lab.log())
                    self.assertEqual({name: data for name, data in lab.blobs().items() if f"/{number}/" in name},
                                     drive.expected([f"{number}/large"]) if is_open else {})

    def test_the_last_block_and_a_place_before_it(self):
        rng = seed()
        with self.breaking() as (lab, device):
            drive = Drive(lab, "LASTBLOCK", {"large": rng.randbytes(PIECE), "good": b"good"})
            size = drive.image.stat().st_size
            device.bad(size - BLOCK, size)
            device.bad(drive.at("large", 5 * BLOCK), drive.at("large", 5 * BLOCK) + 1)
            device.add(drive.image)
            lab.start()
            drive.job()
            lab.ctl("wait", "job", "--timeout", "240", status=None)
            self.assertEqual(self.log_of(lab)[0], {"lab/large": ("IOFailed", {0: "IOFailed"}, [((5 * BLOCK, 512), True)])})
            self.assertEqual(lab.blobs(), {"lab/good": b"good"})

    def test_a_disk_that_dies_in_mid_copy_loses_nothing(self):
        """Everything fails from some moment on, with the words of a bad sector or of a disk that is gone."""
        rng = seed()
        with self.breaking() as (lab, device):
            lab.start()
            for number in (errno.EIO, errno.ENODEV):
                serial = f"DYING{number}"
                drive = Drive(lab, serial, {f"{number}/f{n}": rng.randbytes(2 * PIECE) for n in range(8)})
                first = min(drive.at(name) for name in drive.files)
                content = device.bad(first, number=0, delay=0.01)  # slow, and well
                device.bad(number=number, after=60)
                device.add(drive.image)
                drive.job(serial)
                lab.wait_log(f"job {serial}, drive {serial}: its device is gone")
                self.assertGreater(device.hits(content), 0, "it was in mid-copy")
                self.assertEqual(lab.drive(serial, serial, "State"), "Received")
                device.heal()
                lab.ctl("wait", serial, "--timeout", "240")
                self.assertEqual({name: data for name, data in lab.blobs().items() if f"/{number}/" in name},
                                 drive.expected())
                self.assertEqual(self.log_of(lab, serial), ({}, "Completed"))
            self.assertNotIn("on cannot be read", lab.log())

    def test_a_device_that_is_shorter_than_its_file_system(self):
        rng = seed()
        with self.breaking() as (lab, device):
            drive = Drive(lab, "SHORT", {"one": rng.randbytes(MIB), "two": rng.randbytes(8 * MIB)})
            ends = max(drive.at(name, len(data) - 1) for name, data in drive.files.items())
            device.add(drive.image)
            device.size("SHORT.img", ends // BLOCK * BLOCK)
            lab.start()
            drive.job()
            lab.ctl("wait", "job", "--timeout", "240", status=None)
            self.assertEqual(self.log_of(lab), ({}, "DiskOperationFailed"))
            self.assertIn(f"but the volume ends at {ends // BLOCK * BLOCK}; it was cut off", lab.log())
            self.assertEqual(lab.blobs(), {})

    def test_a_bad_area_takes_a_limited_number_of_reads(self):
        rng = seed()
        with self.breaking() as (lab, device):
            drive = Drive(lab, "AREA", {"large": rng.randbytes(3 * PIECE), "good": rng.randbytes(PIECE)})
            rule = device.bad(drive.at("large", PIECE), drive.at("large", 2 * PIECE - 1) + 1)
            device.add(drive.image)
            lab.start()
            drive.job()
            lab.ctl("wait", "job", "--timeout", "240", status=None)
            self.assertEqual(self.log_of(lab)[0], {
                "lab/large": ("CompletedWithErrors", {0: "Uncommitted", PIECE: "IOFailed", 2 * PIECE: "Uncommitted"},
                              [((PIECE, PIECE), False)])})
            self.assertIn(f"\\large: up to {PIECE} bytes from {PIECE} on cannot be read", lab.log())
            self.assertLess(device.hits(rule), 1200)
            self.assertEqual(lab.blobs(), {"lab/good": drive.files["good"]})


if __name__ == "__main__":
    unittest.main()
