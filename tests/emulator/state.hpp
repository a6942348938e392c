// The state of a run, shared by fibers.cpp, meetings.cpp and reports.cpp.
#pragma once

#include "fibers.hpp"
#include "fibers_run.hpp"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

extern emulator::Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr std::size_t GUARD = 4096;
constexpr unsigned WARP = 32, MOST_COPIES = 512, MOST_MEETINGS = 8;

struct Place;

struct Fiber {
#if defined(__x86_64__)
    void* stack_pointer;
#else
    ucontext_t context;
#endif
    unsigned char* stack;
    std::size_t stack_bytes;
    void* tsan;
    void* asan;
    // Of its workgroup.
    Place* place;
    // Where it waits, and in what; null while it can run.
    Site site;
    const char* waits;
    bool returned;
    // A ring of copies, each with the number of its group.
    Copy copies[MOST_COPIES];
    unsigned group_of[MOST_COPIES];
    unsigned first_copy, last_copy, group;
    // Where the last of them was asked for.
    Site copied;
};

// Lanes that have come to where those of `mask` meet.
struct Meeting {
    unsigned mask, here;
    Site site;
    const char* what;
    void* brought[WARP];
};

struct Warp {
    Meeting meetings[MOST_MEETINGS];
    unsigned phase;
};

// What a sanitizer takes for the order between fibers. Two take turns, as who is early at the next
// barrier must not be ordered before who is late at this one.
struct Order {
    char barrier[2][8];
    char warp[32][2][8];
    char last[8];
};

// What a workgroup runs on. Those of a cooperative launch run together, a place each. Else that one workgroup runs after another is no order between them: where
// races are looked for, neighbours run on different places, and only those of one place, several
// workgroups apart, are taken to be ordered.
struct Place {
    std::vector<Fiber> fibers;
    unsigned char* shared;
    Order order;
    unsigned block;
    // Bit i: fiber i can run.
    std::vector<uint64_t> ready;
    std::vector<Warp> warps;
    // Of the barrier: how many wait, where, and which of two turns it is.
    unsigned waiting, phase, returned;
    Site barrier;
};

struct Run {
    const Launch* launch;
    Schedule schedule;
    std::mt19937 random;
    unsigned threads;
    std::vector<Place> places;
    // Those whose workgroups run now, and the one of the current fiber.
    std::vector<Place*> running;
    Place* place;
    Fiber host;
    Fiber* current;
    // Fibers that look at a word again once nobody else can run, and how often they all have since
    // anybody got further.
    std::vector<Fiber*> paused;
    unsigned looks;
    char launch_start[8], launch_end[8];
};
extern Run at;

inline unsigned index_of(const Fiber* fiber) {
    return static_cast<unsigned>(fiber - fiber->place->fibers.data());
}
// Of the current fiber's workgroup: whether thread i can run.
void set_ready(unsigned i, bool can_run);
// Lets another go on; returns when this one does.
void go_on();
// Ends the program with what went wrong and where each thread is.
[[noreturn]] void stop(const std::string& what);
// Reports signals: a stray access, a stack that is full, the end of the time.
void catch_signals();

}
