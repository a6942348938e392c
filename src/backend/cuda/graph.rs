//! Launches, alone and captured: a graph for each sequence of bodies that is asked for.

use super::device::{failed, older_than};
use super::kernels::Kernel;
use super::launch::{Recorded, Recording};
use crate::error::Result;
use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, DriverError, result, sys};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

/// The launches of a program and the graphs made of them.
pub(super) struct Graphs {
    /// By the bodies that follow one another; `None` for those without a launch. The cursor lies in
    /// the device's memory, so a graph serves all rows with these bodies.
    made: HashMap<Vec<usize>, Option<CudaGraph>>,
    pub prologue: Option<CudaGraph>,
    stream: Arc<CudaStream>,
    device: String,
    recording: Recording,
    kernels: Vec<Arc<Kernel>>,
    overlap: bool,
}

impl Graphs {
    /// Captures the prologue; `kernels` are those of the recording.
    pub fn new(
        stream: Arc<CudaStream>,
        device: String,
        recording: Recording,
        kernels: Vec<Arc<Kernel>>,
        overlap: bool,
    ) -> Result<Graphs> {
        let made = HashMap::new();
        let mut graphs =
            Graphs { made, prologue: None, stream, device, recording, kernels, overlap };
        graphs.prologue = graphs.capture(&graphs.recording.prologue.iter().collect::<Vec<_>>())?;
        Ok(graphs)
    }

    /// The graph of these bodies, captured if it is not there yet.
    pub fn of(&mut self, bodies: &[usize]) -> Result<Option<&CudaGraph>> {
        if !self.made.contains_key(bodies) {
            let launches = bodies.iter().flat_map(|body| &self.recording.bodies[*body]);
            let graph = self.capture(&launches.collect::<Vec<_>>())?;
            self.made.insert(bodies.to_vec(), graph);
        }
        Ok(self.made.get(bodies).and_then(Option::as_ref))
    }

    fn capture(&self, launches: &[&Recorded]) -> Result<Option<CudaGraph>> {
        let kernel = |launch: &Recorded| &*self.kernels[launch.kernel];
        let graph = capture(&self.stream, launches, kernel, self.overlap);
        graph.map_err(|e| failed(&self.device, "cannot capture a graph", e))
    }

    /// The launches of the prologue, and of a body.
    pub fn launches(&self, body: Option<usize>) -> &[Recorded] {
        body.map_or(&self.recording.prologue, |body| &self.recording.bodies[body])
    }

    /// A graph of launches whose events are recorded before the first and after each of them.
    pub fn timed(&self, launches: &[Recorded], events: &[CudaEvent]) -> Result<Option<CudaGraph>> {
        let kernel = |launch: &Recorded| &*self.kernels[launch.kernel];
        let graph = captured(&self.stream, launches.is_empty(), || {
            record_event(&self.stream, &events[0])?;
            launches.iter().zip(&events[1..]).try_for_each(|(launch, event)| {
                enqueue(&self.stream, launch, kernel(launch))?;
                record_event(&self.stream, event)
            })
        });
        graph.map_err(|e| failed(&self.device, "cannot capture a graph with events", e))
    }
}

/// The launches as one graph; `None` if there are none.
pub(super) fn capture<'a>(
    stream: &Arc<CudaStream>,
    launches: &[&Recorded],
    kernel: impl Fn(&Recorded) -> &'a Kernel,
    overlap: bool,
) -> Result<Option<CudaGraph>, DriverError> {
    captured(stream, launches.is_empty(), || {
        launches.iter().enumerate().try_for_each(|(i, launch)| {
            // What is before the first launch of a graph is no kernel to overlap with.
            match overlap && i > 0 {
                true => enqueue_overlapping(stream, launch, kernel(launch)),
                false => enqueue(stream, launch, kernel(launch)),
            }
        })
    })
}

/// What `enqueue` enqueues as one graph, unless it is `empty`.
fn captured(
    stream: &Arc<CudaStream>,
    empty: bool,
    enqueue: impl FnOnce() -> Result<(), DriverError>,
) -> Result<Option<CudaGraph>, DriverError> {
    if empty {
        return Ok(None);
    }
    let only_this_thread = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(only_this_thread)?;
    let enqueued = enqueue();
    // Also after an error: the stream must not stay in the capture.
    let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
    enqueued?;
    let graph = graph?;
    if let Some(graph) = &graph {
        graph.upload()?;
    }
    Ok(graph)
}

/// Records an event whenever the graph that is being captured comes to this point.
fn record_event(stream: &CudaStream, event: &CudaEvent) -> Result<(), DriverError> {
    let in_graph = sys::CUevent_record_flags::CU_EVENT_RECORD_EXTERNAL as u32;
    // SAFETY: both are alive, and whoever keeps the graph keeps its events longer.
    unsafe { sys::cuEventRecordWithFlags(event.cu_event(), stream.cu_stream(), in_graph) }.result()
}

/// `Params`, `Args` and `Control` of a launch, as the driver takes them.
pub(super) fn parameters(launch: &Recorded) -> [*mut c_void; 3] {
    let pointer = |bytes: *const u8| bytes.cast_mut().cast::<c_void>();
    [
        pointer(launch.params.as_ptr()),
        pointer(launch.args.as_ptr().cast()),
        pointer(launch.control.as_ptr().cast()),
    ]
}

fn enqueue(stream: &CudaStream, launch: &Recorded, kernel: &Kernel) -> Result<(), DriverError> {
    let (grid, block) = ((launch.blocks, 1, 1), (kernel.threads(), 1, 1));
    // SAFETY: the kernel takes `Params`, `Args` and `Control` by value: as many bytes as these
    // three hold, which the loader's assertions compare; the driver copies them now. The addresses
    // lie in the session's memory, whose sizes `Program::validate` has checked against every op's
    // reach.
    unsafe {
        result::launch_kernel(
            kernel.function,
            grid,
            block,
            launch.shared,
            stream.cu_stream(),
            &mut parameters(launch),
        )
    }
}

/// The same, and it may begin before the launch before it has ended. Every kernel waits for that
/// one before it reads or writes anything: `enter` of kernels/common/abi.cuh says why this is
/// enough.
fn enqueue_overlapping(
    stream: &CudaStream,
    launch: &Recorded,
    kernel: &Kernel,
) -> Result<(), DriverError> {
    use sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION as MAY;
    let mut attribute = sys::CUlaunchAttribute {
        id: MAY,
        pad: Default::default(),
        value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
    };
    let config = sys::CUlaunchConfig {
        gridDimX: launch.blocks,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: kernel.threads(),
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: launch.shared,
        hStream: stream.cu_stream(),
        attrs: &mut attribute,
        numAttrs: 1,
    };
    let mut params = parameters(launch);
    // SAFETY: as in `enqueue`; the attribute is alive for the call.
    unsafe {
        sys::cuLaunchKernelEx(&config, kernel.function, params.as_mut_ptr(), std::ptr::null_mut())
    }
    .result()
}

/// Why launches cannot overlap on a device of this compute capability, in words.
pub(super) fn cannot_overlap(capability: u32) -> Option<String> {
    // The first driver whose graphs keep such edges: 12.3.
    const OLDEST_DRIVER: i32 = 12030;
    let (_, older) = older_than(OLDEST_DRIVER);
    let device = || format!("a device of compute capability {capability}");
    older.or_else(|| (capability < 90).then(device))
}
