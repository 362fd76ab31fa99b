// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/copy_log_reader.hpp"

#include <algorithm>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/format/xml_stream.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {
namespace {

bool is_good(std::optional<SideFileOutcome> outcome) {
    return !outcome || *outcome == SideFileOutcome::Completed;
}

bool is_good(PieceOutcome outcome) {
    return outcome == PieceOutcome::Completed || outcome == PieceOutcome::Committed;
}

Result<Bytes> number(std::optional<std::string_view> text, std::string_view what) {
    const auto value = text ? parse_number(*text) : std::nullopt;
    if (!value)
        return fail(ErrorKind::Corrupt, "the {} \"{}\" is no number", what, shown(text.value_or("")));
    return *value;
}

}  // namespace

bool LoggedBlob::needs_repair() const {
    return outcome != BlobOutcome::Completed || !is_good(metadata) || !is_good(properties) ||
           std::ranges::any_of(pieces, [](const LoggedPiece& piece) { return !is_good(piece.outcome); });
}

bool LoggedBlob::is_in_store() const {
    if (outcome != BlobOutcome::Completed && outcome != BlobOutcome::CompletedWithErrors)
        return false;
    if (disposition_outcome == DispositionOutcome::Cancelled || disposition_outcome == DispositionOutcome::Skipped)
        return false;
    // A page blob is published with a hole; a block blob with a bad block only by services that commit what they have.
    return is_page_blob ||
           std::ranges::all_of(pieces, [](const LoggedPiece& piece) { return is_good(piece.outcome); }) ||
           std::ranges::any_of(pieces, [](const LoggedPiece& piece) { return piece.outcome == PieceOutcome::Committed; });
}

class CopyLogReader::Parser {
public:
    explicit Parser(OnBlob on_blob)
        : on_blob_(std::move(on_blob)),
          xml_("copy log",
               [this](std::string_view name, const XmlAttributes& attributes) { return start(name, attributes); },
               [this](std::string_view name, std::string_view text) { return end(name, text); }) {}

    Result<void> feed(std::span<const std::byte> bytes) { return xml_.feed(bytes); }
    Result<void> finish() {
        DRAY_TRY(xml_.finish());
        if (drive_id_.empty())
            return fail(ErrorKind::Corrupt, "copy log: there is no <DriveId>");
        return {};
    }
    const std::string& drive_id() const { return drive_id_; }
    const std::string& status() const { return status_; }

private:
    Result<void> start(std::string_view name, const XmlAttributes& attributes) {
        ++depth_;
        if (depth_ == 1 && name != "DriveLog")
            return fail(ErrorKind::Corrupt, "the root element is <{}>, not <DriveLog>", shown(name));
        if (depth_ == 2 && name == "Blob") {
            is_in_blob_ = true;
            blob_ = {};
            blob_.outcome = blob_outcome(attributes.find("Status").value_or(""));
        } else if (depth_ == 3 && is_in_blob_) {
            return start_part(name, attributes);
        } else if (depth_ == 4 && is_in_blob_ && (name == "Block" || name == "PageRange")) {
            return start_piece(attributes);
        }
        return {};
    }

    Result<void> start_part(std::string_view name, const XmlAttributes& attributes) {
        const std::string_view status = attributes.find("Status").value_or("");
        if (name == "ImportDisposition")
            blob_.disposition_outcome = disposition_outcome(status);
        else if (name == "Metadata")
            blob_.metadata = side_file_outcome(status);
        else if (name == "Properties")
            blob_.properties = side_file_outcome(status);
        else if (name == "PageRangeList")
            blob_.is_page_blob = true;
        return {};
    }

    Result<void> start_piece(const XmlAttributes& attributes) {
        LoggedPiece piece;
        DRAY_LET(piece.offset, number(attributes.find("Offset"), "Offset"));
        DRAY_LET(piece.length, number(attributes.find("Length"), "Length"));
        if (const auto text = attributes.find("Hash"); text && !text->empty()) {
            const auto bytes = from_hex(*text);
            if (!bytes || bytes->size() != sizeof(Md5Hash))
                return fail(ErrorKind::Corrupt, "the Hash \"{}\" is not the 32 hex digits of an MD5", shown(*text));
            std::ranges::copy(*bytes, piece.hash.emplace().begin());
        }
        piece.outcome = piece_outcome(attributes.find("Status").value_or(""));
        if (blob_.pieces.size() >= ManifestLimits{}.page_ranges)
            return fail(ErrorKind::LimitReached, "a blob has more than {} pieces", ManifestLimits{}.page_ranges);
        blob_.pieces.push_back(piece);
        return {};
    }

    Result<void> end(std::string_view name, std::string_view text) {
        const unsigned depth = depth_--;
        if (depth == 2 && name == "DriveId")
            drive_id_ = trim(text);
        else if (depth == 2 && name == "Status")
            status_ = trim(text);
        else if (depth == 2 && std::exchange(is_in_blob_, false))
            return on_blob_(std::move(blob_));
        else if (depth == 3 && is_in_blob_)
            return end_part(name, text);
        return {};
    }

    Result<void> end_part(std::string_view name, std::string_view text) {
        if (name == "BlobPath")
            blob_.blob_path = text;
        else if (name == "FilePath")
            blob_.file_path = text;
        else if (name == "Snapshot")
            blob_.snapshot = trim(text);
        else if (name == "Length") {
            DRAY_LET(blob_.length, number(trim(text), "Length"));
        } else if (name == "ImportDisposition")
            for (const auto each : {Disposition::NoOverwrite, Disposition::Overwrite, Disposition::Rename})
                if (trim(text) == to_string(each))
                    blob_.disposition = each;
        return {};
    }

    OnBlob on_blob_;
    unsigned depth_ = 0;
    bool is_in_blob_ = false;
    LoggedBlob blob_;
    std::string drive_id_;
    std::string status_;
    XmlStream xml_;
};

CopyLogReader::CopyLogReader(OnBlob on_blob) : parser_(std::make_unique<Parser>(std::move(on_blob))) {}

CopyLogReader::~CopyLogReader() = default;

Result<void> CopyLogReader::feed(std::span<const std::byte> bytes) { return parser_->feed(bytes); }

Result<void> CopyLogReader::finish() { return parser_->finish(); }

const std::string& CopyLogReader::drive_id() const { return parser_->drive_id(); }

const std::string& CopyLogReader::status() const { return parser_->status(); }

}  // namespace dray::format
