// SPDX-License-Identifier: Apache-2.0
//
// A directory that goes away at the end of the test. On a disk, not in memory: memory file systems hide
// mistakes in alignment and have no room to fill.
#pragma once

#include <filesystem>
#include <string>

namespace dray::test {

class ScratchDirectory {
public:
    ScratchDirectory();
    /// In a place of the test's choice.
    explicit ScratchDirectory(const std::string& above);
    ScratchDirectory(const ScratchDirectory&) = delete;
    ScratchDirectory& operator=(const ScratchDirectory&) = delete;
    ~ScratchDirectory();
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace dray::test
