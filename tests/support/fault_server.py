#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A server in front of a blob service that does what services and networks do on bad days, on command and by seed.

    fault_server.py [--backend URL] [--seed N] [--mild]

Without a back end it is a sink: it reads bodies, looks at their hashes and answers 201. What it can do is said in
fault_rules.py. One line of JSON says when it is ready: {"http", "https", "https-wrong-name", "https-expired",
"https-stranger", "control", "ca"}; it ends with its standard input. It is a proxy too, for absolute addresses and
CONNECT, whatever host they name. The control port takes and gives JSON:

    POST /rules {"rules": [...], "seed"?, "most-per-key"?}   replaces them all; requests that were held go on
    POST /mild {"seed"?}           the rules that a store must bear without anybody noticing
    POST /outage {"kind": "refuse" | "reset" | "hang" | "busy" | null}
    POST /mode {"crc64": "check" | "unsupported", "headers": true | false}     headers (and queries) are kept
    POST /reset                    no rules, no outage, nothing seen
    GET /counts, GET /requests     what was seen (Seen in fault_rules.py)
    POST /wait {"match": {...}, "count": n, "seconds": s}    until so many requests of that kind have come

It is stricter than the emulator: it checks Content-MD5 and x-ms-content-crc64 wherever they may stand, and refuses both
at once and blocks without content.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import ssl
import sys
import tempfile
import urllib.parse

sys.path.insert(0, os.path.dirname(__file__))
import certificates  # noqa: E402
from azurite import KEY  # noqa: E402
from blob_request import BlobRequest, content_crc64, content_md5  # noqa: E402
from fault_copies import Copies  # noqa: E402
from fault_rules import Rules, Seen, http_date, made_answer, mild  # noqa: E402

CHUNK = 256 * 1024
CRC_HEADERS = ("x-ms-content-crc64", "x-ms-range-get-content-crc64")
# What a sink has.
EMPTY = {"ListContainers": b"<EnumerationResults><Containers/><NextMarker/></EnumerationResults>",
         "ListBlobs": b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>",
         "GetBlockList": b"<BlockList><CommittedBlocks/><UncommittedBlocks/></BlockList>"}
HOP_HEADERS = ("connection", "keep-alive", "transfer-encoding", "proxy-connection", "proxy-authorization")


class Cut(Exception):
    """The connection is closed here and now."""


class Closed(Exception):
    """The other side has closed the connection, or broke off."""


async def read_head(reader):
    """(first line, headers), or None at the connection's orderly end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise Closed from error
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    return first, headers


def header(headers, name, otherwise=""):
    return next((value for key, value in headers if key.lower() == name), otherwise)


async def read_body(reader, headers, until_close=False, most=None):
    """The body that the headers announce; `most`: no more than so many bytes of it."""
    body = bytearray()
    if "chunked" in header(headers, "transfer-encoding").lower():
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return body
    length = header(headers, "content-length")
    left = int(length) if length else (1 << 62 if until_close else 0)
    if most is not None:
        left = min(left, most)
    while left > 0:
        part = await reader.read(min(left, CHUNK))
        if not part:
            if length:
                raise Closed
            break
        body += part
        left -= len(part)
    return body


class BackEnd:
    """One client's connection to the service behind."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.reader = self.writer = None

    async def ask(self, request, body):
        """(status, reason, headers, body). The service closes connections that were idle: then on a new one."""
        while True:
            is_fresh = self.writer is None
            if is_fresh:
                self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=1 << 20)
            try:
                return await self._ask(request, body)
            except (Closed, ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if is_fresh:
                    raise

    async def _ask(self, request, body):
        lines = [f"{request.method} {request.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers
                  if name.lower() not in (*HOP_HEADERS, "expect", "content-length")]
        if body or request.method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.writer.write(bytes(body))
        await self.writer.drain()
        while True:
            answer = await read_head(self.reader)
            if answer is None:
                raise Closed
            first, headers = answer
            status = int(first.split()[1])
            if status >= 200:
                break
        has_body = request.method != "HEAD" and status not in (204, 304)
        content = await read_body(self.reader, headers, until_close=True) if has_body else b""
        if header(headers, "connection").lower() == "close":
            self.close()
        return status, headers, content

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class FaultServer:
    def __init__(self, backend, seed):
        self.backend = backend
        self.seed = seed
        self.rules = Rules(seed=seed)
        self.seen = Seen()
        self.copies = Copies()
        self.outage = None
        self.crc64 = "check"
        self.with_headers = False
        # Replaced and set whenever something changes that somebody may be waiting for.
        self.changed = asyncio.Event()
        self.released = asyncio.Event()
        self.outage_over = asyncio.Event()
        self.connections = set()
        self.listeners = []

    def has_changed(self):
        self.changed.set()
        self.changed = asyncio.Event()

    def release(self):
        self.released.set()
        self.released = asyncio.Event()

    # -- connections

    async def listen(self, port=0, context=None):
        server = await asyncio.start_server(self.serve, "127.0.0.1", port, limit=1 << 20, ssl=context, backlog=1024)
        found = server.sockets[0].getsockname()[1]
        self.listeners.append([server, found, context])
        return found

    async def serve(self, reader, writer):
        self.connections.add(writer)
        back_end = BackEnd(self.backend) if self.backend else None
        try:
            if self.outage in ("reset", "refuse"):
                raise Cut
            while await self.serve_one(reader, writer, back_end):
                pass
        except Cut:
            writer.transport.abort()
        except (Closed, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            self.connections.discard(writer)
            if back_end is not None:
                back_end.close()
            with contextlib.suppress(Exception):
                writer.close()

    async def serve_one(self, reader, writer, back_end):
        head = await read_head(reader)
        if head is None:
            return False
        first, headers = head
        method, target, _ = (first.split(" ") + ["", ""])[:3]
        if method == "CONNECT":
            await self.tunnel(reader, writer, target)
            return False
        proxied = target.startswith("http://")
        if proxied:
            target = "/" + target.split("/", 3)[3]
        request = BlobRequest(method, target, headers)
        record = self.seen.add(request, proxied=proxied)
        if self.with_headers:
            record["headers"] = headers
            record["query"] = {name: values[0] for name, values in request.query.items()}
        if self.outage is None:
            record["rule"], do = self.rules.decide(request)
        else:
            record["rule"], do = "outage", {"busy": {"answer": "server-busy"}, "hang": {"stall": True}}.get(
                self.outage, {"cut": "before-body"})
        self.has_changed()
        if do.get("hold"):
            await self.released.wait()
            do = {}
        cut = do.get("cut")
        if cut == "before-body":
            raise Cut
        if header(headers, "expect").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if cut == "in-body":
            length = record["length"]
            body = await read_body(reader, headers, most=do.get("at", length // 2))
            record["received"] = len(body)
            raise Cut
        body = await read_body(reader, headers)
        record["received"] = len(body)
        if do.get("stall"):
            # Until the client gives up, or the outage is over.
            await self.outage_over.wait()
            raise Cut
        status, headers, content = await self.answer(request, body, do, back_end, record)
        record["status"] = status
        if do.get("delay"):
            await asyncio.sleep(do["delay"])
        if do.get("lose") or cut == "before-answer":
            record["status"] = 0
            self.has_changed()
            raise Cut
        await self.send(writer, request, status, headers, content, do, record)
        self.has_changed()
        return header(request.headers, "connection").lower() != "close"

    async def tunnel(self, reader, writer, target):
        """CONNECT, whatever the host: to the port with the good certificate."""
        self.seen.add(BlobRequest("CONNECT", "/", []), proxied=True, target=target, op="Connect")
        self.has_changed()
        if self.outage is not None:
            raise Cut
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.ports["https"])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pass_on(source, target):
            with contextlib.suppress(ConnectionError):
                while part := await source.read(CHUNK):
                    target.write(part)
                    await target.drain()
            with contextlib.suppress(Exception):
                target.close()

        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))

    # -- answers

    async def answer(self, request, body, do, back_end, record):
        refused = self.refusal(request, body)
        if refused is not None:
            return made_answer(refused)
        is_kept_away = "answer" in do and not do.get("forward") or do.get("cut") == "before-answer"
        if is_kept_away or "huge" in do or "endless" in do:
            if "huge" in do:
                return 200, [("Content-Type", "application/xml")], self.huge(do["huge"])
            if "answer" in do:
                return made_answer(do)
            return 200, [("Content-Type", "application/xml")], b""
        if "copy" in do:
            return await self.copies.begin(request, do["copy"], lambda: self.forward(request, body, back_end))
        if (said := self.copies.answer(request)) is not None:
            return said
        record["forwarded"] = True
        status, headers, content = await self.forward(request, body, back_end)
        headers = self.copies.mark(request, headers)
        if "answer" in do:
            return made_answer(do)
        return status, headers, content

    async def forward(self, request, body, back_end):
        crc = request.header("x-ms-content-crc64")
        wants_crc = request.header("x-ms-range-get-content-crc64").lower() == "true"
        if back_end is None:
            headers = [("ETag", '"0x8DSINK"'), ("Last-Modified", http_date()), ("x-ms-request-id", "sink"),
                       ("Date", http_date())]
            status, content = {"PUT": (201, b""), "DELETE": (202, b"")}.get(request.method, (404, b""))
            if request.operation == "GetContainerProperties":
                status = 200
            elif request.operation in EMPTY:
                status, content = 200, EMPTY[request.operation]
                headers.append(("Content-Type", "application/xml"))
            if status == 404:
                return made_answer({"answer": 404, "code": "BlobNotFound", "message": "The specified blob does not exist."})
        else:
            if crc or wants_crc:
                request = request.without(CRC_HEADERS, KEY)
            status, headers, content = await back_end.ask(request, body)
        if crc and status < 300:
            headers = [*headers, ("x-ms-content-crc64", crc)]
        if wants_crc and status in (200, 206):
            headers = [*headers, ("x-ms-content-crc64", content_crc64(content))]
        return status, headers, content

    def refusal(self, request, body):
        """What the service refuses and the emulator may not; None: nothing."""
        if request.method != "PUT":
            return None
        md5, crc = request.header("content-md5"), request.header("x-ms-content-crc64")
        if crc and self.crc64 == "unsupported":
            return {"answer": "unsupported"}
        if md5 and crc:
            return {"answer": 400, "code": "InvalidHeaderValue", "message": "Both Content-MD5 and x-ms-content-crc64 are given."}
        if md5 and md5 != content_md5(body):
            return {"answer": "md5"}
        if crc and crc != content_crc64(body):
            return {"answer": "crc64"}
        if request.operation in ("PutBlock", "PutPage") and not body:
            return {"answer": 400, "code": "InvalidHeaderValue", "message": "Content-Length must not be 0."}
        return None

    @staticmethod
    def huge(size):
        start, end = b'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>', b"</Blobs></EnumerationResults>"
        return start + b" " * (size - len(start) - len(end)) + end

    async def send(self, writer, request, status, headers, content, do, record):
        content = bytearray(content)
        if do.get("flip") and content:
            content[len(content) // 2] ^= 0x40
        if do.get("wrong-md5"):
            headers = [(name, value) for name, value in headers if name.lower() != "content-md5"]
            headers.append(("Content-MD5", content_md5(b"another")))
        # The length that HEAD announces is the blob's.
        length = int(header(headers, "content-length") or 0) if request.method == "HEAD" else len(content)
        length = 1 << 50 if do.get("endless") else length + do.get("length-off", 0)
        headers = [(name, value) for name, value in headers
                   if name.lower() not in (*HOP_HEADERS, "content-length")]
        if status not in (204, 304):
            headers.append(("Content-Length", str(length)))
        lines = [f"HTTP/1.1 {status} {'OK' if status < 300 else 'No'}", *(f"{name}: {value}" for name, value in headers)]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if request.method == "HEAD":
            content = bytearray()
        cut = do.get("cut")
        if cut in ("after-headers", "in-answer"):
            writer.write(bytes(content[: do.get("at", len(content) // 2) if cut == "in-answer" else 0]))
            await writer.drain()
            # The end of the stream, in order: what was sent arrives.
            writer.close()
            raise Closed
        step = do.get("trickle", {"bytes": CHUNK, "seconds": 0})
        for start in range(0, len(content), step["bytes"]):
            writer.write(bytes(content[start : start + step["bytes"]]))
            await writer.drain()
            record["sent"] += min(step["bytes"], len(content) - start)
            if step["seconds"]:
                await asyncio.sleep(step["seconds"])
        while do.get("endless"):
            writer.write(b"<!-- -->" * 8192)
            await writer.drain()
            record["sent"] += 65536
        await writer.drain()
        if do.get("length-off"):
            writer.close()
            raise Closed

    # -- control

    async def set_outage(self, kind):
        if kind not in (None, "refuse", "reset", "hang", "busy"):
            raise ValueError(f"no such outage: {kind}")
        was = self.outage
        self.outage = kind
        if kind in ("refuse", "reset"):
            for writer in list(self.connections):
                writer.transport.abort()
        if kind == "refuse" and was != "refuse":
            for entry in self.listeners:
                entry[0].close()
                await entry[0].wait_closed()
        if kind != "refuse" and was == "refuse":
            for entry in self.listeners:
                entry[0] = await asyncio.start_server(self.serve, "127.0.0.1", entry[1], limit=1 << 20, ssl=entry[2],
                                                      backlog=1024)
        if kind is None:
            self.outage_over.set()
            self.outage_over = asyncio.Event()

    async def wait(self, asked):
        def count():
            return sum(1 for record in self.seen.records if self.is_like(record, asked["match"]))

        end = asyncio.get_running_loop().time() + asked.get("seconds", 60)
        while count() < asked.get("count", 1):
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                raise TimeoutError(f"{count()} requests like {asked['match']}, not {asked.get('count', 1)}")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.changed.wait(), left)
        return {"count": count()}

    @staticmethod
    def is_like(record, match):
        """A record has these values; `answered`: it has (not) got an answer."""
        return all((record["status"] != 0) == value if name == "answered" else record.get(name) == value
                   for name, value in match.items())

    async def command(self, method, path, asked):
        if path == "/rules":
            self.rules = Rules(asked["rules"], asked.get("seed", self.seed), asked.get("most-per-key"))
            self.release()
        elif path == "/mild":
            self.rules = Rules(mild(), asked.get("seed", self.seed), most_per_key=2)
            self.release()
        elif path == "/outage":
            await self.set_outage(asked.get("kind"))
        elif path == "/mode":
            self.crc64 = asked.get("crc64", self.crc64)
            self.with_headers = asked.get("headers", self.with_headers)
        elif path == "/reset":
            self.rules = Rules(seed=self.seed)
            self.crc64, self.with_headers = "check", False
            self.release()
            await self.set_outage(None)
            self.seen = Seen()
            self.copies = Copies()
        elif path == "/counts":
            return self.seen.counts()
        elif path == "/requests":
            return self.seen.records
        elif path == "/wait":
            return await self.wait(asked)
        else:
            raise ValueError(f"no such command: {path}")
        return {}

    async def control(self, reader, writer):
        try:
            while head := await read_head(reader):
                first, headers = head
                method, path, _ = first.split(" ")
                body = await read_body(reader, headers)
                status = 200
                try:
                    said = await self.command(method, path, json.loads(body or b"{}"))
                except (ValueError, KeyError, TypeError, TimeoutError) as error:
                    status, said = 400, {"error": f"{type(error).__name__}: {error}"}
                text = json.dumps(said).encode()
                writer.write(f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n"
                             f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
                await writer.drain()
                if header(headers, "connection").lower() == "close":
                    break
        except (Closed, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run(self, directory):
        made = certificates.make(directory)
        self.ports = {"http": await self.listen()}
        for kind, name in (("good", "https"), ("wrong-name", "https-wrong-name"), ("expired", "https-expired"),
                           ("stranger", "https-stranger")):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(made[kind])
            self.ports[name] = await self.listen(context=context)
        control = await asyncio.start_server(self.control, "127.0.0.1", 0, limit=1 << 24)
        said = {**self.ports, "control": control.sockets[0].getsockname()[1], "ca": str(made["ca"]), "seed": self.seed}
        print(json.dumps(said), flush=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.buffer.read)
        # What still stands is of no more use to anybody.
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mild", action="store_true")
    options = parser.parse_args()

    async def begin():
        server = FaultServer(options.backend, options.seed)
        if options.mild:
            server.rules = Rules(mild(), options.seed, most_per_key=2)
        await server.run(tempfile.mkdtemp(prefix="dray-faults."))

    asyncio.run(begin())


if __name__ == "__main__":
    main()
