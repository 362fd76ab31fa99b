// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_bytes.hpp"

#include <algorithm>

namespace dray::fs::ntfs {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kArrayOffset = 4;
constexpr std::size_t kArrayCount = 6;

}  // namespace

Result<void> unprotect(std::span<std::byte> record, std::uint32_t magic) {
    const std::size_t blocks = record.size() / kBlock;
    if (blocks == 0 || load<std::uint32_t>(record, 0) != magic)
        return fail(ErrorKind::Corrupt, "a record is not what it should be");
    const std::size_t array = load<std::uint16_t>(record, kArrayOffset);
    const std::size_t count = load<std::uint16_t>(record, kArrayCount);
    // The array lies in front of the end of the first block, the first place that it would put back.
    if (count != blocks + 1 || array % 2 != 0 || array + 2 * count > kBlock - 2)
        return fail(ErrorKind::Corrupt, "a record has a damaged head");
    for (std::size_t block = 1; block <= blocks; ++block) {
        const std::size_t end = block * kBlock - 2;
        if (load<std::uint16_t>(record, end) != load<std::uint16_t>(record, array))
            return fail(ErrorKind::Corrupt, "a record was only half written");
        std::copy_n(record.begin() + static_cast<std::ptrdiff_t>(array + 2 * block), 2,
                    record.begin() + static_cast<std::ptrdiff_t>(end));
    }
    return {};
}

}  // namespace dray::fs::ntfs
