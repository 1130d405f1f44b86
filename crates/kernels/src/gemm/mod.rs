//! Matrix products on the CPU.
//!
//! On x86-64 with AVX2 they are our own ([`blocked`]): packed panels and micro-kernels chosen at run time. Elsewhere the
//! `gemm` crate computes them ([`portable`]). No result depends on the number of threads.

#[cfg(target_arch = "x86_64")]
mod ahead;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod band;
#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod depth;
#[cfg(target_arch = "x86_64")]
mod dots;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod matrix;
mod operand;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod packed_right;
#[cfg(target_arch = "x86_64")]
mod packing;
mod panels;
mod portable;
mod product;
#[cfg(target_arch = "x86_64")]
mod scratch;
#[cfg(target_arch = "x86_64")]
mod shared;
#[cfg(target_arch = "x86_64")]
mod tasks;
#[cfg(test)]
mod tests;
mod threads;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub(crate) use band::{Band, Banded};
pub(crate) use matrix::{Assign, MatMut, MatRef};
pub(crate) use operand::RightOperand;
pub use operand::{Decode, Precision, Stored};
pub(crate) use panels::Panels;
pub use product::{Orientation, matmul, rate};
pub(crate) use product::{gemm, gemm_serial, gemm_values};
