// One element of work of the elementwise kernels: four channels where they divide by four
// (one 16-byte access), else one.
#ifdef VEC4
const VEC: u32 = 4u;
alias V = vec4<f32>;
#else
const VEC: u32 = 1u;
alias V = f32;
#endif
