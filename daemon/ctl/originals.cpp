// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/originals.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/format/blob_properties.hpp"

namespace dray::ctl {
namespace {

constexpr std::size_t kChunk = kMiB;

/// Bytes of a file in order, against the pieces that a manifest lists of it.
class PieceCheck {
public:
    explicit PieceCheck(const std::vector<format::ManifestPiece>& pieces) : pieces_(pieces) {}

    /// The piece that is not as it should be; nothing while all are.
    std::optional<format::ManifestPiece> update(Bytes offset, std::span<const std::byte> bytes) {
        while (!bytes.empty() && next_ < pieces_.size()) {
            const format::ManifestPiece& piece = pieces_[next_];
            // What lies between ranges counts for nobody.
            if (offset < piece.offset) {
                const auto skipped = static_cast<std::size_t>(std::min<Bytes>(bytes.size(), piece.offset - offset));
                bytes = bytes.subspan(skipped);
                offset += skipped;
                continue;
            }
            const auto part =
                static_cast<std::size_t>(std::min<Bytes>(bytes.size(), piece.offset + piece.length - offset));
            digest_.update(bytes.first(part));
            bytes = bytes.subspan(part);
            offset += part;
            if (offset < piece.offset + piece.length)
                continue;
            if (!std::ranges::equal(digest_.finish(), piece.hash))
                return piece;
            ++next_;
        }
        return std::nullopt;
    }

private:
    const std::vector<format::ManifestPiece>& pieces_;
    std::size_t next_ = 0;
    Digest digest_{DigestKind::Md5};
};

Original unreadable(const std::string& path) {
    return {SearchResult::Unreadable, path, {}, fmt::format("{} cannot be read: {}", readable(path), errno_text(errno))};
}

}  // namespace

std::string_view to_string(SearchResult result) {
    switch (result) {
        case SearchResult::Right: return "right";
        case SearchResult::Missing: return "missing";
        case SearchResult::Changed: return "changed";
        case SearchResult::Several: return "several";
        case SearchResult::Unreadable: return "unreadable";
    }
    return "missing";
}

Originals::Originals(std::vector<std::string> directories, const PathMap& map, std::function<void(Bytes)> show)
    : directories_(std::move(directories)), map_(map), show_(std::move(show)) {}

std::vector<std::string> Originals::candidates(const std::string& drive_path) const {
    if (const auto real = map_.find(drive_path); real != map_.end() && !real->second.empty())
        return {real->second};
    const auto components = format::split_drive_path(drive_path);
    if (!components)
        return {};
    std::vector<std::string> paths;
    for (const std::string& directory : directories_)
        for (std::size_t first = 0; first < std::min<std::size_t>(components->size(), 2); ++first) {
            std::string path = directory;
            for (std::size_t i = first; i < components->size(); ++i)
                path += "/" + (*components)[i];
            paths.push_back(std::move(path));
        }
    return paths;
}

Result<Original> Originals::find(const format::ManifestBlob& blob) {
    Original best;
    best.reason = "there is no such file below the sources";
    std::set<std::pair<dev_t, ino_t>> seen;
    for (const std::string& path : candidates(blob.file_path)) {
        struct stat status {};
        // One file may be there by two paths.
        if (lstat(path.c_str(), &status) != 0) {
            if (errno != ENOENT && errno != ENOTDIR && best.result == SearchResult::Missing)
                best = unreadable(path);
            continue;
        }
        if (!seen.emplace(status.st_dev, status.st_ino).second)
            continue;
        DRAY_LET(Original found, look_at(path, blob));
        if (found.result == SearchResult::Right && best.result == SearchResult::Right)
            return Original{SearchResult::Several, path, {},
                            fmt::format("{} and {} are both right", readable(best.path), readable(path))};
        if (best.result != SearchResult::Right)
            best = std::move(found);
    }
    return best;
}

Result<Original> Originals::look_at(const std::string& path, const format::ManifestBlob& blob) {
    const FileDescriptor file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat status {};
    const auto changed = [&](std::string why) {
        return Original{SearchResult::Changed, path, {}, fmt::format("{} {}", readable(path), why)};
    };
    if (!file && errno == ELOOP)
        return changed("is a symbolic link");
    if (!file || fstat(file.get(), &status) != 0)
        return unreadable(path);
    if (!S_ISREG(status.st_mode))
        return changed("is no file");
    if (static_cast<Bytes>(status.st_size) != blob.length)
        return changed(fmt::format("has {} bytes, not {}", status.st_size, blob.length));
    PieceCheck check(blob.pieces);
    Digest whole(DigestKind::Sha256);
    std::vector<std::byte> chunk(kChunk);
    for (Bytes offset = 0; offset < blob.length; offset += chunk.size()) {
        DRAY_TRY(check_interrupt());
        chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kChunk, blob.length - offset)));
        if (const auto read = read_fully(file.get(), offset, chunk, path); !read)
            return Original{SearchResult::Unreadable, path, {}, read.error().text()};
        whole.update(chunk);
        if (const auto bad = check.update(offset, chunk))
            return changed(fmt::format("has other content at {} ({} bytes)", bad->offset, bad->length));
        bytes_read_ += chunk.size();
        show_(bytes_read_);
    }
    return Original{SearchResult::Right, path, whole.finish(), {}};
}

Result<std::string> Originals::find_side_file(const format::SideFile& file) const {
    for (const std::string& path : candidates(file.path)) {
        Result<std::string> content = read_file(path, format::kMaxSideFile);
        if (content && md5(std::as_bytes(std::span(*content))) == file.hash)
            return content;
    }
    return fail(ErrorKind::NotFound, "its file {} is neither on the drive nor below the sources as it should be", file.path);
}

}  // namespace dray::ctl
