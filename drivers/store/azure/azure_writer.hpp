// SPDX-License-Identifier: Apache-2.0
//
// One blob on its way into an account. Pieces are staged under a name of the upload's own in the same container (as
// uncommitted blocks, which nobody sees, or as the pages of a page blob); finish() completes it there and copies it to
// its name within the account, which moves no content. README.md says why.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "drivers/store/azure/azure_blobs.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store::azure {

/// What the names of all that is staged begin with.
inline constexpr std::string_view kStaging = ".dray-upload-";

/// Names that listings leave out: what a kill may have left of an upload.
bool is_staging_name(const std::string& name);

/// A whole block blob in one request.
struct WholeBlob {
    BlobName name;
    bool may_replace = false;
    Piece piece;
    Dress dress;
};
Result<void> put_blob(AzureClient& client, const WholeBlob& blob, const std::stop_token& stop);

class AzureWriter : public BlobWriter {
public:
    /// The container is there.
    static Result<std::unique_ptr<BlobWriter>> open(AzureClient& client, const BlobName& name,
                                                    const CreateOptions& options, std::stop_token stop);

    Result<void> put(const Piece& piece) override;
    Result<void> finish(std::span<const Piece> pieces, const BlobProperties& properties,
                        const BlobMetadata& metadata) override;
    Result<void> rename(const BlobName& name) override;
    Result<void> abandon() override;

private:
    AzureWriter(AzureClient& client, const BlobName& name, const CreateOptions& options, std::stop_token stop);
    Result<void> resume();
    Result<void> make_page_blob();
    Result<void> put_block(const Piece& piece);
    Result<void> put_pages(const Piece& piece);
    Result<void> put_page_range(Bytes offset, std::span<const std::byte> content);
    std::string block_id(const Piece& piece) const;
    /// Whether it is a copy of what is staged here.
    bool is_ours(const Seen& seen) const;
    /// Whether finish() has made the blob before, without our hearing of it; Exists: another one is there.
    Result<bool> look_at_name();
    Result<void> complete_blocks(std::span<const Piece> pieces, const Dress& dress);
    Result<void> dress_page_blob(const Dress& dress);
    Result<void> copy_into_place();
    Result<void> await_copy();

    AzureClient& client_;
    BlobName name_;
    const CreateOptions options_;
    const std::stop_token stop_;
    /// Where the pieces are until they are a blob.
    const BlobName stage_;
    /// Of this upload, the first half of the block ids that are made here.
    const std::string id_prefix_;
    std::atomic<bool> has_put_ = false;
};

}  // namespace dray::store::azure
