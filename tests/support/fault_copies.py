# SPDX-License-Identifier: Apache-2.0
"""Copies within an account that take their time, or fail: the emulator's are all done at once (blob-rest.md A.3)."""

from fault_rules import http_date, made_answer


class Copies:
    """What the service says of such blobs; all else is the back end's. `looks`: how often it says "pending" first."""

    def __init__(self):
        self._copies = {}

    async def begin(self, request, how, forward):
        """`forward()` does the copy at the back end."""
        if how["ends"] not in ("success", "failed"):
            raise ValueError(f"no such end of a copy: {how['ends']}")
        if how["ends"] == "success":
            status, headers, content = await forward()
            if status >= 300:
                return status, headers, content
        self._copies[request.path] = {**how, "source": request.header("x-ms-copy-source")}
        return 202, self._headers(request.path, "pending"), b""

    def answer(self, request):
        """(status, headers, body) of a blob that is a failed copy; None: the back end is to say."""
        copy = self._copies.get(request.path)
        if copy is None or copy["ends"] == "success" or not request.blob:
            return None
        if request.operation == "GetBlobProperties":
            return 200, [*self._headers(request.path, self._word(copy)), ("Content-Length", "0"),
                         ("x-ms-blob-type", "BlockBlob")], b""
        if request.operation == "DeleteBlob":
            del self._copies[request.path]
            return 202, [], b""
        if request.operation in ("PutBlob", "CopyBlob", "PutBlockList"):
            if request.header("if-none-match") == "*":
                return made_answer({"answer": 409, "code": "BlobAlreadyExists", "message": "The specified blob already exists."})
            del self._copies[request.path]
        return None

    def mark(self, request, headers):
        """The back end's headers of a copy that is still pending."""
        copy = self._copies.get(request.path)
        if copy is None or copy["ends"] != "success" or request.operation != "GetBlobProperties":
            return headers
        word = self._word(copy)
        return [(name, word if name.lower() == "x-ms-copy-status" else value) for name, value in headers]

    @staticmethod
    def _word(copy):
        if copy["looks"] <= 0:
            return copy["ends"]
        copy["looks"] -= 1
        return "pending"

    def _headers(self, path, word):
        return [("ETag", '"0x8DCOPY"'), ("Last-Modified", http_date()), ("Date", http_date()), ("x-ms-copy-status", word),
                ("x-ms-copy-id", "00000000-0000-0000-0000-000000000001"),
                ("x-ms-copy-source", self._copies[path]["source"])]
