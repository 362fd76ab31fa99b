#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Callers who ask for nonsense, or for too much, get one clear sentence with a named error."""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, make_tree  # noqa: E402

ROOT = "/org/dray1"


class Limits(unittest.TestCase):
    def call(self, lab, path, interface, member, *arguments):
        done = lab.busctl("call", "org.dray1", path, f"org.dray1.{interface}", member, *map(str, arguments))
        return done.returncode, done.stderr

    def refused(self, lab, sentence, *call):
        status, error = self.call(lab, *call)
        self.assertNotEqual(status, 0, call)
        self.assertRegex(error, sentence)

    def test_wrong_arguments_change_nothing_and_are_named(self):
        with Lab() as lab:
            lab.start()
            create = (ROOT, "Manager", "CreateJob", "sssa{sv}")
            self.refused(lab, "(?i)name", *create, "1bad", "import", "vault", 0)
            self.refused(lab, "(?i)name", *create, "x" * 65, "import", "vault", 0)
            self.refused(lab, "sideways", *create, "job", "sideways", "vault", 0)
            self.refused(lab, "nowhere", *create, "job", "import", "nowhere", 0)
            self.refused(lab, "colour", *create, "job", "import", "vault", 1, "colour", "s", "red")
            self.refused(lab, "log-level", *create, "job", "import", "vault", 1, "log-level", "u", 3)
            self.refused(lab, "(?i)signature|argument|type", ROOT, "Manager", "CreateJob", "s", "job")
            self.assertEqual(lab.json("list"), [])
            lab.ctl("create", "job", "--store", "vault")
            lab.ctl("create", "JOB", "--store", "vault", status=1)
            path = "/org/dray1/job/job"
            self.refused(lab, "key", path, "Job", "AddDrive", "sa{sv}", "SER", 0)
            self.refused(lab, "key", path, "Job", "AddDrive", "sa{sv}", "SER", 1, "key", "s", "secret")
            self.refused(lab, "blobs", path, "Job", "Cancel", "a{sv}", 1, "drain", "s", "blobs")
            self.refused(lab, "(?i)drive", path, "Job", "Ship", "a{sv}", 0)
            self.assertEqual(lab.job("job", "State"), "Creating")

    def test_the_ends_of_drayctl_are_the_promised_ones(self):
        with Lab() as lab:
            self.assertIn("drayd is not running", lab.ctl("list", status=1)[1])
            lab.start()
            self.assertIn("--help", lab.ctl("frobnicate", status=2)[1])
            self.assertIn("--help", lab.ctl("create", status=2)[1])
            lab.ctl("show", "nobody", status=4)
            lab.ctl("wait", "nobody", status=4)
            lab.ctl("create", "slow", "--store", "vault")
            out, error, _ = lab.ctl("wait", "slow", "--timeout", "1", status=6)
            self.assertIn("still Creating", error)
            lab.ctl("close", "slow", status=1)
            lab.ctl("delete", "slow")

    def test_drives_and_texts_have_limits_with_two_sides(self):
        with Lab() as lab:
            lab.start()
            key = lab.key_file("K")
            lab.ctl("create", "many", "--store", "vault")
            add = lambda serial, status=0, path="\\M.xml": lab.ctl(  # noqa: E731
                "add-drive", "many", serial, "--key-file", key, "--manifest", path, "--manifest-hash", "0" * 32,
                status=status)
            for number in range(10):
                add(f"S{number}")
            self.assertRegex(add("S10", 1)[1], "10")
            lab.ctl("create", "texts", "--store", "vault")
            for length, status in ((4096, 0), (4097, 1)):
                lab.ctl("add-drive", "texts", f"T{length}", "--key-file", key, "--manifest", "\\" + "m" * (length - 1),
                        "--manifest-hash", "0" * 32, status=status)
            for size, status in ((65536, 0), (65537, 1), (0, 1)):
                lab.key_file("BIG", b"k" * size)
                lab.ctl("add-drive", "texts", f"K{size}", "--key-file", lab.shelf / "BIG.key", "--manifest", "\\M.xml",
                        "--manifest-hash", "0" * 32, status=status)
            for digits, status in ((32, 0), (64, 0), (128, 0), (31, 1), (40, 1)):
                lab.ctl("add-drive", "texts", f"H{digits}", "--key-file", key, "--manifest", "\\M.xml",
                        "--manifest-hash", "a" * digits, status=status)

    def test_a_configuration_with_mistakes_names_each_with_its_line(self):
        with Lab() as lab:
            lab.config.write_text("transfers:\n  max: many\n  rings: 5\nstores:\n  blue: {type: cloud}\nextra: 1\n")
            import subprocess

            done = subprocess.run([lab.bin / "drayd", "--config", lab.config], env=lab.environment,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 78)
            for line, word in ((2, "max"), (3, "rings"), (5, "cloud"), (6, "extra")):
                self.assertTrue(re.search(rf"dray\.yaml:{line}: .*{word}", done.stderr), done.stderr)


if __name__ == "__main__":
    unittest.main()
