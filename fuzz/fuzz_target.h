#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// A fuzz target is one source that defines these two. It is built twice: with
// libFuzzer by the `fuzz` preset (fuzz_<name>, runs until it is stopped), and with
// standalone_driver.cc by every other (the same name, a ctest entry that runs a
// fixed number of mutations of the seeds from a fixed random seed).

// Feeds `input`, as it could come from outside, to what is tested. Must not crash
// or hang; checks the properties that must hold.
void FuzzOne(std::string_view input);

// Inputs that are valid, or nearly, to start from.
std::vector<std::string> FuzzSeeds();
