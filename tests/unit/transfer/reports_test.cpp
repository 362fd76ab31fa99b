// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/reports.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/base/file.hpp"
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::test {
namespace {

using namespace transfer;

class ReportsTest : public CopyTest {
protected:
    ReportsTest() {
        task_.job = "lyon-17";
        task_.serial = "SER";
        task_.diagnostics_path = "waimportexport/dir";
        task_.directory = scratch_ / "state";
    }
    std::string log(const std::string& kind) {
        std::string found;
        for (const auto& [name, content] : blobs())
            if (name.starts_with("waimportexport/dir/waies/lyon-17_SER_") && name.ends_with("_" + kind + ".xml"))
                found.assign(reinterpret_cast<const char*>(content.data()), content.size());
        return found;
    }
    std::size_t count_logs() {
        std::size_t count = 0;
        for (const auto& [name, content] : blobs())
            count += name.starts_with("waimportexport/") ? 1 : 0;
        return count;
    }

    Task task_;
};

TEST_F(ReportsTest, NameWhatFailedAndWhatNobodyDealtWith) {
    add("good", random(100));
    add("bad", random(100));
    ASSERT_TRUE(copy([](FakeDrive& drive, Control&) { drive.change("bad", 1); }).end);
    const auto record = journal();
    add("never", random(100));
    task_.is_verbose_log = true;
    task_.backup_manifest = true;
    const Spool manifest = spool();
    const Reports reports(task_, *store_, clock_);
    const auto summary = reports.write_logs(manifest, *record, "");
    ASSERT_TRUE(summary) << summary.error().text();
    EXPECT_EQ(summary->status(), "CompletedWithErrors");
    EXPECT_EQ(summary->counters.blobs_failed, 2U);
    EXPECT_EQ(summary->untouched, 1U);
    EXPECT_EQ(summary->counters.bytes_total, 300U);
    Report report;
    const auto delivered = reports.deliver(&manifest, report);
    ASSERT_TRUE(delivered) << delivered.error().text();
    EXPECT_EQ(count_logs(), 3U);
    const std::string errors = log("error");
    EXPECT_EQ(errors.find("lab/good"), std::string::npos);
    EXPECT_NE(errors.find("lab/bad"), std::string::npos);
    EXPECT_NE(errors.find("lab/never"), std::string::npos);
    EXPECT_NE(errors.find("Status=\"Cancelled\""), std::string::npos);
    EXPECT_NE(errors.find("<Status>CompletedWithErrors</Status>"), std::string::npos);
    EXPECT_NE(log("verbose").find("lab/good"), std::string::npos);
    const auto text = read_file(scratch_ / "state/manifest.xml", kMiB);
    EXPECT_EQ(log("manifest"), *text);
    EXPECT_TRUE(report.error_log_uri.ends_with("_error.xml"));
    EXPECT_TRUE(report.manifest_uri.ends_with("_manifest.xml"));
}

TEST_F(ReportsTest, StandThereOnceHoweverOftenTheyAreDelivered) {
    add("good", random(100));
    ASSERT_TRUE(copy().end);
    const Spool manifest = spool();
    for (int round = 0; round < 2; ++round) {
        const auto record = journal();
        const Reports reports(task_, *store_, clock_);
        ASSERT_TRUE(reports.write_logs(manifest, *record, ""));
        Report report;
        ASSERT_TRUE(reports.deliver(&manifest, report));
        EXPECT_EQ(count_logs(), 1U);
    }
}

TEST_F(ReportsTest, HaveNoBlobWhenTheDriveFailedAsAWhole) {
    const Reports reports(task_, *store_, clock_);
    ASSERT_TRUE(reports.write_refusal("ManifestNotFound"));
    Report report;
    ASSERT_TRUE(reports.deliver(nullptr, report));
    const std::string errors = log("error");
    EXPECT_EQ(errors.find("<Blob"), std::string::npos);
    EXPECT_NE(errors.find("<Status>ManifestNotFound</Status>"), std::string::npos);
}

TEST_F(ReportsTest, StayOnDiskWhenTheStoreRefusesThem) {
    faults_.before = [](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        return operation == "put" ? fail(ErrorKind::NoSpace, "full") : Result<void>();
    };
    const Reports reports(task_, *store_, clock_);
    ASSERT_TRUE(reports.write_refusal("ManifestNotFound"));
    Report report;
    const auto delivered = reports.deliver(nullptr, report);
    ASSERT_FALSE(delivered);
    EXPECT_EQ(delivered.error().kind(), ErrorKind::NoSpace);
    EXPECT_TRUE(std::filesystem::exists(scratch_ / "state/error.xml"));
}

}  // namespace
}  // namespace dray::test
