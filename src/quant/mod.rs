//! Weight-only quantisation: block formats of ONNX Runtime and bitsandbytes.

mod default;
pub mod feedback;
pub mod float;
mod k_quant;
pub mod matmul_nbits;
mod rtn;
pub mod table;

pub use float::FloatType;
pub use matmul_nbits::{Algorithm, BlockFormat, QuantisedRows};
pub use table::TableFormat;
