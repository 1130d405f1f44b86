//! Inputs that a kernel cannot take.

/// The error about such an input.
pub fn invalid(reason: String) -> olive_core::Error {
    candle_core::Error::Msg(reason).into()
}
