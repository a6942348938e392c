// The number of a workgroup: a grid longer than one dimension allows is folded into y.
fn workgroup_number(id: vec3<u32>, grid: vec3<u32>) -> u32 {
    return id.y * grid.x + id.x;
}
