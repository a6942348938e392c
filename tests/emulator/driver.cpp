// Devices, contexts, memory and copies of the stand-in for the driver. There is one context: the
// primary one of the device that was asked for first.

#include "driver.hpp"
#include "plans.hpp"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

using namespace driver;

namespace {

std::atomic<bool> initialized;

struct Context {
    int device;
    std::mutex mutex;
    unsigned users = 0;
};
Context primary;
thread_local Context* current;

bool is_device(int device) {
    return device >= 0 && device < settings().devices;
}

// What the null stream has not done yet. A copy from pageable memory may end after the call that
// asks for it, and so may setting memory: until somebody waits for the context, other streams may
// be ahead of them. Here they always are.
struct NullStream {
    std::mutex mutex;
    std::vector<std::function<void()>> works;

    void add(std::function<void()> work) {
        const std::lock_guard lock(mutex);
        works.push_back(std::move(work));
    }
    void finish() {
        const std::lock_guard lock(mutex);
        for (const auto& work : works) {
            work();
        }
        works.clear();
    }
};

NullStream& null_stream() {
    static auto* one = new NullStream;
    return *one;
}

Result wait_for_context() {
    null_stream().finish();
    return wait_for_all();
}

}

Result driver::enter(const char* name, unsigned needs) {
    if (const int planned = plans::failure(name)) {
        return static_cast<Result>(planned);
    }
    if ((needs & INIT) != 0 && !initialized) {
        return cuda::NOT_INITIALIZED;
    }
    if ((needs & CONTEXT) == CONTEXT) {
        if (current == nullptr) {
            return cuda::INVALID_CONTEXT;
        }
        if (const Result failed = failure()) {
            return failed;
        }
    }
    if ((needs & NO_CAPTURE) == NO_CAPTURE && invalidate_captures()) {
        return cuda::STREAM_CAPTURE_UNSUPPORTED;
    }
    return cuda::SUCCESS;
}

extern "C" {

Result cuInit(unsigned flags) {
    ENTER(NOTHING)
    if (flags != 0) {
        return cuda::INVALID_VALUE;
    }
    if (settings().devices == 0) {
        return cuda::NO_DEVICE;
    }
    initialized = true;
    return cuda::SUCCESS;
}

Result cuDriverGetVersion(int* version) {
    ENTER(NOTHING)
    *version = settings().version;
    return cuda::SUCCESS;
}

Result cuDeviceGetCount(int* count) {
    ENTER(INIT)
    *count = settings().devices;
    return cuda::SUCCESS;
}

Result cuDeviceGet(int* device, int position) {
    ENTER(INIT)
    *device = position;
    return is_device(position) ? cuda::SUCCESS : cuda::INVALID_DEVICE;
}

Result cuDeviceGetName(char* name, int bytes, int device) {
    ENTER(INIT)
    snprintf(name, static_cast<size_t>(bytes), "CUDA on the processor");
    return is_device(device) ? cuda::SUCCESS : cuda::INVALID_DEVICE;
}

Result cuDeviceTotalMem_v2(size_t* bytes, int device) {
    ENTER(INIT)
    *bytes = settings().memory;
    return is_device(device) ? cuda::SUCCESS : cuda::INVALID_DEVICE;
}

Result cuDeviceGetAttribute(int* value, cuda::Attribute attribute, int device) {
    ENTER(INIT)
    const struct {
        cuda::Attribute attribute;
        int value;
    } known[] = {
        {cuda::MAX_THREADS_PER_BLOCK, 1024},
        {cuda::MAX_SHARED_MEMORY_PER_BLOCK, SHARED_BYTES},
        {cuda::WARP_SIZE, 32},
        {cuda::CLOCK_RATE, 1000000},
        {cuda::MULTIPROCESSOR_COUNT, PROCESSORS},
        {cuda::KERNEL_EXEC_TIMEOUT, 0},
        {cuda::INTEGRATED, 0},
        {cuda::PCI_BUS_ID, 0x65 + device},
        {cuda::PCI_DEVICE_ID, 0},
        {cuda::MEMORY_CLOCK_RATE, 1000000},
        {cuda::MEMORY_BUS_WIDTH, 64},
        {cuda::L2_CACHE_SIZE, 1 << 20},
        {cuda::MAX_THREADS_PER_MULTIPROCESSOR, 2048},
        {cuda::PCI_DOMAIN_ID, 0},
        {cuda::CAPABILITY_MAJOR, settings().capability / 10},
        {cuda::CAPABILITY_MINOR, settings().capability % 10},
        {cuda::MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, processor_shared_bytes()},
        {cuda::COOPERATIVE_LAUNCH, 1},
        {cuda::MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, most_shared_bytes()},
        {cuda::RESERVED_SHARED_MEMORY_PER_BLOCK, 1024},
        {cuda::MEMORY_POOLS_SUPPORTED, 0},
    };
    if (!is_device(device)) {
        return cuda::INVALID_DEVICE;
    }
    for (const auto& one : known) {
        if (one.attribute == attribute) {
            *value = one.value;
            return cuda::SUCCESS;
        }
    }
    return cuda::INVALID_VALUE;
}

Result cuDevicePrimaryCtxRetain(Context** context, int device) {
    ENTER(INIT)
    const std::lock_guard lock(primary.mutex);
    if (!is_device(device)) {
        return cuda::INVALID_DEVICE;
    }
    if (primary.users > 0 && primary.device != device) {
        return cuda::NOT_SUPPORTED;
    }
    primary.device = device;
    primary.users += 1;
    *context = &primary;
    return cuda::SUCCESS;
}

Result cuDevicePrimaryCtxRelease_v2(int device) {
    ENTER(INIT)
    const std::lock_guard lock(primary.mutex);
    if (primary.users == 0 || primary.device != device) {
        return cuda::INVALID_CONTEXT;
    }
    primary.users -= 1;
    if (primary.users == 0) {
        report_left();
    }
    return cuda::SUCCESS;
}

Result cuCtxGetCurrent(Context** context) {
    ENTER(INIT)
    *context = current;
    return cuda::SUCCESS;
}

Result cuCtxSetCurrent(Context* context) {
    ENTER(INIT)
    if (context != nullptr && context != &primary) {
        return cuda::INVALID_CONTEXT;
    }
    current = context;
    return cuda::SUCCESS;
}

Result cuCtxSynchronize() {
    ENTER(NO_CAPTURE)
    return wait_for_context();
}

Result cuMemGetInfo_v2(size_t* free, size_t* total) {
    ENTER(CONTEXT)
    *free = free_bytes();
    *total = settings().memory;
    return cuda::SUCCESS;
}

Result cuMemAlloc_v2(uint64_t* at, size_t bytes) {
    ENTER(NO_CAPTURE)
    void* allocated = nullptr;
    const Result result = allocate(bytes, false, &allocated);
    *at = reinterpret_cast<uint64_t>(allocated);
    return result;
}

// As a driver does, it waits for whatever may still use the memory.
Result cuMemFree_v2(uint64_t at) {
    ENTER(NO_CAPTURE)
    const Result done = wait_for_context();
    return done != cuda::SUCCESS ? done : release(reinterpret_cast<void*>(at), false);
}

Result cuMemHostAlloc(void** at, size_t bytes, unsigned flags) {
    ENTER(NO_CAPTURE)
    return flags == 0 ? allocate(bytes, true, at) : cuda::NOT_SUPPORTED;
}

Result cuMemFreeHost(void* at) {
    ENTER(NO_CAPTURE)
    const Result done = wait_for_context();
    return done != cuda::SUCCESS ? done : release(at, true);
}

Result cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
    ENTER(NO_CAPTURE)
    if (!is_device_memory(to, bytes)) {
        return cuda::INVALID_VALUE;
    }
    const auto* begin = static_cast<const unsigned char*>(from);
    null_stream().add([to, staged = std::vector<unsigned char>(begin, begin + bytes)] {
        memcpy(reinterpret_cast<void*>(to), staged.data(), staged.size());
    });
    return cuda::SUCCESS;
}

Result cuMemsetD8_v2(uint64_t at, unsigned char value, size_t bytes) {
    ENTER(NO_CAPTURE)
    if (!is_device_memory(at, bytes)) {
        return cuda::INVALID_VALUE;
    }
    null_stream().add([=] { memset(reinterpret_cast<void*>(at), value, bytes); });
    return cuda::SUCCESS;
}

// This one is over when it returns; work on other streams it does not wait for.
Result cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
    ENTER(NO_CAPTURE)
    if (!is_device_memory(from, bytes)) {
        return cuda::INVALID_VALUE;
    }
    null_stream().finish();
    memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return cuda::SUCCESS;
}

// Copies on a stream. A real driver takes pageable memory too, and then waits for it without saying
// so: here that is an error.
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, Stream* stream) {
    ENTER(CONTEXT)
    if (!is_device_memory(to, bytes) || !is_pinned_memory(from, bytes)) {
        return cuda::INVALID_VALUE;
    }
    return submit(stream, [=] {
        memcpy(reinterpret_cast<void*>(to), from, bytes);
        return cuda::SUCCESS;
    });
}

Result cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, Stream* stream) {
    ENTER(CONTEXT)
    if (!is_device_memory(from, bytes) || !is_pinned_memory(to, bytes)) {
        return cuda::INVALID_VALUE;
    }
    return submit(stream, [=] {
        memcpy(to, reinterpret_cast<const void*>(from), bytes);
        return cuda::SUCCESS;
    });
}

Result cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, Stream* stream) {
    ENTER(CONTEXT)
    if (!is_device_memory(at, bytes)) {
        return cuda::INVALID_VALUE;
    }
    return submit(stream, [=] {
        memset(reinterpret_cast<void*>(at), value, bytes);
        return cuda::SUCCESS;
    });
}

Result cuGetErrorString(Result error, const char** text) {
    const struct {
        Result error;
        const char* text;
    } known[] = {
        {cuda::SUCCESS, "no error"},
        {cuda::INVALID_VALUE, "invalid argument"},
        {cuda::OUT_OF_MEMORY, "out of memory"},
        {cuda::NOT_INITIALIZED, "initialization error"},
        {cuda::NO_DEVICE, "no CUDA-capable device is detected"},
        {cuda::INVALID_DEVICE, "invalid device ordinal"},
        {cuda::INVALID_IMAGE, "device kernel image is invalid"},
        {cuda::INVALID_CONTEXT, "invalid device context"},
        {cuda::NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"},
        {cuda::INVALID_HANDLE, "invalid resource handle"},
        {cuda::ILLEGAL_STATE, "the operation cannot be performed in the present state"},
        {cuda::NOT_FOUND, "named symbol not found"},
        {cuda::NOT_READY, "device not ready"},
        {cuda::ILLEGAL_ADDRESS, "an illegal memory access was encountered"},
        {cuda::LAUNCH_FAILED, "unspecified launch failure"},
        {cuda::COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch"},
        {cuda::NOT_SUPPORTED, "operation not supported"},
        {cuda::STREAM_CAPTURE_UNSUPPORTED,
            "operation not permitted when stream is capturing"},
        {cuda::STREAM_CAPTURE_INVALIDATED,
            "operation failed due to a previous error during capture"},
        {cuda::STREAM_CAPTURE_WRONG_THREAD,
            "attempt to terminate a thread-local capture sequence from another thread"},
    };
    for (const auto& one : known) {
        if (one.error == error) {
            *text = one.text;
            return cuda::SUCCESS;
        }
    }
    *text = nullptr;
    return cuda::INVALID_VALUE;
}

}
