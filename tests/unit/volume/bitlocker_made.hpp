// SPDX-License-Identifier: Apache-2.0
//
// BitLocker volumes by tests/support/bitlocker.py, and changes to their metadata by hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "daemon/base/secret.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::test {

struct MadeBitLocker {
    /// What is to be read: random bytes, and zeros where BitLocker has its own.
    std::vector<std::byte> plain;
    std::vector<std::byte> volume;
    /// Of the volume, as JSON, and the start-up key file if there is one.
    std::string keys;
    SecretBytes start_up_key;
};

std::vector<std::byte> bytes_of(const std::filesystem::path& file);

/// `options` as the program takes them; a start-up key is always made. The seed stands in the options or is 1.
MadeBitLocker made_bitlocker(const std::string& options, std::size_t size = 3 * 1024 * 1024);

/// Changes the block of metadata in each of the three copies, with checksums that are right again.
void edit_metadata(std::vector<std::byte>& volume, const std::function<void(std::span<std::byte> block)>& edit);

void put_number(std::span<std::byte> bytes, std::size_t offset, std::uint64_t value, std::size_t size);

}  // namespace dray::test
