// SPDX-License-Identifier: Apache-2.0
//
// Which unit of a name is the upper case of which: every exFAT brings a table for it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/result.hpp"

namespace dray::fs {

class UpcaseTable {
public:
    /// Longer than one without compression none can be.
    static constexpr std::size_t kMostBytes = 65536 * sizeof(char16_t);

    /// The one that the specification recommends.
    static UpcaseTable standard();
    /// As it stands on the volume, compressed. Corrupt: another checksum, or too long for all there is.
    static Result<UpcaseTable> parse(std::span<const std::byte> table, std::uint32_t checksum);

    char16_t of(char16_t unit) const { return units_[unit]; }

private:
    UpcaseTable();
    std::vector<char16_t> units_;
};

}  // namespace dray::fs
