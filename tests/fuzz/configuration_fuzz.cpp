// SPDX-License-Identifier: Apache-2.0
//
// Any text as dray.yaml: it is a configuration, or refused as InvalidArgument with a line for each mistake.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "config/loader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const dray::Result<dray::Config> config = dray::parse_config(text, "dray.yaml");
    if (!config && (config.error().kind() != dray::ErrorKind::InvalidArgument || config.error().text().empty()))
        std::abort();
    return 0;
}
