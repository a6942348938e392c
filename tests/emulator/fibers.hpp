// What kernels compiled as C++ ask of the emulator. A workgroup is fibers on one thread of the
// host; they take turns at barriers, at what the lanes of a warp do together, and at their end.
// Workgroups run one after another, those of a cooperative launch together.
// The code behind these declarations is never instrumented: a sanitizer sees accesses of kernels
// only, and learns of the fibers from sanitizer.hpp.
#pragma once

namespace emulator {

struct Index {
    unsigned x, y, z;
};

// Where in a kernel.
struct Site {
    const char* file;
    int line;
};

// Ends the program: the kernel broke a rule of CUDA at `site`.
[[noreturn, gnu::format(printf, 2, 3)]] void fail(Site site, const char* format, ...);

// The workgroup's memory, exactly as large as the launch says and NaN before each workgroup.
unsigned char* shared_memory();
// Fails unless `bytes` at `at` are aligned to their number and in the workgroup's memory.
void check_shared(Site site, const char* what, const void* at, unsigned bytes);
void check_aligned(Site site, const char* what, const void* at, unsigned bytes);

// All threads of the workgroup.
void barrier(Site site);

// Between two looks at a word that another workgroup changes: all others go first.
void pause(Site site);

// The lanes of `mask` in this thread's warp: the last to come runs `all` on what each has brought.
using Together = void (*)(void* const lanes[32], unsigned mask);
void meet(Site site, const char* what, unsigned mask, void* brought, Together all);
// The same with nothing to do, and what was written before is seen after.
void meet(Site site, unsigned mask);

// Copies that the thread has asked for and not waited for; `from` is null where zeros are meant.
struct Copy {
    unsigned* to;
    const unsigned* from;
    unsigned words;
};
void queue_copy(Site site, Copy copy);
void end_group();
// The oldest copy that is not of the newest `keep` groups, if there is one: it is taken off.
bool take_copy(unsigned keep, Copy& copy);

// What lanes do together, warp.cpp.
unsigned shuffle(Site site, const char* what, unsigned mask, unsigned value, unsigned from);
// Bit l of the result: whether lane l of `mask` says so.
unsigned ballot(Site site, const char* what, unsigned mask, bool says);
// `row` is what this lane has read: row lane % 8 of matrix lane / 8.
void exchange_matrices(Site site, unsigned (&r)[4], const unsigned (&row)[4], bool transposed);
enum class Half { F16, Bf16 };
void multiply(
    Site site, Half half, float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);

// A kernel of a unit.
struct Kernel {
    const char* name;
    // What it says of itself, if the unit has a table of that.
    const unsigned* facts;
    // The largest workgroup that it is compiled for.
    unsigned most_threads;
    // Its parameters: how many, and the bytes of each.
    unsigned count;
    const unsigned* sizes;
    void (*call)(void* const* params);
};

template <unsigned...>
struct Positions {};

// An entry point, whose parameters are passed by value.
template <auto entry>
struct Entry;
template <class... P, void (*entry)(P...)>
struct Entry<entry> {
    static constexpr unsigned sizes[] = {sizeof(P)...};

    template <unsigned... I>
    static void call_with(void* const* params, Positions<I...>) {
        entry(*static_cast<const P*>(params[I])...);
    }
    static void call(void* const* params) {
        call_with(params, Positions<__integer_pack(sizeof...(P))...>{});
    }
    static constexpr Kernel kernel(
        const char* name, const unsigned* facts, unsigned most_threads) {
        return {name, facts, most_threads, sizeof...(P), sizes, call};
    }
};

}
