// SPDX-License-Identifier: Apache-2.0
//
// What the files of an export are called on the drive (azure-import-export.md 5.4): names that NTFS, ext4 and Windows can hold,
// none of which differs from another in case alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "daemon/base/result.hpp"
#include "daemon/model/blob_name.hpp"

namespace dray::transfer {

/// One component as it is, or, where some system cannot hold it, with 16 digits of its MD5 in its place and the extension kept.
std::string drive_component(std::string_view component);

/// "container/dir/name" with each component as above; of a snapshot with its time before the extension.
std::string drive_path(const BlobName& name);

/// The names of one drive. Memory: 8 bytes for each file and directory. One thread.
class DriveNames {
public:
    /// First for every blob of the drive, and for what else is in its root: where there is a directory, no file can be.
    void expect_directories_of(const BlobName& name);
    void reserve(std::string_view path);

    /// Then for every one, in an order that stays the same: a path with '/' between its components that no other has.
    /// NotFound: there is none up to (9999).
    Result<std::string> file_of(const BlobName& name);
    /// The same for a file that belongs to another: "properties", "metadata".
    Result<std::string> side_file_of(const std::string& file, std::string_view extension);

    std::uint64_t directories() const { return directories_.size(); }

private:
    Result<std::string> free_path(const std::string& wanted);
    static std::uint64_t hash_of(std::string_view path);

    /// Of paths without regard to case. Two that are one here only get a number too many.
    std::unordered_set<std::uint64_t> directories_;
    std::unordered_set<std::uint64_t> files_;
};

}  // namespace dray::transfer
