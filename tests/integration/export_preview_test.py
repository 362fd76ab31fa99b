#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an export would take and how many drives it would need (azure-import-export.md 5.2, 5.5 and 7.8): through drayctl and
busctl, from a directory and from an account that the official SDK has filled."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from azure_lab import AzureLab  # noqa: E402
from lab import MIB, Lab, make_tree, seed  # noqa: E402

MANAGER = ("/org/dray1", "Manager", "PreviewExport", "sa{sv}")


def fill(lab, files):
    """Blobs as another program puts them into a directory store: files below their container."""
    make_tree(lab.vault, files)
    if os.getuid() == 0:
        for path in (lab.vault, *lab.vault.rglob("*")):
            os.chown(path, lab.uid, lab.gid)


def preview(lab, *arguments):
    return lab.json("export", "preview", "--store", lab.store, *arguments)


class Directory(unittest.TestCase):
    def test_a_selection_is_counted_and_laid_out_over_drives(self):
        rng = seed()
        with Lab() as lab:
            sizes = [rng.randrange(30 * MIB) for _ in range(12)]
            files = {f"bob/dir{i % 3}/f{i}": bytes(size) for i, size in enumerate(sizes)}
            files |= {"bobkids/one": b"1", "$root/logo.bmp": b"22", "pics/huge": bytes(150 * MIB)}
            fill(lab, files)
            lab.start()
            # 200 MiB less 16 of the volume's header, 16 of the journal and 64 in reserve.
            found = preview(lab, "--drive-size", "200MiB", "--prefix", "/bob", "--prefix", "/pics/", "--path", "$root/logo.bmp",
                            "--path", "bob/dir1/f1", "--path", "none/at-all", "--prefix", "/nobody")
            self.assertEqual((found["store"], found["blobs"], found["snapshots"]), (lab.store, 15, 0))
            self.assertEqual(found["bytes"], sum(map(len, files.values())))
            self.assertEqual((found["drive-size"], found["drive-room"]), (200 * MIB, 104 * MIB))
            drives = found["drives"]
            self.assertEqual(drives["needed"], len(drives["each"]))
            self.assertEqual(sum(d["blobs"] for d in drives["each"]), 14)
            self.assertEqual(sum(d["bytes"] for d in drives["each"]), sum(sizes) + 3)
            for drive in drives["each"]:
                self.assertLessEqual(drive["bytes"], drive["occupied"])
                self.assertLessEqual(drive["occupied"], found["drive-room"])
            least = -(-sum(d["occupied"] for d in drives["each"]) // found["drive-room"])
            self.assertLessEqual(drives["needed"], 11 * least // 9 + 1)
            self.assertEqual(found["without-place"], {"blobs": 1, "bytes": 150 * MIB, "first": [
                {"path": "pics/huge", "bytes": 150 * MIB, "reason": "it is larger than the room of one drive"}]})
            self.assertEqual([(e.get("prefix", e.get("path")), e["duplicate"], e["blobs"]) for e in found["selection"]],
                             # The bus has them by kind.
                             [("$root/logo.bmp", False, 1), ("bob/dir1/f1", True, 0), ("none/at-all", False, 0),
                              ("/bob", False, 13), ("/pics/", False, 1), ("/nobody", False, 0)])
            shown, _, _ = lab.ctl("export", "preview", "--store", lab.store, "--drive-size", "200MiB", "--prefix", "/pics/",
                                  "--path", "none/at-all", "--path", "pics/huge")
            for words in ("Selected: 1 blob with 150MiB", "Not in the store: none/at-all",
                          "Selected more than once, taken once: pics/huge", "Drives needed: 0 of 200MiB, each with room for 104MiB",
                          "1 blob of 150MiB has no place on a drive", "it is larger than the room of one drive"):
                self.assertIn(words, shown)
            # Nothing is left of it, and no drive was touched.
            self.assertEqual(list((lab.state / "previews").iterdir()), [])
            self.assertEqual(lab.json("devices"), [])
            self.assertEqual(lab.json("list"), [])

    def test_the_list_of_a_blob_is_taken_and_a_wrong_one_named(self):
        with Lab() as lab:
            fill(lab, {"aaa/one": b"1", "aaa/two": b"22", "bbb/three": b"333",
                       "lists/good.xml": b"<BlobList><BlobPath>aaa/two</BlobPath><BlobPathPrefix>/bbb/</BlobPathPrefix></BlobList>",
                       "lists/bad.xml": b"<BlobList>\n<Blob>a/two</Blob></BlobList>"})
            lab.start()
            found = preview(lab, "--drive-size", "1GB", "--list-blob", "lists/good.xml")
            self.assertEqual((found["blobs"], found["bytes"], found["drive-size"]), (2, 5, 10**9))
            for blob, sentence in (("lists/bad.xml", "the list blob lists/bad.xml: line 2 of the blob list: Blob is not known here"),
                                   ("lists/none.xml", "lists/none.xml")):
                _, said, _ = lab.ctl("export", "preview", "--store", lab.store, "--drive-size", "1GB", "--list-blob", blob,
                                     status=4 if "none" in blob else 1)
                self.assertIn(sentence, said)

    def test_what_cannot_be_asked_is_refused_by_name(self):
        with Lab() as lab:
            fill(lab, {"aaa/one": b"1"})
            lab.start()
            for options, error, sentence in (
                    (("1", "selection", "a{sas}", "1", "prefixes", "1", "/"), "InvalidArgument", "option drive-size is missing"),
                    (("1", "drive-size", "s", "1GB"), "InvalidArgument", "neither was given"),
                    (("3", "drive-size", "s", "1GB", "list-blob", "s", "aaa/one", "selection", "a{sas}", "1", "paths", "1", "aaa/one"),
                     "InvalidArgument", "not both"),
                    (("2", "drive-size", "s", "127MiB", "selection", "a{sas}", "1", "prefixes", "1", "/"), "InvalidArgument",
                     "a drive of 127MiB is too small"),
                    (("2", "drive-size", "s", "much", "selection", "a{sas}", "1", "prefixes", "1", "/"), "InvalidArgument",
                     "\"much\" is not a size"),
                    (("2", "drive-size", "s", "1GB", "selection", "a{sas}", "1", "prefixes", "1", "a"), "InvalidArgument",
                     "does not begin with /"),
                    (("2", "drive-size", "s", "1GB", "selection", "a{sas}", "1", "things", "1", "/a"), "InvalidArgument",
                     "unknown word \"things\""),
                    (("2", "drive-size", "s", "1GB", "selection", "a{sas}", "1", "snapshots", "1", "aaa/one"), "InvalidArgument",
                     "is not SNAPSHOT CONTAINER/NAME")):
                with self.subTest(sentence=sentence):
                    name, text = lab.error_of(*MANAGER, lab.store, *options)
                    self.assertEqual(name, error)
                    self.assertIn(sentence, text)
            name, text = lab.error_of(*MANAGER, "nowhere", "2", "drive-size", "s", "128MiB", "selection", "a{sas}", "1",
                                      "prefixes", "1", "/")
            self.assertEqual(name, "NotFound")
            self.assertIn("store \"nowhere\" is not in the configuration", text)
            self.assertEqual(preview(lab, "--drive-size", "128MiB", "--prefix", "/")["blobs"], 1)


class Account(unittest.TestCase):
    def test_snapshots_append_page_and_archived_blobs_of_an_account(self):
        with AzureLab() as lab:
            for container in ("pics", "$root"):
                lab.service.create_container(container)
            for path, content in (("pics/a", b"first"), ("pics/ab", b"other"), ("$root/logo", b"logo"), ("pics/cold", b"cold")):
                lab.blob(path).upload_blob(content)
            snapshot = lab.blob("pics/a").create_snapshot()["snapshot"]
            lab.blob("pics/a").upload_blob(b"second", overwrite=True)
            lab.blob("pics/a").create_snapshot()
            lab.blob("pics/disk").create_page_blob(512 * 5)
            lab.blob("pics/log").create_append_blob()
            lab.blob("pics/log").append_block(b"line\n")
            lab.blob("pics/cold").set_standard_blob_tier("Archive")
            lab.start()

            def counts(*arguments):
                found = preview(lab, "--drive-size", "1GiB", *arguments)
                return found["blobs"], found["snapshots"], found["bytes"]

            self.assertEqual(counts("--prefix", "/"), (6, 2, 6 + 5 + 6 + 5 + 4 + 4 + 2560 + 5))
            self.assertEqual(counts("--prefix", "/pics/a"), (2, 2, 5 + 6 + 6 + 5))
            self.assertEqual(counts("--path", "pics/a"), (1, 2, 5 + 6 + 6))
            self.assertEqual(counts("--base-path", "pics/a"), (1, 0, 6))
            listed = f'<BlobList><BlobPath SnapshotTime="{snapshot}">pics/a</BlobPath></BlobList>'.encode()
            lab.blob("pics/list.xml").upload_blob(listed)
            self.assertEqual(counts("--list-blob", "pics/list.xml"), (0, 1, 5))
            left = preview(lab, "--drive-size", "1GiB", "--prefix", "/pics/c")["without-place"]
            self.assertEqual([blob["path"] for blob in left["first"]], ["pics/cold"])
            self.assertIn("it is archived", left["first"][0]["reason"])


if __name__ == "__main__":
    unittest.main()
