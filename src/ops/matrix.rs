//! The matrix product under `conv2d`, `linear` and `attention` on the CPU.

/// A matrix in a buffer: element (i, j) is `data[i * strides.0 + j * strides.1]`. Rows may overlap.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub strides: (usize, usize),
}

impl<'a> View<'a> {
    /// Rows of `cols` elements, `stride` apart.
    pub fn rows(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        View { data, rows, cols, strides: (stride, 1) }
    }

    /// `count` rows from number `first` on.
    pub fn part(self, first: usize, count: usize) -> Self {
        View { data: &self.data[first * self.strides.0..], rows: count, ..self }
    }

    pub fn transposed(self) -> Self {
        View { rows: self.cols, cols: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }

    fn reach(&self) -> usize {
        1 + (self.rows - 1) * self.strides.0 + (self.cols - 1) * self.strides.1
    }
}

/// `c = a b`, or `c += a b` if `accumulate`, on the calling thread. Rows of c are `stride` apart.
pub(super) fn product(a: View, b: View, c: &mut [f32], stride: usize, accumulate: bool) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    if m == 0 || n == 0 || k == 0 {
        assert!(k > 0, "a sum over nothing");
        return;
    }
    assert_eq!(k, b.rows, "inner sizes");
    assert!(a.reach() <= a.data.len() && b.reach() <= b.data.len(), "operands in bounds");
    assert!(n <= stride && (m - 1) * stride + n <= c.len(), "result in bounds");
    // SAFETY: the assertions above keep every element read or written inside its slice; rows of
    // the result do not overlap, and as `c` is borrowed mutably it aliases neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.data.as_ptr(),
            b.strides.1 as isize,
            b.strides.0 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
