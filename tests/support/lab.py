# SPDX-License-Identifier: Apache-2.0
"""A private bus, a real drayd and real drives in a scratch directory on disk, for the integration tests.

DRAY_BIN names the directory with the programs. They are copied into the scratch directory, so that drayd can
run as a user without rights even when the clone lies below a closed home directory.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(__file__))
import expected_logs  # noqa: E402
import make_drive  # noqa: E402

MIB = 1024 * 1024
# The user nobody: drayd runs as this one where the tests run as root. A bus lets in only uids that have a name.
UID = 65534
# How long anything may take before a test fails. Sanitizers and a busy machine are slow; nothing waits for it.
PATIENCE = float(os.environ.get("DRAY_TEST_PATIENCE", "120"))

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow eavesdrop="true"/></policy></busconfig>
"""


def seed():
    """One seed a run, printed, so that a failure can be had again with DRAY_TEST_SEED."""
    value = int(os.environ.get("DRAY_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"seed {value}", flush=True)
    return random.Random(value)


class Lab:
    """Its store is a directory; what tests ask of a store is at the end, for labs with another one to say it their way.

    `users`: names that exist for bus and drayd alone, in a mount namespace of theirs; their (uid, gid) are in
    self.users. `dray-transfer` gets the group of `dray`. Takes root."""

    store = "vault"

    def __init__(self, transfers=4, hand_back="unplug", extra="", sources="[images]", users=()):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="dray-lab.", dir="/var/tmp"))
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for program in ("drayd", "drayctl", "dray-drive", "dray-transfer"):
            shutil.copy2(pathlib.Path(os.environ["DRAY_BIN"]) / program, self.bin / program)
        # What start() runs.
        self.daemon = [self.bin / "drayd", "--config", self.root / "dray.yaml"]
        self.vault = self.root / "vault"
        self.drives = self.root / "drives"
        self.state = self.root / "state"
        self.shelf = self.root / "shelf"  # where drives lie before they are plugged in
        for directory in (self.vault, self.drives, self.state, self.shelf):
            directory.mkdir()
        self.config = self.root / "dray.yaml"
        self.config.write_text(
            f"state-directory: {self.state}\n"
            f"devices: {{sources: {sources}, images: {self.drives}, allow-loop: true}}\n"
            f"stores: {{vault: {{type: directory, path: {self.vault}}}}}\n"
            + (f"transfers: {{max: {transfers}}}\n" if transfers else "") +
            f"lifecycle: {{hand-back: {hand_back}}}\n"
            "clock: {require-sync: false}\n" + extra
        )
        self.log_path = self.root / "drayd.log"
        self.drayd = None
        self.daemon_environment = {}
        self.changed = threading.Condition()
        self.refusals = []  # what drayd's errors were called, in their order
        self.closing = contextlib.ExitStack()
        os.chmod(self.root, 0o755)
        self.belongs_to(UID, UID)
        self.users = {}
        self.inside = self._make_users(users) if users else []
        self._start_bus()

    def belongs_to(self, uid, gid):
        """drayd's user: owner of what it works on, where the tests run as root."""
        self.uid, self.gid = uid, gid
        if os.getuid() == 0:
            for directory in (self.vault, self.drives, self.state):
                os.chown(directory, uid, gid)

    def _make_users(self, names):
        """Returns the words that put a program into the namespace where they exist."""
        passwd = pathlib.Path("/etc/passwd").read_text()
        group = pathlib.Path("/etc/group").read_text()
        taken = {int(line.split(":")[2]) for line in (passwd + group).splitlines() if line.count(":") >= 3}
        free = (number for number in range(700, 1000) if number not in taken)
        for name in names:
            number = next(free)
            self.users[name] = (number, number)
            if name == "dray-transfer" and "dray" in self.users:
                self.users[name] = (number, self.users["dray"][1])
            passwd += f"{name}:x:{number}:{self.users[name][1]}::/:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        (self.root / "passwd").write_text(passwd)
        (self.root / "group").write_text(group)
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                f"mount --bind {self.root}/passwd /etc/passwd; mount --bind {self.root}/group /etc/group; "
                'exec "$@"', "sh"]

    # -- life

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close(kind is not None)

    def close(self, failed=False):
        if self.drayd is not None:
            self.kill_drayd(signal.SIGTERM)
        self.closing.close()
        for process in (self.monitor, self.bus):
            process.kill()
            process.wait()
        if failed or os.environ.get("DRAY_TEST_LOG"):
            print(f"--- log of drayd ({self.root})", file=sys.stderr)
            print(self.log()[-20000:], file=sys.stderr)
        shutil.rmtree(self.root, ignore_errors=True)

    def _start_bus(self):
        socket = self.root / "bus"
        config = self.root / "bus.conf"
        config.write_text(BUS_CONFIG.format(socket=socket))
        self.bus = subprocess.Popen([*self.inside, "dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.bus.stdout.readline()
        self.environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={socket}", TZ="UTC")
        self.monitor = subprocess.Popen(["busctl", "--json=short", "monitor"], env=self.environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._read_monitor, daemon=True).start()

    def _read_monitor(self):
        for line in self.monitor.stdout:
            if '"error_name":"org.dray1.Error.' in line:
                self.refusals.append(line.split('"error_name":"org.dray1.Error.', 1)[1].split('"', 1)[0])
            self._notify()

    def _notify(self):
        with self.changed:
            self.changed.notify_all()

    def start(self, prefix=None):
        """Starts drayd and returns when it has its name. `prefix`: the words in front of it, where it is not to
        run as a user without rights."""
        if prefix is None:
            prefix = (["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--groups=disk"]
                      if os.getuid() == 0 else [])
        command = [*self.inside, *prefix, *self.daemon]
        with open(self.log_path, "ab") as log:
            self.drayd = subprocess.Popen(command, env={**self.environment, **self.daemon_environment}, stdout=log,
                                          stderr=log)
        process = self.drayd
        threading.Thread(target=lambda: (process.wait(), self._notify()), daemon=True).start()
        self.wait(lambda: self._busctl("status", "org.dray1").returncode == 0 or process.poll() is not None,
                  "drayd to come up")
        assert process.poll() is None, f"drayd ended with {process.returncode}: {self.log()}"
        return self

    def kill_drayd(self, number=signal.SIGKILL):
        """Ends drayd and returns its exit status. Its children end by themselves."""
        children = self.children()
        self.drayd.send_signal(number)
        status = self.drayd.wait(PATIENCE)
        self.drayd = None
        for pid in children:
            self.wait(lambda pid=pid: not alive(pid), f"process {pid} to follow drayd")
        return status

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # -- waiting

    def wait(self, predicate, what):
        """Until the predicate holds: looked at whenever anything is said on the bus or a process ends. The
        tenth of a second is for what no bus tells (a file, a process that is not ours)."""
        end = time.monotonic() + PATIENCE
        while True:
            value = predicate()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {what}\n{self.log()[-6000:]}")
            with self.changed:
                self.changed.wait(0.1)

    def wait_log(self, text):
        self.wait(lambda: text in self.log(), f"{text!r} in the log")

    # -- the programs

    def ctl(self, *arguments, status=0):
        """Runs drayctl; fails unless it ends with `status` (None: any). Returns (stdout, stderr, status)."""
        done = subprocess.run([self.bin / "drayctl", *map(str, arguments)], env=self.environment,
                              capture_output=True, text=True, timeout=PATIENCE * 2, stdin=subprocess.DEVNULL)
        if status is not None and done.returncode != status:
            raise AssertionError(f"drayctl {arguments} ended with {done.returncode}, not {status}:\n"
                                 f"{done.stdout}{done.stderr}\n{self.log()[-6000:]}")
        return done.stdout, done.stderr, done.returncode

    def json(self, *arguments):
        return json.loads(self.ctl("--json=short", *arguments)[0])

    def _busctl(self, *arguments):
        return subprocess.run(["busctl", "--json=short", *arguments], env=self.environment, capture_output=True,
                              text=True, timeout=PATIENCE)

    def busctl(self, *arguments):
        return self._busctl(*arguments)

    def error_of(self, path, interface, member, *arguments):
        """("", "") for a call that went well, else the error's own word and its sentence."""
        before = len(self.refusals)
        done = self._busctl("call", "org.dray1", path, f"org.dray1.{interface}", member, *map(str, arguments))
        if done.returncode == 0:
            return "", ""
        self.wait(lambda: len(self.refusals) > before, f"the name of {done.stderr}")
        return self.refusals[before], done.stderr

    def get(self, path, interface, name):
        """A property, or None when the object is not there."""
        done = self._busctl("get-property", "org.dray1", path, f"org.dray1.{interface}", name)
        return json.loads(done.stdout)["data"] if done.returncode == 0 else None

    def job(self, job, name):
        return self.get(f"/org/dray1/job/{encode(job)}", "Job", name)

    def drive(self, job, serial, name):
        return self.get(f"/org/dray1/job/{encode(job)}/drive/{encode(serial)}", "Drive", name)

    def wait_drive(self, job, serial, name, value):
        self.wait(lambda: self.drive(job, serial, name) == value, f"{job}/{serial} {name} = {value!r}, now "
                  f"{self.drive(job, serial, 'State')}")

    def wait_job(self, job, name, value):
        self.wait(lambda: self.job(job, name) == value, f"{job} {name} = {value!r}")

    def children(self):
        return [pid for pid, _ in self.pair()] if self.drayd is not None else []

    def pair(self):
        """(pid, program) of dray-drive and dray-transfer below this drayd."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    stat = (entry / "stat").read_text()
                    name = stat[stat.index("(") + 1 : stat.rindex(")")]
                    parent = int(stat[stat.rindex(")") + 2 :].split()[1])
                    if parent == self.drayd.pid:
                        found.append((int(entry.name), name))
        return found

    def pid_of(self, program):
        return next((pid for pid, name in self.pair() if name == program), None)

    # -- drives and jobs

    def key_file(self, serial, key=None):
        path = self.shelf / f"{serial}.key"
        path.write_bytes(key if key is not None else hashlib.sha256(serial.encode()).hexdigest().encode())
        return path

    def prepare(self, serial, source, container="lab", *more):
        """A drive by drayctl drive prepare. Returns its JSON."""
        out, _, _ = self.ctl("--json=short", "drive", "prepare", "--source", source, "--container", container,
                             "--serial", serial, "--key-file", self.key_file(serial), "--output",
                             self.shelf / f"{serial}.img", *more)
        return json.loads(out)

    def foreign(self, serial, source, container="lab", sector_size=4096, manifest=None, **more):
        """A drive by other programs than dray's. `manifest`: its bytes, instead of the right one."""
        right, expected = make_drive.manifest_of(source, serial, container)
        manifest = right if manifest is None else manifest
        identifier = make_drive.make_drive(source, self.shelf / f"{serial}.img", self.key_file(serial).read_bytes(),
                                           sector_size, manifest, **more)
        return {"serial": serial, "volume-id": identifier, "manifest": "\\DriveManifest.xml",
                "manifest-hash": hashlib.md5(manifest).hexdigest().upper(), "expected": expected}

    def create(self, job, drives, ship=True):
        self.ctl("create", job, "--type", "import", "--store", self.store)
        for drive in drives:
            self.ctl("add-drive", job, drive["serial"], "--key-file", self.shelf / f"{drive['serial']}.key",
                     "--manifest", drive["manifest"], "--manifest-hash", drive["manifest-hash"], *drive.get("options", ()))
        if ship:
            self.ctl("ship", job)

    def plug(self, serial, name=None):
        image = self.drives / (name or f"{serial}.img")
        source = self.shelf / f"{serial}.img"
        os.chmod(source, 0o644)
        if os.getuid() == 0:
            os.chown(source, self.uid, self.gid)
        os.rename(source, image)
        return image

    def unplug(self, serial):
        os.rename(self.drives / f"{serial}.img", self.shelf / f"{serial}.img")

    # -- the store

    def blobs(self):
        """{container/name: content} of all that is visible, logs left out; read as a person would: from the
        directory tree."""
        return {name: data for name, data in self.everything().items() if not name.startswith("waimportexport/")}

    def everything(self):
        """With the logs."""
        found = {}
        for path in self.vault.rglob("*"):
            relative = path.relative_to(self.vault).as_posix()
            if path.is_file() and not relative.startswith(".dray/"):
                found[relative] = path.read_bytes()
        return found

    def logs(self, job, kind="error"):
        return sorted((self.vault / "waimportexport" / "waies").glob(f"{job}_*_{kind}.xml"))

    def side(self):
        """{container/name: (type, metadata, properties)} of what the store keeps beside the content."""
        return expected_logs.side_of(self.vault)

    def path_of(self, uri):
        """container/name of what drayd says is there."""
        return self.file_of(uri).relative_to(self.vault).as_posix()

    def file_of(self, uri):
        """A file with that content."""
        address = urllib.parse.urlparse(uri)
        assert address.scheme == "file", uri
        return pathlib.Path(urllib.parse.unquote(address.path))

    def leftovers(self):
        """What lies in the store and is no blob."""
        return sorted(path.name for path in (self.vault / ".dray" / "uploads").iterdir())

    @contextlib.contextmanager
    def forbidden(self, name):
        """A container that the store lets nobody into, while this lasts."""
        container = self.vault / name
        container.mkdir()
        if os.getuid() == 0:
            os.chown(container, UID, UID)
        os.chmod(container, 0)
        try:
            yield
        finally:
            os.chmod(container, 0o755)

    @contextlib.contextmanager
    def held_store(self):
        """Nothing becomes visible in the store while this lasts: copies stop in mid-way."""
        hold = self.vault / ".dray" / "hold"
        hold.parent.mkdir(exist_ok=True)
        hold.touch()
        if os.getuid() == 0:
            os.chown(hold.parent, self.uid, self.gid)
            os.chown(hold, self.uid, self.gid)
        holder = subprocess.Popen(["flock", "-x", hold, "sh", "-c", "echo held; exec cat"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "held\n"

        def let_go():
            if holder.poll() is None:
                holder.stdin.close()
                holder.wait()

        try:
            yield let_go
        finally:
            let_go()


def encode(name):
    """sd_bus_path_encode of one label."""
    out = ""
    for index, char in enumerate(name.encode()):
        letter = chr(char)
        is_plain = char < 128 and (letter.isalpha() or (letter.isdigit() and index > 0))
        out += letter if is_plain else f"_{char:02x}"
    return out or "_"


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def make_tree(directory, files):
    """files: {relative path: bytes}."""
    for name, data in files.items():
        path = pathlib.Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return pathlib.Path(directory)


def random_files(rng, count, most, prefix="f"):
    return {f"{prefix}{number:05}.bin": rng.randbytes(rng.randrange(most + 1)) for number in range(count)}
