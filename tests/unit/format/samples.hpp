// SPDX-License-Identifier: Apache-2.0
//
// The worked example of azure-import-export.md 4.9, and short ways to read a manifest in tests.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/encoding.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::format {

inline constexpr std::string_view kSampleManifest =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<DriveManifest Version=\"2014-11-01\"><Drive><DriveId>TEST0001</DriveId>"
    "<ContainerSas>lab?sv=2014-02-14&amp;sr=c&amp;sp=rwd&amp;sig=x</ContainerSas>"
    "<ClientCreator>spec</ClientCreator>"
    "<BlobList><MetadataPath Hash=\"A33F5E65D3EAD4599A78E7573ACFE081\">\\meta.xml</MetadataPath>"
    "<Blob><BlobPath>lab/a/ramp.bin</BlobPath><FilePath>\\s001\\a\\ramp.bin</FilePath><Length>10000</Length>"
    "<ImportDisposition>no-overwrite</ImportDisposition><BlockList>"
    "<Block Offset=\"0\" Length=\"4096\" Id=\"MD5/oMFmFskZB70U6ZmYbPgi1Q==\" "
    "Hash=\"A0C16616C91907BD14E999986CF822D5\"/>"
    "<Block Offset=\"4096\" Length=\"4096\" Id=\"MD5/xn+vQDcqPUKwDiZeD2s2qQ==\" "
    "Hash=\"C67FAF40372A3D42B00E265E0F6B36A9\"/>"
    "<Block Offset=\"8192\" Length=\"1808\" Id=\"MD5/txV0q2pSDZPUQ6Ez5rs6bw==\" "
    "Hash=\"B71574AB6A520D93D443A133E6BB3A6F\"/>"
    "</BlockList><PropertiesPath Hash=\"1C4EEB6BE7EDE281813151044C81D4B9\">\\s001\\a\\ramp.bin.properties"
    "</PropertiesPath></Blob>"
    "<Blob><BlobPath>lab/disk.img</BlobPath><FilePath>\\s001\\disk.img</FilePath><Length>2048</Length>"
    "<PageRangeList>"
    "<PageRange Offset=\"512\" Length=\"512\" Hash=\"AF1AA4B97765577977680C6D0052B44B\"/></PageRangeList>"
    "</Blob></BlobList></Drive></DriveManifest>\n";

struct ReadManifest {
    std::string drive_id;
    std::vector<ManifestBlob> blobs;
    /// Nothing when it was read to its end.
    std::optional<Error> error;
    ErrorKind kind() const { return error ? error->kind() : ErrorKind::Internal; }
    std::string text() const { return error ? error->text() : std::string("no error"); }
};

/// Reads `xml`, `step` bytes at a time.
inline ReadManifest read_manifest(std::string_view xml, std::size_t step = std::string_view::npos,
                                  ManifestLimits limits = {}) {
    ReadManifest result;
    ManifestReader reader(
        [&](const std::string& id) -> Result<void> {
            result.drive_id = id;
            return {};
        },
        [&](ManifestBlob&& blob) -> Result<void> {
            result.blobs.push_back(std::move(blob));
            return {};
        },
        limits);
    while (!xml.empty()) {
        const std::string_view part = xml.substr(0, step);
        xml.remove_prefix(part.size());
        if (auto fed = reader.feed(std::as_bytes(std::span(part))); !fed) {
            result.error = fed.error();
            return result;
        }
    }
    if (auto end = reader.finish(); !end)
        result.error = end.error();
    return result;
}

inline std::string in_drive(std::string_view content) {
    return "<DriveManifest Version=\"2014-11-01\"><Drive><DriveId>X</DriveId>" + std::string(content) +
           "</Drive></DriveManifest>";
}

inline std::string in_list(std::string_view content) {
    return in_drive("<BlobList>" + std::string(content) + "</BlobList>");
}

inline constexpr std::string_view kHash = "A0C16616C91907BD14E999986CF822D5";

inline Md5Hash hash_of_hex(std::string_view hex) {
    Md5Hash hash{};
    std::ranges::copy(from_hex(hex).value(), hash.begin());
    return hash;
}

/// A piece's attributes.
inline std::string piece(std::string_view element, std::string_view offset, std::string_view length,
                         std::string_view more = {}) {
    return "<" + std::string(element) + " Offset=\"" + std::string(offset) + "\" Length=\"" +
           std::string(length) + "\" Hash=\"" + std::string(kHash) + "\" " + std::string(more) + "/>";
}

/// A manifest of one blob with that Length and body.
inline std::string with_blob(std::string_view length, std::string_view body) {
    return in_list("<Blob><BlobPath>lab/x</BlobPath><FilePath>\\x</FilePath><Length>" + std::string(length) +
                   "</Length>" + std::string(body) + "</Blob>");
}

inline std::string with_blocks(std::string_view length, std::string_view blocks) {
    return with_blob(length, "<BlockList>" + std::string(blocks) + "</BlockList>");
}

inline std::string with_pages(std::string_view length, std::string_view ranges) {
    return with_blob(length, "<PageRangeList>" + std::string(ranges) + "</PageRangeList>");
}

}  // namespace dray::format
