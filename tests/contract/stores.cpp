// SPDX-License-Identifier: Apache-2.0
//
// Makes each store's places and runs the contract over all of them.
#include "tests/contract/stores.hpp"

#include <algorithm>

#include "drivers/store/store_list.hpp"
#include "tests/contract/store_fixture.hpp"
#include "tests/support/python_server.hpp"
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

/// Encryption around a store: what is in the directory is what nobody can read.
class EncryptedPlace : public StorePlace {
public:
    Result<std::unique_ptr<BlobStore>> open() override {
        StoreConfig config{"vault", "directory", directory_.path().string()};
        config.encryption = {"contract", "A256KW", "unused"};
        StoreAccess access;
        access.encryption_key = std::make_shared<const SecretBytes>(std::string_view("0123456789abcdef0123456789ABCDEF"));
        return open_store(config, access);
    }
    bool keeps_pages() const override { return false; }
    bool resumes() const override { return false; }
    bool leaves_out_blocks() const override { return false; }
    bool keeps_content_md5() const override { return false; }

private:
    test::ScratchDirectory directory_;
};

/// An account of the test's own at the emulator, perhaps with something in between.
class AzurePlace : public StorePlace {
public:
    explicit AzurePlace(const std::string& url) : account_(test::Azurite::the().new_account()) {
        config_.name = "cloud";
        config_.type = "azure";
        config_.azure.endpoint = url + "/" + account_;
        config_.azure.account = account_;
        config_.azure.credential = "unused";
        config_.azure.allow_http = true;
    }
    Result<std::unique_ptr<BlobStore>> open() override {
        StoreAccess access;
        access.credential = std::make_shared<Credential>(SecretBytes(std::string_view(secret())));
        return open_store(config_, access);
    }
    std::string secret() const override { return test::Azurite::the().key(); }
    /// blob-rest.md A.1.
    bool holds(const std::string& name) const override {
        const std::string bounded = "/" + name + "/";
        return !bounded.contains("/./") && !bounded.contains("/../") && !name.ends_with('.') && !name.ends_with('/') &&
               std::ranges::none_of(name, [](char c) { return c == '\\' || (c >= 0 && c < ' '); }) &&
               std::ranges::count(name, '/') < 254;
    }

private:
    std::string account_;
    StoreConfig config_;
};

}  // namespace

const std::vector<StoreKind>& store_kinds() {
    static const std::vector<StoreKind> kinds = {
        {"directory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace()); }},
        {"encrypted_directory",
         [] { return std::unique_ptr<StorePlace>(new EncryptedPlace()); }},
        {"azure",
         [] { return std::unique_ptr<StorePlace>(new AzurePlace(test::Azurite::the().url())); }},
        // A network and a service that have bad days must not be noticed.
        {"azure_faulty",
         [] { return std::unique_ptr<StorePlace>(new AzurePlace(test::FaultServer::mild().url())); }},
        // Another file system, where a flush costs nothing and everything comes closer together.
        {"directory_in_memory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace("/dev/shm")); }},
    };
    return kinds;
}

INSTANTIATE_TEST_SUITE_P(Stores, EveryStore, testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace dray::store
