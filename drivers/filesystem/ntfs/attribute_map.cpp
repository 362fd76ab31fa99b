// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/attribute_map.hpp"

#include <algorithm>
#include <cstring>

#include "drivers/filesystem/ntfs/lznt1.hpp"
#include "drivers/filesystem/ntfs/ntfs_bytes.hpp"
#include "drivers/volume/span_read.hpp"

namespace dray::fs {
namespace {

using ntfs::load;
using ntfs::Run;

/// Of an attribute's record: what all have, and what those with runs have.
constexpr std::size_t kResidentHead = 24;
constexpr std::size_t kRunsHead = 64;
constexpr unsigned kCompressionMask = 0x00ff;
constexpr unsigned kCompressed = 0x0001;
constexpr unsigned kEncrypted = 0x4000;
constexpr unsigned kUnitPower = 4;
constexpr Bytes kLargestCompressedCluster = 4 * kKiB;
/// 8 PiB, the longest file of NTFS.
constexpr Bytes kLongestFile = Bytes{1} << 53;

struct Wanted {
    ATTR_TYPES type;
    const ntfschar* name;
    unsigned name_length;
};

Wanted wanted(Part part) {
    switch (part) {
        case Part::Content: return {AT_DATA, AT_UNNAMED, 0};
        case Part::VolumeInformation: return {AT_VOLUME_INFORMATION, AT_UNNAMED, 0};
        case Part::IndexRoot: return {AT_INDEX_ROOT, NTFS_INDEX_I30, 4};
        case Part::IndexBlocks: return {AT_INDEX_ALLOCATION, NTFS_INDEX_I30, 4};
        case Part::IndexBitmap: return {AT_BITMAP, NTFS_INDEX_I30, 4};
        case Part::ReparsePoint: return {AT_REPARSE_POINT, AT_UNNAMED, 0};
    }
    return {AT_DATA, AT_UNNAMED, 0};
}

/// The record of the attribute that holds its cluster `vcn`; lives as long as `search`.
Result<std::span<const std::byte>> find_record(NtfsVolume& volume, ntfs_attr_search_ctx& search, Part part,
                                               std::uint64_t vcn) {
    const Wanted what = wanted(part);
    errno = 0;
    if (ntfs_attr_lookup(what.type, what.name, what.name_length, CASE_SENSITIVE, static_cast<VCN>(vcn), nullptr, 0,
                         &search) != 0) {
        if (errno == ENOENT)
            return fail(ErrorKind::NotFound, "it has no such attribute");
        return fail(volume.device().error_of("its list of attributes is damaged"));
    }
    const auto* record = reinterpret_cast<const std::byte*>(search.mrec);
    const std::span<const std::byte> all(record, load<std::uint32_t>({record, 48}, 28));
    const auto offset = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(search.attr) - record);
    if (offset > all.size() || all.size() - offset < kResidentHead)
        return fail(ErrorKind::Corrupt, "its record is damaged");
    const std::size_t length = load<std::uint32_t>(all, offset + 4);
    if (length < kResidentHead || length > all.size() - offset)
        return fail(ErrorKind::Corrupt, "its record is damaged");
    return all.subspan(offset, length);
}

}  // namespace

Result<AttributeMap> AttributeMap::open(NtfsVolume& volume, ntfs_inode& inode, MftReference reference, Part part) {
    AttributeMap map(volume, reference, part);
    const NtfsSearch search(ntfs_attr_get_search_ctx(&inode, nullptr));
    if (!search)
        return fail(ErrorKind::Internal, "out of memory");
    DRAY_LET(const std::span<const std::byte> record, find_record(volume, *search, part, 0));
    DRAY_TRY(map.take_head(record));
    if (!map.is_resident_ && map.allocated_ > 0)
        DRAY_TRY(map.take_runs(record, 0));
    return map;
}

Result<void> AttributeMap::take_head(std::span<const std::byte> record) {
    const unsigned flags = load<std::uint16_t>(record, 12);
    if ((flags & kEncrypted) != 0)
        return fail(ErrorKind::Unsupported, "it is encrypted by Windows (EFS)");
    is_resident_ = record[8] == std::byte{0};
    if (is_resident_) {
        const std::size_t length = load<std::uint32_t>(record, 16);
        const std::size_t offset = load<std::uint16_t>(record, 20);
        if (offset > record.size() || length > record.size() - offset)
            return fail(ErrorKind::Corrupt, "its record is damaged");
        const std::span<const std::byte> value = record.subspan(offset, length);
        resident_.assign(value.begin(), value.end());
        size_ = initialized_ = allocated_ = length;
        return {};
    }
    is_compressed_ = (flags & kCompressionMask) != 0;
    if (is_compressed_ && ((flags & kCompressionMask) != kCompressed || part_ != Part::Content))
        return fail(ErrorKind::Unsupported, "it is compressed in an unknown way");
    return take_sizes(record);
}

Result<void> AttributeMap::take_sizes(std::span<const std::byte> record) {
    if (record.size() < kRunsHead || load<std::uint64_t>(record, 16) != 0)
        return fail(ErrorKind::Corrupt, "its record is damaged");
    const auto unit_power = static_cast<unsigned>(record[34]);
    if (is_compressed_ && (unit_power != kUnitPower || volume_->cluster_size() > kLargestCompressedCluster))
        return fail(ErrorKind::Unsupported, "it is compressed in an unknown way");
    allocated_ = load<std::uint64_t>(record, 40);
    size_ = load<std::uint64_t>(record, 48);
    initialized_ = load<std::uint64_t>(record, 56);
    if (size_ > kLongestFile || allocated_ > kLongestFile || size_ > allocated_ ||
        allocated_ % volume_->cluster_size() != 0)
        return fail(ErrorKind::Corrupt, "it has an impossible size of {} bytes", size_);
    initialized_ = std::min(initialized_, size_);
    return {};
}

Result<void> AttributeMap::take_runs(std::span<const std::byte> record, std::uint64_t vcn) {
    if (record.size() < kRunsHead || record[8] == std::byte{0})
        return fail(ErrorKind::Corrupt, "its record is damaged");
    const auto first = load<std::uint64_t>(record, 16);
    const auto last = load<std::uint64_t>(record, 24);
    const std::size_t packed = load<std::uint16_t>(record, 32);
    if (packed > record.size() || first > vcn || last < vcn || last >= allocated_ / volume_->cluster_size())
        return fail(ErrorKind::Corrupt, "the list of its clusters is damaged");
    DRAY_LET(runs_, ntfs::unpack_runs(record.subspan(packed), first, last + 1, volume_->clusters()));
    window_begin_ = first;
    window_end_ = last + 1;
    return {};
}

Result<void> AttributeMap::load_runs(std::uint64_t vcn) {
    window_begin_ = window_end_ = 0;
    DRAY_LET(const NtfsInode inode, volume_->open_inode(reference_));
    const NtfsSearch search(ntfs_attr_get_search_ctx(inode.get(), nullptr));
    if (!search)
        return fail(ErrorKind::Internal, "out of memory");
    DRAY_LET(const std::span<const std::byte> record, find_record(*volume_, *search, part_, vcn));
    return take_runs(record, vcn);
}

Result<AttributeMap::Piece> AttributeMap::piece_at(Bytes offset) {
    const Bytes cluster = volume_->cluster_size();
    const std::uint64_t vcn = offset / cluster;
    if (vcn < window_begin_ || vcn >= window_end_)
        DRAY_TRY(load_runs(vcn));
    const auto next = std::upper_bound(runs_.begin(), runs_.end(), vcn,
                                       [](std::uint64_t value, const Run& run) { return value < run.vcn; });
    // The runs have no gaps, so there is one.
    const Run& run = *std::prev(next);
    const Bytes skip = offset - run.vcn * cluster;
    return Piece{run.length * cluster - skip, run.lcn * cluster + skip, run.is_hole};
}

Result<Bytes> AttributeMap::end_of_hole(Bytes offset) {
    while (!is_resident_ && offset < size_) {
        DRAY_LET(const Piece piece, piece_at(offset));
        if (!piece.is_hole)
            break;
        offset += std::min(piece.length, size_ - offset);
    }
    return offset;
}

Result<void> AttributeMap::read_runs(Bytes offset, std::span<std::byte> content, Way way) {
    while (!content.empty()) {
        DRAY_LET(const Piece piece, piece_at(offset));
        const std::span<std::byte> part =
            content.first(static_cast<std::size_t>(std::min<Bytes>(piece.length, content.size())));
        if (piece.is_hole) {
            std::fill(part.begin(), part.end(), std::byte{0});
        } else if (way == Way::Cached) {
            DRAY_TRY(volume_->device().read(piece.place, part));
        } else {
            static thread_local std::vector<std::byte> scratch;
            DRAY_TRY(volume::read_span(volume_->device().device(), piece.place, part, scratch));
        }
        content = content.subspan(part.size());
        offset += part.size();
    }
    return {};
}

/// What the unit at `offset` takes on disk: clusters that are there come first, holes after them.
Result<AttributeMap::Unit> AttributeMap::unit_at(Bytes offset) {
    const Bytes whole = volume_->cluster_size() << kUnitPower;
    // The last one may be cut short.
    const Bytes end = std::min(offset + whole, allocated_);
    Unit unit;
    bool is_over = false;
    for (Bytes at = offset; at < end;) {
        DRAY_LET(const Piece piece, piece_at(at));
        const Bytes length = std::min(piece.length, end - at);
        if (!piece.is_hole && is_over)
            return fail(ErrorKind::Corrupt, "compressed content is damaged");
        is_over = piece.is_hole;
        unit.there += piece.is_hole ? 0 : length;
        at += length;
    }
    unit.is_packed = unit.there > 0 && unit.there < end - offset;
    return unit;
}

Result<void> AttributeMap::unpack(Bytes offset, const Unit& unit) {
    if (!unit_.empty() && unit_at_ == offset)
        return {};
    std::vector<std::byte> packed(static_cast<std::size_t>(unit.there));
    DRAY_TRY(read_runs(offset, packed, Way::Cached));
    unit_.clear();
    std::vector<std::byte> content(static_cast<std::size_t>(volume_->cluster_size() << kUnitPower));
    DRAY_TRY(ntfs::decompress(packed, content));
    unit_ = std::move(content);
    unit_at_ = offset;
    return {};
}

Result<void> AttributeMap::read_compressed(Bytes offset, std::span<std::byte> content) {
    const Bytes whole = volume_->cluster_size() << kUnitPower;
    while (!content.empty()) {
        const Bytes start = offset / whole * whole;
        const auto skip = static_cast<std::size_t>(offset - start);
        DRAY_LET(const Unit unit, unit_at(start));
        auto length = std::min<std::size_t>(content.size(), static_cast<std::size_t>(whole) - skip);
        if (unit.is_packed) {
            DRAY_TRY(unpack(start, unit));
            std::memcpy(content.data(), unit_.data() + skip, length);
        } else {
            // What is kept as it is comes in long reads; holes are zeros all the same.
            for (Bytes next = start + whole; length < content.size(); next += whole) {
                DRAY_LET(const Unit following, unit_at(next));
                if (following.is_packed)
                    break;
                length = std::min(content.size(), length + static_cast<std::size_t>(whole));
            }
            DRAY_TRY(read_runs(offset, content.first(length), Way::Straight));
        }
        content = content.subspan(length);
        offset += length;
    }
    return {};
}

Result<void> AttributeMap::read_part(Bytes offset, std::span<std::byte> content, Way way) {
    if (offset > size_ || content.size() > size_ - offset)
        return fail(ErrorKind::Corrupt, "the file ends at {}, but {} bytes from {} are needed", size_,
                    content.size(), offset);
    if (is_resident_) {
        std::copy_n(resident_.begin() + static_cast<std::ptrdiff_t>(offset), content.size(), content.begin());
        return {};
    }
    const Bytes written = offset < initialized_ ? std::min<Bytes>(initialized_ - offset, content.size()) : 0;
    const std::span<std::byte> there = content.first(static_cast<std::size_t>(written));
    const std::span<std::byte> zeros = content.subspan(there.size());
    std::fill(zeros.begin(), zeros.end(), std::byte{0});
    return is_compressed_ ? read_compressed(offset, there) : read_runs(offset, there, way);
}

Result<void> AttributeMap::read(Bytes offset, std::span<std::byte> content) {
    return read_part(offset, content, Way::Straight);
}

Result<void> AttributeMap::read_cached(Bytes offset, std::span<std::byte> content) {
    return read_part(offset, content, Way::Cached);
}

}  // namespace dray::fs
