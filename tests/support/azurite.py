#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Azurite, the emulator of the blob service, as a real server for the tests, and the official SDK to look into it.

As a program: azurite.py [--accounts N] prints one line of JSON ({"endpoint", "account", "key", "accounts"}) when the
server answers, and ends it when its own standard input ends.
"""

import argparse
import base64
import contextlib
import datetime
import json
import logging
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import threading
import time

# Where packaging/install-dependencies --tests puts it.
MAIN = "/var/cache/dray-tests/azurite/node_modules/azurite/dist/src/blob/main.js"
# The emulator's public account, the same everywhere.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
PATIENCE = float(os.environ.get("DRAY_TEST_PATIENCE", "120"))

# An answer without XML is one that the tests ask for.
logging.getLogger("azure").setLevel(logging.CRITICAL)

# Whatever proxy this machine has, it is not for what runs on it.
for _name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    for _variable in (_name, _name.upper()):
        os.environ.pop(_variable, None)


def account_names(count):
    """The accounts beside devstoreaccount1; all have its key."""
    return [f"lab{number:04}" for number in range(count)]


class Azurite:
    """One server with its content in memory. `accounts`: how many accounts there are beside devstoreaccount1.
    `certificate`: PEM with its key; the server then speaks TLS and takes tokens (token()) as well."""

    def __init__(self, accounts=0, certificate=None):
        self.account, self.key = ACCOUNT, KEY
        self.accounts = account_names(accounts)
        known = ";".join(f"{name}:{KEY}" for name in [ACCOUNT, *self.accounts])
        node = shutil.which("node")
        if node is None or not os.path.exists(MAIN):
            raise FileNotFoundError("no Azurite here: packaging/install-dependencies --tests brings it")
        self._lines = queue.Queue()
        self.said = []
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", node, MAIN, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--extentMemoryLimit",
             "2048", "--disableTelemetry", "--disableProductStyleUrl", "--silent",
             *(["--cert", str(certificate), "--key", str(certificate), "--oauth", "basic"] if certificate else [])],
            env={**os.environ, "AZURITE_ACCOUNTS": known, "TZ": "UTC"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.url = self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _wait_until_it_listens(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"Azurite does not come up: {self.said}") from None
            if line is None:
                raise RuntimeError(f"Azurite ended: {''.join(self.said)}")
            self.said.append(line)
            if found := re.search(r"successfully listens on (https?://\S+)", line):
                return found.group(1)

    @property
    def endpoint(self):
        return self.endpoint_of(self.account)

    def endpoint_of(self, account):
        return f"{self.url}/{account}"

    def service(self, account=None, **options):
        """The SDK's client of one account."""
        return service(self.url, account or self.account, **options)

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def service(url, account=ACCOUNT, **options):
    """The SDK's BlobServiceClient of one account behind any server: Azurite, or the fault server in front of it."""
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient(f"{url}/{account}", credential={"account_name": account, "account_key": KEY},
                             retry_total=0, **options)


def key_file(path, key=KEY):
    """What a store's `credential` names: a file for its owner's eyes. `key`: text or bytes."""
    path = pathlib.Path(path)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(key.encode() if isinstance(key, str) else key)
    return path


def account_sas(permission="rwdlacup", seconds=3600, account=ACCOUNT, start=None, protocol=None):
    """A SAS over the whole account. `seconds`: from now on; negative: it has expired."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    return generate_account_sas(account, KEY, ResourceTypes(service=True, container=True, object=True),
                                AccountSasPermissions.from_string(permission), expiry=_from_now(seconds), start=start,
                                protocol=protocol)


def token(seconds=3600):
    """A bearer token as the emulator takes it: it looks at everything but the signature. `seconds`: from now on."""
    def part(said):
        return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()

    now = int(time.time())
    claims = {"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
              "iat": now - 7200, "nbf": now - 7200, "exp": now + seconds, "oid": "test"}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{base64.urlsafe_b64encode(b'no signature').decode()}"


def container_sas(container, permission="rwdlac", seconds=3600, account=ACCOUNT):
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    return generate_container_sas(account, container, KEY, permission=ContainerSasPermissions.from_string(permission),
                                  expiry=_from_now(seconds))


def _from_now(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def block_ids(blob_client):
    """(committed, uncommitted) blocks of a blob as (id as it goes over the wire, size). A name without anything has none."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        # Beneath the SDK's own method, which reads ids as text: they may be any bytes.
        found = blob_client._client.block_blob.get_block_list(list_type="all")
    except ResourceNotFoundError:
        return [], []
    return tuple([(block.name, block.size) for block in blocks or []]
                 for blocks in (found.committed_blocks, found.uncommitted_blocks))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--accounts", type=int, default=0)
    options = parser.parse_args()
    with Azurite(options.accounts) as server:
        print(json.dumps({"endpoint": server.endpoint, "url": server.url, "account": server.account,
                          "key": server.key, "accounts": server.accounts}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
