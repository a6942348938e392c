// One row of the trajectory; fields and their meaning as in src/ops/row.rs.
struct Mix {
    f32 x, x0, eps, saved, h[9], z0, z1;
};

struct Row {
    f32 c_in, x0_x, x0_f, clip;
    f32 eps_x, eps_f, eps_x0;
    f32 f_scale, x0_scale;
    Mix x, saved, push;
    f32 log_var_min, log_var_max;
    f32 rescale;
    f32 snr_ratio, snr_factor;
    u32 threshold_rank;
    f32 threshold_part, threshold_max;
    u32 flags, ring;
    u32 z0_step, z0_stream, z0_index;
    u32 z1_step, z1_stream, z1_index;
    u32 stage;
    f32 lambda, h;
    u32 accepted, rejected, retries;
};

// Tables of rows are buffers of f32.
__device__ inline const Row& table_row(const Args& a, u32 row) {
    return reinterpret_cast<const Row*>(a.table)[row];
}

// The row of `table` that a sample of the batch reads.
__device__ inline const Row& row_of(const Args& a, const At& at, u32 sample) {
#ifdef PER_SAMPLE
    return table_row(a, sample);
#else
    return table_row(a, at.cursor.row);
#endif
}

__device__ inline bool row_has(const Row& row, u32 flag) {
    return (row.flags & flag) != 0u;
}

// Whether draw 0 or 1 of the row is used at all.
__device__ inline bool uses_draw(const Row& row, u32 i) {
    if (i == 0u) {
        return row.x.z0 != 0.0f || row.saved.z0 != 0.0f || row.push.z0 != 0.0f;
    }
    return row.x.z1 != 0.0f || row.saved.z1 != 0.0f || row.push.z1 != 0.0f;
}

struct DrawName {
    u32 step, stream, index;
};

// The name of draw 0 or 1.
__device__ inline DrawName draw_name(const Row& row, u32 i) {
    if (i == 0u) {
        return {row.z0_step, row.z0_stream, row.z0_index};
    }
    return {row.z1_step, row.z1_stream, row.z1_index};
}

// A term of a sum; left out if its coefficient is zero, so that memory never written cannot put a
// NaN into the sum.
__device__ inline float4 term(f32 coefficient, float4 value) {
    return coefficient != 0.0f ? coefficient * value : zeros();
}
