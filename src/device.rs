//! Where tensors live. With `ops` kernels, the only home of `cfg(feature = "cuda")`.

use crate::Result;
pub use candle_core::Device;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    #[default]
    Cpu,
    /// The CUDA device of this ordinal.
    Cuda(usize),
}

impl DeviceChoice {
    /// `cpu` or `cuda`: what a cached result may depend on.
    pub fn family(self) -> &'static str {
        match self {
            DeviceChoice::Cpu => "cpu",
            DeviceChoice::Cuda(_) => "cuda",
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// When the program was built without the `cuda` feature, or no such device answers.
    pub fn open(self) -> Result<Device> {
        Ok(match self {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Cuda(ordinal) => Device::new_cuda(ordinal)?,
        })
    }
}

/// Whether this build can use CUDA at all.
pub const fn built_with_cuda() -> bool {
    cfg!(feature = "cuda")
}
