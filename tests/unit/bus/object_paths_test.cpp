// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/object_paths.hpp"

#include <gtest/gtest.h>

namespace dray::bus {
namespace {

TEST(ObjectPaths, AreReadBackAsTheNamesTheyWereMadeOf) {
    for (const std::string name : {"lyon-17", "a", "sdb_17", "WD WX/12", "0", "a.img_1", "", "M\xfcller", "%"}) {
        EXPECT_EQ(job_of_path(job_path(name).c_str()), name);
        EXPECT_EQ(device_of_path(device_path(name).c_str()), name);
        EXPECT_EQ(store_of_path(store_path(name).c_str()), name);
        const DriveName drive = drive_of_path(drive_path("lyon-17", name).c_str()).value_or(DriveName());
        EXPECT_EQ(drive.job, "lyon-17");
        EXPECT_EQ(drive.serial, name);
    }
    EXPECT_EQ(job_path("lyon-17"), "/org/dray1/job/lyon_2d17");
    EXPECT_EQ(drive_path("lyon-17", "WD-1"), "/org/dray1/job/lyon_2d17/drive/WD_2d1");
}

TEST(ObjectPaths, AreOfOneKindOnly) {
    const std::string drive = drive_path("a", "b");
    EXPECT_FALSE(job_of_path(drive.c_str()));
    EXPECT_FALSE(drive_of_path(job_path("a").c_str()));
    for (const char* path : {"/", "/org/dray1", "/org/dray1/job", "/org/dray1/jobs/a", "/org/dray1/job/a/drive",
                             "/org/dray1/job/a/drive/b/c", "/org/dray1/job/a/drives/b"}) {
        EXPECT_FALSE(job_of_path(path)) << path;
        EXPECT_FALSE(drive_of_path(path)) << path;
        EXPECT_FALSE(device_of_path(path)) << path;
        EXPECT_FALSE(store_of_path(path)) << path;
    }
}

}  // namespace
}  // namespace dray::bus
