#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The files below systemd/ against the code, and against systemd's own checks."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(sys.argv.pop(1)) if len(sys.argv) > 1 else pathlib.Path.cwd()
FILES = ROOT / "systemd"
MOST_EXPOSURE = 2.2  # rules.md 12


def sources(pattern):
    return {path: path.read_text() for path in sorted((ROOT / "daemon/bus").glob(pattern))}


class BusPolicy(unittest.TestCase):
    def test_allows_the_methods_that_exist_and_no_others(self):
        allowed = set()
        for rule in ElementTree.parse(FILES / "org.dray1.conf").iter("allow"):
            interface = rule.get("send_interface", "")
            if interface.startswith("org.dray1."):
                self.assertEqual(rule.get("send_destination"), "org.dray1")
                allowed.add((interface.rsplit(".", 1)[1], rule.get("send_member")))
        offered = set()
        for path, text in sources("*_object.cpp").items():
            interface = path.name.removesuffix("_object.cpp").capitalize()
            for member in re.findall(r'SD_BUS_METHOD(?:_WITH_\w+)?\(\s*"(\w+)"', text):
                offered.add((interface, member))
        if not offered:
            self.skipTest("the bus objects are not there")
        self.assertEqual(allowed, offered)


class Polkit(unittest.TestCase):
    def test_defines_the_actions_that_are_asked_for(self):
        policy = ElementTree.parse(FILES / "org.dray1.policy")
        defined = {action.get("id") for action in policy.iter("action")}
        asked = set()
        for text in sources("*.?pp").values():
            asked |= set(re.findall(r'"(org\.dray1\.[a-z]+(?:-[a-z]+)*)"', text))
        self.assertLessEqual(asked, defined)

    def test_lets_the_daemons_user_ask_about_others(self):
        for action in ElementTree.parse(FILES / "org.dray1.policy").iter("action"):
            owners = [note.text for note in action.iter("annotate")
                      if note.get("key") == "org.freedesktop.policykit.owner"]
            self.assertEqual(owners, ["unix-user:dray"], action.get("id"))
            for default in action.find("defaults"):
                self.assertIn(default.text, ("auth_admin", "auth_admin_keep"), action.get("id"))


class Unit(unittest.TestCase):
    def setUp(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("there is no systemd-analyze")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        unit = (FILES / "drayd.service.in").read_text()
        self.assertIn("@sbindir@/drayd", unit)
        self.unit = pathlib.Path(folder.name) / "drayd.service"
        self.unit.write_text(unit.replace("@sbindir@/drayd", "/bin/true"))

    def test_has_no_mistakes(self):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(self.unit)],
                              capture_output=True, text=True)
        complaints = [line for line in (done.stdout + done.stderr).splitlines() if "drayd" in line]
        self.assertEqual(complaints, [])

    def test_is_not_more_exposed_than_agreed(self):
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                               f"--threshold={int(MOST_EXPOSURE * 10)}", str(self.unit)],
                              capture_output=True, text=True)
        found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
        self.assertIsNotNone(found, done.stdout + done.stderr)
        self.assertLessEqual(float(found.group(1)), MOST_EXPOSURE)

    def test_bus_activation_names_this_unit(self):
        text = (FILES / "org.dray1.service").read_text()
        self.assertIn("SystemdService=drayd.service", text)
        self.assertIn("Name=org.dray1\n", text)


class UdevRules(unittest.TestCase):
    def test_run_no_program_and_every_label_is_there(self):
        lines = [line for line in (FILES / "90-dray.rules").read_text().splitlines()
                 if line and not line.startswith("#")]
        text = "\n".join(lines)
        self.assertNotRegex(text, r"RUN|PROGRAM|IMPORT")
        self.assertEqual(set(re.findall(r'GOTO="(\w+)"', text)), set(re.findall(r'LABEL="(\w+)"', text)))


if __name__ == "__main__":
    unittest.main()
