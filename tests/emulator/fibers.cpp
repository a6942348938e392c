// Fibers: their stacks, how they take turns, and the workgroups of a launch.

#include "sanitizer.hpp"
#include "state.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

emulator::Index threadIdx, blockIdx, blockDim, gridDim;

#if defined(__x86_64__)
// Keeps what the ABI calls saved on the stack, and the stack's pointer in *from.
extern "C" void emulator_switch(void** from, void* to);
asm(R"(
    .text
    .globl emulator_switch
    .type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulator_switch, .-emulator_switch
)");
#endif

namespace emulator {

Run at;

namespace {

constexpr size_t STACK = 256 * 1024;
// Places where races are looked for; else one is enough.
constexpr unsigned PLACES = 2;
// Looks at a word that has not changed, after which it never will: no thread gets further.
constexpr unsigned MOST_LOOKS = 16;

}

namespace {

void mark(Place& place, unsigned i, bool can_run) {
    const uint64_t bit = uint64_t{1} << i % 64;
    place.ready[i / 64] = can_run ? place.ready[i / 64] | bit : place.ready[i / 64] & ~bit;
    if (can_run) {
        place.fibers[i].waits = nullptr;
    }
}

}

void set_ready(unsigned i, bool can_run) {
    mark(*at.place, i, can_run);
}

namespace {

// The fiber that goes on, or none.
Fiber* next() {
    const unsigned words = (at.threads + 63) / 64;
    const unsigned all = words * static_cast<unsigned>(at.running.size());
    const auto ready = [&](unsigned w) { return at.running[w / words]->ready[w % words]; };
    const auto fiber = [&](unsigned w, unsigned bit) {
        return &at.running[w / words]->fibers[64 * (w % words) + bit];
    };
    if (at.schedule.kind == Schedule::Random) {
        unsigned count = 0;
        for (unsigned w = 0; w < all; w++) {
            count += __builtin_popcountll(ready(w));
        }
        unsigned skip = count == 0 ? 0 : at.random() % count;
        for (unsigned w = 0; w < all; w++) {
            const unsigned here = __builtin_popcountll(ready(w));
            if (skip >= here) {
                skip -= here;
                continue;
            }
            uint64_t word = ready(w);
            for (; skip > 0; skip--) {
                word &= word - 1;
            }
            return fiber(w, __builtin_ctzll(word));
        }
        return nullptr;
    }
    const bool reverse = at.schedule.kind == Schedule::Reverse;
    for (unsigned i = 0; i < all; i++) {
        const unsigned w = reverse ? all - 1 - i : i;
        const uint64_t word = ready(w);
        if (word != 0) {
            return fiber(w, reverse ? 63 - __builtin_clzll(word) : __builtin_ctzll(word));
        }
    }
    return nullptr;
}

// All that have paused look again, unless they have looked in vain too often.
void look_again() {
    if (at.looks == MOST_LOOKS) {
        return;
    }
    at.looks += 1;
    for (Fiber* fiber : at.paused) {
        mark(*fiber->place, index_of(fiber), true);
    }
    at.paused.clear();
}

void switch_to(Fiber* to) {
    Fiber* from = at.current;
    if (from == to) {
        return;
    }
    at.current = to;
    if (to != &at.host) {
        at.place = to->place;
        threadIdx = {index_of(to), 0, 0};
        blockIdx = {at.place->block, 0, 0};
    }
    if (sanitizer::addresses()) {
        __sanitizer_start_switch_fiber(&from->asan, to->stack, to->stack_bytes);
    }
    if (sanitizer::threads()) {
        __tsan_switch_to_fiber(to->tsan, 1);
    }
#if defined(__x86_64__)
    emulator_switch(&from->stack_pointer, to->stack_pointer);
#else
    swapcontext(&from->context, &to->context);
#endif
    if (sanitizer::addresses()) {
        __sanitizer_finish_switch_fiber(from->asan, nullptr, nullptr);
    }
}

}

void go_on() {
    Fiber* to = next();
    if (to == nullptr && !at.paused.empty()) {
        look_again();
        to = next();
    }
    const auto done = [](const Place* place) { return place->returned == at.threads; };
    if (to == nullptr && std::all_of(at.running.begin(), at.running.end(), done)) {
        to = &at.host;
    }
    if (to == nullptr) {
        stop("deadlock");
    }
    switch_to(to);
}

namespace {

// The life of a fiber: a thread of one workgroup after another.
void live() {
    if (sanitizer::addresses()) {
        __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
    }
    for (;;) {
        sanitizer::acquire(at.launch_start);
        sanitizer::acquire(at.place->order.last);
        at.launch->kernel->call(at.launch->params);
        if (at.current->first_copy != at.current->last_copy) {
            // It may still land where something else lies by now.
            fail(at.current->copied, "a copy that nobody has waited for");
        }
        sanitizer::release(at.place->order.last);
        sanitizer::release(at.launch_end);
        at.current->returned = true;
        at.place->returned += 1;
        at.looks = 0;
        set_ready(index_of(at.current), false);
        go_on();
    }
}

// All threads of a workgroup are at their start.
void prepare_block(Place& place, uint32_t block) {
    place.block = block;
    place.waiting = place.phase = place.returned = 0;
    memset(place.warps.data(), 0, place.warps.size() * sizeof(Warp));
    // Not by a function that a sanitizer knows: it would be an access of the host's.
    for (volatile unsigned char* byte = place.shared; byte < place.shared + at.launch->shared;
         byte++) {
        *byte = 0xff;
    }
    for (unsigned i = 0; i < at.threads; i++) {
        Fiber& fiber = place.fibers[i];
        fiber.place = &place;
        fiber.returned = false;
        fiber.first_copy = fiber.last_copy = fiber.group = 0;
        mark(place, i, true);
    }
    at.running.push_back(&place);
}

// Workgroups that are there at once, from the first to the last of their threads.
void run_prepared() {
    at.looks = 0;
    at.paused.clear();
    switch_to(next());
    at.running.clear();
}

void make_fiber(Fiber& fiber, unsigned char* stack) {
    mprotect(stack, GUARD, PROT_NONE);
    fiber.stack = stack + GUARD;
    fiber.stack_bytes = STACK;
#if defined(__x86_64__)
    // As if `live` had been called and had then switched away: six registers, its address, and no
    // place to return to.
    auto* top = reinterpret_cast<void**>(fiber.stack + STACK);
    top[-2] = reinterpret_cast<void*>(live);
    fiber.stack_pointer = top - 8;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    makecontext(&fiber.context, live, 0);
#endif
    if (sanitizer::threads()) {
        fiber.tsan = __tsan_create_fiber(0);
    }
}

// The host's own stack, as a fiber's.
void make_host(Fiber& host) {
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    void* stack = nullptr;
    pthread_attr_getstack(&attributes, &stack, &host.stack_bytes);
    pthread_attr_destroy(&attributes);
    host.stack = static_cast<unsigned char*>(stack);
    if (sanitizer::threads()) {
        host.tsan = __tsan_get_current_fiber();
    }
}

// As many fibers as the launch has threads, unless an earlier one had as many.
void make_fibers(Place& place) {
    const size_t there = place.fibers.size();
    if (there >= at.threads) {
        return;
    }
    const size_t bytes = (at.threads - there) * (GUARD + STACK);
    auto* stacks = static_cast<unsigned char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0));
    if (stacks == MAP_FAILED) {
        perror("emulator: stacks");
        _exit(BAD_JOB);
    }
    place.fibers.resize(at.threads);
    for (size_t i = there; i < at.threads; i++) {
        make_fiber(place.fibers[i], stacks + (i - there) * (GUARD + STACK));
    }
}

}

void start() {
    make_host(at.host);
    at.current = &at.host;
    at.places.resize(sanitizer::threads() ? PLACES : 1);
    catch_signals();
}

void run(const Launch& launch, const Schedule& schedule) {
    at.launch = &launch;
    at.schedule = schedule;
    at.random.seed(schedule.seed);
    at.threads = launch.threads;
    if (at.threads == 0 || at.threads > 1024) {
        stop("a workgroup of " + std::to_string(at.threads) + " threads");
    }
    blockDim = {at.threads, 1, 1};
    gridDim = {launch.blocks, 1, 1};
    // Not in a fiber: a sanitizer would take what is moved for an access of the kernel.
    at.paused.reserve(launch.together ? size_t{launch.blocks} * at.threads : 0);
    std::vector<uint32_t> blocks(launch.blocks);
    std::iota(blocks.begin(), blocks.end(), 0);
    if (schedule.kind == Schedule::Reverse) {
        std::iota(blocks.rbegin(), blocks.rend(), 0);
    } else if (schedule.kind == Schedule::Random) {
        std::shuffle(blocks.begin(), blocks.end(), at.random);
    }
    if (launch.together && launch.blocks > at.places.size()) {
        at.places.resize(launch.blocks);
    }
    std::vector<Block> shared;
    for (Place& place : at.places) {
        make_fibers(place);
        place.ready.assign((at.threads + 63) / 64, 0);
        place.warps.resize((at.threads + WARP - 1) / WARP);
        shared.emplace_back(launch.shared);
        place.shared = shared.back().at;
    }
    sanitizer::release(at.launch_start);
    for (size_t i = 0; i < blocks.size(); i++) {
        prepare_block(at.places[i % at.places.size()], blocks[i]);
        if (!launch.together || i + 1 == blocks.size()) {
            run_prepared();
        }
    }
    sanitizer::acquire(at.launch_end);
    at.place = nullptr;
    at.launch = nullptr;
}

}
