// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a metadata file and as a properties file: refused as Corrupt, or values that can stand in a header, and
// what is written from them reads as the same again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "daemon/format/blob_properties.hpp"

namespace {

using dray::ErrorKind;

void need(bool holds) {
    if (!holds)
        std::abort();
}

template <typename Value>
bool is_refused(const dray::Result<Value>& result) {
    if (result)
        return false;
    need(result.error().kind() == ErrorKind::Corrupt && !result.error().text().empty());
    return true;
}

void look_at_value(const std::string& value) {
    need(std::ranges::none_of(value, [](char c) { return c == '\r' || c == '\n' || c == '\0'; }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto metadata = dray::format::read_metadata(text); !is_refused(metadata)) {
        for (const auto& [name, value] : *metadata) {
            need(!name.empty());
            look_at_value(value);
        }
        const auto again = dray::format::read_metadata(dray::format::write_metadata(*metadata));
        need(again.has_value() && *again == *metadata);
    }
    if (const auto properties = dray::format::read_properties(text); !is_refused(properties)) {
        const auto again = dray::format::read_properties(dray::format::write_properties(*properties));
        need(again.has_value());
        using File = dray::format::PropertiesFile;
        for (std::string File::*member : {&File::content_type, &File::content_md5, &File::content_encoding,
                                          &File::content_language, &File::cache_control}) {
            look_at_value((*properties).*member);
            need((*again).*member == (*properties).*member);
        }
    }
    return 0;
}
