// SPDX-License-Identifier: Apache-2.0
#include "tests/support/scratch_directory.hpp"

#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace dray::test {

ScratchDirectory::ScratchDirectory() {
    const char* base = std::getenv("TMPDIR");
    std::string name = std::string(base != nullptr ? base : "/var/tmp") + "/dray-test.XXXXXX";
    if (mkdtemp(name.data()) == nullptr)
        throw std::runtime_error("cannot make a scratch directory");
    path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
}

}  // namespace dray::test
