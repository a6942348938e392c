// Rows of the trajectory as one launch: every workgroup of a cooperative launch walks the list of
// jobs, and where one launch would end and the next begin, all workgroups meet. The loader makes
// JOB_BYTES, SHARED_MOST and `call`, which runs the variant of a job (src/backend/source/cuda.rs).
//
// What a job writes later jobs of the same launch read, on other processors. Three things make that
// right. No pointer of `Args` is restricted in such a unit, and none comes from the launch's own
// parameters, so no load becomes one of the non-coherent cache. Every write of a workgroup comes
// before its thread 0 arrives at the meeting, by a barrier, and every later read after that
// thread's acquire, by another: in the memory model of PTX the one is then seen by the other. And
// the acquire is what makes a processor forget its first-level cache, in which lines of earlier
// jobs may be.

// What all workgroups share; zero at the start of a run.
struct Grid {
    // Arrivals so far. It is never reset: each meeting adds as many as there are workgroups.
    unsigned arrived;
    // After how many rows the run ends early, or 0.
    unsigned last;
};

struct Walk {
    // Rows to be walked at most.
    unsigned rows;
};

struct Lists {
    // Records of JOB_BYTES: variant, blocks, two words of nothing, Params, Args.
    const unsigned char* jobs;
    // Body b has the jobs first[b] .. first[b + 1].
    const unsigned* first;
    // The body of each row.
    const unsigned* bodies;
    Grid* grid;
    // A word of the host's, not zero once the run is to end; null where nobody asks.
    const unsigned* stop;
};

// Where a workgroup is. It lies in the workgroup's memory, behind that of the kernels and the job:
// what were kept in registers would have to be kept through every kernel.
struct Now {
    Cursor cursor;
    // The job at hand and the end of the row's.
    unsigned job, end;
};

__device__ inline unsigned char* job_at_hand() {
    return ptx::shared_memory() + SHARED_MOST;
}
__device__ inline Now& now() {
    return *reinterpret_cast<Now*>(job_at_hand() + JOB_BYTES);
}
constexpr unsigned WALK_BYTES = SHARED_MOST + JOB_BYTES + sizeof(Now);

// The start of a row; beyond the last, a job that nobody runs.
__device__ inline Now row_start(const Lists& a, const Advance& advance, unsigned row) {
    if (row >= advance.rows) {
        return {{row, 0u}, 0u, 0u};
    }
    const unsigned body = a.bodies[row];
    return {{row, advance.times[row]}, a.first[body], a.first[body + 1u]};
}

// The second warp leaves where the workgroup will be and brings the job.
__device__ inline void go_to(const Lists& a, const Now& next) {
    if (threadIdx.x / 32u != 1u) {
        return;
    }
    const unsigned lane = threadIdx.x % 32u;
    const uint4* from = reinterpret_cast<const uint4*>(a.jobs + next.job * JOB_BYTES);
    for (unsigned i = lane; i < JOB_BYTES / 16u; i += 32u) {
        reinterpret_cast<uint4*>(job_at_hand())[i] = from[i];
    }
    if (lane == 0u) {
        now() = next;
    }
}

// Waits for all workgroups; what any of them has written before, all see after. Whatever does not
// depend on that is done meanwhile.
template <class Meanwhile>
__device__ inline void meet(Grid& grid, const Meanwhile& meanwhile) {
    __syncthreads();
    if (threadIdx.x == 0u) {
        const unsigned before = ptx::arrive(&grid.arrived);
        const unsigned all = (before / gridDim.x + 1u) * gridDim.x;
        while (ptx::peek(&grid.arrived) < all) {
            ptx::pause();
        }
        ptx::acquire(&grid.arrived);
    } else {
        meanwhile();
    }
    __syncthreads();
}

// The blocks of the job at hand that are this workgroup's.
__device__ inline void run_job(const Control& c) {
    const unsigned char* job = job_at_hand();
    for (unsigned block = blockIdx.x;; block += gridDim.x) {
        const unsigned blocks = reinterpret_cast<const unsigned*>(job)[1];
        if (block >= blocks) {
            return;
        }
        call(job, {now().cursor, block, blocks, c.partial, c.counters});
        // A copy that nobody waits for ends with its launch, but here it would land in memory that
        // is another's.
        ptx::commit();
        ptx::wait<0>();
        // The next block has the same memory.
        __syncthreads();
    }
}

// After a row: hands on where the program is. False if the host wants it to end here.
__device__ inline bool end_row(const Lists& a, Advance& advance, Cursor cursor) {
    if (blockIdx.x == 0u && threadIdx.x == 0u) {
        advance.cursor = cursor;
        if (advance.progress != nullptr) {
            *advance.progress = cursor.row;
        }
    }
    const unsigned last = ptx::peek(&a.grid->last);
    return last == 0u || cursor.row < last;
}

__device__ inline void walk(const Walk& p, const Lists& a, const Control& c) {
    Advance& advance = *c.advance;
    // Read before the first meeting, and written after one: all workgroups begin at the same row.
    const unsigned first = c.cursor->row;
    const unsigned end = first + smaller(p.rows, advance.rows - first);
    if (first == end) {
        return;
    }
    go_to(a, row_start(a, advance, first));
    __syncthreads();
    for (;;) {
        run_job(c);
        const bool last = now().job + 1u == now().end;
        const bool chief = blockIdx.x == 0u && threadIdx.x == 0u;
        if (chief && last && a.stop != nullptr && ptx::peek_host(a.stop) != 0u) {
            // A number of rows, not a flag: whoever sees it a row early decides the same.
            ptx::post(&a.grid->last, now().cursor.row + 1u);
        }
        const Now here = now();
        meet(*a.grid, [&] {
            const Now next = {here.cursor, here.job + 1u, here.end};
            go_to(a, last ? row_start(a, advance, here.cursor.row + 1u) : next);
        });
        if (last && (!end_row(a, advance, now().cursor) || now().cursor.row == end)) {
            return;
        }
    }
}
