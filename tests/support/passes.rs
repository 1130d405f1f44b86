//! Running a pass by itself, on the CPU and without a cache.

use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::event::EventSink;
use olive_core::handle::ModelHandle;
use olive_engine::passes::{MemoryPolicy, MergePass, ModelBuilderPass, Pass, RunContext};
use olive_onnx::ModelBuilderOptions;
use std::path::{Path, PathBuf};

pub fn run_pass(
    pass: &dyn Pass,
    input: &ModelHandle,
    out: &Path,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> olive_core::Result<ModelHandle> {
    let context = RunContext {
        device: Device::Cpu,
        memory: MemoryPolicy::Refuse,
        cancel,
        events,
        base: None,
        pause_after: None,
        artefacts: None,
        log: Default::default(),
    };
    pass.run(input, out, &context)
}

pub fn with_adapter(base: &Path, adapter: &Path) -> ModelHandle {
    ModelHandle::HfWithAdapter { base: base.to_owned(), adapter: adapter.to_owned() }
}

/// Merges an adapter into its base.
pub fn merge(base: &Path, adapter: &Path, out: &Path) -> olive_core::Result<ModelHandle> {
    let pass = MergePass { options: Default::default() };
    run_pass(&pass, &with_adapter(base, adapter), out, &(), &CancelFlag::default())
}

/// Builds an ONNX folder, which may be a new one.
pub fn build(model: &Path, options: ModelBuilderOptions, out: &Path) -> PathBuf {
    std::fs::create_dir_all(out).expect("a folder");
    let input = ModelHandle::Hf { dir: model.to_owned() };
    run_pass(&ModelBuilderPass { options }, &input, out, &(), &CancelFlag::default()).expect("built");
    out.to_owned()
}
