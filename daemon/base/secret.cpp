// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/secret.hpp"

#include <openssl/crypto.h>

#include <utility>

namespace dray {

SecretBytes::SecretBytes(std::string_view text)
    : SecretBytes(std::as_bytes(std::span(text.data(), text.size()))) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
        wipe();
        bytes_ = std::move(other.bytes_);
        other.bytes_.clear();
    }
    return *this;
}

// A plain memset may be optimised away, OpenSSL's may not.
void SecretBytes::wipe() {
    if (!bytes_.empty())
        OPENSSL_cleanse(bytes_.data(), bytes_.size());
    bytes_.clear();
}

void SecretBytes::truncate(std::size_t size) {
    if (size < bytes_.size()) {
        OPENSSL_cleanse(bytes_.data() + size, bytes_.size() - size);
        bytes_.resize(size);
    }
}

}  // namespace dray
