// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_volume.hpp"

#include <algorithm>
#include <utility>

namespace dray::volume {
namespace {

/// What was read is decrypted while it still sits in the processor's cache, yet a disk wants long reads.
constexpr std::size_t kStride = kMiB;

}  // namespace

LuksVolume::LuksVolume(BlockDevice& device, LuksCipher cipher, const LuksSegment& segment)
    : device_(device), cipher_(std::move(cipher)), segment_(segment) {}

Result<std::unique_ptr<LuksVolume>> LuksVolume::open(BlockDevice& device, const SecretBytes& key,
                                                     const LuksSegment& segment) {
    DRAY_LET(LuksCipher cipher, LuksCipher::create(segment.algorithm, key, segment.sector_size));
    if (segment.offset > device.size() || segment.size > device.size() - segment.offset)
        return fail(ErrorKind::Corrupt, "the encrypted data lies outside the device");
    return std::unique_ptr<LuksVolume>(new LuksVolume(device, std::move(cipher), segment));
}

Result<void> LuksVolume::check(Bytes offset, std::size_t length) const {
    if (offset > segment_.size || length > segment_.size - offset)
        return fail(ErrorKind::Corrupt, "the volume ends at {}, but {} bytes from {} are needed",
                    segment_.size, length, offset);
    if (offset % segment_.sector_size != 0 || length % segment_.sector_size != 0)
        return fail(ErrorKind::Internal, "{} bytes from {} are not whole sectors", length, offset);
    return {};
}

Result<void> LuksVolume::read(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    while (!content.empty()) {
        const std::span<std::byte> part = content.first(std::min(kStride, content.size()));
        DRAY_TRY(device_.read(segment_.offset + offset, part));
        DRAY_TRY(cipher_.decrypt(unit_of(offset), part));
        content = content.subspan(part.size());
        offset += part.size();
    }
    return {};
}

Result<void> LuksVolume::encrypt(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    return cipher_.encrypt(unit_of(offset), content);
}

Result<void> LuksVolume::write_encrypted(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    return device_.write(segment_.offset + offset, content);
}

Result<void> LuksVolume::read_encrypted(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    return device_.read(segment_.offset + offset, content);
}

Result<void> LuksVolume::write(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    while (!content.empty()) {
        const std::span<std::byte> part = content.first(std::min(kStride, content.size()));
        DRAY_TRY(cipher_.encrypt(unit_of(offset), part));
        DRAY_TRY(device_.write(segment_.offset + offset, part));
        content = content.subspan(part.size());
        offset += part.size();
    }
    return {};
}

}  // namespace dray::volume
