// SPDX-License-Identifier: Apache-2.0
//
// Who waits for memory, who is given up for it.
#include "drivers/store/encryption/block_memory.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/encryption/memory_store.hpp"

namespace dray::store {
namespace {

class Kept : public BlockMemory::Holder {
public:
    Bytes give_up(std::uint64_t when) override {
        ++asked;
        return since < when ? std::exchange(holds, 0) : 0;
    }
    Bytes holds = 0;
    std::uint64_t since = 0;
    unsigned asked = 0;
};

TEST(BlockMemory, LetsGoWhatFits) {
    BlockMemory memory(100, 200);
    BlockMemory::Work one(memory, nullptr);
    BlockMemory::Work two(memory, nullptr);
    ASSERT_TRUE(one.take(60, {}));
    ASSERT_TRUE(two.take(40, {}));
    EXPECT_EQ(memory.held(), 100U);
    memory.give_back(60);
    EXPECT_EQ(memory.held(), 40U);
}

TEST(BlockMemory, WaitsForThoseAtWork) {
    BlockMemory memory(100, 200);
    std::optional<BlockMemory::Work> at_work(std::in_place, memory, nullptr);
    ASSERT_TRUE(at_work->take(100, {}));
    std::atomic<bool> has_it = false;
    std::stop_source source;
    {
        // One that is stopped while it waits, one that waits until something comes back.
        BlockMemory::Work stopped(memory, nullptr);
        std::jthread asks([&] { EXPECT_EQ(kind_of(stopped.take(1, source.get_token())), "Cancelled"); });
        source.request_stop();
    }
    std::jthread waits([&] {
        BlockMemory::Work work(memory, nullptr);
        EXPECT_TRUE(work.take(50, {}));
        has_it = true;
    });
    EXPECT_FALSE(has_it);
    memory.give_back(50);
    waits.join();
    EXPECT_EQ(memory.held(), 100U);
}

// Nobody is at work any more when all wait; then one after the other goes on, beyond what is comfortable.
TEST(BlockMemory, DoesNotLetAllWaitForEachOther) {
    BlockMemory memory(100, 10'000);
    std::atomic<unsigned> done = 0;
    {
        std::vector<std::jthread> threads;
        // Ends before they are waited for.
        BlockMemory::Work first(memory, nullptr);
        ASSERT_TRUE(first.take(90, {}));
        for (int i = 0; i < 8; ++i)
            threads.emplace_back([&] {
                BlockMemory::Work work(memory, nullptr);
                EXPECT_TRUE(work.take(20, {}));
                EXPECT_TRUE(work.take(20, {}));
                ++done;
            });
        ASSERT_TRUE(first.take(20, {}));
    }
    EXPECT_EQ(done, 8U);
    EXPECT_EQ(memory.held(), 110U + 8 * 40U);
}

// Neighbours come one after the other, and together they make a block whole.
TEST(BlockMemory, LetsGoFirstWhoCameFirst) {
    BlockMemory memory(100, 10'000);
    std::mutex mutex;
    std::vector<int> order;
    std::vector<std::jthread> threads;
    std::optional<BlockMemory::Work> first(std::in_place, memory, nullptr);
    ASSERT_TRUE(first->take(100, {}));
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] {
            BlockMemory::Work work(memory, nullptr);
            EXPECT_TRUE(work.take(20, {}));
            const std::scoped_lock lock(mutex);
            order.push_back(i);
        });
        while (memory.waiting() != static_cast<std::size_t>(i) + 1)
            std::this_thread::yield();
    }
    first.reset();
    threads.clear();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(BlockMemory, GivesUpWhoWasStillForLongest) {
    BlockMemory memory(100, 200);
    Kept old;
    Kept busy;
    Kept young;
    for (Kept* each : {&old, &busy, &young}) {
        memory.join(*each);
        BlockMemory::Work work(memory, each);
        ASSERT_TRUE(work.take(60, {}));
        each->holds = 60;
    }
    busy.holds = 0;  // at work just now
    { const BlockMemory::Work touched(memory, &old); }
    { const BlockMemory::Work touched(memory, &busy); }
    for (std::uint64_t i = 0; i < BlockMemory::kStale; ++i)
        const BlockMemory::Work elsewhere(memory, nullptr);
    // 180 are held. Twenty more fit.
    BlockMemory::Work work(memory, nullptr);
    ASSERT_TRUE(work.take(20, {}));
    EXPECT_EQ(old.asked + busy.asked + young.asked, 0U);
    EXPECT_EQ(memory.held(), 200U);
    ASSERT_TRUE(work.take(1, {}));
    EXPECT_EQ(young.asked, 1U);
    EXPECT_EQ(old.asked, 0U);
    EXPECT_EQ(memory.held(), 141U);
    // More than one has to go; who has nothing is passed over.
    ASSERT_TRUE(work.take(110 - 50, {}));
    ASSERT_TRUE(work.take(10, {}));
    EXPECT_EQ(old.asked, 1U);
    EXPECT_EQ(memory.held(), 151U);
    for (Kept* each : {&old, &busy, &young})
        memory.leave(*each);
}

TEST(BlockMemory, GivesNobodyUpWhoIsOnItsWay) {
    BlockMemory memory(100, 200);
    Kept kept;
    memory.join(kept);
    std::uint64_t now = 0;
    const auto take = [&](Bytes bytes) {
        BlockMemory::Work work(memory, nullptr);
        now = work.when();
        EXPECT_TRUE(work.take(bytes, {}));
    };
    take(200);
    kept.holds = 100;
    kept.since = now;
    while (now < kept.since + BlockMemory::kStale)
        take(1);
    EXPECT_EQ(kept.holds, 100U);
    EXPECT_EQ(memory.held(), 200 + BlockMemory::kStale);
    take(1);
    EXPECT_EQ(kept.holds, 0U);
    EXPECT_EQ(memory.held(), 200 + BlockMemory::kStale + 1 - 100);
    memory.leave(kept);
}

TEST(BlockMemory, HasRoomForAFewBlocksHoweverLargeTheyAre) {
    BlockMemory memory(100, 200);
    Kept kept;
    memory.join(kept);
    BlockMemory::Work other(memory, nullptr);
    BlockMemory::Work work(memory, &kept);
    kept.holds = 1000;
    for (std::uint64_t i = 0; i < BlockMemory::kStale; ++i)
        const BlockMemory::Work elsewhere(memory, nullptr);
    ASSERT_TRUE(work.take(1000, {}));
    ASSERT_TRUE(work.take(1000, {}));
    EXPECT_EQ(memory.held(), 2000U);
    EXPECT_EQ(kept.asked, 0U);
    memory.leave(kept);
}

}  // namespace
}  // namespace dray::store
