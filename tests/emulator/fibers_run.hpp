// How main.cpp and driver.cpp run launches.
#pragma once

#include "fibers.hpp"
#include <cstddef>
#include <cstdint>
#include <string>

namespace emulator {

// Which of those that can run goes on, and in which order workgroups are taken.
struct Schedule {
    enum Kind : uint32_t { Forward, Reverse, Random } kind;
    uint32_t seed;
    std::string words() const;
};

struct Launch {
    // For reports.
    std::string name;
    const Kernel* kernel;
    void* const* params;
    uint32_t blocks, threads, shared;
    // Whether all workgroups are there at once, as those of a cooperative launch.
    bool together;
};

// Memory of so many bytes, aligned as vectors are, with nothing behind it: whoever goes past its
// end is caught, by a sanitizer at the byte, else at the next 16.
class Block {
public:
    static constexpr std::size_t ALIGNED = 16;
    explicit Block(std::size_t size);
    Block(Block&& other) noexcept;
    Block& operator=(Block&&) = delete;
    ~Block();

    unsigned char* at = nullptr;
    std::size_t bytes;

private:
    void* mapped = nullptr;
    std::size_t mapped_bytes = 0;
};

// Once, before the first launch.
void start();
void run(const Launch& launch, const Schedule& schedule);

// How a run ends.
enum Exit { DONE = 0, BAD_JOB = 2, RULE_BROKEN = 3, CRASHED = 4, SCHEDULES_DIFFER = 5 };

// After a report of a kernel that broke a rule. The program that the runtime is part of says what
// then ends: it, or the work of a device.
[[noreturn]] void give_up(Exit code);

}
