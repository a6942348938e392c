// The parameters of a step, but for how its rows are given: src/ops/solver_step.rs.
    u32 b;
    u32 c;
    u32 cf;
    u32 hw;
    u32 guided;
    u32 depth;
    u32 mode;
    u32 threads;
    u32 calls;
