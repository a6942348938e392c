// What threads wait in: barriers, meetings of a warp's lanes, copies.

#include "sanitizer.hpp"
#include "state.hpp"

#include <cstring>

namespace emulator {

unsigned char* shared_memory() {
    return at.place->shared;
}

void check_aligned(Site site, const char* what, const void* address, unsigned bytes) {
    if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
        fail(site, "%s is not aligned to %u bytes", what, bytes);
    }
}

void check_shared(Site site, const char* what, const void* address, unsigned bytes) {
    check_aligned(site, what, address, bytes);
    const ptrdiff_t offset = static_cast<const unsigned char*>(address) - at.place->shared;
    if (offset < 0 || offset + bytes > at.launch->shared) {
        fail(site, "%s is not in shared memory: byte %td of %u", what, offset, at.launch->shared);
    }
}

void barrier(Site site) {
    Fiber& self = *at.current;
    Place& place = *at.place;
    self.site = site;
    self.waits = "__syncthreads";
    if (place.waiting > 0 && place.barrier.line != site.line) {
        stop("divergent barrier");
    }
    place.barrier = site;
    char* order = place.order.barrier[place.phase];
    sanitizer::release(order);
    place.waiting += 1;
    set_ready(index_of(&self), false);
    if (place.waiting == at.threads) {
        place.waiting = 0;
        place.phase ^= 1;
        at.looks = 0;
        for (unsigned i = 0; i < at.threads; i++) {
            set_ready(i, true);
        }
    }
    go_on();
    sanitizer::acquire(order);
}

void pause(Site site) {
    Fiber& self = *at.current;
    self.site = site;
    self.waits = "a look at a word";
    set_ready(index_of(&self), false);
    at.paused.push_back(&self);
    go_on();
}

void meet(Site site, const char* what, unsigned mask, void* brought, Together all) {
    Fiber& self = *at.current;
    const unsigned i = index_of(&self), lane = i % WARP;
    self.site = site;
    self.waits = what;
    // Lanes that the workgroup does not have are not waited for.
    if (at.threads - (i - lane) < WARP) {
        mask &= (1u << (at.threads - (i - lane))) - 1u;
    }
    if ((mask >> lane & 1) == 0) {
        fail(site, "%s by lane %u, which is not in its mask %08x", what, lane, mask);
    }
    Meeting *meeting = nullptr, *unused = nullptr;
    for (Meeting& other : at.place->warps[i / WARP].meetings) {
        if (other.here != 0 && other.mask == mask) {
            meeting = &other;
        } else if (other.here == 0) {
            unused = &other;
        }
    }
    if (meeting == nullptr) {
        if (unused == nullptr) {
            fail(site, "lanes of one warp wait in %u different masks", MOST_MEETINGS);
        }
        meeting = unused;
        *meeting = {mask, 0, site, what, {}};
    } else if (meeting->site.line != site.line || strcmp(meeting->what, what) != 0) {
        stop("divergent lanes of a warp");
    }
    meeting->here |= 1u << lane;
    meeting->brought[lane] = brought;
    set_ready(i, false);
    if (meeting->here == mask) {
        at.looks = 0;
        if (all != nullptr) {
            all(meeting->brought, mask);
        }
        meeting->here = 0;
        for (unsigned l = 0; l < WARP; l++) {
            if (mask >> l & 1) {
                set_ready(i - lane + l, true);
            }
        }
    }
    go_on();
}

void meet(Site site, unsigned mask) {
    const unsigned warp = index_of(at.current) / WARP;
    char* order = at.place->order.warp[warp][at.place->warps[warp].phase];
    sanitizer::release(order);
    const auto turn = [](void* const* lanes, unsigned of) {
        static_cast<Warp*>(lanes[__builtin_ctz(of)])->phase ^= 1;
    };
    meet(site, "__syncwarp", mask, &at.place->warps[warp], turn);
    sanitizer::acquire(order);
}

void queue_copy(Site site, Copy copy) {
    Fiber& self = *at.current;
    if (self.last_copy - self.first_copy == MOST_COPIES) {
        fail(site, "more than %u copies that nobody has waited for", MOST_COPIES);
    }
    self.copies[self.last_copy % MOST_COPIES] = copy;
    self.group_of[self.last_copy % MOST_COPIES] = self.group;
    self.copied = site;
    self.last_copy += 1;
}

void end_group() {
    at.current->group += 1;
}

bool take_copy(unsigned keep, Copy& copy) {
    Fiber& self = *at.current;
    // The open group, which no `commit` has ended yet, is not waited for either.
    if (self.first_copy == self.last_copy
        || self.group_of[self.first_copy % MOST_COPIES] + keep >= self.group) {
        return false;
    }
    copy = self.copies[self.first_copy % MOST_COPIES];
    self.first_copy += 1;
    return true;
}

}
