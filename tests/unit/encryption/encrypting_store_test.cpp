// SPDX-License-Identifier: Apache-2.0
//
// What is read, and what is refused: blobs that others put, that were replaced, cut, exchanged; keys that only write.
#include "drivers/store/encryption/encrypting_store.hpp"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include <nlohmann/json.hpp>

#include "daemon/base/digest.hpp"
#include "drivers/store/encryption/encrypting_writer.hpp"
#include "drivers/store/store_list.hpp"
#include "tests/unit/encryption/memory_store.hpp"

namespace dray::store {
namespace {

const BlobName kBlob{"lab", "disk.img"};
constexpr std::string_view kKey = "0123456789abcdef0123456789abcdef";

std::shared_ptr<const SecretBytes> secret(std::string_view text) { return std::make_shared<const SecretBytes>(text); }

struct Around {
    MemoryStore* inner = nullptr;
    std::unique_ptr<BlobStore> store;

    explicit Around(const EncryptionConfig& config = {"site", "A256KW", ""},
                    const std::shared_ptr<const SecretBytes>& key = secret(kKey)) {
        auto memory = std::make_unique<MemoryStore>();
        inner = memory.get();
        store = std::move(encrypt_store(std::move(memory), config, key)).value();
    }
    Result<void> put_whole(const Content& content, const std::string& id = "up") const {
        CreateOptions options;
        options.length = content.size();
        options.replace = true;
        options.upload_id = id;
        return store->put_whole(kBlob, options, {0, content.size(), "MTAwMDAw", {}, content}, {}, {{"author", "Ada"}}, {});
    }
    Result<Content> read(const std::string& if_match = "") const {
        DRAY_LET(const BlobStatus status, store->stat(kBlob));
        Content content(status.length);
        DRAY_TRY(store->read(kBlob, 0, content, if_match, {}));
        return content;
    }
};

/// A body of two regions of 64 bytes with nonces of these schemes, as some other writer may have made it.
Content two_regions(const Content& plain, NonceScheme first, NonceScheme second, const SecretBytes& content_key) {
    Content body(stored_length(plain.size(), 64));
    std::size_t done = 0;
    for (const auto run : text_runs(body, 64, 0, plain.size())) {
        std::ranges::copy(std::span(plain).subspan(done, run.size()), run.begin());
        done += run.size();
    }
    const RegionCipher cipher(content_key.clone());
    EXPECT_TRUE(cipher.seal(first, 0, std::span(body).first(92)));
    EXPECT_TRUE(cipher.seal(second, 1, std::span(body).subspan(92)));
    return body;
}

std::string envelope_of_64(const SecretBytes& content_key) {
    const Result<WrappingKey> key = WrappingKey::create({"site", "A256KW", ""}, SecretBytes(kKey));
    Envelope envelope;
    envelope.key_id = "site";
    envelope.algorithm = "A256KW";
    envelope.protocol = "2.1";
    envelope.region = 64;
    envelope.wrapped_key = *key->wrap(with_protocol("2.1", content_key));
    return write_envelope(envelope);
}

TEST(EncryptingStore, PutsASmallBlobInOneRequest) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{5 * kMiB}}) {
        const Around around;
        const Content content(size, std::byte{7});
        ASSERT_TRUE(around.put_whole(content));
        EXPECT_EQ(around.inner->puts, 1U);
        const MemoryStore::Blob& blob = around.inner->blobs.at(kBlob.path());
        EXPECT_EQ(blob.content.size(), stored_length(size, kWrittenRegion));
        EXPECT_EQ(decoded(blob, std::as_bytes(std::span(kKey))), content);
        EXPECT_EQ(around.inner->created.back().length, blob.content.size());
        const Result<BlobStatus> status = around.store->stat(kBlob);
        ASSERT_TRUE(status);
        EXPECT_EQ(status->length, size);
        EXPECT_EQ(status->upload_id, "up");
        EXPECT_EQ(status->metadata, (BlobMetadata{{"author", "Ada"}}));
        EXPECT_EQ(around.read().value(), content);
    }
}

TEST(EncryptingStore, NeverUsesAContentKeyTwice) {
    const Around around;
    const Content content(1000, std::byte{7});
    ASSERT_TRUE(around.put_whole(content));
    const MemoryStore::Blob first = around.inner->blobs.at(kBlob.path());
    ASSERT_TRUE(around.put_whole(content));
    const MemoryStore::Blob second = around.inner->blobs.at(kBlob.path());
    EXPECT_NE(first.content, second.content);
    EXPECT_NE(first.status.metadata.at("encryptiondata"), second.status.metadata.at("encryptiondata"));
}

TEST(EncryptingStore, WhatFailsAtTheStoreIsNotTheDrivesFault) {
    const Around around;
    around.inner->before_put = [](const Piece&) -> Result<void> { return fail(ErrorKind::Corrupt, "refused"); };
    EXPECT_EQ(kind_of(around.put_whole(Content(10))), "Unreachable");
    CreateOptions options;
    options.length = 10;
    options.upload_id = "up";
    Piece piece{0, 10, "", md5(Content(10)), {}};
    const Content other(10, std::byte{1});
    piece.content = other;
    around.inner->before_put = [](const Piece&) { return Result<void>(); };
    EXPECT_EQ(kind_of(around.store->put_whole(kBlob, options, piece, {}, {}, {})), "Corrupt");
    EXPECT_EQ(kind_of(around.store->put_whole(kBlob, options, piece, {}, {{"EncryptionData", ""}}, {})), "InvalidArgument");
    EXPECT_TRUE(around.inner->blobs.empty());
}

TEST(EncryptingStore, ShowsWhatOthersPutAndReadsOnlyWhatIsEncrypted) {
    const Around around;
    BlobProperties properties;
    properties.content_md5 = "1B2M2Y8AsgTpgAmY7PhCfg==";
    around.inner->set(kBlob, Content(10), {{"a", "b"}}, properties);
    Result<BlobStatus> status = around.store->stat(kBlob);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->length, 10U);
    EXPECT_EQ(status->upload_id, "");
    EXPECT_EQ(status->metadata, (BlobMetadata{{"a", "b"}}));
    EXPECT_EQ(status->properties, properties);
    const Result<Content> refused = around.read();
    EXPECT_EQ(kind_of(refused), "Unsupported");
    EXPECT_NE(refused.error().text().find("not encrypted"), std::string::npos);
    // Of an older protocol: there, not to be read.
    const std::string old = R"({"EncryptionAgent":{"Protocol":"1.0","EncryptionAlgorithm":"AES_CBC_256"}})";
    around.inner->set(kBlob, Content(16), {{"encryptiondata", old}});
    status = around.store->stat(kBlob);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->length, 16U);
    EXPECT_EQ(kind_of(around.read()), "Unsupported");
    // Damaged.
    around.inner->set(kBlob, Content(16), {{"encryptiondata", "{"}});
    EXPECT_EQ(kind_of(around.store->stat(kBlob)), "Corrupt");
    ASSERT_TRUE(around.store->list("lab", "", "", 10));
    EXPECT_EQ(around.store->list("lab", "", "", 10)->blobs.at(0).length, 16U);
}

TEST(EncryptingStore, HidesTheHashOfTheCiphertext) {
    const Around around;
    ASSERT_TRUE(around.put_whole(Content(100)));
    // As a service does by itself.
    MemoryStore::Blob& blob = around.inner->blobs.at(kBlob.path());
    blob.status.properties.content_md5 = "1B2M2Y8AsgTpgAmY7PhCfg==";
    EXPECT_EQ(around.store->stat(kBlob)->properties, BlobProperties());
    EXPECT_EQ(around.store->list("lab", "", "", 1)->blobs.at(0).properties, BlobProperties());
}

TEST(EncryptingStore, WritesWithAPublicKeyAlone) {
    const Handle<EVP_PKEY, EVP_PKEY_free> key(EVP_RSA_gen(2048));
    const Handle<BIO, BIO_free> bio(BIO_new(BIO_s_mem()));
    ASSERT_EQ(PEM_write_bio_PUBKEY(bio.get(), key.get()), 1);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &bytes);
    const std::string pem(bytes, static_cast<std::size_t>(size));
    const Around around({"site", "RSA-OAEP-256", ""}, secret(pem));
    ASSERT_TRUE(around.put_whole(Content(100)));
    EXPECT_EQ(around.store->stat(kBlob)->length, 100U);
    EXPECT_EQ(around.store->stat(kBlob)->upload_id, "up");
    const Result<Content> denied = around.read();
    EXPECT_EQ(kind_of(denied), "Denied");
    EXPECT_NE(denied.error().text().find("public key"), std::string::npos) << denied.error().text();
}

TEST(EncryptingStore, SaysWhichKeyItWouldTake) {
    const Around writes;
    ASSERT_TRUE(writes.put_whole(Content(100)));
    const MemoryStore::Blob blob = writes.inner->blobs.at(kBlob.path());
    const Around named({"other", "A256KW", ""});
    named.inner->set(kBlob, blob.content, blob.status.metadata);
    const Result<Content> wrong = named.read();
    EXPECT_EQ(kind_of(wrong), "WrongKey");
    EXPECT_NE(wrong.error().text().find("\"site\""), std::string::npos) << wrong.error().text();
    EXPECT_NE(wrong.error().text().find("\"other\""), std::string::npos) << wrong.error().text();
    const Around other({"site", "A256KW", ""}, secret("another key of just 32 bytes ..."));
    other.inner->set(kBlob, blob.content, blob.status.metadata);
    EXPECT_EQ(kind_of(other.read()), "WrongKey");
}

// Between the parts of one read the blob is replaced: all of the content is of one of the two.
TEST(EncryptingStore, NeverMixesTwoBlobs) {
    const Around around;
    const Content before(9 * kMiB, std::byte{1});
    const Content after(9 * kMiB, std::byte{2});
    ASSERT_TRUE(around.put_whole(before));
    const std::string etag = around.store->stat(kBlob)->etag;
    unsigned reads = 0;
    around.inner->before_read = [&] {
        if (++reads == 2) {
            EXPECT_TRUE(around.put_whole(after));
        }
    };
    Content content(9 * kMiB);
    ASSERT_TRUE(around.store->read(kBlob, 0, content, "", {}));
    EXPECT_EQ(content, after);
    reads = 10;
    EXPECT_EQ(kind_of(around.store->read(kBlob, 0, content, etag, {})), "Busy");
    // Asked for one of the two, it is that or nothing.
    ASSERT_TRUE(around.put_whole(before));
    const std::string again = around.store->stat(kBlob)->etag;
    reads = 0;
    EXPECT_EQ(kind_of(around.store->read(kBlob, 0, content, again, {})), "Busy");
    // A longer one than was known.
    reads = 10;
    const Content longer(10 * kMiB, std::byte{3});
    ASSERT_TRUE(around.put_whole(longer));
    Content end(kMiB);
    EXPECT_TRUE(around.store->read(kBlob, 9 * kMiB, end, "", {}));
    EXPECT_EQ(end, Content(kMiB, std::byte{3}));
    ASSERT_TRUE(around.put_whole(before));
    EXPECT_EQ(kind_of(around.store->read(kBlob, 9 * kMiB, end, "", {})), "InvalidArgument");
}

// Ranges of one blob share what they have seen: each alone would be fine.
TEST(EncryptingStore, RangesOfABlobAreOfOneNonceScheme) {
    const SecretBytes content_key(std::string_view("abcdefghijklmnopqrstuvwxyz012345"));
    const Content plain(128, std::byte{9});
    Content part(64);
    for (const bool is_mixed : {false, true}) {
        const Around around;
        around.inner->set(kBlob,
                          two_regions(plain, is_mixed ? NonceScheme::Python : NonceScheme::DotNet, NonceScheme::DotNet, content_key),
                          {{"encryptiondata", envelope_of_64(content_key)}});
        EXPECT_EQ(kind_of(around.store->read(kBlob, 64, part, "", {})), "success");
        EXPECT_EQ(kind_of(around.store->read(kBlob, 0, part, "", {})), is_mixed ? "Corrupt" : "success");
    }
}

TEST(EncryptingStore, ReadsFromSeveralThreadsAtOnce) {
    const Around around;
    Content content(13 * kMiB + 5);
    for (std::size_t i = 0; i < content.size(); ++i)
        content[i] = static_cast<std::byte>(i * 2654435761U >> 13);
    ASSERT_TRUE(around.put_whole(content));
    std::atomic<unsigned> wrong = 0;
    {
        std::vector<std::jthread> threads;
        for (std::size_t t = 0; t < 4; ++t)
            threads.emplace_back([&, t] {
                for (std::size_t i = 0; i < 12; ++i) {
                    const std::size_t offset = (t * 3 + i) * 999'983 % content.size();
                    Content part(std::min<std::size_t>(content.size() - offset, 1 + (i * 777'777)));
                    wrong += !around.store->read(kBlob, offset, part, "", {});
                    wrong += !std::ranges::equal(part, std::span(content).subspan(offset, part.size()));
                }
            });
    }
    EXPECT_EQ(wrong, 0U);
}

// What was put of an interrupted upload is thrown away by whoever asks for it: nobody else would.
TEST(EncryptingStore, BeginsInterruptedUploadsAnew) {
    const Around around;
    CreateOptions options;
    options.length = 2 * kWrittenRegion;
    options.upload_id = "up";
    const Content content(options.length, std::byte{5});
    {
        auto writer = around.store->create(kBlob, options, {});
        ASSERT_TRUE(writer);
        ASSERT_TRUE((*writer)->put({0, kWrittenRegion, "", {}, std::span(content).first(kWrittenRegion)}));
    }
    EXPECT_EQ(around.inner->uploads.at("up").size(), 1U);
    options.must_resume = true;
    EXPECT_EQ(kind_of(around.store->create(kBlob, options, {})), "NotFound");
    EXPECT_TRUE(around.inner->uploads.empty());
    EXPECT_EQ(kind_of(around.store->create(kBlob, options, {})), "NotFound");
}

TEST(EncryptingStore, IsAnotherStoreUnderAnotherKey) {
    EXPECT_EQ(Around().store->identity(), "memory+cse:site:A256KW");
    EXPECT_NE(Around({"other", "A256KW", ""}).store->identity(), Around().store->identity());
    EXPECT_EQ(Around().store->uri(kBlob), "memory:///lab/disk.img");
}

TEST(EncryptingStore, IsOpenedByTheListWithItsKey) {
    StoreConfig config{"vault", "nowhere"};
    config.encryption = {"site", "A256KW", ""};
    StoreAccess access;
    access.encryption_key = secret(kKey);
    EXPECT_EQ(kind_of(open_store(config, access)), "Unsupported") << "the type comes first";
    const Result<std::unique_ptr<BlobStore>> without = encrypt_store(std::make_unique<MemoryStore>(), config.encryption, nullptr);
    EXPECT_EQ(kind_of(without), "InvalidArgument");
    EXPECT_EQ(kind_of(encrypt_store(std::make_unique<MemoryStore>(), config.encryption, secret(""))), "InvalidArgument");
    EXPECT_EQ(kind_of(encrypt_store(std::make_unique<MemoryStore>(), config.encryption, secret("short"))), "InvalidArgument");
}

}  // namespace
}  // namespace dray::store
