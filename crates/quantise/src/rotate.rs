//! A checkpoint whose residual stream is rotated (QuaRot, <https://arxiv.org/abs/2404.00456>): the same function, with weights and
//! activations in which no coordinate sticks out, so that few bits hold them better.
//!
//! With x the stream, R and r orthogonal: the model computes with x R. Norms have no weights of their own any more (they are
//! folded into the matrices behind them), so they commute with R; every matrix that reads the stream is multiplied with R from
//! the right, every one that writes it with Rᵀ from the left. Values and the matrix that reads them turn by an r per head.

use super::QuantiseError;
use olive_arch::{Linear, LinearKind, Spec};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_kernels::quant::FloatType;
use olive_kernels::rotation::Rotation;
use olive_model::safetensors_file::{Entry, ModelFiles};
use olive_model::stored_file::{read_json, write_json};
use olive_model::{Checkpoint, ModelFolder, Tensor, WeightSource};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// A model, and how it is turned.
pub struct Rotated<'a> {
    folder: &'a ModelFolder,
    checkpoint: &'a Checkpoint,
    spec: &'a Spec,
    stream: Rotation,
    /// Of the values of each head; none where they have a bias.
    values: Option<Rotation>,
    /// By the name of the tensor.
    turns: BTreeMap<String, Turn>,
}

/// What becomes of a tensor. Those that are not named stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turn {
    /// It becomes ones: the matrices that read what it scales have it.
    Norm,
    /// It reads the stream behind this norm. Rows from `values` on make the values of heads.
    Reads { norm: Option<String>, values: Option<usize> },
    /// It writes to the stream; what it reads are the values of heads, or not.
    Writes { values: bool },
    /// A bias on the stream.
    Bias,
}

/// A tensor of the new checkpoint: its name there, and what it is made of.
struct Part<'a> {
    name: String,
    tensor: &'a Tensor,
    float: Option<FloatType>,
}

impl<'a> Rotated<'a> {
    /// How the model is to be turned; `make` gives rotations of a width, the first for the stream.
    ///
    /// # Errors
    /// The model is quantised, its norms do not commute with a rotation, or there is no such rotation.
    pub fn new(
        folder: &'a ModelFolder,
        checkpoint: &'a Checkpoint,
        spec: &'a Spec,
        mut make: impl FnMut(usize) -> Option<Rotation>,
    ) -> Result<Rotated<'a>> {
        if folder.quantisation()?.is_some() {
            return Err(QuantiseError::Quantised { pass: "QuaRot" }.into());
        }
        let refuse = |reason: &str| Err(QuantiseError::NotRotatable { reason: reason.into() }.into());
        let [before_attention, after_attention, before_mlp, after_mlp] = spec.norm_layout.names();
        let (Some(before_attention), Some(before_mlp)) = (before_attention, before_mlp) else {
            return refuse("its layers read the stream without a norm");
        };
        if after_attention.is_some() || after_mlp.is_some() {
            return refuse("norms scale what its layers write to the stream");
        }
        if spec.norm_plus_one {
            return refuse("the weights of its norms are offsets from one");
        }
        let mut make = |width| make(width).ok_or(QuantiseError::NoRotation { width });
        let stream = make(spec.hidden_size)?;
        let values = match spec.attention.qkv_bias {
            true => None,
            false => Some(make(spec.attention.head_dim)?),
        };
        let mut turns = BTreeMap::new();
        for layer in 0..spec.num_layers() {
            let norm = |name| Spec::layer_norm_name(layer, &format!("{name}_layernorm"));
            let norms = [norm(before_attention), norm(before_mlp)];
            for linear in spec.linears(layer) {
                turns.insert(linear.weight_name(), turn(spec, &linear, &norms));
                if linear.bias && matches!(linear.kind, LinearKind::O | LinearKind::Down) {
                    turns.insert(format!("{}.bias", linear.module), Turn::Bias);
                }
            }
            turns.extend(norms.map(|norm| (norm, Turn::Norm)));
        }
        turns.insert(Spec::FINAL_NORM.into(), Turn::Norm);
        turns.insert(Spec::EMBEDDING.into(), Turn::Reads { norm: None, values: None });
        turns.insert(Spec::HEAD.into(), Turn::Reads { norm: Some(Spec::FINAL_NORM.into()), values: None });
        Ok(Rotated { folder, checkpoint, spec, stream, values, turns })
    }

    /// Writes weights and `config.json` into `dir`, which has the other files already. Streamed: memory holds one matrix.
    ///
    /// # Errors
    /// A tensor that is not there or cannot be read, a file that cannot be written, an interruption.
    pub fn write(&self, dir: &Path, cancel: &CancelFlag, events: &dyn EventSink) -> Result<()> {
        let with_entry = |part: Part<'a>| {
            let entry = Entry::new(&part.name, part.tensor.dtype, &part.tensor.shape)?;
            Ok((vec![entry], part))
        };
        let parts = self.parts()?.into_iter().map(with_entry).collect::<Result<Vec<_>>>()?;
        let files = ModelFiles { dir, phase: "rotate weights", cancel, events };
        files.write(&parts, &mut |part, writer| {
            match part.float {
                None => part.tensor.finite_pieces().try_for_each(|piece| writer.write(&piece?))?,
                Some(float) => writer.write(&float.to_bytes(&self.turned(part)?))?,
            }
            part.tensor.release();
            Ok(())
        })?;
        let path = dir.join("config.json");
        let mut config = read_json(&path)?.unwrap_or_else(|| self.folder.config.clone());
        config["tie_word_embeddings"] = json!(false);
        write_json(&path, &config)
    }

    /// What the file will hold, in order.
    fn parts(&self) -> Result<Vec<Part<'a>>> {
        let part = |name: &str, tensor: &'a Tensor| -> Result<Part<'a>> {
            let float = match self.turns.contains_key(name) {
                false => None,
                true => Some(FloatType::of(tensor.dtype).ok_or_else(|| {
                    let found = tensor.dtype.as_str().into();
                    olive_model::ModelError::Dtype { name: name.to_owned(), found }
                })?),
            };
            Ok(Part { name: name.to_owned(), tensor, float })
        };
        let stored =
            self.checkpoint.tensors().filter(|tensor| !(self.spec.tied && tensor.name == Spec::HEAD));
        let mut parts = stored.map(|tensor| part(&tensor.name, tensor)).collect::<Result<Vec<_>>>()?;
        if self.spec.tied {
            // Only the head has the final norm's weight in it.
            parts.push(part(Spec::HEAD, self.checkpoint.tensor(Spec::EMBEDDING)?)?);
        }
        Ok(parts)
    }

    /// The values of a tensor that changes.
    fn turned(&self, part: &Part<'_>) -> Result<Vec<f32>> {
        let Some(turn) = self.turns.get(&part.name) else { return part.tensor.to_f32() };
        let mut values = part.tensor.to_f32()?;
        let columns = part.tensor.shape.last().copied().unwrap_or(1);
        match turn {
            Turn::Norm => values.fill(1.0),
            Turn::Reads { norm, values: first } => {
                let norm = norm.as_ref().map(|norm| self.checkpoint.read(norm, &[columns])).transpose()?;
                self.stream.rotate_rows(&mut values, norm.as_deref());
                if let (Some(rotation), Some(first)) = (&self.values, first) {
                    rotation.rotate_columns(&mut values[first * columns..], columns);
                }
            }
            Turn::Writes { values: of_heads } => {
                if let (Some(rotation), true) = (&self.values, of_heads) {
                    rotation.rotate_rows(&mut values, None);
                }
                self.stream.rotate_columns(&mut values, columns);
            }
            Turn::Bias => self.stream.rotate_rows(&mut values, None),
        }
        Ok(values)
    }
}

/// What becomes of the weight of a linear layer, behind the norms of attention and MLP.
fn turn(spec: &Spec, linear: &Linear, [attention, mlp]: &[String; 2]) -> Turn {
    let reads = |norm: &String, values| Turn::Reads { norm: Some(norm.clone()), values };
    let before_values = spec.attention.q_size() + spec.attention.kv_size();
    match linear.kind {
        LinearKind::Q | LinearKind::K => reads(attention, None),
        LinearKind::V => reads(attention, Some(0)),
        LinearKind::Qkv => reads(attention, Some(before_values)),
        LinearKind::O => Turn::Writes { values: true },
        LinearKind::Gate | LinearKind::Up | LinearKind::GateUp => reads(mlp, None),
        LinearKind::Down => Turn::Writes { values: false },
    }
}
