//! The methods by name.

use super::block_method::BlockMethod;
use super::{default, k_quant, rtn};

/// How scale and codes of a block are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ONNX Runtime's own.
    Default,
    /// Round to nearest in f64.
    Rtn,
    /// Weighted least squares; always with zero points.
    KQuant,
}

impl Algorithm {
    pub(super) fn method(self) -> &'static dyn BlockMethod {
        match self {
            Algorithm::Default => &default::Method,
            Algorithm::Rtn => &rtn::Method,
            Algorithm::KQuant => &k_quant::Method,
        }
    }
}
