// SPDX-License-Identifier: Apache-2.0
//
// What FAT and exFAT have in common of a directory: 32 bytes an entry, several of them for one file.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::fs {

inline constexpr std::size_t kEntry = 32;
using EntryBytes = std::span<const std::byte, kEntry>;

inline std::uint64_t number_in(std::span<const std::byte> bytes, std::size_t offset, std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;)
        value = value << 8U | std::to_integer<std::uint64_t>(bytes[offset + i]);
    return value;
}
inline std::uint8_t byte_in(std::span<const std::byte> bytes, std::size_t offset) {
    return std::to_integer<std::uint8_t>(bytes[offset]);
}
inline std::uint16_t short_in(std::span<const std::byte> bytes, std::size_t offset) {
    return static_cast<std::uint16_t>(number_in(bytes, offset, 2));
}
inline std::uint32_t word_in(std::span<const std::byte> bytes, std::size_t offset) {
    return static_cast<std::uint32_t>(number_in(bytes, offset, 4));
}

/// Where a file lies, as one entry of its directory says it.
struct FileRecord {
    /// The place of that entry on the volume, counted in entries: all that is needed to come back. 0: the root.
    std::uint64_t inode = 0;
    bool is_directory = false;
    /// Of a directory, too, but for those whose chain alone says how long they are.
    Bytes size = 0;
    bool is_sized = true;
    /// What lies behind was never written and reads as zeros.
    Bytes valid_size = 0;
    /// 0: none, the file is empty.
    std::uint32_t first_cluster = 0;
    /// The clusters follow each other on the volume, and the table says nothing of them.
    bool is_contiguous = false;
};

/// Takes the entries of a directory one by one and says when a file is complete.
class EntryParser {
public:
    enum class Step { GoOn, Found, Damaged, End };

    EntryParser() = default;
    EntryParser(const EntryParser&) = delete;
    EntryParser& operator=(const EntryParser&) = delete;
    virtual ~EntryParser() = default;

    /// `place`: of the entry in its directory. Damaged: what came so far was no file; the next one may be.
    virtual Step take(EntryBytes entry, Bytes place) = 0;
    /// Something is missing in between. Damaged: what came before is incomplete.
    virtual Step gap() = 0;

    // After Found.
    /// As it can be shown: see utf8_of().
    const std::u16string& name() const { return name_; }
    const FileRecord& record() const { return record_; }
    /// The first and the deciding entry of the file, in the directory.
    Bytes first_place() const { return first_place_; }
    Bytes record_place() const { return record_place_; }

protected:
    std::u16string name_;
    FileRecord record_;
    Bytes first_place_ = 0;
    Bytes record_place_ = 0;
};

}  // namespace dray::fs
