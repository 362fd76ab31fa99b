// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/filesystem/ntfs_image.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <span>
#include <sstream>

namespace dray::test {
namespace {

std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

}  // namespace

void NtfsImage::format(const std::string& options, const std::string& size) {
    ASSERT_EQ(run("truncate -s " + size + " IMAGE"), 0);
    std::string answer;
    ASSERT_EQ(run("mkntfs -Q -F -q " + options + " IMAGE", &answer), 0) << options << ": " << answer;
}

void NtfsImage::write(const std::string& requests) {
    std::string script = requests;
    std::replace(script.begin(), script.end(), ' ', '\t');
    std::ofstream(directory_ / "script") << script;
    std::string answer;
    ASSERT_EQ(run(std::string(DRAY_NTFS_WRITER) + " IMAGE <" + directory_ / "script", &answer), 0) << answer;
}

std::string NtfsImage::source(std::string_view content) {
    const std::string path = directory_ / ("source-" + std::to_string(sources_++));
    std::ofstream(path, std::ios::binary) << content;
    return path;
}

int NtfsImage::run(std::string command, std::string* answer) {
    const std::size_t place = command.find("IMAGE");
    if (place != std::string::npos)
        command.replace(place, 5, directory_ / "image");
    const int status = std::system((command + " >" + directory_ / "answer" + " 2>" + directory_ / "log").c_str());
    if (answer != nullptr)
        *answer = status == 0 ? text_of(directory_ / "answer") : text_of(directory_ / "log");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string NtfsImage::cat(const std::string& path) {
    std::string content;
    EXPECT_EQ(run("ntfscat -f IMAGE '" + path + "'", &content), 0) << path;
    return content;
}

std::vector<std::byte> NtfsImage::bytes() const {
    const std::string text = text_of(directory_ / "image");
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    return {bytes.begin(), bytes.end()};
}

std::size_t NtfsBytes::record(std::uint64_t number) const {
    constexpr std::size_t kRecord = 1024;
    return static_cast<std::size_t>(get<std::uint64_t>(48) * cluster() + number * kRecord);
}

std::size_t NtfsBytes::attribute(std::uint64_t number, std::uint32_t type) const {
    const std::size_t start = record(number);
    std::size_t at = start + get<std::uint16_t>(start + 20);
    while (at < start + 1024 && get<std::uint32_t>(at) != 0xffffffff) {
        if (get<std::uint32_t>(at) == type)
            return at;
        const auto length = get<std::uint32_t>(at + 4);
        if (length == 0)
            break;
        at += length;
    }
    ADD_FAILURE() << "record " << number << " has no attribute " << type;
    return start;
}

std::size_t NtfsBytes::first_cluster(std::uint64_t number, std::uint32_t type) const {
    const std::size_t at = attribute(number, type);
    const std::size_t packed = at + get<std::uint16_t>(at + 32);
    const auto head = get<std::uint8_t>(packed);
    std::uint64_t lcn = 0;
    for (std::size_t i = head >> 4; i-- > 0;)
        lcn = lcn << 8 | get<std::uint8_t>(packed + 1 + (head & 15) + i);
    return static_cast<std::size_t>(lcn * cluster());
}

}  // namespace dray::test
