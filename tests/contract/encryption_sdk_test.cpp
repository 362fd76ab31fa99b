// SPDX-License-Identifier: Apache-2.0
//
// dray decrypts what the official SDK encrypted, and the other way round, through the emulator.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "daemon/base/digest.hpp"
#include "drivers/store/store_list.hpp"
#include "tests/support/python_server.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::store {
namespace {

using Content = std::vector<std::byte>;

constexpr std::size_t kRegion = 4 * kMiB;

class EncryptionAndTheSdk : public testing::Test {
protected:
    EncryptionAndTheSdk() {
        std::ofstream(key_file()) << kKey;
        config_.name = "cloud";
        config_.type = "azure";
        config_.azure.endpoint = test::Azurite::the().url() + "/" + account_;
        config_.azure.account = account_;
        config_.azure.credential = "unused";
        config_.azure.allow_http = true;
        config_.encryption = {"escrow", "A256KW", "unused"};
    }

    std::string key_file() { return directory_ / "key"; }

    std::unique_ptr<BlobStore> open(const std::string& key = std::string(kKey)) {
        StoreAccess access;
        access.credential = std::make_shared<Credential>(SecretBytes(std::string_view(test::Azurite::the().key())));
        access.encryption_key = std::make_shared<const SecretBytes>(std::string_view(key));
        Result<std::unique_ptr<BlobStore>> store = open_store(config_, access);
        if (!store)
            throw std::runtime_error(store.error().text());
        return *std::move(store);
    }

    /// The SDK's part, envelope_keys.py: `verb` is write or read.
    int sdk(const std::string& verb, const std::string& name, std::size_t size) {
        const std::string command = "/usr/bin/python3 -B " DRAY_TEST_SUPPORT "/envelope_keys.py " + verb + " " +
                                    test::Azurite::the().url() + " " + account_ + " lab/" + name + " A256KW " + key_file() +
                                    " escrow " + std::to_string(size);
        return std::system(command.c_str());
    }

    static constexpr std::string_view kKey = "0123456789abcdef0123456789ABCDEF";

private:
    test::ScratchDirectory directory_;
    std::string account_ = test::Azurite::the().new_account();
    StoreConfig config_;
};

TEST_F(EncryptionAndTheSdk, ReadEachOther) {
    const std::unique_ptr<BlobStore> store = open();
    ASSERT_TRUE(store->ensure_container("lab"));
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kRegion - 1, kRegion, kRegion + 1, 2 * kRegion + 513}) {
        SCOPED_TRACE(size);
        const BlobName name{"lab", "blob" + std::to_string(size)};
        ASSERT_EQ(sdk("write", name.name, size), 0);
        const Result<BlobStatus> status = store->stat(name);
        ASSERT_TRUE(status) << status.error().text();
        EXPECT_EQ(status->length, size);
        Content content(size);
        const Result<void> read = store->read(name, 0, content, status->etag, {});
        ASSERT_TRUE(read) << read.error().text();

        // What was read goes back under another name, and the SDK knows it again.
        const BlobName back{"lab", "back" + std::to_string(size)};
        CreateOptions options;
        options.length = size;
        options.upload_id = "upload-" + std::to_string(size);
        const Result<void> put = store->put_whole(back, options, {0, size, "MTAwMDAw", md5(content), content}, {}, {}, {});
        ASSERT_TRUE(put) << put.error().text();
        EXPECT_EQ(sdk("read", back.name, size), 0);
        if (size > 1) {
            Content part(size / 2);
            ASSERT_TRUE(store->read(name, size / 3, part, status->etag, {}));
            EXPECT_TRUE(std::equal(part.begin(), part.end(), content.begin() + static_cast<std::ptrdiff_t>(size / 3)));
        }
    }
}

TEST_F(EncryptionAndTheSdk, AnotherKeyFitsNothing) {
    ASSERT_TRUE(open()->ensure_container("lab"));
    ASSERT_EQ(sdk("write", "blob", 100), 0);
    const std::unique_ptr<BlobStore> other = open("another key, of the right length");
    Content content(100);
    EXPECT_FALSE(other->read({"lab", "blob"}, 0, content, "", {}));
}

}  // namespace
}  // namespace dray::store
