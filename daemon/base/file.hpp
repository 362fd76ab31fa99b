// SPDX-License-Identifier: Apache-2.0
//
// Whole small files, and reads and writes that do not stop half-way.
#pragma once

#include <span>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/units.hpp"

namespace dray {

/// open(2) with O_CLOEXEC; the error names the path.
Result<FileDescriptor> open_file(const std::string& path, int flags, unsigned mode = 0600);
/// LimitReached: longer than `limit`.
Result<std::string> read_file(const std::string& path, Bytes limit);
/// Temporary name, fsync, rename, fsync of the directory: after a power cut there is the old file or
/// the new one.
Result<void> write_file_atomically(const std::string& path, std::span<const std::byte> bytes,
                                   unsigned mode);
/// Corrupt: the file ends before. `what` names the file in errors.
Result<void> read_fully(int fd, Bytes offset, std::span<std::byte> bytes, const std::string& what);
Result<void> write_fully(int fd, Bytes offset, std::span<const std::byte> bytes, const std::string& what);

}  // namespace dray
