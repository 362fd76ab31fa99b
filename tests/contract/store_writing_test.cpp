// SPDX-License-Identifier: Apache-2.0
//
// The contract of writing: pieces, finish, replace, resume, abandon.
#include <algorithm>
#include <atomic>
#include <barrier>
#include <mutex>
#include <thread>

#include "tests/contract/store_fixture.hpp"

namespace dray::store {
namespace {

const BlobName kBlob{"lab", "disk.img"};
const BlobProperties kProperties{"text/plain", "gzip", "de", "no-cache",
                                 "1B2M2Y8AsgTpgAmY7PhCfg=="};
const BlobMetadata kMetadata{{"Author", "Ada"}, {"place", "Z\xC3\xBCrich"}};
constexpr std::size_t kPiece = 4096;

TEST_P(EveryStore, ShowsABlobNotBeforeItIsFinished) {
    const Content content = random_content(3 * kPiece);
    const auto writer = create(kBlob, options(content.size()));
    const std::vector<Piece> pieces = cut(content, kPiece);
    for (const Piece& piece : pieces) {
        EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
        EXPECT_TRUE(names().empty());
        ASSERT_TRUE(writer->put(piece));
    }
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, TakesPiecesInAnyOrder) {
    const Content content = random_content(16 * kPiece + 77);
    const auto writer = create(kBlob, options(content.size()));
    const std::vector<Piece> pieces = cut(content, kPiece);
    std::vector<Piece> shuffled = pieces;
    std::ranges::shuffle(shuffled, random());
    for (const Piece& piece : shuffled)
        ASSERT_TRUE(writer->put(piece));
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, TakesPiecesFromSeveralThreads) {
    const Content content = random_content(64 * kPiece);
    const auto writer = create(kBlob, options(content.size()));
    const std::vector<Piece> pieces = cut(content, kPiece);
    std::atomic<std::size_t> next = 0;
    std::atomic<int> failures = 0;
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([&] {
                for (std::size_t k = next++; k < pieces.size(); k = next++)
                    failures += !writer->put(pieces[k]);
            });
    }
    ASSERT_EQ(failures, 0);
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, TakesTheSamePieceTwice) {
    const Content content = random_content(2 * kPiece);
    const auto writer = create(kBlob, options(content.size()));
    const std::vector<Piece> pieces = cut(content, kPiece);
    for (const Piece& piece : {pieces[0], pieces[1], pieces[0]})
        ASSERT_TRUE(writer->put(piece));
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, TakesAPieceWithoutAHash) {
    const Content content = random_content(kPiece);
    const auto writer = create(kBlob, options(content.size()));
    Piece piece = piece_at(0, content);
    piece.md5 = {};
    ASSERT_TRUE(writer->put(piece));
    ASSERT_TRUE(writer->finish({&piece, 1}, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, RefusesAPieceThatHasChangedSinceItWasVerified) {
    const Content content = random_content(kPiece);
    Content changed = content;
    changed[kPiece / 2] ^= std::byte{1};
    const auto writer = create(kBlob, options(content.size()));
    Piece piece = piece_at(0, content);
    piece.content = changed;
    EXPECT_EQ(kind_of(writer->put(piece)), "Corrupt");
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
    EXPECT_EQ(kind_of(store().put_whole(kBlob, options(content.size()), piece, {}, {}, {})),
              "Corrupt");
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
    // The right one may follow.
    piece.content = content;
    ASSERT_TRUE(writer->put(piece));
    ASSERT_TRUE(writer->finish({&piece, 1}, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, KeepsPropertiesAndMetadata) {
    ASSERT_TRUE(put_whole(kBlob, random_content(10), false, kProperties, kMetadata));
    reopen();
    const Result<BlobStatus> status = store().stat(kBlob);
    ASSERT_TRUE(status) << status.error().text();
    EXPECT_EQ(status->properties, kept(kProperties));
    EXPECT_EQ(status->metadata, kMetadata);
}

TEST_P(EveryStore, RefusesMetadataNamesThatDifferInCaseAlone) {
    const BlobMetadata twice{{"Author", "Ada"}, {"author", "Bob"}};
    EXPECT_EQ(kind_of(put_whole(kBlob, random_content(10), false, {}, twice)), "InvalidArgument");
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
}

TEST_P(EveryStore, PutsASmallBlobInOneStep) {
    const Content content = random_content(1234);
    ASSERT_TRUE(put_whole(kBlob, content, false, kProperties, kMetadata));
    EXPECT_EQ(content_of(kBlob), content);
    EXPECT_EQ(kind_of(put_whole(kBlob, random_content(5))), "Exists");
    EXPECT_EQ(content_of(kBlob), content);
    const Content other = random_content(99);
    ASSERT_TRUE(put_whole(kBlob, other, true));
    EXPECT_EQ(content_of(kBlob), other);
    EXPECT_EQ(store().stat(kBlob)->metadata, BlobMetadata());
}

TEST_P(EveryStore, HoldsEmptyBlobs) {
    ASSERT_TRUE(put_whole({"lab", "whole"}, {}, false, kProperties, kMetadata));
    ASSERT_TRUE(create({"lab", "block"}, options(0))->finish({}, {}, {}));
    std::vector<std::string> all{"block", "whole"};
    if (place().keeps_pages()) {
        CreateOptions page = options(0);
        page.type = BlobType::Page;
        ASSERT_TRUE(create({"lab", "page"}, page)->finish({}, {}, {}));
        all.insert(all.begin() + 1, "page");
    }
    for (const std::string& name : all) {
        const Result<BlobStatus> status = store().stat({"lab", name});
        ASSERT_TRUE(status) << name;
        EXPECT_EQ(status->length, 0U) << name;
    }
    EXPECT_EQ(store().stat({"lab", "whole"})->properties, kept(kProperties));
    EXPECT_EQ(names(), all);
}

TEST_P(EveryStore, SaysExistsAtFinishWhenTheNameIsTaken) {
    const Content first = random_content(100);
    ASSERT_TRUE(put_whole(kBlob, first, false, kProperties, kMetadata));
    const Content second = random_content(2 * kPiece);
    const auto writer = create(kBlob, options(second.size()));
    const std::vector<Piece> pieces = cut(second, kPiece);
    for (const Piece& piece : pieces)
        ASSERT_TRUE(writer->put(piece));
    EXPECT_EQ(kind_of(writer->finish(pieces, {}, {})), "Exists");
    EXPECT_EQ(content_of(kBlob), first);
    EXPECT_EQ(store().stat(kBlob)->properties, kept(kProperties));
    EXPECT_EQ(store().stat(kBlob)->metadata, kMetadata);
}

TEST_P(EveryStore, GoesOnUnderAnotherNameAfterExists) {
    ASSERT_TRUE(put_whole(kBlob, random_content(100)));
    ASSERT_TRUE(put_whole({"lab", "disk (2).img"}, random_content(100)));
    const Content content = random_content(2 * kPiece);
    const auto writer = create(kBlob, options(content.size()));
    const std::vector<Piece> pieces = cut(content, kPiece);
    for (const Piece& piece : pieces)
        ASSERT_TRUE(writer->put(piece));
    ASSERT_EQ(kind_of(writer->finish(pieces, kProperties, kMetadata)), "Exists");
    ASSERT_TRUE(writer->rename({"lab", "disk (2).img"}));
    ASSERT_EQ(kind_of(writer->finish(pieces, kProperties, kMetadata)), "Exists");
    ASSERT_TRUE(writer->rename({"lab", "disk (3).img"}));
    ASSERT_TRUE(writer->finish(pieces, kProperties, kMetadata));
    EXPECT_EQ(content_of({"lab", "disk (3).img"}), content);
    EXPECT_EQ(store().stat({"lab", "disk (3).img"})->metadata, kMetadata);
    EXPECT_EQ(store().stat(kBlob)->metadata, BlobMetadata());
    EXPECT_EQ(names().size(), 3U);
}

// A crash between Exists and rename(): the pieces must still be where they were put, gaps or not.
TEST_P(EveryStore, KeepsPiecesAfterExistsForALaterWriter) {
    ASSERT_TRUE(put_whole(kBlob, random_content(100)));
    const Content content = random_content(4 * kPiece);
    const CreateOptions upload = options(content.size());
    std::vector<Piece> pieces = cut(content, kPiece);
    {
        const auto writer = create(kBlob, upload);
        for (const Piece& piece : pieces)
            ASSERT_TRUE(writer->put(piece));
        const std::vector<Piece> some{pieces[0], pieces[2]};
        const bool takes_some = place().leaves_out_blocks();
        ASSERT_EQ(kind_of(writer->finish(takes_some ? some : pieces, {}, {})), "Exists");
    }
    reopen();
    const auto writer = create({"lab", "later"}, upload);
    put_again(*writer, pieces);
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of({"lab", "later"}), content);
}

TEST_P(EveryStore, ReplacesContentPropertiesAndMetadataWhateverTheType) {
    for (const BlobType before : types())
        for (const BlobType after : types()) {
            const Content old = random_content(1024);
            const Content content = random_content(2048);
            CreateOptions upload = options(old.size(), true);
            upload.type = before;
            Result<void> put = store().put_whole(kBlob, upload, piece_at(0, old), kProperties, kMetadata, {});
            ASSERT_TRUE(put) << put.error().text();
            upload = options(content.size(), true);
            upload.type = after;
            put = store().put_whole(kBlob, upload, piece_at(0, content), {}, {{"new", "1"}}, {});
            ASSERT_TRUE(put) << put.error().text();
            EXPECT_EQ(content_of(kBlob), content);
            const Result<BlobStatus> status = store().stat(kBlob);
            ASSERT_TRUE(status);
            EXPECT_EQ(status->type, after);
            expect_properties(status->properties, {}, content);
            EXPECT_EQ(status->metadata, (BlobMetadata{{"new", "1"}}));
        }
}

TEST_P(EveryStore, ForgetsMetadataOfWhatWasReplacedOrRemoved) {
    ASSERT_TRUE(put_whole(kBlob, random_content(10), false, kProperties, kMetadata));
    Content content = random_content(20);
    ASSERT_TRUE(put_whole(kBlob, content, true));
    EXPECT_EQ(store().stat(kBlob)->metadata, BlobMetadata());
    expect_properties(store().stat(kBlob)->properties, {}, content);
    ASSERT_TRUE(put_whole(kBlob, random_content(10), true, kProperties, kMetadata));
    ASSERT_TRUE(store().remove(kBlob));
    content = random_content(10);
    ASSERT_TRUE(put_whole(kBlob, content));
    EXPECT_EQ(store().stat(kBlob)->metadata, BlobMetadata());
    expect_properties(store().stat(kBlob)->properties, {}, content);
}

TEST_P(EveryStore, KeepsPiecesForALaterWriter) {
    const Content content = random_content(8 * kPiece);
    const std::vector<Piece> pieces = cut(content, kPiece);
    const CreateOptions upload = options(content.size());
    {
        const auto writer = create(kBlob, upload);
        for (const std::size_t i : {0U, 3U, 5U})
            ASSERT_TRUE(writer->put(pieces[i]));
    }
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
    {
        const auto writer = create(kBlob, upload);
        for (const std::size_t i : {1U, 7U})
            ASSERT_TRUE(writer->put(pieces[i]));
    }
    reopen();
    EXPECT_TRUE(names().empty());
    const auto writer = create(kBlob, upload);
    put_again(*writer, pieces);
    for (const std::size_t i : {2U, 4U, 6U})
        ASSERT_TRUE(writer->put(pieces[i]));
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, KeepsUploadsApart) {
    const Content one = random_content(kPiece);
    const Content two = random_content(kPiece);
    const auto first = create(kBlob, options(kPiece));
    const auto second = create(kBlob, options(kPiece, true));
    const Piece pieces[] = {piece_at(0, one), piece_at(0, two)};
    ASSERT_TRUE(first->put(pieces[0]));
    ASSERT_TRUE(second->put(pieces[1]));
    ASSERT_TRUE(first->finish({&pieces[0], 1}, {}, {}));
    EXPECT_EQ(content_of(kBlob), one);
    ASSERT_TRUE(second->finish({&pieces[1], 1}, {}, {}));
    EXPECT_EQ(content_of(kBlob), two);
}

TEST_P(EveryStore, TellsUploadsApartWhoseIdsBeginAlike) {
    const Content first = random_content(2 * kPiece);
    const Content second = random_content(2 * kPiece);
    CreateOptions upload = options(first.size());
    const auto publish = [&](const std::string& id, const Content& content) {
        upload.upload_id = id;
        const std::vector<Piece> pieces = cut(content, kPiece);
        const auto writer = create(kBlob, upload);
        for (const Piece& piece : pieces)
            EXPECT_TRUE(writer->put(piece));
        return writer->finish(pieces, {}, {});
    };
    ASSERT_TRUE(publish("alike-12", first));
    EXPECT_EQ(kind_of(publish("alike-1", second)), "Exists");
    EXPECT_EQ(kind_of(publish("ike-12", second)), "Exists");
    EXPECT_EQ(content_of(kBlob), first);
}

TEST_P(EveryStore, AbandonsWhatWasPut) {
    const Content content = random_content(2 * kPiece);
    const CreateOptions upload = options(content.size());
    const std::vector<Piece> pieces = cut(content, kPiece);
    {
        const auto writer = create(kBlob, upload);
        for (const Piece& piece : pieces)
            ASSERT_TRUE(writer->put(piece));
        ASSERT_TRUE(writer->abandon());
    }
    EXPECT_TRUE(names().empty());
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
    // Nothing is left for a later writer either.
    EXPECT_EQ(kind_of(create(kBlob, upload)->finish(pieces, {}, {})), "Corrupt");
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
}

TEST_P(EveryStore, DoesNotPublishPiecesItDoesNotHave) {
    const Content content = random_content(4 * kPiece);
    const std::vector<Piece> pieces = cut(content, kPiece);
    const auto writer = create(kBlob, options(content.size()));
    for (const std::size_t i : {0U, 1U, 2U})
        ASSERT_TRUE(writer->put(pieces[i]));
    EXPECT_EQ(kind_of(writer->finish(pieces, {}, {})), "Corrupt");
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
    ASSERT_TRUE(writer->put(pieces[3]));
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
}

TEST_P(EveryStore, RefusesPageBlobsWhereItHasNone) {
    if (place().keeps_pages())
        return;
    const Content content = random_content(1024);
    CreateOptions upload = options(content.size());
    upload.type = BlobType::Page;
    EXPECT_EQ(kind_of(store().create(kBlob, upload, {})), "Unsupported");
    EXPECT_EQ(kind_of(store().put_whole(kBlob, upload, piece_at(0, content), {}, {}, {})), "Unsupported");
    EXPECT_TRUE(names().empty());
}

// Who asks for an upload that was begun gets it, or hears that it is gone; then nothing of it is left.
TEST_P(EveryStore, ResumesOnlyWhatIsThere) {
    const Content content = random_content(2 * kPiece);
    const std::vector<Piece> pieces = cut(content, kPiece);
    CreateOptions upload = options(content.size());
    upload.must_resume = true;
    EXPECT_EQ(kind_of(store().create(kBlob, upload, {})), "NotFound");
    upload.must_resume = false;
    {
        const auto writer = create(kBlob, upload);
        for (const Piece& piece : pieces)
            ASSERT_TRUE(writer->put(piece));
    }
    reopen();
    upload.must_resume = true;
    EXPECT_EQ(kind_of(store().create(kBlob, upload, {})), place().resumes() ? "success" : "NotFound");
    if (place().resumes()) {
        ASSERT_TRUE(create(kBlob, upload)->abandon());
    }
    EXPECT_EQ(kind_of(store().create(kBlob, upload, {})), "NotFound");
    upload.must_resume = false;
    EXPECT_EQ(kind_of(create(kBlob, upload)->finish(pieces, {}, {})), "Corrupt");
    EXPECT_TRUE(names().empty());
}

TEST_P(EveryStore, ReadsZerosWhereAPageBlobHasNoPages) {
    if (!place().keeps_pages())
        return;
    Content content(64 * kPiece);
    CreateOptions upload = options(content.size());
    upload.type = BlobType::Page;
    const auto writer = create(kBlob, upload);
    std::vector<Piece> pieces;
    for (const std::size_t i : {1U, 2U, 17U, 62U}) {
        const Content page = random_content(kPiece);
        std::ranges::copy(page, content.begin() + static_cast<std::ptrdiff_t>(i * kPiece));
        pieces.push_back(piece_at(i * kPiece, page));
        ASSERT_TRUE(writer->put(pieces.back()));
    }
    ASSERT_TRUE(writer->finish(pieces, {}, {}));
    EXPECT_EQ(content_of(kBlob), content);
    EXPECT_EQ(store().stat(kBlob)->type, BlobType::Page);
}

TEST_P(EveryStore, ReadsZerosWhereAPageWasWrong) {
    if (!place().keeps_pages())
        return;
    const Content good = random_content(kPiece);
    const Content wrong = random_content(kPiece);
    CreateOptions upload = options(4 * kPiece);
    upload.type = BlobType::Page;
    const auto writer = create(kBlob, upload);
    ASSERT_TRUE(writer->put(piece_at(kPiece, good)));
    for (const std::size_t i : {0U, 2U, 3U}) {
        Piece piece = piece_at(i * kPiece, wrong);
        piece.md5[0] ^= std::byte{1};
        ASSERT_EQ(kind_of(writer->put(piece)), "Corrupt");
    }
    const Piece listed = piece_at(kPiece, good);
    ASSERT_TRUE(writer->finish({&listed, 1}, {}, {}));
    Content expected(4 * kPiece);
    std::ranges::copy(good, expected.begin() + kPiece);
    EXPECT_EQ(content_of(kBlob), expected);
}

TEST_P(EveryStore, LeavesOutBlocksThatAreNotNamed) {
    const Content content = random_content(5 * kPiece + 100);
    const std::vector<Piece> pieces = cut(content, kPiece);
    const struct {
        const char* description;
        std::vector<std::size_t> named;
    } rows[] = {{"the first", {1, 2, 3, 4, 5}},
                {"one within", {0, 1, 3, 4, 5}},
                {"the last", {0, 1, 2, 3, 4}},
                {"most", {2}},
                {"all", {}},
                {"none, in another order", {5, 0, 4, 1, 3, 2}}};
    for (const auto& row : rows) {
        const auto writer = create(kBlob, options(content.size(), true));
        Content expected;
        std::vector<Piece> named;
        for (const Piece& piece : pieces)
            ASSERT_TRUE(writer->put(piece));
        for (const std::size_t i : row.named) {
            named.push_back(pieces[i]);
            expected.insert(expected.end(), pieces[i].content.begin(), pieces[i].content.end());
        }
        if (!place().leaves_out_blocks()) {
            EXPECT_EQ(kind_of(writer->finish(named, {}, {})), "InvalidArgument") << row.description;
            EXPECT_TRUE(names().empty()) << row.description;
            continue;
        }
        ASSERT_TRUE(writer->finish(named, {}, {})) << row.description;
        EXPECT_EQ(content_of(kBlob), expected) << row.description;
    }
    EXPECT_EQ(names().size(), place().leaves_out_blocks() ? 1U : 0U);
}

TEST_P(EveryStore, StopsWhenAsked) {
    std::stop_source source;
    source.request_stop();
    const Content content = random_content(10);
    Content read(10);
    ASSERT_TRUE(put_whole({"lab", "there"}, content));
    EXPECT_EQ(kind_of(store().create(kBlob, options(10), source.get_token())), "Cancelled");
    EXPECT_EQ(kind_of(store().put_whole(kBlob, options(10), piece_at(0, content), {}, {},
                                        source.get_token())),
              "Cancelled");
    EXPECT_EQ(kind_of(store().read({"lab", "there"}, 0, read, "", source.get_token())),
              "Cancelled");
    EXPECT_EQ(names(), std::vector<std::string>{"there"});
}

TEST_P(EveryStore, RefusesUploadIdsThatAreNone) {
    for (const std::string& id :
         {std::string(), std::string("../x"), std::string("a/b"), std::string("a.b"),
          std::string("a b"), std::string(101, 'x'), std::string("a\0b", 3)}) {
        CreateOptions upload = options(1);
        upload.upload_id = id;
        EXPECT_EQ(kind_of(store().create(kBlob, upload, {})), "InvalidArgument") << id;
    }
    CreateOptions upload = options(0);
    upload.upload_id = std::string(100, 'Z');
    EXPECT_EQ(kind_of(store().create(kBlob, upload, {})), "success");
}

TEST_P(EveryStore, NeedsAContainer) {
    const BlobName name{"attic", "x"};
    EXPECT_EQ(kind_of(store().create(name, options(0), {})), "NotFound");
    EXPECT_EQ(kind_of(put_whole(name, {})), "NotFound");
    const auto writer = create(kBlob, options(0));
    ASSERT_TRUE(writer->rename(name));
    EXPECT_EQ(kind_of(writer->finish({}, {}, {})), "NotFound");
    EXPECT_EQ(*store().containers(), std::vector<std::string>{"lab"});
    ASSERT_TRUE(store().ensure_container("attic"));
    EXPECT_EQ(kind_of(writer->finish({}, {}, {})), "success");
    EXPECT_TRUE(names().empty());
}

TEST_P(EveryStore, LetsExactlyOneWriterHaveAName) {
    constexpr int kWriters = 6;
    for (int round = 0; round < 20; ++round) {
        // Directories of names that collide with blobs, odd names: all the ways a store may take.
        const std::string names[] = {"plain", "a/b", "a", std::string(300, 'l'), odd_name()};
        const BlobName name{"lab", names[round % 5] + std::to_string(round / 5)};
        const Result<std::unique_ptr<BlobStore>> other = place().open();
        ASSERT_TRUE(other);
        std::vector<Content> contents;
        std::vector<std::unique_ptr<BlobWriter>> writers;
        for (int i = 0; i < kWriters; ++i) {
            contents.push_back(random_content(100 + static_cast<std::size_t>(i)));
            const CreateOptions upload = options(contents.back().size());
            Result<std::unique_ptr<BlobWriter>> writer =
                (i % 2 == 0 ? store() : **other).create(name, upload, {});
            ASSERT_TRUE(writer);
            ASSERT_TRUE((*writer)->put(piece_at(0, contents.back())));
            writers.push_back(*std::move(writer));
        }
        std::barrier start(kWriters);
        std::atomic<int> winner = -1;
        std::atomic<int> winners = 0;
        std::atomic<int> losers = 0;
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < kWriters; ++i)
                threads.emplace_back([&, i] {
                    const Piece piece = piece_at(0, contents[static_cast<std::size_t>(i)]);
                    const BlobMetadata metadata{{"writer", std::to_string(i)}};
                    start.arrive_and_wait();
                    const Result<void> done =
                        writers[static_cast<std::size_t>(i)]->finish({&piece, 1}, {}, metadata);
                    if (done) {
                        winner = i;
                        ++winners;
                    } else if (done.error().kind() == ErrorKind::Exists) {
                        ++losers;
                    }
                });
        }
        ASSERT_EQ(winners, 1);
        ASSERT_EQ(losers, kWriters - 1);
        EXPECT_EQ(content_of(name), contents[static_cast<std::size_t>(winner.load())]);
        EXPECT_EQ(store().stat(name)->metadata, (BlobMetadata{{"writer", std::to_string(winner)}}));
    }
}

TEST_P(EveryStore, WritesManyBlobsAtOnce) {
    constexpr int kThreads = 4;
    constexpr int kBlobs = 50;
    std::mutex mutex;
    std::string failures;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < kThreads; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < kBlobs; ++i) {
                    const std::string name = std::to_string(t) + "/" + std::to_string(i);
                    const Content content = bytes(name);
                    CreateOptions upload;
                    upload.length = content.size();
                    upload.upload_id = "many-" + std::to_string(t) + "-" + std::to_string(i);
                    const Result<void> put =
                        store().put_whole({"lab", name}, upload, piece_at(0, content), {}, {}, {});
                    const std::scoped_lock lock(mutex);
                    failures += put ? "" : put.error().text() + "\n";
                }
            });
    }
    EXPECT_EQ(failures, "");
    const std::vector<std::string> all = names();
    EXPECT_EQ(all.size(), static_cast<std::size_t>(kThreads * kBlobs));
    for (const std::string& name : all)
        EXPECT_EQ(content_of({"lab", name}), bytes(name));
}

}  // namespace
}  // namespace dray::store
