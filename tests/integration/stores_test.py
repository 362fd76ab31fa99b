#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stores as operators see them: drayctl stores, drayctl status and the bus, for stores that are well, that lack their
secret, and that are not there; and what a reload may change of them. Nothing here takes a network."""

import json
import os
import pathlib
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, make_tree  # noqa: E402

SECRET = "U0VDUkVU" * 10 + "c2VjcmV0"  # as long as an account's key


class Stores(unittest.TestCase):
    def configure(self, lab, **stores):
        """Stores beside the lab's own; underscores in their options stand for dashes."""
        vault = f"stores: {{vault: {{type: directory, path: {lab.vault}}}"
        text = lab.config.read_text()
        start = text.index(vault)
        end = text.index("\n", start)
        more = ""
        for name, options in stores.items():
            words = ", ".join(f"{key.replace('_', '-')}: {value}" for key, value in options.items())
            more += f", {name}: {{{words}}}"
        lab.config.write_text(text[:start] + vault + more + "}" + text[end:])

    def secret(self, lab, name, content=SECRET, mode=0o600):
        path = lab.root / name
        new = lab.root / f"{name}.new"
        new.write_text(content)
        new.chmod(mode)
        if os.getuid() == 0:
            os.chown(new, lab.uid, lab.gid)
        new.rename(path)
        return path

    def azure(self, lab, credential, **more):
        """Nobody listens on this port."""
        return {"type": "azure", "endpoint": "http://127.0.0.1:9/acme", "allow_http": "true", "credential": credential, **more}

    def shown(self, lab, store):
        return {name: lab.get(f"/org/dray1/store/{store}", "Store", name)
                for name in ("Name", "Type", "Url", "Reachable", "Encrypted", "Problem")}

    def test_a_secret_that_is_missing_or_open_to_others_is_said_with_what_mends_it(self):
        with Lab() as lab:
            path = lab.root / "blue.key"
            self.configure(lab, blue=self.azure(lab, path))
            lab.start()
            # Without anybody having asked.
            missing = f"there is no file {path}"
            lab.wait_log(missing)
            self.assertEqual(self.shown(lab, "blue") | {"Problem": ""},
                             {"Name": "blue", "Type": "azure", "Url": "http://127.0.0.1:9/acme", "Reachable": False,
                              "Encrypted": False, "Problem": ""})
            out, _, _ = lab.ctl("status")
            self.assertIn("Needs a hand:", out)
            self.assertIn(missing, out)
            out, _, _ = lab.ctl("stores", "--no-check")
            self.assertIn(missing, out)

            out, _, status = lab.ctl("stores", status=None)
            self.assertEqual(status, 1)
            self.assertEqual(out.count(missing), 1, out)
            self.assertIn("store \"blue\"", out)
            self.assertEqual(lab.ctl("stores", "vault")[2], 0)
            _, _, status = lab.ctl("stores", "blue", status=None)
            self.assertEqual(status, 1)
            _, error, status = lab.ctl("stores", "green", status=None)
            self.assertEqual((status, "there is no store \"green\"" in error), (4, True), error)
            rows = json.loads(lab.ctl("--json=short", "stores", "blue", "vault", status=None)[0])
            self.assertEqual([row["store"] for row in rows], ["blue", "vault"])
            self.assertEqual((rows[0]["reachable"], rows[1]["reachable"]), (False, True))
            self.assertEqual(rows[0]["encrypted"], False)
            self.assertIn(missing, rows[0]["problem"])
            self.assertEqual(rows[1]["problem"], "")
            kind, sentence = lab.error_of("/org/dray1/store/blue", "Store", "Check", "a{sv}", 0)
            self.assertEqual(kind, "NotFound")
            self.assertIn(missing, sentence)

            self.secret(lab, "blue.key", mode=0o644)
            mend = f"run: chmod 600 {path}"
            lab.wait_log(mend)
            lab.wait(lambda: mend in self.shown(lab, "blue")["Problem"], "the mode to be said on the bus")
            kind, sentence = lab.error_of("/org/dray1/store/blue", "Store", "Check", "a{sv}", 0)
            self.assertEqual(kind, "AccessDenied")
            self.assertIn(mend, sentence)
            path.chmod(0o600)
            lab.wait_log("its credential was renewed")
            # What is wrong then is another thing.
            lab.wait(lambda: "credential cannot be used" not in self.shown(lab, "blue")["Problem"], "the store to be asked")
            self.assertNotIn(SECRET, lab.log())

    def test_a_drive_whose_store_lacks_its_key_is_faulted_and_goes_on_when_the_key_is_there(self):
        with Lab(hand_back="at-once") as lab:
            key = lab.root / "escrow.key"
            self.configure(lab)
            text = lab.config.read_text().replace(f"path: {lab.vault}", f"path: {lab.vault}, encryption-key: escrow")
            lab.config.write_text(text + f"keys: {{escrow: {{credential: {key}, algorithm: A256KW}}}}\n")
            drive = lab.prepare("E", make_tree(lab.root / "source", {"a": b"content"}))
            lab.start()
            self.assertEqual(lab.get("/org/dray1/store/vault", "Store", "Encrypted"), True)
            lab.create("job-e", [drive])
            lab.plug("E")
            lab.wait_drive("job-e", "E", "Faulted", True)
            reason = lab.drive("job-e", "E", "FaultReason")
            self.assertIn(f"the key \"escrow\" of its encryption cannot be used: there is no file {key}", reason)
            for verb in ("status", "show"):
                out, _, _ = lab.ctl(verb, *(["job-e"] if verb == "show" else []))
                self.assertIn(f"there is no file {key}", out)
            self.assertEqual(list(lab.vault.rglob("lab/*")), [])
            self.secret(lab, "escrow.key", "k" * 32)
            # Not after five minutes: at once.
            lab.wait_job("job-e", "State", "Completed")
            content = [path.read_bytes() for path in lab.vault.rglob("*") if path.is_file()]
            self.assertFalse(any(b"content" == data for data in content), "it is encrypted")

    def test_a_reload_changes_what_is_not_the_stores_place(self):
        with Lab() as lab:
            first = self.secret(lab, "first")
            self.configure(lab, blue=self.azure(lab, first))
            lab.start()
            lab.ctl("create", "needs-blue", "--store", "blue")
            second = self.secret(lab, "second")
            self.configure(lab, blue=self.azure(lab, second, outage="5s", proxy="http://127.0.0.1:9"))
            lab.ctl("reload")
            self.secret(lab, "second", SECRET[::-1])
            lab.wait_log("store \"blue\": its credential was renewed")
            for change in ({"endpoint": "http://127.0.0.1:9/other"}, {"account": "other"}):
                self.configure(lab, blue={**self.azure(lab, second), **change})
                _, error, status = lab.ctl("reload", status=None)
                self.assertNotEqual(status, 0)
                self.assertIn("stores.blue cannot be changed while jobs that need it are unfinished: needs-blue", error)
            self.configure(lab, blue=self.azure(lab, second))
            text = lab.config.read_text()
            lab.config.write_text(text.replace(str(second), SECRET))
            _, error, _ = lab.ctl("reload", status=None)
            self.assertIn("stores.blue.credential: holds what looks like the secret itself", error)
            self.assertNotIn(SECRET, error + lab.log())

    def test_systemds_credentials_are_read_by_name(self):
        with Lab() as lab:
            credentials = lab.root / "credentials"
            credentials.mkdir()
            self.configure(lab, blue=self.azure(lab, "blue-key"))
            lab.start()
            lab.wait_log("add LoadCredential=blue-key:FILE")
            lab.kill_drayd()
            lab.daemon_environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
            pathlib.Path(credentials / "blue-key").write_text(SECRET)
            before = len(lab.log())
            lab.start()
            self.assertNotIn("credential cannot be used", lab.log()[before:])


if __name__ == "__main__":
    unittest.main()
