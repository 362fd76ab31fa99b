// SPDX-License-Identifier: Apache-2.0
//
// What a LUKS header may ask for before a key is tried on it.
#pragma once

#include <libcryptsetup.h>

#include <string>
#include <string_view>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "drivers/volume/luks/luks_cipher.hpp"
#include "drivers/volume/luks/luks_header.hpp"

namespace dray::volume {

/// What deriving one key may cost beside memory, which is a setting.
inline constexpr std::uint32_t kMaxTimeCost = 100;
inline constexpr std::uint32_t kMaxThreads = 16;
/// Of pbkdf2; about 8 s.
inline constexpr std::uint32_t kMaxIterations = 20'000'000;

/// Where the encrypted data lies.
struct LuksSegment {
    Bytes offset = 0;
    /// As far as the header fixes it; else up to the end of the device.
    Bytes size = 0;
    Bytes sector_size = 512;
    std::uint64_t iv_tweak = 0;
    LuksAlgorithm algorithm = LuksAlgorithm::XtsPlain64;
};

/// What a header says of itself, fit for logs and the bus: printable ASCII, at most 200 characters.
std::string tame(std::string_view text);

/// The part that must be known before libcryptsetup loads a version 1 header: it refuses without a word what
/// it does not know. Unsupported: a hash that is not known.
Result<void> check_luks1_hash(const LuksHeader& header);

/// LimitReached: a key slot or the digest of the volume key would cost more memory or time than allowed.
/// Unsupported: a cipher or hash that is not known, a volume in the middle of re-encryption or with features
/// that are not known, integrity tags, several segments. NotFound: there is no key slot. Corrupt: data that lies
/// outside the device.
Result<LuksSegment> check_luks_policy(crypt_device* device, const LuksHeader& header, Bytes device_size,
                                      Bytes unlock_memory);

}  // namespace dray::volume
