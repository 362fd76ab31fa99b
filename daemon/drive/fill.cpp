// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/fill.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "drivers/filesystem/ext4/ext4_writer.hpp"
#include "drivers/volume/luks/luks_format.hpp"
#include "drivers/volume/luks/luks_volume.hpp"
#include "drivers/volume/signature.hpp"

namespace dray::drive {

namespace {

/// What lies one behind the other goes to the device in one write up to this long.
constexpr std::size_t kLongestRun = kMiB;

Result<FirstBlock> look_at_first_block(volume::LuksVolume& volume) {
    std::vector<std::byte> block(FillState::kBlock);
    DRAY_TRY(volume.read_encrypted(0, block));
    return first_block_of(block);
}

/// Whether it is one of the two, or was torn between them.
bool is_between(const FirstBlock& block, const FirstBlock& one, const FirstBlock& other) {
    for (std::size_t i = 0; i < block.size(); ++i)
        if (block[i] != one[i] && block[i] != other[i])
            return false;
    return true;
}

Result<void> put_in_place(volume::LuksVolume& volume, const FillState::Blocks& blocks) {
    std::vector<std::byte> run;
    for (auto block = blocks.begin(); block != blocks.end();) {
        const std::uint64_t first = block->first;
        run.clear();
        for (; block != blocks.end() && block->first == first + run.size() / FillState::kBlock &&
               run.size() < kLongestRun;
             ++block)
            run.insert(run.end(), block->second.begin(), block->second.end());
        DRAY_TRY(volume.write_encrypted(first * FillState::kBlock, run));
    }
    return volume.sync();
}

}  // namespace

struct Filler::State {
    explicit State(volume::DeviceFile& on) : device(on) {}

    volume::DeviceFile& device;
    volume::VolumeIdentity identity;
    /// Waits in memory, or in the state file: until it is written, the device holds nothing that anybody could open.
    FileDescriptor header;
    std::unique_ptr<volume::LuksVolume> volume;
    std::unique_ptr<fs::Ext4Writer> filesystem;
    std::array<std::optional<fs::NewFile>, kMaxFiles> files;
    /// With checkpoints: where they are kept, and the last one; number 0 stands for none.
    std::optional<FillState> kept;
    FillRecord record;
    /// After what went wrong in Close, which has no answer, or half-way, nothing good can come.
    std::optional<Error> failed;

    Result<void> check() const {
        if (failed)
            return fail(*failed);
        if (!filesystem)
            return fail(ErrorKind::InvalidArgument, "the drive is finished already");
        return {};
    }

    FillRecord next_record(std::string progress, bool is_finished) const {
        FillRecord next = record;
        ++next.sequence;
        next.is_finished = is_finished;
        next.goal = filesystem->goal();
        next.progress = std::move(progress);
        next.first_block_before = record.first_block;
        next.files.clear();
        for (std::uint32_t number = 0; number < kMaxFiles; ++number)
            if (const std::optional<fs::NewFile>& file = files[number])
                next.files.push_back({number, file->inode(), file->size(), file->written()});
        return next;
    }

    Result<void> write_header() const {
        return header ? volume::write_luks_header(device, header)
                      : volume::write_luks_header(device, kept->file(), FillState::kHeaderPlace);
    }

    /// Until it is whole there is nothing to go on from, and so it needs no log.
    Result<void> take_first(FillRecord& next) {
        DRAY_TRY(filesystem->begin_checkpoints());
        if (next.is_header_last)
            DRAY_TRY(kept->keep_header(header));
        else
            DRAY_TRY(write_header());
        DRAY_LET(next.first_block, look_at_first_block(*volume));
        next.first_block_before = next.first_block;
        return kept->write_checkpoint(next);
    }

    Result<Bytes> take(FillRecord& next) {
        DRAY_LET(fs::MetadataCache::Blocks* const blocks, filesystem->collect(next.is_finished));
        for (auto& [number, content] : *blocks)
            DRAY_TRY(volume->encrypt(number * FillState::kBlock, content));
        if (const auto first = blocks->find(0); first != blocks->end())
            next.first_block = first_block_of(first->second);
        DRAY_LET(const Bytes logged, kept->write_log(next, *blocks));
        DRAY_TRY(put_in_place(*volume, *blocks));
        DRAY_TRY(kept->write_checkpoint(next));
        filesystem->settle();
        return logged;
    }

    Result<Bytes> checkpoint(std::string progress, bool is_finished) {
        FillRecord next = next_record(std::move(progress), is_finished);
        // The one thing that may be done again.
        DRAY_TRY(FillState::check(next));
        Result<Bytes> taken = Bytes{0};
        if (next.sequence != 1)
            taken = take(next);
        else if (Result<void> first = take_first(next); !first)
            taken = fail(std::move(first.error()));
        if (taken)
            record = std::move(next);
        else
            failed = Error(Error(taken.error()), "a checkpoint was left half-way");
        return taken;
    }

    Result<void> finish_with_checkpoints() {
        if (record.sequence == 0)
            DRAY_TRY(checkpoint({}, false));
        DRAY_TRY(checkpoint(record.progress, true));
        return record.is_header_last ? write_header() : Result<void>();
    }

    Result<void> finish_at_once() {
        DRAY_TRY(filesystem->finish());
        return write_header();
    }

    /// After the redo log, if there is one, and the look whether it is the same device.
    Result<void> go_on(bool is_logged) {
        DRAY_LET(FirstBlock first, look_at_first_block(*volume));
        if (!is_between(first, record.first_block, is_logged ? record.first_block_before : record.first_block))
            return fail(ErrorKind::Conflict, "the drive is not as it was at the last checkpoint: it is another one, or "
                                             "somebody has changed it since");
        if (is_logged) {
            DRAY_TRY(kept->replay(device, volume::kNewDataOffset, record));
            DRAY_TRY(kept->write_checkpoint(record));
            DRAY_LET(first, look_at_first_block(*volume));
            if (first != record.first_block)
                return fail(ErrorKind::Corrupt, "the redo log did not bring the drive to its last checkpoint");
        }
        if (record.is_finished)
            return record.is_header_last ? write_header() : Result<void>();
        DRAY_LET(filesystem, fs::Ext4Writer::resume(*volume, record.goal));
        for (const FillFile& file : record.files) {
            DRAY_LET(files[file.number], filesystem->reopen(file.inode, file.size, file.written));
        }
        return {};
    }
};

namespace {

/// Exists: there is something on it that somebody may want.
Result<void> check_empty(volume::DeviceFile& device) {
    DRAY_LET(const volume::Signature signature, volume::read_signature(device));
    if (signature != volume::Signature::Nothing)
        return fail(ErrorKind::Exists, "the device holds {}", volume::to_string(signature));
    std::vector<std::byte> part(static_cast<std::size_t>(std::min(kMiB, device.size())));
    for (const Bytes offset : {Bytes{0}, device.size() - part.size()}) {
        DRAY_TRY(device.read(offset, part));
        if (std::ranges::any_of(part, [](std::byte byte) { return byte != std::byte{0}; }))
            return fail(ErrorKind::Exists, "the device is not empty: there is something in its {} MiB", offset == 0 ? "first" : "last");
    }
    return {};
}

}  // namespace

Filler::Filler(std::unique_ptr<State> state) : state_(std::move(state)) {}
Filler::~Filler() = default;

Result<std::unique_ptr<Filler>> Filler::format(volume::DeviceFile& device, const SecretBytes& key,
                                               const Format& format, std::optional<FillState> kept) {
    if (format.size > device.size())
        return fail(ErrorKind::InvalidArgument, "the device has {}, {} were to be used",
                    format_bytes(device.size()), format_bytes(format.size));
    if (format.size <= volume::kNewDataOffset)
        return fail(ErrorKind::NoSpace, "{} hold the header of a volume, but no file system",
                    format_bytes(format.size));
    if (!format.may_overwrite)
        DRAY_TRY(check_empty(device));
    DRAY_LET(
        volume::NewLuks luks,
        volume::make_luks(
            {device.size(), format.label, format.derivation_memory, format.is_key_random}, key));
    // An older checkpoint must not be gone on with on what follows.
    if (kept)
        DRAY_TRY(kept->invalidate());
    // From here on what the device held is lost.
    DRAY_TRY(volume::wipe_signatures(device));
    volume::LuksSegment segment = luks.segment;
    segment.size = (format.size - segment.offset) / segment.sector_size * segment.sector_size;
    auto state = std::make_unique<State>(device);
    state->identity = luks.identity;
    state->header = std::move(luks.header);
    state->kept = std::move(kept);
    state->record.volume_id = luks.identity.id;
    state->record.device_size = device.size();
    state->record.volume_size = segment.size;
    state->record.is_header_last = format.checkpoints == Checkpoints::HeaderLast;
    DRAY_LET(state->volume, volume::LuksVolume::open(device, luks.key, segment));
    DRAY_LET(state->filesystem,
             fs::Ext4Writer::format(*state->volume, {format.label, format.inodes}));
    return std::unique_ptr<Filler>(new Filler(std::move(state)));
}

Result<std::unique_ptr<Filler>> Filler::resume(volume::DeviceFile& device, const volume::UnlockedVolume& volume,
                                               FillState kept, FillState::Found found) {
    const auto* unlocked = std::get_if<volume::LuksSegment>(&volume.segment);
    if (unlocked == nullptr || unlocked->offset != volume::kNewDataOffset ||
        found.record.volume_size > device.size() - volume::kNewDataOffset)
        return fail(ErrorKind::Conflict, "the drive holds another volume than the one that was being filled");
    volume::LuksSegment segment = *unlocked;
    segment.size = found.record.volume_size;
    auto state = std::make_unique<State>(device);
    state->identity = volume.identity;
    state->kept = std::move(kept);
    state->record = std::move(found.record);
    DRAY_LET(state->volume, volume::LuksVolume::open(device, volume.key, segment));
    DRAY_TRY(state->go_on(found.is_logged));
    return std::unique_ptr<Filler>(new Filler(std::move(state)));
}

Unlocked Filler::describe() const {
    return {state_->identity.type, state_->identity.id, "ext4", "", "", state_->volume->size()};
}

Resumed Filler::describe_resumed() const {
    Resumed resumed{describe(), state_->record.progress, state_->record.is_finished, {}};
    for (std::uint32_t number = 0; number < kMaxFiles; ++number)
        if (const std::optional<fs::NewFile>& file = state_->files[number])
            resumed.files.push_back({number, file->size(), file->begun()});
    return resumed;
}

Bytes Filler::waiting() const {
    return state_->record.sequence != 0 && state_->filesystem ? state_->filesystem->waiting() : 0;
}

Result<void> Filler::check_new() const {
    DRAY_TRY(state_->check());
    if (waiting() > kMostWaiting)
        return fail(ErrorKind::LimitReached, "{} of metadata wait in memory: first there has to be a checkpoint",
                    format_bytes(waiting()));
    return {};
}

Result<void> Filler::make_directory(const MakeDirectory& request) {
    DRAY_TRY(check_new());
    Result<void> made = state_->filesystem->make_directory(request.path);
    if (!made)
        return fail(std::move(made.error()), "{}", request.path);
    return {};
}

Result<void> Filler::create(const Create& request) {
    if (request.file >= kMaxFiles)
        return fail(ErrorKind::InvalidArgument, "a file number of {} is too large", request.file);
    close(request.file);
    DRAY_TRY(check_new());
    Result<fs::NewFile> file =
        state_->filesystem->create(request.path, request.size, from_usec(request.modified_usec));
    if (!file)
        return fail(std::move(file.error()), "{}", request.path);
    state_->files[request.file] = *std::move(file);
    return {};
}

Result<void> Filler::write(const Write& request, std::span<std::byte> content) {
    DRAY_TRY(state_->check());
    std::optional<fs::NewFile>* const file =
        request.file < kMaxFiles ? &state_->files[request.file] : nullptr;
    if (file == nullptr || !file->has_value())
        return fail(ErrorKind::InvalidArgument, "no file is open under the number {}",
                    request.file);
    return state_->filesystem->write(**file, request.offset, content);
}

void Filler::close(std::uint32_t number) {
    if (number >= kMaxFiles)
        return;
    std::optional<fs::NewFile> file = std::exchange(state_->files[number], std::nullopt);
    if (!file || state_->failed || !state_->filesystem)
        return;
    if (Result<void> closed = state_->filesystem->close(*file); !closed)
        state_->failed = Error(std::move(closed.error()), "a file cannot be completed");
}

Result<void> Filler::remove(const Remove& request) {
    DRAY_TRY(check_new());
    Result<std::uint32_t> removed = state_->filesystem->remove(request.path);
    if (!removed)
        return fail(std::move(removed.error()), "{}", request.path);
    for (std::optional<fs::NewFile>& file : state_->files)
        if (file && file->inode() == *removed)
            file.reset();
    return {};
}

Result<Bytes> Filler::checkpoint(const Checkpoint& request) {
    DRAY_TRY(state_->check());
    if (!state_->kept)
        return fail(ErrorKind::InvalidArgument, "the drive was formatted without checkpoints");
    return state_->checkpoint(request.progress, false);
}

Result<void> Filler::finish() {
    for (std::uint32_t number = 0; number < kMaxFiles; ++number)
        close(number);
    DRAY_TRY(state_->check());
    const Result<void> finished = state_->kept ? state_->finish_with_checkpoints() : state_->finish_at_once();
    // Whatever came of it, it cannot be done again.
    state_->filesystem.reset();
    return finished;
}

}  // namespace dray::drive
