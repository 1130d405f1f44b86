//! `model.onnx.data`: planned completely from names and shapes, then filled by all cores at once.
//!
//! Nothing waits for anything: every row has its place in the file before the first one is read. At any time the
//! memory holds a few rows per thread.

use super::proto::{StringStringEntry, TensorProto, data_type};
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::event::{Event, Unit};
use olive_core::{Result, error::IoContext};
use olive_kernels::quant::{BlockFormat, FloatType, QuantisedRows, TableFormat};
use olive_model::WeightSource;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Rows of a matrix of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Tensor name, `[any, cols]`.
    pub(crate) tensor: String,
    pub(crate) start: usize,
    pub(crate) count: usize,
}

/// Matrices of the checkpoint on top of each other: `[rows, cols]`, as a linear layer's `[out, in]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) parts: Vec<Rows>,
    pub(crate) cols: usize,
}

impl Matrix {
    /// All of one tensor.
    pub(crate) fn whole(tensor: &str, rows: usize, cols: usize) -> Matrix {
        Matrix { parts: vec![Rows { tensor: tensor.to_owned(), start: 0, count: rows }], cols }
    }

    pub(crate) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.count).sum()
    }
}

/// An initializer: what the model file says of it, and where its bytes will lie.
struct Slot {
    name: String,
    data_type: i32,
    dims: Vec<usize>,
    bytes: u64,
    offset: u64,
}

#[derive(Debug, Clone, Copy)]
struct SlotId(usize);

enum Content {
    Bytes(SlotId, Vec<u8>),
    /// As in the checkpoint, `[rows, cols]`.
    Plain(SlotId, Matrix, FloatType),
    /// `[cols, rows]`, as ONNX's MatMul wants it.
    Transposed(SlotId, Matrix, FloatType),
    Quantised {
        codes: SlotId,
        scales: SlotId,
        zero_points: Option<SlotId>,
        matrix: Matrix,
        format: BlockFormat,
    },
    /// Codes `[cols, rows]`, as `DequantizeLinear` wants them: bytes have codes of two rows, so one task writes all.
    Dequantised {
        codes: SlotId,
        scales: SlotId,
        zero_points: Option<SlotId>,
        matrix: Matrix,
        format: BlockFormat,
    },
    Table {
        codes: SlotId,
        scales: SlotId,
        zero_points: Option<SlotId>,
        matrix: Matrix,
        format: TableFormat,
    },
}

/// Codes of whole tensors that were chosen beforehand, by the tensor's name in the checkpoint.
pub(crate) type ChosenCodes = BTreeMap<String, QuantisedRows>;

/// Names of the initializers that a quantised matrix became.
pub(crate) struct QuantisedNames {
    pub(crate) codes: String,
    pub(crate) scales: String,
    pub(crate) zero_points: Option<String>,
}

/// All initializers of a model.
#[derive(Default)]
pub(crate) struct DataPlan {
    slots: Vec<Slot>,
    contents: Vec<Content>,
    /// Quantised slots come after all others in the file, as the reference orders them.
    quantised: Vec<usize>,
}

impl DataPlan {
    pub(crate) fn bytes(&mut self, name: &str, data_type: i32, dims: &[usize], bytes: Vec<u8>) {
        let slot = self.slot(name.to_owned(), data_type, dims.to_vec(), bytes.len());
        self.contents.push(Content::Bytes(slot, bytes));
    }

    pub(crate) fn plain(&mut self, name: &str, matrix: Matrix, float: FloatType) {
        let dims = vec![matrix.rows(), matrix.cols];
        let size = matrix.rows() * matrix.cols * float.size();
        let slot = self.slot(name.to_owned(), super::graph::onnx_type(float), dims, size);
        self.contents.push(Content::Plain(slot, matrix, float));
    }

    pub(crate) fn transposed(&mut self, name: &str, matrix: Matrix, float: FloatType) {
        let dims = vec![matrix.cols, matrix.rows()];
        let size = matrix.rows() * matrix.cols * float.size();
        let slot = self.slot(name.to_owned(), super::graph::onnx_type(float), dims, size);
        self.contents.push(Content::Transposed(slot, matrix, float));
    }

    pub(crate) fn quantised(&mut self, names: &QuantisedNames, matrix: Matrix, format: BlockFormat) {
        let (n, k) = (matrix.rows(), matrix.cols);
        let blocks = format.blocks(k);
        let codes = |plan: &mut DataPlan| {
            let dims = vec![n, blocks, format.block_bytes()];
            let size = dims.iter().product();
            plan.quantised_slot(names.codes.clone(), data_type::UINT8, dims, size)
        };
        let scales = |plan: &mut DataPlan| {
            let size = n * blocks * format.float.size();
            let kind = super::graph::onnx_type(format.float);
            plan.quantised_slot(names.scales.clone(), kind, vec![n, blocks], size)
        };
        let zero_points = |plan: &mut DataPlan| {
            let dims = vec![n, format.zero_point_bytes(k)];
            let size = dims.iter().product();
            let name = names.zero_points.clone()?;
            Some(plan.quantised_slot(name, data_type::UINT8, dims, size))
        };
        // The reference's two quantisers write their tensors in different orders.
        let (codes, scales, zero_points) = if format.algorithm == olive_kernels::quant::Algorithm::Default {
            let (codes, scales) = (codes(self), scales(self));
            (codes, scales, zero_points(self))
        } else {
            let (scales, zero_points) = (scales(self), zero_points(self));
            (codes(self), scales, zero_points)
        };
        self.contents.push(Content::Quantised { codes, scales, zero_points, matrix, format });
    }

    pub(crate) fn dequantised(&mut self, names: &QuantisedNames, matrix: Matrix, format: BlockFormat) {
        let (n, k) = (matrix.rows(), matrix.cols);
        let blocks = format.blocks(k);
        let kind = if format.symmetric { data_type::INT4 } else { data_type::UINT4 };
        let codes = self.quantised_slot(names.codes.clone(), kind, vec![k, n], (k * n).div_ceil(2));
        let float = super::graph::onnx_type(format.float);
        let size = blocks * n * format.float.size();
        let scales = self.quantised_slot(names.scales.clone(), float, vec![blocks, n], size);
        let zero_points = names.zero_points.clone().map(|name| {
            self.quantised_slot(name, data_type::UINT4, vec![blocks, n], (blocks * n).div_ceil(2))
        });
        self.contents.push(Content::Dequantised { codes, scales, zero_points, matrix, format });
    }

    pub(crate) fn table(&mut self, names: &QuantisedNames, matrix: Matrix, format: TableFormat) {
        let (n, k) = (matrix.rows(), matrix.cols);
        let blocks = format.blocks(k);
        let kind = if format.symmetric { data_type::INT4 } else { data_type::UINT4 };
        let codes = self.quantised_slot(names.codes.clone(), kind, vec![n, k], n * k / 2);
        let float = super::graph::onnx_type(format.float);
        let size = n * blocks * format.float.size();
        let scales = self.quantised_slot(names.scales.clone(), float, vec![n, blocks], size);
        let zero_points = names.zero_points.clone().map(|name| {
            self.quantised_slot(name, data_type::UINT4, vec![n, blocks], (n * blocks).div_ceil(2))
        });
        self.contents.push(Content::Table { codes, scales, zero_points, matrix, format });
    }

    /// The tensors of the checkpoint that products take in blocks, with their formats.
    pub(crate) fn block_formats(&self) -> BTreeMap<String, BlockFormat> {
        let quantised = self.contents.iter().filter_map(|content| match content {
            Content::Quantised { matrix, format, .. } | Content::Dequantised { matrix, format, .. } => {
                Some((matrix, *format))
            }
            _ => None,
        });
        quantised
            .flat_map(|(matrix, format)| matrix.parts.iter().map(move |part| (part.tensor.clone(), format)))
            .collect()
    }

    /// The tensor is stored in float, whatever else is stored of it.
    pub(crate) fn has_float(&self, tensor: &str) -> bool {
        let float = |content: &Content| matches!(content, Content::Plain(..) | Content::Transposed(..));
        self.contents.iter().any(|content| float(content) && content.tensors().any(|name| name == tensor))
    }

    fn slot(&mut self, name: String, data_type: i32, dims: Vec<usize>, bytes: usize) -> SlotId {
        self.slots.push(Slot { name, data_type, dims, bytes: bytes as u64, offset: 0 });
        SlotId(self.slots.len() - 1)
    }

    fn quantised_slot(&mut self, name: String, data_type: i32, dims: Vec<usize>, bytes: usize) -> SlotId {
        let slot = self.slot(name, data_type, dims, bytes);
        self.quantised.push(slot.0);
        slot
    }

    /// Gives every initializer its place, densely packed, and says so in the form of the model file. `location` is
    /// the data file's name.
    pub(crate) fn layout(&mut self, location: &str) -> Vec<TensorProto> {
        let late = |i: &usize| self.quantised.binary_search(i).is_ok();
        let order: Vec<usize> =
            (0..self.slots.len()).filter(|i| !late(i)).chain(self.quantised.iter().copied()).collect();
        let mut offset = 0;
        let mut tensors = Vec::with_capacity(order.len());
        for index in order {
            let slot = &mut self.slots[index];
            slot.offset = offset;
            let entry = |key: &str, value: String| StringStringEntry { key: key.to_owned(), value };
            tensors.push(TensorProto {
                dims: slot.dims.iter().map(|d| *d as i64).collect(),
                data_type: slot.data_type,
                name: slot.name.clone(),
                raw_data: Vec::new(),
                external_data: vec![
                    entry("location", location.to_owned()),
                    entry("offset", offset.to_string()),
                    entry("length", slot.bytes.to_string()),
                ],
                data_location: 1,
            });
            offset += slot.bytes;
        }
        tensors
    }

    /// Writes the file and syncs it. [`DataPlan::layout`] must have been called.
    ///
    /// # Errors
    /// A tensor that cannot be read, a file that cannot be written, an interruption.
    pub(crate) fn write(
        &self,
        path: &Path,
        source: &dyn WeightSource,
        chosen: &ChosenCodes,
        cancel: &CancelFlag,
        events: &dyn EventSink,
    ) -> Result<()> {
        let phase = "write weights";
        let file = File::create(path).at("create", path)?;
        file.set_len(self.slots.iter().map(|slot| slot.bytes).sum()).at("extend", path)?;
        events.emit(Event::PhaseStarted {
            phase,
            total: Some(self.contents.len() as u64),
            unit: Unit::Tensors,
        });
        let mut tasks = Vec::new();
        let pending: Vec<AtomicUsize> = self
            .contents
            .iter()
            .enumerate()
            .map(|(content, what)| {
                let panels = what.panels();
                let count = panels.len();
                tasks.extend(panels.into_iter().map(|rows| Task { content, rows }));
                AtomicUsize::new(count)
            })
            .collect();
        let done = AtomicU64::new(0);
        let writer = Writer { plan: self, file: &file, path, source, chosen };
        tasks.par_iter().try_for_each_init(Scratch::default, |scratch, task| {
            cancel.check()?;
            writer.run(task, scratch)?;
            if pending[task.content].fetch_sub(1, Ordering::AcqRel) == 1 {
                for tensor in self.contents[task.content].tensors() {
                    source.release(tensor);
                }
                events.emit(Event::PhaseProgress { done: done.fetch_add(1, Ordering::Relaxed) + 1 });
            }
            Ok::<(), olive_core::Error>(())
        })?;
        file.sync_all().at("sync", path)?;
        events.emit(Event::PhaseFinished { phase });
        Ok(())
    }
}

/// Some rows of a part of a content's matrix.
struct Task {
    content: usize,
    rows: Panel,
}

struct Panel {
    part: usize,
    /// First row, in the part.
    start: usize,
    count: usize,
    /// First row, in the whole matrix.
    row: usize,
}

/// Elements that a thread works on at a time: 1 MiB as f32, the size of a second-level cache.
const PANEL: usize = 1 << 18;
/// The same where output rows become columns: wider stripes mean fewer, longer writes.
const TRANSPOSED_PANEL: usize = 1 << 21;

impl Content {
    fn matrix(&self) -> Option<&Matrix> {
        match self {
            Content::Bytes(..) => None,
            Content::Plain(_, matrix, _)
            | Content::Transposed(_, matrix, _)
            | Content::Quantised { matrix, .. }
            | Content::Dequantised { matrix, .. }
            | Content::Table { matrix, .. } => Some(matrix),
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &str> {
        self.matrix().into_iter().flat_map(|m| &m.parts).map(|part| part.tensor.as_str())
    }

    fn panels(&self) -> Vec<Panel> {
        match self {
            Content::Bytes(..) | Content::Dequantised { .. } => {
                vec![Panel { part: 0, start: 0, count: 0, row: 0 }]
            }
            Content::Transposed(_, matrix, _) => matrix.panels(TRANSPOSED_PANEL),
            Content::Plain(_, matrix, _)
            | Content::Quantised { matrix, .. }
            | Content::Table { matrix, .. } => matrix.panels(PANEL),
        }
    }
}

impl Matrix {
    /// Pieces of about so many elements.
    fn panels(&self, elements: usize) -> Vec<Panel> {
        // Whole tiles of 64 rows, which is what merging an adapter works in.
        let height = (elements / self.cols.max(1)).next_multiple_of(64);
        let mut panels = Vec::new();
        let mut row = 0;
        for (part, rows) in self.parts.iter().enumerate() {
            let mut start = 0;
            while start < rows.count {
                let count = height.min(rows.count - start);
                panels.push(Panel { part, start: rows.start + start, count, row });
                start += count;
                row += count;
            }
        }
        panels
    }
}

/// Buffers of a thread.
#[derive(Default)]
struct Scratch {
    values: Vec<f32>,
    quantised: QuantisedRows,
    bytes: Vec<u8>,
    column: Vec<f32>,
}

struct Writer<'a> {
    plan: &'a DataPlan,
    file: &'a File,
    path: &'a Path,
    source: &'a dyn WeightSource,
    chosen: &'a ChosenCodes,
}

impl Writer<'_> {
    fn run(&self, task: &Task, scratch: &mut Scratch) -> Result<()> {
        let content = &self.plan.contents[task.content];
        let panel = &task.rows;
        if let Some(matrix) = content.matrix() {
            scratch.values.resize(panel.count * matrix.cols, 0.0);
            let rows = panel.start..panel.start + panel.count;
            self.source.read_rows(&matrix.parts[panel.part].tensor, rows, &mut scratch.values)?;
        }
        let Scratch { values, quantised, bytes, column } = scratch;
        bytes.clear();
        match content {
            Content::Bytes(slot, bytes) => self.put(*slot, 0, bytes),
            Content::Plain(slot, matrix, float) => {
                float.extend_bytes(values, bytes);
                self.put(*slot, panel.row * matrix.cols * float.size(), bytes)
            }
            Content::Transposed(slot, matrix, float) => {
                let (rows, cols) = (matrix.rows(), matrix.cols);
                // Eight columns together, so that a cache line of the panel is used up when it is there.
                for first in (0..cols).step_by(8) {
                    let count = 8.min(cols - first);
                    column.resize(count * panel.count, 0.0);
                    for (r, row) in values.chunks_exact(cols).enumerate() {
                        for c in 0..count {
                            column[c * panel.count + r] = row[first + c];
                        }
                    }
                    for (c, column) in column.chunks_exact(panel.count).enumerate() {
                        bytes.clear();
                        float.extend_bytes(column, bytes);
                        self.put(*slot, ((first + c) * rows + panel.row) * float.size(), bytes)?;
                    }
                }
                Ok(())
            }
            Content::Quantised { codes, scales, zero_points, matrix, format } => {
                self.quantise(matrix, panel, *format, values, quantised);
                let blocks = format.blocks(matrix.cols);
                self.put(*codes, panel.row * blocks * format.block_bytes(), &quantised.codes)?;
                format.float.extend_bytes(&quantised.scales, bytes);
                self.put(*scales, panel.row * blocks * format.float.size(), bytes)?;
                if let Some(slot) = zero_points {
                    let width = format.zero_point_bytes(matrix.cols);
                    self.put(*slot, panel.row * width, &quantised.zero_points)?;
                }
                Ok(())
            }
            Content::Dequantised { codes, scales, zero_points, matrix, format } => {
                let whole = self.transposed_codes(matrix, *format, values, quantised)?;
                self.put(*codes, 0, &whole.codes)?;
                format.float.extend_bytes(&whole.scales, bytes);
                self.put(*scales, 0, bytes)?;
                match zero_points {
                    Some(slot) => self.put(*slot, 0, &whole.zero_points),
                    None => Ok(()),
                }
            }
            Content::Table { codes, scales, zero_points, matrix, format } => {
                format.quantise(values, matrix.cols, quantised);
                let blocks = format.blocks(matrix.cols);
                self.put(*codes, panel.row * matrix.cols / 2, &quantised.codes)?;
                format.float.extend_bytes(&quantised.scales, bytes);
                self.put(*scales, panel.row * blocks * format.float.size(), bytes)?;
                match zero_points {
                    Some(slot) => self.put(*slot, panel.row * blocks / 2, &quantised.zero_points),
                    None => Ok(()),
                }
            }
        }
    }

    /// The codes of some rows: those that were chosen for them, or what the format makes of their `values`.
    fn quantise(
        &self,
        matrix: &Matrix,
        panel: &Panel,
        format: BlockFormat,
        values: &mut [f32],
        out: &mut QuantisedRows,
    ) {
        match self.chosen.get(&matrix.parts[panel.part].tensor) {
            Some(chosen) => {
                chosen.copy_rows(format, matrix.cols, panel.start..panel.start + panel.count, out);
            }
            None => format.quantise(values, matrix.cols, out),
        }
    }

    /// A whole matrix: codes `[cols, rows]`, scales and zero points `[blocks, rows]`.
    fn transposed_codes(
        &self,
        matrix: &Matrix,
        format: BlockFormat,
        values: &mut Vec<f32>,
        rows: &mut QuantisedRows,
    ) -> Result<QuantisedRows> {
        let (n, k) = (matrix.rows(), matrix.cols);
        let blocks = format.blocks(k);
        let mut whole = QuantisedRows {
            codes: vec![0; (k * n).div_ceil(2)],
            scales: vec![0.0; blocks * n],
            zero_points: if format.has_zero_points() {
                vec![0; (blocks * n).div_ceil(2)]
            } else {
                Vec::new()
            },
        };
        let nibble = |bytes: &[u8], at: usize| bytes[at / 2] >> (4 * (at % 2)) & 15;
        let put = |bytes: &mut [u8], at: usize, code: u8| bytes[at / 2] |= code << (4 * (at % 2));
        // Without zero points the codes are signed.
        let sign = if format.has_zero_points() { 0 } else { 8 };
        for panel in matrix.panels(PANEL) {
            values.resize(panel.count * k, 0.0);
            let part = &matrix.parts[panel.part].tensor;
            self.source.read_rows(part, panel.start..panel.start + panel.count, values)?;
            self.quantise(matrix, &panel, format, values, rows);
            for r in 0..panel.count {
                let row = panel.row + r;
                let codes = &rows.codes[r * blocks * format.block_bytes()..];
                for c in 0..k {
                    put(&mut whole.codes, c * n + row, nibble(codes, c) ^ sign);
                }
                for b in 0..blocks {
                    whole.scales[b * n + row] = rows.scales[r * blocks + b];
                    if format.has_zero_points() {
                        let zeros = &rows.zero_points[r * format.zero_point_bytes(k)..];
                        put(&mut whole.zero_points, b * n + row, nibble(zeros, b));
                    }
                }
            }
        }
        Ok(whole)
    }

    /// Writes at an offset inside an initializer.
    fn put(&self, slot: SlotId, offset: usize, bytes: &[u8]) -> Result<()> {
        let slot = &self.plan.slots[slot.0];
        debug_assert!(offset as u64 + bytes.len() as u64 <= slot.bytes);
        self.file.write_all_at(bytes, slot.offset + offset as u64).at("write", self.path)
    }
}
