// SPDX-License-Identifier: Apache-2.0
//
// Full jobs and drives; the fixture's steps.
#include "tests/unit/catalog/catalog_fixture.hpp"

#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>

namespace dray {

CatalogTest::CatalogTest() {
    reopen();
}

void CatalogTest::reopen() {
    catalog_.reset();
    Result<std::unique_ptr<Catalog>> opened = Catalog::open(path());
    if (!opened)
        throw std::runtime_error(opened.error().text());
    catalog_ = *std::move(opened);
    catalog_->use_master_key(master_key());
}

std::vector<Job> CatalogTest::load() {
    Result<std::vector<Job>> loaded = catalog_->load();
    EXPECT_TRUE(loaded) << loaded.error().text();
    return loaded ? *std::move(loaded) : std::vector<Job>();
}

SecretBytes CatalogTest::master_key(char fill) {
    return SecretBytes(std::string(kMasterKeyBytes, fill));
}

bool CatalogTest::is_on_disk(std::string_view text) const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory())) {
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), {}};
        if (bytes.find(text) != std::string::npos ||
            entry.path().string().find(text) != std::string::npos)
            return true;
    }
    return false;
}

Drive full_drive(int number) {
    const std::string n = std::to_string(number);
    const auto value = static_cast<std::uint64_t>(number) * 1'000'000'007;
    Drive drive;
    drive.serial = "WD-" + n;
    drive.state = DriveState::CompletedMoreInfo;
    drive.copy_status = "Cancelled" + n;
    drive.outcome = "completed-more-info" + n;
    drive.is_faulted = true;
    drive.fault_reason = "the store \"vault\" is gone \xE2\x82\xAC" + n;
    drive.fault_kind = "Unreachable" + n;
    drive.manifest = "dir\\manifest.xml" + n;
    drive.manifest_hash = "manifest-hash" + n;
    drive.header_hash = "header-hash" + n;
    drive.volume_id = "volume-id" + n;
    drive.partition = static_cast<std::uint32_t>(value + 128);
    drive.is_draining = true;
    drive.drain = DrainMode::Piece;
    drive.assigned_device = "fingerprint" + n;
    drive.counters = {value + 1, value + 2, value + 3,
                      value + 4, value + 5, std::numeric_limits<std::uint64_t>::max()};
    drive.crashes = 2;
    drive.error_log_uri = "error-log-uri" + n;
    drive.verbose_log_uri = "verbose-log-uri" + n;
    drive.manifest_uri = "manifest-uri" + n;
    drive.started = from_usec(value + 6);
    drive.finished = from_usec(value + 7);
    drive.overdue = from_usec(value + 8);
    return drive;
}

Job full_job(int number) {
    const std::string n = std::to_string(number);
    const auto value = static_cast<std::uint64_t>(number) * 1'000'000'009;
    Job job;
    job.name = "Lyon-" + n;
    job.type = JobType::Export;
    job.store = "vault" + n;
    job.state = JobState::Packaging;
    job.is_cancel_requested = true;
    job.drain = DrainMode::Blob;
    job.outcome = "completed-with-errors" + n;
    job.diagnostics_path = "diagnostics/path" + n;
    job.log_level = LogLevel::Verbose;
    job.backup_manifest = true;
    job.tags = {
        {"cost centre", "17" + n}, {"owner", "Zo\xC3\xAB"}, {"", ""}, {"quote", "it's \"quoted\""}};
    job.carrier = "carrier" + n;
    job.tracking = "tracking" + n;
    job.expected_drives = 4'000'000'000;
    job.is_closed_for_drives = true;
    job.incomplete_list_uri = "incomplete-list-uri" + n;
    job.created = from_usec(value + 1);
    job.shipped = from_usec(value + 2);
    job.completed = from_usec(value + 3);
    job.expires = from_usec(value + 4);
    job.drives = {full_drive(number * 10 + 2), full_drive(number * 10 + 1),
                  full_drive(number * 10 + 3)};
    return job;
}

void expect_same(const Drive& found, const Drive& expected) {
    SCOPED_TRACE("drive " + expected.serial);
    EXPECT_EQ(found.serial, expected.serial);
    EXPECT_EQ(found.state, expected.state);
    EXPECT_EQ(found.copy_status, expected.copy_status);
    EXPECT_EQ(found.outcome, expected.outcome);
    EXPECT_EQ(found.is_faulted, expected.is_faulted);
    EXPECT_EQ(found.fault_reason, expected.fault_reason);
    EXPECT_EQ(found.fault_kind, expected.fault_kind);
    EXPECT_EQ(found.manifest, expected.manifest);
    EXPECT_EQ(found.manifest_hash, expected.manifest_hash);
    EXPECT_EQ(found.header_hash, expected.header_hash);
    EXPECT_EQ(found.volume_id, expected.volume_id);
    EXPECT_EQ(found.partition, expected.partition);
    EXPECT_EQ(found.has_key, expected.has_key);
    EXPECT_EQ(found.is_draining, expected.is_draining);
    EXPECT_EQ(found.drain, expected.drain);
    EXPECT_EQ(found.assigned_device, expected.assigned_device);
    EXPECT_EQ(found.counters, expected.counters);
    EXPECT_EQ(found.crashes, expected.crashes);
    EXPECT_EQ(found.error_log_uri, expected.error_log_uri);
    EXPECT_EQ(found.verbose_log_uri, expected.verbose_log_uri);
    EXPECT_EQ(found.manifest_uri, expected.manifest_uri);
    EXPECT_EQ(found.started, expected.started);
    EXPECT_EQ(found.finished, expected.finished);
    EXPECT_EQ(found.overdue, expected.overdue);
}

void expect_same(const Job& found, const Job& expected) {
    SCOPED_TRACE("job " + expected.name);
    EXPECT_EQ(found.name, expected.name);
    EXPECT_EQ(found.type, expected.type);
    EXPECT_EQ(found.store, expected.store);
    EXPECT_EQ(found.state, expected.state);
    EXPECT_EQ(found.is_cancel_requested, expected.is_cancel_requested);
    EXPECT_EQ(found.drain, expected.drain);
    EXPECT_EQ(found.outcome, expected.outcome);
    EXPECT_EQ(found.diagnostics_path, expected.diagnostics_path);
    EXPECT_EQ(found.log_level, expected.log_level);
    EXPECT_EQ(found.backup_manifest, expected.backup_manifest);
    EXPECT_EQ(found.tags, expected.tags);
    EXPECT_EQ(found.carrier, expected.carrier);
    EXPECT_EQ(found.tracking, expected.tracking);
    EXPECT_EQ(found.expected_drives, expected.expected_drives);
    EXPECT_EQ(found.is_closed_for_drives, expected.is_closed_for_drives);
    EXPECT_EQ(found.incomplete_list_uri, expected.incomplete_list_uri);
    EXPECT_EQ(found.created, expected.created);
    EXPECT_EQ(found.shipped, expected.shipped);
    EXPECT_EQ(found.completed, expected.completed);
    EXPECT_EQ(found.expires, expected.expires);
    ASSERT_EQ(found.drives.size(), expected.drives.size());
    for (std::size_t i = 0; i < expected.drives.size(); ++i)
        expect_same(found.drives[i], expected.drives[i]);
}

}  // namespace dray
