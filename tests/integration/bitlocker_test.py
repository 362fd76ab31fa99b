#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""BitLocker drives through the real programs: every cipher, every kind of key, and what becomes of a drive that cannot be
opened, each by its word of the logs (6.3). The volumes are written by tests/support/bitlocker.py, around an ext4; here
cryptsetup and dislocker judge them as well."""

import os
import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import bitlocker  # noqa: E402
import make_drive  # noqa: E402
from lab import MIB, Lab, seed  # noqa: E402
from volumes_test import Site, Volumes  # noqa: E402

SIZE = 24 * MIB
PASSWORD = "anaconda"
RECOVERY = "242000-110011-000000-720885-000011-363000-121121-440044"


def damage(image, offset, content):
    with open(image, "r+b") as file:
        file.seek(offset)
        file.write(content)


class BitLockerSite(Site):
    """A site whose drives are BitLocker volumes."""

    def content(self, serial, sector_size=512, to_go=False):
        """An ext4 that leaves free what BitLocker needs. Returns its path and what add-drive has to say."""
        manifest, drive = self.drive(serial)
        plain = self.lab.shelf / f"{serial}.plain"
        bad = self.lab.shelf / "bad-blocks"
        blocks = [block for at, size in bitlocker.reserved(SIZE, sector_size, to_go)
                  for block in range(at // 4096, (at + size + 4095) // 4096)]
        bad.write_text("".join(f"{block}\n" for block in blocks))
        make_drive.make_plain(self.source, plain, manifest, size=SIZE, mke2fs_options=("-b", "4096", "-l", bad))
        return plain, drive

    def bitlocker(self, serial, image=None, key="password", sector_size=512, to_go=False, **options):
        """`key`: what the drive is to be opened with."""
        plain, drive = self.content(serial, sector_size, to_go)
        options.setdefault("password", PASSWORD if key == "password" else None)
        options.setdefault("recovery", RECOVERY if key == "recovery" else None)
        options.setdefault("start_up_key", key == "start-up key")
        self.keys = bitlocker.encrypt(plain, image or self.image(serial), sector_size=sector_size, to_go=to_go, rng=self.rng, **options)
        plain.unlink()
        self.lab.key_file(serial, self.key_of(key))
        return {**drive, "volume-id": self.keys.identifier}

    def key_of(self, kind):
        if kind == "start-up key":
            return next(iter(self.keys.start_up_keys.values()))
        return {"password": PASSWORD, "recovery": RECOVERY}[kind].encode()


class BitLocker(unittest.TestCase):
    arrives = Volumes.arrives
    is_refused = Volumes.is_refused

    def lab(self):
        rng = seed()
        lab = Lab()
        self.addCleanup(lab.close)
        site = BitLockerSite(lab, rng)
        site.rng = rng
        lab.start()
        return lab, site

    def test_every_cipher_arrives_whole_with_both_sector_sizes_and_to_go(self):
        lab, site = self.lab()
        for number, (cipher, sector, to_go) in enumerate((
                ("xts-128", 512, False), ("xts-256", 4096, False), ("cbc-128", 512, True), ("cbc-256", 512, False),
                ("cbc-128-diffuser", 512, False), ("cbc-256-diffuser", 512, False), ("xts-128", 512, True))):
            with self.subTest(cipher=cipher, sector=sector, to_go=to_go):
                drive = site.bitlocker(f"CIPHER{number}", key="start-up key", cipher=cipher, sector_size=sector, to_go=to_go)
                self.arrives(lab, site, drive, "BitLocker")

    def test_every_kind_of_key_opens_a_drive_that_has_all_of_them(self):
        lab, site = self.lab()
        every = {"password": PASSWORD, "recovery": RECOVERY, "start_up_key": True, "foreign": ("tpm", "smart-card")}
        for number, (kind, form) in enumerate((("password", None), ("recovery", None), ("start-up key", None),
                                               ("recovery", f"  {RECOVERY[:20]}\r\n {RECOVERY[20:]}\n"))):
            with self.subTest(kind=kind):
                drive = site.bitlocker(f"KEY{number}", key=kind, **every)
                if form:
                    lab.key_file(f"KEY{number}", form.encode())
                self.arrives(lab, site, drive, "BitLocker")
        start_up_key = next(iter(site.keys.start_up_keys.values()))
        self.assertIn(0, start_up_key, "a key file without a NUL byte proves nothing")

    def test_the_first_data_partition_of_gpt_and_mbr_disks_is_read(self):
        lab, site = self.lab()
        gpt = ("label: gpt\nsize=16MiB, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE\n"
               "size=24MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n", 2)
        mbr = ("label: dos\nstart=2048, size=24MiB, type=7\n", 1)

        def drive(serial, volume):
            return site.bitlocker(serial, volume, key="start-up key")

        self.arrives(lab, site, site.partitioned("GPT", drive, *gpt), "gpt")
        self.arrives(lab, site, site.partitioned("MBR", drive, *mbr), "dos")

    def test_damaged_metadata_falls_back_to_the_next_copy_and_says_so(self):
        lab, site = self.lab()
        self.arrives(lab, site, site.bitlocker("FIRST", key="start-up key", damaged=(0,)), "BitLocker")
        self.assertIn("the first copy of BitLocker's metadata is damaged; the second one was used", lab.log())
        self.arrives(lab, site, site.bitlocker("SECOND", key="start-up key", damaged=(0, 1)), "BitLocker")
        self.assertIn("the first two copies of BitLocker's metadata are damaged; the third one was used", lab.log())

    def test_drives_that_cannot_be_opened_have_each_word_of_6_3(self):
        lab, site = self.lab()
        key = {"key": "start-up key"}
        for serial, options, status, sentence in (
                ("SUSPENDED", {"clear_key": True}, "BitLockerUnlockVolumeFailed", "protection of the volume is suspended.*-protectors -enable"),
                ("EOW", {"encrypt_on_write": True}, "BitLockerUnlockVolumeFailed", "only partly encrypted: encrypt-on-write"),
                ("TOGO", {"encrypt_on_write": True, "to_go": True}, "BitLockerUnlockVolumeFailed", "encrypt-on-write"),
                ("RUNNING", {"state": "encrypting"}, "BitLockerUnlockVolumeFailed", "its encryption is in progress"),
                ("LEAVING", {"state": "decrypting"}, "BitLockerUnlockVolumeFailed", "its decryption is in progress"),
                ("PAUSED", {"state": "encryption-paused"}, "BitLockerUnlockVolumeFailed", "its encryption is paused.*-resume"),
                ("UNPAUSED", {"state": "decryption-paused"}, "BitLockerUnlockVolumeFailed", "its decryption is paused"),
                ("DECRYPTED", {"state": "decrypted"}, "BitLockerNotActivated", "is decrypted"),
                ("BROKEN", {"damaged": (0, 1, 2)}, "BitLockerFailed", "all three copies of the BitLocker metadata are damaged")):
            with self.subTest(serial=serial):
                self.is_refused(lab, site.bitlocker(serial, **key, **options), status, sentence)
        drive = site.bitlocker("HARDWARE", key="start-up key", foreign=("tpm", "smart-card", "tpm-pin"))
        plain, drive = site.content("HARDWARE")
        bitlocker.encrypt(plain, site.image("HARDWARE"), foreign=("tpm", "smart-card", "tpm-pin"), rng=site.rng)
        self.is_refused(lab, drive, "BitLockerProtectorNotFound", "protected by a TPM, a smart card, a TPM with a PIN, which cannot be used")
        drive = site.bitlocker("SHORT", **key)
        os.truncate(site.image("SHORT"), SIZE - MIB)
        self.is_refused(lab, drive, "DiskOperationFailed", "but the device ends at")
        drive = site.bitlocker("WIPED", **key)
        damage(site.image("WIPED"), 0, bytes(512))
        self.is_refused(lab, drive, "BitLockerVolumeNotFound", "holds nothing known")

    def test_a_wrong_key_is_a_fault_that_says_what_is_wrong_and_ends_BitLockerKeyInvalid_when_given_up(self):
        lab, site = self.lab()
        bad = RECOVERY.replace("720885", "720886")
        for serial, kind, key, sentence in (
                ("WRONG", "password", b"another", "the key does not unlock the volume"),
                ("BREAK", "password", PASSWORD.encode() + b"\n", "the key ends in a line break"),
                ("DIGIT", "recovery", bad.encode(), "group 4 of the recovery key is wrong"),
                ("OTHER", "recovery", RECOVERY.replace("110011", "000011").encode(), "the key does not unlock the volume"),
                ("KIND", "recovery", PASSWORD.encode(), "the key is a password, but the volume is protected by a recovery password")):
            with self.subTest(serial=serial):
                drive = site.bitlocker(serial, key=kind)
                job = f"job-{serial.lower()}"
                lab.key_file(serial, key)
                lab.create(job, [drive])
                lab.plug(serial)
                lab.wait_drive(job, serial, "Faulted", True)
                self.assertIn(sentence, lab.drive(job, serial, "FaultReason"))
                self.assertNotIn("720886", lab.log())
        right = lab.key_file("DIGIT", RECOVERY.encode())
        lab.ctl("retry", "job-digit", "DIGIT", "--key-file", right)
        lab.wait_drive("job-digit", "DIGIT", "CopyStatus", "Completed")
        lab.ctl("release", "job-wrong", "WRONG")
        lab.wait_drive("job-wrong", "WRONG", "State", "CompletedMoreInfo")
        self.assertEqual(lab.drive("job-wrong", "WRONG", "CopyStatus"), "BitLockerKeyInvalid")
        self.assertEqual(xml.parse(lab.logs("job-wrong")[0]).getroot().findtext("Status"), "BitLockerKeyInvalid")

    def test_the_volume_id_is_compared_before_a_key_is_tried(self):
        lab, site = self.lab()
        drive = site.bitlocker("STRANGER", key="start-up key")
        lab.ctl("create", "job-stranger", "--type", "import", "--store", lab.store)
        lab.key_file("STRANGER", b"no key at all")
        lab.ctl("add-drive", "job-stranger", "STRANGER", "--key-file", lab.shelf / "STRANGER.key", "--manifest", drive["manifest"],
                "--manifest-hash", drive["manifest-hash"], "--volume-id", "4967d63b-2e29-4ad8-8399-f6a339e3d001")
        lab.ctl("ship", "job-stranger")
        lab.plug("STRANGER")
        lab.wait(lambda: f"the volume has the identifier {drive['volume-id']}, but 4967d63b-2e29-4ad8-8399-f6a339e3d001 was expected"
                 in lab.log(), "the other identifier to be named")
        self.assertNotIn("the key does not", lab.log())


class Judges(unittest.TestCase):
    """The volumes that the other tests are made of, read by programs other than ours."""

    def test_cryptsetup_and_dislocker_read_every_volume(self):
        rng = seed()
        with tempfile.TemporaryDirectory(dir="/var/tmp") as work:
            work = pathlib.Path(work)
            for cipher in bitlocker.CIPHERS:
                for sector_size, to_go in ((512, False), (4096, False), (512, True)):
                    with self.subTest(cipher=cipher, sector_size=sector_size, to_go=to_go):
                        self.judge(work, rng, cipher, sector_size, to_go)

    def judge(self, work, rng, cipher, sector_size, to_go):
        size = 3 * MIB
        content = bytearray(rng.randbytes(size))
        for at, length in bitlocker.reserved(size, sector_size, to_go):
            content[at : at + length] = bytes(length)
        (work / "plain").write_bytes(content)
        keys = bitlocker.encrypt(work / "plain", work / "image", cipher, sector_size, to_go, PASSWORD, RECOVERY, True, rng=rng)
        (name, start_up_key), = keys.start_up_keys.items()
        (work / name).write_bytes(start_up_key)
        (work / "key").write_bytes(PASSWORD.encode())
        dump = make_drive.run("cryptsetup", "bitlkDump", work / "image").decode()
        self.assertIn(keys.identifier, dump)
        for words in ("passphrase", "recovery passphrase", "startup key"):
            self.assertIn(f"VMK protected with {words}", dump)
        make_drive.run("cryptsetup", "bitlkOpen", "--test-passphrase", "--key-file", work / name, work / "image")
        make_drive.run("cryptsetup", "bitlkOpen", "--test-passphrase", work / "image", input=RECOVERY.encode())
        shown = make_drive.run("cryptsetup", "bitlkDump", "-q", "--dump-volume-key", "--key-file", work / "key", work / "image").decode()
        shown = "".join(re.findall(r"\b[0-9a-f]{2}\b", shown.split("MK dump:")[1]))
        self.assertEqual(shown, keys.volume_key.hex())
        # Its metadata has no room for 4096-byte sectors in this version.
        if sector_size == 512:
            for option in (f"-u{PASSWORD}", f"-p{RECOVERY}", f"-f{work / name}"):
                make_drive.run("dislocker-file", "-V", work / "image", option, "--", work / "out")
                self.assertEqual((work / "out").read_bytes(), content, option)
                (work / "out").unlink()


del Volumes  # its tests are volumes_test's

if __name__ == "__main__":
    unittest.main()
