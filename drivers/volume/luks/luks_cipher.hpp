// SPDX-License-Identifier: Apache-2.0
//
// aes-xts-plain64 as LUKS lays it over sectors. One object, one thread.
#pragma once

#include <openssl/evp.h>

#include <span>

#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/base/units.hpp"

namespace dray::volume {

class LuksCipher {
public:
    /// Unsupported: a key of other than 32 or 64 bytes (AES-128 and AES-256, two keys each), or a sector
    /// size other than 512, 1024, 2048 and 4096.
    static Result<LuksCipher> create(const SecretBytes& key, Bytes sector_size);

    /// In place. `unit` is where `content` begins in the data area, in units of 512 bytes whatever the
    /// sector size, plus the header's iv_tweak; `content` is whole sectors.
    Result<void> decrypt(std::uint64_t unit, std::span<std::byte> content);
    Result<void> encrypt(std::uint64_t unit, std::span<std::byte> content);

    Bytes sector_size() const { return sector_size_; }

private:
    using Context = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
    LuksCipher(Context decryption, Context encryption, Bytes sector_size);
    Result<void> run(EVP_CIPHER_CTX* context, std::uint64_t unit, std::span<std::byte> content) const;

    Context decryption_;
    Context encryption_;
    Bytes sector_size_;
};

}  // namespace dray::volume
