//! Weights as they lie on disk: memory-mapped safetensors, one file or shards with an index.

use super::ModelError;
use super::folding::{Coded, fold};
use super::grouped::Grouped;
use super::mapped_file::MappedFile;
use super::mapped_tensor::{MappedTensor, StoredMatrix, read_floats, release};
use super::stored_file::{self, read_json};
use crate::safetensors_file::Entry;
use candle_core::DType;
use olive_core::{InnerPath, Result, error::IoContext, file};
use olive_kernels::quant::ggml::GgmlType;
use olive_kernels::{Decode, FrozenWeight, HostMatrix, Stored, first_not_finite};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The tensors of a model folder, by name. Cloning shares the mapping.
#[derive(Clone)]
pub struct Checkpoint {
    dir: PathBuf,
    tensors: Arc<BTreeMap<String, Tensor>>,
}

/// One tensor of a [`Checkpoint`]: type, shape and its bytes in the mapped file, little-endian, row-major.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Type of the values: f32 for those in blocks, which give exactly such values.
    pub dtype: DType,
    pub shape: Vec<usize>,
    coding: Coding,
    map: Arc<MappedFile>,
    offset: usize,
    len: usize,
}

/// How the values of a tensor lie in its file.
#[derive(Clone)]
enum Coding {
    /// One by one.
    Plain,
    /// As blocks of this type.
    Blocks(GgmlType),
    /// As codes with scales, in tensors of their own.
    Groups(Arc<Grouped>),
    /// As tensors of its own in another way.
    Other(Arc<dyn StoredMatrix>),
}

impl Checkpoint {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// No safetensors in the folder, an unreadable or damaged file, a tensor that two shards hold.
    pub fn open(dir: &Path) -> Result<Checkpoint> {
        let mut tensors = BTreeMap::new();
        for file in &Checkpoint::files(dir)? {
            for tensor in map_file(file)? {
                if let Some(twice) = tensors.insert(tensor.name.clone(), tensor) {
                    return Err(ModelError::Damaged {
                        path: file.clone(),
                        reason: format!("tensor `{}` is in two shards", twice.name),
                    }
                    .into());
                }
            }
        }
        fold_tensors(dir, &mut tensors)?;
        Ok(Checkpoint { dir: dir.to_owned(), tensors: Arc::new(tensors) })
    }

    /// `model.safetensors`, or the shards that `model.safetensors.index.json` names. They are there.
    ///
    /// # Errors
    /// No safetensors in the folder, or not all of them.
    pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
        let single = dir.join("model.safetensors");
        let index = dir.join("model.safetensors.index.json");
        if single.is_file() {
            return Ok(vec![single]);
        }
        if index.is_file() {
            return shard_files(dir, &index);
        }
        Err(match stored_file::pickle(dir)? {
            Some(file) => ModelError::Pickled { path: dir.to_owned(), file },
            None => ModelError::NotAModel {
                path: dir.to_owned(),
                missing: "model.safetensors (or model.safetensors.index.json)".into(),
            },
        }
        .into())
    }

    /// Maps one safetensors file, for example an adapter's.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_file(file: &Path) -> Result<Checkpoint> {
        let tensors = map_file(file)?.into_iter().map(|t| (t.name.clone(), t)).collect();
        Ok(Checkpoint { dir: file.to_owned(), tensors: Arc::new(tensors) })
    }

    /// # Errors
    /// The tensor is not there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.get(name)
            .ok_or_else(|| ModelError::MissingTensor { path: self.dir.clone(), name: name.into() }.into())
    }

    /// The tensor, checked to have this shape.
    ///
    /// # Errors
    /// The tensor is not there or has another shape.
    pub fn tensor_of(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        let tensor = self.tensor(name)?;
        if tensor.shape != shape {
            return Err(ModelError::Shape {
                name: name.into(),
                found: tensor.shape.clone(),
                expected: shape.to_vec(),
            }
            .into());
        }
        Ok(tensor)
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// All tensors in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.values()
    }

    /// Bytes of all tensors.
    pub fn size(&self) -> u64 {
        self.tensors().map(Tensor::stored_size).sum()
    }
}

impl Tensor {
    /// As they lie in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.offset..self.offset + self.len]
    }

    /// Bytes in the file.
    pub fn stored_size(&self) -> u64 {
        match &self.coding {
            Coding::Groups(groups) => groups.tensors().map(|tensor| tensor.len as u64).sum(),
            Coding::Other(matrix) => matrix.tensors().iter().map(|tensor| tensor.len as u64).sum(),
            Coding::Plain | Coding::Blocks(_) => self.len as u64,
        }
    }

    /// The codes that the matrix is stored as, if it is.
    pub fn groups(&self) -> Option<&Grouped> {
        match &self.coding {
            Coding::Groups(groups) => Some(groups),
            Coding::Plain | Coding::Blocks(_) | Coding::Other(_) => None,
        }
    }

    /// The same, where they can be written as Olive's format has them: the groups of a row are neighbours.
    pub fn neighbour_groups(&self) -> Option<&Grouped> {
        self.groups().filter(|groups| groups.order().is_none())
    }

    /// As it lies in the file.
    pub(crate) fn mapped(&self) -> MappedTensor {
        MappedTensor {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            map: self.map.clone(),
            offset: self.offset,
            len: self.len,
        }
    }

    /// A matrix of this name that is stored so.
    fn coded(name: &str, coded: Coded) -> Tensor {
        let (shape, codes, coding) = match coded {
            Coded::Groups(groups) => {
                let codes = groups.tensors().next().expect("codes come first").clone();
                (groups.shape(), codes, Coding::Groups(groups))
            }
            Coded::Other(matrix) => {
                let codes = matrix.tensors()[0].clone();
                (matrix.shape(), codes, Coding::Other(matrix))
            }
        };
        let MappedTensor { map, offset, len, .. } = codes;
        Tensor { name: name.to_owned(), dtype: DType::F32, shape: shape.to_vec(), coding, map, offset, len }
    }

    /// A matrix of this process's own memory.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn in_memory(name: &str, shape: &[usize], values: &[f32]) -> std::io::Result<Tensor> {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "the shape is that of the values");
        let len = 4 * values.len();
        let mut map = memmap2::MmapMut::map_anon(len.max(1))?;
        for (bytes, value) in map.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        let map = Arc::new(MappedFile::anonymous(map.make_read_only()?));
        let name = name.to_owned();
        Ok(Tensor {
            name,
            dtype: DType::F32,
            shape: shape.to_vec(),
            coding: Coding::Plain,
            map,
            offset: 0,
            len,
        })
    }

    /// A weight for products, of this process's own memory on the CPU.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn weight_in_memory(name: &str, shape: [usize; 2], values: &[f32]) -> Result<FrozenWeight> {
        let no_room = |e: std::io::Error| olive_kernels::invalid(format!("no room for `{name}`: {e}"));
        let tensor = Tensor::in_memory(name, &shape, values).map_err(no_room)?;
        FrozenWeight::new(tensor.matrix()?, DType::F32, &candle_core::Device::Cpu)
    }

    pub fn element_count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of its values when each is of the tensor's type.
    pub fn plain_size(&self) -> usize {
        self.element_count() * self.dtype.size_in_bytes()
    }

    /// The values of elements `range` as f32.
    ///
    /// # Errors
    /// The tensor is not of a float type.
    #[inline]
    pub fn read_f32(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        assert_eq!(range.len(), out.len(), "the destination holds the range");
        match &self.coding {
            Coding::Plain => {}
            Coding::Blocks(kind) => {
                kind.decode_range(self.bytes(), range, out);
                return Ok(());
            }
            Coding::Groups(groups) => {
                groups.decode(range, out);
                return Ok(());
            }
            Coding::Other(matrix) => {
                matrix.decode(range, out);
                return Ok(());
            }
        }
        let width = self.dtype.size_in_bytes();
        let bytes = &self.bytes()[range.start * width..range.end * width];
        read_floats(self.dtype, bytes, out, &self.name)
    }

    /// Whether both have the same shape and values, whatever the types they are stored in.
    ///
    /// # Errors
    /// Two types, one of which is not a float type.
    pub fn equals(&self, other: &Tensor) -> Result<bool> {
        if self.shape != other.shape {
            return Ok(false);
        }
        let alike = match (&self.coding, &other.coding) {
            (Coding::Plain, Coding::Plain) => self.dtype == other.dtype,
            (Coding::Blocks(own), Coding::Blocks(of_other)) => own == of_other,
            _ => false,
        };
        if alike {
            return Ok(self.bytes() == other.bytes());
        }
        const RUN: usize = 1 << 16;
        let (mut a, mut b) = (vec![0.0; RUN], vec![0.0; RUN]);
        for start in (0..self.element_count()).step_by(RUN) {
            let end = (start + RUN).min(self.element_count());
            let (a, b) = (&mut a[..end - start], &mut b[..end - start]);
            self.read_f32(start..end, a)?;
            other.read_f32(start..end, b)?;
            if a != b {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The bytes of its values, each of the tensor's type, in pieces that were found to hold numbers if it is a float type.
    pub fn finite_pieces(&self) -> impl Iterator<Item = Result<Cow<'_, [u8]>>> {
        const PIECE: usize = 1 << 20;
        let width = self.dtype.size_in_bytes();
        (0..self.plain_size()).step_by(PIECE).map(move |start| {
            let end = (start + PIECE).min(self.plain_size());
            let piece = match self.coding {
                Coding::Plain => Cow::Borrowed(&self.bytes()[start..end]),
                Coding::Blocks(_) | Coding::Groups(_) | Coding::Other(_) => {
                    let mut values = vec![0.0; (end - start) / width];
                    self.read_f32(start / width..end / width, &mut values)?;
                    Cow::Owned(values.into_iter().flat_map(f32::to_le_bytes).collect())
                }
            };
            match self.not_finite_in(&piece) {
                None => Ok(piece),
                Some(at) => Err(self.not_finite(start / width + at).into()),
            }
        })
    }

    /// Where the first value of `piece` is that is not finite.
    fn not_finite_in(&self, piece: &[u8]) -> Option<usize> {
        fn position<const N: usize>(piece: &[u8], wrong: impl Fn([u8; N]) -> bool) -> Option<usize> {
            let (values, _) = piece.as_chunks::<N>();
            let any = values.iter().fold(false, |any, value| any | wrong(*value));
            any.then(|| values.iter().position(|value| wrong(*value))).flatten()
        }
        // All bits of the exponent.
        let sixteen = |exponent: u16| move |value| u16::from_le_bytes(value) & exponent == exponent;
        match self.dtype {
            DType::BF16 => position(piece, sixteen(0x7f80)),
            DType::F16 => position(piece, sixteen(0x7c00)),
            DType::F32 => position(piece, |value| !f32::from_le_bytes(value).is_finite()),
            DType::F64 => position(piece, |value| !f64::from_le_bytes(value).is_finite()),
            _ => None,
        }
    }

    fn not_finite(&self, near: usize) -> ModelError {
        ModelError::NotFinite { name: self.name.clone(), near }
    }

    /// The tensor as a weight for products, if it is a matrix of floats.
    ///
    /// # Errors
    /// It has not two dimensions or is not of a float type.
    pub fn matrix(&self) -> Result<Arc<dyn HostMatrix>> {
        let &[rows, cols] = self.shape.as_slice() else {
            return Err(ModelError::NotAMatrix { name: self.name.clone(), shape: self.shape.clone() }.into());
        };
        // Fails here, and so never later, when the type is not a float.
        self.read_f32(0..0, &mut [])?;
        Ok(Arc::new(Matrix { tensor: self.clone(), shape: [rows, cols] }))
    }

    /// Says that the bytes will not be read again soon, so that a model larger than memory can pass through. They
    /// come back from the file if they are.
    pub fn release(&self) {
        match &self.coding {
            Coding::Groups(groups) => groups.tensors().for_each(MappedTensor::release),
            Coding::Other(matrix) => matrix.tensors().into_iter().for_each(MappedTensor::release),
            Coding::Plain | Coding::Blocks(_) => release(&self.map, self.offset, self.len),
        }
    }

    /// All values as f32.
    ///
    /// # Errors
    /// The tensor is not of a float type, or a value is not finite.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.element_count()];
        self.read_f32(0..out.len(), &mut out)?;
        match first_not_finite(&out) {
            None => Ok(out),
            Some(at) => Err(self.not_finite(at).into()),
        }
    }
}

/// A tensor of floats that is known to have two dimensions.
struct Matrix {
    tensor: Tensor,
    shape: [usize; 2],
}

impl Decode for Matrix {
    fn decode(&self, range: Range<usize>, out: &mut [f32]) {
        self.tensor.read_f32(range, out).expect("a float type, as `Tensor::matrix` checked");
    }
}

impl HostMatrix for Matrix {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn stored(&self) -> Stored<'_> {
        let bytes = self.tensor.bytes();
        match self.tensor.dtype {
            _ if !matches!(self.tensor.coding, Coding::Plain) => Stored::Coded(self),
            DType::BF16 => Stored::Bf16(bytes),
            DType::F16 => Stored::F16(bytes),
            DType::F32 if cfg!(target_endian = "little") => {
                bytemuck::try_cast_slice(bytes).map_or(Stored::Coded(self), Stored::F32)
            }
            _ => Stored::Coded(self),
        }
    }

    fn release(&self) {
        self.tensor.release();
    }
}

/// Puts matrices in the place of the tensors that they are stored as.
fn fold_tensors(dir: &Path, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let plain = tensors.iter().filter(|(_, tensor)| matches!(tensor.coding, Coding::Plain));
    let folded = fold(dir, &plain.map(|(name, tensor)| (name.clone(), tensor.mapped())).collect())?;
    tensors.retain(|name, _| !folded.used.contains(name));
    for (name, coded) in folded.matrices {
        let tensor = Tensor::coded(&name, coded);
        tensors.insert(name, tensor);
    }
    Ok(())
}

/// Names and types of all tensors of a folder, also types that [`Checkpoint`] knows nothing of.
///
/// # Errors
/// As [`Checkpoint::open`].
pub(super) fn stored_types(dir: &Path) -> Result<BTreeMap<String, safetensors::Dtype>> {
    let mut types = BTreeMap::new();
    for file in Checkpoint::files(dir)? {
        let map = map(&file)?;
        let header = header(&file, &map)?;
        types.extend(header.tensors().into_iter().map(|(name, view)| (name, view.dtype())));
    }
    Ok(types)
}

fn shard_files(dir: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let json = read_json(index)?.unwrap_or_default();
    let damaged = |reason: String| ModelError::Damaged { path: index.to_owned(), reason };
    let map = json["weight_map"].as_object().filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| damaged("there is no `weight_map` in it".into()))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let needed =
            || damaged(format!("`weight_map.{tensor}` is {file}, where the name of a file is needed"));
        let name = file.as_str().ok_or_else(needed)?;
        InnerPath::name(name)
            .map_err(|refusal| damaged(format!("`weight_map.{tensor}` is {file}, and {refusal}")))?;
        names.insert(name);
    }
    let files: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    let missing: Vec<&str> =
        names.iter().zip(&files).filter(|(_, path)| !path.is_file()).map(|(name, _)| *name).collect();
    if let Some(first) = missing.first() {
        return Err(ModelError::MissingShards {
            path: index.to_owned(),
            count: names.len(),
            missing: missing.len(),
            first: (*first).to_owned(),
        }
        .into());
    }
    Ok(files)
}

fn map(path: &Path) -> Result<MappedFile> {
    let file = file::open(path).at("open", path)?;
    MappedFile::open(&file, path).at("map", path)
}

fn header<'a>(path: &Path, map: &'a [u8]) -> Result<SafeTensors<'a>> {
    let damaged = |e: safetensors::SafeTensorError| ModelError::Damaged {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    stored_file::refuse_pointer(path, map)?;
    Ok(SafeTensors::deserialize(map).map_err(damaged)?)
}

fn map_file(path: &Path) -> Result<Vec<Tensor>> {
    let map = Arc::new(map(path)?);
    let header = header(path, &map)?;
    let start = map.as_ptr() as usize;
    header
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let Layout { name, dtype, shape, coding } = layout(name, &view)?;
            Ok(Tensor {
                name,
                dtype,
                shape,
                coding,
                offset: view.data().as_ptr() as usize - start,
                len: view.data().len(),
                map: map.clone(),
            })
        })
        .collect()
}

/// What follows the names of matrices that are stored as ggml's blocks, before the number of the type in ggml.h. Safetensors
/// knows no such types, so the blocks of a row are a row of bytes.
const BLOCKS_OF: &str = ".ggml_type_";

/// A matrix `[rows, columns]` in the header of a file, whose blocks are of this type; rows are whole blocks.
pub(super) fn block_entry(name: &str, [rows, columns]: [usize; 2], kind: GgmlType) -> Entry {
    let row = columns / kind.block_values() * kind.block_bytes();
    let name = format!("{name}{BLOCKS_OF}{}", kind.number());
    Entry { name, dtype: "U8", shape: vec![rows, row], bytes: rows * row }
}

/// What a header says of a tensor.
struct Layout {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    coding: Coding,
}

fn layout(name: String, view: &TensorView) -> Result<Layout> {
    let unknown = || ModelError::Dtype { name: name.clone(), found: format!("{:?}", view.dtype()) };
    let dtype = DType::try_from(view.dtype()).map_err(|_| unknown())?;
    let kind = |number: &str| GgmlType::of_number(number.parse().ok()?);
    match (name.rsplit_once(BLOCKS_OF), view.shape()) {
        (Some((plain, number)), &[rows, row]) if dtype == DType::U8 => {
            let kind = kind(number).filter(|kind| row.is_multiple_of(kind.block_bytes()));
            let kind = kind.ok_or_else(unknown)?;
            let columns = (row / kind.block_bytes()).checked_mul(kind.block_values()).ok_or_else(unknown)?;
            rows.checked_mul(columns).and_then(|values| values.checked_mul(4)).ok_or_else(unknown)?;
            let (shape, coding) = (vec![rows, columns], Coding::Blocks(kind));
            Ok(Layout { name: plain.to_owned(), dtype: DType::F32, shape, coding })
        }
        _ => Ok(Layout { dtype, shape: view.shape().to_vec(), coding: Coding::Plain, name }),
    }
}
