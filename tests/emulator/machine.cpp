// The device: a thread that does one thing after another, what is allocated, and what the
// environment asks for. Nothing here is ever destroyed: the thread outlives `main`.

#include "driver.hpp"
#include "plans.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <unistd.h>

namespace driver {

namespace {

emulator::Schedule schedule() {
    const char* text = getenv("EMULATED_SCHEDULE");
    const std::string word = text == nullptr ? "forward" : text;
    if (word == "forward" || word == "reverse") {
        const bool forward = word == "forward";
        return {forward ? emulator::Schedule::Forward : emulator::Schedule::Reverse, 0};
    }
    return {emulator::Schedule::Random, static_cast<uint32_t>(strtoul(text, nullptr, 10))};
}

}

const Settings& settings() {
    static const Settings own = {
        static_cast<int>(plans::number("EMULATED_DEVICES", 1)),
        static_cast<int>(plans::number("EMULATED_CAPABILITY", 86)),
        static_cast<int>(plans::number("EMULATED_DRIVER", 13000)),
        static_cast<int>(plans::number("EMULATED_DELAY", 0)),
        static_cast<uint64_t>(plans::number("EMULATED_MEMORY", 1L << 30)),
        schedule(),
    };
    return own;
}

int most_shared_bytes() {
    return processor_shared_bytes() - 1024;
}

int processor_shared_bytes() {
    switch (settings().capability) {
    case 75:
        return 65 << 10;
    case 80:
    case 87:
        return 164 << 10;
    case 86:
    case 89:
    case 120:
        return 100 << 10;
    default:
        return 228 << 10;
    }
}

namespace {

struct Machine {
    std::mutex mutex;
    std::condition_variable more, less;
    std::deque<Work> works;
    uint64_t enqueued = 0, done = 0;
    Result failure = cuda::SUCCESS;
    std::thread thread;
};

Machine& machine() {
    static auto* one = new Machine;
    return *one;
}

// From here on whoever waits is told of the failure.
void fail(Result with) {
    Machine& device = machine();
    const std::lock_guard lock(device.mutex);
    device.failure = with;
    device.less.notify_all();
}

void work() {
    Machine& device = machine();
    emulator::start();
    std::unique_lock lock(device.mutex);
    for (;;) {
        device.more.wait(lock, [&] { return !device.works.empty(); });
        const Work next = std::move(device.works.front());
        device.works.pop_front();
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::milliseconds(settings().delay));
        const Result result = next();
        lock.lock();
        if (result != cuda::SUCCESS) {
            device.failure = result;
            device.less.notify_all();
            return;
        }
        device.done += 1;
        device.less.notify_all();
    }
}

}

uint64_t enqueue(Work work) {
    Machine& device = machine();
    const std::lock_guard lock(device.mutex);
    if (!device.thread.joinable()) {
        device.thread = std::thread(driver::work);
    }
    device.works.push_back(std::move(work));
    device.more.notify_one();
    return ++device.enqueued;
}

bool is_done(uint64_t number) {
    Machine& device = machine();
    const std::lock_guard lock(device.mutex);
    return device.done >= number;
}

Result wait_for(uint64_t number) {
    Machine& device = machine();
    std::unique_lock lock(device.mutex);
    device.less.wait(lock, [&] { return device.done >= number || device.failure != 0; });
    return device.failure;
}

Result wait_for_all() {
    Machine& device = machine();
    std::unique_lock lock(device.mutex);
    const uint64_t last = device.enqueued;
    lock.unlock();
    return wait_for(last);
}

Result failure() {
    Machine& device = machine();
    const std::lock_guard lock(device.mutex);
    return device.failure;
}

namespace {

struct Memory {
    std::mutex mutex;
    struct Allocation {
        emulator::Block block;
        bool pinned;
    };
    std::map<uint64_t, Allocation> allocations;
    std::map<uint64_t, size_t> variables;
    uint64_t used = 0;

    // Whether the range lies in the last of `all` that begins no later.
    template <class All, class Bytes>
    static bool inside(const All& all, uint64_t at, size_t bytes, Bytes bytes_of) {
        auto found = all.upper_bound(at);
        if (found == all.begin()) {
            return false;
        }
        --found;
        const uint64_t offset = at - found->first, there = bytes_of(found->second);
        return offset <= there && bytes <= there - offset;
    }
    bool allocated(uint64_t at, size_t bytes, bool pinned) const {
        return inside(allocations, at, bytes, [pinned](const Allocation& one) -> uint64_t {
            return one.pinned == pinned ? one.block.bytes : 0;
        });
    }
};

Memory& memory() {
    static auto* one = new Memory;
    return *one;
}

uint64_t address(const void* at) {
    return reinterpret_cast<uint64_t>(at);
}

}

Result allocate(uint64_t bytes, bool pinned, void** at) {
    Memory& all = memory();
    const std::lock_guard lock(all.mutex);
    if (bytes == 0) {
        return cuda::INVALID_VALUE;
    }
    if (!pinned && bytes > settings().memory - all.used) {
        return cuda::OUT_OF_MEMORY;
    }
    emulator::Block block(bytes);
    memset(block.at, 0xff, bytes);
    *at = block.at;
    all.used += pinned ? 0 : bytes;
    all.allocations.emplace(address(*at), Memory::Allocation{std::move(block), pinned});
    return cuda::SUCCESS;
}

Result release(void* at, bool pinned) {
    Memory& all = memory();
    const std::lock_guard lock(all.mutex);
    const auto found = all.allocations.find(address(at));
    if (found == all.allocations.end() || found->second.pinned != pinned) {
        return cuda::INVALID_VALUE;
    }
    all.used -= pinned ? 0 : found->second.block.bytes;
    all.allocations.erase(found);
    return cuda::SUCCESS;
}

uint64_t free_bytes() {
    Memory& all = memory();
    const std::lock_guard lock(all.mutex);
    return settings().memory - all.used;
}

bool is_device_memory(uint64_t at, size_t bytes) {
    Memory& all = memory();
    const std::lock_guard lock(all.mutex);
    return all.allocated(at, bytes, false)
        || Memory::inside(all.variables, at, bytes, [](size_t there) { return there; });
}

bool is_pinned_memory(const void* at, size_t bytes) {
    Memory& all = memory();
    const std::lock_guard lock(all.mutex);
    return all.allocated(address(at), bytes, true);
}

void add_variable(uint64_t at, size_t bytes) {
    Memory& all = memory();
    const std::lock_guard lock(all.mutex);
    all.variables[at] = bytes;
}

void remove_variable(uint64_t at) {
    Memory& all = memory();
    const std::lock_guard lock(all.mutex);
    all.variables.erase(at);
}

namespace {

struct Handles {
    std::mutex mutex;
    std::set<const void*> of[KINDS];
};

Handles& handles() {
    static auto* one = new Handles;
    return *one;
}

}

void made(Kind kind, const void* handle) {
    const std::lock_guard lock(handles().mutex);
    handles().of[kind].insert(handle);
}

bool gone(Kind kind, const void* handle) {
    const std::lock_guard lock(handles().mutex);
    return handles().of[kind].erase(handle) == 1;
}

bool is_there(Kind kind, const void* handle) {
    const std::lock_guard lock(handles().mutex);
    return handles().of[kind].count(handle) == 1;
}

void report_left() {
    if (plans::number("EMULATED_REPORT", 0) == 0) {
        return;
    }
    const char* const names[KINDS] = {"streams", "events", "graphs", "executables", "modules"};
    for (unsigned kind = 0; kind < KINDS; kind++) {
        const std::lock_guard lock(handles().mutex);
        fprintf(stderr, "%s %zu, ", names[kind], handles().of[kind].size());
    }
    const std::lock_guard lock(memory().mutex);
    fprintf(stderr, "allocations %zu are left\n", memory().allocations.size());
}

}

// A kernel broke a rule, on the device's thread: the device does nothing more, and the fiber that
// the kernel is in never goes on.
void emulator::give_up(Exit code) {
    if (std::this_thread::get_id() != driver::machine().thread.get_id()) {
        abort();
    }
    driver::fail(code == CRASHED ? cuda::ILLEGAL_ADDRESS : cuda::LAUNCH_FAILED);
    for (;;) {
        ::pause();
    }
}
