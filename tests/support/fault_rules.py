# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, when: the rules of the fault server, and what it has seen.

A rule is {"match": {...}, "do": {...}, "name"?}. The first one that fires decides.

match (all that is given must hold):
  op          name or list of names of operations (blob_request.py); * at its end matches any rest
  account, container, blob   regular expressions that match the whole name
  nth         [1, 3]: the first and third of the requests that the rest matches
  every       n: each n-th of them
  chance      p: by the seed, the same for the same request whatever else goes on
  most        so often altogether, and no more
  per-key     so often for the same piece of work (operation, blob, block, range), and no more

do (one of these, besides what stands with it):
  answer      a word of ANSWERS or a status; with code, message, headers, body, retry-after (seconds),
              retry-after-date (seconds from now, sent as a date), retry-after-ms, date-off (seconds), forward (true: let
              the back end do it first), redirect (where to)
  cut         before-body, in-body, before-answer, after-headers, in-answer; at (bytes) for the in- ones
  lose        true: the back end does it, and the connection is closed without an answer
  hold        true: waits until the rules are replaced, then goes on as if nothing had been
  stall       true: never answers
  delay       seconds before the answer
  trickle     {"bytes": n, "seconds": s}: the answer's body in such steps
  flip        true: one byte of the answer's body is another
  wrong-md5   true: the answer's Content-MD5 is another's
  length-off  n: the answer's Content-Length is that much too large or (negative) too small
  endless     true: an answer without an end
  huge        n: an answer of n bytes of well-formed XML
  copy        {"ends": "success" or "failed", "looks": n}: a Copy Blob is pending for so many looks, then ends so
"""

import email.utils
import hashlib
import json
import re
import time

ANSWERS = {
    "server-busy": (503, "ServerBusy", "The server is currently unable to receive requests. Please retry your request."),
    "too-many": (429, "TooManyRequests", "Too many requests."),
    "internal": (500, "InternalError", "The server encountered an internal error. Please retry the request."),
    "timeout": (500, "OperationTimedOut", "The operation could not be completed within the permitted time."),
    "bad-gateway": (502, "", "<html><body><h1>502 Bad Gateway</h1></body></html>"),
    "gateway-timeout": (504, "", "<html><body><h1>504 Gateway Time-out</h1></body></html>"),
    "md5": (400, "Md5Mismatch", "The MD5 value specified in the request did not match the MD5 value calculated by the server."),
    "crc64": (400, "Crc64Mismatch", "The CRC64 value specified in the request did not match the value calculated by the server."),
    "key-refused": (403, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of "
                    "Authorization header is formed correctly including the signature."),
    "expired-sas": (403, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of "
                    "Authorization header is formed correctly including the signature."),
    "no-permission": (403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation "
                      "using this permission."),
    "no-container": (404, "ContainerNotFound", "The specified container does not exist."),
    "being-deleted": (409, "ContainerBeingDeleted", "The specified container is being deleted."),
    "unsupported": (500, "FeatureNotSupported", "Feature is not supported."),
}


def http_date(off=0.0):
    return email.utils.formatdate(time.time() + off, usegmt=True)


def xml_error(code, message, detail=""):
    return (f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}\n'
            f"RequestId:00000000-0000-0000-0000-000000000000\nTime:{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.0Z"
            f"</Message>{detail}</Error>").encode()


def made_answer(do):
    """(status, headers, body) of do["answer"]."""
    word = do["answer"]
    status, code, message = ANSWERS.get(word, (word, do.get("code", ""), do.get("message", "")))
    if not isinstance(status, int):
        raise ValueError(f"no such answer: {word}")
    code, message = do.get("code", code), do.get("message", message)
    headers = [("Server", "Fault-Server"), ("x-ms-request-id", "00000000-0000-0000-0000-000000000000")]
    detail = ""
    if word == "expired-sas":
        detail = ("<AuthenticationErrorDetail>Signature not valid in the specified time frame: Start [Thu, 01 Jan 2015 "
                  f"00:00:00 GMT] - Expiry [Fri, 02 Jan 2015 00:00:00 GMT] - Current [{http_date()}]"
                  "</AuthenticationErrorDetail>")
    if code:
        headers += [("x-ms-error-code", code), ("Content-Type", "application/xml")]
        body = xml_error(code, message, detail)
    else:
        headers.append(("Content-Type", "text/html"))
        body = message.encode()
    if "body" in do:
        body = do["body"].encode()
    if "retry-after" in do:
        headers.append(("Retry-After", str(do["retry-after"])))
    if "retry-after-date" in do:
        headers.append(("Retry-After", http_date(do["retry-after-date"])))
    if "retry-after-ms" in do:
        headers.append(("x-ms-retry-after-ms", str(do["retry-after-ms"])))
    if "redirect" in do:
        headers.append(("Location", do["redirect"]))
    headers.append(("Date", http_date(do.get("date-off", 0))))
    return status, headers + list(map(tuple, do.get("headers", []))), body


class Rules:
    def __init__(self, rules=(), seed=0, most_per_key=None):
        self.seed = seed
        # However many rules there are: so often for one piece of work altogether.
        self.most_per_key = most_per_key
        self._rules = [self._checked(rule) for rule in rules]
        self._matched = [0] * len(self._rules)
        self._fired = [0] * len(self._rules)
        self._of_key = {}

    @staticmethod
    def _checked(rule):
        known = {"op", "account", "container", "blob", "nth", "every", "chance", "most", "per-key"}
        unknown = set(rule.get("match", {})) - known
        if unknown or not rule.get("do"):
            raise ValueError(f"no rule: {json.dumps(rule)}")
        return rule

    def decide(self, request):
        """What to do with the request: (the rule's name, its `do`), or ("", {})."""
        attempts = self._of_key.setdefault(request.key, {"seen": 0, "fired": 0, "rules": {}})
        attempts["seen"] += 1
        for number, rule in enumerate(self._rules):
            match = rule.get("match", {})
            if not self.is_meant(match, request):
                continue
            self._matched[number] += 1
            if not self._fires(number, match, request, attempts):
                continue
            self._fired[number] += 1
            attempts["fired"] += 1
            attempts["rules"][number] = attempts["rules"].get(number, 0) + 1
            return rule.get("name", f"rule {number}"), rule["do"]
        return "", {}

    @staticmethod
    def is_meant(match, request):
        operations = match.get("op", "*")
        operations = [operations] if isinstance(operations, str) else operations
        if not any(request.operation == name or (name.endswith("*") and request.operation.startswith(name[:-1]))
                   for name in operations):
            return False
        return all(re.fullmatch(match[name], getattr(request, name)) for name in ("account", "container", "blob")
                   if name in match)

    def _fires(self, number, match, request, attempts):
        count = self._matched[number]
        if "nth" in match and count not in match["nth"]:
            return False
        if "every" in match and count % match["every"] != 0:
            return False
        if "most" in match and self._fired[number] >= match["most"]:
            return False
        if "per-key" in match and attempts["rules"].get(number, 0) >= match["per-key"]:
            return False
        if self.most_per_key is not None and attempts["fired"] >= self.most_per_key:
            return False
        if "chance" in match:
            text = f"{self.seed} {number} {request.key} {attempts['seen']}".encode()
            drawn = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64
            return drawn < match["chance"]
        return True


def mild():
    """What a store must bear without anybody noticing. No wait is longer than a moment where the server can say so."""
    return [{"match": {"op": names, "chance": chance}, "do": do, "name": name} for name, names, chance, do in (
        ("busy", "*", 0.03, {"answer": "server-busy", "retry-after-ms": 20}),
        ("too many", "*", 0.01, {"answer": "too-many", "retry-after": 0}),
        ("internal", "*", 0.01, {"answer": "internal", "retry-after-ms": 10}),
        ("timed out", "*", 0.01, {"answer": "timeout", "retry-after-ms": 10}),
        ("gateway", "*", 0.005, {"answer": "bad-gateway", "retry-after-ms": 10}),
        ("done, but 500", ["Put*", "Copy*", "Delete*"], 0.01,
         {"answer": "internal", "forward": True, "retry-after-ms": 10}),
        ("hash", ["PutBlock", "PutBlob"], 0.02, {"answer": "md5"}),
        ("slow", "*", 0.02, {"delay": 0.05}),
        ("lost", ["Put*", "Copy*", "Delete*", "Create*"], 0.02, {"lose": True}),
        ("cut in the body", ["PutBlock", "PutBlob", "PutPage"], 0.01, {"cut": "in-body"}),
        ("cut before the answer", "*", 0.01, {"cut": "before-answer"}),
        ("cut in the answer", ["GetBlob", "ListBlobs", "GetBlockList"], 0.02, {"cut": "in-answer"}),
    )]


class Seen:
    """Every request, in order of arrival."""

    def __init__(self):
        self.records = []

    def add(self, request, **more):
        record = {"op": request.operation, "account": request.account, "container": request.container,
                  "blob": request.blob, "block": request.block, "range": request.header("x-ms-range") or
                  request.header("range"), "length": int(request.header("content-length", "0") or 0),
                  "content-md5": request.header("content-md5"), "content-crc64": request.header("x-ms-content-crc64"),
                  "received": 0, "sent": 0, "status": 0, "rule": "", "forwarded": False, "time": time.time(), **more}
        self.records.append(record)
        return record

    def counts(self):
        """{operation: {"requests", "forwarded", "received", "sent", "blobs": {path: {block id or range: requests}}}}"""
        found = {}
        for record in self.records:
            of = found.setdefault(record["op"], {"requests": 0, "forwarded": 0, "faults": 0, "received": 0, "sent": 0,
                                                 "blobs": {}})
            of["requests"] += 1
            of["forwarded"] += record["forwarded"]
            of["faults"] += record["rule"] != ""
            of["received"] += record["received"]
            of["sent"] += record["sent"]
            pieces = of["blobs"].setdefault(f"{record['container']}/{record['blob']}", {})
            piece = record["block"] or record["range"]
            pieces[piece] = pieces.get(piece, 0) + 1
        return found
