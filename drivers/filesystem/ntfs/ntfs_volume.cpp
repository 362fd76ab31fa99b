// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_volume.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "drivers/filesystem/ntfs/ntfs_bytes.hpp"

namespace dray::fs {
namespace {

using ntfs::load;

constexpr std::size_t kBootSector = 512;
constexpr Bytes kLargestCluster = 2 * kMiB;
constexpr Bytes kSmallestRecord = 1024;
constexpr Bytes kLargestRecord = 4096;
constexpr Bytes kLargestIndexBlock = 64 * kKiB;
/// The boot sector and one record for each piece of the MFT; an MFT in a thousand pieces is already a slow one, and
/// the library searches them all for each record.
constexpr std::uint64_t kReadsToOpen = 1500;
/// One record, its attribute list in pieces, and a record of that.
constexpr std::uint64_t kReadsForOne = 1024;

/// Sizes stand there as a number of clusters, or negative, as a power of two.
Bytes size_of(std::byte value, Bytes cluster) {
    const auto number = static_cast<std::int8_t>(value);
    if (number >= 0)
        return static_cast<Bytes>(number) * cluster;
    return number >= -31 ? Bytes{1} << -number : 0;
}

bool is_size(Bytes value, Bytes least, Bytes most) {
    return value >= least && value <= most && std::has_single_bit(value);
}

}  // namespace

Result<void> NtfsVolume::check_boot_sector() {
    std::array<std::byte, kBootSector> sector{};
    DRAY_TRY(device_.read(0, sector));
    const Bytes sector_size = load<std::uint16_t>(sector, 11);
    const auto per_cluster = static_cast<unsigned>(sector[13]);
    if (!is_size(sector_size, 512, 4096))
        return fail(ErrorKind::Corrupt, "the boot sector is damaged: sectors of {} bytes", sector_size);
    cluster_size_ = sector_size * (per_cluster <= 128 ? per_cluster : Bytes{1} << std::min(256 - per_cluster, 31U));
    if (!is_size(cluster_size_, 512, kLargestCluster))
        return fail(ErrorKind::Corrupt, "the boot sector is damaged: clusters of {} bytes", cluster_size_);
    const Bytes record = size_of(sector[64], cluster_size_);
    if (!is_size(record, kSmallestRecord, kLargestRecord))
        return fail(ErrorKind::Unsupported, "an NTFS with MFT records of {} bytes cannot be read", record);
    const Bytes index_block = size_of(sector[68], cluster_size_);
    if (!is_size(index_block, 512, std::max(kLargestIndexBlock, cluster_size_)))
        return fail(ErrorKind::Unsupported, "an NTFS with index blocks of {} bytes cannot be read", index_block);
    const auto sectors = load<std::uint64_t>(sector, 40);
    if (sectors == 0 || sectors > device_.device().size() / sector_size)
        return fail(ErrorKind::Corrupt, "the NTFS has {} sectors of {} bytes, but its volume ends at {}", sectors,
                    sector_size, device_.device().size());
    clusters_ = sectors * sector_size / cluster_size_;
    return {};
}

Result<std::unique_ptr<NtfsVolume>> NtfsVolume::open(volume::BlockDevice& device) {
    std::unique_ptr<NtfsVolume> volume(new NtfsVolume(device));
    DRAY_TRY(volume->check_boot_sector());
    volume->device_.allow_reads(kReadsToOpen);
    // Less than a mount: neither the log nor the tables that only writers need are asked for.
    volume->library_.reset(ntfs_volume_startup(volume->device_.handle(), NTFS_MNT_RDONLY));
    if (!volume->library_)
        return fail(volume->device_.error_of("the NTFS cannot be opened: its MFT is damaged"));
    volume->device_.give_away_handle();
    const ntfs_volume& opened = *volume->library_;
    volume->upcase_.assign(opened.upcase, opened.upcase + opened.upcase_len);
    return volume;
}

Result<NtfsInode> NtfsVolume::open_inode(MftReference reference) {
    device_.allow_reads(kReadsForOne);
    errno = 0;
    NtfsInode inode(ntfs_inode_open(library_.get(), reference));
    if (!inode)
        return fail(device_.error_of(fmt::format("MFT record {} {}", number_of(reference),
                                                 errno == ENOENT ? "is not in use" : "cannot be read")));
    if (MREF_LE(inode->mrec->base_mft_record) != 0)
        return fail(ErrorKind::Corrupt, "MFT record {} is a part of another", number_of(reference));
    return inode;
}

int NtfsVolume::compare(std::u16string_view left, std::u16string_view right) const {
    const std::size_t common = std::min(left.size(), right.size());
    for (std::size_t i = 0; i < common; ++i) {
        const char16_t one = upper(left[i]);
        const char16_t other = upper(right[i]);
        if (one != other)
            return one < other ? -1 : 1;
    }
    return left.size() == right.size() ? 0 : left.size() < right.size() ? -1 : 1;
}

}  // namespace dray::fs
