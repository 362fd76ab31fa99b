// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_header.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <iostream>
#include <optional>
#include <random>
#include <string>

#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::volume {
namespace {

using test::MemoryDevice;

constexpr std::size_t kDevice = 2 * 1024 * 1024;

void put_header(std::vector<std::byte>& device, std::size_t offset, const char* magic, std::uint64_t size,
                const std::string& json) {
    std::memcpy(device.data() + offset, magic, 6);
    device[offset + 7] = std::byte{2};
    for (std::size_t i = 0; i < 8; ++i)
        device[offset + 8 + i] = static_cast<std::byte>(size >> (8 * (7 - i)));
    std::memcpy(device.data() + offset + 4096, json.data(), json.size());
}

std::string config(const std::string& keyslots) {
    return R"({"config":{"json_size":"12288","keyslots_size":)" + keyslots + "}}";
}

TEST(LuksHeader, KnowsItsLengthOrSaysWhyNot) {
    struct Row {
        const char* what;
        std::uint64_t size;
        std::string json;
        std::optional<ErrorKind> error;
    };
    const Row rows[] = {
        {"an honest one", 16384, config("\"1000000\""), std::nullopt},
        {"as large as the device", 16384, config("\"" + std::to_string(kDevice - 32768) + "\""), std::nullopt},
        {"larger than the device", 16384, config("\"" + std::to_string(kDevice - 32767) + "\""), ErrorKind::Corrupt},
        {"larger than any honest one", 16384, config("\"67108864\""), ErrorKind::LimitReached},
        {"a number that overflows", 16384, config("\"18446744073709551615\""), ErrorKind::LimitReached},
        {"a number that is none", 16384, config("\"12x\""), ErrorKind::Corrupt},
        {"a number without quotes", 16384, config("12"), ErrorKind::Corrupt},
        {"a negative number", 16384, config("\"-1\""), ErrorKind::Corrupt},
        {"a size that is no power of two", 16385, config("\"1000000\""), ErrorKind::Corrupt},
        {"a size below the smallest", 8192, config("\"1000000\""), ErrorKind::Corrupt},
        {"a size above the largest", 8 * kMiB, config("\"1000000\""), ErrorKind::Corrupt},
        {"JSON that is none", 16384, "{\"config\":", ErrorKind::Corrupt},
        {"JSON nested without end", 16384, std::string(12000, '['), ErrorKind::Corrupt},
        {"JSON of another kind", 16384, "[1,2]", ErrorKind::Corrupt},
    };
    for (const Row& row : rows) {
        std::vector<std::byte> bytes(kDevice);
        put_header(bytes, 0, "LUKS\xba\xbe", row.size, row.json);
        MemoryDevice device(std::move(bytes), 512);
        const OpenResult<LuksHeader> header = find_luks_header(device);
        EXPECT_EQ(header.has_value(), !row.error) << row.what;
        if (!header && row.error) {
            EXPECT_EQ(header.error().error.kind(), *row.error) << row.what << ": " << header.error().error.text();
        }
    }
}

TEST(LuksHeader, ADamagedFirstHeaderLeavesTheSecond) {
    std::vector<std::byte> bytes(kDevice);
    put_header(bytes, 16384, "SKUL\xba\xbe", 16384, config("\"1000000\""));
    MemoryDevice device(std::move(bytes), 512);
    const OpenResult<LuksHeader> header = find_luks_header(device);
    ASSERT_TRUE(header) << header.error().error.text();
    EXPECT_EQ(header->length, 32768U + 1000000U);
}

TEST(LuksHeader, NoBytesMakeItStumble) {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    std::vector<std::byte> honest(64 * 1024);
    put_header(honest, 0, "LUKS\xba\xbe", 16384, config("\"30000\""));
    for (int round = 0; round < 2000; ++round) {
        std::vector<std::byte> bytes = honest;
        for (unsigned i = 0; i < 1 + random() % 8; ++i)
            bytes[random() % (random() % 2 == 0 ? 16 : 4200)] = static_cast<std::byte>(random());
        MemoryDevice device(std::move(bytes), 512);
        if (const OpenResult<LuksHeader> header = find_luks_header(device); header && header->version == 2) {
            EXPECT_LE(header->length, device.size());
        }
    }
}

}  // namespace
}  // namespace dray::volume
