// What the lanes of a warp compute together.

#include "fibers.hpp"
#include "half.hpp"

extern emulator::Index blockDim;

namespace emulator {

namespace {

constexpr unsigned WARP = 32;

struct Shuffle {
    unsigned value, from, result;
    bool inside;
};

struct Matrices {
    const unsigned* row;
    unsigned* r;
    bool transposed;
};

struct Product {
    Half half;
    float* c;
    const unsigned* a;
    unsigned b[2];
};

// Half `i` of words.
unsigned short half_of(const unsigned* words, unsigned i) {
    return static_cast<unsigned short>(words[i / 2] >> 16 * (i % 2));
}

void widen(Half half, unsigned word, float& low, float& high) {
    const auto a = static_cast<unsigned short>(word), b = static_cast<unsigned short>(word >> 16);
    low = half == Half::F16 ? widen_f16(a) : widen_bf16(a);
    high = half == Half::F16 ? widen_f16(b) : widen_bf16(b);
}

void shuffle_all(void* const lanes[32], unsigned mask) {
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (mask >> lane & 1) {
            auto& own = *static_cast<Shuffle*>(lanes[lane]);
            own.inside = own.from < WARP && (mask >> own.from & 1);
            own.result = own.inside ? static_cast<Shuffle*>(lanes[own.from])->value : 0u;
        }
    }
}

void ballot_all(void* const lanes[32], unsigned mask) {
    unsigned votes = 0;
    for (unsigned lane = 0; lane < WARP; lane++) {
        const bool says = mask >> lane & 1 && static_cast<Shuffle*>(lanes[lane])->value != 0;
        votes |= static_cast<unsigned>(says) << lane;
    }
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (mask >> lane & 1) {
            static_cast<Shuffle*>(lanes[lane])->result = votes;
        }
    }
}

// Lane l gets elements 2 (l % 4) and the next of row l / 4, or those of column l / 4.
void exchange_all(void* const lanes[32], unsigned) {
    for (unsigned lane = 0; lane < WARP; lane++) {
        const auto& own = *static_cast<Matrices*>(lanes[lane]);
        const unsigned g = lane / 4, t = lane % 4;
        for (unsigned j = 0; j < 4; j++) {
            const auto element = [&](unsigned row, unsigned column) -> unsigned {
                return half_of(static_cast<Matrices*>(lanes[8 * j + row])->row, column);
            };
            own.r[j] = own.transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                                      : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
        }
    }
}

void multiply_all(void* const lanes[32], unsigned) {
    float a[16][16], b[16][8], c[16][8];
    for (unsigned lane = 0; lane < WARP; lane++) {
        const auto& own = *static_cast<Product*>(lanes[lane]);
        const unsigned g = lane / 4, t = lane % 4;
        for (unsigned i = 0; i < 4; i++) {
            float* at = &a[g + 8 * (i % 2)][2 * t + 8 * (i / 2)];
            widen(own.half, own.a[i], at[0], at[1]);
            c[g + 8 * (i / 2)][2 * t + i % 2] = own.c[i];
        }
        for (unsigned i = 0; i < 2; i++) {
            widen(own.half, own.b[i], b[2 * t + 8 * i][g], b[2 * t + 8 * i + 1][g]);
        }
    }
    for (unsigned row = 0; row < 16; row++) {
        for (unsigned k = 0; k < 16; k++) {
            for (unsigned column = 0; column < 8; column++) {
                c[row][column] += a[row][k] * b[k][column];
            }
        }
    }
    for (unsigned lane = 0; lane < WARP; lane++) {
        const auto& own = *static_cast<Product*>(lanes[lane]);
        const unsigned g = lane / 4, t = lane % 4;
        for (unsigned i = 0; i < 4; i++) {
            own.c[i] = c[g + 8 * (i / 2)][2 * t + i % 2];
        }
    }
}

}

namespace {

// What only whole warps can do.
void check_whole(Site site, const char* what) {
    if (blockDim.x % WARP != 0) {
        fail(site, "%s in a workgroup of %u threads", what, blockDim.x);
    }
}

}

unsigned shuffle(Site site, const char* what, unsigned mask, unsigned value, unsigned from) {
    Shuffle own = {value, from, 0u, false};
    meet(site, what, mask, &own, shuffle_all);
    if (!own.inside) {
        fail(site, "%s reads lane %u, which is not in its mask %08x", what, from, mask);
    }
    return own.result;
}

unsigned ballot(Site site, const char* what, unsigned mask, bool says) {
    Shuffle own = {says, 0u, 0u, true};
    meet(site, what, mask, &own, ballot_all);
    return own.result;
}

void exchange_matrices(Site site, unsigned (&r)[4], const unsigned (&row)[4], bool transposed) {
    const char* what = transposed ? "ldmatrix.trans" : "ldmatrix";
    check_whole(site, what);
    Matrices own = {row, r, transposed};
    meet(site, what, 0xffffffffu, &own, exchange_all);
}

void multiply(
    Site site, Half half, float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const char* what = half == Half::F16 ? "mma f16" : "mma bf16";
    check_whole(site, what);
    Product own = {half, c, a, {b0, b1}};
    meet(site, what, 0xffffffffu, &own, multiply_all);
}

}
