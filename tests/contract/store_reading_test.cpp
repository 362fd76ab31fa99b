// SPDX-License-Identifier: Apache-2.0
//
// The contract of reading: status, ranges, etags, what a reader may see while others write,
// identity.
#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "tests/contract/store_fixture.hpp"

namespace dray::store {
namespace {

const BlobName kBlob{"lab", "dir/disk.img"};

TEST_P(EveryStore, TellsWhatABlobIs) {
    const Content content = random_content(1025);
    ASSERT_TRUE(put_whole(kBlob, content));
    const Result<BlobStatus> status = store().stat(kBlob);
    ASSERT_TRUE(status) << status.error().text();
    EXPECT_EQ(status->name, kBlob);
    EXPECT_EQ(status->type, BlobType::Block);
    EXPECT_EQ(status->length, 1025U);
    EXPECT_FALSE(status->etag.empty());
    expect_properties(status->properties, {}, content);
    EXPECT_EQ(status->metadata, BlobMetadata());
}

TEST_P(EveryStore, TellsWhenABlobWasChanged) {
    const BlobName before{"lab", "before"};
    const BlobName after{"lab", "after"};
    ASSERT_TRUE(put_whole(before, {}));
    ASSERT_TRUE(put_whole(kBlob, random_content(10)));
    ASSERT_TRUE(put_whole(after, {}));
    const TimePoint modified = store().stat(kBlob)->modified;
    EXPECT_GE(modified, store().stat(before)->modified);
    EXPECT_LE(modified, store().stat(after)->modified);
    // By the store's clock, which is about ours.
    EXPECT_LT(std::chrono::abs(std::chrono::system_clock::now() - modified),
              std::chrono::hours(24));
    ASSERT_TRUE(put_whole(kBlob, random_content(10), true));
    EXPECT_GE(store().stat(kBlob)->modified, store().stat(after)->modified);
    EXPECT_EQ(store().list("lab", kBlob.name, "", 1)->blobs.at(0).modified,
              store().stat(kBlob)->modified);
}

TEST_P(EveryStore, KeepsAnEtagAsLongAsTheBlob) {
    ASSERT_TRUE(put_whole(kBlob, random_content(10)));
    const std::string etag = store().stat(kBlob)->etag;
    content_of(kBlob);
    ASSERT_TRUE(put_whole({"lab", "other"}, random_content(10)));
    reopen();
    EXPECT_EQ(store().stat(kBlob)->etag, etag);
    EXPECT_EQ(store().list("lab", kBlob.name, "", 1)->blobs.at(0).etag, etag);
}

TEST_P(EveryStore, GivesEachContentAnEtagOfItsOwn) {
    std::set<std::string> etags;
    constexpr std::size_t kTimes = 200;
    for (std::size_t i = 0; i < kTimes; ++i) {
        ASSERT_TRUE(put_whole(kBlob, random_content(16), true));
        etags.insert(store().stat(kBlob)->etag);
    }
    EXPECT_EQ(etags.size(), kTimes);
}

TEST_P(EveryStore, ReadsRanges) {
    const Content content = random_content(10'000);
    ASSERT_TRUE(put_whole(kBlob, content));
    for (int i = 0; i < 100; ++i) {
        const std::size_t offset = random()() % (content.size() + 1);
        Content part(random()() % (content.size() - offset + 1));
        ASSERT_TRUE(store().read(kBlob, offset, part, "", {}));
        EXPECT_TRUE(std::ranges::equal(part, std::span(content).subspan(offset, part.size())))
            << offset;
    }
    Content nothing;
    EXPECT_TRUE(store().read(kBlob, 0, nothing, "", {}));
    EXPECT_TRUE(store().read(kBlob, content.size(), nothing, "", {}));
}

TEST_P(EveryStore, RefusesToReadBeyondTheEnd) {
    ASSERT_TRUE(put_whole(kBlob, random_content(100)));
    const struct {
        Bytes offset;
        std::size_t length;
    } rows[] = {{0, 101},
                {100, 1},
                {99, 2},
                {101, 0},
                {1'000'000, 1},
                {~Bytes{0}, 2},
                {~Bytes{0} - 1, 100}};
    for (const auto& row : rows) {
        Content part(row.length);
        EXPECT_EQ(kind_of(store().read(kBlob, row.offset, part, "", {})), "InvalidArgument")
            << row.offset;
    }
}

TEST_P(EveryStore, ReadsOnlyWhatTheEtagNames) {
    const Content first = random_content(100);
    ASSERT_TRUE(put_whole(kBlob, first));
    const std::string etag = store().stat(kBlob)->etag;
    Content part(50);
    ASSERT_TRUE(store().read(kBlob, 10, part, etag, {}));
    EXPECT_TRUE(std::ranges::equal(part, std::span(first).subspan(10, 50)));
    ASSERT_TRUE(put_whole(kBlob, random_content(100), true));
    EXPECT_EQ(kind_of(store().read(kBlob, 10, part, etag, {})), "Busy");
    EXPECT_EQ(kind_of(store().read(kBlob, 10, part, "no-etag-of-this", {})), "Busy");
    EXPECT_EQ(kind_of(store().read(kBlob, 10, part, store().stat(kBlob)->etag, {})), "success");
}

TEST_P(EveryStore, FindsNothingWhereNothingIs) {
    ASSERT_TRUE(put_whole({"lab", "a/b"}, random_content(10)));
    Content part(1);
    const BlobName names[] = {{"lab", "x"},     {"lab", "a"},          {"lab", "a/"},
                              {"lab", "a/b/c"}, {"lab", "b"},          {"attic", "x"},
                              {"lab", ".."},    {"lab", "../lab/a/b"}, {"lab", "A/B"},
                              {"lab", "a//b"},  {"lab", "./a/b"}};
    for (const BlobName& name : names) {
        EXPECT_EQ(kind_of(store().stat(name)), "NotFound") << name.path();
        EXPECT_EQ(kind_of(store().read(name, 0, part, "", {})), "NotFound") << name.path();
        EXPECT_EQ(kind_of(store().remove(name)), "NotFound") << name.path();
    }
    EXPECT_EQ(kind_of(store().list("attic", "", "", 10)), "NotFound");
    EXPECT_EQ(this->names(), std::vector<std::string>{"a/b"});
}

// Two contents of different length and metadata take turns; whoever looks sees one of them, never a
// mixture.
TEST_P(EveryStore, NeverShowsHalfABlob) {
    constexpr int kTimes = 150;
    const Content contents[] = {Content(1000, std::byte{1}), Content(70'000, std::byte{2})};
    const auto metadata = [](std::size_t size) {
        return BlobMetadata{{"size", std::to_string(size)}};
    };
    ASSERT_TRUE(put_whole(kBlob, contents[0], true, {}, metadata(contents[0].size())));
    const Result<std::unique_ptr<BlobStore>> other = place().open();
    ASSERT_TRUE(other);
    std::atomic<bool> is_over = false;
    std::atomic<int> looks = 0;
    std::string wrong;
    {
        std::jthread reader([&] {
            const auto see = [&](bool is_right, const char* what) {
                if (!is_right && wrong.empty())
                    wrong = what;
            };
            const auto is_one = [&](const BlobStatus& status) {
                return status.metadata == metadata(status.length);
            };
            for (; !is_over; ++looks) {
                const Result<BlobStatus> status = (*other)->stat(kBlob);
                see(status && is_one(*status), "stat: length and metadata of two blobs");
                const Result<ListPage> page = (*other)->list("lab", "", "", 10);
                see(page && page->blobs.size() == 1 && is_one(page->blobs[0]), "list: as above");
                if (!status)
                    continue;
                Content read(status->length);
                const Result<void> done = (*other)->read(kBlob, 0, read, status->etag, {});
                see(done || done.error().kind() == ErrorKind::Busy, "read: failed");
                see(!done || std::ranges::count(read, read[0]) ==
                                 static_cast<std::ptrdiff_t>(read.size()),
                    "read: content of two blobs");
            }
        });
        for (int i = 0; i < kTimes; ++i) {
            const Content& content = contents[(i + 1) % 2];
            const Result<void> put = put_whole(kBlob, content, true, {}, metadata(content.size()));
            EXPECT_TRUE(put) << put.error().text();
        }
        is_over = true;
    }
    EXPECT_EQ(wrong, "");
    EXPECT_GT(looks, 0);
}

// Writers of two processes that replace the same blob: whoever comes last, content and metadata are
// of one.
TEST_P(EveryStore, NeverMixesWhatTwoWritersReplace) {
    const Result<std::unique_ptr<BlobStore>> other = place().open();
    ASSERT_TRUE(other);
    BlobStore* stores[] = {&store(), other->get()};
    constexpr int kRounds = 100;
    std::atomic<int> failures = 0;
    for (int round = 0; round < kRounds; ++round) {
        {
            std::vector<std::jthread> threads;
            for (std::size_t i = 0; i < 2; ++i)
                threads.emplace_back([&, i] {
                    const Content content(100 + i, std::byte{7});
                    CreateOptions upload;
                    upload.length = content.size();
                    upload.replace = true;
                    upload.upload_id = "round-" + std::to_string(round) + "-" + std::to_string(i);
                    // One of the two is as plain as a blob can be.
                    const BlobMetadata metadata =
                        i == 0 ? BlobMetadata() : BlobMetadata{{"size", "101"}};
                    failures += !stores[i]->put_whole(kBlob, upload, piece_at(0, content), {},
                                                      metadata, {});
                });
        }
        const Result<BlobStatus> status = store().stat(kBlob);
        ASSERT_TRUE(status);
        ASSERT_EQ(status->metadata,
                  status->length == 100 ? BlobMetadata() : BlobMetadata({{"size", "101"}}))
            << "round " << round;
    }
    EXPECT_EQ(failures, 0);
}

TEST_P(EveryStore, RemovesBlobs) {
    ASSERT_TRUE(put_whole(kBlob, random_content(10), false, {}, {{"a", "b"}}));
    ASSERT_TRUE(put_whole({"lab", "dir/other"}, random_content(10)));
    ASSERT_TRUE(store().remove(kBlob));
    EXPECT_EQ(kind_of(store().stat(kBlob)), "NotFound");
    EXPECT_EQ(kind_of(store().remove(kBlob)), "NotFound");
    EXPECT_EQ(names(), std::vector<std::string>{"dir/other"});
    ASSERT_TRUE(put_whole(kBlob, random_content(10)));
    EXPECT_EQ(names().size(), 2U);
}

TEST_P(EveryStore, SaysWhereABlobIsWithoutASecret) {
    const BlobName name{"lab", "dir with blanks/50% \xC3\xA9?#x=1"};
    const std::string uri = store().uri(name);
    EXPECT_EQ(uri.find_first_of(" ?#\xC3\n"), std::string::npos) << uri;
    EXPECT_TRUE(uri.ends_with("/lab/dir%20with%20blanks/50%25%20%C3%A9%3F%23x%3D1")) << uri;
    EXPECT_NE(uri.find("://"), std::string::npos) << uri;
    if (!place().secret().empty()) {
        EXPECT_EQ(uri.find(place().secret()), std::string::npos) << uri;
    }
}

TEST_P(EveryStore, KeepsItsIdentity) {
    const std::string identity = store().identity();
    EXPECT_FALSE(identity.empty());
    ASSERT_TRUE(put_whole(kBlob, random_content(10)));
    reopen();
    EXPECT_EQ(store().identity(), identity);
    const std::unique_ptr<StorePlace> elsewhere = GetParam().make();
    const Result<std::unique_ptr<BlobStore>> other = elsewhere->open();
    ASSERT_TRUE(other);
    EXPECT_NE((*other)->identity(), identity);
}

TEST_P(EveryStore, HasOneIdentityForAllWhoOpenItFirst) {
    const std::unique_ptr<StorePlace> fresh = GetParam().make();
    constexpr std::size_t kThreads = 8;
    std::vector<std::string> identities(kThreads);
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < kThreads; ++i)
            threads.emplace_back([&, i] {
                const Result<std::unique_ptr<BlobStore>> opened = fresh->open();
                identities[i] = opened ? (*opened)->identity() : opened.error().text();
            });
    }
    EXPECT_EQ(std::set(identities.begin(), identities.end()).size(), 1U)
        << testing::PrintToString(identities);
}

TEST_P(EveryStore, ChecksAndSyncsWithoutChangingAnything) {
    const Content content = random_content(100);
    ASSERT_TRUE(put_whole(kBlob, content));
    const auto writer = create({"lab", "open"}, options(content.size()));
    ASSERT_TRUE(writer->put(piece_at(0, content)));
    EXPECT_EQ(kind_of(store().check()), "success");
    EXPECT_EQ(kind_of(store().sync()), "success");
    EXPECT_EQ(kind_of(store().sync()), "success");
    EXPECT_EQ(names(), std::vector<std::string>{kBlob.name});
    EXPECT_EQ(content_of(kBlob), content);
}

}  // namespace
}  // namespace dray::store
