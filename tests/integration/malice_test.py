#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""dray-drive and dray-transfer that were taken over: test builds of the shipped programs' own objects, which turn malicious
when they come to a file (or a key) called malice/COMMAND. They get nowhere, and the drive beside them goes on."""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import make_drive  # noqa: E402
from lab import Lab, alive, make_tree, random_files, seed  # noqa: E402

BIN = pathlib.Path(os.environ["DRAY_BIN"])
DRIVE = ("dray-drive", "malicious_dray_drive")
TRANSFER = ("dray-transfer", "malicious_dray_transfer")
PAIR = (DRIVE, TRANSFER)
# What the kernel is asked for; forbidden_calls.hpp has the same names.
CALLS = ("open", "openat", "openat-writing", "openat-memory", "socket", "socket-netlink", "connect", "bind", "listen",
         "ptrace", "process_vm_readv", "process_vm_writev", "kill", "tkill", "tgkill", "pidfd_open", "setown", "execve",
         "execveat", "fork", "clone", "mmap-code", "mprotect-code", "io_uring", "setrlimit", "undead", "dumpable",
         "setresuid", "unshare", "mount", "bpf", "userfaultfd", "keyctl", "perf_event_open")
FORBIDDEN = "dray-drive made a system call that its box forbids, and was killed for it"
NOBODY_ASKED = "dray-drive answered what nobody asked"
OUT_OF_TURN = "dray-drive sent a message out of turn"
# What no terminal should get.
UNTAMED = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
is_root = os.getuid() == 0


def untamed(text):
    """The first place in it, for a message; None is good."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    found = UNTAMED.search(data)
    if found:
        return data[max(found.start() - 60, 0):found.end() + 60]
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return data[max(error.start - 60, 0):error.end + 60]
    return None


class MaliceLab(Lab):
    """With test builds in the place of the shipped programs, and an honest drive."""

    def __init__(self, programs=(DRIVE,), **options):
        super().__init__(transfers=60, extra="drives: {allow-plain: true}\n", **options)
        for name, build in programs:
            shutil.copy2(BIN / "tests" / build, self.bin / name)
        self.expected = {}
        self.rng = seed()

    def bring(self, command):
        """A drive with a file malice/COMMAND in a job of its own; its job and serial are the command's."""
        files = {f"malice/{command}": self.rng.randbytes(50_000)}
        source = make_tree(self.root / "sources" / command, files)
        manifest, _ = make_drive.manifest_of(source, command, "lab")
        # Without encryption: there is no key to be derived over and over again.
        make_drive.make_plain(source, self.shelf / f"{command}.img", manifest)
        self.key_file(command)
        self.expected.update({f"lab/{name}": data for name, data in files.items()})
        self.create(command, [{"serial": command, "manifest": "\\DriveManifest.xml",
                               "manifest-hash": hashlib.md5(manifest).hexdigest().upper()}])

    def bring_key(self, command):
        """A drive whose key is the command: it comes into play before there is a volume."""
        self.key_file(command, f"malice/{command}".encode())
        with open(self.shelf / f"{command}.img", "wb") as image:
            image.truncate(1 << 20)
        self.create(command, [{"serial": command, "manifest": "\\DriveManifest.xml", "manifest-hash": "0" * 32}])

    def bring_honest(self):
        files = random_files(self.rng, 30, 200_000, "honest/f")
        self.expected.update({f"lab/{name}": data for name, data in files.items()})
        drive = self.prepare("HONEST", make_tree(self.root / "honest", files))
        self.create("honest", [drive])


class Malice(unittest.TestCase):
    def run_beside(self, lab, commands=(), keys=(), until=lambda command: True):
        """All at once, beside an honest drive that is in mid-copy until `until` holds for each of them. Returns when
        everything has ended, and has looked at what must hold whatever they did."""
        lab.start()
        drayd = lab.drayd.pid
        lab.bring_honest()
        for command in commands:
            lab.bring(command)
        for command in keys:
            lab.bring_key(command)
        with lab.held_store() as let_go:
            lab.plug("HONEST")
            lab.wait_drive("honest", "HONEST", "CopyStatus", "Transferring")
            honest = {pid for pid, _ in lab.pair()}
            for command in (*commands, *keys):
                lab.plug(command)
            for command in (*commands, *keys):
                lab.wait(lambda command=command: until(command), f"the malice of {command}")
            # In mid-copy all the time, and its processes are the same.
            self.assertEqual(lab.drive("honest", "HONEST", "CopyStatus"), "Transferring")
            self.assertLessEqual(honest, {pid for pid, _ in lab.pair()})
            let_go()
        for command in (*commands, *keys):
            lab.wait(lambda command=command: lab.drive(command, command, "State").startswith("Completed") or
                     lab.drive(command, command, "Faulted"), f"the end of {command}")
        lab.wait_drive("honest", "HONEST", "State", "Completed")
        self.assertEqual(lab.drive("honest", "HONEST", "CopyStatus"), "Completed")
        self.check_harmless(lab, drayd)

    def check_harmless(self, lab, drayd):
        self.assertTrue(lab.drayd.poll() is None and lab.drayd.pid == drayd, "drayd lives")
        lab.wait(lambda: not lab.pair(), "every process of a pair to be gone, and reaped")
        own = [entry.name for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit() and self.is_of(lab, entry)]
        self.assertEqual([pid for pid in own if int(pid) != drayd], [], "nothing is left running")
        log = lab.log()
        self.assertNotIn("got through", log)
        for name, content in lab.blobs().items():
            self.assertEqual(content, lab.expected.get(name), f"{name} is not what its customer sent")
        self.assertLessEqual({name for name in lab.expected if "/honest/" in name}, set(lab.blobs()))
        self.assertIsNone(untamed(lab.log_path.read_bytes()))
        listed, _, _ = lab.ctl("list")
        self.assertIsNone(untamed(listed))

    @staticmethod
    def is_of(lab, entry):
        with contextlib.suppress(OSError):
            return os.readlink(entry / "exe").startswith(f"{lab.bin}/")
        return False

    def check_ended(self, lab, command, sentence, times=1):
        """After three tries it is given up, each of them said with its reason."""
        log = lab.log()
        self.assertGreaterEqual(log.count(f"job {command}, drive {command}: {sentence}"), times, log[-3000:])
        self.assertEqual((lab.drive(command, command, "State"), lab.drive(command, command, "CopyStatus")),
                         ("CompletedMoreInfo", "InternalError"), command)
        self.assertRegex(log, rf"job {command}, drive {command}: .*three times without a new piece")
        self.assertNotIn(f"lab/malice/{command}", lab.blobs())


class MaliciousDrive(Malice):
    @staticmethod
    def crashed(lab):
        return lambda command: re.search(rf"job {command}, drive {command}: .*it starts again where it was", lab.log())

    def test_each_forbidden_system_call_ends_the_process_and_names_the_drive(self):
        commands = [f"call-{name}" for name in CALLS] + ["descriptors", "device", "grow-ring"]
        with MaliceLab() as lab:
            self.run_beside(lab, commands, until=self.crashed(lab))
            for command in commands:
                with self.subTest(command):
                    self.check_ended(lab, command, FORBIDDEN, 3)

    def test_what_it_may_not_say_ends_it(self):
        lies = {"number": NOBODY_ASKED, "twice": NOBODY_ASKED, "flood": NOBODY_ASKED, "flood-empty": OUT_OF_TURN,
                "long": OUT_OF_TURN, "short": OUT_OF_TURN, "out-of-turn": OUT_OF_TURN}
        broken = {"past-ring": r"dray-drive crashed \(SIGBUS\)", "memory": "dray-drive has ended unexpectedly"}
        with MaliceLab() as lab:
            self.run_beside(lab, [*lies, *broken], until=self.crashed(lab))
            for command, sentence in lies.items():
                with self.subTest(command):
                    self.check_ended(lab, command, sentence, 3)
            for command, sentence in broken.items():
                with self.subTest(command):
                    self.assertEqual(len(re.findall(rf"drive {command}: {sentence}", lab.log())), 3)
                    self.assertEqual(lab.drive(command, command, "CopyStatus"), "InternalError")
            # The ring, 96 MiB here, and 768 MiB beside it; some of that the program has already.
            ended = [int(number) for number in re.findall(r"malice: memory ended at (\d+) MiB", lab.log())]
            self.assertEqual(len(ended), 3)
            self.assertLess(max(ended), 96 + 768)
            self.assertGreater(min(ended), 100)

    def test_what_it_may_say_is_only_believed_as_far_as_it_is_right(self):
        with MaliceLab() as lab:
            commands = ["undone", "change", "size-huge", "size-other", "size-refused", "gone"]
            # One that has ended waits with its log for the store, which is held.
            self.run_beside(lab, commands, until=lambda command: f"drive {command}: its device did not answer" in lab.log()
                            or lab.drive(command, command, "CopyStatus") not in ("", "Unlocking", "Verifying"))
            blobs = lab.blobs()
            for command, status, is_there in (("undone", "CompletedWithErrors", False), ("size-huge", "Completed", True),
                                              ("size-other", "Completed", True),
                                              ("size-refused", "CompletedWithErrors", False),
                                              ("gone", "InternalError", False)):
                with self.subTest(command):
                    self.assertEqual(lab.drive(command, command, "CopyStatus"), status)
                    self.assertEqual(f"lab/malice/{command}" in blobs, is_there)
            for command, word in (("undone", 'Status="Corrupted"'), ("size-refused", 'Status="FileAccessDenied"')):
                log = lab.logs(command)[0].read_bytes()
                self.assertIn(word.encode(), log)
                self.assertIsNone(untamed(log))
            # Right or not there at all; check_harmless() has compared what is there.
            self.assertIn(lab.drive("change", "change", "CopyStatus"), ("Completed", "CompletedWithErrors"))
            self.assertEqual(lab.log().count("its device did not answer"), 3)

    def test_before_there_is_a_volume_it_gets_no_further(self):
        calls = [f"child-call-{name}" for name in ("openat-writing", "openat-memory", "socket", "ptrace", "process_vm_readv",
                                                   "kill", "setown", "execve", "fork", "mmap-code", "mprotect-code", "io_uring")]
        stopped = {command: "BitLockerUnlockVolumeFailed" for command in calls}
        broken = {"unlock-replies": OUT_OF_TURN, "unlock-descriptors": FORBIDDEN}
        said = ["unlock-text", "unlock-wrong-key", "unlock-names", "child-call-openat", "child-memory"]
        with MaliceLab() as lab:
            commands = [*stopped, *broken, *said]
            self.run_beside(lab, keys=commands, until=lambda command:
                            f"drive {command}: Transferring after Received" in lab.log())
            for command, status in stopped.items():
                with self.subTest(command):
                    self.assertEqual(lab.drive(command, command, "CopyStatus"), status)
                    self.assertIn(f"drive {command}: unlocking was stopped", lab.log())
            for command, sentence in broken.items():
                with self.subTest(command):
                    self.check_ended(lab, command, sentence, 3)
            # What it says in words is shown as words, cut and without what a terminal obeys.
            for command in said:
                with self.subTest(command):
                    for name in ("FaultReason", "VolumeId", "CopyStatus"):
                        self.assertIsNone(untamed(lab.drive(command, command, name) or ""), name)
                    shown, _, _ = lab.ctl("show", command)
                    self.assertIsNone(untamed(shown))
            for command in ("unlock-wrong-key", "child-call-openat", "child-memory"):
                self.assertTrue(lab.drive(command, command, "Faulted"))
                self.assertIn("owned", lab.drive(command, command, "FaultReason"))
            self.assertIn("malice: openat came back with an error", lab.log())
            # drives.unlock-memory is 1 GiB by default, with a margin of 256 MiB.
            ended = [int(number) for number in re.findall(r"malice: child memory ended at (\d+) MiB", lab.log())]
            self.assertEqual(len(ended), 1)
            self.assertLess(ended[0], 1024 + 256)

    def test_who_hangs_in_unlocking_is_stopped_after_a_minute(self):
        """The one that spins has switched its own alarm off."""
        with contextlib.ExitStack() as stack:
            labs = {command: stack.enter_context(MaliceLab()) for command in ("unlock-mute", "child-spin")}
            for command, lab in labs.items():
                lab.start()
                lab.bring_honest()
                lab.bring_key(command)
                lab.plug(command)
                lab.wait_drive(command, command, "CopyStatus", "Unlocking")
            for command, lab in labs.items():
                lab.wait(lambda lab=lab, command=command: lab.drive(command, command, "Faulted"), "the minute to be over")
                self.assertEqual(lab.drive(command, command, "FaultReason"),
                                 "unlocking took longer than 60 s and was stopped")
                # Whoever waited for a turn has it now.
                lab.plug("HONEST")
                lab.wait_drive("honest", "HONEST", "State", "Completed")
                self.check_harmless(lab, lab.drayd.pid)


class MaliciousTransfer(Malice):
    def test_it_meets_walls_wherever_it_turns(self):
        """In a lab where all three programs share one user: nothing but the box is between them."""
        with MaliceLab((TRANSFER,)) as lab:
            secret = lab.state / "transfers" / "job-other" / "secret"
            secret.parent.mkdir(parents=True)
            secret.write_text("of another customer")
            if is_root:
                for path in (secret.parent.parent, secret.parent, secret):
                    os.chown(path, lab.uid, lab.gid)
            self.run_beside(lab, ["transfer-walls"], until=lambda _: "malice: tried all walls" in lab.log())
            self.assertEqual(lab.drive("transfer-walls", "transfer-walls", "CopyStatus"), "Completed")
            self.assertNotIn("no state directory was found", lab.log())
            self.assertEqual(secret.read_text(), "of another customer")
            self.assertFalse((lab.state / "owned").exists())

    def test_it_neither_floods_drayd_nor_puts_words_into_its_mouth(self):
        with MaliceLab(PAIR) as lab:
            commands = ["transfer-flood", "transfer-garbage", "transfer-turns", "transfer-report"]
            sentences = {"transfer-flood": "dray-transfer floods drayd with messages; it is stopped",
                         "transfer-garbage": "dray-transfer sent something that is no message; it is stopped"}
            self.run_beside(lab, commands, until=lambda command: lab.drive(command, command, "Faulted") or re.search(
                rf"job {command}, drive {command}: .*(it is stopped|owned)", lab.log()))
            for command, sentence in sentences.items():
                with self.subTest(command):
                    self.check_ended(lab, command, sentence, 3)
            # It is the store's and the manifest's reader: that it ends in a fault is what it could always have said.
            self.assertTrue(lab.drive("transfer-report", "transfer-report", "Faulted"))
            self.assertEqual(lab.drive("transfer-turns", "transfer-turns", "CopyStatus"), "Completed")
            for command in commands:
                for name in ("FaultReason", "VolumeId", "CopyStatus", "ErrorLogUri"):
                    self.assertIsNone(untamed(lab.drive(command, command, name) or ""), name)

    def test_a_drive_that_says_nothing_or_never_reads_is_given_up(self):
        """Ten minutes of patience are five seconds in this dray-transfer."""
        with MaliceLab(PAIR) as lab:
            commands = ["mute", "spin"]
            self.run_beside(lab, commands, until=MaliciousDrive.crashed(lab))
            for command in commands:
                with self.subTest(command):
                    self.check_ended(lab, command, "dray-drive has not answered for 5s", 3)


class Builds(Malice):
    def test_the_shipped_programs_have_no_malice_in_them(self):
        for name, build in PAIR:
            self.assertNotIn(b"malice", (BIN / name).read_bytes())
            self.assertIn(b"malice/", (BIN / "tests" / build).read_bytes())

    @unittest.skipUnless(is_root, "not root")
    def test_both_builds_are_held_by_the_same_lists_of_system_calls(self):
        """As the kernel has them for the processes in mid-copy."""
        found = []
        for programs in ((), PAIR):
            with MaliceLab(programs) as lab:
                lab.start()
                lab.bring_honest()
                with lab.held_store() as let_go:
                    lab.plug("HONEST")
                    lab.wait_drive("honest", "HONEST", "CopyStatus", "Transferring")
                    found.append({name: self.filters(pid, name) for pid, name in lab.pair()})
                    let_go()
                lab.wait_drive("honest", "HONEST", "State", "Completed")
        self.assertEqual(found[0].keys(), {"dray-drive", "dray-transfer"})
        self.assertEqual(found[0], found[1])
        self.assertNotEqual(found[0]["dray-drive"], found[0]["dray-transfer"])

    def filters(self, pid, name):
        done = subprocess.run([BIN / "tests" / "syscall_probe", "--filters", str(pid)], capture_output=True, text=True)
        if done.returncode == 77:
            self.skipTest(f"no probing here: {done.stderr.strip()}")
        self.assertEqual(done.returncode, 0, done.stderr)
        lists = done.stdout.splitlines()
        self.assertEqual(len(lists), 1, name)
        self.assertGreater(len(lists[0].split()), 30, name)
        # dray-transfer may signal its own threads: its own number is in its list.
        return [line.replace(f"{pid:08x} ", "own-pid ") for line in lists]


if __name__ == "__main__":
    unittest.main()
