//! An adapter beside an ONNX model: matrices that take the place of the graph's empty ones.

use super::RuntimeError;
use half::{bf16, f16};
use olive_core::file;
use olive_core::handle::ModelHandle;
use olive_model::ModelError;
use olive_onnx::adapter_file::{self, AdapterParameter};
use olive_onnx::proto::data_type;
use ort::session::Session;
use ort::value::{DynTensor, PrimitiveTensorElementType, Tensor, TensorElementType, ValueType};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// Which adapter of an ONNX model is switched on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ActiveAdapter {
    /// The one that ModelBuilder wrote beside the model, if there is one.
    #[default]
    Beside,
    /// The one in this file.
    At(PathBuf),
    /// None: the base answers.
    Off,
}

impl ActiveAdapter {
    /// The file for a model in `dir`.
    pub fn file(&self, dir: &Path) -> Option<PathBuf> {
        match self {
            ActiveAdapter::Beside => Some(dir.join(adapter_file::FILE)).filter(|file| file.is_file()),
            ActiveAdapter::At(file) => Some(file.clone()),
            ActiveAdapter::Off => None,
        }
    }

    /// The model with this adapter on it, or without any, and what of it remains to be switched on. An adapter that is asked
    /// for is a folder of PEFT's for a float model; for an ONNX model it is an `.onnx_adapter` file or a folder with one.
    /// `name` is what the user calls the model.
    ///
    /// # Errors
    /// The model has an adapter already, or takes one of another form.
    pub fn put_on(self, model: ModelHandle, name: &str) -> Result<(ModelHandle, ActiveAdapter), ModelError> {
        let ActiveAdapter::At(adapter) = self else {
            return Ok(match model {
                ModelHandle::HfWithAdapter { base, .. } if self == ActiveAdapter::Off => {
                    (ModelHandle::Hf { dir: base }, self)
                }
                model => (model, self),
            });
        };
        let refuse = |reason: String| ModelError::Adapter { path: adapter.clone(), reason };
        match model {
            ModelHandle::Hf { .. } | ModelHandle::HfWithNote { .. } if adapter.is_file() => {
                Err(refuse(format!("`{name}` is a Hugging Face model, which takes a folder")))
            }
            ModelHandle::Hf { dir } | ModelHandle::HfWithNote { base: dir, .. } => {
                Ok((ModelHandle::HfWithAdapter { base: dir, adapter }, ActiveAdapter::Off))
            }
            ModelHandle::Onnx { .. } => {
                let file = if adapter.is_dir() {
                    ActiveAdapter::Beside.file(&adapter)
                } else {
                    Some(adapter.clone())
                };
                let missing = || {
                    refuse(format!(
                        "`{name}` is an ONNX model, which takes an `.onnx_adapter` file; ModelBuilder makes one of a PEFT \
                         adapter with `adapters: separate`"
                    ))
                };
                Ok((model, ActiveAdapter::At(file.ok_or_else(missing)?)))
            }
            ModelHandle::HfWithAdapter { .. } => {
                Err(refuse(format!("`{name}` has an adapter already; give its base instead")))
            }
        }
    }
}

/// A loaded adapter: matrices by the inputs of the graph that take them.
pub struct OnnxAdapter {
    pub(super) inputs: Vec<(String, DynTensor)>,
}

impl OnnxAdapter {
    /// The adapter in `file`, for the graph of `session`.
    ///
    /// # Errors
    /// The file cannot be read, or holds what this graph does not take.
    pub(super) fn load(file: &Path, session: &Session) -> Result<OnnxAdapter, RuntimeError> {
        Ok(OnnxAdapter { inputs: inputs(file, session)? })
    }

    pub(super) fn gives(&self, name: &str) -> bool {
        self.inputs.iter().any(|(given, _)| given == name)
    }
}

fn inputs(file: &Path, session: &Session) -> Result<Vec<(String, DynTensor)>, RuntimeError> {
    let refuse = |reason: String| RuntimeError::Adapter { path: file.to_owned(), reason };
    let bytes = file::read(file).map_err(|e| refuse(e.to_string()))?;
    let parameters = adapter_file::decode(&bytes).map_err(|reason| refuse(reason.to_owned()))?;
    drop(bytes);
    let optional = session.overridable_initializers();
    let optional = optional.iter().map(|input| (input.name(), input.dtype()));
    let required = session.inputs().iter().map(|input| (input.name(), input.dtype()));
    let known: BTreeMap<&str, &ValueType> = optional.chain(required).collect();
    let mut inputs = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let Some(&dtype) = known.get(parameter.name.as_str()) else {
            return Err(refuse(format!("the graph has no input `{}`", parameter.name)));
        };
        let (name, dims) = (parameter.name.clone(), parameter.dims.clone());
        let given = tensor(parameter).map_err(|reason| refuse(format!("`{name}` {reason}")))?;
        let ValueType::Tensor { ty, shape, .. } = dtype else {
            return Err(refuse(format!("the graph's input `{name}` is no tensor")));
        };
        // A dimension that the graph leaves open, or empty, is the rank.
        let fits = shape.len() == dims.len()
            && shape.iter().zip(&dims).all(|(wanted, dim)| *wanted <= 0 || *wanted as usize == *dim);
        if !fits || given.data_type() != ty {
            return Err(refuse(format!(
                "`{name}` is {} {dims:?}, and the graph takes {} {shape:?}",
                type_name(*given.data_type()),
                type_name(*ty)
            )));
        }
        inputs.push((name, given));
    }
    Ok(inputs)
}

fn type_name(dtype: TensorElementType) -> String {
    format!("{dtype:?}").to_lowercase()
}

/// `Err` completes "`name` ".
fn tensor(parameter: AdapterParameter) -> Result<DynTensor, String> {
    match parameter.data_type {
        data_type::FLOAT => values(&parameter, f32::from_le_bytes),
        data_type::FLOAT16 => values(&parameter, f16::from_le_bytes),
        data_type::BFLOAT16 => values(&parameter, bf16::from_le_bytes),
        data_type::UINT8 => values(&parameter, u8::from_le_bytes),
        data_type::INT8 => values(&parameter, i8::from_le_bytes),
        other => {
            Err(format!("has the element type {other}, which is no float of 16 or 32 bits and no code of 8"))
        }
    }
}

fn values<T: PrimitiveTensorElementType + Debug + Clone + 'static, const SIZE: usize>(
    parameter: &AdapterParameter,
    read: fn([u8; SIZE]) -> T,
) -> Result<DynTensor, String> {
    let (elements, rest) = parameter.bytes.as_chunks::<SIZE>();
    let values: Vec<T> = elements.iter().map(|bytes| read(*bytes)).collect();
    let count = parameter.dims.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim));
    if !rest.is_empty() || count != Some(values.len()) {
        return Err(format!("has {} bytes for the shape {:?}", parameter.bytes.len(), parameter.dims));
    }
    let dims: Vec<i64> = parameter.dims.iter().map(|dim| *dim as i64).collect();
    Ok(Tensor::from_array((dims, values)).map_err(|e| format!("cannot be a tensor: {e}"))?.upcast())
}
