// SPDX-License-Identifier: Apache-2.0
//
// A catalog in a directory of its own, jobs with every field set, and a look at the bytes on disk.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/catalog/catalog.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray {

class CatalogTest : public testing::Test {
protected:
    CatalogTest();

    std::string path() const { return directory_ / "catalog.db"; }
    const std::filesystem::path& directory() const { return directory_.path(); }
    Catalog& catalog() { return *catalog_; }
    /// Closes and opens again, as a restart does; with the master key of this fixture.
    void reopen();
    void close() { catalog_.reset(); }
    std::vector<Job> load();

    static SecretBytes master_key(char fill = 'm');
    /// Whether any file in the directory has this text in it.
    bool is_on_disk(std::string_view text) const;

private:
    test::ScratchDirectory directory_;
    std::unique_ptr<Catalog> catalog_;
};

/// Every field another value, none its default; `number` makes it unlike others.
Job full_job(int number);
Drive full_drive(int number);
/// Compares all fields, naming those that differ.
void expect_same(const Job& found, const Job& expected);
void expect_same(const Drive& found, const Drive& expected);

template <typename T>
std::string kind_of(const Result<T>& result) {
    return result ? "success" : std::string(to_string(result.error().kind()));
}

}  // namespace dray
