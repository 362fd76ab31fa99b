// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "drivers/volume/bitlocker/bitlocker_key.hpp"
#include "drivers/volume/bitlocker/bitlocker_volume.hpp"
#include "drivers/volume/crypt_library.hpp"
#include "drivers/volume/device_file.hpp"
#include "drivers/volume/little_endian.hpp"
#include "drivers/volume/unlock.hpp"
#include "tests/unit/filesystem/memory_device.hpp"
#include "tests/unit/volume/bitlocker_made.hpp"

namespace dray::volume {
namespace {

namespace stdfs = std::filesystem;
using test::edit_metadata;
using test::made_bitlocker;
using test::MadeBitLocker;
using test::MemoryDevice;
using test::put_number;

class BitLocker : public ::testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(warm_up_crypt_library()); }

    static const MadeBitLocker& plain_one() {
        static const MadeBitLocker made = made_bitlocker("--foreign tpm");
        return made;
    }

    /// What find_bitlocker_header() says of a volume.
    static OpenResult<BitLockerHeader> found(std::vector<std::byte> volume) {
        MemoryDevice device(std::move(volume), 512);
        return find_bitlocker_header(device);
    }

    static OpenResult<BitLockerHeader> edited(const std::function<void(std::span<std::byte>)>& edit) {
        std::vector<std::byte> volume = plain_one().volume;
        edit_metadata(volume, edit);
        return found(std::move(volume));
    }

    static void is_refused(const OpenResult<BitLockerHeader>& header, const char* status, const std::string& sentence) {
        ASSERT_FALSE(header) << sentence;
        EXPECT_EQ(header.error().status, status) << header.error().error.text();
        EXPECT_NE(header.error().error.text().find(sentence), std::string::npos) << header.error().error.text();
    }
};

TEST_F(BitLocker, ReadsWhatWasEncryptedWithEveryCipherAndBothSectorSizes) {
    for (const char* cipher : {"xts-128", "xts-256", "cbc-128", "cbc-256", "cbc-128-diffuser", "cbc-256-diffuser"})
        for (const char* form : {"", " --sector-size 4096", " --to-go"}) {
            const MadeBitLocker made = made_bitlocker(std::string("--cipher ") + cipher + form);
            MemoryDevice device(made.volume, 512);
            const OpenResult<UnlockedVolume> unlocked = unlock_volume(device, made.start_up_key, {});
            ASSERT_TRUE(unlocked) << cipher << form << ": " << unlocked.error().error.text();
            EXPECT_EQ(unlocked->identity.type, "bitlocker");
            EXPECT_NE(made.keys.find(unlocked->identity.id), std::string::npos);
            EXPECT_EQ(unlocked->notice, "");
            const auto volume = open_volume(device, *unlocked);
            ASSERT_TRUE(volume) << volume.error().text();
            const std::size_t sector = (*volume)->sector_size();
            // All of it, and again piece by piece with odd lengths, which end in the diffuser's rest of a run.
            std::vector<std::byte> read(made.plain.size());
            ASSERT_TRUE((*volume)->read(0, read));
            EXPECT_TRUE(read == made.plain) << cipher << form;
            std::ranges::fill(read, std::byte{0x55});
            std::size_t length = sector;
            for (std::size_t at = 0; at < read.size(); at += length) {
                length = std::min(length % (11 * sector) + sector, read.size() - at);
                ASSERT_TRUE((*volume)->read(at, std::span(read).subspan(at, length)));
            }
            EXPECT_TRUE(read == made.plain) << cipher << form;
            EXPECT_EQ((*volume)->read(made.plain.size(), std::span(read).first(sector)).error().kind(), ErrorKind::Corrupt);
            EXPECT_EQ((*volume)->write(0, std::span(read).first(sector)).error().kind(), ErrorKind::Unsupported);
        }
}

TEST_F(BitLocker, UsesTheNextCopyOfDamagedMetadataAndSaysSo) {
    struct Row {
        const char* options;
        const char* notice;
    };
    for (const Row& row : {Row{"--damaged 0", "the first copy of BitLocker's metadata is damaged; the second one was used"},
                           Row{"--damaged 0 --damaged 1", "the first two copies of BitLocker's metadata are damaged; the third one was used"},
                           Row{"--damaged 2", ""}}) {
        const MadeBitLocker made = made_bitlocker(row.options);
        MemoryDevice device(made.volume, 512);
        const OpenResult<UnlockedVolume> unlocked = unlock_volume(device, made.start_up_key, {});
        ASSERT_TRUE(unlocked) << unlocked.error().error.text();
        EXPECT_EQ(unlocked->notice, row.notice);
    }
    is_refused(found(made_bitlocker("--damaged 0 --damaged 1 --damaged 2").volume), "BitLockerFailed",
               "all three copies of the BitLocker metadata are damaged (the first one: its checksum is wrong;");
}

TEST_F(BitLocker, AMetadataCopyThatCannotBeReadIsADamagedOne) {
    const MadeBitLocker& made = plain_one();
    MemoryDevice device(made.volume, 512);
    device.bad_sector = find_bitlocker_header(device)->segment.metadata[0] + 512;
    const auto header = find_bitlocker_header(device);
    ASSERT_TRUE(header) << header.error().error.text();
    EXPECT_NE(header->notice.find("the second one was used"), std::string::npos);
    device.is_gone = true;
    EXPECT_EQ(find_bitlocker_header(device).error().error.kind(), ErrorKind::Gone);
}

TEST_F(BitLocker, RefusesWhatIsNotEncryptedAsAWholeByName) {
    struct Row {
        std::uint64_t state;
        std::uint64_t next;
        const char* status;
        const char* sentence;
    };
    for (const Row& row : {Row{1, 1, "BitLockerNotActivated", "is decrypted"},
                           Row{2, 4, "BitLockerUnlockVolumeFailed", "its encryption is in progress"},
                           Row{2, 1, "BitLockerUnlockVolumeFailed", "its decryption is in progress"},
                           Row{4, 1, "BitLockerUnlockVolumeFailed", "its decryption is in progress"},
                           Row{5, 4, "BitLockerUnlockVolumeFailed", "its encryption is paused"},
                           Row{5, 1, "BitLockerUnlockVolumeFailed", "its decryption is paused"},
                           Row{3, 4, "BitLockerUnlockVolumeFailed", "encrypt-on-write"},
                           Row{0, 0, "BitLockerUnlockVolumeFailed", "unknown state (0, next 0)"},
                           Row{7, 9, "BitLockerUnlockVolumeFailed", "unknown state (7, next 9)"}})
        is_refused(edited([&](std::span<std::byte> block) {
                       put_number(block, 12, row.state, 2);
                       put_number(block, 14, row.next, 2);
                   }),
                   row.status, row.sentence);
    is_refused(found(made_bitlocker("--encrypt-on-write").volume), "BitLockerUnlockVolumeFailed", "encrypt-on-write");
    is_refused(found(made_bitlocker("--encrypt-on-write --to-go").volume), "BitLockerUnlockVolumeFailed", "encrypt-on-write");
    is_refused(found(made_bitlocker("--clear-key").volume), "BitLockerUnlockVolumeFailed", "is suspended");
}

TEST_F(BitLocker, KnowsTheLimitsOfTheMetadata) {
    const std::size_t size = plain_one().volume.size();
    struct Row {
        const char* what;
        std::size_t offset;
        std::size_t bytes;
        std::uint64_t value;
        const char* status;
        const char* sentence;
    };
    constexpr std::uint64_t kHuge = 0x8000000000000000;
    const auto honest = found(plain_one().volume);
    ASSERT_TRUE(honest);
    // The place of the volume's start stands in the last entry.
    std::size_t end = 0;
    edited([&](std::span<std::byte> block) { end = 64 + little_endian<std::uint32_t>(block, 64); });
    const std::size_t start = end - 16;
    const Bytes most = size - 8192;
    const Row rows[] = {
        {"an old version", 10, 2, 1, "BitLockerUnlockVolumeFailed", "Windows Vista"},
        {"a new version", 10, 2, 3, "BitLockerUnlockVolumeFailed", "version 3 is not known"},
        {"a cipher below", 100, 2, 0x7fff, "BitLockerUnlockVolumeFailed", "the cipher 0x7fff, which is not known"},
        {"a cipher above", 100, 2, 0x8006, "BitLockerUnlockVolumeFailed", "the cipher 0x8006, which is not known"},
        {"a block without room", 8, 2, 6, "BitLockerFailed", "its size of 96 bytes is impossible"},
        {"a block too long", 8, 2, 4096, "BitLockerFailed", "its size of 65536 bytes is impossible"},
        {"no entries", 64, 4, 47, "BitLockerFailed", "its entries cannot have 47 bytes"},
        {"empty entries", 64, 4, 48, "BitLockerFailed", "there is no volume key in it"},
        {"endless entries", 64, 4, 0xffffffff, "BitLockerFailed", "its entries cannot have 4294967295 bytes"},
        {"an entry too short", 112, 2, 7, "BitLockerFailed", "an entry of 7 bytes has an impossible size"},
        {"an entry too long", 112, 2, 0xffff, "BitLockerFailed", "an entry of 65535 bytes has an impossible size"},
        {"an end at once", 112, 2, 0, "BitLockerFailed", "there is no volume key in it"},
        {"the whole device", 16, 8, size, nullptr, ""},
        {"a sector more", 16, 8, size + 512, "DiskOperationFailed", "but the device ends at"},
        {"much more", 16, 8, kHuge, "DiskOperationFailed", "but the device ends at"},
        {"no size", 16, 8, 0, "BitLockerFailed", "impossible size of 0 bytes"},
        {"a size across sectors", 16, 8, size - 1, "BitLockerFailed", "impossible size"},
        {"a volume that ends before its metadata", 16, 8, size / 3, "BitLockerFailed", "lies outside the volume"},
        {"a start at the end", start, 8, most, nullptr, ""},
        {"a start behind the end", start, 8, most + 512, "BitLockerFailed", "the start of the BitLocker volume"},
        {"a start within itself", start, 8, 4096, "BitLockerFailed", "the start of the BitLocker volume"},
        {"a start across sectors", start, 8, most - 1, "BitLockerFailed", "the start of the BitLocker volume"},
        {"a start far away", start, 8, kHuge, "BitLockerFailed", "the start of the BitLocker volume"},
        {"a start of nothing", start + 8, 8, 0, "BitLockerFailed", "the start of the BitLocker volume"},
        {"an endless start", start + 8, 8, kHuge, "BitLockerFailed", "the start of the BitLocker volume"},
        {"a copy elsewhere", 32, 8, kHuge, "BitLockerFailed", "a copy of the BitLocker metadata, at"},
    };
    for (const Row& row : rows) {
        const auto header = edited([&](std::span<std::byte> block) { put_number(block, row.offset, row.value, row.bytes); });
        SCOPED_TRACE(row.what);
        if (row.status == nullptr)
            EXPECT_TRUE(header) << header.error().error.text();
        else
            is_refused(header, row.status, row.sentence);
    }
}

TEST_F(BitLocker, KnowsTheLimitsOfTheBootSector) {
    struct Row {
        const char* what;
        std::size_t offset;
        std::size_t bytes;
        std::uint64_t value;
        const char* status;
        const char* sentence;
    };
    const Row rows[] = {
        {"another kind", 160, 4, 1, "BitLockerUnlockVolumeFailed", "of an unknown kind (00000001-2e29-4ad8-8399-f6a339e3d001)"},
        {"other code", 0, 3, 0, "BitLockerFailed", "the boot sector of the BitLocker volume is damaged"},
        {"sectors of another size", 11, 2, 1024, "BitLockerUnlockVolumeFailed", "sectors of 1024 bytes"},
        {"sectors of nothing", 11, 2, 0, "BitLockerUnlockVolumeFailed", "sectors of 0 bytes"},
        {"a place far away", 176, 8, 0x8000000000000000, nullptr, ""},
        {"a place of no sector", 176, 8, 1, nullptr, ""},
        {"no signature", 3, 8, 0, "BitLockerVolumeNotFound", "there is no BitLocker volume"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.what);
        std::vector<std::byte> volume = plain_one().volume;
        put_number(volume, row.offset, row.value, row.bytes);
        const auto header = found(std::move(volume));
        if (row.status == nullptr)
            EXPECT_TRUE(header) << header.error().error.text();
        else
            is_refused(header, row.status, row.sentence);
    }
    std::vector<std::byte> vista = plain_one().volume;
    vista[1] = std::byte{0x52};
    vista[160] = std::byte{0};
    is_refused(found(std::move(vista)), "BitLockerUnlockVolumeFailed", "Windows Vista");
    std::vector<std::byte> short_one = plain_one().volume;
    short_one.resize(1024 * 1024 - 512);
    is_refused(found(std::move(short_one)), "DiskOperationFailed", "before the BitLocker metadata");
}

TEST_F(BitLocker, TakesSoManyProtectorsAndNoMore) {
    const auto with = [](std::size_t count) {
        std::string options;
        for (std::size_t i = 1; i < count; ++i)
            options += " --foreign smart-card";
        return found(made_bitlocker(options).volume);
    };
    EXPECT_TRUE(with(kMaxProtectors));
    is_refused(with(kMaxProtectors + 1), "BitLockerUnlockVolumeFailed", "has 33 protectors, at most 32 are tried");
}

TEST_F(BitLocker, ComparesTheIdentifierBeforeItTriesAKey) {
    MemoryDevice device(plain_one().volume, 512);
    const auto refused = unlock_volume(device, SecretBytes(std::string_view("x")), {kGiB, false, "another"});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().error.kind(), ErrorKind::Denied);
    EXPECT_NE(refused.error().error.text().find("but another was expected"), std::string::npos);
}

TEST_F(BitLocker, SaysWhatAKeyCannotOpenBeforeItDerivesAnything) {
    struct Row {
        std::string key;
        const char* sentence;
    };
    const Row rows[] = {
        {"a password", "the key is a password, but the volume is protected by a start-up key file, a TPM"},
        {"000000-000000-000000-000000-000000-000000-000000-000011",
         "the key is a recovery key, but the volume is protected by a start-up key file, a TPM"},
        {"000000-000000-000000-000000-000000-000000-000000-00001",
         "; if it is a recovery key, it has 47 digits instead of 48"},
        {"000000-000000-000012-000000-000000-000000-000000-000011", "group 3 of the recovery key is wrong"},
    };
    for (const Row& row : rows) {
        MemoryDevice device(plain_one().volume, 512);
        const auto refused = unlock_volume(device, SecretBytes(row.key), {});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().error.kind(), ErrorKind::WrongKey);
        EXPECT_EQ(refused.error().status, "BitLockerKeyInvalid");
        EXPECT_NE(refused.error().error.text().find(row.sentence), std::string::npos) << refused.error().error.text();
    }
    const MadeBitLocker other = made_bitlocker("--seed 2");
    MemoryDevice device(plain_one().volume, 512);
    const auto refused = unlock_volume(device, other.start_up_key, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().error.kind(), ErrorKind::WrongKey);
    EXPECT_NE(refused.error().error.text().find("the start-up key file is for the protector"), std::string::npos);
}

TEST(BitLockerKey, HintsAtWhatAPasswordMayBe) {
    const std::string digits(42, '1');
    const std::pair<std::string, const char*> rows[] = {
        {"secret", ""},
        {"secret\n", "line break"},
        {"Stra\xc3\x9f" "e", "beyond ASCII"},
        {digits, "it has 42 digits"},
        {digits.substr(1), ""},
        {digits + "111111111111", "it has 54 digits"},
        {digits + "1111111111111", ""},
    };
    for (const auto& [key, hint] : rows) {
        const std::string said = hint_about(bitlocker_key_of(SecretBytes(key)));
        EXPECT_NE(said.find(hint), std::string::npos) << said;
        EXPECT_EQ(said.empty(), *hint == '\0') << said;
    }
}

TEST(BitLockerKey, IsWhatItsFormSays) {
    struct Row {
        std::string key;
        BitLockerKeyKind kind;
        std::string bytes;
    };
    const std::string plain = "000000-000011-720885-000022-000033-000044-000055-000066";
    const Row rows[] = {
        {plain, BitLockerKeyKind::RecoveryKey, plain},
        {" 000000-000011-720885-000022 \t\r\n000033-000044-000055-000066\n", BitLockerKeyKind::RecoveryKey, plain},
        {"000000000011720885000022000033000044000055000066", BitLockerKeyKind::RecoveryKey, plain},
        {plain + "x", BitLockerKeyKind::Password, plain + "x"},
        {plain + "1", BitLockerKeyKind::Password, plain + "1"},
        {"secret \n", BitLockerKeyKind::Password, "secret \n"},
        {"", BitLockerKeyKind::Password, ""},
    };
    for (const Row& row : rows) {
        const BitLockerKey key = bitlocker_key_of(SecretBytes(row.key));
        EXPECT_EQ(key.kind, row.kind) << row.key;
        EXPECT_EQ(key.bytes.text(), row.bytes);
    }
}

TEST(BitLockerKey, ChecksEachGroupOfARecoveryKeyOnBothSidesOfItsLimits) {
    const auto checked = [](std::size_t group, const std::string& digits) {
        std::string key;
        for (std::size_t i = 1; i <= 8; ++i)
            key += (i == 1 ? "" : "-") + (i == group ? digits : "000011");
        return check_digits(bitlocker_key_of(SecretBytes(key)));
    };
    for (std::size_t group = 1; group <= 8; ++group) {
        const std::string name = "group " + std::to_string(group) + " of";
        EXPECT_TRUE(checked(group, "720885"));
        for (const char* digits : {"720896", "999999", "000001", "720884"}) {
            const Result<void> refused = checked(group, digits);
            ASSERT_FALSE(refused) << digits;
            EXPECT_EQ(refused.error().kind(), ErrorKind::WrongKey);
            EXPECT_NE(refused.error().text().find(name), std::string::npos) << refused.error().text();
            EXPECT_EQ(refused.error().text().find(digits), std::string::npos) << "the sentence tells the key";
        }
    }
}

std::string digest_of(BlockDevice& volume) {
    Digest digest(DigestKind::Sha256);
    std::vector<std::byte> piece(4 * kMiB);
    for (Bytes at = 0; at < volume.size(); at += piece.size()) {
        piece.resize(static_cast<std::size_t>(std::min<Bytes>(piece.size(), volume.size() - at)));
        EXPECT_TRUE(volume.read(at, piece));
        digest.update(piece);
    }
    return to_hex(digest.finish());
}

/// The volumes that Windows has made lie beside some clones alone; what the writer makes is tested everywhere.
TEST_F(BitLocker, ReadsTheVolumesOfWindows) {
    struct Row {
        const char* image;
        std::vector<std::string> keys;
        const char* digest;
    };
    const stdfs::path images = DRAY_SHARED_DATA "/bitlk";
    if (!stdfs::exists(images)) {
        std::cout << "not looked at: there are no images of Windows' volumes beside this clone (" << images << ")\n";
        return;
    }
    const auto bek = test::bytes_of(images / "4381F759-C4F8-4DE0-BB61-FC33A831BDA5.BEK");
    const std::string bek_text(reinterpret_cast<const char*>(bek.data()), bek.size());
    const Row rows[] = {
        {"bitlk-togo-aes-xts-128", {"anaconda", "243067-548680-059818-148852-287771-550088-628265-631653"},
         "5954795EB41764B59A10D86C26FD3B43FB6D89F433C8EDC1E8FD48067D198591"},
        {"bitlk-aes-xts-128-4k", {"anaconda", "486552-140030-675719-163900-264671-413787-580239-152614"},
         "B4C0416AE643537207413ED78D4BCADAE697BB86A6262864AC00AFDA01312277"},
        {"bitlk-aes-xts-128-startup-key", {bek_text, "363770-230505-096371-652674-567006-579150-291038-408111"},
         "BBB68369D8F7BADB2C2330349D9D0CF12E68F54EECE25E718D2BB13FEBA23F7A"},
        {"selfmade-ntfs-aes-xts-256", {"anaconda", "404558-436711-420860-678557-638220-018909-039941-695321"}, ""},
        {"selfmade-ntfs-aes-cbc-128", {"anaconda", "042647-302313-590458-071500-554323-116567-412181-516978"}, ""},
    };
    for (const Row& row : rows) {
        const test::ScratchDirectory scratch;
        const std::string image = (scratch.path() / "image").string();
        ASSERT_EQ(std::system(("xz -dc " + (images / row.image).string() + ".img.xz > " + image).c_str()), 0);
        std::string expected = row.digest;
        if (expected.empty()) {
            const std::string other = (scratch.path() / "dislocker").string();
            ASSERT_EQ(std::system(("dislocker-file -V " + image + " -u" + row.keys[0] + " -- " + other + " >/dev/null").c_str()), 0);
            const auto content = test::bytes_of(other);
            Digest digest(DigestKind::Sha256);
            digest.update(content);
            expected = to_hex(digest.finish());
        }
        for (const std::string& key : row.keys) {
            const auto device = DeviceFile::open(FileDescriptor(open(image.c_str(), O_RDONLY | O_CLOEXEC)));
            ASSERT_TRUE(device);
            const OpenResult<UnlockedVolume> unlocked = unlock_volume(**device, SecretBytes(key), {});
            ASSERT_TRUE(unlocked) << row.image << ": " << unlocked.error().error.text();
            const auto volume = open_volume(**device, *unlocked);
            ASSERT_TRUE(volume);
            EXPECT_EQ(digest_of(**volume), expected) << row.image;
        }
    }
}

}  // namespace
}  // namespace dray::volume
