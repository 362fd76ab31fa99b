#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No secret of a store anywhere: a wrong key, a right one, a signature that takes its place in mid-copy, crashes, and then
every place that could have kept one is searched. And what the real dray-transfer may do that has a network."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import azurite  # noqa: E402
import secrets_test  # noqa: E402
from azure_lab import AzureLab, fault_server  # noqa: E402
from lab import MIB, make_tree, seed  # noqa: E402
from processes_test import IS_SANITIZED, Probe, capabilities, is_root, status_of  # noqa: E402

forms, memory_of = secrets_test.forms, secrets_test.memory_of


class Case(unittest.TestCase):
    def drive(self, lab, rng, size=16 * MIB):
        self.content = rng.randbytes(size)
        return lab.prepare("N", make_tree(lab.root / "source", {"large": self.content}), "lab", "--block-size", "256KiB")

    def hold(self, lab):
        """In mid-copy: the pieces get into the store, and nothing is published."""
        lab.faults.rules({"match": {"op": ["PutBlob", "PutBlockList", "CopyBlob"]}, "do": {"hold": True}})

    def wait_held(self, lab):
        lab.faults.wait(op="PutBlockList", count=1, answered=False)
        lab.wait_drive("job-n", "N", "CopyStatus", "Transferring")


class Secrets(Case):
    search = secrets_test.Secrets.search
    search_below = secrets_test.Secrets.search_below
    search_processes = secrets_test.Secrets.search_processes
    search_memory = secrets_test.Secrets.search_memory
    cores = secrets_test.Secrets.cores

    def test_no_secret_of_a_store_is_left_anywhere(self):
        rng = seed()
        escrow = bytes(rng.choice(range(161, 256)) for _ in range(32))
        with AzureLab(through=fault_server(), hand_back="at-once", options="encryption-key: escrow", extra="") as lab:
            lab.keys = f"keys: {{escrow: {{credential: {lab.root / 'escrow'}, algorithm: A256KW}}}}\n"
            lab.write_config()
            (lab.root / "escrow").write_bytes(escrow)
            (lab.root / "escrow").chmod(0o600)
            lab.give(lab.root / "escrow")
            key = lab.server.key
            wrong = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(86)) + "=="
            sas = azurite.account_sas(account=lab.account)
            signature = re.search("sig=([^&]*)", sas).group(1)
            self.patterns = {**forms("the key of the encryption", escrow)}
            for name, secret in (("the account's key", key), ("the wrong key", wrong), ("the signature", signature)):
                # Short halves of base64 would be found by chance in nothing; whole ones and halves are looked for.
                self.patterns.update(forms(name, secret.encode()))

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
            prepared = self.drive(lab, rng)
            lab.secret("account-key", wrong)
            lab.start(prefix)
            lab.create("job-n", [prepared])
            lab.plug("N")
            lab.wait_drive("job-n", "N", "Faulted", True)
            self.search_memory("drayd, after a wrong key", lab.drayd.pid)
            shown = "".join(lab.ctl(*verb, status=None)[0] for verb in
                            (("stores",), ("--json=short", "stores"), ("status",), ("show", "job-n")))
            self.assertIn("account-key", shown)
            self.hold(lab)
            lab.secret("account-key", key)
            self.wait_held(lab)
            pair = self.search_processes(lab)
            for name, pid in {**pair, "drayd": lab.drayd.pid}.items():
                if name != "dray-transfer":
                    self.search_memory(name, pid)
            if is_root:
                # It signs with the key: so we know that we look.
                self.assertTrue(any(key.encode() in part or escrow in part for part in memory_of(pair["dray-transfer"])))
            for number in (signal.SIGABRT, signal.SIGSEGV):
                victim = lab.pid_of("dray-transfer")
                os.kill(victim, number)
                lab.wait(lambda victim=victim: lab.pid_of("dray-transfer") not in (None, victim), "another dray-transfer")
                lab.wait_drive("job-n", "N", "CopyStatus", "Transferring")
            # A signature in place of the key, by a reload; whoever runs was started with the key.
            lab.write_config(credential=f"sas:{lab.secret('signature', sas)}")
            lab.ctl("reload")
            lab.kill_drayd(signal.SIGSEGV)
            lab.start(prefix)
            lab.wait_drive("job-n", "N", "CopyStatus", "Transferring")
            self.search_processes(lab)
            lab.faults.rules()
            lab.wait_job("job-n", "State", "Completed")
            self.assertEqual(lab.drive("job-n", "N", "CopyStatus"), "Completed")
            self.search_memory("drayd, at the end", lab.drayd.pid)
            shown += "".join(lab.ctl(*verb)[0] for verb in (("stores",), ("list",), ("show", "job-n"), ("--json=short", "show", "job-n")))
            self.search("drayctl's answers", shown.encode())
            tree = subprocess.run(["busctl", "--json=short", "call", "org.dray1", "/org/dray1",
                                   "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"], env=lab.environment,
                                  check=True, capture_output=True).stdout
            self.search("the objects on the bus", tree)
            lab.kill_drayd(signal.SIGTERM)
            watcher.terminate()
            watcher.wait()
            self.search("the bus", capture.read_bytes())
            self.search("the log", lab.log_path.read_bytes())
            self.assertGreater(self.search_below(lab.state, lab.drives), 3, "catalog, master key, what is known of the store")
            if has_cores:
                self.assertEqual(list(cores.iterdir()), [], "none of the three left its memory behind")


class Box(Case):
    def test_a_copy_into_a_network_store_may_connect_and_little_more(self):
        rng = seed()
        probe = Probe(self)
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            prepared = self.drive(lab, rng)
            lab.start()
            lab.create("job-n", [prepared])
            self.hold(lab)
            lab.plug("N")
            self.wait_held(lab)
            pids = {name: pid for pid, name in lab.pair()}
            transfer = pids["dray-transfer"]
            status = status_of(transfer)
            self.assertEqual((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"))
            self.assertEqual(set(capabilities(transfer).values()) - {capabilities(transfer)["CapBnd"]}, {0})
            environment = pathlib.Path(f"/proc/{transfer}/environ").read_bytes()
            self.assertNotIn(b"proxy", environment.lower())
            if is_root and not IS_SANITIZED:
                for family, kind in ((1, 1), (2, 1), (2, 2), (10, 1)):
                    self.assertGreater(int(probe(transfer, "socket", family, kind, 0)), 2, family)
                for family in (16, 17, 38, 40):
                    self.assertEqual(probe(transfer, "socket", family, 3, 0), "EAFNOSUPPORT", family)
                self.assertGreater(int(probe(transfer, "openat", -100, "/etc/hosts", 0)), 2, "where names are looked up")
                for path in ("/usr/bin/env", lab.root / "account-key", lab.state / "catalog.sqlite", lab.vault):
                    self.assertEqual(probe(transfer, "openat", -100, path, 0), "EACCES", path)
                self.assertEqual(probe(transfer, "execve", "/usr/bin/env", 0, 0), "EPERM")
                self.assertEqual(probe(pids["dray-drive"], "socket", 2, 1, 0), "SIGSYS")
            lab.faults.rules()
            lab.wait_job("job-n", "State", "Completed")
            self.assertEqual(lab.blobs(), {"lab/large": self.content})


if __name__ == "__main__":
    unittest.main()
