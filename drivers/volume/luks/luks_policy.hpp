// SPDX-License-Identifier: Apache-2.0
//
// What a LUKS header may ask for before a key is tried on it.
#pragma once

#include <libcryptsetup.h>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::volume {

/// Where the encrypted data lies.
struct LuksSegment {
    Bytes offset = 0;
    /// As far as the header fixes it; else up to the end of the device.
    Bytes size = 0;
    Bytes sector_size = 512;
    std::uint64_t iv_tweak = 0;
};

/// LimitReached: a key slot whose derivation would cost more memory or time than allowed.
/// Unsupported: another cipher than aes-xts-plain64, a volume in the middle of re-encryption, integrity
/// tags, several segments. Corrupt: data that lies outside the device.
Result<LuksSegment> check_luks_policy(crypt_device* device, bool is_luks2, Bytes device_size,
                                      Bytes unlock_memory);

}  // namespace dray::volume
