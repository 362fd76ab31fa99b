// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/filesystem/cluster_image.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>

namespace dray::test {
namespace {

/// All that the tests look for lies in front.
constexpr std::size_t kStart = 32 * kMiB;

}  // namespace

void ClusterImage::keep(const std::string& path, std::string content) {
    put(path, content);
    kept_[path] = std::move(content);
}

void ClusterImage::must(const std::string& command) { ASSERT_EQ(run(command), 0) << command << ": " << log(); }

void ClusterImage::format_fat(const std::string& options, const std::string& size) {
    must("rm -f IMAGE");
    must("truncate -s " + size + " IMAGE");
    must("mkfs.fat " + options + " IMAGE");
}

void ClusterImage::fill_fat() {
    must("sh -c 'LC_ALL=C.UTF-8 mcopy -sQmp -i IMAGE " + in_tree("*") + " ::/'");
}

void ClusterImage::format_exfat(const std::string& options, const std::string& size, const std::string& writer_options) {
    must("rm -f IMAGE");
    must("truncate -s " + size + " IMAGE");
    must("mkfs.exfat " + options + " IMAGE");
    must("/usr/bin/python3 -B " DRAY_TEST_SUPPORT "/exfat_writer.py IMAGE " + in_tree("") + " " + writer_options);
}

std::string ClusterImage::part(Bytes offset, std::size_t size) const {
    std::string content(size, '\0');
    std::ifstream image(path(), std::ios::binary);
    image.seekg(static_cast<std::streamoff>(offset));
    image.read(content.data(), static_cast<std::streamsize>(size));
    content.resize(static_cast<std::size_t>(image.gcount()));
    return content;
}

Bytes ClusterImage::find(std::string_view wanted) const {
    const std::string start = part(0, kStart);
    const std::size_t found = start.find(wanted);
    EXPECT_NE(found, std::string::npos) << wanted;
    return found;
}

void ClusterImage::overwrite_number(Bytes offset, std::uint64_t value, std::size_t size) {
    std::string little;
    for (std::size_t i = 0; i < size; ++i)
        little += static_cast<char>(value >> (8 * i));
    overwrite(offset, little);
}

std::uint64_t ClusterImage::number_at(Bytes offset, std::size_t size) const {
    const std::string bytes = part(offset, size);
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8U | static_cast<unsigned char>(bytes[i]);
    return value;
}

std::string difference(const Files& read, const Files& expected) {
    for (const auto& [path, content] : read)
        if (!expected.contains(path))
            return "should not be there: " + path;
    for (const auto& [path, content] : expected)
        if (!read.contains(path))
            return "missing: " + path;
        else if (read.at(path) != content)
            return "wrong content: " + path;
    return "";
}

std::uint64_t announced_seed() {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    return seed;
}

std::string random_text(std::mt19937_64& random, std::size_t size) {
    std::string text(size, ' ');
    for (std::size_t i = 0; i + 8 <= size; i += 8) {
        const std::uint64_t word = random();
        std::memcpy(text.data() + i, &word, sizeof word);
    }
    return text;
}

void keep_all_kinds(ClusterImage& image, std::mt19937_64& random, std::size_t cluster) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, cluster - 1, cluster, cluster + 1, 7 * cluster, 7 * cluster + 1,
                                   std::size_t{300'001}})
        image.keep("sizes/" + std::to_string(size), random_text(random, size));
    for (int i = 0; i < 300; ++i)
        image.keep("many/a file with a name of some length " + std::to_string(i) + ".text", std::to_string(i));
    image.keep("a/b/c/d/e/f/deep", "at the bottom");
    image.keep("names/UPPER.TXT", "short");
    image.keep("names/lower.txt", "lower case");
    image.keep("names/MiXed.Text", "mixed");
    image.keep("names/" + std::string(250, 'n') + ".long", "the longest name");
    image.keep("names/na\xc3\xafve \xc3\xa9t\xc3\xa9.txt", "accents");
    image.keep("names/thirteen-long", "a part of a long name exactly");
    std::filesystem::create_directories(image.in_tree("empty"));
}

}  // namespace dray::test
