//! LoRA training against trajectories of PEFT and PyTorch, and logits against transformers.

use olive::decoder::Decoder;
use olive::device::Device;
use olive::model::{Checkpoint, ModelError, ModelFolder};
use std::path::Path;

fn name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).expect("a folder name")
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a readable golden")).expect("JSON")
}

/// `None`, after saying so, for an architecture that the program does not know.
fn open(folder: &Path, case: &str) -> Option<ModelFolder> {
    let folder = ModelFolder::open(folder).expect("a model folder");
    match folder.spec() {
        Ok(_) => Some(folder),
        Err(olive::Error::Model(ModelError::UnsupportedArchitecture { found, .. })) => {
            println!("skipped: {case} ({found} is not supported)");
            None
        }
        Err(error) => panic!("{case}: {error}"),
    }
}

/// Largest difference over largest magnitude.
fn relative(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).fold(0f32, |m, (a, b)| {
        assert!(a.is_finite());
        m.max((a - b).abs())
    });
    f64::from(worst) / f64::from(largest)
}

/// Values of a NumPy file of f32, whatever its shape.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a readable golden");
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = String::from_utf8_lossy(&bytes[10..10 + header]);
    assert!(text.contains("'<f4'") && text.contains("False"), "{text}");
    bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn prompts(golden: &serde_json::Value) -> Vec<Vec<u32>> {
    golden["prompts"]
        .as_array()
        .expect("prompts")
        .iter()
        .map(|p| {
            p["input_ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("id") as u32).collect()
        })
        .collect()
}

#[test]
fn logits_agree_with_transformers() {
    for folder in crate::cases("models") {
        let case = name(&folder);
        let Some(model) = open(&folder.join("hf"), case) else { continue };
        let decoder = Decoder::load(&model, None, &Device::Cpu).expect("a decoder");
        for (i, ids) in prompts(&json(&folder.join("golden.json"))).iter().enumerate() {
            let want = npy(&folder.join(format!("logits_p{i}_hf_fp32.npy")));
            let all = decoder.all_logits(ids).and_then(|l| Ok(l.flatten_all()?.to_vec1::<f32>()?));
            let whole = relative(&all.expect("logits"), &want);
            // The same last position, reached in two pieces and then one by one.
            let mut cache = decoder.new_cache(ids.len()).expect("a cache");
            let cut = ids.len() / 2;
            let mut last = decoder.logits(&ids[..cut], &mut cache).expect("logits");
            for id in &ids[cut..] {
                last = decoder.logits(&[*id], &mut cache).expect("logits");
            }
            let cached = relative(&last, &want[want.len() - last.len()..]);
            println!("{case} prompt {i}: logits {whole:.1e}, with a cache {cached:.1e}");
            assert!(whole < 2e-5 && cached < 2e-5, "{case}");
        }
    }
}
