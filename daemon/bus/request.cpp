// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/request.hpp"

#include "daemon/bus/bus_error.hpp"

namespace dray::bus {

void KeptCall::answer(const Result<Reply>& result) const {
    // A reply fails only when the bus is gone, and that is noticed elsewhere.
    if (!result)
        reply_error(call_.get(), result.error());
    else if (std::holds_alternative<Done>(*result))
        (void)sd_bus_reply_method_return(call_.get(), "");
    else if (const auto* path = std::get_if<Path>(&*result))
        (void)sd_bus_reply_method_return(call_.get(), "o", path->path.c_str());
    else if (const auto* descriptor = std::get_if<Descriptor>(&*result))
        (void)sd_bus_reply_method_return(call_.get(), "h", descriptor->fd->get());
}

}  // namespace dray::bus
