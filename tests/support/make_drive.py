#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a drive image with programs other than dray's own: mke2fs -d, cryptsetup luksFormat, and the
AES-XTS of python3-cryptography; its manifest is written here from the description of the format alone.

As a program: make_drive.py SOURCE IMAGE --serial S --key-file F --container C[/PREFIX] [--sector-size N]
prints the manifest's hash and the volume's identifier as JSON.
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
from xml.sax.saxutils import escape, quoteattr

import exfat_writer
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MIB = 1024 * 1024
PIECE = 4 * MIB


def run(*arguments, **options):
    return subprocess.run(arguments, check=True, capture_output=True, **options).stdout


def pieces_of(data, piece=PIECE):
    return [(offset, data[offset : offset + piece]) for offset in range(0, len(data), piece)]


def blob_xml(blob_path, file_path, data, disposition="no-overwrite", piece=PIECE, extra=""):
    blocks = "".join(
        "<Block Offset=%s Length=%s Id=%s Hash=%s/>"
        % tuple(
            quoteattr(str(value))
            for value in (
                offset,
                len(part),
                "MD5/" + base64.b64encode(hashlib.md5(part).digest()).decode(),
                hashlib.md5(part).hexdigest().upper(),
            )
        )
        for offset, part in pieces_of(data, piece)
    )
    return (
        f"<Blob><BlobPath>{escape(blob_path)}</BlobPath><FilePath>{escape(file_path)}</FilePath>"
        f"<Length>{len(data)}</Length><ImportDisposition>{disposition}</ImportDisposition>"
        f"<BlockList>{blocks}</BlockList>{extra}</Blob>"
    )


def manifest_xml(serial, blobs):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<DriveManifest Version="2014-11-01"><Drive><DriveId>{escape(serial)}</DriveId>'
        "<ContainerSas>none?sig=none</ContainerSas><BlobList>" + "".join(blobs) + "</BlobList></Drive></DriveManifest>\n"
    ).encode()


def manifest_of(source, serial, container):
    """The manifest of a directory, and the blobs that an import of it must make: {blob path: content}."""
    blobs, expected = [], {}
    for path in sorted(pathlib.Path(source).rglob("*")):
        if not path.is_file():
            continue
        relative = path.relative_to(source).as_posix()
        data = path.read_bytes()
        blobs.append(blob_xml(f"{container}/{relative}", "\\" + relative.replace("/", "\\"), data))
        expected[f"{container}/{relative}"] = data
    return manifest_xml(serial, blobs), expected


def encrypt(key, plain_path, image, data_offset, sector_size):
    """dm-crypt's aes-xts-plain64: the tweak counts 512-byte units whatever the sector size."""
    with open(plain_path, "rb") as plain, open(image, "r+b") as out:
        out.seek(data_offset)
        number = 0
        while sector := plain.read(sector_size):
            tweak = (number * sector_size // 512).to_bytes(16, "little")
            encryptor = Cipher(algorithms.AES(key), modes.XTS(tweak)).encryptor()
            out.write(encryptor.update(sector))
            number += 1


def make_plain(source, image, manifest=None, manifest_name="DriveManifest.xml", size=None, mke2fs_options=()):
    """An ext4 without encryption, from a directory and, unless None, the manifest's bytes. Returns its size."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(image))) as work:
        tree = os.path.join(work, "tree")
        os.mkdir(tree)
        subprocess.run(["cp", "-a", "--reflink=auto", str(source) + "/.", tree], check=True)
        if manifest is not None:
            pathlib.Path(tree, manifest_name).write_bytes(manifest)
        used = sum(f.stat().st_size + 8192 for f in pathlib.Path(tree).rglob("*"))
        size = size or (used + used // 16 + 24 * MIB) // MIB * MIB
        run("mke2fs", "-q", "-t", "ext4", "-F", *mke2fs_options, "-d", tree, image, f"{size // 1024}k")
        return size


def make_exfat(source, image, manifest=None, size=None, mkfs_options=(), layout="both"):
    """The same as an exFAT, by mkfs.exfat and a writer of the tests' own."""
    files = [path for path in pathlib.Path(source).rglob("*")]
    size = size or (sum(f.stat().st_size + 65536 for f in files) * 2 + 24 * MIB) // MIB * MIB
    with open(image, "wb") as out:
        out.truncate(size)
    run("mkfs.exfat", *mkfs_options, image)
    writer = exfat_writer.ExfatWriter(image)
    writer.add_tree(source, layout)
    if manifest is not None:
        writer.add("DriveManifest.xml", manifest, "scattered")
    writer.close()
    run("fsck.exfat", "-n", image)


def make_fat(source, image, manifest=None, size=None, mkfs_options=("-F", "32", "-s", "1")):
    """The same as a FAT, by mkfs.fat and mtools."""
    files = [path for path in pathlib.Path(source).rglob("*")]
    with open(image, "wb") as out:
        out.truncate(size or (sum(f.stat().st_size + 32768 for f in files) + 64 * MIB) // MIB * MIB)
    run("mkfs.fat", *mkfs_options, image)
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    run("mcopy", "-sQmp", "-i", image, *sorted(pathlib.Path(source).iterdir()), "::/", env=environment)
    if manifest is not None:
        run("mcopy", "-i", image, "-", "::/DriveManifest.xml", input=manifest, env=environment)
    run("fsck.fat", "-n", image)


def make_ntfs(source, image, manifest=None, size=None, mkntfs_options=("-c", "4096"), requests=(), writer=None):
    """The same as an NTFS, by mkntfs and ntfs_writer. `requests`: more of what ntfs_writer is asked for."""
    files = [path for path in pathlib.Path(source).rglob("*") if path.is_file()]
    with open(image, "wb") as out:
        out.truncate(size or (sum(f.stat().st_size + 131072 for f in files) + 32 * MIB) // MIB * MIB)
    run("mkntfs", "-Q", "-F", "-q", *mkntfs_options, image)
    with tempfile.NamedTemporaryFile() as kept:
        lines = [f"file\t{f.relative_to(source)}\t{f}" for f in files] + list(requests)
        if manifest is not None:
            kept.write(manifest)
            kept.flush()
            lines.append(f"file\tDriveManifest.xml\t{kept.name}")
        run(writer or os.path.join(os.environ["DRAY_BIN"], "tests", "ntfs_writer"), image, input="\n".join(lines).encode())


def make_luks1(plain, image, key_file, **options):
    """qemu-img's LUKS1 around a plain image. Returns its identifier."""
    words = "".join(f",{name.replace('_', '-')}={value}" for name, value in options.items())
    run("qemu-img", "convert", "-f", "raw", "-O", "luks", "--object", f"secret,id=key,file={key_file}", "-o",
        f"key-secret=key,iter-time=10{words}", plain, image)
    return run("cryptsetup", "luksUUID", image).decode().strip()


def put_into_partition(volume, disk, script, number, sector_size=512, writer="sfdisk"):
    """Partitions a new disk image by a script of sfdisk, or of fdisk for large sectors, and puts the volume into one of
    its partitions."""
    with open(disk, "wb") as out:
        out.truncate(os.path.getsize(volume) + 48 * MIB)
    command = ["sfdisk", "-q", str(disk)] if writer == "sfdisk" else ["fdisk", "-b", str(sector_size), str(disk)]
    run(*command, input=script.encode())
    if writer == "sfdisk":
        listed = json.loads(run("sfdisk", "--json", disk))["partitiontable"]["partitions"]
        starts = {int(entry["node"][len(str(disk)):]): entry["start"] for entry in listed}
    else:
        listed = run("fdisk", "-b", str(sector_size), "-l", "-o", "Device,Start", disk).decode().splitlines()
        starts = {int(line.split()[0][len(str(disk)):]): int(line.split()[1]) for line in listed
                  if line.startswith(str(disk))}
    with open(volume, "rb") as source, open(disk, "r+b") as out:
        out.seek(starts[number] * sector_size)
        while piece := source.read(4 * MIB):
            out.write(piece)


def luks2_segment(image):
    """What the header says of where the content lies: its offset in bytes (as text) and its sector size."""
    return json.loads(run("cryptsetup", "luksDump", "--dump-json-metadata", image))["segments"]["0"]


def make_luks2(plain, image, key, sector_size=4096, memory=32768):
    """cryptsetup's LUKS2 around a plain image. Returns its identifier."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(image))) as work:
        key_file = os.path.join(work, "key")
        pathlib.Path(key_file).write_bytes(key)
        with open(image, "wb") as out:
            out.truncate(16 * MIB + os.path.getsize(plain))
        run("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512",
            "--sector-size", str(sector_size), "--pbkdf", "argon2id", "--pbkdf-memory", str(memory),
            "--pbkdf-parallel", "1", "--pbkdf-force-iterations", "4", "--key-file", key_file, image)
        volume_key = os.path.join(work, "volume-key")
        run("cryptsetup", "luksDump", "-q", "--dump-volume-key", "--volume-key-file", volume_key, "--key-file",
            key_file, image)
        segment = luks2_segment(image)
        assert segment["sector_size"] == sector_size
        encrypt(pathlib.Path(volume_key).read_bytes(), plain, image, int(segment["offset"]), sector_size)
        return run("cryptsetup", "luksUUID", image).decode().strip()


def make_drive(source, image, key, sector_size=4096, manifest=None, manifest_name="DriveManifest.xml", size=None,
               mke2fs_options=(), debugfs=None, memory=32768):
    """Makes the image from a directory and, unless None, the manifest's bytes. `debugfs`: requests that change the file
    system before it is encrypted, one a line. Returns the LUKS identifier."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(image))) as work:
        plain = os.path.join(work, "plain")
        make_plain(source, plain, manifest, manifest_name, size, mke2fs_options)
        if debugfs is not None:
            run("debugfs", "-w", "-f", "/dev/stdin", plain, input=debugfs.encode())
        return make_luks2(plain, image, key, sector_size, memory)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("image")
    parser.add_argument("--serial", required=True)
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--container", required=True)
    parser.add_argument("--sector-size", type=int, default=4096)
    options = parser.parse_args()
    manifest, _ = manifest_of(options.source, options.serial, options.container)
    identifier = make_drive(options.source, options.image, pathlib.Path(options.key_file).read_bytes(),
                            options.sector_size, manifest)
    print(json.dumps({"manifest-hash": hashlib.md5(manifest).hexdigest().upper(), "volume-id": identifier}))


if __name__ == "__main__":
    main()
