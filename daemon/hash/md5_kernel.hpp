// SPDX-License-Identifier: Apache-2.0
//
// The inner loop of MD5 over many messages side by side, in every form that this program has and this CPU can run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace dray::hash {

inline constexpr std::size_t kMostLanes = 16;
inline constexpr std::size_t kMd5Block = 64;

/// The states of all lanes, word by word.
struct Md5LaneStates {
    alignas(64) std::uint32_t word[4][kMostLanes];
};

struct Md5Kernel {
    const char* name;
    std::size_t lanes;
    /// Takes every lane on by `blocks` blocks of 64 bytes of its own content, wherever that lies.
    void (*run)(Md5LaneStates& states, const unsigned char* const* content, std::size_t blocks);
};

/// Those that this CPU can run and that hash rightly on it, the fastest first; never empty.
std::span<const Md5Kernel> md5_kernels();

}  // namespace dray::hash
