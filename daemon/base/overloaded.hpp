// SPDX-License-Identifier: Apache-2.0
//
// For std::visit: one callable out of several.
#pragma once

namespace dray {

template <typename... Parts>
struct Overloaded : Parts... {
    using Parts::operator()...;
};

}  // namespace dray
