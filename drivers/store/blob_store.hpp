// SPDX-License-Identifier: Apache-2.0
//
// The contract of a store. Calls block as long as the disk or the network does and belong on lanes. A
// store may be used by several threads at once. A store does one attempt; retrying, throttling and
// encrypting are stores around stores. It knows blobs, pieces, properties and listings; it knows no
// jobs. tests/contract holds every driver to what is written here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/model/blob_name.hpp"

namespace dray::store {

enum class BlobType { Block, Page };

/// Empty strings are "not set".
struct BlobProperties {
    std::string content_type;
    std::string content_encoding;
    std::string content_language;
    std::string cache_control;
    /// Base64, kept verbatim, never compared with the content. Where it is not given, a store may fill in the true one.
    std::string content_md5;
    bool operator==(const BlobProperties&) const = default;
};

/// Names compare without regard to case and keep theirs: finish() refuses two that differ in case alone
/// (InvalidArgument).
using BlobMetadata = std::map<std::string, std::string>;

struct BlobStatus {
    BlobName name;
    BlobType type = BlobType::Block;
    Bytes length = 0;
    /// Of the last change, by the store's clock.
    TimePoint modified;
    std::string etag;
    BlobProperties properties;
    BlobMetadata metadata;
    /// The service keeps it where it cannot be read from at once (Azure's archive tier).
    bool is_archived = false;
    /// Of the upload that made it, where the store tells_uploads(); "" where another program made it.
    std::string upload_id;
};

/// One block or page range.
struct Piece {
    Bytes offset = 0;
    Bytes length = 0;
    /// Where the store keeps blocks by id, this is the one; Base64, may be empty.
    std::string id;
    /// MD5 of `content`; all zeros: none. Where it is given, the store refuses as Corrupt what differs from it at the
    /// time it is written, and `content` may lie in memory that others can write to. See checks_at_far_end().
    Md5Hash md5{};
    /// `length` bytes for put(); finish() does not look at it.
    std::span<const std::byte> content;
    /// CRC-64/NVME of `content`, for who would have to compute a hash only to give one; never beside an md5. Only where the
    /// store takes_crc64(), and `content` then lies in memory that nobody else writes to.
    std::optional<std::uint64_t> crc64 = std::nullopt;
};

struct CreateOptions {
    BlobType type = BlobType::Block;
    /// Bytes of the whole blob.
    Bytes length = 0;
    /// Off: finish() answers Exists when the name is taken by then. On: it replaces content,
    /// properties and metadata together, whatever the type was.
    bool replace = false;
    /// Chosen by the caller, unique per upload and the same again after a crash: a writer created with
    /// an id whose pieces are already there goes on with them. [A-Za-z0-9-]{1,100}.
    std::string upload_id;
    /// On: create() answers NotFound where no piece of that upload is there, and makes nothing. For who believes that
    /// pieces were put. A store that cannot go on with what was put throws it away and answers the same.
    bool must_resume = false;
};

/// One blob being written. put() may be called by several threads at once, the rest by one.
class BlobWriter {
public:
    BlobWriter() = default;
    BlobWriter(const BlobWriter&) = delete;
    BlobWriter& operator=(const BlobWriter&) = delete;
    /// Keeps the pieces put so far for a later writer with the same upload id; nothing of them can be
    /// found under the blob's name.
    virtual ~BlobWriter() = default;

    /// Puts one piece; any order, and the same piece twice is harmless. Corrupt: the content does not
    /// have `piece.md5` any more when it was written; the piece counts as not put. NoSpace, Denied, Unreachable as for the store.
    virtual Result<void> put(const Piece& piece) = 0;

    /// Makes the blob visible, complete, under its name with these properties and metadata, in one
    /// step. `pieces` are those that make it up, in order; what is not among them reads as zeros (page
    /// blobs) or is left out (block blobs: offsets then follow from the order). Exists: see
    /// CreateOptions::replace; the pieces are kept, so that rename() and finish() may follow. NotFound:
    /// the container is gone. Corrupt: the store does not have the pieces. Whatever it fails with, the
    /// pieces are kept.
    virtual Result<void> finish(std::span<const Piece> pieces, const BlobProperties& properties,
                                const BlobMetadata& metadata) = 0;

    /// Another name for the blob that finish() will make: for the disposition `rename`.
    virtual Result<void> rename(const BlobName& name) = 0;

    /// Throws the pieces away; nothing uncommitted is left behind in the store.
    virtual Result<void> abandon() = 0;
};

struct ListPage {
    std::vector<BlobStatus> blobs;
    /// Give it back for the next page; "" at the end.
    std::string marker;
};

/// InvalidArgument: a name or container that parse_blob_path() or check_container() would refuse. Conflict: somebody
/// holds the blob (a lease). Denied: check() tells whether the store as a whole is meant or this blob or container alone.
class BlobStore {
public:
    BlobStore() = default;
    BlobStore(const BlobStore&) = delete;
    BlobStore& operator=(const BlobStore&) = delete;
    virtual ~BlobStore() = default;

    /// Tells this store from every other and stays the same over restarts: journals are bound to it.
    virtual std::string identity() const = 0;
    /// Where a blob is, for people and for the bus, without a secret.
    virtual std::string uri(const BlobName& name) const = 0;

    /// Whether a piece's md5 costs nothing here, because the far end looks at it (a service does, as Content-MD5). Else
    /// the store hashes all content once more for it: who has verified what nobody else can change leaves it out.
    virtual bool checks_at_far_end() const { return false; }
    /// Whether a piece may come with its crc64 in place of an md5: the far end looks at it, too. May change; a store that
    /// was given one all the same finds a way of its own.
    virtual bool takes_crc64() const { return false; }
    /// Whether stat() knows by which upload a blob was made: what has an upload's id then is what its finish() published.
    virtual bool tells_uploads() const { return false; }

    /// Whether the store can be used now, at the price of one cheap request. Unreachable, Denied, NotFound with
    /// one sentence that says what is wrong and how to mend it.
    virtual Result<void> check() = 0;

    /// Makes the container unless it is there.
    virtual Result<void> ensure_container(const std::string& container) = 0;

    /// Opens a blob for writing; the store must live longer than the writer. Nothing exists under `name`
    /// until finish() has succeeded. Cancelled: `stop` was requested. NotFound: no such container.
    virtual Result<std::unique_ptr<BlobWriter>> create(const BlobName& name, const CreateOptions& options,
                                                       std::stop_token stop) = 0;

    /// A small blob in one request: create, put and finish together, for content that is one piece (or
    /// empty). Same errors.
    virtual Result<void> put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                                   const BlobProperties& properties, const BlobMetadata& metadata,
                                   std::stop_token stop) = 0;

    /// NotFound: no such blob.
    virtual Result<BlobStatus> stat(const BlobName& name) = 0;

    /// Fills `content` from `offset`. InvalidArgument: beyond the end. NotFound. Busy: `if_match` is set
    /// and is not the blob's etag any more.
    virtual Result<void> read(const BlobName& name, Bytes offset, std::span<std::byte> content,
                              const std::string& if_match, std::stop_token stop) = 0;

    /// What the blob is made of, in order, each with offset, length and, of blocks, the id: the blocks that were committed, or
    /// those ranges of a page blob that have content (the others read as zeros). Nothing where the store keeps no such thing, or
    /// not of this blob: it is in one piece then. NotFound. Busy: as read().
    virtual Result<std::optional<std::vector<Piece>>> pieces(
        const BlobName& /*name*/, const std::string& /*if_match*/,
        std::stop_token /*stop*/) {  // NOLINT(performance-unnecessary-value-param): as all that can be stopped
        return std::nullopt;
    }

    /// Up to `most` (at least 1) blobs of a container whose names begin with `prefix`, in order of name, byte
    /// by byte. NotFound: no such container.
    virtual Result<ListPage> list(const std::string& container, const std::string& prefix,
                                  const std::string& marker, std::size_t most) = 0;
    /// The same with the snapshots of the blobs, side by side with their blob, in any order.
    virtual Result<ListPage> list_with_snapshots(const std::string& container, const std::string& prefix,
                                                 const std::string& marker, std::size_t most) {
        return list(container, prefix, marker, most);
    }
    /// In order of name.
    virtual Result<std::vector<std::string>> containers() = 0;

    /// Keeps the blob as it is now, whatever becomes of it, for BlobName::snapshot. NotFound: no such blob. Unsupported: the
    /// store keeps no snapshots; there stat() and read() find none, either.
    virtual Result<std::string> snapshot(const BlobName& /*name*/) {
        return fail(ErrorKind::Unsupported, "this kind of store keeps no snapshots");
    }

    /// NotFound: no such blob. Unsupported: it has snapshots, which would go with it; they have to be removed first.
    virtual Result<void> remove(const BlobName& name) = 0;

    /// When it returns, all that finish() and put() have reported before survives a power cut.
    virtual Result<void> sync() = 0;
};

}  // namespace dray::store
