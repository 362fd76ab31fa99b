// SPDX-License-Identifier: Apache-2.0
//
// Copies what a plan says onto a formatted drive, and writes the checksums and, last, the manifest: a drive whose copy was
// cut off has none, and is refused as a whole. Each byte of the sources is read once, and hashed on the way.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/drive_plan.hpp"
#include "daemon/ctl/drive_writer.hpp"
#include "daemon/ctl/piece_hasher.hpp"
#include "daemon/ctl/temporary_file.hpp"

namespace dray::ctl {

class DriveCopy {
public:
    /// `plan` and `client` must outlive it. The spools are for manifest and checksums, `show` is told the bytes done.
    DriveCopy(const DrivePlan& plan, drive::Client& client, TextSpool manifest, TextSpool checksums,
              std::function<void(Bytes)> show);

    /// What a file was found to be must be allowed by this, if it was set: its error ends the copy.
    using Check = std::function<Result<void>(const DriveItem& item, const HashedFile& file)>;
    void set_check(Check check) { check_ = std::move(check); }

    /// Everything, flushed. Conflict: a file changed while it was copied; the error names it. The
    /// manifest's MD5.
    Result<Md5Hash> run();

private:
    Result<void> copy_side_files();
    Result<HashedFile> copy_file(const DriveItem& item);
    Result<void> copy_content(int file, const std::string& path, Bytes size);
    Result<void> write_checksums();
    Result<void> write_manifest();
    /// A file of `size` bytes whose content `fill` puts into extent after extent.
    using Fill = std::function<Result<void>(Bytes offset, std::span<std::byte> extent)>;
    Result<void> write_file(const std::string& path, Bytes size, const Fill& fill);

    const DrivePlan& plan_;
    DriveWriter writer_;
    TextSpool manifest_;
    TextSpool checksums_;
    std::function<void(Bytes)> show_;
    Check check_;
    Digest manifest_digest_{DigestKind::Md5};
    PieceHasher hasher_;
};

}  // namespace dray::ctl
