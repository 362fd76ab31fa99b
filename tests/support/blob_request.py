# SPDX-License-Identifier: Apache-2.0
"""What a request to the blob service asks for, and the service's own checks, written from the description of the
protocol alone: the judges' side of it."""

import base64
import ctypes
import functools
import hashlib
import hmac
import os
import pathlib
import urllib.parse

# (method, comp, restype) -> the name in the service's documentation; None: whatever it is.
CONTAINER_OPERATIONS = {
    ("PUT", ""): "CreateContainer",
    ("DELETE", ""): "DeleteContainer",
    ("HEAD", ""): "GetContainerProperties",
    ("GET", ""): "GetContainerProperties",
    ("GET", "list"): "ListBlobs",
    ("PUT", "lease"): "LeaseContainer",
    ("PUT", "metadata"): "SetContainerMetadata",
    ("GET", "acl"): "GetContainerAcl",
    ("PUT", "acl"): "SetContainerAcl",
}
BLOB_OPERATIONS = {
    ("PUT", "block"): "PutBlock",
    ("PUT", "blocklist"): "PutBlockList",
    ("GET", "blocklist"): "GetBlockList",
    ("GET", "pagelist"): "GetPageRanges",
    ("PUT", "metadata"): "SetBlobMetadata",
    ("HEAD", "metadata"): "GetBlobMetadata",
    ("GET", "metadata"): "GetBlobMetadata",
    ("PUT", "properties"): "SetBlobProperties",
    ("PUT", "lease"): "LeaseBlob",
    ("PUT", "snapshot"): "SnapshotBlob",
    ("PUT", "copy"): "AbortCopyBlob",
    ("PUT", "tier"): "SetBlobTier",
    ("GET", ""): "GetBlob",
    ("HEAD", ""): "GetBlobProperties",
    ("DELETE", ""): "DeleteBlob",
}


class BlobRequest:
    """Path style: /ACCOUNT/CONTAINER/BLOB. `headers`: list of (name, value) as they came."""

    def __init__(self, method, target, headers):
        self.method, self.target = method, target
        self.headers = headers
        path, _, query = target.partition("?")
        self.path = path
        self.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        parts = path.lstrip("/").split("/", 2) + ["", "", ""]
        self.account, self.container, self.blob = (urllib.parse.unquote(part) for part in parts[:3])
        self.block = self.parameter("blockid")
        self.operation = self._operation()

    def parameter(self, name):
        return self.query.get(name, [""])[0]

    def header(self, name, otherwise=""):
        return next((value for key, value in self.headers if key.lower() == name), otherwise)

    @property
    def key(self):
        """What tells one piece of work from another: the same request sent again has the same key."""
        return f"{self.operation} {self.account}/{self.container}/{self.blob} {self.block}{self.header('x-ms-range')}"

    def _operation(self):
        comp = self.parameter("comp")
        if not self.container:
            if self.parameter("restype") == "account":
                return "GetAccountInformation"
            return {"list": "ListContainers", "properties": "GetServiceProperties"}.get(comp, "Unknown")
        if not self.blob:
            return CONTAINER_OPERATIONS.get((self.method, comp), "Unknown")
        if self.method == "PUT" and comp == "page":
            return "ClearPage" if self.header("x-ms-page-write").lower() == "clear" else "PutPage"
        if self.method == "PUT" and not comp:
            return "CopyBlob" if self.header("x-ms-copy-source") else "PutBlob"
        return BLOB_OPERATIONS.get((self.method, comp), "Unknown")

    # -- SharedKey

    def string_to_sign(self):
        length = self.header("content-length")
        lines = [self.method, self.header("content-encoding"), self.header("content-language"),
                 "" if length == "0" else length]
        lines += [self.header(name) for name in ("content-md5", "content-type", "date", "if-modified-since", "if-match",
                                                 "if-none-match", "if-unmodified-since", "range")]
        own = sorted((name.lower(), value.strip()) for name, value in self.headers if name.lower().startswith("x-ms-"))
        resource = f"/{self.account}{self.path}"
        for name in sorted(self.query, key=str.lower):
            resource += f"\n{name.lower()}:{','.join(sorted(self.query[name]))}"
        return "\n".join(lines) + "\n" + "".join(f"{name}:{value}\n" for name, value in own) + resource

    def signature(self, key):
        digest = hmac.new(base64.b64decode(key), self.string_to_sign().encode(), hashlib.sha256).digest()
        return f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"

    def is_signed_with(self, key):
        return hmac.compare_digest(self.header("authorization"), self.signature(key))

    def without(self, names, key):
        """The same request without some headers, signed anew where it was signed well."""
        headers = [(name, value) for name, value in self.headers if name.lower() not in names]
        changed = BlobRequest(self.method, self.target, headers)
        if key and self.is_signed_with(key):
            changed.headers = [(name, changed.signature(key) if name.lower() == "authorization" else value)
                               for name, value in headers]
        return changed


# -- hashes


def content_md5(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def content_crc64(body):
    """As in x-ms-content-crc64: the value's bytes little-endian."""
    return base64.b64encode(crc64(body).to_bytes(8, "little")).decode()


def crc64(body):
    """CRC-64/NVME, from the polynomial alone."""
    quick = _quick_crc64()
    if quick is not None:
        body = bytes(body)
        return quick(body, len(body))
    value = (1 << 64) - 1
    table = _crc64_table()
    for byte in body:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ ((1 << 64) - 1)


@functools.cache
def _crc64_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
        table.append(value)
    return table


@functools.cache
def _quick_crc64():
    """The same in C (crc64_judge.cpp), where the tests were built: Python takes seconds for a block."""
    library = pathlib.Path(os.environ.get("DRAY_BIN", "/nowhere")) / "tests" / "crc64_judge.so"
    if not library.exists():
        return None
    function = ctypes.CDLL(str(library)).crc64_judge
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return function
