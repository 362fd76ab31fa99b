// SPDX-License-Identifier: Apache-2.0
//
// What a transfer has done, so that a killed one goes on at the next piece: an SQLite file beside the spool
// (rules.md 14 to 16). Any thread may record; a thread of the journal's own commits.
//
// Two levels: what was recorded survives kill -9 as soon as it is committed (64 records or 250 ms); it
// survives a power cut once mark_synced() has said that the store's content does. After a reboot, seen by
// another boot id, only the latter counts.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/base/clock.hpp"
#include "daemon/base/result.hpp"
#include "daemon/database/database.hpp"
#include "daemon/format/copy_log.hpp"

namespace dray::transfer {

/// What a journal belongs to; any difference and it is set aside.
struct JournalBinding {
    std::string manifest_hash;
    std::string volume_id;
    std::string store;
    /// Of the running kernel, /proc/sys/kernel/random/boot_id.
    std::string boot_id;
};

/// How one blob of the manifest, by its place in it, has ended.
struct BlobRecord {
    std::uint64_t index = 0;
    format::BlobOutcome outcome = format::BlobOutcome::Completed;
    format::DispositionOutcome disposition = format::DispositionOutcome::Created;
    /// Final BlobPath where it is another one than the manifest's.
    std::string name;
    /// Empty: all Completed.
    std::vector<format::PieceOutcome> pieces;
    std::vector<format::LostRange> lost;
    std::optional<format::SideFileOutcome> metadata;
    std::optional<format::SideFileOutcome> properties;
    Bytes bytes_succeeded = 0;
};

/// What may lie uncommitted in the store.
struct Upload {
    std::string id;
    /// Of the blob it was for.
    std::string name;
    bool is_page_blob = false;
};

/// A commit that was about to happen.
struct Intent {
    std::string name;
    TimePoint time;
    /// A blob of that name was there before.
    bool replaces = false;
};

class Journal {
public:
    struct Opened {
        std::unique_ptr<Journal> journal;
        /// Why an earlier journal was set aside, as a sentence; "" if there was none or it goes on.
        std::string set_aside;
    };
    /// Opens or makes `directory`/journal.sqlite.
    static Result<Opened> open(const std::string& directory, const JournalBinding& binding, const Clock& clock);
    /// Commits what was recorded.
    ~Journal();
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;

    /// Random, made with the journal: the first part of upload ids.
    const std::string& id() const { return id_; }

    /// Nothing is known from earlier.
    bool is_new() const { return is_new_; }

    // What is known from earlier. Not while another thread records for the same blob.
    Result<std::optional<BlobRecord>> blob(std::uint64_t index);
    Result<std::vector<std::uint64_t>> pieces(std::uint64_t index);
    Result<std::optional<Intent>> intent(std::uint64_t index);
    /// The name that was reserved for this blob, or that its last intent had.
    Result<std::optional<std::string>> reservation(std::uint64_t index);
    /// What may lie uncommitted in the store: uploads that were begun and have not become a blob, those of journals
    /// that were set aside among them; with `with_intents` also small blobs whose commit has no outcome.
    Result<std::vector<Upload>> uploads(bool with_intents);
    /// The same, all of it, of the journal that is in a directory, whatever drive it belongs to, as far as it can be
    /// read and is of this store.
    static std::vector<Upload> uploads_in(const std::string& directory, const std::string& store);

    // Recording returns at once.
    void record_piece(std::uint64_t index, std::uint64_t piece);
    void record_blob(BlobRecord record);
    /// A name found for the disposition `rename`. Answers its place, for wait_for().
    std::uint64_t record_reservation(std::uint64_t index, const std::string& name);
    /// The upload of this blob is about to begin, under this name.
    void record_begin(std::uint64_t index, const std::string& name, bool is_page_blob);
    /// The store has lost what was put of this blob. Returns when that survives kill -9.
    Result<void> forget_pieces(std::uint64_t index);
    /// Returns when the intent survives kill -9.
    Result<void> record_intent(std::uint64_t index, const std::string& name, bool replaces);

    /// Returns when what was recorded up to this place survives kill -9.
    Result<void> wait_for(std::uint64_t sequence);
    /// Commits everything recorded so far.
    Result<void> flush();
    /// A point to be given to mark_synced() after the store's sync() that followed it.
    std::uint64_t mark() const;
    void mark_synced(std::uint64_t mark);
    /// The store has lost what was not synced: at the next opening only what was marked counts.
    void distrust();

    /// How many records are not committed yet.
    std::uint64_t backlog() const;

    /// Pieces committed since it was opened.
    std::uint64_t pieces_committed() const { return pieces_committed_.load(std::memory_order_relaxed); }
    /// The first error of the committing thread (a full disk); nothing is recorded after it.
    std::optional<Error> failure() const;

private:
    struct Entry {
        enum class Kind { Piece, Blob, Begin, Forget, Reservation, Intent, Synced, Distrust } kind;
        std::uint64_t index = 0;
        std::uint64_t number = 0;
        std::uint64_t sequence = 0;
        bool replaces = false;
        std::string name;
        BlobRecord record{};
    };

    Journal(Database database, const Clock& clock);
    /// Takes over what journals that were set aside say of uploads.
    Result<void> inherit_uploads(const std::string& store);
    static Result<std::unique_ptr<Journal>> try_open(const std::string& path, const JournalBinding& binding,
                                                     const Clock& clock);
    Result<void> set_up(const JournalBinding& binding);
    std::uint64_t enqueue(Entry entry);
    void run(const std::stop_token& stop);
    Result<void> commit(const std::vector<Entry>& batch);
    Result<void> write(const Entry& entry);
    Result<void> write_lost(const BlobRecord& record);
    Result<std::vector<format::LostRange>> lost(std::uint64_t index);

    std::unique_ptr<Database> database_;
    const Clock& clock_;
    std::string id_;
    bool is_new_ = false;
    mutable std::mutex database_mutex_;
    mutable std::mutex mutex_;
    std::condition_variable_any wake_;
    std::condition_variable committed_;
    std::vector<Entry> queue_;
    std::uint64_t next_sequence_ = 1;
    std::uint64_t committed_sequence_ = 0;
    unsigned waiting_ = 0;
    std::optional<Error> failure_;
    std::atomic<std::uint64_t> pieces_committed_ = 0;
    std::jthread thread_;
};

/// The same after every crash, and another one for every blob of every drive.
inline std::string upload_id(const std::string& journal, std::uint64_t index) {
    return journal + "-" + std::to_string(index);
}
inline std::string upload_id(const Journal& journal, std::uint64_t index) { return upload_id(journal.id(), index); }

}  // namespace dray::transfer
