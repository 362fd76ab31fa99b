// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_directory.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <tuple>

#include "drivers/filesystem/ext4/htree.hpp"

namespace dray::fs {
namespace {

constexpr Bytes kMaxDirectory = kGiB;
constexpr std::size_t kEntryHeader = 8;
constexpr std::size_t kMaxName = 255;
/// More than so many blocks that cannot be read are taken for the whole directory: a look at each may take a
/// disk minutes.
constexpr int kMaxBadBlocks = 16;
/// So many entries are read for one name at most. More than one have its hash by chance, or because the same
/// name is there again and again.
constexpr int kMostLookedAt = 16;
/// An inline directory keeps its parent's number in front, and its second part in an attribute.
constexpr std::size_t kInlineParent = 4;
constexpr std::size_t kInlineFirst = 60;

char fold(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter; }

std::string folded(std::string_view name) {
    std::string result(name);
    std::transform(result.begin(), result.end(), result.begin(), fold);
    return result;
}

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

enum class Part { Block, Inline };

/// One block, or one part of an inline directory.
Result<Walk> visit_block(std::span<const std::byte> block, Bytes place, Part part,
                         const std::function<bool(const DirectoryEntry&)>& visit) {
    std::size_t position = 0;
    while (position + kEntryHeader <= block.size()) {
        const std::span<const std::byte> rest = block.subspan(position);
        const Parsed entry = parse(rest);
        // The unused end of an inline directory reads as zeros; a block that does is lost.
        if (part == Part::Inline && entry.inode == 0 && little_endian(rest.subspan(4, 2)) == 0)
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
                                          kInlineParent, Part::Inline, visit));
    if (walk == Walk::Enough || all.size() == first)
        return {};
    if (const Result<Walk> second = visit_block(all.subspan(first), first, Part::Inline, visit); !second)
        return fail(second.error());
    return {};
}

Result<Walk> read_and_visit(FileMap& directory, Bytes place, std::span<std::byte> block,
                            const std::function<bool(const DirectoryEntry&)>& visit) {
    if (directory.size() - place < block.size())
        return fail(ErrorKind::Corrupt, "a directory ends within a block");
    DRAY_TRY(directory.read_cached(place, block));
    return visit_block(block, place, Part::Block, visit);
}

}  // namespace

Result<void> visit_directory(FileMap& directory, const std::function<bool(const DirectoryEntry&)>& visit) {
    if (directory.size() > kMaxDirectory)
        return fail(ErrorKind::LimitReached, "a directory of {} bytes is too long", directory.size());
    if (directory.is_inline())
        return visit_inline(directory, visit);
    std::optional<Error> first;
    int bad_blocks = 0;
    Bytes visited = 0;
    std::vector<std::byte> block(directory.block_size());
    for (Bytes place = 0; place < directory.size(); place += block.size()) {
        const Result<Bytes> content = directory.end_of_hole(place);
        place = content ? *content / block.size() * block.size() : place;
        if (content && *content >= directory.size())
            break;
        // One block may stand in a directory again and again.
        visited += block.size();
        if (visited > directory.most_content())
            return fail(ErrorKind::Corrupt, "a directory is longer than its file system");
        const Result<Walk> walk =
            content ? read_and_visit(directory, place, block, visit) : fail(content.error());
        if (walk && *walk == Walk::Enough)
            return {};
        if (walk)
            continue;
        if (!first)
            first = walk.error();
        if (++bad_blocks > kMaxBadBlocks || walk.error().kind() == ErrorKind::Gone)
            return fail(walk.error());
    }
    if (first)
        return fail(*std::move(first));
    return {};
}

std::uint32_t DirectoryIndex::exact_hash(std::string_view name) const {
    return static_cast<std::uint32_t>(name_hash(key_, name));
}

Result<DirectoryIndex> DirectoryIndex::build(FileMap directory, std::size_t limit, const HashKey& key) {
    DirectoryIndex index(std::move(directory), key);
    const Result<void> visited = visit_directory(index.directory_, [&](const DirectoryEntry& entry) {
        index.is_indexed_ = index.entries_.size() < limit;
        if (index.is_indexed_)
            index.entries_.push_back({name_hash(key, folded(entry.name)), index.exact_hash(entry.name),
                                      static_cast<std::uint32_t>(entry.place)});
        return index.is_indexed_;
    });
    if (!visited && visited.error().kind() == ErrorKind::Gone)
        return fail(visited.error());
    if (!visited)
        index.damage_ = visited.error();
    if (!index.is_indexed_)
        index.entries_ = {};
    index.entries_.shrink_to_fit();
    std::sort(index.entries_.begin(), index.entries_.end(), [](const Entry& left, const Entry& right) {
        return std::tie(left.folded, left.exact, left.place) < std::tie(right.folded, right.exact, right.place);
    });
    return index;
}

Result<ext2_ino_t> DirectoryIndex::find_by_hash_tree(std::string_view name) {
    ext2_ino_t inode = 0;
    std::vector<std::byte> block(directory_.block_size());
    const auto look_into = [&](Bytes place) -> Result<bool> {
        DRAY_TRY(read_and_visit(directory_, place, block, [&](const DirectoryEntry& entry) {
            inode = entry.name == name ? entry.inode : 0;
            return inode == 0;
        }));
        return inode == 0;
    };
    DRAY_TRY(visit_hashed(directory_, name, look_into));
    if (inode == 0)
        return fail(ErrorKind::NotFound, "there is no such file (in so large a directory upper and lower case count)");
    return inode;
}

Result<ext2_ino_t> DirectoryIndex::look_at(Bytes place, std::string_view name, bool is_exact) {
    std::array<std::byte, kEntryHeader + kMaxName> bytes{};
    const auto there = static_cast<std::size_t>(std::min<Bytes>(bytes.size(), directory_.size() - place));
    DRAY_TRY(directory_.read_cached(place, std::span(bytes).first(there)));
    const Parsed parsed = parse(bytes);
    const std::string_view found(reinterpret_cast<const char*>(bytes.data() + kEntryHeader), parsed.name_length);
    const bool is_it = is_exact ? found == name : is_same_folded(found, name);
    return is_it ? parsed.inode : 0;
}

Result<ext2_ino_t> DirectoryIndex::find(std::string_view name) {
    const auto not_found = [] { return fail(ErrorKind::NotFound, "there is no such file"); };
    if (name.size() > kMaxName)
        return not_found();
    if (!is_indexed_)
        return find_by_hash_tree(name);
    const std::uint64_t hash = name_hash(key_, folded(name));
    const auto [first, last] = std::equal_range(
        entries_.begin(), entries_.end(), Entry{hash},
        [](const Entry& left, const Entry& right) { return left.folded < right.folded; });
    const std::uint32_t exact = exact_hash(name);
    auto entry = std::lower_bound(first, last, exact, [](const Entry& left, std::uint32_t value) {
        return left.exact < value;
    });
    for (int looked_at = 0; entry != last && entry->exact == exact && looked_at < kMostLookedAt;
         ++entry, ++looked_at) {
        DRAY_LET(const ext2_ino_t inode, look_at(entry->place, name, true));
        if (inode != 0)
            return inode;
    }
    if (damage_)
        return fail(*damage_);
    if (first == last)
        return not_found();
    if (last - first > 1)
        return fail(ErrorKind::NotFound, "there is no such file, but {} that differ in upper and lower case",
                    last - first);
    DRAY_LET(const ext2_ino_t inode, look_at(first->place, name, false));
    if (inode == 0)
        return not_found();
    return inode;
}

}  // namespace dray::fs
