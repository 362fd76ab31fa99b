// SPDX-License-Identifier: Apache-2.0
//
// Export lists (azure-import-export.md 5.2 and 5.3).
#include "daemon/format/blob_list.hpp"

#include <gtest/gtest.h>

namespace dray::format {
namespace {

std::string listed(const std::string& entries) {
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?><BlobList>" + entries + "</BlobList>";
}

TEST(BlobList, EveryFormOfTheGrammarIsRead) {
    const auto read = read_blob_list(listed(
        "\n  <BlobPathPrefix>/</BlobPathPrefix>\n<BlobPath>videos/a &amp; b.mp4</BlobPath>"
        "<BlobPathPrefix>/$root/</BlobPathPrefix><BlobPath IncludeSnapshots=\"false\">$root/logo.bmp</BlobPath>"
        "<BlobPath IncludeSnapshots=\"true\">pics/x</BlobPath><!-- passed over -->"
        "<BlobPath SnapshotTime=\"2015-02-13T19:03:42.4112163Z\">pics/y</BlobPath>"
        "<BlobPath>\n    pics/laid out\n  </BlobPath>"));
    ASSERT_TRUE(read) << read.error().text();
    const BlobSelection wanted{{"/"},
                               {"videos/a & b.mp4"},
                               {"/$root/"},
                               {"$root/logo.bmp", false},
                               {"pics/x"},
                               {"pics/y", false, "2015-02-13T19:03:42.4112163Z"},
                               {"pics/laid out"}};
    EXPECT_EQ(*read, wanted);
}

TEST(BlobList, WhatIsWrittenIsReadAgainAndIsTheSameBytes) {
    const BlobSelection selection{{"/a<b>\"&/"}, {"c/d e "}, {"c/\xC3\xA9", false}, {"c/s", false, "2026-01-02T03:04:05.0000001Z"}};
    const std::string xml = write_blob_list(selection);
    EXPECT_EQ(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<BlobList>\n"
                   "<BlobPathPrefix>/a&lt;b&gt;&quot;&amp;/</BlobPathPrefix>\n"
                   "<BlobPath>c/d e </BlobPath>\n"
                   "<BlobPath IncludeSnapshots=\"false\">c/\xC3\xA9</BlobPath>\n"
                   "<BlobPath SnapshotTime=\"2026-01-02T03:04:05.0000001Z\">c/s</BlobPath>\n"
                   "</BlobList>\n");
    const auto read = read_blob_list(xml);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, selection);
    EXPECT_EQ(write_blob_list(*read), xml);
}

TEST(BlobList, ALeadingSlashOfAPathIsLeftOutAndOneAloneIsAll) {
    EXPECT_EQ(select_path("/videos/a")->text, "videos/a");
    EXPECT_EQ(select_path("/")->text, "/");
    EXPECT_TRUE(select_path("/")->is_prefix());
    for (const char* text : {"", "//", "//a", "container", "container/", "/container", "/container/"})
        EXPECT_EQ(select_path(text).error().kind(), ErrorKind::InvalidArgument) << text;
    for (const char* text : {"", "bob", "bob/"})
        EXPECT_EQ(select_prefix(text).error().kind(), ErrorKind::InvalidArgument) << text;
}

TEST(BlobList, TextsMayBeAsLongAsABlobsPathAndNotLonger) {
    const std::string longest(1 + 63 + 1 + 4096 - 1, 'x');
    EXPECT_TRUE(select_prefix("/" + longest));
    EXPECT_EQ(select_prefix("/x" + longest).error().kind(), ErrorKind::InvalidArgument);
    EXPECT_TRUE(read_blob_list(listed("<BlobPathPrefix>/" + longest + "</BlobPathPrefix>")));
    EXPECT_FALSE(read_blob_list(listed("<BlobPathPrefix>/x" + longest + "</BlobPathPrefix>")));
}

TEST(BlobList, WhatIsNoListIsRefusedWithTheLine) {
    const std::pair<const char*, const char*> wrong[] = {
        {"", "line 1 of the blob list: it is no XML"},
        {"<BlobList>\n</BlobList>", "line 2 of the blob list: it selects nothing"},
        {"<BlobList>\n<BlobPath>a/b</BlobPath>", "no XML"},
        {"<Other><BlobPath>a/b</BlobPath></Other>", "the root is Other, not BlobList"},
        {"<BlobList><blobpath>a/b</blobpath></BlobList>", "blobpath is not known here"},
        {"<BlobList><BlobPath><BlobPath>a/b</BlobPath></BlobPath></BlobList>", "BlobPath is not known here"},
        {"<BlobList>\n\n<BlobPath IncludeSnapshots=\"false\" SnapshotTime=\"t\">a/b</BlobPath></BlobList>", "line 3"},
        {"<BlobList><BlobPath IncludeSnapshots=\"no\">a/b</BlobPath></BlobList>", "IncludeSnapshots=\"no\""},
        {"<BlobList><BlobPathPrefix SnapshotTime=\"t\">/a</BlobPathPrefix></BlobList>", "cannot have SnapshotTime"},
        {"<BlobList><BlobPathPrefix>a</BlobPathPrefix></BlobList>", "does not begin with /"},
        {"<BlobList>words<BlobPath>a/b</BlobPath></BlobList>", "the text \"words\" is in no element"},
        {"<!DOCTYPE x [<!ENTITY e \"y\">]><BlobList><BlobPath>a/&e;</BlobPath></BlobList>", "a DTD is not allowed"},
    };
    for (const auto& [xml, sentence] : wrong) {
        const auto read = read_blob_list(xml);
        ASSERT_FALSE(read) << xml;
        EXPECT_EQ(read.error().kind(), ErrorKind::Corrupt) << xml;
        EXPECT_NE(read.error().text().find(sentence), std::string::npos) << read.error().text();
    }
    EXPECT_EQ(read_blob_list(std::string(kMaxBlobList + 1, ' ')).error().kind(), ErrorKind::LimitReached);
}

}  // namespace
}  // namespace dray::format
