// SPDX-License-Identifier: Apache-2.0
//
// Whether a device holds a BitLocker volume, whether all of it is encrypted and can be opened with a key from a file, and
// where its parts lie. libcryptsetup is not asked: it hands out keys of volumes that are half encrypted.
#pragma once

#include <string>
#include <vector>

#include "drivers/volume/bitlocker/bitlocker_cipher.hpp"
#include "drivers/volume/bitlocker/bitlocker_metadata.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// Each protector may cost a key derivation of about 0.3 s.
inline constexpr std::size_t kMaxProtectors = 32;

/// Where the parts of the volume lie: `offset` from the start of the device, all other places from there.
struct BitLockerSegment {
    Bytes offset = 0;
    Bytes size = 0;
    Bytes sector_size = 512;
    BitLockerAlgorithm algorithm = BitLockerAlgorithm::Xts128;
    /// The first `header_size` bytes of the plaintext lie here.
    Bytes header_offset = 0;
    Bytes header_size = 0;
    MetadataPlaces metadata{};
};

/// Corrupt: a part lies outside the volume or across its sectors, or the volume outside the device.
Result<void> check_segment(const BitLockerSegment& segment, Bytes device_size);

struct BitLockerHeader {
    BitLockerSegment segment;
    std::string id;
    std::vector<BitLockerProtector> protectors;
    /// The first 4096 bytes of the volume, naming the places of the metadata as the metadata does.
    std::vector<std::byte> start;
    /// The first copy of the metadata that is whole.
    std::vector<std::byte> metadata;
    /// What is odd but harmless, or "".
    std::string notice;
};

/// NotFound: there is no BitLocker volume. Everything else says what is to be done about it. Unsupported: a version, kind or
/// cipher that is not known, or a volume that is not encrypted as a whole (BitLockerUnlockVolumeFailed). Denied: its
/// protection is suspended (the same), or it is decrypted (BitLockerNotActivated). Corrupt: damaged in all three copies
/// (BitLockerFailed), or the device ends within it (DiskOperationFailed). LimitReached: more protectors than
/// kMaxProtectors (BitLockerUnlockVolumeFailed).
OpenResult<BitLockerHeader> find_bitlocker_header(BlockDevice& device);

/// NotFound, with status BitLockerProtectorNotFound: nothing that a key from a file opens. After the volume's identity was
/// looked at, because it would be true of the wrong drive as well.
OpenResult<void> check_protectors(const BitLockerHeader& header);

}  // namespace dray::volume
