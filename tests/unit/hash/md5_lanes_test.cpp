// SPDX-License-Identifier: Apache-2.0
//
// Every form of MD5 side by side that this CPU can run, against OpenSSL.
#include "daemon/hash/md5_lanes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <deque>
#include <iostream>
#include <map>
#include <random>
#include <string>

namespace dray::hash {

void md5_run_cut_up(Md5LaneStates& states, const unsigned char* const* content, std::size_t blocks);

namespace {

using Content = std::vector<std::byte>;

std::vector<Md5Kernel> all_kernels() {
    const auto found = md5_kernels();
    std::vector<Md5Kernel> kernels(found.begin(), found.end());
    kernels.push_back({"16 lanes, cut up by the compiler", 16, md5_run_cut_up});
    return kernels;
}

class EveryMd5 : public testing::TestWithParam<Md5Kernel> {
protected:
    EveryMd5() { std::cout << "seed " << seed_ << ", " << GetParam().name << '\n'; }

    std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }
    Content content(std::size_t size) {
        Content made(size);
        for (std::byte& byte : made)
            byte = static_cast<std::byte>(random_());
        return made;
    }
    /// Those around a block's end and two blocks' end among them.
    std::vector<std::size_t> lengths(std::size_t more) {
        std::vector<std::size_t> lengths = {0, 1, 2, 63, 64 * 1000, 64 * 1000 + 1};
        for (std::size_t length = 55; length <= 65; ++length)
            lengths.push_back(length);
        for (std::size_t length = 119; length <= 129; ++length)
            lengths.push_back(length);
        for (std::size_t i = 0; i < more; ++i)
            lengths.push_back(below(i % 10 == 0 ? 400'000 : i % 3 == 0 ? 9000 : 300));
        std::ranges::shuffle(lengths, random_);
        return lengths;
    }

    const unsigned seed_ = std::random_device{}();
    std::mt19937_64 random_{seed_};
};

/// What was run, for tests of how lanes are filled: by the calls of this kernel.
struct Counted {
    static void run(Md5LaneStates& states, const unsigned char* const* content, std::size_t blocks) {
        rounds += blocks;
        md5_kernels().back().run(states, content, blocks);
    }
    static std::size_t rounds;
    static Md5Kernel kernel() { return {"counted", md5_kernels().back().lanes, run}; }
};
std::size_t Counted::rounds = 0;

TEST_P(EveryMd5, HashesAsOpenSslDoes) {
    Md5Lanes lanes(GetParam());
    std::deque<Md5Stream> streams;
    std::vector<Content> contents;
    std::vector<bool> done;
    for (const std::size_t length : lengths(400))
        contents.push_back(content(length));
    done.resize(contents.size());
    const auto look = [&](std::span<const Md5Work> works) {
        for (const Md5Work& work : works) {
            EXPECT_FALSE(done[work.tag]);
            done[work.tag] = true;
            EXPECT_EQ(streams[work.tag].digest(), md5(contents[work.tag])) << contents[work.tag].size() << " bytes";
        }
    };
    for (std::size_t i = 0; i < contents.size(); ++i) {
        lanes.add({&streams.emplace_back(), contents[i], true, i});
        if (below(4) == 0)
            look(lanes.step(below(100'000)));
    }
    while (!lanes.is_idle())
        look(lanes.step(1 + below(100'000)));
    EXPECT_TRUE(std::ranges::all_of(done, [](bool each) { return each; }));
}

TEST_P(EveryMd5, HashesWhatComesInManyUpdates) {
    Md5Lanes lanes(GetParam());
    struct Message {
        Content content;
        Md5Stream stream;
        std::size_t added = 0;
        bool is_ended = false;
        std::size_t works = 0;
    };
    std::deque<Message> messages;
    for (const std::size_t length : lengths(100))
        messages.emplace_back().content = content(length);
    std::vector<std::size_t> open(messages.size());
    std::ranges::generate(open, [i = std::size_t{0}]() mutable { return i++; });
    const auto look = [&](std::span<const Md5Work> works) {
        for (const Md5Work& work : works) {
            Message& message = messages[work.tag];
            --message.works;
            if (!work.is_last)
                continue;
            EXPECT_EQ(message.works, 0U) << "the last is the last to be done";
            EXPECT_EQ(message.stream.digest(), md5(message.content)) << message.content.size() << " bytes";
        }
    };
    while (!open.empty()) {
        const std::size_t at = below(open.size());
        Message& message = messages[open[at]];
        const std::size_t left = message.content.size() - message.added;
        // Also updates of nothing, single bytes, and those that end with a block.
        std::size_t length = below(3) == 0 ? below(3) : below(2) == 0 ? below(200) : below(left + 1);
        if (below(4) == 0)
            length = (64 - message.added % 64) % 64;
        length = std::min(length, left);
        message.is_ended = length == left && below(3) != 0;
        lanes.add({&message.stream, std::span(message.content).subspan(message.added, length), message.is_ended, open[at]});
        ++message.works;
        message.added += length;
        if (message.is_ended)
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
        if (below(3) == 0)
            look(lanes.step(below(20'000)));
    }
    while (!lanes.is_idle())
        look(lanes.step(1 + below(20'000)));
    for (const Message& message : messages)
        EXPECT_EQ(message.works, 0U);
}

TEST_P(EveryMd5, GoesOnAloneWithWhatBeganInCompany) {
    Md5Lanes lanes(GetParam());
    // One far longer than the others: it begins among them, is left over, and gets company again.
    const Content longest = content(700'000 + below(64));
    std::vector<Content> others;
    for (std::size_t i = 0; i < 3 * kMostLanes; ++i)
        others.push_back(content(1000 + below(3000)));
    std::deque<Md5Stream> streams;
    std::size_t done = 0;
    const auto look = [&](std::span<const Md5Work> works) {
        for (const Md5Work& work : works) {
            ++done;
            EXPECT_EQ(streams[work.tag].digest(), md5(work.content));
        }
    };
    lanes.add({&streams.emplace_back(), longest, true, 0});
    for (std::size_t round = 0; round < 3; ++round) {
        for (std::size_t i = 0; i < kMostLanes; ++i) {
            lanes.add({&streams.emplace_back(), others[round * kMostLanes + i], true, streams.size() - 1});
        }
        while (done < (round + 1) * kMostLanes)
            look(lanes.step(4096));
        look(lanes.step(20'000));
        EXPECT_FALSE(lanes.is_idle());
    }
    while (!lanes.is_idle())
        look(lanes.step(4096));
    EXPECT_EQ(done, streams.size());
}

TEST_P(EveryMd5, GoesInSmallSteps) {
    Md5Lanes lanes(GetParam());
    std::deque<Md5Stream> streams;
    const Content piece = content(256 * 1024);
    for (std::size_t i = 0; i < kMostLanes; ++i)
        lanes.add({&streams.emplace_back(), piece, true, i});
    std::size_t steps = 0;
    std::size_t done = 0;
    for (; !lanes.is_idle(); ++steps)
        done += lanes.step(64 * 1024).size();
    EXPECT_EQ(done, kMostLanes);
    EXPECT_GE(steps, kMostLanes * 4 - 1);
    EXPECT_LE(steps, kMostLanes * 4 + 2);
}

INSTANTIATE_TEST_SUITE_P(Forms, EveryMd5, testing::ValuesIn(all_kernels()), [](const auto& kernel) {
    std::string name;
    for (const char* each = kernel.param.name; *each != '\0'; ++each)
        if (std::isalnum(static_cast<unsigned char>(*each)) != 0)
            name += *each;
    return name;
});

TEST(Md5Lanes, RefillsLanesOneByOne) {
    std::mt19937_64 random(7);
    const Md5Kernel kernel = Counted::kernel();
    Md5Lanes lanes(kernel);
    std::deque<Md5Stream> streams;
    const Content content(64 * 400);
    std::size_t all = 0;
    std::size_t longest = 0;
    for (std::size_t i = 0; i < 500; ++i) {
        const std::size_t blocks = random() % 400;
        lanes.add({&streams.emplace_back(), std::span(content).first(64 * blocks), true, i});
        all += blocks + 1;
        longest = std::max(longest, blocks + 1);
    }
    Counted::rounds = 0;
    while (!lanes.is_idle())
        (void)lanes.step(10'000);
    EXPECT_LE(Counted::rounds, all / kernel.lanes + longest) << "no lane stands idle while anything waits";
}

TEST(Md5Lanes, LeavesWhatIsTooLittleToOpenSsl) {
    Md5Lanes lanes(Counted::kernel());
    std::deque<Md5Stream> streams;
    const Content content(100'000, std::byte{5});
    Counted::rounds = 0;
    for (const std::size_t count : {1U, 2U, 3U}) {
        for (std::size_t i = 0; i < count; ++i)
            lanes.add({&streams.emplace_back(), content, true, 0});
        while (!lanes.is_idle())
            (void)lanes.step(10'000);
        EXPECT_EQ(Counted::rounds > 0, count == 3) << count;
    }
    for (const Md5Stream& stream : streams)
        EXPECT_EQ(stream.digest(), md5(content));
}

TEST(Md5Lanes, LongerOnesThatComeLaterDoNotHoldUpAShortOneForEver) {
    Md5Lanes lanes;
    std::deque<Md5Stream> streams;
    const Content content(100'000);
    lanes.add({&streams.emplace_back(), std::span(content).first(10), true, 0});
    bool is_done = false;
    for (std::size_t round = 0; round < 4 && !is_done; ++round) {
        for (std::size_t i = 0; i < 2 * kMostLanes; ++i)
            lanes.add({&streams.emplace_back(), content, true, streams.size() - 1});
        for (const Md5Work& work : lanes.step(content.size() * kMostLanes))
            is_done = is_done || work.tag == 0;
    }
    EXPECT_TRUE(is_done);
}

}  // namespace
}  // namespace dray::hash
