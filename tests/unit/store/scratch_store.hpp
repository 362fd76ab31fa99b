// SPDX-License-Identifier: Apache-2.0
//
// A directory store in a directory of its own, with one container, and a look behind its back.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "drivers/store/blob_store.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::store {

class ScratchStore : public testing::Test {
protected:
    ScratchStore();

    Result<std::unique_ptr<BlobStore>> open() const;
    BlobStore& store() { return *store_; }
    void close() { store_.reset(); }
    const std::filesystem::path& root() const { return root_.path(); }

    static CreateOptions upload(const std::string& id, Bytes length, bool replace = false);
    Result<void> put(const BlobName& name, const std::string& content, bool replace = false,
                     const BlobMetadata& metadata = {});
    std::string content_of(const BlobName& name);
    std::vector<std::string> names();
    /// Regular files below a directory of the store, as paths from there.
    std::vector<std::string> files(const std::string& below) const;

private:
    test::ScratchDirectory root_;
    std::unique_ptr<BlobStore> store_;
    int uploads_ = 0;
};

/// The content must live as long as the piece.
Piece whole_piece(const std::string& content);
std::string slurp(const std::filesystem::path& path);
void spill(const std::filesystem::path& path, const std::string& content);

template <typename T>
std::string kind_of(const Result<T>& result) {
    return result ? "success" : std::string(to_string(result.error().kind()));
}

}  // namespace dray::store
