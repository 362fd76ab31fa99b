// SPDX-License-Identifier: Apache-2.0
//
// What is written is canonical and stays so: byte for byte what lies in tests/data/format. And it can be read again.
#include <gtest/gtest.h>

#include "daemon/base/file.hpp"
#include "daemon/format/copy_log.hpp"
#include "daemon/format/copy_log_reader.hpp"
#include "tests/unit/format/samples.hpp"

namespace dray::format {
namespace {

std::string golden(const std::string& name) {
    const Result<std::string> text = read_file(std::string(DRAY_TEST_DATA) + "/" + name, kMiB);
    EXPECT_TRUE(text) << text.error().text();
    return text ? *text : std::string();
}

ManifestPiece piece(Bytes offset, Bytes length, std::uint8_t hash, std::string id = {}) {
    ManifestPiece result{offset, length, std::move(id), {}};
    result.hash.fill(static_cast<std::byte>(hash));
    return result;
}

/// Each thing that the format has, once.
std::vector<ManifestBlob> blobs(bool is_export) {
    std::vector<ManifestBlob> result(4);
    result[0].blob_path = "lab/plain & <simple>.txt";
    result[0].file_path = "\\lab\\plain & <simple>.txt";
    result[0].length = 5000;
    result[0].disposition = Disposition::NoOverwrite;
    result[0].pieces = {piece(0, 4096, 0x11, "MD5/EREREREREREREREREREREQ=="), piece(4096, 904, 0x22, "MD5/IiIiIiIiIiIiIiIiIiIiIg==")};
    result[1].blob_path = "lab/\xC3\xA9mpty";
    result[1].file_path = "\\lab\\\xC3\xA9mpty";
    result[2].blob_path = "$root/disk.vhd";
    result[2].file_path = "\\$root\\disk.vhd";
    result[2].length = 8192;
    result[2].is_page_blob = true;
    result[2].disposition = Disposition::Overwrite;
    result[2].pieces = {piece(512, 1024, 0x33), piece(4096, 4096, 0x44)};
    result[3] = result[0];
    result[3].blob_path = "lab/last";
    result[3].disposition = Disposition::Rename;
    for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
        result[i].metadata = SideFile{"\\Metadata.xml", piece(0, 0, 0x55).hash, !is_export};
        result[i].properties = SideFile{"\\file.properties", piece(0, 0, 0x66).hash, false};
    }
    if (is_export)
        result[3].snapshot = "2026-01-31T12:00:00.0000000Z";
    return result;
}

std::string manifest(bool is_export) {
    std::string text;
    ManifestWriter writer(
        [&](std::string_view part) -> Result<void> {
            text += part;
            return {};
        },
        "SER-1", is_export ? "" : "none?sig=none", "drayctl");
    for (const ManifestBlob& blob : blobs(is_export))
        EXPECT_TRUE(writer.blob(blob));
    EXPECT_TRUE(writer.finish());
    return text;
}

std::string log(bool is_verbose) {
    std::string text;
    CopyLogWriter writer(
        [&](std::string_view part) -> Result<void> {
            text += part;
            return {};
        },
        "SER-1", is_verbose);
    const std::vector<ManifestBlob> all = blobs(false);
    std::vector<LogBlob> entries(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        entries[i].blob = &all[i];
        entries[i].blob_path = all[i].blob_path;
    }
    entries[0].outcome = BlobOutcome::CompletedWithErrors;
    entries[0].pieces = {PieceOutcome::Corrupted, PieceOutcome::Uncommitted};
    entries[0].lost = {{512, 1024, true}, {2048, 512, false}};
    entries[1].metadata = SideFileOutcome::Completed;
    entries[1].properties = SideFileOutcome::XmlReadFailed;
    entries[1].outcome = BlobOutcome::CompletedWithErrors;
    entries[2].outcome = BlobOutcome::FileNotFound;
    entries[2].disposition = DispositionOutcome::Cancelled;
    entries[3].blob_path = "lab/last (2)";
    entries[3].disposition = DispositionOutcome::Renamed;
    for (const LogBlob& entry : entries)
        EXPECT_TRUE(writer.blob(entry));
    EXPECT_TRUE(writer.finish("CompletedWithErrors"));
    return text;
}

TEST(Golden, ManifestsAreWhatTheyAlwaysWere) {
    EXPECT_EQ(manifest(false), golden("import-manifest.xml"));
    EXPECT_EQ(manifest(true), golden("export-manifest.xml"));
    for (const bool is_export : {false, true}) {
        const ReadManifest read = read_manifest(manifest(is_export));
        ASSERT_FALSE(read.error) << read.text();
        ASSERT_EQ(read.blobs.size(), 4U);
        EXPECT_EQ(read.blobs[1].metadata, blobs(is_export)[1].metadata);
        EXPECT_EQ(read.blobs[3].snapshot, blobs(is_export)[3].snapshot);
    }
}

TEST(Golden, LogsAreWhatTheyAlwaysWere) {
    EXPECT_EQ(log(false), golden("error-log.xml"));
    EXPECT_EQ(log(true), golden("verbose-log.xml"));
    for (const bool is_verbose : {false, true}) {
        std::vector<LoggedBlob> read;
        CopyLogReader reader([&](LoggedBlob&& blob) -> Result<void> {
            read.push_back(std::move(blob));
            return {};
        });
        const std::string text = log(is_verbose);
        ASSERT_TRUE(reader.feed(std::as_bytes(std::span(text))));
        ASSERT_TRUE(reader.finish());
        EXPECT_EQ(reader.drive_id(), "SER-1");
        EXPECT_EQ(reader.status(), "CompletedWithErrors");
        ASSERT_EQ(read.size(), 4U);
        EXPECT_EQ(read[0].pieces.size(), 2U);
        EXPECT_EQ(read[1].properties, SideFileOutcome::XmlReadFailed);
        EXPECT_EQ(read[2].outcome, BlobOutcome::FileNotFound);
        EXPECT_FALSE(read[2].is_in_store());
        EXPECT_EQ(read[3].blob_path, "lab/last (2)");
        EXPECT_FALSE(read[3].needs_repair());
    }
}

TEST(Golden, TheExampleOfTheSpecificationReadsAndIsWrittenAsItWas) {
    const std::string sample = golden("sample-manifest.xml");
    EXPECT_EQ(sample, kSampleManifest);
    const ReadManifest read = read_manifest(sample);
    ASSERT_FALSE(read.error) << read.text();
    EXPECT_EQ(read.drive_id, "TEST0001");
    EXPECT_EQ(read.blobs.size(), 2U);
}

}  // namespace
}  // namespace dray::format
