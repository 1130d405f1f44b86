//! Weight-only quantisation: block formats of ONNX Runtime and bitsandbytes.

mod default;
pub mod double_quant;
mod eigen;
pub mod feedback;
pub mod float;
mod k_quant;
pub mod loftq;
pub mod low_rank;
pub mod matmul_nbits;
pub mod nf4;
mod rtn;
pub mod table;

pub use float::FloatType;
pub use matmul_nbits::{Algorithm, BlockFormat, QuantisedRows};
pub use table::TableFormat;
