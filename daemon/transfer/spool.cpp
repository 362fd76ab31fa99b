// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/spool.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/format/xml_text.hpp"
#include "daemon/model/drive.hpp"
#include "daemon/transfer/group_access.hpp"

namespace dray::transfer {
namespace {

constexpr std::size_t kChunk = kMiB;
constexpr std::uint32_t kManifestFile = 0;

std::string spool_path(const std::string& directory) { return directory + "/manifest.xml"; }

Refusal refuse(const char* status, Error error) { return {status, std::move(error)}; }

std::string upper(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return text;
}

/// The word for a manifest that cannot be opened.
const char* status_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::NotFound: return "ManifestNotFound";
        case ErrorKind::InvalidArgument: return "ManifestNameInvalid";
        case ErrorKind::LimitReached: return "ManifestNameTooLong";
        case ErrorKind::Denied:
        case ErrorKind::Unsupported: return "ManifestAccessDenied";
        default: return "ReadManifestFailed";
    }
}

}  // namespace

Bytes bytes_of(const format::ManifestBlob& blob) {
    if (!blob.is_page_blob)
        return blob.length;
    Bytes bytes = 0;
    for (const format::ManifestPiece& piece : blob.pieces)
        bytes += piece.length;
    return bytes;
}

Result<std::expected<Spool, Refusal>> Spool::copy(drive::Client& drive, const std::string& directory,
                                                  const std::string& path, const std::string& hash) {
    using Outcome = std::expected<Spool, Refusal>;
    const auto refused = [&](const char* status, Error error) -> Result<Outcome> {
        if (error.kind() == ErrorKind::Gone)
            return fail(std::move(error));
        return Outcome(std::unexpected(refuse(status, Error(std::move(error), "the manifest " + path))));
    };
    Result<std::string> name = format::to_lookup_path(path);
    if (!name)
        return refused(status_of(name.error().kind()), std::move(name.error()));
    Result<DigestKind> kind = digest_kind_of_hex(hash.size());
    if (!kind)
        return refused("ManifestCorrupted", std::move(kind.error()));
    Result<Bytes> size = drive.open(kManifestFile, *name);
    if (!size)
        return refused(status_of(size.error().kind()), std::move(size.error()));
    if (*size > format::ManifestLimits().size)
        return refused("ManifestFormatInvalid",
                       Error(ErrorKind::LimitReached, fmt::format("it has {} bytes, at most {} are read", *size,
                                                                  format::ManifestLimits().size)));
    Spool spool;
    spool.size_ = *size;
    // The one of an earlier run is not touched before this one is whole: logs may have to be written from it.
    const std::string part = spool_path(directory) + ".part";
    DRAY_LET(spool.file_, open_file(part, O_RDWR | O_CREAT | O_TRUNC, kFileMode));
    Digest digest(*kind);
    std::vector<std::byte> chunk(kChunk);
    for (Bytes offset = 0; offset < *size; offset += chunk.size()) {
        chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kChunk, *size - offset)));
        if (Result<void> read = drive.read(kManifestFile, offset, chunk); !read)
            return refused("ReadManifestFailed", std::move(read.error()));
        digest.update(chunk);
        DRAY_TRY(write_fully(spool.file_.get(), offset, chunk, part));
    }
    DRAY_TRY(drive.close(kManifestFile));
    const std::string found = to_hex(digest.finish());
    if (found != upper(hash))
        return refused("ManifestCorrupted", Error(ErrorKind::Corrupt, fmt::format("its hash is {}, the job says {}",
                                                                                  found, upper(hash))));
    if (fdatasync(spool.file_.get()) != 0)
        return fail_errno(errno, "cannot flush {}", part);
    if (std::rename(part.c_str(), spool_path(directory).c_str()) != 0)
        return fail_errno(errno, "cannot rename {}", part);
    return Outcome(std::move(spool));
}

Result<Spool> Spool::open(const std::string& directory) {
    Spool spool;
    DRAY_LET(spool.file_, open_file(spool_path(directory), O_RDONLY));
    struct stat status {};
    if (fstat(spool.file_.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", spool_path(directory));
    spool.size_ = static_cast<Bytes>(status.st_size);
    return spool;
}

Result<void> Spool::read(Bytes offset, std::span<std::byte> content) const {
    return read_fully(file_.get(), offset, content, "the manifest's spool");
}

std::expected<ManifestTotals, Refusal> Spool::check(const std::string& serial) const {
    ManifestTotals totals;
    std::string drive_id;
    format::ManifestReader reader(
        [&](const std::string& id) -> Result<void> {
            drive_id = id;
            return {};
        },
        [&](format::ManifestBlob&& blob) -> Result<void> {
            ++totals.blobs;
            const Bytes bytes = bytes_of(blob);
            if (totals.bytes + bytes < totals.bytes)
                return fail(ErrorKind::Corrupt, "its lengths add up to more than 2^64 bytes");
            totals.bytes += bytes;
            return {};
        });
    std::vector<std::byte> chunk(kChunk);
    Result<void> result;
    for (Bytes offset = 0; result && offset < size_; offset += chunk.size()) {
        chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kChunk, size_ - offset)));
        result = read(offset, chunk);
        if (result)
            result = reader.feed(chunk);
    }
    if (result)
        result = reader.finish();
    // A drive's id that is another one says more than what may be wrong behind it.
    if (!drive_id.empty() && fold_serial(drive_id) != fold_serial(serial))
        return std::unexpected(refuse("ManifestDriveIdMismatch",
                                      Error(ErrorKind::Corrupt, fmt::format("the manifest is for drive \"{}\", not for {}",
                                                                            format::shown(drive_id), serial))));
    if (!result)
        return std::unexpected(refuse("ManifestFormatInvalid", std::move(result.error())));
    return totals;
}

Result<void> Spool::walk(const Visit& visit) const {
    std::uint64_t index = 0;
    format::ManifestReader reader([](const std::string&) -> Result<void> { return {}; },
                                  [&](format::ManifestBlob&& blob) { return visit(index++, std::move(blob)); });
    std::vector<std::byte> chunk(kChunk / 16);
    for (Bytes offset = 0; offset < size_; offset += chunk.size()) {
        chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kChunk / 16, size_ - offset)));
        DRAY_TRY(read(offset, chunk));
        DRAY_TRY(reader.feed(chunk));
    }
    return reader.finish();
}

}  // namespace dray::transfer
