// SPDX-License-Identifier: Apache-2.0
//
// The vectors of tests/data/cse, both ways.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <random>
#include <set>

#include <nlohmann/json.hpp>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "drivers/store/encryption/encrypting_store.hpp"
#include "drivers/store/encryption/encrypting_writer.hpp"
#include "tests/unit/encryption/memory_store.hpp"

namespace dray::store {
namespace {

using Json = nlohmann::json;

const BlobName kBlob{"lab", "vector"};

Json cases() { return Json::parse(std::ifstream(DRAY_TEST_DATA "/cse/vectors.json"))["cases"]; }

std::string text(const Json& row, const char* name) { return row[name].get<std::string>(); }

Content sha256(std::span<const std::byte> content) {
    Digest digest(DigestKind::Sha256);
    digest.update(content);
    return digest.finish();
}

/// The plaintext of the long ones.
Content pattern(std::size_t size) {
    Content content;
    for (std::uint32_t i = 0; content.size() < size; ++i) {
        Content block;
        for (const char c : std::string("cse-vector"))
            block.push_back(static_cast<std::byte>(c));
        for (int shift = 24; shift >= 0; shift -= 8)
            block.push_back(static_cast<std::byte>(i >> shift));
        const Content hash = sha256(block);
        content.insert(content.end(), hash.begin(), hash.end());
    }
    content.resize(size);
    return content;
}

Content plain_of(const Json& row) {
    return row.contains("plain_hex") ? *from_hex(text(row, "plain_hex")) : pattern(row["plain_len"].get<std::size_t>());
}

NonceScheme scheme_of(const Json& row) {
    const std::string name = text(row, "nonce_scheme");
    return name == "python" ? NonceScheme::Python : name == "java" ? NonceScheme::Java : NonceScheme::DotNet;
}

std::shared_ptr<const SecretBytes> kek_of(const Json& row) {
    const std::string kek = text(row, "kek");
    if (!kek.ends_with(".pem"))
        return std::make_shared<const SecretBytes>(std::span<const std::byte>(*from_hex(kek)));
    std::ifstream file(DRAY_TEST_DATA "/cse/" + kek);
    const std::string pem{std::istreambuf_iterator<char>(file), {}};
    return std::make_shared<const SecretBytes>(std::string_view(pem));
}

EncryptionConfig config_of(const Json& row) {
    return {text(row, "key_id"), Json::parse(text(row, "encryptiondata"))["WrappedContentKey"]["Algorithm"].get<std::string>(), ""};
}

/// What a blob with this body and the vector's encryptiondata is to who has its key.
struct Reader {
    MemoryStore* inner = nullptr;
    std::unique_ptr<BlobStore> store;

    Reader(const Json& row, Content body, const std::string& envelope) {
        auto memory = std::make_unique<MemoryStore>();
        inner = memory.get();
        inner->set(kBlob, std::move(body), {{"EncryptionData", envelope}, {"author", "Ada"}});
        store = std::move(encrypt_store(std::move(memory), config_of(row), kek_of(row))).value();
    }
    Result<Content> whole() const {
        DRAY_LET(const BlobStatus status, store->stat(kBlob));
        Content content(status.length);
        DRAY_TRY(store->read(kBlob, 0, content, status.etag, {}));
        return content;
    }
};

Content encoded(const Json& row, const Content& plain) {
    const Bytes region = row["region"].get<Bytes>();
    Content body(stored_length(plain.size(), region));
    Bytes done = 0;
    for (const auto run : text_runs(body, region, 0, plain.size())) {
        std::ranges::copy(std::span(plain).subspan(done, run.size()), run.begin());
        done += run.size();
    }
    const RegionCipher cipher(SecretBytes(std::span<const std::byte>(*from_hex(text(row, "cek_hex")))));
    EXPECT_TRUE(cipher.seal_all(scheme_of(row), 0, body, region));
    return body;
}

TEST(Vectors, AreAllThere) {
    std::size_t positive = 0;
    std::size_t negative = 0;
    std::set<std::string> schemes;
    for (const Json& row : cases()) {
        const bool is_negative = row.value("negative", false);
        negative += is_negative ? 1 : 0;
        positive += row.contains("cek_hex") ? 1 : 0;
        if (row.contains("nonce_scheme"))
            schemes.insert(text(row, "nonce_scheme"));
    }
    EXPECT_EQ(positive, 16U);
    EXPECT_EQ(negative, 9U);
    EXPECT_EQ(schemes.size(), 3U);
}

TEST(Vectors, AreReproducedAndReadBack) {
    const unsigned seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937_64 random(seed);
    for (const Json& row : cases()) {
        if (!row.contains("cek_hex"))
            continue;
        SCOPED_TRACE(text(row, "name"));
        const Content plain = plain_of(row);
        ASSERT_EQ(sha256(plain), *from_hex(text(row, "plain_sha256")));
        const Content body = encoded(row, plain);
        ASSERT_EQ(body.size(), row["cipher_len"].get<std::size_t>());
        EXPECT_EQ(sha256(body), *from_hex(text(row, "cipher_sha256")));
        EXPECT_EQ(to_base64(md5(body)), text(row, "cipher_md5_base64"));
        if (row.contains("cipher_hex")) {
            EXPECT_EQ(body, *from_hex(text(row, "cipher_hex")));
        }
        const Reader reader(row, body, text(row, "encryptiondata"));
        const Result<BlobStatus> status = reader.store->stat(kBlob);
        ASSERT_TRUE(status) << status.error().text();
        EXPECT_EQ(status->length, plain.size());
        EXPECT_EQ(status->metadata, (BlobMetadata{{"author", "Ada"}}));
        const Result<Content> read = reader.whole();
        ASSERT_TRUE(read) << read.error().text();
        EXPECT_EQ(*read, plain);
        for (int i = 0; i < 20; ++i) {
            const std::size_t offset = random() % (plain.size() + 1);
            Content part(random() % (plain.size() - offset + 1));
            ASSERT_TRUE(reader.store->read(kBlob, offset, part, "", {}));
            EXPECT_TRUE(std::ranges::equal(part, std::span(plain).subspan(offset, part.size())));
        }
    }
}

TEST(Vectors, KeysAreWrappedJustSo) {
    for (const Json& row : cases()) {
        if (!row.contains("cek_hex"))
            continue;
        SCOPED_TRACE(text(row, "name"));
        const Result<WrappingKey> key = WrappingKey::create(config_of(row), *kek_of(row));
        ASSERT_TRUE(key) << key.error().text();
        const SecretBytes content_key(std::span<const std::byte>(*from_hex(text(row, "cek_hex"))));
        const Result<Content> wrapped = key->wrap(with_protocol(text(row, "protocol"), content_key));
        ASSERT_TRUE(wrapped);
        Result<Envelope> envelope = read_envelope(text(row, "encryptiondata"));
        ASSERT_TRUE(envelope);
        if (text(row, "algorithm").starts_with("A")) {
            EXPECT_EQ(*wrapped, envelope->wrapped_key);
        } else {
            EXPECT_NE(*wrapped, envelope->wrapped_key);  // RSA-OAEP never gives the same twice
        }
        for (const Content& each : {envelope->wrapped_key, *wrapped}) {
            envelope->wrapped_key = each;
            const Result<SecretBytes> unwrapped = content_key_of(*envelope, *key);
            ASSERT_TRUE(unwrapped) << unwrapped.error().text();
            EXPECT_TRUE(std::ranges::equal(unwrapped->bytes(), content_key.bytes()));
        }
    }
}

// What we write is what the vectors of protocol 2.0 in Python's way are.
TEST(Vectors, AreWhatIsWritten) {
    unsigned written = 0;
    for (const Json& row : cases()) {
        if (!row.contains("cek_hex") || row["region"] != 4194304 || text(row, "nonce_scheme") != "python" ||
            !text(row, "algorithm").starts_with("A"))
            continue;
        SCOPED_TRACE(text(row, "name"));
        ++written;
        const Content plain = plain_of(row);
        const Result<WrappingKey> key = WrappingKey::create(config_of(row), *kek_of(row));
        ASSERT_TRUE(key);
        Result<BlobEncryption> encryption = BlobEncryption::create(
            *key, plain.size(), "", SecretBytes(std::span<const std::byte>(*from_hex(text(row, "cek_hex")))));
        ASSERT_TRUE(encryption);
        Json document = Json::parse(encryption->envelope);
        EXPECT_EQ(document["KeyWrappingMetadata"]["PlainLength"], std::to_string(plain.size()));
        // Ours beside it is said elsewhere; all else is the vector's.
        document["KeyWrappingMetadata"] = Json::parse(text(row, "encryptiondata"))["KeyWrappingMetadata"];
        EXPECT_EQ(document, Json::parse(text(row, "encryptiondata")));
        MemoryStore inner;
        BlockMemory memory;
        CreateOptions options;
        options.length = plain.size();
        options.upload_id = "vector";
        auto writer = EncryptingWriter::create(inner, memory, *std::move(encryption), kBlob, options, {});
        ASSERT_TRUE(writer);
        const Piece piece{0, plain.size(), "", {}, plain};
        ASSERT_TRUE((*writer)->put(piece));
        ASSERT_TRUE((*writer)->finish({&piece, 1}, {}, {}));
        EXPECT_EQ(sha256(inner.blobs.at(kBlob.path()).content), *from_hex(text(row, "cipher_sha256")));
    }
    EXPECT_EQ(written, 6U);
}

TEST(Vectors, WhatIsWrongIsRefused) {
    unsigned refused = 0;
    for (const Json& row : cases()) {
        if (!row.value("negative", false))
            continue;
        SCOPED_TRACE(text(row, "name") + ": " + text(row, "why"));
        const Reader reader(row, *from_hex(text(row, "cipher_hex")), text(row, "encryptiondata"));
        const Result<Content> read = reader.whole();
        ASSERT_FALSE(read);
        EXPECT_EQ(kind_of(read), text(row, "name") == "neg-wrapped-key-changed" ? "WrongKey" : "Corrupt");
        ++refused;
    }
    EXPECT_EQ(refused, 9U);
}

TEST(Vectors, WhatIsCutBetweenRegionsIsRefusedByWhoKnowsTheLength) {
    for (const Json& row : cases()) {
        if (text(row, "name") != "pitfall-truncated-at-region-boundary")
            continue;
        const Content body = *from_hex(text(row, "cipher_hex"));
        Result<Envelope> envelope = read_envelope(text(row, "encryptiondata"));
        ASSERT_TRUE(envelope);
        // The format alone does not tell.
        const Reader without(row, body, text(row, "encryptiondata"));
        ASSERT_TRUE(without.whole());
        EXPECT_EQ(without.whole()->size(), 192U);
        EXPECT_EQ(kind_of(length_of(*envelope, body.size())), "success");
        EXPECT_EQ(kind_of(length_of(*envelope, body.size(), 192)), "success");
        EXPECT_EQ(kind_of(length_of(*envelope, body.size(), 300)), "Corrupt");
        // What we write tells.
        envelope->length = 300;
        const Reader with(row, body, write_envelope(*envelope));
        EXPECT_EQ(kind_of(with.store->stat(kBlob)), "Corrupt");
        Content part(10);
        EXPECT_EQ(kind_of(with.store->read(kBlob, 0, part, "", {})), "Corrupt");
        const Result<ListPage> page = with.store->list("lab", "", "", 10);
        ASSERT_TRUE(page);
        EXPECT_EQ(page->blobs.at(0).length, body.size()) << "as it is stored";
        envelope->length = 192;
        EXPECT_TRUE(Reader(row, body, write_envelope(*envelope)).whole());
        return;
    }
    FAIL() << "there is no such vector";
}

}  // namespace
}  // namespace dray::store
