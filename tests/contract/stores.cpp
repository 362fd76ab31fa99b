// SPDX-License-Identifier: Apache-2.0
//
// Makes each store's places and runs the contract over all of them.
#include "tests/contract/stores.hpp"

#include "drivers/store/store_list.hpp"
#include "tests/contract/store_fixture.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::store {
namespace {

class DirectoryPlace : public StorePlace {
public:
    DirectoryPlace() = default;
    explicit DirectoryPlace(const std::string& above) : directory_(above) {}
    Result<std::unique_ptr<BlobStore>> open() override {
        return open_store({"vault", "directory", directory_.path().string()});
    }

private:
    test::ScratchDirectory directory_;
};

}  // namespace

const std::vector<StoreKind>& store_kinds() {
    static const std::vector<StoreKind> kinds = {
        {"directory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace()); }},
        // Another file system, where a flush costs nothing and everything comes closer together.
        {"directory_in_memory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace("/dev/shm")); }},
    };
    return kinds;
}

INSTANTIATE_TEST_SUITE_P(Stores, EveryStore, testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace dray::store
