// SPDX-License-Identifier: Apache-2.0
//
// The customer's key. It wraps the content key of each blob and does nothing else. Unchanging after it was made; any
// thread.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"

namespace dray::store {

inline constexpr std::size_t kMaxKeyId = 1024;

class WrappingKey {
public:
    /// `key` for A128KW, A192KW and A256KW: the 16, 24 or 32 bytes as they are, else their hex or Base64 text with or
    /// without a line break behind it. What has the right number of bytes is taken as it is, whatever it looks like. For
    /// RSA-OAEP and RSA-OAEP-256: PEM without a passphrase, of a private key or, on an appliance that is only to write, of
    /// a public one; 2048 bits or more. InvalidArgument: none of these, or a name that cannot be a key's id (1 to 1024
    /// characters, printable ASCII). The sentences do not contain anything of the key.
    static Result<WrappingKey> create(const EncryptionConfig& config, const SecretBytes& key);

    const std::string& id() const { return id_; }
    const std::string& algorithm() const { return algorithm_; }
    /// Off: it wraps only.
    bool can_unwrap() const { return !is_public_; }

    Result<std::vector<std::byte>> wrap(const SecretBytes& content_key) const;
    /// WrongKey: what was wrapped with another key, or is damaged: the two cannot be told apart. Denied: only the public
    /// key is here. The two algorithms for RSA may stand for each other.
    Result<SecretBytes> unwrap(const std::string& algorithm, std::span<const std::byte> wrapped) const;

private:
    WrappingKey() = default;

    std::string id_;
    std::string algorithm_;
    /// For AES.
    SecretBytes bytes_;
    /// For RSA.
    Handle<EVP_PKEY, EVP_PKEY_free> rsa_;
    bool is_public_ = false;
};

}  // namespace dray::store
