// SPDX-License-Identifier: Apache-2.0
//
// Copies blobs from the store onto a drive that dray-drive fills. One thread plans, talks with dray-drive and keeps the journal;
// lanes fetch and hash straight into the ring, many ranges at once. Each range is held to the blob's etag: a blob that changes
// meanwhile is read from a snapshot, or reported, never mixed (azure-import-export.md 5.1).
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/base/clock.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/transfer/control.hpp"
#include "daemon/transfer/export_journal.hpp"
#include "daemon/transfer/export_names.hpp"
#include "daemon/transfer/import.hpp"
#include "daemon/transfer/lanes.hpp"
#include "daemon/transfer/ring_allocator.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::transfer {

/// What a checkpoint's progress says.
struct ExportProgress {
    /// Of the journal.
    std::uint64_t generation = 0;
    /// Which blob is open under which number.
    std::map<std::uint32_t, std::uint64_t> files;

    std::string text() const;
    /// Corrupt: it is none.
    static Result<ExportProgress> parse(const std::string& text);
};

class Export {
public:
    struct Parts {
        drive::Client& drive;
        store::BlobStore& store;
        ExportJournal& journal;
        /// Knows every directory that there will be, and the paths of the journal.
        DriveNames& names;
        Control& control;
        ProgressCounters& progress;
        const Clock& clock;
        unsigned requests;
        /// What the logs have no words for.
        std::function<void(const std::string&)> warn;
        /// Between two checkpoints.
        Microseconds checkpoint_every = std::chrono::seconds(5);
        Bytes checkpoint_bytes = kGiB;
    };

    explicit Export(Parts parts);

    /// Goes on with what the drive had open at its last checkpoint, if there was one. What has ended by the end is in the journal
    /// and on the drive, both durable. Gone: the device went away. Internal: dray-drive died. Others are the store's or the
    /// journal's: a fault that the site can mend.
    Result<CopyEnd> run(const std::optional<drive::Resumed>& resumed);

private:
    enum class Step { Looking, Creating, Reading, Ending };
    struct Work {
        ExportEntry entry;
        std::uint32_t file = 0;
        Step step = Step::Looking;
        store::BlobStatus status;
        /// What is read: the blob, or the snapshot of it that we have taken.
        BlobName source;
        bool is_our_snapshot = false;
        std::vector<store::Piece> pieces;
        std::vector<Md5Hash> hashes;
        /// Pieces whose content is on its way to the drive.
        std::vector<bool> is_written;
        std::size_t next_piece = 0;
        /// Ranges on lanes, and requests to dray-drive without an answer.
        unsigned fetching = 0;
        unsigned asked = 0;
        bool is_on_drive = false;
        bool has_changed = false;
        bool has_no_room = false;
        unsigned tries = 0;
        std::optional<format::BlobOutcome> failure;
        Bytes counted = 0;
        /// Of an earlier run: goes on if the blob is still the same.
        std::optional<ExportPart> part;
        Bytes part_written = 0;
        std::optional<format::SideFile> metadata;
        std::optional<format::SideFile> properties;
    };
    struct Pending {
        enum class Kind { Directory, Create, Write, Side, Remove, Checkpoint } kind;
        std::shared_ptr<Work> work;
        std::optional<Bytes> extent;
        Bytes length = 0;
    };
    struct Looked {
        store::BlobStatus status;
        BlobName source;
        bool is_our_snapshot = false;
        std::vector<store::Piece> pieces;
    };

    Result<void> take_up(const drive::Resumed& resumed);
    Result<bool> is_over();
    Result<void> step();
    Result<void> wait();

    // Blobs.
    Result<void> begin_more();
    Bytes ahead() const;
    void look(const std::shared_ptr<Work>& work);
    static Result<Looked> look_at(store::BlobStore& store, const ExportEntry& entry, bool has_changed, const std::stop_token& stop);
    void looked(const std::shared_ptr<Work>& work, Result<Looked> looked);
    void create(const std::shared_ptr<Work>& work);
    bool goes_on(Work& work);
    void make_directories(const std::string& path);
    bool fetch(const std::shared_ptr<Work>& work);
    void fetched(const std::shared_ptr<Work>& work, std::size_t first, std::size_t count, Bytes extent, const Result<void>& result);
    void refused(Work& work, const Error& error);
    /// When nothing of it is under way: the next step.
    void settle(const std::shared_ptr<Work>& work);
    void start_over(const std::shared_ptr<Work>& work);
    bool write_sides(const std::shared_ptr<Work>& work);
    bool write_side(const std::shared_ptr<Work>& work, const std::string& extension, const std::string& text,
                    std::optional<format::SideFile>& side);
    void end(const std::shared_ptr<Work>& work);
    void drop_our_snapshot(const Work& work);
    void count(Work& work, Bytes bytes);

    // The drive.
    void ask(drive::Request request, Pending pending);
    Result<void> submit();
    Result<void> heard(const drive::Reply& reply);
    Result<void> answered(const Pending& pending, const std::optional<drive::Failure>& failure);
    bool is_checkpoint_due() const;
    Result<void> begin_checkpoint();

    drive::Client& drive_;
    store::BlobStore& store_;
    ExportJournal& journal_;
    DriveNames& names_;
    Control& control_;
    ProgressCounters& progress_;
    const Clock& clock_;
    const Parts parts_;
    RingAllocator ring_;
    std::map<std::uint64_t, std::shared_ptr<Work>> works_;
    std::set<std::uint32_t> free_files_;
    std::set<std::string> directories_;
    std::uint64_t next_index_ = 0;
    bool has_next_ = true;
    /// A blob was given up because the drive is drained.
    bool is_cut_short_ = false;
    std::vector<drive::Request> batch_;
    std::deque<Pending> pending_;
    unsigned fetching_ = 0;
    std::vector<ExportOutcome> ended_;
    bool is_checkpoint_out_ = false;
    bool has_last_checkpoint_ = false;
    Bytes written_ = 0;
    Bytes written_at_checkpoint_ = 0;
    Microseconds checkpoint_at_{0};
    std::optional<Error> fault_;
    unsigned warned_ = 0;
    /// Last: its threads use what is above.
    Lanes lanes_;
};

}  // namespace dray::transfer
