// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/volume/luks_edit.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "daemon/base/digest.hpp"
#include "daemon/base/file.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::test {
namespace {

constexpr std::size_t kBinary = 4096;
constexpr std::size_t kChecksum = 448;

std::size_t header_size(const std::vector<std::byte>& volume) {
    std::size_t size = 0;
    for (std::size_t i = 8; i < 16; ++i)
        size = size << 8 | static_cast<std::size_t>(volume[i]);
    return size;
}

void seal(std::span<std::byte> header) {
    std::fill_n(header.begin() + kChecksum, 64, std::byte{0});
    Digest digest(DigestKind::Sha256);
    digest.update(header);
    std::ranges::copy(digest.finish(), header.begin() + kChecksum);
}

}  // namespace

std::vector<std::byte> made_by_cryptsetup(const std::string& options, std::size_t size, const std::string& after) {
    const ScratchDirectory scratch;
    const std::string image = scratch / "image";
    std::ofstream(scratch / "key") << "key";
    std::ofstream(image).close();
    std::filesystem::resize_file(image, size);
    const std::string end = " -q --key-file " + (scratch / "key") + " " + image;
    for (const std::string& command : {"luksFormat " + options, after})
        if (!command.empty() && std::system(("cryptsetup " + command + end + " >/dev/null 2>&1").c_str()) != 0)
            throw std::runtime_error("failed: cryptsetup " + command);
    const Result<std::string> content = read_file(image, size);
    if (!content)
        throw std::runtime_error(content.error().text());
    const auto bytes = std::as_bytes(std::span(content->data(), content->size()));
    return {bytes.begin(), bytes.end()};
}

void edit_luks2(std::vector<std::byte>& volume, const Edit& edit) {
    const std::size_t size = header_size(volume);
    const auto* text = reinterpret_cast<const char*>(volume.data() + kBinary);
    nlohmann::json json = nlohmann::json::parse(std::string(text));
    edit(json);
    const std::string changed = json.dump();
    if (changed.size() >= size - kBinary)
        throw std::runtime_error("the changed JSON is too long for its header");
    for (const std::size_t start : {std::size_t{0}, size}) {
        const std::span<std::byte> header = std::span(volume).subspan(start, size);
        std::fill(header.begin() + kBinary, header.end(), std::byte{0});
        std::memcpy(header.data() + kBinary, changed.data(), changed.size());
        seal(header);
    }
}

void damage_luks2(std::vector<std::byte>& volume, bool first_copy) {
    volume[(first_copy ? 0 : header_size(volume)) + kBinary + 3] ^= std::byte{1};
}

void put_big_endian(std::vector<std::byte>& bytes, std::size_t offset, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i)
        bytes[offset + i] = static_cast<std::byte>(value >> (8 * (3 - i)));
}

void put_text(std::vector<std::byte>& bytes, std::size_t offset, std::size_t field, const std::string& text) {
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), field, std::byte{0});
    std::memcpy(bytes.data() + offset, text.data(), text.size());
}

}  // namespace dray::test
