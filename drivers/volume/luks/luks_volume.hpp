// SPDX-License-Identifier: Apache-2.0
//
// The plaintext of a LUKS volume whose key is known. One thread.
#pragma once

#include <memory>

#include "daemon/base/secret.hpp"
#include "drivers/volume/luks/luks_cipher.hpp"
#include "drivers/volume/luks/luks_policy.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

class LuksVolume : public BlockDevice {
public:
    /// `device` must outlive it.
    static Result<std::unique_ptr<LuksVolume>> open(BlockDevice& device, const SecretBytes& key,
                                                    const LuksSegment& segment);

    Bytes size() const override { return segment_.size; }
    Bytes sector_size() const override { return segment_.sector_size; }
    Result<void> read(Bytes offset, std::span<std::byte> content) override;
    Result<void> write(Bytes offset, std::span<std::byte> content) override;
    Result<void> sync() override { return device_.sync(); }

    /// What write() would put on the device at `offset`, for write_encrypted() later.
    Result<void> encrypt(Bytes offset, std::span<std::byte> content);
    Result<void> write_encrypted(Bytes offset, std::span<std::byte> content);
    Result<void> read_encrypted(Bytes offset, std::span<std::byte> content);

private:
    LuksVolume(BlockDevice& device, LuksCipher cipher, const LuksSegment& segment);
    Result<void> check(Bytes offset, std::size_t length) const;
    std::uint64_t unit_of(Bytes offset) const { return offset / 512 + segment_.iv_tweak; }

    BlockDevice& device_;
    LuksCipher cipher_;
    LuksSegment segment_;
};

}  // namespace dray::volume
