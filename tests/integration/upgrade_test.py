#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Catalogs of earlier and later versions, and keys that cannot be opened (rules.md 23), with the real drayd."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import PATIENCE, UID, Lab, make_tree  # noqa: E402

VERSION_1 = pathlib.Path(__file__).parent.parent / "data" / "catalog-version-1.sql"
MASTER_KEY = b"dray test master key, 32 bytes!!"
# The latest date in the dump.
DUMPED = 1795549845331062
TIMES = {"job": ("created", "shipped", "completed", "expires"), "drive": ("started", "finished", "overdue")}
KNOWN_VERSION = 4


def give_to_drayd(path):
    if os.getuid() == 0:
        os.chown(path, UID, UID)


def put_master_key(lab, key=MASTER_KEY):
    path = lab.state / "master.key"
    path.write_bytes(key)
    os.chmod(path, 0o600)
    give_to_drayd(path)
    return path


def put_version_1(lab, manifest=None):
    """The dump as a catalog, as if it had been left a moment ago; `manifest` is what job waiting-1 expects."""
    path = lab.state / "catalog.sqlite"
    database = sqlite3.connect(path)
    database.executescript(VERSION_1.read_text())
    later = int(time.time() * 10**6) - DUMPED
    for table, columns in TIMES.items():
        for column in columns:
            database.execute(f"UPDATE {table} SET {column}={column}+? WHERE {column}<>0", (later,))
    if manifest is not None:
        database.execute("UPDATE drive SET manifest=?, manifest_hash=? WHERE serial='OLD-2'",
                         (manifest["manifest"], manifest["manifest-hash"]))
    database.commit()
    database.close()
    os.chmod(path, 0o600)
    give_to_drayd(path)
    return path


def content(path):
    """Everything in it that version 1 has, and its version."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = {table: database.execute(f"SELECT * FROM {table}").fetchall()
                 for table in ("job", "drive", "drive_key", "tag")}
        return database.execute("PRAGMA user_version").fetchone()[0], found
    finally:
        database.close()


def run_to_its_end(lab):
    """drayd, which is expected not to stay: its exit status and what it said."""
    command = lab.daemon
    if os.getuid() == 0:
        command = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *command]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout + done.stderr


class Upgrade(unittest.TestCase):
    def test_a_catalog_of_version_1_goes_on_with_its_jobs_and_keys(self):
        with Lab() as lab:
            drive = lab.prepare("OLD-2", make_tree(lab.root / "source", {"old.bin": b"o" * 10_000}))
            put_master_key(lab)
            catalog = put_version_1(lab, drive)
            before = content(catalog)
            lab.start()
            self.assertEqual({job["job"]: job["state"] for job in lab.json("list")},
                             {"done-1": "Completed", "waiting-1": "Shipping", "early-1": "Creating",
                              "many-1": "Closed"})
            self.assertEqual(lab.job("waiting-1", "Expiry"), "overdue")
            copy = lab.state / "catalog.sqlite.version-1"
            self.assertEqual(content(copy), before, "the copy is what was there")
            self.assertEqual(os.stat(copy).st_mode & 0o777, 0o600)
            self.assertEqual(content(catalog)[0], KNOWN_VERSION)
            # The drive's key was sealed by the old drayd.
            lab.plug("OLD-2")
            lab.wait_job("waiting-1", "State", "Packaging")
            self.assertEqual(lab.blobs(), {"lab/old.bin": b"o" * 10_000})
            lab.ctl("delete", "done-1")
            self.assertFalse(copy.exists(), "what is deleted must not be left in the copy")

    def test_a_newer_catalog_ends_drayd_with_78_and_a_sentence_and_is_left_alone(self):
        with Lab() as lab:
            put_master_key(lab)
            catalog = put_version_1(lab)
            database = sqlite3.connect(catalog)
            database.execute("PRAGMA user_version=99")
            database.commit()
            database.close()
            before = content(catalog)
            status, said = run_to_its_end(lab)
            self.assertEqual(status, 78, said)
            self.assertIn(f"was written by a newer dray (version 99, this one knows {KNOWN_VERSION}); install that one", said)
            self.assertEqual(content(catalog), before)
            self.assertEqual([p.name for p in lab.state.glob("*.version-*")], [])

    def test_a_disk_without_room_for_the_copy_leaves_the_old_catalog_whole(self):
        with Lab() as lab:
            if os.getuid() != 0:
                self.skipTest("only root can mount a small file system")
            catalog = put_version_1(lab)
            put_master_key(lab)
            before = content(catalog)
            small = lab.root / "small"
            small.mkdir()
            # Room for what is there, and for hardly more.
            used = sum(-(-path.stat().st_size // 4096) * 4096 for path in lab.state.iterdir())
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + 16 * 4096},mode=700,uid={UID}",
                                      "none", small], capture_output=True, text=True)
            if mounted.returncode != 0:
                self.skipTest(f"nothing can be mounted here: {mounted.stderr.strip()}")
            lab.closing.callback(lambda: subprocess.run(["umount", "-l", small], check=False))
            for path in lab.state.iterdir():
                shutil.copy2(path, small / path.name)
                give_to_drayd(small / path.name)
            # What is free now is less than a copy needs.
            free = os.statvfs(small).f_bavail * os.statvfs(small).f_bsize
            (small / "filler").write_bytes(b"x" * max(0, free - 8 * 4096))
            lab.config.write_text(lab.config.read_text().replace(f"state-directory: {lab.state}\n",
                                                                 f"state-directory: {small}\n"))
            status, said = run_to_its_end(lab)
            self.assertEqual(status, 1, said)
            self.assertIn("is of version 1 and cannot be copied", said)
            self.assertIn("it is as it was", said)
            self.assertEqual(content(small / "catalog.sqlite"), before)
            self.assertEqual([p.name for p in small.glob("*.version-*")], [])
            (small / "filler").unlink()
            subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
            lab.start()
            self.assertEqual(len(lab.json("list")), 4)
            lab.kill_drayd(15)


class MasterKey(unittest.TestCase):
    def check_locked(self, lab, sentence):
        """drayd runs, says what is wrong, reads no key and takes none."""
        problems = lab.get("/org/dray1", "Manager", "Problems")
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(sentence, problems[0])
        self.assertIn(sentence, lab.ctl("status")[0])
        self.assertIn(sentence, lab.log())
        lab.plug("OLD-2")
        lab.wait_drive("waiting-1", "OLD-2", "Faulted", True)
        self.assertEqual(lab.drive("waiting-1", "OLD-2", "State"), "Received")
        self.assertIn("cannot be opened", lab.drive("waiting-1", "OLD-2", "FaultReason"))
        self.assertIn(sentence, lab.drive("waiting-1", "OLD-2", "FaultReason"))
        lab.ctl("create", "new-1", "--store", "vault")
        refused = lab.ctl("add-drive", "new-1", "NEW-1", "--key-file", lab.key_file("NEW-1"), "--manifest", "\\m.xml",
                          "--manifest-hash", "0" * 32, status=5)[1]
        self.assertIn("cannot be kept", refused)

    def check_mended(self, lab):
        put_master_key(lab)
        lab.kill_drayd(15)
        lab.start()
        self.assertEqual(lab.get("/org/dray1", "Manager", "Problems"), [])
        lab.ctl("retry", "waiting-1", "OLD-2")
        lab.wait_job("waiting-1", "State", "Packaging")
        self.assertEqual(lab.blobs(), {"lab/old.bin": b"o"})

    def start_with(self, lab, key):
        put_version_1(lab, lab.prepare("OLD-2", make_tree(lab.root / "source", {"old.bin": b"o"})))
        if key is not None:
            put_master_key(lab, key)
        lab.start()

    def test_without_its_master_key_drayd_starts_makes_no_new_one_and_faults_the_drives(self):
        with Lab() as lab:
            self.start_with(lab, None)
            self.check_locked(lab, "is missing, and the catalog holds keys that only it opens")
            self.assertFalse((lab.state / "master.key").exists())
            self.check_mended(lab)

    def test_a_wrong_master_key_is_not_used_and_not_replaced(self):
        with Lab() as lab:
            wrong = b"another key of 32 bytes, not ours"[:32]
            self.start_with(lab, wrong)
            self.check_locked(lab, "the master key is not the one that the keys of the drives were encrypted with")
            self.assertEqual((lab.state / "master.key").read_bytes(), wrong)
            self.check_mended(lab)


if __name__ == "__main__":
    unittest.main()
