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

/// As it is asked for: `cpu`, `cuda:0`.
impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceChoice::Cpu => write!(f, "cpu"),
            DeviceChoice::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl std::str::FromStr for DeviceChoice {
    type Err = &'static str;

    /// `cpu`, `cuda`, `cuda:1`.
    fn from_str(text: &str) -> std::result::Result<DeviceChoice, Self::Err> {
        match text.split_once(':').unwrap_or((text, "0")) {
            ("cpu", "0") => Ok(DeviceChoice::Cpu),
            ("cuda", ordinal) => {
                ordinal.parse().map(DeviceChoice::Cuda).map_err(|_| "expected `cuda:<number>`")
            }
            _ => Err("expected `cpu`, `cuda` or `cuda:<number>`"),
        }
    }
}

/// Whether what is computed on the device takes the memory of the machine, and not that of the device.
pub fn uses_host_memory(device: &Device) -> bool {
    device.is_cpu()
}

/// Whether this build can use CUDA at all.
pub const fn built_with_cuda() -> bool {
    cfg!(feature = "cuda")
}
