// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/bitlocker/bitlocker_volume.hpp"

#include <algorithm>
#include <utility>

namespace dray::volume {
namespace {

/// What was read is decrypted while it still sits in the processor's cache, yet a disk wants long reads.
constexpr std::size_t kStride = kMiB;

}  // namespace

BitLockerVolume::BitLockerVolume(BlockDevice& device, BitLockerCipher cipher, const BitLockerSegment& segment)
    : device_(device), cipher_(std::move(cipher)), segment_(segment) {}

Result<std::unique_ptr<BitLockerVolume>> BitLockerVolume::open(BlockDevice& device, const SecretBytes& key,
                                                               const BitLockerSegment& segment) {
    DRAY_TRY(check_segment(segment, device.size()));
    DRAY_LET(BitLockerCipher cipher, BitLockerCipher::create(segment.algorithm, key, segment.sector_size));
    return std::unique_ptr<BitLockerVolume>(new BitLockerVolume(device, std::move(cipher), segment));
}

BitLockerVolume::Stretch BitLockerVolume::stretch_at(Bytes offset) const {
    if (offset < segment_.header_size)
        return {segment_.header_size, segment_.header_offset + offset, false};
    Stretch stretch{segment_.size, offset, false};
    const auto meets = [&](Bytes start, Bytes size) {
        if (offset >= start && offset < start + size)
            stretch = {start + size, 0, true};
        else if (start > offset)
            stretch.end = std::min(stretch.end, start);
    };
    for (const Bytes place : segment_.metadata)
        meets(place, kMetadataArea);
    meets(segment_.header_offset, segment_.header_size);
    return stretch;
}

Result<void> BitLockerVolume::read(Bytes offset, std::span<std::byte> content) {
    if (offset > segment_.size || content.size() > segment_.size - offset)
        return fail(ErrorKind::Corrupt, "the volume ends at {}, but {} bytes from {} are needed", segment_.size,
                    content.size(), offset);
    if (offset % segment_.sector_size != 0 || content.size() % segment_.sector_size != 0)
        return fail(ErrorKind::Internal, "{} bytes from {} are not whole sectors", content.size(), offset);
    while (!content.empty()) {
        const Stretch stretch = stretch_at(offset);
        const auto length = static_cast<std::size_t>(std::min<Bytes>({kStride, content.size(), stretch.end - offset}));
        const std::span<std::byte> part = content.first(length);
        if (stretch.is_zero) {
            std::ranges::fill(part, std::byte{0});
        } else {
            DRAY_TRY(device_.read(segment_.offset + stretch.place, part));
            DRAY_TRY(cipher_.decrypt(stretch.place, part));
        }
        content = content.subspan(length);
        offset += length;
    }
    return {};
}

Result<void> BitLockerVolume::write(Bytes /*offset*/, std::span<std::byte> /*content*/) {
    return fail(ErrorKind::Unsupported, "BitLocker volumes are only read");
}

}  // namespace dray::volume
