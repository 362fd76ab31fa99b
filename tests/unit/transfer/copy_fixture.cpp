// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/transfer/copy_fixture.hpp"

#include <fcntl.h>

#include <filesystem>
#include <random>

#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/transfer/tasks.hpp"
#include "drivers/store/store_list.hpp"

namespace dray::test {

CopyTest::CopyTest() {
    std::filesystem::create_directory(scratch_ / "vault");
    std::filesystem::create_directory(scratch_ / "state");
    StoreConfig config;
    config.name = "vault";
    config.type = "directory";
    config.path = scratch_ / "vault";
    auto store = store::open_store(config);
    EXPECT_TRUE(store) << store.error().text();
    store_ = std::make_unique<FaultyStore>(*std::move(store), faults_);
}

CopyTest::Content CopyTest::random(std::size_t size) {
    static std::mt19937_64 source(std::random_device{}());
    Content content(size);
    for (std::byte& byte : content)
        byte = static_cast<std::byte>(source());
    return content;
}

format::ManifestBlob& CopyTest::add(const std::string& name, Content content, Bytes piece) {
    format::ManifestBlob blob;
    blob.blob_path = "lab/" + name;
    blob.file_path = "\\" + name;
    blob.length = content.size();
    blob.disposition = format::Disposition::NoOverwrite;
    for (Bytes offset = 0; offset < content.size(); offset += piece) {
        const Bytes length = std::min<Bytes>(piece, content.size() - offset);
        const Md5Hash hash = md5(std::span(content).subspan(offset, length));
        blob.pieces.push_back({offset, length, "MD5/" + to_base64(hash), hash});
    }
    files_[name] = std::move(content);
    manifest_.push_back(std::move(blob));
    return manifest_.back();
}

transfer::Spool CopyTest::spool() {
    std::string text;
    format::ManifestWriter writer(
        [&](std::string_view part) -> Result<void> {
            text += part;
            return {};
        },
        "SER", "none?sig=none", "test");
    for (const format::ManifestBlob& blob : manifest_) {
        const Result<void> written = writer.blob(blob);
        EXPECT_TRUE(written) << written.error().text();
    }
    EXPECT_TRUE(writer.finish());
    EXPECT_TRUE(write_file_atomically(scratch_ / "state/manifest.xml", std::as_bytes(std::span(text)), 0600));
    Result<transfer::Spool> spool = transfer::open_spool(scratch_ / "state");
    EXPECT_TRUE(spool) << spool.error().text();
    return *std::move(spool);
}

std::unique_ptr<transfer::Journal> CopyTest::journal() {
    auto opened = transfer::Journal::open(scratch_ / "state", {"HASH", "volume", store_->identity(), "boot"}, clock_);
    EXPECT_TRUE(opened) << opened.error().text();
    EXPECT_EQ(opened->set_aside, "");
    return std::move(opened->journal);
}

CopyTest::Copied CopyTest::copy(const std::function<void(FakeDrive&, transfer::Control&)>& prepare) {
    FakeDrive drive(files_);
    drive::Client client = drive.connect(ring_);
    transfer::Control control;
    transfer::ProgressCounters progress;
    if (prepare)
        prepare(drive, control);
    const transfer::Spool manifest = spool();
    Copied copied;
    {
        const auto record = journal();
        transfer::Import import({client, *store_, *record, control, progress, clock_, requests_, patience_, removal_limit_});
        copied.end = import.run(manifest);
        if (copied.end && *copied.end != transfer::CopyEnd::Stopped) {
            const auto uploads = record->uploads(*copied.end == transfer::CopyEnd::Drained);
            EXPECT_TRUE(transfer::throw_away(*uploads, *store_));
        }
    }
    copied.counters = progress.counters();
    const auto record = journal();
    for (std::size_t index = 0; index < manifest_.size(); ++index)
        copied.records[manifest_[index].blob_path] = *record->blob(index);
    return copied;
}

void CopyTest::copy_all() {
    const Copied copied = copy();
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(*copied.end, transfer::CopyEnd::Done);
    EXPECT_EQ(blobs(), expected());
    EXPECT_EQ(copied.counters.blobs_done, manifest_.size());
    EXPECT_FALSE(has_uncommitted());
}

std::map<std::string, CopyTest::Content> CopyTest::blobs() {
    std::map<std::string, Content> found;
    const auto containers = store_->containers();
    EXPECT_TRUE(containers);
    for (const std::string& container : *containers) {
        const auto page = store_->list(container, "", "", 10'000);
        EXPECT_TRUE(page) << page.error().text();
        for (const store::BlobStatus& status : page->blobs) {
            Content content(status.length);
            EXPECT_TRUE(store_->read(status.name, 0, content, "", {}));
            found[status.name.path()] = std::move(content);
        }
    }
    return found;
}

std::map<std::string, CopyTest::Content> CopyTest::expected() const {
    std::map<std::string, Content> blobs;
    for (const auto& [name, content] : files_)
        blobs["lab/" + name] = content;
    return blobs;
}

bool CopyTest::has_uncommitted() const {
    const std::filesystem::path uploads = scratch_.path() / "vault/.dray/uploads";
    return std::filesystem::exists(uploads) && !std::filesystem::is_empty(uploads);
}

}  // namespace dray::test
