#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client-side encryption: the official SDK decrypts what an import wrote into an account of the blob service."""

import base64
import hashlib
import json
import os
import sys
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from azure_lab import LOGS, AzureLab, fault_server  # noqa: E402
from envelope_keys import ALGORITHMS, AesKey, decrypting, new_key  # noqa: E402
from lab import MIB, make_tree, random_files, seed  # noqa: E402

REGION = 4 * MIB
REQUESTS = 8
KEY_ID = "escrow:2026/1"


class EncryptedLab(AzureLab):
    """`algorithm`; the SDK's key for it is self.kek."""

    def __init__(self, rng, algorithm="A256KW", **more):
        super().__init__(options=f"encryption-key: {json.dumps(KEY_ID)}", **more)
        self.kek, self.key_bytes = new_key(algorithm, KEY_ID, rng)
        self.secret("wrapping-key", self.key_bytes)
        self.keys = f"keys: {{{json.dumps(KEY_ID)}: {{credential: {self.root}/wrapping-key, algorithm: {algorithm}}}}}\n"
        self.write_config()
        self.sdk = decrypting(self.server, self.account, self.kek)
        self.closing.callback(self.sdk.close)

    def plain(self, path):
        container, _, name = path.partition("/")
        return self.sdk.get_blob_client(container, name)

    def decrypted(self):
        return {path: self.plain(path).download_blob().readall() for path in self.listing() if not path.startswith(LOGS + "/")}

    def log_of(self, job):
        path = next(path for path in self.listing() if path.startswith(f"{LOGS}/waies/{job}_") and path.endswith("_error.xml"))
        return xml.fromstring(self.plain(path).download_blob().readall())


class Encryption(unittest.TestCase):
    def bring(self, lab, job, serial, files, *more):
        drive = lab.prepare(serial, make_tree(lab.root / f"source-{serial}", files), "lab", *more)
        lab.start()
        lab.create(job, [drive])
        lab.plug(serial)
        return {f"lab/{name}": data for name, data in files.items()}

    def check_envelope(self, lab, path, data):
        """client-side-encryption.md 1.2, 1.4, by what lies in the account."""
        blob = lab.blob(path)
        found = blob.get_blob_properties()
        said = json.loads({name.lower(): value for name, value in found.metadata.items()}["encryptiondata"])
        self.assertEqual(said["WrappedContentKey"]["KeyId"], KEY_ID)
        self.assertEqual(said["WrappedContentKey"]["Algorithm"], lab.kek.get_key_wrap_algorithm())
        self.assertEqual(said["EncryptionAgent"], {"Protocol": "2.0", "EncryptionAlgorithm": "AES_GCM_256"})
        self.assertEqual(said["EncryptedRegionInfo"], {"DataLength": REGION, "NonceLength": 12})
        self.assertEqual(said["EncryptionMode"], "FullBlob")
        self.assertEqual(list(said["WrappedContentKey"]), ["KeyId", "EncryptedKey", "Algorithm"])
        key = lab.kek.unwrap_key(base64.b64decode(said["WrappedContentKey"]["EncryptedKey"]),
                                 said["WrappedContentKey"]["Algorithm"])
        self.assertEqual((len(key), key[:8]), (40, b"2.0" + bytes(5)))
        stored = blob.download_blob().readall()
        self.assertEqual(len(stored), len(data) + 28 * -(-len(data) // REGION), path)
        for number, start in enumerate(range(0, len(stored), REGION + 28)):
            self.assertEqual(stored[start : start + 12], number.to_bytes(12, "big"), "Python's way of counting")
        if len(data) >= 16:
            self.assertNotIn(data[:16], stored)
            self.assertNotIn(data[-16:], stored)
        if found.content_settings.content_md5 is not None:
            self.assertEqual(bytes(found.content_settings.content_md5), hashlib.md5(stored).digest())
        return key[8:]

    def test_the_sdk_decrypts_what_an_import_wrote(self):
        rng = seed()
        files = {"empty": b"", "one": b"x", "text": b"content of a small file", "less": rng.randbytes(REGION - 1),
                 "exact": rng.randbytes(REGION), "more": rng.randbytes(REGION + 1), "large": rng.randbytes(21 * MIB + 513),
                 **random_files(rng, 60, 9000, "many/f")}
        with EncryptedLab(rng, hand_back="at-once") as lab:
            expected = self.bring(lab, "escrow", "ENC", files)
            lab.wait_job("escrow", "State", "Completed")
            self.assertEqual(lab.decrypted(), expected)
            self.assertEqual(lab.drive("escrow", "ENC", "CopyStatus"), "Completed")
            self.assertEqual(lab.log_of("escrow").findall("Blob"), [])
            keys = {self.check_envelope(lab, path, data) for path, data in expected.items()}
            self.assertEqual(len(keys), len(expected), "a content key of its own for every blob")
            large = lab.plain("lab/large")
            for offset, length in ((0, 10), (REGION - 5, 10), (2 * REGION, REGION), (21 * MIB, 513), (5, 9 * MIB)):
                self.assertTrue(large.download_blob(offset, length).readall() == files["large"][offset : offset + length])
            self.assertEqual(lab.leftovers(), [])
            for name, data in files.items():
                if len(data) >= 16:
                    for path, stored in lab.everything().items():
                        self.assertNotIn(data[:16], stored, f"{name} is in {path}")
            for secret in (lab.key_bytes, lab.key_bytes.hex().encode(), base64.b64encode(lab.key_bytes)):
                self.assertNotIn(secret, lab.log().encode())
                for path in lab.state.rglob("*"):
                    if path.is_file():
                        self.assertNotIn(secret, path.read_bytes(), path)
            # Another key fits nothing.
            other = decrypting(lab.server, lab.account, AesKey(bytes(32), KEY_ID))
            self.addCleanup(other.close)
            with self.assertRaises(Exception):
                other.get_blob_client("lab", "text").download_blob().readall()

    def test_every_way_to_wrap_a_key(self):
        """With RSA from the public key alone."""
        rng = seed()
        for algorithm in ALGORITHMS:
            with self.subTest(algorithm=algorithm), EncryptedLab(rng, algorithm, hand_back="at-once") as lab:
                self.assertEqual(b"PRIVATE" in lab.key_bytes, False)
                expected = self.bring(lab, "wrap", "WRAP", {"a": b"content", "b": rng.randbytes(REGION + 100), "c": b""})
                lab.wait_job("wrap", "State", "Completed")
                self.assertEqual(lab.decrypted(), expected)
                for path, data in expected.items():
                    self.check_envelope(lab, path, data)

    def test_pieces_of_any_size(self):
        rng = seed()
        for size in ("64KiB", "1MiB", "6MiB"):
            with self.subTest(size=size), EncryptedLab(rng, hand_back="at-once") as lab:
                expected = self.bring(lab, "size", "SIZE", {"a": rng.randbytes(9 * MIB + 11), "b": rng.randbytes(70_000)},
                                      "--block-size", size)
                lab.wait_job("size", "State", "Completed")
                self.assertEqual(lab.decrypted(), expected)

    def test_bad_days_of_the_network(self):
        rng = seed()
        files = {"large": rng.randbytes(13 * MIB), "exact": rng.randbytes(REGION), **random_files(rng, 20, 50_000)}
        for name, rules in (("mild", None), ("lost", [{"match": {"op": ["PutBlob", "PutBlock*", "CopyBlob"], "per-key": 1},
                                                       "do": {"lose": True}}])):
            with self.subTest(name=name), EncryptedLab(rng, through=fault_server(), hand_back="at-once") as lab:
                if rules is None:
                    number = rng.randrange(10**6)
                    print(f"faults by seed {number}", flush=True)
                    lab.faults.mild(number)
                else:
                    lab.faults.rules(*rules)
                expected = self.bring(lab, "bad", "BAD", files)
                lab.wait_job("bad", "State", "Completed")
                self.assertTrue(any(record["rule"] for record in lab.faults.requests()))
                lab.faults.rules()
                self.assertEqual(lab.decrypted(), expected)
                self.assertEqual(lab.drive("bad", "BAD", "CopyStatus"), "Completed")
                self.assertEqual(lab.log_of("bad").findall("Blob"), [])
                self.assertEqual(lab.leftovers(), [])

    def test_after_a_kill_blobs_in_hand_are_begun_anew(self):
        rng = seed()
        extra = f"transfers: {{max: 1, requests: {REQUESTS}}}\n"
        with EncryptedLab(rng, through=fault_server(), transfers=None, extra=extra, hand_back="at-once") as lab:
            files = {f"large{n}": rng.randbytes(17 * MIB + n) for n in range(2)} | random_files(rng, 20, 9000)
            lab.faults.rules({"match": {"op": "PutBlock", "nth": list(range(4, 1000))}, "do": {"hold": True}})
            expected = self.bring(lab, "kill", "KILL", files)
            lab.faults.wait(op="PutBlock", count=3, answered=True)
            lab.faults.wait(op="PutBlock", count=1, answered=False)
            lab.kill_drayd()
            lab.faults.rules()
            lab.start()
            lab.wait_job("kill", "State", "Completed")
            self.assertEqual(lab.decrypted(), expected)
            keys = {self.check_envelope(lab, path, data) for path, data in expected.items()}
            self.assertEqual(len(keys), len(expected))
            self.assertEqual(lab.leftovers(), [])

    def test_a_key_that_does_not_fit_its_algorithm_is_said(self):
        rng = seed()
        for name, content in (("too short", b"short"), ("too long", rng.randbytes(40))):
            with self.subTest(name=name), EncryptedLab(rng) as lab:
                lab.secret("wrapping-key", content)
                lab.start()
                out, error, status = lab.ctl("stores", status=None)
                print(f"{name}: {' '.join((out + error).split())}", flush=True)
                self.assertNotEqual(status, 0)
                self.assertRegex(out, "escrow|wrapping-key|A256KW")

    def test_nothing_is_written_in_the_clear_where_the_key_is_missing(self):
        rng = seed()
        with EncryptedLab(rng, hand_back="at-once") as lab:
            (lab.root / "wrapping-key").rename(lab.root / "away")
            expected = self.bring(lab, "none", "NONE", {"a": b"content"})
            lab.wait_drive("none", "NONE", "Faulted", True)
            reason = lab.drive("none", "NONE", "FaultReason")
            print(f"missing: {reason}", flush=True)
            self.assertIn("wrapping-key", reason)
            self.assertEqual(lab.listing(), {})
            (lab.root / "away").rename(lab.root / "wrapping-key")
            if lab.drive("none", "NONE", "Faulted"):
                lab.ctl("retry", "none", "NONE", status=None)
            lab.wait_job("none", "State", "Completed")
            self.assertEqual(lab.decrypted(), expected)


if __name__ == "__main__":
    unittest.main()
