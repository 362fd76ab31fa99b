// SPDX-License-Identifier: Apache-2.0
//
// Which keys are taken, and what is said of the others.
#include "drivers/store/encryption/key_wrap.hpp"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <fstream>

#include "daemon/base/encoding.hpp"
#include "tests/unit/encryption/memory_store.hpp"

namespace dray::store {
namespace {

using Key = Handle<EVP_PKEY, EVP_PKEY_free>;
using Bio = Handle<BIO, BIO_free>;

Result<WrappingKey> make(const std::string& algorithm, std::string_view key) {
    return WrappingKey::create({"site", algorithm, ""}, SecretBytes(key));
}

std::string written(const std::function<int(BIO*)>& write) {
    const Bio bio(BIO_new(BIO_s_mem()));
    EXPECT_EQ(write(bio.get()), 1);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &bytes);
    return {bytes, static_cast<std::size_t>(size)};
}

std::string private_pem(EVP_PKEY* key) {
    return written([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

std::string public_pem(EVP_PKEY* key) {
    return written([&](BIO* bio) { return PEM_write_bio_PUBKEY(bio, key); });
}

Key rsa_key(unsigned bits) { return Key(EVP_RSA_gen(bits)); }

std::string file_text(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Wraps and unwraps; the key that came out.
std::string through(const WrappingKey& key) {
    const SecretBytes content_key(std::string_view("2.0\0\0\0\0\0abcdefghijklmnopqrstuvwxyz012345", 40));
    const Result<Content> wrapped = key.wrap(content_key);
    EXPECT_TRUE(wrapped);
    const Result<SecretBytes> unwrapped = key.unwrap(key.algorithm(), *wrapped);
    return unwrapped ? std::string(unwrapped->text()) : unwrapped.error().text();
}

const std::string kThrough("2.0\0\0\0\0\0abcdefghijklmnopqrstuvwxyz012345", 40);

TEST(KeyWrap, TakesKeysOfTheRightSizeHoweverTheyAreWritten) {
    std::string raw;
    for (int i = 0; i < 32; ++i)
        raw += static_cast<char>(200 + i);
    const struct {
        const char* algorithm;
        std::size_t size;
    } rows[] = {{"A128KW", 16}, {"A192KW", 24}, {"A256KW", 32}};
    for (const auto& row : rows) {
        const std::string key = raw.substr(0, row.size);
        const auto view = std::as_bytes(std::span(key));
        std::string hex = to_hex(view);
        const Result<WrappingKey> expected = make(row.algorithm, key);
        ASSERT_TRUE(expected) << expected.error().text();
        const Result<Content> wrapped = expected->wrap(SecretBytes(kThrough));
        std::string lower = hex;
        std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
        for (const std::string& text : {hex, lower, hex + "\n", hex + "\r\n", to_base64(view), to_base64(view) + "\n"}) {
            const Result<WrappingKey> same = make(row.algorithm, text);
            ASSERT_TRUE(same) << row.algorithm << " " << same.error().text();
            EXPECT_EQ(*same->wrap(SecretBytes(kThrough)), *wrapped);
            EXPECT_EQ(through(*same), kThrough);
            EXPECT_TRUE(same->can_unwrap());
        }
    }
    // The right number of bytes is the key, whatever they look like.
    EXPECT_TRUE(make("A256KW", "0123456789abcdef0123456789abcdef"));
    EXPECT_TRUE(make("A256KW", "0123456789abcdef0123456789abcde\n"));
}

TEST(KeyWrap, RefusesKeysThatAreNoneWithoutShowingThem) {
    const std::string secret = "GEHEIMNISVOLL";
    const std::string hex(64, 'a');
    const struct {
        const char* description;
        const char* algorithm;
        std::string key;
    } rows[] = {{"too short", "A256KW", secret},
                {"one byte too many", "A256KW", std::string(33, 'x')},
                {"one too few", "A256KW", std::string(31, 'x')},
                {"of another size", "A128KW", hex},
                {"no hex", "A256KW", secret + std::string(51, 'z')},
                {"two line breaks", "A256KW", hex + "\n\n"},
                {"blank behind", "A256KW", hex + " "},
                {"Base64 of 31 bytes", "A256KW", to_base64(Content(31))},
                {"an AES key", "RSA-OAEP", std::string(32, 'x')},
                {"no PEM", "RSA-OAEP-256", "-----BEGIN PRIVATE KEY-----\n" + secret},
                {"unknown algorithm", "A512KW", std::string(64, 'x')},
                {"no algorithm", "", std::string(32, 'x')},
                {"a short RSA key", "RSA-OAEP-256", private_pem(rsa_key(1024).get())},
                {"no RSA key", "RSA-OAEP-256", private_pem(Key(EVP_EC_gen("P-256")).get())}};
    for (const auto& row : rows) {
        const Result<WrappingKey> made = make(row.algorithm, row.key);
        EXPECT_EQ(kind_of(made), "InvalidArgument") << row.description;
        if (made)
            continue;
        EXPECT_EQ(made.error().text().find(secret), std::string::npos) << made.error().text();
        EXPECT_EQ(made.error().text().find("aaaa"), std::string::npos) << made.error().text();
        if (std::string(row.algorithm).starts_with("A256")) {
            EXPECT_NE(made.error().text().find("32 bytes"), std::string::npos) << made.error().text();
        }
    }
}

TEST(KeyWrap, TakesNamesThatCanBeAKeysId) {
    const std::string key(32, 'x');
    const auto named = [&](const std::string& name) {
        return kind_of(WrappingKey::create({name, "A256KW", ""}, SecretBytes(key)));
    };
    EXPECT_EQ(named("local:site-key 1"), "success");
    EXPECT_EQ(named(std::string(1024, 'k')), "success");
    EXPECT_EQ(named(std::string(1025, 'k')), "InvalidArgument");
    EXPECT_EQ(named(""), "InvalidArgument");
    EXPECT_EQ(named("schl\xC3\xBCssel"), "InvalidArgument");
    EXPECT_EQ(named("a\nb"), "InvalidArgument");
}

TEST(KeyWrap, WritesWithAPublicKeyAndReadsWithItsPrivateOne) {
    const Key key = rsa_key(2048);
    const Key other = rsa_key(2048);
    const SecretBytes content_key{std::string_view(kThrough)};
    for (const char* algorithm : {"RSA-OAEP", "RSA-OAEP-256"}) {
        const Result<WrappingKey> writer = make(algorithm, public_pem(key.get()));
        const Result<WrappingKey> reader = make(algorithm, private_pem(key.get()));
        ASSERT_TRUE(writer) << writer.error().text();
        ASSERT_TRUE(reader) << reader.error().text();
        EXPECT_FALSE(writer->can_unwrap());
        EXPECT_TRUE(reader->can_unwrap());
        const Result<Content> wrapped = writer->wrap(content_key);
        ASSERT_TRUE(wrapped);
        EXPECT_EQ(reader->unwrap(algorithm, *wrapped)->text(), kThrough);
        const Result<SecretBytes> denied = writer->unwrap(algorithm, *wrapped);
        EXPECT_EQ(kind_of(denied), "Denied");
        EXPECT_NE(denied.error().text().find("public"), std::string::npos);
        EXPECT_EQ(kind_of(make(algorithm, private_pem(other.get()))->unwrap(algorithm, *wrapped)), "WrongKey");
        // One key, two algorithms: what the other one wrapped is read as well, as itself alone.
        const std::string crossed = std::string(algorithm) == "RSA-OAEP" ? "RSA-OAEP-256" : "RSA-OAEP";
        EXPECT_EQ(make(crossed, private_pem(key.get()))->unwrap(algorithm, *wrapped)->text(), kThrough);
        EXPECT_EQ(kind_of(reader->unwrap(crossed, *wrapped)), "WrongKey");
        EXPECT_EQ(kind_of(reader->unwrap("A256KW", *wrapped)), "WrongKey");
    }
    EXPECT_TRUE(make("RSA-OAEP-256", file_text(DRAY_TEST_DATA "/cse/rsa-test-key.pem")));
    // PKCS 1, as older tools write it.
    const std::string old = written([&](BIO* bio) {
        return PEM_write_bio_PrivateKey_traditional(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    EXPECT_TRUE(old.starts_with("-----BEGIN RSA PRIVATE KEY"));
    EXPECT_TRUE(make("RSA-OAEP-256", old));
    // Locked with a passphrase: nobody is asked for one.
    const std::string locked = written([&](BIO* bio) {
        return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), EVP_aes_256_cbc(), "secret", 6, nullptr, nullptr);
    });
    EXPECT_EQ(kind_of(make("RSA-OAEP-256", locked)), "InvalidArgument");
}

TEST(KeyWrap, RefusesWhatWasDamagedOrWrappedWithAnotherKey) {
    const Result<WrappingKey> key = make("A256KW", std::string(32, 'x'));
    const Result<WrappingKey> other = make("A256KW", std::string(32, 'y'));
    ASSERT_TRUE(key && other);
    const Result<Content> wrapped = key->wrap(SecretBytes(std::string_view(kThrough)));
    ASSERT_TRUE(wrapped);
    EXPECT_EQ(wrapped->size(), 48U);
    EXPECT_EQ(kind_of(key->unwrap("A256KW", *wrapped)), "success");
    EXPECT_EQ(kind_of(other->unwrap("A256KW", *wrapped)), "WrongKey");
    EXPECT_EQ(kind_of(key->unwrap("A128KW", *wrapped)), "WrongKey");
    for (std::size_t i = 0; i < wrapped->size(); ++i) {
        Content damaged = *wrapped;
        damaged[i] ^= std::byte{1};
        EXPECT_EQ(kind_of(key->unwrap("A256KW", damaged)), "WrongKey") << i;
    }
    for (const std::size_t size : {0U, 8U, 16U, 47U, 49U, 56U, 4096U})
        EXPECT_EQ(kind_of(key->unwrap("A256KW", Content(size))), "WrongKey") << size;
}

}  // namespace
}  // namespace dray::store
