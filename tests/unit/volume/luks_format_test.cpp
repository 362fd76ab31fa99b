// SPDX-License-Identifier: Apache-2.0
//
// New LUKS2 headers, as cryptsetup and our own unlocking see them.
#include "drivers/volume/luks/luks_format.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "drivers/volume/device_file.hpp"
#include "drivers/volume/luks/luks_volume.hpp"
#include "drivers/volume/unlock.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::volume {
namespace {

namespace stdfs = std::filesystem;
using test::MemoryDevice;

class LuksFormatTest : public testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(warm_up_unlocking()); }

    std::string path(const char* name) const { return directory_ / name; }

    /// Makes the header and writes it to a file of that size.
    NewLuks make(LuksFormat format, std::string_view key) {
        std::ofstream(path("key"), std::ios::binary) << key;
        std::ofstream(path("image"), std::ios::binary).close();
        stdfs::resize_file(path("image"), format.device_size);
        Result<NewLuks> made = make_luks(format, SecretBytes(key));
        EXPECT_TRUE(made) << made.error().text();
        if (!made)
            return {};
        const auto device = open_image();
        EXPECT_TRUE(write_luks_header(*device, made->header));
        return *std::move(made);
    }

    std::unique_ptr<DeviceFile> open_image() const {
        auto device =
            DeviceFile::open(FileDescriptor(open(path("image").c_str(), O_RDWR | O_CLOEXEC)));
        EXPECT_TRUE(device) << device.error().text();
        return *std::move(device);
    }

    int run(const std::string& command) const {
        return std::system((command + " >" + path("log") + " 2>&1").c_str());
    }
    std::string log() const {
        std::ostringstream text;
        text << std::ifstream(path("log")).rdbuf();
        return text.str();
    }

private:
    test::ScratchDirectory directory_;
};

TEST_F(LuksFormatTest, CryptsetupAndWeAgree) {
    struct Row {
        LuksFormat format;
        const char* pbkdf;
        const char* sector;
    };
    const Row rows[] = {
        {{40 * kMiB, "lyon", 32 * kMiB, false}, "argon2id", "sector: 4096 [bytes]"},
        {{40 * kMiB, "", 32 * kMiB, true}, "pbkdf2", "sector: 4096 [bytes]"},
        {{40 * kMiB + 512, std::string(60, 'l'), 32 * kMiB, true}, "pbkdf2", "sector: 512 [bytes]"},
    };
    const std::string key("a key with a \n and a \0 in it", 28);
    for (const Row& row : rows) {
        const NewLuks made = make(row.format, key);
        EXPECT_EQ(run("cryptsetup luksDump " + path("image")), 0) << log();
        const std::string dump = log();
        for (const std::string& wanted :
             {made.identity.id, std::string(row.pbkdf), std::string(row.sector),
              std::string("offset: 16777216 [bytes]"), std::string("cipher: aes-xts-plain64"),
              std::string("Cipher key: 512 bits")})
            EXPECT_NE(dump.find(wanted), std::string::npos) << wanted << "\n" << dump;
        EXPECT_EQ(run("cryptsetup open --test-passphrase --key-file " + path("key") + " " +
                      path("image")),
                  0)
            << log();
        std::ofstream(path("key")) << "another";
        EXPECT_NE(run("cryptsetup open --test-passphrase --key-file " + path("key") + " " +
                      path("image")),
                  0);

        const auto device = open_image();
        const OpenResult<UnlockedVolume> unlocked =
            unlock_volume(*device, SecretBytes(key), {32 * kMiB, false, made.identity.id});
        ASSERT_TRUE(unlocked) << unlocked.error().error.text();
        EXPECT_TRUE(std::ranges::equal(unlocked->key.bytes(), made.key.bytes()));
        const auto& segment = std::get<LuksSegment>(unlocked->segment);
        EXPECT_EQ(segment.offset, made.segment.offset);
        EXPECT_EQ(segment.size, made.segment.size);
        EXPECT_EQ(segment.sector_size, made.segment.sector_size);
        EXPECT_EQ(segment.size, row.format.device_size - kNewDataOffset);
        const auto wrong =
            unlock_volume(*device, SecretBytes(std::string_view("wrong")), {32 * kMiB, false, ""});
        ASSERT_FALSE(wrong);
        EXPECT_EQ(wrong.error().error.kind(), ErrorKind::WrongKey);
    }
}

TEST_F(LuksFormatTest, EachHasItsOwnKeyAndIdentifier) {
    const LuksFormat format{20 * kMiB, "", 32 * kMiB, true};
    const SecretBytes key(std::string_view("key"));
    const Result<NewLuks> one = make_luks(format, key);
    const Result<NewLuks> two = make_luks(format, key);
    ASSERT_TRUE(one && two);
    EXPECT_NE(one->identity.id, two->identity.id);
    EXPECT_FALSE(std::ranges::equal(one->key.bytes(), two->key.bytes()));
}

TEST_F(LuksFormatTest, RefusesWhatCannotBe) {
    const SecretBytes key(std::string_view("key"));
    EXPECT_EQ(make_luks({20 * kMiB, "", 32 * kMiB, true}, SecretBytes()).error().kind(),
              ErrorKind::InvalidArgument);
    EXPECT_EQ(make_luks({16 * kMiB, "", 32 * kMiB, true}, key).error().kind(), ErrorKind::NoSpace);
    EXPECT_EQ(make_luks({20 * kMiB, "", 31 * kKiB, false}, key).error().kind(),
              ErrorKind::InvalidArgument);
    EXPECT_EQ(make_luks({20 * kMiB, "", 5 * kGiB, false}, key).error().kind(),
              ErrorKind::InvalidArgument);
}

TEST_F(LuksFormatTest, WipesBothEndsAndNothingElse) {
    constexpr std::byte kOld{0x5a};
    for (const Bytes size : {40 * kMiB, 17 * kMiB - 512, 5 * kMiB}) {
        MemoryDevice device(std::vector<std::byte>(static_cast<std::size_t>(size), kOld), 512);
        ASSERT_TRUE(wipe_signatures(device));
        for (Bytes i = 0; i < size; ++i) {
            const bool is_wiped = i < 16 * kMiB || i >= size - kMiB;
            ASSERT_EQ(device.content[i], is_wiped ? std::byte{0} : kOld) << i << " of " << size;
        }
    }
}

}  // namespace
}  // namespace dray::volume
