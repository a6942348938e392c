// Values of the kernels that always work on four lanes.
alias V = vec4<f32>;
