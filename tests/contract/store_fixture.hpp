// SPDX-License-Identifier: Apache-2.0
//
// A fresh store for each test of the contract, with one container, and the few steps that tests
// repeat.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "drivers/store/blob_store.hpp"
#include "tests/contract/stores.hpp"

namespace dray::store {

using Content = std::vector<std::byte>;

class EveryStore : public testing::TestWithParam<StoreKind> {
protected:
    EveryStore();

    /// Closes the store and opens it anew, as a restart does.
    void reopen();
    BlobStore& store() { return *store_; }
    StorePlace& place() { return *place_; }

    /// Printed with a failure; DRAY_TEST_SEED gives the same one again.
    std::mt19937_64& random() { return random_; }
    Content random_content(std::size_t size);
    std::string new_upload_id();
    CreateOptions options(Bytes length, bool replace = false);

    Result<void> put_whole(const BlobName& name, const Content& content, bool replace = false,
                           const BlobProperties& properties = {},
                           const BlobMetadata& metadata = {});
    /// Asserts that it works.
    std::unique_ptr<BlobWriter> create(const BlobName& name, const CreateOptions& options);
    /// The whole content; fails the test where it cannot be read.
    Content content_of(const BlobName& name);
    /// The types of blobs the store has.
    std::vector<BlobType> types() const;
    /// What a store is to tell of properties that it was given.
    BlobProperties kept(BlobProperties properties) const;
    /// For a store that cannot go on with an upload: puts all pieces anew.
    void put_again(BlobWriter& writer, const std::vector<Piece>& pieces);
    /// "x/../y" where the store holds it: a name that no file system would.
    std::string odd_name() const { return place_->holds("x/../y") ? "x/../y" : "x|y?"; }
    /// All names of a container, listed in pages of `most`.
    std::vector<std::string> names(const std::string& prefix = "", std::size_t most = 1000,
                                   const std::string& container = "lab");

private:
    std::uint64_t seed_;
    testing::ScopedTrace trace_;
    std::mt19937_64 random_;
    std::unique_ptr<StorePlace> place_;
    std::unique_ptr<BlobStore> store_;
    unsigned uploads_ = 0;
};

/// What was given, and in the place of a hash that was not given perhaps the content's own.
void expect_properties(const BlobProperties& found, BlobProperties given, const Content& content);
/// Cuts content into pieces of at most `size` bytes, with hash and id.
std::vector<Piece> cut(const Content& content, std::size_t size);
Piece piece_at(Bytes offset, const Content& content);
Content bytes(std::string_view text);

/// The kind of a failed result; a test that expects one prints it well.
template <typename T>
std::string kind_of(const Result<T>& result) {
    return result ? "success" : std::string(to_string(result.error().kind()));
}

}  // namespace dray::store
