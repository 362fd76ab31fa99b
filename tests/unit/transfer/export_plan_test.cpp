// SPDX-License-Identifier: Apache-2.0
//
// Which blobs an export takes (azure-import-export.md 5.3), and which drive takes which (5.5).
#include "daemon/transfer/export_plan.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "daemon/format/drive_manifest.hpp"
#include "daemon/transfer/export_selection.hpp"
#include "drivers/store/store_list.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::transfer {
namespace {

using format::BlobSelection;
using test::ScratchDirectory;

std::vector<bool> duplicates(const BlobSelection& selection) {
    std::vector<bool> result;
    for (const SelectionOutcome& outcome : without_duplicates(selection))
        result.push_back(outcome.is_duplicate);
    return result;
}

TEST(ExportSelection, WhatAnotherEntryCoversIsADuplicate) {
    using V = std::vector<bool>;
    EXPECT_EQ(duplicates({{"/a/"}, {"/a/b"}, {"a/x"}, {"/b"}, {"/a/"}}), (V{false, true, true, false, true}));
    EXPECT_EQ(duplicates({{"c/x"}, {"/"}, {"/$root/"}}), (V{true, false, true}));
    // "/bob" covers all of bobkids; "/bob/" does not.
    EXPECT_EQ(duplicates({{"/bob"}, {"bobkids/x"}}), (V{false, true}));
    EXPECT_EQ(duplicates({{"/bob/"}, {"bobkids/x"}}), (V{false, false}));
    EXPECT_EQ(duplicates({{"/a!"}, {"/a"}, {"/a/b"}}), (V{true, false, true}));
    // Forms of one path.
    EXPECT_EQ(duplicates({{"c/x", false}, {"c/x", false, "t1"}, {"c/x", false, "t2"}, {"c/x", false, "t1"}}),
              (V{false, false, false, true}));
    EXPECT_EQ(duplicates({{"c/x", false}, {"c/x"}, {"c/x", false, "t1"}, {"c/x"}}), (V{true, false, true, true}));
}

class Selected : public testing::Test {
protected:
    Selected() {
        StoreConfig config;
        config.name = "store";
        config.type = "directory";
        config.path = (scratch_.path() / "store").string();
        std::filesystem::create_directories(config.path);
        auto opened = store::open_store(config, {});
        if (!opened)
            throw std::runtime_error(opened.error().text());
        store_ = *std::move(opened);
        for (const char* path : {"bob/1", "bob/dir/2", "bob/dir/3", "bob/dirt", "bobkids/1", "pics/img/1", "pics/im2", "$root/logo.bmp"})
            put(path, path);
    }

    void put(const std::string& path, const std::string& content) {
        const BlobName name = *parse_blob_path(path);
        ASSERT_TRUE(store_->ensure_container(name.container));
        store::CreateOptions options;
        options.length = content.size();
        options.upload_id = "x";
        store::Piece piece;
        piece.length = content.size();
        piece.content = std::as_bytes(std::span(content));
        const Result<void> made = store_->put_whole(name, options, piece, {}, {}, {});
        ASSERT_TRUE(made) << made.error().text();
    }

    std::set<std::string> found(const BlobSelection& selection) {
        std::set<std::string> paths;
        const auto outcomes = find_selected(*store_, selection, {}, [&](const store::BlobStatus& blob) -> Result<void> {
            EXPECT_TRUE(paths.insert(blob.name.path()).second) << blob.name.path() << " came twice";
            return {};
        });
        EXPECT_TRUE(outcomes) << outcomes.error().text();
        outcomes_ = outcomes ? *outcomes : std::vector<SelectionOutcome>();
        return paths;
    }

    using Paths = std::set<std::string>;
    ScratchDirectory scratch_;
    std::unique_ptr<store::BlobStore> store_;
    std::vector<SelectionOutcome> outcomes_;
};

TEST_F(Selected, PrefixesAndPathsMatchAsTheServicesDo) {
    EXPECT_EQ(found({{"/"}}).size(), 8U);
    EXPECT_EQ(found({{"/$root/"}}), (Paths{"$root/logo.bmp"}));
    EXPECT_EQ(found({{"/bob"}}), (Paths{"bob/1", "bob/dir/2", "bob/dir/3", "bob/dirt", "bobkids/1"}));
    EXPECT_EQ(found({{"/bob/"}}), (Paths{"bob/1", "bob/dir/2", "bob/dir/3", "bob/dirt"}));
    EXPECT_EQ(found({{"/bob/dir"}}), (Paths{"bob/dir/2", "bob/dir/3", "bob/dirt"}));
    EXPECT_EQ(found({{"/pics/im"}}), (Paths{"pics/img/1", "pics/im2"}));
    EXPECT_EQ(found({{"/Bob"}}), (Paths{}));
    EXPECT_EQ(found({{"bob/1"}, {"$root/logo.bmp", false}}), (Paths{"bob/1", "$root/logo.bmp"}));
}

TEST_F(Selected, EachBlobComesOnceAndWhatIsNotThereIsSaid) {
    EXPECT_EQ(found({{"/bob/dir"}, {"/bob/dir/"}, {"bob/dir/2"}, {"bob/1"}, {"bob/none"}, {"/none/"}, {"none/x"}, {"UPPER/x"}}),
              (Paths{"bob/dir/2", "bob/dir/3", "bob/dirt", "bob/1"}));
    ASSERT_EQ(outcomes_.size(), 8U);
    const std::uint64_t blobs[] = {3, 0, 0, 1, 0, 0, 0, 0};
    for (std::size_t i = 0; i < 8; ++i) {
        EXPECT_EQ(outcomes_[i].blobs, blobs[i]) << i;
        EXPECT_EQ(outcomes_[i].is_duplicate, i == 1 || i == 2 || i == 6) << i;
    }
    EXPECT_EQ(outcomes_[0].bytes, 9U + 9 + 8);
}

TEST_F(Selected, AStopEndsTheSearch) {
    std::stop_source stop;
    const auto outcomes = find_selected(*store_, {{"/"}}, stop.get_token(), [&](const store::BlobStatus&) -> Result<void> {
        stop.request_stop();
        return {};
    });
    ASSERT_FALSE(outcomes);
    EXPECT_EQ(outcomes.error().kind(), ErrorKind::Cancelled);
}

store::BlobStatus blob_of(const std::string& path, Bytes length) {
    store::BlobStatus blob;
    blob.name = *parse_blob_path(path);
    blob.length = length;
    return blob;
}

class Planned : public testing::Test {
protected:
    std::unique_ptr<ExportPlan> open() {
        auto plan = ExportPlan::open((scratch_.path() / "plan.sqlite").string());
        EXPECT_TRUE(plan) << plan.error().text();
        return std::move(*plan);
    }
    static void fill(ExportPlan& plan, const std::vector<store::BlobStatus>& blobs) {
        ASSERT_TRUE(plan.begin());
        for (const store::BlobStatus& blob : blobs)
            ASSERT_TRUE(plan.add(blob));
        ASSERT_TRUE(plan.end());
    }
    static std::vector<std::string> names_of(const ExportPlan& plan, const std::string& drive) {
        std::vector<std::string> names;
        const auto visit = [&](const ExportPlan::Blob& blob) -> Result<void> {
            names.push_back(blob.name.path());
            return {};
        };
        EXPECT_TRUE(drive.empty() ? plan.each_left(visit) : plan.each_of(drive, visit));
        return names;
    }
    ScratchDirectory scratch_;
};

using Names = std::vector<std::string>;

TEST_F(Planned, EachDriveTakesLargestFirstWhatStillFits) {
    const auto plan = open();
    fill(*plan, {blob_of("cat/small", 10 * kMiB), blob_of("cat/large", 60 * kMiB), blob_of("cat/middle", 50 * kMiB),
                 blob_of("cat/huge", 200 * kMiB), blob_of("cat/tiny", 0)});
    const DriveRoom room{102 * kMiB, kGiB};
    const auto first = plan->assign("A", room);
    ASSERT_TRUE(first) << first.error().text();
    EXPECT_EQ(names_of(*plan, "A"), (Names{"cat/large", "cat/small", "cat/tiny"}));
    EXPECT_EQ(first->blobs, 3U);
    EXPECT_EQ(first->bytes, 70 * kMiB);
    EXPECT_GT(first->occupied.content, 70 * kMiB);
    EXPECT_LE(first->occupied.content, room.content);
    EXPECT_EQ(plan->assign("B", room)->blobs, 1U);
    EXPECT_EQ(names_of(*plan, "B"), (Names{"cat/middle"}));
    EXPECT_EQ(plan->assign("C", room)->blobs, 0U);
    EXPECT_EQ(names_of(*plan, ""), (Names{"cat/huge"}));
}

TEST_F(Planned, WhatADriveHasIsItsOwnForGood) {
    {
        const auto plan = open();
        EXPECT_FALSE(*plan->is_complete());
        fill(*plan, {blob_of("cat/a", 50 * kMiB), blob_of("cat/b", 40 * kMiB)});
        ASSERT_TRUE(plan->assign("A", {60 * kMiB, kGiB}));
    }
    const auto plan = open();
    EXPECT_TRUE(*plan->is_complete());
    // Even if it turns out to be smaller, or larger.
    EXPECT_EQ(plan->assign("A", {10 * kMiB, kGiB})->blobs, 1U);
    EXPECT_EQ(names_of(*plan, "A"), (Names{"cat/a"}));
    EXPECT_EQ(plan->assign("A", {200 * kMiB, kGiB})->blobs, 2U);
}

TEST_F(Planned, AListThatWasNotFinishedIsNone) {
    {
        const auto plan = open();
        ASSERT_TRUE(plan->begin());
        ASSERT_TRUE(plan->add(blob_of("cat/a", 1)));
    }
    const auto plan = open();
    EXPECT_FALSE(*plan->is_complete());
    EXPECT_EQ(names_of(*plan, ""), (Names{}));
}

TEST_F(Planned, TheManifestsLimitIsKeptToo) {
    const auto plan = open();
    fill(*plan, {blob_of("cat/a", kMiB), blob_of("cat/b", 0), blob_of("cat/c", 0)});
    const auto share = plan->assign("A", {kGiB, 1000});
    EXPECT_EQ(share->blobs, 1U);
    EXPECT_LE(share->occupied.manifest, 1000U);
    EXPECT_EQ(plan->assign("A", {kGiB, 10'000})->blobs, 3U);
}

TEST_F(Planned, WhatNoDriveCanTakeIsLeftWithAReason) {
    const auto plan = open();
    store::BlobStatus archived = blob_of("cat/cold", 5);
    archived.is_archived = true;
    constexpr Bytes kLongest = 16 * 1024 * kGiB - 4096;
    fill(*plan, {archived, blob_of("cat/dir/", 1), blob_of("cat/long", kLongest), blob_of("cat/longer", kLongest + 1)});
    EXPECT_EQ(plan->assign("A", {20 * 1024 * kGiB, kGiB})->blobs, 1U);
    EXPECT_EQ(names_of(*plan, "A"), (Names{"cat/long"}));
    std::map<std::string, std::string> problems;
    EXPECT_TRUE(plan->each_left([&](const ExportPlan::Blob& blob) -> Result<void> {
        problems[blob.name.path()] = blob.problem;
        return {};
    }));
    EXPECT_EQ(problems.size(), 3U);
    EXPECT_NE(problems["cat/cold"].find("archived"), std::string::npos);
    EXPECT_NE(problems["cat/dir/"].find("ends in /"), std::string::npos);
    EXPECT_NE(problems["cat/longer"].find("more than a file"), std::string::npos);
}

TEST_F(Planned, TheRoomOfADriveIsLessThanItsSizeAndNeverMore) {
    EXPECT_EQ(room_of_drive(0).content, 0U);
    EXPECT_EQ(room_of_drive(84 * kMiB).content, 0U);
    EXPECT_EQ(room_of_drive(85 * kMiB).content, kMiB);
    EXPECT_EQ(room_of_drive(10 * kGiB).content, 10 * kGiB - 16 * kMiB - 64 * kMiB - 10 * kGiB / 100);
    EXPECT_LE(room_of_drive(10 * kGiB).manifest, format::ManifestLimits().size);
}

// First fit decreasing over equal drives needs no more than 11/9 of the best and 6/9 drives (D. S. Johnson), and no blob is
// lost or taken twice.
TEST_F(Planned, ManyBlobsOverManyDrives) {
    const unsigned seed = std::random_device()();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const auto plan = open();
    std::vector<store::BlobStatus> blobs;
    for (int i = 0; i < 3000; ++i)
        blobs.push_back(blob_of("cat/d" + std::to_string(i % 50) + "/f" + std::to_string(i), random() % (20 * kMiB)));
    fill(*plan, blobs);
    const DriveRoom room{kGiB, kGiB};
    std::uint64_t taken = 0;
    Bytes occupied = 0;
    unsigned drives = 0;
    for (; taken < blobs.size(); ++drives) {
        const auto share = plan->assign("D" + std::to_string(drives), room);
        ASSERT_TRUE(share) << share.error().text();
        ASSERT_GT(share->blobs, 0U);
        EXPECT_LE(share->occupied.content, room.content);
        taken += share->blobs;
        occupied += share->occupied.content;
    }
    EXPECT_EQ(taken, blobs.size());
    const Bytes best = (occupied + kGiB - 1) / kGiB;
    EXPECT_LE(drives, 11 * best / 9 + 1);
    EXPECT_EQ(names_of(*plan, ""), (Names{}));
}

}  // namespace
}  // namespace dray::transfer
