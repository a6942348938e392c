// The functions of kernels/common/ptx.cuh, in C++: what is written here is what we take the
// instructions to do.
namespace ptx {

inline unsigned char* shared_memory() {
    return emulator::shared_memory();
}

inline float widen_f16(unsigned short bits) {
    return emulator::widen_f16(bits);
}
inline float widen_bf16(unsigned short bits) {
    return emulator::widen_bf16(bits);
}

inline unsigned pack_f16(float low, float high) {
    return emulator::round_f16(low) | emulator::round_f16(high) << 16;
}
inline unsigned round_bf16(float v) {
    return emulator::round_bf16(v);
}
inline unsigned pack_bf16(float low, float high) {
    return emulator::round_bf16(low) | emulator::round_bf16(high) << 16;
}

// In f32, where the product of two halves is exact.
inline unsigned multiply_add_f16(unsigned a, unsigned x, unsigned b) {
    const float low = widen_f16(a) * widen_f16(x) + widen_f16(b);
    const float high = widen_f16(a >> 16) * widen_f16(x >> 16) + widen_f16(b >> 16);
    return pack_f16(low, high);
}
inline unsigned multiply_add_bf16(unsigned a, unsigned x, unsigned b) {
    const float low = widen_bf16(a) * widen_bf16(x) + widen_bf16(b);
    const float high = widen_bf16(a >> 16) * widen_bf16(x >> 16) + widen_bf16(b >> 16);
    return pack_bf16(low, high);
}

// The source may be read and the destination written at any time from here to the wait, so the
// destination is NaN until then. The source is read here too: a sanitizer then names this place.
template <unsigned WORDS>
inline void copy(emulator::Site site, void* to, const void* from, bool inside) {
    unsigned* words = static_cast<unsigned*>(to);
    const unsigned* source = inside ? static_cast<const unsigned*>(from) : nullptr;
    emulator::check_shared(site, "the destination of a copy", to, 4u * WORDS);
    if (inside) {
        emulator::check_aligned(site, "the source of a copy", from, 4u * WORDS);
    }
    for (unsigned i = 0u; i < WORDS; i++) {
        if (inside) {
            (void)*static_cast<const volatile unsigned*>(source + i);
        }
        words[i] = 0xffffffffu;
    }
    emulator::queue_copy(site, {words, source, WORDS});
}
inline void copy16(void* to, const void* from, bool inside, EMULATED_SITE) {
    copy<4u>(EMULATED_HERE, to, from, inside);
}
inline void copy8(void* to, const void* from, bool inside, EMULATED_SITE) {
    copy<2u>(EMULATED_HERE, to, from, inside);
}
inline void commit() {
    emulator::end_group();
}
template <int N>
inline void wait() {
    emulator::Copy copy;
    while (emulator::take_copy(N, copy)) {
        for (unsigned i = 0u; i < copy.words; i++) {
            copy.to[i] = copy.from == nullptr ? 0u : copy.from[i];
        }
    }
}

// Each lane reads its own row, so that a race is between those who take part in it.
inline void load_matrices(emulator::Site site, unsigned (&r)[4], const void* row, bool transposed) {
    emulator::check_shared(site, "a row of a matrix", row, 16u);
    const unsigned* words = static_cast<const unsigned*>(row);
    const unsigned own[4] = {words[0], words[1], words[2], words[3]};
    emulator::exchange_matrices(site, r, own, transposed);
}
inline void load_matrices(unsigned (&r)[4], const void* row, EMULATED_SITE) {
    load_matrices(EMULATED_HERE, r, row, false);
}
inline void load_matrices_transposed(unsigned (&r)[4], const void* row, EMULATED_SITE) {
    load_matrices(EMULATED_HERE, r, row, true);
}

inline void multiply_f16(
    float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, EMULATED_SITE) {
    emulator::multiply(EMULATED_HERE, emulator::Half::F16, c, a, b0, b1);
}
inline void multiply_bf16(
    float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, EMULATED_SITE) {
    emulator::multiply(EMULATED_HERE, emulator::Half::Bf16, c, a, b0, b1);
}

inline void in_global(const void*) {}

inline unsigned arrive(unsigned* counter) {
    return __atomic_fetch_add(counter, 1u, __ATOMIC_ACQ_REL);
}

inline unsigned peek(const unsigned* at) {
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}
inline void post(unsigned* at, unsigned v) {
    __atomic_store_n(at, v, __ATOMIC_RELAXED);
}
inline unsigned acquire(const unsigned* at) {
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
inline void pause(EMULATED_SITE) {
    emulator::pause(EMULATED_HERE);
}
inline unsigned peek_host(const unsigned* at) {
    return peek(at);
}

// Launches never overlap here.
inline void wait_for_previous() {}
inline void launch_next() {}

}
