//! A linear layer in 4 bits, as bitsandbytes serialises it: `<name>.weight` (codes), `.absmax`, `.quant_map`, with double
//! quantisation `.nested_absmax` and `.nested_quant_map`, and `.quant_state.bitsandbytes__<type>`, a JSON text as bytes.

use super::FourBitMatrix;
use super::four_bit::{Bytes, StoredScales};
use super::mapped_tensor::{MappedTensor, read_floats};
use candle_core::DType;
use olive_kernels::first_not_finite;
use olive_kernels::quant::double_quant::{self, DYNAMIC_MAP};
use olive_kernels::quant::nf4::{self, Code};
use serde::{Deserialize, Serialize};

/// `nested_offset` and the rest of a matrix's state.
#[derive(Serialize, Deserialize)]
pub(crate) struct QuantState {
    pub(crate) quant_type: Code,
    pub(crate) blocksize: usize,
    pub(crate) dtype: String,
    pub(crate) shape: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nested_blocksize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nested_dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nested_offset: Option<f32>,
}

/// What follows the name of a weight in that of its state, before the name of the type.
pub(crate) const STATE: &str = ".quant_state.bitsandbytes__";

/// The tensors that belong to a weight beside its codes and its state.
pub(crate) const BESIDE: [&str; 4] = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"];

/// The matrix whose tensors `part` gives by what follows the name of the weight.
///
/// # Errors
/// Why the tensors are none that can be read.
pub(crate) fn matrix(
    code: Code,
    part: &dyn Fn(&str) -> Option<MappedTensor>,
) -> Result<FourBitMatrix, String> {
    let needed = |suffix: &str| part(suffix).ok_or_else(|| format!("`{suffix}` is missing"));
    let state = needed(&format!("{STATE}{}", code.name()))?;
    let state: QuantState =
        serde_json::from_slice(state.bytes()).map_err(|e| format!("its state cannot be read: {e}"))?;
    let shape = state.shape;
    let count = shape[0].checked_mul(shape[1]).and_then(|n| n.checked_mul(4)).map(|bytes| bytes / 4);
    let count = count.ok_or("it is too large")?;
    if state.blocksize != nf4::BLOCK || state.nested_blocksize.is_some_and(|size| size != double_quant::BLOCK)
    {
        return Err(format!("its blocks are of {} weights, where {} are read", state.blocksize, nf4::BLOCK));
    }
    if state.quant_type != code {
        return Err("its state is of another type".into());
    }
    let blocks = count.div_ceil(nf4::BLOCK);
    let sized = |suffix: &str, bytes: usize| {
        let tensor = needed(suffix)?;
        match tensor.bytes().len() == bytes {
            true => Ok(tensor),
            false => Err(format!("`{}` has a wrong size", tensor.name)),
        }
    };
    expect_map(part(".quant_map"), &code.table())?;
    let codes = Bytes::Mapped(sized("", count.div_ceil(2))?);
    let scales = match state.nested_offset {
        Some(offset) if offset.is_finite() => {
            expect_map(part(".nested_quant_map"), &DYNAMIC_MAP[..])?;
            let absmax = sized(".nested_absmax", 4 * blocks.div_ceil(double_quant::BLOCK))?;
            let absmax = floats(&absmax)?.into();
            StoredScales::Nested { codes: Bytes::Mapped(sized(".absmax", blocks)?), absmax, offset }
        }
        Some(_) => return Err("the mean of its scales is not finite".into()),
        None => StoredScales::Plain(Bytes::Mapped(sized(".absmax", 4 * blocks)?)),
    };
    Ok(FourBitMatrix { shape, code, codes, scales })
}

/// Whether codes stand for the values that they are known to stand for, but for how a division rounded.
fn expect_map(found: Option<MappedTensor>, known: &[f32]) -> Result<(), String> {
    let Some(found) = found else { return Ok(()) };
    let values = floats(&found)?;
    let alike = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6;
    if values.len() != known.len() || !values.iter().zip(known).all(alike) {
        return Err(format!("`{}` is not the table of its type", found.name));
    }
    Ok(())
}

fn floats(tensor: &MappedTensor) -> Result<Vec<f32>, String> {
    if tensor.dtype != DType::F32 {
        return Err(format!("`{}` is of type {}", tensor.name, tensor.dtype.as_str()));
    }
    let mut values = vec![0.0; tensor.bytes().len() / 4];
    read_floats(tensor.dtype, tensor.bytes(), &mut values, &tensor.name).map_err(|e| e.to_string())?;
    match first_not_finite(&values) {
        None => Ok(values),
        Some(near) => {
            Err(format!("tensor `{}` holds values that are not finite, near element {near}", tensor.name))
        }
    }
}
