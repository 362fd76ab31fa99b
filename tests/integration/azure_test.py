#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drives arrive in an account of the blob service: what dray wrote there is read by the official SDK alone, and all that
an import does in a directory it does there."""

import hashlib
import os
import re
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import azurite  # noqa: E402
import outcomes_test  # noqa: E402
from azure_lab import LOGS, AzureLab, fault_server, on_azure  # noqa: E402
from lab import MIB, make_tree, random_files, seed  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402
from outcomes_test import PAGE, metadata_xml, page_xml, properties_xml, side_xml  # noqa: E402

REQUESTS = 8


class Vector(outcomes_test.TestVector):
    lab = on_azure()


class EveryRow(outcomes_test.EveryRow):
    """The rows of 4.4 and 4.8 once more, in an account."""

    lab = on_azure(through=True)


class Places(outcomes_test.Places):
    lab = on_azure(through=True)


class Import(unittest.TestCase):
    def bring(self, lab, job, drive, *options, state="Completed"):
        lab.ctl("create", job, "--store", "cloud", *options)
        lab.ctl("add-drive", job, drive["serial"], "--key-file", lab.shelf / f"{drive['serial']}.key", "--manifest",
                drive["manifest"], "--manifest-hash", drive["manifest-hash"])
        lab.ctl("ship", job)
        lab.plug(drive["serial"])
        if state is not None:
            lab.wait_job(job, "State", state)

    def check_blocks(self, lab, manifest):
        """Blobs of several pieces have these as their blocks."""
        several = 0
        for blob in xml.fromstring(manifest).iter("Blob"):
            pieces = [(piece.get("Id"), int(piece.get("Length"))) for piece in blob.findall("BlockList/Block")]
            if len(pieces) > 1:
                several += 1
                committed, uncommitted = azurite.block_ids(lab.blob(blob.findtext("BlobPath")))
                self.assertEqual([size for _, size in committed], [size for _, size in pieces])
                if pieces[0][0] is not None:
                    self.assertEqual(committed, pieces)
                self.assertEqual(uncommitted, [])
        return several

    def check_all(self, lab, expected):
        """The listing and a download by the SDK show these blobs, and nothing else."""
        listing = {path: blob for path, blob in lab.listing().items() if not path.startswith(LOGS + "/")}
        self.assertEqual(listing.keys(), expected.keys())
        for path, blob in listing.items():
            self.assertEqual((blob.size, blob.blob_type), (len(expected[path]), "BlockBlob"), path)
            md5 = blob.content_settings.content_md5
            if md5 is not None:
                self.assertEqual(bytes(md5), hashlib.md5(expected[path]).digest(), path)
            self.assertEqual(dict(blob.metadata or {}), {}, "nothing of ours is in the customer's metadata")
            self.assertIsNone(blob.snapshot)
            self.assertTrue(lab.blob(path).download_blob().readall() == expected[path], path)
        self.assertEqual(lab.uncommitted(), {})

    def test_a_listing_and_a_download_by_the_sdk_show_what_was_on_the_drive(self):
        rng = seed()
        files = {
            "empty": b"", "one": b"x", "exact.bin": rng.randbytes(4 * MIB), "over.bin": rng.randbytes(4 * MIB + 1),
            "large.bin": rng.randbytes(21 * MIB + 513), "deep/er/and/deeper/file.txt": b"deep",
            "name with blanks & ampersand <x> 100%+?#.txt": b"odd", "f\u00fcr \u65e5\u672c \U0001F600.txt": b"unicode",
            **random_files(rng, 150, 9000, "many/f"),
        }
        with AzureLab(hand_back="at-once") as lab:
            drive = lab.prepare("SER-1", make_tree(lab.root / "source", files), "lab/in")
            lab.start()
            self.bring(lab, "lyon-1", drive, "--backup-manifest")
            expected = {f"lab/in/{name}": data for name, data in files.items()}
            self.check_all(lab, expected)
            self.assertEqual(lab.containers(), ["lab", LOGS])
            manifest = lab.file_of(lab.drive("lyon-1", "SER-1", "ManifestUri")).read_bytes()
            self.assertEqual(hashlib.md5(manifest).hexdigest().upper(), drive["manifest-hash"])
            self.assertEqual(self.check_blocks(lab, manifest), 2)
            self.assertEqual(lab.job("lyon-1", "BytesDone"), sum(map(len, files.values())))
            log = xml.parse(lab.logs("lyon-1")[0]).getroot()
            self.assertEqual((log.findtext("Status"), log.findall("Blob")), ("Completed", []))
            for path, data in lab.everything().items():
                self.assertNotIn(lab.server.key.encode(), data, path)
            self.assertNotIn(lab.server.key, lab.log())

    def test_a_drive_by_other_programs_with_ids_of_its_own(self):
        rng = seed()
        files = {"big.bin": rng.randbytes(13 * MIB + 77), "dir/empty": b"", **random_files(rng, 40, 20000, "dir/f")}
        with AzureLab(hand_back="at-once") as lab:
            drive = lab.foreign("FOREIGN", make_tree(lab.root / "source", files))
            lab.start()
            self.bring(lab, "oslo", drive, "--backup-manifest")
            self.check_all(lab, drive["expected"])
            manifest = lab.file_of(lab.drive("oslo", "FOREIGN", "ManifestUri")).read_bytes()
            self.assertEqual(self.check_blocks(lab, manifest), 1)

    def test_properties_metadata_and_the_holes_of_page_blobs(self):
        rng = seed()
        disk = rng.randbytes(9 * MIB)
        text = b"content"
        metadata = metadata_xml(site="dc7", Rack="12")
        properties = properties_xml(Content_Type="text/plain; charset=utf-8", Content_Language="fr", Cache_Control="no-cache",
                                    Content_Encoding="br")
        size = 64 * MIB
        ranges = [(PAGE, disk[:PAGE]), (2 * MIB, disk[: 4 * MIB]), (6 * MIB, disk[4 * MIB : 5 * MIB + PAGE]),
                  (20 * MIB + PAGE, disk[5 * MIB : 9 * MIB]), (size - PAGE, disk[-PAGE:])]
        side = side_xml("Metadata", "\\m.xml", metadata) + side_xml("Properties", "\\p.xml", properties)
        blobs = [blob_xml("lab/text", "\\text", text, extra=side), page_xml("lab/disk.vhd", "\\disk", size, ranges, extra=side)]
        with AzureLab(hand_back="at-once") as lab:
            source = make_tree(lab.root / "source", {"text": text, "m.xml": metadata, "p.xml": properties})
            with open(source / "disk", "wb") as out:
                out.truncate(size)
                for offset, data in ranges:
                    out.seek(offset)
                    out.write(data)
            drive = lab.foreign("PAGES", source, manifest=manifest_xml("PAGES", blobs))
            lab.start()
            self.bring(lab, "pages", drive)
            for path in ("lab/text", "lab/disk.vhd"):
                found = lab.blob(path).get_blob_properties()
                settings = found.content_settings
                self.assertEqual({name.lower(): value for name, value in found.metadata.items()}, {"site": "dc7", "rack": "12"})
                self.assertEqual((settings.content_type, settings.content_language, settings.cache_control,
                                  settings.content_encoding), ("text/plain; charset=utf-8", "fr", "no-cache", "br"))
            page = lab.blob("lab/disk.vhd")
            found = page.get_blob_properties()
            self.assertEqual((found.blob_type, found.size), ("PageBlob", size))
            used, cleared = page.get_page_ranges()
            self.assertEqual(merged([(each["start"], each["end"] + 1) for each in used]),
                             merged([(offset, offset + len(data)) for offset, data in ranges]))
            self.assertEqual(list(cleared), [])
            for offset, data in ranges:
                self.assertTrue(page.download_blob(offset, len(data)).readall() == data, offset)
            self.assertEqual(lab.leftovers(), [])

    def test_a_leased_blob_is_left_as_it_is(self):
        """4.8: target leased, LeasePresent. 4.4: overwrite."""
        rng = seed()
        large = rng.randbytes(9 * MIB)
        blobs = [blob_xml(f"lab/{name}", "\\large" if "large" in name else "\\small", large if "large" in name else b"new",
                          "overwrite") for name in ("held", "held-large", "free", "free-large")]
        with AzureLab() as lab:
            container = lab.service.create_container("lab")
            leases = []
            for name in ("held", "held-large", "free", "free-large"):
                blob = container.upload_blob(name, b"old", metadata={"age": "old"})
                if name.startswith("held"):
                    leases.append(blob.acquire_lease(-1))
            drive = lab.foreign("LEASED", make_tree(lab.root / "source", {"large": large, "small": b"new"}),
                                manifest=manifest_xml("LEASED", blobs))
            lab.start()
            self.bring(lab, "leased", drive, state="Packaging")
            self.assertEqual(lab.blobs(), {"lab/held": b"old", "lab/held-large": b"old", "lab/free": b"new",
                                           "lab/free-large": large})
            self.assertEqual(lab.blob("lab/held").get_blob_properties().metadata, {"age": "old"})
            self.assertEqual(lab.blob("lab/free").get_blob_properties().metadata, {})
            found = {blob.findtext("BlobPath"): (blob.get("Status"), blob.find("ImportDisposition").get("Status"))
                     for blob in xml.parse(lab.logs("leased")[0]).getroot().findall("Blob")}
            self.assertEqual(found, {"lab/held": ("LeasePresent", "Cancelled"), "lab/held-large": ("LeasePresent", "Cancelled"),
                                     "lab/free": ("Completed", "Overwritten"), "lab/free-large": ("Completed", "Overwritten")})
            self.assertEqual(lab.drive("leased", "LEASED", "CopyStatus"), "CompletedWithErrors")
            self.assertEqual(lab.leftovers(), [])
            for lease in leases:
                lease.release()

    def test_dispositions_leave_replace_or_rename_what_is_there(self):
        with AzureLab(hand_back="at-once") as lab:
            lab.start()
            for number, disposition in enumerate(("rename", "no-overwrite", "overwrite", "rename")):
                content = f"round {number}".encode()
                source = make_tree(lab.root / f"source{number}", {"dir.d/a.b.txt": content})
                self.bring(lab, f"r{number}", lab.prepare(f"R{number}", source, "lab", "--disposition", disposition))
            self.assertEqual(lab.blobs(), {"lab/dir.d/a.b.txt": b"round 2", "lab/dir.d/a.b (2).txt": b"round 3"})
            self.assertEqual(lab.drive("r1", "R1", "CopyStatus"), "CompletedWithWarnings")

    def test_cancel_with_drain_piece_leaves_nothing_uncommitted(self):
        rng = seed()
        with AzureLab(through=fault_server(), transfers=None, extra=f"transfers: {{max: 1, requests: {REQUESTS}, ring: 16MiB}}\n") as lab:
            files = {f"large{n}.bin": rng.randbytes(24 * MIB) for n in range(3)}
            files.update(random_files(rng, 20, 9000))
            drive = lab.prepare("D", make_tree(lab.root / "source", files), "lab", "--block-size", "256KiB")
            lab.start()
            # Some of the 288 pieces are there when it stands still, and more than may be in hand are not.
            lab.faults.rules({"match": {"op": "PutBlock", "nth": list(range(60, 1000))}, "do": {"hold": True}})
            self.bring(lab, "job-d", drive, state=None)
            lab.faults.wait(op="PutBlock", count=59, answered=True)
            lab.faults.wait(op="PutBlock", count=1, answered=False)
            self.assertNotEqual(lab.uncommitted(), {}, "so the SDK sees what is staged")
            lab.ctl("cancel", "job-d", "--drain", "piece")
            lab.faults.rules()
            lab.wait_job("job-d", "State", "Packaging")
            self.assertEqual(lab.drive("job-d", "D", "CopyStatus"), "Cancelled")
            self.assertEqual((lab.uncommitted(), lab.leftovers()), ({}, []))
            found, expected = lab.blobs(), {f"lab/{name}": data for name, data in files.items()}
            self.assertTrue(found.items() <= expected.items(), "what is there is whole")
            self.assertLess(len(found), len(expected))
            missing = {b.findtext("BlobPath") for b in xml.parse(lab.logs("job-d")[0]).getroot().findall("Blob")}
            self.assertEqual(missing, expected.keys() - found.keys())

    def test_after_a_kill_it_goes_on_at_the_next_piece(self):
        rng = seed()
        extra = f"transfers: {{max: 1, requests: {REQUESTS}}}\n"
        with AzureLab(through=fault_server(), transfers=None, extra=extra, hand_back="at-once") as lab:
            files = {f"large{n}": rng.randbytes(16 * MIB) for n in range(2)}
            drive = lab.prepare("K", make_tree(lab.root / "source", files), "lab", "--block-size", "64KiB")
            pieces = sum(len(data) // (64 * 1024) for data in files.values())
            lab.start()
            stop = rng.randrange(300, 400)
            lab.faults.rules({"match": {"op": "PutBlock", "nth": list(range(stop, 10_000))}, "do": {"hold": True}})
            self.bring(lab, "job-k", drive, state=None)
            lab.faults.wait(op="PutBlock", count=stop - 1, answered=True)
            lab.faults.wait(op="PutBlock", count=1, answered=False)
            lab.kill_drayd()
            lab.faults.rules()
            lab.start()
            lab.wait_job("job-k", "State", "Completed")
            self.assertEqual(lab.blobs(), {f"lab/{name}": data for name, data in files.items()})
            self.assertEqual(lab.leftovers(), [])
            sent = {}
            for record in lab.faults.requests(op="PutBlock", container="lab"):
                place = (record["blob"], record["block"])
                sent[place] = sent.get(place, 0) + 1
            self.assertEqual(len(sent), pieces, "the second time under the same names")
            self.assertLessEqual(max(sent.values()), 2)
            twice = sum(count == 2 for count in sent.values())
            print(f"{twice} of {pieces} pieces put twice", flush=True)
            # As in crash_test.py: asked for or being put, and put without a record in the journal.
            self.assertLessEqual(twice, 2 * REQUESTS + 128)

    def test_every_piece_is_sent_once_with_its_hash(self):
        rng = seed()
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            files = {"large": rng.randbytes(18 * MIB + 5), "small": rng.randbytes(1000), "empty": b""}
            drive = lab.foreign("ONCE", make_tree(lab.root / "source", files))
            lab.start()
            self.bring(lab, "once", drive)
            blocks = lab.faults.requests(op="PutBlock", container="lab")
            self.assertEqual(sorted(record["length"] for record in blocks), [2 * MIB + 5] + [4 * MIB] * 4)
            # The id that make_drive.py gives a piece is its MD5.
            for record in blocks:
                self.assertEqual("MD5/" + record["content-md5"], record["block"])
            for record in lab.faults.requests(container="lab"):
                if record["op"] in ("PutBlob", "PutBlockList") and record["length"] > 0:
                    self.assertTrue(record["content-md5"] or record["content-crc64"], record)
            self.assertEqual(sum(record["length"] for record in lab.faults.requests(op="PutBlob", container="lab")), 1000)

    def test_a_sas_for_the_account_does_as_well(self):
        with AzureLab(credential="none", hand_back="at-once") as lab:
            sas = azurite.account_sas(account=lab.account)
            lab.write_config(credential=f"sas:{lab.secret('sas', '?' + sas)}")
            lab.start()
            self.bring(lab, "sas", lab.prepare("S", make_tree(lab.root / "source", {"a": b"content", "b": b""})))
            self.assertEqual(lab.blobs(), {"lab/a": b"content", "lab/b": b""})
            signature = re.search("sig=([^&]*)", sas).group(1)
            self.assertNotIn(signature, lab.log() + lab.ctl("show", "sas")[0] + lab.ctl("stores")[0])
            self.assertNotIn("sig=", lab.drive("sas", "S", "ErrorLogUri"))

    def test_accounts_of_one_server_are_two_stores(self):
        with AzureLab(hand_back="at-once") as lab, AzureLab(hand_back="at-once") as other:
            for each in (lab, other):
                each.start()
                self.bring(each, "job", each.prepare("A", make_tree(each.root / "source", {"a": each.account.encode()})))
            self.assertNotEqual(lab.account, other.account)
            for each in (lab, other):
                self.assertEqual(each.blobs(), {"lab/a": each.account.encode()})


def merged(ranges):
    found = []
    for start, end in sorted(ranges):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


if __name__ == "__main__":
    unittest.main()
