//! Weight-only quantisation: block formats of ONNX Runtime and bitsandbytes.
//!
//! A format of model files is a type with [`WeightFormat`]: `MatMulNBits` ([`BlockFormat`]), whose blocks are quantised by
//! the methods of [`Algorithm`]; the same blocks before `DequantizeLinear` ([`DequantizeLinearFormat`]); tables for
//! `GatherBlockQuantized` ([`TableFormat`]). The blocks of bitsandbytes ([`nf4`]) run through a whole matrix, across its
//! rows, and are no such format, nor are those of GGUF files ([`ggml`]), which are only read.

mod algorithm;
mod block_format;
mod block_method;
mod cholesky;
mod default;
mod dequantize_linear;
pub mod double_quant;
mod eigen;
pub mod feedback;

pub mod ggml;
pub mod gptq;
pub mod grid;
mod k_quant;
mod least_squares;
pub mod loftq;
pub mod low_rank;
mod matmul_nbits;
pub mod nf4;
pub mod packing;
mod quantised_rows;
mod rtn;
pub mod table;
mod weight_format;

pub use super::float_type::FloatType;
pub use algorithm::Algorithm;
pub use block_format::BlockFormat;
pub use block_method::Rounding;
pub use dequantize_linear::DequantizeLinearFormat;
pub use grid::{Grid, RoundedMatrix, RoundingDifference, Scheme};
pub use least_squares::least_squares_grid;
pub use quantised_rows::QuantisedRows;
pub use table::TableFormat;
pub use weight_format::{Arrangement, ByColumn, ElementType, Part, PartKind, WeightFormat};
