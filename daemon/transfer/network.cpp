// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/network.hpp"

#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <resolv.h>
#include <sys/socket.h>

#include <cerrno>

#include "config/url.hpp"
#include "daemon/base/file.hpp"

namespace dray::transfer {
namespace {

constexpr const char* kSystemCertificates = "/etc/ssl/certs/ca-certificates.crt";
/// A system's bundle has a quarter of a megabyte.
constexpr Bytes kMaxCertificates = 4 * kMiB;

bool has_network(const StoreConfig& store) { return !store.azure.endpoint.empty(); }

/// The answer does not matter, and a name server that is silent must not hold us up: one try of a second each.
void look_up(const std::string& host) {
    if (res_init() == 0) {
        _res.retrans = 1;
        _res.retry = 1;
        _res.options &= ~static_cast<unsigned long>(RES_DEFNAMES | RES_DNSRCH);
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(host.c_str(), nullptr, &hints, &found) == 0)
        freeaddrinfo(found);
}

}  // namespace

Result<std::optional<Peer>> peer_of(const StoreConfig& store) {
    if (!has_network(store))
        return std::nullopt;
    Result<Url> url = parse_url(store.azure.proxy.empty() ? store.azure.endpoint : store.azure.proxy);
    if (!url)
        return fail(ErrorKind::InvalidArgument, "store \"{}\": its {} {}", store.name,
                    store.azure.proxy.empty() ? "endpoint" : "proxy", url.error().text());
    return Peer{std::move(url->host), url->port};
}

// As the unit that is shipped has it, for sites whose stores are directories. Looking a name up would fail, and point
// to the wrong place.
Result<void> check_network(const StoreConfig& store) {
    if (!has_network(store))
        return {};
    for (const int family : {AF_INET, AF_INET6})
        if (FileDescriptor(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)))
            return {};
    return fail(ErrorKind::Denied,
                "store \"{}\": drayd's service may not use the network ({}); run: systemctl edit drayd, and add [Service] "
                "RestrictAddressFamilies=AF_INET AF_INET6 and IPAddressDeny= as its note says",
                store.name, errno_text(errno));
}

Result<std::string> read_certificates(const StoreConfig& store) {
    const std::string& own = store.azure.ca_file;
    if (!has_network(store) || (own.empty() && !store.azure.endpoint.starts_with("https:")))
        return "";
    const std::string how = own.empty() ? "install the package ca-certificates, or set stores." + store.name + ".ca-file"
                                        : "correct stores." + store.name + ".ca-file";
    Result<std::string> text = read_file(own.empty() ? kSystemCertificates : own, kMaxCertificates);
    if (!text)
        return fail(text.error().kind(), "store \"{}\": the trusted certificates cannot be read, {}; {}", store.name,
                    text.error().text(), how);
    if (text->find("-----BEGIN") == std::string::npos)
        return fail(ErrorKind::NotFound, "store \"{}\": there is no certificate in {} (PEM is expected); {}", store.name,
                    own.empty() ? kSystemCertificates : own, how);
    return text;
}

Result<void> warm_up(const std::optional<Peer>& peer) {
    // Its configuration is read at the first fetch.
    EVP_MD_free(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    if (!peer)
        return {};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return fail(ErrorKind::Internal, "libcurl cannot be made ready");
    look_up(peer->host);
    return {};
}

}  // namespace dray::transfer
