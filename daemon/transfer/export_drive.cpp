// SPDX-License-Identifier: Apache-2.0
//
// An export's talk with dray-drive: requests out, replies in, checkpoints.
#include <algorithm>
#include <utility>

#include "daemon/format/xml_text.hpp"
#include "daemon/transfer/export.hpp"

namespace dray::transfer {

std::string ExportProgress::text() const {
    std::string text = fmt::format("{}", generation);
    for (const auto& [file, index] : files)
        text += fmt::format(" {}={}", file, index);
    return text;
}

Result<ExportProgress> ExportProgress::parse(const std::string& text) {
    ExportProgress progress;
    std::size_t begin = 0;
    const auto number = [&](std::string_view digits) { return format::parse_number(digits); };
    bool is_first = true;
    while (begin <= text.size()) {
        const std::size_t end = std::min(text.find(' ', begin), text.size());
        const std::string_view word = std::string_view(text).substr(begin, end - begin);
        const std::size_t equals = word.find('=');
        const auto left = number(word.substr(0, equals));
        const auto right = equals == std::string_view::npos ? std::nullopt : number(word.substr(equals + 1));
        if (!left || right.has_value() == is_first || (!is_first && *left >= drive::kMaxFiles))
            return fail(ErrorKind::Corrupt, "the last checkpoint of the drive is none of an export");
        if (is_first)
            progress.generation = *left;
        else
            progress.files[static_cast<std::uint32_t>(*left)] = *right;
        is_first = false;
        begin = end + 1;
    }
    return progress;
}

void Export::ask(drive::Request request, Pending pending) {
    batch_.push_back(std::move(request));
    pending_.push_back(std::move(pending));
}

Result<void> Export::submit() {
    while (!batch_.empty()) {
        const std::size_t size = std::min(batch_.size(), drive::kMaxBatch);
        DRAY_TRY(drive_.submit(std::span(batch_).first(size)));
        batch_.erase(batch_.begin(), batch_.begin() + static_cast<std::ptrdiff_t>(size));
    }
    return {};
}

Result<void> Export::heard(const drive::Reply& reply) {
    if (std::holds_alternative<drive::CheckpointDue>(reply))
        return {};
    if (pending_.empty())
        return fail(ErrorKind::Internal, "dray-drive answered something that was not asked");
    const Pending pending = std::move(pending_.front());
    pending_.pop_front();
    if (pending.kind == Pending::Kind::Checkpoint && std::holds_alternative<drive::Checkpointed>(reply)) {
        is_checkpoint_out_ = false;
        return {};
    }
    if (const auto* failed = std::get_if<drive::Failed>(&reply))
        return answered(pending, failed->failure);
    if (!std::holds_alternative<drive::Done>(reply) || pending.kind == Pending::Kind::Checkpoint)
        return fail(ErrorKind::Internal, "dray-drive answered something that was not asked");
    return answered(pending, {});
}

Result<void> Export::answered(const Pending& pending, const std::optional<drive::Failure>& failure) {
    if (pending.extent)
        ring_.give_back(*pending.extent);
    Work* work = pending.work.get();
    if (work != nullptr)
        --work->asked;
    if (!failure) {
        if (pending.kind == Pending::Kind::Create)
            work->step = Step::Reading;
        if (pending.kind == Pending::Kind::Write) {
            written_ += pending.length;
            progress_.pieces_journaled += 1;
            count(*work, work->counted + pending.length);
        }
        return {};
    }
    const bool has_no_room = failure->kind == ErrorKind::NoSpace;
    const bool is_of_one = work != nullptr && (pending.kind == Pending::Kind::Create || pending.kind == Pending::Kind::Side);
    if (is_of_one && (has_no_room || work->has_no_room)) {
        // The write behind a side file that was not made fails as well.
        work->has_no_room = true;
        if (pending.kind == Pending::Kind::Create)
            work->is_on_drive = false;
        return {};
    }
    // Directories of an earlier run are there already; what is to be removed may never have been made.
    if (pending.kind == Pending::Kind::Directory &&
        (failure->kind == ErrorKind::Exists || failure->kind == ErrorKind::NotFound || has_no_room))
        return {};
    return fail(drive::to_error(*failure), "cannot write the drive");
}

bool Export::is_checkpoint_due() const {
    if (is_checkpoint_out_ || has_last_checkpoint_)
        return false;
    const bool has_news = !ended_.empty() || written_ != written_at_checkpoint_;
    return drive_.is_checkpoint_due() || written_ - written_at_checkpoint_ >= parts_.checkpoint_bytes ||
           (has_news && clock_.since_boot() - checkpoint_at_ >= parts_.checkpoint_every);
}

Result<void> Export::begin_checkpoint() {
    ExportProgress progress;
    std::vector<ExportPart> begun;
    for (const auto& [index, work] : works_) {
        if (!work->is_on_drive)
            continue;
        progress.files[work->file] = index;
        const auto end = std::ranges::find(work->is_written, false);
        const auto count_of = static_cast<std::size_t>(end - work->is_written.begin());
        ExportPart part{index, "", {work->hashes.begin(), work->hashes.begin() + static_cast<std::ptrdiff_t>(count_of)}};
        // A snapshot of ours is gone when this process is: such a blob begins anew.
        if ((work->step == Step::Reading || work->step == Step::Ending) && !work->has_changed && !work->is_our_snapshot)
            part.etag = work->status.etag;
        for (const auto* side : {&work->properties, &work->metadata})
            if (*side) {
                DRAY_LET(std::string path, format::to_lookup_path((*side)->path));
                part.sides.push_back(std::move(path));
            }
        begun.push_back(std::move(part));
    }
    DRAY_LET(progress.generation, journal_.commit(ended_, begun));
    ended_.clear();
    ask(drive::Checkpoint{progress.text()}, {Pending::Kind::Checkpoint, nullptr, {}, 0});
    is_checkpoint_out_ = true;
    checkpoint_at_ = clock_.since_boot();
    written_at_checkpoint_ = written_;
    return submit();
}

}  // namespace dray::transfer
