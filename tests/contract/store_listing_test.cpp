// SPDX-License-Identifier: Apache-2.0
//
// The contract of listings and containers.
#include <algorithm>
#include <limits>
#include <set>

#include "tests/contract/store_fixture.hpp"

namespace dray::store {
namespace {

TEST_P(EveryStore, ListsNamesInOrderOfTheirBytes) {
    const std::vector<std::string> sorted = {"!",
                                             "A",
                                             "B/x",
                                             "a",
                                             "a b",
                                             "a-b",
                                             "a.b",
                                             "a/a",
                                             "a/b/c",
                                             "a/c",
                                             "a0",
                                             "ab",
                                             "\xC3\xA9",
                                             "\xE2\x82\xAC",
                                             "\xF0\x9F\x92\xBE"};
    std::vector<std::string> shuffled = sorted;
    std::ranges::shuffle(shuffled, random());
    for (const std::string& name : shuffled)
        ASSERT_TRUE(put_whole({"lab", name}, bytes(name))) << name;
    EXPECT_EQ(names(), sorted);
    reopen();
    for (const std::size_t most : {1U, 2U, 7U, 14U, 15U, 16U})
        EXPECT_EQ(names("", most), sorted) << most;
}

TEST_P(EveryStore, ListsNamesThatBeginWithAPrefix) {
    for (const char* name : {"a", "a/b", "a/bc", "a/c", "ab", "b/a/b", "A/b"})
        ASSERT_TRUE(put_whole({"lab", name}, {}));
    const struct {
        const char* prefix;
        std::vector<std::string> expected;
    } rows[] = {
        {"a", {"a", "a/b", "a/bc", "a/c", "ab"}},
        {"a/", {"a/b", "a/bc", "a/c"}},
        {"a/b", {"a/b", "a/bc"}},
        {"a/bc", {"a/bc"}},
        {"a/bcd", {}},
        {"A", {"A/b"}},
        {"/", {}},
        {"b", {"b/a/b"}},
        {"b/a", {"b/a/b"}},
        {"../", {}},
        {".", {}},
        {"c", {}},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(names(row.prefix), row.expected) << row.prefix;
        EXPECT_EQ(names(row.prefix, 1), row.expected) << row.prefix;
    }
}

TEST_P(EveryStore, EndsAListingWhereItIsComplete) {
    for (const char* name : {"a", "b", "c"})
        ASSERT_TRUE(put_whole({"lab", name}, {}));
    const struct {
        std::size_t most;
        std::size_t expected;
        bool has_more;
    } rows[] = {{1, 1, true}, {2, 2, true}, {3, 3, false}, {4, 3, false}, {5000, 3, false}};
    for (const auto& row : rows) {
        const Result<ListPage> page = store().list("lab", "", "", row.most);
        ASSERT_TRUE(page);
        EXPECT_EQ(page->blobs.size(), row.expected) << row.most;
        EXPECT_EQ(!page->marker.empty(), row.has_more) << row.most;
    }
    EXPECT_EQ(store().list("lab", "", "", std::numeric_limits<std::size_t>::max())->blobs.size(),
              3U);
    EXPECT_EQ(kind_of(store().list("lab", "", "", 0)), "InvalidArgument");
    ASSERT_TRUE(store().ensure_container("empty"));
    const Result<ListPage> empty = store().list("empty", "", "", 10);
    ASSERT_TRUE(empty);
    EXPECT_TRUE(empty->blobs.empty());
    EXPECT_EQ(empty->marker, "");
}

TEST_P(EveryStore, TellsTheSameInListingsAndAlone) {
    const BlobProperties properties{"text/plain", "gzip", "de", "no-cache",
                                    "1B2M2Y8AsgTpgAmY7PhCfg=="};
    ASSERT_TRUE(
        put_whole({"lab", "block"}, random_content(100), false, properties, {{"Author", "Ada"}}));
    CreateOptions page = options(1024);
    page.type = types().back();
    ASSERT_TRUE(
        store().put_whole({"lab", "page"}, page, piece_at(0, random_content(1024)), {}, {}, {}));
    ASSERT_TRUE(put_whole({"lab", "page/" + odd_name()}, random_content(7), false, properties, {}));
    const Result<ListPage> listed = store().list("lab", "", "", 10);
    ASSERT_TRUE(listed);
    ASSERT_EQ(listed->blobs.size(), 3U);
    for (const BlobStatus& blob : listed->blobs) {
        const Result<BlobStatus> alone = store().stat(blob.name);
        ASSERT_TRUE(alone);
        EXPECT_EQ(blob.type, alone->type);
        EXPECT_EQ(blob.length, alone->length);
        EXPECT_EQ(blob.modified, alone->modified);
        EXPECT_EQ(blob.etag, alone->etag);
        EXPECT_EQ(blob.properties, alone->properties);
        EXPECT_EQ(blob.metadata, alone->metadata);
    }
    EXPECT_EQ(listed->blobs[0].metadata, (BlobMetadata{{"Author", "Ada"}}));
}

// What is there all the time is listed exactly once, whatever comes and goes between two pages.
TEST_P(EveryStore, KeepsItsPlaceWhileBlobsComeAndGo) {
    for (int i = 0; i < 20; ++i)
        ASSERT_TRUE(put_whole({"lab", "stays-" + std::to_string(100 + i)}, {}));
    std::multiset<std::string> seen;
    std::string marker;
    int round = 0;
    do {
        const Result<ListPage> page = store().list("lab", "stays-", marker, 3);
        ASSERT_TRUE(page);
        for (const BlobStatus& blob : page->blobs)
            seen.insert(blob.name.name);
        marker = page->marker;
        // In front of the place, and right behind it.
        ASSERT_TRUE(put_whole({"lab", "stays-0" + std::to_string(round)}, {}));
        if (!marker.empty() && round % 2 == 0) {
            const BlobName last = page->blobs.back().name;
            ASSERT_TRUE(store().remove(last));
        }
        ++round;
    } while (!marker.empty());
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(seen.count("stays-" + std::to_string(100 + i)), 1U) << i;
}

TEST_P(EveryStore, ListsNoContainerButTheOneAskedFor) {
    ASSERT_TRUE(store().ensure_container("lab-2"));
    ASSERT_TRUE(store().ensure_container("$root"));
    ASSERT_TRUE(put_whole({"lab", "x"}, bytes("1")));
    ASSERT_TRUE(put_whole({"lab-2", "x"}, bytes("2")));
    ASSERT_TRUE(put_whole({"lab-2", "y"}, bytes("3")));
    ASSERT_TRUE(put_whole({"$root", "x"}, bytes("4")));
    EXPECT_EQ(names("", 10, "lab"), std::vector<std::string>{"x"});
    EXPECT_EQ(names("", 10, "lab-2"), (std::vector<std::string>{"x", "y"}));
    EXPECT_EQ(names("", 10, "$root"), std::vector<std::string>{"x"});
    EXPECT_EQ(content_of({"lab-2", "x"}), bytes("2"));
    EXPECT_EQ(content_of({"$root", "x"}), bytes("4"));
}

TEST_P(EveryStore, MakesContainersOnce) {
    ASSERT_TRUE(store().ensure_container("zoo"));
    ASSERT_TRUE(put_whole({"zoo", "x"}, bytes("1")));
    EXPECT_EQ(kind_of(store().ensure_container("zoo")), "success");
    EXPECT_EQ(content_of({"zoo", "x"}), bytes("1"));
    ASSERT_TRUE(store().ensure_container("attic"));
    ASSERT_TRUE(store().ensure_container("$root"));
    EXPECT_EQ(*store().containers(), (std::vector<std::string>{"$root", "attic", "lab", "zoo"}));
    reopen();
    EXPECT_EQ(*store().containers(), (std::vector<std::string>{"$root", "attic", "lab", "zoo"}));
}

TEST_P(EveryStore, RefusesContainersThatAreNone) {
    for (const std::string& container :
         {std::string(), std::string("ab"), std::string("Lab"), std::string(".dray"),
          std::string(".."), std::string("lab/x"), std::string(64, 'a'), std::string("lab\0x", 5),
          std::string("../lab")}) {
        const BlobName name{container, "x"};
        Content part;
        EXPECT_EQ(kind_of(store().ensure_container(container)), "InvalidArgument") << container;
        EXPECT_EQ(kind_of(store().create(name, options(0), {})), "InvalidArgument") << container;
        EXPECT_EQ(kind_of(put_whole(name, {})), "InvalidArgument") << container;
        EXPECT_EQ(kind_of(store().stat(name)), "InvalidArgument") << container;
        EXPECT_EQ(kind_of(store().read(name, 0, part, "", {})), "InvalidArgument") << container;
        EXPECT_EQ(kind_of(store().remove(name)), "InvalidArgument") << container;
        EXPECT_EQ(kind_of(store().list(container, "", "", 10)), "InvalidArgument") << container;
    }
    EXPECT_EQ(*store().containers(), std::vector<std::string>{"lab"});
}

}  // namespace
}  // namespace dray::store
