//! The wheels of `onnxruntime` that may be fetched.

use super::library_file::PINNED;
use std::borrow::Cow;

/// A wheel, and what it must be byte for byte.
#[derive(Debug, Clone)]
pub struct Wheel {
    pub version: &'static str,
    /// Tag of the platform, as pip knows it.
    pub platform: &'static str,
    /// In lower-case hex.
    pub sha256: Cow<'static, str>,
}

impl Wheel {
    /// The pinned release for CPython 3.12 on this system and processor, if there is one. PyPI's files never change.
    pub fn of_this_machine() -> Option<Wheel> {
        let (platform, sha256) = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => {
                ("manylinux_2_28_x86_64", "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8")
            }
            ("linux", "aarch64") => {
                ("manylinux_2_28_aarch64", "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054")
            }
            ("macos", "aarch64") => {
                ("macosx_14_0_arm64", "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e")
            }
            _ => return None,
        };
        Some(Wheel { version: PINNED, platform, sha256: Cow::Borrowed(sha256) })
    }
}
