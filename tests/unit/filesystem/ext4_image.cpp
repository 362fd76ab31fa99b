// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/filesystem/ext4_image.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "drivers/filesystem/open_filesystem.hpp"

namespace dray::test {
namespace {

namespace stdfs = std::filesystem;

std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

}  // namespace

Ext4Image::Ext4Image() { stdfs::create_directory(directory_ / "tree"); }

void Ext4Image::put(const std::string& path, std::string_view content) {
    put_sparse(path, content.size(), {{0, std::string(content)}});
}

void Ext4Image::put_sparse(const std::string& path, Bytes size, const std::map<Bytes, std::string>& parts) {
    const std::string file = in_tree(path);
    stdfs::create_directories(stdfs::path(file).parent_path());
    std::ofstream out(file, std::ios::binary);
    for (const auto& [offset, part] : parts) {
        out.seekp(static_cast<std::streamoff>(offset));
        out << part;
    }
    out.close();
    stdfs::resize_file(file, size);
}

void Ext4Image::format(const std::string& options, const std::string& size) {
    stdfs::remove(directory_ / "image");
    ASSERT_EQ(run("mke2fs -q -F -E lazy_itable_init=1,nodiscard " + options + " -d " + directory_ / "tree" +
                  " IMAGE " + size),
              0)
        << options << ": " << text_of(directory_ / "log");
}

void Ext4Image::change(const std::string& requests) {
    std::ofstream(directory_ / "requests") << requests << '\n';
    EXPECT_EQ(run("debugfs -w -f " + directory_ / "requests" + " IMAGE"), 0) << text_of(directory_ / "log");
}

std::string Ext4Image::ask(const std::string& request) {
    EXPECT_EQ(std::system(("cd " + directory_.path().string() + " && debugfs -R '" + request + "' image >answer 2>/dev/null").c_str()), 0);
    return text_of(directory_ / "answer");
}

std::uint64_t Ext4Image::number(const std::string& request, const std::string& before) {
    const std::string answer = ask(request);
    const std::size_t place = answer.find(before);
    EXPECT_NE(place, std::string::npos) << request << ": " << answer;
    return place == std::string::npos ? 0 : std::strtoull(answer.c_str() + place + before.size(), nullptr, 10);
}

int Ext4Image::run(std::string command) {
    const std::size_t place = command.find("IMAGE");
    if (place != std::string::npos)
        command.replace(place, 5, directory_ / "image");
    const int status = std::system((command + " >" + directory_ / "log" + " 2>&1").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string Ext4Image::log() const { return text_of(directory_ / "log"); }

std::vector<std::byte> Ext4Image::bytes() const {
    const std::string text = text_of(directory_ / "image");
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    return {bytes.begin(), bytes.end()};
}

void Ext4Image::overwrite(Bytes offset, std::string_view bytes) {
    std::fstream image(directory_ / "image", std::ios::binary | std::ios::in | std::ios::out);
    image.seekp(static_cast<std::streamoff>(offset));
    image << bytes;
}

std::string Ext4Image::dump(const std::string& path) {
    ask("dump \"" + path + "\" dumped");
    return text_of(directory_ / "dumped");
}

std::map<std::string, std::string> Ext4Image::dump_all() {
    const std::string out = directory_ / "dumped-tree";
    stdfs::create_directory(out);
    ask("rdump / dumped-tree");
    std::map<std::string, std::string> files;
    for (const auto& entry : stdfs::recursive_directory_iterator(out))
        if (entry.is_regular_file() && !entry.is_symlink())
            files[stdfs::relative(entry.path(), out).string()] = text_of(entry.path().string());
    return files;
}

std::string read_file_of(fs::FileSystem& filesystem, const std::string& path) {
    const Result<fs::FileStatus> status = filesystem.lookup(path);
    EXPECT_TRUE(status) << path << ": " << status.error().text();
    if (!status)
        return {};
    std::string content(static_cast<std::size_t>(status->size), '?');
    const Result<void> read = filesystem.read(*status, 0, std::as_writable_bytes(std::span(content.data(), content.size())));
    EXPECT_TRUE(read) << path << ": " << read.error().text();
    return content;
}

std::map<std::string, std::string> read_all(fs::FileSystem& filesystem, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::map<std::string, std::string> files;
    std::vector<std::string> directories{""};
    while (!directories.empty()) {
        const std::string directory = directories.back();
        directories.pop_back();
        std::vector<std::string> names;
        const Result<void> listed = filesystem.list(directory, [&](const fs::FileSystem::Entry& entry) {
            const std::string path = directory.empty() ? entry.name : directory + "/" + entry.name;
            if (entry.status.is_directory)
                directories.push_back(path);
            else if (filesystem.lookup(path))
                names.push_back(path);
            return true;
        });
        EXPECT_TRUE(listed) << directory << ": " << listed.error().text();
        for (const std::string& path : names) {
            const Result<fs::FileStatus> status = filesystem.lookup(path);
            std::string content(static_cast<std::size_t>(status->size), '?');
            const std::span<std::byte> all = std::as_writable_bytes(std::span(content.data(), content.size()));
            for (std::size_t offset = 0; offset < all.size();) {
                const std::size_t length = std::min<std::size_t>(1 + random() % 300'000, all.size() - offset);
                const Result<void> read = filesystem.read(*status, offset, all.subspan(offset, length));
                EXPECT_TRUE(read) << path << ": " << read.error().text();
                offset += length;
            }
            files[path] = std::move(content);
        }
    }
    return files;
}

Opened open_image(std::vector<std::byte> bytes, Bytes sector) {
    Opened opened;
    opened.device = std::make_unique<MemoryDevice>(std::move(bytes), sector);
    auto filesystem = fs::open_filesystem(*opened.device);
    if (filesystem) {
        opened.filesystem = *std::move(filesystem);
    } else {
        opened.error = filesystem.error().error.text();
        opened.kind = filesystem.error().error.kind();
        opened.status = filesystem.error().status;
    }
    return opened;
}

}  // namespace dray::test
