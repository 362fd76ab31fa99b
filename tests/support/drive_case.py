# SPDX-License-Identifier: Apache-2.0
"""What tests of drayctl's `drive` verbs share: the programs in a scratch directory, without bus and daemon."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import make_drive
from lab import PATIENCE

KEY = b"a key of its own \x00\xff\n"


class DriveCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="dray-tools.", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        os.chmod(self.root, 0o755)
        # Copies: the build may lie where nobody else may look.
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for program in ("drayctl", "dray-drive"):
            shutil.copy2(pathlib.Path(os.environ["DRAY_BIN"]) / program, self.bin / program)
        self.key = self.root / "key"
        self.key.write_bytes(KEY)
        self.key.chmod(0o600)
        self.shelf = self.root / "shelf"
        self.shelf.mkdir()
        self.image = self.shelf / "x.img"

    def ctl(self, *words, status=0, environment=None):
        """Runs drayctl; fails unless it ends with `status`. Returns (stdout, stderr)."""
        done = subprocess.run([str(word) for word in (self.bin / "drayctl", *words)], capture_output=True, text=True,
                              timeout=PATIENCE * 2, stdin=subprocess.DEVNULL, env=environment)
        self.assertEqual(done.returncode, status, f"{words}:\n{done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def json(self, *words, status=0):
        return json.loads(self.ctl("--json=short", *words, status=status)[0])

    def refused(self, *words, sentence, status=1):
        """That it ends so, says this and leaves the shelf as it was."""
        before = sorted(self.shelf.iterdir())
        out, said = self.ctl(*words, status=status)
        self.assertIn(sentence, said)
        self.assertEqual(out, "")
        self.assertEqual(sorted(self.shelf.iterdir()), before)
        return said

    def prepare(self, source, *more, container="lab", serial="SER-1", output=None):
        return self.json("drive", "prepare", "--source", source, "--container", container, "--serial", serial,
                         "--key-file", self.key, "--output", output or self.image, *more)

    def foreign(self, source, serial="SER-1", container="lab", manifest=None, name="DriveManifest.xml", **options):
        """A LUKS2 drive with ext4 by other programs; `manifest`: its bytes, False for none. Returns its bytes."""
        if manifest is None:
            manifest, _ = make_drive.manifest_of(source, serial, container)
        make_drive.make_drive(source, self.image, KEY, manifest=manifest or None, manifest_name=name, **options)
        return manifest
