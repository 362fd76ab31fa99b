// SPDX-License-Identifier: Apache-2.0
//
// Jobs and drives that survive a power cut: SQLite (WAL, synchronous=FULL), the only SQL of drayd. Loop
// thread only. Each call is one transaction, durable when it returns.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/model/job.hpp"

namespace dray {

/// Thirty-two bytes that encrypt the drives' keys (AES-256-GCM).
inline constexpr std::size_t kMasterKeyBytes = 32;

/// The master key: $CREDENTIALS_DIRECTORY/dray-master-key, else `state_directory`/master.key. `may_make`
/// allows making the file (0600) where neither is there. NotFound: none, and not allowed to make one.
/// Denied: others may read the file. InvalidArgument: fewer than 32 bytes.
Result<SecretBytes> load_master_key(const std::string& state_directory, bool may_make);

/// What a restart must know of the clock (rules.md 21).
struct ClockRecord {
    /// 0: never.
    TimePoint last_seen;
    /// Nothing is done for its age before; 0: nothing is held. `reason` is a sentence that says why.
    TimePoint held_until;
    std::string reason;

    bool operator==(const ClockRecord&) const = default;
};

class Catalog {
public:
    /// Opens or makes `path`; one of an earlier dray is brought up to date, see migrate(). Unsupported: written by a
    /// newer dray (drayd ends with 78). Corrupt: no catalog.
    /// Without a fitting master key it opens all the same: see read_key (rules.md 23).
    static Result<std::unique_ptr<Catalog>> open(const std::string& path);
    ~Catalog();
    Catalog(const Catalog&) = delete;
    Catalog& operator=(const Catalog&) = delete;

    /// Whether encrypted keys are in it, so that a missing master key must not be made anew.
    Result<bool> has_keys() const;
    /// Denied: it does not open what is in here. A catalog without keys takes every key.
    Result<void> check_master_key(const SecretBytes& key) const;
    void use_master_key(SecretBytes key);
    /// There is no fitting one: keys are neither read nor taken, and `reason` is what is said then.
    void refuse_keys(std::string reason);
    /// That reason; "" while there is a master key.
    const std::string& key_problem() const;

    Result<std::vector<Job>> load() const;
    /// The job with all its drives, as one transaction; drives no longer there are removed with their keys.
    Result<void> save(const Job& job);
    /// One drive alone: counters and phases come often.
    Result<void> save_drive(const Job& job, const Drive& drive);
    /// Everything about it: rows and keys, overwritten on disk (secure_delete, WAL truncated), and the copies that
    /// migrations left, because it is in them as well. Busy: it is gone from the catalog, but a reader keeps traces of
    /// it in the log; remove() again.
    Result<void> remove(const Job& job);

    Result<ClockRecord> load_clock() const;
    Result<void> save_clock(const ClockRecord& record);

    /// save(), and the key of one of the job's drives, as one transaction. Denied: there is no master key.
    Result<void> save_with_key(const Job& job, const Drive& drive, const SecretBytes& key);
    /// NotFound: no key. Denied: the master key is missing or does not fit.
    Result<SecretBytes> read_key(const Job& job, const Drive& drive) const;

private:
    struct State;
    explicit Catalog(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace dray
