// SPDX-License-Identifier: Apache-2.0
//
// The manifest on its way from the drive: each way in which it cannot be had has its own word of
// azure-import-export.md 6.3, and the one of an earlier run is not touched before the new one is whole.
#include "daemon/transfer/spool.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/transfer/fake_drive.hpp"

namespace dray::test {
namespace {

using transfer::Refusal;
using transfer::Spool;

class SpoolTest : public testing::Test {
protected:
    using Content = FakeDrive::Content;

    static Content text(std::string_view xml) {
        const auto bytes = std::as_bytes(std::span(xml));
        return {bytes.begin(), bytes.end()};
    }
    /// "" for a spool that is there, else the word it was refused with.
    std::string copy(const std::string& path, const std::string& hash, bool is_unreadable = false) {
        FakeDrive drive(files_);
        if (is_unreadable)
            drive.fail_at("M.xml", 5, ErrorKind::Internal);
        drive::Client client = drive.connect(4 * kMiB);
        auto copied = transfer::copy_to_spool(client, scratch_.path(), path, hash);
        EXPECT_TRUE(copied) << copied.error().text();
        return *copied ? std::string() : copied->error().status;
    }
    std::string hash() const { return to_hex(md5(files_.at("M.xml"))); }

    ScratchDirectory scratch_;
    std::map<std::string, Content> files_ = {
        {"M.xml", text("<DriveManifest><Drive><DriveId>SER</DriveId></Drive></DriveManifest>")}};
};

TEST_F(SpoolTest, EachWayOfNotHavingItHasItsWord) {
    EXPECT_EQ(copy("\\M.xml", hash()), "");
    EXPECT_EQ(copy("\\M.xml", hash(), true), "ReadManifestFailed");
    EXPECT_EQ(copy("\\M.xml", std::string(32, '0')), "ManifestCorrupted");
    EXPECT_EQ(copy("\\nowhere.xml", hash()), "ManifestNotFound");
    EXPECT_EQ(copy("\\..\\M.xml", hash()), "ManifestNameInvalid");
    EXPECT_EQ(copy("", hash()), "ManifestNameInvalid");
    EXPECT_EQ(copy("\\" + std::string(256, 'x'), hash()), "ManifestNameTooLong");
    EXPECT_EQ(copy("\\" + std::string(255, 'x'), hash()), "ManifestNotFound");
}

TEST_F(SpoolTest, SlashesMayComeTwiceAndHashesInEitherCase) {
    std::string lower = hash();
    for (char& c : lower)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    EXPECT_EQ(copy("\\\\M.xml", lower), "");
    for (const DigestKind kind : {DigestKind::Sha256, DigestKind::Sha512}) {
        Digest digest(kind);
        digest.update(files_.at("M.xml"));
        EXPECT_EQ(copy("M.xml", to_hex(digest.finish())), "");
    }
}

TEST_F(SpoolTest, TheOneOfAnEarlierRunStaysUntilTheNewOneIsWhole) {
    ASSERT_EQ(copy("\\M.xml", hash()), "");
    const auto before = read_file(scratch_ / "manifest.xml", kMiB);
    files_["M.xml"] = text("<DriveManifest><Drive><DriveId>OTHER</DriveId></Drive></DriveManifest>");
    EXPECT_EQ(copy("\\M.xml", hash(), true), "ReadManifestFailed");
    EXPECT_EQ(copy("\\M.xml", std::string(32, '0')), "ManifestCorrupted");
    EXPECT_EQ(*read_file(scratch_ / "manifest.xml", kMiB), *before);
}

TEST_F(SpoolTest, ManifestDriveIdMismatchSaysMoreThanWhatMayBeWrongBehindIt) {
    files_["M.xml"] = text("<DriveManifest><Drive><DriveId>OTHER</DriveId><BlobList><Blob/></BlobList></Drive>");
    ASSERT_EQ(copy("\\M.xml", hash()), "");
    const auto spool = transfer::open_spool(scratch_.path());
    ASSERT_TRUE(spool);
    EXPECT_EQ(spool->check("SER").error().status, "ManifestDriveIdMismatch");
    EXPECT_EQ(spool->check("other").error().status, "ManifestFormatInvalid");
}

}  // namespace
}  // namespace dray::test
