// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/volume/bitlocker_made.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>

#include "drivers/volume/little_endian.hpp"

namespace dray::test {
namespace {

namespace stdfs = std::filesystem;

constexpr const char* kWriter = "/usr/bin/python3 -B " DRAY_TEST_SUPPORT "/bitlocker.py ";

void zero_reserved(std::vector<std::byte>& plain, const std::string& line) {
    std::istringstream words(line);
    std::size_t offset = 0;
    std::size_t size = 0;
    while (words >> offset >> size)
        std::fill_n(plain.begin() + static_cast<std::ptrdiff_t>(offset), size, std::byte{0});
}

void run(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

}  // namespace

std::vector<std::byte> bytes_of(const stdfs::path& file) {
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}

MadeBitLocker made_bitlocker(const std::string& options, std::size_t size) {
    const ScratchDirectory scratch;
    const stdfs::path where = scratch.path();
    MadeBitLocker made;
    made.plain.resize(size);
    std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same each time
    for (std::byte& byte : made.plain)
        byte = static_cast<std::byte>(random());
    run(std::string(kWriter) + "--reserved " + std::to_string(size) + " " + options + " > " + (where / "reserved").string());
    std::ifstream reserved(where / "reserved");
    zero_reserved(made.plain, {std::istreambuf_iterator<char>(reserved), {}});
    std::ofstream(where / "plain", std::ios::binary)
        .write(reinterpret_cast<const char*>(made.plain.data()), static_cast<std::streamsize>(size));
    run(std::string(kWriter) + (where / "plain").string() + " " + (where / "image").string() + " --seed 1 --bek " +
        where.string() + " " + options + " > " + (where / "keys").string());
    made.volume = bytes_of(where / "image");
    std::ifstream keys(where / "keys");
    made.keys.assign(std::istreambuf_iterator<char>(keys), {});
    for (const auto& entry : stdfs::directory_iterator(where))
        if (entry.path().extension() == ".BEK")
            made.start_up_key = SecretBytes(std::span<const std::byte>(bytes_of(entry.path())));
    return made;
}

void put_number(std::span<std::byte> bytes, std::size_t offset, std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
        bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
}

void edit_metadata(std::vector<std::byte>& volume, const std::function<void(std::span<std::byte> block)>& edit) {
    using volume::little_endian;
    const bool is_to_go = static_cast<char>(volume[3]) == 'M';
    for (std::size_t copy = 0; copy < 3; ++copy) {
        const auto place = little_endian<std::uint64_t>(volume, (is_to_go ? 424 : 160) + 16 + 8 * copy);
        const std::span<std::byte> area = std::span(volume).subspan(place, 65536);
        edit(area);
        const std::size_t size = little_endian<std::uint16_t>(area, 8) * std::size_t{16};
        if (size <= 65528)
            put_number(area, size + 4, volume::crc32(area.first(size)), 4);
    }
}

}  // namespace dray::test
