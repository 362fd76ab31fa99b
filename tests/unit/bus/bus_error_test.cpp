// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/bus_error.hpp"

#include <gtest/gtest.h>

#include "daemon/bus/handles.hpp"

namespace dray::bus {
namespace {

TEST(BusError, NamesEveryKindAsCallersKnowIt) {
    struct Row {
        ErrorKind kind;
        const char* name;
    };
    const Row rows[] = {
        {ErrorKind::InvalidArgument, "org.dray1.Error.InvalidArgument"},
        {ErrorKind::NotFound, "org.dray1.Error.NotFound"},
        {ErrorKind::Exists, "org.dray1.Error.Exists"},
        {ErrorKind::Conflict, "org.dray1.Error.StateConflict"},
        {ErrorKind::Busy, "org.dray1.Error.StateConflict"},
        {ErrorKind::Gone, "org.dray1.Error.DeviceGone"},
        {ErrorKind::Denied, "org.dray1.Error.AccessDenied"},
        {ErrorKind::WrongKey, "org.dray1.Error.WrongKey"},
        {ErrorKind::Corrupt, "org.dray1.Error.Corrupt"},
        {ErrorKind::Unreachable, "org.dray1.Error.StoreUnreachable"},
        {ErrorKind::Unsupported, "org.dray1.Error.Unsupported"},
        {ErrorKind::NoSpace, "org.dray1.Error.LimitExceeded"},
        {ErrorKind::LimitReached, "org.dray1.Error.LimitExceeded"},
        {ErrorKind::Cancelled, "org.dray1.Error.Cancelled"},
        {ErrorKind::Internal, "org.dray1.Error.Internal"},
    };
    for (const Row& row : rows)
        EXPECT_EQ(error_name(row.kind), row.name);
}

TEST(BusError, TellsTheWholeChainAndSurvivesForeignBytes) {
    BusErrorBuffer error;
    const Error cause(Error(ErrorKind::Corrupt, "file M\xfcller"), "cannot import");
    EXPECT_LT(set_error(error.get(), cause), 0);
    EXPECT_STREQ(error.name(), "org.dray1.Error.Corrupt");
    EXPECT_STREQ(error.message(), "cannot import: file M?ller");
}

}  // namespace
}  // namespace dray::bus
