# SPDX-License-Identifier: Apache-2.0
"""What is in a LUKS2 drive with ext4, told by programs other than dray's: cryptsetup gives the volume key, python3-cryptography
decrypts, e2fsck and debugfs look into the file system."""

import contextlib
import os
import pathlib
import re
import subprocess
import tempfile

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from make_drive import MIB, luks2_segment, run


def decrypt(image, key, plain):
    """The volume as a file; what reads as zeros everywhere on the disk becomes a hole."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(plain))) as work:
        key_file, volume_key = pathlib.Path(work, "key"), pathlib.Path(work, "volume-key")
        key_file.write_bytes(key)
        run("cryptsetup", "luksDump", "-q", "--dump-volume-key", "--volume-key-file", volume_key, "--key-file", key_file, image)
        segment = luks2_segment(image)
        offset, sector = int(segment["offset"]), segment["sector_size"]
        master = volume_key.read_bytes()
    with open(image, "rb") as source, open(plain, "wb") as out:
        source.seek(offset)
        number = 0
        while content := source.read(MIB):
            # What was never written is noise once it is decrypted; e2fsck does not look there.
            if any(content):
                parts = []
                for at in range(0, len(content), sector):
                    tweak = ((number + at) // 512).to_bytes(16, "little")
                    parts.append(Cipher(algorithms.AES(master), modes.XTS(tweak)).decryptor().update(content[at : at + sector]))
                out.seek(number)
                out.write(b"".join(parts))
            number += len(content)
        out.truncate(number)


def check(plain):
    """e2fsck finds nothing to mend."""
    done = subprocess.run(["e2fsck", "-fn", plain], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"e2fsck ends with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr}")


@contextlib.contextmanager
def files_of(plain):
    """{path: content} of all files, as debugfs gives them out."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(plain))) as work:
        done = subprocess.run(["debugfs", "-R", f"rdump / {work}", plain], capture_output=True, text=True)
        complaints = [line for line in done.stderr.splitlines() if not re.match(r"debugfs \d|.*changing ownership", line)]
        if done.returncode != 0 or complaints:
            raise AssertionError(f"debugfs: {complaints}")
        yield {str(path.relative_to(work)): path for path in pathlib.Path(work).rglob("*") if path.is_file()}
