// SPDX-License-Identifier: Apache-2.0
//
// Makes each store's places and runs the contract over all of them.
#include "tests/contract/stores.hpp"

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "drivers/store/store_list.hpp"
#include "tests/contract/store_fixture.hpp"

namespace dray::store {
namespace {

class DirectoryPlace : public StorePlace {
public:
    explicit DirectoryPlace(const std::string& above) {
        std::string path = above + "/dray-contract-XXXXXX";
        if (mkdtemp(path.data()) == nullptr)
            throw std::runtime_error("cannot make " + path);
        config_ = {"vault", "directory", path};
    }
    ~DirectoryPlace() override { std::filesystem::remove_all(config_.path); }
    Result<std::unique_ptr<BlobStore>> open() override { return open_store(config_); }

private:
    StoreConfig config_;
};

}  // namespace

const std::vector<StoreKind>& store_kinds() {
    static const std::vector<StoreKind> kinds = {
        {"directory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace(testing::TempDir())); }},
        // Another file system, where a flush costs nothing and everything comes closer together.
        {"directory_in_memory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace("/dev/shm")); }},
    };
    return kinds;
}

INSTANTIATE_TEST_SUITE_P(Stores, EveryStore, testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace dray::store
