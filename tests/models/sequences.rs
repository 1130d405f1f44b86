//! Several sequences of one model, whose answers do not depend on each other.

use crate::support::models::families;
use crate::support::runtime::library;
use crate::support::tiny_model;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_decoder::{Continuation, Decoder, Feed, LanguageModel, Limits, SamplingOptions, generate};
use olive_model::adapter::LoraPair;
use olive_model::{Adapter, ModelFolder};
use olive_onnx::{BuildOptions, Weights, build};
use olive_onnx::{ModelBuilderOptions, Precision};
use olive_runtime::{CacheMode, OnnxSequence, OnnxSession};
use std::path::{Path, PathBuf};

/// Prompts, and the seeds of their answers.
const QUESTIONS: [(&[u32], u64); 3] = [(&[1, 20, 30, 40], 7), (&[1, 9, 8, 7, 6, 5], 11), (&[1, 20], 7)];
const NEW_TOKENS: usize = 24;

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

fn float(model: &Path) -> Decoder {
    Decoder::load(&ModelFolder::open(model).unwrap(), None, None, &Device::Cpu).unwrap()
}

/// The ONNX form of a model, in `dir`, with an adapter beside it or without.
fn onnx(model: &Path, adapter: Option<&Adapter>, dir: &Path) {
    let folder = ModelFolder::open(model).unwrap();
    let checkpoint = folder.checkpoint().unwrap();
    let options = BuildOptions::new(&ModelBuilderOptions::new(Precision::Fp32, "cpu")).unwrap();
    let weights = Weights { source: &checkpoint, adapter };
    build(&folder, weights, &options, None, dir, &CancelFlag::default(), &()).unwrap();
}

/// An adapter on the queries of the first layer that changes what the model says; none where queries have no matrix of their own.
fn adapter(model: &Path) -> Option<Adapter> {
    let spec = ModelFolder::open(model).unwrap().spec().unwrap();
    let linear = spec.all_linears().find(|linear| linear.module.ends_with("q_proj"))?;
    let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<f32>>();
    let pair = LoraPair {
        a: wave(2 * linear.in_features),
        b: wave(2 * linear.out_features),
        rank: 2,
        in_features: linear.in_features,
        out_features: linear.out_features,
        scale: 4.0,
        magnitude: None,
    };
    Some(Adapter { modules: [(linear.module, pair)].into(), ..tiny_model::adapter(&[]) })
}

fn sampled(seed: u64) -> SamplingOptions {
    SamplingOptions { temperature: 0.9, top_k: Some(40), seed, ..SamplingOptions::GREEDY }
}

fn limits() -> Limits {
    Limits { max_new_tokens: NEW_TOKENS, context_length: 100, stop: [].into() }
}

fn alone<M: LanguageModel>(model: &M, prompt: &[u32], seed: u64) -> Vec<u32> {
    let mut sequence = model.new_sequence().unwrap();
    let cancel = CancelFlag::default();
    generate(model, &mut sequence, prompt, &sampled(seed), limits(), &cancel, &mut |_| Ok(())).unwrap().ids
}

/// Feeds all sequences in one call, token by token.
fn together<M: LanguageModel>(model: &M) -> Vec<Vec<u32>> {
    let mut sequences: Vec<M::Sequence> = QUESTIONS.iter().map(|_| model.new_sequence().unwrap()).collect();
    let mut answers: Vec<Continuation> = QUESTIONS
        .iter()
        .zip(&mut sequences)
        .map(|((prompt, seed), of)| {
            Continuation::begin(model, of, prompt, &sampled(*seed), limits()).unwrap()
        })
        .collect();
    while answers.iter().all(|answer| answer.pending().is_some()) {
        let mut feeds: Vec<Feed<'_, M::Sequence>> = sequences
            .iter_mut()
            .zip(&answers)
            .map(|(sequence, answer)| Feed { sequence, tokens: answer.pending().unwrap() })
            .collect();
        let logits = model.feed_all(&mut feeds);
        drop(feeds);
        for (answer, logits) in answers.iter_mut().zip(logits) {
            answer.advance(logits.unwrap()).unwrap();
        }
    }
    answers.into_iter().map(|answer| answer.into_generation().ids).collect()
}

fn check<M: LanguageModel>(model: &M) {
    let expected: Vec<Vec<u32>> =
        QUESTIONS.iter().map(|(prompt, seed)| alone(model, prompt, *seed)).collect();
    assert!(expected.iter().all(|ids| ids.len() == NEW_TOKENS));
    assert_ne!(expected[0], expected[1]);
    assert_eq!(together(model), expected);
}

#[test]
fn float_sequences_take_turns() {
    // Windows and two rotations; and factors that change with the length.
    for family in ["gemma3", "phi4mini"] {
        check(&float(&tiny(family)));
    }
}

#[test]
fn onnx_sequences_take_turns() {
    let library = library();
    for family in ["gemma3", "phi4mini"] {
        let temp = tempfile::tempdir().unwrap();
        onnx(&tiny(family), None, temp.path());
        for mode in [CacheMode::Auto, CacheMode::Moved] {
            check(&OnnxSession::open(temp.path(), None, &library, mode).unwrap());
        }
    }
}

/// One run for several sequences, which join, leave, go back and go on alone in between.
#[test]
fn onnx_sequences_run_together() {
    let (library, temp) = (library(), tempfile::tempdir().unwrap());
    onnx(&tiny("llama31"), None, temp.path());
    let session = OnnxSession::open(temp.path(), None, &library, CacheMode::Auto).unwrap();
    // What kernels of other processors round is theirs to decide.
    let same = session.allow_batches(3, 100).unwrap();
    assert!(same || !cfg!(target_arch = "x86_64"));
    check(&session);

    let fed = |tokens: &[u32]| session.feed(&mut session.new_sequence().unwrap(), tokens).unwrap();
    let mut sequences: Vec<OnnxSequence> = (0..3).map(|_| session.new_sequence().unwrap()).collect();
    let mut held: Vec<Vec<u32>> = vec![vec![1, 20, 30], vec![1, 9], vec![1, 50, 40, 60, 70]];
    for (sequence, tokens) in sequences.iter_mut().zip(&held) {
        session.feed(sequence, tokens).unwrap();
    }
    for (step, members) in
        [vec![0, 1, 2], vec![0, 1, 2], vec![0, 2], vec![2], vec![0, 1, 2], vec![1, 2]].into_iter().enumerate()
    {
        let token = [80 + step as u32];
        if step == 4 {
            // Another past than the one that the others saw it with.
            session.truncate(&mut sequences[0], 2).unwrap();
            held[0].truncate(2);
        }
        let mut feeds: Vec<Feed<'_, OnnxSequence>> = sequences
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| members.contains(index))
            .map(|(_, sequence)| Feed { sequence, tokens: &token })
            .collect();
        let logits = session.feed_all(&mut feeds);
        for (index, logits) in members.into_iter().zip(logits) {
            held[index].push(token[0]);
            let (got, wanted) = (logits.unwrap(), fed(&held[index]));
            let apart = got.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "step {step}, sequence {index}: {apart}");
        }
    }
}

/// A graph that chooses rotations by the longest sequence would give others another answer in its company.
#[test]
fn sequences_whose_rotations_depend_on_the_longest_run_alone() {
    let (library, temp) = (library(), tempfile::tempdir().unwrap());
    onnx(&tiny("phi4mini"), None, temp.path());
    // Without the model's own configuration only the graph knows.
    std::fs::remove_file(temp.path().join("config.json")).ok();
    let session = OnnxSession::open(temp.path(), None, &library, CacheMode::Auto).unwrap();
    assert!(!session.allow_batches(3, 200).unwrap());
}

/// A server holds one model and gives every connection a sequence.
#[test]
fn models_are_shared_between_threads() {
    fn shareable<M: LanguageModel + Sync>(model: &M)
    where
        M::Sequence: Send,
    {
        let expected: Vec<Vec<u32>> =
            QUESTIONS.iter().map(|(prompt, seed)| alone(model, prompt, *seed)).collect();
        let answers = std::thread::scope(|scope| {
            let threads: Vec<_> = QUESTIONS
                .iter()
                .map(|(prompt, seed)| scope.spawn(move || alone(model, prompt, *seed)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(answers, expected);
    }
    let model = tiny("llama31");
    shareable(&float(&model));
    let temp = tempfile::tempdir().unwrap();
    onnx(&model, None, temp.path());
    shareable(&OnnxSession::open(temp.path(), None, &library(), CacheMode::Auto).unwrap());
}

#[test]
fn every_onnx_sequence_has_an_adapter_of_its_own() {
    let (model, temp) = (tiny("llama31"), tempfile::tempdir().unwrap());
    onnx(&model, adapter(&model).as_ref(), temp.path());
    for mode in [CacheMode::Auto, CacheMode::Moved] {
        let session = OnnxSession::open(temp.path(), None, &library(), mode).unwrap();
        let trained = session.load_adapter(&temp.path().join("adapter_weights.onnx_adapter")).unwrap();
        let plain = || session.new_sequence().unwrap();
        let adapted = || session.new_sequence_with(Some(trained.clone())).unwrap();
        let feed = |sequence: &mut OnnxSequence, tokens: &[u32]| session.feed(sequence, tokens).unwrap();
        let expected = [plain(), adapted()].map(|mut alone| feed(&mut alone, &[1, 20, 30, 40]));
        assert_ne!(expected[0], expected[1], "the adapter changes nothing");
        let (mut a, mut b) = (plain(), adapted());
        for tokens in [[1, 20], [30, 40]] {
            let got = [feed(&mut a, &tokens), feed(&mut b, &tokens)];
            if tokens == [30, 40] {
                for (got, expected) in got.iter().zip(&expected) {
                    let apart = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(apart < 1e-4, "{mode:?}: {apart}");
                }
            }
        }
    }
}

/// Greedy tokens of sequences that are fed together, in groups that change.
fn greedy_in_company(model: &Decoder, prompts: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let mut sequences: Vec<_> = prompts.iter().map(|_| model.new_sequence().unwrap()).collect();
    let best =
        |logits: Vec<f32>| (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32;
    let mut texts: Vec<Vec<u32>> = Vec::new();
    for (sequence, prompt) in sequences.iter_mut().zip(prompts) {
        texts.push(vec![best(model.feed(sequence, prompt).unwrap())]);
    }
    for step in 0..12 {
        let takes_part = |index: usize| !(step + index).is_multiple_of(5);
        let last: Vec<[u32; 1]> = texts.iter().map(|text| [*text.last().unwrap()]).collect();
        let feeds = sequences.iter_mut().zip(&last).enumerate().filter(|(index, _)| takes_part(*index));
        let mut feeds: Vec<_> = feeds.map(|(_, (sequence, tokens))| Feed { sequence, tokens }).collect();
        let logits = model.feed_all(&mut feeds);
        let members = (0..texts.len()).filter(|index| takes_part(*index)).collect::<Vec<_>>();
        for (index, logits) in members.into_iter().zip(logits) {
            texts[index].push(best(logits.unwrap()));
        }
    }
    texts
}

/// Float models compute a token of all sequences at a time, with the numbers of each alone, whatever the family.
#[test]
fn float_models_answer_together_as_they_do_alone() {
    for family in families() {
        let name = family.display();
        let mut model = float(&family);
        let prompts: Vec<Vec<u32>> = (1..=7u32).map(|n| (n..3 * n + 2).collect()).collect();
        for adapted in [false, true] {
            if adapted {
                let Some(adapter) = adapter(&family) else { continue };
                model.attach(&adapter).unwrap();
            }
            let alone = greedy_in_company(&model, &prompts);
            assert!(model.allow_batches(7).unwrap(), "{name}: takes turns");
            assert_eq!(greedy_in_company(&model, &prompts), alone, "{name}, adapter: {adapted}");
            check(&model);
            assert!(!model.allow_batches(1).unwrap());
        }
    }
}
