// SPDX-License-Identifier: Apache-2.0
//
// Stores of type azure, and the keys of client-side encryption.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/loader.hpp"

namespace dray {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

const std::string kAccountKey =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

std::string mistakes(const std::string& text) {
    const Result<Config> config = parse_config(text, "dray.yaml");
    if (config)
        return "";
    EXPECT_EQ(config.error().kind(), ErrorKind::InvalidArgument);
    return config.error().text();
}

/// A store "blue" that is right, with one option more or another.
std::string with(const std::string& option) {
    const std::string key = option.substr(0, option.find(':'));
    std::string text = "stores:\n  blue:\n    type: azure\n";
    if (key != "endpoint")
        text += "    endpoint: https://acme.blob.example\n";
    if (key != "credential")
        text += "    credential: blue-key\n";
    return text + "    " + option + "\n";
}

AzureConfig read(const std::string& option) {
    const Result<Config> config = parse_config(with(option), "dray.yaml");
    EXPECT_TRUE(config) << option << ": " << config.error().text();
    return config ? config->stores.at("blue").azure : AzureConfig{};
}

TEST(AzureStore, EveryOptionArrives) {
    const Result<Config> config = parse_config(R"(
keys:
  escrow: {credential: /etc/dray/escrow.pem, algorithm: RSA-OAEP-256}
  old: {credential: old-key, algorithm: A128KW}
stores:
  blue:
    type: azure
    endpoint: http://blob.example:10000/acme/
    account: acme
    credential: sas:/etc/dray/blue.sas
    encryption-key: escrow
    container: drives
    ca-file: /etc/dray/ca.pem
    proxy: http://proxy.example:3128
    allow-http: true
    connect-timeout: 3s
    stall-timeout: 4s
    outage: 5min
    api-version: 2023-11-03
  vault: {type: directory, path: /srv/dray/vault, encryption-key: old}
)",
                                               "dray.yaml");
    ASSERT_TRUE(config) << config.error().text();
    StoreConfig blue{.name = "blue", .type = "azure"};
    blue.azure = {.endpoint = "http://blob.example:10000/acme",
                  .account = "acme",
                  .credential_kind = CredentialKind::Sas,
                  .credential = "/etc/dray/blue.sas",
                  .container = "drives",
                  .ca_file = "/etc/dray/ca.pem",
                  .proxy = "http://proxy.example:3128",
                  .allow_http = true,
                  .connect_timeout = 3s,
                  .stall_timeout = 4s,
                  .outage = 5min,
                  .api_version = "2023-11-03"};
    blue.encryption = {.key = "escrow", .algorithm = "RSA-OAEP-256", .credential = "/etc/dray/escrow.pem"};
    EXPECT_EQ(config->stores.at("blue"), blue);
    StoreConfig vault{.name = "vault", .type = "directory", .path = "/srv/dray/vault"};
    vault.encryption = {.key = "old", .algorithm = "A128KW", .credential = "old-key"};
    EXPECT_EQ(config->stores.at("vault"), vault);
}

TEST(AzureStore, LittleIsEnough) {
    AzureConfig expected;
    expected.endpoint = "https://acme.blob.example";
    expected.account = "acme";
    expected.credential = "blue-key";
    EXPECT_EQ(read("endpoint: https://acme.blob.example"), expected);
}

TEST(AzureStore, TheAccountIsInTheEndpoint) {
    EXPECT_EQ(read("endpoint: https://acme.blob.example").account, "acme");
    EXPECT_EQ(read("endpoint: https://Acme.blob.example").account, "acme");
    EXPECT_EQ(read("endpoint: https://blob.example/acme").account, "acme");
    EXPECT_EQ(read("endpoint: https://10.0.0.1:10000/devstoreaccount1").account, "devstoreaccount1");
    EXPECT_EQ(read("endpoint: https://[::1]:10000/dev_store-1").account, "dev_store-1");
    EXPECT_EQ(read("account: other").account, "other") << "behind a name of the site's own";
    for (const char* endpoint : {"https://10.0.0.1", "https://[fd00::1]", "https://localhost", "https://blob.example/a/b",
                                 "https://a.blob.example", "https://acme-1.blob.example"})
        EXPECT_THAT(mistakes(with(std::string("endpoint: ") + endpoint)),
                    HasSubstr("dray.yaml:5: stores.blue.endpoint: does not tell the account; add account:"))
            << endpoint;
    EXPECT_EQ(read("endpoint: https://10.0.0.1\n    account: acme").account, "acme");
}

TEST(AzureStore, AccountsHaveLimits) {
    const auto account = [](const std::string& name) { return mistakes(with("account: " + name)); };
    EXPECT_EQ(account("abc"), "");
    EXPECT_EQ(account("012345678901234567890123"), "");
    for (const char* name : {"ab", "0123456789012345678901234", "Acme", "ac-me", "ac_me", "ac.me", "\"\""})
        EXPECT_THAT(account(name), HasSubstr("stores.blue.account: must be an account's name: 3 to 24 lower-case letters"))
            << name;
    const auto in_path = [](const std::string& name) { return mistakes(with("endpoint: https://blob.example/" + name)); };
    EXPECT_EQ(in_path("a"), "");
    EXPECT_EQ(in_path(std::string(63, 'a')), "");
    EXPECT_THAT(in_path(std::string(64, 'a')), HasSubstr("1 to 63 lower-case"));
    EXPECT_THAT(in_path("Acme"), HasSubstr("1 to 63 lower-case"));
    EXPECT_THAT(account(kAccountKey), Not(HasSubstr(kAccountKey.substr(0, 10)))) << "mixed up with the key";
}

TEST(AzureStore, WithoutTlsOnlyWhereThatIsSaid) {
    EXPECT_THAT(mistakes(with("endpoint: http://acme.blob.example")),
                HasSubstr("dray.yaml:5: stores.blue.endpoint: must begin with https://, or say allow-http: true"));
    EXPECT_EQ(read("endpoint: http://acme.blob.example\n    allow-http: true").endpoint, "http://acme.blob.example");
    const std::string token = "stores: {blue: {type: azure, allow-http: true, credential: \"token:t\", endpoint: \"";
    EXPECT_THAT(mistakes(token + "http://acme.blob.example\"}}"), HasSubstr("https:// where the credential is a token"));
    EXPECT_EQ(mistakes(token + "https://acme.blob.example\"}}"), "");
}

TEST(AzureStore, EndpointsAreUrlsWithoutASecret) {
    for (const char* bad : {"acme.blob.example", "ftp://acme.blob.example", "https://user:SECRET@acme.blob.example",
                            "https://acme.blob.example/?sv=1&sig=SECRET", "\"https://acme.blob.example/#SECRET\""}) {
        const std::string told = mistakes(with(std::string("endpoint: ") + bad));
        EXPECT_THAT(told, HasSubstr("dray.yaml:5: stores.blue.endpoint: must ")) << bad;
        EXPECT_THAT(told, Not(HasSubstr("SECRET"))) << bad;
    }
    EXPECT_THAT(mistakes("stores: {blue: {type: azure, credential: a}}"), HasSubstr("stores.blue.endpoint: is missing"));
    EXPECT_EQ(read("endpoint: https://acme.blob.example///").endpoint, "https://acme.blob.example");
}

TEST(AzureStore, TheCredentialIsAPlaceOfOneOfThreeKinds) {
    const auto credential = [](const std::string& text) { return read("credential: " + text); };
    EXPECT_EQ(credential("blue-key").credential, "blue-key");
    EXPECT_EQ(credential("blue-key").credential_kind, CredentialKind::SharedKey);
    EXPECT_EQ(credential("/etc/dray/blue.key").credential, "/etc/dray/blue.key");
    EXPECT_EQ(credential("sas:blue.sas").credential, "blue.sas");
    EXPECT_EQ(credential("sas:blue.sas").credential_kind, CredentialKind::Sas);
    EXPECT_EQ(credential("token:/run/token").credential, "/run/token");
    EXPECT_EQ(credential("token:/run/token").credential_kind, CredentialKind::Token);
    EXPECT_EQ(credential(std::string(255, '.').replace(0, 1, "a")).credential.size(), 255U);
    const std::string too_long = std::string(256, '.').replace(0, 1, "a");
    for (const std::string& bad : std::vector<std::string>{"./key", "../key", "/etc/../key", "/etc/", "-key", "key/of/blue",
                                                           "a key", "key:blue", "Sas:x", "https://x", too_long})
        EXPECT_THAT(mistakes(with("credential: \"" + bad + "\"")),
                    HasSubstr("dray.yaml:5: stores.blue.credential: must be the name of a systemd credential, or"))
            << bad;
    for (const char* bad : {"\"sas:\"", "\"token:\""})
        EXPECT_THAT(mistakes(with(std::string("credential: ") + bad)), HasSubstr("must have a name or a path after"));
    EXPECT_THAT(mistakes("stores: {blue: {type: azure, endpoint: https://acme.blob.example}}"),
                HasSubstr("stores.blue.credential: is missing"));
}

TEST(AzureStore, ASecretInPlaceOfItsPlaceIsRefusedAndNotRepeated) {
    const std::string sas = "sv=2021-12-02&sr=c&sig=abcdefghij%3D";
    const std::string url_safe(64, '_');
    const std::vector<std::string> secrets{kAccountKey, "/" + kAccountKey.substr(1), sas, "?" + sas, "sas:" + sas,
                                           "token:eyJhbGciOiJSUzI1NiJ9.e30.x", "token:Bearer x", "sas:" + url_safe,
                                           std::string(64, 'A')};
    for (const std::string& secret : secrets) {
        const std::string told = mistakes(with("credential: \"" + secret + "\""));
        EXPECT_THAT(told, HasSubstr("stores.blue.credential: holds what looks like the secret itself")) << secret;
        for (const char* part : {"Eby8", "by8v", "sig", "eyJ", "Bearer x", "____", "AAAA"})
            EXPECT_THAT(told, Not(HasSubstr(part)));
    }
    // Not every long name is one, and not every path.
    EXPECT_EQ(read("credential: " + std::string(63, 'A')).credential.size(), 63U);
    EXPECT_EQ(read("credential: /" + std::string(100, 'a')).credential.size(), 101U);
    EXPECT_EQ(read("credential: /etc/dray/" + std::string(70, 'a') + "/key").credential.size(), 84U);
    // Nor wherever else it may be put.
    for (const char* key : {"account", "proxy", "api-version", "endpoint", "encryption-key", "shared-key", "ca-file"})
        EXPECT_THAT(mistakes(with(std::string(key) + ": \"" + kAccountKey + "\"")),
                    testing::AllOf(HasSubstr("stores.blue"), Not(HasSubstr("2xNOcq"))))
            << key;
}

TEST(AzureStore, BothSidesOfEveryLimit) {
    const struct {
        const char* key;
        const char* least;
        const char* below;
        const char* most;
        const char* above;
    } rows[] = {
        {"connect-timeout", "1s", "999ms", "5min", "301s"},
        {"stall-timeout", "1s", "999ms", "1h", "3601s"},
        {"outage", "1s", "999ms", "7d", "604801s"},
        {"api-version", "2019-12-12", "2019-12-11", "9999-99-99", "10000-01-01"},
        {"container", "abc", "ab", "a23456789-123456789-123456789-123456789-123456789-123456789-123",
         "a23456789-123456789-123456789-123456789-123456789-123456789-1234"},
        {"ca-file", "/a", "a", "/b", "/a/.."},
        {"proxy", "http://p:1", "http://p:0", "http://p:65535", "http://p:65536"},
    };
    for (const auto& row : rows) {
        const auto told = [&](const char* value) { return mistakes(with(fmt::format("{}: {}", row.key, value))); };
        EXPECT_EQ(told(row.least), "") << row.key;
        EXPECT_EQ(told(row.most), "") << row.key;
        EXPECT_THAT(told(row.below), HasSubstr(fmt::format("dray.yaml:6: stores.blue.{}: ", row.key)));
        EXPECT_THAT(told(row.above), HasSubstr(fmt::format("dray.yaml:6: stores.blue.{}: ", row.key)));
    }
}

TEST(AzureStore, EachMistakeSaysWhatWouldBeRight) {
    for (const char* proxy : {"proxy.example:3128", "https://proxy.example:3128", "http://proxy.example",
                              "http://proxy.example:3128/x", "http://user:SECRET@proxy.example:3128"}) {
        const std::string told = mistakes(with(std::string("proxy: ") + proxy));
        EXPECT_THAT(told, HasSubstr("stores.blue.proxy: must be like http://proxy.example:3128")) << proxy;
        EXPECT_THAT(told, Not(HasSubstr("SECRET")));
    }
    for (const char* version : {"latest", "2021-12-2", "2021/12/02", "2021-12-02x"})
        EXPECT_THAT(mistakes(with(std::string("api-version: ") + version)),
                    HasSubstr("must be a date from 2019-12-12 on, written like 2021-12-02"));
    for (const char* container : {"Drives", "a--b", "-ab", "ab-", "a.b", "\"\""})
        EXPECT_THAT(mistakes(with(std::string("container: ") + container)),
                    HasSubstr("stores.blue.container: must be a container's name"));
    EXPECT_THAT(mistakes(with("path: /srv")), HasSubstr("\"path\" is not a setting of stores.blue"));
    EXPECT_THAT(mistakes("stores: {vault: {type: directory, path: /a, endpoint: x}}"),
                HasSubstr("\"endpoint\" is not a setting of stores.vault"));
}

TEST(EncryptionKeys, AreNamedByStores) {
    const std::string keys = "keys: {b: {credential: k, algorithm: A256KW}, a: {credential: l, algorithm: RSA-OAEP}}\n";
    const auto store = [&](const std::string& rest) {
        return mistakes(keys + "stores: {s: {type: directory, path: /s" + rest + "}}");
    };
    EXPECT_EQ(store(", encryption-key: a"), "");
    EXPECT_THAT(store(", encryption-key: c"),
                HasSubstr("dray.yaml:2: stores.s.encryption-key: \"c\" is not one of the keys; there are: a, b"));
    EXPECT_THAT(store(", encryption-key: \"\""), HasSubstr("must be the name of one of the keys"));
    EXPECT_THAT(mistakes("stores: {s: {type: directory, path: /s, encryption-key: c}}"),
                HasSubstr("\"c\" is not one of the keys; there are none"));
    const Result<Config> plain = parse_config(keys + "stores: {s: {type: directory, path: /s}}", "dray.yaml");
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->stores.at("s").encryption, EncryptionConfig{}) << "a key is there, but the store does not use it";
}

TEST(EncryptionKeys, EachMistakeSaysWhatWouldBeRight) {
    const struct {
        const char* text;
        const char* sentence;
    } rows[] = {
        {"keys: {a: x}", "keys.a: must have keys, as in {credential: escrow-key, algorithm: A256KW}"},
        {"keys: {a: {algorithm: A256KW}}", "keys.a.credential: is missing"},
        {"keys: {a: {credential: x}}", "keys.a.algorithm: is missing"},
        {"keys: {a: {credential: x, algorithm: AES}}",
         "keys.a.algorithm: \"AES\" is not one of A128KW, A192KW, A256KW, RSA-OAEP, RSA-OAEP-256"},
        {"keys: {a: {credential: x/y, algorithm: A256KW}}", "keys.a.credential: must be the name of a systemd credential"},
        {"keys: {a: {credential: \"sas:y\", algorithm: A256KW}}", "keys.a.credential: must be the name of"},
        {"keys: {a: {credential: x, algorithm: A256KW, size: 1}}", "\"size\" is not a setting of keys.a"},
        {"keys: {\"a b\": {credential: x, algorithm: A256KW}}", "keys: has a name that is not one"},
        {"keys: [a]", "keys: must be a section"},
    };
    for (const auto& row : rows)
        EXPECT_THAT(mistakes(row.text), HasSubstr(row.sentence)) << row.text;
    EXPECT_EQ(mistakes("keys:\n"), "");
    EXPECT_THAT(mistakes("keys: {a: {credential: \"" + kAccountKey + "\", algorithm: A256KW}}"),
                testing::AllOf(HasSubstr("keys.a.credential: holds what looks like the secret"), Not(HasSubstr("Eby8"))));
}

TEST(EncryptionKeys, NamesAndNumbersHaveLimits) {
    const auto one = [](const std::string& name) {
        return mistakes("keys: {\"" + name + "\": {credential: x, algorithm: A256KW}}");
    };
    EXPECT_EQ(one("https://vault.example/keys/escrow/0123"), "");
    EXPECT_EQ(one(std::string(256, 'k')), "");
    EXPECT_THAT(one(std::string(257, 'k')), HasSubstr("keys: has a name that is not one"));
    const auto many = [](int count) {
        std::string text = "keys:\n";
        for (int i = 0; i < count; ++i)
            text += fmt::format("  k{}: {{credential: x, algorithm: A256KW}}\n", i);
        return mistakes(text);
    };
    EXPECT_EQ(many(64), "");
    EXPECT_THAT(many(65), HasSubstr("keys: has 65 keys; at most 64 are possible"));
}

}  // namespace
}  // namespace dray
