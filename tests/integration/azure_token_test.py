#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Imports with a bearer token, at an emulator that speaks TLS and looks at what the token says."""

import contextlib
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import azurite  # noqa: E402
import certificates  # noqa: E402
from azure_lab import AzureLab  # noqa: E402
from lab import MIB, make_tree, random_files, seed  # noqa: E402


class Token(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        made = certificates.make(cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="dray-token.")))
        cls.ca = made["ca"]
        cls.server = cls.stack.enter_context(azurite.Azurite(certificate=made["good"]))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    @contextlib.contextmanager
    def lab(self, token):
        with AzureLab(credential="none", hand_back="at-once") as lab:
            lab.account, lab.endpoint = self.server.account, self.server.endpoint
            lab.service.close()
            lab.service = self.server.service(connection_verify=str(self.ca))
            lab.closing.callback(lab.service.close)
            ca = lab.root / "ca.pem"
            ca.write_bytes(pathlib.Path(self.ca).read_bytes())
            lab.give(ca)
            lab.write_config(endpoint=lab.endpoint, account=lab.account, allow_http=None, ca_file=ca,
                             credential=f"token:{lab.secret('token', token)}")
            for container in lab.containers():
                lab.service.delete_container(container)
            yield lab

    def begin(self, lab, job, files):
        drive = lab.prepare(job.upper(), make_tree(lab.root / "source", files), "lab")
        lab.start()
        lab.create(job, [drive])
        lab.plug(job.upper())

    def test_blobs_of_one_and_of_several_pieces_arrive(self):
        rng = seed()
        files = {"large": rng.randbytes(9 * MIB), "empty": b"", **random_files(rng, 20, 5000)}
        # Written by an editor, with a line break at its end.
        with self.lab(azurite.token() + "\n") as lab:
            self.begin(lab, "token", files)
            lab.wait_job("token", "State", "Completed")
            self.assertEqual(lab.blobs(), {f"lab/{name}": data for name, data in files.items()})
            self.assertEqual(lab.leftovers(), [])
            self.assertEqual(lab.ctl("stores")[2], 0)

    def test_an_expired_token_is_a_fault_that_a_new_one_mends_by_itself(self):
        old = azurite.token(seconds=-60)
        with self.lab(old) as lab:
            self.begin(lab, "old", {"a": b"content"})
            lab.wait_drive("old", "OLD", "Faulted", True)
            reason = lab.drive("old", "OLD", "FaultReason")
            print(reason, flush=True)
            self.assertIn("expired", reason)
            self.assertIn("token", reason)
            self.assertNotIn(old, reason + lab.log())
            self.assertEqual(lab.blobs(), {})
            lab.secret("token", azurite.token())
            lab.wait_job("old", "State", "Completed")
            self.assertEqual(lab.blobs(), {"lab/a": b"content"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
