// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/cluster/cluster_directory.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "drivers/filesystem/cluster/name_text.hpp"

namespace dray::fs {
namespace {

/// What is read at once: where it cannot be read, no more than this is lost.
constexpr std::size_t kBite = 512;
/// More than so many bites that cannot be read are taken for the whole directory: a look at each may take a disk
/// minutes.
constexpr int kMostBadBites = 16;
/// So many entries are read for one name at most. More than one have its hash by chance, or because the same
/// name is there again and again.
constexpr int kMostLookedAt = 16;

class Visit {
public:
    Visit(ClusterFile& directory, const DirectoryRules& rules, const std::function<bool(const FoundFile&)>& visit)
        : directory_(directory), parser_(rules.parser()), visit_(visit) {}

    Result<void> run(Bytes place) {
        while (place < directory_.size() && !is_over_) {
            const Bytes end = std::min(directory_.size(), place / kBite * kBite + kBite);
            const std::span<std::byte> bite = std::span(bite_).first(static_cast<std::size_t>(end - place));
            if (Result<void> read = directory_.read_cached(place, bite); !read) {
                remember(parser_->gap(), place);
                if (++bad_bites_ > kMostBadBites || read.error().kind() == ErrorKind::Gone)
                    return read;
                if (!first_)
                    first_ = std::move(read.error());
            } else {
                DRAY_TRY(take(bite, place));
            }
            place = end;
        }
        if (!is_over_)
            remember(parser_->gap(), place);
        return first_ && !is_enough_ ? fail(*std::move(first_)) : Result<void>();
    }

private:
    void remember(EntryParser::Step step, Bytes place) {
        if (step == EntryParser::Step::Damaged && !first_)
            first_ = Error(ErrorKind::Corrupt, fmt::format("a directory is damaged before its byte {}", place));
    }

    Result<void> take(std::span<const std::byte> bite, Bytes place) {
        for (; bite.size() >= kEntry && !is_over_; bite = bite.subspan(kEntry), place += kEntry) {
            const EntryParser::Step step = parser_->take(bite.first<kEntry>(), place);
            remember(step, place + kEntry);
            if (step == EntryParser::Step::Found)
                DRAY_TRY(found());
            if (step == EntryParser::Step::End) {
                remember(parser_->gap(), place);
                is_over_ = true;
            }
        }
        return {};
    }

    Result<void> found() {
        FoundFile file{parser_->name(), parser_->record(), parser_->first_place()};
        DRAY_LET(const Bytes on_volume, directory_.place_of(parser_->record_place()));
        file.record.inode = on_volume / kEntry;
        if (!visit_(file)) {
            is_over_ = true;
            is_enough_ = true;
        }
        return {};
    }

    ClusterFile& directory_;
    std::unique_ptr<EntryParser> parser_;
    const std::function<bool(const FoundFile&)>& visit_;
    std::array<std::byte, kBite> bite_{};
    std::optional<Error> first_;
    int bad_bites_ = 0;
    bool is_over_ = false;
    bool is_enough_ = false;
};

std::string_view bytes_of(std::u16string_view name) {
    return {reinterpret_cast<const char*>(name.data()), name.size() * sizeof(char16_t)};
}

}  // namespace

Result<void> visit_directory(ClusterFile& directory, const DirectoryRules& rules, Bytes place,
                             const std::function<bool(const FoundFile&)>& visit) {
    return Visit(directory, rules, visit).run(place);
}

std::uint64_t ClusterDirectory::hash(std::u16string_view name) const { return name_hash(key_, bytes_of(name)); }

Result<ClusterDirectory> ClusterDirectory::build(ClusterFile directory, const DirectoryRules& rules,
                                                 const HashKey& key) {
    ClusterDirectory index(std::move(directory), rules, key);
    if (Result<void> measured = index.directory_.measure(rules.most_directory()); !measured) {
        if (measured.error().kind() == ErrorKind::LimitReached)
            return fail(std::move(measured.error()));
        index.chain_damage_ = std::move(measured.error());
    }
    Result<void> visited = visit_directory(index.directory_, rules, 0, [&index](const FoundFile& file) {
        index.entries_.push_back({index.hash(index.rules_->folded(file.name)),
                                  static_cast<std::uint32_t>(index.hash(file.name)),
                                  static_cast<std::uint32_t>(file.place)});
        return true;
    });
    index.damage_ = visited ? index.chain_damage_ : std::move(visited.error());
    if (index.damage_ && index.damage_->kind() == ErrorKind::Gone)
        return fail(*index.damage_);
    index.entries_.shrink_to_fit();
    std::sort(index.entries_.begin(), index.entries_.end(), [](const Entry& left, const Entry& right) {
        return std::tie(left.folded, left.exact, left.place) < std::tie(right.folded, right.exact, right.place);
    });
    return index;
}

Result<std::optional<FileRecord>> ClusterDirectory::look_at(Bytes place, std::u16string_view name, bool is_exact) {
    std::optional<FileRecord> record;
    bool is_seen = false;
    Result<void> visited = visit_directory(directory_, *rules_, place, [&](const FoundFile& file) {
        is_seen = true;
        if (is_exact ? file.name == name : rules_->folded(file.name) == rules_->folded(name))
            record = file.record;
        return false;
    });
    if (!visited && !is_seen)
        return fail(std::move(visited.error()));
    return record;
}

Result<FileRecord> ClusterDirectory::find(std::string_view name) {
    const auto not_found = [] { return fail(ErrorKind::NotFound, "there is no such file"); };
    const std::u16string wanted = utf16_of(name);
    const auto [first, last] =
        std::equal_range(entries_.begin(), entries_.end(), Entry{hash(rules_->folded(wanted))},
                         [](const Entry& left, const Entry& right) { return left.folded < right.folded; });
    const auto exact = static_cast<std::uint32_t>(hash(wanted));
    auto entry = std::lower_bound(first, last, exact,
                                  [](const Entry& left, std::uint32_t value) { return left.exact < value; });
    for (int looked_at = 0; entry != last && entry->exact == exact && looked_at < kMostLookedAt;
         ++entry, ++looked_at) {
        DRAY_LET(const std::optional<FileRecord> record, look_at(entry->place, wanted, true));
        if (record)
            return *record;
    }
    if (damage_)
        return fail(*damage_);
    if (first == last)
        return not_found();
    if (last - first > 1)
        return fail(ErrorKind::NotFound, "there is no such file, but {} that differ in upper and lower case",
                    last - first);
    DRAY_LET(const std::optional<FileRecord> record, look_at(first->place, wanted, false));
    if (!record)
        return not_found();
    return *record;
}

}  // namespace dray::fs
