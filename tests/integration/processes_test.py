#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the real processes are and may do in mid-copy: users, capabilities, descriptors, the boxes' walls."""

import contextlib
import ctypes
import os
import pathlib
import pwd
import re
import resource
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, UID, Lab, alive, make_tree, random_files, seed  # noqa: E402

BIN = pathlib.Path(os.environ["DRAY_BIN"])
UNIT = pathlib.Path(__file__).resolve().parents[2] / "systemd" / "drayd.service.in"
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
KILL = 1 << 5
KEPT = KILL | 1 << 6 | 1 << 7  # and SETGID, SETUID
USERS = ("dray", "dray-drive", "dray-transfer")
PAIR = ("dray-drive", "dray-transfer")
is_root = os.getuid() == 0
# What may be in a child's surroundings: where the log goes, the time zone, a sanitizer's options.
ENVIRONMENT = {"PATH", "LANG", "TZ", "JOURNAL_STREAM", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}
IS_SANITIZED = b"__asan_init" in (BIN / "dray-drive").read_bytes()


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def ids(pid):
    """(uid, gid, groups), where all four of each kind are one."""
    status = status_of(pid)
    found = []
    for name in ("Uid", "Gid"):
        different = set(map(int, status[name].split()))
        assert len(different) == 1, f"{name} {status[name]}"
        found.append(different.pop())
    return (*found, set(map(int, status["Groups"].split())))


def capabilities(pid):
    status = status_of(pid)
    return {name: int(status[name], 16) for name in SETS}


def descriptors(pid):
    """{number: what it is}, socket numbers and the like left out."""
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            found[int(number)] = re.sub(r"^(socket|pipe):\[\d+\]$", r"\1", target)
    return found


def unit_settings():
    """The last word on each setting of the shipped unit, as a list of words."""
    settings = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            settings[name] = value.split()
    return settings


def as_the_unit_does():
    """The words in front of drayd that give it what systemd gives it after drayd.service."""
    unit = unit_settings()
    mount = f"mount -t proc -o hidepid={unit.get('ProtectProc', ['0'])[0]}"
    mount += ",subset=pid" if unit.get("ProcSubset") == ["pid"] else ""
    kept = ",".join(word.removeprefix("CAP_").lower().join(("+", "")) for word in unit["AmbientCapabilities"])
    bounded = ",".join(word.removeprefix("CAP_").lower().join(("+", "")) for word in unit["CapabilityBoundingSet"])
    return ["sh", "-ec", f'{mount} proc /proc; exec "$@"', "sh", "setpriv", f"--reuid={unit['User'][0]}",
            f"--regid={unit['Group'][0]}", f"--groups={','.join(unit['SupplementaryGroups'])}",
            f"--inh-caps=-all,{kept}", f"--ambient-caps=-all,{kept}", f"--bounding-set=-all,{bounded}",
            *(["--no-new-privs"] if unit["NoNewPrivileges"] == ["yes"] else [])]


class Probe:
    """System calls made by another process, see syscall_probe.cpp."""

    def __init__(self, test):
        self.test = test

    def __call__(self, pid, *arguments, past_seccomp=False):
        done = subprocess.run([BIN / "tests" / "syscall_probe", *(["--past-seccomp"] if past_seccomp else []),
                               str(pid), *map(str, arguments)], capture_output=True, text=True)
        if done.returncode == 77:
            self.test.skipTest(f"no probing here: {done.stderr.strip()}")
        self.test.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()


class Case(unittest.TestCase):
    @contextlib.contextmanager
    def in_mid_copy(self, users=(), prefix=None, own=None):
        """A lab with one drive's copy held in mid-way; yields (lab, {program: pid} with drayd)."""
        rng = seed()
        files = random_files(rng, 60, 100_000)
        with Lab(users=users, hand_back="at-once") as lab:
            if own is not None:
                lab.belongs_to(*(lab.users["dray"] if own == "dray" else own))
            drive = lab.prepare("P", make_tree(lab.root / "source", files))
            lab.start(prefix() if callable(prefix) else prefix)
            lab.create("job-p", [drive])
            with lab.held_store() as let_go:
                lab.plug("P")
                lab.wait_drive("job-p", "P", "CopyStatus", "Transferring")
                self.assertEqual(lab.blobs(), {}, "it is in mid-copy")
                pids = {name: pid for pid, name in lab.pair()}
                self.assertEqual(set(pids), set(PAIR))
                yield lab, {**pids, "drayd": lab.drayd.pid}
                let_go()
            lab.ctl("wait", "job-p", "--timeout", "120")
            self.assertEqual(lab.blobs(), {f"lab/{name}": data for name, data in files.items()})
            self.assertEqual(lab.drive("job-p", "P", "CopyStatus"), "Completed")
            self.last_log = lab.log()

    def check_children(self, lab, pids):
        """What holds for both children, whoever they run as."""
        for name in PAIR:
            with self.subTest(name):
                pid = pids[name]
                status = status_of(pid)
                self.assertEqual(status["Seccomp"], "2")
                self.assertEqual(status["NoNewPrivs"], "1")
                sets = capabilities(pid)
                sets.pop("CapBnd")
                self.assertEqual(set(sets.values()), {0}, sets)
                limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
                self.assertRegex(limits, r"Max core file size +0 +0 ")
                environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
                self.assertLessEqual({entry.split("=")[0] for entry in environment if entry}, ENVIRONMENT)
                if is_root:
                    # Not dumpable: what it has in /proc belongs to root.
                    self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)

    def check_descriptors(self, lab, pids):
        usual = {0: "/dev/null", 1: "/dev/null", 2: str(lab.log_path)}
        drive = descriptors(pids["dray-drive"])
        # Opened once by libcryptsetup before the box.
        others = [number for number in drive if drive[number] in ("/dev/random", "/dev/urandom")]
        self.assertLessEqual(len(others), 2)
        for number in others:
            drive.pop(number)
        # Key and lock were closed, the ring is mapped; what is left has served to wait for the key.
        self.assertEqual(drive, {**usual, 3: "socket", 4: str(lab.drives / "P.img")})

        transfer = descriptors(pids["dray-transfer"])
        self.assertEqual({number: transfer.pop(number) for number in range(5)}, {**usual, 3: "socket", 4: "socket"})
        mine = str(lab.state / "transfers" / "job-p" / "p")
        expected = {f"{mine}/{name}" for name in
                    ("lock", "manifest.xml", "journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm")}
        rest = {target for target in transfer.values()
                if not target.startswith((str(lab.vault), "anon_inode:[eventfd]"))}
        rest = {re.sub(r"manifest\.xml\.part$", "manifest.xml", target) for target in rest}
        self.assertLessEqual(rest, expected)
        self.assertIn(f"{mine}/lock", rest)

    def check_own_users(self, lab, pids, drayd, drive, transfer):
        """Users as (uid, gid)."""
        disk = {int(line.split(":")[2]) for line in pathlib.Path("/etc/group").read_text().splitlines()
                if line.startswith("disk:")}
        self.assertEqual(ids(pids["drayd"]), (*drayd, disk))
        self.assertEqual(ids(pids["dray-drive"]), (*drive, set()))
        self.assertEqual(ids(pids["dray-transfer"]), (*transfer, set()))
        self.assertEqual(len({drayd[0], drive[0], transfer[0]}), 3)
        self.assertEqual(transfer[1], drayd[1])
        self.assertNotEqual(drive[1], drayd[1])
        self.assertEqual(capabilities(pids["drayd"]),
                         {"CapInh": KEPT, "CapPrm": KEPT, "CapEff": KILL, "CapBnd": 0, "CapAmb": KEPT})
        for name in PAIR:
            self.assertEqual(set(capabilities(pids[name]).values()), {0}, name)
            self.assertEqual(pathlib.Path(f"/proc/{pids[name]}/cmdline").read_bytes().split(b"\0")[:-1],
                             [name.encode(), "--user={}:{}".format(*(drive if name == "dray-drive" else transfer))
                              .encode()])
        self.assertNotIn("run as drayd's own user", lab.log())

    def check_walls(self, probe, lab, pids):
        """By trying. Behind the list of system calls stand Landlock, the uid and the missing capabilities."""
        me = pids["drayd"]
        drive, transfer = pids["dray-drive"], pids["dray-transfer"]
        catalog = lab.state / "catalog.sqlite"
        for pid in (drive, transfer):
            for path in ("/etc/passwd", catalog, lab.drives / "P.img"):
                self.assertEqual(probe(pid, "openat", -100, path, 0, past_seccomp=True), "EACCES", path)
            # The file is anyone's to read: with neither rule nor list it would open.
            self.assertEqual(probe(pid, "setresuid", ids(me)[0], ids(me)[0], ids(me)[0], past_seccomp=True),
                             "EPERM" if ids(me)[0] != ids(pid)[0] else "0")
            self.assertEqual(probe(pid, "setresuid", 0, 0, 0, past_seccomp=True), "EPERM")
            self.assertEqual(probe(pid, "chroot", "/", past_seccomp=True), "EPERM")
            if ids(me)[0] != ids(pid)[0]:
                self.assertEqual(probe(pid, "kill", me, 0, past_seccomp=True), "EPERM")
                other = transfer if pid == drive else drive
                self.assertEqual(probe(pid, "kill", other, 0, past_seccomp=True), "EPERM")
        journal = lab.state / "transfers" / "job-p" / "p" / "lock"
        self.assertEqual(probe(drive, "openat", -100, journal, 0, past_seccomp=True), "EACCES")
        self.assertEqual(probe(drive, "openat", -100, lab.vault, 0, past_seccomp=True), "EACCES")
        self.assertGreater(int(probe(transfer, "openat", -100, lab.vault, 0)), 2, "its own store it may open")
        # The list of dray-transfer refuses, that of dray-drive kills: it comes last.
        for call in (("socket", 2, 1, 0), ("execve", "/bin/true", 0, 0), ("setresuid", -1, -1, -1),
                     ("ptrace", 0, 0, 0, 0), ("kill", me, 0), ("bpf", 0, 0, 0)):
            self.assertEqual(probe(transfer, *call), "EPERM", call)
        if not IS_SANITIZED:
            self.assertEqual(probe(drive, "openat", -100, "/etc/passwd", 0), "SIGSYS")
            lab.wait(lambda: lab.pid_of("dray-drive") not in (None, drive), "a new dray-drive in its place")


class SharedUser(Case):
    def test_without_rights_all_three_share_one_user_and_one_warning_says_so(self):
        with self.in_mid_copy() as (lab, pids):
            self.check_children(lab, pids)
            self.check_descriptors(lab, pids)
            for name in PAIR:
                self.assertEqual(ids(pids[name])[0], ids(pids["drayd"])[0])
                self.assertEqual(pathlib.Path(f"/proc/{pids[name]}/cmdline").read_bytes(), name.encode() + b"\0")
            self.assertEqual(set(capabilities(pids["drayd"])[name] for name in ("CapPrm", "CapAmb")), {0})
            self.assertEqual(lab.log().count("run as drayd's own user"), 1, lab.log())
            self.assertIn("drayd has not the capabilities SETUID, SETGID and KILL", lab.log())
            self.assertEqual(lab.log().count("warning:"), 1, lab.log())

    @unittest.skipUnless(is_root, "not root")
    def test_the_walls_stand_around_one_user_as_well(self):
        with self.in_mid_copy() as (lab, pids):
            self.check_walls(Probe(self), lab, pids)


@unittest.skipUnless(is_root, "not root")
class OwnUsers(Case):
    @staticmethod
    def unused(count):
        def is_used(number):
            with contextlib.suppress(KeyError):
                return bool(pwd.getpwuid(number))
            return False
        return [number for number in range(60000, 60100) if not is_used(number)][:count]

    def test_started_as_root_where_no_users_are_all_three_take_unused_ones(self):
        if any(user.pw_name == "dray" for user in pwd.getpwall()):
            self.skipTest("this machine has a user dray")
        one, two, three = self.unused(3)
        with self.in_mid_copy(prefix=[], own=(one, one)) as (lab, pids):
            self.check_children(lab, pids)
            self.check_descriptors(lab, pids)
            self.check_own_users(lab, pids, (one, one), drive=(three, three), transfer=(two, one))
            self.assertIn(f"these users are missing: dray (uid {one} instead)", lab.log())

    def test_started_as_root_where_the_users_are_each_process_becomes_its_own(self):
        with self.in_mid_copy(users=USERS, prefix=[], own="dray") as (lab, pids):
            self.check_children(lab, pids)
            self.check_descriptors(lab, pids)
            self.check_own_users(lab, pids, *(lab.users[name] for name in USERS))
            self.assertEqual(lab.log().count("warning:"), 0, lab.log())
            self.check_walls(Probe(self), lab, pids)

    def test_started_as_its_unit_does_each_process_becomes_its_own(self):
        with self.in_mid_copy(users=USERS, prefix=as_the_unit_does, own="dray") as (lab, pids):
            self.check_children(lab, pids)
            self.check_descriptors(lab, pids)
            self.check_own_users(lab, pids, *(lab.users[name] for name in USERS))
            self.assertEqual(lab.log().count("warning:"), 0, lab.log())

    def test_with_the_rights_but_without_the_users_one_is_shared(self):
        with self.in_mid_copy(users=("dray", "dray-drive"), prefix=as_the_unit_does, own="dray") as (lab, pids):
            for name in PAIR:
                self.assertEqual(ids(pids[name])[0], lab.users["dray"][0])
            self.assertEqual(capabilities(pids["drayd"])["CapPrm"], 0)
            self.assertEqual(lab.log().count("there is no user dray-transfer"), 1, lab.log())

    def test_nobody_of_the_same_user_can_look_into_a_process(self):
        look = ("import ctypes, os, sys\n"
                "pid = int(sys.argv[1])\n"
                "for name in ('mem', 'environ', 'maps', 'fd/0'):\n"
                "    try:\n"
                "        os.close(os.open(f'/proc/{pid}/{name}', os.O_RDONLY)); print(name, 'opens')\n"
                "    except PermissionError: pass\n"
                "if ctypes.CDLL(None).ptrace(0x4206, pid, 0, 0) == 0: print('traced')\n")

        def look_at(pid, uid, gid):
            return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
                                   "/usr/bin/python3", "-c", look, str(pid)], check=True, capture_output=True,
                                  text=True).stdout

        with self.in_mid_copy(users=USERS, prefix=[], own="dray") as (lab, pids):
            for name, pid in pids.items():
                self.assertEqual(look_at(pid, *ids(pid)[:2]), "", name)
            # The same look at a process that has nothing to hide.
            other = subprocess.Popen(["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "cat"],
                                     stdin=subprocess.PIPE)
            lab.wait(lambda: status_of(other.pid)["Name"] == "cat", "a process to look at")
            self.assertIn("environ opens", look_at(other.pid, UID, UID))
            other.stdin.close()
            other.wait()

    def test_journals_and_stores_go_on_under_other_users_and_back(self):
        rng = seed()
        files = {f"large{number}": rng.randbytes(9 * MIB) for number in range(3)}
        with Lab(users=USERS, hand_back="at-once") as lab:
            lab.belongs_to(*lab.users["dray"])
            drives = [lab.prepare(serial, make_tree(lab.root / serial, {f"{serial}/{name}": data
                                                                          for name, data in files.items()}))
                      for serial in ("A", "B")]
            # All with one user, as before there were three: a whole drive, and half of the next.
            lab.start()
            lab.create("job-a", drives[:1])
            lab.plug("A")
            lab.ctl("wait", "job-a", "--timeout", "120")
            self.assertEqual(lab.vault.joinpath("lab").stat().st_mode & 0o777, 0o700)
            lab.create("job-b", drives[1:])
            with lab.held_store() as let_go:
                lab.plug("B")
                for prefix in ([], None, []):
                    lab.wait_drive("job-b", "B", "CopyStatus", "Transferring")
                    lab.wait(lambda: (lab.state / "transfers/job-b/b/journal.sqlite").exists(), "a journal")
                    lab.kill_drayd()
                    lab.start(prefix)
                lab.wait_drive("job-b", "B", "CopyStatus", "Transferring")
                self.assertEqual(ids(lab.pid_of("dray-transfer"))[:2], lab.users["dray-transfer"])
                let_go()
            lab.ctl("wait", "job-b", "--timeout", "120")
            self.assertEqual(lab.blobs(), {f"lab/{serial}/{name}": data for serial in "AB"
                                           for name, data in files.items()})
            self.assertEqual(lab.drive("job-b", "B", "CopyStatus"), "Completed")
            self.assertNotIn("set aside", lab.log())
            self.assertEqual(lab.log().count("is opened to its group"), 1, lab.log())
            # Open to the group, and to nobody else; the catalog and the master key not even to that.
            transfer, dray = lab.users["dray-transfer"][0], lab.users["dray"]
            for path in (*lab.vault.glob("*/**/*"), *lab.vault.glob("*")):
                status = path.stat()
                self.assertEqual((status.st_gid, oct(status.st_mode & 0o777)),
                                 (dray[1], "0o770" if path.is_dir() else "0o660"), path)
            self.assertEqual({path.stat().st_uid for path in lab.vault.rglob("*")}, {transfer, dray[0]})
            for name in ("catalog.sqlite", "catalog.sqlite-wal", "master.key", "lock"):
                self.assertEqual(oct((lab.state / name).stat().st_mode & 0o777), "0o600", name)
            # And drayd removes what dray-transfer has made.
            lab.ctl("delete", "job-b")
            lab.wait(lambda: not (lab.state / "transfers/job-b").exists(), "the job's files to go")


class Programs(Case):
    def test_only_dray_drive_is_linked_to_gpl_libraries(self):
        programs = [path for path in BIN.iterdir() if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
        self.assertGreaterEqual({path.name for path in programs}, {"drayd", "drayctl", *PAIR})
        for program in programs:
            linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
            is_gpl = "libcryptsetup" in linked or "libntfs" in linked
            self.assertEqual(is_gpl, program.name == "dray-drive", f"{program.name}:\n{linked}")

    def test_children_refuse_to_be_anything_but_a_user(self):
        for name in PAIR:
            for argument in ("--user=0:0", "--user=5:0", "--user=4294967295:5", "--user=5", "--user=5:5x",
                             "--user=-1:5", "5:5", "--help"):
                done = subprocess.run([BIN / name, argument], capture_output=True, text=True, close_fds=False,
                                      pass_fds=(), preexec_fn=lambda: [os.dup2(0, fd) for fd in (3, 4, 5)],
                                      stdin=subprocess.DEVNULL, timeout=60)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f'"{argument}" is no argument of this program', done.stderr)

    def test_no_process_leaves_a_core_whatever_the_limit_of_the_shell(self):
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        if hard == 0:
            self.skipTest("no cores are made here at all")
        with self.in_mid_copy() as (lab, pids):
            for name, pid in pids.items():
                limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
                self.assertRegex(limits, r"Max core file size +0 +0 ", name)


class Writers(Case):
    @staticmethod
    def wakes(pid):
        return int(status_of(pid)["voluntary_ctxt_switches"])

    def trace(self, request, pid):
        if ctypes.CDLL(None, use_errno=True).ptrace(request, pid, None, None) != 0:
            self.skipTest(f"a process cannot be halted here: {os.strerror(ctypes.get_errno())}")

    def test_a_stopped_dray_drive_goes_on_where_it_was(self):
        with self.in_mid_copy() as (lab, pids):
            for pid in (pids["dray-drive"], pids["dray-transfer"]):
                os.kill(pid, 19)  # SIGSTOP; a machine that is suspended does the same to a call that waits
                lab.wait(lambda pid=pid: status_of(pid)["State"].startswith("T"), "the stop")
                os.kill(pid, 18)
        # in_mid_copy() has seen the copy to its end by now; it was the same pair's.
        self.assertNotIn("starts again where it was", self.last_log)

    @unittest.skipUnless(is_root, "not root")
    def test_a_new_pair_waits_for_an_old_one_that_lives_on(self):
        rng = seed()
        files = {f"large{number}": rng.randbytes(6 * MIB) for number in range(4)}
        with Lab(hand_back="at-once") as lab:
            drive = lab.prepare("W", make_tree(lab.root / "source", files))
            lab.start()
            lab.create("job-w", [drive])
            with lab.held_store() as let_go:
                lab.plug("W")
                lab.wait_drive("job-w", "W", "CopyStatus", "Transferring")
                old = lab.pid_of("dray-transfer")
                # It cannot see that drayd has gone. A stop by signal would not do: the kernel continues and ends
                # what is stopped when its parent goes.
                threads = [int(thread) for thread in os.listdir(f"/proc/{old}/task")]
                for thread in threads:
                    self.trace(0x4206, thread)  # PTRACE_SEIZE
                    self.trace(0x4207, thread)  # PTRACE_INTERRUPT
                    os.waitpid(thread, 0x40000000)  # __WALL
                lab.drayd.kill()
                lab.drayd.wait()
                lab.start()
                lab.wait_drive("job-w", "W", "CopyStatus", "WaitingForPreviousCopy")
                self.assertIn("the previous copy has not ended yet", lab.log())
                self.assertNotEqual(lab.pid_of("dray-transfer"), old)
                # The store is free: were the new one not waiting, it would write now.
                let_go()
                state = pathlib.Path(f"/proc/{old}/stat").read_text().rsplit(")", 1)[1].split()[0]
                self.assertEqual(state, "t")
                self.assertEqual(lab.drive("job-w", "W", "CopyStatus"), "WaitingForPreviousCopy")
                self.assertEqual(lab.blobs(), {})
                for thread in threads:
                    ctypes.CDLL(None).ptrace(17, thread, None, None)  # PTRACE_DETACH; the first may end them all
            lab.ctl("wait", "job-w", "--timeout", "120")
            self.assertFalse(alive(old))
            self.assertEqual(lab.blobs(), {f"lab/{name}": data for name, data in files.items()})
            self.assertEqual(lab.drive("job-w", "W", "CopyStatus"), "Completed")

    def test_the_third_crash_without_a_piece_ends_the_drive_and_names_the_file(self):
        with Lab() as lab:
            drive = lab.prepare("C", make_tree(lab.root / "source", {"unlucky": seed().randbytes(8 * MIB)}))
            lab.start()
            lab.create("job-c", [drive])
            with lab.held_store():
                lab.plug("C")
                for count in range(1, 4):
                    lab.wait_drive("job-c", "C", "CopyStatus", "Transferring")
                    transfer = lab.pid_of("dray-transfer")
                    lab.wait(lambda: any((lab.vault / ".dray/uploads").iterdir()), "a piece on its way")
                    # Each time its main thread wakes it tells drayd where the copy is.
                    before = self.wakes(transfer)
                    lab.wait(lambda: self.wakes(transfer) >= before + 4, "dray-transfer to tell what it reads")
                    os.kill(lab.pid_of("dray-drive"), 9)
                    ended = ("it starts again where it was" if count < 3 else
                             "three times without a new piece, so the drive ends here")
                    lab.wait(lambda: re.search(rf"while it read \S*unlucky; {ended}", lab.log()), f"crash {count}")
                    if count < 3:
                        lab.wait(lambda: lab.pid_of("dray-transfer") not in (None, transfer), "the next pair")
            lab.wait_drive("job-c", "C", "State", "CompletedMoreInfo")
            self.assertEqual(lab.drive("job-c", "C", "CopyStatus"), "InternalError")


if __name__ == "__main__":
    unittest.main()
