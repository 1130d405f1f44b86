//! MatMulNBitsToQDQ: products with codes become `DequantizeLinear` and `MatMul`, for runtimes that know no `MatMulNBits`.

use super::graph_file::{Data, GraphFile, int_attribute, node, sizes};
use super::{Outcome, unchanged};
use crate::graph::{attr_int, attr_ints};
use crate::proto::{NodeProto, data_type};
use olive_core::Result;
use std::sync::Arc;

/// Which codes are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignedCodes {
    #[default]
    No,
    /// Those of 4 bits.
    FourBits,
    All,
}

/// How the nodes are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QdqOptions {
    /// Weights as they lie, and a `Transpose` in the graph; else they are transposed in the file.
    pub use_transpose_op: bool,
    pub signed: SignedCodes,
    /// Zero points also where all are zero.
    pub add_zero_point: bool,
    /// Names of nodes that stay.
    pub nodes_to_exclude: Vec<String>,
}

/// # Errors
/// A tensor that cannot be read.
pub fn matmul_nbits_to_qdq(file: &mut GraphFile, options: &QdqOptions) -> Result<Outcome> {
    let (mut changed, mut left) = (0, Vec::new());
    let mut opset = 21;
    let mut place = 0;
    while place < file.graph().node.len() {
        let node = file.graph().node[place].clone();
        if node.op_type != "MatMulNBits" || options.nodes_to_exclude.contains(&node.name) {
            place += 1;
            continue;
        }
        match Weight::of(file, &node)? {
            None => {
                left.push(node.name.clone());
                place += 1;
            }
            Some(weight) => {
                if weight.bits == 2 {
                    opset = 25;
                }
                place += replace(file, place, &node, weight, options)?;
                changed += 1;
            }
        }
    }
    if changed == 0 {
        return unchanged("no MatMulNBits has its codes in tensors of its own");
    }
    file.raise_opset(opset);
    file.remove_unused();
    let mut message = format!("{changed} products became DequantizeLinear and MatMul");
    if !left.is_empty() {
        message.push_str(&format!(
            "; {} stay, as their codes are shared or come from another node: {}",
            left.len(),
            left.join(", ")
        ));
    }
    Ok(Outcome::Changed(message))
}

/// The matrix of a product, `[rows, cols]`.
#[derive(Debug, Clone)]
struct Weight {
    codes: String,
    scales: String,
    zeros: Option<String>,
    bits: usize,
    block: usize,
    rows: usize,
    cols: usize,
    float: i32,
}

impl Weight {
    /// `None`: it is not all in tensors of the graph.
    fn of(file: &GraphFile, node: &NodeProto) -> Result<Option<Weight>> {
        let number = |name: &str| int_attribute(node, name).and_then(|n| usize::try_from(n).ok());
        let bits = number("bits").unwrap_or(4);
        let (Some(block), Some(rows), Some(cols)) = (number("block_size"), number("N"), number("K")) else {
            return Ok(None);
        };
        let input = |place: usize| node.input.get(place).filter(|name| !name.is_empty()).cloned();
        let (Some(codes), Some(scales)) = (input(1), input(2)) else { return Ok(None) };
        let zeros = input(3);
        let own = |name: &String| file.initializer(name).is_some();
        if block == 0 || ![2, 4, 8].contains(&bits) || ![&codes, &scales].into_iter().chain(&zeros).all(own) {
            return Ok(None);
        }
        if let Some(order) = input(4) {
            // An order of the columns has no counterpart, unless it is the one they have.
            if !own(&order) || !is_trivial(&file.data().bytes(&order)?, block) {
                return Ok(None);
            }
        }
        let float = file.initializer(&scales).map_or(data_type::FLOAT, |tensor| tensor.data_type);
        let float_zeros = zeros
            .as_ref()
            .and_then(|zeros| file.initializer(zeros))
            .is_some_and(|t| t.data_type != data_type::UINT8);
        let weight = Weight { codes, scales, zeros, bits, block, rows, cols, float };
        let blob = (block * bits).div_ceil(8);
        let fits = file
            .initializer(&weight.codes)
            .is_some_and(|tensor| sizes(tensor).iter().product::<usize>() == rows * weight.blocks() * blob);
        Ok((fits && !float_zeros).then_some(weight))
    }

    fn blocks(&self) -> usize {
        self.cols.div_ceil(self.block)
    }

    fn middle(&self) -> u8 {
        1 << (self.bits - 1)
    }

    /// The code at a place.
    fn code(&self, codes: &[u8], row: usize, col: usize) -> u8 {
        let blob = (self.block * self.bits).div_ceil(8);
        let start = (row * self.blocks() + col / self.block) * blob;
        unpacked(codes, start, col % self.block, self.bits)
    }

    fn zero(&self, zeros: Option<&[u8]>, row: usize, block: usize) -> u8 {
        let width = (self.blocks() * self.bits).div_ceil(8);
        zeros.map_or(self.middle(), |zeros| unpacked(zeros, row * width, block, self.bits))
    }
}

fn unpacked(bytes: &[u8], start: usize, index: usize, bits: usize) -> u8 {
    let byte = bytes.get(start + index * bits / 8).copied().unwrap_or_default();
    byte >> (index * bits % 8) & ((1u16 << bits) - 1) as u8
}

/// Whether every column is in the block that it stands in.
fn is_trivial(order: &[u8], block: usize) -> bool {
    let places = order.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes));
    places.enumerate().all(|(column, place)| usize::try_from(place) == Ok(column / block))
}

/// Puts the new nodes in the place of the old one; gives their number.
fn replace(
    file: &mut GraphFile,
    place: usize,
    old: &NodeProto,
    weight: Weight,
    options: &QdqOptions,
) -> Result<usize> {
    let named = |part: &str| {
        let known =
            ["MatMulNBits", "MatMul_Q4", "MatMul_Q8"].into_iter().find(|known| old.name.contains(known));
        known.map_or_else(|| format!("{}_{part}", old.name), |known| old.name.replace(known, part))
    };
    let dequantize = file.free_node_name(&named("DequantizeLinear"));
    let zeros = match &weight.zeros {
        None => None,
        Some(zeros) => Some(file.data().bytes(zeros)?.into_owned()),
    };
    let blocks = weight.blocks();
    let all_middle = (0..weight.rows)
        .all(|row| (0..blocks).all(|block| weight.zero(zeros.as_deref(), row, block) == weight.middle()));
    let signed = match options.signed {
        SignedCodes::No => false,
        SignedCodes::FourBits => weight.bits == 4,
        SignedCodes::All => true,
    };
    let with_zeros = !signed || options.add_zero_point || !all_middle;
    let by_row = options.use_transpose_op;
    let element = match (weight.bits, signed) {
        (2, false) => data_type::UINT2,
        (2, true) => data_type::INT2,
        (4, false) => data_type::UINT4,
        (4, true) => data_type::INT4,
        (_, false) => data_type::UINT8,
        (_, true) => data_type::INT8,
    };
    let shape = |inner: usize| if by_row { [weight.rows, inner] } else { [inner, weight.rows] };
    let part = |what: &str| format!("{dequantize}.{what}");
    let single = blocks == 1;
    let dims = |inner: usize| if single { vec![weight.rows] } else { shape(inner).to_vec() };
    let maker = |what: What| {
        let maker = Maker { weight: weight.clone(), by_row, signed };
        Arc::new(move |data: &Data| maker.make(data, what))
    };
    file.add(&part("qweight"), element, &shape(weight.cols), maker(What::Codes));
    file.add(&part("scales"), weight.float, &dims(blocks), maker(What::Scales));
    let mut inputs = vec![part("qweight"), part("scales")];
    if with_zeros {
        file.add(&part("qzeros"), element, &dims(blocks), maker(What::Zeros));
        inputs.push(part("qzeros"));
    }
    let axis = if single { i64::from(!by_row) } else { i64::from(by_row) };
    let mut attributes = vec![attr_int("axis", axis)];
    if !single {
        attributes.push(attr_int("block_size", weight.block as i64));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let float = format!("{dequantize}/output_0");
    let mut nodes = vec![node("DequantizeLinear", &dequantize, &inputs, &[&float], attributes)];
    let mut operand = float;
    if by_row {
        let name = file.free_node_name(&named("Transpose"));
        let output = format!("{name}/output_0");
        nodes.push(node("Transpose", &name, &[&operand], &[&output], vec![attr_ints("perm", &[1, 0])]));
        operand = output;
    }
    let bias = old.input.get(5).filter(|name| !name.is_empty());
    let product = file.free_node_name(&named("MatMul"));
    let result = old.output[0].as_str();
    let between = format!("{product}/product_0");
    let output = if bias.is_some() { between.as_str() } else { result };
    nodes.push(node("MatMul", &product, &[&old.input[0], &operand], &[output], vec![]));
    if let Some(bias) = bias {
        let name = file.free_node_name(&named("Add"));
        nodes.push(node("Add", &name, &[&between, bias], &[result], vec![]));
    }
    let count = nodes.len();
    file.graph_mut().node.splice(place..=place, nodes);
    Ok(count)
}

#[derive(Clone, Copy)]
enum What {
    Codes,
    Scales,
    Zeros,
}

/// Makes the tensors of a `DequantizeLinear`.
struct Maker {
    weight: Weight,
    by_row: bool,
    signed: bool,
}

impl Maker {
    fn make(&self, data: &Data, what: What) -> Result<Vec<u8>> {
        let weight = &self.weight;
        let shift = if self.signed { weight.middle() } else { 0 };
        match what {
            What::Codes => {
                let codes = data.bytes(&weight.codes)?;
                Ok(self.packed(weight.cols, |row, col| weight.code(&codes, row, col).wrapping_sub(shift)))
            }
            What::Zeros => {
                let zeros = weight.zeros.as_ref().map(|zeros| data.bytes(zeros)).transpose()?;
                let zero = |row, block| weight.zero(zeros.as_deref(), row, block).wrapping_sub(shift);
                Ok(self.packed(weight.blocks(), zero))
            }
            What::Scales => {
                let scales = data.bytes(&weight.scales)?;
                let size = data_type::bits(weight.float).unwrap_or(32) as usize / 8;
                let mut out = Vec::with_capacity(scales.len());
                self.each(weight.blocks(), |row, block| {
                    let start = (row * weight.blocks() + block) * size;
                    out.extend_from_slice(scales.get(start..start + size).unwrap_or(&[0; 8][..size]));
                });
                Ok(out)
            }
        }
    }

    /// Calls `f(row, column)` in the order in which the tensor has its elements.
    fn each(&self, cols: usize, mut f: impl FnMut(usize, usize)) {
        if self.by_row {
            (0..self.weight.rows).for_each(|row| (0..cols).for_each(|col| f(row, col)));
        } else {
            (0..cols).for_each(|col| (0..self.weight.rows).for_each(|row| f(row, col)));
        }
    }

    /// Codes one after the other over the whole tensor, the first in the lowest bits.
    fn packed(&self, cols: usize, code: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        let bits = self.weight.bits;
        let mask = ((1u16 << bits) - 1) as u8;
        let mut out = vec![0u8; (self.weight.rows * cols * bits).div_ceil(8)];
        let mut index = 0;
        self.each(cols, |row, col| {
            out[index * bits / 8] |= (code(row, col) & mask) << (index * bits % 8);
            index += 1;
        });
        out
    }
}
