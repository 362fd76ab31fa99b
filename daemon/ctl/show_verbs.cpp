// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/show_verbs.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/bus/names.hpp"

namespace dray::ctl {
namespace {

const std::vector<Column> kJobColumns{{"JOB", "job"},       {"TYPE", "type"}, {"STORE", "store"},
                                      {"STATE", "state"},   {"DRIVES", "drives"}, {"DONE", "percent"},
                                      {"RATE", "bytes-per-second"}, {"LEFT", "remaining-usec"},
                                      {"", "cancel-requested"},     {"", "outcome"},
                                      {"", "faulted"}};
const std::vector<Column> kDriveColumns{{"DRIVE", "serial"},  {"STATE", "state"},
                                        {"STATUS", "copy-status"}, {"DONE", "percent"},
                                        {"BLOBS", "blobs"},   {"FAILED", "blobs-failed"},
                                        {"RATE", "bytes-per-second"}, {"LEFT", "remaining-usec"},
                                        {"NOTE", "note"},     {"", "faulted"},
                                        {"", "draining"},     {"", "device"},
                                        {"", "outcome"}};
const std::vector<Column> kDeviceColumns{{"DEVICE", "device"}, {"SERIAL", "serial"}, {"SIZE", "size"},
                                         {"BUS", "bus"},       {"BAY", "bay"},       {"HOLDS", "signature"},
                                         {"JOB", "job"},       {"NOTE", "problem"},
                                         {"", "opens"}};

const std::vector<Column> kStoreColumns{{"STORE", "store"},         {"TYPE", "type"},           {"URL", "url"},
                                        {"ENCRYPTED", "encrypted"}, {"REACHABLE", "reachable"}, {"", "problem"}};

/// The last part of an object path below `prefix`, decoded; "" for "/".
std::string decoded(const std::string& path, const char* prefix) {
    char* part = nullptr;
    if (sd_bus_path_decode(path.c_str(), prefix, &part) <= 0)
        return {};
    std::string name = part;
    std::free(part);
    return name;
}

double percent(const Properties& object) {
    return object.number("BytesTotal") == 0
               ? 0
               : 100.0 * static_cast<double>(object.number("BytesDone")) /
                     static_cast<double>(object.number("BytesTotal"));
}

bool has_begun(const Properties& object) { return object.number("BytesTotal") > 0; }

/// An object that vanished between the list and the look is no error.
bool is_gone(const Result<Properties>& found) {
    return !found && found.error().kind() == ErrorKind::NotFound;
}

Result<std::vector<Properties>> all(const Client& client, const std::vector<std::string>& paths,
                                    const char* interface) {
    std::vector<Properties> objects;
    for (const std::string& path : paths) {
        Result<Properties> found = client.properties(path, interface);
        if (is_gone(found))
            continue;
        if (!found)
            return fail(std::move(found.error()));
        objects.push_back(*std::move(found));
    }
    return objects;
}

std::string job_state_words(const Properties& job) {
    std::string words = job.text("State");
    if (job.flag("CancelRequested"))
        words += job.text("Outcome") == "cancelled" ? " (cancelled)" : " (cancelling)";
    else if (job.flag("Faulted"))
        words += " (faulted)";
    return words;
}

std::vector<Cell> job_row(const Properties& job) {
    std::vector<Cell> row{text_cell(job.text("Name")), text_cell(job.text("Type")),
                          text_cell(job.text("Store"))};
    Cell state = text_cell(job.text("State"));
    state.shown = job_state_words(job);
    row.push_back(std::move(state));
    row.push_back({fmt::format("{}/{}", job.number("DrivesHere"), job.number("DrivesTotal")),
                   job.number("DrivesTotal"), true});
    row.push_back(percent_cell(job.real("Percent"), has_begun(job)));
    row.push_back(rate_cell(job.number("BytesPerSecond")));
    row.push_back(left_cell(job.number("RemainingUSec")));
    row.push_back(flag_cell(job.flag("CancelRequested")));
    row.push_back(text_cell(job.text("Outcome")));
    row.push_back(flag_cell(job.flag("Faulted")));
    return row;
}

std::vector<Cell> drive_row(const Properties& drive) {
    Cell state = text_cell(drive.text("State"));
    state.shown = drive_state_words(drive);
    const std::string note = drive.flag("Faulted") ? drive.text("FaultReason") : drive.text("Outcome");
    return {text_cell(drive.text("Serial")),
            std::move(state),
            text_cell(drive.text("CopyStatus")),
            percent_cell(percent(drive), has_begun(drive)),
            {has_begun(drive) ? fmt::format("{}/{}", drive.number("BlobsDone"), drive.number("BlobsTotal"))
                              : "-",
             drive.number("BlobsDone"), true},
            number_cell(drive.number("BlobsFailed")),
            rate_cell(drive.number("BytesPerSecond")),
            left_cell(drive.number("RemainingUSec")),
            text_cell(note),
            flag_cell(drive.flag("Faulted")),
            flag_cell(drive.flag("Draining")),
            text_cell(decoded(drive.text("Device"), bus::kDevicePath)),
            text_cell(drive.text("Outcome"))};
}

/// udev's words, but for those that would not be understood.
Cell signature_cell(const std::string& signature) {
    Cell cell = text_cell(signature);
    if (signature == "gpt")
        cell.shown = "partitions (GPT)";
    else if (signature == "dos")
        cell.shown = "partitions (MBR)";
    return cell;
}

std::vector<Cell> device_row(const Properties& device) {
    return {text_cell(device.text("Node")), text_cell(device.text("Serial")),
            bytes_cell(device.number("Size")), text_cell(device.text("Bus")),
            text_cell(device.text("Bay")), signature_cell(device.text("Signature")),
            text_cell(decoded(device.text("Job"), bus::kJobPath)), text_cell(device.text("Problem")),
            number_cell(device.number("Opens"))};
}

Result<std::vector<std::vector<Cell>>> rows_of(const Client& client, const std::vector<std::string>& paths,
                                               const char* interface,
                                               std::vector<Cell> (*row)(const Properties&)) {
    DRAY_LET(const std::vector<Properties> objects, all(client, paths, interface));
    std::vector<std::vector<Cell>> rows;
    rows.reserve(objects.size());
    for (const Properties& object : objects)
        rows.push_back(row(object));
    return rows;
}

/// What ExpiresUSec is the time of.
std::string expiry_title(const Properties& job) {
    const std::string expiry = job.text("Expiry");
    if (expiry == "overdue")
        return "Drives overdue from";
    if (expiry == "fault")
        return "Unplugged drive faulted from";
    if (expiry == "no-reply")
        return "To be closed from";
    return job.text("State") == "Creating" ? "Deleted unless shipped by" : "Kept until";
}

/// Drivers' sentences mostly name their store themselves.
std::string about_store(const std::string& name, const std::string& problem) {
    const bool is_named = problem.find(fmt::format("store \"{}\"", name)) != std::string::npos;
    return is_named ? problem : fmt::format("store \"{}\": {}", name, problem);
}

/// Below a table; long ones need a line of their own, or more.
void print_lines(const char* title, const std::vector<std::string>& lines) {
    for (const std::string& line : lines)
        fmt::print("\n{} {}", coloured(title, "33"), printable(line));
    if (!lines.empty())
        fmt::print("\n");
}

/// All, or those of the names.
Result<std::vector<std::string>> store_paths_of(const Client& client, const std::vector<std::string>& names) {
    DRAY_LET(std::vector<std::string> paths, client.store_paths());
    if (names.empty())
        return paths;
    std::vector<std::string> chosen;
    for (const std::string& name : names) {
        const auto found =
            std::ranges::find_if(paths, [&](const std::string& path) { return decoded(path, bus::kStorePath) == name; });
        if (found == paths.end())
            return fail(ErrorKind::NotFound, "there is no store \"{}\"; see drayctl stores", name);
        chosen.push_back(*found);
    }
    return chosen;
}

/// What waits for somebody's hand, as sentences.
Result<std::vector<std::string>> open_questions(const Client& client, const Properties& manager,
                                                const std::vector<std::string>& jobs,
                                                const std::vector<std::string>& devices) {
    std::vector<std::string> lines;
    for (const std::string& problem : manager.list("Problems"))
        lines.push_back(fmt::format("drayd: {}.", problem));
    DRAY_LET(const std::vector<Properties> stores, all(client, manager.list("Stores"), bus::kStoreInterface));
    for (const Properties& store : stores)
        if (!store.text("Problem").empty())
            lines.push_back(fmt::format("{}. Mend it and run: drayctl stores {}",
                                        about_store(store.text("Name"), store.text("Problem")), store.text("Name")));
    DRAY_LET(const std::vector<Properties> all_jobs, all(client, jobs, bus::kJobInterface));
    for (const Properties& job : all_jobs) {
        const std::string state = job.text("State");
        if (state == "Completed" || state == "Closed")
            continue;
        DRAY_LET(const std::vector<Properties> drives,
                 all(client, job.list("Drives"), bus::kDriveInterface));
        for (const Properties& drive : drives) {
            if (drive.flag("Faulted"))
                lines.push_back(fmt::format("Job {}, drive {}: {}. Mend it and run: drayctl retry {} {}",
                                            job.text("Name"), drive.text("Serial"),
                                            drive.text("FaultReason"), job.text("Name"),
                                            drive.text("Serial")));
            else if (state == "Packaging" && (drive.text("State") == "Completed" ||
                                              drive.text("State") == "CompletedMoreInfo"))
                lines.push_back(fmt::format("Job {}: drive {} is done and can be handed back.",
                                            job.text("Name"), drive.text("Serial")));
        }
        if (!job.text("Notice").empty())
            lines.push_back(fmt::format("Job {}: {}", job.text("Name"), job.text("Notice")));
        if (state == "Creating" && job.number("DrivesHere") > 0)
            lines.push_back(fmt::format("Job {}: its drive is here, but the job is not shipped. Run: "
                                        "drayctl ship {}",
                                        job.text("Name"), job.text("Name")));
    }
    DRAY_LET(const std::vector<Properties> all_devices, all(client, devices, bus::kDeviceInterface));
    for (const Properties& device : all_devices)
        if (!device.text("Problem").empty())
            lines.push_back(fmt::format("Device {}: {}", device.text("Node"), device.text("Problem")));
    return lines;
}

}  // namespace

std::string drive_state_words(const Properties& drive) {
    std::string words = drive.text("State");
    if (drive.flag("Draining"))
        words += " (draining)";
    else if (drive.flag("Faulted"))
        words += " (faulted)";
    return words;
}

Result<int> show_status(const Client& client, const OutputOptions& options) {
    DRAY_LET(const Properties manager, client.properties(bus::kRootPath, bus::kManagerInterface));
    DRAY_LET(const std::vector<std::string> jobs, client.job_paths());
    DRAY_LET(const std::vector<std::string> devices, client.device_paths());
    DRAY_LET(const std::vector<Properties> all_jobs, all(client, jobs, bus::kJobInterface));
    std::vector<std::vector<Cell>> running;
    for (const Properties& job : all_jobs)
        if (job.text("State") != "Completed" && job.text("State") != "Closed")
            running.push_back(job_row(job));
    DRAY_LET(const std::vector<std::string> questions, open_questions(client, manager, jobs, devices));

    std::vector<std::pair<Column, Cell>> fields{
        {{"drayd", "version"}, text_cell(manager.text("Version"))},
        {{"Copying", "active-transfers"},
         {fmt::format("{} of at most {}", manager.number("ActiveTransfers"), manager.number("MaxTransfers")),
          manager.number("ActiveTransfers"), false}},
        {{"Jobs", "jobs-total"},
         {fmt::format("{}, {} of them unfinished", jobs.size(), running.size()),
          std::uint64_t{jobs.size()}, false}},
        {{"Plugged in", "devices-total"}, number_cell(devices.size())}};
    if (options.json != JsonMode::Off) {
        const Cell hand{"", questions, false};
        fields.push_back({{"Needs a hand", "needs-a-hand"}, hand});
        print_record_with_rows(options, fields, "jobs", kJobColumns, running);
        return 0;
    }
    print_record_with_rows(options, fields, "jobs", kJobColumns, running);
    print_lines("Needs a hand:", questions);
    return 0;
}

Result<int> list_jobs(const Client& client, const OutputOptions& options) {
    DRAY_LET(const std::vector<std::string> paths, client.job_paths());
    DRAY_LET(const auto rows, rows_of(client, paths, bus::kJobInterface, job_row));
    print_table(options, kJobColumns, rows, "job");
    return 0;
}

Result<int> show_job(const Client& client, const OutputOptions& options, const std::string& name) {
    DRAY_LET(const std::string path, client.job_path(name));
    DRAY_LET(const Properties job, client.properties(path, bus::kJobInterface));
    DRAY_LET(const std::vector<Properties> drives, all(client, job.list("Drives"), bus::kDriveInterface));
    std::vector<std::vector<Cell>> rows;
    rows.reserve(drives.size());
    for (const Properties& drive : drives)
        rows.push_back(drive_row(drive));
    const auto optional_text = [](const std::string& text) { return Cell{text, text, false}; };
    const auto optional_time = [](std::uint64_t usec) {
        Cell cell = time_cell(usec);
        if (usec == 0)
            cell.shown.clear();
        return cell;
    };
    Cell state = text_cell(job.text("State"));
    state.shown = job_state_words(job);
    print_record_with_rows(
        options,
        {{{"Job", "job"}, text_cell(job.text("Name"))},
         {{"Type", "type"}, text_cell(job.text("Type"))},
         {{"Store", "store"}, text_cell(job.text("Store"))},
         {{"State", "state"}, state},
         {{"Cancel requested", "cancel-requested"}, flag_cell(job.flag("CancelRequested"))},
         {{"Drain", "drain"}, optional_text(job.flag("CancelRequested") ? job.text("Drain") : "")},
         {{"Outcome", "outcome"}, optional_text(job.text("Outcome"))},
         {{"Fault", "fault-reason"}, optional_text(job.text("FaultReason"))},
         {{"Notice", "notice"}, optional_text(job.text("Notice"))},
         {{"Drives here", "drives-here"},
          {fmt::format("{} of {}", job.number("DrivesHere"), job.number("DrivesTotal")),
           job.number("DrivesHere"), false}},
         {{"Done", "percent"},
          {fmt::format("{:.1f}% ({} of {}, {} of {} blobs, {} failed)", job.real("Percent"),
                       format_bytes(job.number("BytesDone")), format_bytes(job.number("BytesTotal")),
                       job.number("BlobsDone"), job.number("BlobsTotal"), job.number("BlobsFailed")),
           job.real("Percent"), false}},
         {{"Logs", "diagnostics-path"}, text_cell(job.text("DiagnosticsPath"))},
         {{"Created", "created"}, time_cell(job.number("CreatedUSec"))},
         {{"Completed", "completed"}, optional_time(job.number("CompletedUSec"))},
         {{expiry_title(job), "expires"}, optional_time(job.number("ExpiresUSec"))},
         // For scripts: what happens then.
         {{"", "expiry"}, Cell{"", job.text("Expiry"), false}}},
        "drives", kDriveColumns, rows);
    if (options.json != JsonMode::Off)
        return 0;
    for (const Properties& drive : drives) {
        for (const auto& [word, property] :
             {std::pair("error log", "ErrorLogUri"), std::pair("verbose log", "VerboseLogUri"),
              std::pair("manifest", "ManifestUri")})
            if (!drive.text(property).empty())
                fmt::print("\nDrive {}, {}: {}", drive.text("Serial"), word, drive.text(property));
    }
    fmt::print("\n");
    return 0;
}

Result<int> list_devices(const Client& client, const OutputOptions& options) {
    DRAY_LET(const std::vector<std::string> paths, client.device_paths());
    DRAY_LET(const auto rows, rows_of(client, paths, bus::kDeviceInterface, device_row));
    print_table(options, kDeviceColumns, rows, "device");
    return 0;
}

Result<int> list_stores(const Client& client, const OutputOptions& options, const std::vector<std::string>& names,
                        bool is_checked) {
    DRAY_LET(const std::vector<std::string> paths, store_paths_of(client, names));
    std::vector<std::vector<Cell>> rows;
    std::vector<std::string> sentences;
    int status = 0;
    for (const std::string& path : paths) {
        Result<BusMessage> checked = fail(ErrorKind::Internal, "");
        if (is_checked) {
            const Options none;
            checked = client.call(path, bus::kStoreInterface, "Check", {}, &none);
            status = checked ? status : 1;
        }
        DRAY_LET(const Properties store, client.properties(path, bus::kStoreInterface));
        const std::string problem = !is_checked ? store.text("Problem") : checked ? "" : checked.error().text();
        rows.push_back({text_cell(store.text("Name")), text_cell(store.text("Type")), text_cell(store.text("Url")),
                        flag_cell(store.flag("Encrypted")), flag_cell(store.flag("Reachable")), text_cell(problem)});
        if (!problem.empty())
            sentences.push_back(about_store(store.text("Name"), problem));
    }
    print_table(options, kStoreColumns, rows, "store");
    if (options.json == JsonMode::Off)
        print_lines("Problem:", sentences);
    return status;
}

}  // namespace dray::ctl
