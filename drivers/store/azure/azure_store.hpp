// SPDX-License-Identifier: Apache-2.0
//
// Blobs in an account of Azure Blob storage, or of what speaks its protocol. What is staged where: README.md.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "drivers/store/azure/azure_client.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store::azure {

class AzureStore : public BlobStore {
public:
    /// As open_store() says.
    static Result<std::unique_ptr<BlobStore>> open(const StoreConfig& config, const StoreAccess& access);

    std::string identity() const override;
    std::string uri(const BlobName& name) const override;
    bool checks_at_far_end() const override { return true; }
    bool takes_crc64() const override { return client_.takes_crc64(); }
    Result<void> check() override;
    Result<void> ensure_container(const std::string& container) override;
    Result<std::unique_ptr<BlobWriter>> create(const BlobName& name, const CreateOptions& options,
                                               std::stop_token stop) override;
    Result<void> put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                           const BlobProperties& properties, const BlobMetadata& metadata, std::stop_token stop) override;
    Result<BlobStatus> stat(const BlobName& name) override;
    Result<void> read(const BlobName& name, Bytes offset, std::span<std::byte> content, const std::string& if_match,
                      std::stop_token stop) override;
    Result<std::optional<std::vector<Piece>>> pieces(const BlobName& name, const std::string& if_match,
                                                     std::stop_token stop) override;
    Result<ListPage> list(const std::string& container, const std::string& prefix, const std::string& marker,
                          std::size_t most) override;
    Result<ListPage> list_with_snapshots(const std::string& container, const std::string& prefix, const std::string& marker,
                                         std::size_t most) override;
    Result<std::vector<std::string>> containers() override;
    Result<std::string> snapshot(const BlobName& name) override;
    Result<void> remove(const BlobName& name) override;
    Result<void> sync() override { return {}; }

private:
    AzureStore(const StoreConfig& config, const StoreAccess& access) : client_(config, access) {}
    Result<void> need_container(const std::string& container);
    Result<ListPage> list_including(const std::string& what, const std::string& container, const std::string& prefix,
                                    const std::string& marker, std::size_t most);
    /// Where the service has no right for the whole account to look at.
    bool is_for_one_container() const;

    AzureClient client_;
    std::mutex mutex_;
    /// Seen to be there.
    std::set<std::string> containers_;
};

}  // namespace dray::store::azure
