//! ShareEmbeddingLmHead: the head of a tied model reads the 8-bit codes of the embedding.

use super::graph_file::{GraphFile, int_attribute, node, sizes};
use super::{Outcome, unchanged};
use crate::OnnxError;
use crate::graph::attr_int;
use crate::proto::{NodeProto, data_type};
use half::{bf16, f16};
use olive_core::Result;
use std::borrow::Cow;

/// Rows that are compared to see whether both are one matrix.
const LOOKED_AT: usize = 64;

/// # Errors
/// The head has other values than the embedding: the model is not tied. A tensor that cannot be read.
pub fn share_embedding_head(file: &mut GraphFile) -> Result<Outcome> {
    let find = |op: &str, part: &str| {
        let fits = |node: &NodeProto| node.op_type == op && node.name.contains(part);
        file.graph().node.iter().position(fits)
    };
    let lookup = find("GatherBlockQuantized", "embed_tokens").map(|place| file.graph().node[place].clone());
    let Some(lookup) = lookup.filter(|lookup| int_attribute(lookup, "bits") == Some(8)) else {
        return unchanged("there is no embedding of 8 bits; QuantizeEmbeddingInt8 before it makes one");
    };
    let Some(head) = find("MatMulNBits", "lm_head") else { return unchanged("the head is no MatMulNBits") };
    let head_node = file.graph().node[head].clone();
    let block =
        int_attribute(&lookup, "block_size").and_then(|block| usize::try_from(block).ok()).unwrap_or(32);
    let Some(codes) = lookup.input.first().and_then(|name| file.initializer(name)) else {
        return unchanged("the embedding is no matrix of its own");
    };
    let &[vocab, hidden] = sizes(codes).as_slice() else { return unchanged("the embedding is no matrix") };
    if block == 0 || hidden % block != 0 {
        return unchanged("the rows of the embedding are not divided by its blocks");
    }
    if !are_alike(file, &lookup, &head_node, [vocab, hidden])? {
        return Err(OnnxError::NotTied.into());
    }
    let (shape, reshaped) = ("lm_head.MatMulNBits.reshape_shape", "lm_head.MatMulNBits.reshaped_weight");
    file.add_ints(shape, &[vocab as i64, (hidden / block) as i64, block as i64]);
    let reshape =
        node("Reshape", "/lm_head/MatMulNBits/Reshape", &[&lookup.input[0], shape], &[reshaped], vec![]);
    let mut attributes = vec![
        attr_int("K", hidden as i64),
        attr_int("N", vocab as i64),
        attr_int("bits", 8),
        attr_int("block_size", block as i64),
    ];
    attributes
        .extend(int_attribute(&head_node, "accuracy_level").map(|level| attr_int("accuracy_level", level)));
    let mut inputs = vec![head_node.input[0].as_str(), reshaped];
    inputs.extend(lookup.input[2..].iter().map(String::as_str));
    let name = format!("{}_shared", head_node.name);
    let outputs: Vec<&str> = head_node.output.iter().map(String::as_str).collect();
    let shared = node("MatMulNBits", &name, &inputs, &outputs, attributes);
    file.graph_mut().node.splice(head..=head, [reshape, shared]);
    file.remove_unused();
    Ok(Outcome::Changed(format!("the head reads the 8-bit codes of `{}`", lookup.input[0])))
}

/// Whether the head's values are those of the embedding but for what their grids leave out.
fn are_alike(
    file: &GraphFile,
    lookup: &NodeProto,
    head: &NodeProto,
    [vocab, hidden]: [usize; 2],
) -> Result<bool> {
    let size = |name: &str| int_attribute(head, name).and_then(|size| usize::try_from(size).ok());
    if (size("N"), size("K")) != (Some(vocab), Some(hidden)) {
        return Ok(false);
    }
    let block = |node: &NodeProto| {
        int_attribute(node, "block_size").and_then(|b| usize::try_from(b).ok()).unwrap_or(32)
    };
    let bits = |node: &NodeProto| int_attribute(node, "bits").and_then(|b| u8::try_from(b).ok()).unwrap_or(4);
    let own = |place: usize, node: &NodeProto| node.input.get(place).cloned().unwrap_or_default();
    let embedding = Codes {
        names: [own(0, lookup), own(2, lookup), own(3, lookup)],
        bits: bits(lookup),
        block: block(lookup),
        hidden,
    };
    let head = Codes {
        names: [own(1, head), own(2, head), own(3, head)],
        bits: bits(head),
        block: block(head),
        hidden,
    };
    // Bytes are fetched once: those of a new tensor are made every time.
    let (embedding, head) = (embedding.open(file)?, head.open(file)?);
    let (mut difference, mut size) = (0.0, 0.0);
    for row in (0..vocab).step_by((vocab / LOOKED_AT).max(1)) {
        let (Some(e), Some(h)) = (embedding.row(row), head.row(row)) else { return Ok(false) };
        for (e, h) in e.iter().zip(&h) {
            difference += f64::from(e - h) * f64::from(e - h);
            size += f64::from(*e) * f64::from(*e);
        }
    }
    // 4 bits leave a tenth of the values' size out; unrelated rows differ by more than all of it.
    Ok(difference <= 0.1 * size)
}

/// A quantised matrix of the graph.
struct Codes {
    /// Codes, scales, zero points.
    names: [String; 3],
    bits: u8,
    block: usize,
    hidden: usize,
}

/// The same with its bytes.
struct OpenCodes<'a> {
    of: Codes,
    codes: Cow<'a, [u8]>,
    scales: Cow<'a, [u8]>,
    /// Type of the scales.
    kind: i32,
    zeros: Option<Cow<'a, [u8]>>,
}

impl Codes {
    fn open(self, file: &GraphFile) -> Result<OpenCodes<'_>> {
        let data = file.data();
        let (codes, scales) = (data.bytes(&self.names[0])?, data.bytes(&self.names[1])?);
        let kind = file.initializer(&self.names[1]).map_or(data_type::FLOAT, |scales| scales.data_type);
        let zeros = match self.names[2].is_empty() {
            true => None,
            false => Some(data.bytes(&self.names[2])?),
        };
        Ok(OpenCodes { of: self, codes, scales, kind, zeros })
    }
}

impl OpenCodes<'_> {
    /// The values of a row; `None`: the tensors have not the sizes for that.
    fn row(&self, row: usize) -> Option<Vec<f32>> {
        let OpenCodes { of, codes, scales, kind, zeros } = self;
        let (bits, blocks) = (usize::from(of.bits), of.hidden.div_ceil(of.block));
        let row_bytes = (blocks * of.block * bits).div_ceil(8);
        let zero_bytes = (blocks * bits).div_ceil(8);
        let mask = ((1u16 << bits) - 1) as u8;
        let at = |bytes: &[u8], start: usize, index: usize| {
            Some(*bytes.get(start + index * bits / 8)? >> (index * bits % 8) & mask)
        };
        let scale = |index: usize| {
            Some(match *kind {
                data_type::FLOAT => {
                    f32::from_le_bytes(scales.get(4 * index..4 * index + 4)?.try_into().ok()?)
                }
                data_type::FLOAT16 => {
                    f16::from_le_bytes(scales.get(2 * index..2 * index + 2)?.try_into().ok()?).to_f32()
                }
                _ => bf16::from_le_bytes(scales.get(2 * index..2 * index + 2)?.try_into().ok()?).to_f32(),
            })
        };
        let value = |col: usize| {
            let place = col / of.block;
            let zero = match zeros {
                None => 1 << (bits - 1),
                Some(zeros) => at(zeros, row * zero_bytes, place)?,
            };
            Some(
                (f32::from(at(codes, row * row_bytes, col)?) - f32::from(zero))
                    * scale(row * blocks + place)?,
            )
        };
        (0..of.hidden).map(value).collect()
    }
}
