// SPDX-License-Identifier: Apache-2.0
//
// URLs of stores and proxies, as far as the configuration allows them: scheme, host, port, path. What has a secret's
// place in a URL (user, password, query) is refused, and no error repeats what was written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/result.hpp"

namespace dray {

struct Url {
    bool is_https = true;
    /// In lower case; an IPv6 address without its brackets.
    std::string host;
    std::uint16_t port = 443;
    bool has_port = false;
    /// Empty, or with a slash in front and none at its end.
    std::string path;

    /// As it may be shown.
    std::string text() const;
    bool is_address() const;
};

/// InvalidArgument: what is wrong, as the end of a sentence: "must begin with https://".
Result<Url> parse_url(std::string_view text);

}  // namespace dray
