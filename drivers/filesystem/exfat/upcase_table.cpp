// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/exfat/upcase_table.hpp"

#include "drivers/filesystem/cluster/case_map.hpp"
#include "drivers/filesystem/cluster/directory_entry.hpp"

namespace dray::fs {
namespace {

constexpr std::size_t kUnits = 65536;
/// So many units follow which are their own upper case, says the number behind.
constexpr char16_t kRunOfSame = 0xffff;

}  // namespace

UpcaseTable::UpcaseTable() : units_(kUnits) {
    for (std::size_t i = 0; i < kUnits; ++i)
        units_[i] = static_cast<char16_t>(i);
}

UpcaseTable UpcaseTable::standard() {
    UpcaseTable table;
    for (char16_t& unit : table.units_)
        unit = default_upcase(unit);
    return table;
}

Result<UpcaseTable> UpcaseTable::parse(std::span<const std::byte> table, std::uint32_t checksum) {
    std::uint32_t sum = 0;
    for (const std::byte byte : table)
        sum = ((sum & 1U) << 31U) + (sum >> 1U) + std::to_integer<std::uint32_t>(byte);
    if (sum != checksum || table.size() % 2 != 0 || table.size() > kMostBytes)
        return fail(ErrorKind::Corrupt, "the up-case table is damaged");
    UpcaseTable result;
    std::size_t unit = 0;
    for (std::size_t i = 0; i < table.size(); i += 2) {
        const char16_t value = short_in(table, i);
        if (value == kRunOfSame && i + 2 < table.size()) {
            i += 2;
            unit += short_in(table, i);
            continue;
        }
        if (unit >= kUnits)
            return fail(ErrorKind::Corrupt, "the up-case table is damaged");
        result.units_[unit++] = value;
    }
    if (unit > kUnits)
        return fail(ErrorKind::Corrupt, "the up-case table is damaged");
    return result;
}

}  // namespace dray::fs
