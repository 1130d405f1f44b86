//! QLoRA: gradients, the stored base, and the pipeline as a user runs it.

use crate::support::binary::{answer, olive, succeed, text};
use crate::support::models::family;
use crate::support::quickstart::{Quickstart, base_model};
use crate::support::training::{self, adapter, largest, plain_options, relative_all, sample};
use candle_core::DType;
use olive_arch::Spec;
use olive_core::device::Device;
use olive_data::MicroBatch;
use olive_decoder::Decoder;
use olive_kernels::quant::nf4::Code;
use olive_model::{Checkpoint, FourBitFormat, ModelFolder, QuantisedBase, safetensors_file};
use olive_train::{Trainer, TrainerOptions};
use std::path::Path;

const DOUBLE: FourBitFormat = FourBitFormat { quant_type: Code::Nf4, double_quant: true };
const FORMATS: [FourBitFormat; 4] = [
    DOUBLE,
    FourBitFormat { quant_type: Code::Nf4, double_quant: false },
    FourBitFormat { quant_type: Code::Fp4, double_quant: true },
    FourBitFormat { quant_type: Code::Fp4, double_quant: false },
];

fn tiny_phi3() -> ModelFolder {
    ModelFolder::open(&base_model()).unwrap()
}

/// The checkpoint as f32, with the values that 4 bits leave of its linear layers.
fn dequantised(checkpoint: &Checkpoint, base: &QuantisedBase, file: &Path) -> Checkpoint {
    let values: Vec<_> = checkpoint
        .tensors()
        .map(|tensor| {
            let values = match base.get(&tensor.name) {
                Some(matrix) => matrix.to_f32(),
                None => tensor.to_f32().unwrap(),
            };
            (tensor.name.clone(), tensor.shape.clone(), values)
        })
        .collect();
    let views: Vec<_> = values.iter().map(|(n, s, v)| (n.clone(), s.clone(), v.as_slice())).collect();
    safetensors_file::write_f32(file, &views).unwrap();
    Checkpoint::open_file(file).unwrap()
}

/// Loss, and gradients of every A and B, of a fixed batch and a fixed adapter on all linear layers.
fn gradients(spec: Spec, checkpoint: &Checkpoint, base: Option<&QuantisedBase>) -> (f64, Vec<Vec<f32>>) {
    let mut decoder = Decoder::with_base(spec, checkpoint, base, DType::F32, &Device::Cpu).unwrap();
    let adapter = adapter(&decoder.spec, 0.0);
    decoder.attach(&adapter).unwrap();
    let options = TrainerOptions { gradient_checkpointing: true, ..plain_options() };
    let mut trainer = Trainer::new(decoder, options).unwrap();
    let sample = sample((0..60).map(|i| (i * i + 3) % 128).collect());
    training::gradients(&mut trainer, &[MicroBatch::new([(0, &sample)])])
}

#[test]
fn gradients_are_those_of_the_dequantised_weights() {
    let dir = tempfile::tempdir().unwrap();
    // Packed and separate projections, norms of several kinds, windows, tied and untied heads.
    for folder in [tiny_phi3(), family("llama31"), family("gemma3"), family("smollm3")] {
        let (spec, checkpoint) = (folder.spec().unwrap(), folder.checkpoint().unwrap());
        for format in FORMATS {
            let base = QuantisedBase::in_memory(&spec, &checkpoint, format, |_| Ok(())).unwrap();
            let (loss, ours) = gradients(spec.clone(), &checkpoint, Some(&base));
            let floats = dequantised(&checkpoint, &base, &dir.path().join("floats"));
            let (want_loss, want) = gradients(spec.clone(), &floats, None);
            assert!((loss / want_loss - 1.0).abs() < 1e-6, "{loss} not {want_loss}");
            assert!(want.iter().all(|gradient| largest(gradient) > 0.0));
            assert!(relative_all(&ours, &want) <= 1e-5, "{:e}", relative_all(&ours, &want));
            let (float_loss, _) = gradients(spec.clone(), &checkpoint, None);
            assert!(float_loss != loss, "the base is quantised indeed");
        }
    }
}

#[test]
fn the_stored_base_is_the_one_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let folder = tiny_phi3();
    let (spec, checkpoint) = (folder.spec().unwrap(), folder.checkpoint().unwrap());
    for format in FORMATS {
        let file = dir.path().join(QuantisedBase::FILE);
        let mut told = Vec::new();
        QuantisedBase::write(&spec, &checkpoint, format, &file, |n| {
            told.push(n);
            Ok(())
        })
        .unwrap();
        assert_eq!(told, (1..=QuantisedBase::count(&spec)).collect::<Vec<_>>());
        let stored = QuantisedBase::open(&spec, format, &file).unwrap();
        let memory = QuantisedBase::in_memory(&spec, &checkpoint, format, |_| Ok(())).unwrap();
        for linear in spec.all_linears() {
            let name = format!("{}.weight", linear.module);
            assert_eq!(stored.get(&name).unwrap().to_f32(), memory.get(&name).unwrap().to_f32());
        }
        assert!(stored.get("lm_head.weight").is_none() && stored.get(Spec::EMBEDDING).is_none());
        // Predicted is what the file holds beside its header, and what is not quantised.
        let linear = |name: &str| stored.get(name).is_some();
        let kept: usize = checkpoint.tensors().filter(|t| !linear(&t.name)).map(|t| t.bytes().len()).sum();
        let predicted = QuantisedBase::model_size(&spec, &checkpoint, format).unwrap() as f64;
        let bytes = std::fs::read(&file).unwrap();
        let written = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data =
            written.iter().filter(|(name, _)| !name.contains("quant_map") && !name.contains("quant_state"));
        let data: usize = data.map(|(_, tensor)| tensor.data().len()).sum();
        let held = (kept + data) as f64;
        assert!((predicted / held - 1.0).abs() < 0.01, "{predicted} predicted, {held} held");
        // A file of another format, or a cut one, is not taken for this one.
        let other = FourBitFormat { double_quant: !format.double_quant, ..format };
        assert!(QuantisedBase::open(&spec, other, &file).is_err());
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert!(QuantisedBase::open(&spec, format, &file).is_err());
    }
}

/// Runs the quickstart's pipeline with QLoRA in the place of LoRA; gives what it said.
fn run(quickstart: &Quickstart, more: &[&str]) -> String {
    let fixed = ["passes.lora.type=QLoRA", "passes.lora.config.double_quant=true"];
    let output = succeed(&mut quickstart.run(&[&fixed, more].concat()));
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn the_pipeline_trains_merges_builds_and_answers() {
    let quickstart = Quickstart::new(2);
    let said = run(&quickstart, &[]);
    assert!(said.contains("4.13 bits a weight"), "{said}");
    assert!(said.contains("merged into the base as it is"), "{said}");
    let bases = quickstart.artefacts("QuantisedBase");
    assert_eq!(bases.len(), 1);
    let modified = |dir: &Path| {
        let file = dir.join("output").join(QuantisedBase::FILE);
        file.metadata().unwrap().modified().unwrap()
    };
    let made = modified(&bases[0]);

    // Another rank trains again, on the same stored base.
    let again = run(&quickstart, &["passes.lora.config.lora_r=8"]);
    assert!(!again.contains("quantise base"), "{again}");
    assert_eq!(quickstart.artefacts("QLoRA").len(), 2);
    assert_eq!((quickstart.artefacts("QuantisedBase"), modified(&bases[0])), (bases, made));

    // The other base to merge into, and the other codes.
    let quantised = run(&quickstart, &["passes.merge_adapter_weights.base_weights=quantised"]);
    assert!(quantised.contains("merged into the dequantised base"), "{quantised}");
    let difference = |said: &str| -> f64 {
        let rest = said.split("logits differ by ").nth(1).unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    assert!(difference(&quantised) < 0.3 * difference(&said), "{quantised}{said}");
    run(&quickstart, &["passes.lora.config.quant_type=fp4"]);
    assert_eq!(quickstart.artefacts("QuantisedBase").len(), 2);

    answer(&quickstart.output());
}

#[test]
fn what_lora_trained_has_no_quantised_base() {
    let quickstart = Quickstart::new(1);
    let output = quickstart.run(&["passes.merge_adapter_weights.base_weights=quantised"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("which 4-bit base"), "{}", text(&output.stderr));
}

/// Microsoft's own configuration, on a small model and a local file.
#[test]
fn the_documented_phi3_configuration_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = olive();
    command.args(["run", "--local", "--config", "configs/phi3-qlora.json"]);
    for set in [
        "input_model.config.hf_config.model_name=model-cache/tiny-phi3",
        "data_configs.0.load_dataset_config.params.data_files=datasets/olive-qa.jsonl",
        "data_configs.0.pre_process_data_config.params.source_max_len=64",
        "passes.qlora.config.training_args.max_steps=2",
        &format!("engine.cache_dir={}", dir.path().join("cache").display()),
        &format!("engine.output_dir={}", dir.path().join("output").display()),
    ] {
        command.args(["--set", set]);
    }
    succeed(&mut command);
    let merged = ModelFolder::open(&dir.path().join("output/model")).unwrap();
    assert_eq!(merged.checkpoint().unwrap().tensors().count(), {
        let base = tiny_phi3();
        base.checkpoint().unwrap().tensors().count()
    });
    // All linear layers were trained, as Olive does it.
    let qlora = std::fs::read_dir(dir.path().join("cache/passes-v1/QLoRA")).unwrap();
    let adapter = qlora.flatten().map(|e| e.path().join("output")).find(|p| p.is_dir()).unwrap();
    let config = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    for module in ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"] {
        assert!(config.contains(module), "{config}");
    }
}
