// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/format/drive_manifest.hpp"
#include "daemon/format/manifest_rules.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {

namespace {

constexpr std::size_t kBuffer = 64 * kKiB;

std::string element(std::string_view name, std::string_view text) {
    return fmt::format("<{}>{}</{}>", name, escape_xml(text), name);
}

std::string side_file(std::string_view name, const SideFile& file) {
    return fmt::format("<{} Hash=\"{}\">{}</{}>", name, to_hex(file.hash), escape_xml(file.path), name);
}

/// Whether a blob can stand in a BlobList with this side file.
bool fits(const std::optional<SideFile>& list, const std::optional<SideFile>& blob) {
    if (blob && !blob->is_shared)
        return true;
    return list == blob;
}

Result<void> check_text(std::string_view what, std::string_view text) {
    if (!is_xml_text(text))
        return fail(ErrorKind::InvalidArgument, "manifest: the {} \"{}\" has characters that XML cannot hold",
                    what, shown(text));
    return {};
}

Result<void> check_texts(const ManifestBlob& blob) {
    DRAY_TRY(check_text("blob path", blob.blob_path));
    DRAY_TRY(check_text("file path", blob.file_path));
    DRAY_TRY(check_text("client data", blob.client_data));
    DRAY_TRY(check_text("snapshot", blob.snapshot));
    if (blob.metadata)
        DRAY_TRY(check_text("metadata path", blob.metadata->path));
    if (blob.properties)
        DRAY_TRY(check_text("properties path", blob.properties->path));
    return {};
}

}  // namespace

ManifestWriter::ManifestWriter(Sink sink, std::string_view drive_id, std::string_view container_sas,
                               std::string_view client_creator)
    : sink_(std::move(sink)), drive_id_(drive_id), container_sas_(container_sas),
      client_creator_(client_creator) {}

Result<void> ManifestWriter::write(std::string_view text) {
    if (!has_head_) {
        if (trim(drive_id_).empty())
            return fail(ErrorKind::InvalidArgument, "manifest: the drive id is empty");
        DRAY_TRY(check_text("drive id", drive_id_));
        DRAY_TRY(check_text("container SAS", container_sas_));
        DRAY_TRY(check_text("client creator", client_creator_));
        buffer_ = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DriveManifest Version=\"2014-11-01\"><Drive>";
        buffer_ += element("DriveId", drive_id_);
        if (!container_sas_.empty())
            buffer_ += element("ContainerSas", container_sas_);
        if (!client_creator_.empty())
            buffer_ += element("ClientCreator", client_creator_);
        has_head_ = true;
    }
    buffer_ += text;
    return buffer_.size() < kBuffer ? Result<void>() : flush();
}

Result<void> ManifestWriter::flush() {
    const std::string text = std::exchange(buffer_, {});
    return sink_(text);
}

bool ManifestWriter::fits_list(const ManifestBlob& blob) const {
    return is_open_ && fits(metadata_, blob.metadata) && fits(properties_, blob.properties);
}

Result<void> ManifestWriter::open_list(const ManifestBlob& blob) {
    const auto shared = [](const std::optional<SideFile>& file) {
        return file && file->is_shared ? file : std::nullopt;
    };
    metadata_ = shared(blob.metadata);
    properties_ = shared(blob.properties);
    DRAY_TRY(write(std::exchange(is_open_, true) ? "</BlobList><BlobList>" : "<BlobList>"));
    if (metadata_)
        DRAY_TRY(write(side_file("MetadataPath", *metadata_)));
    if (properties_)
        DRAY_TRY(write(side_file("PropertiesPath", *properties_)));
    return {};
}

Result<void> ManifestWriter::write_pieces(const ManifestBlob& blob) {
    const std::string_view list = blob.is_page_blob ? "PageRangeList" : "BlockList";
    if (blob.pieces.empty())
        return write(fmt::format("<{}/>", list));
    DRAY_TRY(write(fmt::format("<{}>", list)));
    for (const ManifestPiece& piece : blob.pieces) {
        const std::string id = piece.id.empty() ? std::string() : fmt::format(" Id=\"{}\"", piece.id);
        DRAY_TRY(write(fmt::format("<{} Offset=\"{}\" Length=\"{}\"{} Hash=\"{}\"/>",
                                   blob.is_page_blob ? "PageRange" : "Block", piece.offset, piece.length, id,
                                   to_hex(piece.hash))));
    }
    return write(fmt::format("</{}>", list));
}

Result<void> ManifestWriter::blob(const ManifestBlob& blob) {
    DRAY_TRY(check_texts(blob));
    if (auto result = check_blob(blob, ManifestLimits{}); !result)
        return fail(ErrorKind::InvalidArgument, "manifest: blob \"{}\": {}", shown(blob.blob_path),
                    result.error().message());
    if (!fits_list(blob))
        DRAY_TRY(open_list(blob));
    DRAY_TRY(write("<Blob>" + element("BlobPath", blob.blob_path) + element("FilePath", blob.file_path)));
    if (!blob.client_data.empty())
        DRAY_TRY(write(element("ClientData", blob.client_data)));
    if (!blob.snapshot.empty())
        DRAY_TRY(write(element("Snapshot", blob.snapshot)));
    DRAY_TRY(write(fmt::format("<Length>{}</Length>", blob.length)));
    // Dispositions belong to imports, as the credential does; `rename` is what readers take without one.
    if (!container_sas_.empty() && blob.disposition != Disposition::Rename)
        DRAY_TRY(write(element("ImportDisposition", to_string(blob.disposition))));
    DRAY_TRY(write_pieces(blob));
    if (blob.metadata && !blob.metadata->is_shared)
        DRAY_TRY(write(side_file("MetadataPath", *blob.metadata)));
    if (blob.properties && !blob.properties->is_shared)
        DRAY_TRY(write(side_file("PropertiesPath", *blob.properties)));
    return write("</Blob>");
}

Result<void> ManifestWriter::finish() {
    DRAY_TRY(write(std::exchange(is_open_, false) ? "</BlobList></Drive></DriveManifest>\n"
                                                  : "</Drive></DriveManifest>\n"));
    return flush();
}

}  // namespace dray::format
