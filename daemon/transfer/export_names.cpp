// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/export_names.hpp"

#include <locale.h>
#include <wctype.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/model/utf8.hpp"

namespace dray::transfer {
namespace {

/// UTF-16 units on NTFS, bytes on ext4.
constexpr std::size_t kMaxComponent = 255;
constexpr std::size_t kMaxExtension = 16;
constexpr unsigned kMaxNumber = 9999;
constexpr std::string_view kForbidden = "<>:\"\\|?*";

bool is_same_word(std::string_view one, std::string_view other) {
    return std::ranges::equal(one, other, [](char a, char b) { return a == (b >= 'a' && b <= 'z' ? b - 'a' + 'A' : b); });
}

/// CON, COM1 and so on, with an extension too.
bool is_device_name(std::string_view component) {
    const std::string_view stem = component.substr(0, component.find('.'));
    if (stem.size() == 3)
        for (const std::string_view word : {"CON", "PRN", "AUX", "NUL"})
            if (is_same_word(word, stem))
                return true;
    if (stem.size() != 4 || stem[3] < '1' || stem[3] > '9')
        return false;
    return is_same_word("COM", stem.substr(0, 3)) || is_same_word("LPT", stem.substr(0, 3));
}

bool has_bad_characters(std::string_view text) {
    return std::ranges::any_of(text, [](char c) {
        return (c >= 0 && c < ' ') || kForbidden.find(c) != std::string_view::npos;
    });
}

bool is_good(std::string_view component) {
    if (component.empty() || component == "." || component == ".." || component.size() > kMaxComponent)
        return false;
    const std::optional<TextLength> length = measure_utf8(component);
    return length && length->utf16_units <= kMaxComponent && !component.ends_with(' ') && !component.ends_with('.') &&
           !has_bad_characters(component) && !is_device_name(component);
}

/// With its dot; "" where there is none that could stay.
std::string_view extension_of(std::string_view component) {
    const std::size_t dot = component.rfind('.');
    if (dot == std::string_view::npos || dot == 0)
        return {};
    const std::string_view extension = component.substr(dot);
    const bool is_kept = extension.size() > 1 && extension.size() <= kMaxExtension + 1 && !extension.ends_with(' ') &&
                         !has_bad_characters(extension) && measure_utf8(extension);
    return is_kept ? extension : std::string_view();
}

/// Behind what an addition to the last component's stem goes: its last dot, or its end.
std::size_t stem_end(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    const std::size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    const std::size_t dot = path.rfind('.');
    return dot != std::string_view::npos && dot > begin ? dot : path.size();
}

/// "2015-02-13T19:03:42.4112163Z" as 20150213T1903424112163.
std::string snapshot_word(std::string_view snapshot) {
    std::string word;
    for (const char c : snapshot)
        if ((c >= '0' && c <= '9') || c == 'T')
            word += c;
    return word;
}

std::string with_good_name(const std::string& path) {
    const std::size_t begin = path.rfind('/') + 1;
    return path.substr(0, begin) + drive_component(std::string_view(path).substr(begin));
}

std::uint32_t upper(std::uint32_t code) {
    // Loaded once, while files can be opened; without it only ASCII is folded.
    static const locale_t kLocale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (code < 0x80 || kLocale == nullptr)
        return code >= 'a' && code <= 'z' ? code - 'a' + 'A' : code;
    return towupper_l(code, kLocale);
}

}  // namespace

std::string drive_component(std::string_view component) {
    if (is_good(component))
        return std::string(component);
    const std::string digits = to_hex(md5(std::as_bytes(std::span(component))));
    return fmt::format("_x{}_{}", digits.substr(0, 16), extension_of(component));
}

std::string drive_path(const BlobName& name) {
    std::string full = name.path();
    if (!name.snapshot.empty())
        full.insert(stem_end(full), fmt::format(" (snapshot {})", snapshot_word(name.snapshot)));
    std::string path;
    for (std::size_t begin = 0; begin <= full.size();) {
        const std::size_t end = std::min(full.find('/', begin), full.size());
        path += (begin == 0 ? "" : "/") + drive_component(std::string_view(full).substr(begin, end - begin));
        begin = end + 1;
    }
    return path;
}

std::uint64_t DriveNames::hash_of(std::string_view path) {
    std::string folded;
    folded.reserve(path.size());
    while (!path.empty()) {
        const std::optional<Utf8Character> character = first_character(path);
        const std::uint32_t code = character ? upper(character->code) : static_cast<unsigned char>(path.front());
        for (int shift = 0; shift < 24; shift += 8)
            folded += static_cast<char>(code >> shift & 0xFF);
        path.remove_prefix(character ? character->size : 1);
    }
    const Md5Hash hash = md5(std::as_bytes(std::span(folded)));
    std::uint64_t number = 0;
    std::memcpy(&number, hash.data(), sizeof number);
    return number;
}

void DriveNames::expect_directories_of(const BlobName& name) {
    const std::string path = drive_path(name);
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
        directories_.insert(hash_of(std::string_view(path).substr(0, slash)));
}

void DriveNames::reserve(std::string_view path) { files_.insert(hash_of(path)); }

Result<std::string> DriveNames::free_path(const std::string& wanted) {
    std::string path = wanted;
    for (unsigned number = 2; number <= kMaxNumber; ++number) {
        const std::uint64_t hash = hash_of(path);
        if (!directories_.contains(hash) && files_.insert(hash).second)
            return path;
        path = wanted;
        path.insert(stem_end(path), fmt::format(" ({})", number));
        path = with_good_name(path);
    }
    return fail(ErrorKind::NotFound, "there is no free name for {} up to ({})", wanted, kMaxNumber);
}

Result<std::string> DriveNames::file_of(const BlobName& name) { return free_path(drive_path(name)); }

Result<std::string> DriveNames::side_file_of(const std::string& file, std::string_view extension) {
    return free_path(with_good_name(fmt::format("{}.{}", file, extension)));
}

}  // namespace dray::transfer
