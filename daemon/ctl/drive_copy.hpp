// SPDX-License-Identifier: Apache-2.0
//
// Copies a source onto a formatted drive and writes its manifest last: a drive whose copy was cut
// off has none, and is refused as a whole. Each byte of the source is read once, and hashed on the
// way.
#pragma once

#include <functional>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/drive_plan.hpp"
#include "daemon/ctl/drive_writer.hpp"
#include "daemon/ctl/source_tree.hpp"

namespace dray::ctl {

class DriveCopy {
public:
    /// All must outlive it. `spool` is an empty file for the manifest, `show` is told the bytes
    /// done.
    DriveCopy(const SourceTree& tree, const DrivePlan& plan, drive::Client& client, int spool,
              std::function<void(Bytes)> show);

    /// Everything, flushed. Conflict: a file changed while it was copied; the error names it. The
    /// manifest's MD5.
    Result<Md5Hash> run();

private:
    Result<void> copy_file(std::size_t entry);
    Result<void> copy_content(int file, const std::string& path, Bytes size);
    Result<void> add_to_manifest(std::string_view text);
    Result<void> write_manifest();
    /// Digests of the pieces, fed with the file's bytes in any portions.
    void hash(std::span<const std::byte> bytes);

    const SourceTree& tree_;
    const DrivePlan& plan_;
    DriveWriter writer_;
    int spool_;
    std::function<void(Bytes)> show_;
    Digest manifest_digest_{DigestKind::Md5};
    Bytes manifest_size_ = 0;

    Digest piece_digest_{DigestKind::Md5};
    Bytes piece_length_ = 0;
    Bytes piece_left_ = 0;
    std::vector<Md5Hash> hashes_;
};

}  // namespace dray::ctl
