// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/base/encoding.hpp"
#include "tests/unit/format/samples.hpp"

namespace dray::format {
namespace {

using testing::HasSubstr;

ManifestBlob plain_blob(const char* path = "lab/x") {
    ManifestBlob blob;
    blob.blob_path = path;
    blob.file_path = "\\x";
    blob.length = 4;
    blob.pieces = {{0, 4, "", {}}};
    return blob;
}

class ManifestWriterTest : public testing::Test {
protected:
    ManifestWriter make(std::string_view id = "X", std::string_view sas = "lab?sig=x") {
        return ManifestWriter(
            [this](std::string_view part) -> Result<void> {
                text_ += part;
                return {};
            },
            id, sas, "spec");
    }
    std::string text_;
};

TEST_F(ManifestWriterTest, WritesTheSampleToTheByte) {
    const ReadManifest read = read_manifest(kSampleManifest);
    ManifestWriter writer = make("TEST0001", "lab?sv=2014-02-14&sr=c&sp=rwd&sig=x");
    for (const ManifestBlob& blob : read.blobs)
        ASSERT_TRUE(writer.blob(blob));
    ASSERT_TRUE(writer.finish());
    EXPECT_EQ(text_, kSampleManifest);
    EXPECT_EQ(to_hex(md5(std::as_bytes(std::span(text_)))), "3661B0EAE4E73ED9324D7799ABC57300");
}

TEST_F(ManifestWriterTest, WhatItWritesReadsBack) {
    std::vector<ManifestBlob> blobs;
    blobs.push_back(plain_blob("lab/<&>\" \t\n\r\xC3\xA9"));
    blobs.back().client_data = "a\nb";
    blobs.back().disposition = Disposition::Overwrite;
    blobs.push_back(plain_blob());
    blobs.back().metadata = SideFile{"\\all.xml", md5({}), true};
    blobs.push_back(plain_blob());
    blobs.back().metadata = SideFile{"\\own.xml", md5({}), false};
    blobs.push_back(plain_blob());
    blobs.back().properties = SideFile{"\\p.xml", md5({}), true};
    blobs.push_back(plain_blob());
    blobs.back().length = 0;
    blobs.back().pieces.clear();
    blobs.push_back(plain_blob());
    blobs.back().is_page_blob = true;
    blobs.back().length = 1024;
    blobs.back().pieces.clear();
    blobs.push_back(plain_blob());
    blobs.back().length = 20'000;
    blobs.back().pieces.clear();
    for (Bytes i = 0; i < 2000; ++i)
        blobs.back().pieces.push_back({i * 10, 10, "AAAA", md5({})});

    ManifestWriter writer = make();
    for (const ManifestBlob& blob : blobs)
        ASSERT_TRUE(writer.blob(blob));
    ASSERT_TRUE(writer.finish());
    const ReadManifest read = read_manifest(text_, 1000);
    ASSERT_FALSE(read.error) << read.text();
    ASSERT_EQ(read.blobs.size(), blobs.size());
    for (std::size_t i = 0; i < blobs.size(); ++i) {
        SCOPED_TRACE(i);
        EXPECT_EQ(read.blobs[i].blob_path, blobs[i].blob_path);
        EXPECT_EQ(read.blobs[i].client_data, blobs[i].client_data);
        EXPECT_EQ(read.blobs[i].length, blobs[i].length);
        EXPECT_EQ(read.blobs[i].disposition, blobs[i].disposition);
        EXPECT_EQ(read.blobs[i].is_page_blob, blobs[i].is_page_blob);
        EXPECT_EQ(read.blobs[i].pieces.size(), blobs[i].pieces.size());
        EXPECT_EQ(read.blobs[i].metadata, blobs[i].metadata);
        EXPECT_EQ(read.blobs[i].properties, blobs[i].properties);
    }
}

TEST_F(ManifestWriterTest, WritesADriveWithoutBlobs) {
    ManifestWriter writer = make();
    ASSERT_TRUE(writer.finish());
    EXPECT_FALSE(read_manifest(text_).error);
    EXPECT_THAT(text_, testing::Not(HasSubstr("BlobList")));
}

TEST_F(ManifestWriterTest, AnExportHasNoCredentialAndNoDisposition) {
    ManifestWriter writer = make("X", "");
    ManifestBlob blob = plain_blob();
    blob.disposition = Disposition::Overwrite;
    blob.snapshot = "2013-01-01T00:00:00.0000000Z";
    ASSERT_TRUE(writer.blob(blob));
    ASSERT_TRUE(writer.finish());
    EXPECT_THAT(text_, testing::Not(HasSubstr("ContainerSas")));
    EXPECT_THAT(text_, testing::Not(HasSubstr("ImportDisposition")));
    EXPECT_EQ(read_manifest(text_).blobs.at(0).snapshot, blob.snapshot);
}

TEST_F(ManifestWriterTest, RefusesWhatTheReaderWould) {
    ManifestWriter writer = make();
    ManifestBlob blob = plain_blob();
    blob.length = 5;
    EXPECT_EQ(writer.blob(blob).error().kind(), ErrorKind::InvalidArgument);
    blob = plain_blob();
    blob.pieces.push_back({2, 2, "", {}});
    EXPECT_THAT(writer.blob(blob).error().text(), HasSubstr("starts at 2"));
    blob = plain_blob("lab/\x01");
    EXPECT_EQ(writer.blob(blob).error().kind(), ErrorKind::InvalidArgument);
    EXPECT_TRUE(text_.empty());
}

TEST_F(ManifestWriterTest, RefusesADriveWithoutId) {
    ManifestWriter writer = make(" ");
    EXPECT_EQ(writer.blob(plain_blob()).error().kind(), ErrorKind::InvalidArgument);
    EXPECT_EQ(writer.finish().error().kind(), ErrorKind::InvalidArgument);
    EXPECT_TRUE(text_.empty());
}

TEST_F(ManifestWriterTest, PassesOnWhatTheSinkFailsWith) {
    ManifestWriter writer([](std::string_view) -> Result<void> { return fail(ErrorKind::NoSpace, "full"); }, "X", "", "");
    EXPECT_TRUE(writer.blob(plain_blob())) << "still in the buffer";
    EXPECT_EQ(writer.finish().error().kind(), ErrorKind::NoSpace);
}

}  // namespace
}  // namespace dray::format
