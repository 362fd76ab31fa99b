// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/protocol.hpp"

#include "daemon/drive/client.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <iostream>
#include <random>

namespace dray::drive {
namespace {

template <typename Message>
Message round_trip_to_drive(const Message& message) {
    const Result<ToDrive> decoded = decode_to_drive(encode(ToDrive(message)));
    EXPECT_TRUE(decoded) << decoded.error().text();
    return std::get<Message>(*decoded);
}

TEST(DriveProtocol, SetupUnlockAndFormatComeBackAsTheyWere) {
    const drive::Setup setup = round_trip_to_drive(drive::Setup{96 * kMiB, 2 * kGiB, true, true});
    EXPECT_EQ(setup.ring_size, 96 * kMiB);
    EXPECT_EQ(setup.unlock_memory, 2 * kGiB);
    EXPECT_TRUE(setup.allow_plain);
    EXPECT_TRUE(setup.strict_header_hash);
    const Unlock unlock = round_trip_to_drive(Unlock{"0a1b", "0:1:AB", 3});
    EXPECT_EQ(unlock.volume_id, "0a1b");
    EXPECT_EQ(unlock.header_hash, "0:1:AB");
    EXPECT_EQ(unlock.partition, 3U);
    const Format format = round_trip_to_drive(Format{1ULL << 40, "lyon", 77, 123, true, Checkpoints::HeaderLast});
    EXPECT_EQ(format.size, 1ULL << 40);
    EXPECT_EQ(format.label, "lyon");
    EXPECT_EQ(format.inodes, 77U);
    EXPECT_EQ(format.derivation_memory, 123U);
    EXPECT_TRUE(format.is_key_random);
    EXPECT_EQ(format.checkpoints, Checkpoints::HeaderLast);
    EXPECT_EQ(round_trip_to_drive(Resume{"0a1b"}).volume_id, "0a1b");
}

TEST(DriveProtocol, EveryRequestComesBackAsItWas) {
    const Batch batch = round_trip_to_drive(
        Batch{{Open{511, "a/b"}, Close{3}, Read{7, 2, 5, kMaxRead, 8192}, MakeDirectory{"d"},
               Create{1, "f", 99, 1234567}, Write{8, 1, 4096, 512, 4096}, Finish{}, Checkpoint{"so far"}, Remove{"f"}, Find{"d", "manifest"}}});
    ASSERT_EQ(batch.requests.size(), 10U);
    EXPECT_EQ(std::get<Open>(batch.requests[0]).path, "a/b");
    EXPECT_EQ(std::get<Open>(batch.requests[0]).file, 511U);
    EXPECT_EQ(std::get<Close>(batch.requests[1]).file, 3U);
    const Read read = std::get<Read>(batch.requests[2]);
    EXPECT_EQ(read.request, 7U);
    EXPECT_EQ(read.offset, 5U);
    EXPECT_EQ(read.length, kMaxRead);
    EXPECT_EQ(read.ring_offset, 8192U);
    EXPECT_EQ(std::get<MakeDirectory>(batch.requests[3]).path, "d");
    const Create create = std::get<Create>(batch.requests[4]);
    EXPECT_EQ(create.size, 99U);
    EXPECT_EQ(create.modified_usec, 1234567U);
    EXPECT_EQ(std::get<Write>(batch.requests[5]).request, 8U);
    EXPECT_TRUE(std::holds_alternative<Finish>(batch.requests[6]));
    EXPECT_EQ(std::get<Checkpoint>(batch.requests[7]).progress, "so far");
    EXPECT_EQ(std::get<Remove>(batch.requests[8]).path, "f");
    EXPECT_EQ(std::get<Find>(batch.requests[9]).directory, "d");
    EXPECT_EQ(std::get<Find>(batch.requests[9]).part, "manifest");
}

TEST(DriveProtocol, EveryReplyComesBackAsItWas) {
    const FromDrive message = Replies{{Opened{1, 2}, OpenFailed{3, {ErrorKind::NotFound, "no"}}, ReadDone{4},
                                       ReadFailed{5, {ErrorKind::Gone, "gone"}}, Done{6},
                                       Failed{7, {ErrorKind::NoSpace, "full"}}, Checkpointed{8}, CheckpointDue{9}, Found{{"a", "b"}, true}}};
    const Result<FromDrive> decoded = decode_from_drive(encode(message));
    ASSERT_TRUE(decoded);
    const auto& replies = std::get<Replies>(*decoded).replies;
    ASSERT_EQ(replies.size(), 9U);
    EXPECT_EQ(std::get<Opened>(replies[0]).size, 2U);
    EXPECT_EQ(std::get<OpenFailed>(replies[1]).failure.kind, ErrorKind::NotFound);
    EXPECT_EQ(std::get<ReadDone>(replies[2]).request, 4U);
    EXPECT_EQ(std::get<ReadFailed>(replies[3]).failure.message, "gone");
    EXPECT_EQ(std::get<Done>(replies[4]).request, 6U);
    EXPECT_EQ(std::get<Failed>(replies[5]).failure.kind, ErrorKind::NoSpace);
    EXPECT_EQ(std::get<Checkpointed>(replies[6]).logged, 8U);
    EXPECT_EQ(std::get<CheckpointDue>(replies[7]).waiting, 9U);
    EXPECT_EQ(std::get<Found>(replies[8]).names, (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(std::get<Found>(replies[8]).has_more);
}

TEST(DriveProtocol, AResumedDriveComesBackAsItWas) {
    Resumed sent{{"luks2", "0a1b", "ext4", "", "odd", 77, 4096}, std::string(kMaxProgress, 'p'), true, {{511, 9, 9}, {0, 9, 3}}};
    const Result<FromDrive> decoded = decode_from_drive(encode(FromDrive(sent)));
    ASSERT_TRUE(decoded);
    const auto& resumed = std::get<Resumed>(*decoded);
    EXPECT_EQ(resumed.drive.volume_id, "0a1b");
    EXPECT_EQ(resumed.drive.size, 77U);
    EXPECT_EQ(resumed.progress, sent.progress);
    EXPECT_TRUE(resumed.is_finished);
    ASSERT_EQ(resumed.files.size(), 2U);
    EXPECT_EQ(resumed.files[0].file, 511U);
    EXPECT_EQ(resumed.files[1].size, 9U);
    EXPECT_EQ(resumed.files[1].written, 3U);

    const auto is_legal = [&](const Resumed& message) { return decode_from_drive(encode(FromDrive(message))).has_value(); };
    sent.files.assign(kMaxFiles, {1, 2, 2});
    EXPECT_TRUE(is_legal(sent));
    EXPECT_LE(encode(FromDrive(sent)).size(), kMaxMessage);
    sent.files.emplace_back();
    EXPECT_FALSE(is_legal(sent)) << "more files than can be open";
    sent.files = {{kMaxFiles, 2, 2}};
    EXPECT_FALSE(is_legal(sent)) << "a file number too many";
    sent.files = {{1, 2, 3}};
    EXPECT_FALSE(is_legal(sent)) << "more written than there is";
}

TEST(DriveProtocol, RefusesWhatLiesBeyondItsLimits) {
    struct Row {
        const char* what;
        ToDrive message;
        bool is_legal;
    };
    const std::vector<Row> rows{
        {"the last file number", Batch{{Open{kMaxFiles - 1, "a"}}}, true},
        {"a file number too many", Batch{{Open{kMaxFiles, "a"}}}, false},
        {"the longest read", Batch{{Read{1, 0, 0, kMaxRead, 0}}}, true},
        {"a longer read", Batch{{Read{1, 0, 0, kMaxRead + 1, 0}}}, false},
        {"an extent off its alignment", Batch{{Read{1, 0, 0, 1, kRingAlignment + 512}}}, false},
        {"the longest path", Batch{{Open{0, std::string(kMaxPath, 'x')}}}, true},
        {"a longer path", Batch{{Open{0, std::string(kMaxPath + 1, 'x')}}}, false},
        {"the longest progress", Batch{{Checkpoint{std::string(kMaxProgress, 'x')}}}, true},
        {"a longer progress", Batch{{Checkpoint{std::string(kMaxProgress + 1, 'x')}}}, false},
        {"the longest path to be removed", Batch{{Remove{std::string(kMaxPath, 'x')}}}, true},
        {"a longer path to be removed", Batch{{Remove{std::string(kMaxPath + 1, 'x')}}}, false},
        {"the last kind of checkpoints", drive::Format{1, "", 1, 1, true, Checkpoints::HeaderFirst}, true},
        {"a kind too many", drive::Format{1, "", 1, 1, true, static_cast<Checkpoints>(3)}, false},
        {"the longest part of a name", Batch{{Find{"", std::string(256, 'x')}}}, true},
        {"a longer part of a name", Batch{{Find{"", std::string(257, 'x')}}}, false},
        {"a full batch", Batch{std::vector<Request>(kMaxBatch, Finish{})}, true},
        {"a batch too long", Batch{std::vector<Request>(kMaxBatch + 1, Finish{})}, false},
    };
    for (const Row& row : rows)
        EXPECT_EQ(decode_to_drive(encode(row.message)).has_value(), row.is_legal) << row.what;
}

TEST(DriveProtocol, AMessageWithoutRepliesIsNone) {
    EXPECT_FALSE(decode_from_drive(encode(FromDrive(Replies{}))));
    EXPECT_TRUE(decode_from_drive(encode(FromDrive(Replies{{ReadDone{1}}}))));
    EXPECT_TRUE(decode_from_drive(encode(FromDrive(Replies{std::vector<Reply>(1024, ReadDone{1})}))));
    EXPECT_FALSE(decode_from_drive(encode(FromDrive(Replies{std::vector<Reply>(1025, ReadDone{1})}))));
    EXPECT_TRUE(decode_from_drive(encode(FromDrive(Replies{{Found{std::vector<std::string>(16, "x"), false}}}))));
    EXPECT_FALSE(decode_from_drive(encode(FromDrive(Replies{{Found{std::vector<std::string>(17, "x"), false}}}))));
}

/// A client whose other side is the test's.
struct Ends {
    Client client;
    MessageSocket drive;
};

Ends make_ends() {
    auto pair = *MessageSocket::make_pair();
    Ends ends{*Client::connect(std::move(pair.first), Setup{kRingAlignment}), std::move(pair.second)};
    EXPECT_TRUE(ends.drive.receive()) << "Setup";
    return ends;
}

TEST(DriveClient, ASilentDriveIsGivenUpWhetherItIsHeardOrSpokenTo) {
    Ends ends = make_ends();
    ends.client.set_patience(std::chrono::milliseconds(200));
    const Result<Bytes> size = ends.client.open(0, "a");
    ASSERT_FALSE(size);
    EXPECT_EQ(size.error().kind(), ErrorKind::Gone);
    EXPECT_NE(size.error().text().find("has not answered for"), std::string::npos) << size.error().text();
    EXPECT_TRUE(ends.client.is_broken());

    Ends deaf = make_ends();
    deaf.client.set_patience(std::chrono::milliseconds(200));
    const std::vector<Request> longest(1, Open{0, std::string(kMaxPath, 'x')});
    Result<void> sent;
    for (int count = 0; sent && count < 10'000; ++count)
        sent = deaf.client.submit(longest);
    ASSERT_FALSE(sent) << "no socket has room for so much";
    EXPECT_NE(sent.error().text().find("has not answered for"), std::string::npos) << sent.error().text();
    EXPECT_TRUE(deaf.client.is_broken());
}

TEST(DriveClient, AWordAboutACheckpointThatIsDueIsNoAnswer) {
    Ends ends = make_ends();
    const auto says = [&](Replies replies) { return ends.drive.send(encode(FromDrive(std::move(replies)))).has_value(); };
    const FileDescriptor state(::open("/dev/null", O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(ends.drive.send(encode(FromDrive(Unlocked{"luks2", "", "ext4", "", "", 1}))));
    ASSERT_TRUE(ends.client.format({1, "", 1, 1, true, Checkpoints::HeaderFirst}, state.get()));
    ASSERT_TRUE(says({{CheckpointDue{kCheckpointDue}}}));
    ASSERT_TRUE(says({{Done{1}}}));
    const auto replies = ends.client.receive();
    ASSERT_TRUE(replies);
    EXPECT_EQ(replies->size(), 1U);
    EXPECT_TRUE(ends.client.is_checkpoint_due());
    ASSERT_TRUE(says({{Checkpointed{5}}}));
    const Result<Bytes> logged = ends.client.checkpoint("");
    ASSERT_TRUE(logged);
    EXPECT_EQ(*logged, 5U);
    EXPECT_FALSE(ends.client.is_checkpoint_due());

    ASSERT_TRUE(says({{CheckpointDue{1}}}));
    ASSERT_TRUE(says({{CheckpointDue{1}}}));
    EXPECT_EQ(ends.client.receive().error().kind(), ErrorKind::Corrupt) << "twice";
    EXPECT_TRUE(ends.client.is_broken());
    Ends reader = make_ends();
    ASSERT_TRUE(reader.drive.send(encode(FromDrive(Replies{{CheckpointDue{1}}}))));
    EXPECT_EQ(reader.client.receive().error().kind(), ErrorKind::Corrupt) << "to somebody who reads";
}

TEST(DriveClient, TakesNoDescriptorsFromADrive) {
    Ends ends = make_ends();
    const std::vector<std::byte> reply = encode(FromDrive(Replies{{ReadDone{1}}}));
    ASSERT_TRUE(ends.drive.send(reply));
    EXPECT_TRUE(ends.client.receive());
    ASSERT_TRUE(ends.drive.send(reply, std::vector<int>{0}));
    const auto replies = ends.client.receive();
    ASSERT_FALSE(replies);
    EXPECT_EQ(replies.error().kind(), ErrorKind::Corrupt);
    EXPECT_TRUE(ends.client.is_broken());
}

TEST(DriveProtocol, AMessageOfOneSideIsNoneOfTheOther) {
    EXPECT_FALSE(decode_from_drive(encode(ToDrive(Unlock{}))));
    EXPECT_FALSE(decode_to_drive(encode(FromDrive(Replies{}))));
}

TEST(DriveProtocol, NoBytesMakeTheDecodersStumble) {
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937 random(seed);
    const std::vector<std::byte> valid = encode(
        ToDrive(Batch{{Open{1, "path"}, Read{1, 1, 0, 4096, 0}, Create{2, "x", 3, 4}, Close{1}, Checkpoint{"p"}, Remove{"x"}}}));
    const std::vector<std::byte> valid_reply = encode(
        FromDrive(Replies{{Opened{1, 2}, ReadFailed{5, {ErrorKind::Gone, "gone"}}, Done{6}, Checkpointed{7}}}));
    for (int round = 0; round < 50000; ++round) {
        std::vector<std::byte> bytes = round % 2 == 0 ? valid : valid_reply;
        const unsigned changes = 1 + random() % 4;
        for (unsigned i = 0; i < changes; ++i)
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        bytes.resize(random() % (bytes.size() + 8));
        // What decodes must be within the limits, whatever it means.
        const Result<ToDrive> decoded = decode_to_drive(bytes);
        if (decoded && std::holds_alternative<Batch>(*decoded)) {
            EXPECT_LE(std::get<Batch>(*decoded).requests.size(), kMaxBatch);
        }
        (void)decode_from_drive(bytes);  // not crashing is all that is asked
    }
}

TEST(DriveProtocol, FailuresKeepKindAndTheWholeSentence) {
    const Error error(Error(ErrorKind::Gone, "the device is gone"), "lab/disk.img");
    const Failure failure = to_failure(error);
    EXPECT_EQ(failure.kind, ErrorKind::Gone);
    EXPECT_EQ(to_error(failure).text(), "lab/disk.img: the device is gone");
}

}  // namespace
}  // namespace dray::drive
