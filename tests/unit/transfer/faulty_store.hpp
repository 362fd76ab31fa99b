// SPDX-License-Identifier: Apache-2.0
//
// A store around a store that fails where a test says so, and counts.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "drivers/store/blob_store.hpp"

namespace dray::test {

/// Called before each operation ("put", "finish", "put-whole", "sync", ...) of a blob at an offset; what it
/// answers, unless it is fine, is the operation's result. With `after` it is asked when the operation is done:
/// the answer that gets lost.
struct Faults {
    using Hook = std::function<Result<void>(const std::string& operation, const std::string& blob, Bytes offset)>;
    Hook before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
    Hook after = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };

    /// What the store says of itself.
    bool checks_at_far_end = false;
    /// Pieces that came with a hash to be checked.
    std::atomic<unsigned> checked = 0;
    /// Unless empty: no metadata are taken for blobs whose path begins so.
    std::string refuse_metadata;

    std::mutex mutex;
    /// Pieces put, by blob and offset.
    std::map<std::pair<std::string, Bytes>, unsigned> puts;

    Result<void> look_at(const std::string& blob, const store::BlobMetadata& metadata) const {
        if (!refuse_metadata.empty() && blob.starts_with(refuse_metadata) && !metadata.empty())
            return fail(ErrorKind::InvalidArgument, "the metadata are not to be had");
        return {};
    }
    Result<void> around(const std::string& operation, const std::string& blob, Bytes offset,
                        const std::function<Result<void>()>& body) {
        DRAY_TRY(before(operation, blob, offset));
        DRAY_TRY(body());
        return after(operation, blob, offset);
    }
};

class FaultyWriter : public store::BlobWriter {
public:
    FaultyWriter(std::unique_ptr<store::BlobWriter> inner, Faults& faults, std::string name)
        : inner_(std::move(inner)), faults_(faults), name_(std::move(name)) {}
    Result<void> put(const store::Piece& piece) override {
        {
            const std::lock_guard lock(faults_.mutex);
            ++faults_.puts[{name_, piece.offset}];
        }
        faults_.checked += piece.md5 != Md5Hash{} ? 1 : 0;
        return faults_.around("put", name_, piece.offset, [&] { return inner_->put(piece); });
    }
    Result<void> finish(std::span<const store::Piece> pieces, const store::BlobProperties& properties,
                        const store::BlobMetadata& metadata) override {
        DRAY_TRY(faults_.look_at(name_, metadata));
        return faults_.around("finish", name_, 0, [&] { return inner_->finish(pieces, properties, metadata); });
    }
    Result<void> rename(const BlobName& name) override { return inner_->rename(name); }
    Result<void> abandon() override {
        return faults_.around("abandon", name_, 0, [&] { return inner_->abandon(); });
    }

private:
    std::unique_ptr<store::BlobWriter> inner_;
    Faults& faults_;
    std::string name_;
};

class FaultyStore : public store::BlobStore {
public:
    FaultyStore(std::unique_ptr<store::BlobStore> inner, Faults& faults)
        : inner_(std::move(inner)), faults_(faults) {}
    std::string identity() const override { return inner_->identity(); }
    std::string uri(const BlobName& name) const override { return inner_->uri(name); }
    bool checks_at_far_end() const override { return faults_.checks_at_far_end; }
    bool tells_uploads() const override { return inner_->tells_uploads(); }
    Result<void> check() override {
        return faults_.around("check", "", 0, [&] { return inner_->check(); });
    }
    Result<void> ensure_container(const std::string& container) override {
        return faults_.around("container", container, 0, [&] { return inner_->ensure_container(container); });
    }
    Result<std::unique_ptr<store::BlobWriter>> create(const BlobName& name, const store::CreateOptions& options,
                                                      std::stop_token stop) override {
        DRAY_TRY(faults_.before("create", name.path(), 0));
        DRAY_LET(auto writer, inner_->create(name, options, std::move(stop)));
        return std::make_unique<FaultyWriter>(std::move(writer), faults_, name.path());
    }
    Result<void> put_whole(const BlobName& name, const store::CreateOptions& options, const store::Piece& piece,
                           const store::BlobProperties& properties, const store::BlobMetadata& metadata,
                           std::stop_token stop) override {
        {
            const std::lock_guard lock(faults_.mutex);
            ++faults_.puts[{name.path(), 0}];
        }
        faults_.checked += piece.md5 != Md5Hash{} ? 1 : 0;
        DRAY_TRY(faults_.look_at(name.path(), metadata));
        return faults_.around("put-whole", name.path(), 0, [&] {
            return inner_->put_whole(name, options, piece, properties, metadata, std::move(stop));
        });
    }
    Result<store::BlobStatus> stat(const BlobName& name) override { return inner_->stat(name); }
    Result<void> read(const BlobName& name, Bytes offset, std::span<std::byte> content, const std::string& if_match,
                      std::stop_token stop) override {
        return inner_->read(name, offset, content, if_match, std::move(stop));
    }
    Result<store::ListPage> list(const std::string& container, const std::string& prefix, const std::string& marker,
                                 std::size_t most) override {
        return inner_->list(container, prefix, marker, most);
    }
    Result<std::vector<std::string>> containers() override { return inner_->containers(); }
    Result<void> remove(const BlobName& name) override { return inner_->remove(name); }
    Result<void> sync() override {
        return faults_.around("sync", "", 0, [&] { return inner_->sync(); });
    }

private:
    std::unique_ptr<store::BlobStore> inner_;
    Faults& faults_;
};

}  // namespace dray::test
