#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drayctl drive repair: from the logs of real imports of damaged drives to new drives that bring what was missing, until
the store holds everything; and originals that are gone, changed or there twice."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import make_drive  # noqa: E402
from drive_case import DriveCase  # noqa: E402
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402
from prepare_test import decrypt, run  # noqa: E402

METADATA = b'<?xml version="1.0" encoding="UTF-8"?>\n<Metadata><site>dc7</site></Metadata>\n'


def log_of(blobs, serial="SER-1", status="CompletedWithErrors"):
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<DriveLog Version="2014-11-01">\n'
            f"  <DriveId>{serial}</DriveId>\n{''.join(blobs)}  <Status>{status}</Status>\n</DriveLog>\n")


def failed(name, file, length, status="FileNotFound", disposition="Cancelled", extra=""):
    return (f'  <Blob Status="{status}"><BlobPath>{name}</BlobPath><FilePath>{file}</FilePath><Length>{length}</Length>'
            f'<ImportDisposition Status="{disposition}">rename</ImportDisposition>{extra}</Blob>\n')


class DriveRepair(DriveCase):
    def repair(self, source, log, *more, status=0):
        path = self.root / "error.xml"
        path.write_text(log)
        return self.json("drive", "repair", self.image, "--key-file", self.key, "--log", path, "--source", source, *more,
                         status=status)

    def states(self, report):
        return {each["blob"]: each["original"] for each in report["blobs"]}

    def spoil(self, image, key, files):
        """Changes a byte of each of these files: {path on the drive: offset}."""
        plain = self.root / "plain"
        decrypt(image, key, plain)
        offset = int(make_drive.luks2_segment(image)["offset"])
        with open(image, "r+b") as out:
            for name, at in files.items():
                block = int(run("debugfs", "-R", f"bmap /{name} {at // 4096}", plain).stdout)
                place = offset + block * 4096 + at % 4096
                out.seek(place)
                byte = out.read(1)[0]
                out.seek(place)
                out.write(bytes([byte ^ 1]))

    # -- with the appliance

    def test_what_an_import_lost_comes_with_a_new_drive(self):
        rng = seed()
        with Lab() as lab:
            disk = bytearray(12 * MIB)
            for at in (0, 5 * MIB, 9 * MIB):
                disk[at : at + 2000] = rng.randbytes(2000)
            files = {"large": rng.randbytes(9 * MIB), "fine": b"fine", **random_files(rng, 10, 9000, "d/f")}
            source = make_tree(lab.root / "source", files)
            disks = make_tree(lab.root / "disks", {"c.vhd": bytes(disk), "d.vhd": bytes(disk)})
            (lab.root / "meta.xml").write_bytes(METADATA)
            dataset = lab.root / "dataset.csv"
            dataset.write_text("BasePath,DstBlobPathOrPrefix,Disposition,MetadataFile\n"
                               f"{source}/,lab/in/,no-overwrite,{lab.root / 'meta.xml'}\n{disks}/,lab/,rename,\n")
            self.key = lab.key_file("SER-1")
            self.image = lab.shelf / "SER-1.img"
            drive = self.json("drive", "prepare", "--dataset", dataset, "--serial", "SER-1", "--key-file", self.key,
                              "--output", self.image)
            self.spoil(self.image, self.key, {"s001/large": 5 * MIB + 17, "s001/d/f00003.bin": 0, "s002/c.vhd": 9 * MIB})
            expected = {**{f"lab/in/{name}": data for name, data in files.items()}, "lab/c.vhd": bytes(disk), "lab/d.vhd": bytes(disk)}
            lab.start()
            lab.create("job", [drive])
            lab.plug("SER-1")
            lab.wait_drive("job", "SER-1", "State", "CompletedMoreInfo")
            lost = {"lab/in/large", "lab/in/d/f00003.bin", "lab/c.vhd"}
            self.assertEqual({name for name, data in expected.items() if lab.blobs().get(name) != data}, lost)
            log, = lab.logs("job")

            lab.unplug("SER-1")
            lab.key_file("FIX-1")
            report = self.json("drive", "repair", self.image, "--key-file", self.key, "--log", log, "--source", source,
                               "--source", disks, "--output", lab.shelf / "FIX-1.img", "--serial", "FIX-1",
                               "--output-key-file", lab.shelf / "FIX-1.key")
            self.assertEqual(self.states(report), dict.fromkeys(lost, "right"))
            # A page blob is there with a hole and must be replaced; block blobs come as they were meant to.
            self.assertEqual({each["blob"]: each["disposition"] for each in report["blobs"]},
                             {"lab/in/large": "no-overwrite", "lab/in/d/f00003.bin": "no-overwrite", "lab/c.vhd": "overwrite"})
            verified = self.json("drive", "verify", lab.shelf / "FIX-1.img", "--key-file", lab.shelf / "FIX-1.key")
            self.assertEqual((verified["is-right"], verified["blobs"]), (True, 3))

            lab.create("repair", [{"serial": "FIX-1", "manifest": report["manifest"], "manifest-hash": report["manifest-hash"]}])
            lab.plug("FIX-1")
            # With a word about the one that was overwritten.
            lab.wait_drive("repair", "FIX-1", "State", "CompletedMoreInfo")
            self.assertEqual(lab.drive("repair", "FIX-1", "CopyStatus"), "CompletedWithWarnings")
            self.assertEqual(lab.blobs(), expected)
            self.assertEqual(lab.side()["lab/in/large"][1], {"site": "dc7"})

    # -- originals

    def test_each_way_of_not_having_an_original_is_named_and_mapped(self):
        rng = seed()
        files = {name: rng.randbytes(10_000) for name in ("right", "gone", "changed", "longer", "twice", "good")}
        drive_files = {f"s001/{name}": data for name, data in files.items()}
        blobs = [blob_xml(f"lab/{name}", f"\\s001\\{name}", data, piece=4096) for name, data in files.items()]
        self.foreign(make_tree(self.root / "drive", drive_files), manifest=manifest_xml("SER-1", blobs))
        source = make_tree(self.root / "source", {
            "right": files["right"], "changed": files["changed"][:-1] + b"?", "longer": files["longer"] + b"x",
            "twice": files["twice"], "s001/twice": files["twice"], "good": files["good"]})
        log = log_of([failed(f"lab/{name}", f"\\s001\\{name}", 10_000) for name in files if name != "good"])
        path_map = self.root / "map"
        report = self.repair(source, log, "--path-map", path_map, status=1)
        self.assertEqual(self.states(report), {"lab/right": "right", "lab/gone": "missing", "lab/changed": "changed",
                                               "lab/longer": "changed", "lab/twice": "several"})
        self.assertEqual((report["to-repair"], report["originals-right"], report["output"]), (5, 1, ""))
        reasons = {each["blob"]: each["reason"] for each in report["blobs"]}
        self.assertIn("has other content at 8192 (1808 bytes)", reasons["lab/changed"])
        self.assertIn("has 10001 bytes, not 10000", reasons["lab/longer"])
        self.assertEqual(path_map.read_text(), "".join(f"\\s001\\{name}\n" for name in ("changed", "gone", "longer", "twice")))
        # The same file by two paths is one.
        (source / "s001" / "twice").unlink()
        os.link(source / "twice", source / "s001" / "twice")
        # Who knows better says so; a wrong one does not do either.
        elsewhere = make_tree(self.root / "elsewhere", {"g": files["gone"], "c": files["changed"], "l": b"no"})
        path_map.write_text(f"\\s001\\gone\t{elsewhere}/g\n\\s001\\changed\t{elsewhere}/c\n\\s001\\longer\t{elsewhere}/l\n")
        fix = self.shelf / "fix.img"
        report = self.repair(source, log, "--path-map", path_map, "--output", fix, "--serial", "FIX", status=1)
        self.assertEqual(self.states(report), {"lab/right": "right", "lab/gone": "right", "lab/changed": "right",
                                               "lab/longer": "changed", "lab/twice": "right"})
        self.assertIn(f"\\s001\\longer\t{elsewhere}/l\n", path_map.read_text(), "what somebody wrote stays")
        plain, tree = self.root / "plain", self.root / "tree"
        decrypt(fix, self.key, plain)
        tree.mkdir()
        run("debugfs", "-R", f"rdump / {tree}", plain)
        brought = {path.read_bytes() for path in tree.glob("s0*/*")}
        self.assertEqual(brought, {files[name] for name in ("right", "gone", "changed", "twice")})
        run("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS", cwd=tree)

    def test_metadata_comes_from_the_drive_or_from_the_sources(self):
        other = METADATA.replace(b"dc7", b"dc8")
        side = '<MetadataPath Hash="{}">{}</MetadataPath>'
        blobs = [blob_xml("lab/a", "\\a", b"content", extra=side.format(make_drive.hashlib.md5(METADATA).hexdigest(), "\\meta.xml")),
                 blob_xml("lab/b", "\\a", b"content", extra=side.format(make_drive.hashlib.md5(other).hexdigest(), "\\other.xml")),
                 blob_xml("lab/c", "\\a", b"content", extra=side.format("0" * 32, "\\other.xml"))]
        self.foreign(make_tree(self.root / "drive", {"a": b"content", "meta.xml": METADATA, "other.xml": b"spoilt"}),
                     manifest=manifest_xml("SER-1", blobs))
        source = make_tree(self.root / "source", {"a": b"content", "other.xml": other})
        bad = '<Metadata Status="Corrupted"/>'
        log = log_of([failed(f"lab/{name}", "\\a", 7, "CompletedWithErrors", "Created", bad) for name in "abc"])
        report = self.repair(source, log, "--output", self.shelf / "fix.img", "--serial", "FIX", status=1)
        self.assertEqual(self.states(report), {"lab/a": "right", "lab/b": "right", "lab/c": "missing"})
        self.assertIn("neither on the drive nor below the sources", report["blobs"][2]["reason"])
        # Their content is in the store, without metadata.
        self.assertEqual({each["disposition"] for each in report["blobs"]}, {"overwrite"})
        verified = self.json("drive", "verify", self.shelf / "fix.img", "--key-file", self.key)
        self.assertEqual((verified["is-right"], verified["side-files"]), (True, 2))

    def test_logs_that_do_not_belong_to_the_drive_are_refused(self):
        self.foreign(make_tree(self.root / "source", {"a": b"content"}))
        source = self.root / "source"
        path = self.root / "log.xml"
        repair = ("drive", "repair", self.image, "--key-file", self.key, "--log", path, "--source", source)
        for text, sentence, status in (
                (log_of([], serial="SER-2"), "the log is of drive SER-2, and this one is SER-1", 1),
                (log_of([failed("lab/x", "\\x", 1)]), "the log names lab/x, which the drive's manifest does not have", 1),
                ("<DriveLog>", "copy log line 1: not well-formed", 1),
                ("<Other/>", "the root element is <Other>", 1),
                ("<DriveLog/>", "no <DriveId>", 1)):
            path.write_text(text)
            self.refused(*repair, sentence=sentence, status=status)
        path.unlink()
        self.refused(*repair, sentence="log.xml", status=4)
        self.refused(*repair[:-2], sentence="--source", status=2)
        # Nothing failed: nothing is to be done, and no drive is made.
        path.write_text(log_of([], status="Completed"))
        report = self.json(*repair, "--output", self.shelf / "fix.img", "--serial", "FIX")
        self.assertEqual((report["to-repair"], report["output"]), (0, ""))
        self.assertEqual(list(self.shelf.iterdir()), [self.image])
        self.assertIn("names nothing that has to be repaired", self.ctl(*repair)[0])


if __name__ == "__main__":
    unittest.main()
