// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_directory.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace dray::fs {
namespace {

constexpr Bytes kMaxDirectory = kGiB;
constexpr std::size_t kEntryHeader = 8;
constexpr std::size_t kMaxName = 255;
/// An inline directory keeps its parent's number in front, and its second part in an attribute.
constexpr std::size_t kInlineParent = 4;
constexpr std::size_t kInlineFirst = 60;

char fold(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter; }

std::string folded(std::string_view name) {
    std::string result(name);
    std::transform(result.begin(), result.end(), result.begin(), fold);
    return result;
}

std::uint64_t hash_of(std::string_view name) { return std::hash<std::string>()(folded(name)); }

bool is_same_folded(std::string_view left, std::string_view right) {
    return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [](char a, char b) { return fold(a) == fold(b); });
}

unsigned little_endian(std::span<const std::byte> bytes) {
    unsigned value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8 | static_cast<unsigned>(bytes[i]);
    return value;
}

struct Parsed {
    ext2_ino_t inode = 0;
    std::size_t length = 0;
    std::size_t name_length = 0;
};

Parsed parse(std::span<const std::byte> entry) {
    Parsed parsed{little_endian(entry.first(4)), little_endian(entry.subspan(4, 2)),
                  static_cast<std::size_t>(entry[6])};
    // 16 bits cannot say 65536, the length of an empty block of that size.
    if (parsed.length == 65535 || parsed.length == 0)
        parsed.length = 65536;
    return parsed;
}

enum class Walk { GoOn, Enough };

/// One block, or one part of an inline directory.
Result<Walk> visit_block(std::span<const std::byte> block, Bytes place,
                         const std::function<bool(const DirectoryEntry&)>& visit) {
    std::size_t position = 0;
    while (position + kEntryHeader <= block.size()) {
        const std::span<const std::byte> rest = block.subspan(position);
        const Parsed entry = parse(rest);
        // A hole, and the unused end of an inline directory, read as zeros.
        if (entry.inode == 0 && little_endian(rest.subspan(4, 2)) == 0)
            return Walk::GoOn;
        if (entry.length < kEntryHeader || entry.length % 4 != 0 || entry.length > rest.size() ||
            (entry.inode != 0 && entry.name_length + kEntryHeader > entry.length))
            return fail(ErrorKind::Corrupt, "a directory is damaged at its byte {}", place + position);
        const std::string_view name(reinterpret_cast<const char*>(rest.data() + kEntryHeader),
                                    entry.inode != 0 ? entry.name_length : 0);
        if (!name.empty() && name != "." && name != ".." &&
            !visit({name, entry.inode, place + position}))
            return Walk::Enough;
        position += entry.length;
    }
    return Walk::GoOn;
}

Result<void> visit_inline(FileMap& directory, const std::function<bool(const DirectoryEntry&)>& visit) {
    std::vector<std::byte> content(static_cast<std::size_t>(std::min<Bytes>(directory.size(), 65536)));
    DRAY_TRY(directory.read_cached(0, content));
    const std::span<const std::byte> all(content);
    const std::size_t first = std::min(kInlineFirst, all.size());
    if (first <= kInlineParent)
        return {};
    DRAY_LET(const Walk walk, visit_block(all.subspan(kInlineParent, first - kInlineParent),
                                          kInlineParent, visit));
    if (walk == Walk::Enough || all.size() == first)
        return {};
    if (const Result<Walk> second = visit_block(all.subspan(first), first, visit); !second)
        return fail(second.error());
    return {};
}

}  // namespace

Result<void> visit_directory(FileMap& directory, const std::function<bool(const DirectoryEntry&)>& visit) {
    if (directory.size() > kMaxDirectory)
        return fail(ErrorKind::LimitReached, "a directory of {} bytes is too long", directory.size());
    if (directory.is_inline())
        return visit_inline(directory, visit);
    std::vector<std::byte> block(directory.block_size());
    for (Bytes place = 0; place < directory.size(); place += block.size()) {
        if (directory.size() - place < block.size())
            return fail(ErrorKind::Corrupt, "a directory ends within a block");
        DRAY_TRY(directory.read_cached(place, block));
        DRAY_LET(const Walk walk, visit_block(block, place, visit));
        if (walk == Walk::Enough)
            break;
    }
    return {};
}

Result<DirectoryIndex> DirectoryIndex::build(FileMap directory, std::size_t limit) {
    DirectoryIndex index(std::move(directory));
    DRAY_TRY(visit_directory(index.directory_, [&](const DirectoryEntry& entry) {
        index.is_indexed_ = index.entries_.size() < limit;
        if (index.is_indexed_)
            index.entries_.push_back({hash_of(entry.name), static_cast<std::uint32_t>(entry.place)});
        return index.is_indexed_;
    }));
    if (!index.is_indexed_)
        index.entries_ = {};
    index.entries_.shrink_to_fit();
    std::sort(index.entries_.begin(), index.entries_.end(), [](const Entry& left, const Entry& right) {
        return left.hash < right.hash || (left.hash == right.hash && left.place < right.place);
    });
    return index;
}

Result<ext2_ino_t> DirectoryIndex::find_by_walking(std::string_view name) {
    ext2_ino_t exact = 0;
    ext2_ino_t similar = 0;
    int similar_count = 0;
    DRAY_TRY(visit_directory(directory_, [&](const DirectoryEntry& entry) {
        if (entry.name == name) {
            exact = entry.inode;
            return false;
        }
        if (is_same_folded(entry.name, name)) {
            similar = entry.inode;
            ++similar_count;
        }
        return true;
    }));
    if (exact != 0)
        return exact;
    if (similar_count == 1)
        return similar;
    return fail(ErrorKind::NotFound, "there is no such file");
}

Result<ext2_ino_t> DirectoryIndex::find(std::string_view name) {
    if (!is_indexed_)
        return find_by_walking(name);
    const std::uint64_t hash = hash_of(name);
    auto entry = std::lower_bound(entries_.begin(), entries_.end(), hash,
                                  [](const Entry& left, std::uint64_t value) { return left.hash < value; });
    ext2_ino_t similar = 0;
    int similar_count = 0;
    for (; entry != entries_.end() && entry->hash == hash; ++entry) {
        std::array<std::byte, kEntryHeader + kMaxName> bytes{};
        const std::size_t there = static_cast<std::size_t>(
            std::min<Bytes>(bytes.size(), directory_.size() - entry->place));
        DRAY_TRY(directory_.read_cached(entry->place, std::span(bytes).first(there)));
        const Parsed parsed = parse(bytes);
        const std::string_view found(reinterpret_cast<const char*>(bytes.data() + kEntryHeader),
                                     parsed.name_length);
        if (found == name)
            return parsed.inode;
        if (is_same_folded(found, name)) {
            similar = parsed.inode;
            ++similar_count;
        }
    }
    if (similar_count == 1)
        return similar;
    return fail(ErrorKind::NotFound, "there is no such file");
}

}  // namespace dray::fs
