// One element of work of the elementwise kernels: four channels where they divide by four
// (one access of four), else one.
#ifdef VEC4
constexpr u32 VEC = 4u;
using V = float4;
template <class T>
__device__ inline V load(const T* x, u32 i) {
    return load4(x, 4u * i);
}
template <class T>
__device__ inline void store(T* y, u32 i, V v) {
    store4(y, 4u * i, v);
}
__device__ inline V all(f32 v) {
    return all4(v);
}
#else
constexpr u32 VEC = 1u;
using V = f32;
template <class T>
__device__ inline V load(const T* x, u32 i) {
    return load1(x, i);
}
template <class T>
__device__ inline void store(T* y, u32 i, V v) {
    store1(y, i, v);
}
__device__ inline V all(f32 v) {
    return v;
}
#endif
