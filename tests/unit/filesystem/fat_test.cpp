// SPDX-License-Identifier: Apache-2.0
//
// Every kind of FAT that mkfs.fat makes, filled by mtools and read by us, byte for byte; what is odd about one, and
// what is damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
    const char* size;
    std::size_t cluster;
    const char* type;
    Bytes device_sector = 512;
};

class FatKinds : public testing::TestWithParam<Kind> {};

TEST_P(FatKinds, ReadWhatMtoolsWrote) {
    std::mt19937_64 random(announced_seed());
    ClusterImage image;
    test::keep_all_kinds(image, random, GetParam().cluster);
    image.format_fat(GetParam().options, GetParam().size);
    image.fill_fat();
    if (std::string_view(GetParam().options).find("-f 4") == std::string_view::npos)  // it knows of two at most
        image.must("fsck.fat -n IMAGE");
    ASSERT_FALSE(HasFatalFailure());
    const Opened opened = open_image(image.bytes(), GetParam().device_sector);
    ASSERT_TRUE(opened.filesystem) << opened.error;
    EXPECT_EQ(opened.filesystem->type(), GetParam().type);
    EXPECT_EQ(opened.filesystem->notice(), "");
    const std::vector<std::byte> before = opened.device->content;
    EXPECT_EQ(test::difference(test::read_all(*opened.filesystem, random()), image.kept()), "");
    EXPECT_TRUE(opened.device->content == before);
}

INSTANTIATE_TEST_SUITE_P(
    All, FatKinds,
    testing::Values(Kind{"Fat12", "-F 12 -s 4", "6M", 2048, "fat12"}, Kind{"Fat12OneTable", "-F 12 -s 8 -f 1", "12M", 4096, "fat12"},
                    Kind{"Fat16", "-F 16 -s 4", "20M", 2048, "fat16"},
                    Kind{"Fat16LargeSectors", "-F 16 -S 2048 -s 1", "20M", 2048, "fat16"},
                    Kind{"Fat16Encrypted4K", "-F 16 -S 4096 -s 1", "30M", 4096, "fat16", 4096},
                    Kind{"Fat16On4K", "-F 16 -s 4", "20M", 2048, "fat16", 4096},
                    Kind{"Fat32", "-F 32 -s 1", "40M", 512, "fat32"}, Kind{"Fat32Large", "-F 32 -s 2", "70M", 1024, "fat32"},
                    Kind{"Fat32FourTables", "-F 32 -s 1 -f 4", "40M", 512, "fat32"},
                    Kind{"Fat32LargeSectors", "-F 32 -S 1024 -s 1", "70M", 1024, "fat32"}),
    [](const auto& kind) { return kind.param.name; });

/// A FAT16 of clusters of 2 KiB with a few files, open to be spoiled.
class Fat : public testing::Test {
protected:
    static constexpr std::size_t kCluster = 2048;

    void SetUp() override {
        image_.keep("A Long Name Of A File.text", "long");
        image_.keep("SHORT.TXT", "short");
        image_.keep("dir/inside", "within");
        image_.keep("dir/sub/deep", "deep");
        image_.keep("chain", content_);
    }
    void format(const std::string& options = "-F 16 -s 4", const std::string& size = "9M") {
        image_.format_fat(options, size);
        image_.fill_fat();
    }
    Opened open() const { return open_image(image_.bytes()); }
    std::vector<std::string> names(const std::string& directory = "") const {
        const Opened opened = open();
        std::vector<std::string> names;
        EXPECT_TRUE(opened.filesystem) << opened.error;
        if (!opened.filesystem)
            return names;
        EXPECT_TRUE(opened.filesystem->list(directory, [&names](const FileSystem::Entry& entry) {
            names.push_back(entry.name);
            return true;
        }));
        return names;
    }
    std::uint64_t boot(Bytes offset, std::size_t size) const { return image_.number_at(offset, size); }
    Bytes table() const { return boot(14, 2) * boot(11, 2); }
    Bytes table_length() const { return (boot(22, 2) != 0 ? boot(22, 2) : boot(36, 4)) * boot(11, 2); }
    /// The short entry of a file, by its eleven bytes.
    Bytes entry(const std::string& name) const { return image_.find(name); }
    /// The answer to a look at a file, and then to reading it whole.
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

TEST_F(Fat, NamesAreFoundExactlyOrWithoutRegardToCase) {
    image_.keep("Stra\xc3\x9f" "e \xc3\x84.txt", "folded");
    image_.keep("Case one.text", "1");
    image_.keep("CASE two.text", "2");
    format();
    // What mtools would not make: two names that differ in case alone.
    const Bytes two = image_.find(std::string("C\0A\0S\0E\0 \0", 10));
    image_.overwrite(two + 13, std::string("o\0n\0e\0", 6));
    const Opened opened = open();
    ASSERT_TRUE(opened.filesystem);
    FileSystem& fs = *opened.filesystem;
    for (const char* path : {"a long name of a file.TEXT", "DIR/INSIDE", "/dir//Sub/DEEP", "short.txt", "STRA\xc3\x9f" "E \xc3\xa4.TXT"})
        EXPECT_TRUE(fs.lookup(path)) << path;
    EXPECT_EQ(test::read_file_of(fs, "Case one.text"), "1");
    EXPECT_EQ(test::read_file_of(fs, "CASE one.text"), "2");
    const Result<FileStatus> ambiguous = fs.lookup("case One.text");
    ASSERT_FALSE(ambiguous);
    EXPECT_EQ(ambiguous.error().kind(), ErrorKind::NotFound);
    EXPECT_THAT(ambiguous.error().text(), HasSubstr("2 that differ"));
    for (const auto& [path, kind] : std::vector<std::pair<std::string, ErrorKind>>{
             {"none", ErrorKind::NotFound}, {"dir/none", ErrorKind::NotFound}, {"chain/inside", ErrorKind::NotFound},
             {"dir/../chain", ErrorKind::InvalidArgument}, {"", ErrorKind::InvalidArgument}, {"//", ErrorKind::InvalidArgument},
             {"dir/.", ErrorKind::InvalidArgument}, {std::string(300, 'x'), ErrorKind::NotFound}})
        EXPECT_EQ(fs.lookup(path).error().kind(), kind) << path;
}

TEST_F(Fat, ABrokenLongNameLeavesTheShortOne) {
    const std::string kShort = "ALONGN~1TEX";
    for (const auto& [description, offset, value] : std::vector<std::tuple<const char*, int, std::uint8_t>>{
             {"another checksum", -32 + 13, 0xaa}, {"the first part with another number", -32, 3},
             {"the first part deleted", -32, 0xe5}, {"the last part not marked", -64, 2}, {"a part of another kind", -32 + 12, 1},
             {"the last part with number 0", -64, 0x40}, {"too many parts", -64, 0x40 | 21}}) {
        format();
        const Bytes place = entry(kShort);
        image_.overwrite_number(place + static_cast<Bytes>(offset), value, 1);
        EXPECT_THAT(names(), testing::Contains("ALONGN~1.TEX")) << description;
        EXPECT_THAT(names(), testing::SizeIs(4)) << description;
        EXPECT_EQ(test::read_file_of(*open().filesystem, "ALONGN~1.TEX"), "long") << description;
    }
}

TEST_F(Fat, ALongNameWithoutItsFileIsNotGivenToTheNextOne) {
    format();
    // Deleted by something that knows nothing of long names.
    image_.overwrite(entry("ALONGN~1TEX"), "\xe5");
    EXPECT_THAT(names(), testing::UnorderedElementsAre("SHORT.TXT", "dir", "chain"));
}

TEST_F(Fat, LongNamesOfAllLengthsAndHalvesOfPairsAreShown) {
    for (const std::size_t length : {12U, 13U, 14U, 25U, 26U, 27U, 200U})
        image_.keep(std::string(length, 'a') + "_", "n");
    format();
    const Bytes name = image_.find(std::string("L\0o\0n\0", 6));
    image_.overwrite(name, std::string("\x3d\xd8\x00\xde\x3d\xd8", 6));
    EXPECT_THAT(names(), testing::Contains("A \xf0\x9f\x98\x80\xef\xbf\xbdg Name Of A File.text"));
    const Opened opened = open();
    EXPECT_EQ(test::read_file_of(*opened.filesystem, "A \xf0\x9f\x98\x80\xef\xbf\xbdg Name Of A File.text"), "long");
    for (const std::size_t length : {12U, 13U, 14U, 25U, 26U, 27U, 200U})
        EXPECT_EQ(test::read_file_of(*opened.filesystem, std::string(length, 'a') + "_"), "n");
}

TEST_F(Fat, TheLongestNameHas255UnitsAndOneMoreIsNone) {
    for (const std::size_t length : {255U, 256U}) {
        format();
        // In the end of the root, by hand: 20 parts and the short entry that they belong to.
        const std::string short_name = "LONGEST TXT";
        unsigned sum = 0;
        for (const char letter : short_name)
            sum = ((sum << 7U) + (sum >> 1U) + static_cast<unsigned char>(letter)) & 0xffU;
        std::string entries;
        for (unsigned part = 20; part > 0; --part) {
            std::string one(32, '\0');
            one[0] = static_cast<char>(part | (part == 20 ? 0x40U : 0U));
            one[11] = 0x0f;
            one[13] = static_cast<char>(sum);
            std::size_t unit = (part - 1) * 13;
            for (const std::size_t place : {1U, 3U, 5U, 7U, 9U, 14U, 16U, 18U, 20U, 22U, 24U, 28U, 30U}) {
                one[place] = static_cast<char>(unit < length ? 'n' : unit == length ? 0 : 0xff);
                one[place + 1] = static_cast<char>(unit > length ? 0xff : 0);
                ++unit;
            }
            entries += one;
        }
        std::string file(32, '\0');
        file.replace(0, 11, short_name);
        entries += file;
        const Bytes root = table() + boot(16, 1) * table_length();
        Bytes end = root;
        while (boot(end, 1) != 0)
            end += 32;
        image_.overwrite(end, entries);
        EXPECT_THAT(names(), testing::Contains(length == 255 ? std::string(255, 'n') : "LONGEST.TXT"));
    }
}

TEST_F(Fat, ShortNamesAreReadAsWindowsWritesThem) {
    for (const auto& [description, bytes, flags, name] : std::vector<std::tuple<const char*, std::string, std::uint8_t, std::string>>{
             {"both halves lower case", "SHORT   TXT", 0x18, "short.txt"}, {"the base", "SHORT   TXT", 0x08, "short.TXT"},
             {"the extension", "SHORT   TXT", 0x10, "SHORT.txt"}, {"no extension", "SHORT      ", 0, "SHORT"},
             {"all eleven", "SHORTERSTXT", 0, "SHORTERS.TXT"}, {"a blank within", "SH RT   T X", 0, "SH RT.T X"},
             {"begins with E5", "\x05HORT   TXT", 0, "\xc3\x95HORT.TXT"}, {"code page 850", "\x8eHORT   TXT", 0, "\xc3\x84HORT.TXT"},
             {"and lower case", "\x8eHORT   TXT", 0x18, "\xc3\xa4hort.txt"}, {"a slash", "SH/RT   TXT", 0, "SH\xef\xbf\xbdRT.TXT"}}) {
        format();
        const Bytes place = entry("SHORT   TXT");
        image_.overwrite(place, bytes);
        image_.overwrite_number(place + 12, flags, 1);
        EXPECT_THAT(names(), testing::Contains(name)) << description;
        EXPECT_EQ(test::read_file_of(*open().filesystem, name), "short") << description;
    }
}

TEST_F(Fat, DeletedFilesAndLabelsAreNotShown) {
    format("-F 16 -s 4 -n LABEL");
    image_.overwrite(entry("SHORT   TXT"), "\xe5");
    EXPECT_THAT(names(), testing::UnorderedElementsAre("A Long Name Of A File.text", "dir", "chain"));
    EXPECT_EQ(error_of("LABEL").kind(), ErrorKind::NotFound);
}

TEST_F(Fat, AFragmentedFileIsReadWhole) {
    format("-F 16 -s 2");
    for (int i = 0; i < 60; ++i)
        image_.must("mcopy -i IMAGE " + image_.in_tree("SHORT.TXT") + " ::/HOLE" + std::to_string(i));
    for (int i = 0; i < 60; i += 2)
        image_.must("mdel -i IMAGE ::/HOLE" + std::to_string(i));
    // Free clusters are looked for behind the last one: fill to the end, so that the gaps come next.
    const std::string fragmented = random_text(random_, 8'700'000);
    image_.put("fragmented", fragmented);
    image_.must("mcopy -i IMAGE " + image_.in_tree("fragmented") + " ::/");
    const Opened opened = open();
    EXPECT_TRUE(test::read_file_of(*opened.filesystem, "fragmented") == fragmented);
}

TEST_F(Fat, LinksThatLeadNowhereAreErrorsAndTheSecondTableIsAskedFirst) {
    format();
    const auto spoil = [this](int tables, std::uint64_t value) {
        format();
        const std::uint64_t first = boot(entry("CHAIN      ") + 26, 2);
        for (int i = 0; i < tables; ++i)
            image_.overwrite_number(table() + static_cast<Bytes>(i) * table_length() + (first + 3) * 2, value, 2);
    };
    for (const auto& [value, sentence] : std::vector<std::pair<std::uint64_t, std::string>>{
             {0, "is marked free"}, {1, "none of the volume's"}, {0xfff7, "is marked bad"}, {0xffef, "none of the volume's"},
             {0xffff, "ends before"}}) {
        spoil(2, value);
        expect_corrupt("chain", sentence);
        if (value == 0xffff)
            continue;
        spoil(1, value);
        EXPECT_TRUE(test::read_file_of(*open().filesystem, "chain") == content_) << value;
    }
    spoil(2, boot(entry("CHAIN      ") + 26, 2));
    expect_corrupt("chain", "circle");
}

TEST_F(Fat, TheTableInUseIsTheOneThatTheVolumeNames) {
    format("-F 32 -s 1", "34M");
    // Not mirrored, the second one counts: the first one is of old.
    image_.overwrite_number(40, 0x81, 2);
    image_.overwrite(table() + 12, std::string(4000, '\0'));
    EXPECT_EQ(test::difference(test::read_all(*open().filesystem, 1), image_.kept()), "");
    image_.overwrite_number(40, 0x80, 2);
    expect_corrupt("chain", "is marked free");
    image_.overwrite_number(40, 0x82, 2);
    image_.overwrite(6 * 512, std::string(512, '\0'));
    EXPECT_THAT(open().error, HasSubstr("an active table of 2"));
}

TEST_F(Fat, TheCopyOfTheFirstSectorServes) {
    format("-F 32 -s 1", "34M");
    image_.overwrite(11, std::string(30, '\0'));
    const Opened opened = open();
    ASSERT_TRUE(opened.filesystem) << opened.error;
    EXPECT_THAT(opened.filesystem->notice(), HasSubstr("its copy was used"));
    EXPECT_EQ(test::difference(test::read_all(*opened.filesystem, 1), image_.kept()), "");
}

TEST_F(Fat, WhatWasNotUnmountedIsSaid) {
    for (const auto& [options, size, place, value] : std::vector<std::tuple<std::string, std::string, int, std::uint64_t>>{
             {"-F 16 -s 4", "9M", 37, 1}, {"-F 16 -s 4", "9M", -2, 0x7fff}, {"-F 32 -s 1", "34M", 65, 1},
             {"-F 32 -s 1", "34M", -4, 0x07ffffff}}) {
        format(options, size);
        EXPECT_EQ(open().filesystem->notice(), "");
        if (place > 0)
            image_.overwrite_number(static_cast<Bytes>(place), value, 1);
        else
            image_.overwrite_number(table() + static_cast<Bytes>(-place), value, static_cast<std::size_t>(-place));
        EXPECT_THAT(open().filesystem->notice(), HasSubstr("not unmounted cleanly")) << options << place;
    }
}

TEST_F(Fat, SizesThatCannotBeAreRefused) {
    for (const auto& [place, value, size, sentence] : std::vector<std::tuple<Bytes, std::uint64_t, std::size_t, std::string>>{
             {11, 0, 2, "a sector size of 0"}, {11, 256, 2, "a sector size of 256"}, {11, 8192, 2, "a sector size"},
             {11, 513, 2, "a sector size of 513"}, {13, 0, 1, "a cluster size in sectors of 0"}, {13, 3, 1, "a cluster size"},
             {14, 0, 2, "reserved sectors of 0"}, {16, 0, 1, "a number of tables of 0"}, {16, 17, 1, "a number of tables of 17"},
             {17, 0, 2, "entries in the root of 0"}, {22, 0xffff, 2, "its tables alone"}, {19, 0xffff, 2, "is the image whole"},
             {19, 1, 2, "its tables alone"}, {32, 0xffffffff, 4, ""}, {13, 128, 1, ""}, {17, 0xffff, 2, ""}}) {
        format("-F 16 -s 4", "9M");
        image_.overwrite_number(place, value, size);
        const Opened opened = open();
        if (sentence.empty())
            continue;  // another volume than it was, but one that can be
        ASSERT_FALSE(opened.filesystem) << place << ' ' << value;
        EXPECT_EQ(opened.kind, ErrorKind::Corrupt) << opened.error;
        EXPECT_EQ(opened.status, "DiskOperationFailed");
        EXPECT_THAT(opened.error, HasSubstr(sentence));
    }
    format("-F 32 -s 1", "34M");
    for (const auto& [place, value, size, sentence] : std::vector<std::tuple<Bytes, std::uint64_t, std::size_t, std::string>>{
             {36, 0xffffffff, 4, "its tables alone"}, {36, 0, 4, "a table size of 0"}, {44, 1, 4, "first cluster of the root of 1"},
             {44, 0x0fffffff, 4, "first cluster of the root"}, {17, 512, 2, "entries in the root of 512"}, {42, 1, 2, "version 0.1"}}) {
        const std::uint64_t before = boot(place, size);
        image_.overwrite(6 * 512, std::string(512, '\0'));
        image_.overwrite_number(place, value, size);
        const Opened opened = open();
        ASSERT_FALSE(opened.filesystem) << place;
        EXPECT_THAT(opened.error, HasSubstr(sentence));
        image_.overwrite_number(place, before, size);
    }
    image_.must("truncate -s -512 IMAGE");
    EXPECT_THAT(open().error, HasSubstr("is the image whole"));
}

TEST_F(Fat, FilesThatCannotBeAreErrors) {
    format();
    const Bytes place = entry("CHAIN      ");
    const std::uint64_t first = boot(place + 26, 2);
    image_.overwrite_number(place + 28, 0xffffffff, 4);
    expect_corrupt("chain", "impossible size of 4294967295 bytes");
    image_.overwrite_number(place + 28, 30 * kCluster, 4);
    expect_corrupt("chain", "ends before");
    image_.overwrite_number(place + 28, 20 * kCluster, 4);
    for (const std::uint64_t cluster : {0UL, 1UL, 0xfff0UL}) {
        image_.overwrite_number(place + 26, cluster, 2);
        expect_corrupt("chain", "none of the volume's clusters");
    }
    // The upper half means nothing in a FAT16.
    image_.overwrite_number(place + 26, first, 2);
    image_.overwrite_number(place + 20, 0x1234, 2);
    EXPECT_TRUE(test::read_file_of(*open().filesystem, "chain") == content_);
}

TEST_F(Fat, DirectoriesThatCannotBeAreErrors) {
    format();
    const Bytes sub = entry("SUB        ");
    const Bytes dir = entry("DIR        ");
    const std::uint64_t of_dir = boot(dir + 26, 2);
    const std::uint64_t of_sub = boot(sub + 26, 2);
    image_.overwrite_number(sub + 26, of_dir, 2);
    expect_corrupt("dir/sub/sub/sub/inside", "lies within itself");
    image_.overwrite_number(sub + 26, 0, 2);
    expect_corrupt("dir/sub/deep", "none of the volume's clusters");
    image_.overwrite_number(sub + 26, of_sub, 2);
    image_.overwrite_number(table() + of_sub * 2, of_sub, 2);
    image_.overwrite_number(table() + table_length() + of_sub * 2, of_sub, 2);
    // What lies before the damage is there.
    EXPECT_EQ(test::read_file_of(*open().filesystem, "dir/sub/deep"), "deep");
    expect_corrupt("dir/sub/none", "circle");
    // A name that is none, and what comes behind it.
    image_.overwrite(entry("SHORT   TXT") + 3, "\x01");
    EXPECT_EQ(test::read_file_of(*open().filesystem, "chain"), content_);
    expect_corrupt("none", "a directory is damaged");
}

TEST_F(Fat, ADirectoryHas65536EntriesAtMost) {
    format("-F 32 -s 1", "34M");
    const std::uint64_t most = 2 * kMiB / 512;
    for (const std::uint64_t clusters : {most, most + 1}) {
        // From a free cluster on, all in a row.
        const std::uint64_t first = 20'000;
        for (std::uint64_t i = 0; i < 2; ++i) {
            std::string links;
            for (std::uint64_t cluster = first; cluster < first + clusters; ++cluster) {
                const std::uint64_t next = cluster + 1 == first + clusters ? 0x0fffffff : cluster + 1;
                for (unsigned shift = 0; shift < 32; shift += 8)
                    links += static_cast<char>(next >> shift);
            }
            image_.overwrite(table() + i * table_length() + first * 4, links);
        }
        const Bytes heap = table() + boot(16, 1) * table_length();
        // Full of deleted entries.
        image_.overwrite(heap + (first - 2) * 512, std::string(static_cast<std::size_t>(clusters) * 512, '\xe5'));
        image_.overwrite_number(entry("DIR        ") + 26, first, 2);
        const Error error = error_of("dir/none");
        EXPECT_EQ(error.kind(), clusters == most ? ErrorKind::NotFound : ErrorKind::LimitReached) << error.text();
    }
}

TEST_F(Fat, ErrorsOfTheDeviceKeepTheirKind) {
    format("-F 16 -s 1");
    const Opened opened = open();
    ASSERT_TRUE(opened.filesystem);
    const Result<FileStatus> status = opened.filesystem->lookup("chain");
    ASSERT_TRUE(status);
    opened.device->bad_sector = image_.find(content_.substr(4096, 32));
    std::vector<std::byte> content(1024);
    EXPECT_EQ(opened.filesystem->read(*status, 4096, content).error().kind(), ErrorKind::Internal);
    EXPECT_TRUE(opened.filesystem->read(*status, 8192, content));
    opened.device->is_gone = true;
    EXPECT_EQ(opened.filesystem->read(*status, 0, content).error().kind(), ErrorKind::Gone);

    // A part of a directory: its neighbours are found.
    const Opened again = open();
    again.device->bad_sector = image_.find("INSIDE     ");
    EXPECT_EQ(again.filesystem->lookup("dir/none").error().kind(), ErrorKind::Internal);
    EXPECT_TRUE(again.filesystem->lookup("chain"));
    again.device->bad_sector.reset();
    EXPECT_TRUE(again.filesystem->lookup("dir/inside"));
}

TEST_F(Fat, OneWithoutANameIsKnownByItsNumbers) {
    format();
    image_.overwrite(54, "        ");
    EXPECT_EQ(test::difference(test::read_all(*open().filesystem, 1), image_.kept()), "");
}

}  // namespace
}  // namespace dray::fs
