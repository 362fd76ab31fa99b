#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""drayctl drive prepare, without bus and daemon. What it makes is looked at with cryptsetup, e2fsprogs and
Python alone."""

import base64
import hashlib
import json
import os
import pathlib
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402
from lab import MIB, PATIENCE, alive, make_tree, random_files, seed  # noqa: E402

KEY = b"a key of its own \x00\xff\n"
NOBODY = 65534


def run(*arguments, status=0, **options):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True,
                          timeout=PATIENCE * 2, stdin=subprocess.DEVNULL, **options)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{arguments} ended with {done.returncode}, not {status}:\n{done.stdout}{done.stderr}")
    return done


def decrypt(image, key_file, plain):
    """The plaintext of a LUKS2 image, by cryptsetup's word about its key and Python's AES-XTS."""
    volume_key = plain.with_suffix(".volume-key")
    volume_key.unlink(missing_ok=True)
    run("cryptsetup", "luksDump", "-q", "--dump-volume-key", "--volume-key-file", volume_key, "--key-file", key_file,
        image)
    segment = json.loads(run("cryptsetup", "luksDump", "--dump-json-metadata", image).stdout)["segments"]["0"]
    assert segment["encryption"] == "aes-xts-plain64"
    sector_size, offset = segment["sector_size"], int(segment["offset"])
    key = volume_key.read_bytes()
    with open(image, "rb") as source, open(plain, "wb") as out:
        size = os.fstat(source.fileno()).st_size
        out.truncate(size - offset)
        source.seek(offset)
        number = 0
        while sector := source.read(sector_size):
            # Never written: zeros in a sparse image, and whatever comes out of them in the volume.
            if sector.strip(b"\0"):
                tweak = (number * sector_size // 512).to_bytes(16, "little")
                out.seek(number * sector_size)
                out.write(Cipher(algorithms.AES(key), modes.XTS(tweak)).decryptor().update(sector))
            number += 1


def read_tree(plain, directory):
    """All files of an ext4, by debugfs: {relative path: content}."""
    directory.mkdir()
    run("debugfs", "-R", f"rdump / {directory}", plain)
    shutil.rmtree(directory / "lost+found", ignore_errors=True)
    return {path.relative_to(directory).as_posix(): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()}


class Prepare(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="dray-prepare.", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        os.chmod(self.root, 0o755)
        # Copies: the build may lie where nobody else may look.
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for program in ("drayctl", "dray-drive"):
            shutil.copy2(pathlib.Path(os.environ["DRAY_BIN"]) / program, self.bin / program)
        self.key = self.root / "key"
        self.key.write_bytes(KEY)
        self.key.chmod(0o600)
        self.shelf = self.root / "shelf"
        self.shelf.mkdir()
        self.image = self.shelf / "x.img"

    def command(self, source, *more, container="lab", serial="SER-1", output=None):
        return [str(word) for word in (self.bin / "drayctl", "--json=short", "drive", "prepare", "--source", source,
                                       "--container", container, "--serial", serial, "--key-file", self.key,
                                       "--output", output or self.image, *more)]

    def prepare(self, source, *more, **options):
        return json.loads(run(*self.command(source, *more, **options)).stdout)

    def refused(self, source, *more, sentence, status=1, **options):
        """That it ends with this sentence and that nothing lies on the shelf afterwards that was not there."""
        before = sorted(self.shelf.iterdir())
        done = run(*self.command(source, *more, **options), status=status)
        self.assertIn(sentence, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(sorted(self.shelf.iterdir()), before)
        return done.stderr

    def check(self, drive, files, blob_prefix="lab/", block=4 * MIB, serial="SER-1"):
        """The image against the files, by other programs than dray's. Returns the manifest's root element."""
        run("cryptsetup", "open", "--test-passphrase", "--key-file", self.key, self.image)
        self.assertEqual(run("cryptsetup", "luksUUID", self.image).stdout.strip(), drive["volume-id"])
        plain = self.root / "plain"
        decrypt(self.image, self.key, plain)
        run("e2fsck", "-f", "-n", plain)
        tree = self.root / "tree"
        found = read_tree(plain, tree)
        manifest = found.pop(drive["manifest"].lstrip("\\"))
        run("sha256sum", "--check", "--strict", "--quiet", drive["checksums"], cwd=tree)
        self.assertEqual(len(found.pop(drive["checksums"]).splitlines()), len(found))
        self.assertEqual(found.keys(), files.keys())
        for name, content in files.items():
            self.assertEqual(hashlib.md5(found[name]).digest(), hashlib.md5(content).digest(), name)
        self.assertEqual(hashlib.md5(manifest).hexdigest().upper(), drive["manifest-hash"])

        root = xml.fromstring(manifest)
        self.assertEqual((root.tag, root.get("Version")), ("DriveManifest", "2014-11-01"))
        self.assertEqual(root.findtext("Drive/DriveId"), serial)
        blobs = root.findall("Drive/BlobList/Blob")
        self.assertEqual({blob.findtext("BlobPath") for blob in blobs}, {blob_prefix + name for name in files})
        for blob in blobs:
            name = blob.findtext("BlobPath")[len(blob_prefix):]
            content = files[name]
            self.assertEqual(blob.findtext("FilePath"), "\\" + name.replace("/", "\\"))
            self.assertEqual(int(blob.findtext("Length")), len(content))
            pieces = blob.findall("BlockList/Block")
            self.assertEqual([int(piece.get("Offset")) for piece in pieces], list(range(0, len(content), block)))
            for piece in pieces:
                offset, length = int(piece.get("Offset")), int(piece.get("Length"))
                self.assertEqual(length, min(block, len(content) - offset))
                digest = hashlib.md5(content[offset : offset + length])
                self.assertEqual(piece.get("Hash"), digest.hexdigest().upper())
                self.assertEqual(piece.get("Id"), "MD5/" + base64.b64encode(digest.digest()).decode())
        self.assertEqual(drive["files"], len(files))
        self.assertEqual(drive["bytes"], sum(map(len, files.values())))
        self.assertEqual(drive["size"], self.image.stat().st_size)
        shutil.rmtree(tree)
        return root

    # -- what it makes

    def test_the_drive_is_what_its_source_is_by_other_programs_word(self):
        rng = seed()
        files = {
            "empty": b"",
            "one": b"x",
            "exact.bin": rng.randbytes(4 * MIB),
            "over.bin": rng.randbytes(4 * MIB + 1),
            "large.bin": rng.randbytes(37 * MIB + 513),
            "deep/er/and/deeper/file.txt": b"deep",
            "name with blanks & ampersand <x>.txt": b"odd",
            "f\u00fcr \u65e5\u672c.txt": b"unicode",
            "n" * 255: b"long name",
            **random_files(rng, 700, 9000, "many/f"),
        }
        source = make_tree(self.root / "source", files)
        (source / "no files here" / "either").mkdir(parents=True)
        os.utime(source / "one", (1_000_000_000, 1_000_000_000))
        drive = self.prepare(source, container="lab/in")
        root = self.check(drive, files, "lab/in/")
        self.assertIsNotNone(root.find("Drive/ContainerSas"))
        self.assertIsNone(root.find("Drive/BlobList/Blob/ImportDisposition"), "rename goes without saying")
        self.assertEqual(drive["manifest"], "\\DriveManifest.xml")
        self.assertEqual(drive["directories"], 7)
        self.assertEqual(drive["left-out"], 0)
        self.assertEqual(self.image.stat().st_mode & 0o7777, 0o600)
        self.assertEqual(list(self.shelf.iterdir()), [self.image])
        status = run("debugfs", "-R", "stat one", self.root / "plain").stdout
        self.assertIn("2001", next(line for line in status.splitlines() if "mtime" in line))
        self.assertIn("Type: directory", run("debugfs", "-R", 'stat "no files here/either"', self.root / "plain").stdout)
        # The command that it prints is one that a shell takes apart as it was meant.
        words = shlex.split(drive["next"])
        self.assertEqual(words[:4], ["drayctl", "add-drive", "JOB", "SER-1"])
        self.assertEqual(words[words.index("--manifest") + 1], "\\DriveManifest.xml")
        self.assertEqual(words[words.index("--manifest-hash") + 1], drive["manifest-hash"])

    def test_the_same_source_gives_the_same_manifest(self):
        rng = seed()
        source = make_tree(self.root / "source", random_files(rng, 50, 2000, "d/f"))
        first = self.prepare(source)
        second = self.prepare(source, output=self.shelf / "y.img")
        self.assertEqual(first["manifest-hash"], second["manifest-hash"])
        self.assertNotEqual(first["volume-id"], second["volume-id"])

    def test_block_size_disposition_size_and_serial_are_as_asked_for(self):
        rng = seed()
        files = {"a.bin": rng.randbytes(MIB + 100), "odd": rng.randbytes(12345)}
        source = make_tree(self.root / "source", files)
        drive = self.prepare(source, "--block-size", "10000", "--disposition", "no-overwrite", "--size", "200MiB",
                             serial="SER 2")
        self.assertEqual(drive["serial"], "SER2")
        self.assertEqual(drive["size"], 200 * MIB)
        root = self.check(drive, files, block=10000, serial="SER2")
        self.assertEqual({e.text for e in root.iter("ImportDisposition")}, {"no-overwrite"})

    def test_a_file_with_holes_is_read_as_zeros(self):
        source = make_tree(self.root / "source", {"a": b"x"})
        with open(source / "sparse", "wb") as sparse:
            sparse.seek(9 * MIB)
            sparse.write(b"after the hole")
        self.check(self.prepare(source), {"a": b"x", "sparse": bytes(9 * MIB) + b"after the hole"})

    def test_the_manifest_gives_way_to_a_file_of_its_name(self):
        files = {"DriveManifest.xml": b"mine", "drivemanifest-2.XML": b"mine too"}
        drive = self.prepare(make_tree(self.root / "source", files))
        self.assertEqual(drive["manifest"], "\\DriveManifest-3.xml")
        self.check(drive, files)

    def test_the_smallest_image_holds_all_kinds_of_trees(self):
        rng = seed()
        trees = {
            "many empty files": {f"d{i % 7}/{i}": b"" for i in range(20_000)},
            "long names": {f"{'n' * 200}{i}": b"x" for i in range(3000)},
            "many directories": {f"{i}/{'d' * 100}/f": b"x" for i in range(1500)},
            "one large file": {"large": rng.randbytes(150 * MIB)},
        }
        for what, files in trees.items():
            with self.subTest(what):
                source = make_tree(self.root / what, files)
                drive = self.prepare(source, "--yes")
                self.assertEqual(drive["files"], len(files))
                decrypt(self.image, self.key, self.root / "plain")
                run("e2fsck", "-f", "-n", self.root / "plain")
                shutil.rmtree(source)

    def test_it_works_for_nobody(self):
        if os.getuid() != 0:
            self.skipTest("the other tests run without root already")
        files = {"a": b"content", "dir/b": b"more"}
        source = make_tree(self.root / "source", files)
        for path in (self.shelf, self.key):
            os.chown(path, NOBODY, NOBODY)
        nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        drive = json.loads(run(*nobody, *self.command(source)).stdout)
        self.check(drive, files)
        self.assertEqual(self.image.stat().st_uid, NOBODY)
        # What cannot be read is said before anything is written.
        self.image.unlink()
        (source / "dir" / "b").chmod(0)
        done = run(*nobody, *self.command(source), status=5)
        self.assertIn("source/dir/b", done.stderr)
        self.assertEqual(list(self.shelf.iterdir()), [])

    # -- what it refuses

    def test_links_and_special_files_are_named_and_left_out(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        os.symlink("a", source / "link")
        os.symlink("/etc", source / "etc")
        os.mkfifo(source / "pipe")
        done = run(*self.command(source))
        self.assertIn("link is left out: it is a symbolic link", done.stderr)
        self.assertIn("etc is left out: it is a symbolic link", done.stderr)
        self.assertIn("pipe is left out: it is a pipe", done.stderr)
        drive = json.loads(done.stdout)
        self.assertEqual(drive["left-out"], 3)
        self.check(drive, {"a": b"content"})

    def test_names_that_cannot_be_are_refused_before_anything_is_written(self):
        for number, (name, sentence) in enumerate({
            b"back\\slash": "sub/back\\slash cannot go onto a drive",
            b"new\nline": "sub/new\\x0aline cannot go onto a drive",
            b"latin-\xe9": "sub/latin-\\xe9 cannot go onto a drive",
        }.items()):
            with self.subTest(name):
                source = self.root / f"source{number}"
                make_tree(source, {"sub/fine": b"x"})
                with open(os.fsencode(source / "sub") + b"/" + name, "wb"):
                    pass
                self.refused(source, sentence=sentence)
        source = make_tree(self.root / "long", {"/".join(["d" * 200] * 5) + "/" + "f" * 100: b"x"})
        self.refused(source, sentence="cannot become a blob")
        self.refused(make_tree(self.root / "flat", {"sub/x": b"x"}), container="$root", sentence="root container")

    def test_what_is_there_is_not_overwritten_unasked(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        self.image.write_bytes(b"precious")
        self.refused(source, sentence="--yes")
        self.assertEqual(self.image.read_bytes(), b"precious")
        self.check(self.prepare(source, "--yes"), {"a": b"content"})
        self.assertIn("a LUKS volume", self.refused(source, sentence="--yes"))
        # An empty file holds nothing.
        self.image.write_bytes(b"")
        self.prepare(source)

    def test_outputs_that_are_no_targets_are_refused(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        os.symlink("elsewhere", self.image)
        self.refused(source, "--yes", sentence="symbolic link")
        self.assertFalse((self.shelf / "elsewhere").exists())
        self.refused(source, output="/dev/null", sentence="neither a regular file nor a block device")
        self.refused(source, output=self.shelf, sentence="neither a regular file nor a block device")
        self.refused(source, output=self.shelf / "missing" / "x.img", status=4, sentence="No such file")
        self.refused(source, output=source / "x.img", sentence="it would hold itself")
        self.assertEqual(list(source.iterdir()), [source / "a"])

    def test_a_size_that_is_too_small_is_refused_with_the_needed_one(self):
        source = make_tree(self.root / "source", {"a": bytes(20 * MIB)})
        said = self.refused(source, "--size", "30MiB", sentence="is too small for this source: it needs ")
        needed = said.rsplit("it needs ", 1)[1].rstrip(".\n")
        self.assertEqual(self.prepare(source, "--size", needed)["size"], int(needed.removesuffix("MiB")) * MIB)

    def test_options_that_make_no_sense_are_refused(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        self.refused(source, container="Lab", sentence="lower-case")
        self.refused(source, container="lab//in", sentence="empty directory name")
        self.refused(source, serial=" ", sentence="serial number of a drive is empty")
        self.refused(source, "--block-size", "1", sentence="--block-size")
        self.refused(source, "--block-size", "many", sentence="--block-size")
        self.refused(source, "--size", "0", sentence="--size is 0")
        self.refused(source, "--disposition", "Rename", sentence="--disposition", status=2)
        self.refused(self.root / "missing", sentence="missing", status=4)
        (self.root / "bare").mkdir()
        self.refused(self.root / "bare", sentence="has no files")
        self.key.write_bytes(b"")
        self.refused(source, sentence="is empty")
        self.key.write_bytes(b"k" * 65537)
        self.refused(source, sentence="more than 65536 bytes")

    def test_a_key_that_others_can_read_is_warned_about_and_one_in_the_source_refused(self):
        source = make_tree(self.root / "source", {"a": b"content"})
        self.key.chmod(0o644)
        self.assertIn("mode 0644", run(*self.command(source)).stderr)
        self.image.unlink()
        self.key = source / "key"
        self.key.write_bytes(KEY)
        self.refused(source, sentence="it would go onto the drive")

    # -- what happens meanwhile

    def start(self, source, *more, **options):
        """Starts it and stops it in mid-copy: it goes on when finish() says so."""
        process = subprocess.Popen(self.command(source, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, **options)
        part = self.shelf / "x.img.part"
        end = time.monotonic() + PATIENCE
        while not (part.exists() and part.stat().st_blocks * 512 > 20 * MIB):
            self.assertIsNone(process.poll(), "it ended too early")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        """Lets it go on to its end. Returns what it said."""
        process.send_signal(signal.SIGCONT)
        return process.communicate(timeout=PATIENCE)[1]

    def big_source(self, rng):
        return make_tree(self.root / "source", {f"{i:02}.bin": rng.randbytes(16 * MIB) for i in range(32)})

    def child_of(self, process):
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        self.assertEqual(len(children), 1)
        return int(children[0])

    def test_stopped_by_a_signal_it_leaves_nothing(self):
        source = self.big_source(seed())
        for number, to_group in ((signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)):
            with self.subTest(signal=number, group=to_group):
                process = self.start(source, start_new_session=True)
                child = self.child_of(process)
                # As Ctrl-C does: to all that the terminal runs.
                (os.killpg if to_group else os.kill)(process.pid, number)
                said = self.finish(process)
                self.assertEqual(process.returncode, 130, said)
                self.assertIn("stopped", said)
                self.assertEqual(list(self.shelf.iterdir()), [])
                self.assertFalse(alive(child))

    def test_killed_it_leaves_no_image_of_that_name_and_the_next_one_clears_up(self):
        source = self.big_source(seed())
        process = self.start(source)
        child = self.child_of(process)
        process.kill()
        process.communicate()
        end = time.monotonic() + PATIENCE
        while alive(child):
            self.assertLess(time.monotonic(), end, "dray-drive goes with who started it")
            time.sleep(0.01)
        self.assertEqual(list(self.shelf.iterdir()), [self.shelf / "x.img.part"])
        # A second one does not disturb the one that is at work. (Cut, so that its own is told from what was left.)
        os.truncate(self.shelf / "x.img.part", 0)
        process = self.start(source)
        self.refused(source, sentence="another drayctl is writing")
        self.finish(process)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(list(self.shelf.iterdir()), [self.image])

    def test_dray_drives_sudden_end_is_an_error_and_leaves_nothing(self):
        process = self.start(self.big_source(seed()))
        os.kill(self.child_of(process), signal.SIGKILL)
        said = self.finish(process)
        self.assertEqual(process.returncode, 1)
        self.assertIn("dray-drive was ended by signal 9", said)
        self.assertEqual(list(self.shelf.iterdir()), [])

    def test_a_file_that_changes_size_is_named(self):
        source = self.big_source(seed())
        for change in (lambda path: os.truncate(path, 5 * MIB), lambda path: os.truncate(path, 17 * MIB)):
            process = self.start(source)
            change(source / "31.bin")
            said = self.finish(process)
            self.assertEqual(process.returncode, 1, said)
            self.assertIn("31.bin changed while it was copied", said)
            self.assertEqual(list(self.shelf.iterdir()), [])
            os.truncate(source / "31.bin", 16 * MIB)

    # -- what eyes see

    def on_terminal(self, command, environment):
        """All that a command writes to a terminal as its standard error, and its standard output."""
        master, slave = pty.openpty()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, stdin=subprocess.DEVNULL, text=True,
                                   env=environment)
        os.close(slave)
        seen = b""
        while True:
            try:
                if not select.select([master], [], [], PATIENCE)[0]:
                    break
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        os.close(master)
        out, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, seen)
        return seen.decode(), out

    def test_progress_is_for_terminals_without_no_color_and_not_for_the_quiet(self):
        source = make_tree(self.root / "source", {"a": bytes(8 * MIB)})
        plain = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        lively = dict(plain, TERM="xterm")
        command = [word for word in self.command(source, "--yes") if word != "--json=short"]
        seen, out = self.on_terminal(command, lively)
        self.assertIn("Writing", seen)
        self.assertIn("%", seen)
        self.assertTrue(seen.endswith("\r\x1b[K"), "the line is wiped at the end")
        self.assertIn("Manifest hash: ", out)
        self.assertIn("drayctl add-drive JOB SER-1 --key-file", out)
        for environment, more in ((dict(lively, NO_COLOR="1"), []), (dict(plain, TERM="dumb"), []),
                                  (lively, ["--quiet"])):
            seen, out = self.on_terminal([*command, *more], environment)
            self.assertNotIn("Writing", seen)
            self.assertNotIn("\x1b", seen)
        self.assertNotIn("add-drive", out, "quiet")
        self.assertIn("Manifest hash: ", out, "what was asked for is said even so")
        done = run(*command)
        self.assertNotIn("Writing", done.stderr)


if __name__ == "__main__":
    unittest.main()
