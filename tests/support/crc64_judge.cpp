// SPDX-License-Identifier: Apache-2.0
//
// CRC-64/NVME by tables alone, for the fault server to check dray's by. It shares no line with dray's own.
#include <array>
#include <cstddef>
#include <cstdint>

namespace {

using Tables = std::array<std::array<std::uint64_t, 256>, 8>;

Tables make_tables() {
    Tables tables{};
    for (std::uint64_t byte = 0; byte < 256; ++byte) {
        std::uint64_t value = byte;
        for (int bit = 0; bit < 8; ++bit)
            value = (value >> 1) ^ ((value & 1) != 0 ? 0x9A6C9329AC4BC9B5U : 0U);
        tables[0][byte] = value;
    }
    for (std::size_t table = 1; table < tables.size(); ++table)
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint64_t before = tables[table - 1][byte];
            tables[table][byte] = tables[0][before & 0xFF] ^ (before >> 8);
        }
    return tables;
}

}  // namespace

extern "C" std::uint64_t crc64_judge(const unsigned char* data, std::size_t size) {
    static const Tables tables = make_tables();
    std::uint64_t value = ~0ULL;
    for (; size >= 8; size -= 8, data += 8) {
        std::uint64_t word = 0;
        for (int byte = 7; byte >= 0; --byte)
            word = (word << 8) | data[byte];
        word ^= value;
        value = 0;
        for (std::size_t byte = 0; byte < 8; ++byte)
            value ^= tables[7 - byte][(word >> (8 * byte)) & 0xFF];
    }
    for (; size > 0; --size, ++data)
        value = tables[0][(value ^ *data) & 0xFF] ^ (value >> 8);
    return ~value;
}
