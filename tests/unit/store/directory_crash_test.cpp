// SPDX-License-Identifier: Apache-2.0
//
// What kill -9 leaves of a directory store: nothing that a reader could take for a blob, and
// nothing that gets in the way of the next writer. The kills hit a child that writes as fast as it
// can.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>

#include "drivers/store/directory/directory_store.hpp"
#include "tests/unit/store/scratch_store.hpp"

namespace dray::store {
namespace {

namespace fs = std::filesystem;

class DirectoryStoreCrash : public ScratchStore {};

constexpr int kNames = 8;

/// Plain, in a directory, odd by its neighbour, odd by itself.
std::string name_of(int number) {
    const char* names[kNames] = {"plain",   "dir/one", "dir", "dir/../odd",
                                 "dir/two", "x//y",    "p",   "p/q"};
    return names[number % kNames];
}

/// Every blob says itself what belongs to it.
std::string content_of_round(int round) {
    return std::string(static_cast<std::size_t>(1 + round * 997 % 50'000), 'x');
}

/// The child: writes and removes until it is killed, and reports each round that has ended.
[[noreturn]] void write_until_killed(const std::string& root, int report) {
    const auto opened = [&] {
        const StoreConfig config{"vault", "directory", root};
        return DirectoryStore::open(config);
    }();
    if (!opened)
        _exit(1);
    for (int round = 0;; ++round) {
        const BlobName name{"lab", name_of(round)};
        const std::string content = content_of_round(round);
        CreateOptions options;
        options.upload_id = "upload-" + std::to_string(round % 5);
        options.length = content.size();
        options.replace = true;
        // Every third blob is as plain as can be: no side file speaks for it.
        const BlobMetadata metadata =
            round % 3 == 0 ? BlobMetadata()
                           : BlobMetadata{{"length", std::to_string(content.size())}};
        if (!(*opened)->put_whole(name, options, whole_piece(content), {}, metadata, {}))
            _exit(2);
        if (round % 7 == 6 && !(*opened)->remove(name))
            _exit(3);
        const char done = 1;
        if (write(report, &done, 1) != 1)
            _exit(4);
    }
}

TEST_F(DirectoryStoreCrash, LeavesOnlyWholeBlobs) {
    const char* given = std::getenv("DRAY_TEST_SEED");
    const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
    SCOPED_TRACE("DRAY_TEST_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    const char* wanted = std::getenv("DRAY_TEST_KILLS");
    const int kills = wanted != nullptr ? std::stoi(wanted) : 20;
    for (int kill_number = 0; kill_number < kills; ++kill_number) {
        int pipes[2];
        ASSERT_EQ(pipe(pipes), 0);
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0)
            write_until_killed(root().string(), pipes[1]);
        ::close(pipes[1]);
        // Somewhere within the round after so many.
        for (std::uint64_t rounds = 3 + random() % 40; rounds > 0; --rounds) {
            char done = 0;
            ASSERT_EQ(read(pipes[0], &done, 1), 1) << "the child has ended by itself";
        }
        volatile std::uint64_t spin = random() % 300'000;
        while (spin > 0)
            spin = spin - 1;
        ASSERT_EQ(kill(child, SIGKILL), 0);
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
        ::close(pipes[0]);
        const Result<ListPage> page = store().list("lab", "", "", 1000);
        ASSERT_TRUE(page) << page.error().text();
        EXPECT_GT(page->blobs.size(), 0U);
        for (const BlobStatus& blob : page->blobs) {
            EXPECT_EQ(content_of(blob.name), std::string(blob.length, 'x')) << blob.name.path();
            if (!blob.metadata.empty()) {
                EXPECT_EQ(blob.metadata, (BlobMetadata{{"length", std::to_string(blob.length)}}))
                    << blob.name.path();
            }
            bool is_ours = false;
            for (int i = 0; i < kNames; ++i)
                is_ours = is_ours || blob.name.name == name_of(i);
            EXPECT_TRUE(is_ours) << blob.name.path();
        }
    }
    // Nothing of it is in the way.
    for (int i = 0; i < kNames; ++i) {
        ASSERT_TRUE(put({"lab", name_of(i)}, "new", true));
        EXPECT_EQ(content_of({"lab", name_of(i)}), "new");
        EXPECT_EQ(store().stat({"lab", name_of(i)})->metadata, BlobMetadata());
        ASSERT_TRUE(store().remove({"lab", name_of(i)}));
    }
    EXPECT_TRUE(names().empty());
}

TEST_F(DirectoryStoreCrash, NeverShowsAnUploadThatWasLeft) {
    const std::string half = "half of it";
    const Piece piece = whole_piece(half);
    ASSERT_TRUE((*store().create({"lab", "x"}, upload("left", 100), {}))->put(piece));
    spill(root() / ".dray/uploads/left.whole", "closed up, not published");
    spill(root() / ".dray/store.json.0123456789", "an identity that was not needed");
    close();
    const auto again = open();
    ASSERT_TRUE(again);
    EXPECT_TRUE((*again)->list("lab", "", "", 10)->blobs.empty());
    EXPECT_EQ(*(*again)->containers(), std::vector<std::string>{"lab"});
    ASSERT_TRUE((*(*again)->create({"lab", "x"}, upload("left", 100), {}))->abandon());
    EXPECT_TRUE(files(".dray/uploads").empty());
}

// The kill fell between the two renames of a commit: content is there, its side file waits.
TEST_F(DirectoryStoreCrash, ReadsASideFileThatStillWaits) {
    const BlobName name{"lab", "x"};
    for (const char* text : {"x", "../odd"}) {
        const BlobName blob{"lab", text};
        ASSERT_TRUE(put(blob, "content", false, {{"a", "b"}}));
        const fs::path side = root() / ".dray/side/lab" / files(".dray/side/lab").at(0);
        const std::string odd = ".dray/odd/lab/" + files(".dray/side/lab").at(0);
        struct stat status {};
        ASSERT_EQ(::stat((root() / (text[0] == 'x' ? "lab/x" : odd)).c_str(), &status), 0);
        fs::rename(side, side.string() + "-" + std::to_string(status.st_ino));
        EXPECT_EQ(store().stat(blob)->metadata, (BlobMetadata{{"a", "b"}}));
        EXPECT_EQ(names(), std::vector<std::string>{text});
        ASSERT_TRUE(store().remove(blob));
        EXPECT_TRUE(files(".dray/side").empty())
            << "it must not speak for the inode's next content";
    }
}

TEST_F(DirectoryStoreCrash, DoesNotTakeAnOldSideFileForThatOfAnInodeUsedAgain) {
    const BlobName name{"lab", "x"};
    ASSERT_TRUE(put(name, "content", false, {{"a", "old"}}));
    const fs::path side = root() / ".dray/side/lab" / files(".dray/side/lab").at(0);
    const std::string old = slurp(side);
    ASSERT_TRUE(store().remove(name));
    for (const BlobMetadata& metadata : {BlobMetadata(), BlobMetadata{{"a", "new"}}}) {
        const std::string content = "new";
        const Piece piece = whole_piece(content);
        const auto writer = store().create(name, upload("again", 3, true), {});
        ASSERT_TRUE(writer);
        ASSERT_TRUE((*writer)->put(piece));
        struct stat status {};
        ASSERT_EQ(::stat((root() / ".dray/uploads/again").c_str(), &status), 0);
        spill(side.string() + "-" + std::to_string(status.st_ino), old);
        ASSERT_TRUE((*writer)->finish({&piece, 1}, {}, metadata));
        EXPECT_EQ(store().stat(name)->metadata, metadata);
    }
}

}  // namespace
}  // namespace dray::store
