// SPDX-License-Identifier: Apache-2.0
//
// Every form of CRC64 that this CPU can run: against the vectors, against the definition bit by bit, against each other.
#include "daemon/hash/crc64.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <random>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/base/encoding.hpp"

namespace dray::hash {
namespace {

using Content = std::vector<std::byte>;

nlohmann::json vectors() { return nlohmann::json::parse(std::ifstream(DRAY_TEST_DATA "/rest/crc64-vectors.json")); }

/// The definition, one bit after the other.
std::uint64_t plainly(std::span<const std::byte> content) {
    std::uint64_t state = ~std::uint64_t{0};
    for (const std::byte byte : content) {
        state ^= static_cast<std::uint64_t>(byte);
        for (int bit = 0; bit < 8; ++bit)
            state = (state >> 1) ^ ((state & 1) != 0 ? 0x9A6C9329AC4BC9B5 : 0);
    }
    return ~state;
}

std::uint64_t of(const Crc64Kernel& kernel, std::span<const std::byte> content) {
    return ~kernel.run(~std::uint64_t{0}, content);
}

class Crc64Test : public testing::Test {
protected:
    Crc64Test() { std::cout << "seed " << seed_ << '\n'; }
    std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }
    Content content(std::size_t size) {
        Content made(size);
        for (std::byte& byte : made)
            byte = static_cast<std::byte>(random_());
        return made;
    }

    const unsigned seed_ = std::random_device{}();
    std::mt19937_64 random_{seed_};
};

TEST_F(Crc64Test, GivesTheVectors) {
    const nlohmann::json rows = vectors();
    ASSERT_GE(rows.size(), 7U);
    for (const auto& row : rows) {
        SCOPED_TRACE(row["name"].get<std::string>());
        const Content data = *from_hex(row["data_hex"].get<std::string>());
        const std::uint64_t expected = std::stoull(row["crc_hex"].get<std::string>(), nullptr, 16);
        EXPECT_EQ(crc64(data), expected);
        for (const Crc64Kernel& kernel : crc64_kernels())
            EXPECT_EQ(of(kernel, data), expected) << kernel.name;
        EXPECT_EQ(crc64_header(expected), row["azure_base64"].get<std::string>());
    }
}

TEST_F(Crc64Test, IsTheSameInEveryFormAtEveryLengthAndAlignment) {
    EXPECT_EQ(std::string(crc64_kernels().back().name), "tables");
    const Content data = content(5000);
    const auto look = [&](std::size_t from, std::size_t length) {
        const auto part = std::span(data).subspan(from, length);
        const std::uint64_t expected = plainly(part);
        for (const Crc64Kernel& kernel : crc64_kernels())
            ASSERT_EQ(of(kernel, part), expected) << kernel.name << ", " << length << " bytes at " << from;
    };
    for (std::size_t length = 0; length <= 400; ++length)
        look(below(64), length);
    for (int i = 0; i < 300; ++i) {
        const std::size_t from = below(data.size());
        look(from, below(data.size() - from + 1));
    }
}

TEST_F(Crc64Test, IsTheSameInManyUpdates) {
    for (int round = 0; round < 50; ++round) {
        const Content data = content(below(20'000));
        Crc64 crc;
        for (std::size_t done = 0; done < data.size();) {
            const std::size_t length = std::min(data.size() - done, below(2) == 0 ? below(20) : below(3000));
            crc.update(std::span(data).subspan(done, length));
            done += length;
            if (below(10) == 0) {
                EXPECT_EQ(crc.finish(), plainly(std::span(data).first(done)));
            }
        }
        EXPECT_EQ(crc.finish(), plainly(data));
    }
}

TEST_F(Crc64Test, IsCombined) {
    for (int round = 0; round < 50; ++round) {
        const Content data = content(below(3000));
        const std::size_t cut = below(data.size() + 1);
        const auto a = std::span(data).first(cut);
        const auto b = std::span(data).subspan(cut);
        EXPECT_EQ(crc64_combine(crc64(a), crc64(b), b.size()), plainly(data)) << cut << " of " << data.size();
    }
    // Lengths that nobody has the content of: what is appended in one step or in two must be the same.
    const std::uint64_t a = random_();
    const std::uint64_t b = random_();
    const std::uint64_t c = random_();
    const Bytes length = Bytes{1} << 61;  // eight times that is no 64-bit number
    EXPECT_EQ(crc64_combine(a, crc64_combine(b, c, length), length + 5), crc64_combine(crc64_combine(a, b, 5), c, length));
}

}  // namespace
}  // namespace dray::hash
