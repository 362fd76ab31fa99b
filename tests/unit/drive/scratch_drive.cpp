// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/drive/scratch_drive.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <stdexcept>

#include "daemon/base/file.hpp"
#include "daemon/base/handle.hpp"

namespace dray::test {

void run(const std::string& command) {
    ASSERT_EQ(std::system((command + " >/dev/null 2>&1").c_str()), 0) << command;
}

std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
    std::mt19937_64 random(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes)
        byte = static_cast<std::byte>(random());
    return bytes;
}

void write_bytes(const std::string& path, std::span<const std::byte> bytes) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(out.good()) << path;
}

std::vector<std::byte> read_bytes(const std::string& path) {
    const Result<std::string> content = read_file(path, 4 * kGiB);
    EXPECT_TRUE(content) << path;
    const auto bytes = std::as_bytes(std::span(content->data(), content->size()));
    return {bytes.begin(), bytes.end()};
}

FileDescriptor open_or_die(const std::string& path, int flags) {
    Result<FileDescriptor> fd = open_file(path, flags);
    if (!fd)
        throw std::runtime_error(fd.error().text());
    return *std::move(fd);
}

namespace {

enum class Direction { Decrypt = 0, Encrypt = 1 };

/// What dm-crypt would do: AES-XTS, each sector with its own tweak, counted in units of 512 bytes.
void translate(Direction direction, std::istream& in, std::ostream& out, std::span<const std::byte> key,
               std::size_t sector_size) {
    std::vector<char> sector(sector_size);
    std::vector<char> result(sector_size);
    const Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> context(EVP_CIPHER_CTX_new());
    for (std::uint64_t number = 0; in.read(sector.data(), static_cast<std::streamsize>(sector_size)); ++number) {
        std::array<unsigned char, 16> tweak{};
        const std::uint64_t unit = number * (sector_size / 512);
        std::memcpy(tweak.data(), &unit, sizeof unit);
        int length = 0;
        ASSERT_EQ(EVP_CipherInit_ex(context.get(), EVP_aes_256_xts(), nullptr,
                                    reinterpret_cast<const unsigned char*>(key.data()), tweak.data(),
                                    static_cast<int>(direction)),
                  1);
        ASSERT_EQ(EVP_CipherUpdate(context.get(), reinterpret_cast<unsigned char*>(result.data()), &length,
                                   reinterpret_cast<const unsigned char*>(sector.data()),
                                   static_cast<int>(sector_size)),
                  1);
        out.write(result.data(), static_cast<std::streamsize>(sector_size));
    }
    ASSERT_TRUE(out.good());
}

void encrypt_into(const std::string& plain_path, const std::string& image, std::size_t data_offset,
                  std::span<const std::byte> key, std::size_t sector_size) {
    std::ifstream plain(plain_path, std::ios::binary);
    std::fstream out(image, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(data_offset));
    translate(Direction::Encrypt, plain, out, key, sector_size);
}

}  // namespace

void make_drive(const ScratchDirectory& scratch, const std::string& tree, const std::string& image,
                const std::string& key_file, const DriveOptions& options) {
    const std::string plain = scratch / "plain.img";
    const std::string volume_key = scratch / "volume.key";
    std::filesystem::remove(plain);
    std::filesystem::remove(volume_key);
    run("truncate -s " + std::to_string(options.size_mib) + "M " + plain);
    run("mke2fs -q -F -t ext4 " + options.mke2fs_options + " -d " + tree + " " + plain);
    std::filesystem::remove(image);
    run("truncate -s " + std::to_string(options.size_mib + 16) + "M " + image);
    const std::string sector = options.type == "luks2" ? " --sector-size " + std::to_string(options.sector_size) : "";
    run("cryptsetup luksFormat -q --type " + options.type + sector +
        " --cipher aes-xts-plain64 --key-size 512 --pbkdf " + options.derivation + " --key-file " + key_file + " " +
        image);
    run("cryptsetup luksDump -q --dump-volume-key --volume-key-file " + volume_key + " --key-file " + key_file + " " +
        image);
    const std::size_t offset = options.type == "luks2" ? 16 * kMiB : 2 * kMiB;
    encrypt_into(plain, image, offset, read_bytes(volume_key), options.type == "luks2" ? options.sector_size : 512);
}

void decrypt_drive(const ScratchDirectory& scratch, const std::string& image, const std::string& key_file,
                   std::size_t sector_size, const std::string& plain) {
    const std::string volume_key = scratch / "decrypt.key";
    std::filesystem::remove(volume_key);
    run("cryptsetup luksDump -q --dump-volume-key --volume-key-file " + volume_key + " --key-file " + key_file + " " +
        image);
    std::ifstream in(image, std::ios::binary);
    in.seekg(16 * kMiB);
    std::ofstream out(plain, std::ios::binary);
    translate(Direction::Decrypt, in, out, read_bytes(volume_key), sector_size);
}

}  // namespace dray::test
