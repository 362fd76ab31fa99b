// SPDX-License-Identifier: Apache-2.0
//
// What dray-drive and its peer (dray-transfer, or drayctl for the drive verbs) say to each other over a
// SEQPACKET pair. Schema and limits: FORMAT.md. Each side trusts the other no further than this.
//
// dray-drive is started with descriptor 3 its socket, 4 the device, 5 the key (a sealed memfd), 6 what is
// to be locked for a write, or /dev/null. The first message from the peer is Setup with the ring beside
// it, then Unlock, Format or Resume, then any number of Batch messages; replies carry the request's number.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "daemon/base/message_socket.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/base/wire.hpp"

namespace dray::drive {

inline constexpr int kSocketFd = 3;
inline constexpr int kDeviceFd = 4;
inline constexpr int kKeyFd = 5;
inline constexpr int kLockFd = 6;

/// Requests in one Batch, and requests in flight at one time.
inline constexpr std::size_t kMaxBatch = 64;
inline constexpr std::size_t kMaxInFlight = 256;
/// Files open at one time; file numbers are below it.
inline constexpr std::uint32_t kMaxFiles = 512;
inline constexpr std::size_t kMaxPath = 32 * kKiB;
/// Reads and writes are at most this long; longer pieces go in several (rules.md 10).
inline constexpr Bytes kMaxRead = 8 * kMiB;
/// Names in one Found, and bytes in each: a name of 255 UTF-16 units has fewer.
inline constexpr std::size_t kMaxFound = 16;
inline constexpr std::size_t kMaxFoundName = 1024;
/// Every extent of the ring begins at a multiple of this.
inline constexpr Bytes kRingAlignment = 4096;

/// What the peer wants to know again after a resume.
inline constexpr std::size_t kMaxProgress = 64 * kKiB;
/// Of metadata in memory: from here on a checkpoint is due, and from there on none is made any more before it.
inline constexpr Bytes kCheckpointDue = 16 * kMiB;
inline constexpr Bytes kMostWaiting = 64 * kMiB;

struct Setup {
    Bytes ring_size = 0;
    Bytes unlock_memory = kGiB;
    bool allow_plain = false;
    /// Whether a disk that does not agree with Unlock::header_hash is refused.
    bool strict_header_hash = false;
};

/// Go: unlock and open the file system. Sent only when it is this drive's turn (one unlock at a time).
struct Unlock {
    /// Unless empty: the volume must have this identifier.
    std::string volume_id{};
    /// As parse_header_hash() takes it: looked at before anything else is.
    std::string header_hash{};
    /// Which partition holds the volume, as the kernel counts; 0: the first for data.
    std::uint32_t partition = 0;
};

/// Whether the filling can be gone on with after a crash, and when the device becomes a volume.
enum class Checkpoints : std::uint8_t {
    /// The LUKS header is written by Finish.
    None,
    /// The same; until then it is kept in the state file.
    HeaderLast,
    /// From the first checkpoint on the device opens as a volume, with a clean file system.
    HeaderFirst,
};

/// Go: make a LUKS2 volume with the key and an ext4 on it. What the device held is lost. With checkpoints one
/// descriptor beside it: the state file, open for reading and writing, the peer's own.
struct Format {
    /// Bytes of the device to use.
    Bytes size = 0;
    std::string label;
    /// Files and directories that will be made at most.
    std::uint64_t inodes = 0;
    /// Of the key derivation (argon2id).
    Bytes derivation_memory = 64 * kMiB;
    bool is_key_random = false;
    Checkpoints checkpoints = Checkpoints::None;
    /// Off: Exists where the device holds anything known, or anything but zeros in its first and last MiB.
    bool may_overwrite = true;
};

/// Go: take up the filling at the last checkpoint, with the same key. One descriptor beside it: the state file.
/// NotFound: it has no checkpoint; format again. Conflict: the device is another one, or was changed since.
struct Resume {
    /// Unless empty: the volume must have this identifier.
    std::string volume_id;
};

/// Opens `path` under the number `file`, chosen by the peer, free until Close. Reads for it may follow in
/// the same batch; if the opening fails they fail with the same error.
struct Open {
    std::uint32_t file = 0;
    std::string path;
};
struct Close {
    std::uint32_t file = 0;
};
/// Reads [offset, offset+length) into the ring at `ring_offset`. Bytes past the file's end: Corrupt.
struct Read {
    std::uint64_t request = 0;
    std::uint32_t file = 0;
    Bytes offset = 0;
    Bytes length = 0;
    Bytes ring_offset = 0;
};
/// Which files of the directory ("" is the root) have `part` in their name, whatever the case of ASCII letters.
struct Find {
    std::string directory;
    std::string part;
};
/// After Format: makes a directory (its parents exist).
struct MakeDirectory {
    std::string path;
};
/// After Format: makes a file of exactly `size` bytes, extents allocated; what is not written until Close
/// reads as zeros.
struct Create {
    std::uint32_t file = 0;
    std::string path;
    Bytes size = 0;
    std::uint64_t modified_usec = 0;
};
/// Writes [offset, offset+length) from the ring. The ring's bytes are encrypted in place.
struct Write {
    std::uint64_t request = 0;
    std::uint32_t file = 0;
    Bytes offset = 0;
    Bytes length = 0;
    Bytes ring_offset = 0;
};
/// Closes what is open and the file system, and makes a volume of the device: before, nothing on it opens (but see
/// Checkpoints::HeaderFirst).
struct Finish {};
/// All that was asked for before it survives whatever happens afterwards, and `progress` is what Resume gives back.
struct Checkpoint {
    std::string progress;
};
/// Takes a file away, complete or not; the number it is open under becomes free. Its space is free after the next
/// checkpoint.
struct Remove {
    std::string path;
};

using Request = std::variant<Open, Close, Read, MakeDirectory, Create, Write, Finish, Checkpoint, Remove, Find>;
struct Batch {
    std::vector<Request> requests;
};
using ToDrive = std::variant<Setup, Unlock, Format, Batch, Resume>;

/// An error on its way between processes.
struct Failure {
    ErrorKind kind = ErrorKind::Internal;
    std::string message;
};

/// The volume is open and its file system too.
struct Unlocked {
    std::string volume_type;
    std::string volume_id;
    std::string filesystem;
    /// "gpt", "dos", or "" for a device that is one volume.
    std::string partition_table;
    std::string notice;
    Bytes size = 0;
    /// The smallest read that device and encryption know: 512 or 4096.
    Bytes sector_size = 512;
};
/// The drive is as of its last checkpoint.
struct Resumed {
    Unlocked drive;
    std::string progress;
    /// Finish had been asked for, and now it is done: nothing may follow.
    bool is_finished = false;
    /// What was open then is open again under the same number.
    struct File {
        std::uint32_t file = 0;
        Bytes size = 0;
        /// From the start, without a gap.
        Bytes written = 0;
    };
    std::vector<File> files;
};
/// Unlocking, formatting or resuming failed; dray-drive ends. `status` is the word of azure-import-export.md 6.3.
struct UnlockFailed {
    Failure failure;
    std::string status;
};
struct Opened {
    std::uint32_t file = 0;
    Bytes size = 0;
};
struct OpenFailed {
    std::uint32_t file = 0;
    Failure failure;
};
struct ReadDone {
    std::uint64_t request = 0;
};
struct ReadFailed {
    std::uint64_t request = 0;
    Failure failure;
};
/// Answers Find, in the order of the directory; Failed with request 0 does too.
struct Found {
    std::vector<std::string> names;
    /// There are more than these kMaxFound.
    bool has_more = false;
};
/// Answers Write (request set), and MakeDirectory, Create, Finish, Remove (request 0) in their order.
/// Failed answers Checkpoint too.
struct Done {
    std::uint64_t request = 0;
};
struct Failed {
    std::uint64_t request = 0;
    Failure failure;
};

struct Checkpointed {
    /// What went through the redo log.
    Bytes logged = 0;
};
/// No answer: comes once between two checkpoints, when so much metadata waits in memory.
struct CheckpointDue {
    Bytes waiting = 0;
};

using Reply = std::variant<Opened, OpenFailed, ReadDone, ReadFailed, Done, Failed, Checkpointed, CheckpointDue, Found>;
struct Replies {
    std::vector<Reply> replies;
};
using FromDrive = std::variant<Unlocked, UnlockFailed, Replies, Resumed>;

/// Never fails for values within the limits above.
std::vector<std::byte> encode(const ToDrive& message);
std::vector<std::byte> encode(const FromDrive& message);
/// Corrupt: not of the schema.
Result<ToDrive> decode_to_drive(std::span<const std::byte> bytes);
Result<FromDrive> decode_from_drive(std::span<const std::byte> bytes);

Error to_error(const Failure& failure);
Failure to_failure(const Error& error);

}  // namespace dray::drive, NOLINTEND(readability-redundant-member-init)
