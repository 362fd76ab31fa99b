#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No key anywhere: wrong and right keys, faults and crashes, and then every place that could have kept one is searched."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import MIB, Lab, make_tree, random_files, seed  # noqa: E402

PAIR = ("dray-drive", "dray-transfer")
is_root = os.getuid() == 0


def forms(name, secret):
    """{what: bytes} of all the ways in which a secret could lie about, whole or in half."""
    half = len(secret) // 2
    found = {f"{name}": secret, f"first half of {name}": secret[:half], f"second half of {name}": secret[half:],
             f"{name} in hex": secret.hex().encode(), f"{name} in capital hex": secret.hex().upper().encode(),
             f"{name} in spaced hex": secret.hex(" ").encode(),
             f"{name} in UTF-16": secret.decode("latin-1").encode("utf-16-le"),
             f"{name} in UTF-8": secret.decode("latin-1").encode("utf-8"),
             f"{name} as a list of numbers": ",".join(map(str, secret)).encode(),
             f"{name} in JSON": json.dumps(secret.decode("latin-1"))[1:-1].encode()}
    for before in range(3):
        # Inside something longer, base64 begins at any of three places; the ends depend on what is around.
        for kind, encode in (("base64", base64.b64encode), ("URL base64", base64.urlsafe_b64encode)):
            encoded = encode(b"\0" * before + secret).rstrip(b"=")
            found[f"{name} in {kind} at {before}"] = encoded[4 if before else 0:-1]
    return found


def memory_of(pid):
    """Everything that a process can write, piece by piece."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            if " rw" not in line or "[vvar" in line or "dray-ring" in line:
                continue
            begin, end = (int(number, 16) for number in line.split()[0].split("-"))
            with contextlib.suppress(OSError):
                memory.seek(begin)
                yield memory.read(end - begin)


class Secrets(unittest.TestCase):
    def search(self, where, content):
        for what, pattern in self.patterns.items():
            if pattern in content:
                self.fail(f"{what} is in {where}")

    def search_below(self, *directories):
        count = 0
        for directory in directories:
            for path in directory.rglob("*"):
                if path.is_file():
                    self.search(path, path.read_bytes())
                    count += 1
        return count

    def search_processes(self, lab):
        found = {name: pid for pid, name in lab.pair()}
        self.assertEqual(set(found), set(PAIR))
        for name, pid in {**found, "drayd": lab.drayd.pid}.items():
            for file in ("cmdline", "environ"):
                self.search(f"{file} of {name}", pathlib.Path(f"/proc/{pid}/{file}").read_bytes())
        return found

    def search_memory(self, name, pid, patterns=None):
        if not is_root:
            return
        size = 0
        for part in memory_of(pid):
            size += len(part)
            for what, pattern in (patterns or self.patterns).items():
                if pattern in part:
                    self.fail(f"{what} is in the memory of {name}")
        self.assertGreater(size, 100_000, f"{name} was looked into")

    def test_the_search_finds_what_it_looks_for(self):
        secret = seed().randbytes(33)
        self.patterns = forms("key", secret)
        for content in (b"x" + secret, secret[:16], secret.hex().encode(), b"a" + base64.b64encode(b"q" + secret + b"q"),
                        base64.b64encode(secret), secret.decode("latin-1").encode("utf-16-le")):
            with self.assertRaises(AssertionError):
                self.search("here", content)
        self.search("nothing", os.urandom(MIB))
        if is_root:
            with self.assertRaises(AssertionError):
                self.search_memory("this process", os.getpid(), {"key": bytes(secret)})

    def cores(self, directory):
        """Whether a process that dies in `directory` leaves its memory there."""
        pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
        if pattern.startswith(("|", "/")):
            print(f"cores go to {pattern.strip()}: the limits alone are looked at", flush=True)
            return False
        subprocess.run(["sh", "-c", "ulimit -c unlimited; kill -SEGV $$"], cwd=directory, check=False,
                       stderr=subprocess.DEVNULL)
        made = list(directory.iterdir())
        for path in made:
            path.unlink()
        self.assertTrue(made or not is_root, "a process that hides nothing leaves a core")
        return bool(made)

    def test_no_key_is_left_anywhere_by_wrong_keys_faults_and_crashes(self):
        rng = seed()
        # No line breaks and quotes: with them some encodings would differ from those looked for. Long ones, because
        # short ones are soon overwritten wherever they were left; two pieces of each are looked for.
        key, wrong = (bytes(rng.choice(range(161, 256)) for _ in range(1500)) for _ in range(2))
        passphrases = {}
        for name, secret in (("the key", key), ("the wrong key", wrong)):
            for begin in (600, 1200):
                passphrases.update(forms(f"{name} from {begin} on", secret[begin:begin + 48]))
        files = random_files(rng, 40, 200_000)
        with Lab(hand_back="at-once") as lab:
            image = lab.shelf / "K.img"
            prepared = json.loads(lab.ctl(
                "--json=short", "drive", "prepare", "--source", make_tree(lab.root / "source", files), "--container",
                "lab", "--serial", "K", "--key-file", lab.key_file("K", key), "--output", image)[0])
            dump = lab.root / "volume-key"
            subprocess.run(["cryptsetup", "luksDump", "--batch-mode", "--dump-volume-key", "--volume-key-file", dump,
                            "--key-file", lab.shelf / "K.key", image], check=True, capture_output=True)
            volume_key = dump.read_bytes()
            self.assertGreaterEqual(len(volume_key), 32)
            dump.unlink()
            self.patterns = {**passphrases, **forms("the volume key", volume_key)}

            capture = lab.root / "bus.pcap"
            with open(capture, "wb") as out:
                watcher = subprocess.Popen(["busctl", "capture"], env=lab.environment, stdout=out,
                                           stderr=subprocess.DEVNULL)
            lab.closing.callback(watcher.kill)
            lab.wait(lambda: capture.stat().st_size > 0, "the monitor of the bus")

            cores = lab.root / "cores"
            cores.mkdir()
            cores.chmod(0o777)
            has_cores = self.cores(cores)
            prefix = ["sh", "-ec", f'cd {cores}; ulimit -c unlimited 2>/dev/null || :; exec "$@"', "sh"]
            if is_root:
                prefix += ["setpriv", f"--reuid={lab.uid}", f"--regid={lab.gid}", "--clear-groups"]
            lab.start(prefix)

            # The wrong key, a store that is gone, and then the right key.
            lab.key_file("K", wrong)
            lab.create("job-k", [prepared])
            lab.plug("K")
            lab.wait(lambda: lab.drive("job-k", "K", "Faulted"), "the wrong key to be a fault")
            if is_root:
                self.search_memory("drayd, after a wrong key", lab.drayd.pid)
            self.assertIn("the key does not unlock the volume", lab.drive("job-k", "K", "FaultReason"))
            lab.vault.rename(lab.root / "away")
            lab.key_file("K", key)
            lab.ctl("retry", "job-k", "K", "--key-file", lab.shelf / "K.key")
            lab.wait(lambda: "does not exist" in (lab.drive("job-k", "K", "FaultReason") or ""), "the store's fault")
            (lab.root / "away").rename(lab.vault)
            with lab.held_store() as let_go:
                lab.ctl("retry", "job-k", "K")
                lab.wait_drive("job-k", "K", "CopyStatus", "Transferring")
                pair = self.search_processes(lab)
                for name in PAIR:
                    limits = pathlib.Path(f"/proc/{pair[name]}/limits").read_text()
                    self.assertRegex(limits, r"Max core file size +0 +0 ")
                # drayd has handed the key over, dray-transfer never had it, and dray-drive needs it no more. Its
                # volume key it does need.
                self.search_memory("drayd", lab.drayd.pid)
                self.search_memory("dray-transfer", pair["dray-transfer"])
                self.search_memory("dray-drive", pair["dray-drive"], passphrases)
                if is_root:
                    # In its cipher's schedule of round keys, which begins with the key: so we know that we look.
                    self.assertTrue(any(volume_key[:32] in part for part in memory_of(pair["dray-drive"])))
                self.search_below(lab.state)
                for victim, number in (("dray-drive", signal.SIGSEGV), ("dray-transfer", signal.SIGABRT)):
                    pid = lab.pid_of(victim)
                    os.kill(pid, number)
                    lab.wait(lambda victim=victim, pid=pid: lab.pid_of(victim) not in (None, pid)
                             and lab.drive("job-k", "K", "CopyStatus") == "Transferring", f"another {victim}")
                lab.kill_drayd(signal.SIGSEGV)
                lab.start(prefix)
                lab.wait_drive("job-k", "K", "CopyStatus", "Transferring")
                self.search_processes(lab)
                let_go()
            lab.ctl("wait", "job-k", "--timeout", "120")
            self.assertEqual(lab.drive("job-k", "K", "CopyStatus"), "Completed")
            self.assertEqual(lab.blobs(), {f"lab/{name}": data for name, data in files.items()})
            self.search_memory("drayd, at the end", lab.drayd.pid)

            shown = "".join(lab.ctl(*verb)[0] for verb in
                            (("list",), ("show", "job-k"), ("--json=short", "show", "job-k"), ("devices",)))
            self.search("drayctl's answers", shown.encode())
            tree = subprocess.run(["busctl", "--json=short", "call", "org.dray1", "/org/dray1",
                                   "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"], env=lab.environment,
                                  check=True, capture_output=True).stdout
            self.search("the objects on the bus", tree)
            self.assertGreater(self.search_below(lab.state), 4, "catalog with its log, master key, journal")
            lab.kill_drayd(signal.SIGTERM)
            watcher.terminate()
            watcher.wait()
            self.assertIn(b"AddDrive", capture.read_bytes(), "the monitor has seen the call that brought the key")
            self.search("the bus", capture.read_bytes())
            self.search("the log", lab.log_path.read_bytes())
            self.search_below(lab.state, lab.vault, lab.drives)
            if has_cores:
                self.assertEqual(list(cores.iterdir()), [], "none of the three left its memory behind")
            self.assertEqual((lab.state / "master.key").stat().st_mode & 0o777, 0o600)


if __name__ == "__main__":
    unittest.main()
