//! Kernels, each with a hand-written backward and a fallback of plain candle ops.
