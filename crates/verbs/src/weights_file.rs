//! Files of named tensors: ONNX Runtime's adapters, safetensors, NumPy's archives.

use crate::error::VerbError;
use crate::words::Word;
use olive_core::error::IoContext;
use olive_core::{Result, file};
use olive_kernels::quant::FloatType;
use olive_model::safetensors_file::{Entry, Writer};
use olive_onnx::adapter_file::{self, AdapterParameter, Versions};
use olive_onnx::proto::data_type;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// `--adapter_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsFormat {
    Pickle,
    Numpy,
    Safetensors,
    OnnxAdapter,
}

impl Word for WeightsFormat {
    const ALL: &'static [WeightsFormat] = &[
        WeightsFormat::Pickle,
        WeightsFormat::Numpy,
        WeightsFormat::Safetensors,
        WeightsFormat::OnnxAdapter,
    ];

    fn word(self) -> &'static str {
        match self {
            WeightsFormat::Pickle => "pt",
            WeightsFormat::Numpy => "numpy",
            WeightsFormat::Safetensors => "safetensors",
            WeightsFormat::OnnxAdapter => "onnx_adapter",
        }
    }
}

impl WeightsFormat {
    /// # Errors
    /// PyTorch's pickles, which are programs. `option` is what asked for the format.
    pub fn check(self, option: &str) -> std::result::Result<(), VerbError> {
        match self {
            WeightsFormat::Pickle => Err(VerbError::unsupported(
                format!("{option} pt"),
                "a pickle runs code where it is read",
                Some("`safetensors`, `numpy` or `onnx_adapter`"),
            )),
            WeightsFormat::Numpy | WeightsFormat::Safetensors | WeightsFormat::OnnxAdapter => Ok(()),
        }
    }

    /// The path with the suffix of the format, which is added to whatever suffix there is.
    pub fn with_suffix(self, path: &str) -> PathBuf {
        let suffix = match self {
            WeightsFormat::Numpy => ".npz",
            WeightsFormat::Pickle => ".pt",
            WeightsFormat::Safetensors => ".safetensors",
            WeightsFormat::OnnxAdapter => ".onnx_adapter",
        };
        if path.ends_with(suffix) { path.into() } else { format!("{path}{suffix}").into() }
    }
}

/// Type of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    F32,
    F16,
    U8,
}

impl Element {
    pub(crate) fn of(float: FloatType) -> Element {
        match float {
            FloatType::F16 => Element::F16,
            FloatType::F32 | FloatType::Bf16 => Element::F32,
        }
    }

    fn in_safetensors(self) -> &'static str {
        match self {
            Element::F32 => "F32",
            Element::F16 => "F16",
            Element::U8 => "U8",
        }
    }

    fn in_numpy(self) -> &'static str {
        match self {
            Element::F32 => "<f4",
            Element::F16 => "<f2",
            Element::U8 => "|u1",
        }
    }

    fn in_onnx(self) -> i32 {
        match self {
            Element::F32 => data_type::FLOAT,
            Element::F16 => data_type::FLOAT16,
            Element::U8 => data_type::UINT8,
        }
    }
}

/// A tensor by the name that a graph knows it by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NamedTensor {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) dims: Vec<usize>,
    /// Row-major.
    pub(crate) bytes: Vec<u8>,
}

/// Writes a file, in the place of one that is there.
///
/// # Errors
/// It cannot be written, or is too large for the format.
pub(crate) fn write(path: &Path, format: WeightsFormat, tensors: Vec<NamedTensor>) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    match format {
        WeightsFormat::Pickle => Ok(format.check("--adapter_format")?),
        WeightsFormat::Safetensors => write_safetensors(path, tensors),
        WeightsFormat::Numpy => file::replace(path, &archive(&tensors).at("write", path)?).at("write", path),
        WeightsFormat::OnnxAdapter => {
            let parameters: Vec<AdapterParameter> = tensors.into_iter().map(parameter).collect();
            let bytes =
                adapter_file::encode(&parameters, Versions::UNSAID).ok_or_else(|| VerbError::Adapter {
                    path: path.to_owned(),
                    reason: "the file would be larger than 2 GiB".into(),
                    hint: "`--dtype float16` halves it",
                })?;
            file::replace(path, &bytes).at("write", path)
        }
    }
}

fn parameter(tensor: NamedTensor) -> AdapterParameter {
    let NamedTensor { name, element, dims, bytes } = tensor;
    AdapterParameter { name, dims, data_type: element.in_onnx(), bytes }
}

/// Wide elements come first, so that all lie where their size asks for.
fn write_safetensors(path: &Path, mut tensors: Vec<NamedTensor>) -> Result<()> {
    tensors.sort_by(|a, b| (a.element, &a.name).cmp(&(b.element, &b.name)));
    let entry = |tensor: &NamedTensor| Entry {
        name: tensor.name.clone(),
        dtype: tensor.element.in_safetensors(),
        shape: tensor.dims.clone(),
        bytes: tensor.bytes.len(),
    };
    let mut writer = Writer::create(path, &tensors.iter().map(entry).collect::<Vec<_>>())?;
    for tensor in &tensors {
        writer.write(&tensor.bytes)?;
    }
    writer.finish()
}

/// What `numpy.savez` makes: a ZIP archive, not compressed, of files in NumPy's format.
fn archive(tensors: &[NamedTensor]) -> std::io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for tensor in tensors {
        let size = tensor.bytes.len() as u64;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(size >= u64::from(u32::MAX) / 2);
        archive.start_file(format!("{}.npy", tensor.name), options).map_err(std::io::Error::other)?;
        archive.write_all(&npy_header(tensor.element, &tensor.dims))?;
        archive.write_all(&tensor.bytes)?;
    }
    Ok(archive.finish().map_err(std::io::Error::other)?.into_inner())
}

/// Version 1.0: magic, length, a Python dictionary, and spaces up to a multiple of 64 bytes.
fn npy_header(element: Element, dims: &[usize]) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    const LENGTH: usize = 2;
    let mut shape: Vec<String> = dims.iter().map(usize::to_string).collect();
    if dims.len() == 1 {
        shape.push(String::new());
    }
    let mut text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
        element.in_numpy(),
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
            let header = npy_header(Element::F16, dims);
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
        assert!(WeightsFormat::Pickle.check("--format").unwrap_err().to_string().contains("--format pt"));
    }
}
