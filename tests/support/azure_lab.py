# SPDX-License-Identifier: Apache-2.0
"""A lab whose store is an account at Azurite, perhaps with the fault server before it; looked into through the official
SDK alone. One emulator and one fault server for a suite, an account for each lab."""

import atexit
import base64
import contextlib
import hashlib
import os
import pathlib
import urllib.parse

import azurite
from azurite import Azurite
from faults import Faults
from lab import Lab

ACCOUNTS = 100
LOGS = "waimportexport"

_running = {}


def emulator():
    if "azurite" not in _running:
        _running["azurite"] = Azurite(ACCOUNTS)
        atexit.register(_running["azurite"].stop)
        _running["accounts"] = iter(_running["azurite"].accounts)
    return _running["azurite"]


def fault_server():
    """In front of the emulator, as after its start: without rules."""
    if "faults" not in _running:
        _running["faults"] = Faults(emulator().url)
        atexit.register(_running["faults"].stop)
    _running["faults"].reset()
    return _running["faults"]


class AzureLab(Lab):
    """`through`: the fault server (fault_server()), which `kind` of its ports and under which `host`. `options`: more of the
    store's settings, as in "outage: 5s". `credential`: the setting's value; None: the account's key, in a file. `keys`: the
    `keys` of the configuration."""

    store = "cloud"

    def __init__(self, through=None, kind="http", host="127.0.0.1", options="", credential=None, keys="", extra="", **more):
        super().__init__(extra=extra, **more)
        self.server = emulator()
        self.account = next(_running["accounts"])
        self.faults = through
        self.service = self.server.service(self.account)
        self.closing.callback(self.service.close)
        self.endpoint = (through.endpoint(kind, host, self.account) if through is not None
                         else self.server.endpoint_of(self.account))
        if credential is None:
            credential = self.secret("account-key", self.server.key)
        self.settings = {"type": "azure", "endpoint": self.endpoint, "account": self.account, "credential": credential}
        if self.endpoint.startswith("http:"):
            self.settings["allow-http"] = "true"
        self.keys = keys
        self._plain_config = self.config.read_text()
        self._options = options
        self.write_config()

    def write_config(self, **settings):
        """Anew, with other settings of the store; underscores stand for dashes, None takes one out."""
        self.settings.update({name.replace("_", "-"): value for name, value in settings.items()})
        words = [f"{name}: {value}" for name, value in self.settings.items() if value is not None]
        if self._options:
            words.append(self._options)
        vault = f"stores: {{vault: {{type: directory, path: {self.vault}}}"
        assert vault in self._plain_config
        self.config.write_text(self._plain_config.replace(vault, f"{vault}, cloud: {{{', '.join(words)}}}") + self.keys)

    def secret(self, name, content):
        """A file that drayd's user alone can read, written as an operator does: the new one moved over the old. Returns its
        path."""
        path = self.root / name
        new = azurite.key_file(self.root / f"{name}.new", content)
        self.give(new)
        new.rename(path)
        return path

    def give(self, path):
        if os.getuid() == 0:
            os.chown(path, self.uid, self.gid)

    # -- the store, through the SDK and past the fault server

    def containers(self):
        return sorted(container.name for container in self.service.list_containers())

    def listing(self, **more):
        """{container/name: what a listing says of it}."""
        found = {}
        for container in self.containers():
            client = self.service.get_container_client(container)
            for blob in client.list_blobs(include=["metadata", "uncommittedblobs", "snapshots", "copy"], **more):
                found[f"{container}/{blob.name}"] = blob
        return found

    def blob(self, path):
        """The SDK's client of container/name."""
        container, _, name = path.partition("/")
        return self.service.get_blob_client(container, name)

    def everything(self):
        uncommitted = self.uncommitted()
        return {path: self.blob(path).download_blob().readall() for path in self.listing() if path not in uncommitted}

    def uncommitted(self):
        """{container/name: blocks} of all that has uncommitted blocks."""
        found = {path: azurite.block_ids(self.blob(path))[1] for path, blob in self.listing().items()
                 if blob.blob_type == "BlockBlob"}
        return {path: blocks for path, blocks in found.items() if blocks}

    def leftovers(self):
        names = [path for path in self.listing() if path.partition("/")[2].startswith(".dray-")]
        return sorted({*names, *self.uncommitted()})

    def side(self):
        """What the service gives each blob by itself is left out: the type of content, the MD5 of what it got whole."""
        found = {}
        for path in self.listing():
            blob = self.blob(path).get_blob_properties()
            settings = blob.content_settings
            md5 = bytes(settings.content_md5 or b"")
            values = {"content-type": settings.content_type, "content-encoding": settings.content_encoding,
                      "content-language": settings.content_language, "cache-control": settings.cache_control}
            if values["content-type"] == "application/octet-stream":
                del values["content-type"]
            if md5 and md5 != hashlib.md5(self.blob(path).download_blob().readall()).digest():
                values["content-md5"] = base64.b64encode(md5).decode()
            kind = {"BlockBlob": "block", "PageBlob": "page"}[blob.blob_type]
            found[path] = (kind, dict(blob.metadata), {name: value for name, value in values.items() if value})
        return found

    def path_of(self, uri):
        assert uri.startswith(self.endpoint + "/"), uri
        return urllib.parse.unquote(uri[len(self.endpoint) + 1 :])

    def file_of(self, uri):
        return self._download(self.path_of(uri))

    def _download(self, path):
        place = pathlib.Path(self.root, "downloads", path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.blob(path).download_blob().readall())
        return place

    def logs(self, job, kind="error"):
        return [self._download(path) for path in sorted(self.listing())
                if path.startswith(f"{LOGS}/waies/{job}_") and path.endswith(f"_{kind}.xml")]

    @contextlib.contextmanager
    def forbidden(self, name):
        """By the fault server: the emulator knows no such rights."""
        self.faults.rules({"match": {"container": name}, "do": {"answer": "no-permission"}})
        try:
            yield
        finally:
            self.faults.rules()

    @contextlib.contextmanager
    def held_store(self):
        """Whatever would publish a blob waits at the fault server."""
        self.faults.rules({"match": {"op": ["PutBlob", "PutBlockList", "CopyBlob"]}, "do": {"hold": True}})
        try:
            yield self.faults.rules
        finally:
            self.faults.rules()


def on_azure(through=False, **settings):
    """What makes a lab, for suites that are written for any."""
    def make(**more):
        return AzureLab(through=fault_server() if through else None, **{**settings, **more})
    return staticmethod(make)
