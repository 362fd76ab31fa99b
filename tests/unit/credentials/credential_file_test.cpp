// SPDX-License-Identifier: Apache-2.0
#include "daemon/credentials/credential_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

using testing::HasSubstr;

class CredentialFile : public testing::Test {
protected:
    CredentialFile() { unsetenv("CREDENTIALS_DIRECTORY"); }
    ~CredentialFile() override { unsetenv("CREDENTIALS_DIRECTORY"); }

    std::string write(const std::string& content, mode_t mode = 0600, const std::string& name = "secret") {
        const std::string path = scratch_ / name;
        std::ofstream(path, std::ios::binary) << content;
        EXPECT_EQ(chmod(path.c_str(), mode), 0);
        return path;
    }
    static std::string read(const std::string& reference) {
        const Result<SecretBytes> secret = read_credential(reference);
        return secret ? std::string(secret->text()) : "error: " + secret.error().text();
    }

    test::ScratchDirectory scratch_;
};

TEST_F(CredentialFile, IsReadWithoutTheLineBreakAtItsEnd) {
    EXPECT_EQ(read(write("s3cret")), "s3cret");
    EXPECT_EQ(read(write("s3cret\n")), "s3cret");
    EXPECT_EQ(read(write("s3cret\r\n")), "s3cret");
    EXPECT_EQ(read(write("s3cret\n\n")), "s3cret\n") << "one alone";
    EXPECT_EQ(read(write(" s3\ncret ")), " s3\ncret ");
    EXPECT_EQ(read(write(std::string("\0\n\0", 3))), std::string("\0\n\0", 3));
}

TEST_F(CredentialFile, BothSidesOfItsLongestLength) {
    const std::string longest(65'536, 'x');
    EXPECT_EQ(read(write(longest)), longest);
    const Result<SecretBytes> longer = read_credential(write(longest + "x"));
    ASSERT_FALSE(longer);
    EXPECT_EQ(longer.error().kind(), ErrorKind::Denied);
    EXPECT_THAT(longer.error().text(), HasSubstr("secret is longer than 65536 bytes"));
    EXPECT_EQ(read(write("x")), "x");
    for (const char* nothing : {"", "\n"}) {
        const Result<SecretBytes> empty = read_credential(write(nothing));
        ASSERT_FALSE(empty);
        EXPECT_EQ(empty.error().kind(), ErrorKind::NotFound);
        EXPECT_THAT(empty.error().text(), HasSubstr("secret is empty"));
    }
}

TEST_F(CredentialFile, ThatIsMissingIsNotFoundAndSaysWhereItBelongs) {
    const Result<SecretBytes> missing = read_credential(scratch_ / "none");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind(), ErrorKind::NotFound);
    EXPECT_THAT(missing.error().text(), HasSubstr("there is no file " + scratch_ / "none"));
    EXPECT_EQ(read_credential(write("x") + "/below").error().kind(), ErrorKind::NotFound);
}

TEST_F(CredentialFile, IsForItsOwnerAlone) {
    for (const mode_t mode : {0600, 0400})
        EXPECT_EQ(read(write("s3cret", mode)), "s3cret");
    for (const mode_t mode : {0640, 0604, 0620, 0602, 0610, 0601, 0700, 0644}) {
        const std::string path = write("s3cret", mode);
        const Result<SecretBytes> secret = read_credential(path);
        ASSERT_FALSE(secret) << std::oct << mode;
        EXPECT_EQ(secret.error().kind(), ErrorKind::Denied);
        EXPECT_THAT(secret.error().text(), HasSubstr(fmt::format("has mode {:04o}", mode)));
        EXPECT_THAT(secret.error().text(), HasSubstr("run: chmod 600 " + path));
        EXPECT_THAT(secret.error().text(), testing::Not(HasSubstr("s3cret")));
    }
}

TEST_F(CredentialFile, BelongsToDraydOrRoot) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root gives files away";
    const std::string path = write("s3cret");
    ASSERT_EQ(chown(path.c_str(), 60'001, static_cast<gid_t>(-1)), 0);
    const Result<SecretBytes> secret = read_credential(path);
    ASSERT_FALSE(secret);
    EXPECT_EQ(secret.error().kind(), ErrorKind::Denied);
    EXPECT_THAT(secret.error().text(), HasSubstr("belongs to uid 60001"));
    EXPECT_THAT(secret.error().text(), HasSubstr("run: chown 0 " + path));
    // As drayd's user, who has no right to what is root's alone.
    std::filesystem::permissions(scratch_.path(), std::filesystem::perms::all);
    ASSERT_EQ(seteuid(60'001), 0);
    const std::string own = read(path);
    const std::string roots = read(write("x", 0600, "unreadable") + "");
    ASSERT_EQ(seteuid(0), 0);
    EXPECT_EQ(own, "s3cret");
    EXPECT_EQ(roots, "x") << "its own";
    ASSERT_EQ(chown((scratch_ / "unreadable").c_str(), 0, 0), 0);
    ASSERT_EQ(seteuid(60'001), 0);
    const std::string refused = read(scratch_ / "unreadable");
    ASSERT_EQ(seteuid(0), 0);
    EXPECT_THAT(refused, HasSubstr("drayd's user cannot read"));
    EXPECT_THAT(refused, HasSubstr("run: chown 60001 " + scratch_ / "unreadable"));
}

TEST_F(CredentialFile, IsARegularFile) {
    ASSERT_EQ(mkfifo((scratch_ / "pipe").c_str(), 0600), 0);
    for (const std::string& path : {scratch_ / "pipe", scratch_.path().string(), std::string("/dev/null")}) {
        const Result<SecretBytes> secret = read_credential(path);
        ASSERT_FALSE(secret) << path;
        EXPECT_EQ(secret.error().kind(), ErrorKind::Denied);
        EXPECT_THAT(secret.error().text(), HasSubstr("is no regular file"));
    }
    const std::string path = write("s3cret");
    std::filesystem::create_symlink("secret", scratch_ / "link");
    EXPECT_EQ(read(scratch_ / "link"), "s3cret") << "a link to one will do";
    ASSERT_EQ(chmod(path.c_str(), 0644), 0);
    EXPECT_THAT(read(scratch_ / "link"), HasSubstr("has mode 0644")) << "what it leads to counts";
}

TEST_F(CredentialFile, ANameIsOneOfSystemdsAndTakenAsItIs) {
    const Result<SecretBytes> none = read_credential("blue-key");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().kind(), ErrorKind::NotFound);
    EXPECT_THAT(none.error().text(), HasSubstr("add LoadCredential=blue-key:FILE"));
    setenv("CREDENTIALS_DIRECTORY", scratch_.path().c_str(), 1);
    EXPECT_EQ(credential_path("blue-key").value(), scratch_ / "blue-key");
    EXPECT_EQ(credential_path("/etc/dray/key").value(), "/etc/dray/key");
    EXPECT_EQ(read_credential("blue-key").error().kind(), ErrorKind::NotFound);
    write("s3cret\n", 0440, "blue-key");
    EXPECT_EQ(read("blue-key"), "s3cret");
}

TEST_F(CredentialFile, AKeyOfRawBytesMayEndInALineBreak) {
    const auto read_key = [&](const std::string& content, const std::string& algorithm) {
        const EncryptionConfig encryption{.key = "escrow", .algorithm = algorithm, .credential = write(content)};
        return std::string(read_encryption_key(encryption).value().text());
    };
    for (const auto& [algorithm, size] : {std::pair{"A128KW", 16U}, std::pair{"A192KW", 24U}, std::pair{"A256KW", 32U}}) {
        const std::string key = std::string(size - 1, 'k') + "\n";
        EXPECT_EQ(read_key(key, algorithm), key);
        EXPECT_EQ(read_key(key + "\n", algorithm), key);
    }
    EXPECT_EQ(read_key("-----BEGIN PUBLIC KEY-----\n", "RSA-OAEP-256"), "-----BEGIN PUBLIC KEY-----");
    EXPECT_EQ(read_encryption_key({.key = "k", .algorithm = "A256KW", .credential = scratch_ / "none"}).error().kind(),
              ErrorKind::NotFound);
}

}  // namespace
}  // namespace dray
