#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A directory of drive images that break on command: a FUSE server in a process of its own, spoken to over /dev/fuse
itself. It passes reads on to the images and answers those with an error that touch a range which is bad at the moment.

An image in it is a drive of the source `images`, or lies under a loop device, which is a real block device then.
Everything is read past the page cache, in whatever size was asked for.

As a program (started by FaultDevice): fault_device.py MOUNTPOINT; one command a line in JSON, one answer a line.
"""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import stat
import struct
import subprocess
import sys
import threading
import time

LOOKUP, FORGET, GETATTR, UNLINK, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 10, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, RENAME, INTERRUPT, DESTROY = 25, 26, 27, 28, 29, 12, 36, 38
BATCH_FORGET, RENAME2, SETATTR = 42, 45, 4
MAX_PAGES = 1 << 22
FOPEN_DIRECT_IO = 1
ROOT = 1
MOST = 1 << 20


def missing():
    """Why there can be no such device here, as one line; None where it can."""
    if os.getuid() != 0:
        return "not root"
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    return None


class Server:
    def __init__(self, mountpoint):
        self.owner = os.stat(mountpoint)
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fuse},rootmode=40755,user_id=0,group_id=0,allow_other,max_read={MOST}".encode()
        if libc.mount(b"faults", os.fsencode(mountpoint), b"fuse", 2 | 4, options) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self.lock = threading.Lock()
        self.nodes = {}  # number: {"name", "fd", "size"}
        self.rules = []
        self.reads = 0

    # -- commands

    def add(self, name, path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with self.lock:
            self.nodes[len(self.nodes) + 2] = {"name": name, "fd": fd, "size": os.fstat(fd).st_size}

    def size(self, name, size):
        with self.lock:
            next(node for node in self.nodes.values() if node["name"] == name)["size"] = size

    def bad(self, begin=0, end=1 << 62, times=None, number=errno.EIO, delay=0, after=0):
        """Reads that touch [begin, end) fail: always, or so many `times`; each after `delay` seconds; number 0: they
        are slow and nothing else. `after`: so many reads are left alone first. Returns the rule's number."""
        with self.lock:
            self.rules.append({"begin": begin, "end": end, "left": times, "number": number, "delay": delay,
                               "after": after, "hits": 0, "sizes": []})
            return len(self.rules) - 1

    def heal(self):
        with self.lock:
            for rule in self.rules:
                rule["left"] = 0

    def told(self, rule):
        """How often a rule was met, and how long the reads were."""
        with self.lock:
            return {"hits": self.rules[rule]["hits"], "sizes": self.rules[rule]["sizes"]}

    # -- the file system

    def run(self):
        while True:
            try:
                request = os.read(self.fuse, MOST + 4096)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # unmounted
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                answer = self.answer(opcode, unique, node, request[40:])
            except OSError as error:
                answer = -error.errno
            if answer is not None:
                self.reply(unique, answer)

    def reply(self, unique, answer):
        number, body = (answer, b"") if isinstance(answer, int) else (0, answer)
        with contextlib.suppress(OSError):  # whoever asked may be gone
            os.write(self.fuse, struct.pack("<IiQ", 16 + len(body), number, unique) + body)

    def answer(self, opcode, unique, node, body):
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHH8I", 7, 31, 0, MAX_PAGES | 1, 16, 12, MOST, 1, MOST // 4096, 0, *[0] * 8)
        if opcode == LOOKUP:
            number = self.find(body[:-1].decode())
            return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + self.attributes(number)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if opcode == OPEN:
            return struct.pack("<QII", 0, FOPEN_DIRECT_IO, 0)
        if opcode == OPENDIR:
            return struct.pack("<QII", 0, 0, 0)
        if opcode == READDIR:
            return self.entries(struct.unpack_from("<Q", body, 8)[0])
        if opcode == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return self.read(unique, node, offset, size)
        if opcode in (RENAME, RENAME2):
            old, new = body[16 if opcode == RENAME2 else 8:].split(b"\0")[:2]
            with self.lock:
                self.nodes[self.find(old.decode())]["name"] = new.decode()
            return 0
        if opcode == UNLINK:
            with self.lock:
                self.nodes[self.find(body[:-1].decode())]["name"] = None
            return 0
        if opcode == STATFS:
            return struct.pack("<5Q10I", *[0] * 5, 4096, 255, 4096, *[0] * 7)
        if opcode in (RELEASE, RELEASEDIR, DESTROY):
            return 0
        return -errno.ENOSYS

    def find(self, name):
        for number, node in self.nodes.items():
            if node["name"] == name:
                return number
        raise OSError(errno.ENOENT, name)

    def attributes(self, number):
        is_root = number == ROOT
        size = 0 if is_root else self.nodes[number]["size"]
        mode = stat.S_IFDIR | 0o755 if is_root else stat.S_IFREG | 0o644
        return struct.pack("<6Q10I", number, size, -(-size // 512), 0, 0, 0, 0, 0, 0, mode, 1, self.owner.st_uid,
                           self.owner.st_gid, 0, 4096, 0)

    def entries(self, begin):
        listed = [(ROOT, ".", 4), (ROOT, "..", 4)]
        listed += [(number, node["name"], 8) for number, node in self.nodes.items() if node["name"] is not None]
        body = b""
        for place, (number, name, kind) in enumerate(listed[begin:], begin + 1):
            encoded = name.encode()
            entry = struct.pack("<QQII", number, place, len(encoded), kind) + encoded
            body += entry + bytes(-len(entry) % 8)
        return body

    def read(self, unique, node, offset, size):
        delay, number = 0, 0
        with self.lock:
            self.reads += 1
            for rule in self.rules:
                if rule["left"] == 0 or offset >= rule["end"] or offset + size <= rule["begin"]:
                    continue
                if rule["after"] > 0:
                    rule["after"] -= 1
                    continue
                rule["hits"] += 1
                rule["sizes"].append(size)
                if rule["left"] is not None:
                    rule["left"] -= 1
                delay, number = rule["delay"], rule["number"]
                if number:
                    break
            fd, end = self.nodes[node]["fd"], self.nodes[node]["size"]

        def done():
            if number:
                return -number
            return os.pread(fd, max(0, min(size, end - offset)), offset)

        if not delay:
            return done()
        threading.Thread(target=lambda: (time.sleep(delay), self.reply(unique, done())), daemon=True).start()
        return None


def serve(mountpoint):
    server = Server(mountpoint)
    threading.Thread(target=server.run, daemon=True).start()
    print(json.dumps(None), flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(server, name)(**arguments)), flush=True)


class FaultDevice:
    """The directory `mountpoint`, for as long as this lasts, whose images break on command."""

    def __init__(self, mountpoint):
        self.mountpoint = pathlib.Path(mountpoint)

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-B", __file__, str(self.mountpoint)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "null\n", "the fault device does not run"
        return self

    def __exit__(self, kind, value, trace):
        subprocess.run(["umount", "--lazy", self.mountpoint], check=False)
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _ask(self, command, **arguments):
        self.process.stdin.write(json.dumps([command, arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def add(self, image, name=None):
        """The image becomes a drive of that name, by a rename as from a finished copy."""
        name = name or pathlib.Path(image).name
        self._ask("add", name=name + ".part", path=str(image))
        os.rename(self.mountpoint / (name + ".part"), self.mountpoint / name)
        return self.mountpoint / name

    def bad(self, begin=0, end=1 << 62, **more):
        return self._ask("bad", begin=begin, end=end, **more)

    def heal(self):
        self._ask("heal")

    def size(self, name, size):
        self._ask("size", name=name, size=size)

    def told(self, rule):
        return self._ask("told", rule=rule)

    def hits(self, rule):
        return self.told(rule)["hits"]


if __name__ == "__main__":
    serve(sys.argv[1])
