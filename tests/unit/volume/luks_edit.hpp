// SPDX-License-Identifier: Apache-2.0
//
// LUKS headers made by cryptsetup and then changed by hand, with checksums that are right again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace dray::test {

/// The start of a volume of `size` bytes that cryptsetup has made with these options; the key is "key". The data of
/// LUKS2 begins where the options say. `after`: what cryptsetup is to do with it then.
std::vector<std::byte> made_by_cryptsetup(const std::string& options, std::size_t size, const std::string& after = "");

using Edit = std::function<void(nlohmann::json&)>;

/// Changes the JSON of both copies of a LUKS2 header.
void edit_luks2(std::vector<std::byte>& volume, const Edit& edit);
/// One byte of the JSON of one copy, leaving its checksum wrong.
void damage_luks2(std::vector<std::byte>& volume, bool first_copy);

void put_big_endian(std::vector<std::byte>& bytes, std::size_t offset, std::uint32_t value);
void put_text(std::vector<std::byte>& bytes, std::size_t offset, std::size_t field, const std::string& text);

}  // namespace dray::test
