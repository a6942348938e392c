// Blocks whose ends are watched.

#include "fibers_run.hpp"
#include "sanitizer.hpp"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

namespace emulator {

Block::Block(size_t size) : bytes(size) {
    if (sanitizer::addresses() || sanitizer::threads()) {
        void* memory = nullptr;
        if (posix_memalign(&memory, ALIGNED, bytes) != 0) {
            perror("emulator: memory");
            _exit(BAD_JOB);
        }
        at = static_cast<unsigned char*>(memory);
        return;
    }
    // Up to a page that nobody may touch.
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t used = (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    mapped_bytes = (used + page - 1) / page * page + page;
    mapped = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
        perror("emulator: memory");
        _exit(BAD_JOB);
    }
    auto* end = static_cast<unsigned char*>(mapped) + mapped_bytes - page;
    mprotect(end, page, PROT_NONE);
    at = end - used;
}

Block::Block(Block&& other) noexcept
    : at(other.at), bytes(other.bytes), mapped(other.mapped), mapped_bytes(other.mapped_bytes) {
    other.at = nullptr;
    other.mapped = nullptr;
}

Block::~Block() {
    if (mapped != nullptr) {
        munmap(mapped, mapped_bytes);
    } else {
        free(at);
    }
}

}
