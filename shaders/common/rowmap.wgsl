//!include cursor
// Which row of a table of vectors sample n reads: src/ops/rowmap.rs.
struct RowMap {
    time: u32,
    cond: u32,
    div: u32,
    modulo: u32,
}

fn map_row(map: RowMap, n: u32) -> u32 {
    var row = map.time * cursor.time + (n / map.div) % map.modulo;
#ifdef HAS_COND
    if map.cond != 0u {
        row += map.cond * u32(cond[n]);
    }
#endif
    return row;
}
