// SPDX-License-Identifier: Apache-2.0
//
// The steps that tests of the contract repeat.
#include "tests/contract/store_fixture.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "daemon/base/encoding.hpp"

namespace dray::store {
namespace {

std::uint64_t seed_of_run() {
    const char* given = std::getenv("DRAY_TEST_SEED");
    static const std::uint64_t seed =
        given != nullptr ? std::stoull(given) : std::random_device()();
    return seed;
}

}  // namespace

EveryStore::EveryStore()
    : seed_(seed_of_run()),
      trace_(__FILE__, __LINE__, "DRAY_TEST_SEED=" + std::to_string(seed_)),
      random_(seed_),
      place_(GetParam().make()) {
    reopen();
    if (Result<void> made = store_->ensure_container("lab"); !made)
        throw std::runtime_error(made.error().text());
}

void EveryStore::reopen() {
    store_.reset();
    Result<std::unique_ptr<BlobStore>> opened = place_->open();
    if (!opened)
        throw std::runtime_error(opened.error().text());
    store_ = *std::move(opened);
}

Content EveryStore::random_content(std::size_t size) {
    Content content(size);
    std::ranges::generate(content, [&] { return static_cast<std::byte>(random_()); });
    return content;
}

std::string EveryStore::new_upload_id() {
    return "upload-" + std::to_string(++uploads_);
}

CreateOptions EveryStore::options(Bytes length, bool replace) {
    CreateOptions options;
    options.length = length;
    options.replace = replace;
    options.upload_id = new_upload_id();
    return options;
}

Result<void> EveryStore::put_whole(const BlobName& name, const Content& content, bool replace,
                                   const BlobProperties& properties, const BlobMetadata& metadata) {
    return store_->put_whole(name, options(content.size(), replace), piece_at(0, content),
                             properties, metadata, {});
}

std::unique_ptr<BlobWriter> EveryStore::create(const BlobName& name, const CreateOptions& options) {
    Result<std::unique_ptr<BlobWriter>> writer = store_->create(name, options, {});
    if (!writer)
        throw std::runtime_error(writer.error().text());
    return *std::move(writer);
}

Content EveryStore::content_of(const BlobName& name) {
    const Result<BlobStatus> status = store_->stat(name);
    if (!status) {
        ADD_FAILURE() << status.error().text();
        return {};
    }
    Content content(static_cast<std::size_t>(status->length));
    if (const Result<void> read = store_->read(name, 0, content, status->etag, {}); !read)
        ADD_FAILURE() << read.error().text();
    return content;
}

std::vector<BlobType> EveryStore::types() const {
    if (place_->keeps_pages())
        return {BlobType::Block, BlobType::Page};
    return {BlobType::Block};
}

BlobProperties EveryStore::kept(BlobProperties properties) const {
    if (!place_->keeps_content_md5())
        properties.content_md5.clear();
    return properties;
}

void EveryStore::put_again(BlobWriter& writer, const std::vector<Piece>& pieces) {
    if (place_->resumes())
        return;
    for (const Piece& piece : pieces)
        EXPECT_TRUE(writer.put(piece));
}

std::vector<std::string> EveryStore::names(const std::string& prefix, std::size_t most,
                                           const std::string& container) {
    std::vector<std::string> names;
    std::string marker;
    do {
        const Result<ListPage> page = store_->list(container, prefix, marker, most);
        if (!page) {
            ADD_FAILURE() << page.error().text();
            break;
        }
        EXPECT_LE(page->blobs.size(), most);
        for (const BlobStatus& blob : page->blobs)
            names.push_back(blob.name.name);
        marker = page->marker;
    } while (!marker.empty());
    return names;
}

void expect_properties(const BlobProperties& found, BlobProperties given, const Content& content) {
    if (given.content_md5.empty() && !found.content_md5.empty())
        given.content_md5 = to_base64(md5(content));
    EXPECT_EQ(found.content_type, given.content_type);
    EXPECT_EQ(found.content_encoding, given.content_encoding);
    EXPECT_EQ(found.content_language, given.content_language);
    EXPECT_EQ(found.cache_control, given.cache_control);
    EXPECT_EQ(found.content_md5, given.content_md5);
}

std::vector<Piece> cut(const Content& content, std::size_t size) {
    std::vector<Piece> pieces;
    for (std::size_t offset = 0; offset < content.size(); offset += size) {
        const auto part =
            std::span(content).subspan(offset, std::min(size, content.size() - offset));
        std::string id = std::to_string(100'000 + pieces.size());
        pieces.push_back({offset, part.size(), std::move(id), md5(part), part});
    }
    return pieces;
}

Piece piece_at(Bytes offset, const Content& content) {
    return {offset, content.size(), "MTAwMDAw", md5(content), content};
}

Content bytes(std::string_view text) {
    const auto view = std::as_bytes(std::span(text.data(), text.size()));
    return {view.begin(), view.end()};
}

}  // namespace dray::store
