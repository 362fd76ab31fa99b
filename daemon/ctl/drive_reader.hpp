// SPDX-License-Identifier: Apache-2.0
//
// A drive opened for reading by a verb: an image or a device, its key, dray-drive at work on it, and the manifests that
// are found there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/drive_process.hpp"
#include "daemon/manifest/spool.hpp"

namespace dray::ctl {

/// Which drive, and how it is opened.
struct DriveSource {
    /// An image file or a block device.
    std::string path;
    /// "" for a drive that is not encrypted.
    std::string key_file;
    /// As the kernel counts; 0: the first for data.
    std::uint32_t partition = 0;
};

/// A file of a drive's root that is a manifest by its name, and what became of reading it.
struct FoundManifest {
    /// With a leading backslash, as jobs name it.
    std::string path;
    /// MD5 in hex, which add-drive asks for; "" when it could not be read.
    std::string hash;
    Bytes size = 0;
    manifest::Contents contents;
    /// The containers of its blobs, the first ones in order of their names.
    std::vector<std::string> containers;
    bool has_more_containers = false;
    /// Why it cannot be used, in a sentence; "" when it can.
    std::string problem;
};

class DriveReader {
public:
    /// Unlocks the drive with a ring of so many bytes between it and us. catch_interrupts() was called before.
    /// Busy: something has the device or image open for itself. WrongKey, Unsupported, Corrupt: as dray-drive says.
    static Result<std::unique_ptr<DriveReader>> open(const DriveSource& source, Bytes ring);

    drive::Client& client() { return process_->client(); }
    const drive::Unlocked& volume() const { return volume_; }
    /// Of the image or device.
    Bytes size() const { return size_; }
    /// What is known about the end of dray-drive, see DriveProcess.
    Error explained(Error error) { return process_->explained(std::move(error)); }

    struct Manifests {
        std::vector<FoundManifest> found;
        /// There are more files of such names than were looked at.
        bool has_more = false;
    };
    /// Those in the root, by their names; or the one at `path`, whatever it is called, unless that is "".
    Result<Manifests> find_manifests(const std::string& path);
    /// The spool of the manifest at `path`, or of the only usable one in the root; `path` is set to where it was.
    /// NotFound: none. InvalidArgument: several. Corrupt: its hash is not `hash`, unless that is "".
    Result<manifest::Spool> take_manifest(std::string& path, const std::string& hash);

private:
    DriveReader() = default;
    Result<FoundManifest> look_at(const std::string& path);

    std::unique_ptr<DriveProcess> process_;
    drive::Unlocked volume_;
    Bytes size_ = 0;
};

/// "LUKS2", "BitLocker", "not encrypted".
std::string volume_words(const std::string& type);

}  // namespace dray::ctl
