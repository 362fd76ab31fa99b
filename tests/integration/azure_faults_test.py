#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bad days of a network and of a blob service: nothing is lost, nothing is there twice, and where somebody must do
something, one sentence says what."""

import os
import re
import signal
import sys
import time
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import azurite  # noqa: E402
from azure_lab import AzureLab, fault_server  # noqa: E402
from lab import MIB, make_tree, random_files, seed  # noqa: E402
from make_drive import blob_xml, manifest_xml  # noqa: E402
from outcomes_test import PAGE, page_xml  # noqa: E402

REQUESTS = 8
SEEDS = 100 if os.environ.get("DRAY_TEST_LONG") else 10
PUBLISHING = ["PutBlob", "PutBlockList", "CopyBlob"]


class FaultsCase(unittest.TestCase):
    def drive(self, lab, serial, files, *more):
        self.expected = {f"lab/{name}": data for name, data in files.items()}
        return lab.prepare(serial, make_tree(lab.root / f"source-{serial}", files), "lab", *more)

    def check_whole(self, lab, job, serial, expected=None):
        """Every blob is there, under its own name, and the log has nothing to say."""
        lab.faults.rules()
        found = lab.blobs()
        self.assertEqual(found.keys(), (expected or self.expected).keys())
        for name, data in (expected or self.expected).items():
            self.assertTrue(found[name] == data, f"the content of {name}")
        self.assertEqual(lab.leftovers(), [])
        self.assertEqual(lab.drive(job, serial, "CopyStatus"), "Completed")
        self.assertEqual(xml.parse(lab.logs(job)[0]).getroot().findall("Blob"), [])

    def faulted(self, lab, job, serial):
        """The reason, once the drive is faulted."""
        lab.wait_drive(job, serial, "Faulted", True)
        self.assertEqual(lab.drive(job, serial, "State"), "Received")
        reason = lab.drive(job, serial, "FaultReason")
        print(f"{self.id().rsplit('.', 1)[1]}: {reason}", flush=True)
        self.assertNotIn(lab.server.key, reason)
        return reason


class Copy(FaultsCase):
    """What comes by itself goes by itself."""

    def test_answers_lost_after_the_commit_are_no_false_already_exists(self):
        rng = seed()
        for disposition in ("no-overwrite", "rename", "overwrite"):
            with self.subTest(disposition=disposition), AzureLab(through=fault_server(), hand_back="at-once") as lab:
                files = {"large": rng.randbytes(9 * MIB), "empty": b"", **random_files(rng, 12, 5000)}
                drive = self.drive(lab, "LOST", files, "--disposition", disposition)
                lab.start()
                lab.create("lost", [drive])
                lab.faults.rules({"match": {"op": [*PUBLISHING, "PutBlock", "CreateContainer"], "per-key": 1},
                                  "do": {"lose": True}})
                lab.plug("LOST")
                lab.wait_job("lost", "State", "Completed")
                lost = {record["op"] for record in lab.faults.requests() if record["rule"]}
                self.assertTrue(lost >= {"PutBlob", "PutBlock", "PutBlockList"}, lost)
                self.check_whole(lab, "lost", "LOST")
                self.assertNotIn("(2)", " ".join(lab.listing()))

    def test_done_but_answered_with_500_is_done(self):
        rng = seed()
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            files = {"large": rng.randbytes(9 * MIB), **random_files(rng, 8, 5000)}
            drive = self.drive(lab, "DONE", files)
            lab.start()
            lab.create("done", [drive])
            lab.faults.rules({"match": {"op": PUBLISHING, "per-key": 1},
                              "do": {"answer": "timeout", "forward": True, "retry-after-ms": 10}})
            lab.plug("DONE")
            lab.wait_job("done", "State", "Completed")
            self.check_whole(lab, "done", "DONE")

    def test_somebody_else_s_blob_is_no_success_of_ours(self):
        """The answer to a commit that was not carried out is lost, and meanwhile another one takes the name."""
        with AzureLab(through=fault_server()) as lab:
            drive = self.drive(lab, "RACE", {"a": b"ours"}, "--disposition", "no-overwrite")
            lab.start()
            lab.create("race", [drive])
            lab.faults.rules({"match": {"op": PUBLISHING, "blob": "a", "most": 1}, "do": {"hold": True}})
            lab.plug("RACE")
            lab.faults.wait(container="lab", blob="a", answered=False)
            lab.service.get_blob_client("lab", "a").upload_blob(b"theirs")
            lab.faults.rules()
            lab.wait(lambda: lab.drive("race", "RACE", "State") in ("Completed", "CompletedMoreInfo"), "the drive to be done")
            self.assertEqual(lab.blobs(), {"lab/a": b"theirs"})
            blob = xml.parse(lab.logs("race")[0]).getroot().find("Blob")
            self.assertEqual(blob.find("ImportDisposition").get("Status"), "Skipped")

    def test_a_storm_of_503_is_waited_for_and_not_fought(self):
        rng = seed()
        storm = 60
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            drive = self.drive(lab, "BUSY", {"large": rng.randbytes(20 * MIB), **random_files(rng, 40, 5000)})
            lab.start()
            lab.create("busy", [drive])
            lab.faults.rules({"match": {"op": "Put*", "container": "lab", "most": storm},
                              "do": {"answer": "server-busy", "retry-after": 1}})
            lab.plug("BUSY")
            lab.wait_job("busy", "State", "Completed")
            refused = [record for record in lab.faults.requests() if record["status"] == 503]
            self.assertEqual(len(refused), storm)
            self.check_whole(lab, "busy", "BUSY")
            # A second is what it asked for: the same request did not come back sooner.
            last = {}
            for record in lab.faults.requests():
                key = (record["op"], record["blob"], record["block"], record["range"])
                if key in last and last[key]["status"] == 503:
                    self.assertGreater(record["time"] - last[key]["time"], 0.9, record)
                last[key] = record

    def test_retry_after_as_a_date_and_in_milliseconds(self):
        for name, words, least in (("date", {"retry-after-date": 3}, 1.5), ("ms", {"retry-after-ms": 1200}, 1.1)):
            with self.subTest(name=name), AzureLab(through=fault_server(), hand_back="at-once") as lab:
                drive = self.drive(lab, "WAIT", {"a": b"content"})
                lab.start()
                lab.create("wait", [drive])
                lab.faults.rules({"match": {"op": "Put*", "blob": ".*a", "most": 1}, "do": {"answer": "too-many", **words}})
                lab.plug("WAIT")
                lab.wait_job("wait", "State", "Completed")
                first = next(record for record in lab.faults.requests() if record["status"] == 429)
                again = next(record for record in lab.faults.requests(op=first["op"], blob=first["blob"])
                             if record["time"] > first["time"])
                self.assertGreater(again["time"] - first["time"], least)
                self.check_whole(lab, "wait", "WAIT")

    def test_a_good_body_that_is_called_damaged_is_sent_again(self):
        rng = seed()
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            drive = self.drive(lab, "HASH", {"large": rng.randbytes(9 * MIB), "small": b"content"})
            lab.start()
            lab.create("hash", [drive])
            lab.faults.rules({"match": {"op": ["PutBlock", "PutBlob"], "container": "lab", "per-key": 2}, "do": {"answer": "md5"}})
            lab.plug("HASH")
            lab.wait_job("hash", "State", "Completed")
            self.check_whole(lab, "hash", "HASH")
            self.assertEqual(max(count for pieces in lab.faults.counts()["PutBlock"]["blobs"].values()
                                 for count in pieces.values()), 3)

    def test_an_outage_in_mid_copy_is_waited_for(self):
        rng = seed()
        for kind in ("refuse", "reset", "busy"):
            with self.subTest(kind=kind), AzureLab(through=fault_server(), options="outage: 10min", hand_back="at-once") as lab:
                drive = self.drive(lab, "OUT", {"large": rng.randbytes(40 * MIB), **random_files(rng, 30, 5000)})
                lab.start()
                lab.create("out", [drive])
                lab.faults.rules({"match": {"op": "PutBlock", "nth": list(range(4, 1000))}, "do": {"hold": True}})
                lab.plug("OUT")
                lab.faults.wait(op="PutBlock", count=1, answered=False)
                lab.faults.outage(kind)
                lab.faults.rules()
                seen = len(lab.faults.requests())
                if kind != "busy":
                    # Nobody sees what never becomes a request; that it is noticed is said in the log.
                    lab.wait(lambda: re.search("cloud.*(not answer|no answer|cannot be reached|unreachable)", lab.log(), re.I),
                             "the outage to be noticed")
                else:
                    lab.wait(lambda: len(lab.faults.requests()) > seen + 5, "requests that find the outage")
                self.assertFalse(lab.drive("out", "OUT", "Faulted"))
                self.assertEqual(lab.drive("out", "OUT", "State"), "Transferring")
                lab.faults.outage(None)
                lab.wait_job("out", "State", "Completed")
                self.check_whole(lab, "out", "OUT")

    def test_an_outage_that_lasts_too_long_is_a_fault_and_costs_no_piece(self):
        rng = seed()
        with AzureLab(through=fault_server(), options="outage: 2s", transfers=None, hand_back="at-once",
                      extra=f"transfers: {{max: 1, requests: {REQUESTS}}}\n") as lab:
            drive = self.drive(lab, "LONG", {"large": rng.randbytes(16 * MIB)}, "--block-size", "64KiB")
            pieces = 16 * MIB // (64 * 1024)
            lab.start()
            lab.create("long", [drive])
            lab.faults.rules({"match": {"op": "PutBlock", "nth": list(range(200, 10_000))}, "do": {"hold": True}})
            lab.plug("LONG")
            lab.faults.wait(op="PutBlock", count=199, answered=True)
            lab.faults.wait(op="PutBlock", count=1, answered=False)
            lab.faults.outage("refuse")
            lab.faults.rules()
            reason = self.faulted(lab, "long", "LONG")
            self.assertRegex(reason, "cannot connect to 127.0.0.1:.*has not answered for 2 s")
            lab.faults.outage(None)
            lab.ctl("retry", "long", "LONG")
            lab.wait_job("long", "State", "Completed")
            self.check_whole(lab, "long", "LONG")
            sent = lab.faults.counts()["PutBlock"]["blobs"]
            counts = [count for path, blocks in sent.items() if path.startswith("lab/") for count in blocks.values()]
            self.assertEqual(len(counts), pieces)
            self.assertLessEqual(sum(counts) - pieces, 2 * REQUESTS + 128)

    def test_a_service_that_hangs_is_given_up_after_the_stall_timeout(self):
        with AzureLab(through=fault_server(), options="stall-timeout: 2s", hand_back="at-once") as lab:
            drive = self.drive(lab, "HANG", {"a": b"content", "b": b"more"})
            lab.start()
            lab.create("hang", [drive])
            lab.faults.rules({"match": {"op": PUBLISHING, "container": "lab", "most": 2}, "do": {"stall": True}})
            lab.plug("HANG")
            lab.wait_job("hang", "State", "Completed")
            self.assertEqual(len([record for record in lab.faults.requests() if record["rule"]]), 2)
            self.check_whole(lab, "hang", "HANG")

    def test_every_seed_ends_with_every_blob_right_and_few_requests(self):
        rng = seed()
        first = rng.randrange(10**6)
        disk = rng.randbytes(3 * MIB)
        files = {"large0": rng.randbytes(2 * MIB + 5), "large1": rng.randbytes(1 * MIB), "disk": disk,
                 **random_files(rng, 30, 40_000, "small/f")}
        piece = 256 * 1024
        blobs = [blob_xml(f"lab/{name}", "\\" + name.replace("/", "\\"), data, piece=piece) for name, data in files.items()
                 if name != "disk"]
        blobs.append(page_xml("lab/disk.vhd", "\\disk", 3 * MIB, [(0, disk[: MIB]), (2 * MIB + PAGE, disk[2 * MIB + PAGE :])]))
        expected = {f"lab/{name}": data for name, data in files.items() if name != "disk"}
        expected["lab/disk.vhd"] = disk[:MIB] + bytes(MIB + PAGE) + disk[2 * MIB + PAGE :]
        worst = 0.0
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            source = make_tree(lab.root / "source", files)
            lab.start()
            ideal = 0
            for number in range(SEEDS + 1):
                # The first time without faults, to have something to compare with.
                job, serial = f"job{number}", f"SEED{number}"
                drive = lab.foreign(serial, source, manifest=manifest_xml(serial, blobs))
                lab.create(job, [drive])
                lab.faults.reset()
                if number > 0:
                    lab.faults.mild(first + number)
                lab.plug(serial)
                lab.wait_job(job, "State", "Completed")
                requests = lab.faults.requests()
                faults = sum(record["rule"] != "" for record in requests)
                if number == 0:
                    ideal = len(requests)
                else:
                    share = (len(requests) - faults) / ideal
                    worst = max(worst, share)
                    print(f"seed {first + number}: {len(requests)} requests, {faults} of them faults, ideal {ideal}: "
                          f"{share:.3f}", flush=True)
                    self.assertLessEqual(share, 1.05)
                    self.assertGreater(faults, 0)
                self.check_whole(lab, job, serial, expected)
                lab.unplug(serial)
                (lab.shelf / f"{serial}.img").unlink()
                for path in list(expected):
                    lab.blob(path).delete_blob()
        print(f"{SEEDS} seeds, at worst {worst:.3f} of the ideal number of requests outside the faults", flush=True)


class CopiesThatTakeTheirTime(FaultsCase):
    """Blobs of several pieces are published by a copy within the account, which need not be done when it is answered."""

    def begin(self, lab, job, how, *more):
        drive = self.drive(lab, job.upper(), {"large": seed().randbytes(9 * MIB), "small": b"small"}, *more)
        lab.start()
        lab.create(job, [drive])
        lab.faults.rules({"match": {"op": "CopyBlob", "most": 1}, "do": {"copy": how}})
        lab.plug(job.upper())

    def looks(self, lab):
        return sum(record["op"] == "GetBlobProperties" and record["blob"] == "large" for record in lab.faults.requests())

    def test_a_pending_copy_is_waited_for(self):
        for disposition in ("no-overwrite", "overwrite"):
            with self.subTest(disposition=disposition), AzureLab(through=fault_server(), hand_back="at-once") as lab:
                self.begin(lab, "slow", {"ends": "success", "looks": 3}, "--disposition", disposition)
                lab.wait_job("slow", "State", "Completed")
                self.assertGreaterEqual(self.looks(lab), 4)
                self.check_whole(lab, "slow", "SLOW")

    def test_a_pair_killed_while_its_copy_is_pending_finds_its_own_blob(self):
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            self.begin(lab, "killed", {"ends": "success", "looks": 8}, "--disposition", "rename")
            lab.faults.wait(op="GetBlobProperties", blob="large", count=3)
            for pid in lab.children():
                os.kill(pid, signal.SIGKILL)
            lab.wait_job("killed", "State", "Completed")
            self.check_whole(lab, "killed", "KILLED")

    def test_a_failed_copy_is_a_fault_and_what_it_left_is_in_nobody_s_way(self):
        for disposition in ("no-overwrite", "rename", "overwrite"):
            with self.subTest(disposition=disposition), AzureLab(through=fault_server(), hand_back="at-once") as lab:
                self.begin(lab, "failed", {"ends": "failed", "looks": 2}, "--disposition", disposition)
                self.assertIn("cannot publish lab/large: the service's copy of it ended as \"failed\"", self.faulted(lab, "failed", "FAILED"))
                lab.ctl("retry", "failed", "FAILED")
                lab.wait_job("failed", "State", "Completed")
                self.check_whole(lab, "failed", "FAILED")
                blocks = [record["block"] for record in lab.faults.requests() if record["op"] == "PutBlock"]
                self.assertEqual(sorted(blocks), sorted(set(blocks)))


class Credentials(FaultsCase):
    def test_an_expired_sas_is_a_fault_that_a_new_one_mends_by_itself(self):
        with AzureLab(through=fault_server(), credential="none", hand_back="at-once") as lab:
            lab.write_config(credential=f"sas:{lab.secret('sas', azurite.account_sas(seconds=-3600, account=lab.account))}")
            drive = self.drive(lab, "SAS", {"a": b"content"})
            lab.start()
            lab.create("sas", [drive])
            lab.plug("SAS")
            reason = self.faulted(lab, "sas", "SAS")
            self.assertIn("expired", reason)
            self.assertIn("sas", reason)
            self.assertNotIn("sig=", reason + lab.log())
            self.assertEqual(lab.blobs(), {})
            lab.secret("sas", azurite.account_sas(account=lab.account))
            lab.wait_job("sas", "State", "Completed")
            self.check_whole(lab, "sas", "SAS")

    def test_a_credential_that_is_renewed_in_mid_copy_is_used_from_then_on(self):
        rng = seed()
        with AzureLab(through=fault_server(), credential="none", hand_back="at-once") as lab:
            old = azurite.account_sas(seconds=3600, account=lab.account)
            new = azurite.account_sas(seconds=7200, account=lab.account)
            lab.write_config(credential=f"sas:{lab.secret('sas', old)}")
            drive = self.drive(lab, "NEW", {"large": rng.randbytes(60 * MIB)}, "--block-size", "256KiB")
            lab.start()
            lab.create("new", [drive])
            lab.faults.mode(headers=True)
            lab.faults.rules({"match": {"op": "PutBlock", "nth": list(range(20, 10_000))}, "do": {"hold": True}})
            lab.plug("NEW")
            lab.faults.wait(op="PutBlock", count=1, answered=False)
            lab.secret("sas", new)
            # From now on the old one is worth nothing; those that wait are refused with it and sent again.
            expiry = re.search("se=([^&]*)", old).group(1).replace("%3A", ":")
            lab.wait(lambda: re.search("(?i)credential.*(renew|new)|(renew|new).*credential", lab.log()),
                     "the new credential to be noticed")
            lab.faults.rules()
            lab.wait_job("new", "State", "Completed")
            used = {record["query"]["se"] for record in lab.faults.requests(op="PutBlock")}
            self.assertEqual(len(used), 2, used)
            self.assertIn(expiry, used)
            self.check_whole(lab, "new", "NEW")

    def test_a_wrong_key_is_a_fault_that_names_where_the_key_is(self):
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            lab.secret("account-key", "A" * 86 + "==")
            drive = self.drive(lab, "KEY", {"a": b"content"})
            lab.start()
            lab.create("key", [drive])
            lab.plug("KEY")
            reason = self.faulted(lab, "key", "KEY")
            self.assertIn("account-key", reason)
            self.assertIn("key", reason)
            lab.secret("account-key", lab.server.key)
            lab.wait_job("key", "State", "Completed")
            self.check_whole(lab, "key", "KEY")

    def test_a_permission_that_is_missing_is_said(self):
        with AzureLab(through=fault_server(), credential="none") as lab:
            sas = azurite.account_sas(permission="rl", account=lab.account)
            lab.write_config(credential=f"sas:{lab.secret('sas', sas)}")
            drive = self.drive(lab, "READ", {"a": b"content"})
            lab.start()
            lab.create("read", [drive])
            lab.plug("READ")
            lab.wait(lambda: lab.drive("read", "READ", "Faulted") or lab.drive("read", "READ", "State") == "CompletedMoreInfo",
                     "the drive to be refused")
            self.assertEqual(lab.blobs(), {})
            if lab.drive("read", "READ", "Faulted"):
                self.assertRegex(lab.drive("read", "READ", "FaultReason"), "permit|permission|right")
            else:
                self.assertEqual(lab.drive("read", "READ", "CopyStatus"), "BlobRequestForbidden")


class Sentences(FaultsCase):
    """What drayctl stores says, and Store.Check: what is wrong and how to mend it."""

    def said(self, lab, *words, none_of=()):
        out, _, status = lab.ctl("stores", status=None)
        self.assertEqual(status, 1, out)
        line = next(line for line in out.splitlines() if "cloud" in line)
        print(f"{self.id().rsplit('.', 1)[1]}: {' '.join(out.split())}", flush=True)
        self.assertIn("vault", out, "the other store is as well as ever")
        for word in words:
            self.assertRegex(out, f"(?i){word}")
        for word in none_of:
            self.assertNotIn(word, out)
        name, sentence = lab.error_of("/org/dray1/store/cloud", "Store", "Check", "a{sv}", "0")
        shown = lab.get("/org/dray1/store/cloud", "Store", "Problem")
        self.assertTrue(name or shown, "it is shown on the bus, too")
        self.assertEqual(lab.get("/org/dray1/store/cloud", "Store", "Reachable"), False)
        return line

    def test_a_name_that_is_not_resolved(self):
        with AzureLab(through=fault_server()) as lab:
            lab.write_config(endpoint=f"http://nowhere.invalid/{lab.account}")
            lab.start()
            self.said(lab, "nowhere.invalid", "name|resolve|DNS")

    def test_a_port_where_nobody_listens(self):
        with AzureLab(through=fault_server()) as lab:
            lab.faults.outage("refuse")
            lab.start()
            self.said(lab, "127.0.0.1", "connect|refused|listen")
            lab.faults.outage(None)
            self.assertEqual(lab.ctl("stores")[2], 0)
            self.assertEqual(lab.get("/org/dray1/store/cloud", "Store", "Reachable"), True)

    def test_a_container_that_is_missing(self):
        with AzureLab(options="container: landing") as lab:
            lab.start()
            self.said(lab, "no container landing", "make it, or correct the setting container")
            lab.service.create_container("landing")
            self.assertEqual(lab.ctl("stores")[2], 0)
            self.assertEqual(lab.get("/org/dray1/store/cloud", "Store", "Problem"), "")

    def test_tls_that_is_not_trusted(self):
        for kind, mend in (("https", "ca-file"), ("https-stranger", "ca-file"), ("https-wrong-name", "endpoint.*name"),
                           ("https-expired", "renew")):
            with self.subTest(kind=kind), AzureLab(through=fault_server(), kind=kind) as lab:
                if kind != "https":
                    lab.write_config(ca_file=self.shared(lab))
                lab.start()
                self.said(lab, "certificate of 127.0.0.1.*not trusted", mend)

    def shared(self, lab):
        path = lab.root / "ca.pem"
        path.write_bytes(lab.faults.ca.read_bytes())
        path.chmod(0o644)
        return path

    def test_with_its_ca_file_a_private_certificate_is_good(self):
        with AzureLab(through=fault_server(), kind="https", host="localhost", hand_back="at-once") as lab:
            lab.write_config(ca_file=self.shared(lab))
            drive = self.drive(lab, "TLS", {"a": b"content", "large": bytes(5 * MIB)})
            lab.start()
            self.assertEqual(lab.ctl("stores")[2], 0)
            lab.create("tls", [drive])
            lab.plug("TLS")
            lab.wait_job("tls", "State", "Completed")
            self.check_whole(lab, "tls", "TLS")

    def test_through_a_proxy(self):
        with AzureLab(through=fault_server(), options="", hand_back="at-once") as lab:
            # Nobody but the proxy could know this host.
            lab.write_config(endpoint=f"http://store.invalid/{lab.account}", proxy=lab.faults.url)
            lab.endpoint = f"http://store.invalid/{lab.account}"
            drive = self.drive(lab, "PROXY", {"a": b"content"})
            lab.start()
            lab.create("proxy", [drive])
            lab.plug("PROXY")
            lab.wait_job("proxy", "State", "Completed")
            self.assertTrue(all(record["proxied"] for record in lab.faults.requests()))
            self.check_whole(lab, "proxy", "PROXY")

    def test_through_a_proxy_to_tls(self):
        with AzureLab(through=fault_server(), kind="https", host="store.test", hand_back="at-once") as lab:
            lab.write_config(proxy=lab.faults.url, ca_file=self.shared(lab))
            drive = self.drive(lab, "TUNNEL", {"a": b"content"})
            lab.start()
            lab.create("tunnel", [drive])
            lab.plug("TUNNEL")
            lab.wait_job("tunnel", "State", "Completed")
            self.assertTrue(lab.faults.requests(op="Connect"))
            self.check_whole(lab, "tunnel", "TUNNEL")

    def test_no_proxy_of_the_environment_is_used(self):
        with AzureLab(through=fault_server(), hand_back="at-once") as lab:
            lab.daemon_environment = {name: "http://127.0.0.1:1" for name in ("http_proxy", "HTTP_PROXY", "all_proxy")}
            drive = self.drive(lab, "ENV", {"a": b"content"})
            lab.start()
            lab.create("env", [drive])
            lab.plug("ENV")
            lab.wait_job("env", "State", "Completed")
            self.check_whole(lab, "env", "ENV")

    def test_a_clock_that_is_off(self):
        for off in (-3600, 3600):
            with self.subTest(off=off), AzureLab(through=fault_server(), hand_back="at-once") as lab:
                drive = self.drive(lab, "CLOCK", {"a": b"content"})
                lab.faults.rules({"match": {}, "do": {"answer": "key-refused", "date-off": off}})
                lab.start()
                self.said(lab, "clock")
                lab.create("clock", [drive])
                lab.plug("CLOCK")
                self.assertIn("clock", self.faulted(lab, "clock", "CLOCK"))
                lab.faults.rules()
                lab.ctl("retry", "clock", "CLOCK")
                lab.wait_job("clock", "State", "Completed")
                self.check_whole(lab, "clock", "CLOCK")

    def test_a_key_that_is_refused(self):
        with AzureLab(through=fault_server()) as lab:
            lab.secret("account-key", "A" * 86 + "==")
            lab.start()
            self.said(lab, "key", "account-key", none_of=["A" * 20])
            lab.secret("account-key", "no key at all")
            lab.wait(lambda: "Base64" in lab.ctl("stores", status=None)[0] or "base64" in lab.ctl("stores", status=None)[0],
                     "the other file to be looked at")
            lab.secret("account-key", lab.server.key)
            lab.wait(lambda: lab.ctl("stores", status=None)[2] == 0, "the right one to be looked at")

    def test_a_credential_file_that_is_missing_or_open_to_others(self):
        with AzureLab(through=fault_server()) as lab:
            path = lab.root / "account-key"
            path.rename(lab.root / "away")
            lab.start()
            self.said(lab, "account-key")
            (lab.root / "away").rename(path)
            lab.wait(lambda: lab.ctl("stores", status=None)[2] == 0, "the file to be found")
            path.chmod(0o644)
            lab.kill_drayd()
            lab.start()
            self.said(lab, "account-key", "0600|chmod|read|others")

    def test_answers_that_are_none(self):
        """A store that answers with 32 MiB of XML, a DTD, wrong lengths, an endless body, a redirect."""
        with AzureLab(through=fault_server(), options="stall-timeout: 2s") as lab:
            lab.start()
            dtd = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><EnumerationResults>&b;</EnumerationResults>'
            for name, do in (("huge", {"huge": 40 * MIB}), ("dtd", {"answer": 200, "body": dtd}),
                             ("length", {"answer": 200, "body": "x" * 100, "length-off": 50}), ("endless", {"endless": True}),
                             ("redirect", {"answer": 307, "redirect": "http://127.0.0.1:1/"}),
                             ("text", {"answer": 200, "body": "hello"})):
                with self.subTest(answer=name):
                    lab.faults.rules({"match": {}, "do": do})
                    begin = time.monotonic()
                    out, error, status = lab.ctl("stores", status=None)
                    print(f"{name}: {' '.join((out + error).split())} ({time.monotonic() - begin:.1f} s)", flush=True)
                    self.assertEqual(status, 1, "no store is like that")
            lab.faults.rules()
            self.assertEqual(lab.ctl("stores")[2], 0)


if __name__ == "__main__":
    unittest.main()
