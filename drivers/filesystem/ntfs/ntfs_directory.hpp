// SPDX-License-Identifier: Apache-2.0
//
// An NTFS directory: a tree of names, sorted without regard to case by the volume's own table. It is walked here,
// because libntfs-3g follows a tree that leads back into itself for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "drivers/filesystem/ntfs/attribute_map.hpp"

namespace dray::fs {

struct NtfsName {
    std::u16string_view name;
    MftReference reference = 0;
    /// A short name of DOS, which stands beside the long one.
    bool is_short = false;
};

class NtfsDirectory {
public:
    /// NotFound: it is no directory. Else as kind_of().
    static Result<NtfsDirectory> open(NtfsVolume& volume, MftReference reference);

    MftReference reference() const { return reference_; }

    /// Calls `visit` for each name but the short ones of DOS and the file system's own until it answers false. A block
    /// that is damaged or cannot be read is passed over, and its error comes at the end; several of them end it
    /// at once, and so does Gone.
    Result<void> visit(const std::function<bool(const NtfsName&)>& visit);

    /// Exactly this name, else the only one that differs in case, else a short name of DOS. NotFound: none, or
    /// several that differ in case.
    Result<MftReference> find(std::u16string_view name);

private:
    struct Entry {
        NtfsName name;
        std::optional<std::uint64_t> below;
        bool is_end = false;
    };
    /// What a search has met, and how much further it may go.
    struct Search {
        std::u16string_view name;
        bool is_exact = true;
        int blocks_left = 0;
        std::optional<MftReference> exact;
        std::optional<MftReference> folded;
        std::optional<MftReference> short_name;
        bool are_several = false;
    };
    enum class Walk { GoOn, Enough };

    NtfsDirectory(NtfsVolume& volume, MftReference reference) : volume_(&volume), reference_(reference) {}
    Result<void> take_root();
    static Result<std::vector<Entry>> entries_of(std::span<const std::byte> node, std::u16string& names);
    Result<std::vector<std::byte>> read_block(Bytes offset);
    Result<Walk> visit_node(std::span<const std::byte> node, const std::function<bool(const NtfsName&)>& visit) const;
    Result<Walk> visit_block(Bytes offset, const std::function<bool(const NtfsName&)>& visit);
    Result<std::vector<std::byte>> read_bitmap();
    Result<Walk> search_node(std::span<const std::byte> node, Search& search, int depth);
    Result<Walk> search_block(std::uint64_t vcn, Search& search, int depth);
    Walk take(const NtfsName& name, Search& search) const;
    Bytes vcn_unit() const;

    NtfsVolume* volume_;
    MftReference reference_;
    std::vector<std::byte> root_;
    std::optional<AttributeMap> blocks_;
    std::optional<AttributeMap> bitmap_;
    Bytes block_size_ = 0;
};

}  // namespace dray::fs
