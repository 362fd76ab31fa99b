// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_plan.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/format/manifest_rules.hpp"
#include "daemon/model/blob_name.hpp"

namespace dray::ctl {
namespace {

constexpr Bytes kMinBlockSize = 4 * kKiB;
constexpr Bytes kBlock = 4 * kKiB;
constexpr Bytes kInode = 256;
/// Of ext4 with blocks of 4 KiB.
constexpr Bytes kMaxFile = Bytes{16} * 1024 * kGiB - kBlock;
/// In front of the volume: both LUKS2 headers and the key slots.
constexpr Bytes kHeader = 16 * kMiB;

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

/// What the file system sets aside for whoever mounts it; its steps are those of e2fsprogs, taken
/// early.
Bytes journal_of(Bytes content) {
    if (content < 96 * kMiB)
        return 4 * kMiB;
    if (content < 900 * kMiB)
        return 16 * kMiB;
    return content < 1800 * kMiB ? 32 * kMiB : 64 * kMiB;
}

}  // namespace

Result<std::string> parse_container(std::string_view text) {
    const std::string_view name = text.substr(0, text.find('/'));
    DRAY_TRY(check_container(name));
    std::string_view prefix = text.substr(name.size());
    // "lab/in" and "lab/in/" mean the same.
    if (prefix.ends_with('/'))
        prefix.remove_suffix(1);
    if (prefix.find("//") != std::string_view::npos || prefix.ends_with('/'))
        return fail(ErrorKind::InvalidArgument, "the container \"{}\" has an empty directory name",
                    text);
    std::string result = fmt::format("{}{}/", name, prefix);
    // A prefix that no blob name may begin with is refused even if there is no file.
    DRAY_TRY(parse_blob_path(result + "x"));
    return result;
}

Result<format::Disposition> parse_disposition(std::string_view text) {
    for (const auto disposition : {format::Disposition::Rename, format::Disposition::NoOverwrite,
                                   format::Disposition::Overwrite})
        if (text == format::to_string(disposition))
            return disposition;
    return fail(ErrorKind::InvalidArgument,
                "--disposition {} is none of rename, no-overwrite, overwrite", text);
}

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

Result<DrivePlan> DrivePlan::make(const SourceTree& tree, PlanOptions options) {
    DrivePlan plan;
    plan.options_ = std::move(options);
    plan.inodes_ = tree.entries().size() + 1;
    DRAY_TRY(plan.choose_manifest_name(tree));
    DRAY_TRY(plan.measure_manifest(tree));
    DRAY_TRY(plan.measure_drive(tree));
    return plan;
}

Result<void> DrivePlan::choose_manifest_name(const SourceTree& tree) {
    // Readers may not tell upper from lower case.
    std::set<std::string> taken;
    for (const SourceEntry& entry : tree.entries())
        if (entry.parent == SourceEntry::kRoot && folded(entry.name).starts_with("drivemanifest"))
            taken.insert(folded(entry.name));
    manifest_name_ = "DriveManifest.xml";
    for (unsigned number = 2; taken.contains(folded(manifest_name_)); ++number)
        manifest_name_ = fmt::format("DriveManifest-{}.xml", number);
    return {};
}

/// Digests are of one length whatever they say: the manifest is written once with others and
/// counted. So its size is known, and what it cannot hold is found, before there is a drive.
Result<void> DrivePlan::measure_manifest(const SourceTree& tree) {
    format::ManifestWriter counting = writer([this](std::string_view text) -> Result<void> {
        manifest_size_ += text.size();
        if (manifest_size_ > format::ManifestLimits{}.size)
            return fail(
                ErrorKind::LimitReached,
                "the manifest would have more than {}: take a larger --block-size, or two drives",
                format_bytes(format::ManifestLimits{}.size));
        return check_interrupt();
    });
    std::vector<Md5Hash> hashes;
    for (std::size_t entry = 0; entry < tree.entries().size(); ++entry) {
        const SourceEntry& file = tree.entries()[entry];
        if (file.is_directory)
            continue;
        if (file.size > kMaxFile)
            return fail(ErrorKind::LimitReached, "{} has {}, more than a file on a drive can have",
                        tree.path(entry), format_bytes(file.size));
        // Different ones: a manifest may not use one block id for different lengths.
        hashes.resize(pieces_of(file));
        for (std::size_t piece = 0; piece < hashes.size(); ++piece)
            std::memcpy(hashes[piece].data(), &piece, sizeof piece);
        DRAY_TRY(counting.blob(blob(tree, entry, hashes)));
    }
    return counting.finish();
}

Result<void> DrivePlan::measure_drive(const SourceTree& tree) {
    Bytes content = round_up(manifest_size_, kBlock);
    Bytes names = 0;
    for (const SourceEntry& entry : tree.entries()) {
        // Each directory has a block of its own, even if it is empty.
        content += entry.is_directory ? kBlock : round_up(entry.size, kBlock);
        names += 8 + round_up(entry.name.size(), 4);
        if (content > kMaxFile * 8)
            return fail(ErrorKind::LimitReached, "the source has more than a drive can hold");
    }
    // Blocks of directories are not always full.
    content += round_up(names * 2, kBlock);
    content += round_up((inodes_ + 16) * kInode, kMiB);
    // A group of blocks has as many inodes as blocks at most.
    content = std::max(content, inodes_ * (kBlock + kInode));
    // Bitmaps, group descriptors and their copies, nodes of extents, and a last group that is too
    // short.
    content += content / 256 + 12 * kMiB;
    needed_size_ = round_up(kHeader + content + journal_of(content), kMiB);
    return {};
}

Bytes DrivePlan::piece_length_of(const SourceEntry& file) const {
    return piece_length(file.size, options_.block_size);
}

std::size_t DrivePlan::pieces_of(const SourceEntry& file) const {
    const Bytes length = piece_length_of(file);
    return static_cast<std::size_t>((file.size + length - 1) / length);
}

format::ManifestBlob DrivePlan::blob(const SourceTree& tree, std::size_t entry,
                                     std::span<const Md5Hash> hashes) const {
    const SourceEntry& file = tree.entries()[entry];
    const Bytes length = piece_length_of(file);
    const std::string path = tree.path(entry);
    format::ManifestBlob blob;
    blob.blob_path = options_.blob_prefix + path;
    blob.file_path = "\\" + path;
    std::ranges::replace(blob.file_path, '/', '\\');
    blob.length = file.size;
    blob.disposition = options_.disposition;
    blob.pieces.reserve(hashes.size());
    Bytes offset = 0;
    for (const Md5Hash& hash : hashes) {
        const Bytes part = std::min(length, file.size - offset);
        blob.pieces.push_back({offset, part, "MD5/" + to_base64(hash), hash});
        offset += part;
    }
    return blob;
}

format::ManifestWriter DrivePlan::writer(format::ManifestWriter::Sink sink) const {
    return {std::move(sink), options_.serial, kNoCredential, kCreator};
}

}  // namespace dray::ctl
