// SPDX-License-Identifier: Apache-2.0
//
// The stores that the contract's tests run against. A new driver adds one line in stores.cpp.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store {

/// An empty place of one test's own: a directory, a prefix of an account. Gone with its object.
class StorePlace {
public:
    StorePlace() = default;
    StorePlace(const StorePlace&) = delete;
    StorePlace& operator=(const StorePlace&) = delete;
    virtual ~StorePlace() = default;

    /// Opens what is there, as a restarted program does; several may be open at once.
    virtual Result<std::unique_ptr<BlobStore>> open() = 0;
    /// What must not be seen in a uri; "" where there is no secret.
    virtual std::string secret() const { return {}; }
    /// Off: page blobs are refused as Unsupported.
    virtual bool keeps_pages() const { return true; }
    /// Off: an upload that was interrupted begins anew.
    virtual bool resumes() const { return true; }
    /// Off: a blob is published whole or not at all; else InvalidArgument.
    virtual bool leaves_out_blocks() const { return true; }
    /// Off: what is stored is not what the caller's Content-MD5 is of, so that is left out.
    virtual bool keeps_content_md5() const { return true; }
    /// Off: there are no snapshots, taking one is Unsupported.
    virtual bool keeps_snapshots() const { return false; }
    /// Off: it does not know what a blob is made of.
    virtual bool tells_pieces() const { return false; }
    /// Whether it can keep a name that parse_blob_path() allows; others it must refuse as InvalidArgument.
    virtual bool holds(const std::string& /*name*/) const { return true; }
};

struct StoreKind {
    std::string name;
    std::unique_ptr<StorePlace> (*make)();
};

inline void PrintTo(const StoreKind& kind, std::ostream* out) {
    *out << kind.name;
}

const std::vector<StoreKind>& store_kinds();

}  // namespace dray::store
