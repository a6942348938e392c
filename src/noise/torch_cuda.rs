//! How `torch.randn` on a CUDA device deals its elements to threads.

use crate::error::{Error, Result};
use std::fmt;

/// Threads of a block in PyTorch's random kernels.
const BLOCK: u32 = 256;
/// Normal numbers that one Philox counter gives.
const LANES: u64 = 4;

/// Multiprocessors of GPUs that hold 2048 threads each: H20, A100, H100 PCIe, H100 and H200, B200.
/// No consumer card since 2020, whose multiprocessors hold 1536, has as many of them.
const SMS_OF_2048: &[u32] = &[78, 108, 114, 132, 148];

/// The GPU whose `torch.randn` is meant: its numbers depend on how many threads it runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TorchCuda {
    /// Streaming multiprocessors.
    pub sms: u32,
    /// Threads that one of them holds.
    pub threads_per_sm: u32,
}

impl Default for TorchCuda {
    /// RTX 4090.
    fn default() -> TorchCuda {
        TorchCuda::of(128)
    }
}

/// How one draw of `n` elements is dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaLayout {
    /// T: element e belongs to thread e % T.
    pub threads: u32,
    /// Philox counters that a draw uses up in each thread.
    pub calls: u32,
}

impl TorchCuda {
    /// A GPU of `sms` multiprocessors: 2048 threads each where the number is a known data-centre
    /// GPU's, otherwise 1536 (RTX 30 and later).
    pub fn of(sms: u32) -> TorchCuda {
        let threads_per_sm = if SMS_OF_2048.contains(&sms) { 2048 } else { 1536 };
        TorchCuda { sms, threads_per_sm }
    }

    /// `SMS`, or `SMSxTHREADS` where the number of threads per multiprocessor is given too.
    pub(super) fn parse(text: &str) -> Result<TorchCuda> {
        let (sms, threads) = match text.split_once('x') {
            Some((sms, threads)) => (sms, Some(threads)),
            None => (text, None),
        };
        let sms = number(sms, 1, 1024, text)?;
        match threads {
            None => Ok(TorchCuda::of(sms)),
            Some(t) => Ok(TorchCuda { sms, threads_per_sm: number(t, BLOCK, 4096, text)? }),
        }
    }

    /// The layout of a draw of `n` elements: blocks of 256 threads, as many as the GPU holds at
    /// once but no more than the elements need.
    pub fn layout(&self, n: u64) -> CudaLayout {
        let resident = u64::from(self.sms * (self.threads_per_sm / BLOCK));
        let blocks = resident.min(n.div_ceil(u64::from(BLOCK))).max(1);
        let threads = blocks * u64::from(BLOCK);
        let calls = n.div_ceil(LANES * threads).max(1);
        CudaLayout { threads: threads as u32, calls: calls as u32 }
    }
}

impl fmt::Display for TorchCuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.sms, self.threads_per_sm)
    }
}

fn number(text: &str, least: u32, most: u32, gpu: &str) -> Result<u32> {
    text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        Error::invalid(
            "--noise torch-cuda:SMS",
            "multiprocessors (1..=1024), or SMSxTHREADS with threads of each (256..=4096)",
            format!("{gpu:?}"),
            "give the GPU's number of multiprocessors, as 28 for an RTX 3060 or 132 for an H200",
        )
    })
}
