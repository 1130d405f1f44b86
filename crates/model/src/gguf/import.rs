//! The conversion itself: once per content, tensor by tensor, visible only when whole.

use super::config::Described;
use super::file::Gguf;
use super::names::{Change, Target, targets};
use super::{Found, config, refuse, tokenizer};
use crate::checkpoint::block_entry;
use crate::safetensors_file::{Entry, Writer};
use crate::{Conversion, SourceOptions, stored_file};
use half::{bf16, f16};
use olive_arch::Spec;
use olive_core::event::{Event, EventSink, Unit};
use olive_core::{Result, error::IoContext, file};
use olive_kernels::first_not_finite;
use olive_kernels::quant::ggml::GgmlType;
use rayon::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Raised when the same file would be converted otherwise.
const VERSION: u32 = 4;

const PHASE: &str = "convert gguf";

/// Values that one thread converts at a time.
const PIECE: usize = 1 << 18;

/// Pieces in memory at a time.
const PIECES: usize = 16;

/// The Hugging Face folder of a GGUF file, among the conversions that `options` name: made now, unless the same content was
/// converted before.
///
/// No value changes: matrices of floats keep their type and matrices of blocks their blocks, whatever order their rows take;
/// vectors have the type that all matrices share, or f32.
///
/// # Errors
/// A file that is damaged or holds what is not supported; a cache that cannot be written.
pub fn import(path: &Path, options: &SourceOptions, events: &dyn EventSink) -> Result<PathBuf> {
    let conversions = options
        .conversions
        .as_deref()
        .ok_or_else(|| refuse(path, "there is no cache folder for its converted form".into()))?;
    let wanted = Conversion { source: path, kind: "GGUF", version: VERSION };
    if options.read_only {
        return conversions
            .find(&wanted)?
            .ok_or_else(|| refuse(path, "it has not been converted yet".into()));
    }
    conversions.get_or_make(&wanted, &options.cancel, events, &mut |dir| {
        let file = file::open(path).at("open", path)?;
        stored_file::refuse_pointer_in(path, &file)?;
        let gguf = Gguf::open(&file, path).map_err(|reason| refuse(path, reason))?;
        convert(&gguf, path, dir, events)
    })
}

fn convert(gguf: &Gguf, path: &Path, dir: &Path, events: &dyn EventSink) -> Result<()> {
    let fail = |reason: String| refuse(path, reason);
    let storage = Storage::of(gguf);
    let Described { family, config } = config::describe(gguf, storage.name()).map_err(fail)?;
    let spec =
        Spec::from_config(&config).map_err(|error| fail(format!("what it says makes no model: {error}")))?;
    let files = tokenizer::files(gguf, family, spec.context_length).map_err(fail)?;
    let write = |name: &str, text: &str| {
        let target = dir.join(name);
        std::fs::write(&target, text).at("write", &target)
    };
    let json = |value: &Value| serde_json::to_string_pretty(value).expect("plain data");
    write("config.json", &json(&config))?;
    write("generation_config.json", &json(&config::generation_config(gguf).map_err(fail)?))?;
    write("tokenizer.json", &json(&files.tokenizer))?;
    write("tokenizer_config.json", &json(&files.config))?;
    if let Some(template) = gguf.text("tokenizer.chat_template").map_err(fail)? {
        write("chat_template.jinja", template)?;
    }
    let targets = targets(gguf, &spec).map_err(fail)?;
    let plans: Vec<PlannedTensor> = targets
        .into_iter()
        .map(|target| PlannedTensor::new(gguf, target, storage))
        .collect::<Found<_>>()
        .map_err(fail)?;
    events.emit(Event::PhaseStarted {
        phase: PHASE.into(),
        total: Some(plans.len() as u64),
        unit: Unit::Tensors,
    });
    let entries: Vec<Entry> = plans.iter().map(PlannedTensor::entry).collect();
    let mut writer = Writer::create(&dir.join("model.safetensors"), &entries)?;
    for (done, plan) in plans.iter().enumerate() {
        plan.write(gguf, path, &mut writer)?;
        events.emit(Event::PhaseProgress { done: done as u64 + 1 });
    }
    writer.finish()?;
    events.emit(Event::PhaseFinished { phase: PHASE.into() });
    Ok(())
}

/// Types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    F32,
    F16,
    Bf16,
}

impl Storage {
    /// The type that all matrices have, or f32, which holds what all of them have.
    fn of(gguf: &Gguf) -> Storage {
        let mut matrices = gguf.tensor_names().into_iter().filter_map(|name| {
            gguf.tensor(name).filter(|(shape, _)| shape.len() > 1).map(|(_, dtype)| dtype)
        });
        let first = matrices.next();
        let shared = first.filter(|first| matrices.all(|dtype| dtype == *first));
        shared.and_then(Storage::of_floats).unwrap_or(Storage::F32)
    }

    /// That of a float type.
    fn of_floats(kind: GgmlType) -> Option<Storage> {
        match kind {
            GgmlType::F32 => Some(Storage::F32),
            GgmlType::F16 => Some(Storage::F16),
            GgmlType::Bf16 => Some(Storage::Bf16),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Storage::F32 => "float32",
            Storage::F16 => "float16",
            Storage::Bf16 => "bfloat16",
        }
    }

    fn width(self) -> usize {
        if self == Storage::F32 { 4 } else { 2 }
    }

    fn holds(self, value: f32) -> bool {
        let kept = match self {
            Storage::F32 => value,
            Storage::F16 => f16::from_f32(value).to_f32(),
            Storage::Bf16 => bf16::from_f32(value).to_f32(),
        };
        kept.to_bits() == value.to_bits()
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Storage::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Storage::F16 => values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            Storage::Bf16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        }
    }
}

/// A tensor to write.
struct PlannedTensor {
    target: Target,
    shape: Vec<usize>,
    form: Form,
}

/// How a tensor is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Values(Storage),
    /// A matrix of these columns, as the file has it but for the order of its rows.
    Blocks {
        kind: GgmlType,
        columns: usize,
    },
}

impl PlannedTensor {
    fn new(gguf: &Gguf, target: Target, storage: Storage) -> Found<PlannedTensor> {
        let (shape, kind) =
            gguf.tensor(&target.source).ok_or_else(|| format!("`{}` is missing", target.source))?;
        let mut shape = shape.to_vec();
        if let (Some(rows), Some(first)) = (&target.rows, shape.first_mut()) {
            *first = rows.len();
        }
        let form = match (Storage::of_floats(kind), &shape[..], target.change) {
            (None, &[_, columns], Change::None | Change::Interleaved { .. }) => {
                Form::Blocks { kind, columns }
            }
            (Some(own), [_, _, ..], Change::None | Change::Interleaved { .. }) => Form::Values(own),
            (_, [_], _) => Form::Values(storage),
            _ => Form::Values(Storage::F32),
        };
        let mut plan = PlannedTensor { shape, target, form };
        if let Change::Interleaved { heads } = plan.target.change
            && !plan.rows().is_multiple_of(2 * heads)
        {
            return Err(format!("`{}` has {} rows for {heads} heads", plan.target.source, plan.rows()));
        }
        if let [len] = plan.shape[..]
            && !plan.values(gguf, 0..len)?.iter().all(|x| storage.holds(*x))
        {
            plan.form = Form::Values(Storage::F32);
        }
        Ok(plan)
    }

    fn entry(&self) -> Entry {
        let storage = match self.form {
            Form::Values(storage) => storage,
            Form::Blocks { kind, columns } => {
                return block_entry(&self.target.name, [self.rows(), columns], kind);
            }
        };
        let dtype = match storage {
            Storage::F32 => "F32",
            Storage::F16 => "F16",
            Storage::Bf16 => "BF16",
        };
        let bytes = storage.width() * self.shape.iter().product::<usize>();
        Entry { name: self.target.name.clone(), dtype, shape: self.shape.clone(), bytes }
    }

    /// Length of the first dimension.
    fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of one row. Block types need whole rows of a matrix; a vector's elements are rows of their own.
    fn row(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    fn write(&self, gguf: &Gguf, path: &Path, writer: &mut Writer) -> Result<()> {
        let rows = self.rows();
        // A piece holds whole heads, so that rows can change places inside of it.
        let group = match self.target.change {
            Change::Interleaved { heads } => rows / heads,
            Change::None | Change::PlusOne if self.shape.len() == 1 => rows,
            Change::None | Change::PlusOne => 1,
        };
        let step = (PIECE / self.row().max(1)).next_multiple_of(group).max(group);
        let pieces: Vec<_> = (0..rows).step_by(step).map(|start| start..(start + step).min(rows)).collect();
        for batch in pieces.chunks(PIECES) {
            let converted: Found<Vec<Vec<u8>>> =
                batch.par_iter().map(|rows| self.bytes(gguf, rows.clone())).collect();
            for bytes in converted.map_err(|reason| refuse(path, reason))? {
                writer.write(&bytes)?;
            }
        }
        Ok(())
    }

    /// Some rows, whole heads of them, as they are written.
    fn bytes(&self, gguf: &Gguf, rows: std::ops::Range<usize>) -> Found<Vec<u8>> {
        let values = self.values(gguf, rows.clone())?;
        let kind = match self.form {
            Form::Values(storage) => return Ok(storage.bytes(&values)),
            Form::Blocks { kind, .. } => kind,
        };
        let row = self.row();
        let blocks = gguf.blocks(&self.target.source, (self.first_row() + rows.start) * row, values.len())?;
        Ok(match self.target.change {
            Change::Interleaved { heads } => {
                let row = row / kind.block_values() * kind.block_bytes();
                let head = self.rows() / heads * row;
                blocks.chunks_exact(head).flat_map(|head| deinterleave(head, row)).collect()
            }
            Change::None | Change::PlusOne => blocks.to_vec(),
        })
    }

    /// The row of the file's tensor that is its first.
    fn first_row(&self) -> usize {
        self.target.rows.as_ref().map_or(0, |part| part.start)
    }

    /// Some rows, whole heads of them, as Hugging Face has them.
    fn values(&self, gguf: &Gguf, rows: std::ops::Range<usize>) -> Found<Vec<f32>> {
        let row = self.row();
        let first = self.first_row() + rows.start;
        let source = &self.target.source;
        let mut values = gguf.read(source, first * row, rows.len() * row)?;
        if let Some(at) = first_not_finite(&values) {
            let near = first * row + at;
            return Err(format!("tensor `{source}` holds values that are not finite, near element {near}"));
        }
        match self.target.change {
            Change::None => {}
            Change::PlusOne => values.iter_mut().for_each(|x| *x -= 1.0),
            Change::Interleaved { heads } => {
                let head = self.rows() / heads * row;
                values = values.chunks_exact(head).flat_map(|head| deinterleave(head, row)).collect();
            }
        }
        Ok(values)
    }
}

/// Rows `0, 2, 4, …` of a head, then `1, 3, 5, …`.
fn deinterleave<T: Copy>(head: &[T], row: usize) -> Vec<T> {
    let rows = || head.chunks_exact(row);
    rows().step_by(2).chain(rows().skip(1).step_by(2)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_halves() {
        assert_eq!(
            deinterleave(&[0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 3.0, 3.1], 2),
            [0.0, 0.1, 2.0, 2.1, 1.0, 1.1, 3.0, 3.1]
        );
    }

    #[test]
    fn a_type_holds_what_survives_it() {
        assert!(Storage::Bf16.holds(1.5) && !Storage::Bf16.holds(1.001));
        assert!(Storage::F16.holds(1.0 + 1.0 / 1024.0) && !Storage::F16.holds(1e-9));
    }
}
