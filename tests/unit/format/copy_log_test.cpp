// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/copy_log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pugixml.hpp>

#include "tests/unit/format/samples.hpp"

namespace dray::format {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kHead =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DriveLog Version=\"2014-11-01\">\n  <DriveId>TEST0001</DriveId>\n";

class CopyLogTest : public testing::Test {
protected:
    CopyLogTest() : blobs_(read_manifest(kSampleManifest).blobs) {}

    LogBlob entry(std::size_t i, BlobOutcome outcome = BlobOutcome::Completed,
                  DispositionOutcome disposition = DispositionOutcome::Created) const {
        LogBlob result;
        result.blob = &blobs_.at(i);
        result.blob_path = blobs_.at(i).blob_path;
        result.outcome = outcome;
        result.disposition = disposition;
        return result;
    }

    static std::string write(const std::vector<LogBlob>& entries, bool is_verbose, std::string_view status = "Completed") {
        std::string text;
        CopyLogWriter writer(
            [&](std::string_view part) -> Result<void> {
                text += part;
                return {};
            },
            "TEST0001", is_verbose);
        for (const LogBlob& blob : entries)
            EXPECT_TRUE(writer.blob(blob));
        EXPECT_TRUE(writer.finish(status));
        pugi::xml_document document;
        EXPECT_TRUE(document.load_string(text.c_str())) << text;
        return text;
    }

    std::vector<ManifestBlob> blobs_;
};

TEST_F(CopyLogTest, TheVerboseLogHasEveryBlobAndEveryPiece) {
    LogBlob ramp = entry(0);
    ramp.metadata = SideFileOutcome::Completed;
    ramp.properties = SideFileOutcome::Completed;
    const std::string text = write({ramp, entry(1)}, true);
    EXPECT_EQ(text, std::string(kHead) +
                        R"(  <Blob Status="Completed">
    <BlobPath>lab/a/ramp.bin</BlobPath>
    <FilePath>\s001\a\ramp.bin</FilePath>
    <Length>10000</Length>
    <ImportDisposition Status="Created">no-overwrite</ImportDisposition>
    <BlockList>
      <Block Offset="0" Length="4096" Id="MD5/oMFmFskZB70U6ZmYbPgi1Q==" Hash="A0C16616C91907BD14E999986CF822D5" Status="Completed"/>
      <Block Offset="4096" Length="4096" Id="MD5/xn+vQDcqPUKwDiZeD2s2qQ==" Hash="C67FAF40372A3D42B00E265E0F6B36A9" Status="Completed"/>
      <Block Offset="8192" Length="1808" Id="MD5/txV0q2pSDZPUQ6Ez5rs6bw==" Hash="B71574AB6A520D93D443A133E6BB3A6F" Status="Completed"/>
    </BlockList>
    <Metadata Status="Completed">
      <GlobalPath Hash="A33F5E65D3EAD4599A78E7573ACFE081">\meta.xml</GlobalPath>
    </Metadata>
    <Properties Status="Completed">
      <Path Hash="1C4EEB6BE7EDE281813151044C81D4B9">\s001\a\ramp.bin.properties</Path>
    </Properties>
  </Blob>
  <Blob Status="Completed">
    <BlobPath>lab/disk.img</BlobPath>
    <FilePath>\s001\disk.img</FilePath>
    <Length>2048</Length>
    <ImportDisposition Status="Created">rename</ImportDisposition>
    <PageRangeList>
      <PageRange Offset="512" Length="512" Hash="AF1AA4B97765577977680C6D0052B44B" Status="Completed"/>
    </PageRangeList>
  </Blob>
  <Status>Completed</Status>
</DriveLog>
)");
}

TEST_F(CopyLogTest, TheErrorLogOfACleanDriveHasNoBlobs) {
    const std::string clean = std::string(kHead) + "  <Status>Completed</Status>\n</DriveLog>\n";
    EXPECT_EQ(write({entry(0), entry(1)}, false), clean);
    EXPECT_EQ(write({}, false), clean);
    EXPECT_EQ(write({}, true), clean);
}

TEST_F(CopyLogTest, TheErrorLogHasOnlyWhatFailed) {
    LogBlob ramp = entry(0, BlobOutcome::CompletedWithErrors);
    ramp.pieces = {PieceOutcome::Committed, PieceOutcome::Corrupted, PieceOutcome::Completed};
    ramp.metadata = SideFileOutcome::Completed;
    ramp.properties = SideFileOutcome::XmlReadFailed;
    const std::string text = write({entry(1), ramp}, false, "CompletedWithErrors");
    EXPECT_EQ(text, std::string(kHead) +
                        R"(  <Blob Status="CompletedWithErrors">
    <BlobPath>lab/a/ramp.bin</BlobPath>
    <FilePath>\s001\a\ramp.bin</FilePath>
    <Length>10000</Length>
    <ImportDisposition Status="Created">no-overwrite</ImportDisposition>
    <BlockList>
      <Block Offset="4096" Length="4096" Id="MD5/xn+vQDcqPUKwDiZeD2s2qQ==" Hash="C67FAF40372A3D42B00E265E0F6B36A9" Status="Corrupted"/>
    </BlockList>
    <Properties Status="XmlReadFailed">
      <Path Hash="1C4EEB6BE7EDE281813151044C81D4B9">\s001\a\ramp.bin.properties</Path>
    </Properties>
  </Blob>
  <Status>CompletedWithErrors</Status>
</DriveLog>
)");
}

TEST_F(CopyLogTest, ABlobThatFailedAsAWholeListsItsPiecesAsCancelled) {
    for (const bool is_verbose : {false, true}) {
        const std::string text = write({entry(0, BlobOutcome::FileNotFound, DispositionOutcome::Cancelled)}, is_verbose);
        EXPECT_THAT(text, HasSubstr("<Blob Status=\"FileNotFound\">"));
        EXPECT_THAT(text, HasSubstr("<ImportDisposition Status=\"Cancelled\">"));
        std::size_t cancelled = 0;
        for (std::size_t at = 0; (at = text.find("Status=\"Cancelled\"/>", at)) != std::string::npos; ++at)
            ++cancelled;
        EXPECT_EQ(cancelled, 3U);
    }
}

TEST_F(CopyLogTest, WarningsAreInTheErrorLogWithoutPieces) {
    for (const auto disposition :
         {DispositionOutcome::Renamed, DispositionOutcome::Skipped, DispositionOutcome::Overwritten}) {
        LogBlob ramp = entry(0, BlobOutcome::Completed, disposition);
        ramp.blob_path = "lab/a/ramp (2).bin";
        const std::string text = write({ramp}, false, "CompletedWithWarnings");
        EXPECT_THAT(text, HasSubstr("<BlobPath>lab/a/ramp (2).bin</BlobPath>"));
        EXPECT_THAT(text, HasSubstr("<ImportDisposition Status=\"" + std::string(to_string(disposition)) + "\">"));
        EXPECT_THAT(text, Not(HasSubstr("BlockList")));
    }
}

TEST_F(CopyLogTest, ASkippedBlobHasNoPiecesInTheVerboseLogEither) {
    EXPECT_THAT(write({entry(0, BlobOutcome::Completed, DispositionOutcome::Skipped)}, true), Not(HasSubstr("BlockList")));
    EXPECT_THAT(write({entry(0, BlobOutcome::Completed, DispositionOutcome::Renamed)}, true), HasSubstr("BlockList"));
}

TEST_F(CopyLogTest, EscapesWhatDrivesCallTheirFiles) {
    LogBlob blob = entry(1, BlobOutcome::IOFailed);
    blob.blob_path = "lab/<a>&\"";
    EXPECT_THAT(write({blob}, false), HasSubstr("<BlobPath>lab/&lt;a&gt;&amp;&quot;</BlobPath>"));
}

TEST_F(CopyLogTest, WritesManyPiecesInParts) {
    ManifestBlob big = blobs_[0];
    big.pieces.assign(20'000, big.pieces[0]);
    LogBlob blob = entry(0);
    blob.blob = &big;
    std::size_t longest = 0;
    CopyLogWriter writer(
        [&](std::string_view part) -> Result<void> {
            longest = std::max(longest, part.size());
            return {};
        },
        "X", true);
    ASSERT_TRUE(writer.blob(blob));
    EXPECT_LT(longest, 128 * kKiB);
}

TEST_F(CopyLogTest, RefusesOutcomesThatDoNotFitThePieces) {
    CopyLogWriter writer([](std::string_view) -> Result<void> { return {}; }, "X", true);
    LogBlob blob = entry(0);
    blob.pieces = {PieceOutcome::Completed};
    EXPECT_EQ(writer.blob(blob).error().kind(), ErrorKind::Internal);
    EXPECT_EQ(writer.blob(LogBlob{}).error().kind(), ErrorKind::Internal);
}

TEST_F(CopyLogTest, PassesOnWhatTheSinkFailsWith) {
    CopyLogWriter writer([](std::string_view) -> Result<void> { return fail(ErrorKind::NoSpace, "full"); }, "X", true);
    EXPECT_EQ(writer.finish("Completed").error().kind(), ErrorKind::NoSpace);
}

TEST_F(CopyLogTest, WordsAreThoseOfTheDocument) {
    EXPECT_EQ(to_string(BlobOutcome::BlobUnexpectedChange), "BlobUnexpectedChange");
    EXPECT_EQ(to_string(BlobOutcome::Failed), "Failed");
    EXPECT_EQ(to_string(DispositionOutcome::Overwritten), "Overwritten");
    EXPECT_EQ(to_string(PieceOutcome::FileUnexpectedEnd), "FileUnexpectedEnd");
    EXPECT_EQ(to_string(SideFileOutcome::XmlWriteFailed), "XmlWriteFailed");
}

}  // namespace
}  // namespace dray::format
