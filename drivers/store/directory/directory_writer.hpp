// SPDX-License-Identifier: Apache-2.0
//
// One blob being written into a directory store: a file below .dray/uploads that gets its pieces at their
// offsets and moves to its name at the end.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "drivers/store/directory/committer.hpp"
#include "drivers/store/directory/directory_layout.hpp"

namespace dray::store {

class DirectoryWriter : public BlobWriter {
public:
    static Result<std::unique_ptr<DirectoryWriter>> open(const DirectoryLayout& layout, Committer& committer,
                                                         const BlobName& name, const CreateOptions& options,
                                                         std::stop_token stop);

    Result<void> put(const Piece& piece) override;
    Result<void> finish(std::span<const Piece> pieces, const BlobProperties& properties,
                        const BlobMetadata& metadata) override;
    Result<void> rename(const BlobName& name) override;
    Result<void> abandon() override;

private:
    DirectoryWriter(const DirectoryLayout& layout, Committer& committer, BlobName name, CreateOptions options,
                    std::stop_token stop)
        : layout_(layout), committer_(committer), name_(std::move(name)), options_(std::move(options)),
          stop_(std::move(stop)) {}
    Result<void> arrange(std::span<const Piece> pieces);
    Result<void> arrange_blocks(std::span<const Piece> pieces);
    Result<void> clear_the_rest(std::span<const Piece> pieces);
    Result<void> close_up(std::span<const Piece> pieces);
    Result<void> write_pending(const SideFile& side);
    Result<void> prepare(const SideFile& side);
    Result<void> publish(const SideFile& side);
    Result<void> move_into(const Place& place) const;
    void drop_what_finish_made();

    const DirectoryLayout& layout_;
    Committer& committer_;
    BlobName name_;
    CreateOptions options_;
    std::stop_token stop_;
    /// The upload: pieces at the offsets they were put at, until finish() succeeds.
    FileDescriptor file_;
    /// What finish() publishes: the upload or, where the pieces do not lie as in the blob, a copy.
    std::string whole_;
    ino_t inode_ = 0;
    /// The side file that waits under this inode, while finish() runs.
    std::optional<Place> pending_;
};

}  // namespace dray::store
