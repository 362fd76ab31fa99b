// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_copy.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/base/clock.hpp"
#include "daemon/base/file.hpp"
#include "daemon/ctl/interrupt.hpp"

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

DriveCopy::DriveCopy(const SourceTree& tree, const DrivePlan& plan, drive::Client& client,
                     int spool, std::function<void(Bytes)> show)
    : tree_(tree), plan_(plan), writer_(client), spool_(spool), show_(std::move(show)) {}

Result<Md5Hash> DriveCopy::run() {
    format::ManifestWriter manifest =
        plan_.writer([this](std::string_view text) { return add_to_manifest(text); });
    for (std::size_t entry = 0; entry < tree_.entries().size(); ++entry) {
        if (tree_.entries()[entry].is_directory) {
            DRAY_TRY(writer_.make_directory(tree_.path(entry)));
            continue;
        }
        DRAY_TRY(copy_file(entry));
        DRAY_TRY(manifest.blob(plan_.blob(tree_, entry, hashes_)));
        show_(writer_.bytes_done());
    }
    DRAY_TRY(manifest.finish());
    DRAY_TRY(write_manifest());
    DRAY_TRY(writer_.finish());
    return to_md5(manifest_digest_.finish());
}

Result<void> DriveCopy::copy_file(std::size_t entry) {
    const SourceEntry& file = tree_.entries()[entry];
    const std::string path = tree_.path(entry);
    DRAY_LET(const FileDescriptor source, tree_.open(entry));
    struct stat before {};
    if (fstat(source.get(), &before) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    // The drive was laid out for the size that it had.
    if (static_cast<Bytes>(before.st_size) != file.size)
        return changed(path);

    hashes_.clear();
    piece_length_ = plan_.piece_length_of(file);
    piece_left_ = piece_length_;
    DRAY_TRY(writer_.create(path, file.size, file.modified_usec));
    DRAY_TRY(copy_content(source.get(), path, file.size));
    DRAY_TRY(writer_.close());
    if (piece_left_ != piece_length_)
        hashes_.push_back(to_md5(piece_digest_.finish()));

    struct stat after {};
    if (fstat(source.get(), &after) != 0)
        return fail_errno(errno, "cannot look at {}", path);
    if (!is_same(before, after))
        return changed(path);
    return {};
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
        hash(content);
        DRAY_TRY(writer_.write());
        offset += length;
        show_(writer_.bytes_done());
    }
    return {};
}

void DriveCopy::hash(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const std::size_t part =
            std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(piece_left_));
        piece_digest_.update(bytes.first(part));
        bytes = bytes.subspan(part);
        piece_left_ -= part;
        if (piece_left_ == 0) {
            hashes_.push_back(to_md5(piece_digest_.finish()));
            piece_left_ = piece_length_;
        }
    }
}

Result<void> DriveCopy::add_to_manifest(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    manifest_digest_.update(bytes);
    DRAY_TRY(write_fully(spool_, manifest_size_, bytes, "the temporary file of the manifest"));
    manifest_size_ += text.size();
    return {};
}

Result<void> DriveCopy::write_manifest() {
    // It was counted before; another length would be a mistake of ours, found before it is on a
    // drive.
    if (manifest_size_ != plan_.manifest_size())
        return fail(ErrorKind::Internal, "the manifest has {} bytes, {} were expected",
                    manifest_size_, plan_.manifest_size());
    DRAY_TRY(writer_.create(plan_.manifest_name(), manifest_size_, to_usec(SystemClock().now())));
    for (Bytes offset = 0; offset < manifest_size_;) {
        const Bytes length = std::min(DriveWriter::kExtent, manifest_size_ - offset);
        DRAY_LET(const std::span<std::byte> content, writer_.extent(length));
        DRAY_TRY(read_fully(spool_, offset, content, "the temporary file of the manifest"));
        DRAY_TRY(writer_.write());
        offset += length;
    }
    return writer_.close();
}

}  // namespace dray::ctl
