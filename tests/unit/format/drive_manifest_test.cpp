// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/drive_manifest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/base/encoding.hpp"
#include "tests/unit/format/samples.hpp"

namespace dray::format {
namespace {

using testing::HasSubstr;

void expect_sample(const ReadManifest& read) {
    ASSERT_FALSE(read.error) << read.text();
    EXPECT_EQ(read.drive_id, "TEST0001");
    ASSERT_EQ(read.blobs.size(), 2U);
    const ManifestBlob& ramp = read.blobs[0];
    EXPECT_EQ(ramp.blob_path, "lab/a/ramp.bin");
    EXPECT_EQ(ramp.file_path, "\\s001\\a\\ramp.bin");
    EXPECT_EQ(ramp.length, 10000U);
    EXPECT_EQ(ramp.disposition, Disposition::NoOverwrite);
    EXPECT_FALSE(ramp.is_page_blob);
    ASSERT_EQ(ramp.pieces.size(), 3U);
    EXPECT_EQ(ramp.pieces[2].offset, 8192U);
    EXPECT_EQ(ramp.pieces[2].length, 1808U);
    EXPECT_EQ(ramp.pieces[2].id, "MD5/txV0q2pSDZPUQ6Ez5rs6bw==");
    EXPECT_EQ(to_hex(ramp.pieces[2].hash), "B71574AB6A520D93D443A133E6BB3A6F");
    EXPECT_EQ(ramp.metadata, (SideFile{"\\meta.xml", hash_of_hex("A33F5E65D3EAD4599A78E7573ACFE081"), true}));
    EXPECT_EQ(ramp.properties, (SideFile{"\\s001\\a\\ramp.bin.properties",
                                         hash_of_hex("1C4EEB6BE7EDE281813151044C81D4B9"), false}));
    const ManifestBlob& disk = read.blobs[1];
    EXPECT_TRUE(disk.is_page_blob);
    EXPECT_EQ(disk.length, 2048U);
    EXPECT_EQ(disk.disposition, Disposition::Rename);
    ASSERT_EQ(disk.pieces.size(), 1U);
    EXPECT_EQ(disk.pieces[0].offset, 512U);
    EXPECT_EQ(disk.metadata, ramp.metadata);
    EXPECT_FALSE(disk.properties);
}

TEST(DriveManifest, TheSampleIsTheOneOfTheDocument) {
    EXPECT_EQ(kSampleManifest.size(), 1163U);
    EXPECT_EQ(to_hex(md5(std::as_bytes(std::span(kSampleManifest)))), "3661B0EAE4E73ED9324D7799ABC57300");
}

TEST(DriveManifest, ReadsTheSampleHoweverItIsCut) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{100}, std::size_t{100'000}})
        expect_sample(read_manifest(kSampleManifest, step));
}

TEST(DriveManifest, ReadsTheSampleBehindAByteOrderMark) {
    expect_sample(read_manifest("\xEF\xBB\xBF" + std::string(kSampleManifest)));
    expect_sample(read_manifest("\xEF\xBB\xBF" + std::string(kSampleManifest), 1));
}

TEST(DriveManifest, CallsTheDriveIdBeforeTheFirstBlobAndEndsWithWhatACallbackFails) {
    std::vector<std::string> calls;
    ManifestReader reader(
        [&](const std::string& id) -> Result<void> {
            calls.push_back(id);
            return {};
        },
        [&](ManifestBlob&& blob) -> Result<void> {
            calls.push_back(blob.blob_path);
            return fail(ErrorKind::NoSpace, "the spool is full");
        });
    const auto bytes = std::as_bytes(std::span(kSampleManifest));
    const auto fed = reader.feed(bytes);
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().kind(), ErrorKind::NoSpace);
    EXPECT_EQ(fed.error().text(), "the spool is full");
    EXPECT_EQ(calls, (std::vector<std::string>{"TEST0001", "lab/a/ramp.bin"}));
    EXPECT_EQ(reader.feed(bytes).error().text(), "the spool is full");
    EXPECT_EQ(reader.finish().error().text(), "the spool is full");
    EXPECT_EQ(calls.size(), 2U);
}

TEST(DriveManifest, AFailingDriveIdEndsTheReading) {
    bool has_blob = false;
    ManifestReader reader([](const std::string&) -> Result<void> { return fail(ErrorKind::Conflict, "other drive"); },
                          [&](ManifestBlob&&) -> Result<void> {
                              has_blob = true;
                              return {};
                          });
    EXPECT_EQ(reader.feed(std::as_bytes(std::span(kSampleManifest))).error().text(), "other drive");
    EXPECT_FALSE(has_blob);
}

struct Accepted {
    const char* what;
    std::string xml;
    std::size_t blobs;
};

TEST(DriveManifest, Accepts) {
    const std::string two_blocks = piece("Block", "0", "10") + piece("Block", "10", "5");
    const std::string block = piece("Block", "0", "4");
    const std::string id64 = std::string(86, 'A') + "==";
    const Accepted rows[] = {
        {"no blob list", in_drive(""), 0},
        {"an empty blob list", in_drive("<BlobList/>"), 0},
        {"no Version", "<DriveManifest><Drive><DriveId>X</DriveId></Drive></DriveManifest>", 0},
        {"an old Version", "<DriveManifest Version='2011-10-01'><Drive><DriveId>X</DriveId></Drive></DriveManifest>", 0},
        {"a declared encoding in lower case", "<?xml version='1.0' encoding='utf-8'?>" + in_drive(""), 0},
        {"a declaration without encoding", "<?xml version='1.0'?>" + in_drive(""), 0},
        {"an old credential", in_drive("<StorageAccountKey>k</StorageAccountKey><BlobList/>"), 0},
        {"blocks", with_blocks("15", two_blocks), 1},
        {"an empty blob with a list", with_blocks("0", ""), 1},
        {"an empty blob without a list", with_blob("0", ""), 1},
        {"an empty page blob", with_pages("512", ""), 1},
        {"a page blob of no length", with_pages("0", ""), 1},
        {"page ranges with a hole", with_pages("4096", piece("PageRange", "0", "512") + piece("PageRange", "1024", "512")), 1},
        {"a page range that ends the blob", with_pages("1024", piece("PageRange", "512", "512")), 1},
        {"a page range of 4 MiB", with_pages("4194304", piece("PageRange", "0", "4194304")), 1},
        {"a block of 4000 MiB", with_blocks("4194304000", piece("Block", "0", "4194304000")), 1},
        {"ids of 64 bytes", with_blocks("4", piece("Block", "0", "4", "Id='" + id64 + "'")), 1},
        {"one id twice for equal blocks", with_blocks("8", piece("Block", "0", "4", "Id='AAAA'") + piece("Block", "4", "4", "Id='AAAA'")), 1},
        {"an empty id as none", with_blocks("8", piece("Block", "0", "4", "Id=''") + piece("Block", "4", "4")), 1},
        {"no ids above 64 MiB", with_blocks("134217728", piece("Block", "0", "134217728")), 1},
        {"blanks around numbers and hashes",
         with_blob(" 4\n", "<BlockList><Block Offset=' 0' Length='4 ' Hash=' a0c16616C91907BD14E999986CF822D5 '/></BlockList>"), 1},
        {"a disposition with blanks", with_blob("4", "<ImportDisposition> overwrite </ImportDisposition><BlockList>" + block + "</BlockList>"), 1},
        {"elements in another order",
         in_list("<Blob><BlockList>" + block + "</BlockList><Length>4</Length><FilePath>x</FilePath><BlobPath>lab/x</BlobPath></Blob>"), 1},
        {"comments and instructions", "<!-- a --><?b c?>" + with_blocks("4", "<!-- <Block/> -->" + block) + "<!-- d -->", 1},
        {"unknown elements with all that is in them",
         in_drive("<Future><Blob>x</Blob><DriveId>Y</DriveId></Future><BlobList><New/><Blob><Hint><Length>9</Length></Hint>"
                  "<BlobPath>lab/<b>y</b>x</BlobPath><FilePath>x</FilePath><Length>4</Length><BlockList>" +
                  block + "<Extra/></BlockList></Blob></BlobList>"), 1},
        {"unknown attributes", with_blocks("4", piece("Block", "0", "4", "Crc='1'")), 1},
        {"several blob lists", in_drive("<BlobList Id='session#1-0'/><BlobList Id='session#1-1'/>"), 0},
        {"a file path that is no path", in_list("<Blob><BlobPath>L</BlobPath><FilePath>..\\..</FilePath><Length>0</Length></Blob>"), 1},
        {"a file path that is empty", in_list("<Blob><BlobPath>lab/x</BlobPath><FilePath/><Length>0</Length></Blob>"), 1},
        {"character references", in_list("<Blob><BlobPath>lab/&#xE9;&amp;</BlobPath><FilePath>x</FilePath><Length>0</Length></Blob>"), 1},
    };
    for (const Accepted& row : rows) {
        const ReadManifest read = read_manifest(row.xml);
        EXPECT_FALSE(read.error) << row.what << ": " << read.text();
        EXPECT_EQ(read.blobs.size(), row.blobs) << row.what;
    }
}

struct Refused {
    const char* what;
    std::string xml;
    const char* text;
    ErrorKind kind = ErrorKind::Corrupt;
};

void expect_refused(std::span<const Refused> rows) {
    for (const Refused& row : rows) {
        const ReadManifest read = read_manifest(row.xml);
        ASSERT_TRUE(read.error) << row.what;
        EXPECT_EQ(read.kind(), row.kind) << row.what << ": " << read.text();
        EXPECT_THAT(read.text(), HasSubstr("manifest line ")) << row.what;
        EXPECT_THAT(read.text(), HasSubstr(row.text)) << row.what;
    }
}

TEST(DriveManifest, RefusesDocumentsThatAreNoManifest) {
    const std::string body = in_drive("");
    const std::string utf16 = std::string("\xFF\xFE<\0D\0", 6);
    const Refused rows[] = {
        {"nothing", "", "no element found"},
        {"no XML", "DriveManifest", "not well-formed XML"},
        {"another root", "<Manifest/>", "the root element is <Manifest>, not <DriveManifest>"},
        {"a known element as root", "<Drive/>", "the root element is <Drive>"},
        {"an empty root", "<DriveManifest/>", "there is no <Drive>"},
        {"no drive id", "<DriveManifest><Drive/></DriveManifest>", "there is no <DriveId>"},
        {"an empty drive id", "<DriveManifest><Drive><DriveId> </DriveId></Drive></DriveManifest>", "<DriveId> is empty"},
        {"a second drive", "<DriveManifest><Drive><DriveId>X</DriveId></Drive><Drive/></DriveManifest>", "second <Drive>"},
        {"a second drive id", in_drive("<DriveId>Y</DriveId>"), "second <DriveId>"},
        {"a drive id after a blob list",
         "<DriveManifest><Drive><BlobList/><DriveId>X</DriveId></Drive></DriveManifest>", "before <DriveId>"},
        {"a second root", body + body, "junk after document element"},
        {"an element in the wrong place", in_drive("<Blob/>"), "<Blob> is not allowed in <Drive>"},
        {"a blob within a blob", in_list("<Blob><Blob/></Blob>"), "<Blob> is not allowed in <Blob>"},
        {"a document type", "<!DOCTYPE DriveManifest>" + body, "document type"},
        {"a document type elsewhere", "<!DOCTYPE d SYSTEM 'file:///etc/passwd'>" + body, "document type"},
        {"an entity", in_drive("<BlobList><Blob><BlobPath>&lab;</BlobPath></Blob></BlobList>"), "undefined entity"},
        {"another encoding", "<?xml version='1.0' encoding='ISO-8859-1'?>" + body, "the encoding is \"ISO-8859-1\""},
        {"UTF-16", utf16, "not UTF-8"},
        {"UTF-16 without a mark", std::string("<\0D\0r\0", 6), "not UTF-8"},
        {"UTF-16 of the other kind", std::string("\0<\0D", 4), "not UTF-8"},
        {"bytes that are no UTF-8", in_list("<Blob><BlobPath>lab/\xE9</BlobPath></Blob>"), "not well-formed"},
        {"a control character", in_list("<Blob><BlobPath>lab/\x01</BlobPath></Blob>"), "not well-formed"},
        {"a NUL reference", in_list("<Blob><BlobPath>lab/&#0;</BlobPath></Blob>"), "not well-formed"},
        {"an attribute twice", with_blocks("4", piece("Block", "0", "4", "Offset='0'")), "duplicate attribute"},
    };
    expect_refused(rows);
}

TEST(DriveManifest, RefusesBlobsThatBreakTheRules) {
    const std::string block = piece("Block", "0", "4");
    const std::string blocks = "<BlockList>" + block + "</BlockList>";
    const Refused rows[] = {
        {"no blob path", in_list("<Blob><FilePath>x</FilePath><Length>0</Length></Blob>"), "no <BlobPath>"},
        {"no file path", in_list("<Blob><BlobPath>lab/x</BlobPath><Length>0</Length></Blob>"), "no <FilePath>"},
        {"no length", in_list("<Blob><BlobPath>lab/x</BlobPath><FilePath>x</FilePath></Blob>"), "no <Length>"},
        {"a second length", with_blob("4", "<Length>4</Length>" + blocks), "second <Length>"},
        {"a second blob path", with_blob("4", "<BlobPath>y</BlobPath>" + blocks), "second <BlobPath>"},
        {"a second list", with_blob("4", blocks + blocks), "second <BlockList>"},
        {"both lists", with_blob("4", blocks + "<PageRangeList/>"), "both a <BlockList> and a <PageRangeList>"},
        {"no list", with_blob("4", ""), "neither a <BlockList> nor a <PageRangeList>"},
        {"a block in a page list", with_pages("512", block), "<Block> is not allowed in <PageRangeList>"},
        {"an empty length", with_blocks("", block), "is no number"},
        {"a negative length", with_blocks("-4", block), "is no number"},
        {"a length with a plus", with_blocks("+4", block), "is no number"},
        {"a hexadecimal length", with_blocks("0x4", block), "is no number"},
        {"a length with a fraction", with_blocks("4.0", block), "is no number"},
        {"a length of two words", with_blocks("4 4", block), "is no number"},
        {"a length beyond 64 bits", with_blocks("18446744073709551616", block), "is no number"},
        {"an unknown disposition", with_blob("4", "<ImportDisposition>replace</ImportDisposition>" + blocks), "\"replace\" is not known"},
        {"a disposition in upper case", with_blob("4", "<ImportDisposition>Rename</ImportDisposition>" + blocks), "is not known"},
        {"an empty disposition", with_blob("4", "<ImportDisposition/>" + blocks), "is not known"},
        {"a metadata path without hash", with_blob("4", blocks + "<MetadataPath>\\m</MetadataPath>"), "Hash is missing"},
        {"a list's properties path without hash", in_list("<PropertiesPath>\\m</PropertiesPath>"), "Hash is missing"},
        {"a metadata path with a bad hash", with_blob("4", blocks + "<MetadataPath Hash='12'>\\m</MetadataPath>"), "32 hex digits"},
    };
    expect_refused(rows);
}

TEST(DriveManifest, RefusesBlocksThatBreakTheRules) {
    const auto block = [](const char* offset, const char* length, const char* more = "") {
        return piece("Block", offset, length, more);
    };
    const std::string id65 = "Id='" + std::string(87, 'A') + "='";
    const Refused rows[] = {
        {"a gap at the start", with_blocks("8", block("4", "4")), "starts at 4 where the one before ends at 0"},
        {"a gap", with_blocks("12", block("0", "4") + block("8", "4")), "starts at 8"},
        {"an overlap", with_blocks("8", block("0", "5") + block("4", "4")), "starts at 4 where the one before ends at 5"},
        {"the wrong order", with_blocks("8", block("4", "4") + block("0", "4")), "starts at 4"},
        {"too little", with_blocks("9", block("0", "8")), "cover 8 bytes of 9"},
        {"too much", with_blocks("7", block("0", "8")), "cover 8 bytes of 7"},
        {"no blocks", with_blocks("7", ""), "cover 0 bytes of 7"},
        {"a block of nothing", with_blocks("4", block("0", "0") + block("0", "4")), "has no bytes"},
        {"a block above 4000 MiB", with_blocks("4194304001", block("0", "4194304001")), "more than 4194304000"},
        {"an end beyond 64 bits", with_blocks("8", block("18446744073709551615", "2")), "beyond 64 bits"},
        {"no offset", with_blob("4", "<BlockList><Block Length='4'/></BlockList>"), "no Offset"},
        {"no length", with_blob("4", "<BlockList><Block Offset='0'/></BlockList>"), "no Length"},
        {"no hash", with_blob("4", "<BlockList><Block Offset='0' Length='4'/></BlockList>"), "Hash is missing"},
        {"a signed offset", with_blocks("4", block("-0", "4")), "is no number"},
        {"a length beyond 64 bits", with_blocks("4", block("0", "99999999999999999999")), "is no number"},
        {"a hash too short", with_blob("4", "<BlockList><Block Offset='0' Length='4' Hash='A0'/></BlockList>"), "32 hex digits"},
        {"a hash too long", with_blob("4", "<BlockList><Block Offset='0' Length='4' Hash='" + std::string(34, 'A') + "'/></BlockList>"), "32 hex digits"},
        {"a hash of other letters", with_blob("4", "<BlockList><Block Offset='0' Length='4' Hash='" + std::string(32, 'G') + "'/></BlockList>"), "32 hex digits"},
        {"an id on the first only", with_blocks("8", block("0", "4", "Id='AAAA'") + block("4", "4")), "some blocks"},
        {"an id on the second only", with_blocks("8", block("0", "4") + block("4", "4", "Id='AAAA'")), "some blocks"},
        {"an id that is no Base64", with_blocks("4", block("0", "4", "Id='A-AA'")), "not Base64"},
        {"an id without padding", with_blocks("4", block("0", "4", "Id='AAA'")), "not Base64"},
        {"an id of 65 bytes", with_blocks("4", block("0", "4", id65.c_str())), "has 65 bytes"},
        {"ids of different lengths", with_blocks("8", block("0", "4", "Id='AAAA'") + block("4", "4", "Id='AAAAAAAA'")), "differ in length"},
        {"ids that differ in padding", with_blocks("8", block("0", "4", "Id='AAAA'") + block("4", "4", "Id='AAA='")), "differ in length"},
        {"one id for blocks of different lengths", with_blocks("9", block("0", "4", "Id='AAAA'") + block("4", "5", "Id='AAAA'")), "same Id"},
        {"one id for blocks of different content",
         with_blocks("8", block("0", "4", "Id='AAAA'") + "<Block Offset='4' Length='4' Id='AAAA' Hash='" + std::string(32, '0') + "'/>"), "same Id"},
    };
    expect_refused(rows);
}

TEST(DriveManifest, RefusesPagesThatBreakTheRules) {
    const auto range = [](const char* offset, const char* length) { return piece("PageRange", offset, length); };
    const Refused rows[] = {
        {"an offset off the grid", with_pages("2048", range("256", "512")), "multiples of 512"},
        {"a length off the grid", with_pages("2048", range("0", "513")), "multiples of 512"},
        {"over 4 MiB", with_pages("8388608", range("0", "4194816")), "more than 4194304"},
        {"an overlap", with_pages("4096", range("0", "1024") + range("512", "512")), "overlaps"},
        {"the wrong order", with_pages("4096", range("512", "512") + range("0", "512")), "precedes"},
        {"a range twice", with_pages("4096", range("512", "512") + range("512", "512")), "overlaps"},
        {"an end beyond the blob", with_pages("1024", range("512", "1024")), "beyond its Length"},
        {"a range of nothing", with_pages("1024", range("0", "0")), "has no bytes"},
        {"a blob off the grid", with_pages("1000", range("0", "512")), "no multiple of 512"},
        {"an empty list off the grid", with_pages("1000", ""), "no multiple of 512"},
        {"an end beyond 64 bits", with_pages("1024", range("18446744073709551104", "512")), "beyond 64 bits"},
    };
    expect_refused(rows);
}

TEST(DriveManifest, ErrorsNameTheLineOfTheMistake) {
    const std::string xml = "<DriveManifest>\n<Drive>\n<DriveId>X</DriveId>\n<BlobList>\n<Blob>\n<BlockList>\n" +
                            piece("Block", "0", "4") + "\n" + piece("Block", "2", "4");
    EXPECT_EQ(read_manifest(xml).text(), "manifest line 8: a block starts at 2 where the one before ends at 4");
}

TEST(DriveManifest, TakesBlobListPathsForTheBlobsThatFollow) {
    const std::string blob = "<Blob><BlobPath>lab/x</BlobPath><FilePath>x</FilePath><Length>0</Length>";
    const std::string meta = "<MetadataPath Hash='" + std::string(kHash) + "'>";
    const ReadManifest read = read_manifest(in_drive(
        "<BlobList>" + blob + "</Blob>" + meta + "\\all.xml</MetadataPath>" + blob + "</Blob>" + blob + meta +
        "\\own.xml</MetadataPath></Blob></BlobList><BlobList>" + blob + "</Blob></BlobList>"));
    ASSERT_FALSE(read.error) << read.text();
    ASSERT_EQ(read.blobs.size(), 4U);
    EXPECT_FALSE(read.blobs[0].metadata);
    EXPECT_EQ(read.blobs[1].metadata, (SideFile{"\\all.xml", hash_of_hex(kHash), true}));
    EXPECT_EQ(read.blobs[2].metadata, (SideFile{"\\own.xml", hash_of_hex(kHash), false}));
    EXPECT_FALSE(read.blobs[3].metadata) << "another list";
}

TEST(DriveManifest, KeepsTextAsItIsWritten) {
    const ReadManifest read = read_manifest(
        in_list("<Blob><BlobPath>lab/ a&amp;b%20 </BlobPath><FilePath>\\ a \\b</FilePath><ClientData> c\n</ClientData>"
                "<Snapshot> 2013-01-01T00:00:00Z </Snapshot><Length>0</Length></Blob>"));
    ASSERT_EQ(read.blobs.size(), 1U) << read.text();
    EXPECT_EQ(read.blobs[0].blob_path, "lab/ a&b%20 ");
    EXPECT_EQ(read.blobs[0].file_path, "\\ a \\b");
    EXPECT_EQ(read.blobs[0].client_data, " c\n");
    EXPECT_EQ(read.blobs[0].snapshot, "2013-01-01T00:00:00Z");
}

TEST(DriveManifest, BytesAfterTheEndWasToldAreRefused) {
    ManifestReader reader({}, {});
    ASSERT_TRUE(reader.feed(std::as_bytes(std::span(kSampleManifest))));
    ASSERT_TRUE(reader.finish());
    EXPECT_EQ(reader.feed(std::as_bytes(std::span("x", 1))).error().kind(), ErrorKind::Internal);
}

TEST(DriveManifest, DispositionsHaveTheirWords) {
    EXPECT_EQ(to_string(Disposition::NoOverwrite), "no-overwrite");
    EXPECT_EQ(to_string(Disposition::Overwrite), "overwrite");
    EXPECT_EQ(to_string(Disposition::Rename), "rename");
}

}  // namespace
}  // namespace dray::format
