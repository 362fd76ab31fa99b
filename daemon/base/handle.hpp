// SPDX-License-Identifier: Apache-2.0
//
// unique_ptr over C handles: `using UdevDevice = Handle<udev_device, udev_device_unref>;`
#pragma once

#include <memory>

namespace dray {

template <auto release>
struct Releaser {
    template <typename T>
    void operator()(T* handle) const noexcept {
        (void)release(handle);  // the *_unref functions return a null pointer nobody needs
    }
};

template <typename T, auto release>
using Handle = std::unique_ptr<T, Releaser<release>>;

}  // namespace dray
