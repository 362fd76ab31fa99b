// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <thread>
#include <type_traits>

#include "daemon/base/memfd.hpp"
#include "daemon/drive/protocol.hpp"

namespace dray::ctl {
namespace {

using testing::HasSubstr;

/// dray-drive as a thread: keeps what it is given and spoils the ring as encryption does.
class FakeDrive {
public:
    using Answer = std::function<drive::Reply(const drive::Request&, std::uint64_t number)>;

    /// `slowness`: it answers after so many requests only, or when nothing more comes.
    explicit FakeDrive(std::size_t slowness, Answer answer = {})
        : slowness_(slowness), answer_(std::move(answer)) {
        auto ends = MessageSocket::make_pair();
        socket_ = std::move(ends->first);
        thread_ = std::thread([this] { serve(); });
        client_.emplace(*drive::Client::connect(std::move(ends->second), {kRing, kGiB, false}));
    }
    FakeDrive(const FakeDrive&) = delete;
    FakeDrive& operator=(const FakeDrive&) = delete;
    ~FakeDrive() { hang_up(); }

    drive::Client& client() { return *client_; }
    void hang_up() {
        client_.reset();
        if (thread_.joinable())
            thread_.join();
    }

    static constexpr Bytes kRing = 8 * kMiB;
    std::map<std::string, std::string> files;
    std::vector<std::string> directories;
    std::size_t most_unanswered = 0;
    bool is_finished = false;

private:
    void serve() {
        const Result<Message> first = socket_.receive();
        ring_ = *SharedMemory::map(first->descriptors.front().get(), kRing);
        for (;;) {
            Result<std::optional<Message>> next = socket_.try_receive();
            if (!next)
                return;
            const std::optional<Message>& waiting = *next;
            if (!waiting) {
                flush();
                Result<Message> message = socket_.receive();
                if (!message)
                    return;
                take(*message);
                continue;
            }
            take(*waiting);
        }
    }

    void take(const Message& message) {
        const Result<drive::ToDrive> decoded = drive::decode_to_drive(message.bytes);
        ASSERT_TRUE(decoded) << decoded.error().text();
        for (const drive::Request& request : std::get<drive::Batch>(*decoded).requests) {
            std::visit([this](const auto& each) { perform(each); }, request);
            if (std::holds_alternative<drive::Close>(request))
                continue;
            const auto* write = std::get_if<drive::Write>(&request);
            const std::uint64_t number = write != nullptr ? write->request : 0;
            replies_.push_back(answer_ ? answer_(request, number)
                                       : drive::Reply(drive::Done{number}));
            most_unanswered = std::max(most_unanswered, replies_.size());
            if (replies_.size() >= slowness_)
                flush();
        }
    }

    void flush() {
        if (!replies_.empty())
            (void)socket_.send(
                drive::encode(drive::FromDrive(drive::Replies{std::exchange(replies_, {})})));
    }

    void perform(const drive::MakeDirectory& request) { directories.push_back(request.path); }
    void perform(const drive::Create& request) {
        path_ = request.path;
        files[path_] = std::string(static_cast<std::size_t>(request.size), '?');
    }
    void perform(const drive::Write& request) {
        const auto content = ring_.bytes().subspan(static_cast<std::size_t>(request.ring_offset),
                                                   static_cast<std::size_t>(request.length));
        std::memcpy(files[path_].data() + request.offset, content.data(), content.size());
        std::memset(content.data(), 0xEE, content.size());
    }
    void perform(const drive::Finish& /*request*/) { is_finished = true; }
    template <typename Other>
    void perform(const Other& /*request*/) {
        EXPECT_TRUE((std::is_same_v<Other, drive::Close>)) << "a request that nobody should make";
    }

    std::size_t slowness_;
    Answer answer_;
    MessageSocket socket_;
    SharedMemory ring_;
    std::string path_;
    std::vector<drive::Reply> replies_;
    std::thread thread_;
    std::optional<drive::Client> client_;
};

std::string content_of(std::size_t number, std::size_t size) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        content[i] = static_cast<char>('a' + (number * 7 + i / 13 + i % 11) % 26);
    return content;
}

Result<void> put(DriveWriter& writer, const std::string& path, const std::string& content) {
    DRAY_TRY(writer.create(path, content.size(), 1));
    for (std::size_t offset = 0; offset < content.size();) {
        const std::size_t part =
            std::min<std::size_t>(DriveWriter::kExtent, content.size() - offset);
        DRAY_LET(const std::span<std::byte> extent, writer.extent(part));
        std::memcpy(extent.data(), content.data() + offset, part);
        DRAY_TRY(writer.write());
        offset += part;
    }
    return writer.close();
}

TEST(DriveWriter, BringsEveryByteOverHoweverSlowTheAnswersAre) {
    for (const std::size_t slowness : {std::size_t{1}, std::size_t{100}, drive::kMaxInFlight}) {
        FakeDrive drive(slowness);
        DriveWriter writer(drive.client());
        std::map<std::string, std::string> expected;
        Bytes total = 0;
        ASSERT_TRUE(writer.make_directory("d"));
        for (std::size_t number = 0; number < 2000; ++number) {
            // Of all lengths around pages and extents, now and then more than the ring holds.
            const std::size_t size = number % 400 == 7 ? 9 * kMiB + number : number * 37 % 20'000;
            const std::string path = "d/" + std::to_string(number);
            expected[path] = content_of(number, size);
            total += size;
            const Result<void> done = put(writer, path, expected[path]);
            ASSERT_TRUE(done) << done.error().text();
        }
        ASSERT_TRUE(writer.finish());
        EXPECT_EQ(writer.bytes_done(), total);
        drive.hang_up();
        EXPECT_TRUE(drive.is_finished);
        EXPECT_TRUE(drive.files == expected);
        EXPECT_THAT(drive.directories, testing::ElementsAre("d"));
        EXPECT_LE(drive.most_unanswered, drive::kMaxInFlight);
    }
}

TEST(DriveWriter, NamesTheFileThatFailed) {
    FakeDrive drive(1, [](const drive::Request& request, std::uint64_t number) -> drive::Reply {
        const auto* create = std::get_if<drive::Create>(&request);
        if (create != nullptr && create->path == "b")
            return drive::Failed{0, {ErrorKind::NoSpace, "the drive is full"}};
        return drive::Done{number};
    });
    DriveWriter writer(drive.client());
    ASSERT_TRUE(put(writer, "a", "x"));
    (void)put(writer, "b", "x");
    (void)put(writer, "c", "x");
    const Result<void> finished = writer.finish();
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().kind(), ErrorKind::NoSpace);
    EXPECT_THAT(finished.error().text(), HasSubstr("cannot write b: the drive is full"));
}

TEST(DriveWriter, BelievesNoAnswerThatWasNotAskedFor) {
    const FakeDrive::Answer kLies[] = {
        [](const drive::Request&, std::uint64_t number) { return drive::Done{number + 1}; },
        [](const drive::Request&, std::uint64_t number) { return drive::ReadDone{number}; },
    };
    for (const FakeDrive::Answer& lie : kLies) {
        FakeDrive drive(1, lie);
        DriveWriter writer(drive.client());
        (void)put(writer, "a", "x");
        const Result<void> finished = writer.finish();
        ASSERT_FALSE(finished);
        EXPECT_EQ(finished.error().kind(), ErrorKind::Corrupt);
    }
}

}  // namespace
}  // namespace dray::ctl
