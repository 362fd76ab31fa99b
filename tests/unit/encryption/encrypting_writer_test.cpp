// SPDX-License-Identifier: Apache-2.0
//
// Pieces on their way into regions: any size, any order, several threads; what comes twice; what fails; what is held.
#include "drivers/store/encryption/encrypting_writer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <random>
#include <set>
#include <thread>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/hash/crc64.hpp"
#include "tests/unit/encryption/memory_store.hpp"

namespace dray::store {
namespace {

const BlobName kBlob{"lab", "disk.img"};
constexpr std::string_view kKey = "0123456789abcdef0123456789abcdef";
constexpr Bytes kRegion = kWrittenRegion;
constexpr Bytes kStored = kRegion + kRegionOverhead;

class Writing : public testing::Test {
protected:
    Writing() { std::cout << "seed " << seed_ << '\n'; }

    std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random_() % limit); }
    Content content(std::size_t size) {
        Content made(size);
        // Whole words: these are megabytes.
        for (std::size_t i = 0; i < size; i += 8) {
            const std::uint64_t word = random_();
            std::memcpy(made.data() + i, &word, std::min<std::size_t>(8, size - i));
        }
        return made;
    }
    std::unique_ptr<EncryptingWriter> writer(Bytes length, const std::string& id = "up", const BlobName& name = kBlob,
                                             std::stop_token stop = {}) {
        CreateOptions options;
        options.length = length;
        options.upload_id = id;
        return std::move(EncryptingWriter::create(inner_, memory_, BlobEncryption::create(key_, length, id).value(), name,
                                                  options, std::move(stop)))
            .value();
    }
    static Piece piece(const Content& all, Bytes offset, Bytes length, bool is_checked = false) {
        const auto part = std::span(all).subspan(offset, length);
        return {offset, length, "", is_checked ? md5(part) : Md5Hash{}, part};
    }
    std::vector<Piece> cut(const Content& all, std::size_t most) {
        std::vector<Piece> pieces;
        for (Bytes offset = 0; offset < all.size();) {
            const Bytes length = std::min<Bytes>(all.size() - offset, 1 + below(most));
            pieces.push_back(piece(all, offset, length, below(2) == 0));
            offset += length;
        }
        return pieces;
    }
    std::optional<Content> published(const BlobName& name = kBlob) {
        const auto found = inner_.blobs.find(name.path());
        if (found == inner_.blobs.end())
            return std::nullopt;
        return decoded(found->second, std::as_bytes(std::span(kKey)));
    }

    const unsigned seed_ = std::random_device{}();
    std::mt19937_64 random_{seed_};
    MemoryStore inner_;
    BlockMemory memory_;
    WrappingKey key_ = std::move(WrappingKey::create({"site", "A256KW", ""}, SecretBytes(kKey))).value();
};

TEST_F(Writing, PiecesOfAnySizeInAnyOrderFromSeveralThreads) {
    std::vector<std::size_t> lengths = {0, 1, kRegion - 1, kRegion, kRegion + 1, 2 * kRegion};
    for (int i = 0; i < 4; ++i)
        lengths.push_back(below(24 * kMiB));
    for (const std::size_t length : lengths) {
        const std::size_t most = std::size_t{1} << (12 + below(12));
        SCOPED_TRACE(std::to_string(length) + " bytes in pieces of up to " + std::to_string(most));
        const Content all = content(length);
        std::vector<Piece> pieces = cut(all, most);
        std::vector<Piece> order = pieces;
        // A few come twice, perhaps at the same time.
        for (std::size_t i = below(4); i > 0 && !pieces.empty(); --i)
            order.push_back(pieces[below(pieces.size())]);
        if (below(2) == 0)
            std::ranges::shuffle(order, random_);
        inner_.blobs.clear();
        {
            const auto writing = writer(length);
            std::atomic<std::size_t> next = 0;
            std::atomic<unsigned> failures = 0;
            {
                std::vector<std::jthread> threads;
                for (int i = 0; i < 4; ++i)
                    threads.emplace_back([&] {
                        for (std::size_t k = next++; k < order.size(); k = next++)
                            failures += !writing->put(order[k]);
                    });
            }
            ASSERT_EQ(failures, 0U);
            ASSERT_TRUE(writing->finish(pieces, {}, {}));
        }
        EXPECT_EQ(published(), all);
        EXPECT_EQ(memory_.held(), 0U);
        EXPECT_EQ(inner_.created.back().length, stored_length(length, kRegion));
    }
}

TEST_F(Writing, BlocksAreWholeRegionsWithIdsOfTheirWriter) {
    const Content all = content(2 * kRegion + 5);
    std::set<std::string> ids;
    std::vector<Content> bodies;
    for (int attempt = 0; attempt < 2; ++attempt) {
        const auto writing = writer(all.size());
        ASSERT_TRUE(writing->put(piece(all, 0, all.size())));
        const auto& stored = inner_.uploads.at("up");
        ASSERT_EQ(stored.size(), 3U);
        for (const Bytes block : {0U, 1U, 2U}) {
            const StoredPiece& each = stored.at(block * kStored);
            EXPECT_EQ(each.content.size(), block < 2 ? kStored : 5 + kRegionOverhead);
            EXPECT_EQ(each.id.size(), 24U);
            EXPECT_EQ(from_base64(each.id)->size(), 16U);
            ids.insert(each.id);
        }
        bodies.push_back(stored.at(0).content);
    }
    EXPECT_EQ(ids.size(), 6U) << "an attempt has blocks of its own";
    EXPECT_NE(bodies[0], bodies[1]) << "and a key of its own";
}

TEST_F(Writing, ABlobHasAtMostFiftyThousandBlocks) {
    const struct {
        Bytes length;
        std::uint64_t expected;
    } rows[] = {{0, 1},
                {1, 1},
                {50'000 * kRegion, 1},
                {50'000 * kRegion + 1, 2},
                {100'000 * kRegion, 2},
                {100'000 * kRegion + 1, 3},
                {Bytes{1} << 44, 84}};
    for (const auto& row : rows) {
        const std::uint64_t regions = regions_per_block(row.length);
        EXPECT_EQ(regions, row.expected) << row.length;
        EXPECT_LE(row.length, regions * kRegion * 50'000);
    }
    // Two regions a block: the first block of such a blob.
    const auto writing = writer(50'000 * kRegion + 1);
    const Content all = content(4 * kRegion);
    ASSERT_TRUE(writing->put(piece(all, kRegion, kRegion)));
    EXPECT_TRUE(inner_.uploads["up"].empty());
    ASSERT_TRUE(writing->put(piece(all, 0, kRegion)));
    ASSERT_TRUE(writing->put(piece(all, 2 * kRegion, 2 * kRegion)));
    const auto& stored = inner_.uploads.at("up");
    ASSERT_EQ(stored.size(), 2U);
    EXPECT_EQ(stored.at(0).content.size(), 2 * kStored);
    // The second block goes on with the third region.
    EXPECT_EQ(to_hex(std::span(stored.at(2 * kStored).content).first(12)), "000000000000000000000002");
    EXPECT_EQ(to_hex(std::span(stored.at(2 * kStored).content).subspan(kStored, 12)), "000000000000000000000003");
}

TEST_F(Writing, RefusesWhatTheFormatDoesNotHave) {
    CreateOptions page;
    page.type = BlobType::Page;
    EXPECT_EQ(kind_of(check_can_encrypt(kBlob, page)), "Unsupported");
    EXPECT_NE(check_can_encrypt(kBlob, page).error().text().find("page blob"), std::string::npos);
    CreateOptions options;
    options.length = kMaxWrittenRegions * kRegion;
    EXPECT_EQ(kind_of(check_can_encrypt(kBlob, options)), "success");
    ++options.length;
    EXPECT_EQ(kind_of(check_can_encrypt(kBlob, options)), "Unsupported");
}

TEST_F(Writing, AHashOfTheCiphertextIsGivenOnlyWhereTheFarEndLooks) {
    const Content all = content(1000);
    for (const bool checks : {false, true})
        for (const bool crc64 : {false, true}) {
            inner_.checks = checks;
            inner_.crc64 = crc64;
            const auto writing = writer(all.size());
            ASSERT_TRUE(writing->put(piece(all, 0, all.size(), true)));
            const StoredPiece& stored = inner_.uploads.at("up").at(0);
            EXPECT_EQ(stored.md5, checks && !crc64 ? md5(stored.content) : Md5Hash{});
            EXPECT_EQ(stored.crc64, crc64 ? std::optional(hash::crc64(stored.content)) : std::nullopt);
        }
}

TEST_F(Writing, APieceThatHasChangedIsRefusedAndMayComeAgain) {
    const Content all = content(3 * kRegion);
    const auto writing = writer(all.size());
    Content other = all;
    other[kRegion + 17] ^= std::byte{1};
    Piece wrong = piece(all, 100, 2 * kRegion, true);
    wrong.content = std::span(other).subspan(100, 2 * kRegion);
    EXPECT_EQ(kind_of(writing->put(wrong)), "Corrupt");
    EXPECT_EQ(memory_.held(), 0U);
    const std::vector<Piece> pieces = {piece(all, 0, 100), piece(all, 100, 2 * kRegion, true),
                                       piece(all, 2 * kRegion + 100, kRegion - 100)};
    ASSERT_TRUE(writing->put(pieces[0]));
    EXPECT_EQ(kind_of(writing->put(wrong)), "Corrupt");
    EXPECT_EQ(kind_of(writing->finish(pieces, {}, {})), "Corrupt");
    ASSERT_TRUE(writing->put(pieces[2]));
    ASSERT_TRUE(writing->put(pieces[1]));
    ASSERT_TRUE(writing->finish(pieces, {}, {}));
    EXPECT_EQ(published(), all);
}

// What comes a second time because its neighbour could not be read must be what is there.
TEST_F(Writing, APieceThatComesAgainWithAnotherContent) {
    const Content all = content(2 * kRegion);
    Content other = all;
    other[10] ^= std::byte{1};
    const std::vector<Piece> pieces = {piece(all, 0, 100), piece(all, 100, kRegion - 100), piece(all, kRegion, kRegion)};
    {
        // Not encrypted yet: the later one counts.
        const auto writing = writer(all.size());
        ASSERT_TRUE(writing->put(piece(other, 0, 100)));
        ASSERT_TRUE(writing->put(pieces[0]));
        ASSERT_TRUE(writing->put(pieces[0]));
        ASSERT_TRUE(writing->put(pieces[1]));
        ASSERT_TRUE(writing->put(pieces[2]));
        // On its way: the same is harmless.
        for (const Piece& each : pieces)
            ASSERT_TRUE(writing->put(each));
        EXPECT_EQ(inner_.puts, 2U);
        ASSERT_TRUE(writing->finish(pieces, {}, {}));
        EXPECT_EQ(published(), all);
    }
    const auto writing = writer(all.size());
    ASSERT_TRUE(writing->put(pieces[0]));
    ASSERT_TRUE(writing->put(pieces[1]));
    EXPECT_EQ(kind_of(writing->put(piece(other, 0, 100))), "Busy");
    EXPECT_EQ(kind_of(writing->put(pieces[2])), "Busy");
    EXPECT_EQ(kind_of(writing->finish(pieces, {}, {})), "Busy");
}

TEST_F(Writing, PiecesThatAreNoneOfTheBlob) {
    const Content all = content(1000);
    const auto writing = writer(900);
    EXPECT_EQ(kind_of(writing->put(piece(all, 0, 901))), "InvalidArgument");
    EXPECT_EQ(kind_of(writing->put(piece(all, 900, 1))), "InvalidArgument");
    EXPECT_EQ(kind_of(writing->put(piece(all, 900, 0))), "success");
    Piece lying = piece(all, 0, 100);
    lying.length = 101;
    EXPECT_EQ(kind_of(writing->put(lying)), "InvalidArgument");
    lying.offset = ~Bytes{0};
    EXPECT_EQ(kind_of(writing->put(lying)), "InvalidArgument");
    ASSERT_TRUE(writing->put(piece(all, 100, 100)));
    EXPECT_EQ(kind_of(writing->put(piece(all, 150, 100))), "InvalidArgument");
    EXPECT_EQ(kind_of(writing->put(piece(all, 50, 51))), "InvalidArgument");
    EXPECT_EQ(kind_of(writing->put(piece(all, 50, 500))), "InvalidArgument");
    EXPECT_EQ(kind_of(writing->put(piece(all, 100, 99))), "InvalidArgument");
    EXPECT_EQ(kind_of(writing->put(piece(all, 50, 50))), "success");
    EXPECT_EQ(kind_of(writing->put(piece(all, 200, 700))), "success");
    EXPECT_EQ(kind_of(writing->put(piece(all, 0, 50))), "success");
    const std::vector<std::vector<Piece>> wrong = {{piece(all, 0, 899)},
                                                   {piece(all, 0, 450), piece(all, 451, 449)},
                                                   {piece(all, 450, 450), piece(all, 0, 450)},
                                                   {piece(all, 0, 900), piece(all, 0, 900)},
                                                   {}};
    for (const auto& pieces : wrong)
        EXPECT_EQ(kind_of(writing->finish(pieces, {}, {})), "InvalidArgument");
    const Piece whole = piece(all, 0, 900);
    EXPECT_EQ(kind_of(writing->finish({&whole, 1}, {}, {})), "success");
}

TEST_F(Writing, AFailureIsToldByAllThatFollows) {
    const Content all = content(4 * kRegion);
    const std::vector<Piece> pieces = {piece(all, 0, 3 * kRegion), piece(all, 3 * kRegion, kRegion)};
    for (const ErrorKind kind : {ErrorKind::Denied, ErrorKind::Unreachable, ErrorKind::NoSpace, ErrorKind::Corrupt}) {
        // It is not the drive's content that is corrupt.
        const std::string expected = kind == ErrorKind::Corrupt ? "Unreachable" : std::string(to_string(kind));
        inner_.puts = 0;
        inner_.before_put = [&](const Piece& each) -> Result<void> {
            if (each.offset == kStored)
                return fail(kind, "no");
            return {};
        };
        const auto writing = writer(all.size());
        EXPECT_EQ(kind_of(writing->put(pieces[0])), expected);
        EXPECT_EQ(inner_.puts, 1U) << "nothing goes after it";
        EXPECT_EQ(memory_.held(), 0U);
        inner_.before_put = [](const Piece&) { return Result<void>(); };
        EXPECT_EQ(kind_of(writing->put(pieces[1])), expected);
        EXPECT_EQ(kind_of(writing->put(pieces[0])), expected);
        EXPECT_EQ(kind_of(writing->finish(pieces, {}, {})), expected);
        EXPECT_EQ(memory_.held(), 0U);
        EXPECT_TRUE(inner_.blobs.empty());
    }
}

TEST_F(Writing, WhatWaitsForItsNeighboursIsGivenBackWithTheWriter) {
    const Content all = content(2 * kRegion);
    {
        const auto writing = writer(all.size());
        ASSERT_TRUE(writing->put(piece(all, 0, 10)));
        ASSERT_TRUE(writing->put(piece(all, kRegion, 10)));
        EXPECT_EQ(memory_.held(), 2 * kStored);
    }
    EXPECT_EQ(memory_.held(), 0U);
}

// A drive with many bad spots: blocks with holes pile up. What goes on must not be what pays.
TEST_F(Writing, TheBlobWithHolesIsGivenUpAndNotTheOneThatGoesOn) {
    const Content all = content(3 * kRegion);
    const std::size_t most = BlockMemory::kMost / kStored;
    std::vector<std::unique_ptr<EncryptingWriter>> holes;
    for (std::size_t i = 0; i < most; ++i) {
        holes.push_back(writer(all.size(), "hole-" + std::to_string(i), {"lab", "hole-" + std::to_string(i)}));
        ASSERT_TRUE(holes.back()->put(piece(all, 0, 10)));
    }
    EXPECT_LE(memory_.held(), BlockMemory::kMost);
    // Much comes elsewhere, meanwhile.
    const Content small = content(1000);
    for (std::uint64_t i = 0; i < BlockMemory::kStale; ++i)
        ASSERT_TRUE(writer(small.size(), "small")->put(piece(small, 0, small.size())));
    ASSERT_TRUE(holes.back()->put(piece(all, 2 * kRegion, 10)));
    const std::vector<Piece> pieces = cut(all, kRegion);
    {
        const auto writing = writer(all.size());
        for (const Piece& each : pieces)
            ASSERT_TRUE(writing->put(each));
        ASSERT_TRUE(writing->finish(pieces, {}, {}));
    }
    EXPECT_EQ(published(), all);
    EXPECT_LE(memory_.held(), BlockMemory::kMost);
    const Result<void> given_up = holes.front()->put(piece(all, 10, 10));
    EXPECT_EQ(kind_of(given_up), "Unsupported");
    EXPECT_EQ(kind_of(holes.front()->finish(pieces, {}, {})), "Unsupported");
    // The one that something came of last is still there.
    ASSERT_TRUE(holes.back()->put(piece(all, 10, 2 * kRegion - 10)));
    ASSERT_TRUE(holes.back()->put(piece(all, 2 * kRegion + 10, kRegion - 10)));
    const Piece whole = piece(all, 0, all.size());
    EXPECT_TRUE(holes.back()->finish({&whole, 1}, {}, {}));
    EXPECT_EQ(published({"lab", "hole-" + std::to_string(most - 1)}), all);
    holes.clear();
    EXPECT_EQ(memory_.held(), 0U);
}

// One large blob on a drive with many bad spots: it is given up before it takes all memory.
TEST_F(Writing, ABlobWithTooManyHolesIsGivenUp) {
    const Content all = content(10);
    const auto writing = writer(10'000 * kRegion);
    Bytes most = 0;
    std::string kind = "success";
    for (std::uint64_t block = 0; block < 10'000 && kind == "success"; ++block) {
        Piece each = piece(all, 0, all.size());
        each.offset = block * kRegion;
        kind = kind_of(writing->put(each));
        most = std::max(most, memory_.held());
    }
    EXPECT_EQ(kind, "Unsupported");
    EXPECT_LE(most, (BlockMemory::kStale + 2) * kStored);
    EXPECT_EQ(memory_.held(), 0U);
}

// As import does it: 64 lanes, pieces about in order. A slow store must not make it hold more and more.
TEST_F(Writing, SixtyFourLanesHoldNoMoreThanTheyNeed) {
    const Content all = content(160 * kMiB);
    std::vector<Piece> pieces;
    for (Bytes offset = 0; offset < all.size(); offset += 2 * kMiB)
        pieces.push_back(piece(all, offset, std::min<Bytes>(2 * kMiB, all.size() - offset)));
    std::atomic<Bytes> most = 0;
    inner_.before_put = [&](const Piece&) -> Result<void> {
        std::this_thread::yield();
        const Bytes held = memory_.held();
        for (Bytes before = most; before < held && !most.compare_exchange_weak(before, held);) {
        }
        return {};
    };
    const auto writing = writer(all.size());
    std::atomic<std::size_t> next = 0;
    std::atomic<unsigned> failures = 0;
    {
        std::vector<std::jthread> lanes;
        for (int i = 0; i < 64; ++i)
            lanes.emplace_back([&] {
                for (std::size_t k = next++; k < pieces.size(); k = next++)
                    failures += !writing->put(pieces[k]);
            });
    }
    EXPECT_EQ(failures, 0U);
    ASSERT_TRUE(writing->finish(pieces, {}, {}));
    EXPECT_EQ(published(), all);
    std::cout << "at most " << most / kMiB << " MiB held\n";
    EXPECT_LE(most, BlockMemory::kMost);
    EXPECT_EQ(memory_.held(), 0U);
}

TEST_F(Writing, MetadataAndPropertiesThatAreOurs) {
    const auto writing = writer(0);
    for (const char* name : {"encryptiondata", "EncryptionData", "ENCRYPTIONDATA"}) {
        const Result<void> refused = writing->finish({}, {}, {{"author", "Ada"}, {name, "x"}});
        EXPECT_EQ(kind_of(refused), "InvalidArgument") << name;
        EXPECT_NE(refused.error().text().find("encryptiondata"), std::string::npos);
    }
    EXPECT_EQ(kind_of(writing->finish({}, {}, {{"a", "1"}, {"A", "2"}})), "InvalidArgument");
    BlobProperties properties{"text/plain", "gzip", "de", "no-cache", "1B2M2Y8AsgTpgAmY7PhCfg=="};
    ASSERT_TRUE(writing->finish({}, properties, {{"author", "Ada"}}));
    const MemoryStore::Blob& blob = inner_.blobs.at(kBlob.path());
    EXPECT_TRUE(blob.content.empty());
    EXPECT_EQ(blob.status.metadata.size(), 2U);
    EXPECT_EQ(blob.status.metadata.at("author"), "Ada");
    EXPECT_TRUE(blob.status.metadata.contains("encryptiondata"));
    properties.content_md5.clear();
    EXPECT_EQ(blob.status.properties, properties);
}

}  // namespace
}  // namespace dray::store
