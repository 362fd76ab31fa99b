// SPDX-License-Identifier: Apache-2.0
//
// encryptiondata: what is written, what is read and what is not; lengths; nonces.
#include "drivers/store/encryption/envelope.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemon/base/encoding.hpp"
#include "drivers/store/encryption/region_cipher.hpp"
#include "tests/unit/encryption/memory_store.hpp"

namespace dray::store {
namespace {

using Json = nlohmann::json;

const char* const kWritten =
    R"({"WrappedContentKey":{"KeyId":"local:test-kek-1","EncryptedKey":"AAEC","Algorithm":"A256KW"},)"
    R"("EncryptionAgent":{"Protocol":"2.0","EncryptionAlgorithm":"AES_GCM_256"},)"
    R"("EncryptedRegionInfo":{"DataLength":4194304,"NonceLength":12},)"
    R"("KeyWrappingMetadata":{"EncryptionLibrary":"dray","PlainLength":"300","UploadId":"up-1"},)"
    R"("EncryptionMode":"FullBlob"})";

Envelope example() {
    Envelope envelope;
    envelope.key_id = "local:test-kek-1";
    envelope.algorithm = "A256KW";
    envelope.wrapped_key = {std::byte{0}, std::byte{1}, std::byte{2}};
    envelope.region = kWrittenRegion;
    envelope.length = 300;
    envelope.upload_id = "up-1";
    return envelope;
}

/// The example with one change.
std::string changed(const std::function<void(Json&)>& change) {
    Json document = Json::parse(kWritten);
    change(document);
    return document.dump();
}

TEST(Envelope, IsWrittenInTheFormatsOrder) {
    EXPECT_EQ(write_envelope(example()), kWritten);
}

TEST(Envelope, IsReadInAnyOrderWithWhateverElse) {
    for (const std::string& text :
         {std::string(kWritten), Json::parse(kWritten).dump(2), changed([](Json& all) {
              all["Other"] = {1, 2};
              all["EncryptionAgent"]["Other"] = nullptr;
              all["KeyWrappingMetadata"]["Other"] = "x";
              all["EncryptionMode"] = "Partial";
          })}) {
        const Result<Envelope> read = read_envelope(text);
        ASSERT_TRUE(read) << read.error().text();
        EXPECT_EQ(read->key_id, "local:test-kek-1");
        EXPECT_EQ(read->algorithm, "A256KW");
        EXPECT_EQ(to_hex(read->wrapped_key), "000102");
        EXPECT_EQ(read->protocol, "2.0");
        EXPECT_EQ(read->region, kWrittenRegion);
        EXPECT_EQ(read->length, 300U);
        EXPECT_EQ(read->upload_id, "up-1");
    }
    const Result<Envelope> bare = read_envelope(changed([](Json& all) { all.erase("KeyWrappingMetadata"); }));
    ASSERT_TRUE(bare);
    EXPECT_FALSE(bare->length);
    EXPECT_EQ(bare->upload_id, "");
}

TEST(Envelope, IsReadWithinTheFormatsLimits) {
    const struct {
        const char* description;
        const char* expected;
        std::function<void(Json&)> change;
    } rows[] = {
        {"2.1", "success", [](Json& all) { all["EncryptionAgent"]["Protocol"] = "2.1"; }},
        {"2.2", "Unsupported", [](Json& all) { all["EncryptionAgent"]["Protocol"] = "2.2"; }},
        {"1.0", "Unsupported", [](Json& all) {
             all["EncryptionAgent"]["Protocol"] = "1.0";
             all["EncryptionAgent"]["EncryptionAlgorithm"] = "AES_CBC_256";
         }},
        {"another cipher", "Unsupported", [](Json& all) { all["EncryptionAgent"]["EncryptionAlgorithm"] = "AES_CBC_256"; }},
        {"protocol as a number", "Corrupt", [](Json& all) { all["EncryptionAgent"]["Protocol"] = 2.0; }},
        {"no agent", "Corrupt", [](Json& all) { all.erase("EncryptionAgent"); }},
        {"regions of 15", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = 15; }},
        {"regions of 16", "success", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = 16; }},
        {"regions of 1 GiB", "success", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = 1 << 30; }},
        {"regions of 1 GiB + 1", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = (1 << 30) + 1; }},
        {"regions of 0", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = 0; }},
        {"regions of -1", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = -1; }},
        {"regions as text", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = "64"; }},
        {"regions of a fraction", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["DataLength"] = 64.5; }},
        {"nonce of 11", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["NonceLength"] = 11; }},
        {"nonce of 16", "Corrupt", [](Json& all) { all["EncryptedRegionInfo"]["NonceLength"] = 16; }},
        {"no regions", "Corrupt", [](Json& all) { all.erase("EncryptedRegionInfo"); }},
        {"no key", "Corrupt", [](Json& all) { all.erase("WrappedContentKey"); }},
        {"key is text", "Corrupt", [](Json& all) { all["WrappedContentKey"] = "AAEC"; }},
        {"no key id", "Corrupt", [](Json& all) { all["WrappedContentKey"].erase("KeyId"); }},
        {"key not Base64", "Corrupt", [](Json& all) { all["WrappedContentKey"]["EncryptedKey"] = "A*EC"; }},
        {"length no number", "Corrupt", [](Json& all) { all["KeyWrappingMetadata"]["PlainLength"] = "300 "; }},
        {"length too large", "Corrupt", [](Json& all) { all["KeyWrappingMetadata"]["PlainLength"] = "18446744073709551616"; }},
        {"an array", "Corrupt", [](Json& all) { all = {1}; }},
    };
    for (const auto& row : rows)
        EXPECT_EQ(kind_of(read_envelope(changed(row.change))), row.expected) << row.description;
    for (const std::string& text : {std::string(), std::string("{"), std::string(kWritten).substr(0, 100),
                                    std::string("\xFF"), std::string(200'000, '['), std::string(kMaxEnvelope + 1, ' ')})
        EXPECT_EQ(kind_of(read_envelope(text)), "Corrupt") << text.substr(0, 20);
    const std::string padded = std::string(kWritten) + std::string(kMaxEnvelope - std::string(kWritten).size(), ' ');
    EXPECT_EQ(kind_of(read_envelope(padded)), "success");
    EXPECT_EQ(kind_of(read_envelope(padded + " ")), "Corrupt");
}

TEST(Envelope, LengthsGoBothWays) {
    for (const Bytes region : {Bytes{16}, Bytes{64}, kWrittenRegion})
        for (const Bytes length : {Bytes{0}, Bytes{1}, region - 1, region, region + 1, 2 * region, 5 * region + 7}) {
            const Bytes stored = stored_length(length, region);
            const Result<Bytes> back = plain_length(stored, region);
            ASSERT_TRUE(back);
            EXPECT_EQ(*back, length);
        }
    EXPECT_EQ(stored_length(kWrittenRegion, kWrittenRegion), 4'194'332U);
    for (Bytes cut = 1; cut <= 28; ++cut) {
        EXPECT_EQ(kind_of(plain_length(cut, 64)), "Corrupt") << cut;
        EXPECT_EQ(kind_of(plain_length(3 * 92 + cut, 64)), "Corrupt") << cut;
    }
    EXPECT_EQ(*plain_length(29, 64), 1U);
    EXPECT_EQ(*plain_length(3 * 92 + 29, 64), 3 * 64U + 1);
}

TEST(Envelope, TheContentKeyIsThatOfItsProtocol) {
    const Result<WrappingKey> key =
        WrappingKey::create({"local:test-kek-1", "A256KW", ""}, SecretBytes(std::string_view("0123456789abcdef0123456789abcdef")));
    ASSERT_TRUE(key);
    const SecretBytes content_key(std::string_view("abcdefghijklmnopqrstuvwxyz012345"));
    Envelope envelope = example();
    const auto kind_with = [&](const SecretBytes& wrapped) {
        envelope.wrapped_key = *key->wrap(wrapped);
        return kind_of(content_key_of(envelope, *key));
    };
    EXPECT_EQ(kind_with(with_protocol("2.0", content_key)), "success");
    EXPECT_EQ(content_key_of(envelope, *key)->text(), content_key.text());
    EXPECT_EQ(kind_with(with_protocol("2.1", content_key)), "Corrupt");
    EXPECT_EQ(kind_with(content_key), "Corrupt");
    EXPECT_EQ(kind_with(with_protocol("2.0", SecretBytes(24))), "Corrupt");
    EXPECT_EQ(kind_with(with_protocol("2.0", SecretBytes(40))), "Corrupt");
    envelope.protocol = "2.1";
    EXPECT_EQ(kind_with(with_protocol("2.1", content_key)), "success");
    envelope.key_id = "another";
    EXPECT_EQ(kind_of(content_key_of(envelope, *key)), "WrongKey");
}

TEST(Nonces, AreThoseOfTheThreeWriters) {
    EXPECT_EQ(to_hex(nonce_of(NonceScheme::Python, 1)), "000000000000000000000001");
    EXPECT_EQ(to_hex(nonce_of(NonceScheme::Java, 1)), "000000000000000100000000");
    EXPECT_EQ(to_hex(nonce_of(NonceScheme::DotNet, 0)), "000000000100000000000000");
    EXPECT_EQ(to_hex(nonce_of(NonceScheme::Python, 0x0102030405)), "000000000000000102030405");
    EXPECT_EQ(to_hex(nonce_of(NonceScheme::DotNet, 0x0102030404)), "000000000504030201000000");
}

TEST(Nonces, NarrowToOneSchemeForAll) {
    const auto python = [](std::uint64_t i) { return nonce_of(NonceScheme::Python, i); };
    const auto java = [](std::uint64_t i) { return nonce_of(NonceScheme::Java, i); };
    const auto dotnet = [](std::uint64_t i) { return nonce_of(NonceScheme::DotNet, i); };
    NonceSchemes either;
    EXPECT_TRUE(either.narrow(0, python(0)));  // Java's as well
    EXPECT_TRUE(either.narrow(7, java(7)));
    EXPECT_TRUE(either.narrow(3, java(3)));
    EXPECT_FALSE(either.narrow(4, python(4)));
    NonceSchemes late;
    EXPECT_TRUE(late.narrow(5, dotnet(5)));
    EXPECT_FALSE(late.narrow(0, python(0)));
    NonceSchemes wrong;
    EXPECT_FALSE(wrong.narrow(1, python(0)));
    EXPECT_FALSE(wrong.narrow(0, python(0))) << "what was wrong once stays so";
}

}  // namespace
}  // namespace dray::store
