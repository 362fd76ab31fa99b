// SPDX-License-Identifier: Apache-2.0
//
// Answers in XML: listings, block lists, errors; and what is refused of them.
#include "drivers/store/azure/azure_xml.hpp"

#include <gtest/gtest.h>

namespace dray::store::azure {
namespace {

TEST(AzureXml, ReadsListings) {
    const Result<Listing> listing = parse_listing(R"(<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults ServiceEndpoint="https://acme.blob.example/" ContainerName="lab"><MaxResults>2</MaxResults><Blobs>
<Blob><Name>a &amp; b</Name><Properties><Last-Modified>Fri, 01 Mar 2024 12:00:00 GMT</Last-Modified><Etag>0x1</Etag>
<Content-Length>9007199254740993</Content-Length><Content-Type>text/plain</Content-Type><Content-MD5>AA==</Content-MD5>
<BlobType>BlockBlob</BlobType></Properties><Metadata><Author>Ada</Author><place>=?UTF-8?B?WsO8cmljaA==?=</place></Metadata></Blob>
<Blob><Name Encoded="true">x%01y%25</Name><Properties><Etag>"0x2"</Etag><Content-Type>application/octet-stream</Content-Type>
<BlobType>PageBlob</BlobType></Properties></Blob>
</Blobs><NextMarker>next one</NextMarker></EnumerationResults>)");
    ASSERT_TRUE(listing) << listing.error().text();
    EXPECT_EQ(listing->marker, "next one");
    ASSERT_EQ(listing->blobs.size(), 2U);
    const BlobStatus& first = listing->blobs[0];
    EXPECT_EQ(first.name.name, "a & b");
    EXPECT_EQ(first.length, 9'007'199'254'740'993U);
    EXPECT_EQ(first.etag, "0x1");
    EXPECT_EQ(first.modified, from_usec(1'709'294'400'000'000));
    EXPECT_EQ(first.properties.content_type, "text/plain");
    EXPECT_EQ(first.properties.content_md5, "AA==");
    EXPECT_EQ(first.metadata, (BlobMetadata{{"Author", "Ada"}, {"place", "Z\xC3\xBCrich"}}));
    const BlobStatus& second = listing->blobs[1];
    EXPECT_EQ(second.name.name, "x\x01y%");
    EXPECT_EQ(second.type, BlobType::Page);
    EXPECT_EQ(second.etag, "0x2");
    EXPECT_EQ(second.properties.content_type, "") << "the service's own";
    EXPECT_TRUE(second.metadata.empty());
}

TEST(AzureXml, RefusesWhatIsNoListing) {
    std::string deep;
    for (int i = 0; i < 20; ++i)
        deep += "<a>";
    const std::string rows[] = {"", "not xml", "<Other/>", "<EnumerationResults>", deep,
                                "<!DOCTYPE x [<!ENTITY a \"b\">]><EnumerationResults>&a;</EnumerationResults>",
                                "<EnumerationResults><Blobs><Blob><Name>" + std::string(70'000, 'x') +
                                    "</Name></Blob></Blobs></EnumerationResults>"};
    for (const std::string& row : rows) {
        const Result<Listing> listing = parse_listing(row);
        ASSERT_FALSE(listing) << row.substr(0, 60);
        EXPECT_EQ(listing.error().kind(), ErrorKind::Corrupt);
    }
    EXPECT_TRUE(parse_listing("<EnumerationResults/>"));
}

TEST(AzureXml, ReadsAndWritesBlockLists) {
    const auto blocks = parse_block_list(
        "<BlockList><CommittedBlocks><Block><Name>QQ==</Name><Size>7</Size></Block></CommittedBlocks>"
        "<UncommittedBlocks><Block><Name>Qg==</Name><Size>8</Size></Block></UncommittedBlocks></BlockList>");
    ASSERT_TRUE(blocks);
    ASSERT_EQ(blocks->size(), 2U);
    EXPECT_EQ((*blocks)[0].id, "QQ==");
    EXPECT_TRUE((*blocks)[0].is_committed);
    EXPECT_EQ((*blocks)[1].size, 8U);
    EXPECT_FALSE((*blocks)[1].is_committed);
    EXPECT_EQ(write_block_list({"QQ==", "Qg=="}),
              "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><Latest>QQ==</Latest><Latest>Qg==</Latest></BlockList>");
}

TEST(AzureXml, ReadsErrors) {
    const ServiceError error = parse_error("<?xml version=\"1.0\"?><Error><Code>Md5Mismatch</Code><Message>It differs.\nRequestId:1"
                                           "</Message></Error>");
    EXPECT_EQ(error.code, "Md5Mismatch");
    EXPECT_EQ(error.message, "It differs.");
    EXPECT_EQ(parse_error("<html>bad gateway").code, "");
}

TEST(AzureXml, MetadataComesBackAsItWasGiven) {
    for (const std::string value : {"plain", "", " blanks ", "Z\xC3\xBCrich", "=?UTF-8?B?QQ==?=", "a\nb", "50% of 2"}) {
        const std::string sent = to_metadata_value(value);
        EXPECT_EQ(from_metadata_value(sent), value);
        for (const char c : sent)
            EXPECT_TRUE(c >= ' ' && c <= '~') << value;
    }
    EXPECT_EQ(to_metadata_value("plain"), "plain");
    EXPECT_EQ(from_metadata_value("=?UTF-8?B?no base64?="), "=?UTF-8?B?no base64?=");
}

}  // namespace
}  // namespace dray::store::azure
