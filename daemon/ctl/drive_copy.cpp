// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_copy.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/base/clock.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/format/checksum_line.hpp"

namespace dray::ctl {
namespace {

Md5Hash to_md5(const std::vector<std::byte>& bytes) {
    Md5Hash hash{};
    std::ranges::copy(bytes, hash.begin());
    return hash;
}

std::unexpected<Error> changed(const std::string& path) {
    return fail(ErrorKind::Conflict,
                "{} changed while it was copied; try again when nobody writes to it", path);
}

bool is_same(const struct stat& before, const struct stat& after) {
    return before.st_size == after.st_size && before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
           before.st_mtim.tv_nsec == after.st_mtim.tv_nsec;
}

/// Fills `content`; shorter only at the file's end.
Result<std::size_t> read_some(int file, Bytes offset, std::span<std::byte> content,
                              const std::string& path) {
    std::size_t got = 0;
    while (got < content.size()) {
        const ssize_t count = pread(file, content.data() + got, content.size() - got,
                                    static_cast<off_t>(offset + got));
        if (count < 0 && errno == EINTR) {
            DRAY_TRY(check_interrupt());
            continue;
        }
        if (count < 0)
            return fail_errno(errno, "cannot read {}", path);
        if (count == 0)
            break;
        got += static_cast<std::size_t>(count);
    }
    return got;
}

}  // namespace

DriveCopy::DriveCopy(const DrivePlan& plan, drive::Client& client, TextSpool manifest, TextSpool checksums,
                     std::function<void(Bytes)> show)
    : plan_(plan),
      writer_(client),
      manifest_(std::move(manifest)),
      checksums_(std::move(checksums)),
      show_(std::move(show)) {}

Result<Md5Hash> DriveCopy::run() {
    format::ManifestWriter manifest = plan_.writer([this](std::string_view text) {
        manifest_digest_.update(std::as_bytes(std::span(text)));
        return manifest_.add(text);
    });
    DRAY_TRY(copy_side_files());
    for (const DriveItem& item : plan_.items()) {
        if (plan_.file_of(item) == nullptr) {
            DRAY_TRY(writer_.make_directory(plan_.place_of(item)));
            continue;
        }
        DRAY_LET(const HashedFile file, copy_file(item));
        if (check_)
            DRAY_TRY(check_(item, file));
        DRAY_TRY(manifest.blob(plan_.blob(item, file.pieces)));
        DRAY_TRY(checksums_.add(format::checksum_line(file.checksum, plan_.place_of(item))));
        show_(writer_.bytes_done());
    }
    DRAY_TRY(manifest.finish());
    DRAY_TRY(write_checksums());
    DRAY_TRY(write_manifest());
    DRAY_TRY(writer_.finish());
    return to_md5(manifest_digest_.finish());
}

Result<void> DriveCopy::copy_side_files() {
    Digest digest(DigestKind::Sha256);
    for (const DrivePlan::SideFile& side : plan_.side_files()) {
        const std::string& content = plan_.sources().side_files()[side.index].content;
        const auto bytes = std::as_bytes(std::span(content));
        DRAY_TRY(write_file(side.name, bytes.size(), [&](Bytes offset, std::span<std::byte> extent) -> Result<void> {
            std::ranges::copy(bytes.subspan(static_cast<std::size_t>(offset), extent.size()), extent.begin());
            return {};
        }));
        digest.update(bytes);
        DRAY_TRY(checksums_.add(format::checksum_line(digest.finish(), side.name)));
    }
    return {};
}

Result<HashedFile> DriveCopy::copy_file(const DriveItem& item) {
    const SourceEntry& file = *plan_.file_of(item);
    const BlobSource& from = plan_.sources().sources()[item.source];
    const std::string path = from.tree.path(item.entry);
    DRAY_LET(const FileDescriptor source, from.tree.open(item.entry));
    struct stat before {};
    if (fstat(source.get(), &before) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    // The drive was laid out for the size that it had.
    if (static_cast<Bytes>(before.st_size) != file.size)
        return changed(path);

    hasher_.begin(plan_.piece_length_of(item), plan_.is_page_blob(item));
    DRAY_TRY(writer_.create(plan_.place_of(item), file.size, file.modified_usec));
    DRAY_TRY(copy_content(source.get(), path, file.size));
    DRAY_TRY(writer_.close());

    struct stat after {};
    if (fstat(source.get(), &after) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    if (!is_same(before, after))
        return changed(path);
    return hasher_.finish();
}

Result<void> DriveCopy::copy_content(int file, const std::string& path, Bytes size) {
    if (size > DriveWriter::kExtent)
        (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);  // advice only
    for (Bytes offset = 0; offset < size;) {
        const Bytes length = std::min(DriveWriter::kExtent, size - offset);
        DRAY_LET(const std::span<std::byte> content, writer_.extent(length));
        DRAY_LET(const std::size_t got, read_some(file, offset, content, path));
        if (got != length)
            return changed(path);
        // Before it is sent: dray-drive encrypts it where it is.
        hasher_.update(content);
        DRAY_TRY(writer_.write());
        offset += length;
        show_(writer_.bytes_done());
    }
    return {};
}

Result<void> DriveCopy::write_checksums() {
    DRAY_TRY(checksums_.flush());
    if (checksums_.size() != plan_.checksums_size())
        return fail(ErrorKind::Internal, "the checksums have {} bytes, {} were expected", checksums_.size(),
                    plan_.checksums_size());
    return write_file(plan_.checksums_name(), checksums_.size(),
                      [&](Bytes offset, std::span<std::byte> extent) { return checksums_.read(offset, extent); });
}

Result<void> DriveCopy::write_manifest() {
    DRAY_TRY(manifest_.flush());
    // It was counted before; a longer one would be a mistake of ours, found before it is on a drive.
    if (manifest_.size() > plan_.manifest_bound())
        return fail(ErrorKind::Internal, "the manifest has {} bytes, at most {} were expected", manifest_.size(),
                    plan_.manifest_bound());
    return write_file(plan_.manifest_name(), manifest_.size(),
                      [&](Bytes offset, std::span<std::byte> extent) { return manifest_.read(offset, extent); });
}

Result<void> DriveCopy::write_file(const std::string& path, Bytes size, const Fill& fill) {
    DRAY_TRY(writer_.create(path, size, to_usec(SystemClock().now())));
    for (Bytes offset = 0; offset < size;) {
        const Bytes length = std::min(DriveWriter::kExtent, size - offset);
        DRAY_LET(const std::span<std::byte> content, writer_.extent(length));
        DRAY_TRY(fill(offset, content));
        DRAY_TRY(writer_.write());
        offset += length;
    }
    return writer_.close();
}

}  // namespace dray::ctl
