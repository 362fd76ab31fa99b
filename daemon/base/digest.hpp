// SPDX-License-Identifier: Apache-2.0
//
// Message digests over OpenSSL, one stream at a time. One object, one thread.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"

namespace dray {

using Md5Hash = std::array<std::byte, 16>;

enum class DigestKind { Md5, Sha256, Sha512 };

class Digest {
public:
    explicit Digest(DigestKind kind);
    void update(std::span<const std::byte> bytes);
    /// The digest; the object starts anew afterwards.
    std::vector<std::byte> finish();

private:
    Handle<EVP_MD_CTX, EVP_MD_CTX_free> context_;
    const EVP_MD* algorithm_;
};

Md5Hash md5(std::span<const std::byte> bytes);

/// The algorithm of a manifest hash by its number of hex digits (azure-import-export.md 3.4): 32 MD5,
/// 64 SHA-256, 128 SHA-512. InvalidArgument for any other.
Result<DigestKind> digest_kind_of_hex(std::size_t digits);

}  // namespace dray
