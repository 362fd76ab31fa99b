// SPDX-License-Identifier: Apache-2.0
//
// drayctl: arguments in, a verb called, an exit status out.
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "daemon/base/log.hpp"
#include "daemon/ctl/client.hpp"
#include "daemon/ctl/drive_prepare.hpp"
#include "daemon/ctl/export_verbs.hpp"
#include "daemon/ctl/drive_repair.hpp"
#include "daemon/ctl/drive_show.hpp"
#include "daemon/ctl/drive_verify.hpp"
#include "daemon/ctl/job_verbs.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/ctl/output.hpp"
#include "daemon/ctl/show_verbs.hpp"

namespace dray::ctl {
namespace {

constexpr int kExitUsage = 2;

constexpr const char* kExitFooter =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 the job itself failed or was\n"
    "cancelled, 4 no such thing, 5 not allowed, 6 time over, 130 stopped waiting.";

constexpr const char* kPrepareFooter =
    "The drive gets a manifest and a file SHA256SUMS in its root: on the mounted drive, sha256sum -c SHA256SUMS\n"
    "checks all of it without dray.\n\n"
    "A dataset is a CSV file with a heading:\n"
    "  BasePath,DstBlobPathOrPrefix,BlobType,Disposition,MetadataFile,PropertiesFile\n"
    "Only the first two columns are needed; DstItemPathOrPrefix and ItemType are understood too. BasePath is absolute,\n"
    "and ends with / for a directory. A directory goes to CONTAINER/ or CONTAINER/PREFIX/, a file to the blob that is\n"
    "named. BlobType is block or page (default: block, but page for *.vhd and *.vhdx); the files are paths or None.\n"
    "The files of the first row lie in the directory s001 of the drive, those of the second in s002, and so on.\n\n"
    "A drive set is a CSV file with a heading:\n"
    "  DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,ExistingBitLockerKey,Serial,KeyFile,Size\n"
    "DriveLetter is the absolute path of a device or an image; Serial is needed too, as drives are told by it. KeyFile is\n"
    "--key-file where it is missing, Size is needed for images that are not the last. SilentMode overwrites what a drive\n"
    "holds, as --yes does for all. The other columns may be missing or say that the drive is made anew: Format, Encrypt,\n"
    "no key. Each file goes, whole, onto the first drive that has room for it; each drive has a manifest of its own.";

constexpr const char* kRepairFooter =
    "The drive itself is not changed: what is wrong is brought again, by a new drive. Of each blob that the log calls\n"
    "failed, the original is looked for below each --source: by its path on the drive, and by that path without its\n"
    "first directory. It must have the length and all the hashes that the manifest has; nothing else will do. With\n"
    "--output a new drive is made of those that are right, with whole blobs, under their names and with their metadata\n"
    "and properties, and a manifest that holds nothing else. What the import has put into the store in part is\n"
    "overwritten; the rest comes with the disposition that it had.\n\n"
    "The path map has a line for each file that was not found, was changed, or was found more than once: its path on\n"
    "the drive. Write a tab and the real path behind it, and run the verb again.\n\n"
    "0: nothing to repair, or every original was right; 1: some were not.";

/// What the chosen verb does; a bus verb gets a connected client.
using BusVerb = std::function<Result<int>(Client&, const OutputOptions&)>;
using LocalVerb = std::function<Result<int>(const OutputOptions&)>;

class CommandLine {
public:
    CommandLine() : app_("Controls dray, the import/export appliance.", "drayctl") {
        app_.set_version_flag("--version", "drayctl " DRAY_VERSION);
        app_.require_subcommand(0, 1);
        app_.fallthrough();
        app_.add_option("--json", json_, "short, pretty or off (for eyes)")
            ->check(CLI::IsMember({"short", "pretty", "off"}));
        app_.add_flag("-j", is_json_, "The same as --json=pretty on a terminal, --json=short elsewhere");
        app_.add_flag("!--no-legend", output_.has_legend, "No headings and no counts");
        app_.add_flag("-q,--quiet", output_.is_quiet, "No word about what went well");
        app_.add_flag("--no-pager")->description("Accepted; drayctl never starts a pager");
        app_.add_flag("--no-ask-password")->description("Accepted; drayctl asks for no password itself");
        app_.footer(kExitFooter);
        add_looking_verbs();
        add_job_verbs();
        add_drive_verbs();
        add_export_verbs();
        add_live_verbs();
        add_customer_verbs();
    }

    int run(int argc, char** argv) {
        try {
            app_.parse(argc, argv);
        } catch (const CLI::Success& success) {
            return app_.exit(success);
        } catch (const CLI::ParseError& error) {
            fmt::print(stderr, "drayctl: {}\nSee drayctl --help.\n", error.what());
            return kExitUsage;
        }
        if (!json_.empty())
            output_.json = json_ == "pretty"  ? JsonMode::Pretty
                           : json_ == "short" ? JsonMode::Short
                                              : JsonMode::Off;
        else if (is_json_)
            output_.json = isatty(STDOUT_FILENO) == 1 ? JsonMode::Pretty : JsonMode::Short;
        const Result<int> result = perform();
        return result ? *result : report_failure(result.error());
    }

private:
    static Result<Texts> read_pairs(const char* option, const std::vector<std::string>& words) {
        Texts pairs;
        for (const std::string& word : words) {
            const std::size_t equals = word.find('=');
            if (equals == std::string::npos)
                return fail(ErrorKind::InvalidArgument, "{} {} is not NAME=VALUE", option, word);
            pairs[word.substr(0, equals)] = word.substr(equals + 1);
        }
        return pairs;
    }

    Result<int> perform() {
        if (local_verb_)
            return local_verb_(output_);
        DRAY_LET(Client client, Client::connect());
        return bus_verb_ ? bus_verb_(client, output_) : show_status(client, output_);
    }

    CLI::App* verb(const char* name, const char* help, BusVerb perform) {
        CLI::App* command = app_.add_subcommand(name, help);
        command->callback([this, perform = std::move(perform)] { bus_verb_ = perform; });
        return command;
    }

    CLI::App* job_verb(const char* name, const char* help, BusVerb perform) {
        CLI::App* command = verb(name, help, std::move(perform));
        command->add_option("JOB", job_, "Name of the job")->required();
        return command;
    }

    void add_looking_verbs() {
        verb("status", "What is plugged in, what runs, what needs a hand (the default)",
             [](Client& client, const OutputOptions& output) { return show_status(client, output); });
        verb("list", "All jobs",
             [](Client& client, const OutputOptions& output) { return list_jobs(client, output); });
        job_verb("show", "One job and its drives", [this](Client& client, const OutputOptions& output) {
            return show_job(client, output, job_);
        });
        verb("devices", "The disks that are plugged in",
             [](Client& client, const OutputOptions& output) { return list_devices(client, output); });
        CLI::App* stores = verb("stores", "The stores, each tried first", [this](Client& client, const OutputOptions& output) {
            return list_stores(client, output, stores_, !is_unchecked_);
        });
        stores->add_option("STORE", stores_, "Only these");
        stores->add_flag("--no-check", is_unchecked_, "Only list them, with what was found the last time");
        verb("reload", "Has drayd read its configuration anew",
             [](Client& client, const OutputOptions& output) { return reload(client, output); });
    }

    void add_job_verbs() {
        CLI::App* create =
            verb("create", "Makes a job", [this](Client& client, const OutputOptions& output) {
                Result<Texts> tags = read_pairs("--tag", tags_);
                if (!tags)
                    return Result<int>(fail(std::move(tags.error())));
                create_.tags = *std::move(tags);
                return create_job(client, output, create_);
            });
        create->add_option("NAME", create_.name, "Name of the new job")->required();
        create->add_option("--type", create_.type, "import (the default) or export")
            ->check(CLI::IsMember({"import", "export"}));
        create->add_option("--store", create_.store, "Where the content goes, or comes from; see drayctl stores")
            ->required();
        add_selection_options(create, create_.selection);
        create->add_option("--diagnostics-path", create_.diagnostics_path, "CONTAINER[/DIR] for the logs");
        create->add_option("--log-level", create_.log_level, "Error or Verbose");
        create->add_flag("--backup-manifest", create_.backup_manifest, "Keep each manifest with the logs");
        create->add_option("--expected-drives", create_.expected_drives, "How many drives will come");
        create->add_option("--tag", tags_, "NAME=VALUE, may come again");

        CLI::App* ship =
            job_verb("ship", "Says that the drives are on their way: copying may begin",
                     [this](Client& client, const OutputOptions& output) {
                         Result<Texts> address = read_pairs("--return-address", address_);
                         if (!address)
                             return Result<int>(fail(std::move(address.error())));
                         ship_.job = job_;
                         ship_.return_address = *std::move(address);
                         return ship_job(client, output, ship_);
                     });
        ship->add_option("--carrier", ship_.carrier, "Who carries them");
        ship->add_option("--tracking", ship_.tracking, "The parcel's number");
        ship->add_option("--return-address", address_, "NAME=VALUE, as in city=Bern; may come again");

        job_verb("cancel", "No new drive starts; copies in hand drain",
                 [this](Client& client, const OutputOptions& output) {
                     return cancel_job(client, output, job_, drain_);
                 })
            ->add_option("--drain", drain_,
                         "Where a copy in hand ends: after the drive, the blob or the piece")
            ->check(CLI::IsMember({"drive", "blob", "piece"}));
        job_verb("close", "Says that no further drive will come",
                 [this](Client& client, const OutputOptions& output) {
                     return close_job(client, output, job_);
                 });
        job_verb("delete", "Forgets a job that is Creating, Completed or Closed",
                 [this](Client& client, const OutputOptions& output) {
                     return delete_job(client, output, job_, is_forced_);
                 })
            ->add_flag("--force", is_forced_, "Even if an export's keys were never read");

        CLI::App* update =
            job_verb("update", "Changes a job", [this](Client& client, const OutputOptions& output) {
                Result<Texts> tags = read_pairs("--tag", tags_);
                if (!tags)
                    return Result<int>(fail(std::move(tags.error())));
                update_.job = job_;
                update_.tags = *std::move(tags);
                return update_job(client, output, update_);
            });
        update->add_option("--log-level", update_.log_level, "Error or Verbose");
        update->add_option("--backup-manifest", update_.backup_manifest, "true or false");
        update->add_option("--carrier", update_.carrier, "Who carries the drives");
        update->add_option("--tracking", update_.tracking, "The parcel's number");
        update->add_option("--tag", tags_, "NAME=VALUE, may come again; replaces all tags");
    }

    CLI::App* job_drive_verb(const char* name, const char* help, BusVerb perform) {
        CLI::App* command = job_verb(name, help, std::move(perform));
        command->add_option("SERIAL", drive_.serial, "Serial number of the drive")->required();
        return command;
    }

    void add_key_options(CLI::App* command) {
        command->add_option("--key-file", drive_.key_file, "File with the drive's key, used byte by byte");
        command->add_option("--manifest", drive_.manifest, R"(Path on the drive, as in \DriveManifest.xml)");
        command->add_option("--manifest-hash", drive_.manifest_hash, "MD5, SHA-256 or SHA-512 in hex");
        command->add_option("--partition", drive_.partition,
                            "Number of the partition that holds the volume; 0, the default: the first for data");
    }

    void add_drive_verbs() {
        CLI::App* add = job_drive_verb("add-drive", "Adds a drive that the job expects",
                                       [this](Client& client, const OutputOptions& output) {
                                           drive_.job = job_;
                                           return add_drive(client, output, drive_);
                                       });
        add_key_options(add);
        add->add_flag("--overwrite", drive_.may_overwrite, "Of an export: what the disk holds may be lost");
        add->add_option("--header-hash", drive_.header_hash, "What the raw disk holds where: OFFSET:LENGTH:SHA512, more of them after \";\"");
        add->add_option("--volume-id", drive_.volume_id, "LUKS or BitLocker identifier that the drive must have");
        CLI::App* retry = job_drive_verb("retry", "Tries a faulted drive again",
                                         [this](Client& client, const OutputOptions& output) {
                                             drive_.job = job_;
                                             return retry_drive(client, output, drive_);
                                         });
        add_key_options(retry);
        retry->add_flag("--overwrite", drive_.may_overwrite, "Of an export: what the disk holds may be lost");
        job_drive_verb("key", "Prints the key of an export's drive: whoever has both can read it",
                       [this](Client& client, const OutputOptions& /*output*/) { return read_key(client, job_, drive_.serial); });
        job_drive_verb("release", "Hands a finished drive back, or gives a faulted one up",
                       [this](Client& client, const OutputOptions& output) {
                           return release_drive(client, output, job_, drive_.serial);
                       });
        CLI::App* assign = verb("assign", "Says which job a plugged-in device belongs to",
                                [this](Client& client, const OutputOptions& output) {
                                    return assign_device(client, output, device_, job_, drive_.serial, drive_.may_overwrite);
                                });
        assign->add_option("DEVICE", device_, "Node, serial or id of the device")->required();
        assign->add_option("JOB", job_, "Name of the job")->required();
        assign->add_option("--drive", drive_.serial, "Which of the job's drives it is");
        assign->add_flag("--overwrite", drive_.may_overwrite, "Of an export: what the disk holds may be lost");
    }

    void add_live_verbs() {
        verb("watch", "A progress line per drive; Ctrl-C leaves the work running",
             [this](Client& client, const OutputOptions& output) { return watch(client, output, job_); })
            ->add_option("JOB", job_, "Only this job, until it is finished");
        job_verb("wait", "Waits until a job is finished",
                 [this](Client& client, const OutputOptions& output) -> Result<int> {
                     std::optional<Microseconds> timeout;
                     if (!timeout_.empty()) {
                         const bool is_bare =
                             timeout_.find_first_not_of("0123456789") == std::string::npos;
                         DRAY_LET(timeout, parse_duration(is_bare ? timeout_ + "s" : timeout_));
                     }
                     return wait_for_job(client, output, job_, timeout);
                 })
            ->add_option("--timeout", timeout_, "Give up after so many seconds, or 5min, 2h");
    }

    static void add_selection_options(CLI::App* command, SelectionOptions& selection) {
        command->add_option("--prefix", selection.prefixes, "/CONTAINER/NAME's beginning, with snapshots; / is all; may come again");
        command->add_option("--path", selection.paths, "CONTAINER/NAME with its snapshots; may come again");
        command->add_option("--base-path", selection.base_paths, "The same without snapshots");
        command->add_option("--list-blob", selection.list_blob, "The blob with the list of what is taken, instead of these");
    }

    void add_export_verbs() {
        CLI::App* exports = app_.add_subcommand("export", "What an export would take");
        exports->require_subcommand(1);
        CLI::App* preview = exports->add_subcommand(
            "preview", "How many drives a selection of blobs needs, and what fits on none of them");
        preview->callback([this] {
            bus_verb_ = [this](Client& client, const OutputOptions& output) { return preview_export(client, output, preview_); };
        });
        preview->add_option("--store", preview_.store, "Where the blobs are, see drayctl stores")->required();
        preview->add_option("--drive-size", preview_.drive_size, "Size of each drive, as 500GB or 4TiB")->required();
        add_selection_options(preview, preview_.selection);
    }

    void add_customer_verbs() {
        CLI::App* drive = app_.add_subcommand("drive", "For customers: makes drives and looks at them, without a daemon");
        drive->require_subcommand(1);
        add_reading_verbs(*drive);
        add_repair_verb(*drive);
        CLI::App* prepare = drive->add_subcommand(
            "prepare", "Makes an encrypted drive with files and manifest, without mount or root");
        prepare->callback([this] {
            local_verb_ = [this](const OutputOptions& output) -> Result<int> {
                const SourceOptions& sources = prepare_.sources;
                const char* needed = nullptr;
                if (sources.dataset.empty() && (sources.directory.empty() || sources.container.empty()))
                    needed = "--source and --container are needed, or --dataset";
                else if (prepare_.driveset.empty() &&
                         (prepare_.serial.empty() || prepare_.key_file.empty() || prepare_.output.empty()))
                    needed = "--serial, --key-file and --output are needed, or --driveset";
                if (needed != nullptr) {
                    fmt::print(stderr, "drayctl: {}.\nSee drayctl drive prepare --help.\n", needed);
                    return kExitUsage;
                }
                if (!size_.empty()) {
                    DRAY_LET(prepare_.size, parse_size("--size", size_));
                }
                if (!block_size_.empty()) {
                    DRAY_LET(prepare_.block_size, parse_size("--block-size", block_size_));
                }
                return drive_prepare(prepare_, output);
            };
        });
        prepare->add_option("--source", prepare_.sources.directory, "Directory whose files go onto the drive");
        prepare->add_option("--container", prepare_.sources.container, "NAME[/PREFIX] in the store");
        prepare->add_option("--dataset", prepare_.sources.dataset, "CSV file with many sources, in place of these two; see below")
            ->excludes("--source")
            ->excludes("--container");
        prepare->add_option("--serial", prepare_.serial, "Serial number of the drive");
        prepare->add_option("--key-file", prepare_.key_file, "File with the key, used byte by byte");
        prepare->add_option("--output", prepare_.output, "Image file or device to write");
        CLI::Option* driveset =
            prepare->add_option("--driveset", prepare_.driveset, "CSV file with several drives, in place of --serial and --output; see below");
        prepare->add_option("--size", size_, "Size, as 2GiB (default: what is needed, or all of a device)");
        for (const char* option : {"--serial", "--output", "--size"})
            driveset->excludes(option);
        prepare->add_option("--block-size", block_size_, "Length of a piece (default: 4MiB)");
        prepare->add_option("--disposition", prepare_.sources.disposition,
                            "When a blob's name is taken: rename (the default), no-overwrite or overwrite")
            ->check(CLI::IsMember({"rename", "no-overwrite", "overwrite"}))
            ->excludes("--dataset");
        prepare->add_option("--blob-type", prepare_.sources.blob_type,
                            "block (the default), or page for disk images: files of a multiple of 512 bytes")
            ->check(CLI::IsMember({"block", "page"}))
            ->excludes("--dataset");
        prepare->add_option("--metadata-file", prepare_.sources.metadata_file, "XML file with metadata for all blobs")
            ->excludes("--dataset");
        prepare->add_option("--properties-file", prepare_.sources.properties_file,
                            "XML file with properties, as the content's type, for all blobs")
            ->excludes("--dataset");
        prepare
            ->add_option("--exclude", prepare_.sources.excludes,
                         "Leave out what fits this pattern, may come again. It is matched as a shell would against the path "
                         "below the source, and * stands for / too: '*.tmp', 'cache/*'")
            ->allow_extra_args(false);
        prepare->add_flag("--yes", prepare_.is_overwrite_allowed, "Overwrite what the target holds");
        prepare->footer(std::string(kPrepareFooter) + "\n\n" + kExitFooter);
    }

    CLI::App* reading_verb(CLI::App& drive, const char* name, const char* help, LocalVerb perform) {
        CLI::App* command = drive.add_subcommand(name, help);
        command->callback([this, perform = std::move(perform)] { local_verb_ = perform; });
        command->add_option("IMAGE|DEVICE", read_.path, "Image file or block device")->required();
        command->add_option("--key-file", read_.key_file,
                            "File with the key, used byte by byte; not needed for a drive that is not encrypted");
        command->add_option("--partition", read_.partition,
                            "Number of the partition that holds the volume; 0, the default: the first for data");
        return command;
    }

    void add_reading_verbs(CLI::App& drive) {
        reading_verb(drive, "show", "What a drive is, which manifests it has, and what it is good for",
                     [this](const OutputOptions& output) {
                         return drive_show({read_, manifest_}, output);
                     })
            ->add_option("--manifest", manifest_, R"(Path on the drive, as in \DriveManifest.xml (default: those in its root))");
        CLI::App* verify = reading_verb(drive, "verify", "Compares everything on a drive with its manifest: 0 all is right, 1 it is not",
                                        [this](const OutputOptions& output) {
                                            return drive_verify({read_, manifest_, manifest_hash_}, output);
                                        });
        verify->add_option("--manifest", manifest_, R"(Path on the drive, as in \DriveManifest.xml (default: the only one in its root))");
        verify->add_option("--manifest-hash", manifest_hash_, "What the manifest must have: MD5, SHA-256 or SHA-512 in hex");
    }

    void add_repair_verb(CLI::App& drive) {
        CLI::App* repair = reading_verb(
            drive, "repair", "From the log of an import: which files must come again, and a new drive with them",
            [this](const OutputOptions& output) -> Result<int> {
                repair_.drive = read_;
                repair_.manifest = manifest_;
                if (!size_.empty()) {
                    DRAY_LET(repair_.size, parse_size("--size", size_));
                }
                return drive_repair(repair_, output);
            });
        repair->add_option("--manifest", manifest_, R"(Path on the drive, as in \DriveManifest.xml (default: the only one in its root))");
        repair->add_option("--log", repair_.log, "Error log or verbose log of the import")->required();
        repair->add_option("--source", repair_.sources, "Directory with the originals; may come again")
            ->required()
            ->allow_extra_args(false);
        repair->add_option("--path-map", repair_.path_map, "File for what was not found, and for where it is; see below");
        CLI::Option* serial = repair->add_option("--serial", repair_.serial, "Serial number of the new drive");
        repair->add_option("--output", repair_.output, "Image file or device for the new drive (default: only report)")->needs(serial);
        repair->add_option("--output-key-file", repair_.output_key_file, "Key of the new drive (default: the old one's)");
        repair->add_option("--size", size_, "Size of the new drive (default: what is needed, or all of a device)");
        repair->add_flag("--yes", repair_.is_overwrite_allowed, "Overwrite what the new drive's target holds");
        repair->footer(std::string(kRepairFooter) + "\n\n" + kExitFooter);
    }

    static Result<Bytes> parse_size(const char* option, const std::string& text) {
        Result<Bytes> size = parse_bytes(text);
        if (!size)
            return fail(std::move(size.error()), "{}", option);
        if (*size == 0)
            return fail(ErrorKind::InvalidArgument, "{} is 0", option);
        return size;
    }

    CLI::App app_;
    OutputOptions output_;
    std::string json_;
    bool is_json_ = false;
    BusVerb bus_verb_;
    LocalVerb local_verb_;

    std::string job_;
    std::string device_;
    std::string drain_;
    std::string timeout_;
    std::string size_;
    std::string block_size_;
    std::vector<std::string> tags_;
    std::vector<std::string> address_;
    ShipOptions ship_;
    bool is_forced_ = false;
    bool is_unchecked_ = false;
    std::vector<std::string> stores_;
    CreateOptions create_;
    DriveOptions drive_;
    UpdateOptions update_;
    PrepareOptions prepare_;
    PreviewOptions preview_;
    DriveSource read_;
    RepairOptions repair_;
    std::string manifest_;
    std::string manifest_hash_;
};

}  // namespace
}  // namespace dray::ctl

// What is thrown here is lack of memory, and that may end the program.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
    dray::log::start("drayctl", dray::log::Level::Info);
    dray::ctl::CommandLine command_line;
    return command_line.run(argc, argv);
}
