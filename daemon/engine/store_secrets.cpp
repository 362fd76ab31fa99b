// SPDX-License-Identifier: Apache-2.0
//
// The secrets of stores: read when a pair or a check starts, and again when their files change (rules.md 26).
#include <set>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/credentials/credential_file.hpp"
#include "daemon/engine/engine_state.hpp"

namespace dray {
namespace {

Result<FileDescriptor> credential_of(const StoreConfig& store) {
    const Result<SecretBytes> secret = read_credential(store.azure.credential);
    if (!secret)
        return fail(secret.error(), "store \"{}\": its credential cannot be used", store.name);
    return make_sealed_memfd("dray-credential", secret->bytes());
}

Result<FileDescriptor> encryption_key_of(const StoreConfig& store) {
    const Result<SecretBytes> secret = read_encryption_key(store.encryption);
    if (!secret)
        return fail(secret.error(), "store \"{}\": the key \"{}\" of its encryption cannot be used", store.name,
                    store.encryption.key);
    return make_sealed_memfd("dray-encryption-key", secret->bytes());
}

}  // namespace

Result<void> JobEngine::State::add_secrets(TransferProcess::Start& start) {
    const StoreConfig& store = start.task.store;
    Result<void> added;
    if (!store.azure.credential.empty()) {
        Result<FileDescriptor> memfd = credential_of(store);
        if (memfd)
            start.credential = *std::move(memfd);
        else
            added = fail(std::move(memfd.error()));
    }
    if (added && !store.encryption.credential.empty()) {
        Result<FileDescriptor> memfd = encryption_key_of(store);
        if (memfd)
            start.encryption_key = *std::move(memfd);
        else
            added = fail(std::move(memfd.error()));
    }
    if (!added)
        set_reachable(store.name, added);
    return added;
}

void JobEngine::State::watch_secrets() {
    std::set<std::string> references;
    for (const auto& [name, store] : config.stores) {
        for (const std::string& reference : {store.azure.credential, store.encryption.credential})
            if (!reference.empty())
                references.insert(reference);
        // Worth knowing before the first drive comes.
        TransferProcess::Start tried;
        tried.task.store = store;
        if (const Result<void> added = add_secrets(tried); !added)
            log::warning("{}", added.error().text());
    }
    credentials.watch(references);
}

Result<std::size_t> JobEngine::State::renew_credential(const StoreConfig& store) {
    DRAY_LET(const FileDescriptor memfd, credential_of(store));
    std::size_t told = 0;
    // One that was started to sign on in another way cannot do so with this.
    const auto tell = [&](const StoreConfig& theirs, TransferLink& process) {
        if (theirs.name != store.name || theirs.azure.credential_kind != store.azure.credential_kind)
            return;
        process.renew_credential(memfd.get());
        ++told;
    };
    for (const auto& [key, copy] : copies)
        tell(copy->store, *copy->process);
    for (const auto& [key, check] : checks)
        tell(check->store, *check->process);
    return told;
}

// A drive that waits for the store need not wait for the next look at it.
void JobEngine::State::secret_changed(const std::string& reference) {
    std::vector<std::string> changed;
    for (const auto& [name, store] : config.stores) {
        if (store.azure.credential == reference) {
            const Result<std::size_t> told = renew_credential(store);
            if (!told) {
                log::warning("{}; what runs goes on with the one it has", told.error().text());
                set_reachable(name, fail(told.error()));
                continue;
            }
            log::info("store \"{}\": its credential was renewed; {} that run got the new one", name, *told);
        } else if (store.encryption.credential != reference) {
            continue;
        }
        changed.push_back(name);
    }
    for (const std::string& store : changed)
        probe_store(store);
}

}  // namespace dray
