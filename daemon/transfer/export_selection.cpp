// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/export_selection.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace dray::transfer {
namespace {

constexpr std::size_t kPage = 5000;
/// A blob's name comes first among those that begin with it, side by side with its snapshots.
constexpr std::size_t kSmallPage = 50;

bool is_prefix_of(std::string_view prefix, std::string_view text) { return text.starts_with(prefix); }

/// The shortest prefixes, none of which begins with another: each covers all that begin with it.
std::vector<std::string> shortest(const format::BlobSelection& selection) {
    std::vector<std::string> prefixes;
    for (const format::Selected& entry : selection)
        if (entry.is_prefix())
            prefixes.push_back(entry.text);
    std::ranges::sort(prefixes);
    std::vector<std::string> kept;
    for (std::string& prefix : prefixes)
        if (kept.empty() || !is_prefix_of(kept.back(), prefix))
            kept.push_back(std::move(prefix));
    return kept;
}

/// Sorted, and none begins with another: only the one before it can cover a text.
bool covers(const std::vector<std::string>& prefixes, const std::string& text) {
    const auto after = std::ranges::upper_bound(prefixes, text);
    return after != prefixes.begin() && is_prefix_of(*std::prev(after), text);
}

class Finder {
public:
    Finder(store::BlobStore& store, const std::stop_token& stop, const VisitBlob& visit)
        : store_(store), stop_(stop), visit_(visit) {}

    Result<void> find(SelectionOutcome& outcome) {
        outcome_ = &outcome;
        const format::Selected& entry = outcome.entry;
        if (entry.is_prefix())
            return find_prefix(std::string_view(entry.text).substr(1));
        const Result<BlobName> name = parse_blob_path(entry.text);
        if (!name)
            return {};  // no blob has such a name
        if (entry.with_snapshots)
            return absent_is_nothing(find_with_snapshots(*name));
        BlobName wanted = *name;
        wanted.snapshot = entry.snapshot;
        Result<store::BlobStatus> status = store_.stat(wanted);
        if (!status)
            return absent_is_nothing(fail(std::move(status.error())));
        return take(*status);
    }

private:
    static Result<void> absent_is_nothing(Result<void> result) {
        if (!result && result.error().kind() == ErrorKind::NotFound)
            return {};
        return result;
    }

    Result<void> find_prefix(std::string_view prefix) {
        const std::size_t slash = prefix.find('/');
        if (slash != std::string_view::npos) {
            const std::string container(prefix.substr(0, slash));
            if (!check_container(container))
                return {};
            return absent_is_nothing(find_in(container, std::string(prefix.substr(slash + 1))));
        }
        DRAY_LET(const std::vector<std::string> containers, store_.containers());
        for (const std::string& container : containers)
            // It may have gone meanwhile.
            if (is_prefix_of(prefix, container))
                DRAY_TRY(absent_is_nothing(find_in(container, "")));
        return {};
    }

    Result<void> find_in(const std::string& container, const std::string& prefix) {
        std::string marker;
        do {
            DRAY_LET(store::ListPage page, store_.list_with_snapshots(container, prefix, marker, kPage));
            for (const store::BlobStatus& blob : page.blobs)
                DRAY_TRY(take(blob));
            marker = std::move(page.marker);
        } while (!marker.empty());
        return {};
    }

    Result<void> find_with_snapshots(const BlobName& name) {
        std::string marker;
        do {
            DRAY_LET(store::ListPage page, store_.list_with_snapshots(name.container, name.name, marker, kSmallPage));
            for (const store::BlobStatus& blob : page.blobs) {
                if (blob.name.name != name.name)
                    return {};
                DRAY_TRY(take(blob));
            }
            marker = std::move(page.marker);
        } while (!marker.empty());
        return {};
    }

    Result<void> take(const store::BlobStatus& blob) {
        if (stop_.stop_requested())
            return fail(ErrorKind::Cancelled, "looking for blobs was stopped");
        ++outcome_->blobs;
        outcome_->bytes += blob.length;
        return visit_(blob);
    }

    store::BlobStore& store_;
    const std::stop_token& stop_;
    const VisitBlob& visit_;
    SelectionOutcome* outcome_ = nullptr;
};

}  // namespace

std::vector<SelectionOutcome> without_duplicates(const format::BlobSelection& selection) {
    const std::vector<std::string> prefixes = shortest(selection);
    // Of each path and each prefix that is kept: which forms have been seen; a path with its snapshots covers all of them.
    std::map<std::string, bool> has_all;
    for (const format::Selected& entry : selection)
        if (!entry.is_prefix())
            has_all[entry.text] = has_all[entry.text] || entry.with_snapshots;
    std::map<std::string, bool> seen;
    std::vector<SelectionOutcome> outcomes;
    outcomes.reserve(selection.size());
    for (const format::Selected& entry : selection) {
        const bool is_path = !entry.is_prefix();
        const bool is_covered = is_path ? covers(prefixes, "/" + entry.text)
                                        : !std::ranges::binary_search(prefixes, entry.text);
        const bool is_part = is_path && !entry.with_snapshots && has_all[entry.text];
        const std::string form = entry.text + '\n' + (is_path && !entry.with_snapshots ? "1" + entry.snapshot : "");
        const bool is_repeated = std::exchange(seen[form], true);
        outcomes.push_back({entry, is_covered || is_part || is_repeated});
    }
    return outcomes;
}

Result<std::vector<SelectionOutcome>> find_selected(store::BlobStore& store, const format::BlobSelection& selection,
                                                    const std::stop_token& stop, const VisitBlob& visit) {
    std::vector<SelectionOutcome> outcomes = without_duplicates(selection);
    Finder finder(store, stop, visit);
    for (SelectionOutcome& outcome : outcomes)
        if (!outcome.is_duplicate)
            DRAY_TRY(finder.find(outcome));
    return outcomes;
}

}  // namespace dray::transfer
