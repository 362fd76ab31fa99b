#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of each blob of a manifest, in the store and in the logs; everything that is compared was reckoned by
tests/support/expected_logs.py, which has nothing of dray's in it. Rows of the specification's tables that a real drive
and a real store can bring about are named here; the others are in tests/unit/transfer."""

import hashlib
import os
import sys
import unittest
from xml.sax.saxutils import escape

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import expected_logs  # noqa: E402
from expected_logs import Book, md5  # noqa: E402
from lab import MIB, Lab, make_tree, seed  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402

PAGE = 512


def side_xml(kind, path, data, hash_of=None):
    return f'<{kind}Path Hash="{md5(data if hash_of is None else hash_of)}">{escape(path)}</{kind}Path>'


def metadata_xml(**values):
    return ("<Metadata>" + "".join(f"<{k}>{v}</{k}>" for k, v in values.items()) + "</Metadata>").encode()


def properties_xml(**values):
    return ("<Properties>" + "".join(f"<{k.replace('_', '-')}>{v}</{k.replace('_', '-')}>" for k, v in values.items()) +
            "</Properties>").encode()


def page_xml(blob_path, file_path, length, ranges, disposition=None, extra=""):
    """ranges: (offset, bytes as the manifest has them)."""
    wish = f"<ImportDisposition>{disposition}</ImportDisposition>" if disposition else ""
    body = "".join(f'<PageRange Offset="{offset}" Length="{len(data)}" Hash="{md5(data)}"/>' for offset, data in ranges)
    return (f"<Blob><BlobPath>{escape(blob_path)}</BlobPath><FilePath>{escape(file_path)}</FilePath>"
            f"<Length>{length}</Length>{wish}<PageRangeList>{body}</PageRangeList>{extra}</Blob>")


class OutcomesCase(unittest.TestCase):
    # Other suites run the same against another store.
    lab = Lab

    def run_drive(self, lab, job, serial, source, manifest, closed=(), options=(), hash_of=hashlib.md5):
        """Imports and compares store and logs with what they must be. Returns the book."""
        before = lab.blobs()
        side_before = self.side(lab)
        drive = lab.foreign(serial, source, manifest=manifest)
        lab.ctl("create", job, "--type", "import", "--store", lab.store, "--log-level", "Verbose", "--backup-manifest",
                *options)
        lab.ctl("add-drive", job, serial, "--key-file", lab.shelf / f"{serial}.key", "--manifest", drive["manifest"],
                "--manifest-hash", hash_of(manifest).hexdigest())
        lab.ctl("ship", job)
        lab.plug(serial)
        lab.wait(lambda: lab.drive(job, serial, "State") in ("Completed", "CompletedMoreInfo"), f"{job} to be done")
        book = Book(manifest, source, before, closed)
        self.maxDiff = None
        for is_verbose, name in ((True, "VerboseLogUri"), (False, "ErrorLogUri")):
            log = expected_logs.read(lab.file_of(lab.drive(job, serial, name)))
            wanted = book.log(is_verbose)
            self.assertEqual([blob[:2] for blob in log[1]], [blob[:2] for blob in wanted[1]], name)
            for found, blob in zip(log[1], wanted[1]):
                self.assertEqual(found, blob, name)
            self.assertEqual(log, wanted)
        self.assertEqual(lab.file_of(lab.drive(job, serial, "ManifestUri")).read_bytes(), manifest)
        self.assertEqual(lab.drive(job, serial, "CopyStatus"), book.status)
        self.assertEqual(lab.drive(job, serial, "State"),
                         "Completed" if book.status == "Completed" else "CompletedMoreInfo")
        self.assertEqual({k: len(v) for k, v in lab.blobs().items()}, {k: len(v) for k, v in book.blobs.items()})
        for name, content in lab.blobs().items():
            self.assertTrue(content == book.blobs[name], f"the content of {name}")
        self.assertEqual(self.side(lab), {**{k: v for k, v in side_before.items() if k not in book.side},
                                          **self.worth(book.side)})
        self.assertEqual(lab.leftovers(), [], "nothing uncommitted stays")
        return book

    @staticmethod
    def worth(side):
        return {name: value for name, value in side.items() if value != ("block", {}, {})}

    def side(self, lab):
        return {name: value for name, value in self.worth(lab.side()).items() if not name.startswith("waimportexport/")}


class TestVector(OutcomesCase):
    """azure-import-export.md 4.9."""

    MANIFEST = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<DriveManifest Version="2014-11-01"><Drive><DriveId>TEST0001</DriveId>'
        "<ContainerSas>lab?sv=2014-02-14&amp;sr=c&amp;sp=rwd&amp;sig=x</ContainerSas><ClientCreator>spec</ClientCreator>"
        '<BlobList><MetadataPath Hash="A33F5E65D3EAD4599A78E7573ACFE081">\\meta.xml</MetadataPath>'
        "<Blob><BlobPath>lab/a/ramp.bin</BlobPath><FilePath>\\s001\\a\\ramp.bin</FilePath><Length>10000</Length>"
        "<ImportDisposition>no-overwrite</ImportDisposition><BlockList>"
        '<Block Offset="0" Length="4096" Id="MD5/oMFmFskZB70U6ZmYbPgi1Q==" Hash="A0C16616C91907BD14E999986CF822D5"/>'
        '<Block Offset="4096" Length="4096" Id="MD5/xn+vQDcqPUKwDiZeD2s2qQ==" '
        'Hash="C67FAF40372A3D42B00E265E0F6B36A9"/>'
        '<Block Offset="8192" Length="1808" Id="MD5/txV0q2pSDZPUQ6Ez5rs6bw==" '
        'Hash="B71574AB6A520D93D443A133E6BB3A6F"/>'
        '</BlockList><PropertiesPath Hash="1C4EEB6BE7EDE281813151044C81D4B9">\\s001\\a\\ramp.bin.properties'
        "</PropertiesPath></Blob>"
        "<Blob><BlobPath>lab/disk.img</BlobPath><FilePath>\\s001\\disk.img</FilePath><Length>2048</Length>"
        "<PageRangeList>"
        '<PageRange Offset="512" Length="512" Hash="AF1AA4B97765577977680C6D0052B44B"/></PageRangeList></Blob>'
        "</BlobList></Drive></DriveManifest>\n").encode()
    RAMP = bytes(i % 251 for i in range(10_000))
    DISK = bytes(512) + b"\xab" * 512 + bytes(1024)
    FILES = {
        "s001/a/ramp.bin": RAMP,
        "s001/disk.img": DISK,
        "meta.xml": b'<?xml version="1.0" encoding="UTF-8"?>\n<Metadata><site>dc7</site></Metadata>\n',
        "s001/a/ramp.bin.properties":
            b'<?xml version="1.0" encoding="UTF-8"?>\n<Properties><Content-Type>text/plain</Content-Type></Properties>\n',
    }
    VERBOSE = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<DriveLog Version="2014-11-01">\n  <DriveId>TEST0001</DriveId>\n'
        '  <Blob Status="Completed">\n    <BlobPath>lab/a/ramp.bin</BlobPath>\n'
        "    <FilePath>\\s001\\a\\ramp.bin</FilePath>\n    <Length>10000</Length>\n"
        '    <ImportDisposition Status="Created">no-overwrite</ImportDisposition>\n    <BlockList>\n'
        '      <Block Offset="0" Length="4096" Id="MD5/oMFmFskZB70U6ZmYbPgi1Q==" '
        'Hash="A0C16616C91907BD14E999986CF822D5" Status="Completed"/>\n'
        '      <Block Offset="4096" Length="4096" Id="MD5/xn+vQDcqPUKwDiZeD2s2qQ==" '
        'Hash="C67FAF40372A3D42B00E265E0F6B36A9" Status="Completed"/>\n'
        '      <Block Offset="8192" Length="1808" Id="MD5/txV0q2pSDZPUQ6Ez5rs6bw==" '
        'Hash="B71574AB6A520D93D443A133E6BB3A6F" Status="Completed"/>\n    </BlockList>\n'
        '    <Metadata Status="Completed">\n      <GlobalPath Hash="A33F5E65D3EAD4599A78E7573ACFE081">\\meta.xml'
        "</GlobalPath>\n    </Metadata>\n"
        '    <Properties Status="Completed">\n      <Path Hash="1C4EEB6BE7EDE281813151044C81D4B9">'
        "\\s001\\a\\ramp.bin.properties</Path>\n    </Properties>\n  </Blob>\n"
        '  <Blob Status="Completed">\n    <BlobPath>lab/disk.img</BlobPath>\n'
        "    <FilePath>\\s001\\disk.img</FilePath>\n    <Length>2048</Length>\n"
        '    <ImportDisposition Status="Created">rename</ImportDisposition>\n    <PageRangeList>\n'
        '      <PageRange Offset="512" Length="512" Hash="AF1AA4B97765577977680C6D0052B44B" Status="Completed"/>\n'
        "    </PageRangeList>\n"
        '    <Metadata Status="Completed">\n      <GlobalPath Hash="A33F5E65D3EAD4599A78E7573ACFE081">\\meta.xml'
        "</GlobalPath>\n    </Metadata>\n  </Blob>\n  <Status>Completed</Status>\n</DriveLog>\n").encode()
    ERROR = (b'<?xml version="1.0" encoding="UTF-8"?>\n<DriveLog Version="2014-11-01">\n  <DriveId>TEST0001</DriveId>\n'
             b"  <Status>Completed</Status>\n</DriveLog>\n")

    def test_arrives_to_the_byte_and_once_more_beside_itself(self):
        # The figures of the sheet, before anything is made of them.
        self.assertEqual(len(self.MANIFEST), 1163)
        self.assertEqual(md5(self.MANIFEST), "3661B0EAE4E73ED9324D7799ABC57300")
        self.assertEqual(hashlib.sha256(self.MANIFEST).hexdigest().upper(),
                         "FF7B31A91837A1EC278FAE2FA78FAB2F2873B0D783547DF431DA2E0D5C8B15AB")
        self.assertEqual(md5(self.RAMP), "BBF1C77538F97CEEB1E03126EDAA3594")
        self.assertEqual([len(self.FILES["meta.xml"]), len(self.FILES["s001/a/ramp.bin.properties"])], [77, 104])
        with self.lab() as lab:
            source = make_tree(lab.root / "source", self.FILES)
            lab.start()
            self.run_drive(lab, "vector", "TEST0001", source, self.MANIFEST)
            self.assertEqual(lab.blobs(), {"lab/a/ramp.bin": self.RAMP, "lab/disk.img": self.DISK})
            self.assertEqual(self.side(lab), {
                "lab/a/ramp.bin": ("block", {"site": "dc7"}, {"content-type": "text/plain"}),
                "lab/disk.img": ("page", {"site": "dc7"}, {})})
            self.assertEqual(lab.drive("vector", "TEST0001", "CopyStatus"), "Completed")
            self.assertEqual(lab.file_of(lab.drive("vector", "TEST0001", "VerboseLogUri")).read_bytes(), self.VERBOSE)
            self.assertEqual(lab.file_of(lab.drive("vector", "TEST0001", "ErrorLogUri")).read_bytes(), self.ERROR)
            self.assertEqual(lab.drive("vector", "TEST0001", "BytesDone"), 10_000 + 512)
            # waies/JOB_DRIVE_yyyyMMdd-HHmmss-fff_KIND.xml, all of one drive with one time (3.6).
            names = [lab.path_of(lab.drive("vector", "TEST0001", uri))
                     for uri in ("ErrorLogUri", "VerboseLogUri", "ManifestUri")]
            for name, kind in zip(names, ("error", "verbose", "manifest")):
                self.assertRegex(name, rf"^waimportexport/waies/vector_TEST0001_\d{{8}}-\d{{6}}-\d{{3}}_{kind}\.xml$")
            self.assertEqual(len({name.rsplit("_", 1)[0] for name in names}), 1)
            lab.unplug("TEST0001")
            lab.wait_job("vector", "State", "Completed")

            # CompletedWithWarnings: the same again, named by its SHA-256. One is Skipped, the other Renamed.
            book = self.run_drive(lab, "again", "TEST0001", source, self.MANIFEST, hash_of=hashlib.sha256)
            self.assertEqual(book.status, "CompletedWithWarnings")
            self.assertEqual([e["disposition"] for e in book.entries], ["Skipped", "Renamed"])
            self.assertEqual(lab.blobs()["lab/disk (2).img"], self.DISK)


class EveryRow(OutcomesCase):
    def test_files_and_pieces(self):
        """4.8: FileNameInvalid, FileNameTooLong, FileNotFound, FileAccessDenied, Corrupted, FileUnexpectedEnd, a longer
        file, a page blob with a bad range, BlobRequestForbidden of a container."""
        rng = seed()
        large, small = rng.randbytes(9 * MIB + 5), rng.randbytes(700)
        disk = rng.randbytes(16 * PAGE)
        damaged = bytearray(large)
        damaged[5 * MIB] ^= 1
        files = {"large": large, "small": small, "damaged": bytes(damaged), "disk": disk, "dir/inside": small,
                 "longer": small + b"tail", "shorter": large[: 8 * MIB + 10], "short-small": small[:-1], "empty": b""}
        wrong = bytearray(disk[2 * PAGE : 4 * PAGE])
        wrong[7] ^= 0x80
        blobs = [
            blob_xml("lab/large", "\\large", large), blob_xml("lab/small", "\\small", small),
            blob_xml("lab/empty", "\\empty", b""),
            blob_xml("lab/no-list", "\\empty", b"").replace("<BlockList></BlockList>", ""),
            blob_xml("$root/small.txt", "\\small", small),
            # FileNameInvalid: malformed, absolute, escaping.
            blob_xml("lab/climbs", "\\..\\small", small), blob_xml("lab/drive-letter", "C:\\small", small),
            blob_xml("lab/dot", "\\dir\\.\\inside", small), blob_xml("lab/no-path", "\\", small),
            # FileNameTooLong: both limits, on both sides (255 UTF-16 units; a pair counts two).
            blob_xml("lab/long-component", "\\" + "y" * 256, small),
            blob_xml("lab/long-pairs", "\\" + "\U0001F600" * 128, small),
            blob_xml("lab/just-missing", "\\" + "\U0001F600" * 127 + "y", small),
            blob_xml("lab/long-path", ("\\" + "z" * 250) * 131, small),
            # FileNotFound
            blob_xml("lab/missing", "\\nowhere\\at\\all", large), blob_xml("lab/below-a-file", "\\small\\x", small),
            # FileAccessDenied
            blob_xml("lab/link", "\\link", small), blob_xml("lab/directory", "\\dir", small),
            # Corrupted; good blocks of such a blob are Uncommitted
            blob_xml("lab/damaged", "\\damaged", large), blob_xml("lab/damaged-small", "\\small", small[::-1]),
            # FileUnexpectedEnd
            blob_xml("lab/shorter", "\\shorter", large), blob_xml("lab/short-small", "\\short-small", small),
            # A longer file: its tail is ignored
            blob_xml("lab/longer", "\\longer", small),
            # Page blobs: all, partial with holes, with a bad range, cut short, empty
            page_xml("lab/disk-all", "\\disk", len(disk), [(0, disk)]),
            page_xml("lab/disk-part", "\\disk", 32 * PAGE, [(PAGE, disk[PAGE : 2 * PAGE]), (8 * PAGE, disk[8 * PAGE :])]),
            page_xml("lab/disk-bad", "\\disk", len(disk), [(0, disk[: 2 * PAGE]), (2 * PAGE, bytes(wrong)),
                                                           (4 * PAGE, disk[4 * PAGE : 5 * PAGE])]),
            page_xml("lab/disk-short", "\\disk", 32 * PAGE, [(0, disk[:PAGE]), (15 * PAGE, disk[-PAGE:] * 2)]),
            page_xml("lab/disk-empty", "\\disk", 4 * PAGE, []),
            # BlobRequestForbidden
            blob_xml("closed/large", "\\large", large), blob_xml("closed/small", "\\small", small),
            blob_xml("closed/climbs", "\\..\\small", small),
            blob_xml("lab/last", "\\small", small),
        ]
        with self.lab() as lab:
            source = make_tree(lab.root / "source", files)
            os.symlink("small", source / "link")
            lab.start()
            with lab.forbidden("closed"):
                book = self.run_drive(lab, "rows", "ROWS", source, manifest_xml("ROWS", blobs), closed={"closed"})
            self.assertEqual(book.status, "CompletedWithErrors")
            self.assertFalse([name for name in lab.blobs() if name.startswith("closed/")])
            self.assertEqual({entry["status"] for entry in book.entries}, {
                "Completed", "CompletedWithErrors", "FileNameInvalid", "FileNameTooLong", "FileNotFound",
                "FileAccessDenied", "BlobRequestForbidden"})
            self.assertEqual({piece[5] for entry in book.entries for piece in entry["pieces"]}, {
                "Completed", "Uncommitted", "Corrupted", "FileUnexpectedEnd", "Cancelled"})
            # Failed bytes count as dealt with (3.5); of page blobs, those of the ranges.
            self.assertEqual(lab.drive("rows", "ROWS", "BytesDone"), lab.drive("rows", "ROWS", "BytesTotal"))
            self.assertEqual(lab.job("rows", "BlobsFailed"),
                             sum(1 for entry in book.entries if entry["status"] != "Completed"))

    def test_a_store_that_forbids_every_blob(self):
        """6.3: BlobRequestForbidden."""
        with self.lab() as lab:
            source = make_tree(lab.root / "source", {"a": b"content"})
            lab.start()
            manifest = manifest_xml("SER", [blob_xml(f"closed/{n}", "\\a", b"content") for n in range(3)])
            with lab.forbidden("closed"):
                book = self.run_drive(lab, "no", "SER", source, manifest, closed={"closed"})
            self.assertEqual(book.status, "BlobRequestForbidden")

    def test_metadata_and_properties(self):
        """4.8: a metadata or properties file that is missing, denied, damaged or not XML; 4.5: the blob's own file
        replaces the list's as a whole."""
        data = b"content of the blob"
        site = metadata_xml(site="dc7", rack="12")
        own = metadata_xml(owner="ann")
        text = properties_xml(Content_Type="text/plain", Cache_Control="no-cache", Unknown="x", Etag="y")
        image = properties_xml(Content_Language="fr", Content_Encoding="br", Content_MD5="AAAAAAAAAAAAAAAAAAAAAA==")
        twice = b"<Metadata><a>1</a><A>2</A></Metadata>"
        files = {"data": data, "site.xml": site, "own.xml": own, "text.xml": text, "image.xml": image, "twice.xml": twice,
                 "broken.xml": b"<Metadata><a>1</b></Metadata>", "dir/x": b"", "empty.xml": b"",
                 "bom.xml": b"\xef\xbb\xbf" + own}

        def blob(name, extra="", disposition="no-overwrite"):
            return blob_xml(f"lab/{name}", "\\data", data, disposition, extra=extra)

        first = side_xml("Metadata", "\\site.xml", site) + side_xml("Properties", "\\text.xml", text)
        lists = [
            first + "".join([
                blob("global"),
                blob("own-metadata", side_xml("Metadata", "\\own.xml", own)),
                blob("own-properties", side_xml("Properties", "\\image.xml", image)),
                blob("both", side_xml("Metadata", "\\own.xml", own) + side_xml("Properties", "\\image.xml", image)),
                # A bad file of its own does not bring the list's back.
                blob("missing", side_xml("Metadata", "\\nowhere.xml", own)),
                page_xml("lab/page", "\\data", PAGE, []),
                blob("gone").replace("<FilePath>\\data", "<FilePath>\\gone"),
            ]),
            "".join([
                blob("none"),
                blob("Corrupted", side_xml("Metadata", "\\own.xml", own, hash_of=site)),
                blob("FileAccessDenied", side_xml("Metadata", "\\link.xml", own)),
                blob("FileAccessDenied-2", side_xml("Properties", "\\dir", own)),
                blob("FileNameInvalid", side_xml("Metadata", "\\..\\own.xml", own)),
                blob("FileNameTooLong", side_xml("Properties", "\\" + "m" * 256, own)),
                blob("XmlReadFailed", side_xml("Metadata", "\\broken.xml", files["broken.xml"])),
                blob("XmlReadFailed-2", side_xml("Metadata", "\\text.xml", text)),
                blob("XmlReadFailed-3", side_xml("Metadata", "\\twice.xml", twice)),
                blob("XmlReadFailed-4", side_xml("Properties", "\\empty.xml", b"")),
                blob("with-a-mark", side_xml("Metadata", "\\bom.xml", files["bom.xml"])),
            ]),
            # The list's own file is bad: each blob of the list says so.
            side_xml("Metadata", "\\nowhere.xml", own) + blob("list-missing-1") + blob("list-missing-2"),
        ]
        manifest = manifest_xml("SIDE", ["</BlobList><BlobList>".join(lists)])
        with self.lab() as lab:
            source = make_tree(lab.root / "source", files)
            os.symlink("own.xml", source / "link.xml")
            lab.start()
            book = self.run_drive(lab, "side", "SIDE", source, manifest)
            self.assertEqual(book.side["lab/own-metadata"][1:],
                             ({"owner": "ann"}, {"content-type": "text/plain", "cache-control": "no-cache"}))
            self.assertEqual(book.side["lab/own-properties"][1:],
                             ({"site": "dc7", "rack": "12"}, {"content-language": "fr", "content-encoding": "br",
                                                              "content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}))
            self.assertEqual({line[1] for entry in book.entries for line in entry["side"]}, {
                "Completed", "Cancelled", "FileNotFound", "FileAccessDenied", "FileNameInvalid", "FileNameTooLong",
                "Corrupted", "XmlReadFailed"})
            self.assertEqual(len(book.blobs), len(book.entries) - 1, "data are committed without them")

    def test_dispositions(self):
        """4.4, every cell: no-overwrite, overwrite and rename with the target there and not; RenameFailed; equal
        BlobPaths in one manifest; overwriting the other type."""
        rng = seed()
        pieces, one = rng.randbytes(9 * MIB), rng.randbytes(300)
        metadata = metadata_xml(round="one")
        files = {"pieces": pieces, "one": one, "meta.xml": metadata, "disk": bytes(range(256)) * 4}
        long_name = "/".join(["n" * 203] * 4 + ["n" * 205])  # 1021 characters: " (2)" is one too many
        lasting = {"old-no-overwrite", "old-overwrite", "old-rename.tar.gz", "dir.d/old", ".hidden", "dots./x",
                   "old-large-no-overwrite", "old-large-overwrite", "old-large-rename.bin", "dir.d/old (2)"}
        with self.lab() as lab:
            source = make_tree(lab.root / "source", files)
            lab.start()
            first = [blob_xml(f"lab/{name}", "\\one", one, "overwrite", extra=side_xml("Metadata", "\\meta.xml", metadata))
                     for name in sorted(lasting)] + [blob_xml(f"lab/{long_name}", "\\one", one)]
            self.run_drive(lab, "first", "DISP", source, manifest_xml("DISP", first))
            lab.unplug("DISP")
            lab.wait_job("first", "State", "Completed")
            blobs = []
            for name, disposition in (("no-overwrite", "no-overwrite"), ("overwrite", "overwrite"),
                                      ("rename.tar.gz", "rename"), ("large-no-overwrite", "no-overwrite"),
                                      ("large-overwrite", "overwrite"), ("large-rename.bin", "rename")):
                file, data = ("pieces", pieces) if "large" in name else ("one", one[::-1])
                files["turned"] = one[::-1]
                file = "turned" if file == "one" else file
                blobs += [blob_xml(f"lab/{age}-{name}", f"\\{file}", data, disposition) for age in ("old", "new")]
            make_tree(source, {"turned": one[::-1]})
            blobs += [
                blob_xml("lab/dir.d/old", "\\one", one, "rename"), blob_xml("lab/.hidden", "\\one", one, "rename"),
                blob_xml("lab/dots./x", "\\one", one, "rename"),
                blob_xml(f"lab/{long_name}", "\\one", one, "rename"),  # RenameFailed
                page_xml("lab/old-overwrite", "\\disk", 1024, [(512, files["disk"][512:])], "overwrite"),
                blob_xml("lab/default", "\\one", one).replace("<ImportDisposition>no-overwrite</ImportDisposition>", ""),
                blob_xml("lab/default", "\\pieces", pieces).replace("<ImportDisposition>no-overwrite</ImportDisposition>",
                                                                    ""),
            ]
            for disposition in ("no-overwrite", "overwrite", "rename"):
                blobs += [blob_xml(f"lab/equal-{disposition}", path, data, disposition) for path, data in
                          (("\\pieces", pieces), ("\\one", one), ("\\turned", one[::-1]), ("\\one", one))]
            book = self.run_drive(lab, "second", "DISP", source, manifest_xml("DISP", blobs))
            outcomes = {(entry["wish"], entry["disposition"]) for entry in book.entries}
            self.assertEqual(outcomes, {
                ("no-overwrite", "Skipped"), ("no-overwrite", "Created"), ("overwrite", "Overwritten"),
                ("overwrite", "Created"), ("rename", "Renamed"), ("rename", "Created"), ("rename", "Cancelled")})
            self.assertEqual([entry["status"] for entry in book.entries if entry["disposition"] == "Cancelled"],
                             ["RenameFailed"])
            for name in ("old-rename.tar (2).gz", "dir.d/old (3)", ".hidden (2)", "dots./x (2)", "default (2)",
                         "equal-rename (2)", "equal-rename (3)", "equal-rename (4)", "old-large-rename (2).bin"):
                self.assertIn(f"lab/{name}", book.blobs)


class Places(OutcomesCase):
    def test_logs_are_where_the_diagnostics_path_says_and_the_bus_names_what_is_there(self):
        with self.lab(hand_back="at-once") as lab:
            source = make_tree(lab.root / "source", {"a": b"content"})
            manifest = manifest_xml("SER", [blob_xml("lab/a", "\\a", b"content", "overwrite")])
            lab.start()
            for number, (path, place) in enumerate(((None, "waimportexport"), ("logs-here", "logs-here"),
                                                    ("logs-here/deep/er", "logs-here/deep/er"))):
                job = f"job{number}"
                drive = lab.foreign("SER", source, manifest=manifest)
                lab.ctl("create", job, "--store", lab.store, *(["--diagnostics-path", path] if path else []))
                lab.ctl("add-drive", job, "SER", "--key-file", lab.shelf / "SER.key", "--manifest", drive["manifest"],
                        "--manifest-hash", drive["manifest-hash"])
                lab.ctl("ship", job)
                lab.plug("SER")
                lab.wait_job(job, "State", "Completed")
                uri = lab.drive(job, "SER", "ErrorLogUri")
                self.assertEqual(lab.path_of(uri).rpartition("/")[0], f"{place}/waies")
                self.assertEqual(expected_logs.read(lab.file_of(uri))[2],
                                 "Completed" if number == 0 else "CompletedWithWarnings")
                # Neither was asked for.
                self.assertEqual(lab.drive(job, "SER", "VerboseLogUri"), "")
                self.assertEqual(lab.drive(job, "SER", "ManifestUri"), "")
                self.assertEqual(len([name for name in lab.everything() if name.startswith(f"{place}/waies/{job}_")]), 1)
                lab.unplug("SER")

    def test_log_level_and_backup_may_change_until_the_copy_is_done(self):
        """Spec 1.4: until Packaging. What is wished for when the logs are written holds."""
        data = b"content" * 1000
        manifest = manifest_xml("SER", [blob_xml(f"lab/{n}", "\\a", data) for n in range(3)])
        for is_more in (True, False):
            with self.subTest(is_more=is_more), self.lab() as lab:
                source = make_tree(lab.root / "source", {"a": data})
                drive = lab.foreign("SER", source, manifest=manifest)
                lab.start()
                lab.ctl("create", "live", "--store", lab.store, *([] if is_more else ["--log-level", "Verbose",
                                                                                    "--backup-manifest"]))
                lab.ctl("add-drive", "live", "SER", "--key-file", lab.shelf / "SER.key", "--manifest", drive["manifest"],
                        "--manifest-hash", drive["manifest-hash"])
                lab.ctl("ship", "live")
                with lab.held_store() as let_go:
                    lab.plug("SER")
                    lab.wait_drive("live", "SER", "CopyStatus", "Transferring")
                    lab.ctl("update", "live", "--log-level", "Verbose" if is_more else "Error", "--backup-manifest",
                            "true" if is_more else "false")
                    self.assertEqual(lab.drive("live", "SER", "State"), "Transferring", "it came while it was copied")
                    let_go()
                    lab.wait_drive("live", "SER", "State", "Completed")
                self.assertEqual(len(lab.logs("live")), 1)
                for kind, uri in (("verbose", "VerboseLogUri"), ("manifest", "ManifestUri")):
                    self.assertEqual(len(lab.logs("live", kind)), 1 if is_more else 0, kind)
                    self.assertEqual(lab.drive("live", "SER", uri) != "", is_more, uri)
                if is_more:
                    verbose = expected_logs.read(lab.file_of(lab.drive("live", "SER", "VerboseLogUri")))
                    self.assertEqual(len(verbose[1]), 3)
                    self.assertEqual(lab.logs("live", "manifest")[0].read_bytes(), manifest)
                self.assertNotEqual(lab.ctl("update", "live", "--log-level", "Verbose", status=None)[2], 0,
                                    "not from Packaging on")


if __name__ == "__main__":
    unittest.main()
