// What the stand-in for NVRTC gives the stand-in for the driver: a shared object with a table of
// its kernels, `emulated` and `emulated_count`, and behind its last byte for what it was compiled.
#pragma once

#include <cstring>
#include <elf.h>

struct ImageEnd {
    char mark[4];
    int capability, is_virtual;
};
constexpr char IMAGE_MARK[] = {'e', 'm', 'u', '1'};

// The bytes of the object: its last part is the table of its sections. 0 if it is none.
inline std::size_t object_bytes(const void* image) {
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        return 0;
    }
    return header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize;
}

// What stands behind the object; whether it does.
inline bool image_end(const void* image, ImageEnd& end) {
    const std::size_t bytes = object_bytes(image);
    if (bytes != 0) {
        memcpy(&end, static_cast<const char*>(image) + bytes, sizeof end);
    }
    return bytes != 0 && memcmp(end.mark, IMAGE_MARK, sizeof end.mark) == 0;
}
