// SPDX-License-Identifier: Apache-2.0
//
// One copy of BitLocker's metadata, of which a volume has three. It is read and checked here by ourselves: libcryptsetup
// gets it afterwards, and takes what it must not (drives.md 1).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::volume {

/// Bytes that each copy takes of the volume; they read as zeros.
inline constexpr Bytes kMetadataArea = 64 * kKiB;
inline constexpr std::size_t kMetadataCopies = 3;

using MetadataPlaces = std::array<Bytes, kMetadataCopies>;

/// One of the ways to the volume key.
struct BitLockerProtector {
    /// As the metadata has it; any number.
    std::uint16_t kind = 0;
    /// As guid_text() writes it. The name of a start-up key's file.
    std::string id;
};
inline constexpr std::uint16_t kClearKey = 0x0000;
inline constexpr std::uint16_t kStartUpKey = 0x0200;
inline constexpr std::uint16_t kRecoveryPassword = 0x0800;
inline constexpr std::uint16_t kPassword = 0x2000;

/// Whether a key from a file can open it.
bool is_usable(const BitLockerProtector& protector);
/// "a password, a recovery password, a TPM": what there is, each kind once.
std::string names_of(const std::vector<BitLockerProtector>& protectors);

struct BitLockerMetadata {
    /// As guid_text() writes it.
    std::string id;
    /// Where encryption stands now, and where it goes: 4 is "encrypted".
    std::uint16_t state = 0;
    std::uint16_t next_state = 0;
    Bytes volume_size = 0;
    MetadataPlaces places{};
    /// Where the start of the plaintext lies, because the boot sector had to make room.
    Bytes header_offset = 0;
    Bytes header_size = 0;
    /// 0x8000 to 0x8005 are known.
    std::uint16_t cipher = 0;
    std::vector<BitLockerProtector> protectors;
};

/// `area` is the kMetadataArea bytes at `place`, where copy `number` (from 0) is to lie. Corrupt: it is no copy, or not a
/// whole one. Unsupported: of a version that is not known. What the values mean for the volume is not looked at.
Result<BitLockerMetadata> read_metadata(std::span<const std::byte> area, std::size_t number, Bytes place,
                                        Bytes sector_size);

}  // namespace dray::volume
