// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_plan.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/format/checksum_line.hpp"
#include "daemon/format/manifest_rules.hpp"

namespace dray::ctl {
namespace {

constexpr Bytes kMinBlockSize = 4 * kKiB;
constexpr std::size_t kSha256 = 32;
constexpr Bytes kMostDigits = 20;

/// The format asks for a credential, nobody on the premises needs one (azure-import-export.md 10,
/// 29).
constexpr const char* kNoCredential = "none?sig=none";
constexpr const char* kCreator = "drayctl";

constexpr Bytes round_up(Bytes bytes, Bytes to) {
    return (bytes + to - 1) / to * to;
}

std::string folded(std::string_view name) {
    std::string result(name);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

/// Pieces of the right number and lengths, or longer ones, with digests that differ: a manifest may not use one block id
/// for different lengths.
void fill_pieces(std::vector<HashedPiece>& pieces, Bytes size, Bytes length) {
    pieces.resize(static_cast<std::size_t>((size + length - 1) / length));
    for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
        const Bytes offset = piece * length;
        pieces[piece] = {offset, std::min(length, size - offset), {}};
        std::memcpy(pieces[piece].hash.data(), &piece, sizeof piece);
    }
}

}  // namespace

Result<void> check_block_size(Bytes block_size) {
    if (block_size < kMinBlockSize || block_size > format::kMaxBlock)
        return fail(ErrorKind::InvalidArgument, "--block-size {} is not between {} and {}",
                    format_bytes(block_size), format_bytes(kMinBlockSize),
                    format_bytes(format::kMaxBlock));
    return {};
}

Bytes piece_length(Bytes file_size, Bytes block_size) {
    constexpr Bytes kMost = format::ManifestLimits{}.blob_pieces;
    if (file_size <= block_size * kMost)
        return block_size;
    return round_up((file_size + kMost - 1) / kMost, kMiB);
}

Bytes stretch_length(Bytes file_size, Bytes block_size) {
    constexpr Bytes kMost = format::ManifestLimits{}.page_ranges;
    const Bytes length = std::min(round_up(block_size, format::kPage), format::kMaxPageRange);
    if (file_size <= length * kMost)
        return length;
    return std::min(round_up((file_size + kMost - 1) / kMost, kMiB), format::kMaxPageRange);
}

std::vector<DriveItem> DrivePlan::all_items(const BlobSources& sources) {
    std::vector<DriveItem> items;
    for (std::size_t source = 0; source < sources.sources().size(); ++source) {
        const auto number = static_cast<std::uint32_t>(source);
        if (!sources.sources()[source].directory.empty())
            items.push_back({number, SourceEntry::kRoot});
        for (std::size_t entry = 0; entry < sources.sources()[source].tree.entries().size(); ++entry)
            items.push_back({number, static_cast<std::uint32_t>(entry)});
    }
    return items;
}

Result<DrivePlan> DrivePlan::make(const BlobSources& sources, std::vector<DriveItem> items, PlanOptions options) {
    DrivePlan plan;
    plan.sources_ = &sources;
    plan.items_ = std::move(items);
    plan.options_ = std::move(options);
    plan.choose_names();
    DRAY_TRY(plan.measure_manifest());
    DRAY_TRY(plan.measure_files());
    return plan;
}

const SourceEntry* DrivePlan::file_of(const DriveItem& item) const {
    if (item.entry == SourceEntry::kRoot)
        return nullptr;
    const SourceEntry& entry = sources_->sources()[item.source].tree.entries()[item.entry];
    return entry.is_directory ? nullptr : &entry;
}

std::string DrivePlan::place_of(const DriveItem& item) const {
    const BlobSource& source = sources_->sources()[item.source];
    return item.entry == SourceEntry::kRoot ? source.directory : source.place(item.entry);
}

bool DrivePlan::is_page_blob(const DriveItem& item) const {
    return sources_->sources()[item.source].is_page_blob(item.entry);
}

Bytes DrivePlan::piece_length_of(const DriveItem& item) const {
    const Bytes size = file_of(item)->size;
    return is_page_blob(item) ? stretch_length(size, options_.block_size) : piece_length(size, options_.block_size);
}

std::string DrivePlan::free_name(std::set<std::string>& taken, std::string_view stem, std::string_view extension) const {
    std::string name = fmt::format("{}{}", stem, extension);
    for (unsigned number = 2; !taken.insert(folded(name)).second; ++number)
        name = fmt::format("{}-{}{}", stem, number, extension);
    return name;
}

void DrivePlan::choose_names() {
    // Readers may not tell upper from lower case.
    std::set<std::string> taken;
    std::set<std::size_t> wanted;
    for (const DriveItem& item : items_) {
        const BlobSource& source = sources_->sources()[item.source];
        if (item.entry == SourceEntry::kRoot)
            taken.insert(folded(source.directory));
        else if (source.directory.empty() && source.tree.entries()[item.entry].parent == SourceEntry::kRoot)
            taken.insert(folded(source.tree.entries()[item.entry].name));
        if (item.entry == SourceEntry::kRoot || file_of(item) == nullptr)
            continue;
        for (const auto& index : {source.metadata, source.properties})
            if (index)
                wanted.insert(*index);
    }
    manifest_name_ = free_name(taken, "DriveManifest", ".xml");
    checksums_name_ = free_name(taken, "SHA256SUMS", "");
    for (const std::size_t index : wanted)
        side_files_.push_back(
            {index, free_name(taken, sources_->side_files()[index].is_metadata ? "Metadata" : "Properties", ".xml")});
}

const std::string& DrivePlan::side_file_name(std::size_t index) const {
    return std::ranges::find(side_files_, index, &SideFile::index)->name;
}

/// Digests are of one length whatever they say: the manifest is written once with others and counted. So its size is known
/// (with all ranges that a page blob may have), and what it cannot hold is found, before there is a drive.
Result<void> DrivePlan::measure_manifest() {
    format::ManifestWriter counting = writer([this](std::string_view text) -> Result<void> {
        room_.add_to_manifest(text.size());
        if (room_.manifest() > format::ManifestLimits{}.size)
            return fail(
                ErrorKind::LimitReached,
                "the manifest would have more than {}: take a larger --block-size, or more drives",
                format_bytes(format::ManifestLimits{}.size));
        return check_interrupt();
    });
    std::vector<HashedPiece> pieces;
    for (const DriveItem& item : items_) {
        const SourceEntry* file = file_of(item);
        if (file == nullptr)
            continue;
        if (file->size > DriveRoom::kMaxFile)
            return fail(ErrorKind::LimitReached, "{} has {}, more than a file on a drive can have",
                        place_of(item), format_bytes(file->size));
        fill_pieces(pieces, file->size, piece_length_of(item));
        DRAY_TRY(counting.blob(blob(item, pieces)));
        // A range may begin anywhere in its stretch, at a number of more digits.
        if (is_page_blob(item))
            room_.add_to_manifest(pieces.size() * kMostDigits);
    }
    return counting.finish();
}

Result<void> DrivePlan::measure_files() {
    for (const DriveItem& item : items_) {
        const BlobSource& source = sources_->sources()[item.source];
        const SourceEntry* file = file_of(item);
        if (file == nullptr) {
            room_.add_directory(item.entry == SourceEntry::kRoot ? source.directory
                                                                 : source.tree.entries()[item.entry].name);
            continue;
        }
        room_.add_file(file->name, file->size);
        room_.add_to_checksums(format::checksum_line_size(kSha256, place_of(item)));
        ++files_;
        bytes_ += file->size;
    }
    for (const SideFile& side : side_files_) {
        room_.add_file(side.name, sources_->side_files()[side.index].content.size());
        room_.add_to_checksums(format::checksum_line_size(kSha256, side.name));
    }
    if (room_.content() > DriveRoom::kMaxContent)
        return fail(ErrorKind::LimitReached, "the source has more than a drive can hold");
    return {};
}

format::ManifestBlob DrivePlan::blob(const DriveItem& item, std::span<const HashedPiece> pieces) const {
    const BlobSource& source = sources_->sources()[item.source];
    const auto side_file = [&](const std::optional<std::size_t>& index) -> std::optional<format::SideFile> {
        if (!index)
            return std::nullopt;
        return format::SideFile{"\\" + side_file_name(*index), sources_->side_files()[*index].hash, true};
    };
    format::ManifestBlob blob;
    blob.blob_path = source.blob_path(item.entry);
    blob.file_path = "\\" + place_of(item);
    std::ranges::replace(blob.file_path, '/', '\\');
    blob.length = file_of(item)->size;
    blob.disposition = source.disposition;
    blob.is_page_blob = is_page_blob(item);
    blob.metadata = side_file(source.metadata);
    blob.properties = side_file(source.properties);
    blob.pieces.reserve(pieces.size());
    for (const HashedPiece& piece : pieces)
        blob.pieces.push_back({piece.offset, piece.length,
                               blob.is_page_blob ? std::string() : "MD5/" + to_base64(piece.hash), piece.hash});
    return blob;
}

format::ManifestWriter DrivePlan::writer(format::ManifestWriter::Sink sink) const {
    return {std::move(sink), options_.serial, kNoCredential, kCreator};
}

}  // namespace dray::ctl
