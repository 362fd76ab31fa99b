// SPDX-License-Identifier: Apache-2.0
//
// HTTP over libcurl: one attempt at one request. Connections are kept and lent to whoever asks; any number of
// threads.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <cstddef>
#include <expected>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::store::http {

struct HttpSettings {
    /// PEM; https works with these certificates alone.
    std::string certificates;
    /// http://HOST:PORT, "" for none; the environment's proxies are never used.
    std::string proxy;
    Microseconds connect_timeout = std::chrono::seconds(10);
    /// A request that moves less than 1 KiB/s for so long is given up; there is no limit on the whole.
    Microseconds stall_timeout = std::chrono::seconds(60);
};

struct HttpRequest {
    std::string method;
    /// Percent-encoded, sent as it is.
    std::string url;
    /// "Name: value"; "Name;" for an empty value.
    std::vector<std::string> headers;
    /// Must stay as it is until send() returns.
    std::span<const std::byte> body{};
    /// Where the body of an answer 200 or 206 goes; all other bodies go to HttpAnswer::body.
    std::span<std::byte> into{};
};

struct HttpAnswer {
    int status = 0;
    /// Names in lower case.
    std::map<std::string, std::string> headers;
    /// The same names as they were sent.
    std::map<std::string, std::string> names;
    /// At most 32 MiB.
    std::string body;
    /// Bytes of the body that went to HttpRequest::into.
    std::size_t received = 0;
    /// More than 1: a kept connection turned out to be closed, and it was sent anew; the first may have been heard.
    unsigned sends = 1;

    /// "" where it is not there.
    const std::string& header(const std::string& name) const;
};

/// The request got no answer, or half of one.
struct NoAnswer {
    Error error;
    /// Whether another try may help: not where the certificate is not trusted, or the caller has stopped it.
    bool may_retry = false;
};

class HttpClient {
public:
    explicit HttpClient(HttpSettings settings);
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;
    ~HttpClient();

    /// Blocks. `stop` is heeded within a second (Cancelled).
    std::expected<HttpAnswer, NoAnswer> send(const HttpRequest& request, const std::stop_token& stop);

private:
    struct Connections;
    std::unique_ptr<Connections> connections_;
};

}  // namespace dray::store::http, NOLINTEND(readability-redundant-member-init)
