// SPDX-License-Identifier: Apache-2.0
#include "tests/support/scratch_directory.hpp"

#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace dray::test {

namespace {

std::string usual_place() {
    const char* chosen = std::getenv("TMPDIR");
    return chosen != nullptr ? chosen : "/var/tmp";
}

}  // namespace

ScratchDirectory::ScratchDirectory() : ScratchDirectory(usual_place()) {}

ScratchDirectory::ScratchDirectory(const std::string& above) {
    std::string name = above + "/dray-test.XXXXXX";
    if (mkdtemp(name.data()) == nullptr)
        throw std::runtime_error("cannot make a scratch directory in " + above);
    path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
}

}  // namespace dray::test
