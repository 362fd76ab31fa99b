// SPDX-License-Identifier: Apache-2.0
//
// CRC-64/NVME, the checksum that Azure calls x-ms-content-crc64: reflected polynomial 9A6C9329AC4BC9B5, begun and
// ended with all ones; "123456789" gives AE8B14860A799888. Found by carry-less multiplication where the CPU has it, by
// tables elsewhere. A checksum against accidents: whoever wants to makes two contents with the same one. One object, one
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "daemon/base/units.hpp"

namespace dray::hash {

class Crc64 {
public:
    void update(std::span<const std::byte> content);
    /// Of all so far; more may follow.
    std::uint64_t finish() const { return ~state_; }

private:
    std::uint64_t state_ = ~std::uint64_t{0};
};

std::uint64_t crc64(std::span<const std::byte> content);

/// That of A and B one after the other, from theirs and the length of B.
std::uint64_t crc64_combine(std::uint64_t crc_a, std::uint64_t crc_b, Bytes length_b);

/// As it stands in x-ms-content-crc64: the eight bytes, the lowest first, in Base64.
std::string crc64_header(std::uint64_t crc);

/// One way to go on from a state (the checksum's complement) over more content.
struct Crc64Kernel {
    const char* name;
    std::uint64_t (*run)(std::uint64_t state, std::span<const std::byte> content);
};

/// Those this CPU can run, the fastest first, the portable one last.
std::span<const Crc64Kernel> crc64_kernels();

}  // namespace dray::hash
