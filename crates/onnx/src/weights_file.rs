//! Files of named tensors: ONNX Runtime's adapters, safetensors, NumPy's archives.

use super::OnnxError;
use super::adapter_file::{self, AdapterParameter, Versions};
use super::proto::data_type;
use olive_core::error::IoContext;
use olive_core::{Result, file};
use olive_model::safetensors_file::{Entry, Writer};
use serde::{Deserialize, Serialize};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Which kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WeightsFormat {
    /// PyTorch's, which are programs and are not written here.
    #[serde(rename = "pt")]
    Pickle,
    #[serde(rename = "numpy")]
    Numpy,
    #[serde(rename = "safetensors")]
    Safetensors,
    #[serde(rename = "onnx_adapter")]
    OnnxAdapter,
}

impl WeightsFormat {
    /// The end of a file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            WeightsFormat::Numpy => ".npz",
            WeightsFormat::Pickle => ".pt",
            WeightsFormat::Safetensors => ".safetensors",
            WeightsFormat::OnnxAdapter => ".onnx_adapter",
        }
    }

    /// The path with the suffix of the format, which is added to whatever suffix there is.
    pub fn with_suffix(self, path: &str) -> PathBuf {
        if path.ends_with(self.suffix()) { path.into() } else { format!("{path}{}", self.suffix()).into() }
    }
}

/// Where tensors lie in the file that they were written to: the offset of each, in bytes.
pub type Offsets = Vec<u64>;

/// Writes a file, in the place of one that is there.
///
/// # Errors
/// It cannot be written, or the format has no place for it.
pub fn write(
    path: &Path,
    format: WeightsFormat,
    tensors: &[AdapterParameter],
    versions: Versions,
) -> Result<Offsets> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    let refuse = |reason: &'static str| OnnxError::WeightsFile {
        path: path.to_owned(),
        format: format.suffix(),
        reason,
    };
    let (bytes, offsets) = match format {
        WeightsFormat::Pickle => return Err(refuse("a pickle runs code where it is read").into()),
        WeightsFormat::Safetensors => return write_safetensors(path, tensors, &refuse),
        WeightsFormat::Numpy => {
            if tensors.iter().any(|tensor| in_numpy(tensor.data_type).is_none()) {
                return Err(refuse("NumPy has no such type").into());
            }
            archive(tensors).at("write", path)?
        }
        WeightsFormat::OnnxAdapter => adapter_file::encode_with_offsets(tensors, versions)
            .ok_or_else(|| refuse("it would be larger than the 2 GiB that the format can say"))?,
    };
    file::replace(path, &bytes).at("write", path)?;
    Ok(offsets)
}

fn in_safetensors(kind: i32) -> Option<&'static str> {
    match kind {
        data_type::FLOAT => Some("F32"),
        data_type::FLOAT16 => Some("F16"),
        data_type::BFLOAT16 => Some("BF16"),
        data_type::UINT8 => Some("U8"),
        data_type::INT8 => Some("I8"),
        _ => None,
    }
}

fn in_numpy(kind: i32) -> Option<&'static str> {
    match kind {
        data_type::FLOAT => Some("<f4"),
        data_type::FLOAT16 => Some("<f2"),
        data_type::UINT8 => Some("|u1"),
        data_type::INT8 => Some("|i1"),
        _ => None,
    }
}

/// Wide elements come first, so that all lie where their size asks for.
fn write_safetensors(
    path: &Path,
    tensors: &[AdapterParameter],
    refuse: &dyn Fn(&'static str) -> OnnxError,
) -> Result<Offsets> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    let width = |kind: i32| std::cmp::Reverse(data_type::bits(kind));
    order.sort_by_key(|place| (width(tensors[*place].data_type), &tensors[*place].name));
    let mut entries = Vec::with_capacity(tensors.len());
    for place in &order {
        let tensor = &tensors[*place];
        entries.push(Entry {
            name: tensor.name.clone(),
            dtype: in_safetensors(tensor.data_type).ok_or_else(|| refuse("the format has no such type"))?,
            shape: tensor.dims.clone(),
            bytes: tensor.bytes.len(),
        });
    }
    let mut writer = Writer::create(path, &entries)?;
    for place in &order {
        writer.write(&tensors[*place].bytes)?;
    }
    writer.finish()?;
    // The data end the file.
    let total: u64 = tensors.iter().map(|tensor| tensor.bytes.len() as u64).sum();
    let mut offset = std::fs::metadata(path).at("read", path)?.len() - total;
    let mut offsets = vec![0; tensors.len()];
    for place in order {
        offsets[place] = offset;
        offset += tensors[place].bytes.len() as u64;
    }
    Ok(offsets)
}

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// What `numpy.savez` makes: a ZIP archive, not compressed, of files in NumPy's format.
fn archive(tensors: &[AdapterParameter]) -> std::io::Result<(Vec<u8>, Offsets)> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for tensor in tensors {
        let size = tensor.bytes.len() as u64;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(size >= u64::from(u32::MAX) / 2);
        archive.start_file(format!("{}.npy", tensor.name), options).map_err(std::io::Error::other)?;
        archive.write_all(&npy_header(in_numpy(tensor.data_type).unwrap_or_default(), &tensor.dims))?;
        archive.write_all(&tensor.bytes)?;
    }
    let bytes = archive.finish().map_err(std::io::Error::other)?.into_inner();
    // Between two of them there is nothing but a header of the archive.
    let (mut offsets, mut from) = (Vec::with_capacity(tensors.len()), 0);
    for tensor in tensors {
        let header = bytes[from..].windows(MAGIC.len()).position(|window| window == MAGIC);
        let header = from + header.ok_or_else(|| std::io::Error::other("the archive lost a tensor"))?;
        let kind = in_numpy(tensor.data_type).unwrap_or_default();
        from = header + npy_header(kind, &tensor.dims).len();
        offsets.push(from as u64);
        from += tensor.bytes.len();
    }
    Ok((bytes, offsets))
}

/// Version 1.0: magic, length, a Python dictionary, and spaces up to a multiple of 64 bytes.
fn npy_header(kind: &str, dims: &[usize]) -> Vec<u8> {
    const LENGTH: usize = 2;
    let mut shape: Vec<String> = dims.iter().map(usize::to_string).collect();
    if dims.len() == 1 {
        shape.push(String::new());
    }
    let mut text = format!(
        "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}",
        shape.join(", ").trim_end()
    );
    let whole = (MAGIC.len() + LENGTH + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', whole - MAGIC.len() - LENGTH - text.len() - 1));
    text.push('\n');
    // Of at most five dimensions: the length fits.
    let length = (text.len() as u16).to_le_bytes();
    [MAGIC, &length, text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_numpy_fills_64_bytes_and_names_the_shape() {
        for (dims, shape) in [(&[3, 40][..], "(3, 40)"), (&[7], "(7,)"), (&[1, 2, 3], "(1, 2, 3)")] {
            let header = npy_header("<f2", dims);
            assert_eq!((header.len() % 64, header.last()), (0, Some(&b'\n')));
            let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
            assert_eq!(header.len(), 10 + length);
            let text = String::from_utf8(header[10..].to_vec()).unwrap();
            let expected = format!("{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}");
            assert_eq!(text.trim_end(), expected);
        }
    }

    #[test]
    fn the_suffix_is_added_to_what_is_there() {
        let paths = [("out/a", "out/a.npz"), ("a.bin", "a.bin.npz"), ("a.npz", "a.npz")];
        for (given, path) in paths {
            assert_eq!(WeightsFormat::Numpy.with_suffix(given), Path::new(path));
        }
    }

    #[test]
    fn every_format_says_where_its_tensors_lie() {
        let dir = tempfile::tempdir().unwrap();
        let one = |name: &str, data_type, dims: &[usize], bytes: &[u8]| AdapterParameter {
            name: name.into(),
            dims: dims.to_vec(),
            data_type,
            bytes: bytes.to_vec(),
        };
        let tensors = [
            one("b", data_type::UINT8, &[3], &[7, 8, 9]),
            one("a.weight", data_type::FLOAT, &[1, 2], &[1, 2, 3, 4, 5, 6, 7, 8]),
            one("c", data_type::FLOAT16, &[1], &[10, 11]),
        ];
        for format in [WeightsFormat::Safetensors, WeightsFormat::Numpy, WeightsFormat::OnnxAdapter] {
            let path = dir.path().join(format!("weights{}", format.suffix()));
            let offsets = write(&path, format, &tensors, Versions::FIRST).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            for (tensor, offset) in tensors.iter().zip(offsets) {
                assert_eq!(bytes[offset as usize..][..tensor.bytes.len()], tensor.bytes, "{}", tensor.name);
            }
        }
        let refused = write(dir.path(), WeightsFormat::Pickle, &tensors, Versions::FIRST).unwrap_err();
        assert!(refused.to_string().contains("runs code"), "{refused}");
    }
}
