// SPDX-License-Identifier: Apache-2.0
//
// The master key: where it comes from, when it is made, what it is refused for.
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "tests/unit/catalog/catalog_fixture.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

class MasterKey : public CatalogTest {
protected:
    MasterKey() { unsetenv("CREDENTIALS_DIRECTORY"); }
    ~MasterKey() override { unsetenv("CREDENTIALS_DIRECTORY"); }
    fs::path file() const { return directory() / "master.key"; }
    void write_key(const fs::path& path, const std::string& content, mode_t mode) {
        std::ofstream(path, std::ios::binary) << content;
        ASSERT_EQ(chmod(path.c_str(), mode), 0);
    }
    Result<SecretBytes> load_key(bool may_make) {
        return load_master_key(directory().string(), may_make);
    }
};

TEST_F(MasterKey, IsMadeOnceForItsOwnerAlone) {
    const mode_t before = umask(0);
    const Result<SecretBytes> made = load_key(true);
    umask(before);
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(made->size(), kMasterKeyBytes);
    EXPECT_NE(made->text(), std::string(kMasterKeyBytes, '\0'));
    struct stat status {};
    ASSERT_EQ(stat(file().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U);
    for (const bool may_make : {true, false}) {
        const Result<SecretBytes> again = load_key(may_make);
        ASSERT_TRUE(again);
        EXPECT_EQ(again->text(), made->text());
    }
    fs::remove(file());
    EXPECT_NE(load_key(true)->text(), made->text());
}

// As drayd starts: encrypted rows in the catalog, and the file is gone.
TEST_F(MasterKey, IsNotMadeAnewWhileKeysWaitForIt) {
    const Job job = full_job(1);
    ASSERT_TRUE(catalog().save_with_key(job, job.drives[0], SecretBytes(std::string_view("key"))));
    const Result<SecretBytes> key = load_key(!catalog().has_keys().value());
    ASSERT_EQ(kind_of(key), "NotFound");
    EXPECT_NE(key.error().text().find(file().string()), std::string::npos) << key.error().text();
    EXPECT_FALSE(fs::exists(file()));
    ASSERT_TRUE(catalog().remove(job));
    EXPECT_EQ(kind_of(load_key(!catalog().has_keys().value())), "success");
}

TEST_F(MasterKey, IsRefusedWhenOthersMayReadIt) {
    for (const mode_t mode : {0640U, 0604U, 0660U, 0606U, 0620U, 0644U, 0610U, 0601U}) {
        write_key(file(), std::string(32, 'k'), mode);
        const Result<SecretBytes> key = load_key(true);
        ASSERT_EQ(kind_of(key), "Denied") << std::oct << mode;
        EXPECT_NE(key.error().text().find("chmod 600 " + file().string()), std::string::npos)
            << key.error().text();
    }
    for (const mode_t mode : {0600U, 0400U, 0700U}) {
        write_key(file(), std::string(32, 'k'), mode);
        EXPECT_EQ(kind_of(load_key(true)), "success") << std::oct << mode;
    }
}

TEST_F(MasterKey, IsRefusedWhenItIsTooShort) {
    for (const std::size_t size : {0U, 1U, 31U}) {
        write_key(file(), std::string(size, 'k'), 0600);
        EXPECT_EQ(kind_of(load_key(true)), "InvalidArgument") << size;
        EXPECT_EQ(fs::file_size(file()), size) << "it is left alone";
    }
    for (const std::size_t size : {32U, 33U, 1000U}) {
        write_key(file(), std::string(size, 'k'), 0600);
        const Result<SecretBytes> key = load_key(true);
        ASSERT_TRUE(key) << size;
        EXPECT_EQ(key->text(), std::string(32, 'k'));
    }
}

TEST_F(MasterKey, IsNoLinkAndNoDirectory) {
    write_key(directory() / "elsewhere", std::string(32, 'k'), 0600);
    fs::create_symlink(directory() / "elsewhere", file());
    EXPECT_NE(kind_of(load_key(true)), "success");
    fs::remove(file());
    fs::create_directory(file());
    ASSERT_EQ(chmod(file().c_str(), 0700), 0);
    EXPECT_NE(kind_of(load_key(true)), "success");
}

TEST_F(MasterKey, ComesFromTheServicesCredentialsFirst) {
    const fs::path credentials = directory() / "credentials";
    fs::create_directory(credentials);
    write_key(file(), std::string(32, 'f'), 0600);
    setenv("CREDENTIALS_DIRECTORY", credentials.c_str(), 1);
    EXPECT_EQ(load_key(true)->text(), std::string(32, 'f')) << "the service has no such credential";
    write_key(credentials / "dray-master-key", std::string(32, 'c'), 0440);
    EXPECT_EQ(load_key(true)->text(), std::string(32, 'c'));
    write_key(credentials / "dray-master-key", "short", 0400);
    EXPECT_EQ(kind_of(load_key(true)), "InvalidArgument") << "it must not fall back to another key";
}

}  // namespace
}  // namespace dray
