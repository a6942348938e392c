//! The element type that a person asks for.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::tensor::DType;
use std::str::FromStr;

/// Element type of activations and weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f16 on a GPU that has it, else f32.
    #[default]
    Auto,
    F32,
    F16,
    Bf16,
}

impl Precision {
    /// What it comes to on a device.
    pub fn on(self, backend: &dyn Backend) -> Precision {
        match (self, backend.preferred()) {
            (Precision::Auto, DType::F16) => Precision::F16,
            (Precision::Auto, DType::BF16) => Precision::Bf16,
            (Precision::Auto, DType::F32 | DType::U32) => Precision::F32,
            (chosen, _) => chosen,
        }
    }
}

impl FromStr for Precision {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Precision::Auto),
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            "bf16" => Ok(Precision::Bf16),
            _ => Err(Error::invalid(
                "--precision",
                "auto, f32, f16 or bf16",
                format!("'{text}'"),
                "choose one of these",
            )),
        }
    }
}
