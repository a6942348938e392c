// Modules, functions and launches of the stand-in for the driver. A module is a shared object that
// nvrtc.cpp made; its kernels run on the emulator.

#include "driver.hpp"
#include "image.hpp"
#include "plans.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <mutex>
#include <unistd.h>

using namespace driver;

namespace {

struct Function {
    const emulator::Kernel* kernel;
    // Workgroup memory that it may ask for.
    int most_shared;
};

// The object is unloaded when no graph can launch of it any more.
struct Loaded {
    void* library;
    std::atomic<bool> unloaded{false};
    std::vector<Function> functions;

    ~Loaded() {
        dlclose(library);
    }
};

struct Module {
    std::shared_ptr<Loaded> loaded;
    std::vector<uint64_t> variables;
};

// Every function of a module that is there, with its module.
struct Known {
    std::mutex mutex;
    std::vector<std::shared_ptr<Loaded>> all;

    std::shared_ptr<Loaded> of(const Function* function) {
        const std::lock_guard lock(mutex);
        for (const auto& one : all) {
            for (const Function& other : one->functions) {
                if (&other == function) {
                    return one;
                }
            }
        }
        return nullptr;
    }
};
Known& known() {
    static auto* one = new Known;
    return *one;
}

// What units ask of the emulator, they find in this library.
void offer_own_symbols() {
    Dl_info own;
    if (dladdr(reinterpret_cast<void*>(offer_own_symbols), &own) != 0) {
        dlopen(own.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    }
}

void* open_object(const void* image, size_t bytes) {
    const char* folder = getenv("TMPDIR");
    std::string path = std::string(folder == nullptr ? "/tmp" : folder) + "/emulated-XXXXXX";
    const int file = mkstemp(path.data());
    if (file < 0) {
        return nullptr;
    }
    const bool whole = write(file, image, bytes) == static_cast<ssize_t>(bytes);
    close(file);
    offer_own_symbols();
    void* library = whole ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (library == nullptr) {
        fprintf(stderr, "emulator: %s\n", whole ? dlerror() : "a module cannot be written");
    }
    unlink(path.c_str());
    return library;
}

// Machine code runs on its own generation, from its own version on; PTX on every later one.
bool runs_here(int target, bool is_virtual) {
    const int here = settings().capability;
    return target <= here && (is_virtual || target / 10 == here / 10);
}

template <class T>
const T* symbol(void* library, const char* name) {
    return static_cast<const T*>(dlsym(library, name));
}

}

extern "C" {

Result cuModuleLoadData(Module** module, const void* image) {
    ENTER(NO_CAPTURE)
    ImageEnd end;
    if (!image_end(image, end)) {
        return cuda::INVALID_IMAGE;
    }
    if (!runs_here(end.capability, end.is_virtual != 0)) {
        return cuda::NO_BINARY_FOR_GPU;
    }
    void* library = open_object(image, object_bytes(image));
    if (library == nullptr) {
        return cuda::INVALID_IMAGE;
    }
    auto loaded = std::make_shared<Loaded>();
    loaded->library = library;
    const auto* kernels = symbol<emulator::Kernel>(library, "emulated");
    const auto* count = symbol<unsigned>(library, "emulated_count");
    if (kernels == nullptr || count == nullptr) {
        return cuda::INVALID_IMAGE;
    }
    for (unsigned i = 0; i < *count; i++) {
        loaded->functions.push_back({&kernels[i], SHARED_BYTES});
    }
    const std::lock_guard lock(known().mutex);
    known().all.push_back(loaded);
    *module = new Module{loaded, {}};
    made(MODULE, *module);
    return cuda::SUCCESS;
}

Result cuModuleUnload(Module* module) {
    ENTER(NO_CAPTURE)
    if (!gone(MODULE, module)) {
        return cuda::INVALID_HANDLE;
    }
    for (uint64_t variable : module->variables) {
        remove_variable(variable);
    }
    module->loaded->unloaded = true;
    const std::lock_guard lock(known().mutex);
    auto& all = known().all;
    all.erase(std::find(all.begin(), all.end(), module->loaded));
    delete module;
    return cuda::SUCCESS;
}

Result cuModuleGetFunction(Function** function, Module* module, const char* name) {
    ENTER(CONTEXT)
    if (!is_there(MODULE, module)) {
        return cuda::INVALID_HANDLE;
    }
    for (Function& one : module->loaded->functions) {
        if (strcmp(one.kernel->name, name) == 0) {
            *function = &one;
            return cuda::SUCCESS;
        }
    }
    return cuda::NOT_FOUND;
}

Result cuModuleGetGlobal_v2(uint64_t* at, size_t* bytes, Module* module, const char* name) {
    ENTER(CONTEXT)
    if (!is_there(MODULE, module)) {
        return cuda::INVALID_HANDLE;
    }
    void* variable = dlsym(module->loaded->library, name);
    Dl_info info;
    void* entry = nullptr;
    if (variable == nullptr || dladdr1(variable, &info, &entry, RTLD_DL_SYMENT) == 0) {
        return cuda::NOT_FOUND;
    }
    *at = reinterpret_cast<uint64_t>(variable);
    *bytes = static_cast<const ElfW(Sym)*>(entry)->st_size;
    add_variable(*at, *bytes);
    module->variables.push_back(*at);
    return cuda::SUCCESS;
}

Result cuFuncSetAttribute(Function* function, cuda::FunctionAttribute attribute, int value) {
    ENTER(CONTEXT)
    if (known().of(function) == nullptr) {
        return cuda::INVALID_HANDLE;
    }
    if (attribute != cuda::FUNCTION_MAX_DYNAMIC_SHARED_BYTES || value < 0
        || value > most_shared_bytes()) {
        return cuda::INVALID_VALUE;
    }
    function->most_shared = value;
    return cuda::SUCCESS;
}

}

namespace {

// Copies of a launch's parameters, as the kernel takes them.
struct Params {
    std::vector<std::vector<unsigned char>> bytes;

    Params(const emulator::Kernel& kernel, void* const* from) {
        for (unsigned i = 0; i < kernel.count; i++) {
            const auto* at = static_cast<const unsigned char*>(from[i]);
            bytes.emplace_back(at, at + kernel.sizes[i]);
        }
    }
    std::vector<void*> pointers() const {
        std::vector<void*> all;
        for (const auto& one : bytes) {
            all.push_back(const_cast<unsigned char*>(one.data()));
        }
        return all;
    }
};

struct Shape {
    unsigned blocks, threads, shared;
    // Whether all workgroups are there at once.
    bool together;
};

// Workgroups that a processor holds at once, by its memory and its threads.
unsigned held(unsigned threads, size_t shared) {
    // What the system takes of a workgroup's memory.
    constexpr size_t RESERVED = 1024;
    const size_t by_memory = static_cast<size_t>(processor_shared_bytes()) / (shared + RESERVED);
    return static_cast<unsigned>(std::min<size_t>(by_memory, 2048 / threads));
}

Result launch(Function* function, Shape shape, Stream* stream, void* const* params) {
    const std::shared_ptr<Loaded> loaded = known().of(function);
    if (loaded == nullptr) {
        return cuda::INVALID_HANDLE;
    }
    const emulator::Kernel& kernel = *function->kernel;
    if (shape.blocks == 0 || shape.blocks > 0x7fffffffu || shape.threads == 0
        || shape.threads > kernel.most_threads || params == nullptr
        || static_cast<int>(shape.shared) > function->most_shared) {
        return cuda::INVALID_VALUE;
    }
    if (shape.together && shape.blocks > PROCESSORS * held(shape.threads, shape.shared)) {
        return cuda::COOPERATIVE_LAUNCH_TOO_LARGE;
    }
    return submit(stream, [loaded, shape, &kernel, copied = Params(kernel, params)] {
        if (const int planned = plans::failure("kernel")) {
            return static_cast<Result>(planned);
        }
        if (loaded->unloaded) {
            fprintf(stderr, "emulator: a kernel is launched whose module is unloaded\n");
            return cuda::ILLEGAL_ADDRESS;
        }
        const std::vector<void*> pointers = copied.pointers();
        emulator::run({kernel.name, &kernel, pointers.data(), shape.blocks, shape.threads,
                          shape.shared, shape.together},
            settings().schedule);
        return cuda::SUCCESS;
    });
}

}

extern "C" {

// The emulator's grids and workgroups have one dimension.
Result cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
    unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared, Stream* stream,
    void** params, void** extra) {
    ENTER(CONTEXT)
    if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || extra != nullptr) {
        return cuda::NOT_SUPPORTED;
    }
    return launch(function, {grid_x, block_x, shared, false}, stream, params);
}

Result cuLaunchCooperativeKernel(Function* function, unsigned grid_x, unsigned grid_y,
    unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
    Stream* stream, void** params) {
    ENTER(CONTEXT)
    if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1) {
        return cuda::NOT_SUPPORTED;
    }
    return launch(function, {grid_x, block_x, shared, true}, stream, params);
}

// Launches that may overlap run one after another here, as all do.
Result cuLaunchKernelEx(
    const cuda::LaunchConfig* config, Function* function, void** params, void** extra) {
    ENTER(CONTEXT)
    const auto& [grid, block, shared, stream, attributes, count] = *config;
    for (unsigned i = 0; i < count; i++) {
        const bool may = settings().capability >= 90
            && attributes[i].id == cuda::LaunchAttribute::PROGRAMMATIC_STREAM_SERIALIZATION;
        if (!may) {
            return cuda::NOT_SUPPORTED;
        }
    }
    if (grid[1] != 1 || grid[2] != 1 || block[1] != 1 || block[2] != 1 || extra != nullptr) {
        return cuda::NOT_SUPPORTED;
    }
    const Shape shape = {grid[0], block[0], shared, false};
    return launch(function, shape, static_cast<Stream*>(stream), params);
}

Result cuOccupancyMaxActiveBlocksPerMultiprocessor(
    int* blocks, Function* function, int threads, size_t shared) {
    ENTER(CONTEXT)
    if (known().of(function) == nullptr) {
        return cuda::INVALID_HANDLE;
    }
    if (threads <= 0 || static_cast<unsigned>(threads) > function->kernel->most_threads) {
        return cuda::INVALID_VALUE;
    }
    const bool fits = shared <= static_cast<size_t>(function->most_shared);
    *blocks = fits ? static_cast<int>(held(static_cast<unsigned>(threads), shared)) : 0;
    return cuda::SUCCESS;
}

}
