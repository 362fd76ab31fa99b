// SPDX-License-Identifier: Apache-2.0
//
// A store in memory that a test looks into: what was put, in which pieces, with which checks; and that fails where the
// test says so. And a decoder of its own for what is stored.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "drivers/store/blob_store.hpp"

namespace dray::store {

using Content = std::vector<std::byte>;

struct StoredPiece {
    Content content;
    std::string id;
    Md5Hash md5{};
    std::optional<std::uint64_t> crc64{};
};

class MemoryStore : public BlobStore {
public:
    struct Blob {
        Content content;
        BlobStatus status;
    };

    std::string identity() const override { return "memory"; }
    std::string uri(const BlobName& name) const override { return "memory:///" + name.path(); }
    bool checks_at_far_end() const override { return checks; }
    bool takes_crc64() const override { return crc64; }
    Result<void> check() override { return {}; }
    Result<void> ensure_container(const std::string& /*container*/) override { return {}; }
    Result<std::unique_ptr<BlobWriter>> create(const BlobName& name, const CreateOptions& options,
                                               std::stop_token stop) override;
    Result<void> put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                           const BlobProperties& properties, const BlobMetadata& metadata,
                           std::stop_token stop) override;
    Result<BlobStatus> stat(const BlobName& name) override;
    Result<void> read(const BlobName& name, Bytes offset, std::span<std::byte> content, const std::string& if_match,
                      std::stop_token stop) override;
    Result<ListPage> list(const std::string& container, const std::string& prefix, const std::string& marker,
                          std::size_t most) override;
    Result<std::vector<std::string>> containers() override { return std::vector<std::string>{"lab"}; }
    Result<void> remove(const BlobName& name) override;
    Result<void> sync() override { return {}; }

    /// As another program would.
    void set(const BlobName& name, Content content, const BlobMetadata& metadata, const BlobProperties& properties = {});

    bool checks = false;
    bool crc64 = false;
    /// Asked before a piece is taken, and before a range is read.
    std::function<Result<void>(const Piece&)> before_put = [](const Piece&) { return Result<void>(); };
    std::function<void()> before_read = [] {};

    std::mutex mutex;
    std::map<std::string, Blob> blobs;
    /// By upload id and offset.
    std::map<std::string, std::map<Bytes, StoredPiece>> uploads;
    /// Of each create() and put_whole().
    std::vector<CreateOptions> created;
    unsigned puts = 0;

private:
    unsigned etags_ = 0;
};

/// The plaintext of a stored blob, by OpenSSL's functions alone. Nothing unless all of it is as the format wants it and
/// as we are to write it.
std::optional<Content> decoded(const MemoryStore::Blob& blob, std::span<const std::byte> wrapping_key);

template <typename T>
std::string kind_of(const Result<T>& result) {
    return result ? "success" : std::string(to_string(result.error().kind()));
}

}  // namespace dray::store
