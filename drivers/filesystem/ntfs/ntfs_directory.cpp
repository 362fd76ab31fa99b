// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_directory.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "drivers/filesystem/ntfs/ntfs_bytes.hpp"
#include "drivers/filesystem/ntfs/ntfs_file.hpp"

namespace dray::fs {
namespace {

using ntfs::load;

constexpr Bytes kMaxDirectory = kGiB;
constexpr Bytes kLargestBlock = 64 * kKiB;
constexpr Bytes kSmallestBlock = 512;
/// More than so many blocks that cannot be read are taken for the whole directory: a look at each may take a
/// disk minutes.
constexpr int kMaxBadBlocks = 16;
/// A tree of a thousand million names is no deeper.
constexpr int kMaxDepth = 16;
/// For one name. More is not needed unless very many names differ in case alone.
constexpr int kMaxSearched = 128;

/// Files and directories of users come behind these.
constexpr std::uint64_t kFirstUserRecord = 24;

constexpr std::size_t kRootHead = 16;
constexpr std::size_t kBlockHead = 24;
/// Of a node, whose offsets count from its own start.
constexpr std::size_t kNodeHead = 16;
constexpr std::size_t kEntryHead = 16;
constexpr unsigned kHasBelow = 1;
constexpr unsigned kIsEnd = 2;
/// Of a name within its entry.
constexpr std::size_t kNameLength = kEntryHead + 64;
constexpr std::size_t kNameSpace = kEntryHead + 65;
constexpr std::size_t kName = kEntryHead + 66;
constexpr std::byte kDosName{2};

auto damaged(std::string_view what) { return fail(ErrorKind::Corrupt, "a directory is damaged: {}", what); }

}  // namespace

Result<NtfsDirectory> NtfsDirectory::open(NtfsVolume& volume, MftReference reference) {
    DRAY_LET(const NtfsInode inode, volume.open_inode(reference));
    DRAY_LET(const NtfsKind kind, kind_of(volume, *inode, reference));
    if (kind != NtfsKind::Directory)
        return fail(ErrorKind::NotFound, "it is not a directory");
    NtfsDirectory directory(volume, reference);
    const auto open_part = [&](Part part) { return AttributeMap::open(volume, *inode, reference, part); };
    // A directory without names would be taken for an empty one: what should be there must be.
    Result<AttributeMap> root = open_part(Part::IndexRoot);
    if (!root)
        return fail(root.error().kind() == ErrorKind::NotFound ? Error(ErrorKind::Corrupt, "it has no list of names")
                                                               : std::move(root.error()));
    if (root->size() < kRootHead + kNodeHead || root->size() > kLargestBlock)
        return damaged("its root has an impossible size");
    directory.root_.resize(static_cast<std::size_t>(root->size()));
    DRAY_TRY(root->read_cached(0, directory.root_));
    DRAY_TRY(directory.take_root());
    for (const auto& [part, map] : {std::pair{Part::IndexBlocks, &directory.blocks_},
                                    std::pair{Part::IndexBitmap, &directory.bitmap_}}) {
        Result<AttributeMap> opened = open_part(part);
        if (opened)
            map->emplace(*std::move(opened));
        else if (opened.error().kind() != ErrorKind::NotFound)
            return fail(std::move(opened.error()));
    }
    return directory;
}

Result<void> NtfsDirectory::take_root() {
    block_size_ = load<std::uint32_t>(root_, 8);
    if (block_size_ < kSmallestBlock || block_size_ > kLargestBlock || !std::has_single_bit(block_size_))
        return damaged("its blocks have an impossible size");
    return {};
}

/// Blocks smaller than a cluster are counted in 512 bytes.
Bytes NtfsDirectory::vcn_unit() const {
    return block_size_ < volume_->cluster_size() ? 512 : volume_->cluster_size();
}

Result<std::vector<NtfsDirectory::Entry>> NtfsDirectory::entries_of(std::span<const std::byte> node,
                                                                    std::u16string& names) {
    const std::size_t first = load<std::uint32_t>(node, 0);
    const std::size_t end = load<std::uint32_t>(node, 4);
    if (first < kNodeHead || first % 8 != 0 || end < first || end > node.size())
        return damaged("a block has no right head");
    std::vector<Entry> entries;
    // So that the views stay where they are.
    names.clear();
    names.reserve(node.size() / 2);
    for (std::size_t at = first; at + kEntryHead <= end;) {
        const std::span<const std::byte> rest = node.subspan(at, end - at);
        const std::size_t length = load<std::uint16_t>(rest, 8);
        const unsigned flags = load<std::uint16_t>(rest, 12);
        const std::size_t least = kEntryHead + ((flags & kHasBelow) != 0 ? 8 : 0);
        if (length < least || length % 8 != 0 || length > rest.size())
            return damaged("an entry has an impossible length");
        Entry entry;
        entry.is_end = (flags & kIsEnd) != 0;
        if ((flags & kHasBelow) != 0)
            entry.below = load<std::uint64_t>(rest, length - 8);
        if (entry.is_end) {
            entries.push_back(entry);
            return entries;
        }
        const std::size_t name_length = length > kName ? static_cast<std::size_t>(rest[kNameLength]) : 0;
        if (name_length == 0 || kName + 2 * name_length + (least - kEntryHead) > length)
            return damaged("an entry has no name");
        const std::size_t start = names.size();
        for (std::size_t i = 0; i < name_length; ++i)
            names += static_cast<char16_t>(load<std::uint16_t>(rest, kName + 2 * i));
        entry.name = {std::u16string_view(names).substr(start), load<std::uint64_t>(rest, 0),
                      rest[kNameSpace] == kDosName};
        entries.push_back(entry);
        at += length;
    }
    return damaged("a block has no end");
}

Result<std::vector<std::byte>> NtfsDirectory::read_block(Bytes offset) {
    std::vector<std::byte> block(static_cast<std::size_t>(block_size_));
    DRAY_TRY(blocks_->read_cached(offset, block));
    if (Result<void> whole = ntfs::unprotect(block, ntfs::kIndexMagic); !whole)
        return fail(std::move(whole.error()), "a directory is damaged at its byte {}", offset);
    if (load<std::uint64_t>(block, 16) != offset / vcn_unit())
        return damaged("a block is in another's place");
    return block;
}

Result<NtfsDirectory::Walk> NtfsDirectory::visit_node(std::span<const std::byte> node,
                                                      const std::function<bool(const NtfsName&)>& visit) const {
    std::u16string names;
    DRAY_LET(const std::vector<Entry> entries, entries_of(node, names));
    for (const Entry& entry : entries)
        if (!entry.is_end && !entry.name.is_short && number_of(entry.name.reference) >= kFirstUserRecord &&
            !visit(entry.name))
            return Walk::Enough;
    return Walk::GoOn;
}

Result<NtfsDirectory::Walk> NtfsDirectory::visit_block(Bytes offset,
                                                       const std::function<bool(const NtfsName&)>& visit) {
    DRAY_LET(const std::vector<std::byte> block, read_block(offset));
    return visit_node(std::span(block).subspan(kBlockHead), visit);
}

/// Which blocks are in use: the others hold old names.
Result<std::vector<std::byte>> NtfsDirectory::read_bitmap() {
    if (blocks_->size() > kMaxDirectory)
        return fail(ErrorKind::LimitReached, "a directory of {} bytes is too long", blocks_->size());
    if (!bitmap_)
        return damaged("it does not say which blocks are in use");
    const Bytes wanted = (blocks_->size() / block_size_ + 7) / 8;
    std::vector<std::byte> bitmap(static_cast<std::size_t>(std::min(bitmap_->size(), wanted)));
    DRAY_TRY(bitmap_->read_cached(0, bitmap));
    bitmap.resize(static_cast<std::size_t>(wanted));
    return bitmap;
}

Result<void> NtfsDirectory::visit(const std::function<bool(const NtfsName&)>& visit) {
    std::optional<Error> first;
    int bad_blocks = 0;
    const auto is_over = [&](const Result<Walk>& walk) {
        if (walk)
            return *walk == Walk::Enough;
        if (!first)
            first = walk.error();
        return ++bad_blocks > kMaxBadBlocks || walk.error().kind() == ErrorKind::Gone;
    };
    bool is_done = is_over(visit_node(std::span(std::as_const(root_)).subspan(kRootHead), visit));
    if (blocks_ && !is_done) {
        DRAY_LET(const std::vector<std::byte> bitmap, read_bitmap());
        Bytes visited = 0;
        for (std::size_t block = 0; block < blocks_->size() / block_size_ && !is_done; ++block) {
            if ((static_cast<unsigned>(bitmap[block / 8]) >> block % 8 & 1) == 0)
                continue;
            // One cluster may stand in a directory again and again.
            visited += block_size_;
            if (visited > volume_->clusters() * volume_->cluster_size())
                return damaged("it is longer than its volume");
            is_done = is_over(visit_block(block * block_size_, visit));
        }
    }
    if (first)
        return fail(*std::move(first));
    return {};
}

NtfsDirectory::Walk NtfsDirectory::take(const NtfsName& name, Search& search) const {
    if (number_of(name.reference) < kFirstUserRecord)
        return Walk::GoOn;
    if (name.name == search.name) {
        search.exact = name.reference;
        return Walk::Enough;
    }
    if (name.is_short) {
        search.short_name = name.reference;
        return Walk::GoOn;
    }
    search.are_several = search.folded.has_value();
    search.folded = name.reference;
    return search.are_several ? Walk::Enough : Walk::GoOn;
}

Result<NtfsDirectory::Walk> NtfsDirectory::search_block(std::uint64_t vcn, Search& search, int depth) {
    if (!blocks_ || depth > kMaxDepth || search.blocks_left-- <= 0)
        return damaged("its tree of names leads nowhere");
    Bytes offset = 0;
    if (__builtin_mul_overflow(vcn, vcn_unit(), &offset) || offset >= blocks_->size())
        return damaged("its tree of names leads nowhere");
    DRAY_LET(const std::vector<std::byte> block, read_block(offset));
    return search_node(std::span(block).subspan(kBlockHead), search, depth);
}

// NOLINTNEXTLINE(misc-no-recursion): kMaxDepth deep at most
Result<NtfsDirectory::Walk> NtfsDirectory::search_node(std::span<const std::byte> node, Search& search, int depth) {
    std::u16string names;
    DRAY_LET(const std::vector<Entry> entries, entries_of(node, names));
    for (const Entry& entry : entries) {
        int order = entry.is_end ? -1 : volume_->compare(search.name, entry.name.name);
        if (order == 0 && search.is_exact)
            order = search.name.compare(entry.name.name);
        if (order > 0)
            continue;
        // All that lies below comes earlier.
        const bool is_it = order == 0 && search.is_exact;
        if (entry.below && !is_it) {
            DRAY_LET(const Walk walk, search_block(*entry.below, search, depth + 1));
            if (walk == Walk::Enough)
                return walk;
        }
        if (entry.is_end)
            return Walk::GoOn;
        // Everything behind a name that comes later comes later still.
        if (order < 0 || take(entry.name, search) == Walk::Enough)
            return Walk::Enough;
    }
    return Walk::GoOn;
}

Result<MftReference> NtfsDirectory::find(std::u16string_view name) {
    const std::span<const std::byte> root = std::span(std::as_const(root_)).subspan(kRootHead);
    Search search{.name = name, .is_exact = true, .blocks_left = kMaxSearched, .exact = {}, .folded = {},
                  .short_name = {}, .are_several = false};
    DRAY_TRY(search_node(root, search, 0));
    if (!search.exact) {
        search = {.name = name, .is_exact = false, .blocks_left = kMaxSearched, .exact = {}, .folded = {},
                  .short_name = {}, .are_several = false};
        DRAY_TRY(search_node(root, search, 0));
    }
    if (search.exact)
        return *search.exact;
    if (search.are_several)
        return fail(ErrorKind::NotFound, "there is no such file, but several that differ in upper and lower case");
    if (search.folded)
        return *search.folded;
    if (search.short_name)
        return *search.short_name;
    return fail(ErrorKind::NotFound, "there is no such file");
}

}  // namespace dray::fs
