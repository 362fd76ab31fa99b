// SPDX-License-Identifier: Apache-2.0
//
// Which store was in its place when it was last used. A store whose file system is not mounted looks like a new one;
// this is how the two are told apart. A small file per store in the state directory.
#pragma once

#include <map>
#include <string>

#include "config/config.hpp"

namespace dray {

class StoreMemory {
public:
    explicit StoreMemory(const std::string& state_directory) : directory_(state_directory + "/stores") {}

    /// What the store said of itself, or "" where none has been used under this name in this place.
    std::string identity(const StoreConfig& store);
    /// What cannot be written is logged, and written the next time.
    void remember(const StoreConfig& store, const std::string& identity);

private:
    std::string directory_;
    /// As the files are, by the store's name.
    std::map<std::string, std::string> known_;
};

}  // namespace dray
