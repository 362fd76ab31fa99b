// SPDX-License-Identifier: Apache-2.0
//
// Chains of clusters of all shapes: found where they are, in any order, with few reads of the device; and what is
// no chain comes to an end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "drivers/filesystem/cluster/case_map.hpp"
#include "drivers/filesystem/cluster/cluster_map.hpp"
#include "drivers/filesystem/cluster/name_text.hpp"
#include "tests/unit/filesystem/cluster_image.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::fs {
namespace {

using testing::HasSubstr;

constexpr Bytes kCluster = 512;

/// A table in memory; the clusters themselves are nowhere.
struct Table {
    explicit Table(std::uint32_t count)
        : device(std::vector<std::byte>((count + 2) * 4 + 4096), 512),
          cache(device),
          heap{kGiB, kCluster, count},
          table(cache, heap, {FatTable::Kind::ExFat, 0, 0}) {}

    void set(std::uint32_t cluster, std::uint32_t next) {
        std::memcpy(device.content.data() + std::size_t{cluster} * 4, &next, sizeof next);
    }
    void chain(const std::vector<std::uint32_t>& clusters) {
        for (std::size_t i = 0; i + 1 < clusters.size(); ++i)
            set(clusters[i], clusters[i + 1]);
        set(clusters.back(), 0xffffffff);
    }

    test::MemoryDevice device;
    LineCache cache;
    ClusterHeap heap;
    FatTable table;
};

TEST(ClusterMap, FindsEveryClusterOfAFragmentedFileInAnyOrder) {
    // More than a million fragments: more than there are marks and extents in a map.
    constexpr std::uint32_t kCount = 2'400'000;
    std::mt19937_64 random(test::announced_seed());
    Table table(kCount);
    std::vector<std::uint32_t> clusters;
    for (std::uint32_t cluster = 2; cluster < kCount; cluster += static_cast<std::uint32_t>(1 + random() % 3))
        clusters.push_back(cluster);
    for (std::size_t i = 0; i + 8 <= clusters.size(); i += 8)
        std::shuffle(clusters.begin() + static_cast<std::ptrdiff_t>(i), clusters.begin() + static_cast<std::ptrdiff_t>(i + 8),
                     random);
    table.chain(clusters);
    ClusterMap map = ClusterMap::chain(table.table, clusters.front());
    const auto check = [&](std::size_t index) {
        const Bytes within = random() % kCluster;
        const Result<ClusterMap::Run> run = map.run_at(index * kCluster + within, 4 * kCluster);
        ASSERT_TRUE(run) << run.error().text();
        ASSERT_EQ(run->place, table.heap.place_of(clusters[index]) + within) << index;
        std::size_t together = 1;
        while (index + together < clusters.size() && clusters[index + together] == clusters[index] + together && together < 6)
            ++together;
        ASSERT_EQ(run->length, std::min(4 * kCluster, together * kCluster - within)) << index;
    };
    for (std::size_t index = 0; index < clusters.size() && !HasFatalFailure(); index += 97)
        check(index);
    // Each line of the table once: no walk begins anew.
    EXPECT_LE(table.device.reads, (kCount + 2) * 4 / LineCache::kLine + 2);
    for (int i = 0; i < 300 && !HasFatalFailure(); ++i)
        check(random() % clusters.size());
    check(0);
    check(clusters.size() - 1);
    const Result<ClusterMap::Run> behind = map.run_at(clusters.size() * kCluster, 1);
    ASSERT_FALSE(behind);
    EXPECT_EQ(behind.error().kind(), ErrorKind::Corrupt);
}

TEST(ClusterMap, ReadsWhatLiesTogetherInOnePiece) {
    Table table(100'000);
    std::vector<std::uint32_t> clusters(90'000);
    std::iota(clusters.begin(), clusters.end(), 7);
    table.chain(clusters);
    ClusterMap map = ClusterMap::chain(table.table, 7);
    const Result<ClusterMap::Run> all = map.run_at(100, 90'000 * kCluster - 100);
    ASSERT_TRUE(all);
    EXPECT_EQ(all->length, 90'000 * kCluster - 100);
}

TEST(ClusterMap, CirclesOfEveryLengthComeToAnEnd) {
    for (const std::uint32_t length : {1U, 2U, 3U, 1000U, 70'000U})
        for (const std::uint32_t before : {1U, 5U, 20'000U}) {
            Table table(100'000);
            std::vector<std::uint32_t> clusters(before + length);
            std::iota(clusters.begin(), clusters.end(), 2);
            table.chain(clusters);
            table.set(clusters.back(), clusters[before]);
            ClusterMap map = ClusterMap::chain(table.table, 2);
            const Result<ClusterMap::Run> run = map.run_at(99'999 * kCluster, 1);
            // One of almost the whole volume is not noticed before a second round.
            if (length <= 1000) {
                ASSERT_FALSE(run) << length;
                EXPECT_EQ(run.error().kind(), ErrorKind::Corrupt) << run.error().text();
            }
            const ClusterMap::Length measured = ClusterMap::chain(table.table, 2).length(4'000'000);
            ASSERT_TRUE(measured.damage) << length;
            EXPECT_THAT(measured.damage->text(), HasSubstr("circle"));
        }
}

TEST(ClusterMap, AChainMadeToJumpAboutCostsABoundedNumberOfReads) {
    // 300 lines of the table, one after the other, again and again: each step is a read.
    constexpr std::uint32_t kPerLine = LineCache::kLine / 4;
    constexpr std::uint32_t kLines = 300;
    Table table(kPerLine * kLines);
    std::vector<std::uint32_t> clusters;
    for (std::uint32_t i = 0; i < 20; ++i)
        for (std::uint32_t line = 0; line < kLines; ++line)
            clusters.push_back(2 + line * kPerLine + 2 * i);
    table.chain(clusters);
    ClusterMap map = ClusterMap::chain(table.table, clusters.front());
    const Result<ClusterMap::Run> run = map.run_at((clusters.size() - 1) * kCluster, 1);
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().kind(), ErrorKind::LimitReached) << run.error().text();
    EXPECT_LE(table.device.reads, 5 * kLines);
    // In order it can be read all the same.
    ClusterMap patient = ClusterMap::chain(table.table, clusters.front());
    for (std::size_t i = 0; i < clusters.size(); i += 100)
        ASSERT_TRUE(patient.run_at(i * kCluster, 1)) << i;
}

TEST(ClusterMap, ATableThatCannotBeReadIsAskedForInItsCopy) {
    Table table(1000);
    table.device.content.resize(64 * kKiB * 3);
    table.chain({2, 3, 4});
    std::copy_n(table.device.content.begin(), 4096, table.device.content.begin() + 128 * kKiB);
    table.device.bad_sector = 0;
    FatTable mirrored(table.cache, table.heap, {FatTable::Kind::ExFat, 0, 128 * kKiB});
    EXPECT_EQ(ClusterMap::chain(mirrored, 2).length(10).clusters, 3U);
    // The line, then the sector, and no more.
    EXPECT_EQ(table.device.bad_reads, 2U);
    const ClusterMap::Length alone = ClusterMap::chain(table.table, 2).length(10);
    ASSERT_TRUE(alone.damage);
    EXPECT_EQ(alone.damage->kind(), ErrorKind::Internal);
    table.device.is_gone = true;
    ClusterMap map = ClusterMap::chain(table.table, 2);
    EXPECT_EQ(map.run_at(kCluster, 1).error().kind(), ErrorKind::Gone);
}

TEST(NameText, ShowsEveryName) {
    EXPECT_EQ(utf8_of(u"a\u00e9\u20ac\U0001f600z"), "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    const std::u16string high{u'a', 0xd83d, u'b'};
    const std::u16string low{0xde00, u'c'};
    const std::u16string last{u'd', 0xd83d};
    EXPECT_EQ(utf8_of(high), "a\xef\xbf\xbd""b");
    EXPECT_EQ(utf8_of(low), "\xef\xbf\xbd""c");
    EXPECT_EQ(utf8_of(last), "d\xef\xbf\xbd");
    EXPECT_EQ(utf8_of(std::u16string{u'a', 1, u'/', 0}), "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    EXPECT_EQ(utf16_of("a\xc3\xa9\xf0\x9f\x98\x80"), u"a\u00e9\U0001f600");
    EXPECT_EQ(utf16_of("\xff" "a\xc3"), (std::u16string{0xfffd, u'a', 0xfffd}));
    EXPECT_EQ(code_page_850(0x84), u'\u00e4');
    EXPECT_EQ(code_page_850('A'), u'A');
    EXPECT_EQ(code_page_850(0xff), u'\u00a0');
}

TEST(CaseMap, FoldsAsUnicodeHasIt) {
    for (const auto& [from, to] : std::vector<std::pair<char32_t, char32_t>>{
             {U'A', U'a'}, {U'a', U'a'}, {U'@', U'@'}, {U'[', U'['}, {U'\u00c9', U'\u00e9'}, {U'\u00d7', U'\u00d7'},
             {U'\u0100', U'\u0101'}, {U'\u0101', U'\u0101'}, {U'\u03a3', U'\u03c3'}, {U'\u03c2', U'\u03c3'},
             {U'\u0130', U'\u0130'}, {U'\u1e9e', U'\u00df'}, {U'\u0416', U'\u0436'}, {U'\U00010400', U'\U00010428'},
             {U'\U0001f600', U'\U0001f600'}})
        EXPECT_EQ(simple_fold(from), to) << static_cast<std::uint32_t>(from);
}

}  // namespace
}  // namespace dray::fs
