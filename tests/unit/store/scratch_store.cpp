// SPDX-License-Identifier: Apache-2.0
//
// The scratch store's steps.
#include "tests/unit/store/scratch_store.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "drivers/store/store_list.hpp"

namespace dray::store {

ScratchStore::ScratchStore() {
    Result<std::unique_ptr<BlobStore>> opened = open();
    if (!opened || !(*opened)->ensure_container("lab"))
        throw std::runtime_error("cannot open a scratch store");
    store_ = *std::move(opened);
}

Result<std::unique_ptr<BlobStore>> ScratchStore::open() const {
    return open_store({"vault", "directory", root().string()});
}

CreateOptions ScratchStore::upload(const std::string& id, Bytes length, bool replace) {
    CreateOptions options;
    options.upload_id = id;
    options.length = length;
    options.replace = replace;
    return options;
}

Result<void> ScratchStore::put(const BlobName& name, const std::string& content, bool replace,
                               const BlobMetadata& metadata) {
    return store().put_whole(name,
                             upload("put-" + std::to_string(++uploads_), content.size(), replace),
                             whole_piece(content), {}, metadata, {});
}

std::string ScratchStore::content_of(const BlobName& name) {
    const Result<BlobStatus> status = store().stat(name);
    if (!status)
        return "stat: " + status.error().text();
    std::string content(status->length, '\0');
    const auto bytes = std::as_writable_bytes(std::span(content.data(), content.size()));
    if (const Result<void> read = store().read(name, 0, bytes, status->etag, {}); !read)
        return "read: " + read.error().text();
    return content;
}

std::vector<std::string> ScratchStore::names() {
    const Result<ListPage> page = store().list("lab", "", "", 100'000);
    std::vector<std::string> names;
    EXPECT_TRUE(page) << page.error().text();
    if (page)
        for (const BlobStatus& blob : page->blobs)
            names.push_back(blob.name.name);
    return names;
}

std::vector<std::string> ScratchStore::files(const std::string& below) const {
    std::vector<std::string> files;
    const std::filesystem::path directory = root() / below;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
        if (entry.is_regular_file())
            files.push_back(entry.path().lexically_relative(directory).string());
    std::ranges::sort(files);
    return files;
}

Piece whole_piece(const std::string& content) {
    const auto bytes = std::as_bytes(std::span(content.data(), content.size()));
    return {0, content.size(), "MTAw", md5(bytes), bytes};
}

std::string slurp(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void spill(const std::filesystem::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

}  // namespace dray::store
