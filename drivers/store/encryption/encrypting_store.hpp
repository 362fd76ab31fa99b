// SPDX-License-Identifier: Apache-2.0
//
// Azure's client-side encryption around any store: blobs are encrypted before they leave this process, and what official
// SDKs have encrypted so can be read. README.md beside it says what an operator may expect. Any thread, as for the store.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "config/config.hpp"
#include "daemon/base/secret.hpp"
#include "drivers/store/blob_store.hpp"
#include "drivers/store/encryption/block_memory.hpp"
#include "drivers/store/encryption/envelope.hpp"
#include "drivers/store/encryption/key_wrap.hpp"
#include "drivers/store/encryption/region_cipher.hpp"

namespace dray::store {

/// Everything that is written is encrypted, with a content key of its own for each blob that the configured key wraps.
/// InvalidArgument: as WrappingKey::create() says, or no key was given.
Result<std::unique_ptr<BlobStore>> encrypt_store(std::unique_ptr<BlobStore> inner, const EncryptionConfig& config,
                                                 const std::shared_ptr<const SecretBytes>& key);

/// What identity() appends to the inner store's: journals do not go on under another key.
std::string encryption_mark(const EncryptionConfig& config);

class EncryptingStore : public BlobStore {
public:
    EncryptingStore(std::unique_ptr<BlobStore> inner, WrappingKey key, std::string mark)
        : inner_(std::move(inner)), key_(std::move(key)), mark_(std::move(mark)) {}

    std::string identity() const override { return inner_->identity() + mark_; }
    std::string uri(const BlobName& name) const override { return inner_->uri(name); }
    bool tells_uploads() const override { return true; }
    Result<void> check() override { return inner_->check(); }
    Result<void> ensure_container(const std::string& container) override { return inner_->ensure_container(container); }
    /// Unsupported: as check_can_encrypt() says.
    Result<std::unique_ptr<BlobWriter>> create(const BlobName& name, const CreateOptions& options,
                                               std::stop_token stop) override;
    Result<void> put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                           const BlobProperties& properties, const BlobMetadata& metadata,
                           std::stop_token stop) override;
    /// Length and metadata are the plaintext's. A blob that is not encrypted, or in a way we do not know, is shown as it is
    /// stored: it is there, and takes its name. Corrupt: its length or encryptiondata cannot be.
    Result<BlobStatus> stat(const BlobName& name) override;
    /// Unsupported: the blob is not encrypted, or in a way we do not know; this store reads only what is encrypted, else
    /// whoever can write to it could pass anything off as ours. WrongKey, Denied: as content_key_of() says. Corrupt: the
    /// content is not what was encrypted; `content` is not touched from there on.
    Result<void> read(const BlobName& name, Bytes offset, std::span<std::byte> content, const std::string& if_match,
                      std::stop_token stop) override;
    /// What stat() would call Corrupt is shown as it is stored: one damaged blob must not hide the others.
    Result<ListPage> list(const std::string& container, const std::string& prefix, const std::string& marker,
                          std::size_t most) override;
    Result<ListPage> list_with_snapshots(const std::string& container, const std::string& prefix, const std::string& marker,
                                         std::size_t most) override;
    Result<std::string> snapshot(const BlobName& name) override { return inner_->snapshot(name); }
    Result<std::vector<std::string>> containers() override { return inner_->containers(); }
    Result<void> remove(const BlobName& name) override { return inner_->remove(name); }
    Result<void> sync() override { return inner_->sync(); }

private:
    /// A blob that is being read: all ranges are of one etag and share what was seen of its nonces.
    struct Reading {
        BlobName name;
        std::string etag;
        Bytes stored;
        Bytes length;
        Bytes region;
        RegionCipher cipher;
        NonceSchemes schemes{};
    };

    Result<std::shared_ptr<Reading>> begin_reading(const BlobName& name);
    std::shared_ptr<Reading> known_reading(const BlobName& name);
    void forget(const Reading& reading);
    Result<void> read_range(Reading& reading, Bytes offset, std::span<std::byte> content, const std::stop_token& stop);

    std::unique_ptr<BlobStore> inner_;
    const WrappingKey key_;
    const std::string mark_;
    BlockMemory memory_;
    std::mutex mutex_;
    /// The last few, the latest first: they hold content keys.
    std::list<std::shared_ptr<Reading>> readings_;
};

}  // namespace dray::store
