// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/dataset.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/base/digest.hpp"
#include "daemon/format/checksum_line.hpp"
#include "daemon/format/csv.hpp"

namespace dray::format {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Fields = std::vector<std::string>;

std::vector<Fields> fields_of(std::string_view text) {
    const auto rows = parse_csv(text);
    EXPECT_TRUE(rows) << rows.error().text();
    std::vector<Fields> fields;
    if (rows)
        for (const CsvRow& row : *rows)
            fields.push_back(row.fields);
    return fields;
}

TEST(Csv, ReadsWhatTheDocumentAllows) {
    EXPECT_THAT(fields_of(""), ElementsAre());
    EXPECT_THAT(fields_of("a,b\nc,d"), ElementsAre(Fields{"a", "b"}, Fields{"c", "d"}));
    EXPECT_THAT(fields_of("a,b\r\nc,d\r\n"), ElementsAre(Fields{"a", "b"}, Fields{"c", "d"}));
    EXPECT_THAT(fields_of("\xEF\xBB\xBF" "a,\n,b\n\n\r\n,"), ElementsAre(Fields{"a", ""}, Fields{"", "b"}, Fields{"", ""}));
    EXPECT_THAT(fields_of("\"a,\"\"b\"\"\",\"\",\"two\nlines\"\nc"), ElementsAre(Fields{"a,\"b\"", "", "two\nlines"}, Fields{"c"}));
    EXPECT_THAT(fields_of("\"a\"\r\n\"b\""), ElementsAre(Fields{"a"}, Fields{"b"}));
    EXPECT_THAT(fields_of(" a , b "), ElementsAre(Fields{" a ", " b "}));
    EXPECT_THAT(fields_of("\"a\nb\"\n\nc"), ElementsAre(Fields{"a\nb"}, Fields{"c"}));
    EXPECT_EQ(parse_csv("\"a\nb\"\n\nc")->back().line, 4U);
}

TEST(Csv, RefusesTheRestWithItsLine) {
    for (const auto& [text, sentence] : std::initializer_list<std::pair<std::string_view, const char*>>{
             {"a\nb\"c", "line 2: a quote stands within"},
             {"a\n\"b", "line 2: a quoted field has no end"},
             {"a\n\"b\nc\"d", "line 3: something stands behind"},
             {std::string_view("a\0b", 3), "NUL"},
             {"\xff", "not UTF-8"}}) {
        const auto rows = parse_csv(text);
        ASSERT_FALSE(rows) << text;
        EXPECT_THAT(rows.error().text(), HasSubstr(sentence));
    }
    EXPECT_TRUE(parse_csv(std::string(kMaxCsv, 'x')));
    EXPECT_EQ(parse_csv(std::string(kMaxCsv + 1, 'x')).error().kind(), ErrorKind::LimitReached);
}

TEST(Dataset, ReadsBothFlavoursOfTheHeading) {
    const auto rows = read_dataset(
        "BasePath,DstBlobPathOrPrefix,BlobType,Disposition,MetadataFile,PropertiesFile\n"
        "/srv/photos/,photos/2026/,BlockBlob,rename,None,/etc/props.xml\n"
        "\"/srv/a, b.vhd\",disks/a.vhd,page,overwrite,/m.xml,\n"
        "/srv/x/,$root/,,,,none\n");
    ASSERT_TRUE(rows) << rows.error().text();
    ASSERT_EQ(rows->size(), 3U);
    EXPECT_EQ((*rows)[0].base_path, "/srv/photos/");
    EXPECT_TRUE((*rows)[0].is_directory());
    EXPECT_EQ((*rows)[0].destination, "photos/2026/");
    EXPECT_EQ((*rows)[0].type, BlobType::Block);
    EXPECT_EQ((*rows)[0].metadata_file, "");
    EXPECT_EQ((*rows)[0].properties_file, "/etc/props.xml");
    EXPECT_EQ((*rows)[1].base_path, "/srv/a, b.vhd");
    EXPECT_FALSE((*rows)[1].is_directory());
    EXPECT_EQ((*rows)[1].type, BlobType::Page);
    EXPECT_EQ((*rows)[1].disposition, Disposition::Overwrite);
    EXPECT_EQ((*rows)[1].line, 3U);
    EXPECT_EQ((*rows)[2].type, std::nullopt);
    EXPECT_EQ((*rows)[2].disposition, Disposition::Rename);
    const auto items = read_dataset("itemtype,BASEPATH,DstItemPathOrPrefix\r\nPageBlob,/a/,lab/\r\n");
    ASSERT_TRUE(items) << items.error().text();
    EXPECT_EQ(items->front().type, BlobType::Page);
    EXPECT_EQ(items->front().destination, "lab/");
}

TEST(Dataset, RefusesWhatItCannotMean) {
    const std::string head = "BasePath,DstBlobPathOrPrefix,BlobType,Disposition\n";
    for (const auto& [text, sentence] : std::initializer_list<std::pair<std::string, const char*>>{
             {"", "it is empty"},
             {head, "no row"},
             {"BasePath\n/a/\n", "the column DstBlobPathOrPrefix is missing"},
             {"BasePath,DstBlobPathOrPrefix,Colour\n/a/,lab/,x\n", "\"Colour\" is not known"},
             {"BasePath,DstBlobPathOrPrefix,DstItemPathOrPrefix\n/a/,lab/,x/\n", "is there twice"},
             {head + "/a/,lab/\n", "line 2: it has 2 fields, the heading 4"},
             {head + "a/,lab/,,\n", "line 2: the BasePath \"a/\" is not absolute"},
             {head + "/a/,lab,,\n", "must end with '/'"},
             {head + "/a,lab/,,\n", "must be a blob's whole path"},
             {head + "/a/,lab/,blob,\n", "neither block nor page"},
             {head + "/a/,lab/,file,\n", "file shares"},
             {head + "/a/,lab/,,Rename\n", "none of rename, no-overwrite, overwrite"},
             {head + "/a/,lab/,,\n\n/b/,\"lab/,,\n", "line 4: a quoted field has no end"}}) {
        const auto rows = read_dataset(text);
        ASSERT_FALSE(rows) << text;
        EXPECT_THAT(rows.error().text(), HasSubstr(sentence)) << text;
    }
}

TEST(Dataset, KnowsDiskImagesByTheirNames) {
    for (const char* name : {"a.vhd", "A.VHD", "x.vhdx", ".vhd"})
        EXPECT_TRUE(is_page_by_name(name)) << name;
    for (const char* name : {"a.vhdy", "vhd", "a.vhd.txt", ""})
        EXPECT_FALSE(is_page_by_name(name)) << name;
}

TEST(DriveSet, ReadsTheHeadingOfTheToolAndItsOwnColumns) {
    const auto rows = read_driveset(
        "DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,ExistingBitLockerKey,Serial,KeyFile,Size\n"
        "/dev/disk/by-id/ata-1,Format,SilentMode,Encrypt,,WD-1,/k1,\n"
        "/srv/2.img,format,PromptOnFormat,encrypt,,WD-2,,2GiB\n");
    ASSERT_TRUE(rows) << rows.error().text();
    ASSERT_EQ(rows->size(), 2U);
    EXPECT_EQ((*rows)[0].path, "/dev/disk/by-id/ata-1");
    EXPECT_TRUE((*rows)[0].is_silent);
    EXPECT_EQ((*rows)[0].serial, "WD-1");
    EXPECT_EQ((*rows)[0].key_file, "/k1");
    EXPECT_FALSE((*rows)[1].is_silent);
    EXPECT_EQ((*rows)[1].size, "2GiB");
    EXPECT_TRUE(read_driveset("DriveLetter,Serial\n/dev/sdx,S\n"));
}

TEST(DriveSet, RefusesDrivesThatAreNotMadeAnew) {
    const std::string head = "DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,ExistingBitLockerKey,Serial\n";
    for (const auto& [text, kind, sentence] : std::initializer_list<std::tuple<std::string, ErrorKind, const char*>>{
             {head + "X,Format,SilentMode,Encrypt,,S\n", ErrorKind::InvalidArgument, "no absolute path"},
             {head + "/x,AlreadyFormatted,SilentMode,Encrypt,,S\n", ErrorKind::Unsupported, "made anew"},
             {head + "/x,Quick,SilentMode,Encrypt,,S\n", ErrorKind::InvalidArgument, "\"Quick\" is not known"},
             {head + "/x,Format,Loud,Encrypt,,S\n", ErrorKind::InvalidArgument, "neither SilentMode"},
             {head + "/x,Format,SilentMode,AlreadyEncrypted,,S\n", ErrorKind::Unsupported, "made anew"},
             {head + "/x,Format,SilentMode,Encrypt,123,S\n", ErrorKind::Unsupported, "KeyFile"},
             {head + "/x,,,,,S\n/x,,,,,T\n", ErrorKind::InvalidArgument, "line 3: the drive /x is there twice"},
             {"DriveLetter\n/x\n", ErrorKind::InvalidArgument, "the column Serial is missing"}}) {
        const auto rows = read_driveset(text);
        ASSERT_FALSE(rows) << text;
        EXPECT_EQ(rows.error().kind(), kind) << text;
        EXPECT_THAT(rows.error().text(), HasSubstr(sentence)) << text;
    }
}

TEST(ChecksumLine, EscapesAsCoreutilsDoes) {
    const std::vector<std::byte> digest(2, std::byte{0xAB});
    EXPECT_EQ(checksum_line(digest, "a b"), "abab  a b\n");
    EXPECT_EQ(checksum_line(digest, "a\\b\nc"), "\\abab  a\\\\b\\nc\n");
    for (const char* path : {"a b", "a\\b\nc", ""})
        EXPECT_EQ(checksum_line_size(2, path), checksum_line(digest, path).size()) << path;
}

}  // namespace
}  // namespace dray::format
