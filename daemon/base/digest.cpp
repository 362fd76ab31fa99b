// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/digest.hpp"

#include <new>

namespace dray {
namespace {

const EVP_MD* algorithm_of(DigestKind kind) {
    switch (kind) {
        case DigestKind::Md5: return EVP_md5();
        case DigestKind::Sha256: return EVP_sha256();
        case DigestKind::Sha512: return EVP_sha512();
    }
    return EVP_md5();
}

}  // namespace

// EVP's digest calls fail only for want of memory, which ends the process.
Digest::Digest(DigestKind kind) : context_(EVP_MD_CTX_new()), algorithm_(algorithm_of(kind)) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), algorithm_, nullptr) != 1)
        throw std::bad_alloc();
}

void Digest::update(std::span<const std::byte> bytes) {
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
}

std::vector<std::byte> Digest::finish() {
    std::vector<std::byte> digest(static_cast<std::size_t>(EVP_MD_get_size(algorithm_)));
    EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
    EVP_DigestInit_ex(context_.get(), algorithm_, nullptr);
    return digest;
}

Md5Hash md5(std::span<const std::byte> bytes) {
    Md5Hash digest{};
    EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
               EVP_md5(), nullptr);
    return digest;
}

Result<DigestKind> digest_kind_of_hex(std::size_t digits) {
    switch (digits) {
        case 32: return DigestKind::Md5;
        case 64: return DigestKind::Sha256;
        case 128: return DigestKind::Sha512;
        default:
            return fail(ErrorKind::InvalidArgument,
                        "a manifest hash has 32 (MD5), 64 (SHA-256) or 128 (SHA-512) hex digits, not {}",
                        digits);
    }
}

}  // namespace dray
