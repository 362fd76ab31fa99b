// SPDX-License-Identifier: Apache-2.0
//
// exFAT made by mkfs.exfat and filled by a writer of our own that fsck.exfat finds right, read by us, byte for byte;
// what is odd about one, and what is damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>

#include "drivers/filesystem/exfat/upcase_table.hpp"
#include "drivers/filesystem/open_filesystem.hpp"
#include "drivers/volume/device_file.hpp"
#include "tests/unit/filesystem/cluster_image.hpp"

namespace dray::fs {
namespace {

using test::announced_seed;
using test::ClusterImage;
using test::open_image;
using test::Opened;
using test::random_text;
using testing::HasSubstr;

struct Kind {
    const char* name;
    const char* options;
    const char* writer_options;
    std::size_t cluster;
    Bytes device_sector = 512;
};

class ExfatKinds : public testing::TestWithParam<Kind> {};

TEST_P(ExfatKinds, AreReadWhole) {
    std::mt19937_64 random(announced_seed());
    ClusterImage image;
    test::keep_all_kinds(image, random, GetParam().cluster);
    image.keep("names/\xf0\x9f\x98\x80 \xf0\x90\x90\x80", "beyond 16 bits");
    image.format_exfat(GetParam().options, "64M", GetParam().writer_options);
    image.must("fsck.exfat -n IMAGE");
    ASSERT_FALSE(HasFatalFailure());
    const Opened opened = open_image(image.bytes(), GetParam().device_sector);
    ASSERT_TRUE(opened.filesystem) << opened.error;
    EXPECT_EQ(opened.filesystem->type(), "exfat");
    EXPECT_EQ(opened.filesystem->notice(), "");
    const std::vector<std::byte> before = opened.device->content;
    EXPECT_EQ(test::difference(test::read_all(*opened.filesystem, random()), image.kept()), "");
    EXPECT_TRUE(opened.device->content == before);
}

INSTANTIATE_TEST_SUITE_P(All, ExfatKinds,
                         testing::Values(Kind{"Contiguous", "-c 4096", "--layout contiguous", 4096},
                                         Kind{"Scattered", "-c 4096", "--layout scattered", 4096},
                                         Kind{"Both", "-c 4096", "--layout both", 4096},
                                         Kind{"SmallClusters", "-c 512", "--layout both", 512},
                                         Kind{"LargeClusters", "-c 32768", "--layout both", 32768},
                                         Kind{"On4K", "-c 4096", "--layout both", 4096, 4096}),
                         [](const auto& kind) { return kind.param.name; });

/// An exFAT of clusters of 4 KiB with a few files, open to be spoiled.
class Exfat : public testing::Test {
protected:
    static constexpr std::size_t kCluster = 4096;
    static constexpr std::size_t kSector = 512;

    void SetUp() override {
        image_.keep("A Name.text", "name");
        image_.keep("dir/inside", "within");
        image_.keep("dir/sub/deep", "deep");
        image_.keep("chain", content_);
    }
    void format(const std::string& writer_options = "--layout scattered", const std::string& size = "8M") {
        image_.format_exfat("-c 4096", size, writer_options);
    }
    Opened open() const { return open_image(image_.bytes()); }
    std::uint64_t boot(Bytes offset, std::size_t size) const { return image_.number_at(offset, size); }
    Bytes table() const { return boot(80, 4) * kSector; }
    Bytes cluster(std::uint64_t number) const { return boot(88, 4) * kSector + (number - 2) * kCluster; }
    /// The set of entries of a file with a name of up to 15 ASCII letters.
    Bytes set_of(const std::string& name) const {
        std::string units{'\xc1', '\0'};
        for (const char letter : name)
            units += {letter, '\0'};
        return image_.find(units) - 64;
    }
    void mend_set(Bytes place) {
        unsigned sum = 0;
        const std::string set = image_.part(place, 32 * (image_.number_at(place + 1, 1) + 1));
        for (std::size_t i = 0; i < set.size(); ++i)
            if (i != 2 && i != 3)
                sum = ((sum << 15U) + (sum >> 1U) + static_cast<unsigned char>(set[i])) & 0xffffU;
        image_.overwrite_number(place + 2, sum, 2);
    }
    void mend_boot() {
        std::uint32_t sum = 0;
        const std::string region = image_.part(0, 11 * kSector);
        for (std::size_t i = 0; i < region.size(); ++i)
            if (i != 106 && i != 107 && i != 112)
                sum = ((sum & 1U) << 31U) + (sum >> 1U) + static_cast<unsigned char>(region[i]);
        for (std::size_t i = 11 * kSector; i < 12 * kSector; i += 4)
            image_.overwrite_number(i, sum, 4);
    }
    void change_set(const std::string& name, Bytes offset, std::uint64_t value, std::size_t size) {
        const Bytes place = set_of(name);
        image_.overwrite_number(place + offset, value, size);
        mend_set(place);
    }
    Error error_of(const std::string& path) const {
        const Opened opened = open();
        if (!opened.filesystem)
            return {ErrorKind::Internal, "not opened: " + opened.error};
        const Result<FileStatus> status = opened.filesystem->lookup(path);
        if (!status)
            return status.error();
        std::vector<std::byte> content(static_cast<std::size_t>(status->size));
        const Result<void> read = opened.filesystem->read(*status, 0, content);
        return read ? Error(ErrorKind::Internal, "no error") : read.error();
    }
    void expect_corrupt(const std::string& path, const std::string& sentence) const {
        const Error error = error_of(path);
        EXPECT_EQ(error.kind(), ErrorKind::Corrupt) << error.text();
        EXPECT_THAT(error.text(), HasSubstr(sentence));
    }

    std::mt19937_64 random_{announced_seed()};
    std::string content_ = random_text(random_, 20 * kCluster);
    ClusterImage image_;
};

TEST_F(Exfat, OddEntriesAreReadAsTheSpecificationHasThem) {
    format("--layout both --odd");
    const Opened opened = open();
    ASSERT_TRUE(opened.filesystem) << opened.error;
    FileSystem& fs = *opened.filesystem;
    test::Files expected = image_.kept();
    expected["vendor"] = "behind it is an entry of a vendor";
    expected["half \xef\xbf\xbd pair"] = "named by half of a pair";
    expected["promised"] = "written" + std::string(300'000, '\0');
    expected["promised-whole"] = std::string(70'000, '\0');
    EXPECT_EQ(test::difference(test::read_all(fs, random_()), expected), "");
    EXPECT_EQ(fs.lookup("deleted").error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(test::read_file_of(fs, "HALF \xef\xbf\xbd PAIR"), "named by half of a pair");
}

TEST_F(Exfat, NamesAreFoundExactlyOrByTheUpCaseTable) {
    image_.keep("Case one", "1");
    image_.keep("CASE two", "2");
    image_.keep("\xc3\x84pfel \xce\xb1", "folded");
    format();
    const Bytes place = set_of("CASE two");
    image_.overwrite(place + 64 + 2 + 10, std::string("o\0n\0e\0", 6));
    mend_set(place);
    const Opened opened = open();
    FileSystem& fs = *opened.filesystem;
    for (const char* path : {"a name.TEXT", "DIR/SUB/DEEP", "/dir//inside", "\xc3\xa4PFEL \xce\x91"})
        EXPECT_TRUE(fs.lookup(path)) << path;
    EXPECT_EQ(test::read_file_of(fs, "Case one"), "1");
    EXPECT_EQ(test::read_file_of(fs, "CASE one"), "2");
    EXPECT_THAT(fs.lookup("case one").error().text(), HasSubstr("2 that differ"));
    EXPECT_EQ(fs.lookup("none").error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(fs.lookup(std::string(300, 'x')).error().kind(), ErrorKind::NotFound);
}

TEST_F(Exfat, TheStandardUpCaseTableIsTheOneOfMkfs) {
    format();
    const Bytes entry = image_.find(std::string("\x82\0\0\0\x0d\xd3\x19\xe6", 8));
    const Bytes place = cluster(image_.number_at(entry + 20, 4));
    const std::vector<std::byte> all = image_.bytes();
    const auto table = std::span(all).subspan(place, image_.number_at(entry + 24, 8));
    const Result<UpcaseTable> parsed = UpcaseTable::parse(table, 0xe619d30d);
    ASSERT_TRUE(parsed);
    const UpcaseTable standard = UpcaseTable::standard();
    for (unsigned unit = 0; unit < 65536; ++unit)
        ASSERT_EQ(parsed->of(static_cast<char16_t>(unit)), standard.of(static_cast<char16_t>(unit))) << unit;
    EXPECT_FALSE(UpcaseTable::parse(table, 0xe619d30c));
    EXPECT_FALSE(UpcaseTable::parse(table.first(table.size() - 1), 0xe619d30d));
}

TEST_F(Exfat, ItsOwnUpCaseTableCountsUnlessItIsDamaged) {
    format();
    const Bytes entry = image_.find(std::string("\x82\0\0\0\x0d\xd3\x19\xe6", 8));
    const Bytes place = cluster(image_.number_at(entry + 20, 4));
    // "n" is upper case.
    image_.overwrite_number(place + 'n' * 2, 'n', 2);
    const Opened damaged = open();
    EXPECT_THAT(damaged.filesystem->notice(), HasSubstr("up-case table of the exFAT cannot be used"));
    EXPECT_TRUE(damaged.filesystem->lookup("A NAME.text"));
    std::uint32_t sum = 0;
    const std::vector<std::byte> all = image_.bytes();
    for (std::size_t i = 0; i < image_.number_at(entry + 24, 8); ++i)
        sum = ((sum & 1U) << 31U) + (sum >> 1U) + std::to_integer<std::uint32_t>(all[place + i]);
    image_.overwrite_number(entry + 4, sum, 4);
    const Opened own = open();
    EXPECT_EQ(own.filesystem->notice(), "");
    EXPECT_TRUE(own.filesystem->lookup("a NAME.text"));
    EXPECT_EQ(own.filesystem->lookup("diR/iNside").error().kind(), ErrorKind::NotFound);
    EXPECT_TRUE(own.filesystem->lookup("diR/inSIDE"));
    // None at all, or one of a size that cannot be.
    for (const auto& [offset, value] : std::vector<std::pair<Bytes, std::uint64_t>>{{0, 0x02}, {29, 0xff}, {20, 0x01}}) {
        format();
        image_.overwrite_number(entry + offset, value, 1);
        EXPECT_THAT(open().filesystem->notice(), HasSubstr("up-case table")) << offset;
    }
}

TEST_F(Exfat, TheSecondBootRegionServes) {
    format();
    for (const auto& [place, bytes] : std::vector<std::pair<Bytes, std::string>>{
             {0, std::string(512, '\0')}, {100, "\x7f"}, {11 * 512 + 3, "\x7f"}, {600, "damaged"}}) {
        format();
        image_.overwrite(place, bytes);
        const Opened opened = open();
        ASSERT_TRUE(opened.filesystem) << opened.error;
        EXPECT_THAT(opened.filesystem->notice(), HasSubstr("the second one was used"));
        EXPECT_EQ(test::difference(test::read_all(*opened.filesystem, 1), image_.kept()), "");
        image_.overwrite(12 * 512 + place + 1, "damaged");
        const Opened none = open();
        EXPECT_FALSE(none.filesystem);
    }
    format();
    image_.overwrite(600, "damaged");
    image_.overwrite(12 * 512 + 600, "damaged");
    const Opened none = open();
    EXPECT_EQ(none.kind, ErrorKind::Corrupt);
    EXPECT_EQ(none.status, "DiskOperationFailed");
    EXPECT_THAT(none.error, HasSubstr("checksum of the exFAT's boot region is wrong"));
}

TEST_F(Exfat, WhatTheVolumeSaysOfItselfReachesTheOperator) {
    format();
    image_.overwrite_number(106, 2, 2);
    EXPECT_THAT(open().filesystem->notice(), HasSubstr("not unmounted cleanly"));
    image_.overwrite_number(106, 4, 2);
    EXPECT_THAT(open().filesystem->notice(), HasSubstr("had read or write errors"));
    image_.overwrite_number(106, 6, 2);
    EXPECT_THAT(open().filesystem->notice(), HasSubstr("damaged; the exFAT is marked"));
}

TEST_F(Exfat, OfTwoTablesTheActiveOneCounts) {
    format();
    const std::uint64_t length = boot(84, 4) * kSector;
    image_.overwrite(table() + length, image_.part(table(), length));
    image_.overwrite(table() + 8, std::string(length - 8, '\0'));
    image_.overwrite_number(110, 2, 1);
    image_.overwrite_number(106, 1, 2);
    mend_boot();
    const Opened second = open();
    ASSERT_TRUE(second.filesystem) << second.error;
    EXPECT_EQ(test::difference(test::read_all(*second.filesystem, 1), image_.kept()), "");
    // Of another time: not asked.
    image_.overwrite_number(106, 0, 2);
    expect_corrupt("chain", "is marked free");
}

TEST_F(Exfat, BootRegionsThatCannotBeAreRefused) {
    for (const auto& [place, value, size, sentence] : std::vector<std::tuple<Bytes, std::uint64_t, std::size_t, std::string>>{
             {72, std::uint64_t{1} << 63U, 8, "is the image whole"}, {72, 100, 8, "a place of the table"},
             {80, 23, 4, "a place of the table"}, {80, 0xffffffff, 4, "a place of the table"},
             {84, 1, 4, "a table size in sectors of 1"}, {84, 0xffffffff, 4, "a place of the table"},
             {88, 0xffffffff, 4, "a place of the table"}, {92, 0, 4, "a number of clusters of 0"},
             {92, 0xffffffff, 4, "a number of clusters"}, {92, 1600, 4, "a number of clusters of 1600"},
             {96, 1, 4, "first cluster of the root of 1"}, {96, 0xffffffff, 4, "first cluster of the root"},
             {104, 0x0200, 2, "version 2.0 of exFAT"}, {109, 17, 1, "a cluster size in bits of 26"},
             {109, 255, 1, "a cluster size in bits"}, {110, 0, 1, "a number of tables of 0"}, {110, 3, 1, "a number of tables of 3"},
             {108, 8, 1, "boot region of the exFAT is damaged"}, {108, 13, 1, "boot region of the exFAT is damaged"}}) {
        format();
        image_.overwrite_number(place, value, size);
        mend_boot();
        image_.overwrite(12 * 512, std::string(512, '\0'));
        const Opened opened = open();
        ASSERT_FALSE(opened.filesystem) << place << ' ' << value;
        EXPECT_EQ(opened.kind, place == 104 ? ErrorKind::Unsupported : ErrorKind::Corrupt) << opened.error;
        EXPECT_THAT(opened.error, HasSubstr(sentence));
    }
    format();
    image_.must("truncate -s -4096 IMAGE");
    EXPECT_THAT(open().error, HasSubstr("is the image whole"));
}

TEST_F(Exfat, FilesThatCannotBeAreErrors) {
    constexpr Bytes kStream = 32;
    const std::uint64_t most = std::uint64_t{1} << 63U;
    for (const auto& [offset, value, size, sentence] : std::vector<std::tuple<Bytes, std::uint64_t, std::size_t, std::string>>{
             {kStream + 24, most, 8, "impossible size of 9223372036854775808"},
             {kStream + 24, 0xffffffffffffffff, 8, "impossible size"}, {kStream + 8, most, 8, "are said to be written"},
             {kStream + 8, 20 * kCluster + 1, 8, "are said to be written"}, {kStream + 20, 0, 4, "none of the volume's clusters"},
             {kStream + 20, 1, 4, "none of the volume's clusters"}, {kStream + 20, 0xffffffff, 4, "none of the volume's clusters"}}) {
        format();
        change_set("chain", offset, value, size);
        expect_corrupt("chain", sentence);
    }
    format();
    const std::uint64_t first = image_.number_at(set_of("chain") + kStream + 20, 4);
    for (const auto& [value, sentence] : std::vector<std::pair<std::uint64_t, std::string>>{
             {0, "is marked free"}, {1, "none of the volume's"}, {0xfffffff7, "is marked bad"}, {0xfffffffe, "none of the volume's"},
             {0xffffffff, "ends before"}, {first, "circle"}}) {
        image_.overwrite_number(table() + first * 4, value, 4);
        expect_corrupt("chain", sentence);
    }
    // In one piece, but the volume ends before.
    format("--layout contiguous");
    change_set("chain", kStream + 20, boot(92, 4) + 1, 4);
    expect_corrupt("chain", "beyond the last cluster");
}

TEST_F(Exfat, DirectoriesThatCannotBeAreErrors) {
    constexpr Bytes kStream = 32;
    format();
    const std::uint64_t of_dir = image_.number_at(set_of("dir") + kStream + 20, 4);
    change_set("sub", kStream + 20, of_dir, 4);
    expect_corrupt("dir/sub/sub/sub/inside", "lies within itself");
    // As long as a directory may be, and one cluster more.
    format("--layout contiguous", "300M");
    for (const std::uint64_t size : {256 * kMiB, 256 * kMiB + kCluster}) {
        const Bytes place = set_of("sub");
        image_.overwrite_number(place + kStream + 8, size, 8);
        image_.overwrite_number(place + kStream + 24, size, 8);
        mend_set(place);
        FileDescriptor fd(::open(image_.path().c_str(), O_RDONLY | O_CLOEXEC));
        const auto device = volume::DeviceFile::open(std::move(fd));
        ASSERT_TRUE(device);
        const auto filesystem = open_filesystem(**device);
        ASSERT_TRUE(filesystem);
        const Error error = (*filesystem)->lookup("dir/sub/none").error();
        EXPECT_EQ(error.kind(), size == 256 * kMiB ? ErrorKind::NotFound : ErrorKind::LimitReached) << error.text();
    }
}

TEST_F(Exfat, ADamagedSetCostsThatFileAlone) {
    for (const auto& [description, offset, value] : std::vector<std::tuple<const char*, Bytes, std::uint64_t>>{
             {"another checksum", 2, 0x77}, {"a part missing", 64, 0x41}, {"no stream", 32, 0xc1}, {"a name too long", 32 + 3, 16},
             {"a name too short", 32 + 3, 0}, {"more parts than there are", 1, 3}, {"fewer parts", 1, 1}, {"no parts", 1, 0},
             {"a part one has to know", 64, 0xc2}}) {
        format();
        const Bytes place = set_of("A Name.text");
        image_.overwrite_number(place + offset, value, 1);
        if (offset != 2 && offset != 1)
            mend_set(place);
        expect_corrupt("A Name.text", "a directory is damaged");
        const Opened opened = open();
        std::vector<std::string> names;
        const Result<void> listed = opened.filesystem->list("", [&names](const FileSystem::Entry& entry) {
            names.push_back(entry.name);
            return true;
        });
        EXPECT_FALSE(listed) << description;
        EXPECT_THAT(names, testing::UnorderedElementsAre("dir", "chain")) << description;
        EXPECT_TRUE(test::read_file_of(*opened.filesystem, "chain") == content_);
    }
}

TEST_F(Exfat, ErrorsOfTheDeviceKeepTheirKind) {
    format();
    const Opened opened = open();
    const Result<FileStatus> status = opened.filesystem->lookup("chain");
    ASSERT_TRUE(status);
    opened.device->bad_sector = image_.find(content_.substr(kCluster, 32));
    std::vector<std::byte> content(kCluster);
    EXPECT_EQ(opened.filesystem->read(*status, kCluster, content).error().kind(), ErrorKind::Internal);
    EXPECT_TRUE(opened.filesystem->read(*status, 2 * kCluster, content));
    opened.device->is_gone = true;
    EXPECT_EQ(opened.filesystem->read(*status, 0, content).error().kind(), ErrorKind::Gone);
}

TEST_F(Exfat, WhatLiesTogetherIsReadAtOnce) {
    image_.keep("large", random_text(random_, 4'000'000));
    format("--layout contiguous");
    const Opened opened = open();
    const Result<FileStatus> status = opened.filesystem->lookup("large");
    ASSERT_TRUE(status);
    std::vector<std::byte> content(3'000 * 512);
    ASSERT_TRUE(opened.filesystem->read(*status, 0, std::span(content).first(512)));
    opened.device->reads = 0;
    ASSERT_TRUE(opened.filesystem->read(*status, 4096, content));
    EXPECT_EQ(opened.device->reads, 1U);
}

TEST_F(Exfat, AFileOfManyGibibytesIsReadAtItsEnd) {
    // 64 GiB, almost all of it never written.
    image_.must("truncate -s 64G IMAGE");
    image_.must("mkfs.exfat -c 1M IMAGE");
    image_.must("/usr/bin/python3 -B " DRAY_TEST_SUPPORT "/exfat_writer.py IMAGE " + image_.in_tree("") +
                " --layout contiguous --huge " + std::to_string(60 * kGiB + 50));
    image_.must("fsck.exfat -n IMAGE");
    ASSERT_FALSE(HasFatalFailure());
    FileDescriptor fd(::open(image_.path().c_str(), O_RDONLY | O_CLOEXEC));
    const auto device = volume::DeviceFile::open(std::move(fd));
    ASSERT_TRUE(device);
    const auto filesystem = open_filesystem(**device);
    ASSERT_TRUE(filesystem) << filesystem.error().error.text();
    for (const char* path : {"huge-contiguous", "huge-chain"}) {
        const Result<FileStatus> status = (*filesystem)->lookup(path);
        ASSERT_TRUE(status) << path;
        const Bytes size = std::string_view(path) == "huge-chain" ? kGiB + 50 : 60 * kGiB + 50;
        EXPECT_EQ(status->size, size);
        std::string end(9, '?');
        ASSERT_TRUE((*filesystem)->read(*status, size - end.size(), std::as_writable_bytes(std::span(end.data(), end.size()))));
        EXPECT_EQ(end, std::string("\0\0\0theend", 9)) << path;
    }
}

}  // namespace
}  // namespace dray::fs
