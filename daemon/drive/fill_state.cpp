// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/fill_state.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "daemon/base/digest.hpp"
#include "daemon/base/file.hpp"
#include "daemon/base/wire.hpp"
#include "daemon/drive/protocol.hpp"
#include "drivers/volume/luks/luks_format.hpp"

namespace dray::drive {
namespace {

constexpr const char* kName = "the state of the filling";
constexpr std::string_view kMagic = "DRAYFILL";
constexpr std::uint32_t kVersion = 1;
/// Magic, version, length of the record, number of blocks.
constexpr Bytes kHead = 8 + 4 + 4 + 8;
constexpr Bytes kHash = 32;
constexpr std::size_t kMaxWord = 256;
constexpr std::size_t kStride = kMiB;
constexpr std::size_t kSector = 512;
constexpr Bytes kMaxRecord = FillState::kHeaderPlace - kHead - kHash;

/// Bytes on their way to the file, hashed.
class Writer {
public:
    Writer(int fd, Bytes place) : fd_(fd), begin_(place), place_(place) {}

    Result<void> put(std::span<const std::byte> bytes) {
        digest_.update(bytes);
        return put_plain(bytes);
    }
    /// The hash, and all of it to the medium. Returns how much it was.
    Result<Bytes> finish() {
        DRAY_TRY(put_plain(digest_.finish()));
        DRAY_TRY(write_fully(fd_, place_, buffer_, kName));
        if (fdatasync(fd_) != 0)
            return fail_errno(errno, "cannot flush {}", kName);
        return place_ + buffer_.size() - begin_;
    }

private:
    Result<void> put_plain(std::span<const std::byte> bytes) {
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        if (buffer_.size() < kStride)
            return {};
        DRAY_TRY(write_fully(fd_, place_, buffer_, kName));
        place_ += buffer_.size();
        buffer_.clear();
        return {};
    }

    int fd_;
    Bytes begin_;
    Bytes place_;
    std::vector<std::byte> buffer_;
    Digest digest_{DigestKind::Sha256};
};

void put(WireWriter& out, const FirstBlock& block) {
    for (const std::vector<std::byte>& hash : block)
        out.text({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

FirstBlock take_first_block(WireReader& in) {
    FirstBlock block;
    for (std::vector<std::byte>& hash : block) {
        const std::string text = in.text(kHash);
        const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
        hash.assign(bytes.begin(), bytes.end());
        if (hash.size() != kHash)
            in.reject();
    }
    return block;
}

std::vector<std::byte> encode_record(const FillRecord& record) {
    WireWriter out;
    out.text(record.volume_id);
    out.u64(record.device_size);
    out.u64(record.volume_size);
    out.boolean(record.is_header_last);
    out.u64(record.sequence);
    out.boolean(record.is_finished);
    out.u64(record.goal);
    out.text(record.progress);
    put(out, record.first_block);
    put(out, record.first_block_before);
    out.u32(static_cast<std::uint32_t>(record.files.size()));
    for (const FillFile& file : record.files) {
        out.u32(file.number);
        out.u32(file.inode);
        out.u64(file.size);
        out.u32(static_cast<std::uint32_t>(file.written.size()));
        for (const auto& [begin, end] : file.written) {
            out.u64(begin);
            out.u64(end);
        }
    }
    return {out.bytes().begin(), out.bytes().end()};
}

FillFile take_file(WireReader& in) {
    FillFile file;
    file.number = in.u32();
    file.inode = in.u32();
    file.size = in.u64();
    const std::uint32_t runs = in.u32();
    Bytes last = 0;
    for (std::uint32_t i = 0; i < runs && !in.is_bad(); ++i) {
        const Bytes begin = in.u64();
        const Bytes end = in.u64();
        if (begin >= end || end > file.size || (i != 0 && begin <= last))
            in.reject();
        file.written[begin] = end;
        last = end;
    }
    if (file.number >= kMaxFiles)
        in.reject();
    return file;
}

Result<FillRecord> decode_record(std::span<const std::byte> bytes) {
    WireReader in(bytes);
    FillRecord record;
    record.volume_id = in.text(kMaxWord);
    record.device_size = in.u64();
    record.volume_size = in.u64();
    record.is_header_last = in.boolean();
    record.sequence = in.u64();
    record.is_finished = in.boolean();
    record.goal = in.u64();
    record.progress = in.text(kMaxProgress);
    record.first_block = take_first_block(in);
    record.first_block_before = take_first_block(in);
    const std::uint32_t files = in.u32();
    for (std::uint32_t i = 0; i < files && !in.is_bad(); ++i)
        record.files.push_back(take_file(in));
    DRAY_TRY(in.finish());
    return record;
}

}  // namespace

FirstBlock first_block_of(std::span<const std::byte> block) {
    FirstBlock hashes;
    Digest digest(DigestKind::Sha256);
    for (std::size_t i = 0; i < hashes.size(); ++i) {
        digest.update(block.subspan(i * kSector, kSector));
        hashes[i] = digest.finish();
    }
    return hashes;
}

Result<void> FillState::invalidate() {
    const std::vector<std::byte> nothing(kBlock);
    DRAY_TRY(write_fully(file_.get(), 0, nothing, kName));
    DRAY_TRY(write_fully(file_.get(), kLogPlace, nothing, kName));
    if (fdatasync(file_.get()) != 0)
        return fail_errno(errno, "cannot flush {}", kName);
    return {};
}

Result<void> FillState::keep_header(const FileDescriptor& header) {
    std::vector<std::byte> part(kStride);
    for (Bytes offset = 0; offset < volume::kNewDataOffset; offset += part.size()) {
        DRAY_TRY(read_fully(header.get(), offset, part, "the header of the volume"));
        DRAY_TRY(write_fully(file_.get(), kHeaderPlace + offset, part, kName));
    }
    return {};
}

Result<void> FillState::check(const FillRecord& record) {
    constexpr std::size_t kRun = 16;
    std::size_t size = record.progress.size() + 4096;
    for (const FillFile& file : record.files)
        size += 64 + file.written.size() * kRun;
    if (record.progress.size() > kMaxProgress)
        return fail(ErrorKind::LimitReached, "a progress of {} bytes is too long for a checkpoint",
                    record.progress.size());
    if (size > kMaxRecord)
        return fail(ErrorKind::LimitReached,
                    "the files that are open have been written in too many parts for a checkpoint");
    return {};
}

Result<Bytes> FillState::write(Bytes place, const FillRecord& record, const Blocks& blocks) {
    const std::vector<std::byte> encoded = encode_record(record);
    Writer out(file_.get(), place);
    WireWriter head;
    head.u32(kVersion);
    head.u32(static_cast<std::uint32_t>(encoded.size()));
    head.u64(blocks.size());
    for (const auto& [number, content] : blocks)
        head.u64(number);
    const std::span<const std::byte> rest = head.bytes();
    constexpr std::size_t kNumbers = kHead - 8;
    DRAY_TRY(out.put(std::as_bytes(std::span(kMagic.data(), kMagic.size()))));
    DRAY_TRY(out.put(rest.first(kNumbers)));
    DRAY_TRY(out.put(encoded));
    DRAY_TRY(out.put(rest.subspan(kNumbers)));
    for (const auto& [number, content] : blocks)
        DRAY_TRY(out.put(content));
    return out.finish();
}

Result<void> FillState::write_checkpoint(const FillRecord& record) {
    DRAY_TRY(write(0, record, {}));
    return {};
}

Result<Bytes> FillState::write_log(const FillRecord& record, const Blocks& blocks) {
    return write(kLogPlace, record, blocks);
}

Result<FillState::Head> FillState::read_head(Bytes place) const {
    std::array<std::byte, kHead> bytes{};
    DRAY_TRY(read_fully(file_.get(), place, bytes, kName));
    if (!std::ranges::equal(std::span(bytes).first(kMagic.size()),
                            std::as_bytes(std::span(kMagic.data(), kMagic.size()))))
        return fail(ErrorKind::NotFound, "there is nothing");
    WireReader in{std::span(bytes).subspan(kMagic.size())};
    const std::uint32_t version = in.u32();
    Head head{in.u32(), in.u64()};
    struct stat status {};
    if (fstat(file_.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", kName);
    if (version != kVersion || head.record_length > kMaxRecord ||
        head.blocks > static_cast<Bytes>(status.st_size) / kBlock)
        return fail(ErrorKind::Corrupt, "{} is not whole", kName);
    return head;
}

/// Whole, by its hash.
Result<FillRecord> FillState::read(Bytes place) const {
    DRAY_LET(const Head head, read_head(place));
    std::vector<std::byte> record(head.record_length);
    DRAY_TRY(read_fully(file_.get(), place + kHead, record, kName));
    Digest digest(DigestKind::Sha256);
    std::vector<std::byte> part;
    Bytes left = kHead + head.record_length + head.blocks * (8 + kBlock);
    for (Bytes offset = place; left > 0; offset += part.size(), left -= part.size()) {
        part.resize(static_cast<std::size_t>(std::min<Bytes>(left, kStride)));
        DRAY_TRY(read_fully(file_.get(), offset, part, kName));
        digest.update(part);
    }
    std::vector<std::byte> hash(kHash);
    DRAY_TRY(read_fully(file_.get(), place + kHead + head.record_length + head.blocks * (8 + kBlock), hash, kName));
    if (digest.finish() != hash)
        return fail(ErrorKind::Corrupt, "{} is not whole", kName);
    return decode_record(record);
}

Result<FillState::Found> FillState::find() const {
    Result<FillRecord> settled = read(0);
    Result<FillRecord> logged = read(kLogPlace);
    for (const Result<FillRecord>* each : {&settled, &logged})
        if (!*each && each->error().kind() == ErrorKind::Internal)
            return fail(Error(each->error()));
    const bool is_newer = logged && (!settled || (logged->volume_id == settled->volume_id &&
                                                  logged->sequence > settled->sequence));
    if (is_newer)
        return Found{*std::move(logged), true};
    if (!settled)
        return fail(ErrorKind::NotFound, "there is no checkpoint to go on from: the drive has to be begun anew");
    return Found{*std::move(settled), false};
}

Result<void> FillState::replay(volume::BlockDevice& device, Bytes data_offset, const FillRecord& record) const {
    DRAY_LET(const Head head, read_head(kLogPlace));
    const Bytes numbers_place = kLogPlace + kHead + head.record_length;
    std::vector<std::byte> numbers(static_cast<std::size_t>(head.blocks * 8));
    DRAY_TRY(read_fully(file_.get(), numbers_place, numbers, kName));
    std::vector<std::uint64_t> places(static_cast<std::size_t>(head.blocks));
    WireReader in(numbers);
    for (std::uint64_t& place : places) {
        place = in.u64();
        if (place >= record.volume_size / kBlock)
            return fail(ErrorKind::Corrupt, "the redo log names a block outside of the volume");
    }
    Bytes offset = numbers_place + numbers.size();
    std::vector<std::byte> run;
    for (std::size_t i = 0; i < places.size(); i += run.size() / kBlock) {
        std::size_t count = 1;
        while (i + count < places.size() && places[i + count] == places[i] + count && count < kStride / kBlock)
            ++count;
        run.resize(count * kBlock);
        DRAY_TRY(read_fully(file_.get(), offset, run, kName));
        DRAY_TRY(device.write(data_offset + places[i] * kBlock, run));
        offset += run.size();
    }
    return device.sync();
}

Result<void> HeaderOverDevice::read(Bytes offset, std::span<std::byte> content) {
    constexpr Bytes kEnd = volume::kNewDataOffset;
    if (offset < kEnd) {
        const auto part = content.first(static_cast<std::size_t>(std::min<Bytes>(content.size(), kEnd - offset)));
        DRAY_TRY(read_fully(state_.file().get(), FillState::kHeaderPlace + offset, part, "the header of the volume"));
        offset += part.size();
        content = content.subspan(part.size());
    }
    return content.empty() ? Result<void>() : device_.read(offset, content);
}

Result<void> HeaderOverDevice::write(Bytes /*offset*/, std::span<std::byte> /*content*/) {
    return fail(ErrorKind::Denied, "it is only read");
}

}  // namespace dray::drive
