// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/directory/directory_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "daemon/base/file.hpp"

namespace dray::store {
namespace {

/// Content passes through this much private memory, small enough to stay in the cache.
constexpr std::size_t kChunk = 128 * kKiB;
/// From here on a full disk is better found before the work than after it.
constexpr Bytes kPreallocate = kMiB;
constexpr Md5Hash kNoHash{};

bool is_upload_id(const std::string& id) {
    return !id.empty() && id.size() <= 100 &&
           std::ranges::all_of(id, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; });
}

}  // namespace

Result<std::unique_ptr<DirectoryWriter>> DirectoryWriter::open(const DirectoryLayout& layout, Committer& committer,
                                                               const BlobName& name, const CreateOptions& options,
                                                               std::stop_token stop) {
    if (!is_upload_id(options.upload_id))
        return fail(ErrorKind::InvalidArgument, "\"{}\" is no upload id", options.upload_id.substr(0, 100));
    if (stop.stop_requested())
        return fail(ErrorKind::Cancelled, "stopped before {} was begun", name.path());
    std::unique_ptr<DirectoryWriter> writer(
        new DirectoryWriter(layout, committer, name, options, std::move(stop)));
    writer->file_ = FileDescriptor(openat(layout.uploads(), options.upload_id.c_str(),
                                          O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666));
    struct stat status {};
    if (!writer->file_ || fstat(writer->file_.get(), &status) != 0)
        return fail_errno(errno, "cannot begin blob {}", name.path());
    writer->inode_ = status.st_ino;
    // Where the file system cannot do it, a full disk shows later.
    if (options.type == BlobType::Block && options.length >= kPreallocate &&
        fallocate(writer->file_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(options.length)) != 0 &&
        (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
        auto error = fail_errno(errno, "there is no room for blob {} of {}", name.path(), format_bytes(options.length));
        // What is there of an earlier attempt stays; an empty file of ours does not.
        if (status.st_size == 0)
            unlinkat(layout.uploads(), options.upload_id.c_str(), 0);
        return error;
    }
    return writer;
}

// The ring that content comes from stays writable for the process that reads the drive. So the bytes are
// hashed after they were copied out, and what is written is what was hashed.
Result<void> DirectoryWriter::put(const Piece& piece) {
    const bool is_checked = piece.md5 != kNoHash;
    std::vector<std::byte> chunk(std::min(kChunk, piece.content.size()));
    Digest digest(DigestKind::Md5);
    for (std::size_t done = 0; done < piece.content.size(); done += chunk.size()) {
        const std::size_t length = std::min(chunk.size(), piece.content.size() - done);
        std::memcpy(chunk.data(), piece.content.data() + done, length);
        const std::span part(chunk.data(), length);
        if (is_checked)
            digest.update(part);
        if (Result<void> written = write_fully(file_.get(), piece.offset + done, part, "the upload"); !written)
            return fail(std::move(written.error()), "blob {}, offset {}", name_.path(), piece.offset + done);
    }
    if (is_checked && !std::ranges::equal(digest.finish(), piece.md5))
        return fail(ErrorKind::Corrupt, "blob {}: the piece at offset {} has changed since it was verified",
                    name_.path(), piece.offset);
    return {};
}

// A block blob is its blocks in order: where some are left out, the rest moves up. Front to back, so that
// nothing is overwritten before it was moved.
Result<void> DirectoryWriter::close_gaps(std::span<const Piece> pieces) {
    Bytes end = 0;
    std::vector<std::byte> chunk;
    for (const Piece& piece : pieces) {
        if (piece.offset < end)
            return fail(ErrorKind::InvalidArgument, "blob {}: its pieces are not in order", name_.path());
        for (Bytes done = 0; piece.offset != end && !is_closed_up_ && done < piece.length;) {
            chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kMiB, piece.length - done)));
            DRAY_TRY(read_fully(file_.get(), piece.offset + done, chunk, "the upload"));
            DRAY_TRY(write_fully(file_.get(), end + done, chunk, "the upload"));
            done += chunk.size();
        }
        end += piece.length;
    }
    is_closed_up_ = true;
    if (ftruncate(file_.get(), static_cast<off_t>(end)) != 0)
        return fail_errno(errno, "cannot end blob {}", name_.path());
    return {};
}

Result<void> DirectoryWriter::finish(std::span<const Piece> pieces, const BlobProperties& properties,
                                     const BlobMetadata& metadata) {
    if (options_.type == BlobType::Block)
        DRAY_TRY(close_gaps(pieces));
    else if (ftruncate(file_.get(), static_cast<off_t>(options_.length)) != 0)
        return fail_errno(errno, "cannot end blob {}", name_.path());
    SideFile side;
    side.type = options_.type;
    side.properties = properties;
    side.metadata = metadata;
    return committer_.commit(
        [&] {
            side.name = name_;
            return publish(side);
        },
        stop_);
}

// The order matters for whoever looks, and for a kill, at every line: the side file waits under the new
// content's inode; the rename of the content switches both; then the side file gets its lasting name.
Result<void> DirectoryWriter::publish(const SideFile& side) {
    DRAY_LET(Place place, layout_.place_for(name_));
    const bool is_plain = side.is_trivial() && !place.is_odd;
    Result<Place> beside = layout_.side_place(name_, !is_plain);
    // A lasting side file of what is replaced must not speak for the new content even for a moment.
    const bool needs_side =
        beside && (!is_plain || faccessat(beside->directory.get(), beside->name.c_str(), F_OK, 0) == 0);
    if (!beside && !is_plain)
        return fail(std::move(beside.error()));
    std::string pending;
    if (needs_side) {
        pending = DirectoryLayout::pending_name(beside->name, inode_);
        DRAY_TRY(write_small_file(beside->directory.get(), pending, write_side_file(side)));
    }
    Result<void> moved = move_into(place);
    if (!moved && (moved.error().kind() == ErrorKind::Conflict)) {
        // A directory of that name has come meanwhile: the blob goes to its odd place, once more from the start.
        if (!place.is_odd && needs_side)
            unlinkat(beside->directory.get(), pending.c_str(), 0);
        DRAY_LET(beside, layout_.side_place(name_, true));
        pending = DirectoryLayout::pending_name(beside->name, inode_);
        DRAY_TRY(write_small_file(beside->directory.get(), pending, write_side_file(side)));
        DRAY_LET(place, layout_.odd_place(name_));
        moved = move_into(place);
    }
    if (!moved) {
        if (!pending.empty())
            unlinkat(beside->directory.get(), pending.c_str(), 0);
        return moved;
    }
    if (!pending.empty() && renameat(beside->directory.get(), pending.c_str(), beside->directory.get(),
                                     beside->name.c_str()) != 0)
        return fail_errno(errno, "cannot keep the properties of blob {}", name_.path());
    return {};
}

Result<void> DirectoryWriter::move_into(const Place& place) const {
    const unsigned flags = options_.replace ? 0 : RENAME_NOREPLACE;
    if (renameat2(layout_.uploads(), options_.upload_id.c_str(), place.directory.get(), place.name.c_str(), flags) == 0)
        return {};
    struct stat status {};
    const int error = errno;
    if ((error == EEXIST || error == EISDIR) &&
        fstatat(place.directory.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(status.st_mode))
        return fail(ErrorKind::Conflict, "there is a directory {}", name_.path());
    if (error == EEXIST)
        return fail(ErrorKind::Exists, "there is a blob {} already", name_.path());
    return fail_errno(error, "cannot make blob {} visible", name_.path());
}

Result<void> DirectoryWriter::rename(const BlobName& name) {
    name_ = name;
    return {};
}

Result<void> DirectoryWriter::abandon() {
    if (unlinkat(layout_.uploads(), options_.upload_id.c_str(), 0) != 0 && errno != ENOENT)
        return fail_errno(errno, "cannot throw away what was written of blob {}", name_.path());
    return {};
}

}  // namespace dray::store
