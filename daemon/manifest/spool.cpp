// SPDX-License-Identifier: Apache-2.0
#include "daemon/manifest/spool.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/format/xml_text.hpp"
#include "daemon/model/drive.hpp"

namespace dray::manifest {
namespace {

constexpr std::size_t kChunk = kMiB;
constexpr std::uint32_t kManifestFile = 0;

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

Spool::Spool(FileDescriptor file, Bytes size, std::string hash)
    : file_(std::move(file)), size_(size), hash_(std::move(hash)) {}

Result<std::expected<Spool, Refusal>> Spool::copy(drive::Client& drive, FileDescriptor file, const std::string& name,
                                                  const std::string& path, const std::string& hash) {
    using Outcome = std::expected<Spool, Refusal>;
    const auto refused = [&](const char* status, Error error) -> Result<Outcome> {
        if (error.kind() == ErrorKind::Gone)
            return fail(std::move(error));
        return Outcome(std::unexpected(refuse(status, Error(std::move(error), "the manifest " + path))));
    };
    Result<std::string> lookup = format::to_lookup_path(path);
    if (!lookup)
        return refused(status_of(lookup.error().kind()), std::move(lookup.error()));
    Result<DigestKind> kind = hash.empty() ? Result<DigestKind>(DigestKind::Md5) : digest_kind_of_hex(hash.size());
    if (!kind)
        return refused("ManifestCorrupted", std::move(kind.error()));
    Result<Bytes> size = drive.open(kManifestFile, *lookup);
    if (!size)
        return refused(status_of(size.error().kind()), std::move(size.error()));
    if (*size > format::ManifestLimits().size)
        return refused("ManifestFormatInvalid",
                       Error(ErrorKind::LimitReached, fmt::format("it has {} bytes, at most {} are read", *size,
                                                                  format::ManifestLimits().size)));
    Digest digest(*kind);
    std::vector<std::byte> chunk(kChunk);
    for (Bytes offset = 0; offset < *size; offset += chunk.size()) {
        chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kChunk, *size - offset)));
        if (Result<void> read = drive.read(kManifestFile, offset, chunk); !read)
            return refused("ReadManifestFailed", std::move(read.error()));
        digest.update(chunk);
        DRAY_TRY(write_fully(file.get(), offset, chunk, name));
    }
    DRAY_TRY(drive.close(kManifestFile));
    const std::string found = to_hex(digest.finish());
    if (!hash.empty() && found != upper(hash))
        return refused("ManifestCorrupted", Error(ErrorKind::Corrupt, fmt::format("its hash is {}, not {} as it should be",
                                                                                  found, upper(hash))));
    return Outcome(Spool(std::move(file), *size, found));
}

Result<Spool> Spool::open(FileDescriptor file, const std::string& name) {
    struct stat status {};
    if (fstat(file.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", name);
    return Spool(std::move(file), static_cast<Bytes>(status.st_size), {});
}

Result<void> Spool::read(Bytes offset, std::span<std::byte> content) const {
    return read_fully(file_.get(), offset, content, "the manifest's spool");
}

std::expected<Contents, Refusal> Spool::check(const std::string& serial) const {
    Contents contents;
    format::ManifestReader reader(
        [&](const std::string& id) -> Result<void> {
            contents.drive_id = id;
            return {};
        },
        [&](format::ManifestBlob&& blob) -> Result<void> {
            ++contents.blobs;
            const Bytes bytes = bytes_of(blob);
            if (contents.bytes + bytes < contents.bytes)
                return fail(ErrorKind::Corrupt, "its lengths add up to more than 2^64 bytes");
            contents.bytes += bytes;
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
    const std::string& drive_id = contents.drive_id;
    if (!serial.empty() && !drive_id.empty() && fold_serial(drive_id) != fold_serial(serial))
        return std::unexpected(refuse("ManifestDriveIdMismatch",
                                      Error(ErrorKind::Corrupt, fmt::format("the manifest is for drive \"{}\", not for {}",
                                                                            format::shown(drive_id), serial))));
    if (!result)
        return std::unexpected(refuse("ManifestFormatInvalid", std::move(result.error())));
    contents.version = reader.version();
    contents.has_credential = reader.has_credential();
    return contents;
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

}  // namespace dray::manifest
