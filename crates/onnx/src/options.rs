//! What to build, checked: provider, storage types, quantisation.

use super::OnnxError;
use olive_config::canonical::{Adapters, MixedPrecision, ModelBuilderOptions, Precision, QuantAlgorithm};
use olive_kernels::quant::{Algorithm, BlockFormat, FloatType};

/// The execution provider a graph is made for; the operators it may contain depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Cpu,
    Cuda,
    /// DirectML.
    Dml,
    WebGpu,
}

/// Everything the graph and the weights depend on, besides the model.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    pub provider: Provider,
    /// Type of activations and unquantised weights.
    pub float: FloatType,
    /// `None`: matrices stay in `float`.
    pub quantisation: Option<Quantisation>,
    /// Give layers with a sliding window a key-value cache of that length (`sliding_window_cache`), as
    /// onnxruntime-genai 0.18 does. Off: only the attention is windowed, and the graph runs in plain ONNX Runtime.
    pub windowed_kv_cache: bool,
    /// Queries, keys and values come from one product.
    pub fuse_qkv: bool,
    /// `None`: embedding and head share their matrix if the model ties them.
    pub shared_embeddings: Option<bool>,
    /// `inputs_embeds` instead of `input_ids`.
    pub exclude_embeds: bool,
    /// `hidden_states` instead of `logits`.
    pub exclude_lm_head: bool,
    /// `hidden_states` beside `logits`.
    pub include_hidden_states: bool,
    /// Logits of the last position only.
    pub prune_lm_head: bool,
    pub enable_cuda_graph: bool,
    /// `None`: all layers of the model.
    pub num_hidden_layers: Option<usize>,
    /// `None`: `model.onnx`, or whatever the only graph of an ONNX model is called.
    pub filename: Option<String>,
    /// No graph is built.
    pub metadata_only: bool,
    /// Merged over `search` of genai_config.json.
    pub search: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone)]
pub struct Quantisation {
    pub format: BlockFormat,
    pub mixed: MixedPrecision,
    pub matmul: bool,
    pub gather: bool,
    /// `DequantizeLinear` nodes in front of ordinary products.
    pub qdq: bool,
    /// 0 leaves the kernel its choice.
    pub accuracy_level: u8,
    /// Names of nodes that stay in float.
    pub exclude: Vec<String>,
}

impl BuildOptions {
    /// # Errors
    /// A precision that the provider cannot run, a block size or accuracy level that does not exist.
    pub fn new(options: &ModelBuilderOptions) -> Result<BuildOptions, OnnxError> {
        let (precision, name) = (options.precision, precision_name(options.precision));
        let refuse =
            || OnnxError::Combination { precision: name, provider: options.execution_provider.clone() };
        let provider = match options.execution_provider.as_str() {
            "cpu" => Provider::Cpu,
            "cuda" => Provider::Cuda,
            "dml" => Provider::Dml,
            "webgpu" => Provider::WebGpu,
            _ => return Err(refuse()),
        };
        let float = match (provider, precision) {
            (Provider::Cpu, Precision::Fp32 | Precision::Int4 | Precision::Int8) => FloatType::F32,
            (Provider::Cuda, Precision::Bf16) => FloatType::Bf16,
            (Provider::Cuda, Precision::Int4) if options.use_cuda_bf16 => FloatType::Bf16,
            (Provider::WebGpu, Precision::Fp16 | Precision::Int4 | Precision::Int8)
                if options.use_webgpu_fp32 =>
            {
                FloatType::F32
            }
            (Provider::Dml, Precision::Fp16 | Precision::Int4) => FloatType::F16,
            (Provider::Cuda | Provider::WebGpu, Precision::Fp16 | Precision::Int4 | Precision::Int8) => {
                FloatType::F16
            }
            _ => return Err(refuse()),
        };
        check_outputs(options)?;
        let bits = match precision {
            Precision::Int4 => Some(4),
            Precision::Int8 => Some(8),
            Precision::Fp32 | Precision::Fp16 | Precision::Bf16 => None,
        };
        let quantisation = bits.map(|bits| Self::quantisation(options, provider, float, bits)).transpose()?;
        Ok(BuildOptions {
            provider,
            float,
            quantisation,
            windowed_kv_cache: false,
            // DirectML's attention takes three inputs that are rotated already.
            fuse_qkv: options.fuse_qkv && provider != Provider::Dml,
            shared_embeddings: options.shared_embeddings,
            exclude_embeds: options.exclude_embeds,
            exclude_lm_head: options.exclude_lm_head,
            include_hidden_states: options.include_hidden_states,
            prune_lm_head: options.prune_lm_head && !options.exclude_lm_head,
            enable_cuda_graph: options.enable_cuda_graph,
            num_hidden_layers: options.num_hidden_layers,
            filename: options.filename.clone(),
            metadata_only: options.metadata_only,
            search: options.search.clone().unwrap_or_default(),
        })
    }

    /// Name of the graph's file; `.data` is added for its weights.
    pub(crate) fn file_name(&self) -> &str {
        self.filename.as_deref().unwrap_or(ModelBuilderOptions::FILE_NAME)
    }

    /// Queries and keys are rotated by nodes of their own, not by the attention.
    pub(crate) fn rotates_outside(&self) -> bool {
        self.provider == Provider::Dml
    }

    pub(crate) fn gives_hidden_states(&self) -> bool {
        self.include_hidden_states || self.exclude_lm_head
    }

    fn quantisation(
        options: &ModelBuilderOptions,
        provider: Provider,
        float: FloatType,
        bits: u8,
    ) -> Result<Quantisation, OnnxError> {
        if ![16, 32, 64, 128, 256].contains(&options.block_size) {
            return Err(OnnxError::Option {
                option: "block_size",
                found: options.block_size.to_string(),
                expected: "16, 32, 64, 128 or 256",
            });
        }
        let default_level = match provider {
            Provider::Cpu | Provider::WebGpu => 4,
            Provider::Cuda | Provider::Dml => 0,
        };
        let accuracy_level = options.accuracy_level.unwrap_or(default_level);
        if accuracy_level > 4 {
            return Err(OnnxError::Option {
                option: "accuracy_level",
                found: accuracy_level.to_string(),
                expected: "0 to 4",
            });
        }
        Ok(Quantisation {
            format: BlockFormat {
                algorithm: match options.algorithm {
                    QuantAlgorithm::Default => Algorithm::Default,
                    QuantAlgorithm::Rtn => Algorithm::Rtn,
                    QuantAlgorithm::KQuant => Algorithm::KQuant,
                },
                bits,
                block_size: options.block_size,
                symmetric: options.is_symmetric,
                signed: options.use_qdq,
                float,
            },
            mixed: options.mixed_precision,
            matmul: options.quantise_matmul,
            gather: options.quantise_gather,
            qdq: options.use_qdq,
            accuracy_level,
            exclude: options.nodes_to_exclude.clone(),
        })
    }
}

/// Options that do not go together.
fn check_outputs(options: &ModelBuilderOptions) -> Result<(), OnnxError> {
    let refuse =
        |option, found: &str, expected| Err(OnnxError::Option { option, found: found.to_owned(), expected });
    if options.exclude_lm_head && options.include_hidden_states {
        return refuse(
            "include_hidden_states",
            "true",
            "possible beside `exclude_lm_head`, which gives them alone",
        );
    }
    if let Some(name) = options.filename.as_ref().filter(|name| !ModelBuilderOptions::is_onnx_file_name(name))
    {
        return refuse("filename", &format!("`{name}`"), ModelBuilderOptions::ONNX_FILE_NAME);
    }
    if options.metadata_only && options.calibration.is_some() {
        return refuse("calibration", "given", "of use with `metadata_only`, which quantises nothing");
    }
    if options.adapters == Adapters::Separate && options.calibration.is_some() {
        return refuse("adapters", "separate", "possible with `calibration`");
    }
    let mixed = options.mixed_precision;
    let eight = |bits: Option<u8>| bits == Some(8);
    if options.use_qdq {
        if options.precision == Precision::Int8 || eight(mixed.last_matmul) || eight(mixed.mixed_layers) {
            return refuse("use_qdq", "true", "possible with 8-bit weights");
        }
        if options.algorithm != QuantAlgorithm::Default {
            return refuse("use_qdq", "true", "possible with another algorithm than `default`");
        }
        if options.quantise_gather {
            return refuse("use_qdq", "true", "possible with a quantised Gather");
        }
    }
    if options.quantise_gather && options.precision != Precision::Int4 {
        return refuse("op_types_to_quantize", "Gather", "possible but in int4 models");
    }
    if options.calibration.is_some() {
        if !matches!(options.precision, Precision::Int4 | Precision::Int8) {
            return refuse("calibration", "given", "of use unless the precision is int4 or int8");
        }
        if options.quantise_gather {
            return refuse("calibration", "given", "possible with a Gather that is quantised by itself");
        }
        if options.algorithm != QuantAlgorithm::Default {
            return refuse("calibration", "given", "possible with another algorithm than `default`");
        }
    }
    Ok(())
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Fp32 => "fp32",
        Precision::Fp16 => "fp16",
        Precision::Bf16 => "bf16",
        Precision::Int8 => "int8",
        Precision::Int4 => "int4",
    }
}

impl Quantisation {
    /// The format of a MatMul node's weight, or `None` if it stays in float. `layers` is the model's layer count.
    pub(crate) fn format_of(&self, node: &str, layers: usize) -> Option<BlockFormat> {
        if !self.matmul || self.excludes(node) {
            return None;
        }
        let bits = if node == "/lm_head/MatMul" {
            self.mixed.last_matmul
        } else {
            self.mixed.mixed_layers.filter(|_| is_sensitive(node, layers))
        };
        Some(BlockFormat { bits: bits.unwrap_or(self.format.bits), ..self.format })
    }

    pub(crate) fn excludes(&self, node: &str) -> bool {
        self.exclude.iter().any(|name| name == node)
    }
}

/// The choice of llama.cpp's mixed k-quants, as onnxruntime-genai makes it.
fn is_sensitive(node: &str, layers: usize) -> bool {
    let Some((layer, rest)) = node
        .strip_prefix("/model/layers.")
        .and_then(|n| n.split_once('/'))
        .and_then(|(layer, rest)| layer.parse::<i64>().ok().map(|layer| (layer, rest)))
    else {
        return false;
    };
    let eighth = layers as f64 / 8.0;
    let first = eighth.round_ties_even() as i64;
    let chosen = (layer as f64) < eighth
        || layer as f64 >= 7.0 * layers as f64 / 8.0
        || (layer - first).rem_euclid(3) == 2;
    chosen && matches!(rest, "attn/qkv_proj/MatMul" | "attn/v_proj/MatMul" | "mlp/down_proj/MatMul")
}
