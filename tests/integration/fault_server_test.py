#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The judges themselves: the emulator, the fault server, and what tests say to both."""

import email.utils
import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import azurite  # noqa: E402
import blob_request  # noqa: E402
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError  # noqa: E402
from azurite import KEY, Azurite  # noqa: E402
from blob_request import BlobRequest  # noqa: E402
from fault_rules import ANSWERS, Rules, mild  # noqa: E402
from faults import Faults  # noqa: E402
from lab import seed  # noqa: E402

LAB = "/devstoreaccount1/lab"


def ask(faults, method, target, body=b"", headers=None, port="http", context=None, timeout=azurite.PATIENCE):
    """(status, headers, body) of one request on a connection of its own."""
    if port == "http":
        connection = http.client.HTTPConnection("127.0.0.1", faults.ready[port], timeout=timeout)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", faults.ready[port], timeout=timeout, context=context)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def put_block(faults, number=0, body=b"content", **headers):
    return ask(faults, "PUT", f"{LAB}/blob?comp=block&blockid=MDAwM{number}A=", body,
               {name.replace("_", "-"): value for name, value in headers.items()})


class Sink(unittest.TestCase):
    """The fault server alone."""

    def setUp(self):
        self.faults = Faults(seed=7)
        self.addCleanup(self.faults.stop)

    def test_bodies_are_read_and_counted_and_their_hashes_are_looked_at(self):
        body = b"0123456789" * 1000
        self.assertEqual(put_block(self.faults, body=body, content_md5=blob_request.content_md5(body))[0], 201)
        self.assertEqual(put_block(self.faults, body=body, x_ms_content_crc64=blob_request.content_crc64(body))[0], 201)
        status, headers, _ = put_block(self.faults, body=body, content_md5=blob_request.content_md5(b"other"))
        self.assertEqual((status, headers["x-ms-error-code"]), (400, "Md5Mismatch"))
        status, headers, _ = put_block(self.faults, body=body, x_ms_content_crc64=blob_request.content_crc64(b"other"))
        self.assertEqual((status, headers["x-ms-error-code"]), (400, "Crc64Mismatch"))
        self.assertEqual(put_block(self.faults, body=body, x_ms_content_crc64=blob_request.content_crc64(body),
                                   content_md5=blob_request.content_md5(body))[0], 400, "both at once")
        self.assertEqual(put_block(self.faults, body=b"")[0], 400, "a block without content")
        counts = self.faults.counts()["PutBlock"]
        self.assertEqual((counts["requests"], counts["forwarded"], counts["received"]), (6, 2, 50000))
        self.assertEqual(counts["blobs"], {"lab/blob": {"MDAwM0A=": 6}})
        self.faults.mode(crc64="unsupported", headers=True)
        status, headers, _ = put_block(self.faults, body=body, x_ms_content_crc64=blob_request.content_crc64(body))
        self.assertEqual((status, headers["x-ms-error-code"]), (500, "FeatureNotSupported"))
        self.assertIn(["Content-Length", "10000"], self.faults.requests()[-1]["headers"])

    def test_every_answer_can_be_had_with_every_way_to_say_when_to_come_again(self):
        for word, (status, code, _) in ANSWERS.items():
            with self.subTest(word=word):
                self.faults.rule("PutBlock", {"answer": word}, most=1)
                found, headers, body = put_block(self.faults)
                self.assertEqual((found, headers.get("x-ms-error-code", "")), (status, code))
                self.assertIn(code.encode(), body)
                self.assertEqual(put_block(self.faults)[0], 201, "once, and no more")
        self.faults.rule("PutBlock", {"answer": "server-busy", "retry-after": 3, "retry-after-ms": 70})
        _, headers, _ = put_block(self.faults)
        self.assertEqual((headers["retry-after"], headers["x-ms-retry-after-ms"]), ("3", "70"))
        self.faults.rule("PutBlock", {"answer": "too-many", "retry-after-date": 100})
        after = email.utils.parsedate_to_datetime(put_block(self.faults)[1]["retry-after"]).timestamp() - time.time()
        self.assertTrue(0 < after <= 101, after)
        self.faults.rule("PutBlock", {"answer": "key-refused", "date-off": -3600})
        off = email.utils.parsedate_to_datetime(put_block(self.faults)[1]["date"]).timestamp() - time.time()
        self.assertTrue(-3600 - azurite.PATIENCE < off < -3590, off)
        self.faults.rule("PutBlock", {"answer": 307, "redirect": "http://127.0.0.1:1/"})
        self.assertEqual(put_block(self.faults)[1]["location"], "http://127.0.0.1:1/")

    def test_connections_are_cut_wherever_they_are_told_to(self):
        for cut in ("before-body", "in-body", "before-answer"):
            with self.subTest(cut=cut):
                self.faults.rule("PutBlock", {"cut": cut}, most=1)
                with self.assertRaises((ConnectionError, http.client.RemoteDisconnected)):
                    put_block(self.faults, body=b"x" * 5_000_000)
                record = self.faults.requests()[-1]
                received = {"before-body": 0, "in-body": 2_500_000, "before-answer": 5_000_000}[cut]
                self.assertEqual((record["received"], record["status"], record["forwarded"]), (received, 0, False))
                self.assertEqual(put_block(self.faults)[0], 201)
        for cut, got in (("after-headers", 0), ("in-answer", 11)):
            with self.subTest(cut=cut):
                self.faults.rule("GetBlob", {"answer": 200, "body": "0123456789" * 2, "cut": cut, "at": 11})
                with self.assertRaises(http.client.IncompleteRead) as caught:
                    ask(self.faults, "GET", f"{LAB}/blob")
                self.assertEqual(len(caught.exception.partial), got)

    def test_answers_lie_are_late_or_have_no_end(self):
        self.faults.rule("GetBlob", {"answer": 200, "body": "plain", "flip": True, "wrong-md5": True})
        _, headers, body = ask(self.faults, "GET", f"{LAB}/blob")
        self.assertEqual(sum(a != b for a, b in zip(body, b"plain")), 1)
        self.assertEqual(headers["content-md5"], blob_request.content_md5(b"another"))
        self.faults.rule("GetBlob", {"answer": 200, "body": "x" * 40, "trickle": {"bytes": 10, "seconds": 0.05}})
        begin = time.monotonic()
        self.assertEqual(len(ask(self.faults, "GET", f"{LAB}/blob")[2]), 40)
        self.assertGreaterEqual(time.monotonic() - begin, 0.15)
        self.faults.rule("GetBlob", {"answer": 200, "body": "x", "delay": 0.1})
        begin = time.monotonic()
        ask(self.faults, "GET", f"{LAB}/blob")
        self.assertGreaterEqual(time.monotonic() - begin, 0.1)
        self.faults.rule("ListBlobs", {"huge": 3_000_000})
        self.assertEqual(len(ask(self.faults, "GET", f"{LAB}?restype=container&comp=list")[2]), 3_000_000)
        self.faults.rule("ListBlobs", {"answer": 200, "body": "x" * 100, "length-off": 5})
        with self.assertRaises(http.client.IncompleteRead):
            ask(self.faults, "GET", f"{LAB}?restype=container&comp=list")
        self.faults.rule("ListBlobs", {"answer": 200, "body": "x" * 100, "length-off": -5})
        self.assertEqual(len(ask(self.faults, "GET", f"{LAB}?restype=container&comp=list")[2]), 95)
        self.faults.rule("ListBlobs", {"endless": True})
        connection = http.client.HTTPConnection("127.0.0.1", self.faults.ready["http"], timeout=azurite.PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", f"{LAB}?restype=container&comp=list")
        self.assertEqual(len(connection.getresponse().read(10_000_000)), 10_000_000)

    def test_a_held_request_goes_on_when_it_is_let_go(self):
        self.faults.rule("PutBlock", {"hold": True})
        found = []
        thread = threading.Thread(target=lambda: found.append(put_block(self.faults)[0]))
        thread.start()
        self.faults.wait(op="PutBlock")
        self.assertEqual(found, [])
        self.assertEqual(self.faults.requests(op="PutBlock")[0]["status"], 0)
        self.faults.rules()
        thread.join(azurite.PATIENCE)
        self.assertEqual(found, [201])

    def test_an_outage_lasts_as_long_as_it_is_told_to(self):
        for kind, error in (("refuse", ConnectionRefusedError), ("reset", (ConnectionError, http.client.HTTPException)),
                            ("hang", socket.timeout)):
            with self.subTest(kind=kind):
                self.faults.outage(kind)
                with self.assertRaises(error):
                    # Not more than a moment: that nothing comes is what is looked at.
                    for _ in range(2):
                        ask(self.faults, "HEAD", LAB + "?restype=container", timeout=0.5 if kind == "hang" else 60)
                self.faults.outage(None)
                self.assertEqual(ask(self.faults, "HEAD", LAB + "?restype=container")[0], 200)
        self.faults.outage("busy")
        self.assertEqual(ask(self.faults, "HEAD", LAB + "?restype=container")[0], 503)
        self.faults.reset()
        self.assertEqual(ask(self.faults, "HEAD", LAB + "?restype=container")[0], 200)
        self.assertEqual(sum(of["requests"] for of in self.faults.counts().values()), 1, "reset forgets")

    def test_of_its_certificates_one_is_good(self):
        context = ssl.create_default_context(cafile=str(self.faults.ca))
        self.assertEqual(ask(self.faults, "PUT", f"{LAB}/a", b"x", port="https", context=context)[0], 201)
        for port, code in (("https-wrong-name", 64), ("https-expired", 10), ("https-stranger", 20)):
            with self.subTest(port=port), self.assertRaises(ssl.SSLCertVerificationError) as caught:
                ask(self.faults, "PUT", f"{LAB}/a", b"x", port=port, context=context)
            self.assertEqual(caught.exception.verify_code, code)
        with self.assertRaises(ssl.SSLCertVerificationError):
            ask(self.faults, "PUT", f"{LAB}/a", b"x", port="https", context=ssl.create_default_context())

    def test_it_is_a_proxy_for_hosts_that_do_not_exist(self):
        self.assertEqual(ask(self.faults, "PUT", f"http://nowhere.invalid{LAB}/a", b"x")[0], 201)
        record = self.faults.requests()[-1]
        self.assertEqual((record["proxied"], record["op"], record["blob"]), (True, "PutBlob", "a"))
        context = ssl.create_default_context(cafile=str(self.faults.ca))
        connection = http.client.HTTPSConnection("127.0.0.1", self.faults.ready["http"], context=context,
                                                 timeout=azurite.PATIENCE)
        self.addCleanup(connection.close)
        connection.set_tunnel("store.test", 443)
        connection.request("PUT", f"{LAB}/a", b"x")
        self.assertEqual(connection.getresponse().status, 201)
        self.assertEqual(self.faults.requests(op="Connect")[0]["target"], "store.test:443")

    def test_rules_that_are_none_are_refused(self):
        for rule in ({"match": {"opp": "PutBlob"}, "do": {"lose": True}}, {"match": {"op": "PutBlob"}}):
            with self.assertRaises(AssertionError):
                self.faults.rules(rule)

    def test_it_ends_with_who_started_it(self):
        program = os.path.join(os.path.dirname(__file__), "..", "support", "fault_server.py")
        process = subprocess.Popen([sys.executable, "-B", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertIn(b'"control"', process.stdout.readline())
        process.stdin.close()
        self.assertEqual(process.wait(azurite.PATIENCE), 0)
        process.stdout.close()


class RulesOnPaper(unittest.TestCase):
    @staticmethod
    def request(blob="blob", block="A"):
        return BlobRequest("PUT", f"{LAB}/{blob}?comp=block&blockid={block}", [])

    def fired(self, match, requests, **more):
        rules = Rules([{"match": match, "do": {"lose": True}}], **more)
        return [number for number, request in enumerate(requests, 1) if rules.decide(request)[1]]

    def test_when_a_rule_fires(self):
        ten = [self.request() for _ in range(10)]
        self.assertEqual(self.fired({"nth": [1, 3]}, ten), [1, 3])
        self.assertEqual(self.fired({"every": 4}, ten), [4, 8])
        self.assertEqual(self.fired({"most": 2}, ten), [1, 2])
        self.assertEqual(self.fired({"op": "PutBlob"}, ten), [])
        self.assertEqual(self.fired({"op": ["PutBlob", "PutB*"], "per-key": 1},
                                    [self.request(block=block) for block in "AABBA"]), [1, 3])
        self.assertEqual(self.fired({"blob": "b.*", "container": "lab"}, [self.request("a"), self.request("b/c")]), [2])
        self.assertEqual(self.fired({}, [self.request(block=block) for block in "AAAB"], most_per_key=2), [1, 2, 4])

    def test_chance_is_the_seed_s_whatever_else_goes_on(self):
        number = seed().randrange(10**6)
        requests = [self.request(block=str(block)) for block in range(2000)]
        forward = self.fired({"chance": 0.1}, requests, seed=number)
        backward = self.fired({"chance": 0.1}, requests[::-1], seed=number)
        self.assertEqual(forward, sorted(2001 - place for place in backward))
        self.assertNotEqual(forward, self.fired({"chance": 0.1}, requests, seed=number + 1))
        self.assertTrue(100 < len(forward) < 300, len(forward))

    def test_operations_have_their_documented_names(self):
        def name(method, target, **headers):
            return BlobRequest(method, target, [(key.replace("_", "-"), value) for key, value in headers.items()]).operation

        blob = f"{LAB}/a%20b/c"
        for expected, found in (
                ("PutBlob", name("PUT", blob)), ("CopyBlob", name("PUT", blob, x_ms_copy_source="http://x")),
                ("PutBlockList", name("PUT", blob + "?comp=blocklist")), ("GetBlockList", name("GET", blob + "?comp=blocklist")),
                ("PutPage", name("PUT", blob + "?comp=page", x_ms_page_write="update")),
                ("ClearPage", name("PUT", blob + "?comp=page", x_ms_page_write="clear")),
                ("GetPageRanges", name("GET", blob + "?comp=pagelist")), ("GetBlobProperties", name("HEAD", blob)),
                ("ListBlobs", name("GET", LAB + "?restype=container&comp=list")),
                ("CreateContainer", name("PUT", LAB + "?restype=container")),
                ("GetAccountInformation", name("GET", "/devstoreaccount1/?restype=account&comp=properties"))):
            self.assertEqual(found, expected)
        self.assertEqual(BlobRequest("GET", blob, []).blob, "a b/c")

    def test_crc64_is_the_published_one(self):
        self.assertEqual(blob_request.crc64(b"123456789"), 0xAE8B14860A799888)
        self.assertEqual(blob_request.content_crc64(b"Hello World"), "YeJLfssylmU=")
        body = seed().randbytes(1003)
        table = blob_request._crc64_table()
        value = (1 << 64) - 1
        for byte in body:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        self.assertEqual(blob_request.crc64(body), value ^ ((1 << 64) - 1), "by tables in C, where they are built")
        self.assertTrue(blob_request._quick_crc64(), "the tests are built, so it is there")


class InFrontOfTheEmulator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.azurite = Azurite(accounts=3)
        cls.addClassCleanup(cls.azurite.stop)
        cls.faults = Faults(cls.azurite.url)
        cls.addClassCleanup(cls.faults.stop)

    def setUp(self):
        self.faults.reset()
        self.service = azurite.service(self.faults.url)
        self.addCleanup(self.service.close)
        self.container = self.service.get_container_client(f"c-{time.monotonic_ns()}")
        self.container.create_container()
        self.faults.reset()

    def test_the_sdk_works_through_it_and_accounts_are_apart(self):
        blob = self.container.get_blob_client("dir/\u00fc 1.txt")
        content = os.urandom(5_000_000)
        blob.upload_blob(content, metadata={"a": "b"})
        self.assertEqual(blob.download_blob().readall(), content)
        with self.azurite.service() as service:
            direct = service.get_blob_client(self.container.container_name, "dir/\u00fc 1.txt")
            self.assertEqual(direct.get_blob_properties().metadata, {"a": "b"})
        with self.azurite.service("lab0002") as service:
            self.assertEqual([container.name for container in service.list_containers()], [])
        self.assertEqual(self.faults.counts()["PutBlob"]["received"], 5_000_000)

    def test_a_lost_answer_is_of_something_done(self):
        blob = self.container.get_blob_client("lost")
        self.faults.rule("PutBlob", {"lose": True}, nth=[1])
        with self.assertRaises((ServiceRequestError, ServiceResponseError)):
            blob.upload_blob(b"there", overwrite=True)
        self.assertEqual(blob.download_blob().readall(), b"there")
        self.faults.rule("PutBlockList", {"answer": "internal", "forward": True})
        blob.stage_block("aaa", b"later")
        with self.assertRaises(HttpResponseError):
            blob.commit_block_list(["aaa"])
        self.assertEqual(blob.download_blob().readall(), b"later")

    def test_what_is_cut_before_the_answer_is_not_done(self):
        blob = self.container.get_blob_client("none")
        self.faults.rule("PutBlob", {"cut": "before-answer"}, nth=[1])
        with self.assertRaises((ServiceRequestError, ServiceResponseError)):
            blob.upload_blob(b"not there", overwrite=True)
        self.assertFalse(blob.exists())

    def test_reads_are_altered(self):
        blob = self.container.get_blob_client("read")
        blob.upload_blob(b"0123456789")
        self.faults.rule("GetBlob", {"flip": True})
        self.assertNotEqual(blob.download_blob().readall(), b"0123456789")

    def signed(self, method, target, body=b"", **headers):
        headers = [("x-ms-version", "2021-12-02"), ("x-ms-date", email.utils.formatdate(usegmt=True)),
                   ("Content-Length", str(len(body))),
                   *((name.replace("_", "-"), value) for name, value in headers.items())]
        request = BlobRequest(method, target, headers)
        return ask(self.faults, method, target, body, dict(headers, Authorization=request.signature(KEY)))

    def test_crc64_is_checked_here_and_the_emulator_does_not_see_it(self):
        target = f"/devstoreaccount1/{self.container.container_name}/crc"
        put = {"x_ms_blob_type": "BlockBlob", "Content_Type": "text/plain"}
        status, headers, body = self.signed("PUT", target, b"sum", x_ms_content_crc64=blob_request.content_crc64(b"sum"), **put)
        self.assertEqual(status, 201, body)
        self.assertEqual(headers["x-ms-content-crc64"], blob_request.content_crc64(b"sum"))
        self.assertEqual(self.signed("PUT", target, b"sum", x_ms_content_crc64=blob_request.content_crc64(b"mus"), **put)[0], 400)
        status, headers, body = self.signed("GET", target, x_ms_range="bytes=1-2", x_ms_range_get_content_crc64="true")
        self.assertEqual((status, body, headers["x-ms-content-crc64"]), (206, b"um", blob_request.content_crc64(b"um")))
        # A signature that was none is not made good.
        status, _, _ = ask(self.faults, "PUT", target, b"sum", {
            "x-ms-version": "2021-12-02", "x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-blob-type": "BlockBlob",
            "x-ms-content-crc64": blob_request.content_crc64(b"sum"),
            "Authorization": "SharedKey devstoreaccount1:AAAA"})
        self.assertEqual(status, 403)

    def test_the_mild_rules_hit_everything_and_repeated_requests_get_through(self):
        number = seed().randrange(10**6)
        self.faults.mild(number)
        blob = self.container.get_blob_client("mild")
        refused = 0
        for block in range(200):
            for attempt in range(3):
                try:
                    blob.stage_block(f"{block:05}", b"x" * 100)
                    break
                except (HttpResponseError, ServiceRequestError, ServiceResponseError):
                    refused += 1
                    self.assertLess(attempt, 2, "two faults for one piece of work are the most")
        names = {record["rule"] for record in self.faults.requests() if record["rule"]}
        self.assertGreater(refused, 0)
        self.assertLessEqual(names, {rule["name"] for rule in mild()})
        self.assertGreaterEqual(len(names), 3)

    def test_block_ids_of_any_bytes_can_be_seen(self):
        target = f"/devstoreaccount1/{self.container.container_name}/ids?comp=block&blockid=%2F%2F%2F%2Fgg%3D%3D"
        self.assertEqual(self.signed("PUT", target, b"abc", Content_Type="x/y")[0], 201)
        self.assertEqual(azurite.block_ids(self.container.get_blob_client("ids")), ([], [("////gg==", 3)]))

    def test_sas_of_every_kind_is_believed_and_one_that_has_expired_is_not(self):
        from azure.storage.blob import BlobServiceClient

        name = self.container.container_name
        for sas, works in ((azurite.account_sas(), True), (azurite.container_sas(name), True),
                           (azurite.account_sas(seconds=-60), False), (azurite.container_sas(name, "r"), False)):
            service = BlobServiceClient(self.faults.endpoint(), credential=sas, retry_total=0)
            self.addCleanup(service.close)
            blob = service.get_blob_client(name, "sas")
            if works:
                blob.upload_blob(b"x", overwrite=True)
            else:
                with self.assertRaises(HttpResponseError):
                    blob.upload_blob(b"x", overwrite=True)


if __name__ == "__main__":
    unittest.main()
