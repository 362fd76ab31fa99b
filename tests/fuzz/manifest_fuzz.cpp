// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a drive manifest, in pieces of any size: refused as Corrupt or LimitReached in one sentence, or each of
// its blobs keeps the rules, and what is written from them reads as the same again. The first byte is the pieces' size.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "daemon/format/drive_manifest.hpp"
#include "daemon/format/manifest_rules.hpp"
#include "daemon/model/blob_name.hpp"

namespace {

using dray::ErrorKind;
using dray::Result;
using dray::format::ManifestBlob;

void need(bool holds) {
    if (!holds)
        std::abort();
}

struct Read {
    Result<void> result;
    std::string drive_id;
    std::vector<ManifestBlob> blobs;
};

Read read(std::span<const std::byte> text, std::size_t chunk) {
    Read read;
    // Small limits, so that inputs of fuzzing size meet them.
    const dray::format::ManifestLimits limits{
        .size = 64 * dray::kKiB, .blob_pieces = 100, .page_ranges = 100, .depth = 16, .text = dray::kKiB};
    dray::format::ManifestReader reader(
        [&](const std::string& id) -> Result<void> {
            need(read.drive_id.empty() && read.blobs.empty() && !id.empty());
            read.drive_id = id;
            return {};
        },
        [&](ManifestBlob&& blob) -> Result<void> {
            need(dray::format::check_blob(blob, limits).has_value());
            read.blobs.push_back(std::move(blob));
            return {};
        },
        limits);
    for (std::size_t done = 0; read.result && done < text.size(); done += chunk)
        read.result = reader.feed(text.subspan(done, std::min(chunk, text.size() - done)));
    if (read.result)
        read.result = reader.finish();
    return read;
}

bool is_same(const ManifestBlob& one, const ManifestBlob& other) {
    return one.blob_path == other.blob_path && one.file_path == other.file_path &&
           one.client_data == other.client_data && one.snapshot == other.snapshot && one.length == other.length &&
           one.disposition == other.disposition && one.metadata == other.metadata &&
           one.properties == other.properties &&
           std::ranges::equal(one.pieces, other.pieces, [](const auto& left, const auto& right) {
               return left.offset == right.offset && left.length == right.length && left.id == right.id &&
                      left.hash == right.hash;
           });
}

/// Names go further than the reader: into paths and into the rename rule.
void look_at_names(const ManifestBlob& blob) {
    if (const auto path = dray::format::to_lookup_path(blob.file_path))
        need(!path->empty() && path->front() != '/' && ("/" + *path + "/").find("/../") == std::string::npos);
    if (const auto name = dray::parse_blob_path(blob.blob_path))
        if (const auto next = dray::renamed(*name, 2))
            need(dray::parse_blob_path(next->path()).has_value() && *next != *name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0)
        return 0;
    const auto text = std::as_bytes(std::span(data, size)).subspan(1);
    const Read found = read(text, std::size_t{data[0]} + 1);
    const Read whole = read(text, text.size() + 1);
    need(found.result.has_value() == whole.result.has_value() && found.blobs.size() == whole.blobs.size());
    if (!found.result) {
        const ErrorKind kind = found.result.error().kind();
        need(kind == ErrorKind::Corrupt || kind == ErrorKind::LimitReached);
        need(!found.result.error().text().empty() && found.result.error().text().find('\n') == std::string::npos);
        return 0;
    }
    std::string written;
    dray::format::ManifestWriter writer(
        [&](std::string_view part) -> Result<void> {
            written += part;
            return {};
        },
        found.drive_id, "none?sig=none", "");
    for (const ManifestBlob& blob : found.blobs) {
        look_at_names(blob);
        need(writer.blob(blob).has_value());
    }
    need(writer.finish().has_value());
    if (written.size() > 64 * dray::kKiB)
        return 0;  // longer than what it was read from: blanks and defaults are written out
    const Read again = read(std::as_bytes(std::span(written)), 4096);
    need(again.result.has_value() && again.drive_id == found.drive_id);
    need(std::ranges::equal(again.blobs, found.blobs, is_same));
    return 0;
}
