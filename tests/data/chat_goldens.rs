//! Conversations against the recorded texts, ids and masks of transformers and TRL.

use super::chat_setup::{Goldens, golden_ranges, weighted_ranges};
use super::setup::write;
use crate::support::rows::load;
use crate::support::shared::shared;
use olive_config::canonical::{AnswersBy, ChatSource, LossOn, Strategy, TextGeneration};
use olive_data::chat::{ChatReader, ChatRow, Conversation};
use olive_data::{RowFault, load_rows};
use serde_json::{Map, Value, json};

/// A conversation as the goldens have it.
fn messages(conversation: &Conversation) -> Value {
    let message = |turn: &olive_data::chat::Turn| {
        let mut message = Map::new();
        message.insert("role".into(), turn.role.name().into());
        message.insert("content".into(), turn.content.clone().into());
        if let Some(reasoning) = &turn.reasoning {
            message.insert("reasoning_content".into(), reasoning.clone().into());
        }
        if !turn.tool_calls.is_empty() {
            message.insert("tool_calls".into(), json!(turn.tool_calls));
        }
        for (key, value) in &turn.other {
            message.insert(key.clone(), json!(value));
        }
        if let Some(weight) = turn.weight {
            message.insert("weight".into(), f64::from(weight).into());
        }
        Value::Object(message)
    };
    conversation.turns.iter().map(message).collect()
}

#[test]
fn every_row_is_read_or_refused_as_proposed() {
    let Some(goldens) = Goldens::open() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let proposals = goldens.lines("expected/rows.jsonl");
    for proposal in &proposals {
        let file = proposal["file"].as_str().unwrap();
        let number = proposal["row"].as_u64().unwrap() as usize;
        let mut row = goldens.lines(&format!("data/{file}.jsonl")).remove(number - 1);
        assert_eq!(row["id"], proposal["id"]);
        row.as_object_mut().unwrap().remove("id");
        let path = write(dir.path(), "row.jsonl", row.to_string());
        let rows = load_rows(&load("json", &[&path])).unwrap();
        let reader = ChatReader::new(&rows, &ChatSource::default());
        let read = reader.as_ref().map(|reader| (reader.found.format.name(), reader.read(0)));
        let ours = match &read {
            Err(error) => json!({"verdict": "refuse", "format": null, "why": error.to_string()}),
            Ok((_, Err(fault @ RowFault::TwoKinds { .. }))) => {
                json!({"verdict": "refuse", "format": null, "why": fault.to_string()})
            }
            Ok((format, Err(fault))) => {
                json!({"verdict": "refuse", "format": format, "why": fault.to_string()})
            }
            Ok((format, Ok(ChatRow::Pair { prompt, completion }))) => {
                json!({"verdict": "accept", "format": format, "prompt": prompt, "completion": completion})
            }
            Ok((format, Ok(ChatRow::Conversation(conversation)))) => json!({
                "verdict": "accept", "format": format, "messages": messages(conversation),
                "tools": conversation.tools, "loss_from_message": conversation.prompt,
            }),
        };
        let format =
            proposal["format"].as_str().map(|name| name.replace("prompt/completion", "prompt-completion"));
        let format = format.map(|name| name.replace(" (text)", "").replace(" (messages)", ""));
        let same_or_unsaid = |key: &str| proposal.get(key).is_none_or(|value| *value == ours[key]);
        // Where nothing is said of messages, they are those of the row.
        let unchanged = proposal.get("messages").is_some()
            || ours["messages"].is_null()
            || proposal["verdict"] == "refuse"
            || { same_messages(&row["messages"], &ours["messages"]) };
        let refused = proposal["verdict"] == "refuse" && ours["verdict"] == "refuse";
        let same = ["messages", "tools", "prompt", "completion", "loss_from_message"]
            .iter()
            .all(|key| same_or_unsaid(key));
        let same_format = ours["format"].as_str() == format.as_deref();
        if proposal["verdict"] != ours["verdict"] || !same_format || !(refused || (same && unchanged)) {
            wrong.push(format!("{file} {}:\n  theirs {proposal}\n  ours   {ours}", proposal["id"]));
        }
    }
    assert_eq!(proposals.len(), 126);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether messages are those of a row, but for how weights and tool calls are written.
fn same_messages(theirs: &Value, ours: &Value) -> bool {
    let Some(theirs) = theirs.as_array() else { return false };
    let same = |(theirs, ours): (&Value, &Value)| {
        let keys = ["role", "content", "reasoning_content", "tool_calls", "name", "tool_call_id"];
        keys.iter().all(|key| theirs[key] == ours[key])
            && theirs["weight"].as_f64() == ours["weight"].as_f64()
    };
    theirs.len() == ours.as_array().map_or(0, Vec::len)
        && theirs.iter().zip(ours.as_array().unwrap()).all(same)
}

/// Rows whose messages transformers gets in another form than ours, which are joined, completed or refused first.
const NORMALISED: [&str; 4] =
    ["parts", "tool-call-null-content", "tool-call-no-content-key", "tool-call-string-arguments"];

/// What is wrong with what becomes of a row, whose `want` is the golden's mask, or null where there is none.
fn compare(
    goldens: &Goldens,
    name: (&str, &str),
    row: &Value,
    expected: &Value,
    want: &Value,
    options: TextGeneration,
    model: &olive_model::ModelFolder,
) -> Result<bool, String> {
    let (dataset, _) = goldens.prepare(std::slice::from_ref(row), options, model);
    let tell = |what: &str| Err(format!("{} ({}) on {}: {what}", name.0, name.1, row["id"]));
    match dataset {
        Err(error) => {
            let text = error.to_string();
            let all_zero = row["id"] == "weight-all-zero" && text.contains("not one of the tokens");
            let refused = ["empty-assistant", "weight-on-user"].iter().any(|id| row["id"] == *id);
            let known = want.is_null() || expected.get("notice").is_some() || all_zero || refused;
            if known { Ok(false) } else { tell(&format!("refused: {text}")) }
        }
        Ok(_) if want.is_null() => tell("accepted"),
        Ok(dataset) => {
            let sample = &dataset.samples[0];
            let ids: Vec<u64> = sample.input_ids.iter().map(|id| u64::from(*id)).collect();
            if json!(ids) != expected["ids"] {
                return tell(&format!("other ids: {ids:?}\n  theirs {}", expected["ids"]));
            }
            let ours = weighted_ranges(sample);
            if ours == golden_ranges(want) { Ok(true) } else { tell(&format!("{ours:?}, not {want}")) }
        }
    }
}

fn assert_all(wrong: &[String], same: usize, least: usize) {
    assert!(wrong.is_empty(), "{} differ, {same} do not:\n{}", wrong.len(), wrong.join("\n"));
    assert!(same >= least, "only {same} were compared");
}

#[test]
fn texts_ids_and_masks_are_those_of_the_prefix_rule() {
    let Some(goldens) = Goldens::open() else { return };
    let (mut wrong, mut same) = (Vec::new(), 0);
    for template in goldens.json("templates.json").as_object().unwrap().keys() {
        let source = goldens.template(template);
        let model = goldens.model(&goldens.tokenizer(), template);
        let rows = goldens.lines("data/messages.jsonl");
        let expected = goldens.lines(&format!("expected/{template}.jsonl"));
        for (row, expected) in rows.iter().zip(&expected) {
            assert_eq!(row["id"], expected["id"]);
            if NORMALISED.iter().any(|id| row["id"] == *id) {
                continue;
            }
            for loss_on in [LossOn::Assistant, LossOn::Last] {
                let options = goldens.options(template, &source, loss_on);
                let want = match loss_on {
                    LossOn::Last => last_with_weight(expected),
                    _ if expected.get("weights").is_some() => expected["weights"].clone(),
                    _ => exact_but_weightless(row, expected),
                };
                let name = (template.as_str(), loss_on.name());
                match compare(&goldens, name, row, expected, &want, options, &model) {
                    Ok(compared) => same += usize::from(compared),
                    Err(what) => wrong.push(what),
                }
            }
        }
    }
    assert_all(&wrong, same, 570);
}

/// The mask of all answers. An answer that is not exact may have weight 0: then the others are.
fn exact_but_weightless(row: &Value, expected: &Value) -> Value {
    let Some(turns) = expected["turns"].as_array() else { return Value::Null };
    let weightless = |turn: &Value| {
        let message = &row["messages"][turn["turn"].as_u64().unwrap() as usize];
        message["weight"].as_f64() == Some(0.0) || message["train"] == false || message["training"] == false
    };
    let counting: Vec<&Value> = turns.iter().filter(|turn| !weightless(turn)).collect();
    let exact = |turn: &&Value| turn["tokens"].is_array();
    if counting.iter().all(exact) {
        counting.iter().map(|turn| turn["tokens"].clone()).collect()
    } else {
        Value::Null
    }
}

/// The mask of the last answer, with its weight.
fn last_with_weight(expected: &Value) -> Value {
    let (Some(mask), Some(weights)) = (expected.get("mask_last"), expected.get("weights")) else {
        return expected["mask_last"].clone();
    };
    let of_last = |range: &&Value| range[0] == mask[0][0];
    weights.as_array().unwrap().iter().filter(of_last).cloned().collect()
}

#[test]
fn arguments_in_json_are_parsed_before_the_template_prints_them() {
    let Some(goldens) = Goldens::open() else { return };
    let (mut wrong, mut same) = (Vec::new(), 0);
    for template in goldens.json("templates.json").as_object().unwrap().keys() {
        let source = goldens.template(template);
        let model = goldens.model(&goldens.tokenizer(), template);
        let expected = goldens.lines(&format!("expected/{template}.jsonl"));
        let Some(parsed) = expected.iter().find_map(|expected| expected.get("arguments_parsed_first")) else {
            continue;
        };
        // Null and missing contents of calls are empty ones, as that row has.
        for id in ["tool-call-string-arguments", "tool-call-null-content", "tool-call-no-content-key"] {
            let row = goldens.row(&id.into());
            let turns = parsed["turns"].as_array().unwrap();
            let masked: Option<Vec<Value>> = turns.iter().map(|turn| turn.get("tokens").cloned()).collect();
            let want = masked.map_or(Value::Null, Value::Array);
            let (dataset, _) =
                goldens.prepare(&[row], goldens.options(template, &source, LossOn::Assistant), &model);
            match dataset {
                Ok(dataset) if want.is_array() => {
                    let ids: Vec<u64> =
                        dataset.samples[0].input_ids.iter().map(|id| u64::from(*id)).collect();
                    assert_eq!(json!(ids), parsed["ids"], "{template} on {id}");
                    assert_eq!(
                        weighted_ranges(&dataset.samples[0]),
                        golden_ranges(&want),
                        "{template} on {id}"
                    );
                    same += 1;
                }
                Ok(_) => wrong.push(format!("{template} on {id}: accepted")),
                Err(error) if want.is_null() || error.to_string().contains("appear in the text") => {}
                Err(error) => wrong.push(format!("{template} on {id}: {error}")),
            }
        }
    }
    assert_all(&wrong, same, 9);
}

#[test]
fn marks_of_templates_are_those_of_transformers() {
    let Some(goldens) = Goldens::open() else { return };
    let (mut wrong, mut same) = (Vec::new(), 0);
    let templates = goldens.json("templates.json");
    for (template, _) in templates.as_object().unwrap().iter().filter(|(_, facts)| facts["marked"] == true) {
        let source = goldens.template(&format!("{template}.marked"));
        let model = goldens.model(&goldens.tokenizer(), template);
        let rows = goldens.lines("data/messages.jsonl");
        let expected = goldens.lines(&format!("expected/{template}.jsonl"));
        for (row, expected) in rows.iter().zip(&expected) {
            let weighted =
                row["messages"].as_array().unwrap().iter().any(|message| {
                    ["weight", "train", "training"].iter().any(|key| message.get(key).is_some())
                });
            if weighted || NORMALISED.iter().any(|id| row["id"] == *id) {
                continue;
            }
            let mut own = expected.clone();
            if let Some(ids) = expected["marked"].get("ids") {
                own["ids"] = ids.clone();
            }
            let options = goldens.options(template, &source, LossOn::Assistant);
            let want = &expected["marked"]["mask"];
            match compare(&goldens, (template, "marks"), row, &own, want, options, &model) {
                Ok(compared) => same += usize::from(compared),
                Err(what) => wrong.push(what),
            }
        }
    }
    assert_all(&wrong, same, 120);
}

#[test]
fn real_tokenizers_leave_what_straddles_to_the_prompt() {
    let (Some(goldens), Some(data)) = (Goldens::open(), shared("data")) else { return };
    let (mut wrong, mut same, mut straddling) = (Vec::new(), 0, 0);
    for (name, template, tokenizer) in [
        ("real-phi3", "phi3", "phi3-tokenizer"),
        ("real-smollm2", "smollm2", "smollm2"),
        ("real-smollm2-chatml", "chatml", "smollm2"),
    ] {
        let source = goldens.template(template);
        let model = goldens.model(&data.join(tokenizer), template);
        for expected in goldens.lines(&format!("expected/{name}.jsonl")) {
            let row = goldens.row(&expected["id"]);
            let want = expected.get("weights").unwrap_or(&expected["mask_assistant"]);
            let options = goldens.options(template, &source, LossOn::Assistant);
            match compare(&goldens, (name, "real"), &row, &expected, want, options.clone(), &model) {
                Ok(compared) => same += usize::from(compared),
                Err(what) => wrong.push(what),
            }
            let turns = expected["turns"].as_array().unwrap();
            let theirs = turns.iter().filter(|turn| turn.get("straddles").is_some()).count();
            let (_, warnings) = goldens.prepare(&[row], options, &model);
            let ours = warnings.iter().find(|warning| warning.contains("begin inside a token"));
            let count = ours.map_or(0, |text| text.split(' ').next().unwrap().parse().unwrap());
            assert_eq!(count, theirs, "{name} on {}: {warnings:?}", expected["id"]);
            straddling += count;
        }
    }
    assert_all(&wrong, same, 30);
    assert_eq!(straddling, 4);
}

#[test]
fn completions_are_those_of_trl() {
    let Some(goldens) = Goldens::open() else { return };
    let rows = goldens.lines("data/prompt-completion.jsonl");
    let (mut wrong, mut same) = (Vec::new(), 0);
    for expected in goldens.lines("expected/prompt-completion.jsonl") {
        let template = expected["template"].as_str().unwrap();
        let source = goldens.template(template);
        let model = goldens.model(&goldens.tokenizer(), template);
        let row = rows.iter().find(|row| row["id"] == expected["id"]).unwrap();
        let options = goldens.options(template, &source, LossOn::Completion);
        let (dataset, _) = goldens.prepare(std::slice::from_ref(row), options, &model);
        match dataset {
            Ok(dataset) => {
                let ids: Vec<u64> = dataset.samples[0].input_ids.iter().map(|id| u64::from(*id)).collect();
                let ours = weighted_ranges(&dataset.samples[0]);
                if json!(ids) == expected["ids"] && ours == golden_ranges(&expected["trained"]) {
                    same += 1;
                } else {
                    wrong.push(format!("{template} on {}: {ours:?}, not {}", row["id"], expected["trained"]));
                }
            }
            // TRL trains where the model would not see what is said, or from inside the question on.
            Err(error) => {
                let text = error.to_string();
                let known =
                    ["appear in the text", "becomes", "refuses it"].iter().any(|part| text.contains(part));
                if !known {
                    wrong.push(format!("{template} on {}: {text}", row["id"]));
                }
            }
        }
    }
    assert_all(&wrong, same, 35);
}

#[test]
fn truncation_cuts_labels_with_their_tokens() {
    let Some(goldens) = Goldens::open() else { return };
    let source = goldens.template("chatml.marked");
    let model = goldens.model(&goldens.tokenizer(), "chatml");
    let golden = goldens.json("truncation.json");
    for case in golden["rows"].as_array().unwrap() {
        let options = TextGeneration {
            max_seq_len: case["max_length"].as_u64().unwrap() as usize,
            ..goldens.options("chatml", &source, LossOn::Assistant)
        };
        let (dataset, _) = goldens.prepare(&[goldens.row(&case["id"])], options, &model);
        let theirs = &case["trl_keep_start"];
        match dataset {
            Ok(dataset) => {
                assert_eq!(weighted_ranges(&dataset.samples[0]), golden_ranges(&theirs["trained"]), "{case}");
            }
            Err(error) => {
                assert_eq!(theirs["result"], "skip", "{error}");
                assert!(error.to_string().contains("not one of the tokens"), "{error}");
            }
        }
    }
}

#[test]
fn packed_rows_keep_their_masks_and_borders() {
    let Some(goldens) = Goldens::open() else { return };
    let source = goldens.template("chatml.marked");
    let model = goldens.model(&goldens.tokenizer(), "chatml");
    let golden = goldens.json("packing.json");
    let facts = golden["rows"].as_array().unwrap();
    let rows: Vec<Value> = facts.iter().map(|row| goldens.row(&row["id"])).collect();
    let options = TextGeneration {
        strategy: Strategy::Pack,
        max_seq_len: 160,
        chat: olive_config::ChatOptions { answers_by: Some(AnswersBy::Marks), ..Default::default() },
        ..goldens.options("chatml", &source, LossOn::Assistant)
    };
    let (dataset, warnings) = goldens.prepare(&rows, options, &model);
    let mut packed = Vec::new();
    for sample in &dataset.unwrap().samples {
        for document in sample.document_ranges() {
            let part = olive_data::Sample {
                labels: sample.labels[document.clone()].to_vec(),
                input_ids: sample.input_ids[document].to_vec(),
                ..Default::default()
            };
            packed.push(json!({"tokens": part.labels.len(), "trained": json!(weighted_ranges(&part))}));
        }
    }
    let cut = |row: &Value| {
        let tokens = row["tokens"].as_u64().unwrap().min(160);
        let ranges = golden_ranges(&row["trained"]).into_iter().filter(|(start, ..)| *start < 160);
        let ranges: Vec<_> = ranges.map(|(start, end, weight)| (start, end.min(160), weight)).collect();
        json!({"tokens": tokens, "trained": ranges})
    };
    let mut want: Vec<Value> = facts.iter().map(cut).collect();
    for list in [&mut want, &mut packed] {
        list.sort_by_key(ToString::to_string);
    }
    assert_eq!(packed, want);
    let told =
        "1 of 7 rows are longer than `max_seq_len` (160) and are cut (2 answers lose their end, or are lost)";
    assert!(warnings.iter().any(|warning| warning.contains(told)), "{warnings:?}");
}
