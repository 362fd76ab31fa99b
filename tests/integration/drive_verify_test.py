#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drayctl drive verify: drives of dray's own and of other programs, whole and damaged. What is damaged must be named, to
the piece, and nothing else."""

import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import bitlocker  # noqa: E402
import make_drive  # noqa: E402
from drive_case import KEY, DriveCase  # noqa: E402
from lab import MIB, PATIENCE, make_tree, random_files, seed  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402
from prepare_test import decrypt, run  # noqa: E402

METADATA = b'<?xml version="1.0" encoding="UTF-8"?>\n<Metadata><site>dc7</site></Metadata>\n'
PROPERTIES = b'<?xml version="1.0" encoding="UTF-8"?>\n<Properties><Content-Type>text/plain</Content-Type></Properties>\n'


def md5(content):
    return hashlib.md5(content).hexdigest().upper()


def side(kind, path, content):
    return f'<{kind}Path Hash="{md5(content)}">{path}</{kind}Path>'


def page_blob(blob_path, file_path, length, ranges, content):
    listed = "".join(f'<PageRange Offset="{at}" Length="{size}" Hash="{md5(content[at:at + size])}"/>' for at, size in ranges)
    return (f"<Blob><BlobPath>{blob_path}</BlobPath><FilePath>{file_path}</FilePath><Length>{length}</Length>"
            f"<PageRangeList>{listed}</PageRangeList></Blob>")


class DriveVerify(DriveCase):
    def verify(self, *more, status=0, key=True):
        return self.json("drive", "verify", self.image, *(("--key-file", self.key) if key else ()), *more, status=status)

    def seen(self, *more, status=0):
        """What eyes get."""
        return self.ctl("drive", "verify", self.image, "--key-file", self.key, *more, status=status)[0]

    def problems(self, *more):
        """(blob, file, of, problem, offset or None) of a drive that is not right."""
        report = self.verify(*more, status=1)
        self.assertFalse(report["is-right"])
        self.assertEqual(report["blobs-bad"], len({each["blob"] for each in report["problems"]}))
        return [(each["blob"], each["file"], each["of"], each["problem"], each["offset"] if each["is-piece"] else None)
                for each in report["problems"]]

    def flip(self, offset):
        with open(self.image, "r+b") as image:
            image.seek(offset)
            byte = image.read(1)[0]
            image.seek(offset)
            image.write(bytes([byte ^ 0x10]))

    # -- drives that are right

    def test_a_prepared_drive_is_right_and_its_numbers_are_those_of_the_source(self):
        rng = seed()
        files = {"empty": b"", "one": b"x", "large.bin": rng.randbytes(23 * MIB + 11), "deep/er/f": rng.randbytes(4 * MIB),
                 **random_files(rng, 300, 20_000, "d/f")}
        drive = self.prepare(make_tree(self.root / "source", files))
        report = self.verify()
        size = sum(map(len, files.values()))
        self.assertEqual((report["is-right"], report["problems"], report["blobs"], report["blobs-bad"]), (True, [], len(files), 0))
        self.assertEqual((report["bytes"], report["bytes-good"]), (size, size))
        self.assertEqual(report["pieces"], sum(-(-len(content) // (4 * MIB)) for content in files.values()))
        self.assertEqual(report["manifest-hash"], drive["manifest-hash"])
        self.verify("--manifest-hash", drive["manifest-hash"], "--manifest", drive["manifest"])
        self.assertIn(f"All is as the manifest says: {len(files)} blobs", self.seen())
        self.assertNotIn("All is", self.seen("-q"))

    def test_drives_by_other_programs_are_right_on_every_volume_and_file_system(self):
        rng = seed()
        files = {"empty": b"", "large.bin": rng.randbytes(9 * MIB + 11), **random_files(rng, 40, 20_000, "d/f")}
        source = make_tree(self.root / "source", files)
        manifest, _ = make_drive.manifest_of(source, "SER-1", "lab")
        plain = self.root / "plain"

        def is_right(**more):
            report = self.verify(**more)
            self.assertEqual((report["problems"], report["blobs"], report["bytes-good"]),
                             ([], len(files), sum(map(len, files.values()))))
            self.image.unlink()

        for make in (make_drive.make_ntfs, make_drive.make_exfat, make_drive.make_fat):
            make(source, plain, manifest)
            make_drive.make_luks2(plain, self.image, KEY, sector_size=512)
            is_right()
        make_drive.make_plain(source, self.image, manifest)
        is_right(key=False)
        size = 32 * MIB
        bad = self.root / "bad-blocks"
        bad.write_text("".join(f"{block}\n" for at, length in bitlocker.reserved(size, 512, False)
                               for block in range(at // 4096, (at + length + 4095) // 4096)))
        make_drive.make_plain(source, plain, manifest, size=size, mke2fs_options=("-b", "4096", "-l", bad))
        bitlocker.encrypt(plain, self.image, password="anaconda")
        self.key.write_bytes(b"anaconda")
        is_right()

    # -- damage

    def test_a_flipped_byte_is_found_in_its_file_and_piece_and_nowhere_else(self):
        rng = seed()
        piece = 64 * 1024
        files = {"a.bin": rng.randbytes(5 * piece + 100), "b.bin": rng.randbytes(3 * piece), **random_files(rng, 30, 9000, "d/f")}
        self.prepare(make_tree(self.root / "source", files), "--block-size", piece)
        plain = self.root / "plain"
        decrypt(self.image, self.key, plain)
        offset = int(make_drive.luks2_segment(self.image)["offset"])
        choices = [name for name, content in files.items() if content]
        for name in ["a.bin", "a.bin", *rng.choices(choices, k=6)]:
            at = rng.randrange(len(files[name]))
            # Where that byte lies, by debugfs: the block of the file, the volume's block, the image's byte.
            block = int(run("debugfs", "-R", f"bmap /{name} {at // 4096}", plain).stdout)
            place = offset + block * 4096 + at % 4096
            self.flip(place)
            with self.subTest(name=name, at=at):
                first = at // piece * piece
                # AES-XTS garbles the 16 bytes around it, which lie in the same piece.
                self.assertEqual(self.problems(), [("lab/" + name, "\\" + name.replace("/", "\\"), "content", "damaged", first)])
                report = self.verify(status=1)
                self.assertEqual((report["pieces-bad"], report["blobs-bad"]), (1, 1))
                said = self.seen(status=1)
                self.assertIn(f"lab/{name}: damaged at {first} (", said)
                self.assertIn(f"1 of {len(files)} blobs is not as the manifest says", said)
            self.flip(place)
        self.verify()

    def test_each_way_in_which_a_file_can_be_wrong_has_its_word(self):
        rng = seed()
        content = rng.randbytes(10_000)
        source = make_tree(self.root / "source", {"good": content, "cut": content[:9000], "long": content + b"tail",
                                                  "other": content, "dir/x": b"x"})

        def blob(name, path=None, data=content):
            return blob_xml(f"lab/{name}", path or "\\" + name, data, piece=4096)

        blobs = [blob("good"), blob("cut"), blob("long"), blob("other", data=content[:4096] + bytes(10) + content[4106:]),
                 blob("absent"), blob("dir"), blob("up", "\\..\\good"), blob_xml("NO/name", "\\good", content, piece=4096),
                 blob("again", "\\GOOD")]
        self.foreign(source, manifest=manifest_xml("SER-1", blobs))
        self.assertEqual(self.problems(), [
            ("lab/cut", "\\cut", "content", "short", None),
            ("lab/other", "\\other", "content", "damaged", 4096),
            ("lab/absent", "\\absent", "content", "missing", None),
            ("lab/dir", "\\dir", "content", "unreadable", None),
            ("lab/up", "\\..\\good", "content", "file-name", None),
            ("NO/name", "\\good", "content", "blob-name", None),
        ])
        report = self.verify(status=1)
        # Of the file that was cut, the pieces that are there were looked at.
        self.assertEqual((report["blobs"], report["pieces"], report["pieces-bad"]), (9, 27, 1 + 1 + 3 + 3 + 3))
        self.assertIn("lab/cut: short: the file ends at 9000, the blob's content at 10000", self.seen(status=1))

    def test_metadata_and_properties_files_are_verified_each_once(self):
        files = {"good": b"content", "meta.xml": METADATA, "good.properties": PROPERTIES, "bad.xml": b"<Metadata>",
                 "large.xml": b"<Metadata><a>" + b"x" * 70_000 + b"</a></Metadata>", "empty.xml": b""}
        source = make_tree(self.root / "source", files)

        def blob(name, extra=""):
            return blob_xml(f"lab/{name}", "\\good", b"content", extra=extra)

        blobs = ([side("Metadata", "\\meta.xml", METADATA)] +
                 [blob(f"shared{i}") for i in range(5)] +
                 [blob("own", side("Properties", "\\good.properties", PROPERTIES)),
                  blob("damaged", side("Properties", "\\good.properties", METADATA)),
                  blob("missing", side("Properties", "\\nowhere", PROPERTIES)),
                  blob("malformed", side("Metadata", "\\bad.xml", files["bad.xml"])),
                  blob("large", side("Metadata", "\\large.xml", files["large.xml"])),
                  blob("empty", side("Metadata", "\\empty.xml", b"")),
                  blob("misnamed", side("Metadata", "\\..\\x", METADATA)),
                  blob("wrong kind", side("Properties", "\\meta.xml", METADATA))])
        self.foreign(source, manifest=manifest_xml("SER-1", blobs))
        self.assertEqual(self.problems(), [
            ("lab/damaged", "\\good.properties", "properties", "damaged", None),
            ("lab/missing", "\\nowhere", "properties", "missing", None),
            ("lab/malformed", "\\bad.xml", "metadata", "malformed", None),
            ("lab/large", "\\large.xml", "metadata", "malformed", None),
            ("lab/empty", "\\empty.xml", "metadata", "malformed", None),
            ("lab/misnamed", "\\..\\x", "metadata", "file-name", None),
            ("lab/wrong kind", "\\meta.xml", "properties", "malformed", None),
        ])
        report = self.verify(status=1)
        self.assertEqual((report["side-files"], report["side-files-bad"]), (1 + 8, 7))

    def test_only_the_ranges_of_a_page_blob_count(self):
        content = seed().randbytes(64 * 512)
        changed = bytearray(content)
        changed[20 * 512] ^= 1  # in the second range
        changed[40 * 512] ^= 1  # in none
        source = make_tree(self.root / "source", {"disk": bytes(changed), "cut": content[: 50 * 512]})
        ranges = [(512, 1024), (16 * 512, 8 * 512), (48 * 512, 512)]
        blobs = [page_blob("lab/disk", "\\disk", 64 * 512, ranges, content),
                 page_blob("lab/cut", "\\cut", 64 * 512, ranges, content),
                 page_blob("lab/zeros", "\\disk", 1 << 43, [], content)]
        self.foreign(source, manifest=manifest_xml("SER-1", blobs))
        self.assertEqual(self.problems(), [("lab/disk", "\\disk", "content", "damaged", 16 * 512)])

    def test_what_windows_has_locked_away_is_unreadable(self):
        source = make_tree(self.root / "source", {"efs": b"secret" * 100, "fine": b"x"})
        manifest = manifest_xml("SER-1", [blob_xml("lab/efs", "\\efs", b"secret" * 100), blob_xml("lab/fine", "\\fine", b"x")])
        make_drive.make_ntfs(source, self.image, manifest, requests=("encrypted\tefs",))
        report = self.verify(status=1, key=False)
        self.assertEqual([(each["blob"], each["problem"]) for each in report["problems"]], [("lab/efs", "unreadable")])
        self.assertIn("EFS", report["problems"][0]["reason"])

    def test_eyes_get_the_first_twenty_and_scripts_all_in_order(self):
        blobs = [blob_xml(f"lab/{i:04}", f"\\absent{i}", b"x") for i in range(3000)]
        self.foreign(make_tree(self.root / "source", {"a": b"x"}), manifest=manifest_xml("SER-1", blobs))
        self.assertEqual([blob for blob, *_ in self.problems()], [f"lab/{i:04}" for i in range(3000)])
        said = self.seen(status=1)
        self.assertEqual(len(re.findall(r"^lab/\d+: missing: ", said, re.M)), 20)
        self.assertIn("2980 more like these", said)
        pretty = self.ctl("--json=pretty", "drive", "verify", self.image, "--key-file", self.key, status=1)[0]
        self.assertIn('\n  "problems": [\n    {"blob":"lab/0000"', pretty)

    # -- what it cannot do

    def test_a_manifest_that_cannot_be_used_is_an_error_with_nothing_verified(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        verify = ("drive", "verify", self.image, "--key-file", self.key)
        self.foreign(source, manifest=False)
        self.refused(*verify, sentence="no manifest in the drive's root", status=4)
        manifest = self.foreign(source)
        self.refused(*verify, "--manifest-hash", "0" * 32, sentence=f"its hash is {md5(manifest)}, not {'0' * 32}")
        self.refused(*verify, "--manifest-hash", "00", sentence="hex")
        self.ctl(*verify, "--manifest-hash", hashlib.sha256(manifest).hexdigest())
        self.refused(*verify, "--manifest", "\\absent", sentence="no such file", status=4)
        self.foreign(source, manifest=manifest.replace(b"<Length>7", b"<Length>8"))
        self.refused(*verify, sentence="the blocks of blob")
        (source / "Manifest.xml").write_bytes(manifest)
        self.foreign(source, manifest=manifest)
        self.refused(*verify, sentence="several manifests (")
        self.ctl(*verify, "--manifest", "\\Manifest.xml")

    def start(self):
        """On a terminal, with much to do; returns when it has begun to read."""
        source = make_tree(self.root / "source", {"a": b"content"})
        with open(source / "sparse", "wb") as sparse:
            sparse.truncate(3 << 30)
        zeros = md5(bytes(4 * MIB))
        blocks = "".join(f'<Block Offset="{at}" Length="{4 * MIB}" Hash="{zeros}"/>' for at in range(0, 3 << 30, 4 * MIB))
        manifest = manifest_xml("SER-1", [f"<Blob><BlobPath>lab/s</BlobPath><FilePath>\\sparse</FilePath><Length>{3 << 30}</Length>"
                                          f"<BlockList>{blocks}</BlockList></Blob>"])
        plain = self.root / "plain"
        with open(plain, "wb") as out:
            out.truncate(4 << 30)
        work = self.root / "work"
        os.mkdir(work)
        run("cp", "-a", "--sparse=always", str(source) + "/.", work)
        (work / "DriveManifest.xml").write_bytes(manifest)
        run("mke2fs", "-q", "-t", "ext4", "-F", "-d", work, plain, "4g")
        plain.rename(self.image)
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = subprocess.Popen([self.bin / "drayctl", "drive", "verify", self.image], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=slave, text=True, env=dict(os.environ, TERM="xterm", NO_COLOR=""))
        os.close(slave)
        self.addCleanup(process.kill)
        self.said = ""
        self.read_until(master, "Verifying")
        return process, master

    def read_until(self, master, text):
        while text not in self.said:
            self.assertTrue(select.select([master], [], [], PATIENCE)[0], self.said)
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            self.said += part.decode()

    def test_a_signal_stops_it(self):
        process, master = self.start()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
        self.read_until(master, "stopped; ")
        self.assertEqual((process.returncode, out), (130, ""), self.said)
        self.assertIn("stopped; ", self.said)

    def test_a_killed_dray_drive_is_an_error(self):
        process, master = self.start()
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
            child, = children.read().split()
        os.kill(int(child), signal.SIGKILL)
        out, _ = process.communicate(timeout=PATIENCE)
        self.read_until(master, "ended by signal 9")
        self.assertEqual((process.returncode, out), (1, ""), self.said)
        self.assertIn("dray-drive was ended by signal 9", self.said)

    def test_the_line_tells_how_far_it_is(self):
        process, master = self.start()
        out, _ = process.communicate(timeout=PATIENCE)
        self.read_until(master, "never")
        self.assertEqual(process.returncode, 0, self.said)
        self.assertRegex(self.said, r"Verifying x.img  \[#*\.*\] +\d+%  .* of 3.0GiB")
        self.assertIn("All is as the manifest says", out)


if __name__ == "__main__":
    unittest.main()
