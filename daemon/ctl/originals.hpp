// SPDX-License-Identifier: Apache-2.0
//
// The files of which a drive was made: found again below the directories of their owner, and compared with what the
// drive's manifest says.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/ctl/blob_sources.hpp"
#include "daemon/ctl/path_map.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::ctl {

/// Changed: there is a file, and its content is another one. Several: more than one file is right, and only its owner
/// knows which is meant.
enum class SearchResult { Right, Missing, Changed, Several, Unreadable };
/// "right", "missing", "changed", "several", "unreadable".
std::string_view to_string(SearchResult result);

struct Original {
    SearchResult result = SearchResult::Missing;
    /// The file that was looked at last; of a Right one, the file.
    std::string path;
    /// SHA-256 of a Right one: what is copied later must have it still.
    std::vector<std::byte> checksum;
    /// A sentence for the others.
    std::string reason;
};

class Originals {
public:
    /// `directories`: looked at in each of them is the file's path on the drive, and that path without its first
    /// directory (which a dataset adds). A real path of `map` goes before them. `show` is told the bytes that were read.
    Originals(std::vector<std::string> directories, const PathMap& map, std::function<void(Bytes)> show);

    /// The file of a blob: as long as the blob, and each piece with its hash. Cancelled: a signal came.
    Result<Original> find(const format::ManifestBlob& blob);
    /// The content of a metadata or properties file that has this hash. NotFound: none has.
    Result<std::string> find_side_file(const format::SideFile& file) const;

private:
    std::vector<std::string> candidates(const std::string& drive_path) const;
    Result<Original> look_at(const std::string& path, const format::ManifestBlob& blob);

    std::vector<std::string> directories_;
    const PathMap& map_;
    std::function<void(Bytes)> show_;
    Bytes bytes_read_ = 0;
};

}  // namespace dray::ctl
