//! Losses of masked and weighted conversations against PyTorch.

use super::chat_setup::Goldens;
use crate::support::rows::options;
use crate::support::shared::shared;
use candle_core::Device;
use olive_config::canonical::{ChatSource, Era, LossOn, Strategy, TextGeneration, TextSource};
use olive_data::{Dataset, MicroBatch};
use olive_decoder::Decoder;
use olive_model::ModelFolder;
use serde_json::Value;

fn chat(template: Option<String>, loss_on: LossOn) -> TextGeneration {
    TextGeneration {
        source: TextSource::Chat(ChatSource { template, ..ChatSource::default() }),
        loss_on: Some(loss_on),
        ..options(Era::New, Strategy::LineByLine, 1000, "")
    }
}

#[test]
fn sums_and_weights_are_those_of_torch() {
    let (Some(goldens), Some(path)) = (Goldens::open(), shared("goldens/models/llama/hf")) else { return };
    let model = ModelFolder::open(&path).unwrap();
    let decoder = Decoder::load(&model, None, None, &Device::Cpu).unwrap();
    let loss = |dataset: &Dataset| {
        let batch = MicroBatch::new(dataset.samples.iter().enumerate());
        let sum = decoder.loss(&batch.tokens, batch.loss_targets()).unwrap().sum;
        (sum, batch.weight)
    };
    let golden = goldens.json("loss.json");
    let marked = goldens.template("chatml.marked");
    let mut compared = 0;
    for want in golden["rows"].as_array().unwrap() {
        // An empty answer is refused.
        if want["id"] == "empty-assistant" {
            continue;
        }
        // In `assistant_prefix_rule` all answers count alike, in `weights` as they say.
        let mut plain = goldens.row(&want["id"]);
        for message in plain["messages"].as_array_mut().unwrap() {
            message.as_object_mut().unwrap().remove("weight");
        }
        for (name, row, options) in [
            ("all", &plain, chat(None, LossOn::All)),
            ("last", &plain, chat(None, LossOn::Last)),
            ("assistant_prefix_rule", &plain, chat(None, LossOn::Assistant)),
            ("assistant_marked", &plain, chat(Some(marked.clone()), LossOn::Assistant)),
            ("weights", &goldens.row(&want["id"]), chat(None, LossOn::Assistant)),
        ] {
            let Some(want) = want.get(name) else { continue };
            let dataset = goldens.prepare(std::slice::from_ref(row), options, &model).0.unwrap();
            let (sum, weight) = loss(&dataset);
            let number = |key: &str| want[key].as_f64().unwrap();
            assert!((sum / number("sum") - 1.0).abs() < 1e-5, "{name}: {sum}, not {want}");
            assert_eq!(weight, number("weight"), "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 26);

    // Padded, packed or apart: the mean of a step is that over its tokens.
    let batch = &golden["batch"];
    let ids = batch["rows"].as_array().unwrap();
    let rows: Vec<Value> = ids.iter().map(|id| goldens.row(id)).collect();
    for strategy in [Strategy::LineByLine, Strategy::Pack] {
        let options = TextGeneration { strategy, ..chat(Some(marked.clone()), LossOn::Assistant) };
        let (sum, weight) = loss(&goldens.prepare(&rows, options, &model).0.unwrap());
        let want = batch["token_weighted_mean"].as_f64().unwrap();
        assert!((sum / weight / want - 1.0).abs() < 1e-5, "{} not {want}", sum / weight);
    }
}
