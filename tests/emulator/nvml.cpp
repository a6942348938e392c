// Stands in for NVML: two GPUs, in another order than that of the driver's stand-in (driver.cpp).
// Each draws a power of its own, and its clocks are those of one that works or of one that idles.
// EMULATED_ENERGY=0 takes their counters away.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

enum Return { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3 };
enum ClockType { GRAPHICS = 0, MEMORY = 2 };

struct PciInfo {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char text[32];
};

struct Gpu {
    unsigned bus, watts, graphics_mhz, memory_mhz;
};

const Gpu GPUS[] = {{0x66, 20, 210, 405}, {0x65, 250, 1410, 1593}};
constexpr unsigned COUNT = sizeof GPUS / sizeof *GPUS;

Return copy(char* to, unsigned bytes, const char* text) {
    snprintf(to, bytes, "%s", text);
    return SUCCESS;
}

}  // namespace

extern "C" {

Return nvmlInit_v2() { return SUCCESS; }

Return nvmlShutdown() { return SUCCESS; }

Return nvmlSystemGetDriverVersion(char* version, unsigned bytes) {
    return copy(version, bytes, "580.00.01");
}

Return nvmlDeviceGetCount_v2(unsigned* count) {
    *count = COUNT;
    return SUCCESS;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, const Gpu** gpu) {
    if (index >= COUNT) {
        return INVALID_ARGUMENT;
    }
    *gpu = &GPUS[index];
    return SUCCESS;
}

Return nvmlDeviceGetName(const Gpu*, char* name, unsigned bytes) {
    return copy(name, bytes, "CUDA on the processor");
}

Return nvmlDeviceGetPciInfo_v3(const Gpu* gpu, PciInfo* info) {
    *info = {};
    info->bus = gpu->bus;
    snprintf(info->text, sizeof info->text, "00000000:%02X:00.0", gpu->bus);
    return SUCCESS;
}

Return nvmlDeviceGetClockInfo(const Gpu* gpu, ClockType type, unsigned* mhz) {
    *mhz = type == GRAPHICS ? gpu->graphics_mhz : gpu->memory_mhz;
    return type == GRAPHICS || type == MEMORY ? SUCCESS : NOT_SUPPORTED;
}

// Millijoules since the driver was loaded.
Return nvmlDeviceGetTotalEnergyConsumption(const Gpu* gpu, unsigned long long* energy) {
    const char* counts = getenv("EMULATED_ENERGY");
    if (counts && !strcmp(counts, "0")) {
        return NOT_SUPPORTED;
    }
    using Milliseconds = std::chrono::duration<double, std::milli>;
    const Milliseconds now = std::chrono::steady_clock::now().time_since_epoch();
    *energy = static_cast<unsigned long long>(now.count() * gpu->watts);
    return SUCCESS;
}

}  // extern "C"
