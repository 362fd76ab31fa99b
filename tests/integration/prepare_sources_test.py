#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drayctl drive prepare with datasets, page blobs, metadata and properties files, exclude patterns and checksums. What it
makes is looked at with cryptsetup, e2fsprogs, sha256sum and Python, and imported by the whole appliance."""

import csv
import hashlib
import io
import os
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from drive_case import DriveCase  # noqa: E402
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402
from prepare_test import decrypt, read_tree, run  # noqa: E402

METADATA = b'<?xml version="1.0" encoding="UTF-8"?>\n<Metadata><site>dc7</site><rack>4 &amp; 5</rack></Metadata>\n'
PROPERTIES = (b'<?xml version="1.0" encoding="UTF-8"?>\n<Properties><Content-Type>text/plain</Content-Type>'
              b"<Cache-Control>no-cache</Cache-Control></Properties>\n")
HEAD = ("BasePath", "DstBlobPathOrPrefix", "BlobType", "Disposition", "MetadataFile", "PropertiesFile")


def md5(content):
    return hashlib.md5(content).hexdigest().upper()


class PrepareSources(DriveCase):
    def dataset(self, *rows, head=HEAD):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([head, *([str(field) for field in row] for row in rows)])
        path = self.root / "dataset.csv"
        path.write_bytes(text.getvalue().encode())
        return path

    def command(self, *words, output=None):
        return ("drive", "prepare", "--serial", "SER-1", "--key-file", self.key, "--output", output or self.image, *words)

    def tree(self, drive):
        """All files of the drive by other programs, after sha256sum found them right; without what dray adds."""
        plain, tree = self.root / "plain", self.root / f"tree{len(list(self.root.glob('tree*')))}"
        decrypt(self.image, self.key, plain)
        run("e2fsck", "-f", "-n", plain)
        found = read_tree(plain, tree)
        run("sha256sum", "--check", "--strict", "--quiet", drive["checksums"], cwd=tree)
        manifest = found.pop(drive["manifest"].lstrip("\\"))
        listed = found.pop(drive["checksums"]).decode().splitlines()
        self.assertEqual(sorted(line[66:] for line in listed), sorted(found))
        self.assertEqual(md5(manifest), drive["manifest-hash"])
        report = self.json("drive", "verify", self.image, "--key-file", self.key)
        self.assertTrue(report["is-right"])
        return found, xml.fromstring(manifest)

    # -- many sources

    def test_a_dataset_brings_directories_and_files_to_their_blobs(self):
        rng = seed()
        photos = make_tree(self.root / "photos, 2026", {"a.jpg": b"jpeg", "deep/b.jpg": b"more", **random_files(rng, 20, 5000, "d/f")})
        disks = make_tree(self.root / "disks", {"one.VHD": bytes(8 * 512) + rng.randbytes(512) + bytes(512), "notes.txt": b"odd"})
        lone = make_tree(self.root / "lone", {"file.bin": rng.randbytes(5 * MIB + 3)}) / "file.bin"
        (self.root / "meta.xml").write_bytes(METADATA)
        (self.root / "props.xml").write_bytes(PROPERTIES)
        (self.root / "other.xml").write_bytes(PROPERTIES.replace(b"plain", b"html"))
        dataset = self.dataset(
            (f"{photos}/", "photos/2026/", "BlockBlob", "rename", self.root / "meta.xml", "None"),
            (f"{disks}/", "disks/", "", "overwrite", "none", ""),
            (lone, "lab/in/renamed.bin", "block", "no-overwrite", self.root / "meta.xml", self.root / "props.xml"),
            (lone, "$root/again", "", "", "", self.root / "other.xml"))
        drive = self.json(*self.command("--dataset", dataset))
        found, manifest = self.tree(drive)
        inner = {path.relative_to(photos).as_posix(): path.read_bytes() for path in photos.rglob("*") if path.is_file()}
        expected = {**{f"s001/{name}": data for name, data in inner.items()},
                    **{f"s002/{path.name}": path.read_bytes() for path in disks.iterdir()},
                    "s003/file.bin": lone.read_bytes(), "s004/file.bin": lone.read_bytes(),
                    "Metadata.xml": METADATA, "Properties.xml": PROPERTIES,
                    "Properties-2.xml": PROPERTIES.replace(b"plain", b"html")}
        self.assertEqual(found.keys(), expected.keys())
        self.assertEqual(found, expected)
        self.assertEqual(drive["files"], len(inner) + 4)
        self.assertEqual(drive["bytes"], sum(map(len, expected.values())) - sum(len(expected[name]) for name in expected
                                                                              if name.endswith(".xml")))
        blobs = {}
        for blob_list in manifest.findall("Drive/BlobList"):
            for blob in blob_list.findall("Blob"):
                shared = [(kind, blob_list.find(kind + "Path").text) for kind in ("Metadata", "Properties")
                          if blob_list.find(kind + "Path") is not None]
                blobs[blob.findtext("BlobPath")] = (blob.findtext("FilePath"), blob.findtext("ImportDisposition"), shared,
                                                    blob.find("PageRangeList") is not None)
        self.assertEqual(blobs.pop("photos/2026/deep/b.jpg"), ("\\s001\\deep\\b.jpg", None, [("Metadata", "\\Metadata.xml")], False))
        self.assertEqual(blobs.pop("disks/one.VHD"), ("\\s002\\one.VHD", "overwrite", [], True))
        self.assertEqual(blobs.pop("disks/notes.txt"), ("\\s002\\notes.txt", "overwrite", [], False))
        self.assertEqual(blobs.pop("lab/in/renamed.bin"), ("\\s003\\file.bin", "no-overwrite", [
            ("Metadata", "\\Metadata.xml"), ("Properties", "\\Properties.xml")], False))
        self.assertEqual(blobs.pop("$root/again"), ("\\s004\\file.bin", None, [("Properties", "\\Properties-2.xml")], False))
        self.assertEqual(len(blobs), len(inner) - 1)

    def test_rows_that_cannot_be_are_refused_with_their_line_before_anything_is_written(self):
        source = make_tree(self.root / "source", {"a": b"content", "disk.vhd": bytes(513)})
        base = f"{source}/"
        for row, sentence, status in (
                ((base, "lab", "", "", "", ""), "must end with '/'", 1),
                ((source, "lab/x", "", "", "", ""), "is no file: it is a directory", 1),
                ((source / "a", "lab/", "", "", "", ""), "must be a blob's whole path", 1),
                ((base, "LAB/", "block", "", "", ""), "lower-case", 1),
                ((base, "lab/", "", "", "", ""), "disk.vhd has 513 bytes, and a page blob a multiple of 512", 1),
                ((base, "lab/", "block", "Rename", "", ""), "none of rename", 1),
                ((base, "lab/", "block", "", self.root / "absent.xml", ""), "absent.xml", 4),
                ((self.root / "absent/", "lab/x", "", "", "", ""), "absent", 4),
                ((base, "$root/", "file", "", "", ""), "file shares", 1)):
            with self.subTest(sentence):
                good = (source / "a", "lab/good", "", "", "", "")
                said = self.refused(*self.command("--dataset", self.dataset(good, row)), sentence=sentence, status=status)
                self.assertIn("line 3", said)
        self.refused(*self.command("--dataset", self.root / "absent.csv"), sentence="absent.csv", status=4)
        self.refused(*self.command("--dataset", self.dataset()), sentence="no row")
        self.refused(*self.command("--dataset", self.dataset((base, "lab/", "block", "", "", "")), "--source", source), sentence="--", status=2)
        self.refused(*self.command("--dataset", self.dataset((base, "lab/", "block", "", "", "")), "--blob-type", "page"),
                     sentence="--", status=2)
        self.refused(*self.command("--source", source), sentence="--container", status=2)
        # Nothing that a row names may hold the drive or its key.
        self.refused(*self.command("--dataset", self.dataset((base, "lab/", "block", "", "", "")), output=source / "x.img"),
                     sentence="it would hold itself")
        self.key = self.root / "source" / "key"
        self.key.write_bytes(b"key")
        self.refused(*self.command("--dataset", self.dataset((base, "lab/", "block", "", "", ""))), sentence="would go onto the drive")

    # -- page blobs

    def test_a_page_blob_lists_what_is_not_zero_and_reads_back_whole(self):
        rng = seed()
        content = bytearray(21 * MIB + 512)
        for _ in range(12):
            at, size = rng.randrange(len(content) // 512) * 512, rng.randrange(1, 3 * MIB)
            content[at : at + size] = rng.randbytes(len(content[at : at + size]))
        content[5 * MIB : 13 * MIB] = bytes(8 * MIB)  # one stretch of 4 MiB at least is empty
        files = {"disk.img": bytes(content), "empty": b"", "zeros": bytes(9 * MIB), "one": bytes(512 * 7) + b"x" + bytes(511)}
        source = make_tree(self.root / "source", files)
        drive = self.json(*self.command("--source", source, "--container", "lab", "--blob-type", "page"))
        found, manifest = self.tree(drive)
        self.assertEqual(found, files)
        for blob in manifest.iter("Blob"):
            data = files[blob.findtext("BlobPath")[4:]]
            self.assertEqual(int(blob.findtext("Length")), len(data))
            rebuilt, end = bytearray(len(data)), 0
            for each in blob.find("PageRangeList"):
                offset, length = int(each.get("Offset")), int(each.get("Length"))
                self.assertEqual((offset % 512, length % 512, length <= 4 * MIB, offset >= end), (0, 0, True, True))
                part = data[offset : offset + length]
                self.assertTrue(any(part[:512]) and any(part[-512:]), "no page of zeros at its ends")
                self.assertEqual(each.get("Hash"), md5(part))
                rebuilt[offset : offset + length] = part
                end = offset + length
            self.assertEqual(bytes(rebuilt), data, "what is not listed is zeros")
        counts = {blob.findtext("BlobPath"): len(blob.find("PageRangeList")) for blob in manifest.iter("Blob")}
        self.assertEqual((counts["lab/empty"], counts["lab/zeros"], counts["lab/one"]), (0, 0, 1))
        self.assertLess(counts["lab/disk.img"], 6)

    def test_page_blobs_need_whole_pages(self):
        source = make_tree(self.root / "source", {"odd": bytes(511)})
        words = ("--source", source, "--container", "lab", "--blob-type", "page")
        self.refused(*self.command(*words), sentence="odd has 511 bytes")
        (source / "odd").write_bytes(bytes(512))
        self.ctl(*self.command(*words))

    # -- metadata and properties

    def test_side_files_are_looked_at_before_anything_is_written(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        words = ("--source", source, "--container", "lab")
        bad = self.root / "bad.xml"
        for option, content, sentence in (
                ("--metadata-file", b"<Metadata>", "not well-formed"),
                ("--metadata-file", PROPERTIES, "the root element is <Properties>"),
                ("--metadata-file", b"<Metadata><a-b>x</a-b></Metadata>", "no identifier"),
                ("--metadata-file", b"<Metadata><a>" + b"x" * 8192 + b"</a></Metadata>", "more than 8192 bytes"),
                ("--properties-file", b"<!DOCTYPE x><Properties/>", "document type"),
                ("--properties-file", b"<Properties><Content-MD5>x</Content-MD5></Properties>", "Content-MD5"),
                ("--properties-file", b"<Properties>" + b" " * 70_000 + b"</Properties>", "longer than 65536")):
            with self.subTest(sentence):
                bad.write_bytes(content)
                self.refused(*self.command(*words, option, bad), sentence=sentence)
        # At the limit of 8 KiB, and names of the source that are taken.
        bad.write_bytes(b"<Metadata><a>" + b"x" * 8191 + b"</a></Metadata>")
        (source / "metadata.XML").write_bytes(b"mine")
        (source / "SHA256SUMS").write_bytes(b"mine too")
        drive = self.json(*self.command(*words, "--metadata-file", bad))
        found, manifest = self.tree(drive)
        self.assertEqual(found["Metadata-2.xml"], bad.read_bytes())
        self.assertEqual(drive["checksums"], "SHA256SUMS-2")
        self.assertEqual(manifest.find("Drive/BlobList/MetadataPath").text, "\\Metadata-2.xml")
        self.assertEqual(manifest.find("Drive/BlobList/MetadataPath").get("Hash"), md5(bad.read_bytes()))

    # -- patterns

    def test_what_fits_a_pattern_is_left_out_at_any_depth(self):
        files = {"a.tmp": b"1", "b.txt": b"2", "cache/x": b"3", "d/cache/y": b"4", "d/e/z.tmp": b"5", ".hidden": b"6", "d/keep": b"7"}
        source = make_tree(self.root / "source", files)
        # What could not go onto a drive is no obstacle once it is left out.
        (source / "bad\\name.tmp").write_bytes(b"8")
        words = ("--source", source, "--container", "lab", "--exclude", "*.tmp", "--exclude", "cache", "--exclude", ".*")
        drive = self.json(*self.command(*words))
        found, _ = self.tree(drive)
        self.assertEqual(found.keys(), {"b.txt", "d/cache/y", "d/keep"})
        self.assertEqual(drive["excluded"], 5)
        self.refused(*self.command("--source", source, "--container", "lab", "--exclude", "*", output=self.shelf / "y.img"),
                     sentence="has no files but those that were left out")

    # -- and the appliance

    def test_what_was_prepared_arrives_with_type_metadata_and_properties(self):
        rng = seed()
        with Lab() as lab:
            disk = bytearray(3 * MIB)
            disk[MIB : MIB + 5000] = rng.randbytes(5000)
            source = make_tree(lab.root / "source", {"a.txt": b"text", "dir/b": rng.randbytes(70_000)})
            disks = make_tree(lab.root / "disks", {"c.vhdx": bytes(disk)})
            (lab.root / "meta.xml").write_bytes(METADATA)
            (lab.root / "props.xml").write_bytes(PROPERTIES)
            self.key = lab.key_file("SER-1")
            self.image = lab.shelf / "SER-1.img"
            drive = self.json(*self.command("--dataset", self.dataset(
                (f"{source}/", "lab/in/", "", "", lab.root / "meta.xml", lab.root / "props.xml"),
                (f"{disks}/", "lab/", "", "", "", ""))))
            lab.start()
            lab.create("job", [drive])
            lab.plug("SER-1")
            lab.wait_drive("job", "SER-1", "State", "Completed")
            self.assertEqual(lab.drive("job", "SER-1", "CopyStatus"), "Completed")
            self.assertEqual(lab.blobs(), {"lab/in/a.txt": b"text", "lab/in/dir/b": (source / "dir" / "b").read_bytes(),
                                           "lab/c.vhdx": bytes(disk)})
            side = lab.side()
            kind, metadata, properties = side["lab/in/a.txt"]
            self.assertEqual((kind, metadata), ("block", {"site": "dc7", "rack": "4 & 5"}))
            self.assertEqual({name.lower(): value for name, value in properties.items() if value},
                             {"content-type": "text/plain", "cache-control": "no-cache"})
            self.assertEqual(side["lab/c.vhdx"][0], "page")


if __name__ == "__main__":
    unittest.main()
