// Runs the launches of a job on the emulator:
//     emulator facts UNIT      what the kernels of a unit say of themselves, a line each
//     emulator run JOB         runs the job, once a schedule; writes what it asks for
//
// A unit is a shared object with `emulated` and `emulated_count`, a table of emulator::Kernel. A
// job is a file of little-endian words of 32 bits; `str` is a length in bytes and the bytes, `long`
// a word of 64 bits, `list` a count and its elements. In order:
//     word        MAGIC
//     word        seconds after which the job is given up
//     list        schedules: word kind (0 forward, 1 reverse, 2 random), word seed
//     list        units: str path
//     list        buffers: word kind, long bytes, and if the kind is GIVEN the bytes
//     list        addresses in buffers: word buffer, long offset of an address
//     list        launches: str name, word unit, word kernel, word blocks, word shared bytes,
//                 word whether all workgroups are there at once, str params, list of addresses
//                 (the args), address x 4 (the control)
//     list        word: the launches in the order in which they are run
//     list        word: the buffers that are written to the output
//     str         the output: the buffers' bytes, one after another
// An address is a long: 0 is null, else (buffer + 1) << 40 | offset.
//
// It exits with 0 if all went well. Else the first line on stderr says what did not: 2 the job is
// no good; 3 a kernel broke a rule (divergent barrier, deadlock, copy to the wrong place, counters
// left behind); 4 it crashed or took too long; 5 two schedules gave different results. A sanitizer
// ends it with what its options say.

#include "fibers_run.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

using emulator::Kernel;

constexpr uint32_t MAGIC = 0x31554d45;

[[noreturn]] void end(emulator::Exit code, const std::string& what) {
    fprintf(stderr, "emulator: %s\n", what.c_str());
    fflush(stderr);
    _exit(code);
}

enum Kind : uint32_t {
    // As the job says.
    GIVEN,
    // NaN at the start.
    UNSET,
    // NaN before every launch: what one launch leaves there is nothing to another.
    SCRATCH,
    // Zeros, which every launch leaves as zeros.
    COUNTERS,
};

struct Buffer {
    uint32_t kind;
    std::string given;
    emulator::Block block;
};

struct Planned {
    std::string name, params;
    uint32_t unit, kernel, blocks, shared, together;
    std::vector<uint64_t> args, control;
};

class Reader {
public:
    explicit Reader(const char* path) {
        std::ifstream file(path, std::ios::binary);
        text.assign(std::istreambuf_iterator<char>(file), {});
    }
    const char* take(uint64_t bytes) {
        if (bytes > text.size() - at) {
            end(emulator::BAD_JOB, "the job ends early");
        }
        at += bytes;
        return text.data() + at - bytes;
    }
    template <class T>
    T number() {
        T value;
        memcpy(&value, take(sizeof value), sizeof value);
        return value;
    }
    uint32_t word() {
        return number<uint32_t>();
    }
    uint64_t address() {
        return number<uint64_t>();
    }
    std::string str() {
        const uint32_t bytes = word();
        return {take(bytes), bytes};
    }
    template <class F>
    auto list(F element) {
        std::vector<decltype(element())> all;
        for (uint32_t count = word(); count > 0; count--) {
            all.push_back(element());
        }
        return all;
    }

private:
    std::string text;
    size_t at = 0;
};

struct Unit {
    const Kernel* kernels;
    unsigned count;
};

Unit load(const std::string& path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        end(emulator::BAD_JOB, dlerror());
    }
    const auto* kernels = static_cast<const Kernel*>(dlsym(library, "emulated"));
    const auto* count = static_cast<const unsigned*>(dlsym(library, "emulated_count"));
    if (kernels == nullptr || count == nullptr) {
        end(emulator::BAD_JOB, path + " has no table of kernels");
    }
    return {kernels, *count};
}

struct Job {
    std::vector<emulator::Schedule> schedules;
    std::vector<Unit> units;
    std::vector<Buffer> buffers;
    std::vector<std::pair<uint32_t, uint64_t>> addresses;
    std::vector<Planned> launches;
    std::vector<uint32_t> order, wanted;
    std::string output;

    explicit Job(Reader& read) {
        const auto word = [&] { return read.word(); };
        const auto address = [&] { return read.address(); };
        if (read.word() != MAGIC) {
            end(emulator::BAD_JOB, "not a job");
        }
        alarm(read.word());
        schedules = read.list([&] {
            const auto kind = static_cast<emulator::Schedule::Kind>(read.word());
            return emulator::Schedule{kind, read.word()};
        });
        units = read.list([&] { return load(read.str()); });
        buffers = read.list([&] { return buffer(read); });
        addresses = read.list([&] {
            const uint32_t buffer = read.word();
            return std::pair(buffer, read.address());
        });
        launches = read.list([&] {
            Planned launch;
            launch.name = read.str();
            launch.unit = read.word();
            launch.kernel = read.word();
            launch.blocks = read.word();
            launch.shared = read.word();
            launch.together = read.word();
            launch.params = read.str();
            launch.args = read.list(address);
            launch.control = {address(), address(), address(), address()};
            return launch;
        });
        order = read.list(word);
        wanted = read.list(word);
        output = read.str();
    }

    static Buffer buffer(Reader& read) {
        const uint32_t kind = read.word();
        const uint64_t bytes = read.address();
        std::string given = kind == GIVEN ? std::string(read.take(bytes), bytes) : std::string();
        return {kind, std::move(given), emulator::Block(bytes)};
    }

    void* pointer(uint64_t address) const {
        const uint64_t buffer = address >> 40, offset = address & ((uint64_t{1} << 40) - 1);
        if (address == 0) {
            return nullptr;
        }
        if (buffer > buffers.size() || offset > buffers[buffer - 1].block.bytes) {
            end(emulator::BAD_JOB, "an address is in no buffer");
        }
        return buffers[buffer - 1].block.at + offset;
    }

    // Buffers as they are before the first launch.
    void fill() const {
        for (const Buffer& buffer : buffers) {
            memset(buffer.block.at, buffer.kind == COUNTERS ? 0 : 0xff, buffer.block.bytes);
            memcpy(buffer.block.at, buffer.given.data(), buffer.given.size());
        }
        for (auto [buffer, offset] : addresses) {
            uint64_t address;
            memcpy(&address, buffers[buffer].block.at + offset, sizeof address);
            void* to = pointer(address);
            memcpy(buffers[buffer].block.at + offset, &to, sizeof to);
        }
    }

    void launch(const Planned& planned, const emulator::Schedule& schedule) const {
        const Unit& unit = units.at(planned.unit);
        const Kernel& kernel = unit.kernels[planned.kernel];
        std::vector<void*> args, control;
        for (uint64_t address : planned.args) {
            args.push_back(pointer(address));
        }
        for (uint64_t address : planned.control) {
            control.push_back(pointer(address));
        }
        if (planned.kernel >= unit.count || kernel.count != 3
            || kernel.sizes[0] != planned.params.size()
            || kernel.sizes[1] != std::max<size_t>(1, args.size() * sizeof(void*))
            || kernel.sizes[2] != control.size() * sizeof(void*)) {
            end(emulator::BAD_JOB, planned.name + ": not what its kernel takes");
        }
        if (planned.shared < kernel.facts[1]) {
            end(emulator::BAD_JOB, planned.name + ": too little shared memory");
        }
        for (const Buffer& buffer : buffers) {
            if (buffer.kind == SCRATCH) {
                memset(buffer.block.at, 0xff, buffer.block.bytes);
            }
        }
        const emulator::Block params(planned.params.size());
        memcpy(params.at, planned.params.data(), planned.params.size());
        const std::string name = planned.name + " (" + kernel.name + ")";
        void* const pointers[] = {params.at, args.data(), control.data()};
        emulator::run(
            {name, &kernel, pointers, planned.blocks, kernel.facts[0], planned.shared,
                planned.together != 0},
            schedule);
        for (const Buffer& buffer : buffers) {
            const auto used = [](unsigned char byte) { return byte != 0; };
            const auto* last = buffer.block.at + buffer.block.bytes;
            if (buffer.kind == COUNTERS
                && std::any_of<const unsigned char*>(buffer.block.at, last, used)) {
                end(emulator::RULE_BROKEN, "counters are not zero after " + name);
            }
        }
    }

    // Every buffer after the last launch.
    std::vector<std::string> run(const emulator::Schedule& schedule) const {
        fill();
        for (uint32_t i : order) {
            launch(launches.at(i), schedule);
        }
        std::vector<std::string> results;
        for (const Buffer& buffer : buffers) {
            results.emplace_back(reinterpret_cast<char*>(buffer.block.at), buffer.block.bytes);
        }
        return results;
    }
};

void facts(const char* path) {
    const Unit unit = load(path);
    for (unsigned i = 0; i < unit.count; i++) {
        printf("%s", unit.kernels[i].name);
        for (unsigned fact = 0; fact < 8; fact++) {
            printf(" %u", unit.kernels[i].facts[fact]);
        }
        printf("\n");
    }
}

void run(const char* path) {
    Reader read(path);
    const Job job(read);
    emulator::start();
    std::vector<std::string> first;
    for (const emulator::Schedule& schedule : job.schedules) {
        const std::vector<std::string> results = job.run(schedule);
        if (first.empty()) {
            first = results;
        }
        for (size_t i = 0; i < results.size(); i++) {
            const auto differs =
                std::mismatch(results[i].begin(), results[i].end(), first[i].begin());
            if (differs.first != results[i].end() && job.buffers[i].kind != SCRATCH) {
                end(emulator::SCHEDULES_DIFFER,
                    "schedule " + schedule.words() + " gives another result than "
                        + job.schedules[0].words() + ": buffer " + std::to_string(i) + ", byte "
                        + std::to_string(differs.first - results[i].begin()));
            }
        }
    }
    std::ofstream output(job.output, std::ios::binary);
    for (uint32_t i : job.wanted) {
        output.write(first.at(i).data(), static_cast<std::streamsize>(first[i].size()));
    }
    if (!output.flush()) {
        end(emulator::BAD_JOB, "cannot write " + job.output);
    }
}

}

void emulator::give_up(Exit code) {
    _exit(code);
}

int main(int count, char** args) {
    if (count == 3 && std::string(args[1]) == "facts") {
        facts(args[2]);
    } else if (count == 3 && std::string(args[1]) == "run") {
        run(args[2]);
    } else {
        end(emulator::BAD_JOB, "expected `facts UNIT` or `run JOB`");
    }
    return emulator::DONE;
}
