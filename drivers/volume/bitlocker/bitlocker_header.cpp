// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/bitlocker/bitlocker_header.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "drivers/volume/little_endian.hpp"

namespace dray::volume {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kStart = 4096;
constexpr std::string_view kNormal = "4967d63b-2e29-4ad8-8399-f6a339e3d001";
constexpr std::string_view kEncryptOnWrite = "92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8";
constexpr std::array<std::string_view, kMetadataCopies> kOrdinals{"first", "second", "third"};

/// What the metadata says of where encryption stands.
enum : std::uint16_t { kDecrypted = 1, kSwitching = 2, kOnWrite = 3, kEncrypted = 4, kPaused = 5 };

std::unexpected<OpenError> not_whole(std::string_view what, std::string_view remedy) {
    return refuse({ErrorKind::Unsupported, fmt::format("{}; {}", what, remedy)}, kUnlockVolumeFailed);
}

std::unexpected<OpenError> ends_early(std::string sentence) {
    return refuse({ErrorKind::Corrupt, std::move(sentence)}, kDiskOperationFailed);
}

/// The boot sector.
struct Start {
    std::vector<std::byte> bytes;
    Bytes sector_size = 0;
    /// Of the identifier, behind which the places of the metadata stand.
    std::size_t identifier = 0;

    Bytes place(std::size_t copy) const { return little_endian<std::uint64_t>(bytes, identifier + kGuidBytes + 8 * copy); }
    void set_places(const MetadataPlaces& places) {
        for (std::size_t i = 0; i < kMetadataCopies; ++i)
            for (std::size_t byte = 0; byte < 8; ++byte)
                bytes[identifier + kGuidBytes + 8 * i + byte] = static_cast<std::byte>(places[i] >> (8 * byte));
    }
};

std::string identifier_of(const Start& start) { return guid_text(std::span(start.bytes).subspan(start.identifier, kGuidBytes)); }

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
    return std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

OpenResult<void> check_kind(const Start& start) {
    const std::string identifier = identifier_of(start);
    if (identifier == kEncryptOnWrite)
        return not_whole("the BitLocker volume is only partly encrypted: encrypt-on-write is under way, so that what was there before "
                         "is not encrypted",
                         "the customer has to let BitLocker encrypt or decrypt it to the end (manage-bde -status must show 100 %)");
    if (identifier == kNormal)
        return {};
    if (begins_with(start.bytes, "\xeb\x52\x90"sv))
        return not_whole("the volume was encrypted with the BitLocker of Windows Vista, which is not known here",
                         "the customer has to encrypt it with Windows 7 or newer");
    return refuse({ErrorKind::Unsupported, fmt::format("the BitLocker volume is of an unknown kind ({})", identifier)},
                  kUnlockVolumeFailed);
}

OpenResult<Start> read_start(BlockDevice& device) {
    constexpr std::size_t kIdentifier = 160;
    constexpr std::size_t kToGoIdentifier = 424;
    Start start;
    const OpenError none{{ErrorKind::NotFound, "there is no BitLocker volume"}, kVolumeNotFound};
    if (device.size() < kStart)
        return std::unexpected(none);
    start.bytes.resize(kStart);
    if (Result<void> read = device.read(0, start.bytes); !read)
        return refuse(std::move(read.error()), kDiskOperationFailed);
    const std::span<const std::byte> magic = std::span(start.bytes).subspan(3);
    if (begins_with(magic, "-FVE-FS-")) {
        start.identifier = kIdentifier;
    } else if (begins_with(magic, "MSWIN4.1")) {
        // To Go: in front stands a small FAT with a program for old versions of Windows.
        start.identifier = kToGoIdentifier;
        const std::string identifier = identifier_of(start);
        if (identifier != kNormal && identifier != kEncryptOnWrite)
            return std::unexpected(none);
    } else {
        return std::unexpected(none);
    }
    DRAY_TRY(check_kind(start));
    if (!begins_with(start.bytes, "\xeb\x58\x90"sv))
        return refuse({ErrorKind::Corrupt, "the boot sector of the BitLocker volume is damaged"}, kFailed);
    start.sector_size = little_endian<std::uint16_t>(start.bytes, 11);
    if (start.sector_size != 512 && start.sector_size != 4096)
        return refuse({ErrorKind::Unsupported, fmt::format("the BitLocker volume has sectors of {} bytes; only 512 and 4096 are known",
                                                           start.sector_size)},
                      kUnlockVolumeFailed);
    return start;
}

/// What the three copies have in store.
struct Copies {
    BitLockerMetadata metadata;
    std::vector<std::byte> area;
    /// Which one was used; those before it are damaged.
    std::size_t used = 0;
};

Result<BitLockerMetadata> read_copy(BlockDevice& device, const Start& start, std::size_t copy, std::vector<std::byte>& area) {
    const Bytes place = start.place(copy);
    if (place % start.sector_size != 0 || place < start.sector_size)
        return fail(ErrorKind::Corrupt, "its place, {}, is impossible", place);
    if (place > device.size() || kMetadataArea > device.size() - place)
        return fail(ErrorKind::LimitReached, "its place, {}, is beyond the end of the device", place);
    area.resize(kMetadataArea);
    DRAY_TRY(device.read(place, area));
    return read_metadata(area, copy, place, start.sector_size);
}

OpenResult<Copies> read_copies(BlockDevice& device, const Start& start) {
    Copies copies;
    std::string reasons;
    std::size_t beyond = 0;
    std::optional<Error> unknown;
    for (; copies.used < kMetadataCopies; ++copies.used) {
        Result<BitLockerMetadata> metadata = read_copy(device, start, copies.used, copies.area);
        if (metadata) {
            copies.metadata = *std::move(metadata);
            return copies;
        }
        if (metadata.error().kind() == ErrorKind::Gone)
            return refuse(std::move(metadata.error()), kDiskOperationFailed);
        reasons += fmt::format("{}the {} one: {}", reasons.empty() ? "" : "; ", kOrdinals[copies.used], metadata.error().text());
        beyond += metadata.error().kind() == ErrorKind::LimitReached ? 1 : 0;
        if (!unknown && metadata.error().kind() == ErrorKind::Unsupported)
            unknown = std::move(metadata.error());
    }
    if (unknown)
        return refuse(Error(*std::move(unknown), "the BitLocker metadata cannot be read"), kUnlockVolumeFailed);
    if (beyond == kMetadataCopies)
        return ends_early(fmt::format("the device ends at {}, before the BitLocker metadata", device.size()));
    return refuse({ErrorKind::Corrupt, fmt::format("all three copies of the BitLocker metadata are damaged ({})", reasons)}, kFailed);
}

OpenResult<void> check_state(const BitLockerMetadata& metadata) {
    const std::uint16_t now = metadata.state;
    const std::uint16_t next = metadata.next_state;
    if (now == kEncrypted && next == kEncrypted)
        return {};
    constexpr auto kFinish = "the customer has to let it end (manage-bde -status must show 100 %)"sv;
    constexpr auto kResume = "the customer has to resume it and let it end (manage-bde -resume, then -status must show 100 %)"sv;
    if (now == kDecrypted && next == kDecrypted)
        return refuse({ErrorKind::Denied, "the BitLocker volume is decrypted; the customer has to encrypt it"}, kNotActivated);
    const std::string_view work = next == kDecrypted ? "decryption"sv : "encryption"sv;
    if (now == kPaused || next == kPaused)
        return not_whole(fmt::format("the BitLocker volume is only partly encrypted: its {} is paused", work), kResume);
    if (now == kOnWrite || next == kOnWrite)
        return not_whole("the BitLocker volume is only partly encrypted: encrypt-on-write is under way", kFinish);
    if (now == kSwitching || next == kSwitching || next == kDecrypted || next == kEncrypted)
        return not_whole(fmt::format("the BitLocker volume is only partly encrypted: its {} is in progress", work), kFinish);
    return not_whole(fmt::format("the BitLocker volume is in an unknown state ({}, next {})", now, next), kFinish);
}

OpenResult<void> check_clear_key(const std::vector<BitLockerProtector>& protectors) {
    if (std::ranges::find(protectors, kClearKey, &BitLockerProtector::kind) == protectors.end())
        return {};
    return refuse({ErrorKind::Denied, "BitLocker's protection of the volume is suspended: its key lies on the drive in the clear; the customer "
                                      "has to resume protection (manage-bde -protectors -enable)"},
                  kUnlockVolumeFailed);
}

OpenResult<BitLockerSegment> segment_of(const BitLockerMetadata& metadata, Bytes sector_size, Bytes device_size) {
    BitLockerSegment segment;
    const std::optional<BitLockerAlgorithm> algorithm = bitlocker_algorithm_of(metadata.cipher);
    if (!algorithm)
        return refuse({ErrorKind::Unsupported, fmt::format("the BitLocker volume is encrypted with the cipher {:#06x}, which is not known; known are "
                                                           "AES-CBC with or without diffuser and AES-XTS",
                                                           metadata.cipher)},
                      kUnlockVolumeFailed);
    segment.algorithm = *algorithm;
    segment.size = metadata.volume_size;
    segment.sector_size = sector_size;
    segment.header_offset = metadata.header_offset;
    segment.header_size = metadata.header_size;
    segment.metadata = metadata.places;
    if (segment.size > device_size)
        return ends_early(fmt::format("the BitLocker volume has {} bytes, but the device ends at {}", segment.size, device_size));
    if (Result<void> checked = check_segment(segment, device_size); !checked)
        return refuse(std::move(checked.error()), kFailed);
    return segment;
}

std::string notice_of(const Start& start, const Copies& copies) {
    if (copies.used > 0)
        return fmt::format("{} of BitLocker's metadata {} damaged; the {} one was used",
                           copies.used == 1 ? "the first copy" : "the first two copies", copies.used == 1 ? "is" : "are",
                           kOrdinals[copies.used]);
    for (std::size_t i = 0; i < kMetadataCopies; ++i)
        if (start.place(i) != copies.metadata.places[i])
            return "the boot sector of the BitLocker volume names wrong places for its metadata";
    return {};
}

}  // namespace

Result<void> check_segment(const BitLockerSegment& segment, Bytes device_size) {
    const auto is_inside = [&](Bytes offset, Bytes size) {
        return offset <= segment.size && size <= segment.size - offset && offset % segment.sector_size == 0 &&
               size % segment.sector_size == 0;
    };
    if (segment.sector_size != 512 && segment.sector_size != 4096)
        return fail(ErrorKind::Corrupt, "the BitLocker volume has sectors of {} bytes", segment.sector_size);
    if (segment.offset > device_size || segment.size > device_size - segment.offset)
        return fail(ErrorKind::Corrupt, "the BitLocker volume lies outside the device");
    if (segment.size == 0 || segment.size % segment.sector_size != 0)
        return fail(ErrorKind::Corrupt, "the BitLocker volume has an impossible size of {} bytes", segment.size);
    for (const Bytes place : segment.metadata)
        if (!is_inside(place, kMetadataArea))
            return fail(ErrorKind::Corrupt, "a copy of the BitLocker metadata, at {}, lies outside the volume", place);
    if (segment.header_size == 0 || segment.header_offset < segment.header_size ||
        !is_inside(segment.header_offset, segment.header_size))
        return fail(ErrorKind::Corrupt, "the start of the BitLocker volume, {} bytes at {}, lies outside the volume",
                    segment.header_size, segment.header_offset);
    return {};
}

OpenResult<BitLockerHeader> find_bitlocker_header(BlockDevice& device) {
    DRAY_LET(Start start, read_start(device));
    DRAY_LET(Copies copies, read_copies(device, start));
    BitLockerMetadata& metadata = copies.metadata;
    DRAY_TRY(check_state(metadata));
    DRAY_TRY(check_clear_key(metadata.protectors));
    if (metadata.protectors.size() > kMaxProtectors)
        return refuse({ErrorKind::LimitReached, fmt::format("the BitLocker volume has {} protectors, at most {} are tried; the customer has to "
                                                            "remove some (manage-bde -protectors -delete)",
                                                            metadata.protectors.size(), kMaxProtectors)},
                      kUnlockVolumeFailed);
    BitLockerHeader header;
    DRAY_LET(header.segment, segment_of(metadata, start.sector_size, device.size()));
    header.notice = notice_of(start, copies);
    header.id = std::move(metadata.id);
    header.protectors = std::move(metadata.protectors);
    start.set_places(header.segment.metadata);
    header.start = std::move(start.bytes);
    header.metadata = std::move(copies.area);
    return header;
}

OpenResult<void> check_protectors(const BitLockerHeader& header) {
    if (std::ranges::any_of(header.protectors, is_usable))
        return {};
    return refuse({ErrorKind::NotFound, fmt::format("the BitLocker volume is protected by {}, which cannot be used here; the customer has to add "
                                                    "a recovery password (manage-bde -protectors -add -recoverypassword)",
                                                    names_of(header.protectors))},
                  kProtectorNotFound);
}

}  // namespace dray::volume
