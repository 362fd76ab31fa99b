// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_set.hpp"

#include <algorithm>
#include <utility>

#include "daemon/ctl/drive_room.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/format/checksum_line.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::ctl {
namespace {

constexpr std::size_t kSha256 = 32;
/// What a blob takes in a manifest beside its two paths, and each of its pieces, at most.
constexpr Bytes kBlob = 400;
constexpr Bytes kPiece = 160;
/// A new list of blobs, with its two side files; there may be one for each blob.
constexpr Bytes kBlobList = 300;
/// The manifest's head and end, and the root's own files: manifest, checksums, and side files of 64 KiB each.
constexpr Bytes kHead = 1024;

/// Numbers that a file has whatever drive it goes onto.
struct FileNeeds {
    std::string_view name;
    Bytes size = 0;
    Bytes manifest = 0;
    Bytes checksums = 0;
};

FileNeeds needs_of(const BlobSource& source, std::size_t entry, Bytes block_size) {
    const SourceEntry& file = source.tree.entries()[entry];
    const std::string place = source.place(entry);
    const Bytes length =
        source.is_page_blob(entry) ? stretch_length(file.size, block_size) : piece_length(file.size, block_size);
    FileNeeds needs{file.name, file.size, 0, format::checksum_line_size(kSha256, place)};
    needs.manifest = kBlob + kBlobList + format::escape_xml(source.blob_path(entry)).size() +
                     format::escape_xml(place).size() + (file.size + length - 1) / length * kPiece;
    return needs;
}

/// One drive while files are put onto it.
class Filling {
public:
    Filling(const BlobSources& sources, Bytes size) : size_(size) {
        room_.add_to_manifest(kHead);
        // Whichever of them it will need.
        for (const SourceSideFile& side : sources.side_files()) {
            room_.add_file("Properties-999.xml", side.content.size());
            room_.add_to_checksums(format::checksum_line_size(kSha256, "Properties-999.xml"));
        }
        for (const BlobSource& source : sources.sources())
            has_.emplace_back(source.tree.entries().size() + 1, false);
    }

    /// Whether the entry of a source is there; SourceEntry::kRoot too.
    bool has(std::size_t source, std::uint32_t entry) const { return has_[source][place_of(source, entry)]; }

    /// Puts a file or an empty directory there, with the directories above it, unless there is no room.
    bool take(const BlobSource& from, std::size_t source, std::uint32_t entry, const FileNeeds& needs) {
        DriveRoom room = room_;
        for (std::uint32_t above = from.tree.entries()[entry].parent;; above = from.tree.entries()[above].parent) {
            if (!has(source, above) && !name_of(from, above).empty())
                room.add_directory(name_of(from, above));
            if (above == SourceEntry::kRoot)
                break;
        }
        if (from.tree.entries()[entry].is_directory)
            room.add_directory(needs.name);
        else
            room.add_file(needs.name, needs.size);
        room.add_to_manifest(needs.manifest);
        room.add_to_checksums(needs.checksums);
        if (room.needed() > size_ || room.manifest() > format::ManifestLimits{}.size)
            return false;
        room_ = room;
        mark(from, source, entry);
        return true;
    }

private:
    std::size_t place_of(std::size_t source, std::uint32_t entry) const {
        return entry == SourceEntry::kRoot ? has_[source].size() - 1 : entry;
    }
    static std::string_view name_of(const BlobSource& from, std::uint32_t entry) {
        return entry == SourceEntry::kRoot ? std::string_view(from.directory) : from.tree.entries()[entry].name;
    }
    void mark(const BlobSource& from, std::size_t source, std::uint32_t entry) {
        for (std::uint32_t above = entry;; above = from.tree.entries()[above].parent) {
            has_[source][place_of(source, above)] = true;
            if (above == SourceEntry::kRoot)
                break;
        }
    }

    Bytes size_;
    DriveRoom room_;
    std::vector<std::vector<bool>> has_;
};

/// Those of one kind; directories come after all files, which have brought along what they need.
Result<void> put(const BlobSources& sources, bool are_directories, Bytes block_size, std::vector<Filling>& fillings) {
    for (std::size_t source = 0; source < sources.sources().size(); ++source) {
        const BlobSource& from = sources.sources()[source];
        for (std::uint32_t entry = 0; entry < from.tree.entries().size(); ++entry) {
            DRAY_TRY(check_interrupt());
            const SourceEntry& each = from.tree.entries()[entry];
            if (each.is_directory != are_directories ||
                std::ranges::any_of(fillings, [&](const Filling& drive) { return drive.has(source, entry); }))
                continue;
            const FileNeeds needs = are_directories ? FileNeeds{each.name} : needs_of(from, entry, block_size);
            const auto takes = [&](Filling& drive) { return drive.take(from, source, entry, needs); };
            const auto has_parent = [&](const Filling& drive) { return drive.has(source, each.parent); };
            if (const auto home = std::ranges::find_if(fillings, has_parent);
                are_directories && home != fillings.end() && takes(*home))
                continue;
            if (std::ranges::none_of(fillings, takes))
                return fail(ErrorKind::NoSpace, "{} ({}) fits onto none of the {} drives any more",
                            readable(from.tree.path(entry)), format_bytes(needs.size), fillings.size());
        }
    }
    return {};
}

}  // namespace

Result<std::vector<std::vector<DriveItem>>> distribute(const BlobSources& sources, const std::vector<Bytes>& drives,
                                                       Bytes block_size) {
    std::vector<Filling> fillings;
    fillings.reserve(drives.size());
    for (const Bytes size : drives)
        fillings.emplace_back(sources, size);
    DRAY_TRY(put(sources, false, block_size, fillings));
    DRAY_TRY(put(sources, true, block_size, fillings));
    std::vector<std::vector<DriveItem>> items(drives.size());
    for (const DriveItem& item : DrivePlan::all_items(sources))
        for (std::size_t drive = 0; drive < drives.size(); ++drive)
            if (fillings[drive].has(item.source, item.entry))
                items[drive].push_back(item);
    return items;
}

}  // namespace dray::ctl
