//! NVRTC: kernel sources to machine code of a GPU that need not be there.

use crate::error::{Error, Result};
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char};

/// Architectures whose machine code this build knows how to make, as compute capabilities.
pub const ARCHITECTURES: [u32; 7] = [75, 80, 86, 89, 90, 100, 120];

/// What a kernel is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Machine code (a cubin) of this compute capability.
    Machine(u32),
    /// PTX for this compute capability and later ones: the driver makes machine code of it.
    Virtual(u32),
}

impl Target {
    /// What a device of compute capability `capability` runs.
    pub fn of(capability: u32) -> Target {
        let older = ARCHITECTURES.into_iter().filter(|known| *known <= capability).max();
        match older {
            Some(known) if known == capability => Target::Machine(known),
            Some(known) => Target::Virtual(known),
            None => Target::Virtual(ARCHITECTURES[0]),
        }
    }

    /// `sm_90` or `compute_90`: the word of `--gpu-architecture`.
    pub fn name(self) -> String {
        match self {
            Target::Machine(capability) => format!("sm_{capability}"),
            Target::Virtual(capability) => format!("compute_{capability}"),
        }
    }
}

/// What came of a compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The cubin, or PTX with its final zero.
    pub image: Vec<u8>,
    /// What the compiler said: registers, memory and spills of each kernel.
    pub log: String,
}

/// NVRTC, found.
#[derive(Clone, Copy, Debug)]
pub struct Compiler {
    /// Major and minor version.
    pub version: (i32, i32),
}

impl Compiler {
    /// The compiler of this machine, if it has one.
    pub fn find() -> Option<Compiler> {
        // SAFETY: the libraries' initialisers are NVIDIA's; nothing of them is called before this
        // says that one is there.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        let (mut major, mut minor) = (0, 0);
        // SAFETY: two integers to be written, alive for the call.
        let status = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
        status.result().ok().map(|()| Compiler { version: (major, minor) })
    }

    /// Compiles `source`, which messages call `name`.
    ///
    /// # Errors
    /// `Error::Invalid` with the compiler's own words if the source does not compile.
    pub fn compile(&self, name: &str, source: &str, target: Target) -> Result<Compiled> {
        let named = CString::new(format!("{name}.cu"));
        let (Ok(text), Ok(named)) = (CString::new(source), named) else {
            return Err(refused(name, target, "a zero byte in the source"));
        };
        let program = Program::new(&text, &named).map_err(|e| refused(name, target, &e))?;
        let options = [
            format!("--gpu-architecture={}", target.name()),
            "--std=c++17".into(),
            "--ptxas-options=-v".into(),
            // Constants of other ops.
            "--diag-suppress=177".into(),
        ];
        // SAFETY: the program is alive until the end of this function.
        let status = unsafe { result::compile_program(program.0, &options) };
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) };
        let log = log.map(|log| words(&log)).unwrap_or_default();
        if let Err(e) = status {
            return Err(refused(name, target, &format!("{e}: {}", log.trim())));
        }
        let image = match target {
            Target::Machine(_) => program.machine_code(),
            Target::Virtual(_) => program.ptx(),
        };
        let image = image.map_err(|e| refused(name, target, &e))?;
        Ok(Compiled { image, log })
    }
}

/// A program of NVRTC, destroyed when it is dropped.
struct Program(sys::nvrtcProgram);

impl Program {
    fn new(source: &CStr, name: &CStr) -> Result<Program, String> {
        result::create_program(source, Some(name)).map(Program).map_err(|e| e.to_string())
    }

    fn machine_code(&self) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program is alive; the size is written.
        unsafe { sys::nvrtcGetCUBINSize(self.0, &mut size) }.result().map_err(|e| e.to_string())?;
        let mut image = vec![0_u8; size];
        // SAFETY: the buffer has the size that was asked for.
        let status = unsafe { sys::nvrtcGetCUBIN(self.0, image.as_mut_ptr().cast::<c_char>()) };
        status.result().map_err(|e| e.to_string())?;
        Ok(image)
    }

    fn ptx(&self) -> Result<Vec<u8>, String> {
        // SAFETY: the program is alive.
        let ptx = unsafe { result::get_ptx(self.0) }.map_err(|e| e.to_string())?;
        Ok(ptx.into_iter().map(|c| c as u8).collect())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `create_program` and destroyed once. An error leaves nothing to be done.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn words(log: &[c_char]) -> String {
    let bytes: Vec<u8> = log.iter().map(|c| *c as u8).take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refused(name: &str, target: Target, found: &str) -> Error {
    Error::invalid(
        format!("kernel {name} for {}", target.name()),
        "a source that NVRTC compiles",
        found,
        "this is an error in the program, please report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_runs_its_own_code_or_what_came_before_it() {
        for (capability, target) in [
            (75, Target::Machine(75)),
            (87, Target::Virtual(86)),
            (90, Target::Machine(90)),
            (121, Target::Virtual(120)),
            (70, Target::Virtual(75)),
        ] {
            assert_eq!(Target::of(capability), target, "{capability}");
        }
        assert_eq!(Target::of(90).name(), "sm_90");
        assert_eq!(Target::of(103).name(), "compute_100");
    }
}
