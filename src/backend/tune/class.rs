//! What two launches must have in common to take one tile.

use crate::ops::Call;
use crate::tensor::DType;
use std::fmt::Write as _;

/// Parameters that change neither how much is computed nor what is read: they do not part classes.
const APART: &[&str] =
    &["map", "act", "act_in", "scale", "eps", "from_x", "from_a", "from_b", "into"];

/// The class of a call on buffers of these types, as text that a person can read:
/// `conv2d x:f32 weight:f32 y:f32 n=1 h=32 w=32 ...`.
pub fn class(call: &Call, dtypes: &[Option<DType>]) -> String {
    let mut text = call.name().to_string();
    for (arg, dtype) in call.args().iter().zip(dtypes) {
        if let Some(dtype) = dtype {
            let _ = write!(text, " {}:{dtype}", arg.name);
        }
    }
    let word = |at: usize| -> u32 { bytemuck::pod_read_unaligned(&call.params()[at..at + 4]) };
    for (name, at) in call.fields().iter().filter(|(name, _)| !APART.contains(name)) {
        let _ = write!(text, " {name}={}", word(*at));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Op, RowMap, conv2d, linear};

    #[test]
    fn what_parts_no_class_is_a_parameter_of_a_product() {
        let fields = [linear::Params::FIELDS, conv2d::Params::FIELDS].concat();
        for name in APART {
            assert!(fields.iter().any(|(field, _)| field == name), "{name}");
        }
        let p = linear::Params { m: 3, k: 5, n: 7, ..bytemuck::Zeroable::zeroed() };
        let elsewhere = linear::Params { from_x: 8, into: 9, ..p };
        assert_eq!(class(&elsewhere.into(), &[]), class(&p.into(), &[]));
    }

    #[test]
    fn a_class_is_shapes_and_types() {
        let p = linear::Params { m: 3, k: 5, n: 7, ..bytemuck::Zeroable::zeroed() };
        let f32s = [Some(DType::F32), Some(DType::F16), None];
        let text = class(&p.into(), &f32s);
        assert!(text.starts_with("linear x:f32 weight:f16 m=3 k=5 n=7"), "{text}");
        let other = linear::Params { act: 2, scale: 0.5, map: RowMap::IDENTITY, ..p };
        assert_eq!(class(&other.into(), &f32s), text);
        assert_ne!(class(&linear::Params { m: 4, ..p }.into(), &f32s), text);
        assert_ne!(class(&p.into(), &[Some(DType::F32), Some(DType::F32), None]), text);
    }
}
