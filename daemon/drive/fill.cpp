// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/fill.hpp"

#include <array>
#include <optional>
#include <utility>

#include "drivers/filesystem/ext4/ext4_writer.hpp"
#include "drivers/volume/luks/luks_format.hpp"
#include "drivers/volume/luks/luks_volume.hpp"

namespace dray::drive {

struct Filler::State {
    volume::DeviceFile& device;
    volume::VolumeIdentity identity;
    /// Waits in memory: until it is written, the device holds nothing that anybody could open.
    FileDescriptor header;
    std::unique_ptr<volume::LuksVolume> volume;
    std::unique_ptr<fs::Ext4Writer> filesystem;
    std::array<std::optional<fs::NewFile>, kMaxFiles> files;
    /// Close has no answer: what went wrong there is told by what comes next.
    std::optional<Error> failed;

    Result<void> check() const {
        if (failed)
            return fail(*failed);
        if (!filesystem)
            return fail(ErrorKind::InvalidArgument, "the drive is finished already");
        return {};
    }
};

Filler::Filler(std::unique_ptr<State> state) : state_(std::move(state)) {}
Filler::~Filler() = default;

Result<std::unique_ptr<Filler>> Filler::format(volume::DeviceFile& device, const SecretBytes& key,
                                               const Format& format) {
    if (format.size > device.size())
        return fail(ErrorKind::InvalidArgument, "the device has {}, {} were to be used",
                    format_bytes(device.size()), format_bytes(format.size));
    if (format.size <= volume::kNewDataOffset)
        return fail(ErrorKind::NoSpace, "{} hold the header of a volume, but no file system",
                    format_bytes(format.size));
    DRAY_LET(
        volume::NewLuks luks,
        volume::make_luks(
            {device.size(), format.label, format.derivation_memory, format.is_key_random}, key));
    // From here on what the device held is lost.
    DRAY_TRY(volume::wipe_signatures(device));
    volume::LuksSegment segment = luks.segment;
    segment.size = (format.size - segment.offset) / segment.sector_size * segment.sector_size;
    auto state = std::unique_ptr<State>(
        new State{device, luks.identity, std::move(luks.header), {}, {}, {}, {}});
    DRAY_LET(state->volume, volume::LuksVolume::open(device, luks.key, segment));
    DRAY_LET(state->filesystem,
             fs::Ext4Writer::format(*state->volume, {format.label, format.inodes}));
    return std::unique_ptr<Filler>(new Filler(std::move(state)));
}

Unlocked Filler::describe() const {
    return {state_->identity.type, state_->identity.id, "ext4", "", "", state_->volume->size()};
}

Result<void> Filler::make_directory(const MakeDirectory& request) {
    DRAY_TRY(state_->check());
    Result<void> made = state_->filesystem->make_directory(request.path);
    if (!made)
        return fail(std::move(made.error()), "{}", request.path);
    return {};
}

Result<void> Filler::create(const Create& request) {
    if (request.file >= kMaxFiles)
        return fail(ErrorKind::InvalidArgument, "a file number of {} is too large", request.file);
    close(request.file);
    DRAY_TRY(state_->check());
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

Result<void> Filler::finish() {
    for (std::uint32_t number = 0; number < kMaxFiles; ++number)
        close(number);
    DRAY_TRY(state_->check());
    // Whatever comes of it, it cannot be done again.
    const std::unique_ptr<fs::Ext4Writer> filesystem = std::exchange(state_->filesystem, nullptr);
    DRAY_TRY(filesystem->finish());
    return volume::write_luks_header(state_->device, state_->header);
}

}  // namespace dray::drive
