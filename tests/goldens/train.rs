//! LoRA training against trajectories of PEFT and PyTorch, and logits against transformers.

use crate::support::models::{name, npy, read_json};
use crate::support::shared::{say, shared_cases};
use crate::support::training::relative;
use crate::support::trajectory::Trajectory;
use olive_core::device::Device;
use olive_decoder::Decoder;
use olive_model::ModelFolder;

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
    let Some(folders) = shared_cases("goldens/models") else { return };
    assert!(folders.len() >= 6, "{} models", folders.len());
    for folder in folders {
        let case = name(&folder);
        let model = ModelFolder::open(&folder.join("hf")).expect("a model folder");
        let decoder = Decoder::load(&model, None, None, &Device::Cpu).expect("a decoder");
        let prompts = prompts(&read_json(&folder.join("golden.json")));
        assert_eq!(prompts.len(), 2, "{case}");
        for (i, ids) in prompts.iter().enumerate() {
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
            say(&format!("{case} prompt {i}: logits {whole:.1e}, with a cache {cached:.1e}"));
            assert!(whole < 2e-5 && cached < 2e-5, "{case}");
        }
    }
}

#[test]
fn trajectories_agree_with_peft() {
    let Some(folders) = shared_cases("goldens/train") else { return };
    assert!(folders.len() >= 7, "{} trajectories", folders.len());
    for folder in folders {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Trajectory::of_goldens(&folder).train(dir.path());
    }
}
