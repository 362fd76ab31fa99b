// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/name_hash.hpp"

#include <algorithm>
#include <bit>

namespace dray::fs {
namespace {

template <typename Bytes>
std::uint64_t little_endian(const Bytes& bytes, std::size_t from, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = count; i-- > 0;)
        value = value << 8 | static_cast<unsigned char>(bytes[from + i]);
    return value;
}

struct State {
    std::uint64_t v0, v1, v2, v3;

    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
    void take(std::uint64_t word) {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }
};

}  // namespace

std::uint64_t name_hash(const HashKey& key, std::string_view name) {
    const std::uint64_t k0 = little_endian(key, 0, 8);
    const std::uint64_t k1 = little_endian(key, 8, 8);
    State state{k0 ^ 0x736f6d6570736575U, k1 ^ 0x646f72616e646f6dU, k0 ^ 0x6c7967656e657261U,
                k1 ^ 0x7465646279746573U};
    const std::size_t whole = name.size() / 8 * 8;
    for (std::size_t i = 0; i < whole; i += 8)
        state.take(little_endian(name, i, 8));
    state.take(little_endian(name, whole, name.size() - whole) | std::uint64_t{name.size()} << 56);
    state.v2 ^= 0xff;
    for (int i = 0; i < 4; ++i)
        state.round();
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace dray::fs
