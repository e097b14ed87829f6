// Where a group's quota is found: /proc/self/cgroup names the group within each hierarchy, and
// /proc/self/mountinfo says which part of that hierarchy is mounted, and where.
#include "runtime/quota.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

namespace embedrnn::runtime {
namespace {

constexpr int kNoLimit = std::numeric_limits<int>::max();

// Calls take(line) for each line of a file, for none if it cannot be read.
template <class Take>
void for_lines(const std::string& path, const Take& take) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) take(line);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

int cpus_of(std::int64_t quota, std::int64_t period) {
  if (quota <= 0 || period <= 0) return kNoLimit;
  return static_cast<int>(std::min<std::int64_t>(kNoLimit, (quota - 1) / period + 1));
}

// What one folder of a hierarchy says. "max" in place of the quota is not a number, and -1 is none.
int limit_in(const std::string& folder, bool is_v2) {
  std::int64_t quota = 0, period = 0;
  if (is_v2) {
    std::ifstream(folder + "/cpu.max") >> quota >> period;
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return cpus_of(quota, period);
}

// The least limit from the folder mount + group up to the mount itself.
int limit_above(const std::string& mount, std::string group, bool is_v2) {
  int least = limit_in(mount, is_v2);
  while (!group.empty()) {
    least = std::min(least, limit_in(mount + group, is_v2));
    group.resize(std::min(group.size(), group.rfind('/')));
  }
  return least;
}

// The part of a hierarchy that a group lies in, as mountinfo's root names it, taken off the front
// of the group; nothing is left of a group that lies elsewhere, as a container may see its own.
std::string within(const std::string& part, const std::string& group) {
  const std::string top = part == "/" ? "" : part;
  const bool inside = group.compare(0, top.size(), top) == 0 && group.size() > top.size() &&
                      group[top.size()] == '/' && group != "/";
  return inside ? group.substr(top.size()) : "";
}

// The groups of this process that a quota may be set for.
struct Groups {
  std::string v1, v2;  // of the hierarchy with the controller "cpu", and of the unified one
};

Groups read_groups(const std::string& root) {
  Groups groups;
  for_lines(root + "/proc/self/cgroup", [&](const std::string& line) {
    // number:controllers:group
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) return;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) groups.v2 = line.substr(second + 1);
    if (has(split(controllers, ','), "cpu")) groups.v1 = line.substr(second + 1);
  });
  return groups;
}

int read_limit(const std::string& root) {
  const Groups groups = read_groups(root);
  int least = kNoLimit;
  for_lines(root + "/proc/self/mountinfo", [&](const std::string& line) {
    // number parent device part mount options [more] - type source options-of-the-hierarchy
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.end() - dash < 4 || dash - words.begin() < 5) return;
    const bool is_v2 = dash[1] == "cgroup2";
    if (!is_v2 && !(dash[1] == "cgroup" && has(split(dash[3], ','), "cpu"))) return;
    const std::string& group = is_v2 ? groups.v2 : groups.v1;
    least = std::min(least, limit_above(root + words[4], within(words[3], group), is_v2));
  });
  return least;
}

}  // namespace

int quota_cpus(const std::string& root) {
  try {
    const int limit = read_limit(root);
    return limit == kNoLimit ? 0 : limit;
  } catch (const std::exception&) {
    return 0;  // no memory to read it with
  }
}

}  // namespace embedrnn::runtime
