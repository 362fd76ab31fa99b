#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A million files of 1 KiB arrive, and the pair stays small. Only with DRAY_TEST_LONG: it takes many minutes, 4 GiB and a
million inodes."""

import importlib.machinery
import importlib.util
import os
import pathlib
import unittest

BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench" / "memory"
MIB = 1024 * 1024
LIMIT = 192 * MIB


def bench():
    loader = importlib.machinery.SourceFileLoader("memory", str(BENCH))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("memory", loader))
    loader.exec_module(module)
    return module


@unittest.skipUnless(os.environ.get("DRAY_TEST_LONG"), "only with tests/run --long")
class Million(unittest.TestCase):
    def test_a_million_files_import_with_the_pair_under_192_mib(self):
        # measure() compares every file with its blob.
        _, count, _, _, wall, cpu, most = bench().measure("million")
        print(f"{count} files in {wall:.0f} s, {cpu:.0f} s of CPU, PSS of the pair {most['pair'] / MIB:.0f} MiB", flush=True)
        self.assertEqual(count, 1_000_000)
        self.assertGreater(most["pair"], 0, "it was looked at")
        self.assertLess(most["pair"], LIMIT)


if __name__ == "__main__":
    unittest.main()
