// SPDX-License-Identifier: Apache-2.0
#include "config/url.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace dray {
namespace {

constexpr std::size_t kMaxHost = 253;
constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxUrl = 1024;

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string lower(std::string_view text) {
    std::string result(text);
    std::ranges::transform(result, result.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return result;
}

bool is_ipv6(const std::string& host) {
    in6_addr address{};
    return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_host_name(std::string_view host) {
    if (host.empty() || host.size() > kMaxHost)
        return false;
    while (!host.empty()) {
        const std::size_t dot = host.find('.');
        const std::string_view label = host.substr(0, dot);
        if (label.empty() || label.size() > kMaxLabel || label.front() == '-' || label.back() == '-' ||
            !std::ranges::all_of(label, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; }))
            return false;
        if (dot == std::string_view::npos)
            return true;
        host.remove_prefix(dot + 1);
    }
    return false;
}

/// "[...]" is an IPv6 address; everything else ends at the first colon.
std::pair<std::string_view, std::string_view> split_port(std::string_view authority) {
    const std::size_t from = authority.starts_with('[') ? std::min(authority.find(']'), authority.size()) : 0;
    const std::size_t colon = authority.find(':', from);
    if (colon == std::string_view::npos)
        return {authority, {}};
    return {authority.substr(0, colon), authority.substr(colon)};
}

Result<void> read_port(std::string_view text, Url& url) {
    if (text.empty())
        return {};
    text.remove_prefix(1);
    unsigned port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65'535)
        return fail(ErrorKind::InvalidArgument, "must have a port from 1 to 65535 after the colon");
    url.port = static_cast<std::uint16_t>(port);
    url.has_port = true;
    return {};
}

Result<void> read_host(std::string_view text, Url& url) {
    if (text.starts_with('[') && text.ends_with(']')) {
        url.host = lower(text.substr(1, text.size() - 2));
        if (is_ipv6(url.host))
            return {};
    }
    url.host = lower(text);
    if (!is_host_name(url.host))
        return fail(ErrorKind::InvalidArgument, "must have the name or address of a host after {}",
                    url.is_https ? "https://" : "http://");
    return {};
}

Result<void> read_path(std::string_view text, Url& url) {
    while (text.ends_with('/'))
        text.remove_suffix(1);
    if (!std::ranges::all_of(text, [](char c) {
            return is_letter_or_digit(c) || std::string_view("-._~/").find(c) != std::string_view::npos;
        }))
        return fail(ErrorKind::InvalidArgument, "may have letters, digits, \"-\", \".\", \"_\" and \"~\" in its path only");
    url.path = std::string(text);
    return {};
}

}  // namespace

std::string Url::text() const {
    std::string text = is_https ? "https://" : "http://";
    text += host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (has_port)
        text += ":" + std::to_string(port);
    return text + path;
}

bool Url::is_address() const {
    in_addr address{};
    return inet_pton(AF_INET, host.c_str(), &address) == 1 || is_ipv6(host);
}

Result<Url> parse_url(std::string_view text) {
    if (text.size() > kMaxUrl)
        return fail(ErrorKind::InvalidArgument, "has {} bytes, at most {} are possible", text.size(), kMaxUrl);
    Url url;
    const std::size_t colon = text.find("://");
    const std::string scheme = lower(text.substr(0, colon == std::string_view::npos ? 0 : colon));
    if (scheme != "https" && scheme != "http")
        return fail(ErrorKind::InvalidArgument, "must begin with https://");
    url.is_https = scheme == "https";
    url.port = url.is_https ? 443 : 80;
    text.remove_prefix(colon + 3);
    // Before all else, because what may be a secret is in these.
    const std::size_t slash = std::min(text.find_first_of("/?#"), text.size());
    if (text.substr(0, slash).find('@') != std::string_view::npos)
        return fail(ErrorKind::InvalidArgument, "must not have a user name or password in it");
    if (text.find_first_of("?#") != std::string_view::npos)
        return fail(ErrorKind::InvalidArgument,
                    "must end before \"?\" and \"#\"; a shared access signature goes into a credential file");
    const auto [host, port] = split_port(text.substr(0, slash));
    DRAY_TRY(read_host(host, url));
    DRAY_TRY(read_port(port, url));
    DRAY_TRY(read_path(text.substr(slash), url));
    return url;
}

}  // namespace dray
