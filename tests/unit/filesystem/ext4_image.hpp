// SPDX-License-Identifier: Apache-2.0
//
// File systems made by mke2fs out of a directory, changed by debugfs where nothing else makes such a thing,
// and read by debugfs as somebody who is not us.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/filesystem/filesystem.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::test {

class Ext4Image {
public:
    Ext4Image();
    Ext4Image(const Ext4Image&) = delete;
    Ext4Image& operator=(const Ext4Image&) = delete;

    /// A path below the directory that becomes the file system.
    std::string in_tree(const std::string& path) const { return directory_ / ("tree/" + path); }
    void put(const std::string& path, std::string_view content);
    /// A file of `size` with these parts in it, the rest a hole.
    void put_sparse(const std::string& path, Bytes size, const std::map<Bytes, std::string>& parts);

    /// mke2fs -d; `size` as mke2fs takes it. Fails the test if mke2fs does.
    void format(const std::string& options, const std::string& size = "8M");
    /// debugfs -w with these requests, one a line.
    void change(const std::string& requests);
    /// What debugfs answers to a request.
    std::string ask(const std::string& request);
    /// "Block: 1234" and the like out of ask().
    std::uint64_t number(const std::string& request, const std::string& before);
    /// Any program, "IMAGE" standing for the image. Returns its exit status.
    int run(std::string command);
    std::string path() const { return directory_ / "image"; }
    /// What the last program said.
    std::string log() const;

    std::vector<std::byte> bytes() const;
    void overwrite(Bytes offset, std::string_view bytes);
    /// The content of a file as debugfs reads it.
    std::string dump(const std::string& path);
    /// All files below the root but lost+found, as debugfs reads them.
    std::map<std::string, std::string> dump_all();

private:
    ScratchDirectory directory_;
};

/// All files, found by walking with list() and opened by lookup(), read in pieces of random lengths.
std::map<std::string, std::string> read_all(fs::FileSystem& filesystem, std::uint64_t seed);
/// One file; the test fails when it cannot be read.
std::string read_file_of(fs::FileSystem& filesystem, const std::string& path);

/// A file system on a copy of the image in memory.
struct Opened {
    std::unique_ptr<MemoryDevice> device;
    std::unique_ptr<fs::FileSystem> filesystem;
    /// When it did not open.
    std::string error;
    ErrorKind kind = ErrorKind::Internal;
    std::string status;
};
Opened open_image(std::vector<std::byte> bytes, Bytes sector = 512);

}  // namespace dray::test
