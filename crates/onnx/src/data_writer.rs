//! `model.onnx.data`, written by all cores at once. Nothing waits for anything, and at any time the memory holds a few rows
//! per thread.

use super::data_file::{ChosenCodes, Content, DataPlan, ElementOrder, Matrix, SlotId};
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use olive_core::{Result, error::IoContext};
use olive_kernels::quant::packing::{pack, unpacked};
use olive_kernels::quant::{
    Arrangement, ElementType, FloatType, Part, PartKind, QuantisedRows, WeightFormat,
};
use olive_model::WeightSource;
use rayon::prelude::*;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

impl DataPlan {
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
            phase: phase.into(),
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
        tasks.par_iter().try_for_each_init(ThreadBuffers::default, |buffers, task| {
            cancel.check()?;
            writer.run(task, buffers)?;
            if pending[task.content].fetch_sub(1, Ordering::AcqRel) == 1 {
                for tensor in self.contents[task.content].tensors() {
                    source.release(tensor);
                }
                events.emit(Event::PhaseProgress { done: done.fetch_add(1, Ordering::Relaxed) + 1 });
            }
            Ok::<(), olive_core::Error>(())
        })?;
        file.sync_all().at("sync", path)?;
        events.emit(Event::PhaseFinished { phase: phase.into() });
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

impl Panel {
    /// Its rows, in the part.
    fn rows(&self) -> Range<usize> {
        self.start..self.start + self.count
    }
}

/// Elements that a thread works on at a time: 1 MiB as f32, the size of a second-level cache.
const PANEL: usize = 1 << 18;
/// The same where output rows become columns: wider stripes mean fewer, longer writes.
const TRANSPOSED_PANEL: usize = 1 << 21;

impl Content {
    /// What one task each does.
    fn panels(&self) -> Vec<Panel> {
        let whole = || vec![Panel { part: 0, start: 0, count: 0, row: 0 }];
        match self {
            Content::Bytes(..) => whole(),
            Content::Float { matrix, order: ElementOrder::Rows, .. } => matrix.panels(PANEL),
            Content::Float { matrix, order: ElementOrder::Columns, .. } => matrix.panels(TRANSPOSED_PANEL),
            Content::Stored { matrix, .. } => matrix.panels(PANEL),
            Content::Quantised { matrix, format, .. } => match format.arrangement() {
                Arrangement::ByRow => matrix.panels(PANEL),
                Arrangement::ByColumn(_) => whole(),
            },
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
struct ThreadBuffers {
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
    fn run(&self, task: &Task, buffers: &mut ThreadBuffers) -> Result<()> {
        let panel = &task.rows;
        match &self.plan.contents[task.content] {
            Content::Bytes(slot, bytes) => self.put(*slot, 0, bytes),
            Content::Float { slot, matrix, float, order } => {
                self.read(matrix, panel, &mut buffers.values)?;
                match order {
                    ElementOrder::Rows => {
                        buffers.bytes.clear();
                        float.extend_bytes(&buffers.values, &mut buffers.bytes);
                        self.put(*slot, panel.row * matrix.cols * float.size(), &buffers.bytes)
                    }
                    ElementOrder::Columns => self.put_columns(*slot, matrix, panel, *float, buffers),
                }
            }
            Content::Stored { parts, matrix } => {
                let scales = parts.iter().find(|(part, _)| part.kind == PartKind::Scales);
                let blocks = scales.map_or(0, |(part, _)| part.dims[1]);
                let tensor = &matrix.parts[panel.part].tensor;
                self.take_codes(tensor, panel.rows(), blocks, &mut buffers.quantised)?;
                self.put_parts(parts, panel.row, &buffers.quantised, &mut buffers.bytes)
            }
            Content::Quantised { parts, matrix, format } => match format.arrangement() {
                Arrangement::ByRow => {
                    self.quantise(matrix, panel, &**format, buffers)?;
                    self.put_parts(parts, panel.row, &buffers.quantised, &mut buffers.bytes)
                }
                Arrangement::ByColumn(columns) => {
                    let shape = [matrix.rows(), matrix.cols];
                    let mut whole = columns.zeros(shape);
                    for panel in matrix.panels(PANEL) {
                        self.quantise(matrix, &panel, &**format, buffers)?;
                        columns.put(&buffers.quantised, panel.row, panel.count, shape, &mut whole);
                    }
                    self.put_parts(parts, 0, &whole, &mut buffers.bytes)
                }
            },
        }
    }

    /// The codes that the checkpoint has for some rows of a tensor, with the scale and the zero point of every block.
    fn take_codes(
        &self,
        tensor: &str,
        rows: Range<usize>,
        blocks: usize,
        out: &mut QuantisedRows,
    ) -> Result<()> {
        let groups = self.source.groups(tensor).expect("the plan was made from the same weights");
        let (count, bits) = (groups.groups(), groups.settings.bits);
        let mut scales = groups.read_scales(rows.clone())?;
        let mut zeros = groups.zero_bytes(rows.clone()).unwrap_or_default().into_owned();
        if blocks > count {
            let times = blocks / count;
            scales = scales.into_iter().flat_map(|scale| std::iter::repeat_n(scale, times)).collect();
            let of_row = |row: &[u8]| {
                (0..count)
                    .flat_map(|group| std::iter::repeat_n(unpacked(row, bits, group), times))
                    .collect::<Vec<_>>()
            };
            let width = (count * usize::from(bits)).div_ceil(8);
            zeros = zeros.chunks_exact(width).flat_map(|row| pack(&of_row(row), blocks, bits)).collect();
        }
        let codes = groups.code_bytes(rows).into_owned();
        *out = QuantisedRows { codes, scales, zero_points: zeros };
        Ok(())
    }

    /// The values of a panel, `[count, cols]`.
    fn read(&self, matrix: &Matrix, panel: &Panel, values: &mut Vec<f32>) -> Result<()> {
        values.resize(panel.count * matrix.cols, 0.0);
        self.source.read_rows(&matrix.parts[panel.part].tensor, panel.rows(), values)
    }

    /// Writes a panel of a matrix `[rows, cols]` as a stripe of its transpose.
    fn put_columns(
        &self,
        slot: SlotId,
        matrix: &Matrix,
        panel: &Panel,
        float: FloatType,
        buffers: &mut ThreadBuffers,
    ) -> Result<()> {
        let (rows, cols) = (matrix.rows(), matrix.cols);
        let ThreadBuffers { values, bytes, column, .. } = buffers;
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
                self.put(slot, ((first + c) * rows + panel.row) * float.size(), bytes)?;
            }
        }
        Ok(())
    }

    /// The codes of a panel into `buffers.quantised`: those that were chosen for its rows, or what the format makes of
    /// them.
    fn quantise(
        &self,
        matrix: &Matrix,
        panel: &Panel,
        format: &dyn WeightFormat,
        buffers: &mut ThreadBuffers,
    ) -> Result<()> {
        let tensor = &matrix.parts[panel.part].tensor;
        match self.chosen.get(tensor).filter(|_| format.block_format().is_some()) {
            Some(chosen) => {
                chosen.codes.copy_rows(chosen.rows, panel.rows(), &mut buffers.quantised);
            }
            None => {
                self.read(matrix, panel, &mut buffers.values)?;
                format.quantise(&mut buffers.values, matrix.cols, &mut buffers.quantised);
            }
        }
        Ok(())
    }

    /// Writes the parts of rows from `row` on.
    fn put_parts(
        &self,
        parts: &[(Part, SlotId)],
        row: usize,
        rows: &QuantisedRows,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        for (part, slot) in parts {
            let offset = part.row_offset(row);
            match (part.kind, part.element) {
                (PartKind::Codes, _) => self.put(*slot, offset, &rows.codes)?,
                (PartKind::ZeroPoints, _) => self.put(*slot, offset, &rows.zero_points)?,
                (PartKind::Scales, ElementType::Float(float)) => {
                    bytes.clear();
                    float.extend_bytes(&rows.scales, bytes);
                    self.put(*slot, offset, bytes)?;
                }
                (PartKind::Scales, ElementType::U8 | ElementType::U4 | ElementType::I4) => {
                    unreachable!("scales are floats in every format")
                }
            }
        }
        Ok(())
    }

    /// Writes at an offset inside an initializer.
    fn put(&self, slot: SlotId, offset: usize, bytes: &[u8]) -> Result<()> {
        let slot = &self.plan.slots[slot.0];
        debug_assert!(offset as u64 + bytes.len() as u64 <= slot.bytes);
        self.file.write_all_at(bytes, slot.offset + offset as u64).at("write", self.path)
    }
}
