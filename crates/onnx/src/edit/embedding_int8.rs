//! QuantizeEmbeddingInt8: an embedding in float becomes 8-bit codes, with a scale for every 32 of a row.

use super::graph_file::{GraphFile, node, sizes};
use super::{Outcome, unchanged};
use crate::graph::{MICROSOFT, attr_int};
use crate::proto::data_type;
use half::f16;
use olive_core::Result;
use std::sync::Arc;

/// Neighbours in a row with one scale.
const BLOCK: usize = 32;

/// # Errors
/// A tensor that cannot be read.
pub fn quantize_embedding_int8(file: &mut GraphFile) -> Result<Outcome> {
    let is_lookup = |op: &str, name: &str| op == "Gather" && name.contains("embed_tokens");
    let Some(place) = file.graph().node.iter().position(|node| is_lookup(&node.op_type, &node.name)) else {
        return unchanged("no Gather has `embed_tokens` in its name");
    };
    let lookup = file.graph().node[place].clone();
    let weight = lookup.input.first().cloned().unwrap_or_default();
    let Some(tensor) = file.initializer(&weight) else {
        return unchanged("the embedding is no matrix of its own");
    };
    let (&[vocab, hidden], kind) = (sizes(tensor).as_slice(), tensor.data_type) else {
        return unchanged("the embedding is no matrix");
    };
    if ![data_type::FLOAT, data_type::FLOAT16].contains(&kind) {
        return unchanged("the embedding is neither float nor half");
    }
    if hidden % BLOCK != 0 {
        return unchanged("the rows of the embedding are not divided by 32");
    }
    let names = ["_Q8", "_scales", "_zp"].map(|suffix| format!("{weight}{suffix}"));
    let of = |part: Part| {
        let weight = weight.clone();
        Arc::new(move |data: &super::graph_file::Data| {
            let bytes = data.bytes(&weight)?;
            Ok(quantise(&bytes, kind, part))
        })
    };
    file.add(&names[0], data_type::UINT8, &[vocab, hidden], of(Part::Codes));
    file.add(&names[1], kind, &[vocab, hidden / BLOCK], of(Part::Scales));
    let count = vocab * (hidden / BLOCK);
    file.add(&names[2], data_type::UINT8, &[vocab, hidden / BLOCK], Arc::new(move |_| Ok(vec![128; count])));
    let output = lookup.output[0].clone();
    let quantised = format!("{output}_gbq");
    let name = lookup.name.replace("Gather", "GatherBlockQuantized");
    let tokens = lookup.input.get(1).cloned().unwrap_or_default();
    let attributes = vec![
        attr_int("bits", 8),
        attr_int("block_size", BLOCK as i64),
        attr_int("gather_axis", 0),
        attr_int("quantize_axis", 1),
    ];
    let inputs = [names[0].as_str(), &tokens, &names[1], &names[2]];
    file.graph_mut().node[place] = node("GatherBlockQuantized", &name, &inputs, &[&quantised], attributes);
    for node in &mut file.graph_mut().node {
        node.input
            .iter_mut()
            .filter(|input| **input == output)
            .for_each(|input| input.clone_from(&quantised));
    }
    for value in file.graph_mut().output.iter_mut().filter(|value| value.name == output) {
        value.name.clone_from(&quantised);
    }
    file.import(MICROSOFT);
    file.remove_unused();
    Ok(Outcome::Changed(format!("`{weight}` is 8-bit codes now")))
}

#[derive(Clone, Copy)]
enum Part {
    Codes,
    Scales,
}

/// Codes or scales of values of this type, little-endian. A scale is the largest value over 127, rounded to the type.
fn quantise(bytes: &[u8], kind: i32, part: Part) -> Vec<u8> {
    let half = kind == data_type::FLOAT16;
    let value = |bytes: &[u8]| match *bytes {
        [a, b] => f16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => 0.0,
    };
    let size = if half { 2 } else { 4 };
    let mut out = Vec::with_capacity(bytes.len() / size);
    for block in bytes.chunks_exact(BLOCK * size) {
        let values = || block.chunks_exact(size).map(value);
        let largest = values().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = largest / 127.0;
        let scale = if half { f16::from_f32(scale).to_f32() } else { scale };
        match part {
            Part::Scales if half => out.extend(f16::from_f32(scale).to_le_bytes()),
            Part::Scales => out.extend(scale.to_le_bytes()),
            Part::Codes => {
                let divisor = if scale == 0.0 { 1.0 } else { scale };
                let code = |x: f32| ((x / divisor).round_ties_even().clamp(-128.0, 127.0) + 128.0) as u8;
                out.extend(values().map(code));
            }
        }
    }
    out
}
