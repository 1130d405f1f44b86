//! Multiple choice, and answers word by word.

use crate::setup::{assert_close, float, onnx};
use crate::support::passes::build;
use crate::support::quickstart::base_model;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_decoder::{Decoder, SamplingOptions};
use olive_evaluate::{
    Choices, EvaluateError, Exercise, LetterCase, Question, Subject, Work, exact_match, multiple_choice,
};
use olive_model::ModelFolder;
use olive_onnx::{ModelBuilderOptions, Precision};
use olive_runtime::{Generator, Prompt, SpecialTokens};
use std::path::PathBuf;
use tempfile::TempDir;

fn question(context: &str, choices: &[&str], answer: usize) -> Question {
    let choices = choices.iter().map(|text| (*text).to_owned()).collect();
    Question { context: context.into(), choices, delimiter: " ".into(), answer }
}

/// Contexts that begin alike and not, choices of one token and of many, one whose context ends with a space.
fn questions() -> Vec<Question> {
    vec![
        question("Question: What does a baker bake?\nAnswer:", &["bread and cakes", "iron", "a song"], 0),
        question("Question: What does a baker need?\nAnswer:", &["iron", "flour and water", "a"], 1),
        question("The cow is an", &["animal", "tool", "country that lies far in the north"], 0),
        question("The hammer is a ", &["animal", "tool"], 1),
        question("Spring comes before", &["summer.", "the night", "a wonderful wonderful hammer", "rain"], 3),
        question("A country has a", &["capital", "beak", "tail"], 2),
    ]
}

fn exported(temp: &TempDir) -> PathBuf {
    build(&base_model(), ModelBuilderOptions::new(Precision::Fp32, "cpu"), &temp.path().join("onnx"))
}

fn choose(subject: &Subject, questions: &[Question], special: SpecialTokens) -> olive_core::Result<Choices> {
    let work = Work { name: "choices", events: &(), cancel: &CancelFlag::default() };
    multiple_choice(subject, questions, special, work)
}

/// ln p of every choice as lm-eval computes it: context and choice encoded as one text, every position's logits at once.
fn likelihoods(decoder: &Decoder, tokenizer: &tokenizers::Tokenizer, question: &Question) -> Vec<f64> {
    let encode = |text: &str| tokenizer.encode(text, true).unwrap().get_ids().to_vec();
    let context = encode(question.context.trim_end()).len();
    let one = |choice: &String| {
        let ids = encode(&format!("{}{}{choice}", question.context, question.delimiter));
        let logits: Vec<Vec<f32>> = decoder.all_logits(&ids).unwrap().to_vec2().unwrap();
        let log = |(row, id): (&Vec<f32>, &u32)| {
            let total: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            f64::from(row[*id as usize]) - total.ln()
        };
        logits[context - 1..].iter().zip(&ids[context..]).map(log).sum()
    };
    question.choices.iter().map(one).collect()
}

fn first_highest(values: &[f64]) -> usize {
    let best = values.iter().copied().fold(f64::MIN, f64::max);
    values.iter().position(|value| *value == best).unwrap()
}

#[test]
fn choices_are_those_of_the_likelihoods_that_are_computed_apart() {
    let folder = ModelFolder::open(&base_model()).unwrap();
    let decoder = Decoder::load(&folder, None, None, &Device::Cpu).unwrap();
    let tokenizer = folder.tokenizer().unwrap();
    let (mut right, mut right_by_bytes, mut differ) = (0, 0, 0);
    let questions = questions();
    for question in &questions {
        let all = likelihoods(&decoder, &tokenizer, question);
        let by_bytes: Vec<f64> =
            all.iter().zip(&question.choices).map(|(p, text)| p / text.len() as f64).collect();
        right += u64::from(first_highest(&all) == question.answer);
        right_by_bytes += u64::from(first_highest(&by_bytes) == question.answer);
        differ += usize::from(first_highest(&all) != first_highest(&by_bytes));
    }
    assert!(
        differ > 0 && right > 0 && right < 6,
        "the questions tell the measures apart: {right}, {right_by_bytes}"
    );
    let temp = tempfile::tempdir().unwrap();
    for subject in [float(&base_model()), onnx(&exported(&temp))] {
        let got = choose(&subject, &questions, SpecialTokens::Added).unwrap();
        assert_eq!((got.questions, got.right, got.right_by_bytes), (6, right, right_by_bytes));
        assert_close(got.acc(), right as f64 / 6.0, 1e-12, "acc");
        // Each choice in the place of the right one: exactly one of them is the model's.
        for question in &questions {
            let with = |answer| Question { answer, ..question.clone() };
            let all: Vec<Question> = (0..question.choices.len()).map(with).collect();
            let got = choose(&subject, &all, SpecialTokens::Added).unwrap();
            assert_eq!((got.right, got.right_by_bytes), (1, 1));
        }
    }
}

#[test]
fn questions_without_sense_are_named() {
    let subject = float(&base_model());
    let after = |odd: Question| [question("One is", &["a number", "a cow"], 0), odd];
    let refused = |odd| choose(&subject, &after(odd), SpecialTokens::Added).unwrap_err();
    let error = refused(question("Two is", &["a", "b"], 2));
    assert_eq!(error.to_string(), "question 1 has 2 choices, and its answer is number 2, counted from 0");
    let error = refused(question(" \n", &["a", "b"], 0));
    assert!(matches!(error.downcast_ref(), Some(EvaluateError::NoContext { index: 1, .. })), "{error}");
    let error = refused(question("Two is", &["a", ""], 0));
    assert!(
        matches!(error.downcast_ref(), Some(EvaluateError::EmptyChoice { index: 1, choice: 1 })),
        "{error}"
    );
    let error = refused(question(&"the cow ".repeat(600), &["a", "b"], 0));
    assert!(
        matches!(error.downcast_ref(), Some(EvaluateError::TooLong { index: 1, context: 1024, .. })),
        "{error}"
    );
    let error = choose(&subject, &[], SpecialTokens::Added).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
}

#[test]
fn answers_match_word_by_word() {
    let temp = tempfile::tempdir().unwrap();
    let prompt = "The baker bakes";
    let subjects = [float(&base_model()), onnx(&exported(&temp))];
    let generator = subjects[0].generator().unwrap();
    let said = said(&generator, prompt, 6);
    assert!(said.trim().len() > 5, "{said:?}");
    let exercise = |answer: String| Exercise { prompt: prompt.into(), answer };
    let upper = said.to_uppercase();
    assert_ne!(upper, said);
    let exercises =
        [exercise(format!(" {}\n", said.trim())), exercise(upper), exercise(format!("{said} and more"))];
    for subject in &subjects {
        for (case, right) in [(LetterCase::Counts, 1), (LetterCase::Ignored, 2)] {
            let work = Work { name: "answers", events: &(), cancel: &CancelFlag::default() };
            let got = exact_match(subject, &exercises, 6, case, work).unwrap();
            assert_eq!((got.exercises, got.right), (3, right));
            assert!(got.tokens > 3 && got.tokens <= 18, "{got:?}");
        }
    }
    let cancel = CancelFlag::default();
    cancel.raise();
    let work = Work { name: "answers", events: &(), cancel: &cancel };
    let stopped = exact_match(&subjects[0], &exercises, 6, LetterCase::Counts, work);
    assert!(stopped.unwrap_err().is_interruption());
}

fn said(generator: &Generator, prompt: &str, tokens: usize) -> String {
    let mut sequence = generator.new_sequence().unwrap();
    let (greedy, cancel) = (SamplingOptions::GREEDY, CancelFlag::default());
    let answer =
        generator.answer(&mut sequence, Prompt::Raw(prompt), &greedy, tokens, &cancel, &mut |_| Ok(()));
    answer.unwrap().text
}
