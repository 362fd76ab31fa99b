// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/copy_log_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/base/encoding.hpp"

namespace dray::format {
namespace {

using testing::HasSubstr;

struct ReadLog {
    std::string drive_id;
    std::string status;
    std::vector<LoggedBlob> blobs;
    std::optional<Error> error;
};

ReadLog read_log(std::string_view text, std::size_t step = 7) {
    ReadLog log;
    CopyLogReader reader([&](LoggedBlob&& blob) -> Result<void> {
        log.blobs.push_back(std::move(blob));
        return {};
    });
    const auto bytes = std::as_bytes(std::span(text));
    Result<void> result;
    for (std::size_t at = 0; result && at < bytes.size(); at += step)
        result = reader.feed(bytes.subspan(at, std::min(step, bytes.size() - at)));
    if (result)
        result = reader.finish();
    if (!result)
        log.error = result.error();
    log.drive_id = reader.drive_id();
    log.status = reader.status();
    return log;
}

/// As the grammar of 6.2 has it, with what samples of others do: no Version, LastModified before Length, blanks.
constexpr std::string_view kLog = R"(<?xml version="1.0" encoding="utf-8"?>
<DriveLog><!-- a comment --><DriveId> 9WM35C2V </DriveId>
  <Blob Status="CompletedWithErrors">
    <BlobPath>pictures/bob/wild &amp; free.jpg</BlobPath>
    <FilePath>\pictures\bob\wild &amp; free.jpg</FilePath>
    <LastModified>2013-09-18T23:47:08Z</LastModified>
    <Length>163840</Length>
    <ImportDisposition Status="Overwritten">overwrite</ImportDisposition>
    <BlockList>
      <Block Offset="0" Length="65536" Id="AAAAAA==" Hash=" 9C8AE14A55241F98533C4D80D85CDC68" Status="Corrupted"/>
      <Block Offset="65536" Length="65536" Id="AQAAAA==" Status="Committed"/>
      <Block Offset="131072" Length="32768" Status="SomethingNew"/>
    </BlockList>
    <Metadata Status="Completed"><GlobalPath Hash="00000000000000000000000000000000">\m.xml</GlobalPath></Metadata>
    <Properties Status="Corrupted"><Path Hash="00000000000000000000000000000000">\p.xml</Path></Properties>
    <Unknown><Deeper Length="x"/></Unknown>
  </Blob>
  <Blob Status="FileNotFound"><BlobPath>a/b</BlobPath><FilePath>\b</FilePath><Length>0</Length>
    <ImportDisposition Status="Cancelled">no-overwrite</ImportDisposition><BlockList/></Blob>
  <Blob Status="Completed"><BlobPath>a/c</BlobPath><FilePath>\c</FilePath><Snapshot>2013-09-18T23:47:08.0000000Z</Snapshot>
    <Length>1024</Length><PageRangeList><PageRange Offset="0" Length="512" Hash="" Status="Completed"/></PageRangeList></Blob>
  <Status>CompletedWithErrors</Status>
</DriveLog>
)";

TEST(CopyLogReader, ReadsWhatTheDocumentsHaveInWhateverPortions) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, kLog.size()}) {
        const ReadLog log = read_log(kLog, step);
        ASSERT_FALSE(log.error) << log.error->text();
        EXPECT_EQ(log.drive_id, "9WM35C2V");
        EXPECT_EQ(log.status, "CompletedWithErrors");
        ASSERT_EQ(log.blobs.size(), 3U);
        const LoggedBlob& first = log.blobs[0];
        EXPECT_EQ(first.outcome, BlobOutcome::CompletedWithErrors);
        EXPECT_EQ(first.blob_path, "pictures/bob/wild & free.jpg");
        EXPECT_EQ(first.file_path, "\\pictures\\bob\\wild & free.jpg");
        EXPECT_EQ(first.length, 163840U);
        EXPECT_EQ(first.disposition, Disposition::Overwrite);
        EXPECT_EQ(first.disposition_outcome, DispositionOutcome::Overwritten);
        ASSERT_EQ(first.pieces.size(), 3U);
        EXPECT_EQ(to_hex(*first.pieces[0].hash), "9C8AE14A55241F98533C4D80D85CDC68");
        EXPECT_EQ(first.pieces[0].outcome, PieceOutcome::Corrupted);
        EXPECT_FALSE(first.pieces[1].hash);
        EXPECT_EQ(first.pieces[1].outcome, PieceOutcome::Committed);
        EXPECT_EQ(first.pieces[2].offset, 131072U);
        EXPECT_EQ(first.pieces[2].outcome, PieceOutcome::Failed);
        EXPECT_EQ(first.metadata, SideFileOutcome::Completed);
        EXPECT_EQ(first.properties, SideFileOutcome::Corrupted);
        EXPECT_TRUE(first.needs_repair());
        EXPECT_TRUE(first.is_in_store()) << "a service that commits what it has";
        EXPECT_EQ(log.blobs[1].outcome, BlobOutcome::FileNotFound);
        EXPECT_EQ(log.blobs[1].disposition, Disposition::NoOverwrite);
        EXPECT_TRUE(log.blobs[1].needs_repair());
        EXPECT_FALSE(log.blobs[1].is_in_store());
        EXPECT_TRUE(log.blobs[2].is_page_blob);
        EXPECT_EQ(log.blobs[2].snapshot, "2013-09-18T23:47:08.0000000Z");
        EXPECT_FALSE(log.blobs[2].disposition_outcome);
        EXPECT_FALSE(log.blobs[2].needs_repair());
    }
}

TEST(CopyLogReader, TellsWhatIsInTheStoreFromWhatIsNot) {
    const auto blob = [](BlobOutcome outcome, DispositionOutcome disposition, bool is_page, PieceOutcome piece) {
        LoggedBlob result;
        result.outcome = outcome;
        result.disposition_outcome = disposition;
        result.is_page_blob = is_page;
        result.pieces.push_back({0, 512, std::nullopt, piece});
        return result.is_in_store();
    };
    using enum BlobOutcome;
    using enum DispositionOutcome;
    EXPECT_TRUE(blob(CompletedWithErrors, Created, true, PieceOutcome::Corrupted));
    EXPECT_FALSE(blob(CompletedWithErrors, Created, false, PieceOutcome::Corrupted));
    EXPECT_TRUE(blob(CompletedWithErrors, Created, false, PieceOutcome::Completed)) << "its metadata failed";
    EXPECT_TRUE(blob(CompletedWithErrors, Created, false, PieceOutcome::Committed));
    EXPECT_FALSE(blob(CompletedWithErrors, Cancelled, true, PieceOutcome::Corrupted));
    EXPECT_FALSE(blob(BlobOutcome::Failed, Created, true, PieceOutcome::Cancelled));
}

TEST(CopyLogReader, RefusesWhatIsNoLog) {
    for (const auto& [text, sentence] : std::initializer_list<std::pair<std::string, const char*>>{
             {"", "not well-formed"},
             {"<DriveLog>", "not well-formed"},
             {"<DriveManifest/>", "copy log line 1: the root element is <DriveManifest>"},
             {"<DriveLog/>", "there is no <DriveId>"},
             {"<!DOCTYPE x><DriveLog/>", "document type"},
             {"<?xml version=\"1.0\" encoding=\"latin1\"?><DriveLog/>", "not UTF-8"},
             {std::string("\xff\xfe<\0D\0", 6), "not UTF-8"},
             {"<DriveLog>\n<Blob><Length>x</Length></Blob></DriveLog>", "line 2: the Length \"x\" is no number"},
             {"<DriveLog><Blob><BlockList><Block Length=\"1\"/></BlockList></Blob></DriveLog>", "the Offset \"\" is no number"},
             {"<DriveLog><Blob><BlockList><Block Offset=\"0\" Length=\"1\" Hash=\"AB\"/></BlockList></Blob></DriveLog>", "32 hex digits"}}) {
        const ReadLog log = read_log(text);
        ASSERT_TRUE(log.error) << text;
        EXPECT_EQ(log.error->kind(), ErrorKind::Corrupt) << text;
        EXPECT_THAT(log.error->text(), HasSubstr(sentence));
    }
}

TEST(CopyLogReader, HasLimitsOnDepthAndText) {
    const auto nested = [](int depth) {
        std::string text = "<DriveLog><DriveId>x</DriveId>";
        for (int i = 1; i < depth; ++i)
            text += "<a>";
        for (int i = 1; i < depth; ++i)
            text += "</a>";
        return text + "</DriveLog>";
    };
    EXPECT_FALSE(read_log(nested(16)).error);
    EXPECT_EQ(read_log(nested(17)).error->kind(), ErrorKind::LimitReached);
    const auto long_id = [](std::size_t size) { return "<DriveLog><DriveId>" + std::string(size, 'x') + "</DriveId></DriveLog>"; };
    EXPECT_FALSE(read_log(long_id(65536), 4096).error);
    EXPECT_EQ(read_log(long_id(65537), 4096).error->kind(), ErrorKind::LimitReached);
}

}  // namespace
}  // namespace dray::format
