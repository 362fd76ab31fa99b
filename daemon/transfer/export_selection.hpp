// SPDX-License-Identifier: Apache-2.0
//
// Finds the blobs of a selection in a store (azure-import-export.md 5.2 and 5.3), each once.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/format/blob_list.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::transfer {

/// What became of one entry of a selection.
struct SelectionOutcome {
    format::Selected entry;
    /// Another entry covers it: what it selects is counted there.
    bool is_duplicate = false;
    /// Blobs and snapshots that it selects; 0 unless is_duplicate: there is nothing of it.
    std::uint64_t blobs = 0;
    Bytes bytes = 0;
};

/// Which entries others cover. Pure. In the order of `selection`.
std::vector<SelectionOutcome> without_duplicates(const format::BlobSelection& selection);

/// Calls `visit` for each selected blob and snapshot once: containers and names of a prefix in order of name, byte by byte,
/// entries in that of the selection. What `visit` fails with ends it. Cancelled: `stop` was requested. Otherwise the store's errors, but for
/// what is not there: that is an outcome.
using VisitBlob = std::function<Result<void>(const store::BlobStatus& blob)>;
Result<std::vector<SelectionOutcome>> find_selected(store::BlobStore& store, const format::BlobSelection& selection,
                                                    const std::stop_token& stop, const VisitBlob& visit);

}  // namespace dray::transfer
