//! ONNX Runtime's adapter format: the weights of a LoRA adapter by the names of the inputs that take them.
//!
//! A FlatBuffers file (`TORT`) with one table of versions and parameters. Both of its tables have four fields of four
//! bytes, so that they share one description.

/// A matrix that goes into an input of the graph.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) dims: [usize; 2],
    /// One of [`data_type`](super::proto::data_type).
    pub(crate) data_type: i32,
    /// Row-major.
    pub(crate) bytes: Vec<u8>,
}

/// Name that onnxruntime-genai's users look for.
pub(crate) const FILE: &str = "adapter_weights.onnx_adapter";

const IDENTIFIER: &[u8; 4] = b"TORT";
/// Size of the description, size of the table, and where its four fields lie.
const TABLE: [u16; 6] = [12, 20, 4, 8, 12, 16];
const DESCRIPTION: usize = 8;
const FORMAT_VERSION: u32 = 1;
const ADAPTER_VERSION: u32 = 1;
const MODEL_VERSION: u32 = 1;

/// The file's content, or `None` if it would be larger than the format's offsets can say.
pub(crate) fn encode(parameters: &[Parameter]) -> Option<Vec<u8>> {
    let mut file = File::default();
    let root = file.number(0);
    file.bytes.extend_from_slice(IDENTIFIER);
    TABLE.iter().for_each(|entry| file.bytes.extend_from_slice(&entry.to_le_bytes()));
    file.point(root);
    file.table();
    file.number(FORMAT_VERSION);
    file.number(ADAPTER_VERSION);
    file.number(MODEL_VERSION);
    let list = file.number(0);
    file.point(list);
    file.number(u32::try_from(parameters.len()).ok()?);
    let entries: Vec<usize> = parameters.iter().map(|_| file.number(0)).collect();
    for (entry, parameter) in entries.into_iter().zip(parameters) {
        file.point(entry);
        file.table();
        let [name, dims] = [file.number(0), file.number(0)];
        file.number(parameter.data_type as u32);
        let data = file.number(0);
        file.point(name);
        file.number(u32::try_from(parameter.name.len()).ok()?);
        file.bytes.extend_from_slice(parameter.name.as_bytes());
        file.bytes.push(0);
        file.align();
        file.point(dims);
        file.number(parameter.dims.len() as u32);
        for dim in parameter.dims {
            file.bytes.extend_from_slice(&(dim as i64).to_le_bytes());
        }
        file.align();
        file.point(data);
        file.number(u32::try_from(parameter.bytes.len()).ok()?);
        file.bytes.extend_from_slice(&parameter.bytes);
        file.bytes.resize(file.bytes.len().next_multiple_of(4), 0);
    }
    i32::try_from(file.bytes.len()).ok()?;
    Some(file.bytes)
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
}

impl File {
    /// Gives back where it lies.
    fn number(&mut self, number: u32) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&number.to_le_bytes());
        at
    }

    /// Begins a table: how far behind it its description lies.
    fn table(&mut self) {
        self.number((self.bytes.len() - DESCRIPTION) as u32);
    }

    /// Lets the offset at `from` lead here.
    fn point(&mut self, from: usize) {
        let distance = (self.bytes.len() - from) as u32;
        self.bytes[from..from + 4].copy_from_slice(&distance.to_le_bytes());
    }

    /// Four bytes before a multiple of eight: there a length stands, and elements of eight bytes follow.
    fn align(&mut self) {
        let end = (self.bytes.len() + 4).next_multiple_of(8) - 4;
        self.bytes.resize(end, 0);
    }
}
