//! Float matrices of a graph as codes: every `MatMul` with one becomes `MatMulNBits`, and a `Gather` from one
//! `GatherBlockQuantized`.

use super::graph_file::{Data, GraphFile, Made, int_attribute, node, sizes};
use super::hqq;
use super::{Outcome, unchanged};
use crate::graph::{MICROSOFT, attr_int};
use crate::proto::{NodeProto, data_type};
use half::{bf16, f16};
use olive_core::Result;
use olive_kernels::quant::{Algorithm, BlockFormat, FloatType, QuantisedRows, Rounding, WeightFormat};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How codes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// ONNX Runtime's default; of the methods the one for tables of embeddings.
    Rtn { symmetric: bool },
    /// That of Intel's compressor: the grid of a block is as wide as its values, zero included.
    CompressorRtn { symmetric: bool },
    /// Weighted least squares, with zero points.
    KQuant,
    /// Half-quadratic, with zero points in float; 4 bits.
    Hqq,
}

/// Bits and block of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// 4 or 8.
    pub bits: u8,
    pub block_size: usize,
}

/// What is quantised, and how.
#[derive(Debug, Clone)]
pub struct WeightOptions {
    pub method: Method,
    /// `MatMul`, and `Gather` for tables of embeddings.
    pub operators: Vec<String>,
    pub width: Width,
    /// Of single nodes, by name.
    pub widths: BTreeMap<String, Width>,
    /// 0 leaves the kernel its choice.
    pub accuracy_level: i64,
    pub nodes_to_exclude: Vec<String>,
    /// `None`: all.
    pub nodes_to_include: Option<Vec<String>>,
}

/// # Errors
/// A tensor that cannot be read.
pub fn quantise_weights(file: &mut GraphFile, options: &WeightOptions) -> Result<Outcome> {
    let mut changed = 0;
    for place in 0..file.graph().node.len() {
        let old = file.graph().node[place].clone();
        let included = options.nodes_to_include.as_ref().is_none_or(|names| names.contains(&old.name));
        let included = included && options.operators.contains(&old.op_type);
        if !included || options.nodes_to_exclude.contains(&old.name) {
            continue;
        }
        let width = options.widths.get(&old.name).copied().unwrap_or(options.width);
        let new = match (old.op_type.as_str(), options.method) {
            ("MatMul", _) => product(file, &old, width, options),
            ("Gather", Method::Rtn { symmetric }) => lookup(file, &old, width, symmetric),
            _ => None,
        };
        if let Some(new) = new {
            file.graph_mut().node[place] = new;
            changed += 1;
        }
    }
    if changed == 0 {
        return unchanged("no product has a float matrix of its own");
    }
    file.import(MICROSOFT);
    file.remove_unused();
    Ok(Outcome::Changed(format!("{changed} matrices became codes")))
}

fn float_type(kind: i32) -> Option<FloatType> {
    match kind {
        data_type::FLOAT => Some(FloatType::F32),
        data_type::FLOAT16 => Some(FloatType::F16),
        data_type::BFLOAT16 => Some(FloatType::Bf16),
        _ => None,
    }
}

/// `None`: the node is no product with a float matrix.
fn product(
    file: &mut GraphFile,
    old: &NodeProto,
    width: Width,
    options: &WeightOptions,
) -> Option<NodeProto> {
    let weight = old.input.get(1)?.clone();
    let tensor = file.initializer(&weight)?;
    let (&[cols, rows], float) = (sizes(tensor).as_slice(), float_type(tensor.data_type)?) else {
        return None;
    };
    let kind = tensor.data_type;
    if rows == 0 || cols == 0 {
        return None;
    }
    let Width { bits, block_size } = width;
    let blocks = cols.div_ceil(block_size);
    let matrix = Matrix { weight: weight.clone(), float, rows, cols, transposed: true };
    let format = |algorithm, symmetric| BlockFormat {
        algorithm,
        bits,
        block_size,
        symmetric,
        rounding: Rounding::HalvesUp,
        float,
    };
    let codes = match options.method {
        Method::Rtn { symmetric } => Codes::of(matrix, Coding::Blocks(format(Algorithm::Default, symmetric))),
        Method::CompressorRtn { symmetric } => {
            Codes::of(matrix, Coding::Blocks(format(Algorithm::Rtn, symmetric)))
        }
        Method::KQuant => Codes::of(matrix, Coding::Blocks(format(Algorithm::KQuant, false))),
        Method::Hqq => Codes::of(matrix, Coding::Hqq { block_size }),
    };
    let blob = block_size * usize::from(bits) / 8;
    let names = Names::of(&weight, bits, matches!(options.method, Method::Hqq));
    file.add(&names.codes, data_type::UINT8, &[rows, blocks, blob], codes.part(Part::Codes));
    file.add(&names.scales, kind, &[rows * blocks], codes.part(Part::Scales));
    let mut inputs = vec![old.input[0].clone(), names.codes, names.scales];
    match options.method {
        Method::Rtn { symmetric: true } | Method::CompressorRtn { symmetric: true } => {}
        Method::Rtn { symmetric: false } | Method::CompressorRtn { symmetric: false } | Method::KQuant => {
            let bytes = (blocks * usize::from(bits)).div_ceil(8);
            file.add(&names.zeros, data_type::UINT8, &[rows * bytes], codes.part(Part::Zeros));
            inputs.push(names.zeros);
        }
        Method::Hqq => {
            file.add(&names.zeros, kind, &[rows * blocks], codes.part(Part::Zeros));
            inputs.push(names.zeros);
        }
    }
    let mut attributes = vec![
        attr_int("K", cols as i64),
        attr_int("N", rows as i64),
        attr_int("bits", i64::from(bits)),
        attr_int("block_size", block_size as i64),
    ];
    if options.accuracy_level > 0 {
        attributes.push(attr_int("accuracy_level", options.accuracy_level));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let outputs: Vec<&str> = old.output.iter().map(String::as_str).collect();
    Some(node("MatMulNBits", &format!("{}_Q{bits}", old.name), &inputs, &outputs, attributes))
}

/// `None`: the node looks nothing up in a float matrix, or its rows are no whole bytes of codes.
fn lookup(file: &mut GraphFile, old: &NodeProto, width: Width, symmetric: bool) -> Option<NodeProto> {
    if int_attribute(old, "axis").unwrap_or(0) != 0 {
        return None;
    }
    let weight = old.input.first()?.clone();
    let tensor = file.initializer(&weight)?;
    let (&[rows, cols], float) = (sizes(tensor).as_slice(), float_type(tensor.data_type)?) else {
        return None;
    };
    let kind = tensor.data_type;
    let Width { bits, block_size } = width;
    let row = cols * usize::from(bits);
    if rows == 0 || row == 0 || row % 8 != 0 {
        return None;
    }
    let blocks = cols.div_ceil(block_size);
    let matrix = Matrix { weight: weight.clone(), float, rows, cols, transposed: false };
    let codes = Codes::of(matrix, Coding::Table { bits, block_size, symmetric });
    let names = Names::of(&weight, bits, false);
    file.add(&names.codes, data_type::UINT8, &[rows, row / 8], codes.part(Part::Codes));
    file.add(&names.scales, kind, &[rows, blocks], codes.part(Part::Scales));
    let mut inputs = vec![names.codes, old.input.get(1)?.clone(), names.scales];
    if !symmetric {
        let bytes = (blocks * usize::from(bits)).div_ceil(8);
        file.add(&names.zeros, data_type::UINT8, &[rows, bytes], codes.part(Part::Zeros));
        inputs.push(names.zeros);
    }
    let attributes = vec![
        attr_int("gather_axis", 0),
        attr_int("quantize_axis", 1),
        attr_int("block_size", block_size as i64),
        attr_int("bits", i64::from(bits)),
    ];
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let outputs: Vec<&str> = old.output.iter().map(String::as_str).collect();
    Some(node("GatherBlockQuantized", &format!("{}_Q{bits}", old.name), &inputs, &outputs, attributes))
}

struct Names {
    codes: String,
    scales: String,
    zeros: String,
}

impl Names {
    fn of(weight: &str, bits: u8, several: bool) -> Names {
        let zeros = if several { "zero_points" } else { "zero_point" };
        Names {
            codes: format!("{weight}_Q{bits}"),
            scales: format!("{weight}_scales"),
            zeros: format!("{weight}_{zeros}"),
        }
    }
}

/// A float tensor as rows that share scales: `[rows, cols]`, or the transpose of what lies there.
struct Matrix {
    weight: String,
    float: FloatType,
    rows: usize,
    cols: usize,
    transposed: bool,
}

impl Matrix {
    fn read(&self, data: &Data) -> Result<Vec<f32>> {
        let bytes = data.bytes(&self.weight)?;
        let value = |at: usize| match self.float {
            FloatType::F32 => {
                f32::from_le_bytes([bytes[4 * at], bytes[4 * at + 1], bytes[4 * at + 2], bytes[4 * at + 3]])
            }
            FloatType::F16 => f16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]).to_f32(),
            FloatType::Bf16 => bf16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]).to_f32(),
        };
        if bytes.len() != self.rows * self.cols * self.float.size() {
            return Err(data.damaged(&self.weight, "has not the size of its shape").into());
        }
        if !self.transposed {
            return Ok((0..self.rows * self.cols).map(value).collect());
        }
        let mut out = vec![0.0; self.rows * self.cols];
        for col in 0..self.cols {
            (0..self.rows).for_each(|row| out[row * self.cols + col] = value(col * self.rows + row));
        }
        Ok(out)
    }
}

/// How a matrix becomes codes.
#[derive(Clone, Copy)]
enum Coding {
    Blocks(BlockFormat),
    Table { bits: u8, block_size: usize, symmetric: bool },
    Hqq { block_size: usize },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Codes,
    Scales,
    Zeros,
}

/// The codes of a matrix, made when the first of its tensors is written and forgotten after the last.
struct Codes {
    matrix: Matrix,
    coding: Coding,
    made: Mutex<Option<Parts>>,
}

struct Parts {
    codes: Vec<u8>,
    scales: Vec<u8>,
    zeros: Vec<u8>,
}

impl Codes {
    fn of(matrix: Matrix, coding: Coding) -> Arc<Codes> {
        Arc::new(Codes { matrix, coding, made: Mutex::new(None) })
    }

    /// What makes one of its tensors. They are written in the order of [`Part`].
    fn part(self: &Arc<Codes>, part: Part) -> Made {
        let codes = Arc::clone(self);
        Arc::new(move |data: &Data| {
            let mut made = codes.made.lock().unwrap_or_else(PoisonError::into_inner);
            let mut parts = match made.take() {
                Some(parts) => parts,
                None => codes.make(data)?,
            };
            let bytes = match part {
                Part::Codes => std::mem::take(&mut parts.codes),
                Part::Scales => std::mem::take(&mut parts.scales),
                Part::Zeros => return Ok(parts.zeros),
            };
            if part == Part::Codes || !parts.zeros.is_empty() {
                *made = Some(parts);
            }
            Ok(bytes)
        })
    }

    fn make(&self, data: &Data) -> Result<Parts> {
        let mut values = self.matrix.read(data)?;
        let (float, cols) = (self.matrix.float, self.matrix.cols);
        Ok(match self.coding {
            Coding::Blocks(format) => {
                let mut rows = QuantisedRows::default();
                format.quantise(&mut values, cols, &mut rows);
                Parts { codes: rows.codes, scales: float.to_bytes(&rows.scales), zeros: rows.zero_points }
            }
            Coding::Hqq { block_size } => {
                let hqq = hqq::quantise(&values, cols, block_size);
                Parts {
                    codes: hqq.codes,
                    scales: float.to_bytes(&hqq.scales),
                    zeros: float.to_bytes(&hqq.zeros),
                }
            }
            Coding::Table { bits, block_size, symmetric } => {
                let mut parts = Parts { codes: Vec::new(), scales: Vec::new(), zeros: Vec::new() };
                for row in values.chunks_exact(cols) {
                    table_row(row, bits, block_size, symmetric, float, &mut parts);
                }
                parts
            }
        })
    }
}

/// One row of an embedding.
fn table_row(row: &[f32], bits: u8, block_size: usize, symmetric: bool, float: FloatType, parts: &mut Parts) {
    let middle = 1i32 << (bits - 1);
    let top = (2 * middle - 1) as f32;
    let (mut codes, mut zeros) = (Vec::with_capacity(row.len()), Vec::new());
    for block in row.chunks(block_size) {
        let least = block.iter().copied().fold(f32::INFINITY, f32::min);
        let most = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (scale, zero) = if symmetric {
            let extreme = if most.abs() > least.abs() { most } else { least };
            (extreme / -(middle as f32), middle as f32)
        } else {
            let (least, most) = (least.min(0.0), most.max(0.0));
            let scale = (most - least) / top;
            let zero =
                if scale == 0.0 { middle as f32 } else { (-least / scale).round_ties_even().clamp(0.0, top) };
            (scale, zero)
        };
        let mut rounded = [scale];
        float.round(&mut rounded);
        let [scale] = rounded;
        let code = |x: &f32| {
            let level = if scale == 0.0 { 0.0 } else { x / scale };
            // Zero is a whole number, but halves are rounded to even after it was added.
            (level + zero).round_ties_even().clamp(0.0, top) as u8
        };
        codes.extend(block.iter().map(code));
        zeros.push(zero as u8);
        parts.scales.extend(float.to_bytes(&[scale]));
    }
    let pack = |values: &[u8], out: &mut Vec<u8>| match bits {
        8 => out.extend_from_slice(values),
        _ => out.extend(values.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or(0) << 4)),
    };
    pack(&codes, &mut parts.codes);
    if !symmetric {
        pack(&zeros, &mut parts.zeros);
    }
}
