# SPDX-License-Identifier: Apache-2.0
"""The fault server as a process of a test, and what one can say to it."""

import http.client
import json
import os
import pathlib
import subprocess
import sys

from azurite import ACCOUNT, PATIENCE


class Faults:
    """`backend`: the URL of the service behind it; none: a sink."""

    def __init__(self, backend="", seed=0):
        command = [sys.executable, "-B", os.path.join(os.path.dirname(__file__), "fault_server.py"), "--backend", backend,
                   "--seed", str(seed)]
        self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the fault server did not come up")
        self.ready = json.loads(line)
        self.url = f"http://127.0.0.1:{self.ready['http']}"
        self.ca = pathlib.Path(self.ready["ca"])

    def endpoint(self, kind="http", host="127.0.0.1", account=ACCOUNT):
        scheme = "http" if kind == "http" else "https"
        return f"{scheme}://{host}:{self.ready[kind]}/{account}"

    def command(self, method, path, said=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ready["control"], timeout=PATIENCE * 2)
        try:
            connection.request(method, path, json.dumps(said or {}))
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise AssertionError(found["error"])
        return found

    def rules(self, *rules, seed=None, most_per_key=None):
        said = {"rules": list(rules), "most-per-key": most_per_key}
        self.command("POST", "/rules", said if seed is None else {**said, "seed": seed})

    def rule(self, op, do, **match):
        """One rule alone; underscores stand for the dashes of its words."""
        self.rules({"match": {"op": op, **{name.replace("_", "-"): value for name, value in match.items()}}, "do": do})

    def mild(self, seed):
        self.command("POST", "/mild", {"seed": seed})

    def outage(self, kind):
        self.command("POST", "/outage", {"kind": kind})

    def mode(self, **said):
        self.command("POST", "/mode", said)

    def reset(self):
        self.command("POST", "/reset")

    def counts(self):
        return self.command("GET", "/counts")

    def requests(self, **like):
        return [record for record in self.command("GET", "/requests")
                if all(record.get(name) == value for name, value in like.items())]

    def wait(self, count=1, **match):
        return self.command("POST", "/wait", {"match": match, "count": count, "seconds": PATIENCE})

    def stop(self):
        self._process.stdin.close()
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
