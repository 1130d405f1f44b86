//! `model.onnx.data`, planned from names and shapes: every row has its place in the file before the first one is read.

use super::graph::onnx_type;
use super::proto::{StringStringEntry, TensorProto, data_type};
use olive_kernels::quant::{
    BlockFormat, ElementType, FloatType, Part, PartKind, QuantisedRows, WeightFormat,
};
use std::collections::BTreeMap;

/// Rows of a matrix of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorRows {
    /// Tensor name, `[any, cols]`.
    pub(crate) tensor: String,
    pub(crate) start: usize,
    pub(crate) count: usize,
}

/// Matrices of the checkpoint on top of each other: `[rows, cols]`, as a linear layer's `[out, in]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) parts: Vec<TensorRows>,
    pub(crate) cols: usize,
}

impl Matrix {
    /// All of one tensor.
    pub(crate) fn whole(tensor: &str, rows: usize, cols: usize) -> Matrix {
        Matrix { parts: vec![TensorRows { tensor: tensor.to_owned(), start: 0, count: rows }], cols }
    }

    pub(crate) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.count).sum()
    }
}

/// An initializer: what the model file says of it, and where its bytes will lie.
pub(super) struct Slot {
    name: String,
    data_type: i32,
    dims: Vec<usize>,
    pub(super) bytes: u64,
    pub(super) offset: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SlotId(pub(super) usize);

/// Where the bytes of some initializers come from.
pub(super) enum Content {
    Bytes(SlotId, Vec<u8>),
    Float {
        slot: SlotId,
        matrix: Matrix,
        float: FloatType,
        order: ElementOrder,
    },
    Quantised {
        parts: Vec<(Part, SlotId)>,
        matrix: Matrix,
        format: Box<dyn WeightFormat>,
    },
    /// Codes that the checkpoint has.
    Stored {
        parts: Vec<(Part, SlotId)>,
        matrix: Matrix,
    },
}

/// How the elements of a float matrix follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementOrder {
    /// As in the checkpoint, `[rows, cols]`.
    Rows,
    /// `[cols, rows]`, as ONNX's MatMul wants it.
    Columns,
}

impl Content {
    pub(super) fn matrix(&self) -> Option<&Matrix> {
        match self {
            Content::Bytes(..) => None,
            Content::Float { matrix, .. }
            | Content::Quantised { matrix, .. }
            | Content::Stored { matrix, .. } => Some(matrix),
        }
    }

    /// Names of the tensors of the checkpoint that it is made of.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &str> {
        self.matrix().into_iter().flat_map(|m| &m.parts).map(|part| part.tensor.as_str())
    }
}

/// Codes of whole tensors that were chosen beforehand, by the tensor's name in the checkpoint.
pub(crate) type ChosenCodes = BTreeMap<String, ChosenTensor>;

/// The codes of a tensor `[rows, any]`.
pub(crate) struct ChosenTensor {
    pub(crate) rows: usize,
    pub(crate) codes: QuantisedRows,
}

/// Names of the initializers that a quantised matrix became.
pub(crate) struct QuantisedNames {
    pub(crate) codes: String,
    pub(crate) scales: String,
    pub(crate) zero_points: Option<String>,
}

impl QuantisedNames {
    /// Those of the weight `weight` in that format.
    pub(crate) fn of(weight: &str, format: &dyn WeightFormat) -> QuantisedNames {
        let name = |part| format.part_name(weight, part);
        QuantisedNames {
            codes: name(PartKind::Codes),
            scales: name(PartKind::Scales),
            zero_points: format.has_zero_points().then(|| name(PartKind::ZeroPoints)),
        }
    }
}

/// All initializers of a model.
#[derive(Default)]
pub(crate) struct DataPlan {
    pub(super) slots: Vec<Slot>,
    pub(super) contents: Vec<Content>,
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
        self.float(name, dims, matrix, float, ElementOrder::Rows);
    }

    pub(crate) fn transposed(&mut self, name: &str, matrix: Matrix, float: FloatType) {
        let dims = vec![matrix.cols, matrix.rows()];
        self.float(name, dims, matrix, float, ElementOrder::Columns);
    }

    fn float(&mut self, name: &str, dims: Vec<usize>, matrix: Matrix, float: FloatType, order: ElementOrder) {
        let size = matrix.rows() * matrix.cols * float.size();
        let slot = self.slot(name.to_owned(), onnx_type(float), dims, size);
        self.contents.push(Content::Float { slot, matrix, float, order });
    }

    /// A matrix in a format of quantised weights. `names` are those of the format's parts.
    pub(crate) fn weight(&mut self, names: &QuantisedNames, matrix: Matrix, format: Box<dyn WeightFormat>) {
        let parts = format
            .parts([matrix.rows(), matrix.cols])
            .into_iter()
            .filter_map(|part| {
                let name = match part.kind {
                    PartKind::Codes => Some(names.codes.clone()),
                    PartKind::Scales => Some(names.scales.clone()),
                    PartKind::ZeroPoints => names.zero_points.clone(),
                }?;
                let (element, bytes) = (onnx_element(part.element), part.bytes());
                let slot = self.quantised_slot(name, element, part.dims.clone(), bytes);
                Some((part, slot))
            })
            .collect();
        self.contents.push(Content::Quantised { parts, matrix, format });
    }

    /// Codes that the checkpoint has: `parts` with the names of their initializers.
    pub(crate) fn stored(&mut self, parts: Vec<(String, Part)>, matrix: Matrix) {
        let place = |(name, part): (String, Part)| {
            let slot = self.quantised_slot(name, onnx_element(part.element), part.dims.clone(), part.bytes());
            (part, slot)
        };
        let parts = parts.into_iter().map(place).collect();
        self.contents.push(Content::Stored { parts, matrix });
    }

    /// The tensors of the checkpoint that products take in blocks, with their formats.
    pub(crate) fn block_formats(&self) -> BTreeMap<String, BlockFormat> {
        let quantised = self.contents.iter().filter_map(|content| match content {
            Content::Bytes(..) | Content::Float { .. } | Content::Stored { .. } => None,
            Content::Quantised { matrix, format, .. } => Some((matrix, format.block_format()?)),
        });
        quantised
            .flat_map(|(matrix, format)| matrix.parts.iter().map(move |part| (part.tensor.clone(), format)))
            .collect()
    }

    /// The tensor is stored in float, whatever else is stored of it.
    pub(crate) fn has_float(&self, tensor: &str) -> bool {
        let float = |content: &Content| matches!(content, Content::Float { .. });
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
                external_data: vec![
                    entry("location", location.to_owned()),
                    entry("offset", offset.to_string()),
                    entry("length", slot.bytes.to_string()),
                ],
                data_location: 1,
                ..TensorProto::default()
            });
            offset += slot.bytes;
        }
        tensors
    }
}

fn onnx_element(element: ElementType) -> i32 {
    match element {
        ElementType::Float(float) => onnx_type(float),
        ElementType::U8 => data_type::UINT8,
        ElementType::U4 => data_type::UINT4,
        ElementType::I4 => data_type::INT4,
    }
}
