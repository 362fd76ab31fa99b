// SPDX-License-Identifier: Apache-2.0
//
// The ciphers of LUKS volumes that are known here, as LUKS lays them over sectors. One object, one thread.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"

namespace dray::volume {

enum class LuksAlgorithm {
    /// What cryptsetup and qemu choose by themselves.
    XtsPlain64,
    /// What cryptsetup chose for LUKS1 until 2012.
    CbcEssivSha256,
    CbcPlain64,
};
inline constexpr std::uint8_t kLuksAlgorithms = 3;

/// "aes-xts-plain64", as cryptsetup writes them.
std::string_view to_string(LuksAlgorithm algorithm);
/// Unsupported: any other, with the names of those that are known.
Result<LuksAlgorithm> luks_algorithm_of(std::string_view name);
/// Unsupported: no key of this algorithm has so many bytes (XTS 32 and 64, CBC 16, 24 and 32).
Result<void> check_luks_key_size(LuksAlgorithm algorithm, std::size_t bytes);

class LuksCipher {
public:
    /// Unsupported: as check_luks_key_size, or a sector size other than 512, 1024, 2048 and 4096.
    static Result<LuksCipher> create(LuksAlgorithm algorithm, const SecretBytes& key, Bytes sector_size);

    /// In place. `unit` is where `content` begins in the data area, in units of 512 bytes whatever the
    /// sector size, plus the header's iv_tweak; `content` is whole sectors.
    Result<void> decrypt(std::uint64_t unit, std::span<std::byte> content);
    Result<void> encrypt(std::uint64_t unit, std::span<std::byte> content);

    Bytes sector_size() const { return sector_size_; }

private:
    using Context = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
    using Iv = std::array<unsigned char, 16>;
    LuksCipher(Context decryption, Context encryption, Context essiv, Bytes sector_size);
    Result<void> run(EVP_CIPHER_CTX* context, std::uint64_t unit, std::span<std::byte> content) const;
    bool make_iv(std::uint64_t unit, Iv& iv) const;

    Context decryption_;
    Context encryption_;
    /// Encrypts the sector's number for ESSIV; null for plain64.
    Context essiv_;
    Bytes sector_size_;
};

}  // namespace dray::volume
