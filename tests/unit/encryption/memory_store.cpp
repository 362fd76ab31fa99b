// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/encryption/memory_store.hpp"

#include <openssl/evp.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "daemon/base/encoding.hpp"
#include "daemon/base/handle.hpp"

namespace dray::store {
namespace {

class MemoryWriter : public BlobWriter {
public:
    MemoryWriter(MemoryStore& store, BlobName name, CreateOptions options)
        : store_(store), name_(std::move(name)), options_(std::move(options)) {}
    Result<void> put(const Piece& piece) override {
        DRAY_TRY(store_.before_put(piece));
        const std::scoped_lock lock(store_.mutex);
        ++store_.puts;
        store_.uploads[options_.upload_id][piece.offset] = {Content(piece.content.begin(), piece.content.end()), piece.id,
                                                            piece.md5, piece.crc64};
        return {};
    }
    Result<void> finish(std::span<const Piece> pieces, const BlobProperties& properties,
                        const BlobMetadata& metadata) override {
        Content content;
        {
            const std::scoped_lock lock(store_.mutex);
            if (!options_.replace && store_.blobs.contains(name_.path()))
                return fail(ErrorKind::Exists, "there");
            auto& upload = store_.uploads[options_.upload_id];
            for (const Piece& piece : pieces) {
                const auto found = upload.find(piece.offset);
                if (found == upload.end() || found->second.id != piece.id || found->second.content.size() != piece.length)
                    return fail(ErrorKind::Corrupt, "not there");
                content.insert(content.end(), found->second.content.begin(), found->second.content.end());
            }
        }
        store_.set(name_, std::move(content), metadata, properties);
        return {};
    }
    Result<void> rename(const BlobName& name) override {
        name_ = name;
        return {};
    }
    Result<void> abandon() override {
        const std::scoped_lock lock(store_.mutex);
        store_.uploads.erase(options_.upload_id);
        return {};
    }

private:
    MemoryStore& store_;
    BlobName name_;
    CreateOptions options_;
};

using CipherContext = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using Cipher = Handle<EVP_CIPHER, EVP_CIPHER_free>;

const unsigned char* raw(std::span<const std::byte> bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

}  // namespace

Result<std::unique_ptr<BlobWriter>> MemoryStore::create(const BlobName& name, const CreateOptions& options,
                                                        std::stop_token stop) {
    const std::scoped_lock lock(mutex);
    if (stop.stop_requested())
        return fail(ErrorKind::Cancelled, "stopped");
    if (options.must_resume && !uploads.contains(options.upload_id))
        return fail(ErrorKind::NotFound, "no such upload");
    created.push_back(options);
    return std::make_unique<MemoryWriter>(*this, name, options);
}

Result<void> MemoryStore::put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                                    const BlobProperties& properties, const BlobMetadata& metadata,
                                    std::stop_token /*stop*/) {
    MemoryWriter writer(*this, name, options);
    {
        const std::scoped_lock lock(mutex);
        created.push_back(options);
    }
    DRAY_TRY(writer.put(piece));
    return writer.finish({&piece, 1}, properties, metadata);
}

void MemoryStore::set(const BlobName& name, Content content, const BlobMetadata& metadata,
                      const BlobProperties& properties) {
    const std::scoped_lock lock(mutex);
    Blob& blob = blobs[name.path()];
    blob.content = std::move(content);
    blob.status = {};
    blob.status.name = name;
    blob.status.length = blob.content.size();
    blob.status.etag = std::to_string(++etags_);
    blob.status.properties = properties;
    blob.status.metadata = metadata;
}

Result<BlobStatus> MemoryStore::stat(const BlobName& name) {
    const std::scoped_lock lock(mutex);
    const auto found = blobs.find(name.path());
    if (found == blobs.end())
        return fail(ErrorKind::NotFound, "no blob");
    return found->second.status;
}

Result<void> MemoryStore::read(const BlobName& name, Bytes offset, std::span<std::byte> content,
                               const std::string& if_match, std::stop_token /*stop*/) {
    before_read();
    const std::scoped_lock lock(mutex);
    const auto found = blobs.find(name.path());
    if (found == blobs.end())
        return fail(ErrorKind::NotFound, "no blob");
    const Blob& blob = found->second;
    if (!if_match.empty() && if_match != blob.status.etag)
        return fail(ErrorKind::Busy, "changed");
    if (offset > blob.content.size() || content.size() > blob.content.size() - offset)
        return fail(ErrorKind::InvalidArgument, "beyond the end");
    std::ranges::copy(std::span(blob.content).subspan(offset, content.size()), content.begin());
    return {};
}

Result<ListPage> MemoryStore::list(const std::string& /*container*/, const std::string& /*prefix*/,
                                   const std::string& /*marker*/, std::size_t /*most*/) {
    const std::scoped_lock lock(mutex);
    ListPage page;
    for (const auto& [path, blob] : blobs)
        page.blobs.push_back(blob.status);
    return page;
}

Result<void> MemoryStore::remove(const BlobName& name) {
    const std::scoped_lock lock(mutex);
    if (blobs.erase(name.path()) == 0)
        return fail(ErrorKind::NotFound, "no blob");
    return {};
}

std::optional<Content> decoded(const MemoryStore::Blob& blob, std::span<const std::byte> wrapping_key) {
    const auto document = nlohmann::json::parse(blob.status.metadata.at("encryptiondata"));
    if (document["EncryptionAgent"] != nlohmann::json{{"Protocol", "2.0"}, {"EncryptionAlgorithm", "AES_GCM_256"}} ||
        document["EncryptedRegionInfo"] != nlohmann::json{{"DataLength", 4194304}, {"NonceLength", 12}})
        return std::nullopt;
    const Content wrapped = *from_base64(document["WrappedContentKey"]["EncryptedKey"].get<std::string>());
    const Cipher unwrap(EVP_CIPHER_fetch(nullptr, "AES-256-WRAP", nullptr));
    const Cipher gcm(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
    unsigned char key[64] = {};
    int length = 0;
    const CipherContext unwrapping(EVP_CIPHER_CTX_new());
    EVP_CIPHER_CTX_set_flags(unwrapping.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (wrapped.size() != 48 || EVP_DecryptInit_ex2(unwrapping.get(), unwrap.get(), raw(wrapping_key), nullptr, nullptr) != 1 ||
        EVP_DecryptUpdate(unwrapping.get(), key, &length, raw(wrapped), 48) != 1 || length != 40 ||
        std::string(reinterpret_cast<const char*>(key), 8) != std::string("2.0\0\0\0\0\0", 8))
        return std::nullopt;
    Content plain;
    unsigned char nonce[12] = {};
    for (std::size_t at = 0, number = 0; at < blob.content.size(); ++number) {
        const std::size_t size = std::min<std::size_t>(4194332, blob.content.size() - at);
        if (size <= 28)
            return std::nullopt;
        for (std::size_t i = 0; i < 4; ++i)
            nonce[8 + i] = static_cast<unsigned char>(number >> (24 - 8 * i));
        const auto region = std::span(blob.content).subspan(at, size);
        Content text(size - 28);
        Content tag(region.end() - 16, region.end());
        const CipherContext opening(EVP_CIPHER_CTX_new());
        if (!std::ranges::equal(std::as_bytes(std::span(nonce)), region.first(12)) ||
            EVP_DecryptInit_ex2(opening.get(), gcm.get(), key + 8, nonce, nullptr) != 1 ||
            EVP_DecryptUpdate(opening.get(), reinterpret_cast<unsigned char*>(text.data()), &length, raw(region.subspan(12)),
                              static_cast<int>(text.size())) != 1 ||
            EVP_CIPHER_CTX_ctrl(opening.get(), EVP_CTRL_GCM_SET_TAG, 16, tag.data()) != 1 ||
            EVP_DecryptFinal_ex(opening.get(), nonce, &length) != 1)
            return std::nullopt;
        plain.insert(plain.end(), text.begin(), text.end());
        at += size;
    }
    return plain;
}

}  // namespace dray::store
