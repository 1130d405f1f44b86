//! ONNX Runtime's adapter format: the weights of a LoRA adapter by the names of the inputs that take them.
//!
//! A FlatBuffers file (`TORT`) with one table of versions and parameters. Both of its tables have four fields of four
//! bytes, so that they share one description.

/// A matrix that goes into an input of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterParameter {
    pub name: String,
    pub dims: Vec<usize>,
    /// One of [`data_type`](super::proto::data_type).
    pub data_type: i32,
    /// Row-major.
    pub bytes: Vec<u8>,
}

/// Name that onnxruntime-genai's users look for.
pub const FILE: &str = "adapter_weights.onnx_adapter";

const IDENTIFIER: &[u8; 4] = b"TORT";
/// Size of the description, size of the table, and where its four fields lie.
const TABLE: [u16; 6] = [12, 20, 4, 8, 12, 16];
const DESCRIPTION: usize = 8;
const FORMAT_VERSION: u32 = 1;

/// What a file says of the versions of the adapter and of the model that it belongs to. Nothing reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub adapter: u32,
    pub model: u32,
}

impl Versions {
    /// Beside a model that is written with it.
    pub const FIRST: Versions = Versions { adapter: 1, model: 1 };
    /// As Olive's `convert-adapters` leaves them.
    pub const UNSAID: Versions = Versions { adapter: 0, model: 0 };
}

/// The file's content, or `None` if it would be larger than the format's offsets can say.
pub fn encode(parameters: &[AdapterParameter], versions: Versions) -> Option<Vec<u8>> {
    encode_with_offsets(parameters, versions).map(|(bytes, _)| bytes)
}

/// The same, and where the bytes of each parameter lie in it.
pub fn encode_with_offsets(
    parameters: &[AdapterParameter],
    versions: Versions,
) -> Option<(Vec<u8>, Vec<u64>)> {
    let mut offsets = Vec::with_capacity(parameters.len());
    let mut file = File::default();
    let root = file.number(0);
    file.bytes.extend_from_slice(IDENTIFIER);
    TABLE.iter().for_each(|entry| file.bytes.extend_from_slice(&entry.to_le_bytes()));
    file.point(root);
    file.table();
    file.number(FORMAT_VERSION);
    file.number(versions.adapter);
    file.number(versions.model);
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
        for dim in &parameter.dims {
            file.bytes.extend_from_slice(&(*dim as i64).to_le_bytes());
        }
        file.align();
        file.point(data);
        file.number(u32::try_from(parameter.bytes.len()).ok()?);
        offsets.push(file.bytes.len() as u64);
        file.bytes.extend_from_slice(&parameter.bytes);
        file.bytes.resize(file.bytes.len().next_multiple_of(4), 0);
    }
    i32::try_from(file.bytes.len()).ok()?;
    Some((file.bytes, offsets))
}

/// The parameters of a file.
///
/// # Errors
/// Why it is none: completes "the adapter cannot be used: ".
pub fn decode(bytes: &[u8]) -> Result<Vec<AdapterParameter>, &'static str> {
    if bytes.get(4..8) != Some(IDENTIFIER) {
        return Err("it is no file of ONNX Runtime's adapter format");
    }
    const DAMAGED: &str = "it is damaged or cut off";
    let tables = Tables(bytes);
    let root = tables.follow(0).ok_or(DAMAGED)?;
    if tables.field(root, 0).and_then(|at| tables.number(at)) != Some(FORMAT_VERSION) {
        return Err("it has a version of the format that is not known here");
    }
    tables.parameters(root).ok_or(DAMAGED)
}

/// Reads by the format's own rules: offsets lead forward, a table says where its description lies, and a field that is
/// not written has no entry there.
struct Tables<'a>(&'a [u8]);

impl<'a> Tables<'a> {
    fn bytes<const SIZE: usize>(&self, at: usize) -> Option<[u8; SIZE]> {
        self.0.get(at..at.checked_add(SIZE)?)?.try_into().ok()
    }

    fn number(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn follow(&self, at: usize) -> Option<usize> {
        at.checked_add(self.number(at)? as usize)
    }

    /// Where the field of a table lies.
    fn field(&self, table: usize, index: usize) -> Option<usize> {
        let back = self.bytes(table).map(i32::from_le_bytes)?;
        let description = usize::try_from(i64::try_from(table).ok()? - i64::from(back)).ok()?;
        let entry = 4 + 2 * index;
        let size = usize::from(u16::from_le_bytes(self.bytes(description)?));
        if entry + 2 > size {
            return None;
        }
        let offset = usize::from(u16::from_le_bytes(self.bytes(description + entry)?));
        (offset > 0).then_some(table + offset)
    }

    /// The elements of a list of elements of `size` bytes.
    fn list(&self, at: usize, size: usize) -> Option<&'a [u8]> {
        let length = (self.number(at)? as usize).checked_mul(size)?;
        self.0.get(at + 4..(at + 4).checked_add(length)?)
    }

    fn parameters(&self, root: usize) -> Option<Vec<AdapterParameter>> {
        let list = self.follow(self.field(root, 3)?)?;
        let count = self.list(list, 4)?.len() / 4;
        (0..count).map(|index| self.parameter(self.follow(list + 4 + 4 * index)?)).collect()
    }

    fn parameter(&self, table: usize) -> Option<AdapterParameter> {
        let [name, dims, data] = [0, 1, 3].map(|field| self.follow(self.field(table, field)?));
        let (dims, _) = self.list(dims?, 8)?.as_chunks::<8>();
        Some(AdapterParameter {
            name: String::from_utf8(self.list(name?, 1)?.to_vec()).ok()?,
            dims: dims
                .iter()
                .map(|dim| usize::try_from(i64::from_le_bytes(*dim)).ok())
                .collect::<Option<_>>()?,
            data_type: self.field(table, 2).and_then(|at| self.number(at)).unwrap_or(0) as i32,
            bytes: self.list(data?, 1)?.to_vec(),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Vec<AdapterParameter> {
        let one = |name: &str, dims: &[usize], bytes: &[u8]| AdapterParameter {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: 1,
            bytes: bytes.to_vec(),
        };
        vec![
            one("a", &[1, 2], &[1, 2, 3, 4, 5, 6, 7, 8]),
            one("of/b.weight", &[3, 0], &[]),
            one("", &[], &[9; 4]),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(decode(&encode(&parameters(), Versions::FIRST).unwrap()).unwrap(), parameters());
        assert_eq!(decode(&encode(&[], Versions::UNSAID).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_damaged_file_is_an_error() {
        let file = encode(&parameters(), Versions::FIRST).unwrap();
        assert!(decode(b"").unwrap_err().contains("no file of"));
        for end in 8..file.len() {
            assert!(decode(&file[..end]).is_err(), "cut off at {end}");
        }
        // Any byte may be wrong; nothing may panic.
        for at in 8..file.len() {
            for wrong in [0, 1, 0x7f, 0xff] {
                let mut file = file.clone();
                file[at] = wrong;
                let _ = decode(&file);
            }
        }
    }
}
