// How much CPU time a container may use.
#pragma once

#include <string>

namespace embedrnn::runtime {

// The CPUs that the quota of this process's control group is worth, of version 1 or 2, rounded up;
// the least of the group's own and those of the groups around it. 0 if there is none. Reads below
// `root`, which is empty for the file system as it is.
int quota_cpus(const std::string& root);

}  // namespace embedrnn::runtime
