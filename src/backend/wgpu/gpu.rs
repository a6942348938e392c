//! An open device: its queue, its limits, and what went wrong on it.

use super::adapters::AdapterInfo;
use super::compiled::Compiled;
use super::pipeline::Pipelines;
use crate::backend::tune::Tuner;
use crate::backend::{Settings, Stamping};
use crate::error::{Error, Result};
use crate::lock::locked;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use wgpu::{
    CommandBuffer, Device, ErrorFilter, Features, PollError, PollType, Queue, SubmissionIndex,
};

/// Features that are used where they are there.
const USEFUL: Features = Features::SHADER_F16
    .union(Features::TIMESTAMP_QUERY)
    .union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS)
    .union(Features::TIMESTAMP_QUERY_INSIDE_PASSES)
    .union(Features::SUBGROUP)
    .union(Features::PIPELINE_CACHE);

/// A device and its queue. Errors that belong to no call (a lost device, an error of the driver
/// while it works) are kept and given to the next [`Gpu::check`].
#[derive(Clone)]
pub(super) struct Gpu {
    pub device: Device,
    pub queue: Queue,
    pub info: Arc<AdapterInfo>,
    pub pipelines: Arc<Pipelines>,
    pub compiled: Option<Arc<Compiled>>,
    pub tuner: Arc<Tuner>,
    /// What is wrong with its cooperative matrices, once they were tried.
    pub matrix_fault: Arc<OnceLock<Option<String>>>,
    pub stamping: Stamping,
    failure: Arc<Mutex<Option<String>>>,
    /// Held while the device is polled or given work: wgpu 30 panics when a wait that runs out of
    /// time meets another thread's poll.
    turn: Arc<Mutex<()>>,
}

impl Gpu {
    /// Opens `adapter` with every limit that it has.
    pub fn open(adapter: &wgpu::Adapter, info: AdapterInfo, settings: &Settings) -> Result<Gpu> {
        let cache = settings.cache.as_deref();
        let mut features = Features::IMMEDIATES | (adapter.features() & USEFUL);
        if info.matrix.is_some() {
            features |= Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        }
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("unnoise"),
            required_features: features,
            required_limits: adapter.limits(),
            // SAFETY: of the experimental features only cooperative matrices are asked for. Kernels
            // hold to what wgpu says of them: uniform control flow, whole matrices inside buffers.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).map_err(|e| {
            Error::device(info.words(), e.to_string(), "choose another --device, or --device cpu")
        })?;
        let failure = Arc::new(Mutex::new(None));
        let keep = |failure: &Arc<Mutex<Option<String>>>| {
            let failure = failure.clone();
            move |what: String| {
                locked(&failure).get_or_insert(what);
            }
        };
        let (lost, error) = (keep(&failure), keep(&failure));
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost(format!("the device was lost: {message}"));
            }
        });
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| error(e.to_string())));
        let compiled = cache.and_then(|c| Compiled::open(&device, &adapter.get_info(), c));
        Ok(Gpu {
            device,
            queue,
            tuner: Arc::new(Tuner::new(cache, info.identity())),
            info: Arc::new(info),
            pipelines: Arc::default(),
            compiled: compiled.map(Arc::new),
            matrix_fault: Arc::default(),
            stamping: settings.stamping,
            failure,
            turn: Arc::default(),
        })
    }

    /// Keeps what was compiled for the next start; a note if that fails.
    pub fn keep_compiled(&self) -> Option<String> {
        self.compiled.as_ref()?.keep()
    }

    /// Hands recorded work to the device.
    pub fn submit(&self, work: Option<CommandBuffer>) -> SubmissionIndex {
        let _turn = locked(&self.turn);
        self.queue.submit(work)
    }

    /// Fails if anything went wrong since the device was opened.
    pub fn check(&self) -> Result<()> {
        match &*locked(&self.failure) {
            Some(what) => Err(self.failed(what)),
            None => Ok(()),
        }
    }

    pub fn failed(&self, what: &str) -> Error {
        Error::device(
            self.info.words(),
            what,
            "try a smaller --batch, update the driver, or use --device cpu",
        )
    }

    /// Runs `work`, whose resources the driver may refuse: out of memory is an error, as is
    /// everything that it reports on this thread.
    pub fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let internal = self.device.push_error_scope(ErrorFilter::Internal);
        let validation = self.device.push_error_scope(ErrorFilter::Validation);
        let memory = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let result = work();
        for scope in [memory, validation, internal] {
            if let Some(error) = pollster::block_on(scope.pop()) {
                return Err(self.failed(&error.to_string()));
            }
        }
        self.check()?;
        result
    }

    /// Looks after finished work; with `wait`, until that submission is finished or the time is
    /// over. Says whether it is finished.
    pub fn poll(&self, wait: Option<(&SubmissionIndex, Duration)>) -> Result<bool> {
        let poll = match wait {
            Some((index, timeout)) => {
                PollType::Wait { submission_index: Some(index.clone()), timeout: Some(timeout) }
            }
            None => PollType::Poll,
        };
        let turn = locked(&self.turn);
        // wgpu panics here when the device is lost meanwhile; to the caller that is an error.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(poll)));
        drop(turn);
        self.check()?;
        match polled {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(PollError::Timeout)) => Ok(false),
            Ok(Err(e)) => Err(self.failed(&e.to_string())),
            Err(_) => Err(self.failed("the device was lost")),
        }
    }
}
