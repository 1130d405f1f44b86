//! LoRA adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

use super::stored_file::{self, read_json};
use super::{AdapterConfig, Checkpoint, ModelError, Tensor, safetensors_file};
use crate::adapter_config::CONFIG;
use olive_core::{Result, error::IoContext};
use std::collections::BTreeMap;
use std::path::Path;

/// The low-rank pair of one module.
#[derive(Debug, Clone)]
pub struct LoraPair {
    /// `[r, in]`, row-major.
    pub a: Vec<f32>,
    /// `[out, r]`, row-major.
    pub b: Vec<f32>,
    pub rank: usize,
    pub in_features: usize,
    pub out_features: usize,
    /// Factor on `B·A`.
    pub scale: f64,
    /// DoRA: what the rows of the merged weight are scaled to, `[out]`. `None` in a new adapter: the lengths they have.
    pub magnitude: Option<Vec<f32>>,
}

impl LoraPair {
    /// The pair of the transposed weight.
    fn transposed(self) -> LoraPair {
        let LoraPair { a, b, rank, in_features, out_features, .. } = self;
        LoraPair {
            a: transpose(&b, rank),
            b: transpose(&a, in_features),
            in_features: out_features,
            out_features: in_features,
            ..self
        }
    }
}

/// A row-major matrix of so many columns, by columns.
fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns)).copied().collect()
}

/// An adapter in memory, by module path (`model.layers.0.self_attn.q_proj`).
#[derive(Debug, Clone)]
pub struct Adapter {
    pub config: AdapterConfig,
    pub modules: BTreeMap<String, LoraPair>,
    /// Weights that take the place of the base's (`modules_to_save`), by module path.
    pub whole: BTreeMap<String, WholeTensor>,
}

/// A weight in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeTensor {
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

const PREFIX: &str = "base_model.model.";

impl Adapter {
    /// Reads an adapter folder.
    ///
    /// # Errors
    /// A missing file, a kind of adapter that is not LoRA, a module with only one half, ranks that do not fit.
    pub fn open(dir: &Path) -> Result<Adapter> {
        let refuse = |reason: String| ModelError::Adapter { path: dir.to_owned(), reason };
        let config = AdapterConfig::open(dir)?;
        let weights = dir.join("adapter_model.safetensors");
        if !weights.is_file() {
            if let Some(file) = stored_file::pickle(dir)? {
                return Err(ModelError::Pickled { path: dir.to_owned(), file }.into());
            }
            return Err(refuse("adapter_model.safetensors is missing".into()).into());
        }
        let Parts { halves, whole } = Parts::of(&Checkpoint::open_file(&weights)?, &config, dir)?;
        // PEFT takes every module whose path ends with one of the names.
        let saved = config.modules_to_save.as_deref().unwrap_or_default();
        if let Some(name) =
            saved.iter().find(|name| !whole.keys().any(|module| module.ends_with(name.as_str())))
        {
            let what = format!("`modules_to_save` names `{name}`, of which there is no weight");
            return Err(refuse(what).into());
        }
        if halves.is_empty() {
            return Err(refuse("adapter_model.safetensors holds no LoRA matrices".into()).into());
        }
        let mut modules = BTreeMap::new();
        for (module, halves) in halves {
            let pair = halves.join(&module, &config, dir)?;
            modules.insert(module, pair);
        }
        Ok(Adapter { config, modules, whole })
    }

    /// Writes both files, tensors as f32, in the order of their names.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).at("create", dir)?;
        let path = dir.join(CONFIG);
        let text = serde_json::to_string_pretty(&self.config).expect("plain data");
        std::fs::write(&path, text + "\n").at("write", &path)?;
        let mut tensors = Vec::with_capacity(2 * self.modules.len());
        for (module, pair) in &self.modules {
            tensors.push((
                format!("{PREFIX}{module}.lora_A.weight"),
                vec![pair.rank, pair.in_features],
                pair.a.as_slice(),
            ));
            tensors.push((
                format!("{PREFIX}{module}.lora_B.weight"),
                vec![pair.out_features, pair.rank],
                pair.b.as_slice(),
            ));
            if let Some(magnitude) = &pair.magnitude {
                let name = format!("{PREFIX}{module}.lora_magnitude_vector");
                tensors.push((name, vec![pair.out_features], magnitude.as_slice()));
            }
        }
        for (module, WholeTensor { shape, values }) in &self.whole {
            tensors.push((format!("{PREFIX}{module}.weight"), shape.clone(), values.as_slice()));
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        safetensors_file::write_f32(&dir.join("adapter_model.safetensors"), &tensors)
    }
}

/// The tensors of an adapter, by module.
#[derive(Default)]
struct Parts {
    halves: BTreeMap<String, Halves>,
    whole: BTreeMap<String, WholeTensor>,
}

/// The tensors of one module's pair, as they are stored.
#[derive(Default)]
struct Halves {
    a: Option<Tensor>,
    b: Option<Tensor>,
    magnitude: Option<Tensor>,
    layout: Layout,
}

/// How the two matrices of a pair lie in the file.
#[derive(Default, Clone, Copy, PartialEq)]
enum Layout {
    /// A `[r, in]` and B `[out, r]` of a weight `[out, in]`.
    #[default]
    Linear,
    /// A `[r, rows]` and B `[columns, r]` of a table `[rows, columns]`.
    Embedding,
}

/// A tensor of a pair.
#[derive(Clone, Copy)]
enum Part {
    A(Layout),
    B(Layout),
    Magnitude,
}

const SUFFIXES: [(&str, Part); 5] = [
    (".lora_A.weight", Part::A(Layout::Linear)),
    (".lora_B.weight", Part::B(Layout::Linear)),
    (".lora_embedding_A", Part::A(Layout::Embedding)),
    (".lora_embedding_B", Part::B(Layout::Embedding)),
    (".lora_magnitude_vector", Part::Magnitude),
];

/// Modules whose own matrix PEFT stores beside their adapter, or because the vocabulary has changed.
const STORED_WITH_ADAPTER: [&str; 2] = ["embed_tokens", "lm_head"];

impl Parts {
    fn of(weights: &Checkpoint, config: &AdapterConfig, dir: &Path) -> Result<Parts> {
        let saved = config.modules_to_save.as_deref().unwrap_or_default();
        let is_whole = |module: &str| {
            let mut names = saved.iter().map(String::as_str).chain(STORED_WITH_ADAPTER);
            names.any(|name| module.ends_with(name))
        };
        let mut parts = Parts::default();
        for tensor in weights.tensors() {
            let name = tensor.name.strip_prefix(PREFIX).unwrap_or(&tensor.name);
            let of_pair =
                SUFFIXES.iter().find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, *part)));
            let of_base = || {
                let own = name.strip_suffix(".base_layer.weight");
                own.or_else(|| name.strip_suffix(".weight").filter(|module| is_whole(module)))
            };
            if let Some((module, part)) = of_pair {
                parts.halves.entry(module.to_owned()).or_default().put(part, tensor);
            } else if let Some(module) = of_base() {
                if tensor.shape.contains(&0) || tensor.shape.is_empty() {
                    let reason =
                        format!("`{}` is of shape {:?}, which holds no weight", tensor.name, tensor.shape);
                    return Err(ModelError::Adapter { path: dir.to_owned(), reason }.into());
                }
                let tensor = WholeTensor { shape: tensor.shape.clone(), values: tensor.to_f32()? };
                parts.whole.insert(module.to_owned(), tensor);
            } else {
                let reason = format!("tensor `{}` is no part of a LoRA adapter", tensor.name);
                return Err(ModelError::Adapter { path: dir.to_owned(), reason }.into());
            }
        }
        Ok(parts)
    }
}

impl Halves {
    fn put(&mut self, part: Part, tensor: &Tensor) {
        let tensor = Some(tensor.clone());
        match part {
            Part::A(layout) => (self.a, self.layout) = (tensor, layout),
            Part::B(layout) => (self.b, self.layout) = (tensor, layout),
            Part::Magnitude => self.magnitude = tensor,
        }
    }

    fn join(self, module: &str, config: &AdapterConfig, dir: &Path) -> Result<LoraPair> {
        let refuse = |reason: String| ModelError::Adapter { path: dir.to_owned(), reason };
        let Halves { a: Some(a), b: Some(b), magnitude, layout } = self else {
            return Err(refuse(format!("`{module}` has only one of lora_A and lora_B")).into());
        };
        let (&[rank, in_features], &[out_features, rank_b]) = (a.shape.as_slice(), b.shape.as_slice()) else {
            return Err(refuse(format!("`{module}` has matrices of other than two dimensions")).into());
        };
        if rank != rank_b {
            let what = format!("`{module}` has rank {rank} in lora_A and {rank_b} in lora_B");
            return Err(refuse(what).into());
        }
        if rank == 0 {
            return Err(refuse(format!("`{module}` has rank 0")).into());
        }
        if in_features == 0 || out_features == 0 {
            return Err(refuse(format!("`{module}` has matrices without a value")).into());
        }
        let fits = magnitude.as_ref().is_none_or(|m| m.shape.iter().product::<usize>() == out_features);
        if magnitude.is_some() != config.use_dora || !fits {
            let what =
                format!("`{module}` has no magnitude of {out_features} rows, or one without `use_dora`");
            return Err(refuse(what).into());
        }
        if magnitude.is_some() && layout == Layout::Embedding {
            return Err(
                refuse(format!("`{module}` is an embedding with DoRA, which scales its columns")).into()
            );
        }
        let alpha = config.alpha_of(module).map_err(refuse)?;
        let (a, b) = (a.to_f32()?, b.to_f32()?);
        let pair = LoraPair {
            a,
            b,
            rank,
            in_features,
            out_features,
            scale: config.scale_of(alpha, rank),
            magnitude: magnitude.map(|m| m.to_f32()).transpose()?,
        };
        Ok(match layout {
            Layout::Linear => pair,
            Layout::Embedding => pair.transposed(),
        })
    }
}

/// Changes which base the adapter of an `adapter_config.json` belongs to, and nothing else. Gives the size of the file.
///
/// # Errors
/// The file cannot be read or written.
pub fn name_base(path: &Path, base: &str, revision: Option<&str>) -> Result<u64> {
    let mut config = read_json(path)?.unwrap_or_default();
    config["base_model_name_or_path"] = base.into();
    match (revision, config.as_object_mut()) {
        (Some(revision), _) => config["revision"] = revision.into(),
        (None, Some(config)) => drop(config.shift_remove("revision")),
        (None, None) => {}
    }
    let text = serde_json::to_string_pretty(&config).expect("plain data") + "\n";
    std::fs::write(path, &text).at("write", path)?;
    Ok(text.len() as u64)
}
