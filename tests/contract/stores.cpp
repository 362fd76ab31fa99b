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
    Result<std::unique_ptr<BlobStore>> open() override { return open_store(config(), access()); }

protected:
    virtual StoreConfig config() const { return {"vault", "directory", directory_.path().string()}; }
    virtual StoreAccess access() const { return {}; }

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
    Result<std::unique_ptr<BlobStore>> open() override { return open_store(config(), access()); }
    std::string secret() const override { return test::Azurite::the().key(); }
    bool keeps_snapshots() const override { return true; }
    bool tells_pieces() const override { return true; }
    /// blob-rest.md A.1.
    bool holds(const std::string& name) const override {
        const std::string bounded = "/" + name + "/";
        return !bounded.contains("/./") && !bounded.contains("/../") && !name.ends_with('.') && !name.ends_with('/') &&
               std::ranges::none_of(name, [](char c) { return c == '\\' || (c >= 0 && c < ' '); }) &&
               std::ranges::count(name, '/') < 254;
    }

protected:
    virtual StoreConfig config() const { return config_; }
    virtual StoreAccess access() const {
        StoreAccess access;
        access.credential = std::make_shared<Credential>(SecretBytes(std::string_view(secret())));
        return access;
    }

private:
    std::string account_;
    StoreConfig config_;
};

/// Encryption around another store: what is there is what nobody can read.
template <typename Place>
class Encrypted : public Place {
public:
    using Place::Place;
    bool keeps_pages() const override { return false; }
    bool resumes() const override { return false; }
    bool leaves_out_blocks() const override { return false; }
    bool keeps_content_md5() const override { return false; }
    bool tells_pieces() const override { return false; }

protected:
    StoreConfig config() const override {
        StoreConfig config = Place::config();
        config.encryption = {"contract", "A256KW", "unused"};
        return config;
    }
    StoreAccess access() const override {
        StoreAccess access = Place::access();
        access.encryption_key = std::make_shared<const SecretBytes>(std::string_view("0123456789abcdef0123456789ABCDEF"));
        return access;
    }
};

}  // namespace

const std::vector<StoreKind>& store_kinds() {
    static const std::vector<StoreKind> kinds = {
        {"directory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace()); }},
        {"encrypted_directory",
         [] { return std::unique_ptr<StorePlace>(new Encrypted<DirectoryPlace>()); }},
        {"azure",
         [] { return std::unique_ptr<StorePlace>(new AzurePlace(test::Azurite::the().url())); }},
        // A network and a service that have bad days must not be noticed.
        {"azure_faulty",
         [] { return std::unique_ptr<StorePlace>(new AzurePlace(test::FaultServer::mild().url())); }},
        {"encrypted_azure",
         [] { return std::unique_ptr<StorePlace>(new Encrypted<AzurePlace>(test::Azurite::the().url())); }},
        // Another file system, where a flush costs nothing and everything comes closer together.
        {"directory_in_memory",
         [] { return std::unique_ptr<StorePlace>(new DirectoryPlace("/dev/shm")); }},
    };
    return kinds;
}

INSTANTIATE_TEST_SUITE_P(Stores, EveryStore, testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace dray::store
