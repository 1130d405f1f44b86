//! TieWordEmbeddings: a head that has the same values as the embedding reads the embedding's tensor.

use super::graph_file::{GraphFile, int_attribute, node, sizes};
use super::{Outcome, unchanged};
use crate::graph::{attr_float, attr_int};
use crate::proto::NodeProto;
use olive_core::Result;

/// Values that the graph of a language model takes its tokens, or their embeddings, from.
const INPUTS: [&str; 3] = ["input_ids", "input_embeds", "inputs_embeds"];

/// # Errors
/// A tensor that cannot be read.
pub fn tie_word_embeddings(file: &mut GraphFile) -> Result<Outcome> {
    let graph = file.graph();
    let is_lookup = |node: &&NodeProto| {
        let takes = node.input.iter().any(|input| INPUTS.contains(&input.as_str()));
        takes && ["Gather", "GatherBlockQuantized"].contains(&node.op_type.as_str())
    };
    let Some(lookup) = graph.node.iter().find(is_lookup).cloned() else {
        return unchanged("no embedding is looked up by its tokens");
    };
    let Some(head) = file.producer("logits") else { return unchanged("nothing gives `logits`") };
    let head_node = file.graph().node[head].clone();
    let weight = head_node.input.get(1).cloned().unwrap_or_default();
    if !["MatMul", "MatMulNBits"].contains(&head_node.op_type.as_str()) {
        return unchanged("`logits` do not come right from the head's product");
    }
    let own = |name: &str| file.initializer(name).is_some();
    if !own(&lookup.input[0]) || !own(&weight) {
        return unchanged("embedding and head share their matrix already");
    }
    match (lookup.op_type.as_str(), head_node.op_type.as_str()) {
        ("Gather", "MatMul") => tie_floats(file, &lookup, head),
        ("GatherBlockQuantized", "MatMulNBits") => tie_codes(file, &lookup, head),
        _ => unchanged("one of embedding and head is quantised, the other is not"),
    }
}

fn tie_floats(file: &mut GraphFile, lookup: &NodeProto, head: usize) -> Result<Outcome> {
    let (embedding, head_node) = (lookup.input[0].clone(), file.graph().node[head].clone());
    let (hidden, weight) = (head_node.input[0].clone(), head_node.input[1].clone());
    let same = {
        let (Some(e), Some(w)) = (file.initializer(&embedding), file.initializer(&weight)) else {
            return unchanged("the matrices are not there");
        };
        let (&[vocab, width], &[w_width, w_vocab]) = (sizes(e).as_slice(), sizes(w).as_slice()) else {
            return unchanged("embedding and head are no matrices");
        };
        (vocab, width) == (w_vocab, w_width) && e.data_type == w.data_type && {
            let size = crate::proto::data_type::bits(e.data_type).unwrap_or_default() as usize / 8;
            let (e, w) = (file.data().bytes(&embedding)?, file.data().bytes(&weight)?);
            size > 0 && is_transpose(&e, &w, vocab, width, size)
        }
    };
    if !same {
        return unchanged("embedding and head have other values");
    }
    let dims = sizes(file.initializer(&embedding).expect("as above"));
    let (vocab, width) = (dims[0], dims[1]);
    let base = head_node.name.trim_end_matches("/MatMul").to_owned();
    let name = |part: &str| format!("{base}/{part}");
    file.add_ints(&name("Reshape_pre_shape"), &[-1, width as i64]);
    file.add_ints(&name("Slice_start"), &[0]);
    file.add_ints(&name("Slice_ends"), &[-1]);
    file.add_ints(&name("Slice_steps"), &[1]);
    file.add_ints(&name("Concat_out_feat"), &[vocab as i64]);
    let output = |part: &str| format!("{base}/{part}_output");
    let gemm =
        vec![attr_float("alpha", 1.0), attr_float("beta", 1.0), attr_int("transA", 0), attr_int("transB", 1)];
    let nodes = vec![
        node("Shape", &name("Shape"), &[&hidden], &[&output("Shape")], vec![]),
        node(
            "Slice",
            &name("Slice"),
            &[&output("Shape"), &name("Slice_start"), &name("Slice_ends"), "", &name("Slice_steps")],
            &[&output("Slice")],
            vec![],
        ),
        node(
            "Concat",
            &name("Concat"),
            &[&output("Slice"), &name("Concat_out_feat")],
            &[&output("Concat")],
            vec![attr_int("axis", 0)],
        ),
        node(
            "Reshape",
            &name("Reshape_pre"),
            &[&hidden, &name("Reshape_pre_shape")],
            &[&output("Reshape_pre")],
            vec![],
        ),
        node("Gemm", &name("Gemm"), &[&output("Reshape_pre"), &embedding], &[&output("Gemm")], gemm),
        node("Reshape", &name("Reshape_post"), &[&output("Gemm"), &output("Concat")], &["logits"], vec![]),
    ];
    file.graph_mut().node.splice(head..=head, nodes);
    file.remove_unused();
    Ok(Outcome::Changed(format!("the head reads `{embedding}`")))
}

/// Whether `w`, `[width, vocab]`, is `e`, `[vocab, width]`, the other way round.
fn is_transpose(e: &[u8], w: &[u8], vocab: usize, width: usize, size: usize) -> bool {
    e.len() == w.len()
        && e.len() == vocab * width * size
        && (0..vocab).all(|row| {
            let own = &e[row * width * size..(row + 1) * width * size];
            own.chunks_exact(size)
                .enumerate()
                .all(|(col, value)| *value == w[(col * vocab + row) * size..][..size])
        })
}

fn tie_codes(file: &mut GraphFile, lookup: &NodeProto, head: usize) -> Result<Outcome> {
    let head_node = file.graph().node[head].clone();
    // The lookup has its tokens between codes and scales.
    let mine: Vec<&String> = [0, 2, 3].iter().filter_map(|i| lookup.input.get(*i)).collect();
    let heads: Vec<&String> = [1, 2, 3].iter().filter_map(|i| head_node.input.get(*i)).collect();
    if lookup.input.len() != head_node.input.len() || mine.len() != heads.len() {
        return unchanged("one of embedding and head has zero points, the other has none");
    }
    for (mine, other) in mine.iter().zip(&heads) {
        if file.initializer(mine).is_none() || file.initializer(other).is_none() {
            return unchanged("embedding and head share their matrix already");
        }
        if file.data().bytes(mine)? != file.data().bytes(other)? {
            return unchanged("embedding and head have other values");
        }
    }
    let shape = file.initializer(heads[0]).map(sizes).unwrap_or_default();
    let shape: Vec<i64> = shape.iter().map(|dim| *dim as i64).collect();
    let bits = int_attribute(&head_node, "bits").unwrap_or(4);
    let base = head_node.name.rsplit_once('/').map_or("", |(base, _)| base).to_owned();
    let (tied, shape_name) = (format!("{base}/Reshape_tied"), format!("{base}/Reshape_tied_shape"));
    file.add_ints(&shape_name, &shape);
    let output = format!("{tied}_output");
    let reshape = node("Reshape", &tied, &[mine[0], &shape_name], &[&output], vec![]);
    let mut tied_head = head_node.clone();
    tied_head.input[1] = output;
    for (place, name) in [2, 3].into_iter().zip(&mine[1..]) {
        tied_head.input[place].clone_from(name);
    }
    file.graph_mut().node.splice(head..=head, [reshape, tied_head]);
    let message = format!("the head reads the {bits}-bit codes of `{}`", mine[0]);
    file.remove_unused();
    Ok(Outcome::Changed(message))
}
