// SPDX-License-Identifier: Apache-2.0
//
// Polynomials stand in words with their highest power in the lowest bit, as this checksum has them.
#include "daemon/hash/crc64.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <vector>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "daemon/base/encoding.hpp"

namespace dray::hash {
namespace {

constexpr std::uint64_t kPolynomial = 0x9A6C'9329'AC4B'C9B5;
/// x to the power of 0.
constexpr std::uint64_t kOne = std::uint64_t{1} << 63;

constexpr std::uint64_t times_x(std::uint64_t a) { return (a >> 1) ^ ((a & 1) != 0 ? kPolynomial : 0); }

constexpr std::uint64_t times(std::uint64_t a, std::uint64_t b) {
    std::uint64_t product = 0;
    for (; a != 0; a <<= 1, b = times_x(b))
        if ((a & kOne) != 0)
            product ^= b;
    return product;
}

/// x to the power of `exponent`.
constexpr std::uint64_t x_to(std::uint64_t exponent) {
    std::uint64_t power = kOne;
    for (std::uint64_t square = kOne >> 1; exponent != 0; exponent >>= 1, square = times(square, square))
        if ((exponent & 1) != 0)
            power = times(power, square);
    return power;
}

using Tables = std::array<std::array<std::uint64_t, 256>, 8>;

/// tables[k][b]: what a byte b does to the state, k bytes after it came.
constexpr Tables make_tables() {
    Tables tables{};
    for (std::uint64_t byte = 0; byte < 256; ++byte) {
        std::uint64_t state = byte;
        for (int bit = 0; bit < 8; ++bit)
            state = times_x(state);
        tables[0][byte] = state;
    }
    for (std::size_t k = 1; k < tables.size(); ++k)
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint64_t before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
        }
    return tables;
}

constexpr Tables kTables = make_tables();

std::uint64_t load(const std::byte* bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    return std::endian::native == std::endian::little ? word : __builtin_bswap64(word);
}

std::uint64_t run_tables(std::uint64_t state, std::span<const std::byte> content) {
    while (content.size() >= 8) {
        const std::uint64_t word = state ^ load(content.data());
        state = 0;
        for (std::size_t k = 0; k < 8; ++k)
            state ^= kTables[7 - k][(word >> (8 * k)) & 0xFF];
        content = content.subspan(8);
    }
    for (const std::byte byte : content)
        state = (state >> 8) ^ kTables[0][(state ^ static_cast<std::uint64_t>(byte)) & 0xFF];
    return state;
}

#ifdef __x86_64__

#define DRAY_CARRYLESS __attribute__((target("pclmul,sse4.1")))

/// Moves 16 bytes of content `distance` bits on. The instruction's product stands one power too high, therefore the -1.
struct Fold {
    std::uint64_t of_first_half;
    std::uint64_t of_second_half;
    explicit constexpr Fold(std::uint64_t distance)
        : of_first_half(x_to(distance + 64 - 1)), of_second_half(x_to(distance - 1)) {}
};
constexpr std::size_t kWide = 8;
constexpr Fold kFoldWide(kWide * 128);
constexpr Fold kFoldOne(128);

DRAY_CARRYLESS inline __m128i constants(const Fold& fold) {
    return _mm_set_epi64x(static_cast<long long>(fold.of_second_half), static_cast<long long>(fold.of_first_half));
}

DRAY_CARRYLESS inline __m128i block_at(const std::byte* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

DRAY_CARRYLESS inline __m128i folded(__m128i block, __m128i by, __m128i onto) {
    return _mm_xor_si128(
        _mm_xor_si128(_mm_clmulepi64_si128(block, by, 0x00), _mm_clmulepi64_si128(block, by, 0x11)), onto);
}

// Eight blocks side by side are moved on over the next eight, then onto the last of them; what is left of 16 bytes goes
// through the tables, which also divide.
DRAY_CARRYLESS std::uint64_t run_carryless(std::uint64_t state, std::span<const std::byte> content) {
    constexpr std::size_t kBlock = 16;
    if (content.size() < kWide * kBlock)
        return run_tables(state, content);
    __m128i blocks[kWide];
    for (std::size_t i = 0; i < kWide; ++i)
        blocks[i] = block_at(content.data() + i * kBlock);
    blocks[0] = _mm_xor_si128(blocks[0], _mm_set_epi64x(0, static_cast<long long>(state)));
    content = content.subspan(kWide * kBlock);
    const __m128i wide = constants(kFoldWide);
    while (content.size() >= kWide * kBlock) {
        for (std::size_t i = 0; i < kWide; ++i)
            blocks[i] = folded(blocks[i], wide, block_at(content.data() + i * kBlock));
        content = content.subspan(kWide * kBlock);
    }
    const __m128i one = constants(kFoldOne);
    __m128i sum = blocks[0];
    for (std::size_t i = 1; i < kWide; ++i)
        sum = folded(sum, one, blocks[i]);
    while (content.size() >= kBlock) {
        sum = folded(sum, one, block_at(content.data()));
        content = content.subspan(kBlock);
    }
    std::array<std::byte, kBlock> rest;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rest.data()), sum);
    return run_tables(run_tables(0, rest), content);
}

#endif

std::vector<Crc64Kernel> find_kernels() {
    std::vector<Crc64Kernel> kernels;
#ifdef __x86_64__
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
        kernels.push_back({"PCLMULQDQ", run_carryless});
#endif
    // What a hypervisor gets wrong shows here, not as refusals of a store.
    std::array<std::byte, 1000> content;
    for (std::size_t i = 0; i < content.size(); ++i)
        content[i] = static_cast<std::byte>(i * 131 >> 3);
    std::erase_if(kernels, [&](const Crc64Kernel& kernel) { return kernel.run(1, content) != run_tables(1, content); });
    kernels.push_back({"tables", run_tables});
    return kernels;
}

}  // namespace

std::span<const Crc64Kernel> crc64_kernels() {
    static const std::vector<Crc64Kernel> kernels = find_kernels();
    return kernels;
}

void Crc64::update(std::span<const std::byte> content) {
    static const auto run = crc64_kernels().front().run;
    state_ = run(state_, content);
}

std::uint64_t crc64(std::span<const std::byte> content) {
    Crc64 crc;
    crc.update(content);
    return crc.finish();
}

std::uint64_t crc64_combine(std::uint64_t crc_a, std::uint64_t crc_b, Bytes length_b) {
    // (x^length)^8, because eight times the length may be no 64-bit number.
    std::uint64_t power = x_to(length_b);
    for (int i = 0; i < 3; ++i)
        power = times(power, power);
    return times(crc_a, power) ^ crc_b;
}

std::string crc64_header(std::uint64_t crc) {
    std::array<std::byte, 8> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::byte>(crc >> (8 * i));
    return to_base64(bytes);
}

}  // namespace dray::hash
