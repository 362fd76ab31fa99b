// SPDX-License-Identifier: Apache-2.0
//
// The Elephant diffuser, which BitLocker of Windows Vista and 7 puts around AES-CBC: N. Ferguson, "AES-CBC + Elephant
// diffuser. A Disk Encryption Algorithm for Windows Vista", 2006. Only the way back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace dray::volume {

class Elephant {
public:
    static constexpr std::size_t kSectorKey = 32;

    /// A power of two, at least 512.
    explicit Elephant(std::size_t sector_size);

    /// Takes both diffusers and the sector keys off `content`, which is whole sectors; `keys` has kSectorKey bytes for each.
    void undo(std::span<std::byte> content, std::span<const std::byte> keys);

private:
    // Within a sector each word needs the one before the last, so that only several sectors side by side fill the processor.
    static constexpr std::size_t kLanes = 8;
    // NOLINTNEXTLINE(modernize-use-using): the attribute belongs to the typedef
    typedef std::uint32_t Lanes __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));

    void undo_side_by_side(std::byte* sectors);
    void undo_one(std::byte* sector);

    std::size_t sector_size_;
    /// Of kLanes sectors, word by word.
    std::vector<Lanes> side_by_side_;
    /// Of one sector.
    std::vector<std::uint32_t> words_;
};

}  // namespace dray::volume
