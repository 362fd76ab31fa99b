// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/wire.hpp"

#include <gtest/gtest.h>

namespace dray {
namespace {

WireWriter sample() {
    WireWriter writer;
    writer.u8(7);
    writer.u32(0xFFFFFFFF);
    writer.u64(1ULL << 63);
    writer.boolean(true);
    writer.text("text");
    return writer;
}

Result<void> read_sample(std::span<const std::byte> bytes) {
    WireReader reader(bytes);
    (void)reader.u8();
    (void)reader.u32();
    (void)reader.u64();
    (void)reader.boolean();
    (void)reader.text(4);
    return reader.finish();
}

TEST(Wire, ReadsWhatWasWritten) {
    const WireWriter writer = sample();
    WireReader reader(writer.bytes());
    EXPECT_EQ(reader.u8(), 7);
    EXPECT_EQ(reader.u32(), 0xFFFFFFFF);
    EXPECT_EQ(reader.u64(), 1ULL << 63);
    EXPECT_TRUE(reader.boolean());
    EXPECT_EQ(reader.text(4), "text");
    EXPECT_TRUE(reader.finish());
}

TEST(Wire, RefusesEveryCutAndEveryLeftover) {
    const WireWriter writer = sample();
    for (std::size_t length = 0; length < writer.size(); ++length)
        EXPECT_FALSE(read_sample(writer.bytes().first(length))) << length;
    EXPECT_TRUE(read_sample(writer.bytes()));
    std::vector<std::byte> longer(writer.bytes().begin(), writer.bytes().end());
    longer.push_back(std::byte{0});
    EXPECT_FALSE(read_sample(longer));
}

TEST(Wire, RefusesTextsOverTheLimitAndNumbersOutOfRange) {
    WireWriter writer;
    writer.text("12345");
    WireReader text(writer.bytes());
    EXPECT_EQ(text.text(4), "");
    EXPECT_FALSE(text.finish());

    WireWriter flag;
    flag.u8(2);
    WireReader reader(flag.bytes());
    EXPECT_FALSE(reader.boolean());
    EXPECT_FALSE(reader.finish());
    enum class Three : std::uint8_t { A, B, C };
    WireReader in_range(flag.bytes());
    EXPECT_EQ(in_range.enumerator<Three>(3), Three::C);
    EXPECT_TRUE(in_range.finish());
    WireReader out_of_range(flag.bytes());
    EXPECT_EQ(out_of_range.enumerator<Three>(2), Three::A);
    EXPECT_FALSE(out_of_range.finish());
}

}  // namespace
}  // namespace dray
