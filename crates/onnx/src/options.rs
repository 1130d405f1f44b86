//! What to build, checked: provider, storage types, quantisation.

use super::OnnxError;
use super::model_builder_options::{
    Adapters, BLOCK_SIZES, MAX_ACCURACY_LEVEL, MixedPrecision, ModelBuilderOptions, Precision, QuantAlgorithm,
};
use olive_kernels::quant::{Algorithm, BlockFormat, FloatType, Rounding};

/// The execution provider a graph is made for; the operators it may contain depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Cpu,
    Cuda,
    /// DirectML.
    Dml,
    WebGpu,
    /// TensorRT for RTX.
    NvTensorRtRtx,
}

impl Provider {
    /// By the name in [`ModelBuilderOptions::execution_provider`].
    pub(crate) fn of(name: &str) -> Option<Provider> {
        match name {
            "cpu" => Some(Provider::Cpu),
            "cuda" => Some(Provider::Cuda),
            "dml" => Some(Provider::Dml),
            "webgpu" => Some(Provider::WebGpu),
            "NvTensorRtRtx" => Some(Provider::NvTensorRtRtx),
            _ => None,
        }
    }
}

/// The type of activations and unquantised weights, unless an option says another. `None`: ONNX Runtime has no kernels
/// for the pair.
pub(crate) fn float_type(provider: Provider, precision: Precision) -> Option<FloatType> {
    use Precision::{Bf16, Fp16, Fp32, Int4, Int8};
    match (provider, precision) {
        (Provider::Cpu, Fp32 | Int8 | Int4) => Some(FloatType::F32),
        (Provider::Cuda | Provider::NvTensorRtRtx, Bf16) => Some(FloatType::Bf16),
        (Provider::Cuda | Provider::WebGpu, Fp16 | Int8 | Int4)
        | (Provider::Dml | Provider::NvTensorRtRtx, Fp16 | Int4) => Some(FloatType::F16),
        (Provider::Cpu, Fp16 | Bf16) | (Provider::Cuda, Fp32) => None,
        (Provider::Dml, Fp32 | Bf16 | Int8) | (Provider::WebGpu, Fp32 | Bf16) => None,
        (Provider::NvTensorRtRtx, Fp32 | Int8) => None,
    }
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
        let precision = options.precision;
        let refuse = || OnnxError::Combination {
            precision: precision.name(),
            provider: options.execution_provider.clone(),
        };
        let provider = Provider::of(&options.execution_provider).ok_or_else(refuse)?;
        let usual = float_type(provider, precision).ok_or_else(refuse)?;
        let float = match provider {
            Provider::Cuda | Provider::NvTensorRtRtx
                if precision == Precision::Int4 && options.use_cuda_bf16 =>
            {
                FloatType::Bf16
            }
            Provider::WebGpu if options.use_webgpu_fp32 => FloatType::F32,
            Provider::Cpu | Provider::Cuda | Provider::Dml | Provider::WebGpu | Provider::NvTensorRtRtx => {
                usual
            }
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

    /// LongRoPE's tables for long sequences follow those for short ones, as the provider knows no `If`.
    pub(crate) fn joins_rope_tables(&self) -> bool {
        matches!(self.provider, Provider::Dml | Provider::NvTensorRtRtx)
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
        if !BLOCK_SIZES.iter().any(|size| usize::try_from(*size) == Ok(options.block_size)) {
            return Err(OnnxError::Option {
                option: "block_size",
                found: options.block_size.to_string(),
                expected: "16, 32, 64, 128 or 256",
            });
        }
        let default_level = match provider {
            Provider::Cpu | Provider::WebGpu => 4,
            Provider::Cuda | Provider::Dml | Provider::NvTensorRtRtx => 0,
        };
        let accuracy_level = options.accuracy_level.unwrap_or(default_level);
        if accuracy_level > MAX_ACCURACY_LEVEL {
            return Err(OnnxError::Option {
                option: "accuracy_level",
                found: accuracy_level.to_string(),
                expected: "0 to 4",
            });
        }
        // TensorRT has no kernel for MatMulNBits. What cannot be written otherwise here, MatMulNBitsToQDQ converts.
        let qdq = options.use_qdq || provider == Provider::NvTensorRtRtx && can_be_qdq(options);
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
                rounding: if qdq { Rounding::HalvesAway } else { Rounding::HalvesUp },
                float,
            },
            mixed: options.mixed_precision,
            matmul: options.quantise_matmul,
            gather: options.quantise_gather,
            qdq,
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
    if options.use_qdq && !can_be_qdq(options) {
        if has_8_bits(options) {
            return refuse("use_qdq", "true", "possible with 8-bit weights");
        }
        if options.algorithm != QuantAlgorithm::Default {
            return refuse("use_qdq", "true", "possible with another algorithm than `default`");
        }
        return refuse("use_qdq", "true", "possible with a quantised Gather");
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

fn has_8_bits(options: &ModelBuilderOptions) -> bool {
    let mixed = options.mixed_precision;
    options.precision == Precision::Int8 || [mixed.last_matmul, mixed.mixed_layers].contains(&Some(8))
}

/// Whether there is a form of these codes for `DequantizeLinear`.
fn can_be_qdq(options: &ModelBuilderOptions) -> bool {
    !has_8_bits(options) && options.algorithm == QuantAlgorithm::Default && !options.quantise_gather
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
