// SPDX-License-Identifier: Apache-2.0
//
// What a store behind a network takes while files can be opened and before there are threads: the trusted
// certificates, and libraries that load the rest of themselves at their first use.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.hpp"
#include "daemon/base/result.hpp"

namespace dray::transfer {

/// To whom connections go: the store, or the proxy before it.
struct Peer {
    std::string host;
    std::uint16_t port = 0;
};

/// Nothing for a store without a network. InvalidArgument: its URL is none.
Result<std::optional<Peer>> peer_of(const StoreConfig& store);

/// Denied: this process may have no sockets at all, whatever the box allows. One sentence that says how to mend it.
Result<void> check_network(const StoreConfig& store);

/// The certificates that the store's is checked with, PEM; empty where none is. NotFound, Denied: one sentence that
/// says how to mend it.
Result<std::string> read_certificates(const StoreConfig& store);

/// OpenSSL's configuration, libcurl, and with a peer the modules by which host names are looked up.
Result<void> warm_up(const std::optional<Peer>& peer);

}  // namespace dray::transfer
