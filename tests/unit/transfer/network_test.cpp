// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/network.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "daemon/confine/confine.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::transfer {
namespace {

StoreConfig azure(const std::string& endpoint) {
    StoreConfig store{.name = "blue", .type = "azure"};
    store.azure.endpoint = endpoint;
    return store;
}

TEST(Network, ConnectionsGoToTheStoreOrToTheProxyBeforeIt) {
    EXPECT_FALSE(peer_of({.name = "vault", .type = "directory", .path = "/srv/vault"}).value());
    StoreConfig store = azure("https://acme.blob.example");
    EXPECT_EQ(peer_of(store).value()->host, "acme.blob.example");
    EXPECT_EQ(peer_of(store).value()->port, 443);
    EXPECT_EQ(peer_of(azure("http://[::1]:10000/acme")).value()->port, 10'000);
    EXPECT_EQ(peer_of(azure("http://[::1]:10000/acme")).value()->host, "::1");
    store.azure.proxy = "http://proxy.example:3128";
    EXPECT_EQ(peer_of(store).value()->host, "proxy.example");
    EXPECT_EQ(peer_of(store).value()->port, 3128);
    const auto bad = peer_of(azure("https://"));
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_NE(bad.error().text().find("store \"blue\""), std::string::npos);
}

TEST(Network, TheTrustedCertificatesAreTheStoresOwnOrTheSystems) {
    const test::ScratchDirectory scratch;
    StoreConfig store = azure("https://acme.blob.example");
    store.azure.ca_file = scratch / "ca.pem";
    const auto missing = read_certificates(store);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind(), ErrorKind::NotFound);
    EXPECT_NE(missing.error().text().find(store.azure.ca_file), std::string::npos) << missing.error().text();
    EXPECT_NE(missing.error().text().find("stores.blue.ca-file"), std::string::npos) << missing.error().text();
    std::ofstream(store.azure.ca_file) << "a letter";
    EXPECT_EQ(read_certificates(store).error().kind(), ErrorKind::NotFound);
    std::ofstream(store.azure.ca_file) << "-----BEGIN CERTIFICATE-----\n";
    EXPECT_EQ(read_certificates(store).value(), "-----BEGIN CERTIFICATE-----\n");
    // 4 MiB are enough for everybody.
    std::string large = "-----BEGIN CERTIFICATE-----\n";
    large.resize(4 * kMiB, '\n');
    std::ofstream(store.azure.ca_file) << large;
    EXPECT_TRUE(read_certificates(store));
    std::ofstream(store.azure.ca_file) << large << '\n';
    EXPECT_EQ(read_certificates(store).error().kind(), ErrorKind::LimitReached);
}

TEST(Network, WithoutTlsNoCertificateIsAskedFor) {
    EXPECT_EQ(read_certificates(azure("http://127.0.0.1:10000/acme")).value(), "");
    EXPECT_EQ(read_certificates({.name = "vault", .type = "directory", .path = "/srv/vault"}).value(), "");
}

TEST(Network, AServiceWithoutSocketsIsSaidToBeOne) {
    const StoreConfig blue = azure("https://acme.blob.example");
    EXPECT_TRUE(check_network(blue));
    const pid_t child = fork();
    if (child == 0) {
        // As RestrictAddressFamilies= does it: the box of a directory store has no sockets either.
        if (!confine::drop_privileges() || !confine::box_transfer({}))
            _exit(1);
        const Result<void> checked = check_network(blue);
        const bool is_right = !checked && checked.error().kind() == ErrorKind::Denied &&
                              checked.error().text().find("systemctl edit drayd") != std::string::npos &&
                              check_network({.name = "vault", .type = "directory", .path = "/srv/vault"});
        _exit(is_right ? 42 : 2);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 42) << status;
}

TEST(Network, ANameThatNobodyKnowsHoldsNothingUp) {
    EXPECT_TRUE(warm_up(std::nullopt));
    EXPECT_TRUE(warm_up(Peer{"no-such-host.invalid", 443}));
}

}  // namespace
}  // namespace dray::transfer
