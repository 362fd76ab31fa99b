// SPDX-License-Identifier: Apache-2.0
//
// Memory files: how secrets and the ring travel between processes.
#pragma once

#include <span>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"

namespace dray {

/// The most a key may have (rules.md 24).
inline constexpr Bytes kMaxKeyBytes = 64 * kKiB;

/// A memfd holding `bytes`, sealed against writing, growing, shrinking and unsealing, at offset 0.
/// `name` is what /proc shows; it must not tell a secret.
Result<FileDescriptor> make_sealed_memfd(const char* name, std::span<const std::byte> bytes);

/// A part of a memory file that has holes.
struct MemfdPart {
    Bytes offset = 0;
    std::span<const std::byte> bytes;
};

/// The same of `size` bytes, with zeros where no part lies.
Result<FileDescriptor> make_sealed_memfd(const char* name, Bytes size, std::span<const MemfdPart> parts);

/// Reads a memfd from its offset 0, whatever its file position. InvalidArgument: no memfd, not sealed
/// against writing, growing and shrinking, or larger than `limit` (rules.md 26): so that nobody can
/// stall us with a pipe or change the bytes meanwhile.
Result<SecretBytes> read_sealed_memfd(int fd, Bytes limit);

/// A memfd of that size for shared memory, sealed against growing and shrinking.
Result<FileDescriptor> make_shared_memfd(const char* name, Bytes size);

/// A mapping of a whole shared memfd, unmapped at the end.
class SharedMemory {
public:
    SharedMemory() = default;
    /// Maps `size` bytes readable and writable. InvalidArgument: smaller than `size`, or not sealed
    /// against shrinking (a shrunk mapping is SIGBUS).
    static Result<SharedMemory> map(int fd, Bytes size);
    SharedMemory(SharedMemory&& other) noexcept;
    SharedMemory& operator=(SharedMemory&& other) noexcept;
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory();

    std::span<std::byte> bytes() const { return bytes_; }

private:
    std::span<std::byte> bytes_;
};

}  // namespace dray
