//! Losses of models of every form.

use crate::setup::{assert_close, by_definition, dataset, float, measured, onnx, open, open_with, quietly};
use crate::support::events::Recorder;
use crate::support::models::{family, fixture, name, npy, read_json};
use crate::support::passes::{build, run_pass, with_adapter};
use crate::support::quickstart::base_model;
use crate::support::rows;
use crate::support::runtime::library;
use crate::support::shared::{folders, say, shared, shared_cases};
use crate::support::training::{adapter, sample};
use olive_config::canonical::{DataConfig, Era, PaddingSide, Strategy, TextSource};
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::event::Event;
use olive_core::handle::ModelHandle;
use olive_data::{Dataset, IGNORED, MicroBatch, Sample};
use olive_decoder::{Decoder, LanguageModel, Scored, ScoringModel};
use olive_engine::passes::ModelBuilderPass;
use olive_evaluate::{EvaluateError, Item, Work, losses};
use olive_kernels::quant::nf4::Code;
use olive_model::{FourBitFormat, ModelError, ModelFolder, QuantisedBase};
use olive_onnx::{Adapters, ModelBuilderOptions, Precision};
use olive_runtime::{CacheMode, LoadedModel, OnnxSession};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// `len` tokens of a vocabulary of `vocab`, in no pattern.
fn tokens(len: usize, vocab: usize) -> Vec<u32> {
    (0..len).map(|i| ((i * i * 31 + i * 17 + 5) % (vocab - 3) + 3) as u32).collect()
}

fn fp32(model: &Path, temp: &TempDir) -> PathBuf {
    build(model, ModelBuilderOptions::new(Precision::Fp32, "cpu"), &temp.path().join("onnx"))
}

/// The family with other values in its configuration.
fn changed(name: &str, temp: &TempDir, change: impl FnOnce(&mut serde_json::Value)) -> PathBuf {
    let (from, to) = (family(name).dir, temp.path().join(name));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(from.join("model.safetensors"), to.join("model.safetensors")).unwrap();
    let mut config = read_json(&from.join("config.json"));
    change(&mut config);
    std::fs::write(to.join("config.json"), config.to_string()).unwrap();
    to
}

/// Recorded logits of transformers, onnxruntime and onnxruntime-genai's graphs: windows, LongRoPE beyond its original context,
/// caches in place and not, logits in f16.
#[test]
fn losses_are_those_of_the_recorded_logits() {
    let Some(architectures) = shared_cases("goldens/models") else { return };
    let mut cases = 0;
    for arch in architectures {
        let golden = read_json(&arch.join("golden.json"));
        let ids = |prompt: usize| -> Vec<u32> {
            let ids = golden["prompts"][prompt]["input_ids"].as_array().unwrap();
            ids.iter().map(|id| id.as_u64().unwrap() as u32).collect()
        };
        let graphs = folders(&arch).into_iter().filter(|dir| dir.join("genai_config.json").is_file());
        let all = std::iter::once(arch.join("hf")).chain(graphs);
        for dir in all {
            let tag = if dir.ends_with("hf") { "hf_fp32".into() } else { name(&dir) };
            let recorded = |prompt: usize| arch.join(format!("logits_p{prompt}_{tag}.npy"));
            let prompts: Vec<usize> = [0, 1].into_iter().filter(|p| recorded(*p).is_file()).collect();
            if prompts.is_empty() {
                continue;
            }
            let subject = if tag == "hf_fp32" { float(&dir) } else { onnx(&dir) };
            for prompt in prompts {
                let sample = sample(ids(prompt));
                let (want, count) = by_definition(&npy(&recorded(prompt)), &sample.labels);
                let got = measured(&subject, &dataset([sample]));
                let case = format!("{}/{tag}, prompt {prompt}", name(&arch));
                say(&format!("{case}: off by {:.1e}", (got.sum_nll / want - 1.0).abs()));
                // Products with 4-bit weights have activations of 8 bits, which every kind of processor rounds in another way.
                let tolerance = if tag.contains("int4") { 2e-2 } else { 1e-5 };
                assert_close(got.sum_nll, want, tolerance, &case);
                assert_eq!((got.tokens, got.samples), (count, 1), "{case}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 40, "{cases} cases");
}

/// Olive 0.13's perplexity of the quickstart's model on twenty rows. It computes in bf16, whose rounding depends on the
/// processor: on another one it gave 2584.813232421875. In f32 transformers 5.23 gives 2582.53408.
#[test]
fn perplexity_is_that_of_olive() {
    let file = crate::support::binary::root().join("datasets/olive-qa.jsonl");
    let mut options = rows::options(Era::New, Strategy::LineByLine, 64, "");
    options.source = TextSource::Columns(vec!["Question".into(), "Best Answer".into()]);
    options.pad_to_max_len = true;
    options.padding_side = Some(PaddingSide::Right);
    options.add_special_tokens = true;
    let mut load = rows::load("json", &[file.to_str().unwrap()]);
    load.split = "train[:20]".into();
    let config = DataConfig { name: "d".into(), load, pre_process: options, mix: Vec::new() };
    let folder = ModelFolder::open(&base_model()).unwrap();
    let dataset = olive_data::prepare(&config, &folder, &(), &CancelFlag::default()).unwrap();

    let got = measured(&float(&base_model()), &dataset);
    assert_eq!((got.tokens, got.samples), (620, 20));
    assert_close(got.perplexity(), 2_582.534_08, 1e-6, "transformers");
    assert_close(got.perplexity(), 2_583.905_029_296_875, 1e-3, "Olive");
    let temp = tempfile::tempdir().unwrap();
    let exported = measured(&onnx(&fp32(&base_model(), &temp)), &dataset);
    assert_eq!(exported.tokens, got.tokens);
    assert_close(exported.sum_nll, got.sum_nll, 1e-5, "ONNX");
}

/// Samples with masked labels, with padding on either side and between, packed ones, ones of a single token, without labels, in
/// one dataset or each alone.
fn odd_samples(vocab: usize) -> Vec<Sample> {
    let masked = |mut sample: Sample, without: std::ops::Range<usize>| {
        sample.labels[without].fill(IGNORED);
        sample
    };
    let padded = |mut sample: Sample, padding: std::ops::Range<usize>| {
        let mut mask = vec![1; sample.input_ids.len()];
        mask[padding.clone()].fill(0);
        sample.labels[padding].fill(IGNORED);
        sample.attention_mask = Some(mask);
        sample
    };
    let all = |len| sample(tokens(len, vocab));
    vec![
        all(30),
        masked(all(24), 0..10),
        padded(all(40), 31..40),
        padded(masked(all(20), 0..12), 0..7),
        all(1),
        masked(all(9), 0..9),
        Sample { documents: Some(vec![5, 12, 1, 13]), ..all(31) },
        all(37),
    ]
}

#[test]
fn every_form_and_every_batch_gives_the_same() {
    // Windows in all layers and in some, LongRoPE, a cap on logits and none.
    for name in ["mistral", "gemma3", "phi4mini", "granite"] {
        let temp = tempfile::tempdir().unwrap();
        let model = family(name).dir;
        let (whole, samples) = (float(&model), odd_samples(128));
        let together = measured(&whole, &dataset(samples.clone()));
        let mut alone = (0.0, 0);
        let exported = onnx(&fp32(&model, &temp));
        for (index, sample) in samples.iter().enumerate() {
            let one = dataset([sample.clone()]);
            match quietly(&whole, &one) {
                Ok(got) => {
                    alone = (alone.0 + got.sum_nll, alone.1 + got.tokens);
                    let case = format!("{name}, sample {index}");
                    assert_close(measured(&exported, &one).sum_nll, got.sum_nll, 1e-5, &case);
                }
                Err(error) => {
                    assert!(matches!(error.downcast_ref(), Some(EvaluateError::NoLabels { samples: 1 })));
                    assert!([4, 5].contains(&index), "{name}: sample {index}");
                }
            }
        }
        assert_close(together.sum_nll, alone.0, 1e-6, name);
        assert_eq!((together.tokens, together.samples), (alone.1, 8));
        let together = measured(&exported, &dataset(samples));
        assert_close(together.sum_nll, alone.0, 1e-5, name);
        assert_eq!(together.tokens, alone.1);
    }
}

/// More positions than an ONNX model computes at a time. With LongRoPE the first of them are rotated for the length of the
/// whole, also where padding makes the sample a long one.
#[test]
fn long_samples_are_computed_in_parts() {
    for (name, original) in [("mistral", None), ("phi4mini", Some(300)), ("phi4mini", Some(600))] {
        let temp = tempfile::tempdir().unwrap();
        let model = changed(name, &temp, |config| {
            config["max_position_embeddings"] = 1024.into();
            if let Some(original) = original {
                config["original_max_position_embeddings"] = original.into();
                config["rope_parameters"]["original_max_position_embeddings"] = original.into();
            }
        });
        let mut padded = sample(tokens(610, 128));
        padded.labels[280..].fill(IGNORED);
        padded.attention_mask = Some((0..610).map(|i| u8::from(i < 280)).collect());
        for (case, sample) in [("whole", sample(tokens(601, 128))), ("padded", padded)] {
            let case = format!("{name} {original:?}, {case}");
            let ids = sample.input_ids.clone();
            let decoder =
                Decoder::load(&ModelFolder::open(&model).unwrap(), None, None, &Device::Cpu).unwrap();
            let logits = decoder.all_logits(&ids).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let (want, _) = by_definition(&logits, &sample.labels);
            assert_close(measured(&float(&model), &dataset([sample.clone()])).sum_nll, want, 1e-6, &case);
            let exported = fp32(&model, &temp);
            for mode in [CacheMode::Auto, CacheMode::Moved] {
                let session = OnnxSession::open(&exported, None, &library(), mode).unwrap();
                let batch = MicroBatch::new([(0, &sample)]);
                let (tokens, targets) = (&batch.tokens.ids[..], &batch.targets[..]);
                let scored = Scored { tokens, targets, sequence_length: batch.tokens.sequence_length };
                let mut sequence = session.new_sequence().unwrap();
                for time in ["first", "second"] {
                    session.truncate(&mut sequence, 0).unwrap();
                    let got = session.score(&mut sequence, scored, &CancelFlag::default()).unwrap();
                    assert_close(got, want, 1e-5, &format!("{case}, {mode:?}, {time}"));
                }
            }
        }
    }
}

#[test]
fn tokens_are_scored_after_what_a_sequence_holds() {
    let temp = tempfile::tempdir().unwrap();
    // The original context of 32 ends between the parts.
    let model = family("phi4mini").dir;
    let ids = tokens(44, 128);
    let targets: Vec<i32> = ids[1..].iter().map(|id| *id as i32).collect();
    let decoder = Decoder::load(&ModelFolder::open(&model).unwrap(), None, None, &Device::Cpu).unwrap();
    let session = OnnxSession::open(&fp32(&model, &temp), None, &library(), CacheMode::Auto).unwrap();
    let logits = |len: usize| -> Vec<f32> {
        decoder.all_logits(&ids[..len]).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    // Of the targets from 20 on, by the rotations of 24 and of 43 tokens.
    let labels =
        |len: usize| (0..=len).map(|i| if i > 20 { ids[i] as i32 } else { IGNORED }).collect::<Vec<_>>();
    let want = |len: usize| by_definition(&[logits(len), vec![0.0; 128]].concat(), &labels(len)).0;
    fn check<M: ScoringModel>(model: &M, ids: &[u32], targets: &[i32], want: impl Fn(usize) -> f64) {
        let (mut sequence, quiet) = (model.new_sequence().unwrap(), CancelFlag::default());
        model.feed(&mut sequence, &ids[..20]).unwrap();
        for end in [24, 43, 24, 43] {
            let held = model.truncate(&mut sequence, 20).unwrap();
            if held < 20 {
                model.feed(&mut sequence, &ids[held..20]).unwrap();
            }
            let scored = Scored { tokens: &ids[20..end], targets: &targets[20..end], sequence_length: 0 };
            assert_close(
                model.score(&mut sequence, scored, &quiet).unwrap(),
                want(end),
                1e-5,
                &format!("{end}"),
            );
            assert_eq!(model.tokens(&sequence), &ids[..end]);
        }
    }
    check(&decoder, &ids, &targets, want);
    check(&session, &ids, &targets, want);
}

#[test]
fn adapters_and_four_bit_bases_count() {
    let (base, temp) = (base_model(), tempfile::tempdir().unwrap());
    let folder = ModelFolder::open(&base).unwrap();
    let spec = folder.spec().unwrap();
    let path = temp.path().join("adapter");
    std::fs::create_dir(&path).unwrap();
    let adapter = adapter(&spec, 0.0);
    adapter.save(&path).unwrap();
    let data = dataset([sample(tokens(60, 1792)), sample(tokens(25, 1792))]);
    let format = FourBitFormat { quant_type: Code::Nf4, double_quant: true };
    let checkpoint = folder.checkpoint().unwrap();
    let nf4 = QuantisedBase::in_memory(&spec, &checkpoint, format, |_| Ok(())).unwrap();
    let handle = with_adapter(&base, &path);
    let mut found = vec![measured(&float(&base), &data).sum_nll];
    for quantised in [None, Some(&nf4)] {
        let got = measured(&open_with(&handle, quantised), &data);
        let decoder = Decoder::load(&folder, quantised, Some(&adapter), &Device::Cpu).unwrap();
        let batch = MicroBatch::new(data.samples.iter().enumerate());
        let want = decoder.loss(&batch.tokens, &batch.targets).unwrap();
        assert_close(got.sum_nll, want.sum, 1e-7, "as in training");
        found.push(got.sum_nll);
    }
    // The adapter beside an ONNX model.
    let mut options = ModelBuilderOptions::new(Precision::Fp32, "cpu");
    options.adapters = Adapters::Separate;
    let out = temp.path().join("onnx");
    std::fs::create_dir(&out).unwrap();
    run_pass(&ModelBuilderPass { options }, &handle, &out, &(), &CancelFlag::default()).unwrap();
    let exported = measured(&open(&ModelHandle::Onnx { dir: out }), &data);
    assert_close(exported.sum_nll, found[1], 2e-5, "ONNX with an adapter");
    found.sort_by(f64::total_cmp);
    assert!(found.windows(2).all(|pair| pair[1] / pair[0] > 1.0001), "{found:?} are of different models");
}

#[test]
fn what_cannot_be_measured_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let model = family("mistral").dir;
    let exported = fp32(&model, &temp);
    let three = |odd: Sample| dataset([sample(tokens(9, 128)), odd, sample(tokens(4, 128))]);
    let mut long = sample(tokens(300, 128));
    for subject in [float(&model), onnx(&exported)] {
        let error = quietly(&subject, &three(long.clone())).unwrap_err();
        assert_eq!(error.to_string(), "sample 1 has 300 tokens, and the model's context holds 256");
        assert_eq!(error.hint().as_deref(), Some("lower `max_seq_len` of the metric's data"));
        let error = quietly(&subject, &Dataset::default()).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(EvaluateError::NoLabels { samples: 0 })));
        // A token that the model does not have.
        assert!(quietly(&subject, &three(sample(vec![4, 128, 5]))).is_err());
    }
    // Padding needs no room.
    long.attention_mask = Some((0..300).map(|i| u8::from(i < 250)).collect());
    long.labels[250..].fill(IGNORED);
    assert_eq!(measured(&float(&model), &three(long)).tokens, 8 + 249 + 3);

    let mut options = ModelBuilderOptions::new(Precision::Fp32, "cpu");
    options.prune_lm_head = true;
    let pruned = build(&model, options, &temp.path().join("pruned"));
    let error = quietly(&onnx(&pruned), &three(sample(tokens(7, 128)))).unwrap_err();
    assert!(error.to_string().contains("`prune_lm_head` leaves out all but the last"), "{error}");

    // What the configuration calls the logits is not there.
    let mut config = read_json(&exported.join("genai_config.json"));
    config["model"]["decoder"]["outputs"]["logits"] = "nothing".into();
    std::fs::write(exported.join("genai_config.json"), config.to_string()).unwrap();
    for mode in [CacheMode::Auto, CacheMode::Moved] {
        let session = OnnxSession::open(&exported, None, &library(), mode).unwrap();
        let error = session.feed(&mut session.new_sequence().unwrap(), &[5, 6]).unwrap_err();
        assert!(error.with_causes().contains("nothing"), "{mode:?}: {}", error.with_causes());
    }
}

/// A row of the embedding that is no number.
#[test]
fn damaged_weights_and_the_sample_that_shows_them_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let model = changed("mistral", &temp, |_| {});
    let clean = dataset([sample(tokens(9, 128))]);
    let path = model.join("model.safetensors");
    let stored = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let mut wrong = stored.clone();
    let embedding = stored["model.embed_tokens.weight"].to_dtype(candle_core::DType::F32).unwrap();
    let mut rows: Vec<Vec<f32>> = embedding.to_vec2().unwrap();
    rows[1][7] = f32::NAN;
    let rows =
        candle_core::Tensor::new(rows, &Device::Cpu).unwrap().to_dtype(candle_core::DType::BF16).unwrap();
    wrong.insert("model.embed_tokens.weight".into(), rows);
    let exported = fp32(&model, &temp);
    let before = measured(&onnx(&exported), &clean);
    candle_core::safetensors::save(&wrong, &path).unwrap();
    let data = dataset([sample(tokens(9, 128)), sample(vec![5, 6, 7]), sample(vec![5, 1, 7])]);
    let error = quietly(&float(&model), &data).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(ModelError::NotFinite { .. })), "{error}");
    // The builder refuses such weights, so it goes into the file that it has written.
    let data_file = exported.join("model.onnx.data");
    let mut bytes = std::fs::read(&data_file).unwrap();
    let row: Vec<u8> = stored["model.embed_tokens.weight"]
        .to_dtype(candle_core::DType::F32)
        .and_then(|all| all.get(1)?.to_vec1::<f32>())
        .unwrap()
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let at = bytes.windows(row.len()).position(|part| part == row).expect("the row of the embedding");
    bytes[at + 28..at + 32].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&data_file, bytes).unwrap();
    let broken = onnx(&exported);
    assert_eq!(measured(&broken, &clean), before, "without that token nothing is wrong");
    let error = quietly(&broken, &data).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(EvaluateError::NotANumber { item: Item::Sample, index: 2, .. })),
        "{error}"
    );
}

#[test]
fn progress_is_told_and_work_can_be_stopped() {
    let subject = float(&fixture("models").join("mistral"));
    // More than go through the model at once.
    let data = dataset((0..40).map(|i| sample(tokens(100 + i, 128))));
    let events = Recorder::default();
    let work = Work { name: "perplexity", events: &events, cancel: &events.cancel };
    losses(&subject, &data, work).unwrap();
    let told = events.events();
    let [Event::PhaseStarted { phase, total, .. }, between @ .., Event::PhaseFinished { .. }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((phase.as_ref(), *total), ("evaluate perplexity", Some(40)));
    assert!(between.len() > 1 && between.last() == Some(&Event::PhaseProgress { done: 40 }), "{told:?}");
    // Also between the parts of a sample.
    events.cancel.raise();
    let LoadedModel::Float(decoder) = subject.model() else { panic!() };
    let scored = Scored { tokens: &[5, 6], targets: &[6, -1], sequence_length: 0 };
    let stopped = decoder.score(&mut decoder.new_sequence().unwrap(), scored, &events.cancel);
    assert!(stopped.unwrap_err().is_interruption());
    assert!(losses(&subject, &data, work).unwrap_err().is_interruption());
}

/// The reference's windowed caches, which hold the last positions only: a part may begin at any place of a window.
#[test]
fn windowed_caches_take_parts_of_any_length() {
    let Some(arch) = shared("goldens/models/gemma2") else { return };
    let golden = read_json(&arch.join("golden.json"));
    let ids: Vec<u32> = serde_json::from_value(golden["prompts"][1]["input_ids"].clone()).unwrap();
    let session = OnnxSession::open(&arch.join("ort-fp32-cpu"), None, &library(), CacheMode::Auto).unwrap();
    let (window, vocab) = (session.config().model.decoder.sliding_window.as_ref().unwrap(), 512);
    assert!(window.window_size < 20 && ids.len() > 30);
    let logits = npy(&arch.join("logits_p1_ort-fp32-cpu.npy"));
    for cut in [1, 7, 12, 20, 30] {
        let mut sequence = session.new_sequence().unwrap();
        session.feed(&mut sequence, &ids[..cut]).unwrap();
        let labels: Vec<i32> =
            ids.iter().enumerate().map(|(i, id)| if i > cut { *id as i32 } else { IGNORED }).collect();
        let (want, _) = by_definition(&logits[..ids.len() * vocab], &labels);
        let targets: Vec<i32> = ids[cut + 1..].iter().map(|id| *id as i32).chain([IGNORED]).collect();
        let scored = Scored { tokens: &ids[cut..], targets: &targets, sequence_length: 0 };
        let got = session.score(&mut sequence, scored, &CancelFlag::default()).unwrap();
        assert_close(got, want, 1e-5, &format!("after {cut}"));
    }
}
