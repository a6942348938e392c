// What sanitizers are told of fibers. The runtime is one object for all builds: these functions are
// there if the program is linked with a sanitizer, else null.
#pragma once

#include <cstddef>

extern "C" {
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak]] void __tsan_destroy_fiber(void* fiber);
[[gnu::weak]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak]] void __tsan_acquire(void* at);
[[gnu::weak]] void __tsan_release(void* at);
[[gnu::weak]] void __asan_init();
[[gnu::weak]] void __sanitizer_start_switch_fiber(void** save, const void* stack, std::size_t n);
[[gnu::weak]] void __sanitizer_finish_switch_fiber(void* saved, const void** stack, std::size_t* n);
}

namespace sanitizer {

inline bool threads() {
    return __tsan_create_fiber != nullptr;
}
inline bool addresses() {
    return __asan_init != nullptr;
}

// What this fiber did before its `release` of an object happened before what another does after its
// `acquire` of the same.
inline void release(void* object) {
    if (threads()) {
        __tsan_release(object);
    }
}
inline void acquire(void* object) {
    if (threads()) {
        __tsan_acquire(object);
    }
}

}
