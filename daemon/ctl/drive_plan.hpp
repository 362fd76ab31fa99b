// SPDX-License-Identifier: Apache-2.0
//
// What will be on a drive, known before a byte of it is written: its files, the blobs of its manifest, the names of what
// dray adds, and how large the drive must be.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/blob_sources.hpp"
#include "daemon/ctl/drive_room.hpp"
#include "daemon/ctl/piece_hasher.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::ctl {

/// InvalidArgument: below 4 KiB, or above what a manifest takes.
Result<void> check_block_size(Bytes block_size);
/// How long the pieces of a block blob are: `block_size`, or more, in whole MiB, where that would make more pieces than a
/// blob may have.
Bytes piece_length(Bytes file_size, Bytes block_size);
/// The same for the stretches of a page blob: in multiples of 512, and no longer than a page range may be.
Bytes stretch_length(Bytes file_size, Bytes block_size);

/// A file or directory of a source.
struct DriveItem {
    std::uint32_t source = 0;
    /// SourceEntry::kRoot is the directory in which all of the source's files lie.
    std::uint32_t entry = SourceEntry::kRoot;
};

struct PlanOptions {
    std::string serial;
    Bytes block_size = 4 * kMiB;
};

class DrivePlan {
public:
    /// A metadata or properties file and its name in the drive's root.
    struct SideFile {
        std::size_t index = 0;
        std::string name;
    };

    /// Everything that the sources have, in their order: each directory before what is in it.
    static std::vector<DriveItem> all_items(const BlobSources& sources);
    /// `sources` must outlive it. `items` are in the order of all_items(). LimitReached: no drive or manifest can hold
    /// that much.
    static Result<DrivePlan> make(const BlobSources& sources, std::vector<DriveItem> items, PlanOptions options);

    const BlobSources& sources() const { return *sources_; }
    const std::vector<DriveItem>& items() const { return items_; }
    const std::vector<SideFile>& side_files() const { return side_files_; }
    /// In the root of the drive, as file systems name it. No file of the sources has this name.
    const std::string& manifest_name() const { return manifest_name_; }
    /// As manifests and jobs name it: with a leading backslash.
    std::string manifest_path() const { return "\\" + manifest_name_; }
    /// The finished manifest has no more bytes; just as many, unless there are page blobs.
    Bytes manifest_bound() const { return room_.manifest(); }
    /// Of the file with the checksums; its size is exact.
    const std::string& checksums_name() const { return checksums_name_; }
    Bytes checksums_size() const { return room_.checksums(); }
    std::uint64_t inodes() const { return room_.inodes(); }
    /// The smallest drive that is sure to hold it all.
    Bytes needed_size() const { return room_.needed(); }
    /// Of the sources' files.
    std::uint64_t files() const { return files_; }
    std::uint64_t directories() const { return items_.size() - files_; }
    Bytes bytes() const { return bytes_; }

    const SourceEntry* file_of(const DriveItem& item) const;
    std::string place_of(const DriveItem& item) const;
    bool is_page_blob(const DriveItem& item) const;
    Bytes piece_length_of(const DriveItem& item) const;
    /// The manifest's blob for a file with these pieces.
    format::ManifestBlob blob(const DriveItem& item, std::span<const HashedPiece> pieces) const;
    format::ManifestWriter writer(format::ManifestWriter::Sink sink) const;

private:
    void choose_names();
    std::string free_name(std::set<std::string>& taken, std::string_view stem, std::string_view extension) const;
    Result<void> measure_manifest();
    Result<void> measure_files();
    const std::string& side_file_name(std::size_t index) const;

    const BlobSources* sources_ = nullptr;
    std::vector<DriveItem> items_;
    PlanOptions options_;
    std::vector<SideFile> side_files_;
    std::string manifest_name_;
    std::string checksums_name_;
    DriveRoom room_;
    std::uint64_t files_ = 0;
    Bytes bytes_ = 0;
};

}  // namespace dray::ctl
