# SPDX-License-Identifier: Apache-2.0
"""What an import must have done and must say, worked out again from the manifest, the drive's files and what was in
the store before: from the description of the format alone, with nothing of dray's own.

    book = Book(manifest, tree, before)     # reckons it all
    book.blobs, book.side                   # what the store must hold now
    book.log(is_verbose)                    # what the log must say, as nested tuples; read(log) gives the same form
    book.status                             # the drive's
"""

import hashlib
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree as xml

RNG = os.path.join(os.path.dirname(__file__), "drive_log.rng")
PROPERTIES = {"Content-Type": "content-type", "Content-MD5": "content-md5", "Content-Encoding": "content-encoding",
              "Content-Language": "content-language", "Cache-Control": "cache-control"}


class Bad(Exception):
    """args[0]: the word of the format for it."""


def md5(data):
    return hashlib.md5(data).hexdigest().upper()


def utf16_units(text):
    return len(text.encode("utf-16-le")) // 2


def file_of(tree, path):
    """The file of a drive made from `tree`, by the manifest's path."""
    components = [part for part in path.replace("/", "\\").split("\\") if part]
    if not components or "." in components or ".." in components or re.match("^[A-Za-z]:", components[0]):
        raise Bad("FileNameInvalid")
    if utf16_units(path) > 32767 or any(utf16_units(part) > 255 for part in components):
        raise Bad("FileNameTooLong")
    place = pathlib.Path(tree)
    for part in components:
        place = place / part
        if len(part.encode()) > 255:
            raise Bad("FileNotFound")  # within the format's limit, and no file system here can hold it
        if place.is_symlink():
            raise Bad("FileAccessDenied")
    if not place.exists():
        raise Bad("FileNotFound")
    if not place.is_file():
        raise Bad("FileAccessDenied")
    return place.read_bytes()


def side_file_of(tree, element, root):
    """{name: value} of a metadata or properties file."""
    data = file_of(tree, element.text or "")
    if md5(data) != element.get("Hash").strip().upper():
        raise Bad("Corrupted")
    try:
        document = xml.fromstring(data)
    except xml.ParseError:
        raise Bad("XmlReadFailed") from None
    if document.tag != root:
        raise Bad("XmlReadFailed")
    found = {}
    for child in document:
        if root == "Metadata":
            if child.tag.lower() in (name.lower() for name in found):
                raise Bad("XmlReadFailed")
            found[child.tag] = (child.text or "").strip()
        elif child.tag in PROPERTIES:
            found[PROPERTIES[child.tag]] = (child.text or "").strip()
    return found


def next_name(path, number):
    container, name = path.split("/", 1)
    head, slash, last = name.rpartition("/")
    stem, dot, end = last.rpartition(".")
    last = f"{stem} ({number}).{end}" if dot and stem else f"{last} ({number})"
    return f"{container}/{head}{slash}{last}"


class Book:
    def __init__(self, manifest, tree, before, closed=()):
        """`before`: {blob path: content}. `closed`: containers that the store forbids."""
        self.tree = tree
        self.blobs = dict(before)
        self.side = {}
        self.entries = []
        self.closed = closed
        drive = xml.fromstring(manifest).find("Drive")
        self.serial = drive.findtext("DriveId").strip()
        for group in drive.findall("BlobList"):
            for blob in group.findall("Blob"):
                self.entries.append(self.entry(group, blob))
        words = [entry["status"] for entry in self.entries]
        if words and set(words) == {"BlobRequestForbidden"}:
            self.status = "BlobRequestForbidden"
        elif any(word != "Completed" for word in words):
            self.status = "CompletedWithErrors"
        elif any(entry["disposition"] != "Created" for entry in self.entries):
            self.status = "CompletedWithWarnings"
        else:
            self.status = "Completed"

    def entry(self, group, blob):
        disposition = (blob.findtext("ImportDisposition") or "rename").strip()
        length = int(blob.findtext("Length"))
        path = blob.findtext("BlobPath")
        body = blob.find("BlockList")
        is_page = body is None and blob.find("PageRangeList") is not None
        body = blob.find("PageRangeList") if is_page else body
        pieces = [] if body is None else list(body)
        entry = {"path": path, "file": blob.findtext("FilePath"), "length": length, "wish": disposition,
                 "is_page": is_page, "pieces": [self.piece(piece, "Cancelled") for piece in pieces], "side": []}
        for name in ("Metadata", "Properties"):
            own, shared = blob.find(name + "Path"), group.find(name + "Path")
            if (used := own if own is not None else shared) is not None:
                scope = "Path" if own is not None else "GlobalPath"
                entry["side"].append([name, "Cancelled", scope, used.get("Hash").strip().upper(), used.text, used])

        def fail(word):
            entry.update(status=word, disposition="Cancelled")
            return entry

        if path.split("/")[0] in self.closed:
            # What is wrong with names is known before the store is asked.
            try:
                file_of(self.tree, entry["file"])
            except Bad as bad:
                if bad.args[0].startswith("FileName"):
                    return fail(bad.args[0])
            return fail("BlobRequestForbidden")
        try:
            data = file_of(self.tree, entry["file"])
        except Bad as bad:
            if bad.args[0].startswith("FileName"):
                return fail(bad.args[0])
            if self.is_skipped(entry, pieces):
                return self.skip(entry)
            if disposition == "rename" and self.free_name(path) is None:
                return fail("RenameFailed")
            return fail(bad.args[0])

        # A blob that is not wanted is not read, or what was read of it is forgotten.
        is_taken = path in self.blobs
        whole = [self.judge(data, piece) for piece in pieces]
        is_good = all(word == "Completed" for word in whole)
        if disposition == "no-overwrite" and is_taken and (is_good or len(pieces) > 1 or is_page):
            return self.skip(entry)
        name = path
        if disposition == "rename":
            name = self.free_name(path)
            if name is None:
                return fail("RenameFailed")
        values = {}
        for side in entry["side"]:
            try:
                values[side[0]] = side_file_of(self.tree, side[5], side[0])
                side[1] = "Completed"
            except Bad as bad:
                side[1] = bad.args[0]
        if not is_good and not is_page:
            for side in entry["side"]:
                side[1] = "Cancelled" if side[1] == "Completed" else side[1]
            entry["pieces"] = [self.piece(piece, "Uncommitted" if word == "Completed" else word)
                               for piece, word in zip(pieces, whole)]
            return fail("CompletedWithErrors")
        content = bytearray(length)
        for piece, word in zip(pieces, whole):
            begin, size = int(piece.get("Offset")), int(piece.get("Length"))
            if word == "Completed":
                content[begin : begin + size] = data[begin : begin + size]
        entry["pieces"] = [self.piece(piece, word) for piece, word in zip(pieces, whole)]
        entry["path"] = name
        entry["disposition"] = ("Renamed" if name != path else
                                "Overwritten" if is_taken and disposition == "overwrite" else "Created")
        has_side_error = any(side[1] != "Completed" for side in entry["side"])
        entry["status"] = "Completed" if is_good and not has_side_error else "CompletedWithErrors"
        self.blobs[name] = bytes(content)
        self.side[name] = ("page" if is_page else "block", values.get("Metadata", {}), values.get("Properties", {}))
        return entry

    def is_skipped(self, entry, pieces):
        return entry["wish"] == "no-overwrite" and entry["path"] in self.blobs and (len(pieces) > 1 or entry["is_page"])

    @staticmethod
    def skip(entry):
        entry.update(status="Completed", disposition="Skipped", pieces=None, side=[])
        return entry

    def free_name(self, path):
        for number in range(1, 10000):
            name = path if number == 1 else next_name(path, number)
            if len(name.split("/", 1)[1]) > 1024:
                return None
            if name not in self.blobs:
                return name
        return None

    @staticmethod
    def judge(data, piece):
        begin, size = int(piece.get("Offset")), int(piece.get("Length"))
        if begin + size > len(data):
            return "FileUnexpectedEnd"
        return "Completed" if md5(data[begin : begin + size]) == piece.get("Hash").strip().upper() else "Corrupted"

    @staticmethod
    def piece(piece, word):
        return (piece.tag, piece.get("Offset"), piece.get("Length"), piece.get("Id"),
                piece.get("Hash").strip().upper(), word)

    def log(self, is_verbose):
        blobs = []
        for entry in self.entries:
            side = [tuple(side[:5]) for side in entry["side"]]
            pieces = entry["pieces"]
            if not is_verbose:
                if entry["status"] == "Completed" and entry["disposition"] == "Created":
                    continue
                side = [line for line in side if line[1] != "Completed"]
                pieces = [piece for piece in pieces or [] if piece[5] not in ("Completed", "Committed")] or None
            blobs.append((entry["status"], entry["path"], entry["file"], entry["length"],
                          (entry["disposition"], entry["wish"]),
                          None if pieces is None else ("PageRangeList" if entry["is_page"] else "BlockList", pieces),
                          side))
        return (self.serial, blobs, self.status)


def read(path):
    """A log in the form of Book.log(). It must be valid by the schema."""
    done = subprocess.run(["xmllint", "--noout", "--relaxng", RNG, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    root = xml.parse(path).getroot()
    blobs = []
    for blob in root.findall("Blob"):
        disposition = blob.find("ImportDisposition")
        body = next((found for found in (blob.find("BlockList"), blob.find("PageRangeList")) if found is not None), None)
        side = []
        for name in ("Metadata", "Properties"):
            if (found := blob.find(name)) is not None:
                path_element = found[0]
                side.append((name, found.get("Status"), path_element.tag, path_element.get("Hash"), path_element.text))
        blobs.append((blob.get("Status"), blob.findtext("BlobPath"), blob.findtext("FilePath"),
                      int(blob.findtext("Length")), (disposition.get("Status"), disposition.text),
                      None if body is None else (body.tag, [Book.piece(piece, piece.get("Status")) for piece in body]),
                      side))
    return (root.findtext("DriveId"), blobs, root.findtext("Status"))


def side_of(vault):
    """{blob path: (type, metadata, properties)} of what the directory store keeps beside its blobs."""
    import json

    found = {}
    for path in pathlib.Path(vault).glob(".dray/side/*/*/*"):
        document = json.loads(path.read_text())
        found[f"{document['container']}/{document['name']}"] = (document["type"], document.get("metadata", {}),
                                                               document.get("properties", {}))
    return found
