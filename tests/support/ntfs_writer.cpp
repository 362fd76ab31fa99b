// SPDX-License-Identifier: Apache-2.0
//
// Puts into an NTFS image what no program for NTFS can be asked for: links, compressed, sparse and encrypted
// files, reparse points, names of all kinds. libntfs-3g does the writing.
//
//     ntfs_writer IMAGE <SCRIPT
//
// One request a line, words with a tab between them; \uXXXX in a path is that unit of UTF-16.
//     dir PATH                     make a directory, with those above it
//     file PATH SOURCE             a file with the content of SOURCE
//     compressed PATH SOURCE       the same, packed by the file system
//     sparse PATH SIZE OFFSET SOURCE   a file of SIZE, all hole but SOURCE at OFFSET
//     braid PATH PATH SOURCE       two files, written a cluster at a time in turns
//     comb PATH COUNT              COUNT single clusters with holes between them
//     many DIRECTORY COUNT         empty files name-0 ... name-COUNT-1
//     link PATH NEW                a hard link
//     short PATH NAME              a name of DOS
//     stream PATH NAME SOURCE      an alternate data stream
//     attributes PATH BITS         in its standard information
//     encrypted PATH               what is there is from now on called encrypted (EFS)
//     reparse PATH TAG             a reparse point with nothing but a tag
//     initialized PATH SIZE        what lies behind was never written
//     dirty                        the volume was not unmounted cleanly
//     number PATH                  prints the number of its MFT record
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "drivers/filesystem/ntfs/ntfs_library.hpp"

extern "C" {
#include <ntfs-3g/reparse.h>
#include <ntfs-3g/unistr.h>
}
#undef min
#undef max

#if defined(__SANITIZE_ADDRESS__)
// libntfs-3g keeps the inode of some that it has made short names for.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace {

using Words = std::vector<std::string>;

[[noreturn]] void give_up(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

void check(bool is_fine, const std::string& what) {
    if (!is_fine)
        give_up(what);
}

std::string content_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    check(in.good(), path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

/// ASCII, UTF-8 of two bytes, and \uXXXX.
std::vector<ntfschar> units_of(const std::string& name) {
    std::vector<ntfschar> units;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const auto byte = static_cast<unsigned char>(name[i]);
        unsigned unit = byte;
        if (name.compare(i, 2, "\\u") == 0) {
            unit = static_cast<unsigned>(std::stoul(name.substr(i + 2, 4), nullptr, 16));
            i += 5;
        } else if (byte >= 0xc2 && byte < 0xe0 && i + 1 < name.size()) {
            unit = (byte & 0x1fU) << 6 | (static_cast<unsigned char>(name[++i]) & 0x3fU);
        }
        units.push_back(static_cast<ntfschar>(unit));
    }
    return units;
}

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

class Writer {
public:
    explicit Writer(const char* image) : volume_(ntfs_mount(image, 0)) { check(volume_ != nullptr, image); }
    void finish() { check(ntfs_umount(volume_, FALSE) == 0, "cannot unmount"); }

    void run(const Words& words) {
        const std::map<std::string, std::function<void()>> requests{
            {"dir", [&] { close(directory(words.at(1))); }},
            {"file", [&] { file(words.at(1), content_of(words.at(2)), false); }},
            {"compressed", [&] { file(words.at(1), content_of(words.at(2)), true); }},
            {"sparse", [&] { sparse(words); }},
            {"braid", [&] { braid(words.at(1), words.at(2), content_of(words.at(3))); }},
            {"comb", [&] { comb(words.at(1), std::stoi(words.at(2))); }},
            {"many", [&] { many(words.at(1), std::stoi(words.at(2))); }},
            {"link", [&] { link(words.at(1), words.at(2)); }},
            {"short", [&] { short_name(words.at(1), words.at(2)); }},
            {"stream", [&] { stream(words.at(1), words.at(2), content_of(words.at(3))); }},
            {"attributes", [&] { attributes(words.at(1), number(words.at(2))); }},
            {"encrypted", [&] { encrypted(words.at(1)); }},
            {"reparse", [&] { reparse(words.at(1), number(words.at(2))); }},
            {"initialized", [&] { initialized(words.at(1), std::stoll(words.at(2))); }},
            {"dirty", [&] { check(ntfs_volume_write_flags(volume_, VOLUME_IS_DIRTY) == 0, "dirty"); }},
            {"number", [&] { print_number(words.at(1)); }},
        };
        requests.at(words.at(0))();
    }

private:
    static std::uint32_t number(const std::string& text) {
        return static_cast<std::uint32_t>(std::stoul(text, nullptr, 0));
    }

    static void close(ntfs_inode* inode) { check(ntfs_inode_close(inode) == 0, "cannot close"); }

    ntfs_inode* child(ntfs_inode* parent, const std::string& name) {
        std::vector<ntfschar> units = units_of(name);
        const u64 reference = ntfs_inode_lookup_by_name(parent, units.data(), static_cast<int>(units.size()));
        return reference == static_cast<u64>(-1) ? nullptr : ntfs_inode_open(volume_, reference);
    }

    ntfs_inode* make(ntfs_inode* parent, const std::string& name, mode_t type) {
        std::vector<ntfschar> units = units_of(name);
        ntfs_inode* made = ntfs_create(parent, 0, units.data(), static_cast<u8>(units.size()), type);
        check(made != nullptr, "cannot make " + name);
        return made;
    }

    ntfs_inode* directory(const std::string& path) {
        ntfs_inode* inode = ntfs_inode_open(volume_, FILE_root);
        check(inode != nullptr, "root");
        std::istringstream parts(path);
        for (std::string part; std::getline(parts, part, '/');) {
            ntfs_inode* next = child(inode, part);
            if (next == nullptr)
                next = make(inode, part, S_IFDIR);
            close(inode);
            inode = next;
        }
        return inode;
    }

    ntfs_inode* open(const std::string& path) {
        ntfs_inode* parent = directory(parent_of(path));
        ntfs_inode* inode = path.empty() ? parent : child(parent, name_of(path));
        check(inode != nullptr, path);
        if (inode != parent)
            close(parent);
        return inode;
    }

    ntfs_inode* create(const std::string& path, bool is_compressed) {
        ntfs_inode* parent = directory(parent_of(path));
        const auto flags = parent->flags;
        if (is_compressed) {
            NVolSetCompression(volume_);
            parent->flags = static_cast<FILE_ATTR_FLAGS>(parent->flags | FILE_ATTR_COMPRESSED);
        }
        ntfs_inode* inode = make(parent, name_of(path), S_IFREG);
        parent->flags = flags;
        close(parent);
        return inode;
    }

    static void write(ntfs_attr* attribute, s64 offset, const char* data, std::size_t size) {
        for (std::size_t done = 0; done < size;) {
            const s64 count = ntfs_attr_pwrite(attribute, offset + static_cast<s64>(done),
                                               static_cast<s64>(std::min<std::size_t>(size - done, 65536)), data + done);
            check(count > 0, "cannot write");
            done += static_cast<std::size_t>(count);
        }
    }

    static ntfs_attr* content(ntfs_inode* inode) {
        ntfs_attr* attribute = ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0);
        check(attribute != nullptr, "no content");
        return attribute;
    }

    void file(const std::string& path, const std::string& data, bool is_compressed) {
        ntfs_inode* inode = create(path, is_compressed);
        ntfs_attr* attribute = content(inode);
        write(attribute, 0, data.data(), data.size());
        if (is_compressed)
            check(ntfs_attr_pclose(attribute) == 0, "cannot pack");
        ntfs_attr_close(attribute);
        close(inode);
    }

    void sparse(const Words& words) {
        ntfs_inode* inode = create(words.at(1), false);
        ntfs_attr* attribute = content(inode);
        check(ntfs_attr_truncate(attribute, std::stoll(words.at(2))) == 0, "cannot make a hole");
        const std::string data = content_of(words.at(4));
        write(attribute, std::stoll(words.at(3)), data.data(), data.size());
        ntfs_attr_close(attribute);
        close(inode);
    }

    void braid(const std::string& one, const std::string& other, const std::string& data) {
        ntfs_inode* inodes[] = {create(one, false), create(other, false)};
        ntfs_attr* attributes[] = {content(inodes[0]), content(inodes[1])};
        for (std::size_t at = 0; at < data.size(); at += volume_->cluster_size)
            for (ntfs_attr* attribute : attributes)
                write(attribute, static_cast<s64>(at), data.data() + at,
                      std::min<std::size_t>(volume_->cluster_size, data.size() - at));
        for (int i : {0, 1}) {
            ntfs_attr_close(attributes[i]);
            close(inodes[i]);
        }
    }

    void comb(const std::string& path, int count) {
        ntfs_inode* inode = create(path, false);
        ntfs_attr* attribute = content(inode);
        check(ntfs_attr_truncate(attribute, s64{2} * count * volume_->cluster_size) == 0, "cannot make a hole");
        for (int i = 0; i < count; ++i) {
            const std::string tooth = "tooth " + std::to_string(i);
            write(attribute, s64{2} * i * volume_->cluster_size, tooth.data(), tooth.size());
        }
        ntfs_attr_close(attribute);
        close(inode);
    }

    void many(const std::string& path, int count) {
        ntfs_inode* parent = directory(path);
        for (int i = 0; i < count; ++i)
            close(make(parent, "name-" + std::to_string(i), S_IFREG));
        close(parent);
    }

    void link(const std::string& path, const std::string& other) {
        ntfs_inode* inode = open(path);
        ntfs_inode* parent = directory(parent_of(other));
        std::vector<ntfschar> units = units_of(name_of(other));
        check(ntfs_link(inode, parent, units.data(), static_cast<u8>(units.size())) == 0, "cannot link");
        close(parent);
        close(inode);
    }

    /// Closes both, whatever happens.
    void short_name(const std::string& path, const std::string& name) {
        check(ntfs_set_ntfs_dos_name(open(path), directory(parent_of(path)), name.data(), name.size(), 0) == 0, name);
    }

    void stream(const std::string& path, const std::string& name, const std::string& data) {
        ntfs_inode* inode = open(path);
        std::vector<ntfschar> units = units_of(name);
        check(ntfs_attr_add(inode, AT_DATA, units.data(), static_cast<u8>(units.size()),
                            reinterpret_cast<const u8*>(data.data()), static_cast<s64>(data.size())) == 0,
              "cannot add a stream");
        close(inode);
    }

    static void set_attributes(ntfs_inode* inode, std::uint32_t bits) {
        inode->flags = static_cast<FILE_ATTR_FLAGS>(inode->flags | static_cast<FILE_ATTR_FLAGS>(bits));
        NInoFileNameSetDirty(inode);
        NInoSetDirty(inode);
    }

    void attributes(const std::string& path, std::uint32_t bits) {
        ntfs_inode* inode = open(path);
        set_attributes(inode, bits);
        close(inode);
    }

    static void change_record(ntfs_inode* inode, const std::function<void(ATTR_RECORD&)>& change) {
        ntfs_attr_search_ctx* search = ntfs_attr_get_search_ctx(inode, nullptr);
        check(ntfs_attr_lookup(AT_DATA, AT_UNNAMED, 0, CASE_SENSITIVE, 0, nullptr, 0, search) == 0, "no content");
        change(*search->attr);
        ntfs_inode_mark_dirty(search->ntfs_ino);
        ntfs_attr_put_search_ctx(search);
    }

    void encrypted(const std::string& path) {
        ntfs_inode* inode = open(path);
        set_attributes(inode, 0x4000);
        change_record(inode, [](ATTR_RECORD& record) {
            record.flags = static_cast<ATTR_FLAGS>(record.flags | ATTR_IS_ENCRYPTED);
        });
        close(inode);
    }

    void reparse(const std::string& path, std::uint32_t tag) {
        ntfs_inode* inode = open(path);
        unsigned char data[16] = {};
        for (unsigned i = 0; i < 4; ++i)
            data[i] = static_cast<unsigned char>(tag >> 8 * i);
        data[4] = 8;
        check(ntfs_attr_add(inode, AT_REPARSE_POINT, AT_UNNAMED, 0, data, sizeof data) == 0, "cannot add a tag");
        set_attributes(inode, 0x0400);
        close(inode);
    }

    void initialized(const std::string& path, s64 size) {
        ntfs_inode* inode = open(path);
        change_record(inode, [size](ATTR_RECORD& record) { record.initialized_size = cpu_to_sle64(size); });
        close(inode);
    }

    void print_number(const std::string& path) {
        ntfs_inode* inode = open(path);
        std::cout << inode->mft_no << '\n';
        close(inode);
    }

    ntfs_volume* volume_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: ntfs_writer IMAGE <SCRIPT\n";
        return 2;
    }
    std::string line;
    try {
        Writer writer(argv[1]);
        while (std::getline(std::cin, line)) {
            Words words;
            std::istringstream in(line);
            for (std::string word; std::getline(in, word, '\t');)
                words.push_back(word);
            if (!words.empty())
                writer.run(words);
        }
        writer.finish();
    } catch (const std::exception& problem) {
        std::cerr << "ntfs_writer: " << line << ": " << problem.what() << '\n';
        return 1;
    }
    return 0;
}
