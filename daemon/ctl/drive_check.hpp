// SPDX-License-Identifier: Apache-2.0
//
// Everything on a drive against its manifest: each piece of each file, and the metadata and properties files. Reads go
// over the ring with many in flight, and pieces are hashed side by side. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/format/drive_manifest.hpp"
#include "daemon/hash/md5_lanes.hpp"
#include "daemon/manifest/spool.hpp"

namespace dray::ctl {

/// Which file of a blob.
enum class BlobFile { Content, Metadata, Properties };
/// What is wrong with it. Damaged: its bytes have another hash. Malformed: they are what the manifest says, and no
/// metadata or properties file that a store could take.
enum class Fault { BadBlobName, BadFileName, Missing, Unreadable, Short, Damaged, Malformed };

/// "content", "metadata", "properties".
std::string_view to_string(BlobFile file);
/// "blob-name", "file-name", "missing", "unreadable", "short", "damaged", "malformed".
std::string_view to_string(Fault fault);

struct Finding {
    BlobFile file = BlobFile::Content;
    Fault fault = Fault::Damaged;
    std::string blob_path;
    std::string file_path;
    /// Of the piece, where one piece alone is wrong.
    std::optional<Bytes> offset;
    Bytes length = 0;
    /// A sentence.
    std::string reason;
};

struct CheckTotals {
    std::uint64_t blobs = 0;
    std::uint64_t blobs_bad = 0;
    /// Of blobs, as bytes_of() counts.
    Bytes bytes = 0;
    /// Pieces that agree, and those that do not or could not be had.
    std::uint64_t pieces_good = 0;
    std::uint64_t pieces_bad = 0;
    Bytes bytes_good = 0;
    std::uint64_t side_files = 0;
    std::uint64_t side_files_bad = 0;
    std::uint64_t findings = 0;
};

class DriveCheck {
public:
    /// How much of the drive is in hand at one time: what the ring must hold.
    static constexpr Bytes kExtent = kMiB;
    static constexpr std::size_t kExtents = 64;

    /// `client` has unlocked a drive, with a ring of kExtents extents. Findings come in the order of the manifest.
    using OnFinding = std::function<Result<void>(const Finding&)>;
    DriveCheck(drive::Client& client, OnFinding on_finding, std::function<void(Bytes)> show);
    DriveCheck(const DriveCheck&) = delete;
    DriveCheck& operator=(const DriveCheck&) = delete;
    ~DriveCheck();

    /// Gone: the device or dray-drive has gone. Cancelled: a signal came. What is wrong with files is no error.
    Result<CheckTotals> run(const manifest::Spool& spool);

private:
    struct Piece;
    struct SideCheck;
    struct Item;
    /// What was asked for; replies come in this order.
    struct Asked;
    /// One extent's worth of a piece on its way.
    struct Part {
        Piece* piece = nullptr;
        std::size_t extent = 0;
        Bytes offset = 0;
        Bytes length = 0;
        bool is_last = false;
    };

    Result<void> begin_blob(format::ManifestBlob&& blob);
    Result<void> open_content(Item& item);
    Result<void> read_pieces(Item& item);
    Result<void> read_piece(Item& item, std::size_t index);
    Result<void> begin_side_file(Item& item, BlobFile which, const format::SideFile& file);
    void read_side_file(SideCheck& side);
    void judge_side_file(SideCheck& side, std::span<const std::byte> content);
    void end_side_file(SideCheck& side);

    Result<std::uint32_t> free_file();
    Result<std::size_t> free_extent();
    /// Sends what is to be sent, waits for something to come unless there is something to hash, and deals with it.
    Result<void> pump();
    Result<void> flush();
    Result<void> heard(const drive::Reply& reply);
    Result<void> opened(const Asked& asked, const drive::Reply& reply);
    Result<void> arrived(const Asked& asked, const drive::Reply& reply);
    void part_arrived(const Part& part, const drive::Failure* failure);
    void part_done(const Part& part);
    void piece_done(Piece& piece);
    void judge_piece(Item& item, const Piece& piece);
    void ask(drive::Request request, Asked asked);
    /// Tells what is known about the blobs at the front that nothing is outstanding for.
    Result<void> settle();
    void close_file(std::optional<std::uint32_t>& file);

    drive::Client& client_;
    OnFinding on_finding_;
    std::function<void(Bytes)> show_;
    CheckTotals totals_;
    Bytes bytes_done_ = 0;

    hash::Md5Lanes lanes_;
    std::array<Part, kExtents> in_extent_{};
    std::vector<std::size_t> free_extents_;
    std::vector<std::uint32_t> free_files_;
    std::vector<drive::Request> outbox_;
    std::deque<Asked> asked_;
    std::uint64_t next_request_ = 1;
    /// Those whose size has come and that wait for an extent.
    std::deque<SideCheck*> side_ready_;
    std::deque<std::unique_ptr<Item>> items_;
    /// The shared files that were begun last, by what the manifest says of them.
    std::optional<format::SideFile> shared_metadata_;
    std::optional<format::SideFile> shared_properties_;
};

}  // namespace dray::ctl
