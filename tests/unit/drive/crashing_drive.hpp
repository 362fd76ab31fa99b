// SPDX-License-Identifier: Apache-2.0
//
// A dray-drive that fills a drive and ends at a chosen write or flush, and what can be said from outside about the
// device and the state file that it leaves behind.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "daemon/drive/client.hpp"
#include "tests/unit/drive/scratch_drive.hpp"

namespace dray::test {

/// The shared file of crash_points.so.
class CrashPoint {
public:
    explicit CrashPoint(const std::string& path);
    CrashPoint(const CrashPoint&) = delete;
    CrashPoint& operator=(const CrashPoint&) = delete;
    ~CrashPoint();
    const std::string& path() const { return path_; }
    enum class Loses { Nothing, WhenUnplugged, InAPowerCut };
    /// The process ends just before or after its write or flush number `after`, counted from 0. What was not flushed
    /// then, of the device or of any file, may be lost, by `seed`.
    void end_at(std::uint32_t after, bool is_after, Loses loses = Loses::Nothing, std::uint32_t seed = 0);
    void end_nowhere();
    /// Writes and flushes of the last process.
    std::uint32_t count() const;

private:
    std::string path_;
    std::byte* shared_ = nullptr;
};

class FillingProcess {
public:
    /// `state`: opened anew, as a peer that was started again would. `point`: null for none.
    FillingProcess(const std::string& device, const std::string& state, std::span<const std::byte> key,
                   const CrashPoint* point);
    FillingProcess(const FillingProcess&) = delete;
    FillingProcess& operator=(const FillingProcess&) = delete;
    ~FillingProcess() {
        if (pid_ > 0)
            end();
    }
    drive::Client& client() { return *client_; }
    int state_fd() const { return state_.get(); }
    pid_t pid() const { return pid_; }
    void kill();
    /// Hangs up; the status as of waitpid.
    int end();

private:
    pid_t pid_ = -1;
    std::optional<drive::Client> client_;
    FileDescriptor state_;
};

/// One part of the state file, read as FORMAT.md says, by nothing of dray's.
struct StatePart {
    std::string volume_id;
    std::uint64_t sequence = 0;
    bool is_finished = false;
};
inline constexpr Bytes kStateCheckpoint = 0;
inline constexpr Bytes kStateHeader = 4 * kMiB;
inline constexpr Bytes kStateLog = 20 * kMiB;
/// Nothing unless it is whole.
std::optional<StatePart> read_state_part(const std::string& path, Bytes place);

/// Decrypts the drive, with the state file's LUKS header unless that is empty, and lets e2fsck look at it.
void expect_clean_drive(const ScratchDirectory& scratch, const std::string& device, const std::string& key_file,
                        const std::string& header_state, std::size_t sector_size = 4096);

}  // namespace dray::test
