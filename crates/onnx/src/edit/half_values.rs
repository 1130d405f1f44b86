//! Values of 32 bits as values of 16, within bounds.

use crate::proto::{AttributeProto, TensorProto, data_type};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// What becomes of values that f16 has not: as ONNX Runtime's converter has it, numbers nearer to zero than `least` become that
/// (with their sign), larger ones than `most` that; zero, infinities and what is no number stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub least: f32,
    pub most: f32,
}

impl Bounds {
    fn keep(self, value: f32) -> f32 {
        let size = value.abs();
        if size > 0.0 && size < self.least {
            self.least.copysign(value)
        } else if size > self.most && size < f32::INFINITY {
            self.most.copysign(value)
        } else {
            value
        }
    }

    /// Little-endian values of 32 bits as such of 16.
    pub(super) fn halve(self, bytes: &[u8]) -> Vec<u8> {
        const STRIP: usize = 4096;
        let mut out = Vec::with_capacity(bytes.len() / 2);
        let (mut wide, mut narrow) = (Vec::with_capacity(STRIP), vec![f16::ZERO; STRIP]);
        for strip in bytes.as_chunks::<4>().0.chunks(STRIP) {
            wide.clear();
            wide.extend(strip.iter().map(|bytes| self.keep(f32::from_le_bytes(*bytes))));
            let narrow = &mut narrow[..wide.len()];
            narrow.convert_from_f32_slice(&wide);
            out.extend(narrow.iter().flat_map(|value| value.to_le_bytes()));
        }
        out
    }

    /// A tensor whose values are in it.
    pub(super) fn halve_tensor(self, tensor: &mut TensorProto) {
        if tensor.data_type != data_type::FLOAT {
            return;
        }
        let typed = std::mem::take(&mut tensor.float_data);
        let wide = match tensor.raw_data.is_empty() {
            true => typed.iter().flat_map(|value| value.to_le_bytes()).collect(),
            false => std::mem::take(&mut tensor.raw_data),
        };
        tensor.data_type = data_type::FLOAT16;
        tensor.raw_data = self.halve(&wide);
    }

    /// The numbers of a constant, as a tensor: `value` instead of `value_float` and `value_floats`.
    pub(super) fn halve_constant(self, attribute: &mut AttributeProto) {
        let (dims, values) = match attribute.name.as_str() {
            "value_float" => (vec![], vec![attribute.f.unwrap_or_default()]),
            "value_floats" => (vec![attribute.floats.len() as i64], attribute.floats.clone()),
            _ => return,
        };
        let mut tensor =
            TensorProto { dims, data_type: data_type::FLOAT, float_data: values, ..TensorProto::default() };
        self.halve_tensor(&mut tensor);
        *attribute = crate::graph::attr_tensor("value", tensor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_half_precision_has_not_is_brought_to_the_bounds() {
        let bounds = Bounds { least: 1e-7, most: 1e4 };
        let values =
            [0.0, -0.0, 1e-9, -1e-9, 1.5, 20_000.0, -1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let halves = bounds.halve(&bytes);
        let halves: Vec<f16> = halves.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
        let least = f16::from_bits(2); // 1.19e-7, the nearest to 1e-7
        let most = f16::from_f32(1e4);
        let wanted = [
            f16::ZERO,
            f16::NEG_ZERO,
            least,
            -least,
            f16::from_f32(1.5),
            most,
            -most,
            f16::INFINITY,
            f16::NEG_INFINITY,
        ];
        let bits = |values: &[f16]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&halves[..9]), bits(&wanted));
        assert!(halves[9].is_nan());
    }
}
