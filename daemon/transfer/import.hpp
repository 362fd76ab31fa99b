// SPDX-License-Identifier: Apache-2.0
//
// Copies what the manifest names from the drive into the store. One thread plans, reads and verifies; lanes
// put what was verified; the journal remembers. Pieces are asked for in document order, many at once.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "daemon/base/clock.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/transfer/blob_work.hpp"
#include "daemon/transfer/control.hpp"
#include "daemon/transfer/journal.hpp"
#include "daemon/transfer/lanes.hpp"
#include "daemon/transfer/names_in_use.hpp"
#include "daemon/transfer/piece_memory.hpp"
#include "daemon/transfer/ring_allocator.hpp"
#include "daemon/transfer/spool.hpp"
#include "daemon/transfer/survey.hpp"

namespace dray::transfer {

/// How a copy came to its end.
enum class CopyEnd { Done, Drained, Stopped };

/// Reads `content` as the manifest's metadata or properties file: hash, grammar. What is wrong is the
/// outcome; a right one fills the argument.
format::SideFileOutcome take_metadata(std::span<const std::byte> content, const Md5Hash& hash,
                                      store::BlobMetadata& metadata);
format::SideFileOutcome take_properties(std::span<const std::byte> content, const Md5Hash& hash,
                                        store::BlobProperties& properties);

/// A store's error as the fault it is: only kinds that say something of the drive keep their own.
Error of_store(const Error& error);
/// Whether a store that fails so has nothing against other blobs. Denied may be either: check() tells.
bool is_about_one_blob(ErrorKind kind);

/// A file system may stamp a rename with a coarser clock than the one the intent was taken from.
inline constexpr Microseconds kStampSlack = std::chrono::seconds(1);
inline constexpr Microseconds kRemovalLimit = std::chrono::seconds(3);

class Import {
public:
    struct Parts {
        drive::Client& drive;
        store::BlobStore& store;
        Journal& journal;
        Control& control;
        ProgressCounters& progress;
        const Clock& clock;
        unsigned requests;
        /// A drive that leaves a request without an answer for so long counts as crashed.
        Microseconds patience;
        /// A device that is being pulled is told of within this time after the first failed read (rules.md 1).
        Microseconds removal_limit = kRemovalLimit;
        /// What the logs have no words for: why a file could not be opened.
        // NOLINTNEXTLINE(readability-redundant-member-init): whoever has nobody to tell leaves it out.
        std::function<void(const std::string&)> warn = {};
        /// The smallest read that the drive knows.
        Bytes sector = 512;
    };

    explicit Import(Parts parts);

    /// Gone: the device went away (Error kind Gone). Internal: dray-drive died. Other errors are the store's
    /// or the journal's: a fault that the site can mend.
    Result<CopyEnd> run(const Spool& spool);

private:
    void keep_synced(const std::stop_token& stop);
    std::optional<Error> sync_failure() const;

    struct Found {
        unsigned number = 1;
        BlobName name;
    };
    /// A look at the store, on a lane, while the blobs before are still being read.
    struct Lookup {
        std::optional<Result<Found>> found;
        /// A blob under way has ended that may have taken the name since.
        bool is_stale = false;
    };
    struct Awaited {
        std::unique_ptr<BlobWork> work;
        /// Null: nothing depends on it.
        std::shared_ptr<Lookup> lookup;
    };

    // Planning: what is next, and whether it is to be done at all.
    Result<void> admit(std::uint64_t index, format::ManifestBlob&& blob);
    Result<void> begin_first();
    bool is_full_with(const BlobWork& work) const;
    Result<bool> is_known(std::uint64_t index, const format::ManifestBlob& blob);
    Result<bool> was_committed(BlobWork& work);
    void take_as_published(BlobWork& work, const store::BlobStatus& found);
    Result<bool> has_content(BlobWork& work, const BlobName& name);
    Result<void> begin(Awaited awaited);
    /// The store failed before anything was asked of the drive for this blob.
    Result<void> not_begun(BlobWork& work, const Error& error);
    Result<void> begin_upload(BlobWork& work);
    Result<void> issue_piece(BlobWork& work, std::size_t piece);
    Result<void> fetch_side_files(BlobWork& work);
    Result<format::SideFileOutcome> fetch_side_file_twice(const format::SideFile& file,
                                                          std::vector<std::byte>& content);
    Result<format::SideFileOutcome> fetch_side_file(const format::SideFile& file, std::vector<std::byte>& content);

    // Names: looked up, reserved, published under.
    std::shared_ptr<Lookup> look_up(const BlobWork& work, unsigned number);
    Result<Found> find_name(const std::string& path, unsigned number, bool may_rename);
    unsigned first_number(const BlobWork& work) const;
    bool hold_names(Awaited& first);
    void reserve(BlobWork& work, const Found& found);
    Result<void> reserve_next(BlobWork& work);
    void release_names(BlobWork& work);

    // The drive: requests out, replies in.
    void ask(drive::Request request);
    Result<void> flush();
    /// Waits until something has happened, and deals with it.
    Result<void> pump();
    Result<void> heard(const drive::Reply& reply);
    void read_failed(const Part& part, const drive::Failure& failure);
    void say_why(const drive::Failure& failure);

    // import_again.cpp: what could not be read is only suspected at first.
    void await_second_look(BlobWork& work);
    Result<void> look_again();
    Result<void> read_again(BlobWork& work);
    /// Which bytes of its pieces cannot be read.
    Result<void> find_lost(BlobWork& work);
    Result<void> find_lost(const BlobWork& work, Survey& survey);
    void tell_lost(const BlobWork& work);

    // Verifying: from the ring to what may be put.
    struct Hashing {
        Part part;
        /// Of a part that is a whole piece.
        hash::Md5Stream stream;
    };
    void arrived(const Part& part);
    bool is_next(const Part& part);
    void break_off(BlobWork& work, std::size_t piece);
    void take_in();
    void hash_on();
    void verified(const Part& part, bool is_right);
    std::span<const std::byte> content_of(const Part& part) const;
    store::Piece piece_of(const Part& part) const;
    void release(const Part& part);

    // Putting.
    void put_part(const Part& part);
    struct Published {
        Result<void> result;
        /// A blob of that name was there before.
        bool has_replaced = false;
    };
    using Commit = std::function<Result<void>(const store::BlobProperties&, const store::BlobMetadata&)>;
    Published publish(BlobWork& work, const Commit& commit);
    Result<void> commit_once(BlobWork& work, const Commit& commit);
    /// It was published without properties and metadata, because the store did not take them.
    static void went_bare(BlobWork& work);
    void published(BlobWork& work, const Published& published);
    /// A call of the store's on a lane: what it throws is the failure of this one blob.
    template <typename Call>
    static std::invoke_result_t<Call> guarded(BlobWork& work, const Call& call) {
        try {
            return call();
        } catch (const std::exception& exception) {
            work.has_thrown = true;
            return fail(ErrorKind::Internal, "unexpected: {}", exception.what());
        }
    }
    void put_whole(BlobWork& work, std::optional<Part> part);
    void piece_done(BlobWork& work, std::size_t piece, format::PieceOutcome outcome);
    void settle(BlobWork& work);
    void finish(BlobWork& work);
    void conclude(BlobWork& work, BlobRecord record);
    /// conclude() for a blob of which nothing is to stay in the store.
    void give_up(BlobWork& work, BlobRecord record);
    void drop(BlobWork& work);
    void store_failed(BlobWork& work, const Error& error);
    bool is_store_usable();
    BlobRecord record_of(const BlobWork& work, format::BlobOutcome outcome, bool is_published = false) const;
    static BlobRecord record_of_skipped(const BlobWork& work);

    Result<void> find_begun();
    bool may_begin(std::uint64_t index) const;
    Result<void> pass_over();
    bool may_read() const;
    store::CreateOptions create_options(const BlobWork& work) const;
    void count(BlobWork& work, Bytes bytes);
    void succeed(BlobWork& work, Bytes bytes);

    drive::Client& drive_;
    store::BlobStore& store_;
    Journal& journal_;
    Control& control_;
    ProgressCounters& progress_;
    const Clock& clock_;
    unsigned requests_;
    Microseconds patience_;
    Microseconds removal_limit_;
    /// Blobs in hand of which something could not be read.
    std::set<std::uint64_t> unread_;
    bool is_looking_again_ = false;
    Bytes sector_;
    /// What is left of the drive's time for finding out which bytes are lost.
    Microseconds survey_time_;
    /// The one read of that kind that is waited for.
    std::optional<std::uint64_t> survey_request_;
    std::optional<Result<void>> survey_read_;
    unsigned losses_told_ = 0;
    std::function<void(const std::string&)> warn_;
    unsigned warnings_ = 0;
    /// When dray-drive last said something, or was asked after a silence.
    Microseconds heard_{0};
    std::size_t pieces_in_hand_ = 0;
    /// By BlobPath of the manifest: the last number that was published, so that equal ones do not try all again.
    std::map<std::string, unsigned> numbers_;
    /// When the store last said that all is well with it as a whole.
    std::optional<Microseconds> usable_;

    /// The store notices by itself when what it is given changes.
    bool checks_at_far_end_;
    RingAllocator ring_;
    PieceMemory copies_;
    hash::Md5Lanes md5_;
    /// In the ring, waiting for room in private memory.
    std::deque<Part> arrived_;
    /// In the lanes of the hash.
    std::map<std::uint64_t, Hashing> hashing_;
    std::uint64_t hashings_ = 0;
    std::map<std::uint64_t, std::unique_ptr<BlobWork>> works_;
    /// Those whose turn comes next, in document order.
    std::deque<Awaited> awaited_;
    std::size_t pieces_awaited_ = 0;
    NamesInUse names_;
    std::set<std::string> containers_;
    std::vector<std::uint32_t> free_files_;
    std::map<std::uint32_t, BlobWork*> open_files_;
    std::map<std::uint64_t, Part> parts_;
    std::uint64_t next_request_ = 1;
    std::vector<drive::Request> outbox_;
    unsigned unanswered_ = 0;
    /// The opening of a side file, and its content, while one is waited for.
    std::optional<std::uint32_t> side_file_;
    std::optional<Result<Bytes>> side_size_;
    std::optional<std::uint64_t> side_request_;
    std::optional<Result<void>> side_read_;
    /// Blobs that an earlier run had begun and whose turn has not come yet.
    std::set<std::uint64_t> begun_;
    /// The first failure that ends the copy; nothing new is begun after it.
    std::optional<Error> fault_;
    bool is_gone_ = false;
    /// A blob was let go of before its end because of a drain.
    bool was_cut_short_ = false;
    mutable std::mutex sync_mutex_;
    std::optional<Error> sync_failure_;
    /// Last, so that lanes have ended before what they use goes.
    Lanes lanes_;
};

}  // namespace dray::transfer
