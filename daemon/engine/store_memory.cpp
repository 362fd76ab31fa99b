// SPDX-License-Identifier: Apache-2.0
#include "daemon/engine/store_memory.hpp"

#include <filesystem>
#include <system_error>

#include "daemon/base/file.hpp"
#include "daemon/base/log.hpp"

namespace dray {
namespace {

constexpr Bytes kMaxFile = 16 * kKiB;

/// Another place is another store: the operator has moved it, or begins anew.
std::string text_of(const StoreConfig& store, const std::string& identity) {
    const std::string place = store.path.empty() ? store.azure.endpoint + " " + store.azure.account : store.path;
    return store.type + "\n" + place + "\n" + identity + "\n";
}

}  // namespace

std::string StoreMemory::identity(const StoreConfig& store) {
    if (!known_.contains(store.name))
        known_[store.name] = read_file(directory_ + "/" + store.name, kMaxFile).value_or("");
    const std::string& text = known_[store.name];
    const std::string place = text_of(store, "");
    const std::size_t length = place.size() - 1;
    if (text.size() <= length + 1 || text.compare(0, length, place, 0, length) != 0)
        return {};
    return text.substr(length, text.size() - length - 1);
}

void StoreMemory::remember(const StoreConfig& store, const std::string& identity) {
    if (identity.empty() || this->identity(store) == identity)
        return;
    const std::string text = text_of(store, identity);
    std::error_code ignored;  // what is wrong with the directory, the writing says
    std::filesystem::create_directory(directory_, ignored);
    const std::string path = directory_ + "/" + store.name;
    if (Result<void> written = write_file_atomically(path, std::as_bytes(std::span(text)), 0600); !written) {
        log::warning("store \"{}\": {}; if it is not mounted one day, a new one is begun in its place", store.name,
                     written.error().text());
        return;
    }
    known_[store.name] = text;
}

}  // namespace dray
