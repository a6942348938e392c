//! Philox on wgpu against the answers published with Random123 (kat_vectors), word for word: the
//! shaders' own common file, in a kernel made for the test. The CPU's is tested where it is.

use super::device;
use wgpu::util::{BufferInitDescriptor, DeviceExt};
use wgpu::{BufferUsages, ShaderSource};

/// Counter, key, answer of philox4x32 with 10 rounds.
const PUBLISHED: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
    ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
    ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
    (
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        [0xa409_3822, 0x299f_31d0],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ),
];

const MAIN: &str = "
@group(0) @binding(0) var<storage, read> asked: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> answers: array<vec4<u32>>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) id: vec3<u32>) {
    answers[id.x] = philox(asked[2u * id.x], asked[2u * id.x + 1u].xy);
}";

#[test]
fn wgpu_gives_the_published_words() {
    if device::wgpu().is_none() {
        return;
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let request = adapter[0].request_device(&wgpu::DeviceDescriptor::default());
    let (gpu, queue) = pollster::block_on(request).unwrap();

    let source = format!("{}{MAIN}", include_str!("../../shaders/common/philox.wgsl"));
    let module = gpu.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: ShaderSource::Wgsl(source.into()),
    });
    let pipeline = gpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let asked: Vec<u32> = PUBLISHED
        .iter()
        .flat_map(|(counter, key, _)| counter.iter().chain(key).copied().chain([0, 0]))
        .collect();
    let input = gpu.create_buffer_init(&BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(&asked),
        usage: BufferUsages::STORAGE,
    });
    let size = 16 * PUBLISHED.len() as u64;
    let buffer = |usage| {
        let mapped_at_creation = false;
        gpu.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation })
    };
    let output = buffer(BufferUsages::STORAGE | BufferUsages::COPY_SRC);
    let download = buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST);
    let group = gpu.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
        ],
    });
    let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(PUBLISHED.len() as u32, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&output, 0, &download, 0, size);
    queue.submit([encoder.finish()]);
    download.slice(..).map_async(wgpu::MapMode::Read, |mapped| mapped.unwrap());
    gpu.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let view = download.slice(..).get_mapped_range().unwrap();
    let words: &[u32] = bytemuck::cast_slice(&view);
    for ((counter, key, answer), found) in PUBLISHED.iter().zip(words.chunks(4)) {
        assert_eq!(found, answer, "counter {counter:x?}, key {key:x?}");
    }
}
