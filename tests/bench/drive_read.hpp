// SPDX-License-Identifier: Apache-2.0
//
// What the ways of drive_read_bench share.
#pragma once

#include <sys/types.h>

#include <functional>
#include <span>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::bench {

/// Of the manifests that dray writes.
inline constexpr Bytes kPiece = 4 * kMiB;

struct Figures {
    Bytes bytes = 0;
    double wall = 0;
    double cpu = 0;
};

/// Wall time and the CPU time of this process and of `other` (0: there is none) while `work` runs for the second time.
/// The first time nobody looks: in the middle of a drive, all memory that it goes through has been used before.
Result<Figures> measured(pid_t other, const std::function<Result<Bytes>()>& work);

/// kPiece bytes.
std::span<std::byte> buffer();

Result<Figures> read_with_libext2fs(volume::BlockDevice& volume, const std::string& name);
Result<Figures> read_with_libntfs(volume::BlockDevice& volume, const std::string& name);

}  // namespace dray::bench
