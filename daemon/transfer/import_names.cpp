// SPDX-License-Identifier: Apache-2.0
//
// Import's names: looked up on lanes ahead of a blob's turn, reserved in document order and journaled (rules.md 15),
// published under; and what is done when somebody else was faster.
#include <algorithm>
#include <utility>

#include "daemon/transfer/import.hpp"

namespace dray::transfer {
namespace {

using format::BlobOutcome;
using format::Disposition;
using format::PieceOutcome;
using format::SideFileOutcome;

constexpr std::size_t kMaxNumbers = 10'000;

}  // namespace

std::shared_ptr<Import::Lookup> Import::look_up(const BlobWork& work, unsigned number) {
    auto lookup = std::make_shared<Lookup>();
    lanes_.add([this, lookup, number, path = work.blob.blob_path,
                may_rename = work.blob.disposition == Disposition::Rename]() -> Lanes::Conclusion {
        Result<Found> found = fail(ErrorKind::Internal, "no name");
        try {
            found = find_name(path, number, may_rename);
        } catch (const std::exception& exception) {
            found = fail(ErrorKind::Internal, "unexpected: {}", exception.what());
        }
        return [lookup, found = std::move(found)] { lookup->found = found; };
    });
    return lookup;
}

// On a lane. The first name of the rename rule, from `number` on, that the store does not have. Exists: there is none.
Result<Import::Found> Import::find_name(const std::string& path, unsigned number, bool may_rename) {
    DRAY_LET(const BlobName first, parse_blob_path(path));
    for (;; ++number) {
        if (control_.is_stopping() || control_.is_draining_to(DrainMode::Piece))
            return fail(ErrorKind::Cancelled, "no further name is tried");
        Result<BlobName> name = number == 1 ? first : renamed(first, number);
        if (!name)
            return fail(ErrorKind::Exists, "{}", name.error().text());
        const Result<store::BlobStatus> taken = store_.stat(*name);
        if (!taken && taken.error().kind() == ErrorKind::NotFound)
            return Found{number, *std::move(name)};
        if (!taken)
            return fail(Error(taken.error()));
        if (!may_rename)
            return fail(ErrorKind::Exists, "there is a blob {} already", path);
    }
}

unsigned Import::first_number(const BlobWork& work) const {
    const auto known = numbers_.find(work.blob.blob_path);
    return known == numbers_.end() ? 1 : known->second + 1;
}

// The turn of the first blob that waits. False: it has to wait on, for a name that is in use or for another look.
bool Import::hold_names(Awaited& first) {
    BlobWork& work = *first.work;
    const std::string& path = work.blob.blob_path;
    if (names_.has(path))
        return false;
    if (first.lookup && first.lookup->is_stale) {
        first.lookup = look_up(work, first_number(work));
        return false;
    }
    std::string wanted = path;
    const bool is_rename = work.blob.disposition == Disposition::Rename;
    const Found* found = is_rename && first.lookup && *first.lookup->found ? &**first.lookup->found : nullptr;
    if (is_rename) {
        if (found != nullptr)
            wanted = found->name.path();
        else if (!first.lookup)
            wanted = work.name.path();  // reserved by an earlier run
        if (wanted != path && !names_.take(wanted)) {
            first.lookup = look_up(work, found != nullptr ? found->number + 1 : 1);
            return false;
        }
    }
    // A lane that went on to the next number may have been faster, with just this name.
    if (!names_.take(path)) {
        if (wanted != path)
            names_.give_back(wanted);
        return false;
    }
    if (found != nullptr)
        reserve(work, *found);
    work.held_names = {path};
    if (wanted != path)
        work.held_names.push_back(std::move(wanted));
    return true;
}

void Import::reserve(BlobWork& work, const Found& found) {
    work.name = found.name;
    work.number = found.number;
    work.reservation = journal_.record_reservation(work.index, work.name.path());
}

// On a lane, when somebody outside was given the reserved name after all.
Result<void> Import::reserve_next(BlobWork& work) {
    for (unsigned number = work.number + 1;; ++number) {
        DRAY_LET(const Found found, find_name(work.blob.blob_path, number, true));
        number = found.number;
        if (!names_.take(found.name.path()))
            continue;
        work.held_names.push_back(found.name.path());
        reserve(work, found);
        return {};
    }
}

void Import::release_names(BlobWork& work) {
    const std::vector<std::string> names = std::exchange(work.held_names, {});
    const auto held = [&](const std::string& path) { return std::ranges::find(names, path) != names.end(); };
    for (const std::string& name : names)
        names_.give_back(name);
    for (const Awaited& awaited : awaited_) {
        if (!awaited.lookup)
            continue;
        const auto& found = awaited.lookup->found;
        if (held(awaited.work->blob.blob_path) || (found && *found && held((*found)->name.path())) ||
            (!found && names.size() > 1))
            awaited.lookup->is_stale = true;
    }
}

// On a lane. Publishes under the name that is reserved, and for the disposition `rename` under the next free one when
// that was taken in the meantime.
Import::Published Import::publish(BlobWork& work, const Commit& commit) {
    Published published{fail(ErrorKind::Internal, "not published"), false};
    for (;;) {
        published.result = guarded(work, [&]() -> Result<void> {
            if (work.blob.disposition == Disposition::Overwrite)
                published.has_replaced = store_.stat(work.name).has_value();
            DRAY_TRY(journal_.record_intent(work.index, work.name.path(), published.has_replaced));
            return commit_once(work, commit);
        });
        if (published.result || published.result.error().kind() != ErrorKind::Exists ||
            work.blob.disposition != Disposition::Rename)
            return published;
        if (Result<void> next = guarded(work, [&] { return reserve_next(work); }); !next) {
            published.result = std::move(next);
            return published;
        }
    }
}

// What the store does not take may be the properties or the metadata alone; then the content goes without them, as
// where their files are bad.
Result<void> Import::commit_once(BlobWork& work, const Commit& commit) {
    Result<void> done = commit(work.properties, work.metadata);
    const bool is_bare = work.properties == store::BlobProperties() && work.metadata.empty();
    if (done || done.error().kind() != ErrorKind::InvalidArgument || is_bare)
        return done;
    // What is wrong beside them is what counts: the name is taken, the store is gone.
    if (Result<void> bare = commit({}, {}); !bare)
        return bare.error().kind() == ErrorKind::InvalidArgument ? done : bare;
    went_bare(work);
    return {};
}

void Import::went_bare(BlobWork& work) {
    for (auto* outcome : {&work.metadata_outcome, &work.properties_outcome})
        if (*outcome == SideFileOutcome::Completed)
            *outcome = SideFileOutcome::BlobRequestFailed;
}

// Back from the lane.
void Import::published(BlobWork& work, const Published& published) {
    --work.outstanding;
    work.is_finishing = false;
    const Disposition disposition = work.blob.disposition;
    if (published.result) {
        if (work.number > 1) {
            if (numbers_.size() >= kMaxNumbers)
                numbers_.clear();
            numbers_[work.blob.blob_path] = work.number;
        }
        BlobRecord record = record_of(work, work.has_bad_piece() ? BlobOutcome::CompletedWithErrors
                                                                 : BlobOutcome::Completed, true);
        record.disposition = work.disposition_outcome(published.has_replaced);
        return conclude(work, std::move(record));
    }
    const Error& error = published.result.error();
    if (error.kind() == ErrorKind::Exists && disposition == Disposition::NoOverwrite)
        return give_up(work, record_of_skipped(work));
    if (error.kind() == ErrorKind::Exists && disposition == Disposition::Rename)
        return give_up(work, record_of(work, format::BlobOutcome::RenameFailed));
    if (error.kind() == ErrorKind::Corrupt && !work.writer)
        return;  // its piece says so
    store_failed(work, error);
    if (fault_)
        return;
    for (std::size_t piece = 0; piece < work.pieces.size(); ++piece)
        if (!work.pieces[piece])
            piece_done(work, piece, work.has_thrown ? PieceOutcome::Failed : PieceOutcome::BlobRequestFailed);
    // Without a refusal the pieces are there, and no list that holds them.
    give_up(work, record_of(work, work.refusal.value_or(BlobOutcome::CompletedWithErrors)));
}

}  // namespace dray::transfer
