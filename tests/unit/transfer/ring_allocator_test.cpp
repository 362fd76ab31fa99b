// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/ring_allocator.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace dray::transfer {
namespace {

TEST(RingAllocator, HandsOutTheWholeRingAndNoByteMore) {
    RingAllocator ring(4 * 4096, 4096);
    EXPECT_EQ(ring.take(2 * 4096), 0U);
    EXPECT_EQ(ring.take(1), 2U * 4096);
    EXPECT_EQ(ring.take(4096), 3U * 4096);
    EXPECT_EQ(ring.in_use(), ring.size());
    EXPECT_FALSE(ring.take(1));
}

TEST(RingAllocator, RefusesWhatIsLongerThanTheRing) {
    RingAllocator ring(2 * 4096, 4096);
    EXPECT_FALSE(ring.take(2 * 4096 + 1));
    EXPECT_TRUE(ring.take(2 * 4096));
}

TEST(RingAllocator, JoinsNeighboursThatCameBackInAnyOrder) {
    RingAllocator ring(3 * 4096, 4096);
    const auto first = ring.take(4096);
    const auto second = ring.take(4096);
    const auto third = ring.take(4096);
    ASSERT_TRUE(first && second && third);
    ring.give_back(*first);
    ring.give_back(*third);
    EXPECT_FALSE(ring.take(2 * 4096));
    ring.give_back(*second);
    EXPECT_EQ(ring.take(3 * 4096), 0U);
}

TEST(RingAllocator, NeverHandsOutAByteTwice) {
    const unsigned seed = std::random_device{}();
    RecordProperty("seed", static_cast<int>(seed));
    std::mt19937 random(seed);
    RingAllocator ring(256 * 4096, 4096);
    std::map<Bytes, Bytes> taken;
    for (int step = 0; step < 20'000; ++step) {
        if (random() % 2 == 0) {
            const Bytes length = 1 + random() % (20 * 4096);
            if (const auto offset = ring.take(length)) {
                const auto next = taken.lower_bound(*offset);
                ASSERT_TRUE(next == taken.end() || *offset + length <= next->first) << "seed " << seed;
                if (next != taken.begin()) {
                    ASSERT_LE(std::prev(next)->first + std::prev(next)->second, *offset) << "seed " << seed;
                }
                ASSERT_LE(*offset + length, ring.size());
                ASSERT_EQ(*offset % 4096, 0U);
                taken[*offset] = length;
            }
        } else if (!taken.empty()) {
            const auto victim = std::next(taken.begin(), static_cast<long>(random() % taken.size()));
            ring.give_back(victim->first);
            taken.erase(victim);
        }
    }
    for (const auto& [offset, length] : taken)
        ring.give_back(offset);
    EXPECT_EQ(ring.in_use(), 0U);
    EXPECT_EQ(ring.take(ring.size()), 0U);
}

}  // namespace
}  // namespace dray::transfer
