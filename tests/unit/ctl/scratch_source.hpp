// SPDX-License-Identifier: Apache-2.0
//
// A directory with files for the tests of drayctl; it goes away at the end of the test.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/scratch_directory.hpp"

namespace dray::test {

class ScratchSource {
public:
    std::string path() const { return directory_.path().string(); }
    std::string operator/(const std::string& name) const { return directory_ / name; }

    void add(const std::string& name, const std::string& content = "content") const {
        const std::filesystem::path path = directory_ / name;
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path, std::ios::binary) << content;
    }

private:
    ScratchDirectory directory_;
};

}  // namespace dray::test
