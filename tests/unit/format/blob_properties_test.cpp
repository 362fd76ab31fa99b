// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/blob_properties.hpp"

#include <gtest/gtest.h>

#include <span>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"

namespace dray::format {
namespace {

using Metadata = std::map<std::string, std::string>;

std::string hash_of(std::string_view text) { return to_hex(md5(std::as_bytes(std::span(text)))); }

TEST(BlobProperties, WritesTheSamplesToTheByte) {
    const std::string metadata = write_metadata({{"site", "dc7"}});
    EXPECT_EQ(metadata.size(), 77U);
    EXPECT_EQ(hash_of(metadata), "A33F5E65D3EAD4599A78E7573ACFE081");
    PropertiesFile properties;
    properties.content_type = "text/plain";
    const std::string text = write_properties(properties);
    EXPECT_EQ(text.size(), 104U);
    EXPECT_EQ(hash_of(text), "1C4EEB6BE7EDE281813151044C81D4B9");
}

TEST(BlobProperties, WhatIsWrittenReadsBack) {
    const Metadata metadata = {{"a", "1 < 2 & \"3\""}, {"_b9", ""}, {"c", "\xC3\xA9"}};
    EXPECT_EQ(*read_metadata(write_metadata(metadata)), metadata);
    EXPECT_EQ(*read_metadata(write_metadata({})), Metadata{});
    PropertiesFile properties{"text/plain; charset=\"x\"", "1B2M2Y8AsgTpgAmY7PhCfg==", "gzip", "de-CH", "no-cache"};
    const auto read = read_properties(write_properties(properties));
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->content_type, properties.content_type);
    EXPECT_EQ(read->content_md5, properties.content_md5);
    EXPECT_EQ(read->content_encoding, properties.content_encoding);
    EXPECT_EQ(read->content_language, properties.content_language);
    EXPECT_EQ(read->cache_control, properties.cache_control);
}

TEST(BlobProperties, LeavesOutNamesThatNoReaderTakes) {
    EXPECT_EQ(*read_metadata(write_metadata({{"good", "1"}, {"not good", "2"}, {"", "3"}, {"><", "4"}})), (Metadata{{"good", "1"}}));
}

TEST(BlobProperties, TakesPropertiesInAnyOrderAndPassesOthersOver) {
    const auto read = read_properties(
        "\xEF\xBB\xBF<?xml version='1.0'?><!-- x --><Properties><Etag>1</Etag><Cache-Control> no<!-- -->-store\n"
        "</Cache-Control><Content-Length>5</Content-Length><New><Content-Type>a/b</Content-Type></New>"
        "<Content-Type><![CDATA[text/plain]]></Content-Type></Properties>");
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->content_type, "text/plain");
    EXPECT_EQ(read->cache_control, "no-store");
    EXPECT_EQ(read->content_md5, "");
}

TEST(BlobProperties, RefusesBadPropertiesFiles) {
    const std::string deep = [] {
        std::string text;
        for (int i = 0; i < 20'000; ++i)
            text += "<a>";
        return text;
    }();
    const std::string files[] = {
        "", " ", "text", "<Properties>", "<Properties></Property>", "<properties/>", "<Metadata/>",
        "<Properties/><Properties/>", "<!DOCTYPE x><Properties/>",
        "<!DOCTYPE x [<!ENTITY a 'b'>]><Properties><Content-Type>&a;</Content-Type></Properties>",
        "<Properties><Content-Type>a</Content-Type><Content-Type>b</Content-Type></Properties>",
        "<Properties><Content-Type>a&#13;&#10;X-Evil: 1</Content-Type></Properties>",
        "<Properties><Content-Type>a&#1;</Content-Type></Properties>",
        "<Properties><Content-Type>a\x7F</Content-Type></Properties>",
        "<Properties><Content-Type>\xFF</Content-Type></Properties>",
        "<Properties><Content-MD5>zzz</Content-MD5></Properties>",
        "<Properties><Content-MD5>AAAA</Content-MD5></Properties>",
        "<Properties><Content-MD5>D41D8CD98F00B204E9800998ECF8427E</Content-MD5></Properties>",
        deep, "<Properties>" + std::string(kMaxSideFile, ' ') + "</Properties>",
    };
    for (const std::string& file : files) {
        const auto read = read_properties(file);
        ASSERT_FALSE(read) << file.substr(0, 100);
        EXPECT_EQ(read.error().kind(), ErrorKind::Corrupt) << file.substr(0, 100);
    }
}

TEST(BlobProperties, TheSizeIsLimitedToTheByte) {
    const std::string_view frame = "<Properties></Properties>";
    const std::string most = "<Properties>" + std::string(kMaxSideFile - frame.size(), ' ') + "</Properties>";
    ASSERT_EQ(most.size(), kMaxSideFile);
    EXPECT_TRUE(read_properties(most));
    EXPECT_FALSE(read_properties(most + " "));
}

TEST(BlobMetadata, RefusesBadFiles) {
    const std::string files[] = {
        "", "<Properties/>", "<Metadata>", "<Metadata/><x/>", "<!DOCTYPE Metadata><Metadata/>",
        "<Metadata><a-b>1</a-b></Metadata>", "<Metadata><\xC3\xA9>1</\xC3\xA9></Metadata>",
        "<Metadata><a.b>1</a.b></Metadata>", "<Metadata><a>1</a><a>2</a></Metadata>",
        "<Metadata><Site>1</Site><site>2</site></Metadata>", "<Metadata><a>1&#10;2</a></Metadata>",
        "<Metadata><a>\xEF\xBF\xBE</a></Metadata>", "<Metadata><a>\xFF</a></Metadata>",
    };
    for (const std::string& file : files) {
        const auto read = read_metadata(file);
        ASSERT_FALSE(read) << file;
        EXPECT_EQ(read.error().kind(), ErrorKind::Corrupt) << file;
    }
}

TEST(BlobMetadata, HasAtMost8KiB) {
    const std::string most(8 * 1024 - 1, 'x');
    EXPECT_EQ(read_metadata("<Metadata><a>" + most + "</a></Metadata>")->at("a"), most);
    EXPECT_FALSE(read_metadata("<Metadata><a>" + most + "x</a></Metadata>"));
    EXPECT_FALSE(read_metadata("<Metadata><a>" + most + "</a><b/></Metadata>"));
}

TEST(BlobMetadata, KeepsTheCaseOfNames) {
    EXPECT_EQ(*read_metadata("<Metadata><SiteName> dc 7 </SiteName></Metadata>"), (Metadata{{"SiteName", "dc 7"}}));
}

}  // namespace
}  // namespace dray::format
