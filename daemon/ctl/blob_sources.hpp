// SPDX-License-Identifier: Apache-2.0
//
// What goes onto drives: directories and files of the caller's, and what becomes of them in a store. Looked at, and
// everything that can be wrong with it said, before anything is written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/source_tree.hpp"
#include "daemon/format/dataset.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::ctl {

/// Where the blobs go: "lab", "lab/" and "lab/in" are a container and the start of the blobs'
/// names. InvalidArgument: no legal container, an empty component.
Result<std::string> parse_container(std::string_view text);

/// A metadata or properties file, read and found to be one.
struct SourceSideFile {
    bool is_metadata = false;
    std::string content;
    Md5Hash hash{};
};

struct BlobSource {
    SourceTree tree;
    /// Of the drive's root, where its files lie; "" for the root itself.
    std::string directory;
    /// Ends with '/'; of a source that is one file, the whole of its blob's path.
    std::string destination;
    bool is_one_file = false;
    format::Disposition disposition = format::Disposition::Rename;
    /// Nothing: by the files' names.
    std::optional<format::BlobType> type;
    /// Which of the side files.
    std::optional<std::size_t> metadata;
    std::optional<std::size_t> properties;

    /// Where an entry of the tree lies on the drive, with '/' between the components.
    std::string place(std::size_t entry) const;
    std::string blob_path(std::size_t entry) const;
    bool is_page_blob(std::size_t entry) const;
};

struct SourceOptions {
    /// A directory and its container, or a dataset file; one of both.
    std::string directory;
    std::string container;
    std::string dataset;
    // Of a directory; in a dataset each row has its own.
    std::string disposition = "rename";
    std::string blob_type = "block";
    std::string metadata_file;
    std::string properties_file;
    /// As SourceTree::Patterns.
    std::vector<std::string> excludes;
};

class BlobSources {
public:
    /// InvalidArgument: options, a dataset or a name that cannot be; a page blob whose file is no multiple of 512 bytes;
    /// no file at all. Corrupt: a metadata or properties file that is none. Others as SourceTree::walk().
    static Result<BlobSources> look_at(const SourceOptions& options);

    /// Sources that were looked at elsewhere: one file each, which name their side files by their place.
    static BlobSources of_files(std::vector<BlobSource> sources, std::vector<SourceSideFile> side_files);

    const std::vector<BlobSource>& sources() const { return sources_; }
    const std::vector<SourceSideFile>& side_files() const { return side_files_; }
    std::uint64_t files() const { return files_; }
    Bytes bytes() const { return bytes_; }
    /// As SourceTree's, of all of them.
    std::uint64_t left_out_count() const;
    std::uint64_t excluded_count() const;
    /// Directories and files that were named, for those who must not lie in them.
    const std::vector<std::string>& paths() const { return paths_; }

private:
    Result<void> add_directory(const SourceOptions& options);
    Result<void> add_row(const format::DatasetRow& row, const SourceOptions& options);
    Result<void> add(BlobSource source);
    Result<std::optional<std::size_t>> add_side_file(const std::string& path, bool is_metadata);

    std::vector<BlobSource> sources_;
    std::vector<SourceSideFile> side_files_;
    std::vector<std::string> paths_;
    std::uint64_t files_ = 0;
    Bytes bytes_ = 0;
};

}  // namespace dray::ctl
