// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_reader.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>
#include <utility>

#include "daemon/base/memfd.hpp"
#include "daemon/ctl/key_file.hpp"
#include "daemon/ctl/temporary_file.hpp"
#include "daemon/model/blob_name.hpp"
#include "daemon/model/utf8.hpp"

namespace dray::ctl {
namespace {

/// In the names of manifests, those of prepared drives ("DriveManifest.xml") and of exports ("<serial>.manifest").
constexpr const char* kManifestPart = "manifest";
constexpr std::size_t kMostContainers = 8;

struct OpenDevice {
    FileDescriptor fd;
    Bytes size = 0;
};

Result<Bytes> claim_device(int fd, const std::string& path) {
    std::uint64_t size = 0;
    if (ioctl(fd, BLKGETSIZE64, &size) != 0)
        return fail_errno(errno, "cannot read the size of {}", path);
    if (size == 0)
        return fail(ErrorKind::InvalidArgument, "{} has no medium in it", path);
    return size;
}

Result<OpenDevice> open_device(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0)
        return fail_errno(errno, "cannot open {}", path);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return fail(ErrorKind::InvalidArgument, "{} is neither an image file nor a block device", path);
    // What is mounted changes while it is read.
    const int exclusive = S_ISBLK(status.st_mode) ? O_EXCL : 0;
    OpenDevice device;
    device.fd = FileDescriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | exclusive));
    if (!device.fd && errno == EBUSY)
        return fail(ErrorKind::Busy, "{} is in use: something has mounted or claimed it", path);
    if (!device.fd)
        return fail_errno(errno, "cannot open {}", path);
    if (fstat(device.fd.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    const int flags = fcntl(device.fd.get(), F_GETFL);
    if (flags < 0 || fcntl(device.fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0)
        return fail_errno(errno, "cannot set up {}", path);
    // Who writes to a drive, or copies from it, has locked it; file systems without locks have nobody to ask.
    if (flock(device.fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return fail(ErrorKind::Busy, "{} is in use: another program has locked it", path);
    device.size = static_cast<Bytes>(status.st_size);
    if (exclusive != 0) {
        DRAY_LET(device.size, claim_device(device.fd.get(), path));
    }
    return device;
}

/// Which containers the blobs of a manifest go to.
Result<void> look_for_containers(const manifest::Spool& spool, FoundManifest& found) {
    std::set<std::string> containers;
    DRAY_TRY(spool.walk([&](std::uint64_t, format::ManifestBlob&& blob) -> Result<void> {
        const std::string container = blob.blob_path.substr(0, blob.blob_path.find('/'));
        if (containers.size() < kMostContainers)
            containers.insert(tame(container));
        else if (!containers.contains(tame(container)))
            found.has_more_containers = true;
        return {};
    }));
    found.containers.assign(containers.begin(), containers.end());
    return {};
}

/// With a hint about --key-file where none was given.
Error opening_error(Error error, const DriveSource& source) {
    switch (error.kind()) {
        case ErrorKind::WrongKey:
        case ErrorKind::InvalidArgument:
            if (source.key_file.empty())
                return {ErrorKind::WrongKey,
                        fmt::format("cannot open {}: without --key-file only a drive that is not encrypted opens ({})",
                                    source.path, error.text())};
            [[fallthrough]];
        default: return {std::move(error), "cannot open " + source.path};
    }
}

}  // namespace

std::string volume_words(const std::string& type) {
    if (type == "plain")
        return "not encrypted";
    if (type == "bitlocker")
        return "BitLocker";
    if (type == "luks1")
        return "LUKS1";
    return type == "luks2" ? "LUKS2" : tame(type);
}

Result<std::unique_ptr<DriveReader>> DriveReader::open(const DriveSource& source, Bytes ring) {
    FileDescriptor key;
    if (source.key_file.empty()) {
        // One that opens nothing: an encrypted drive then says that its key is another one.
        constexpr std::byte kNoKey{0};
        DRAY_LET(key, make_sealed_memfd("dray-key", {&kNoKey, 1}));
    } else {
        DRAY_LET(key, key_memfd(source.key_file));
    }
    DRAY_LET(const OpenDevice device, open_device(source.path));
    std::unique_ptr<DriveReader> reader(new DriveReader);
    reader->size_ = device.size;
    drive::Setup setup;
    setup.ring_size = ring;
    // Whose drive it is may look at it however it is.
    setup.allow_plain = true;
    DRAY_LET(reader->process_, DriveProcess::start(device.fd.get(), key.get(), setup));
    drive::Unlock unlock;
    unlock.partition = source.partition;
    Result<drive::Unlocked> volume = reader->client().unlock(unlock);
    if (!volume)
        return fail(opening_error(reader->explained(std::move(volume.error())), source));
    reader->volume_ = *std::move(volume);
    return reader;
}

Result<FoundManifest> DriveReader::look_at(const std::string& path) {
    FoundManifest found;
    found.path = path;
    DRAY_LET(FileDescriptor file, make_temporary_file(temporary_directory()));
    auto copied = manifest::Spool::copy(client(), std::move(file), "the manifest's temporary file", path, "");
    if (!copied)
        return fail(explained(std::move(copied.error())));
    if (!*copied) {
        found.problem = (*copied).error().error.text();
        return found;
    }
    const manifest::Spool& spool = **copied;
    found.hash = spool.hash();
    found.size = spool.size();
    auto contents = spool.check("");
    if (!contents) {
        found.problem = contents.error().error.text();
        return found;
    }
    found.contents = *std::move(contents);
    DRAY_TRY(look_for_containers(spool, found));
    return found;
}

Result<DriveReader::Manifests> DriveReader::find_manifests(const std::string& path) {
    Manifests manifests;
    std::vector<std::string> paths{path};
    if (path.empty()) {
        Result<drive::Found> names = client().find("", kManifestPart);
        if (!names)
            return fail(explained(std::move(names.error())));
        manifests.has_more = names->has_more;
        paths.clear();
        for (const std::string& name : names->names)
            paths.push_back("\\" + name);
    }
    for (const std::string& each : paths) {
        DRAY_LET(FoundManifest found, look_at(each));
        manifests.found.push_back(std::move(found));
    }
    return manifests;
}

Result<manifest::Spool> DriveReader::take_manifest(std::string& path, const std::string& hash) {
    if (path.empty()) {
        DRAY_LET(const Manifests manifests, find_manifests(""));
        std::string names;
        for (const FoundManifest& found : manifests.found) {
            if (!found.problem.empty())
                continue;
            names += (path.empty() ? "" : ", ") + tame(found.path);
            path = found.path;
        }
        if (names.empty() && manifests.found.size() == 1)
            return fail(ErrorKind::Corrupt, "the drive's manifest cannot be used: {}", manifests.found.front().problem);
        if (names.empty())
            return fail(ErrorKind::NotFound, "there is no manifest in the drive's root; name it with --manifest");
        if (names != tame(path))
            return fail(ErrorKind::InvalidArgument, "the drive has several manifests ({}); name one with --manifest",
                        names);
    }
    DRAY_LET(FileDescriptor file, make_temporary_file(temporary_directory()));
    auto copied = manifest::Spool::copy(client(), std::move(file), "the manifest's temporary file", path, hash);
    if (!copied)
        return fail(explained(std::move(copied.error())));
    if (!*copied)
        return fail(std::move((*copied).error().error));
    return **std::move(copied);
}

}  // namespace dray::ctl
