// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of stores: over restarts, and only of the store that was in that place.
#include "daemon/engine/store_memory.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

StoreConfig store_at(const std::string& path) { return {"vault", "directory", path}; }

StoreConfig account(const std::string& endpoint, const std::string& name) {
    StoreConfig store{"vault", "azure"};
    store.azure.endpoint = endpoint;
    store.azure.account = name;
    return store;
}

TEST(StoreMemory, KnowsAStoreAgainAfterARestart) {
    const test::ScratchDirectory directory;
    {
        StoreMemory memory(directory.path().string());
        EXPECT_EQ(memory.identity(store_at("/srv/vault")), "") << "never used";
        memory.remember(store_at("/srv/vault"), "directory:1");
        EXPECT_EQ(memory.identity(store_at("/srv/vault")), "directory:1");
    }
    StoreMemory memory(directory.path().string());
    EXPECT_EQ(memory.identity(store_at("/srv/vault")), "directory:1");
}

TEST(StoreMemory, ASecondIdentityTakesThePlaceOfTheFirst) {
    const test::ScratchDirectory directory;
    StoreMemory memory(directory.path().string());
    memory.remember(store_at("/srv/vault"), "directory:1");
    memory.remember(store_at("/srv/vault"), "");
    EXPECT_EQ(memory.identity(store_at("/srv/vault")), "directory:1") << "nothing says nothing";
    memory.remember(store_at("/srv/vault"), "directory:2");
    EXPECT_EQ(StoreMemory(directory.path().string()).identity(store_at("/srv/vault")), "directory:2");
}

TEST(StoreMemory, AnotherPlaceIsAnotherStore) {
    const test::ScratchDirectory directory;
    StoreMemory memory(directory.path().string());
    memory.remember(store_at("/srv/vault"), "directory:1");
    for (const char* path : {"/srv/vaul", "/srv/vault2", "/srv", "", "/srv/vault\ndirectory:1"})
        EXPECT_EQ(memory.identity(store_at(path)), "") << path;
    memory.remember(account("https://a.example", "acme"), "azure:1");
    EXPECT_EQ(memory.identity(account("https://a.example", "acme")), "azure:1");
    EXPECT_EQ(memory.identity(account("https://b.example", "acme")), "");
    EXPECT_EQ(memory.identity(account("https://a.example", "other")), "");
    EXPECT_EQ(memory.identity(store_at("/srv/vault")), "") << "what was in that place before";
}

TEST(StoreMemory, AFileThatIsDamagedIsNoMemory) {
    for (const char* text : {"", "\n\n\n", "directory", "directory\n/srv/vault\n", "directory\n/srv/vault"}) {
        const test::ScratchDirectory directory;
        std::filesystem::create_directory(directory.path() / "stores");
        std::ofstream(directory.path() / "stores" / "vault") << text;
        StoreMemory memory(directory.path().string());
        EXPECT_EQ(memory.identity(store_at("/srv/vault")), "") << text;
        memory.remember(store_at("/srv/vault"), "directory:1");
        EXPECT_EQ(StoreMemory(directory.path().string()).identity(store_at("/srv/vault")), "directory:1");
    }
}

}  // namespace
}  // namespace dray
