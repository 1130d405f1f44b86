//! What to build, checked: provider, storage types, quantisation.

use super::OnnxError;
use crate::config::canonical::{ModelBuilderOptions, Precision, QuantAlgorithm};
use crate::quant::{Algorithm, BlockFormat, FloatType};

/// For the message about combinations that cannot be built.
pub(crate) const COMBINATIONS: &str =
    "fp32, int8 and int4 for cpu; fp16, bf16, int8 and int4 for cuda; fp16, int8 and int4 for webgpu";

/// The execution provider a graph is made for; the operators it may contain depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Cpu,
    Cuda,
    WebGpu,
}

/// Which matrices get 8 bits where the rest gets 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EightBit {
    #[default]
    None,
    /// The head (`rtn_last`, `k_quant_last`).
    LastMatMul,
    /// The head, and in every first, last and third layer the projections that suffer most (`k_quant_mixed`).
    Mixed,
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
    /// Merged over `search` of genai_config.json.
    pub search: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone)]
pub struct Quantisation {
    pub format: BlockFormat,
    pub eight_bit: EightBit,
    /// 0 leaves the kernel its choice.
    pub accuracy_level: u8,
    /// Names of MatMul nodes that stay in float.
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
            "webgpu" => Provider::WebGpu,
            _ => return Err(refuse()),
        };
        let float = match (provider, precision) {
            (Provider::Cpu, Precision::Fp32 | Precision::Int4 | Precision::Int8) => FloatType::F32,
            (Provider::Cuda, Precision::Bf16) => FloatType::Bf16,
            (Provider::Cuda | Provider::WebGpu, Precision::Fp16 | Precision::Int4 | Precision::Int8) => {
                FloatType::F16
            }
            _ => return Err(refuse()),
        };
        let bits = match precision {
            Precision::Int4 => Some(4),
            Precision::Int8 => Some(8),
            _ => None,
        };
        let quantisation = bits.map(|bits| Self::quantisation(options, provider, float, bits)).transpose()?;
        Ok(BuildOptions {
            provider,
            float,
            quantisation,
            windowed_kv_cache: false,
            search: options.search.clone().unwrap_or_default(),
        })
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
        let default_level = if provider == Provider::Cuda { 0 } else { 4 };
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
                float,
            },
            eight_bit: EightBit::None,
            accuracy_level,
            exclude: options.nodes_to_exclude.clone(),
        })
    }
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
        if self.exclude.iter().any(|name| name == node) {
            return None;
        }
        let promoted = match self.eight_bit {
            EightBit::None => false,
            EightBit::LastMatMul => node == "/lm_head/MatMul",
            EightBit::Mixed => node == "/lm_head/MatMul" || is_sensitive(node, layers),
        };
        Some(if promoted { BlockFormat { bits: 8, ..self.format } } else { self.format })
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
