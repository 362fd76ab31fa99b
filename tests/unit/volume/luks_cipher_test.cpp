// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/luks/luks_cipher.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "daemon/base/encoding.hpp"

namespace dray::volume {
namespace {

SecretBytes key_of(std::string_view hex) { return SecretBytes(std::span<const std::byte>(*from_hex(hex))); }

std::vector<std::byte> counted(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(i);
    return bytes;
}

// IEEE 1619-2007, vector 4: AES-128, data unit 0, 512 bytes counting up.
constexpr const char* kVectorKey = "2718281828459045235360287471352631415926535897932384626433832795";

TEST(LuksCipher, AgreesWithThePublishedVector) {
    Result<LuksCipher> cipher = LuksCipher::create(LuksAlgorithm::XtsPlain64, key_of(kVectorKey), 512);
    ASSERT_TRUE(cipher);
    std::vector<std::byte> bytes = counted(512);
    ASSERT_TRUE(cipher->encrypt(0, bytes));
    EXPECT_EQ(to_hex(std::span(bytes).first(16)), "27A7479BEFA1D476489F308CD4CFA6E2");
    ASSERT_TRUE(cipher->decrypt(0, bytes));
    EXPECT_EQ(bytes, counted(512));
}

TEST(LuksCipher, CountsUnitsOf512BytesWhateverTheSector) {
    SecretBytes key = key_of(kVectorKey);
    Result<LuksCipher> large = LuksCipher::create(LuksAlgorithm::XtsPlain64, key, 4096);
    ASSERT_TRUE(large);
    std::vector<std::byte> two = counted(8192);
    ASSERT_TRUE(large->encrypt(16, two));
    std::vector<std::byte> second = counted(4096);
    ASSERT_TRUE(large->encrypt(24, second));
    EXPECT_TRUE(std::equal(second.begin(), second.end(), two.begin() + 4096));
}

TEST(LuksCipher, CbcKnowsThreeKeySizesAndGivesBackWhatItWasGiven) {
    const std::vector<std::byte> all = counted(4096);
    for (const LuksAlgorithm algorithm : {LuksAlgorithm::CbcPlain64, LuksAlgorithm::CbcEssivSha256}) {
        for (const std::size_t size : {16U, 24U, 32U}) {
            Result<LuksCipher> cipher = LuksCipher::create(algorithm, SecretBytes(size), 512);
            ASSERT_TRUE(cipher) << size;
            std::vector<std::byte> bytes = counted(4096);
            ASSERT_TRUE(cipher->encrypt(7, bytes));
            std::vector<std::byte> third(bytes.begin() + 1024, bytes.begin() + 1536);
            ASSERT_TRUE(cipher->decrypt(9, third));
            EXPECT_TRUE(std::ranges::equal(third, std::span(all).subspan(1024, 512)));
            ASSERT_TRUE(cipher->decrypt(7, bytes));
            EXPECT_EQ(bytes, all);
        }
        for (const std::size_t size : {0U, 15U, 17U, 48U, 64U})
            EXPECT_EQ(LuksCipher::create(algorithm, SecretBytes(size), 512).error().kind(), ErrorKind::Unsupported);
    }
}

TEST(LuksCipher, EssivIsTheSectorNumberUnderTheHashedKey) {
    // Computed with python3-cryptography: AES-256-CBC of 512 zeros under a key of zeros; the IV is AES-256-ECB of the
    // number 1 under SHA-256 of the key.
    Result<LuksCipher> cipher = LuksCipher::create(LuksAlgorithm::CbcEssivSha256, SecretBytes(32), 512);
    ASSERT_TRUE(cipher);
    std::vector<std::byte> bytes(512);
    ASSERT_TRUE(cipher->encrypt(1, bytes));
    EXPECT_EQ(to_hex(std::span(bytes).first(16)), "8C83AC7ACBEC130E8DDC35A5590E3979");
    EXPECT_EQ(to_hex(std::span(bytes).last(16)), "A09D431E9105D56BD1062C4D0C80A041");
}

TEST(LuksCipher, RefusesKeysAndSectorsItDoesNotKnow) {
    for (const std::size_t size : {0U, 16U, 31U, 33U, 48U, 63U, 65U})
        EXPECT_EQ(LuksCipher::create(LuksAlgorithm::XtsPlain64, SecretBytes(size), 512).error().kind(),
                  ErrorKind::Unsupported)
            << size;
    SecretBytes key = key_of(kVectorKey);
    for (const Bytes sector : {0U, 256U, 513U, 8192U})
        EXPECT_EQ(LuksCipher::create(LuksAlgorithm::XtsPlain64, key, sector).error().kind(), ErrorKind::Unsupported)
            << sector;
    std::vector<std::byte> bytes(1000);
    EXPECT_FALSE(LuksCipher::create(LuksAlgorithm::XtsPlain64, key, 512)->decrypt(0, bytes));
}

}  // namespace
}  // namespace dray::volume
