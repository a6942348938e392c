//! Units of kernels as shared objects, and the program that runs them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use unnoise::backend::cuda::launch;
use unnoise::backend::grid::Constants;
use unnoise::backend::source::{FACTS, PERSISTENT_ENTRY, Variant, cuda_persistent, cuda_unit};
use unnoise::error::{Error, Result};
use unnoise::ops::Call;
use xxhash_rust::xxh3::xxh3_128;

/// What kernels are compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Build {
    Plain,
    /// AddressSanitizer, bounds and alignment.
    Address,
    /// ThreadSanitizer.
    Thread,
}

impl Build {
    fn flags(self) -> &'static [&'static str] {
        const STOP: &str = "-fno-sanitize-recover=all";
        match self {
            Build::Plain => &[],
            Build::Address => &["-fsanitize=address,bounds,alignment", STOP],
            Build::Thread => &["-fsanitize=thread"],
        }
    }

    /// What its sanitizer is told, as a variable of the environment: not to wait for threads that
    /// are not joined, and that units have tables of the same name.
    fn options(self) -> Option<(&'static str, &'static str)> {
        let address = "halt_on_error=1:exitcode=66:detect_odr_violation=0:detect_leaks=0";
        let thread = "halt_on_error=1:exitcode=66:atexit_sleep_ms=0";
        match self {
            Build::Plain => None,
            Build::Address => Some(("ASAN_OPTIONS", address)),
            Build::Thread => Some(("TSAN_OPTIONS", thread)),
        }
    }
}

/// Variants of one unit: fewer start the compiler more often, more are slow to the last.
const UNIT: usize = 8;

/// The files of the runtime; no sanitizer instruments them.
const RUNTIME: [&str; 6] = ["fibers", "main", "meetings", "memory", "reports", "warp"];
const HEADERS: [&str; 7] = ["device", "fibers", "fibers_run", "half", "ptx", "sanitizer", "state"];

/// Kernels may read one memory as several types; sums are rounded as written.
pub(super) const FLAGS: [&str; 13] = [
    "-std=c++17",
    "-O1",
    "-g1",
    "-w",
    "-shared",
    "-fPIC",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-strict-aliasing",
    "-fno-math-errno",
    "-ffp-contract=off",
    // Several units in one process are nothing to each other.
    "-fno-gnu-unique",
    "-Wl,-Bsymbolic",
];

/// Whether the compiler is there: g++, which has what the runtime is written with.
pub fn compiler() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let version = Command::new("g++").arg("--version").output();
        cfg!(target_os = "linux") && version.is_ok_and(|version| version.status.success())
    })
}

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator")
}

pub(super) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator").join(name)
}

/// Leave to run one compiler: as many as there are cores.
struct Turn;

static TURNS: (Mutex<Option<usize>>, Condvar) = (Mutex::new(None), Condvar::new());

impl Turn {
    fn take() -> Turn {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let mut free = TURNS.0.lock().expect("nothing fails while it counts");
        while *free.get_or_insert_with(cores) == 0 {
            free = TURNS.1.wait(free).expect("nothing fails while it counts");
        }
        *free = free.map(|free| free - 1);
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut free = TURNS.0.lock().expect("nothing fails while it counts");
        *free = free.map(|free| free + 1);
        TURNS.1.notify_one();
    }
}

/// Runs g++ and puts what it makes at `out` at once: another process may look for it.
pub(super) fn compile(args: &[&OsStr], out: &Path) -> Result<(), String> {
    let _turn = Turn::take();
    let made = tempfile::NamedTempFile::new_in(folder()).map_err(|e| e.to_string())?;
    let output = Command::new("g++").args(args).arg("-o").arg(made.path()).output();
    let output = output.map_err(|e| format!("cannot start g++: {e}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let of_error = text.lines().skip_while(|line| !line.contains("error"));
        return Err(of_error.take(8).collect::<Vec<_>>().join("\n"));
    }
    made.persist(out).map(|_| ()).map_err(|e| e.to_string())
}

/// The program that runs jobs, without its arguments.
pub fn runner(build: Build) -> Result<Command, String> {
    let program = linked(build)?;
    let mut command = match build {
        // ThreadSanitizer has its own ideas of where memory lies.
        Build::Thread => {
            let mut command = Command::new("setarch");
            command.arg("-R").arg(program);
            command
        }
        Build::Plain | Build::Address => Command::new(program),
    };
    command.envs(build.options());
    Ok(command)
}

/// The runtime, linked for one build.
fn linked(build: Build) -> Result<PathBuf, String> {
    static MADE: Mutex<()> = Mutex::new(());
    let _one = MADE.lock().map_err(|_| "the emulator was not made".to_string())?;
    let flags = build.flags();
    let name = format!("emulator-{}{}", digest(""), flags.first().unwrap_or(&""));
    let program = folder().join(name.replace(['=', ','], "-"));
    if program.exists() {
        return Ok(program);
    }
    let mut objects = Vec::new();
    for name in RUNTIME {
        let object = folder().join(format!("{name}-{}.o", digest("")));
        let text = source(&format!("{name}.cpp"));
        if !object.exists() {
            let args = ["-std=c++17", "-O2", "-g1", "-c"].map(OsStr::new);
            compile(&[&args[..], &[text.as_os_str()]].concat(), &object)?;
        }
        objects.push(object);
    }
    let objects = objects.iter().map(|object| object.as_os_str());
    let args = ["-rdynamic"].iter().chain(flags).map(OsStr::new).chain(objects);
    let args: Vec<&OsStr> = args.chain([OsStr::new("-ldl")]).collect();
    compile(&args, &program)?;
    Ok(program)
}

/// Names what is made of `text` and the files of the emulator.
pub(super) fn digest(text: &str) -> String {
    static FILES: OnceLock<String> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        fs::create_dir_all(folder()).expect("target can be written");
        let code = RUNTIME.iter().map(|name| format!("{name}.cpp"));
        let names = code.chain(HEADERS.iter().map(|name| format!("{name}.hpp")));
        let read = |name: String| fs::read_to_string(source(&name)).expect("a file of tests");
        names.map(read).collect::<String>() + &FLAGS.concat()
    });
    format!("{:032x}", xxh3_128(format!("{files}{text}").as_bytes()))
}

/// A shared object of `text`, whose entry points are `kernels`.
pub fn unit(build: Build, text: &str, kernels: &[String]) -> Result<PathBuf, String> {
    let rows: String = kernels
        .iter()
        .map(|k| format!("    emulator::Entry<{k}>::kernel(\"{k}\", {k}_facts, {k}_facts[0]),\n"))
        .collect();
    let text = format!(
        "{text}extern \"C\" const unsigned emulated_count = {};\n\
         extern \"C\" const emulator::Kernel emulated[] = {{\n{rows}}};\n",
        kernels.len()
    );
    let name = digest(&format!("{text}{:?}", build.flags()));
    let (code, object) =
        (folder().join(format!("{name}.cpp")), folder().join(format!("{name}.so")));
    if !object.exists() {
        fs::write(&code, text).map_err(|e| e.to_string())?;
        let header = source("device.hpp");
        let args = FLAGS.iter().chain(build.flags()).map(OsStr::new);
        let files = [OsStr::new("-include"), header.as_os_str(), code.as_os_str()];
        compile(&args.chain(files).collect::<Vec<_>>(), &object)?;
    }
    Ok(object)
}

/// A kernel of a unit.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub unit: Arc<PathBuf>,
    /// Among the kernels of its unit.
    pub position: u32,
    facts: Vec<u32>,
}

impl Constants for Compiled {
    fn threads(&self) -> u32 {
        self.facts[0]
    }

    fn constant(&self, name: &str) -> Result<u32> {
        let known = FACTS.iter().position(|fact| *fact == name);
        let missing = || Error::invalid("a kernel", "a known constant", name, "add it to FACTS");
        known.map(|i| self.facts[i]).ok_or_else(missing)
    }
}

impl launch::Compiled for Compiled {
    fn shared_bytes(&self) -> u32 {
        self.facts[1]
    }
}

type Known = HashMap<(Build, Variant), Result<Compiled, String>>;

/// The compiled kernels of `wanted`, in order. What one test compiles another finds.
pub fn kernels(build: Build, wanted: &[(Variant, Call)]) -> Vec<Result<Compiled, String>> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = || KNOWN.get_or_init(Mutex::default).lock().expect("nothing fails while it looks");
    let mut missing: Vec<(Variant, Call)> = Vec::new();
    for (variant, call) in wanted {
        let new = missing.iter().all(|(v, _)| v != variant);
        if new && !known().contains_key(&(build, variant.clone())) {
            missing.push((variant.clone(), *call));
        }
    }
    thread::scope(|scope| {
        for chunk in missing.chunks(UNIT) {
            scope.spawn(move || {
                let made = together(build, chunk);
                let names = chunk.iter().map(|(variant, _)| (build, variant.clone()));
                known().extend(names.zip(made));
            });
        }
    });
    let known = known();
    wanted.iter().map(|(variant, _)| known[&(build, variant.clone())].clone()).collect()
}

/// Compiles variants as one unit; one by one if not all of them are good.
fn together(build: Build, variants: &[(Variant, Call)]) -> Vec<Result<Compiled, String>> {
    match one_unit(build, variants) {
        Ok(compiled) => compiled.into_iter().map(Ok).collect(),
        Err(error) if variants.len() == 1 => {
            let (variant, _) = &variants[0];
            vec![Err(format!("{} {:?}: {error}", variant.op, variant.defines()))]
        }
        Err(_) => variants.chunks(1).flat_map(|one| together(build, one)).collect(),
    }
}

fn one_unit(build: Build, variants: &[(Variant, Call)]) -> Result<Vec<Compiled>, String> {
    let text = cuda_unit(variants, Some(PTX)).map_err(|e| e.to_string())?;
    let names = variants.iter().enumerate().map(|(i, (v, _))| format!("{}_{i}", v.op));
    compiled(build, &text, &names.collect::<Vec<_>>())
}

/// Words of C++ that stand once in a unit, and what they are replaced by.
pub type Bug = (&'static str, &'static str);

/// One kernel for jobs of all these variants, with a bug if one is given.
pub fn persistent(
    build: Build,
    variants: &[(Variant, Call)],
    bug: Option<Bug>,
) -> Result<Compiled, String> {
    let mut text = cuda_persistent(variants, Some(PTX)).map_err(|e| e.to_string())?;
    if let Some((right, wrong)) = bug {
        assert_eq!(text.matches(right).count(), 1, "{right}");
        text = text.replace(right, wrong);
    }
    Ok(compiled(build, &text, &[PERSISTENT_ENTRY.to_string()])?.remove(0))
}

const PTX: &str = include_str!("../../emulator/ptx.hpp");

fn compiled(build: Build, text: &str, names: &[String]) -> Result<Vec<Compiled>, String> {
    let path = Arc::new(unit(build, text, names)?);
    let output = runner(build)?.arg("facts").arg(&*path).output();
    let output = output.map_err(|e| format!("cannot start the emulator: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let compiled = lines.lines().enumerate().map(|(i, line)| Compiled {
        unit: path.clone(),
        position: i as u32,
        facts: line.split(' ').skip(1).map(|n| n.parse().expect("a number")).collect(),
    });
    Ok(compiled.collect())
}
