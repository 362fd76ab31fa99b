// SPDX-License-Identifier: Apache-2.0
//
// Encrypted drive images made by other programs than dray's: mke2fs fills an ext4, cryptsetup writes the
// header, and OpenSSL encrypts the sectors one by one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::test {

/// Runs a program and fails the test if it fails.
void run(const std::string& command);

std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size);
void write_bytes(const std::string& path, std::span<const std::byte> bytes);
std::vector<std::byte> read_bytes(const std::string& path);

struct DriveOptions {
    std::string type = "luks2";
    unsigned sector_size = 512;
    /// What follows --pbkdf.
    std::string derivation = "pbkdf2 --pbkdf-force-iterations 1000";
    std::string mke2fs_options = "";
    std::size_t size_mib = 32;
};

/// Makes `image` from the files below `tree`.
void make_drive(const ScratchDirectory& scratch, const std::string& tree, const std::string& image,
                const std::string& key_file, const DriveOptions& options);

/// The plaintext of a LUKS2 drive, by the volume key that cryptsetup finds in it.
void decrypt_drive(const ScratchDirectory& scratch, const std::string& image, const std::string& key_file,
                   std::size_t sector_size, const std::string& plain);

FileDescriptor open_or_die(const std::string& path, int flags);

}  // namespace dray::test
