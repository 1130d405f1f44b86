//! Real tokenizers on real text, against what Olive and transformers give.

use super::setup::{ids, prepare};
use crate::support::models::read_json;
use crate::support::rows::{load, options};
use crate::support::shared::shared;
use olive_config::canonical::{Era, Strategy, TextGeneration};
use olive_model::ModelFolder;
use serde_json::Value;

fn strategy(name: &str) -> Strategy {
    match name {
        "join" => Strategy::Join,
        "line-by-line" => Strategy::LineByLine,
        other => panic!("the golden file has a strategy `{other}` that this test does not know"),
    }
}

#[test]
fn smollm2_blocks_equal_olives() {
    let (Some(golden), Some(folder), Some(data)) =
        (shared("goldens/smollm2-data.json"), shared("data/smollm2"), shared("data/truthfulqa.jsonl"))
    else {
        return;
    };
    let golden = read_json(&golden);
    let model = ModelFolder::open(&folder).unwrap();
    let mut seen = 0;
    for (name, case) in golden.as_object().unwrap() {
        let params = &case["options"]["params"];
        let flag = |key: &str, default| params[key].as_bool().unwrap_or(default);
        let base = options(
            Era::New,
            strategy(params["strategy"].as_str().unwrap()),
            params["max_seq_len"].as_u64().unwrap() as usize,
            params["text_template"].as_str().unwrap(),
        );
        let options = TextGeneration {
            joiner: params["joiner"].as_str().map(str::to_owned),
            pad_to_max_len: flag("pad_to_max_len", true),
            use_attention_mask: flag("use_attention_mask", true),
            add_special_tokens: flag("add_special_tokens", true),
            ..base
        };
        let dataset = prepare(load("json", &[data.to_str().unwrap()]), options, &model).unwrap();
        let blocks = ids(&dataset);
        assert_eq!(blocks.len(), case["samples"].as_u64().unwrap() as usize, "{name}");
        assert_eq!(dataset.tokens(), case["tokens"].as_u64().unwrap() as usize, "{name}");
        let list = |v: &Value| serde_json::from_value::<Vec<u32>>(v.clone()).unwrap();
        for (i, block) in case["first"].as_array().unwrap().iter().enumerate() {
            assert_eq!(blocks[i], list(block), "{name}, block {i}");
        }
        assert_eq!(*blocks.last().unwrap(), list(&case["last"]), "{name}");
        if let Some(dir) = std::env::var_os("OLIVE_DUMP_BLOCKS") {
            // For a look from outside: all ids, 32 bits each, in little endian.
            let bytes: Vec<u8> = blocks.iter().flatten().flat_map(|id| id.to_le_bytes()).collect();
            std::fs::write(std::path::Path::new(&dir).join(name), bytes).unwrap();
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

/// Phi-3's tokenizer has tokens that swallow the white space behind them. Expected ids: transformers 5.23 with the same
/// tokenizer.json.
#[test]
fn phi3_tokens_equal_those_of_transformers() {
    let (Some(dir), Some(data)) = (shared("data/phi3-tokenizer"), shared("data/truthfulqa.jsonl")) else {
        return;
    };
    let model = ModelFolder::new(dir, Value::Null);
    let template = "<|user|>\n{Question}<|end|>\n<|assistant|>\n{Best Answer}\n<|end|>";
    let options =
        TextGeneration { add_special_tokens: true, ..options(Era::Old, Strategy::Join, 2048, template) };
    let dataset = prepare(load("json", &[data.to_str().unwrap()]), options, &model).unwrap();
    let blocks = ids(&dataset);
    assert_eq!(blocks.len(), 15);
    let start =
        [1, 259, 32010, 29871, 13, 11008, 437, 2453, 1144, 2615, 7254, 29973, 32007, 29871, 13, 32001];
    assert_eq!(blocks[0][..start.len()], start);
    let digest = (1..).zip(blocks.iter().flatten()).map(|(i, &id)| i * u64::from(id)).sum::<u64>();
    assert_eq!(digest, 5_005_295_308_934);
}
