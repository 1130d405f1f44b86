//! The machine that a result is made for.

use crate::error::VerbError;
use crate::words::{Device, Provider, Word};
use serde_json::{Value, json};

/// The only system of a draft.
pub(crate) const SYSTEM: &str = "local_system";

const HARDWARE: &str = "nothing is made for this hardware";
const POSSIBLE: &str = "possible are CPUExecutionProvider, CUDAExecutionProvider, DmlExecutionProvider and WebGpuExecutionProvider";

/// A device and how ONNX Runtime uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// `None`: whatever the provider needs.
    pub(crate) device: Option<Device>,
    pub(crate) provider: Provider,
}

impl Target {
    pub(crate) const CPU: Target = Target { device: Some(Device::Cpu), provider: Provider::Cpu };
    pub(crate) const CUDA: Target = Target { device: Some(Device::Gpu), provider: Provider::Cuda };

    /// What was asked for, with what follows from it filled in.
    ///
    /// # Errors
    /// Hardware that nothing is made for.
    pub(crate) fn of(device: Option<Device>, provider: Option<Provider>) -> Result<Target, VerbError> {
        match provider {
            None => match device {
                None | Some(Device::Cpu) => Ok(Target::CPU),
                Some(Device::Gpu) => Ok(Target::CUDA),
                Some(Device::Npu) => Err(VerbError::unsupported("--device npu", HARDWARE, Some(POSSIBLE))),
            },
            Some(provider) => {
                let own = device_of(provider).ok_or_else(|| {
                    let option = format!("--provider {}", provider.word());
                    VerbError::unsupported(option, HARDWARE, Some(POSSIBLE))
                })?;
                Ok(Target { device: Some(own), provider })
            }
        }
    }

    /// That the device is another one than was asked for.
    pub(crate) fn departure(self, asked: Option<Device>) -> Option<String> {
        let device = self.device.filter(|device| asked.is_some_and(|asked| asked != *device))?;
        let provider = self.provider.word();
        Some(format!("the device is `{}`, to match the provider `{provider}`", device.word()))
    }

    /// `systems`.
    pub(crate) fn systems(self) -> Value {
        let mut accelerator = json!({});
        if let Some(device) = self.device {
            accelerator["device"] = json!(device.word());
        }
        accelerator["execution_providers"] = json!([self.provider.word()]);
        json!({SYSTEM: {"type": "LocalSystem", "accelerators": [accelerator]}})
    }
}

/// The device of a provider that models are built for.
fn device_of(provider: Provider) -> Option<Device> {
    match provider {
        Provider::Cpu => Some(Device::Cpu),
        Provider::Cuda | Provider::Dml | Provider::WebGpu => Some(Device::Gpu),
        _ => None,
    }
}

/// That the device is none of the provider's.
///
/// # Errors
/// It is.
pub(crate) fn check_pair(device: Option<Device>, provider: Provider) -> Result<(), VerbError> {
    let (Some(device), Some(own)) = (device, device_of(provider)) else { return Ok(()) };
    if device == own {
        return Ok(());
    }
    let hint = match device {
        Device::Gpu => "`--provider CUDAExecutionProvider` is for GPUs".to_owned(),
        Device::Cpu => "`--provider CPUExecutionProvider` is for CPUs".to_owned(),
        Device::Npu => POSSIBLE.to_owned(),
    };
    Err(VerbError::Contradiction {
        one: format!("--provider {}", provider.word()),
        other: format!("--device {}", device.word()),
        hint,
    })
}
