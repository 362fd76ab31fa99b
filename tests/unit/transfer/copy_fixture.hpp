// SPDX-License-Identifier: Apache-2.0
//
// One copy after the other of a drive in memory into a directory store on disk, each as a new process would
// do it: journal opened, manifest read, Import run.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/transfer/import.hpp"
#include "daemon/transfer/reports.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/transfer/fake_drive.hpp"
#include "tests/unit/transfer/faulty_store.hpp"

namespace dray::test {

class CopyTest : public testing::Test {
protected:
    using Content = FakeDrive::Content;

    CopyTest();

    static Content random(std::size_t size);
    /// Adds a file and its blob "lab/NAME" in pieces of `piece` bytes.
    format::ManifestBlob& add(const std::string& name, Content content, Bytes piece = 4 * kMiB);

    struct Copied {
        Result<transfer::CopyEnd> end;
        Counters counters;
        /// What the journal says of each blob, by name in the manifest.
        std::map<std::string, std::optional<transfer::BlobRecord>> records;
    };
    /// `prepare` may damage the drive or ask for a drain before the copy begins.
    Copied copy(const std::function<void(FakeDrive&, transfer::Control&)>& prepare = {});
    /// As copy(), and the blobs must all be there and nothing else.
    void copy_all();

    /// {blob path: content} of all that can be found in the store.
    std::map<std::string, Content> blobs();
    std::map<std::string, Content> expected() const;
    transfer::Spool spool();
    std::unique_ptr<transfer::Journal> journal();
    bool has_uncommitted() const;

    ScratchDirectory scratch_;
    std::vector<format::ManifestBlob> manifest_;
    std::map<std::string, Content> files_;
    Faults faults_;
    std::unique_ptr<store::BlobStore> store_;
    SystemClock clock_;
    Bytes ring_ = 32 * kMiB;
    unsigned requests_ = 16;
    Microseconds patience_ = std::chrono::minutes(1);
    /// Long enough to be stopped in.
    Microseconds removal_limit_ = std::chrono::milliseconds(100);
};

}  // namespace dray::test
