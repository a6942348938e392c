//! What the runner is told, in the format that tests/emulator/main.cpp describes.

use super::build::{Build, runner};
use std::fs;
use std::path::PathBuf;

/// Which of those that can run goes on; the order of workgroups likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Forward,
    Reverse,
    Random(u32),
}

/// The runner compares what they give, bit for bit.
pub const SCHEDULES: [Schedule; 3] = [Schedule::Forward, Schedule::Reverse, Schedule::Random(1)];

/// What a buffer holds at the start.
#[derive(Clone, Debug)]
pub enum Content {
    Given(Vec<u8>),
    /// Bytes, all of them NaN.
    Unset(u64),
    /// The same, before every launch.
    Scratch(u64),
    /// Zeros that every launch leaves as zeros.
    Counters(u64),
}

#[derive(Clone, Debug)]
pub struct Launch {
    /// For messages.
    pub name: String,
    /// Positions in [`Job::units`] and among the kernels of the unit.
    pub unit: u32,
    pub kernel: u32,
    pub blocks: u32,
    pub shared: u32,
    /// Whether all workgroups are there at once, as those of a cooperative launch.
    pub together: bool,
    pub params: Vec<u8>,
    /// As [`address`] makes them; 0 is null.
    pub args: Vec<u64>,
    pub control: [u64; 4],
}

#[derive(Clone, Debug, Default)]
pub struct Job {
    pub schedules: Vec<Schedule>,
    pub units: Vec<PathBuf>,
    pub buffers: Vec<Content>,
    /// Buffers and the offsets in them where an address stands.
    pub addresses: Vec<(u32, u64)>,
    pub launches: Vec<Launch>,
    /// The launches in the order in which they are run.
    pub order: Vec<u32>,
    /// The buffers whose content is wanted.
    pub wanted: Vec<u32>,
}

/// Stands for the address of a byte of a buffer.
pub fn address(buffer: usize, offset: u64) -> u64 {
    (buffer as u64 + 1) << 40 | offset
}

const MAGIC: u32 = u32::from_le_bytes(*b"EMU1");
/// A job takes seconds where it ends at all.
const SECONDS: u32 = 300;

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn word(&mut self, word: u32) {
        self.0.extend(word.to_le_bytes());
    }

    fn long(&mut self, long: u64) {
        self.0.extend(long.to_le_bytes());
    }

    fn str(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u32);
        self.0.extend(bytes);
    }

    fn list<T>(&mut self, all: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.word(all.len() as u32);
        all.iter().for_each(|element| one(self, element));
    }
}

impl Job {
    fn bytes(&self, output: &str) -> Vec<u8> {
        let mut file = Writer::default();
        file.word(MAGIC);
        file.word(SECONDS);
        file.list(&self.schedules, |file, schedule| {
            let (kind, seed) = match schedule {
                Schedule::Forward => (0, 0),
                Schedule::Reverse => (1, 0),
                Schedule::Random(seed) => (2, *seed),
            };
            file.word(kind);
            file.word(seed);
        });
        file.list(&self.units, |file, unit| file.str(unit.as_os_str().as_encoded_bytes()));
        file.list(&self.buffers, |file, content| {
            let (kind, bytes) = match content {
                Content::Given(given) => (0, given.len() as u64),
                Content::Unset(bytes) => (1, *bytes),
                Content::Scratch(bytes) => (2, *bytes),
                Content::Counters(bytes) => (3, *bytes),
            };
            file.word(kind);
            file.long(bytes);
            if let Content::Given(given) = content {
                file.0.extend(given);
            }
        });
        file.list(&self.addresses, |file, (buffer, offset)| {
            file.word(*buffer);
            file.long(*offset);
        });
        file.list(&self.launches, |file, launch| {
            file.str(launch.name.as_bytes());
            for word in [launch.unit, launch.kernel, launch.blocks, launch.shared] {
                file.word(word);
            }
            file.word(launch.together.into());
            file.str(&launch.params);
            file.list(&launch.args, |file, at| file.long(*at));
            launch.control.iter().for_each(|at| file.long(*at));
        });
        file.list(&self.order, |file, launch| file.word(*launch));
        file.list(&self.wanted, |file, buffer| file.word(*buffer));
        file.str(output.as_bytes());
        file.0
    }

    fn size(&self, buffer: u32) -> usize {
        match &self.buffers[buffer as usize] {
            Content::Given(given) => given.len(),
            Content::Unset(n) | Content::Scratch(n) | Content::Counters(n) => *n as usize,
        }
    }

    /// Runs it; what the wanted buffers hold after the last launch of the first schedule.
    ///
    /// # Errors
    /// In the words of the runner or of a sanitizer, if a kernel breaks a rule.
    pub fn run(&self, build: Build) -> Result<Vec<Vec<u8>>, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (job, output) = (folder.path().join("job"), folder.path().join("output"));
        let output = output.to_str().ok_or("a temporary folder that is no text")?;
        fs::write(&job, self.bytes(output)).map_err(|e| e.to_string())?;
        let ended = runner(build)?.arg("run").arg(&job).output();
        let ended = ended.map_err(|e| format!("cannot start the emulator: {e}"))?;
        if !ended.status.success() {
            let text = String::from_utf8_lossy(&ended.stderr).into_owned();
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("===="));
            let lines = lines.take(12).collect::<Vec<_>>().join("\n");
            return Err(format!("{}: {lines}", ended.status));
        }
        let bytes = fs::read(output).map_err(|e| e.to_string())?;
        let mut rest = bytes.as_slice();
        let mut found = Vec::new();
        for buffer in &self.wanted {
            let (first, behind) = rest.split_at(self.size(*buffer));
            found.push(first.to_vec());
            rest = behind;
        }
        Ok(found)
    }
}
