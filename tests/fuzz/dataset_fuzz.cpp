// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a dataset and as a drive set: refused by what is wrong with them, or rows that are as the rules have it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/format/csv.hpp"
#include "daemon/format/dataset.hpp"

namespace {

using dray::ErrorKind;

void need(bool holds) {
    if (!holds)
        std::abort();
}

bool is_refusal(const dray::Error& error) {
    return error.kind() == ErrorKind::InvalidArgument || error.kind() == ErrorKind::Unsupported ||
           error.kind() == ErrorKind::LimitReached;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto table = dray::format::parse_csv(text);
    need(table || is_refusal(table.error()));
    if (const auto rows = dray::format::read_dataset(text); !rows)
        need(is_refusal(rows.error()));
    else
        for (const auto& row : *rows)
            need(row.base_path.starts_with('/') && row.is_directory() == row.destination.ends_with('/'));
    if (const auto rows = dray::format::read_driveset(text); !rows)
        need(is_refusal(rows.error()));
    else
        for (const auto& row : *rows)
            need(row.path.starts_with('/'));
    return 0;
}
