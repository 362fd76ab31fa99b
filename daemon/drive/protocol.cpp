// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/protocol.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "daemon/base/overloaded.hpp"

namespace dray::drive {
namespace {

// The first byte of a message and of each request or reply; FORMAT.md lists them.
enum class ToDriveTag : std::uint8_t { Setup = 1, Unlock, Format, Batch, Resume };
enum class FromDriveTag : std::uint8_t { Unlocked = 65, UnlockFailed, Replies, Resumed };
enum class RequestTag : std::uint8_t { Open = 1, Close, Read, MakeDirectory, Create, Write, Finish, Checkpoint, Remove, Find };
enum class ReplyTag : std::uint8_t { Opened = 1, OpenFailed, ReadDone, ReadFailed, Done, Failed, Checkpointed, CheckpointDue, Found };

constexpr std::size_t kMaxSentence = 4096;
constexpr std::size_t kMaxWord = 256;
/// Replies in one message; more than requests in flight, because an opening answers for itself.
constexpr std::size_t kMaxReplies = 1024;
constexpr std::uint8_t kCheckpointKinds = static_cast<std::uint8_t>(Checkpoints::HeaderFirst) + 1;
constexpr std::uint8_t kErrorKinds = static_cast<std::uint8_t>(ErrorKind::Internal) + 1;

template <typename Tag>
void put_tag(WireWriter& out, Tag tag) {
    out.u8(static_cast<std::uint8_t>(tag));
}

void put_text(WireWriter& out, std::string_view text, std::size_t limit) {
    out.text(text.substr(0, limit));
}

void put(WireWriter& out, const Failure& failure) {
    out.u8(static_cast<std::uint8_t>(failure.kind));
    put_text(out, failure.message, kMaxSentence);
}

Failure take_failure(WireReader& in) {
    Failure failure;
    failure.kind = in.enumerator<ErrorKind>(kErrorKinds);
    failure.message = in.text(kMaxSentence);
    return failure;
}

std::uint32_t take_file(WireReader& in) {
    const std::uint32_t file = in.u32();
    if (file >= kMaxFiles)
        in.reject();
    return file;
}

template <typename Piece>
void put_piece(WireWriter& out, const Piece& piece) {
    out.u64(piece.request);
    out.u32(piece.file);
    out.u64(piece.offset);
    out.u64(piece.length);
    out.u64(piece.ring_offset);
}

template <typename Piece>
Piece take_piece(WireReader& in) {
    Piece piece;
    piece.request = in.u64();
    piece.file = take_file(in);
    piece.offset = in.u64();
    piece.length = in.u64();
    piece.ring_offset = in.u64();
    if (piece.length > kMaxRead || piece.ring_offset % kRingAlignment != 0)
        in.reject();
    return piece;
}

void put(WireWriter& out, const Request& request) {
    std::visit(Overloaded{
                   [&](const Open& open) {
                       put_tag(out, RequestTag::Open);
                       out.u32(open.file);
                       out.text(open.path);
                   },
                   [&](const Close& close) {
                       put_tag(out, RequestTag::Close);
                       out.u32(close.file);
                   },
                   [&](const Read& read) {
                       put_tag(out, RequestTag::Read);
                       put_piece(out, read);
                   },
                   [&](const MakeDirectory& directory) {
                       put_tag(out, RequestTag::MakeDirectory);
                       out.text(directory.path);
                   },
                   [&](const Create& create) {
                       put_tag(out, RequestTag::Create);
                       out.u32(create.file);
                       out.text(create.path);
                       out.u64(create.size);
                       out.u64(create.modified_usec);
                   },
                   [&](const Write& write) {
                       put_tag(out, RequestTag::Write);
                       put_piece(out, write);
                   },
                   [&](const Finish&) { put_tag(out, RequestTag::Finish); },
                   [&](const Checkpoint& checkpoint) {
                       put_tag(out, RequestTag::Checkpoint);
                       out.text(checkpoint.progress);
                   },
                   [&](const Remove& remove) {
                       put_tag(out, RequestTag::Remove);
                       out.text(remove.path);
                   },
                   [&](const Find& find) {
                       put_tag(out, RequestTag::Find);
                       out.text(find.directory);
                       out.text(find.part);
                   },
               },
               request);
}

Create take_create(WireReader& in) {
    Create create;
    create.file = take_file(in);
    create.path = in.text(kMaxPath);
    create.size = in.u64();
    create.modified_usec = in.u64();
    return create;
}

Request take_request(WireReader& in) {
    switch (static_cast<RequestTag>(in.u8())) {
        case RequestTag::Open: {
            Open open;
            open.file = take_file(in);
            open.path = in.text(kMaxPath);
            return open;
        }
        case RequestTag::Close: return Close{take_file(in)};
        case RequestTag::Read: return take_piece<Read>(in);
        case RequestTag::MakeDirectory: return MakeDirectory{in.text(kMaxPath)};
        case RequestTag::Create: return take_create(in);
        case RequestTag::Write: return take_piece<Write>(in);
        case RequestTag::Finish: return Finish{};
        case RequestTag::Checkpoint: return Checkpoint{in.text(kMaxProgress)};
        case RequestTag::Remove: return Remove{in.text(kMaxPath)};
        case RequestTag::Find: {
            Find find;
            find.directory = in.text(kMaxPath);
            find.part = in.text(kMaxWord);
            return find;
        }
    }
    in.reject();
    return Finish{};
}

void put(WireWriter& out, const Reply& reply) {
    std::visit(Overloaded{
                   [&](const Opened& opened) {
                       put_tag(out, ReplyTag::Opened);
                       out.u32(opened.file);
                       out.u64(opened.size);
                   },
                   [&](const OpenFailed& failed) {
                       put_tag(out, ReplyTag::OpenFailed);
                       out.u32(failed.file);
                       put(out, failed.failure);
                   },
                   [&](const ReadDone& done) {
                       put_tag(out, ReplyTag::ReadDone);
                       out.u64(done.request);
                   },
                   [&](const ReadFailed& failed) {
                       put_tag(out, ReplyTag::ReadFailed);
                       out.u64(failed.request);
                       put(out, failed.failure);
                   },
                   [&](const Done& done) {
                       put_tag(out, ReplyTag::Done);
                       out.u64(done.request);
                   },
                   [&](const Failed& failed) {
                       put_tag(out, ReplyTag::Failed);
                       out.u64(failed.request);
                       put(out, failed.failure);
                   },
                   [&](const Checkpointed& done) {
                       put_tag(out, ReplyTag::Checkpointed);
                       out.u64(done.logged);
                   },
                   [&](const CheckpointDue& due) {
                       put_tag(out, ReplyTag::CheckpointDue);
                       out.u64(due.waiting);
                   },
                   [&](const Found& found) {
                       put_tag(out, ReplyTag::Found);
                       out.u32(static_cast<std::uint32_t>(found.names.size()));
                       for (const std::string& name : found.names)
                           put_text(out, name, kMaxFoundName);
                       out.boolean(found.has_more);
                   },
               },
               reply);
}

Found take_found(WireReader& in) {
    Found found;
    const std::uint32_t count = in.u32();
    if (count > kMaxFound)
        in.reject();
    for (std::uint32_t i = 0; i < count && !in.is_bad(); ++i)
        found.names.push_back(in.text(kMaxFoundName));
    found.has_more = in.boolean();
    return found;
}

Reply take_reply(WireReader& in) {
    switch (static_cast<ReplyTag>(in.u8())) {
        case ReplyTag::Opened: {
            Opened opened;
            opened.file = take_file(in);
            opened.size = in.u64();
            return opened;
        }
        case ReplyTag::OpenFailed: {
            OpenFailed failed;
            failed.file = take_file(in);
            failed.failure = take_failure(in);
            return failed;
        }
        case ReplyTag::ReadDone: return ReadDone{in.u64()};
        case ReplyTag::ReadFailed: {
            ReadFailed failed;
            failed.request = in.u64();
            failed.failure = take_failure(in);
            return failed;
        }
        case ReplyTag::Done: return Done{in.u64()};
        case ReplyTag::Failed: {
            Failed failed;
            failed.request = in.u64();
            failed.failure = take_failure(in);
            return failed;
        }
        case ReplyTag::Checkpointed: return Checkpointed{in.u64()};
        case ReplyTag::CheckpointDue: return CheckpointDue{in.u64()};
        case ReplyTag::Found: return take_found(in);
    }
    in.reject();
    return Done{};
}

Setup take_setup(WireReader& in) {
    Setup setup;
    setup.ring_size = in.u64();
    setup.unlock_memory = in.u64();
    setup.allow_plain = in.boolean();
    setup.strict_header_hash = in.boolean();
    return setup;
}

Unlock take_unlock(WireReader& in) {
    Unlock unlock;
    unlock.volume_id = in.text(kMaxWord);
    unlock.header_hash = in.text(kMaxSentence);
    unlock.partition = in.u32();
    return unlock;
}

Format take_format(WireReader& in) {
    Format format;
    format.size = in.u64();
    format.label = in.text(kMaxWord);
    format.inodes = in.u64();
    format.derivation_memory = in.u64();
    format.is_key_random = in.boolean();
    format.checkpoints = in.enumerator<Checkpoints>(kCheckpointKinds);
    format.may_overwrite = in.boolean();
    return format;
}

Unlocked take_unlocked(WireReader& in) {
    Unlocked unlocked;
    unlocked.volume_type = in.text(kMaxWord);
    unlocked.volume_id = in.text(kMaxWord);
    unlocked.filesystem = in.text(kMaxWord);
    unlocked.partition_table = in.text(kMaxWord);
    unlocked.notice = in.text(kMaxSentence);
    unlocked.size = in.u64();
    unlocked.sector_size = in.u64();
    if (unlocked.sector_size != 512 && unlocked.sector_size != 4096)
        in.reject();
    return unlocked;
}

void put(WireWriter& out, const Unlocked& unlocked) {
    put_text(out, unlocked.volume_type, kMaxWord);
    put_text(out, unlocked.volume_id, kMaxWord);
    put_text(out, unlocked.filesystem, kMaxWord);
    put_text(out, unlocked.partition_table, kMaxWord);
    put_text(out, unlocked.notice, kMaxSentence);
    out.u64(unlocked.size);
    out.u64(unlocked.sector_size);
}

Resumed take_resumed(WireReader& in) {
    Resumed resumed;
    resumed.drive = take_unlocked(in);
    resumed.progress = in.text(kMaxProgress);
    resumed.is_finished = in.boolean();
    const std::uint32_t count = in.u32();
    if (count > kMaxFiles)
        in.reject();
    for (std::uint32_t i = 0; i < count && !in.is_bad(); ++i) {
        Resumed::File file;
        file.file = take_file(in);
        file.size = in.u64();
        file.written = in.u64();
        if (file.written > file.size)
            in.reject();
        resumed.files.push_back(file);
    }
    return resumed;
}

std::vector<std::byte> bytes_of(const WireWriter& out) {
    return {out.bytes().begin(), out.bytes().end()};
}

}  // namespace

std::vector<std::byte> encode(const ToDrive& message) {
    WireWriter out;
    std::visit(Overloaded{
                   [&](const Setup& setup) {
                       put_tag(out, ToDriveTag::Setup);
                       out.u64(setup.ring_size);
                       out.u64(setup.unlock_memory);
                       out.boolean(setup.allow_plain);
                       out.boolean(setup.strict_header_hash);
                   },
                   [&](const Unlock& unlock) {
                       put_tag(out, ToDriveTag::Unlock);
                       put_text(out, unlock.volume_id, kMaxWord);
                       put_text(out, unlock.header_hash, kMaxSentence);
                       out.u32(unlock.partition);
                   },
                   [&](const Format& format) {
                       put_tag(out, ToDriveTag::Format);
                       out.u64(format.size);
                       put_text(out, format.label, kMaxWord);
                       out.u64(format.inodes);
                       out.u64(format.derivation_memory);
                       out.boolean(format.is_key_random);
                       out.u8(static_cast<std::uint8_t>(format.checkpoints));
                       out.boolean(format.may_overwrite);
                   },
                   [&](const Resume& resume) {
                       put_tag(out, ToDriveTag::Resume);
                       put_text(out, resume.volume_id, kMaxWord);
                   },
                   [&](const Batch& batch) {
                       put_tag(out, ToDriveTag::Batch);
                       out.u32(static_cast<std::uint32_t>(batch.requests.size()));
                       for (const Request& request : batch.requests)
                           put(out, request);
                   },
               },
               message);
    return bytes_of(out);
}

std::vector<std::byte> encode(const FromDrive& message) {
    WireWriter out;
    std::visit(Overloaded{
                   [&](const Unlocked& unlocked) {
                       put_tag(out, FromDriveTag::Unlocked);
                       put(out, unlocked);
                   },
                   [&](const Resumed& resumed) {
                       put_tag(out, FromDriveTag::Resumed);
                       put(out, resumed.drive);
                       put_text(out, resumed.progress, kMaxProgress);
                       out.boolean(resumed.is_finished);
                       out.u32(static_cast<std::uint32_t>(resumed.files.size()));
                       for (const Resumed::File& file : resumed.files) {
                           out.u32(file.file);
                           out.u64(file.size);
                           out.u64(file.written);
                       }
                   },
                   [&](const UnlockFailed& failed) {
                       put_tag(out, FromDriveTag::UnlockFailed);
                       put(out, failed.failure);
                       put_text(out, failed.status, kMaxWord);
                   },
                   [&](const Replies& replies) {
                       put_tag(out, FromDriveTag::Replies);
                       out.u32(static_cast<std::uint32_t>(replies.replies.size()));
                       for (const Reply& reply : replies.replies)
                           put(out, reply);
                   },
               },
               message);
    return bytes_of(out);
}

Result<ToDrive> decode_to_drive(std::span<const std::byte> bytes) {
    WireReader in(bytes);
    ToDrive message;
    switch (static_cast<ToDriveTag>(in.u8())) {
        case ToDriveTag::Setup: message = take_setup(in); break;
        case ToDriveTag::Unlock: message = take_unlock(in); break;
        case ToDriveTag::Format: message = take_format(in); break;
        case ToDriveTag::Resume: message = Resume{in.text(kMaxWord)}; break;
        case ToDriveTag::Batch: {
            Batch batch;
            const std::uint32_t count = in.u32();
            if (count > kMaxBatch)
                in.reject();
            for (std::uint32_t i = 0; i < count && !in.is_bad(); ++i)
                batch.requests.push_back(take_request(in));
            message = std::move(batch);
            break;
        }
        default: in.reject();
    }
    DRAY_TRY(in.finish());
    return message;
}

Result<FromDrive> decode_from_drive(std::span<const std::byte> bytes) {
    WireReader in(bytes);
    FromDrive message;
    switch (static_cast<FromDriveTag>(in.u8())) {
        case FromDriveTag::Unlocked: message = take_unlocked(in); break;
        case FromDriveTag::Resumed: message = take_resumed(in); break;
        case FromDriveTag::UnlockFailed: {
            UnlockFailed failed;
            failed.failure = take_failure(in);
            failed.status = in.text(kMaxWord);
            message = std::move(failed);
            break;
        }
        case FromDriveTag::Replies: {
            Replies replies;
            const std::uint32_t count = in.u32();
            // None at all would be a sign of life without an answer.
            if (count == 0 || count > kMaxReplies)
                in.reject();
            for (std::uint32_t i = 0; i < count && !in.is_bad(); ++i)
                replies.replies.push_back(take_reply(in));
            message = std::move(replies);
            break;
        }
        default: in.reject();
    }
    DRAY_TRY(in.finish());
    return message;
}

Error to_error(const Failure& failure) { return {failure.kind, failure.message}; }

Failure to_failure(const Error& error) {
    return {error.kind(), error.text().substr(0, kMaxSentence)};
}

}  // namespace dray::drive
