//! The fixed embedding of places.

/// The embedding of the places of `h x w` tokens in `c` channels, a multiple of four: the sines,
/// then the cosines of the column times `10000^(-4 i / c)`, i below `c / 4`, then the same of the
/// line (He et al. 2022, arXiv:2111.06377, in two dimensions; Vaswani et al. 2017,
/// arXiv:1706.03762, section 3.5).
pub fn positions(h: usize, w: usize, c: usize) -> Vec<f32> {
    let quarter = c / 4;
    let frequency = |i: usize| 10_000_f64.powf(-(i as f64) / quarter as f64);
    let waves = |place: usize| {
        let angle = move |i| place as f64 * frequency(i);
        let sines = (0..quarter).map(move |i| angle(i).sin() as f32);
        sines.chain((0..quarter).map(move |i| angle(i).cos() as f32))
    };
    let places = (0..h).flat_map(|line| (0..w).map(move |column| (line, column)));
    places.flat_map(|(line, column)| waves(column).chain(waves(line))).collect()
}
