// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/protocol.hpp"

#include <gtest/gtest.h>

#include <random>

#include "daemon/base/memfd.hpp"
#include "daemon/transfer/engine_link.hpp"

namespace dray::transfer {
namespace {

Task full_task() {
    Task task;
    task.kind = TaskKind::Abandon;
    task.job = "lyon-17";
    task.serial = "WD-1";
    task.store = {"vault",
                  "azure",
                  "/srv/vault",
                  {"https://acme.blob.example", "acme", CredentialKind::Token, "blue-key", "box", "/etc/ca.pem",
                   "http://proxy.example:3128", true, std::chrono::seconds(3), std::chrono::seconds(4),
                   std::chrono::seconds(5), "2023-11-03"},
                  {"escrow", "A256KW", "escrow-key"}};
    task.has_credential = true;
    task.has_encryption_key = true;
    task.store_identity = "directory:77";
    task.manifest = "\\M.xml";
    task.manifest_hash = "0123";
    task.volume_id = "uuid";
    task.header_hash = "0:1:AB";
    task.partition = 4;
    task.strict_header_hash = true;
    task.diagnostics_path = "logs/dir";
    task.is_verbose_log = true;
    task.backup_manifest = true;
    task.directory = "/state/x";
    task.ring = 5 * kMiB;
    task.requests = 7;
    task.unlock_memory = 9 * kMiB;
    task.allow_plain = true;
    task.is_draining = true;
    task.drain = DrainMode::Piece;
    task.status = "InternalError";
    return task;
}

TEST(TransferProtocol, ATaskComesBackAsItWas) {
    const Task task = full_task();
    const Result<ToTransfer> decoded = decode_to_transfer(encode(ToTransfer(task)));
    ASSERT_TRUE(decoded) << decoded.error().text();
    const Task& found = std::get<Task>(*decoded);
    EXPECT_EQ(found.kind, task.kind);
    EXPECT_EQ(found.job, task.job);
    EXPECT_EQ(found.store, task.store);
    EXPECT_TRUE(found.has_credential && found.has_encryption_key);
    EXPECT_EQ(found.store_identity, task.store_identity);
    EXPECT_EQ(found.manifest, task.manifest);
    EXPECT_EQ(found.manifest_hash, task.manifest_hash);
    EXPECT_EQ(found.volume_id, task.volume_id);
    EXPECT_EQ(found.header_hash, task.header_hash);
    EXPECT_EQ(found.partition, task.partition);
    EXPECT_TRUE(found.strict_header_hash);
    EXPECT_EQ(found.diagnostics_path, task.diagnostics_path);
    EXPECT_TRUE(found.is_verbose_log && found.backup_manifest && found.allow_plain && found.is_draining);
    EXPECT_EQ(found.directory, task.directory);
    EXPECT_EQ(found.ring, task.ring);
    EXPECT_EQ(found.requests, task.requests);
    EXPECT_EQ(found.unlock_memory, task.unlock_memory);
    EXPECT_EQ(found.drain, task.drain);
    EXPECT_EQ(found.status, task.status);
}

TEST(TransferProtocol, EachOptionOfAStoreHasItsOwnPlace) {
    const StoreConfig plain{.name = "vault", .type = "directory", .path = "/srv/vault"};
    for (const StoreConfig& store : {plain, full_task().store}) {
        Task task;
        task.store = store;
        const Result<ToTransfer> decoded = decode_to_transfer(encode(ToTransfer(task)));
        ASSERT_TRUE(decoded) << decoded.error().text();
        EXPECT_EQ(std::get<Task>(*decoded).store, store);
    }
}

TEST(TransferProtocol, AMessageSaysHowManyDescriptorsBelongToIt) {
    Task task;
    EXPECT_EQ(descriptors_beside(task), 0U);
    task.has_credential = true;
    EXPECT_EQ(descriptors_beside(task), 1U);
    task.has_encryption_key = true;
    EXPECT_EQ(descriptors_beside(task), 2U);
    task.has_credential = false;
    EXPECT_EQ(descriptors_beside(task), 1U);
    EXPECT_EQ(descriptors_beside(Credential{}), 1U);
    EXPECT_EQ(descriptors_beside(Stop{}), 0U);
    const Result<ToTransfer> decoded = decode_to_transfer(encode(ToTransfer(Credential{})));
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(std::holds_alternative<Credential>(*decoded));
}

TEST(TransferProtocol, AMessageWithOtherDescriptorsIsCorrupt) {
    const FileDescriptor memfd = make_sealed_memfd("secret", std::as_bytes(std::span("x", 1))).value();
    const int both[] = {memfd.get(), memfd.get()};
    auto ends = MessageSocket::make_pair().value();
    EngineLink link(std::move(ends.second));
    Task task;
    task.has_credential = true;
    for (const std::size_t count : {0U, 1U, 2U}) {
        ASSERT_TRUE(ends.first.send(encode(ToTransfer(task)), std::span(both).first(count)));
        const Result<Received> received = link.receive();
        ASSERT_EQ(received.has_value(), count == 1);
        EXPECT_TRUE(received || received.error().kind() == ErrorKind::Corrupt);
    }
    ASSERT_TRUE(ends.first.send(encode(ToTransfer(Stop{})), std::span(both).first(1)));
    EXPECT_FALSE(link.receive());
}

TEST(TransferProtocol, WishesForTheLogsComeBackAsTheyWere) {
    for (const bool is_verbose : {false, true}) {
        const Result<ToTransfer> decoded = decode_to_transfer(encode(ToTransfer(Logs{is_verbose, !is_verbose})));
        ASSERT_TRUE(decoded);
        const auto* logs = std::get_if<Logs>(&*decoded);
        ASSERT_NE(logs, nullptr);
        EXPECT_EQ(logs->is_verbose, is_verbose);
        EXPECT_EQ(logs->backup_manifest, !is_verbose);
    }
}

TEST(TransferProtocol, AReportComesBackAsItWasAndTooLongASentenceIsCut) {
    Report report;
    report.ending = Ending::Faulted;
    report.kind = ErrorKind::NoSpace;
    report.message = std::string(5000, 'x');
    report.store_identity = "directory:77";
    report.counters = {1, 2, 3, 4, 5, 6};
    report.error_log_uri = "file:///x";
    const Result<FromTransfer> decoded = decode_from_transfer(encode(FromTransfer(report)));
    ASSERT_TRUE(decoded);
    const Report& found = std::get<Report>(*decoded);
    EXPECT_EQ(found.ending, Ending::Faulted);
    EXPECT_EQ(found.kind, ErrorKind::NoSpace);
    EXPECT_EQ(found.message.size(), 4096U);
    EXPECT_EQ(found.store_identity, report.store_identity);
    EXPECT_EQ(found.counters, report.counters);
    EXPECT_EQ(found.error_log_uri, report.error_log_uri);
}

TEST(TransferProtocol, AnythingCutLongerOrUnknownIsCorrupt) {
    const std::vector<std::byte> whole = encode(ToTransfer(full_task()));
    for (std::size_t length = 0; length < whole.size(); ++length)
        EXPECT_FALSE(decode_to_transfer(std::span(whole).first(length))) << length;
    std::vector<std::byte> longer = whole;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_to_transfer(longer));
    const std::byte unknown[] = {std::byte{99}};
    EXPECT_FALSE(decode_to_transfer(unknown));
    EXPECT_FALSE(decode_from_transfer(unknown));
}

TEST(TransferProtocol, RandomBytesNeverDoMoreThanFail) {
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    const std::vector<std::byte> whole = encode(ToTransfer(full_task()));
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::byte> bytes = whole;
        for (int change = 0; change < 3; ++change)
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        (void)decode_to_transfer(bytes);
        (void)decode_from_transfer(bytes);
    }
}

}  // namespace
}  // namespace dray::transfer
