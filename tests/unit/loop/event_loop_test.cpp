// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/event_loop.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <vector>

#include "daemon/base/file_descriptor.hpp"

using namespace std::chrono_literals;

namespace dray {
namespace {

/// A loop with SIGCHLD blocked as in main(), and an end if a test's event never comes.
class EventLoopTest : public testing::Test {
protected:
    void SetUp() override {
        sigset_t mask;
        sigemptyset(&mask);
        sigaddset(&mask, SIGCHLD);
        sigaddset(&mask, SIGUSR1);
        ASSERT_EQ(sigprocmask(SIG_BLOCK, &mask, nullptr), 0);
        Result<EventLoop> made = EventLoop::create();
        ASSERT_TRUE(made) << made.error().text();
        loop_ = std::make_unique<EventLoop>(*std::move(made));
        limit_ = loop_->after(20s, [this] { loop_->quit(99); });
    }
    void TearDown() override { limit_.reset(); }

    int run() {
        const Result<int> code = loop_->run();
        return code ? *code : -1;
    }

    std::unique_ptr<EventLoop> loop_;
    EventSource limit_;
};

int fork_child(auto body) {
    const pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(127);
    }
    return pid;
}

struct Pipe {
    Pipe() {
        std::array<int, 2> ends{};
        if (pipe(ends.data()) == 0) {
            read_end = FileDescriptor(ends[0]);
            write_end = FileDescriptor(ends[1]);
        }
    }
    FileDescriptor read_end;
    FileDescriptor write_end;
};

TEST_F(EventLoopTest, RunGivesTheCodeOfQuit) {
    const EventSource source = loop_->soon([this] { loop_->quit(7); });
    EXPECT_EQ(run(), 7);
}

TEST_F(EventLoopTest, ATimerFiresOnceAfterItsDelay) {
    int fired = 0;
    const EventSource timer = loop_->after(5ms, [&] { ++fired; });
    const EventSource end = loop_->after(60ms, [this] { loop_->quit(0); });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(fired, 1);
}

TEST_F(EventLoopTest, ATimerWithANegativeOrHugeDelayIsTaken) {
    const EventSource huge = loop_->after(Microseconds::max(), [this] { loop_->quit(1); });
    EXPECT_TRUE(huge);
    const EventSource negative = loop_->after(-5s, [this] { loop_->quit(0); });
    EXPECT_EQ(run(), 0);
}

TEST_F(EventLoopTest, AnIntervalFiresUntilItsSourceIsReset) {
    int fired = 0;
    EventSource interval;
    EventSource end;
    interval = loop_->every(1ms, [&] {
        if (++fired == 5) {
            interval.reset();
            end = loop_->after(20ms, [this] { loop_->quit(0); });
        }
    });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(fired, 5);
}

TEST_F(EventLoopTest, ACallbackMayReplaceItsOwnSource) {
    int fired = 0;
    EventSource timer;
    // Captures more than a std::function holds in place, so that a freed function would be seen.
    const std::string text(100, 'x');
    std::function<void()> again = [&, text] {
        timer = loop_->after(1ms, again);
        if (++fired == 3 || text.size() != 100)
            loop_->quit(static_cast<int>(text.size()));
    };
    timer = loop_->after(1ms, again);
    EXPECT_EQ(run(), 100);
    EXPECT_EQ(fired, 3);
}

TEST_F(EventLoopTest, ACallbackMayDestroyItsOwner) {
    struct Owner {
        EventSource source;
        std::string text = std::string(100, 'y');
    };
    auto owner = std::make_unique<Owner>();
    const std::string captured(100, 'z');
    owner->source = loop_->soon([&owner, captured, this] {
        owner.reset();
        loop_->quit(static_cast<int>(captured.size()));
    });
    EXPECT_EQ(run(), 100);
    EXPECT_FALSE(owner);
}

TEST_F(EventLoopTest, AResetSourceNeverFires) {
    bool fired = false;
    EventSource timer = loop_->after(0us, [&] { fired = true; });
    EventSource work = loop_->soon([&] { fired = true; });
    timer.reset();
    work = EventSource();
    const EventSource end = loop_->after(20ms, [this] { loop_->quit(0); });
    EXPECT_EQ(run(), 0);
    EXPECT_FALSE(fired);
    EXPECT_FALSE(timer);
}

TEST_F(EventLoopTest, AMovedSourceGoesOn) {
    int fired = 0;
    EventSource source = loop_->after(1ms, [&] { ++fired; });
    std::vector<EventSource> sources;
    sources.push_back(std::move(source));
    EventSource back = std::move(sources.front());
    sources.clear();
    const EventSource end = loop_->after(20ms, [this] { loop_->quit(0); });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(fired, 1);
}

TEST_F(EventLoopTest, ADescriptorIsReportedWithItsEvents) {
    Pipe pipe;
    ASSERT_EQ(write(pipe.write_end.get(), "x", 1), 1);
    std::uint32_t seen = 0;
    const EventSource source =
        loop_->watch(pipe.read_end.get(), EPOLLIN, [&](std::uint32_t events) {
            seen = events;
            loop_->quit(0);
        });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(seen, static_cast<std::uint32_t>(EPOLLIN));
}

TEST_F(EventLoopTest, ADescriptorThatCannotBeWatchedGivesAnEmptySource) {
    EXPECT_FALSE(loop_->watch(-1, EPOLLIN, [](std::uint32_t) {}));
}

TEST_F(EventLoopTest, AChildTellsItsExitCodeAndIsReaped) {
    const int pid = fork_child([] { _exit(42); });
    ASSERT_GT(pid, 0);
    int status = -1;
    const EventSource source = loop_->child(pid, [&](int code) {
        status = code;
        loop_->quit(0);
    });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(status, 42);
    EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

TEST_F(EventLoopTest, AChildKilledBySignalTellsTheNumberNegative) {
    const int pid = fork_child([] { pause(); });
    ASSERT_GT(pid, 0);
    int status = 0;
    const EventSource source = loop_->child(pid, [&](int code) {
        status = code;
        loop_->quit(0);
    });
    kill(pid, SIGKILL);
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(status, -SIGKILL);
}

TEST_F(EventLoopTest, AChildThatEndedBeforeItIsWatchedIsNotMissed) {
    const int pid = fork_child([] { _exit(3); });
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
    const EventSource source = loop_->child(pid, [&](int code) { loop_->quit(code); });
    EXPECT_EQ(run(), 3);
}

// Its end is seen at once, but can be waited for only when the tracer has let go of it.
TEST_F(EventLoopTest, AChildThatDiesWhileItIsTracedIsNotMissed) {
    const int pid = fork_child([] {
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        pause();
    });
    Pipe traced;
    Pipe go_on;
    const int tracer = fork_child([&] {
        const char is_tracing = ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0 ? 'y' : 'n';
        char byte = 0;
        if (write(traced.write_end.get(), &is_tracing, 1) == 1 && is_tracing == 'y' &&
            read(go_on.read_end.get(), &byte, 1) == 1)
            waitpid(pid, nullptr, __WALL);
        _exit(0);
    });
    char is_tracing = 0;
    ASSERT_EQ(read(traced.read_end.get(), &is_tracing, 1), 1);
    if (is_tracing != 'y') {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        waitpid(tracer, nullptr, 0);
        GTEST_SKIP() << "a process may not trace another one here";
    }
    int status = 0;
    const EventSource source = loop_->child(pid, [&](int code) {
        status = code;
        loop_->quit(0);
    });
    kill(pid, SIGKILL);
    // By then the loop has seen the end, and had nothing to wait for.
    const EventSource later = loop_->after(50ms, [&] { EXPECT_EQ(write(go_on.write_end.get(), "", 1), 1); });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(status, -SIGKILL);
    waitpid(tracer, nullptr, 0);
}

TEST_F(EventLoopTest, AChildIsReapedEvenIfItsSourceIsResetInTheCallback) {
    const int pid = fork_child([] { _exit(0); });
    EventSource source;
    EventSource end;
    source = loop_->child(pid, [&](int) {
        source.reset();
        end = loop_->soon([this] { loop_->quit(0); });
    });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

TEST_F(EventLoopTest, ManyChildrenEndingAtOnceAreAllReported) {
    constexpr int kChildren = 100;
    Pipe gate;
    std::vector<EventSource> sources;
    std::vector<int> codes(kChildren, -1);
    int ended = 0;
    for (int i = 0; i < kChildren; ++i) {
        const int pid = fork_child([&gate, i] {
            gate.write_end = FileDescriptor();
            char byte = 0;
            (void)!read(gate.read_end.get(), &byte, 1);  // end of file is the starting signal
            _exit(i);
        });
        ASSERT_GT(pid, 0);
        sources.push_back(loop_->child(pid, [&, i](int code) {
            codes[static_cast<std::size_t>(i)] = code;
            if (++ended == kChildren)
                loop_->quit(0);
        }));
        ASSERT_TRUE(sources.back());
    }
    gate.write_end = FileDescriptor();
    EXPECT_EQ(run(), 0);
    for (int i = 0; i < kChildren; ++i)
        EXPECT_EQ(codes[static_cast<std::size_t>(i)], i);
}

TEST_F(EventLoopTest, ASignalIsReported) {
    int received = 0;
    const EventSource source = loop_->signal(SIGUSR1, [&] {
        if (++received == 2)
            loop_->quit(0);
        else
            (void)raise(SIGUSR1);  // a signal of our own that is blocked cannot fail
    });
    (void)raise(SIGUSR1);
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(received, 2);
}

}  // namespace
}  // namespace dray
