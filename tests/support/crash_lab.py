# SPDX-License-Identifier: Apache-2.0
"""A lab whose real programs can be stopped at a chosen operation and killed there, that counts what is written into the
store, and that holds every change of state seen on the bus against the specification's tables.

The programs are the shipped ones; crash_points.so is preloaded into them. dray-transfer and dray-drive get a clean
environment from drayd, so in their place stands a line of shell that sets it and starts them.
"""

import collections
import json
import mmap
import os
import pathlib
import re
import signal
import struct

from lab import Lab, alive

# azure-import-export.md 3.3, and 2.2 with the rows that concern import.
DRIVE_STEPS = {
    ("Specified", "Received"), ("Specified", "NeverReceived"), ("NeverReceived", "Received"),
    ("Received", "Transferring"), ("Received", "CompletedMoreInfo"), ("Transferring", "Completed"),
    ("Transferring", "CompletedMoreInfo"), ("Completed", "ShippedBack"), ("CompletedMoreInfo", "ShippedBack"),
    ("Received", "ShippedBack"), ("Transferring", "Received"),
}
JOB_STEPS = {
    ("Creating", "Shipping"), ("Shipping", "Received"), ("Shipping", "Transferring"), ("Received", "Transferring"),
    ("Transferring", "Packaging"), ("Packaging", "Completed"), ("Packaging", "Closed"), ("Shipping", "Closed"),
    ("Shipping", "Packaging"), ("Received", "Packaging"), ("Creating", "Completed"),
    # 2.4: cancelled where no drive is here.
    ("Shipping", "Completed"), ("Received", "Completed"), ("Transferring", "Completed"),
}

RECORD = struct.Struct("<IIQQ88s")
RECORDS = 1 << 17
# An upload of the import (journal's id and blob), or of a log.
UPLOAD = re.compile(r"[0-9A-F]{16}-[0-9]+(\.whole)?")


class CrashPoints:
    """The test's end of crash_points.so."""

    def __init__(self, path):
        with open(path, "w+b") as file:
            file.truncate(64 + RECORD.size * RECORDS)
            os.fchmod(file.fileno(), 0o666)
            self.shared = mmap.mmap(file.fileno(), 64 + RECORD.size * RECORDS)

    def _field(self, place):
        return struct.unpack_from("<I", self.shared, place)[0]

    def stop_at(self, operation, pattern="*", after=0, is_after=False):
        """Stops the thread at the (after+1)th operation of the kind upon a file whose name matches."""
        self.let_go()
        self.shared[0:4] = bytes(4)
        struct.pack_into("<IiII", self.shared, 4, int(is_after), after, 0, 0)
        struct.pack_into("40s", self.shared, 24, pattern.encode())
        struct.pack_into("<I", self.shared, 0, ord(operation))

    def is_reached(self):
        return self._field(12) != 0

    def let_go(self):
        """What stands at the point goes on, and nothing stops any more."""
        struct.pack_into("<I", self.shared, 0, 0)
        struct.pack_into("<I", self.shared, 16, 1)

    def forget(self):
        struct.pack_into("<I", self.shared, 20, 0)

    def records(self):
        count = self._field(20)
        assert count < RECORDS, "more operations than can be recorded"
        for place in range(count):
            _, operation, offset, length, name = RECORD.unpack_from(self.shared, 64 + place * RECORD.size)
            yield chr(operation), name.split(b"\0")[0].decode(), offset, length

    def puts(self, piece):
        """{(upload, offset): how often} of the pieces whose writing into the store began."""
        return collections.Counter((name, offset) for operation, name, offset, _ in self.records()
                                   if operation == "w" and UPLOAD.fullmatch(name) and offset % piece == 0)


class CrashLab(Lab):
    def __init__(self, **more):
        self.states = collections.defaultdict(list)
        self.wrong_steps = []
        super().__init__(**more)
        self.points = CrashPoints(self.root / "crash-points")
        library = pathlib.Path(os.environ["DRAY_BIN"]) / "tests" / "crash_points.so"
        (self.root / "crash_points.so").write_bytes(library.read_bytes())
        preload = {"LD_PRELOAD": str(self.root / "crash_points.so"),
                   "DRAY_CRASH_POINTS": str(self.root / "crash-points")}
        self.daemon_environment = preload
        real = self.bin / "real"
        real.mkdir()
        for program in ("dray-drive", "dray-transfer"):
            os.rename(self.bin / program, real / program)
            wrapper = self.bin / program
            settings = " ".join(f"{name}={value}" for name, value in preload.items())
            wrapper.write_text(f'#!/bin/sh\n{settings} exec {real / program} "$@"\n')
            wrapper.chmod(0o755)

    # -- states on the bus

    def _read_monitor(self):
        for line in self.monitor.stdout:
            if '"State"' in line:
                self._take_states(json.loads(line))
            self._notify()

    def _take_states(self, message):
        if message.get("type") != "signal":
            return
        data = message["payload"]["data"]
        if message.get("member") == "PropertiesChanged":
            self._take_state(message["path"], data[0], data[1])
        elif message.get("member") == "InterfacesAdded":
            for interface, properties in data[1].items():
                self._take_state(data[0], interface, properties)

    def _take_state(self, path, interface, properties):
        steps = {"org.dray1.Job": JOB_STEPS, "org.dray1.Drive": DRIVE_STEPS}.get(interface)
        if steps is None or "State" not in properties:
            return
        state = properties["State"]["data"]
        seen = self.states[path]
        if seen and seen[-1] != state and (seen[-1], state) not in steps:
            self.wrong_steps.append(f"{path}: {state} after {seen[-1]}")
        if not seen or seen[-1] != state:
            seen.append(state)

    # -- kills

    def victims(self, which):
        """Process ids: of one program, or of all three."""
        if which == "drayd":
            return [self.drayd.pid]
        pair = {name: pid for pid, name in self.pair()}
        if which == "all":
            return [self.drayd.pid, *pair.values()]
        return [pair[which]] if which in pair else []

    def kill_now(self, which):
        """Kills at once, lets go of what stands at the crash point, and starts drayd again where it was killed. False:
        there was nothing to kill any more."""
        pids = self.victims(which)
        children = self.children()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if self.drayd.pid in pids:
            self.drayd.wait()
            self.drayd = None
        self.points.let_go()
        if self.drayd is not None:
            for pid in pids:
                self.wait(lambda pid=pid: not alive(pid), f"process {pid} to end")
            return bool(pids)
        for pid in children:
            self.wait(lambda pid=pid: not alive(pid), f"process {pid} to follow drayd")
        self.start()
        return True

    def uploads(self):
        """What lies in the store uncommitted."""
        directory = self.vault / ".dray" / "uploads"
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def empty_store(self):
        """As new, but for its identity and the logs."""
        for place in (self.vault, self.vault / ".dray" / "side", self.vault / ".dray" / "odd"):
            for path in sorted((place / "lab").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
