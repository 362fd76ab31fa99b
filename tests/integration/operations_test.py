#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Table 2.3 of azure-import-export.md, operation x state, tried on jobs in each of the seven states; and when each
property may change (1.4)."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from lab import Lab, encode, make_tree  # noqa: E402

STATES = ("Creating", "Shipping", "Received", "Transferring", "Packaging", "Completed", "Closed")
OK, NO = "", "StateConflict"

# Operation: the interface's call, and what it answers in each state. What moves a job on where it is allowed comes
# last.
TABLE = {
    # A job is not replaced by another of its name: dray has no PUT, and CreateJob says so in every state.
    "PUT job": (lambda lab, job: ("/org/dray1", "Manager", "CreateJob", "sssa{sv}", job, "import", "vault", 0),
                ("Exists",) * 7),
    "GET job": (lambda lab, job: ("/org/dray1", "Manager", "GetJob", "s", job), (OK,) * 7),
    "PATCH tags": (lambda lab, job: (path(job), "Job", "Update", "a{sv}", 1, "tags", "a{ss}", 1, "site", "north"),
                   (OK,) * 7),
    "PATCH logLevel, backupDriveManifest":
        (lambda lab, job: (path(job), "Job", "Update", "a{sv}", 2, "log-level", "s", "Verbose", "backup-manifest", "b",
                           "true"), (OK, OK, OK, OK, NO, NO, NO)),
    "PATCH deliveryPackage":
        (lambda lab, job: (path(job), "Job", "Update", "a{sv}", 2, "carrier", "s", "Post", "tracking", "s", "1Z"),
         (OK, OK, NO, NO, NO, NO, NO)),
    # By drayctl: a key is handed over as a descriptor.
    "PATCH driveList": (None, (OK, NO, NO, NO, NO, NO, NO)),
    "PATCH state=Shipping": (lambda lab, job: (path(job), "Job", "Ship", "a{sv}", 0),
                             (OK, OK, NO, NO, NO, NO, NO)),
    "PATCH cancelRequested=true":
        (lambda lab, job: (path(job), "Job", "Update", "a{sv}", 1, "cancel-requested", "b", "true"),
         (OK, OK, OK, OK, NO, NO, NO)),
    "Cancel": (lambda lab, job: (path(job), "Job", "Cancel", "a{sv}", 0), (OK, OK, OK, OK, NO, NO, NO)),
    "DELETE": (lambda lab, job: (path(job), "Job", "Delete", "a{sv}", 0), (OK, NO, NO, NO, NO, OK, OK)),
}


def path(job):
    return f"/org/dray1/job/{encode(job)}"


class Operations(unittest.TestCase):
    def in_state(self, lab, state):
        """A fresh job in a state that can be had at once; its name."""
        self.made += 1
        job = f"fresh{self.made}"
        serial = f"F{self.made}"
        lab.ctl("create", job, "--store", "vault")
        lab.ctl("add-drive", job, serial, "--key-file", lab.key_file(serial), "--manifest", "\\M.xml",
                "--manifest-hash", "0" * 32)
        if state in ("Shipping", "Closed"):
            lab.ctl("ship", job)
        if state == "Closed":
            lab.ctl("close", job)
        if state == "Completed":
            lab.ctl("cancel", job)
        lab.wait_job(job, "State", state)
        return job

    def set_up_lab(self, lab):
        """Jobs Completed and in Packaging; and two that will be Transferring and Received while the store is held."""
        drives = {s: lab.prepare(s, make_tree(lab.root / f"source{s}", {f"{s}/a": s.encode()})) for s in "DPTR"}
        lab.start()
        for serial, job in (("D", "done"), ("P", "packing"), ("T", "running"), ("R", "waiting")):
            lab.create(job, [drives[serial]])
        lab.plug("D")
        lab.plug("P")
        lab.wait_job("packing", "State", "Packaging")
        lab.wait_job("done", "State", "Packaging")
        lab.unplug("D")
        lab.wait_job("done", "State", "Completed")

    def hold_states(self, lab):
        lab.plug("T")
        lab.wait_drive("running", "T", "CopyStatus", "Transferring")
        lab.plug("R")
        lab.wait_job("waiting", "State", "Received")

    def test_every_operation_of_table_2_3_in_every_state(self):
        self.made = 0
        standing = {"Completed": "done", "Packaging": "packing", "Transferring": "running", "Received": "waiting"}
        with Lab(transfers=1) as lab:
            self.set_up_lab(lab)
            with lab.held_store():
                self.hold_states(lab)
                for operation, (call, row) in TABLE.items():
                    if operation == "Cancel":
                        continue  # below: it would need a second job in the states that are hard to come by
                    # A cancelled job says no to more than its state does, so that DELETE comes before it.
                    for state, expected in zip(STATES, row):
                        if operation == "PATCH cancelRequested=true" and state in ("Received", "Transferring"):
                            continue
                        job = standing.get(state) or self.in_state(lab, state)
                        if operation == "DELETE" and state == "Completed":
                            job = self.in_state(lab, state)
                        with self.subTest(operation=operation, state=state):
                            if operation == "PATCH driveList":
                                done = lab.ctl("add-drive", job, f"N{self.made}", "--key-file", lab.key_file("N"),
                                               "--manifest", "\\M.xml", "--manifest-hash", "0" * 32, status=None)
                                self.assertEqual(done[2], 0 if expected == OK else 1)
                                if expected == NO:
                                    self.assertIn(f"it is {state}", done[1])
                                continue
                            word, sentence = lab.error_of(*call(lab, job))
                            self.assertEqual(word, expected, sentence)
                            if word == NO:
                                self.assertIn(f"it is {state}", sentence)
                            if word == "Exists":
                                self.assertIn(job, sentence)
                listed = {j["job"]: j["state"] for j in lab.json("list")}
                for state, job in standing.items():
                    self.assertEqual(listed[job], state, "List shows jobs in every state, and nothing has moved one")
                self.assertTrue({"Creating", "Shipping", "Completed", "Closed"} <= set(listed.values()))
                # PATCH cancelRequested=true and Cancel where only one job of the state is to be had.
                for operation, state in (("Cancel", "Packaging"), ("Cancel", "Completed"), ("Cancel", "Received"),
                                         ("PATCH cancelRequested=true", "Transferring")):
                    call, row = TABLE[operation]
                    with self.subTest(operation="PATCH cancelRequested=true", state=state):
                        word, sentence = lab.error_of(*call(lab, standing[state]))
                        self.assertEqual(word, row[STATES.index(state)], sentence)
                        self.assertEqual(lab.job(standing[state], "CancelRequested"), word == OK)

    def test_the_column_none_is_not_found(self):
        with Lab() as lab:
            lab.start()
            word, sentence = lab.error_of("/org/dray1", "Manager", "GetJob", "s", "nobody")
            self.assertEqual(word, "NotFound")
            self.assertIn("nobody", sentence)
            for verb in (("show",), ("update", "--tag", "a=b"), ("ship",), ("cancel",), ("delete",), ("close",)):
                lab.ctl(verb[0], "nobody", *verb[1:], status=4)
            # PUT: 201.
            self.assertEqual(lab.error_of("/org/dray1", "Manager", "CreateJob", "sssa{sv}", "nobody", "import", "vault",
                                          0), ("", ""))

    def test_after_a_cancel_only_what_changes_nothing_is_allowed(self):
        """2.3's note: repeating cancel succeeds in every state; 2.4's last row."""
        self.made = 0
        with Lab() as lab:
            lab.start()
            job = self.in_state(lab, "Completed")
            for operation in ("Cancel", "PATCH cancelRequested=true", "GET job", "PATCH tags"):
                self.assertEqual(lab.error_of(*TABLE[operation][0](lab, job)), ("", ""), operation)
            self.assertEqual(lab.error_of(*TABLE["PATCH state=Shipping"][0](lab, job))[0], NO)
            withdrawn = lab.error_of(path(job), "Job", "Update", "a{sv}", 1, "cancel-requested", "b", "false")
            self.assertEqual(withdrawn[0], NO)
            self.assertIn("cannot be withdrawn", withdrawn[1])
            # Of a job that is not cancelled, false is only what it is already.
            other = self.in_state(lab, "Creating")
            self.assertEqual(lab.error_of(path(other), "Job", "Update", "a{sv}", 1, "cancel-requested", "b", "false"),
                             ("", ""))
            self.assertFalse(lab.job(other, "CancelRequested"))

    def test_an_update_is_done_whole_or_not_at_all(self):
        """1.4: validate all, then change all. 2.2 #3: each good one restarts the timer of a job in Creating."""
        self.made = 0
        with Lab() as lab:
            lab.start()
            job = self.in_state(lab, "Shipping")
            lab.ctl("close", job)
            lab.wait_job(job, "State", "Closed")
            word, _ = lab.error_of(path(job), "Job", "Update", "a{sv}", 2, "tags", "a{ss}", 1, "site", "north",
                                   "log-level", "s", "Verbose")
            self.assertEqual(word, NO)
            self.assertEqual(lab.job(job, "LogLevel"), "Error")
            lab.ctl("delete", job)
            fresh = self.in_state(lab, "Creating")
            before = lab.job(fresh, "ExpiresUSec")
            lab.ctl("update", fresh, "--log-level", "Verbose", "--backup-manifest", "true", "--tag", "site=north")
            self.assertEqual((lab.job(fresh, "LogLevel"), lab.job(fresh, "BackupManifest")), ("Verbose", True))
            after = lab.job(fresh, "ExpiresUSec")
            self.assertGreater(after, before)
            for arguments in (("--log-level", "Loud"), ("--carrier", "x" * 4097)):
                lab.ctl("update", fresh, *arguments, status=None)
                self.assertEqual(lab.job(fresh, "ExpiresUSec"), after, "a refused one restarts nothing")
            lab.ctl("update", fresh, "--carrier", "x" * 4096)

    def test_shipping_details_are_asked_for_only_where_the_site_wants_them(self):
        """2.2 #4: return address and delivery package, else InvalidArgument; and nothing is kept of a refused Ship."""
        self.made = 0
        with Lab() as lab:
            config = lab.config.read_text().replace("hand-back: unplug", "hand-back: unplug, require-shipping: true")
            lab.config.write_text(config)
            lab.start()
            job = self.in_state(lab, "Creating")
            for arguments in ((), ("--carrier", "Post"), ("--carrier", "Post", "--tracking", "1Z"),
                              ("--return-address", "city=Bern")):
                self.assertIn("return address", lab.ctl("ship", job, *arguments, status=1)[1])
                self.assertEqual(lab.job(job, "State"), "Creating")
            word, _ = lab.error_of(path(job), "Job", "Ship", "a{sv}", 0)
            self.assertEqual(word, "InvalidArgument")
            lab.ctl("update", job, "--carrier", "Post")  # earlier is as good as now
            lab.ctl("ship", job, "--tracking", "1Z", "--return-address", "city=Bern")
            self.assertEqual(lab.job(job, "State"), "Shipping")
            lab.ctl("ship", job)  # once more changes nothing

    def test_jobs_have_a_limit_with_two_sides(self):
        self.made = 0
        with Lab(extra="jobs: {max: 3}\n") as lab:
            lab.start()
            for _ in range(3):
                self.in_state(lab, "Creating")
            word, sentence = lab.error_of("/org/dray1", "Manager", "CreateJob", "sssa{sv}", "fourth", "import", "vault", 0)
            self.assertEqual(word, "LimitExceeded")
            self.assertIn("jobs.max", sentence)
            lab.ctl("delete", "fresh1")
            lab.ctl("create", "fourth", "--store", "vault")
            # A drive is expected by one unfinished job at a time, and once by it (3.1).
            add = ("F2", "--key-file", lab.shelf / "F2.key", "--manifest", "\\M.xml", "--manifest-hash", "0" * 32)
            self.assertIn("fresh2", lab.ctl("add-drive", "fourth", *add, status=1)[1])
            self.assertIn("already", lab.ctl("add-drive", "fresh2", *add, status=1)[1])


if __name__ == "__main__":
    unittest.main()
