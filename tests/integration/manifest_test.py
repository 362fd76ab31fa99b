#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A bad manifest is refused as a whole, by name, with nothing in the store but the log."""

import hashlib
import os
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, make_tree  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402

CONTENT = b"content of the file"
HASH = hashlib.md5(CONTENT).hexdigest()


def with_blocks(blocks, length=len(CONTENT)):
    return manifest_xml("SER", ["<Blob><BlobPath>lab/a</BlobPath><FilePath>\\a</FilePath>"
                                f"<Length>{length}</Length><BlockList>{blocks}</BlockList></Blob>"])


GOOD = manifest_xml("SER", [blob_xml("lab/a", "\\a", CONTENT)])

# description: (manifest bytes, manifest path, hash given to the job or None for the right one, status)
REFUSED = {
    "it is for another drive": (manifest_xml("OTHER", [blob_xml("lab/a", "\\a", CONTENT)]), None, None,
                                "ManifestDriveIdMismatch"),
    "its hash is another one": (GOOD, None, "0" * 32, "ManifestCorrupted"),
    "it is not there": (GOOD, "\\Missing.xml", None, "ManifestNotFound"),
    "its path climbs out": (GOOD, "\\..\\..\\DriveManifest.xml", None, "ManifestNameInvalid"),
    "its path has a component of 300 characters": (GOOD, "\\" + "x" * 300, None, "ManifestNameTooLong"),
    "it leads over a link": (GOOD, "\\link\\DriveManifest.xml", None, "ManifestAccessDenied"),
    "it is no XML": (b"DriveId: SER\n", None, None, "ManifestFormatInvalid"),
    "it is cut": (GOOD[:-40], None, None, "ManifestFormatInvalid"),
    "it has a DTD": (GOOD.replace(b"<DriveManifest", b'<!DOCTYPE d [<!ENTITY e "x">]><DriveManifest', 1), None, None,
                     "ManifestFormatInvalid"),
    "it nests without end": (GOOD.replace(b"<BlobList>", b"<BlobList>" + b"<x>" * 100_000 + b"</x>" * 100_000), None,
                             None, "ManifestFormatInvalid"),
    "its pieces overlap": (with_blocks(f'<Block Offset="0" Length="12" Hash="{HASH}"/>'
                                       f'<Block Offset="8" Length="11" Hash="{HASH}"/>'), None, None,
                           "ManifestFormatInvalid"),
    "its pieces leave a gap": (with_blocks(f'<Block Offset="0" Length="8" Hash="{HASH}"/>'
                                           f'<Block Offset="12" Length="7" Hash="{HASH}"/>'), None, None,
                               "ManifestFormatInvalid"),
    "a hash is too short": (with_blocks(f'<Block Offset="0" Length="{len(CONTENT)}" Hash="{HASH[:-2]}"/>'), None, None,
                            "ManifestFormatInvalid"),
    "a length has 30 digits": (with_blocks(f'<Block Offset="0" Length="{"9" * 30}" Hash="{HASH}"/>'), None, None,
                               "ManifestFormatInvalid"),
    "the drive's id comes last": (b"<DriveManifest><Drive><BlobList>" +
                                  blob_xml("lab/a", "\\a", CONTENT).encode() +
                                  b"</BlobList><DriveId>SER</DriveId></Drive></DriveManifest>", None, None,
                                  "ManifestFormatInvalid"),
}


class Manifest(unittest.TestCase):
    def test_each_bad_manifest_is_refused_by_its_own_name(self):
        with Lab() as lab:
            source = make_tree(lab.root / "source", {"a": CONTENT})
            os.symlink("/", source / "link")
            lab.start()
            for number, (what, (manifest, path, given, status)) in enumerate(REFUSED.items()):
                with self.subTest(what):
                    job = f"m{number}"
                    drive = lab.foreign("SER", source, manifest=manifest)
                    if path:
                        drive["manifest"] = path
                    if given:
                        drive["manifest-hash"] = given
                    lab.create(job, [drive])
                    lab.plug("SER")
                    lab.wait_drive(job, "SER", "State", "CompletedMoreInfo")
                    self.assertEqual(lab.drive(job, "SER", "CopyStatus"), status)
                    self.assertFalse(lab.drive(job, "SER", "Faulted"))
                    self.assertEqual(lab.blobs(), {})
                    log = xml.parse(lab.logs(job)[0]).getroot()
                    self.assertEqual(log.findtext("Status"), status)
                    self.assertEqual(log.findall("Blob"), [])
                    lab.unplug("SER")
                    lab.wait_job(job, "State", "Closed")

    def test_files_that_are_missing_or_climb_out_stop_nothing_else(self):
        with Lab() as lab:
            secret = lab.root / "secret"
            secret.write_bytes(CONTENT)
            source = make_tree(lab.root / "source", {"a": CONTENT, "b": CONTENT})
            os.symlink(secret, source / "link")
            os.symlink("a", source / "inner-link")
            bad = {"missing": ("\\missing", "FileNotFound"), "climbs": ("\\..\\..\\secret", "FileNameInvalid"),
                   "link": ("\\link", "FileAccessDenied"), "inner": ("\\inner-link", "FileAccessDenied"),
                   "long": ("\\" + "y" * 300, "FileNameTooLong")}
            blobs = [blob_xml("lab/a", "\\a", CONTENT)]
            blobs += [blob_xml(f"lab/{name}", path, CONTENT) for name, (path, _) in bad.items()]
            blobs += [blob_xml("lab/b", "\\b", CONTENT)]
            drive = lab.foreign("SER", source, manifest=manifest_xml("SER", blobs))
            lab.start()
            lab.create("paths", [drive])
            lab.plug("SER")
            lab.wait_drive("paths", "SER", "State", "CompletedMoreInfo")
            self.assertEqual(lab.drive("paths", "SER", "CopyStatus"), "CompletedWithErrors")
            self.assertEqual(lab.blobs(), {"lab/a": CONTENT, "lab/b": CONTENT})
            log = xml.parse(lab.logs("paths")[0]).getroot()
            self.assertEqual({b.findtext("BlobPath"): b.get("Status") for b in log.findall("Blob")},
                             {f"lab/{name}": status for name, (_, status) in bad.items()})


if __name__ == "__main__":
    unittest.main()
