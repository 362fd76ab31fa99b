// SPDX-License-Identifier: Apache-2.0
//
// How large a drive must be for what goes onto it. Everything is added file by file, so that it is also known whether one
// more fits.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/base/units.hpp"

namespace dray::ctl {

class DriveRoom {
public:
    /// Of ext4 with blocks of 4 KiB.
    static constexpr Bytes kMaxFile = Bytes{16} * 1024 * kGiB - 4 * kKiB;
    /// What no drive has.
    static constexpr Bytes kMaxContent = kMaxFile * 8;

    void add_directory(std::string_view name);
    void add_file(std::string_view name, Bytes size);
    /// A file that grows with the others, as the manifest does: so many more bytes of it.
    void add_to_manifest(Bytes bytes) { manifest_ += bytes; }
    void add_to_checksums(Bytes bytes) { checksums_ += bytes; }

    Bytes manifest() const { return manifest_; }
    Bytes checksums() const { return checksums_; }
    /// Files and directories, manifest and checksums among them.
    std::uint64_t inodes() const { return inodes_ + 2; }
    /// More than kMaxContent: of no use any more.
    Bytes content() const;
    /// The smallest drive that is sure to hold it all, a multiple of 1 MiB.
    Bytes needed() const;

private:
    void add_name(std::string_view name);

    Bytes content_ = 0;
    Bytes names_ = 0;
    std::uint64_t inodes_ = 0;
    Bytes manifest_ = 0;
    Bytes checksums_ = 0;
};

}  // namespace dray::ctl
