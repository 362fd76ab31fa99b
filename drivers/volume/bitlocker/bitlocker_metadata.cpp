// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/bitlocker/bitlocker_metadata.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "drivers/volume/little_endian.hpp"

namespace dray::volume {
namespace {

constexpr std::string_view kMagic = "-FVE-FS-";
constexpr std::uint16_t kVersion = 2;
/// Of Windows Vista.
constexpr std::uint16_t kOldVersion = 1;
/// The block's header and the one of its entries.
constexpr std::size_t kBlockHeader = 64;
constexpr std::size_t kEntriesHeader = 48;
constexpr std::size_t kEntries = kBlockHeader + kEntriesHeader;
/// What stands behind the block begins with size, version and checksum.
constexpr std::size_t kValidation = 8;
constexpr std::size_t kEntryHeader = 8;
constexpr std::size_t kProtectorHeader = 28;
constexpr std::size_t kNonceAndTag = 28;

enum class EntryType : std::uint16_t { Protector = 0x0002, VolumeKey = 0x0003, VolumeHeader = 0x000f };
enum class ValueType : std::uint16_t {
    Key = 0x0001,
    StretchKey = 0x0003,
    EncryptedKey = 0x0005,
    Protector = 0x0008,
    Place = 0x000f,
};

struct Entry {
    EntryType type{};
    ValueType value{};
    std::span<const std::byte> body;
};

struct KindName {
    std::uint16_t kind;
    std::string_view name;
};
constexpr std::array kKindNames{
    KindName{kClearKey, "a clear key"},
    KindName{0x0100, "a TPM"},
    KindName{kStartUpKey, "a start-up key file"},
    KindName{0x0300, "a TPM with a start-up key"},
    KindName{0x0500, "a TPM with a PIN"},
    KindName{0x0700, "a TPM with a PIN and a start-up key"},
    KindName{kRecoveryPassword, "a recovery password"},
    KindName{0x1000, "a smart card"},
    KindName{kPassword, "a password"},
};

std::string name_of(std::uint16_t kind) {
    const auto* found = std::ranges::find(kKindNames, kind, &KindName::kind);
    return found != kKindNames.end() ? std::string(found->name) : fmt::format("a protector of the unknown kind {:#06x}", kind);
}

/// They end where a size of 0 stands, or where no further one fits.
Result<std::vector<Entry>> entries_of(std::span<const std::byte> bytes) {
    std::vector<Entry> entries;
    while (bytes.size() >= kEntryHeader) {
        const std::size_t size = little_endian<std::uint16_t>(bytes, 0);
        if (size == 0)
            break;
        if (size < kEntryHeader || size > bytes.size())
            return fail(ErrorKind::Corrupt, "an entry of {} bytes has an impossible size", size);
        entries.push_back({static_cast<EntryType>(little_endian<std::uint16_t>(bytes, 2)),
                           static_cast<ValueType>(little_endian<std::uint16_t>(bytes, 4)),
                           bytes.subspan(kEntryHeader, size - kEntryHeader)});
        bytes = bytes.subspan(size);
    }
    return entries;
}

std::size_t least_body(ValueType value) {
    switch (value) {
        case ValueType::Key: return 4;
        // What kind of key, and the salt.
        case ValueType::StretchKey: return 4 + 16;
        case ValueType::EncryptedKey: return kNonceAndTag;
        default: return 0;
    }
}

Result<BitLockerProtector> read_protector(std::span<const std::byte> body) {
    if (body.size() < kProtectorHeader)
        return fail(ErrorKind::Corrupt, "a protector is too short");
    BitLockerProtector protector;
    protector.id = guid_text(body.first(kGuidBytes));
    protector.kind = little_endian<std::uint16_t>(body, kProtectorHeader - 2);
    // What libcryptsetup will look into.
    if (protector.kind == kClearKey || is_usable(protector)) {
        DRAY_LET(const std::vector<Entry> parts, entries_of(body.subspan(kProtectorHeader)));
        for (const Entry& part : parts)
            if (part.body.size() < least_body(part.value))
                return fail(ErrorKind::Corrupt, "a part of a protector is too short");
    }
    return protector;
}

Result<void> read_entries(std::span<const std::byte> bytes, BitLockerMetadata& metadata) {
    DRAY_LET(const std::vector<Entry> entries, entries_of(bytes));
    bool has_volume_key = false;
    for (const Entry& entry : entries) {
        if (entry.type == EntryType::Protector && entry.value == ValueType::Protector) {
            DRAY_LET(BitLockerProtector protector, read_protector(entry.body));
            metadata.protectors.push_back(std::move(protector));
        } else if (entry.type == EntryType::VolumeKey && entry.value == ValueType::EncryptedKey) {
            if (entry.body.size() < kNonceAndTag)
                return fail(ErrorKind::Corrupt, "the encrypted volume key is too short");
            has_volume_key = true;
        } else if (entry.type == EntryType::VolumeHeader && entry.value == ValueType::Place) {
            if (entry.body.size() < 16)
                return fail(ErrorKind::Corrupt, "the place of the volume's start is too short");
            metadata.header_offset = little_endian<std::uint64_t>(entry.body, 0);
            metadata.header_size = little_endian<std::uint64_t>(entry.body, 8);
        }
    }
    if (!has_volume_key)
        return fail(ErrorKind::Corrupt, "there is no volume key in it");
    return {};
}

Result<void> check_version(std::span<const std::byte> area) {
    const auto version = little_endian<std::uint16_t>(area, 10);
    if (version == kOldVersion)
        return fail(ErrorKind::Unsupported, "it has the form of Windows Vista, which is not known here");
    if (version != kVersion)
        return fail(ErrorKind::Unsupported, "its version {} is not known", version);
    return {};
}

}  // namespace

bool is_usable(const BitLockerProtector& protector) {
    return protector.kind == kStartUpKey || protector.kind == kRecoveryPassword || protector.kind == kPassword;
}

std::string names_of(const std::vector<BitLockerProtector>& protectors) {
    std::vector<std::uint16_t> kinds;
    for (const BitLockerProtector& protector : protectors)
        if (std::ranges::find(kinds, protector.kind) == kinds.end() && kinds.size() < 2 * kKindNames.size())
            kinds.push_back(protector.kind);
    std::string names;
    for (const std::uint16_t kind : kinds)
        names += (names.empty() ? "" : ", ") + name_of(kind);
    return names.empty() ? "nothing" : names;
}

Result<BitLockerMetadata> read_metadata(std::span<const std::byte> area, std::size_t number, Bytes place,
                                        Bytes sector_size) {
    if (area.size() != kMetadataArea || std::memcmp(area.data(), kMagic.data(), kMagic.size()) != 0)
        return fail(ErrorKind::Corrupt, "it does not begin with its signature");
    DRAY_TRY(check_version(area));
    const std::size_t size = std::size_t{little_endian<std::uint16_t>(area, 8)} * 16;
    if (size < kEntries || size > area.size() - kValidation)
        return fail(ErrorKind::Corrupt, "its size of {} bytes is impossible", size);
    if (crc32(area.first(size)) != little_endian<std::uint32_t>(area, size + 4))
        return fail(ErrorKind::Corrupt, "its checksum is wrong");

    BitLockerMetadata metadata;
    metadata.state = little_endian<std::uint16_t>(area, 12);
    metadata.next_state = little_endian<std::uint16_t>(area, 14);
    metadata.volume_size = little_endian<std::uint64_t>(area, 16);
    metadata.header_size = little_endian<std::uint32_t>(area, 28) * sector_size;
    for (std::size_t i = 0; i < kMetadataCopies; ++i)
        metadata.places[i] = little_endian<std::uint64_t>(area, 32 + 8 * i);
    metadata.header_offset = little_endian<std::uint64_t>(area, 56);
    if (metadata.places[number] != place)
        return fail(ErrorKind::Corrupt, "it belongs to another place, {}", metadata.places[number]);

    const std::span<const std::byte> described = area.first(size).subspan(kBlockHeader);
    const auto length = little_endian<std::uint32_t>(described, 0);
    if (length < kEntriesHeader || length > described.size())
        return fail(ErrorKind::Corrupt, "its entries cannot have {} bytes", length);
    metadata.id = guid_text(described.subspan(16, kGuidBytes));
    metadata.cipher = little_endian<std::uint16_t>(described, 36);
    DRAY_TRY(read_entries(described.first(length).subspan(kEntriesHeader), metadata));
    return metadata;
}

}  // namespace dray::volume
