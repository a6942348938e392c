// A stand-in for NVRTC, the compiler: it makes a shared object of the text of kernels by g++, with
// the functions of ptx.hpp in place of those of kernels/common/ptx.cuh. The stand-in for the driver
// loads that as machine code or PTX.
//
// Whoever builds it says where things are: SOURCES is this folder, PTX_FILE the file that is
// replaced, OBJECTS the folder where objects are kept, FLAGS those of g++, and DIGEST changes with
// the emulator.

#include "image.hpp"
#include "plans.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

enum Result : int {
    SUCCESS = 0,
    INVALID_INPUT = 3,
    INVALID_PROGRAM = 4,
    INVALID_OPTION = 5,
    COMPILATION = 6,
};

struct Program {
    std::string text, name, log, image;
    bool is_virtual = false;
};

std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// What --gpu-architecture names: sm_86 is machine code, compute_86 is PTX.
struct Target {
    int capability = 0;
    bool is_virtual = false;
};

bool known_option(const std::string& option, Target& target) {
    const auto begins = [&](const char* with) { return option.rfind(with, 0) == 0; };
    const std::string machine = "--gpu-architecture=sm_", ptx = "--gpu-architecture=compute_";
    if (begins(machine.c_str()) || begins(ptx.c_str())) {
        target.is_virtual = begins(ptx.c_str());
        const size_t number = (target.is_virtual ? ptx : machine).size();
        target.capability = atoi(option.c_str() + number);
        const int architectures[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
        return std::count(std::begin(architectures), std::end(architectures), target.capability);
    }
    return option == "--std=c++17" || begins("--ptxas-options=") || begins("--diag-suppress=");
}

// A row of the unit's table for each entry point: its name and the first of its launch bounds.
// They look like `__global__ void __launch_bounds__(THREADS, RESIDENT)` and, after spaces or a new
// line, `name(`.
std::string rows(const std::string& text, unsigned& count) {
    const std::string mark = "__global__ void __launch_bounds__(";
    std::string all;
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
        at += mark.size();
        const size_t comma = text.find_first_of(",)", at), end = text.find(')', at);
        const size_t name = text.find_first_not_of(" \n", end + 1), open = text.find('(', name);
        if (open == std::string::npos) {
            break;
        }
        const std::string bound = text.substr(at, comma - at), is = text.substr(name, open - name);
        all += "    emulator::Entry<" + is + ">::kernel(\"" + is + "\", nullptr, " + bound + "),\n";
        count += 1;
    }
    return all;
}

// The text as C++; empty if it lacks what is to be replaced.
std::string translated(std::string text) {
    const std::string instructions = content(PTX_FILE);
    const size_t at = text.find(instructions);
    if (instructions.empty() || at == std::string::npos) {
        return "";
    }
    text.replace(at, instructions.size(), content(SOURCES "/ptx.hpp"));
    unsigned count = 0;
    const std::string table = rows(text, count);
    return text + "extern \"C\" const unsigned emulated_count = " + std::to_string(count)
        + ";\nextern \"C\" const emulator::Kernel emulated[] = {\n" + table + "};\n";
}

// FNV-1a.
uint64_t digest(const std::string& text) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (unsigned char byte : text) {
        hash = (hash ^ byte) * 0x100000001b3u;
    }
    return hash;
}

// The object of a text, kept from before or compiled; empty if it does not compile. Files appear at
// once and whole: another process may look for them.
std::string object_of(const std::string& text, std::string& log) {
    static std::atomic<unsigned> parts;
    char name[32];
    snprintf(name, sizeof name, "/n%016llx",
        static_cast<unsigned long long>(digest(DIGEST FLAGS + text)));
    const std::string code = std::string(OBJECTS) + name + ".cpp";
    const std::string object = std::string(OBJECTS) + name + ".so";
    if (access(object.c_str(), R_OK) == 0) {
        return content(object);
    }
    const std::string own = std::to_string(getpid()) + "." + std::to_string(parts++);
    const std::string part = object + "." + own;
    std::ofstream(part) << text;
    rename(part.c_str(), code.c_str());
    const std::string command = "g++ " FLAGS " -include '" SOURCES "/device.hpp' '" + code
        + "' -o '" + part + "' 2>&1";
    FILE* output = popen(command.c_str(), "r");
    char said[4096];
    for (size_t bytes; output != nullptr && (bytes = fread(said, 1, sizeof said, output)) > 0;) {
        log.append(said, bytes);
    }
    if (output == nullptr || pclose(output) != 0) {
        return "";
    }
    rename(part.c_str(), object.c_str());
    return content(object);
}

}

extern "C" {

int nvrtcVersion(int* major, int* minor) {
    if (const int planned = plans::failure(__func__)) {
        return planned;
    }
    *major = 13;
    *minor = 0;
    return SUCCESS;
}

int nvrtcCreateProgram(Program** program, const char* text, const char* name, int headers,
    const char* const*, const char* const*) {
    if (text == nullptr || headers != 0) {
        return INVALID_INPUT;
    }
    *program = new Program{text, name == nullptr ? "default_program" : name, "", ""};
    return SUCCESS;
}

int nvrtcDestroyProgram(Program** program) {
    if (program == nullptr || *program == nullptr) {
        return INVALID_PROGRAM;
    }
    delete *program;
    *program = nullptr;
    return SUCCESS;
}

int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
    if (const int planned = plans::failure(__func__)) {
        program->log = "asked to fail";
        return planned;
    }
    Target target;
    for (int i = 0; i < count; i++) {
        if (!known_option(options[i], target)) {
            program->log = std::string("unknown option ") + options[i];
            return INVALID_OPTION;
        }
    }
    const std::string text = translated(program->text);
    if (target.capability == 0 || text.empty()) {
        program->log = text.empty() ? "no " PTX_FILE " in " + program->name : "no architecture";
        return COMPILATION;
    }
    program->image = object_of(text, program->log);
    if (program->image.empty()) {
        return COMPILATION;
    }
    ImageEnd end = {{}, target.capability, target.is_virtual};
    memcpy(end.mark, IMAGE_MARK, sizeof end.mark);
    program->image.append(reinterpret_cast<const char*>(&end), sizeof end);
    program->is_virtual = target.is_virtual;
    return SUCCESS;
}

int nvrtcGetProgramLogSize(Program* program, size_t* bytes) {
    *bytes = program->log.size() + 1;
    return SUCCESS;
}

int nvrtcGetProgramLog(Program* program, char* log) {
    memcpy(log, program->log.c_str(), program->log.size() + 1);
    return SUCCESS;
}

// There is machine code of a real architecture only.
int nvrtcGetCUBINSize(Program* program, size_t* bytes) {
    *bytes = program->is_virtual ? 0 : program->image.size();
    return program->image.empty() ? INVALID_PROGRAM : SUCCESS;
}

int nvrtcGetCUBIN(Program* program, char* image) {
    if (program->is_virtual || program->image.empty()) {
        return INVALID_PROGRAM;
    }
    memcpy(image, program->image.data(), program->image.size());
    return SUCCESS;
}

// With its final zero.
int nvrtcGetPTXSize(Program* program, size_t* bytes) {
    *bytes = program->image.size() + 1;
    return program->image.empty() ? INVALID_PROGRAM : SUCCESS;
}

int nvrtcGetPTX(Program* program, char* image) {
    if (program->image.empty()) {
        return INVALID_PROGRAM;
    }
    memcpy(image, program->image.c_str(), program->image.size() + 1);
    return SUCCESS;
}

}
