// SPDX-License-Identifier: Apache-2.0
//
// All stores by name, written out by hand.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <functional>
#include <memory>
#include <string>

#include "config/config.hpp"
#include "daemon/base/secret.hpp"
#include "drivers/store/blob_store.hpp"
#include "drivers/store/credential.hpp"

namespace dray::store {

/// What opening a store takes beside its configuration.
struct StoreAccess {
    /// What identity() was before, "" the first time; with it a store that would be made anew is refused as
    /// Unreachable, because it is only not mounted.
    std::string known_identity{};
    /// For stores that are signed on to.
    std::shared_ptr<Credential> credential{};
    /// For stores with client-side encryption: the bytes of the key (AES), or PEM (RSA).
    std::shared_ptr<const SecretBytes> encryption_key{};
    /// The trusted certificates, PEM.
    std::string certificates{};
    /// One line for the operator: the store does not answer, it answers again. From any thread. May be empty.
    std::function<void(const std::string&)> tell{};
};

/// Opens the store that `config` describes. Unsupported: no such type. Otherwise what its check() says, and
/// InvalidArgument where it is to encrypt and the key is none.
Result<std::unique_ptr<BlobStore>> open_store(const StoreConfig& config, const StoreAccess& access = {});

}  // namespace dray::store, NOLINTEND(readability-redundant-member-init)
