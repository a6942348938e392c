// How main.cpp runs launches.
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
    const void *params, *args, *control;
    uint32_t blocks, shared;
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

// What ends the program.
enum Exit { DONE = 0, BAD_JOB = 2, RULE_BROKEN = 3, CRASHED = 4, SCHEDULES_DIFFER = 5 };

}
