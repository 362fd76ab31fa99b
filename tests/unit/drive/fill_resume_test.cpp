// SPDX-License-Identifier: Apache-2.0
//
// The real dray-drive fills drives and is killed at random writes and flushes, also within its checkpoints; its device is
// unplugged or the power cut, so that what was not flushed is lost. cryptsetup and e2fsck say what the device holds then,
// and the filling is gone on with to its end.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <random>

#include "daemon/base/file.hpp"
#include "tests/unit/drive/crashing_drive.hpp"

namespace dray::drive {
namespace {

namespace stdfs = std::filesystem;
using test::CrashPoint;
using test::FillingProcess;
using test::ScratchDirectory;
using Content = std::vector<std::byte>;

const std::vector<std::byte> kKey = test::random_bytes(815, 32);
constexpr Bytes kSize = 72 * kMiB;
constexpr Bytes kLarge = 20 * kMiB + 777;

Format format_of(Checkpoints checkpoints) { return {kSize, "lyon-2", 600, 32 * kMiB, true, checkpoints}; }

std::string make_device(const ScratchDirectory& scratch, const std::string& name = "device", Bytes size = kSize) {
    const std::string path = scratch / name;
    const FileDescriptor fd = test::open_or_die(path, O_RDWR | O_CREAT | O_TRUNC);
    const Content old(kMiB, std::byte{0x5a});
    for (Bytes offset = 0; offset < size; offset += old.size())
        if (!write_fully(fd.get(), offset, old, path))
            throw std::runtime_error("cannot make a device");
    stdfs::resize_file(path, size);
    return path;
}

std::uint64_t announced_seed() {
    const char* given = std::getenv("DRAY_TEST_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::cout << "seed " << seed << '\n';
    return seed;
}

/// What is put onto the drive, step by step; the progress is the number of the next one.
struct Step {
    enum Kind { Directory, Small, Begin, Piece, End, Remove, Checkpoint } kind;
    std::string path;
    std::uint32_t file = 0;
    Bytes offset = 0;
    Bytes length = 0;
};

class Plan {
public:
    explicit Plan(std::uint64_t seed) : random_(seed) {
        std::string directory;
        begin("large", kLarge, 7);
        begin("given-up", 3 * kMiB, 8);
        for (int i = 0; i < 150; ++i) {
            if (i % 20 == 0) {
                directory = "d" + std::to_string(i);
                steps.push_back({Step::Directory, directory});
                directory += "/";
            }
            const std::string path = directory + "small-" + std::to_string(i) + std::string(random_() % 90, 'n');
            files[path] = test::random_bytes(random_(), random_() % 20'000);
            steps.push_back({Step::Small, path});
            if (i % 3 == 0)
                piece("large", 7);
            if (i % 30 == 4 && i < 70)
                piece("given-up", 8);
            if (i == 70) {
                steps.push_back({Step::Remove, "given-up", 8});
                files.erase("given-up");
            }
            if (i % 40 == 33) {
                steps.push_back({Step::Remove, path});
                files.erase(path);
            }
            if (random_() % 8 == 0)
                steps.push_back({Step::Checkpoint, ""});
        }
        while (written_["large"] < kLarge)
            piece("large", 7);
        steps.push_back({Step::End, "large", 7});
    }

    std::map<std::string, Content> files;
    std::map<std::string, Content> begun;
    std::vector<Step> steps;

    /// Done one after the other from `next` on; Gone: dray-drive has died.
    Result<void> run(Client& client, std::size_t& next, bool has_checkpoints) {
        for (; next < steps.size(); ++next)
            DRAY_TRY(run(client, steps[next], next, has_checkpoints));
        return client.call(Finish{});
    }

    /// What must be open at this step, and how far it is.
    std::vector<Resumed::File> open_at(std::size_t next) const {
        std::map<std::uint32_t, Resumed::File> open;
        for (std::size_t i = 0; i < next; ++i) {
            const Step& step = steps[i];
            if (step.kind == Step::Begin)
                open[step.file] = {step.file, step.length, 0};
            else if (step.kind == Step::Piece)
                open[step.file].written = step.offset + step.length;
            else if (step.kind == Step::End || step.kind == Step::Remove)
                open.erase(step.file);
        }
        std::vector<Resumed::File> list;
        list.reserve(open.size());
        for (const auto& [number, file] : open)
            list.push_back(file);
        return list;
    }

private:
    void begin(const std::string& path, Bytes size, std::uint32_t file) {
        begun[path] = files[path] = test::random_bytes(random_(), size);
        steps.push_back({Step::Begin, path, file, 0, size});
    }
    void piece(const std::string& path, std::uint32_t file) {
        const Bytes offset = written_[path];
        const Bytes length = std::min<Bytes>(1 + random_() % 700'000, begun[path].size() - offset);
        if (length == 0)
            return;
        steps.push_back({Step::Piece, path, file, offset, length});
        written_[path] += length;
    }
    static Result<void> put(Client& client, std::uint32_t file, Bytes offset, std::span<const std::byte> content) {
        std::copy(content.begin(), content.end(), client.ring().begin());
        return client.call(Write{1, file, offset, content.size(), 0});
    }
    Result<void> run(Client& client, const Step& step, std::size_t number, bool has_checkpoints) {
        constexpr std::uint64_t kTime = 1'700'000'000'000'000;
        switch (step.kind) {
            case Step::Directory: return client.call(MakeDirectory{step.path});
            case Step::Begin: return client.call(Create{step.file, step.path, step.length, kTime});
            case Step::Piece: {
                const std::span<const std::byte> whole = begun.at(step.path);
                return put(client, step.file, step.offset, whole.subspan(step.offset, step.length));
            }
            case Step::End: return client.close(step.file);
            case Step::Remove: return client.call(drive::Remove{step.path});
            case Step::Small: {
                const auto found = files.find(step.path);
                const Content content = found != files.end() ? found->second : Content(5000, std::byte{9});
                DRAY_TRY(client.call(Create{3, step.path, content.size(), kTime}));
                DRAY_TRY(put(client, 3, 0, content));
                return client.close(3);
            }
            case Step::Checkpoint: break;
        }
        if (!has_checkpoints)
            return {};
        DRAY_LET(const Bytes logged, client.checkpoint(std::to_string(number + 1)));
        ++checkpoints;
        all_logged += logged;
        return {};
    }

    std::mt19937_64 random_;
    std::map<std::string, Bytes> written_;

public:
    int checkpoints = 0;
    Bytes all_logged = 0;
};

void expect_same_files(const std::vector<Resumed::File>& left, const std::vector<Resumed::File>& right) {
    ASSERT_EQ(left.size(), right.size());
    for (std::size_t i = 0; i < left.size(); ++i) {
        EXPECT_EQ(left[i].file, right[i].file);
        EXPECT_EQ(left[i].size, right[i].size);
        EXPECT_EQ(left[i].written, right[i].written);
    }
}

/// By debugfs: all files and nothing else.
void expect_content(const ScratchDirectory& scratch, const std::map<std::string, Content>& files) {
    const std::string tree = scratch / "tree";
    stdfs::remove_all(tree);
    stdfs::create_directory(tree);
    test::run("debugfs -R 'rdump / " + tree + "' " + scratch / "plain");
    std::size_t found = 0;
    for (const auto& entry : stdfs::recursive_directory_iterator(tree)) {
        if (!entry.is_regular_file())
            continue;
        ++found;
        const std::string path = stdfs::relative(entry.path(), tree);
        ASSERT_TRUE(files.contains(path)) << path;
        EXPECT_TRUE(test::read_bytes(entry.path()) == files.at(path)) << path;
    }
    EXPECT_EQ(found, files.size());
}

int kills_wanted() {
    const char* given = std::getenv("DRAY_TEST_KILLS");
    return given != nullptr ? std::max(1, std::atoi(given)) : 10;
}

class KilledFilling : public testing::TestWithParam<Checkpoints> {};

TEST_P(KilledFilling, IsCleanAtEveryMomentAndGoneOnWithToItsEnd) {
    const Checkpoints kind = GetParam();
    std::mt19937_64 random(announced_seed());
    const ScratchDirectory scratch;
    test::write_bytes(scratch / "key", kKey);
    CrashPoint point(scratch / "points");
    int kills = 0;
    int resumed_with_log = 0;
    int begun_anew = 0;
    int drives = 0;
    for (std::uint32_t operations = 0; kills < kills_wanted(); ++drives) {
        Plan plan(random());
        const std::string device = make_device(scratch);
        const std::string state = scratch / "state";
        stdfs::remove(state);
        std::size_t next = 0;
        for (bool is_done = false; !is_done;) {
            const auto settled = test::read_state_part(state, test::kStateCheckpoint);
            const auto logged = test::read_state_part(state, test::kStateLog);
            // The first drive tells how many operations there are.
            if (operations != 0 && kills < kills_wanted())
                point.end_at(static_cast<std::uint32_t>(random() % (settled ? operations / 3 : operations)), random() % 2 == 0,
                             static_cast<CrashPoint::Loses>(random() % 3), static_cast<std::uint32_t>(random()));
            else
                point.end_nowhere();
            FillingProcess drive(device, state, kKey, &point);
            Result<void> done;
            const Result<Resumed> resumed = drive.client().resume({}, drive.state_fd());
            if (resumed) {
                ASSERT_TRUE(settled || logged);
                const bool is_logged = logged && (!settled || logged->sequence > settled->sequence);
                resumed_with_log += is_logged ? 1 : 0;
                EXPECT_EQ(resumed->is_finished, (is_logged ? logged : settled)->is_finished);
                next = resumed->progress.empty() ? 0 : std::stoul(resumed->progress);
                if (resumed->is_finished) {
                    is_done = true;
                } else {
                    expect_same_files(resumed->files, plan.open_at(next));
                    done = plan.run(drive.client(), next, true);
                }
            } else if (resumed.error().kind() == ErrorKind::NotFound) {
                ASSERT_FALSE(settled || logged);
                ++begun_anew;
                next = 0;
                drive.end();
                FillingProcess fresh(device, state, kKey, &point);
                const Result<Unlocked> made = fresh.client().format(format_of(kind), fresh.state_fd());
                done = made ? plan.run(fresh.client(), next, true) : Result<void>(fail(Error(made.error())));
                fresh.end();
            } else {
                done = fail(Error(resumed.error()));
            }
            drive.end();
            is_done = is_done || done.has_value();
            if (is_done)
                break;
            // Nothing but the kill, or that of the process that unlocks, is an error.
            ASSERT_TRUE(done.error().kind() == ErrorKind::Gone || done.error().text().starts_with("unlocking was stopped"))
                << done.error().text();
            ++kills;
            const auto settled_now = test::read_state_part(state, test::kStateCheckpoint);
            const auto logged_now = test::read_state_part(state, test::kStateLog);
            const bool is_in_place = logged_now && (!settled_now || logged_now->sequence > settled_now->sequence);
            if (!is_in_place && settled_now) {
                test::expect_clean_drive(scratch, device, scratch / "key",
                                         kind == Checkpoints::HeaderLast ? state : "");
                if (HasFatalFailure())
                    return;
            }
            // Only the finished drive opens.
            if (kind == Checkpoints::HeaderLast && settled_now && !settled_now->is_finished && !is_in_place) {
                EXPECT_NE(std::system(("cryptsetup isLuks " + device).c_str()), 0);
            }
        }
        if (operations == 0)
            operations = point.count();
        point.end_nowhere();
        test::expect_clean_drive(scratch, device, scratch / "key", "");
        expect_content(scratch, plan.files);
        if (HasFatalFailure())
            return;
        if (plan.checkpoints > 0)
            std::cout << plan.checkpoints << " checkpoints, " << plan.all_logged / kKiB << " KiB of redo log\n";
    }
    std::cout << kills << " kills in " << drives << " drives; " << resumed_with_log << " with a log to replay, "
              << begun_anew - drives << " before the first checkpoint\n";
}

INSTANTIATE_TEST_SUITE_P(Drives, KilledFilling, testing::Values(Checkpoints::HeaderFirst, Checkpoints::HeaderLast),
                         [](const testing::TestParamInfo<Checkpoints>& kind) {
                             return std::string(kind.param == Checkpoints::HeaderFirst ? "HeaderFirst" : "HeaderLast");
                         });

/// A drive that was killed after a checkpoint, with progress "half", and one file in the middle.
class HalfFilled {
public:
    explicit HalfFilled(Checkpoints kind = Checkpoints::HeaderFirst, const std::string& name = "half")
        : kind_(kind), device(make_device(scratch, name)), state(scratch / (name + ".state")) {
        test::write_bytes(scratch / "key", kKey);
        FillingProcess drive(device, state, kKey, nullptr);
        const Result<Unlocked> made = drive.client().format(format_of(kind), drive.state_fd());
        EXPECT_TRUE(made) << made.error().text();
        id = made ? made->volume_id : "";
        Client& client = drive.client();
        EXPECT_TRUE(client.call(MakeDirectory{"dir"}));
        EXPECT_TRUE(client.checkpoint("first"));
        EXPECT_TRUE(client.call(Create{1, "dir/file", 3 * kMiB, 0}));
        std::copy(content.begin(), content.begin() + kMiB, client.ring().begin());
        EXPECT_TRUE(client.call(Write{1, 1, 0, kMiB, 0}));
        EXPECT_TRUE(client.checkpoint("half"));
        EXPECT_TRUE(client.call(Create{2, "late", 100, 0}));
        drive.kill();
    }

    /// The error of a resume, or nothing.
    std::optional<Error> resume_error(const std::string& on_device, const std::string& with_state,
                                      std::span<const std::byte> key = kKey, const std::string& volume_id = "") {
        FillingProcess drive(on_device, with_state, key, nullptr);
        const Result<Resumed> resumed = drive.client().resume({volume_id}, drive.state_fd());
        if (!resumed)
            return resumed.error();
        progress = resumed->progress;
        return std::nullopt;
    }
    std::optional<Error> resume_error() { return resume_error(device, state); }

    /// Goes on to the end and looks at it.
    void expect_completed() {
        FillingProcess drive(device, state, kKey, nullptr);
        Client& client = drive.client();
        const Result<Resumed> resumed = client.resume({id}, drive.state_fd());
        ASSERT_TRUE(resumed) << resumed.error().text();
        ASSERT_EQ(resumed->files.size(), 1U);
        EXPECT_EQ(resumed->files[0].file, 1U);
        const Bytes written = resumed->files[0].written;
        std::copy(content.begin() + static_cast<std::ptrdiff_t>(written), content.end(), client.ring().begin());
        ASSERT_TRUE(client.call(Write{1, 1, written, content.size() - written, 0}));
        EXPECT_TRUE(client.call(Create{2, "late", 0, 0})) << "it was not there at the last checkpoint";
        ASSERT_TRUE(client.call(Finish{}));
        drive.end();
        test::expect_clean_drive(scratch, device, scratch / "key", "");
        expect_content(scratch, {{"dir/file", content}, {"late", {}}});
    }

    Checkpoints kind_;
    ScratchDirectory scratch;
    std::string device;
    std::string state;
    std::string id;
    std::string progress;
    Content content = test::random_bytes(77, 3 * kMiB);
};

TEST(Resuming, GivesBackProgressAndOpenFilesAndGoesOn) {
    for (const Checkpoints kind : {Checkpoints::HeaderFirst, Checkpoints::HeaderLast}) {
        HalfFilled half(kind);
        EXPECT_FALSE(half.resume_error());
        EXPECT_EQ(half.progress, "half");
        half.expect_completed();
    }
}

/// Makes a redo log that is newer than the settled checkpoint: the checkpoint's process is ended before the first write
/// in place. Returns the log's length.
void stop_behind_the_log(HalfFilled& half) {
    CrashPoint point(half.scratch / "points");
    for (std::uint32_t at = 0;; ++at) {
        const std::string device = half.scratch / "tried";
        const std::string state = half.scratch / "tried.state";
        stdfs::copy_file(half.device, device, stdfs::copy_options::overwrite_existing);
        stdfs::copy_file(half.state, state, stdfs::copy_options::overwrite_existing);
        point.end_at(at, true);
        FillingProcess drive(device, state, kKey, &point);
        const Result<Resumed> resumed = drive.client().resume({}, drive.state_fd());
        if (resumed && drive.client().call(Create{4, "logged", 10'000, 0}) && drive.client().checkpoint("three"))
            FAIL() << "the checkpoint was taken without a moment between log and place";
        drive.end();
        const auto log = test::read_state_part(state, test::kStateLog);
        const auto settled = test::read_state_part(state, test::kStateCheckpoint);
        if (log && settled && log->sequence > settled->sequence) {
            stdfs::rename(device, half.device);
            stdfs::rename(state, half.state);
            return;
        }
    }
}

TEST(Resuming, AWholeLogIsReplayedAndATornOneDropped) {
    HalfFilled half;
    stop_behind_the_log(half);
    if (HasFatalFailure())
        return;
    stdfs::copy_file(half.device, half.scratch / "kept");
    stdfs::copy_file(half.state, half.scratch / "kept.state");
    EXPECT_FALSE(half.resume_error());
    EXPECT_EQ(half.progress, "three");
    test::expect_clean_drive(half.scratch, half.device, half.scratch / "key", "");

    // One bit, anywhere; and its end cut off.
    std::mt19937_64 random(announced_seed());
    const Bytes length = stdfs::file_size(half.scratch / "kept.state") - test::kStateLog;
    for (int round = 0; round < 6; ++round) {
        stdfs::copy_file(half.scratch / "kept", half.device, stdfs::copy_options::overwrite_existing);
        stdfs::copy_file(half.scratch / "kept.state", half.state, stdfs::copy_options::overwrite_existing);
        if (round < 4) {
            Content state = test::read_bytes(half.state);
            // Within what is hashed: an older, longer log may lie behind it.
            state[test::kStateLog + random() % std::min<Bytes>(length, 8192)] ^= std::byte{1};
            test::write_bytes(half.state, state);
        } else {
            stdfs::resize_file(half.state, test::kStateLog + (round == 4 ? 5 : 6000));
        }
        EXPECT_FALSE(half.resume_error()) << round;
        EXPECT_EQ(half.progress, "half");
        test::expect_clean_drive(half.scratch, half.device, half.scratch / "key", "");
    }
    half.expect_completed();
}

TEST(Resuming, NoMomentOfACheckpointIsADangerousOne) {
    std::mt19937_64 random(announced_seed());
    HalfFilled half;
    stdfs::copy_file(half.device, half.scratch / "kept");
    stdfs::copy_file(half.state, half.scratch / "kept.state");
    CrashPoint point(half.scratch / "points");
    int moments = 0;
    int logs = 0;
    bool is_over = false;
    for (std::uint32_t at = 0; !is_over; ++at) {
        for (const bool is_after : {false, true}) {
            stdfs::copy_file(half.scratch / "kept", half.device, stdfs::copy_options::overwrite_existing);
            stdfs::copy_file(half.scratch / "kept.state", half.state, stdfs::copy_options::overwrite_existing);
            point.end_at(at, is_after, static_cast<CrashPoint::Loses>(random() % 3), static_cast<std::uint32_t>(random()));
            {
                FillingProcess drive(half.device, half.state, kKey, &point);
                Client& client = drive.client();
                is_over = client.resume({}, drive.state_fd()) && client.call(Create{4, "new", 900'000, 0}) &&
                          client.call(Write{1, 4, 0, 900'000, 0}) && client.call(Remove{"dir/file"}) &&
                          client.checkpoint("three");
                point.end_nowhere();
            }
            if (is_over)
                break;
            ++moments;
            const auto log = test::read_state_part(half.state, test::kStateLog);
            const auto settled = test::read_state_part(half.state, test::kStateCheckpoint);
            const bool is_logged = log && (!settled || log->sequence > settled->sequence);
            const bool is_new = is_logged || (settled && settled->sequence == 3);
            logs += is_logged ? 1 : 0;
            if (!is_logged)
                test::expect_clean_drive(half.scratch, half.device, half.scratch / "key", "");
            ASSERT_FALSE(half.resume_error()) << at;
            EXPECT_EQ(half.progress, is_new ? "three" : "half") << at;
            if (is_logged)
                test::expect_clean_drive(half.scratch, half.device, half.scratch / "key", "");
            if (HasFatalFailure())
                return;
        }
    }
    std::cout << moments << " moments, " << logs << " of them with a log to replay\n";
    EXPECT_GT(logs, 4);
}

TEST(Resuming, ALogOfAnotherVolumeIsNotReplayed) {
    HalfFilled other(Checkpoints::HeaderFirst, "other");
    stop_behind_the_log(other);
    if (HasFatalFailure())
        return;
    HalfFilled half;
    Content mixed = test::read_bytes(half.state);
    const Content foreign = test::read_bytes(other.state);
    mixed.resize(test::kStateLog);
    mixed.insert(mixed.end(), foreign.begin() + static_cast<std::ptrdiff_t>(test::kStateLog), foreign.end());
    test::write_bytes(half.state, mixed);
    EXPECT_FALSE(half.resume_error());
    EXPECT_EQ(half.progress, "half");
    half.expect_completed();
}

TEST(Resuming, AnotherDeviceIsNotTouched) {
    for (const Checkpoints kind : {Checkpoints::HeaderFirst, Checkpoints::HeaderLast}) {
        HalfFilled half(kind);
        stop_behind_the_log(half);
        if (HasFatalFailure())
            return;
        struct Row {
            const char* what;
            std::string device;
        };
        HalfFilled other(kind, "other");
        const std::string empty = make_device(half.scratch, "empty");
        const std::string larger = half.scratch / "larger";
        stdfs::copy_file(half.device, larger);
        stdfs::resize_file(larger, kSize + kMiB);
        // The same drive, and somebody has mounted it.
        const std::string changed = half.scratch / "changed";
        stdfs::copy_file(half.device, changed);
        {
            const FileDescriptor fd = test::open_or_die(changed, O_RDWR);
            ASSERT_TRUE(write_fully(fd.get(), 16 * kMiB + 1024, test::random_bytes(1, 512), "device"));
        }
        for (const Row& row : {Row{"another one's drive", other.device}, Row{"no drive", empty},
                               Row{"a drive of another size", larger}, Row{"a drive that was changed", changed}}) {
            const Content before = test::read_bytes(row.device);
            const std::optional<Error> error = half.resume_error(row.device, half.state);
            ASSERT_TRUE(error) << row.what;
            EXPECT_EQ(error->kind(), ErrorKind::Conflict) << row.what << ": " << error->text();
            EXPECT_TRUE(test::read_bytes(row.device) == before) << row.what;
        }
        EXPECT_EQ(half.resume_error(half.device, half.state, kKey, other.id)->kind(), ErrorKind::Conflict);
        const Content wrong = test::random_bytes(5, 32);
        EXPECT_EQ(half.resume_error(half.device, half.state, wrong)->kind(), ErrorKind::WrongKey);
        EXPECT_FALSE(half.resume_error(half.device, half.state, kKey, half.id));
        EXPECT_EQ(half.progress, "three");
    }
}

TEST(Resuming, WithoutACheckpointTheDriveIsBegunAnew) {
    HalfFilled half;
    const std::optional<Error> none = half.resume_error(half.device, half.scratch / "new.state");
    ASSERT_TRUE(none);
    EXPECT_EQ(none->kind(), ErrorKind::NotFound) << none->text();
    // Formatted again with the same state file: what it held is not gone on with, not even before the first checkpoint.
    {
        FillingProcess drive(half.device, half.state, kKey, nullptr);
        ASSERT_TRUE(drive.client().format(format_of(Checkpoints::HeaderLast), drive.state_fd()));
        drive.kill();
    }
    const std::optional<Error> again = half.resume_error();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->kind(), ErrorKind::NotFound) << again->text();
    // Its checkpoint is broken, and there is no log.
    HalfFilled broken(Checkpoints::HeaderFirst, "broken");
    Content state = test::read_bytes(broken.state);
    std::fill(state.begin() + static_cast<std::ptrdiff_t>(test::kStateLog), state.end(), std::byte{0});
    state[100] ^= std::byte{4};
    test::write_bytes(broken.state, state);
    EXPECT_EQ(broken.resume_error()->kind(), ErrorKind::NotFound);
}

TEST(Resuming, AFinishedDriveIsFinishedAgain) {
    for (const Checkpoints kind : {Checkpoints::HeaderFirst, Checkpoints::HeaderLast}) {
        HalfFilled half(kind);
        half.expect_completed();
        FillingProcess drive(half.device, half.state, kKey, nullptr);
        const Result<Resumed> resumed = drive.client().resume({}, drive.state_fd());
        ASSERT_TRUE(resumed) << resumed.error().text();
        EXPECT_TRUE(resumed->is_finished);
        EXPECT_EQ(resumed->progress, "half");
        EXPECT_EQ(drive.client().call(MakeDirectory{"late"}).error().kind(), ErrorKind::InvalidArgument);
        EXPECT_EQ(drive.client().call(Finish{}).error().kind(), ErrorKind::InvalidArgument);
        drive.end();
        test::expect_clean_drive(half.scratch, half.device, half.scratch / "key", "");
    }
}

TEST(Resuming, TakesAPassphraseAndSectorsOf512) {
    const ScratchDirectory scratch;
    test::write_bytes(scratch / "key", kKey);
    const Bytes size = kSize + 512;
    const std::string device = make_device(scratch, "device", size);
    const std::string state = scratch / "state";
    const Content content = test::random_bytes(3, 2 * kMiB);
    {
        FillingProcess drive(device, state, kKey, nullptr);
        ASSERT_TRUE(drive.client().format({size, "", 50, 32 * kMiB, false, Checkpoints::HeaderFirst}, drive.state_fd()));
        ASSERT_TRUE(drive.client().checkpoint("one"));
        ASSERT_TRUE(drive.client().call(Create{1, "file", content.size(), 0}));
        ASSERT_TRUE(drive.client().checkpoint("two"));
        drive.kill();
    }
    test::expect_clean_drive(scratch, device, scratch / "key", "", 512);
    FillingProcess drive(device, state, kKey, nullptr);
    const Result<Resumed> resumed = drive.client().resume({}, drive.state_fd());
    ASSERT_TRUE(resumed) << resumed.error().text();
    EXPECT_EQ(resumed->progress, "two");
    std::copy(content.begin(), content.end(), drive.client().ring().begin());
    ASSERT_TRUE(drive.client().call(Write{1, 1, 0, content.size(), 0}));
    ASSERT_TRUE(drive.client().call(Finish{}));
    drive.end();
    test::expect_clean_drive(scratch, device, scratch / "key", "", 512);
    expect_content(scratch, {{"file", content}});
}

TEST(Resuming, HappensInTheBoxAndWithoutTheKey) {
    HalfFilled half;
    FillingProcess drive(half.device, half.state, kKey, nullptr);
    ASSERT_TRUE(drive.client().resume({}, drive.state_fd()));
    const std::string process = "/proc/" + std::to_string(drive.pid());
    std::ifstream status(process + "/status");
    std::string line;
    bool is_boxed = false;
    while (std::getline(status, line))
        is_boxed |= line == "Seccomp:\t2";
    EXPECT_TRUE(is_boxed);
    int state_files = 0;
    for (const auto& entry : stdfs::directory_iterator(process + "/fd")) {
        const std::string target = stdfs::read_symlink(entry.path());
        EXPECT_EQ(target.find("memfd:key"), std::string::npos) << target;
        EXPECT_EQ(target.find("pipe:[") == 0 && entry.path().filename().string() > "2", false) << target;
        state_files += target == half.state ? 1 : 0;
    }
    EXPECT_EQ(state_files, 1);
}

TEST(Resuming, AFullDriveSaysSoAndWhatFitsIsMade) {
    HalfFilled half;
    FillingProcess drive(half.device, half.state, kKey, nullptr);
    Client& client = drive.client();
    ASSERT_TRUE(client.resume({}, drive.state_fd()));
    const auto kind_of = [&](const Request& request) {
        const Result<void> done = client.call(request);
        return done ? std::optional<ErrorKind>() : done.error().kind();
    };
    EXPECT_EQ(kind_of(Create{2, "huge", kGiB, 0}), ErrorKind::NoSpace);
    EXPECT_EQ(kind_of(Create{2, "most", 35 * kMiB, 0}), std::nullopt);
    EXPECT_EQ(kind_of(Create{3, "more", 35 * kMiB, 0}), ErrorKind::NoSpace);
    ASSERT_TRUE(client.checkpoint("full"));
    EXPECT_EQ(kind_of(Remove{"most"}), std::nullopt);
    EXPECT_EQ(kind_of(Write{1, 2, 0, 10, 0}), ErrorKind::InvalidArgument) << "it is open no more";
    EXPECT_EQ(kind_of(Create{3, "more", 35 * kMiB, 0}), ErrorKind::NoSpace) << "the last checkpoint needs it";
    ASSERT_TRUE(client.checkpoint("empty"));
    EXPECT_EQ(kind_of(Create{3, "more", 35 * kMiB, 0}), std::nullopt);
    EXPECT_EQ(kind_of(Finish{}), std::nullopt);
    drive.end();
    test::expect_clean_drive(half.scratch, half.device, half.scratch / "key", "");
}

TEST(Checkpointing, HasItsLimits) {
    const ScratchDirectory scratch;
    const std::string device = make_device(scratch);
    const std::string state = scratch / "state";
    {
        FillingProcess drive(device, state, kKey, nullptr);
        ASSERT_TRUE(drive.client().format(format_of(Checkpoints::None)));
        const Result<Bytes> taken = drive.client().checkpoint("");
        ASSERT_FALSE(taken);
        EXPECT_EQ(taken.error().kind(), ErrorKind::InvalidArgument) << taken.error().text();
        EXPECT_TRUE(drive.client().call(Create{1, "file", 5000, 0}));
        EXPECT_TRUE(drive.client().call(Remove{"file"}));
        EXPECT_TRUE(drive.client().call(Finish{}));
    }
    test::write_bytes(scratch / "key", kKey);
    test::expect_clean_drive(scratch, device, scratch / "key", "");
    {
        // A state file that cannot be written is said, not found out later.
        const FileDescriptor only_read = test::open_or_die(state, O_RDONLY);
        FillingProcess drive(device, state, kKey, nullptr);
        EXPECT_FALSE(drive.client().format(format_of(Checkpoints::HeaderFirst), only_read.get()));
    }
    {
        FillingProcess drive(device, state, kKey, nullptr);
        EXPECT_EQ(drive.client().format(format_of(Checkpoints::HeaderFirst)).error().kind(), ErrorKind::Gone)
            << "without its state file";
    }
    FillingProcess drive(device, state, kKey, nullptr);
    ASSERT_TRUE(drive.client().format(format_of(Checkpoints::HeaderFirst), drive.state_fd()));
    EXPECT_TRUE(drive.client().checkpoint(std::string(kMaxProgress, 'p')));
    drive.kill();
    FillingProcess again(device, state, kKey, nullptr);
    const Result<Resumed> resumed = again.client().resume({}, again.state_fd());
    ASSERT_TRUE(resumed) << resumed.error().text();
    EXPECT_EQ(resumed->progress, std::string(kMaxProgress, 'p'));
}

TEST(Checkpointing, IsDueAt16MiBOfMetadataAndMustBeAt64) {
    const ScratchDirectory scratch;
    const std::string device = make_device(scratch, "device", 220 * kMiB);
    FillingProcess drive(device, scratch / "state", kKey, nullptr);
    Client& client = drive.client();
    ASSERT_TRUE(client.format({220 * kMiB, "", 20'000, 32 * kMiB, true, Checkpoints::HeaderFirst}, drive.state_fd()));
    ASSERT_TRUE(client.checkpoint(""));
    // Each has a block of its own, and sixteen inodes have one.
    std::optional<int> due;
    Result<void> made;
    int count = 0;
    for (; made && count < 20'000; ++count) {
        made = client.call(MakeDirectory{"d" + std::to_string(count)});
        if (!due && client.is_checkpoint_due())
            due = count;
    }
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind(), ErrorKind::LimitReached) << made.error().text();
    ASSERT_TRUE(due);
    std::cout << "due after " << *due << " directories, refused after " << count << '\n';
    EXPECT_GT(*due, 3500);
    EXPECT_LT(*due, 4096);
    EXPECT_GT(count, 14'000);
    EXPECT_LT(count, 16'385);
    const Result<Bytes> logged = client.checkpoint("");
    ASSERT_TRUE(logged) << logged.error().text();
    EXPECT_GT(*logged, 64 * kMiB);
    EXPECT_FALSE(client.is_checkpoint_due());
    EXPECT_TRUE(client.call(MakeDirectory{"after"}));
}

TEST(Checkpointing, ADiskWithoutRoomForTheLogEndsTheFillingAndTheLastOneIsGoneOnWith) {
    HalfFilled half;
    {
        // As much as the state file has now, and no more: a memory file that may not grow.
        const Content state = test::read_bytes(half.state);
        const FileDescriptor small(memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        ASSERT_TRUE(write_fully(small.get(), 0, state, "state"));
        ASSERT_EQ(ftruncate(small.get(), static_cast<off_t>(test::kStateLog + 4096)), 0);
        ASSERT_EQ(fcntl(small.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
        FillingProcess drive(half.device, half.state, kKey, nullptr);
        ASSERT_TRUE(drive.client().resume({}, small.get()));
        ASSERT_TRUE(drive.client().call(Create{4, "lost", 10'000, 0}));
        EXPECT_FALSE(drive.client().checkpoint("never"));
        EXPECT_FALSE(drive.client().call(Create{5, "lost too", 10'000, 0}));
        EXPECT_FALSE(drive.client().call(Finish{}));
    }
    half.expect_completed();
}

}  // namespace
}  // namespace dray::drive
