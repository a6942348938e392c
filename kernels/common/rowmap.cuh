// Which row of a table of vectors sample n reads: src/ops/rowmap.rs.
struct RowMap {
    u32 time;
    u32 cond;
    u32 div;
    u32 modulo;
};

__device__ inline u32 map_row(const RowMap& map, const Args& a, const At& at, u32 n) {
    u32 row = map.time * at.cursor.time + (n / map.div) % map.modulo;
#ifdef HAS_COND
    if (map.cond != 0u) {
        row += map.cond * a.cond[n];
    }
#endif
    return row;
}
