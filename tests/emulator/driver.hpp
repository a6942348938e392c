// A stand-in for CUDA's driver, libcuda: devices whose kernels run on the emulator, on a thread of
// their own. It is as strict as a driver may be, and says so where a real one would only misbehave.
//     driver.cpp    devices, contexts, memory, copies
//     streams.cpp   streams, events, captures, graphs
//     launches.cpp  modules, functions, launches
//     machine.cpp   the thread that is the device, and what is allocated
//     plans.cpp     what the environment asks for
//
// The environment asks for another device than the usual one, or for failures:
//     EMULATED_DEVICES=2             how many there are
//     EMULATED_CAPABILITY=75         their compute capability
//     EMULATED_DRIVER=12080          the version that the driver gives
//     EMULATED_MEMORY=1000000        bytes of a device
//     EMULATED_SCHEDULE=reverse      the order of workgroups and threads: forward, reverse, or the
//                                    seed of a random one
//     EMULATED_DELAY=5               milliseconds before whatever the device does, so that the host
//                                    is far ahead of it
//     EMULATED_REPORT=1              what was not given back is said when the context is released
//     EMULATED_FAILS=NAME:ERROR@N    the N-th call (the first) of a function, and those behind it,
//                                    fail; `kernel` is a launch at work on the device
#pragma once

#include "cuda.hpp"
#include "fibers_run.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace driver {

using cuda::Result;

// What the environment asks for.
struct Settings {
    int devices, capability, version, delay;
    uint64_t memory;
    emulator::Schedule schedule;
};
const Settings& settings();
constexpr int PROCESSORS = 8;
// Bytes of workgroup memory: without being asked, at most, and of a processor.
constexpr int SHARED_BYTES = 48 << 10;
int most_shared_bytes();
int processor_shared_bytes();

// What the device does, one thing after another. A failure is the end of the device: whatever is
// asked of it later fails as well.
using Work = std::function<Result()>;
// The number of the work.
uint64_t enqueue(Work work);
bool is_done(uint64_t number);
Result wait_for(uint64_t number);
Result wait_for_all();
// The failure that the device ended with, or success.
Result failure();

// Memory of the device and pinned memory. It is NaN at first, and nothing lies behind its end.
Result allocate(uint64_t bytes, bool pinned, void** at);
Result release(void* at, bool pinned);
uint64_t free_bytes();
// Whether a whole range lies in one allocation or in a module's variable.
bool is_device_memory(uint64_t at, std::size_t bytes);
bool is_pinned_memory(const void* at, std::size_t bytes);
// A module's variable.
void add_variable(uint64_t at, std::size_t bytes);
void remove_variable(uint64_t at);

struct Stream;
// Enqueues work, or keeps it for the graph that the stream captures.
Result submit(Stream* stream, Work work);
// Ends every capture that forbids this thread what may wait for the device; whether there was one.
bool invalidate_captures();

// What every function starts with.
enum Needs : unsigned {
    NOTHING = 0,
    INIT = 1,
    // A context that is current, and a device that has not failed.
    CONTEXT = 2 | INIT,
    // That this thread captures nothing: the function may wait for the device.
    NO_CAPTURE = 4 | CONTEXT,
};
Result enter(const char* name, unsigned needs);

// What was made and not yet destroyed, by the kind of its handle.
enum Kind { STREAM, EVENT, GRAPH, EXECUTABLE, MODULE, KINDS };
void made(Kind kind, const void* handle);
// Whether it was there, and so is no more.
bool gone(Kind kind, const void* handle);
bool is_there(Kind kind, const void* handle);
// Says on stderr what is left, if the environment asks for it.
void report_left();

}

// The first line of a function of the interface.
#define ENTER(needs)                                                                               \
    if (const Result refused = driver::enter(__func__, needs)) {                                   \
        return refused;                                                                            \
    }
