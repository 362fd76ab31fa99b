// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/store_list.hpp"

#include "drivers/store/azure/azure_store.hpp"
#include "drivers/store/directory/directory_store.hpp"
#include "drivers/store/encryption/encrypting_store.hpp"

namespace dray::store {

namespace {

Result<std::unique_ptr<BlobStore>> open_plain(const StoreConfig& config, const StoreAccess& access) {
    if (config.type == "directory")
        return DirectoryStore::open(config, access.known_identity);
    if (config.type == "azure")
        return azure::AzureStore::open(config, access);
    return fail(ErrorKind::Unsupported, "store \"{}\": this version of dray knows no type \"{}\"", config.name,
                config.type);
}

}  // namespace

Result<std::unique_ptr<BlobStore>> open_store(const StoreConfig& config, const StoreAccess& access) {
    if (config.encryption.key.empty())
        return open_plain(config, access);
    StoreAccess inner = access;
    const std::string mark = encryption_mark(config.encryption);
    if (inner.known_identity.ends_with(mark))
        inner.known_identity.resize(inner.known_identity.size() - mark.size());
    DRAY_LET(std::unique_ptr<BlobStore> store, open_plain(config, inner));
    Result<std::unique_ptr<BlobStore>> encrypted = encrypt_store(std::move(store), config.encryption, access.encryption_key);
    if (!encrypted)
        return fail(std::move(encrypted.error()), "store \"{}\"", config.name);
    return encrypted;
}

}  // namespace dray::store
