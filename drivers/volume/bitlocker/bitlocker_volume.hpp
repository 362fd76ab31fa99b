// SPDX-License-Identifier: Apache-2.0
//
// The plaintext of a BitLocker volume whose key is known. One thread.
#pragma once

#include <memory>

#include "daemon/base/secret.hpp"
#include "drivers/volume/bitlocker/bitlocker_cipher.hpp"
#include "drivers/volume/bitlocker/bitlocker_header.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

class BitLockerVolume : public BlockDevice {
public:
    /// `device` must outlive it. Corrupt, Unsupported: as check_segment() and BitLockerCipher::create().
    static Result<std::unique_ptr<BitLockerVolume>> open(BlockDevice& device, const SecretBytes& key,
                                                         const BitLockerSegment& segment);

    Bytes size() const override { return segment_.size; }
    Bytes sector_size() const override { return segment_.sector_size; }
    /// BitLocker's own areas read as zeros.
    Result<void> read(Bytes offset, std::span<std::byte> content) override;
    /// Always Unsupported.
    Result<void> write(Bytes offset, std::span<std::byte> content) override;
    Result<void> sync() override { return {}; }

private:
    /// A stretch of the plaintext that lies in one piece.
    struct Stretch {
        Bytes end = 0;
        /// Where it lies encrypted; unless it reads as zeros.
        Bytes place = 0;
        bool is_zero = false;
    };

    BitLockerVolume(BlockDevice& device, BitLockerCipher cipher, const BitLockerSegment& segment);
    Stretch stretch_at(Bytes offset) const;

    BlockDevice& device_;
    BitLockerCipher cipher_;
    BitLockerSegment segment_;
};

}  // namespace dray::volume
