// SPDX-License-Identifier: Apache-2.0
//
// Holding a directory store: with .dray/hold locked, nothing becomes visible; copies wait and can
// be stopped.
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <future>
#include <thread>

#include "daemon/base/file_descriptor.hpp"
#include "tests/unit/store/scratch_store.hpp"

namespace dray::store {
namespace {

const BlobName kBlob{"lab", "disk.img"};

/// As the kernel stamps files.
timespec coarse_now() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now;
}

TimePoint time_of(const timespec& time) {
    return from_usec(static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
                     static_cast<std::uint64_t>(time.tv_nsec) / 1000);
}

class DirectoryStoreHold : public ScratchStore {
protected:
    DirectoryStoreHold() : hold_(open((root() / ".dray/hold").c_str(), O_RDONLY | O_CLOEXEC)) {
        // The blob has metadata, so there is a directory in which its next side file appears.
        EXPECT_TRUE(put(kBlob, "old", false, {{"a", "old"}}));
        const std::string side = files(".dray/side/lab").at(0);
        events_ = FileDescriptor(inotify_init1(IN_CLOEXEC));
        inotify_add_watch(events_.get(), (root() / ".dray/side/lab" / side).parent_path().c_str(),
                          IN_CLOSE_WRITE);
    }
    static int open(const char* path, int flags) { return ::open(path, flags); }

    void hold() { ASSERT_EQ(flock(hold_.get(), LOCK_EX), 0); }
    void release() { ASSERT_EQ(flock(hold_.get(), LOCK_UN), 0); }
    /// A side file has been written: the commit is next.
    void wait_for_a_commit() {
        pollfd poll{events_.get(), POLLIN, 0};
        ASSERT_EQ(::poll(&poll, 1, 20'000), 1);
        char buffer[4096];
        ASSERT_GT(read(events_.get(), buffer, sizeof buffer), 0);
    }
    std::future<Result<void>> replace(std::stop_token stop = {}) {
        return std::async(std::launch::async, [this, stop = std::move(stop)] {
            return store().put_whole(kBlob, upload("replace", 3, true), whole_piece("new"), {},
                                     {{"a", "new"}}, stop);
        });
    }

    FileDescriptor hold_;
    FileDescriptor events_;
};

// That the side file is there while the store is held shows also that it is written before the
// flush.
TEST_F(DirectoryStoreHold, LetsCommitsWait) {
    hold();
    std::future<Result<void>> done = replace();
    wait_for_a_commit();
    // Some ticks of the clock that stamps files, so that waiting can be seen in the stamp.
    const timespec begin = coarse_now();
    while (time_of(coarse_now()) < time_of(begin) + std::chrono::milliseconds(30))
        EXPECT_EQ(content_of(kBlob), "old");
    EXPECT_EQ(store().stat(kBlob)->metadata, (BlobMetadata{{"a", "old"}}));
    const TimePoint released = time_of(coarse_now());
    release();
    const Result<void> result = done.get();
    EXPECT_TRUE(result) << result.error().text();
    EXPECT_GE(store().stat(kBlob)->modified, released);
    EXPECT_EQ(content_of(kBlob), "new");
    EXPECT_EQ(store().stat(kBlob)->metadata, (BlobMetadata{{"a", "new"}}));
}

TEST_F(DirectoryStoreHold, EndsAWaitingCommitOnStop) {
    hold();
    std::stop_source source;
    std::future<Result<void>> done = replace(source.get_token());
    wait_for_a_commit();
    source.request_stop();
    EXPECT_EQ(kind_of(done.get()), "Cancelled");
    EXPECT_EQ(content_of(kBlob), "old");
    EXPECT_EQ(files(".dray/side/lab").size(), 1U) << "what waited is gone";
    release();
    EXPECT_EQ(content_of(kBlob), "old");
}

TEST_F(DirectoryStoreHold, KeepsThePiecesOfACommitThatWasStopped) {
    hold();
    const std::string content = "new";
    const Piece piece = whole_piece(content);
    {
        std::stop_source source;
        auto writer = store().create(kBlob, upload("kept", 3, true), source.get_token());
        ASSERT_TRUE(writer);
        ASSERT_TRUE((*writer)->put(piece));
        source.request_stop();
        EXPECT_EQ(kind_of((*writer)->finish({&piece, 1}, {}, {})), "Cancelled");
    }
    release();
    auto writer = store().create(kBlob, upload("kept", 3, true), {});
    ASSERT_TRUE(writer);
    EXPECT_EQ(kind_of((*writer)->finish({&piece, 1}, {}, {})), "success");
    EXPECT_EQ(content_of(kBlob), "new");
}

TEST_F(DirectoryStoreHold, DoesNotHoldUpReadersPiecesAndSync) {
    hold();
    EXPECT_EQ(content_of(kBlob), "old");
    EXPECT_EQ(names(), std::vector<std::string>{kBlob.name});
    auto writer = store().create({"lab", "other"}, upload("other", 3), {});
    ASSERT_TRUE(writer);
    EXPECT_EQ(kind_of((*writer)->put(whole_piece("new"))), "success");
    EXPECT_EQ(kind_of(store().sync()), "success");
    EXPECT_EQ(kind_of(store().check()), "success");
    EXPECT_EQ(kind_of(ScratchStore::open()), "success");
    release();
}

TEST_F(DirectoryStoreHold, IsGrantedBetweenCommitsOnly) {
    std::atomic<bool> is_over = false;
    std::atomic<int> failures = 0;
    {
        std::vector<std::jthread> writers;
        for (int w = 0; w < 2; ++w)
            writers.emplace_back([&, w] {
                for (int i = 0; !is_over; ++i) {
                    const std::string id = std::to_string(w) + "-" + std::to_string(i);
                    failures += !store().put_whole({"lab", id}, upload(id, 2), whole_piece("xx"),
                                                   {}, {{"a", id}}, {});
                }
            });
        for (int round = 0; round < 10; ++round) {
            hold();
            const std::vector<std::string> before = names();
            const std::vector<std::string> sides = files(".dray/side/lab");
            const timespec begin = coarse_now();
            while (time_of(coarse_now()) < time_of(begin) + std::chrono::milliseconds(10))
                EXPECT_EQ(names(), before);
            // Each blob's side file has its lasting name; what waits has another.
            std::size_t lasting = 0;
            for (const std::string& side : sides)
                lasting += side.find('-') == std::string::npos;
            EXPECT_EQ(lasting, before.size());
            release();
        }
        is_over = true;
    }
    EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace dray::store
