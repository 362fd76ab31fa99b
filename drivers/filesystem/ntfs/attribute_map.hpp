// SPDX-License-Identifier: Apache-2.0
//
// One attribute of a file: how long it is, and where its content lies. libntfs-3g finds and checks the records; the
// runs are unpacked here, a record at a time, so that a map has a bounded size however many pieces there are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ntfs/ntfs_volume.hpp"
#include "drivers/filesystem/ntfs/run_list.hpp"

namespace dray::fs {

/// The attributes that are read of a file.
enum class Part { Content, VolumeInformation, IndexRoot, IndexBlocks, IndexBitmap, ReparsePoint };

class AttributeMap {
public:
    /// NotFound: the file has no such attribute. Corrupt: a damaged one. Unsupported: encrypted (EFS), or
    /// compressed in a way that Windows never used. `volume` must outlive the map.
    static Result<AttributeMap> open(NtfsVolume& volume, ntfs_inode& inode, MftReference reference, Part part);

    MftReference reference() const { return reference_; }
    Bytes size() const { return size_; }

    /// Content, straight from the device unless it is compressed. Corrupt: beyond the size, or runs that make no
    /// sense.
    Result<void> read(Bytes offset, std::span<std::byte> content);
    /// Metadata, through the cache.
    Result<void> read_cached(Bytes offset, std::span<std::byte> content);
    /// Where the hole ends that `offset` lies in; `offset` itself if it lies in none.
    Result<Bytes> end_of_hole(Bytes offset);

private:
    enum class Way { Straight, Cached };
    /// So many bytes from an offset lie together at `place`, or are a hole.
    struct Piece {
        Bytes length = 0;
        Bytes place = 0;
        bool is_hole = false;
    };
    /// What a unit of a compressed file is: zeros, kept as it is, or packed into its first clusters.
    struct Unit {
        bool is_packed = false;
        Bytes there = 0;
    };

    AttributeMap(NtfsVolume& volume, MftReference reference, Part part)
        : volume_(&volume), reference_(reference), part_(part) {}
    Result<void> take_head(std::span<const std::byte> record);
    Result<void> take_sizes(std::span<const std::byte> record);
    Result<void> take_runs(std::span<const std::byte> record, std::uint64_t vcn);
    Result<void> load_runs(std::uint64_t vcn);
    Result<Piece> piece_at(Bytes offset);
    Result<void> read_part(Bytes offset, std::span<std::byte> content, Way way);
    Result<void> read_runs(Bytes offset, std::span<std::byte> content, Way way);
    Result<void> read_compressed(Bytes offset, std::span<std::byte> content);
    Result<Unit> unit_at(Bytes offset);
    Result<void> unpack(Bytes offset, const Unit& unit);

    NtfsVolume* volume_;
    MftReference reference_;
    Part part_;
    Bytes size_ = 0;
    /// What lies behind was never written and reads as zeros.
    Bytes initialized_ = 0;
    Bytes allocated_ = 0;
    bool is_resident_ = false;
    bool is_compressed_ = false;
    std::vector<std::byte> resident_;

    /// The runs of the clusters [window_begin_, window_end_), those of one record.
    std::vector<ntfs::Run> runs_;
    std::uint64_t window_begin_ = 0;
    std::uint64_t window_end_ = 0;

    /// The last unit that was unpacked, and its place.
    std::vector<std::byte> unit_;
    Bytes unit_at_ = 0;
};

}  // namespace dray::fs
