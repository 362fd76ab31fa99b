// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/store_list.hpp"

#include "drivers/store/directory/directory_store.hpp"

namespace dray::store {

Result<std::unique_ptr<BlobStore>> open_store(const StoreConfig& config, const StoreAccess& access) {
    if (config.type == "directory")
        return DirectoryStore::open(config, access.known_identity);
    return fail(ErrorKind::Unsupported, "store \"{}\": this version of dray knows no type \"{}\"", config.name,
                config.type);
}

}  // namespace dray::store
