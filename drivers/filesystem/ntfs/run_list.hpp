// SPDX-License-Identifier: Apache-2.0
//
// Where the content of an attribute lies, as one record has it: runs of clusters, packed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/result.hpp"

namespace dray::fs::ntfs {

struct Run {
    std::uint64_t vcn = 0;
    std::uint64_t length = 0;
    std::uint64_t lcn = 0;
    bool is_hole = false;

    std::uint64_t end() const { return vcn + length; }
};

/// The runs of [first, end), which follow each other without a gap. Corrupt: they make no sense, or lie outside the
/// `clusters` of the volume.
Result<std::vector<Run>> unpack_runs(std::span<const std::byte> packed, std::uint64_t first, std::uint64_t end,
                                     std::uint64_t clusters);

}  // namespace dray::fs::ntfs
