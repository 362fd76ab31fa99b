// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/directory/directory_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>
#include <vector>

#include "daemon/base/file.hpp"
#include "drivers/store/blob_rules.hpp"

namespace dray::store {
namespace {

/// Content passes through this much private memory, small enough to stay in the cache.
constexpr std::size_t kChunk = 128 * kKiB;
/// From here on a full disk is better found before the work than after it.
constexpr Bytes kPreallocate = kMiB;
constexpr Md5Hash kNoHash{};

/// A copy whose name no upload id can have.
std::string whole_name(const std::string& upload_id) { return upload_id + ".whole"; }

/// Ends `file` at its end and stamps it: content is told apart by inode and this time, and the kernel's
/// own stamps are too coarse for two uploads in one tick.
Result<ino_t> seal(int file, Bytes length) {
    struct timespec times[2] = {{0, UTIME_OMIT}, {}};
    struct stat status {};
    (void)clock_gettime(CLOCK_REALTIME, &times[1]);  // cannot fail for this clock
    if (ftruncate(file, static_cast<off_t>(length)) != 0)
        return fail_errno(errno, "cannot end the upload");
    // What was begun as another user may only be stamped by the kernel.
    if (futimens(file, times) != 0 && (errno != EPERM || futimens(file, nullptr) != 0))
        return fail_errno(errno, "cannot stamp the upload");
    if (fstat(file, &status) != 0)
        return fail_errno(errno, "cannot end the upload");
    return status.st_ino;
}

/// Makes a range read as zeros again.
Result<void> clear(int file, Bytes offset, Bytes length) {
    if (length == 0 || fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                 static_cast<off_t>(length)) == 0)
        return {};
    if (errno != EOPNOTSUPP)
        return fail_errno(errno, "cannot make a hole in the upload");
    // A file system without holes.
    const std::vector<std::byte> zeros(kChunk);
    for (Bytes done = 0; done < length; done += kChunk)
        DRAY_TRY(write_fully(file, offset + done, std::span(zeros).first(std::min<Bytes>(kChunk, length - done)),
                             "the upload"));
    return {};
}

}  // namespace

Result<std::unique_ptr<DirectoryWriter>> DirectoryWriter::open(const DirectoryLayout& layout, Committer& committer,
                                                               const BlobName& name, const CreateOptions& options,
                                                               std::stop_token stop) {
    DRAY_TRY(check_upload_id(options.upload_id));
    if (stop.stop_requested())
        return fail(ErrorKind::Cancelled, "stopped before {} was begun", name.path());
    std::unique_ptr<DirectoryWriter> writer(
        new DirectoryWriter(layout, committer, name, options, std::move(stop)));
    const int may_make = options.must_resume ? 0 : O_CREAT;
    writer->file_ = FileDescriptor(openat(layout.uploads(), options.upload_id.c_str(),
                                          O_RDWR | may_make | O_NOFOLLOW | O_CLOEXEC, 0666));
    struct stat status {};
    if (!writer->file_ || fstat(writer->file_.get(), &status) != 0)
        return fail_errno(errno, "cannot begin blob {}", name.path());
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

// With a hash, the content may lie where others can write (the ring). So it is hashed after it was copied out, and
// what is written is what was hashed.
Result<void> DirectoryWriter::put(const Piece& piece) {
    const auto write = [&](std::size_t done, std::span<const std::byte> part) -> Result<void> {
        Result<void> written = write_fully(file_.get(), piece.offset + done, part, "the upload");
        if (!written)
            return fail(std::move(written.error()), "blob {}, offset {}", name_.path(), piece.offset + done);
        return {};
    };
    if (piece.md5 == kNoHash)
        return write(0, piece.content);
    std::vector<std::byte> chunk(std::min(kChunk, piece.content.size()));
    Digest digest(DigestKind::Md5);
    for (std::size_t done = 0; done < piece.content.size(); done += chunk.size()) {
        const std::span part(chunk.data(), std::min(chunk.size(), piece.content.size() - done));
        std::memcpy(part.data(), piece.content.data() + done, part.size());
        digest.update(part);
        DRAY_TRY(write(done, part));
    }
    if (!std::ranges::equal(digest.finish(), piece.md5))
        return fail(ErrorKind::Corrupt, "blob {}: the piece at offset {} has changed since it was verified",
                    name_.path(), piece.offset);
    return {};
}

Result<void> DirectoryWriter::arrange(std::span<const Piece> pieces) {
    whole_ = options_.upload_id;
    if (options_.type == BlobType::Block)
        return arrange_blocks(pieces);
    DRAY_LET(inode_, seal(file_.get(), options_.length));
    return clear_the_rest(pieces);
}

// A page blob has zeros where none of its pages was put, and where one was put that turned out to be wrong.
Result<void> DirectoryWriter::clear_the_rest(std::span<const Piece> pieces) {
    std::vector<std::pair<Bytes, Bytes>> ranges;
    for (const Piece& piece : pieces) {
        if (piece.offset > options_.length || piece.length > options_.length - piece.offset)
            return fail(ErrorKind::InvalidArgument, "blob {}: a page at offset {} is beyond its end", name_.path(),
                        piece.offset);
        ranges.emplace_back(piece.offset, piece.offset + piece.length);
    }
    std::ranges::sort(ranges);
    ranges.emplace_back(options_.length, options_.length);
    Bytes end = 0;
    for (const auto& [from, to] : ranges) {
        if (from > end)
            DRAY_TRY(clear(file_.get(), end, from - end));
        end = std::max(end, to);
    }
    return {};
}

// A block blob is its blocks in order. Mostly they lie in the upload just so; else the blob is a copy, and the
// upload stays as it is for a later finish().
Result<void> DirectoryWriter::arrange_blocks(std::span<const Piece> pieces) {
    struct stat status {};
    if (fstat(file_.get(), &status) != 0)
        return fail_errno(errno, "cannot look at the upload");
    const auto size = static_cast<Bytes>(status.st_size);
    Bytes end = 0;
    bool lies_in_order = true;
    for (const Piece& piece : pieces) {
        if (piece.offset > size || piece.length > size - piece.offset)
            return fail(ErrorKind::Corrupt, "blob {}: the store does not have the piece at offset {}", name_.path(),
                        piece.offset);
        lies_in_order = lies_in_order && piece.offset == end;
        end += piece.length;
    }
    if (!lies_in_order || end != size)
        return close_up(pieces);
    DRAY_LET(inode_, seal(file_.get(), end));
    return {};
}

Result<void> DirectoryWriter::close_up(std::span<const Piece> pieces) {
    whole_ = whole_name(options_.upload_id);
    const FileDescriptor whole(openat(layout_.uploads(), whole_.c_str(),
                                      O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!whole)
        return fail_errno(errno, "cannot close up blob {}", name_.path());
    std::vector<std::byte> chunk;
    Bytes end = 0;
    for (const Piece& piece : pieces)
        for (Bytes done = 0; done < piece.length; done += chunk.size(), end += chunk.size()) {
            chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kMiB, piece.length - done)));
            DRAY_TRY(read_fully(file_.get(), piece.offset + done, chunk, "the upload"));
            DRAY_TRY(write_fully(whole.get(), end, chunk, "the upload"));
        }
    DRAY_LET(inode_, seal(whole.get(), end));
    return {};
}

Result<void> DirectoryWriter::finish(std::span<const Piece> pieces, const BlobProperties& properties,
                                     const BlobMetadata& metadata) {
    DRAY_TRY(check_metadata(metadata));
    const SideFile side{name_, options_.type, properties, metadata};
    Result<void> done = arrange(pieces);
    if (done)
        done = prepare(side);
    if (done)
        done = committer_.commit([&] { return publish(side); }, stop_);
    if (!done) {
        drop_what_finish_made();
        return done;
    }
    if (whole_ != options_.upload_id)
        unlinkat(layout_.uploads(), options_.upload_id.c_str(), 0);
    return {};
}

// The order matters for whoever looks, and for a kill, at every line: the side file waits under the new
// content's inode; the rename of the content switches both; then the side file gets its lasting name. It
// is written before the commit's flush, so that a power cut cannot leave a name that has lost its properties.
Result<void> DirectoryWriter::prepare(const SideFile& side) {
    const Result<Place> beside = layout_.side_place(name_, false);
    if (!beside && beside.error().kind() != ErrorKind::NotFound)
        return fail(beside.error());
    // An inode comes again. What a kill left under this one must not speak for the new content.
    if (beside)
        unlinkat(beside->directory.get(), DirectoryLayout::pending_name(beside->name, inode_).c_str(), 0);
    // A lasting side file of what is replaced must not speak for the new content even for a moment.
    const bool is_replacing = beside && faccessat(beside->directory.get(), beside->name.c_str(), F_OK, 0) == 0;
    if (side.is_trivial() && DirectoryLayout::is_plain(name_) && !is_replacing)
        return {};
    return write_pending(side);
}

Result<void> DirectoryWriter::write_pending(const SideFile& side) {
    DRAY_LET(const std::string text, write_side_file(side));
    DRAY_LET(Place beside, layout_.side_place(name_, true));
    pending_ = std::move(beside);
    return write_small_file(pending_->directory.get(), DirectoryLayout::pending_name(pending_->name, inode_), text);
}

Result<void> DirectoryWriter::publish(const SideFile& side) {
    DRAY_LET(Place place, layout_.place_for(name_));
    if (!pending_) {
        // Since prepare() looked, another process may have published under this name or beside it.
        const Result<Place> beside = layout_.side_place(name_, false);
        if (place.is_odd || (beside && faccessat(beside->directory.get(), beside->name.c_str(), F_OK, 0) == 0)) {
            DRAY_TRY(write_pending(side));
            DRAY_TRY(committer_.sync());
        }
    }
    DRAY_TRY(move_into(place));
    // Until it has its lasting name it speaks from where it is: the blob is published, whatever comes of this.
    if (pending_)
        (void)renameat(pending_->directory.get(), DirectoryLayout::pending_name(pending_->name, inode_).c_str(),
                       pending_->directory.get(), pending_->name.c_str());
    pending_.reset();
    return {};
}

void DirectoryWriter::drop_what_finish_made() {
    if (pending_)
        unlinkat(pending_->directory.get(), DirectoryLayout::pending_name(pending_->name, inode_).c_str(), 0);
    pending_.reset();
    unlinkat(layout_.uploads(), whole_name(options_.upload_id).c_str(), 0);
}

Result<void> DirectoryWriter::move_into(const Place& place) const {
    const unsigned flags = options_.replace ? 0 : RENAME_NOREPLACE;
    if (renameat2(layout_.uploads(), whole_.c_str(), place.directory.get(), place.name.c_str(), flags) == 0)
        return {};
    if (errno == EEXIST)
        return fail(ErrorKind::Exists, "there is a blob {} already", name_.path());
    return fail_errno(errno, "cannot make blob {} visible", name_.path());
}

Result<void> DirectoryWriter::rename(const BlobName& name) {
    DRAY_TRY(check_target(name));
    name_ = name;
    return {};
}

Result<void> DirectoryWriter::abandon() {
    unlinkat(layout_.uploads(), whole_name(options_.upload_id).c_str(), 0);  // what a kill in finish() left
    if (unlinkat(layout_.uploads(), options_.upload_id.c_str(), 0) != 0 && errno != ENOENT)
        return fail_errno(errno, "cannot throw away what was written of blob {}", name_.path());
    return {};
}

}  // namespace dray::store
