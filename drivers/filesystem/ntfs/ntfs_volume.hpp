// SPDX-License-Identifier: Apache-2.0
//
// An NTFS as libntfs-3g has opened it, never to be written, and what the rooms of this folder need of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/filesystem/ntfs/ntfs_device.hpp"
#include "drivers/filesystem/ntfs/ntfs_library.hpp"

namespace dray::fs {

/// Number and sequence of an MFT record.
using MftReference = std::uint64_t;

constexpr std::uint64_t number_of(MftReference reference) { return reference & 0x0000'ffff'ffff'ffff; }

class NtfsVolume {
public:
    /// Corrupt: damaged where everything begins, or longer than its device. Unsupported: sizes that no Windows
    /// uses. `device` must outlive it.
    static Result<std::unique_ptr<NtfsVolume>> open(volume::BlockDevice& device);

    NtfsDevice& device() { return device_; }
    Bytes cluster_size() const { return cluster_size_; }
    std::uint64_t clusters() const { return clusters_; }

    /// Corrupt: no such file, or a damaged record.
    Result<NtfsInode> open_inode(MftReference reference);

    /// The volume's own table of upper case; without it, libntfs-3g's.
    void set_upcase(std::vector<char16_t> table) { upcase_ = std::move(table); }
    char16_t upper(char16_t letter) const { return letter < upcase_.size() ? upcase_[letter] : letter; }
    /// As NTFS sorts names: without regard to case.
    int compare(std::u16string_view left, std::u16string_view right) const;

private:
    struct Unmount {
        void operator()(ntfs_volume* volume) const noexcept { (void)ntfs_umount(volume, FALSE); }
    };
    explicit NtfsVolume(volume::BlockDevice& device) : device_(device) {}
    Result<void> check_boot_sector();

    NtfsDevice device_;
    std::unique_ptr<ntfs_volume, Unmount> library_;
    Bytes cluster_size_ = 0;
    std::uint64_t clusters_ = 0;
    std::vector<char16_t> upcase_;
};

}  // namespace dray::fs
