// SPDX-License-Identifier: Apache-2.0
//
// A directory with files for the tests of drayctl; it goes away at the end of the test.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace dray::test {

class ScratchSource {
public:
    ScratchSource() {
        std::string name = (std::filesystem::temp_directory_path() / "dray-ctl.XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("cannot make a directory");
        path_ = name;
    }
    ScratchSource(const ScratchSource&) = delete;
    ScratchSource& operator=(const ScratchSource&) = delete;
    ~ScratchSource() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::string path() const { return path_.string(); }
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }

    void add(const std::string& name, const std::string& content = "content") const {
        std::filesystem::create_directories((path_ / name).parent_path());
        std::ofstream(path_ / name, std::ios::binary) << content;
    }

private:
    std::filesystem::path path_;
};

}  // namespace dray::test
