// SPDX-License-Identifier: Apache-2.0
//
// The embedded store: blobs as files below a directory. README.md beside it says how and what an operator
// may do with it.
#pragma once

#include <memory>
#include <string>

#include "config/config.hpp"
#include "drivers/store/blob_store.hpp"
#include "drivers/store/directory/committer.hpp"
#include "drivers/store/directory/directory_layout.hpp"

namespace dray::store {

class DirectoryStore : public BlobStore {
public:
    /// As open_store() says.
    static Result<std::unique_ptr<BlobStore>> open(const StoreConfig& config,
                                                   const std::string& known_identity = {});

    std::string identity() const override { return identity_; }
    std::string uri(const BlobName& name) const override;
    Result<void> check() override;
    Result<void> ensure_container(const std::string& container) override;
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
    Result<std::vector<std::string>> containers() override;
    Result<void> remove(const BlobName& name) override;
    Result<void> sync() override;

private:
    DirectoryStore(StoreConfig config, DirectoryLayout layout) : config_(std::move(config)), layout_(std::move(layout)) {}

    StoreConfig config_;
    DirectoryLayout layout_;
    std::string identity_;
    std::unique_ptr<Committer> committer_;
};

}  // namespace dray::store
