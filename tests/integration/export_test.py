#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Exports: drives that dray makes and fills from a store (azure-import-export.md 5), read by cryptsetup, e2fsck and debugfs, and
imported again."""

import base64
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree as xml

from azure.storage.blob import BlobBlock, ContentSettings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import encryption_test  # noqa: E402
import open_drive  # noqa: E402
from azure_lab import AzureLab, fault_server  # noqa: E402
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402

is_root = os.getuid() == 0


class Exports:
    """What a lab needs for exports: empty disks, jobs, and looks into the drives."""

    def fill(self, files):
        """Blobs as another program puts them into a directory store: files below their container."""
        make_tree(self.vault, files)
        if is_root:
            for path in (self.vault, *self.vault.rglob("*")):
                os.chown(path, self.uid, self.gid)

    def disk(self, serial, size=400 * MIB, content=b""):
        image = self.shelf / f"{serial}.img"
        with open(image, "wb") as out:
            out.write(content)
            out.truncate(size)
        if is_root:
            os.chown(image, self.uid, self.gid)

    def export(self, job, serials, *options, drive_options=()):
        self.ctl("create", job, "--type", "export", "--store", self.store, *options)
        for serial in serials:
            self.ctl("add-drive", job, serial, *drive_options)
        self.ctl("ship", job)

    def wait_end(self, job, serial, state="Completed"):
        self.wait(lambda: self.drive(job, serial, "State") in ("Completed", "CompletedMoreInfo", "ShippedBack")
                  or self.drive(job, serial, "Faulted"), f"{serial} to end")
        if self.drive(job, serial, "State") != state:
            raise AssertionError(f"{serial} is {self.drive(job, serial, 'State')}\n{self.log()[-3000:]}")

    def key(self, job, serial):
        return self.ctl("key", job, serial)[0].encode()

    def open(self, job, serial):
        """The plain volume of a drive that is plugged in, found clean by e2fsck."""
        image = next(path for path in self.root.rglob(f"{serial}.img"))
        plain = self.root / f"{serial}.plain"
        open_drive.decrypt(image, self.key(job, serial), plain)
        open_drive.check(plain)
        return plain


class ExportLab(Exports, Lab):
    pass


class ExportAccount(Exports, AzureLab):
    """The blobs are put there by the official SDK."""


def manifest_of(files, serial):
    return xml.fromstring(files[f"{serial}.manifest"].read_bytes()).find("Drive")


class Drives(unittest.TestCase):
    def check_drive(self, lab, job, serial, expected, md5=None):
        """Exactly these blobs are on it, each as its manifest says, with a properties file. Returns the manifest's entries."""
        plain = lab.open(job, serial)
        with open_drive.files_of(plain) as files:
            manifest = files[f"{serial}.manifest"].read_bytes()
            self.assertEqual(hashlib.md5(manifest).hexdigest().upper(), lab.drive(job, serial, "ManifestHash"))
            self.assertEqual(lab.drive(job, serial, "Manifest"), f"\\{serial}.manifest")
            drive = xml.fromstring(manifest).find("Drive")
            self.assertEqual(drive.findtext("DriveId"), serial)
            self.assertIsNone(drive.find("ContainerSas"))
            found, known = {}, {f"{serial}.manifest"}
            for blob in drive.iter("Blob"):
                path = blob.findtext("FilePath").lstrip("\\").replace("\\", "/")
                content = files[path].read_bytes()
                self.assertEqual(len(content), int(blob.findtext("Length")))
                self.assertIsNone(blob.find("ImportDisposition"))
                for piece in (*blob.iter("Block"), *blob.iter("PageRange")):
                    at, length = int(piece.get("Offset")), int(piece.get("Length"))
                    self.assertEqual(hashlib.md5(content[at : at + length]).hexdigest().upper(), piece.get("Hash"))
                if blob.find("BlockList") is not None:
                    self.assertEqual(sum(int(piece.get("Length")) for piece in blob.iter("Block")), len(content))
                known.add(path)
                for side in (blob.find("PropertiesPath"), blob.find("MetadataPath")):
                    if side is not None:
                        name = side.text.lstrip("\\").replace("\\", "/")
                        self.assertEqual(hashlib.md5(files[name].read_bytes()).hexdigest().upper(), side.get("Hash"))
                        known.add(name)
                self.assertIsNotNone(blob.find("PropertiesPath"))
                found[blob.findtext("BlobPath") + ("@" + blob.findtext("Snapshot") if blob.findtext("Snapshot") else "")] = content
            self.assertEqual(set(files), known, "nothing else is on it")
            self.assertEqual(found.keys(), expected.keys())
            for name, content in expected.items():
                self.assertEqual(found[name], content, name)
        plain.unlink()
        return drive


class Export(Drives):
    def test_a_drive_is_made_filled_and_can_be_imported_again(self):
        rng = seed()
        with ExportLab() as lab:
            files = {"bob/large": rng.randbytes(70 * MIB + 7), "bob/empty": b"", "bob/piece": rng.randbytes(4 * MIB),
                     **random_files(rng, 200, 200_000, "bob/dir/er/f"), "bobkids/x": b"kid", "other/y": b"other"}
            lab.fill(files)
            lab.disk("OUT")
            lab.start()
            lab.export("there", ["OUT"], "--prefix", "/bob", "--backup-manifest", "--log-level", "Verbose")
            lab.plug("OUT")
            lab.wait_end("there", "OUT")
            expected = {name: content for name, content in files.items() if name.startswith("bob")}
            self.assertEqual(lab.drive("there", "OUT", "CopyStatus"), "Completed")
            self.check_drive(lab, "there", "OUT", expected)
            logs = lab.logs("there", "verbose")
            listed = {b.findtext("BlobPath"): b for b in xml.parse(logs[0]).getroot().findall("Blob")}
            self.assertEqual(listed.keys(), expected.keys())
            self.assertTrue(all(b.get("Status") == "Completed" and b.findtext("LastModified") for b in listed.values()))
            self.assertEqual(len(lab.logs("there", "manifest")), 1)
            key = lab.key("there", "OUT")
            self.assertRegex(key.decode(), r"^\d{6}(-\d{6}){7}$")
            # The same drive comes back and is imported; its blobs are there again.
            volume, path, digest = (lab.drive("there", "OUT", name) for name in ("VolumeId", "Manifest", "ManifestHash"))
            lab.unplug("OUT")
            lab.wait_job("there", "State", "Completed")
            for name in expected:
                (lab.vault / name).unlink()
            lab.key_file("OUT", key)
            lab.create("back", [{"serial": "OUT", "volume-id": volume, "manifest": path, "manifest-hash": digest}])
            lab.plug("OUT")
            lab.wait_end("back", "OUT")
            self.assertEqual(lab.drive("back", "OUT", "CopyStatus"), "Completed")
            for name, content in expected.items():
                self.assertEqual((lab.vault / name).read_bytes(), content, name)

    def test_names_that_no_drive_could_hold_are_mapped_and_come_back(self):
        rng = seed()
        names = ["with blank", "Gr\u00fc\u00dfe", "q?*<>|\":", "con", "COM1.txt", "dot.", "x" * 255, "y" * 250 + ".text", "Case", "case",
                 "CASE", "a", "a/b", "a.properties", "deep/" * 20 + "end", "back\\slash", "na\u00efve/caf\u00e9"]
        with ExportLab(hand_back="at-once") as lab:
            source = make_tree(lab.root / "source", {f"f{i}": rng.randbytes(1000 + i) for i in range(len(names))})
            lab.start()
            # By an import: a directory store keeps such names in its own way.
            blobs = [blob_xml(f"odd/{name}", f"\\f{i}", (source / f"f{i}").read_bytes()) for i, name in enumerate(names)]
            drive = lab.foreign("IN", source, manifest=manifest_xml("IN", blobs))
            lab.create("first", [drive])
            lab.plug("IN")
            lab.wait_end("first", "IN", "ShippedBack")
            expected = {f"odd/{name}": (source / f"f{i}").read_bytes() for i, name in enumerate(names)}
            lab.disk("OUT")
            lab.export("there", ["OUT"], "--prefix", "/odd/")
            lab.plug("OUT")
            lab.wait_end("there", "OUT", "ShippedBack")
            drive = self.check_drive(lab, "there", "OUT", expected)
            paths = [blob.findtext("FilePath").lower() for blob in drive.iter("Blob")]
            self.assertEqual(len(set(paths)), len(names), "no two differ in case alone")
            for path in paths:
                self.assertNotRegex(path, r'[<>:"|?*\x00-\x1f]')
                for part in path.strip("\\").split("\\"):
                    self.assertLessEqual(len(part.encode()), 255)
                    self.assertNotRegex(part, r"[ .]$")

    def test_what_does_not_fit_goes_on_the_next_drive_and_the_rest_on_a_list(self):
        rng = seed()
        with ExportLab(hand_back="at-once") as lab:
            files = {f"cat/f{i}": rng.randbytes(20 * MIB) for i in range(10)} | {"cat/huge": bytes(150 * MIB), "cat/small": b"small"}
            lab.fill(files)
            for serial in ("ONE", "TWO"):
                lab.disk(serial, 200 * MIB)
            lab.start()
            preview = lab.json("export", "preview", "--store", lab.store, "--prefix", "/cat/", "--drive-size", "200MiB")
            lab.export("job", ["ONE", "TWO"], "--prefix", "/cat/")
            got = {}
            for number, serial in enumerate(("ONE", "TWO")):
                lab.plug(serial)
                lab.wait_end("job", serial, "ShippedBack")
                plain = lab.open("job", serial)
                with open_drive.files_of(plain) as found:
                    blobs = {b.findtext("BlobPath"): found[b.findtext("FilePath").lstrip("\\").replace("\\", "/")].read_bytes()
                             for b in manifest_of(found, serial).iter("Blob")}
                plain.unlink()
                self.assertEqual(len(blobs), preview["drives"]["each"][number]["blobs"])
                self.assertEqual(sum(map(len, blobs.values())), preview["drives"]["each"][number]["bytes"])
                self.assertFalse(got.keys() & blobs.keys())
                got |= blobs
            lab.wait_job("job", "State", "Closed")
            self.assertEqual(lab.job("job", "Outcome"), "completed-with-errors")
            for name, content in got.items():
                self.assertEqual(content, files[name], name)
            uri = lab.job("job", "IncompleteListUri")
            self.assertRegex(uri, r"/waies/job_\d{8}-\d{6}-\d{3}_incomplete\.xml$")
            listed = lab.path_of(uri)
            left = {e.text for e in xml.fromstring(lab.file_of(uri).read_bytes()).iter("BlobPath")}
            self.assertEqual(left, files.keys() - got.keys())
            self.assertIn("cat/huge", left)
            # It is the list of the next job.
            lab.disk("THREE", 500 * MIB)
            lab.export("rest", ["THREE"], "--list-blob", listed)
            lab.plug("THREE")
            lab.wait_end("rest", "THREE", "ShippedBack")
            self.check_drive(lab, "rest", "THREE", {name: files[name] for name in left})
            lab.wait_job("rest", "State", "Completed")
            self.assertEqual(lab.job("rest", "IncompleteListUri"), "")

    def test_a_disk_that_holds_something_is_overwritten_only_when_that_was_said(self):
        with ExportLab(hand_back="at-once") as lab:
            lab.fill({"cat/x": b"x"})
            ext = lab.root / "ext"
            with open(ext, "wb") as out:
                out.truncate(8 * MIB)
            subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", ext], check=True)
            lab.disk("EXT", 200 * MIB, ext.read_bytes())
            lab.disk("JUNK", 200 * MIB, bytes(1000) + b"letters")
            lab.disk("SAID", 200 * MIB, ext.read_bytes())
            lab.start()
            lab.export("job", ["EXT", "JUNK"], "--prefix", "/cat/")
            for serial, sentence in (("EXT", "the device holds ext"), ("JUNK", "the device is not empty: there is something in its first MiB")):
                before = (lab.shelf / f"{serial}.img").read_bytes()
                image = lab.plug(serial)
                lab.wait_drive("job", serial, "Faulted", True)
                self.assertIn(sentence, lab.drive("job", serial, "FaultReason"))
                self.assertEqual(image.read_bytes(), before, "it was not touched")
            lab.ctl("retry", "job", "EXT", "--overwrite")
            lab.wait_end("job", "EXT", "ShippedBack")
            self.check_drive(lab, "job", "EXT", {"cat/x": b"x"})
            lab.export("said", ["SAID"], "--prefix", "/cat/", drive_options=["--overwrite"])
            lab.plug("SAID")
            lab.wait_end("said", "SAID", "ShippedBack")
            self.check_drive(lab, "said", "SAID", {"cat/x": b"x"})

    def test_keys_are_made_given_out_once_asked_for_and_not_lost_by_accident(self):
        with ExportLab(hand_back="at-once") as lab:
            lab.fill({"cat/x": b"x"})
            lab.disk("OUT", 200 * MIB)
            lab.start()
            lab.export("job", ["OUT"], "--prefix", "/cat/")
            lab.plug("OUT")
            lab.wait_end("job", "OUT", "ShippedBack")
            lab.wait_job("job", "State", "Completed")
            _, said, _ = lab.ctl("delete", "job", status=1)
            self.assertIn("the key of drive OUT of job job was never read", said)
            self.check_drive(lab, "job", "OUT", {"cat/x": b"x"})
            self.assertRegex(lab.log(), r"audit: uid \d+ calls Drive.GetKey on job job drive OUT: done")
            self.assertNotIn(lab.key("job", "OUT").decode(), lab.log())
            # Read once, it may be deleted; what is on the drive stays.
            lab.ctl("delete", "job")
            lab.ctl("key", "job", "OUT", status=4)

    def test_what_an_export_cannot_be_is_refused_by_name(self):
        with ExportLab() as lab:
            lab.fill({"cat/x": b"x", "lists/bad.xml": b"<BlobList/>"})
            lab.start()
            for arguments, sentence in ((("--type", "export"), "an export takes either a selection or a list blob, and neither was given"),
                                        (("--type", "export", "--path", "cat/x", "--list-blob", "cat/x"), "not both"),
                                        (("--type", "export", "--prefix", "c"), "does not begin with /"),
                                        (("--path", "cat/x"), "option selection is for export jobs, and this is an import job")):
                _, said, _ = lab.ctl("create", "job", "--store", lab.store, *arguments, status=1)
                self.assertIn(sentence, said)
            lab.ctl("create", "job", "--store", lab.store, "--type", "export", "--list-blob", "lists/bad.xml")
            _, said, _ = lab.ctl("add-drive", "job", "A", "--manifest", "\\m", "--manifest-hash", "0" * 32, status=1)
            self.assertIn("is for an export: key, manifest and volume are made for it and cannot be given", said)
            lab.ctl("add-drive", "job", "A")
            lab.ctl("ship", "job")
            lab.disk("A", 200 * MIB)
            lab.plug("A")
            lab.wait_drive("job", "A", "State", "CompletedMoreInfo")
            self.assertEqual(lab.drive("job", "A", "CopyStatus"), "BlobListFormatInvalid")
            _, said, _ = lab.ctl("create", "import", "--store", lab.store)
            _, said, _ = lab.ctl("add-drive", "import", "B", "--overwrite", "--manifest", "\\m", "--manifest-hash", "0" * 32, "--key-file",
                                 lab.key_file("B"), status=1)
            self.assertIn("option overwrite is for export jobs", said)


class Interrupted(Drives):
    """Whatever is killed or pulled, and when: the drive ends with the same content, and was not begun anew each time."""

    def lab_in_mid_export(self, rng):
        lab = ExportLab(hand_back="at-once", transfers=None, extra="transfers: {requests: 2, checkpoint: 100ms}\n")
        self.addCleanup(lab.close)
        files = {f"cat/large{i}": rng.randbytes(60 * MIB + i) for i in range(3)} | random_files(rng, 300, 60_000, "cat/small/f")
        lab.fill(files)
        lab.disk("OUT", 500 * MIB)
        lab.start()
        lab.export("job", ["OUT"], "--prefix", "/cat/")
        return lab, files

    def test_kills_of_anything_at_any_moment(self):
        rng = seed()
        kills = int(os.environ.get("DRAY_TEST_KILLS", "10"))
        hit = {"dray-drive": 0, "dray-transfer": 0, "drayd": 0}
        while sum(hit.values()) < kills:
            lab, files = self.lab_in_mid_export(rng)
            lab.plug("OUT")
            done = 0
            while lab.drive("job", "OUT", "State") != "ShippedBack" and sum(hit.values()) < kills:
                # Three in a row before anything new is written would end the drive (rules.md 9).
                if sum(hit.values()) % 2 == 0:
                    lab.wait(lambda: lab.drive("job", "OUT", "BytesDone") > done or
                             lab.drive("job", "OUT", "State") == "ShippedBack", "the copy to come further")
                    done = lab.drive("job", "OUT", "BytesDone")
                time.sleep(rng.random() * 0.8)
                program = rng.choice(sorted(hit))
                if lab.drive("job", "OUT", "State") != "Transferring":
                    continue
                if program == "drayd":
                    lab.kill_drayd()
                    lab.start()
                elif pid := lab.pid_of(program):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                else:
                    continue
                hit[program] += 1
            lab.wait_end("job", "OUT", "ShippedBack")
            self.assertEqual(lab.drive("job", "OUT", "CopyStatus"), "Completed", lab.log()[-3000:])
            self.check_drive(lab, "job", "OUT", files)
            begun = lab.log().count("it is begun anew")
            print(f"{hit}, begun anew {begun} times", flush=True)
            lab.close()

    def test_pulling_the_drive_and_putting_it_in_again(self):
        rng = seed()
        lab, files = self.lab_in_mid_export(rng)
        for _ in range(3):
            lab.plug("OUT")
            lab.wait(lambda: lab.drive("job", "OUT", "BytesDone") > 20 * MIB, "some of it to be there")
            done = lab.drive("job", "OUT", "BytesDone")
            lab.unplug("OUT")
            lab.wait(lambda: lab.drive("job", "OUT", "State") in ("Received", "ShippedBack"), "the pair to be gone")
            self.assertGreaterEqual(lab.drive("job", "OUT", "BytesDone"), done, "what is done never falls")
        lab.plug("OUT")
        lab.wait_end("job", "OUT", "ShippedBack")
        self.check_drive(lab, "job", "OUT", files)


class Drained(Drives):
    def test_a_cancel_ends_at_the_drive_the_blob_or_the_piece(self):
        rng = seed()
        for mode in ("drive", "blob", "piece"):
            with self.subTest(mode=mode), ExportLab(transfers=None, extra="transfers: {requests: 1}\n") as lab:
                files = {f"cat/large{i:03}": rng.randbytes(40 * MIB + i) for i in range(30 if mode != "drive" else 4)}
                lab.fill(files)
                lab.disk("OUT", 1500 * MIB)
                lab.disk("LATER", 200 * MIB)
                lab.start()
                lab.export("job", ["OUT", "LATER"], "--prefix", "/cat/")
                lab.plug("OUT")
                lab.wait(lambda: lab.drive("job", "OUT", "BytesDone") > 8 * MIB, "some of it to be there")
                lab.ctl("cancel", "job", "--drain", mode)
                lab.plug("LATER")
                lab.wait_end("job", "OUT", "Completed" if mode == "drive" else "CompletedMoreInfo")
                self.assertEqual(lab.drive("job", "OUT", "CopyStatus"), "Completed" if mode == "drive" else "Cancelled")
                self.assertEqual(lab.get("/org/dray1/device/LATER_2eimg_5f2", "Device", "Opens"), 0)
                plain = lab.open("job", "OUT")
                with open_drive.files_of(plain) as found:
                    blobs = {b.findtext("BlobPath") for b in manifest_of(found, "OUT").iter("Blob")}
                    on_drive = {name for name in found if name.startswith("cat/") and not name.endswith(".properties")}
                    self.assertEqual(on_drive, blobs, "no part of a blob is left")
                    for name in blobs:
                        self.assertEqual(found[name].read_bytes(), files[name])
                plain.unlink()
                if mode == "drive":
                    self.assertEqual(blobs, files.keys())
                else:
                    self.assertLess(len(blobs), len(files))
                    failed = {b.findtext("BlobPath") for b in xml.parse(lab.logs("job")[0]).getroot().findall("Blob")}
                    self.assertEqual(failed, files.keys() - blobs)
                for serial in ("OUT", "LATER"):
                    lab.unplug(serial)
                lab.wait_job("job", "State", "Completed")


class Account(Drives):
    def test_blocks_pages_snapshots_properties_and_metadata_of_an_account(self):
        rng = seed()
        with ExportAccount(hand_back="at-once") as lab:
            lab.service.create_container("cat")
            whole, appended = rng.randbytes(5000), rng.randbytes(9 * MIB)
            lab.blob("cat/whole").upload_blob(whole, metadata={"Site": "dc7", "owner": "x"}, content_settings=ContentSettings(
                content_type="text/plain", content_language="de", cache_control="no-store"))
            parts = [rng.randbytes(size) for size in (100, 3 * MIB, 7 * MIB + 1, 5)]
            # The SDK encodes them.
            ids = [f"{i:08}" for i in range(len(parts))]
            for block, content in zip(ids, parts):
                lab.blob("cat/blocks").stage_block(block, content)
            lab.blob("cat/blocks").commit_block_list([BlobBlock(block) for block in ids])
            lab.blob("cat/huge").upload_blob(b"", overwrite=True)
            large = [rng.randbytes(9 * MIB), rng.randbytes(60 * MIB)]
            for block, content in zip(ids, large):
                lab.blob("cat/coarse").stage_block(block, content)
            lab.blob("cat/coarse").commit_block_list([BlobBlock(block) for block in ids[:2]])
            lab.blob("cat/pages").create_page_blob(9 * MIB)
            page = rng.randbytes(1536)
            lab.blob("cat/pages").upload_page(page, 512, len(page))
            lab.blob("cat/log").create_append_blob()
            for at in range(0, len(appended), 3 * MIB):
                lab.blob("cat/log").append_block(appended[at : at + 3 * MIB])
            lab.blob("cat/v.txt").upload_blob(b"first")
            snapshot = lab.blob("cat/v.txt").create_snapshot()["snapshot"]
            lab.blob("cat/v.txt").upload_blob(b"second", overwrite=True)
            lab.disk("OUT")
            lab.start()
            lab.export("job", ["OUT"], "--prefix", "/cat/")
            lab.plug("OUT")
            lab.wait_end("job", "OUT", "ShippedBack")
            expected = {"cat/whole": whole, "cat/blocks": b"".join(parts), "cat/huge": b"", "cat/coarse": b"".join(large), "cat/log": appended,
                        "cat/pages": bytes(512) + page + bytes(9 * MIB - 2048), "cat/v.txt": b"second", f"cat/v.txt@{snapshot}": b"first"}
            drive = self.check_drive(lab, "job", "OUT", expected)
            blobs = {b.findtext("BlobPath") + (b.findtext("Snapshot") or ""): b for b in drive.iter("Blob")}
            self.assertEqual([(p.get("Id"), int(p.get("Length"))) for p in blobs["cat/blocks"].iter("Block")],
                             [(base64.b64encode(block.encode()).decode(), len(content)) for block, content in zip(ids, parts)])
            # One block is too long for the ring: cut anew, with ids that an import can take.
            self.assertTrue(all(p.get("Id").startswith("MD5/") and int(p.get("Length")) <= 4 * MIB for p in blobs["cat/coarse"].iter("Block")))
            self.assertEqual([(int(p.get("Offset")), int(p.get("Length"))) for p in blobs["cat/pages"].iter("PageRange")], [(512, 1536)])
            self.assertIsNone(blobs["cat/whole"].find("BlockList/Block").get("Id"))
            self.assertRegex(blobs["cat/v.txt" + snapshot].findtext("FilePath"), r"^\\cat\\v \(snapshot \d{8}T\d{13}\)\.txt$")
            plain = lab.open("job", "OUT")
            with open_drive.files_of(plain) as files:
                properties = xml.fromstring(files["cat/whole.properties"].read_bytes())
                self.assertEqual({e.tag: e.text for e in properties if e.tag != "Content-MD5"},
                                 {"Content-Type": "text/plain", "Content-Language": "de", "Cache-Control": "no-store"})
                metadata = xml.fromstring(files["cat/whole.metadata"].read_bytes())
                self.assertEqual({e.tag.lower(): e.text for e in metadata}, {"site": "dc7", "owner": "x"})
                self.assertNotIn("cat/blocks.metadata", files)

    def test_what_is_encrypted_in_the_account_is_plain_on_the_drive(self):
        rng = seed()
        files = {"large": rng.randbytes(9 * MIB + 5), "empty": b"", **random_files(rng, 20, 50_000, "f")}

        class Encrypted(Exports, encryption_test.EncryptedLab):
            pass

        with Encrypted(rng, hand_back="at-once") as lab:
            drive = lab.foreign("IN", make_tree(lab.root / "source", files), "cat")
            lab.start()
            lab.create("first", [drive])
            lab.plug("IN")
            lab.wait_end("first", "IN", "ShippedBack")
            lab.disk("OUT", 200 * MIB)
            lab.export("job", ["OUT"], "--prefix", "/cat/")
            lab.plug("OUT")
            lab.wait_end("job", "OUT", "ShippedBack")
            self.check_drive(lab, "job", "OUT", {f"cat/{name}": content for name, content in files.items()})

    def test_a_blob_that_changes_while_it_is_read_is_whole_and_of_one_moment(self):
        rng = seed()
        faults = fault_server()
        with ExportAccount(through=faults, transfers=None, hand_back="at-once", extra="transfers: {requests: 1}\n") as lab:
            lab.service.create_container("cat")
            before, after = rng.randbytes(40 * MIB), rng.randbytes(30 * MIB + 1)
            lab.blob("cat/changes").upload_blob(before)
            lab.disk("OUT")
            lab.start()
            faults.rules({"match": {"op": "GetBlob", "blob": "changes"}, "do": {"delay": 0.3}})
            lab.export("job", ["OUT"], "--prefix", "/cat/")
            lab.plug("OUT")
            lab.wait(lambda: lab.drive("job", "OUT", "BytesDone") > 4 * MIB, "the first of it to be there")
            lab.blob("cat/changes").upload_blob(after, overwrite=True)
            lab.wait_end("job", "OUT", "ShippedBack")
            self.assertEqual(lab.drive("job", "OUT", "CopyStatus"), "Completed", lab.log()[-3000:])
            self.check_drive(lab, "job", "OUT", {"cat/changes": after})
            snapshots = [b for b in lab.service.get_container_client("cat").list_blobs(include=["snapshots"]) if b.snapshot]
            self.assertEqual(snapshots, [], "ours was removed")


if __name__ == "__main__":
    unittest.main()
