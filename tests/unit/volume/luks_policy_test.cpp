// SPDX-License-Identifier: Apache-2.0
//
// What a header may ask for, on both sides of each limit. No key is tried in these tests: what is refused is refused
// before anything is derived.
#include "drivers/volume/luks/luks_policy.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "drivers/volume/luks/luks_unlock.hpp"
#include "tests/unit/filesystem/memory_device.hpp"
#include "tests/unit/volume/luks_edit.hpp"

namespace dray::volume {
namespace {

using nlohmann::json;
using test::Edit;
using test::MemoryDevice;

constexpr std::size_t kData = 1024 * 1024;
constexpr std::size_t kSize = kData + 64 * 1024;
constexpr Bytes kMemory = 64 * kMiB;
constexpr const char* kLuks2 =
    "--type luks2 --cipher aes-xts-plain64 --key-size 512 --sector-size 4096 --luks2-metadata-size 16k "
    "--luks2-keyslots-size 512k --offset 2048 --pbkdf pbkdf2 --pbkdf-force-iterations 1000";
constexpr const char* kLuks1 =
    "--type luks1 --cipher aes-xts-plain64 --key-size 512 --hash sha256 --pbkdf-force-iterations 1000";

struct Refusal {
    ErrorKind kind;
    const char* words;
    const char* status = kUnlockVolumeFailed;
};

struct Row {
    const char* what;
    Edit edit;
    std::optional<Refusal> refusal;
};

OpenResult<LoadedLuks> load(std::vector<std::byte> volume) {
    MemoryDevice device(std::move(volume), 512);
    const OpenResult<LuksHeader> header = find_luks_header(device);
    if (!header)
        return std::unexpected(header.error());
    return load_luks(device, *header, kMemory);
}

void expect(const char* what, const OpenResult<LoadedLuks>& loaded, const std::optional<Refusal>& refusal) {
    EXPECT_EQ(loaded.has_value(), !refusal) << what << (loaded ? "" : ": " + loaded.error().error.text());
    if (loaded || !refusal)
        return;
    EXPECT_EQ(loaded.error().error.kind(), refusal->kind) << what << ": " << loaded.error().error.text();
    EXPECT_NE(loaded.error().error.text().find(refusal->words), std::string::npos)
        << what << ": " << loaded.error().error.text();
    for (const char c : loaded.error().error.text())
        EXPECT_TRUE(c >= ' ' && c <= '~') << what << " speaks to the terminal: " << static_cast<int>(c);
    EXPECT_EQ(loaded.error().status, refusal->status) << what << ": " << loaded.error().error.text();
}

Edit argon2(std::uint32_t memory_kib, std::uint32_t passes, std::uint32_t threads, const char* slot = "0") {
    return [=](json& header) {
        json& kdf = header["keyslots"][slot]["kdf"];
        kdf = {{"type", "argon2id"}, {"time", passes}, {"memory", memory_kib}, {"cpus", threads}, {"salt", kdf["salt"]}};
    };
}

Edit set(const char* place, json value) {
    return [=](json& header) { header[json::json_pointer(place)] = value; };
}

/// A second slot that is as greedy as the edit makes it; the first stays as it is.
Edit second_slot(Edit edit) {
    return [edit = std::move(edit)](json& header) {
        header["keyslots"]["1"] = header["keyslots"]["0"];
        json& area = header["keyslots"]["1"]["area"];
        area["offset"] = std::to_string(std::stoull(area["offset"].get<std::string>()) +
                                        std::stoull(area["size"].get<std::string>()));
        header["digests"]["0"]["keyslots"].push_back("1");
        edit(header);
    };
}

class LuksPolicy : public testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(warm_up_crypt_library()); }
};

TEST_F(LuksPolicy, OfALuks2HeaderOnBothSidesOfEachLimit) {
    using enum ErrorKind;
    const std::vector<std::byte> honest = test::made_by_cryptsetup(kLuks2, kSize);
    const std::string to_the_end = std::to_string(kSize - kData);
    const Row rows[] = {
        {"as cryptsetup made it", [](json&) {}, std::nullopt},
        {"argon2 with all the memory there is", argon2(64 * 1024, 4, 4), std::nullopt},
        {"argon2 with a KiB more", argon2(64 * 1024 + 1, 4, 4), Refusal{LimitReached, "drives.unlock-memory"}},
        {"argon2 with 4 TiB", argon2(0xffffffff, 4, 4), Refusal{LimitReached, "drives.unlock-memory"}},
        {"100 passes", argon2(1024, 100, 4), std::nullopt},
        {"101 passes", argon2(1024, 101, 4), Refusal{LimitReached, "101 passes"}},
        {"16 threads", argon2(1024, 4, 16), std::nullopt},
        {"17 threads", argon2(1024, 4, 17), Refusal{LimitReached, "17 threads"}},
        {"20,000,000 rounds", set("/keyslots/0/kdf/iterations", 20'000'000), std::nullopt},
        {"20,000,001 rounds", set("/keyslots/0/kdf/iterations", 20'000'001), Refusal{LimitReached, "20000001 rounds"}},
        {"20,000,000 rounds for the digest", set("/digests/0/iterations", 20'000'000), std::nullopt},
        {"20,000,001 rounds for the digest", set("/digests/0/iterations", 20'000'001),
         Refusal{LimitReached, "the digest of the volume key asks for 20000001 rounds"}},
        {"a second slot like the first", second_slot([](json&) {}), std::nullopt},
        {"a second slot with too much memory", second_slot(argon2(64 * 1024 + 1, 4, 4, "1")),
         Refusal{LimitReached, "key slot 1 asks for"}},
        {"a second slot with too many rounds", second_slot(set("/keyslots/1/kdf/iterations", 20'000'001)),
         Refusal{LimitReached, "key slot 1 asks for"}},
        {"an unknown derivation", set("/keyslots/0/kdf/type", "scrypt"), Refusal{Unsupported, "key slot 0"}},
        {"an unknown hash", set("/keyslots/0/kdf/hash", "md4"), Refusal{Unsupported, "md4"}},
        {"no key slot",
         [](json& header) {
             header["keyslots"] = json::object();
             header["digests"]["0"]["keyslots"] = json::array();
         },
         Refusal{NotFound, "no key slot", kProtectorNotFound}},
        {"a volume that is not encrypted", set("/segments/0/encryption", "cipher_null-ecb"),
         Refusal{Unsupported, "the volume is encrypted with cipher_null-ecb, which encrypts nothing"}},
        {"a key slot that is not encrypted", set("/keyslots/0/area/encryption", "cipher_null-ecb"),
         Refusal{Unsupported, "key slot 0 is encrypted with cipher_null-ecb, which encrypts nothing"}},
        {"an unknown cipher", set("/segments/0/encryption", "serpent-xts-plain64"),
         Refusal{Unsupported, "serpent-xts-plain64"}},
        {"an unknown mode", set("/segments/0/encryption", "aes-xts-plain"), Refusal{Unsupported, "aes-xts-plain;"}},
        {"an unknown cipher of a key slot", set("/keyslots/0/area/encryption", "twofish-xts-plain64"),
         Refusal{Unsupported, "key slot 0 is encrypted with twofish-xts-plain64"}},
        {"CBC with the key of XTS", set("/segments/0/encryption", "aes-cbc-plain64"), Refusal{Unsupported, "512 bits"}},
        {"half re-encrypted by an old cryptsetup", set("/config/requirements", {{"mandatory", {"offline-reencrypt"}}}),
         Refusal{Unsupported, "re-encrypted"}},
        {"an unknown requirement", set("/config/requirements", {{"mandatory", {"moonlight"}}}),
         Refusal{Unsupported, "moonlight"}},
        {"a requirement that speaks to the terminal", set("/config/requirements", {{"mandatory", {"\x1b[2J\n"}}}),
         Refusal{Unsupported, "?[2J?"}},
        {"two segments",
         [](json& header) {
             header["segments"]["0"]["size"] = "4096";
             header["segments"]["1"] = header["segments"]["0"];
             header["segments"]["1"]["offset"] = std::to_string(kData + 4096);
             header["digests"]["0"]["segments"].push_back("1");
         },
         Refusal{Unsupported, "2 data segments"}},
        {"integrity tags",
         set("/segments/0/integrity", {{"type", "hmac(sha256)"}, {"journal_encryption", "none"}, {"journal_integrity", "none"}}),
         Refusal{Unsupported, "integrity"}},
        {"flags of a segment", set("/segments/0/flags", {"moonlight"}), Refusal{Unsupported, "flags"}},
        {"a segment up to the last byte", set("/segments/0/size", to_the_end), std::nullopt},
        {"a segment one sector beyond it", set("/segments/0/size", std::to_string(kSize - kData + 4096)),
         Refusal{Corrupt, "reaches to", kDiskOperationFailed}},
        {"a segment beyond all bounds", set("/segments/0/size", "18446744073709547520"),
         Refusal{Corrupt, "reaches to", kDiskOperationFailed}},
        {"data that begins with the last sector", set("/segments/0/offset", std::to_string(kSize - 4096)), std::nullopt},
        {"data that begins at the end", set("/segments/0/offset", std::to_string(kSize)),
         Refusal{Corrupt, "before its encrypted data begins", kDiskOperationFailed}},
        {"data that begins beyond all bounds", set("/segments/0/offset", "18446744073709547520"),
         Refusal{Corrupt, "before its encrypted data begins", kDiskOperationFailed}},
        {"sectors of 512 bytes", set("/segments/0/sector_size", 512), std::nullopt},
        {"sectors of 8192 bytes", set("/segments/0/sector_size", 8192), Refusal{Unsupported, "8192"}},
        {"a header that makes no sense", set("/keyslots", json::array()), Refusal{Corrupt, "damaged", kFailed}},
    };
    for (const Row& row : rows) {
        std::vector<std::byte> volume = honest;
        test::edit_luks2(volume, row.edit);
        expect(row.what, load(std::move(volume)), row.refusal);
    }
}

TEST_F(LuksPolicy, TakesTheOtherCiphersThatCryptsetupUsedToChoose) {
    for (const auto& [cipher, key_size, algorithm] :
         {std::tuple("aes-cbc-essiv:sha256", "256", LuksAlgorithm::CbcEssivSha256),
          std::tuple("aes-cbc-essiv:sha256", "128", LuksAlgorithm::CbcEssivSha256),
          std::tuple("aes-cbc-plain64", "192", LuksAlgorithm::CbcPlain64),
          std::tuple("aes-xts-plain64", "256", LuksAlgorithm::XtsPlain64)}) {
        const OpenResult<LoadedLuks> loaded =
            load(test::made_by_cryptsetup(std::string("--type luks1 --hash sha1 --pbkdf-force-iterations 1000 --cipher ") +
                                              cipher + " --key-size " + key_size,
                                          4 * kMiB));
        ASSERT_TRUE(loaded) << cipher << ": " << loaded.error().error.text();
        EXPECT_EQ(loaded->segment.algorithm, algorithm);
        const OpenResult<SecretBytes> key = open_luks(*loaded, SecretBytes(std::string_view("key")));
        ASSERT_TRUE(key) << cipher << ": " << key.error().error.text();
        EXPECT_EQ(std::to_string(key->size() * 8), key_size);
    }
}

TEST_F(LuksPolicy, OfALuks1HeaderOnBothSidesOfEachLimit) {
    using enum ErrorKind;
    constexpr std::size_t kCipherName = 8;
    constexpr std::size_t kCipherMode = 40;
    constexpr std::size_t kHash = 72;
    constexpr std::size_t kDataOffset = 104;
    constexpr std::size_t kDigestIterations = 164;
    constexpr std::size_t kSlot0 = 208;
    constexpr std::size_t kSlot1 = kSlot0 + 48;
    const std::vector<std::byte> honest = test::made_by_cryptsetup(kLuks1, 2 * kMiB + 64 * kKiB);
    using Bytes = std::vector<std::byte>;
    struct Row1 {
        const char* what;
        std::function<void(Bytes&)> edit;
        std::optional<Refusal> refusal;
    };
    const auto number = [](std::size_t offset, std::uint32_t value) {
        return [=](Bytes& volume) { test::put_big_endian(volume, offset, value); };
    };
    const auto text = [](std::size_t offset, const char* value) {
        return [=](Bytes& volume) { test::put_text(volume, offset, 32, value); };
    };
    const Row1 rows[] = {
        {"as cryptsetup made it", [](Bytes&) {}, std::nullopt},
        {"20,000,000 rounds", number(kSlot0 + 4, 20'000'000), std::nullopt},
        {"20,000,001 rounds", number(kSlot0 + 4, 20'000'001), Refusal{LimitReached, "key slot 0 asks for 20000001 rounds"}},
        {"4,000,000,000 rounds in the second slot",
         [&](Bytes& volume) {
             test::put_big_endian(volume, kSlot1, 0x00ac71f3);
             test::put_big_endian(volume, kSlot1 + 4, 4'000'000'000);
         },
         Refusal{LimitReached, "key slot 1 asks for"}},
        {"20,000,000 rounds for the digest", number(kDigestIterations, 20'000'000), std::nullopt},
        {"20,000,001 rounds for the digest", number(kDigestIterations, 20'000'001),
         Refusal{LimitReached, "the digest of the volume key"}},
        {"ripemd160", text(kHash, "ripemd160"), std::nullopt},
        {"whirlpool", text(kHash, "whirlpool"), Refusal{Unsupported, "whirlpool"}},
        {"an unknown hash", text(kHash, "crc32"), Refusal{Unsupported, "crc32"}},
        {"no cipher at all", [&](Bytes& volume) {
             test::put_text(volume, kCipherName, 32, "cipher_null");
             test::put_text(volume, kCipherMode, 32, "ecb");
         }, Refusal{Unsupported, "the volume is encrypted with cipher_null-ecb, which encrypts nothing"}},
        {"an unknown cipher", text(kCipherName, "cast5"), Refusal{Unsupported, "cast5-xts-plain64"}},
        {"a cipher that speaks to the terminal", text(kCipherName, "\x1b[2Jaes\xff"), Refusal{Unsupported, "?[2Jaes?-xts"}},
        {"a hash that speaks to the terminal", text(kHash, "\x1b[2J\n"), Refusal{Unsupported, "?[2J?"}},
        {"an unknown mode", text(kCipherMode, "lrw-benbi"), Refusal{Unsupported, "aes-lrw-benbi"}},
        {"no key slot", number(kSlot0, 0x0000dead), Refusal{NotFound, "no key slot", kProtectorNotFound}},
        {"data elsewhere", number(kDataOffset, 0), Refusal{Unsupported, "data elsewhere"}},
        {"data that begins with the last sector", number(kDataOffset, 4096 + 127), std::nullopt},
        {"data that begins at the end", number(kDataOffset, 4096 + 128),
         Refusal{Corrupt, "before its encrypted data begins", kDiskOperationFailed}},
        {"data that begins beyond the end", number(kDataOffset, 4096 + 129),
         Refusal{Corrupt, "within its LUKS header", kDiskOperationFailed}},
        {"a header of over 64 MiB", number(kDataOffset, 64 * 2048 + 1), Refusal{LimitReached, "longer than 64.0MiB"}},
        {"key slots in a mess", number(kSlot0 + 40, 0), Refusal{Corrupt, "damaged", kFailed}},
    };
    for (const Row1& row : rows) {
        Bytes volume = honest;
        row.edit(volume);
        expect(row.what, load(std::move(volume)), row.refusal);
    }
}

TEST_F(LuksPolicy, AVolumeInTheMiddleOfReencryptionIsRefusedAsSuch) {
    const std::string cheap = " --pbkdf pbkdf2 --pbkdf-force-iterations 1000";
    expect("half re-encrypted", load(test::made_by_cryptsetup(kLuks2, 4 * kMiB, "reencrypt --init-only" + cheap)),
           Refusal{ErrorKind::Unsupported, "re-encrypted"});
}

TEST_F(LuksPolicy, ADamagedFirstHeaderFallsBackToTheSecond) {
    std::vector<std::byte> volume = test::made_by_cryptsetup(kLuks2, kSize);
    test::damage_luks2(volume, true);
    {
        MemoryDevice device(volume, 512);
        const OpenResult<LuksHeader> header = find_luks_header(device);
        ASSERT_TRUE(header);
        EXPECT_FALSE(header->is_first_whole);
        const OpenResult<LoadedLuks> loaded = load_luks(device, *header, kMemory);
        ASSERT_TRUE(loaded) << loaded.error().error.text();
        EXPECT_TRUE(open_luks(*loaded, SecretBytes(std::string_view("key"))));
    }
    std::vector<std::byte> wiped = volume;
    std::fill_n(wiped.begin(), 4096, std::byte{0});
    EXPECT_TRUE(load(wiped));
    // A first header that claims less than the second one needs does not cut the second one short.
    std::vector<std::byte> short_first = test::made_by_cryptsetup(kLuks2, kSize);
    std::vector<std::byte> edited = short_first;
    test::edit_luks2(edited, set("/config/keyslots_size", "4096"));
    std::copy_n(edited.begin(), 16384, short_first.begin());
    short_first[500] ^= std::byte{1};
    test::damage_luks2(short_first, true);
    const OpenResult<LoadedLuks> loaded = load(short_first);
    ASSERT_TRUE(loaded) << loaded.error().error.text();
    EXPECT_TRUE(open_luks(*loaded, SecretBytes(std::string_view("key"))));

    test::damage_luks2(volume, false);
    expect("both damaged", load(volume), Refusal{ErrorKind::Corrupt, "damaged", kFailed});
}

}  // namespace
}  // namespace dray::volume
