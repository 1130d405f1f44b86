//! The encoder of a folder, whichever files it is made of.

mod added;
mod growth;
pub(crate) mod parts;
pub(crate) mod pieces;
pub(crate) mod pre_tokenizer;
mod sentence_piece;
mod vocabulary;

pub use pre_tokenizer::written_name as pre_tokenizer_name;

use super::ModelError;
use super::stored_file::{read_json, refuse_pointer};
use olive_core::{Result, contain::contain, error::IoContext, file};
use parts::Ends;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::{PostProcessorWrapper, Tokenizer};

/// What is wrong with a file; callers add which one.
pub(crate) type Found<T> = std::result::Result<T, String>;

const JSON: &str = "tokenizer.json";

/// The form in which a folder has its tokenizer.
enum Form {
    /// `tokenizer.json`.
    Json(PathBuf),
    /// `vocab.json` and `merges.txt`.
    Vocabulary,
    /// `tokenizer.model` of SentencePiece.
    SentencePiece(PathBuf),
}

impl Form {
    fn of(dir: &Path) -> Option<Form> {
        let file = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
        if let Some(path) = file(JSON) {
            return Some(Form::Json(path));
        }
        if vocabulary::is_in(dir) {
            return Some(Form::Vocabulary);
        }
        file("tokenizer.model").map(Form::SentencePiece)
    }
}

/// Whether there is a tokenizer of any form.
pub(crate) fn is_in(dir: &Path) -> bool {
    Form::of(dir).is_some()
}

/// What a tokenizer says beside its vocabulary.
pub(crate) const CONFIG: &str = "tokenizer_config.json";

/// `tokenizer_config.json`, or an empty object.
///
/// # Errors
/// The file is there but not JSON.
pub(crate) fn config(dir: &Path) -> Result<Value> {
    Ok(read_json(&dir.join(CONFIG))?.unwrap_or_else(|| Value::Object(Default::default())))
}

/// The encoder, with the tokens that files beside it declare. Texts are encoded as they are: the lengths to which a file
/// was set when it was saved are those of another use.
///
/// # Errors
/// There is no tokenizer, or one of its files is damaged or of a kind that is not known.
pub(crate) fn open(dir: &Path) -> Result<Tokenizer> {
    let unusable = |reason: String| ModelError::Tokenizer { path: dir.to_owned(), reason };
    let form =
        Form::of(dir).ok_or_else(|| ModelError::NotAModel { path: dir.to_owned(), missing: JSON.into() })?;
    let config = config(dir)?;
    let mut tokenizer = match &form {
        Form::Json(path) => {
            let text = read(path)?;
            growth::check(&text).map_err(&unusable)?;
            // The library panics at some forms of a decoder.
            let read = contain(|| Tokenizer::from_bytes(text)).map_err(&unusable)?;
            read.map_err(|e| unusable(e.to_string()))?
        }
        Form::Vocabulary => {
            vocabulary::read(dir, &config).and_then(|file| from_text(&file)).map_err(unusable)?
        }
        Form::SentencePiece(path) => {
            sentence_piece::read(&read(path)?, &config).and_then(|file| from_text(&file)).map_err(unusable)?
        }
    };
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| unusable(e.to_string()))?;
    let known = tokenizer.get_added_tokens_decoder().into_iter().collect();
    let missing = added::missing(dir, config.clone(), &known)?;
    tokenizer.add_tokens(missing).map_err(|e| unusable(e.to_string()))?;
    if !matches!(form, Form::Json(_)) {
        surround(&mut tokenizer, &config).map_err(unusable)?;
    }
    Ok(tokenizer)
}

/// The text of a `tokenizer.json` that says all by itself: that of the file, if it does, or a new one. `None`: there is no
/// tokenizer.
///
/// # Errors
/// As [`open`].
pub(crate) fn json(dir: &Path) -> Result<Option<Vec<u8>>> {
    match Form::of(dir) {
        None => return Ok(None),
        Some(Form::Json(path)) => {
            let text = read(&path)?;
            let known = added::listed(&text)
                .map_err(|e| ModelError::Damaged { path: path.clone(), reason: e.to_string() })?;
            if added::missing(dir, config(dir)?, &known)?.is_empty() {
                return Ok(Some(text));
            }
        }
        Some(Form::Vocabulary | Form::SentencePiece(_)) => {}
    }
    let text = open(dir)?.to_string(true);
    let text = text.map_err(|e| ModelError::Tokenizer { path: dir.to_owned(), reason: e.to_string() })?;
    Ok(Some(text.into_bytes()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let content = file::read(path).at("read", path)?;
    refuse_pointer(path, &content)?;
    Ok(content)
}

/// A part of a tokenizer, by way of its text: the library's reader of texts is there anyway, and one of values would be more of the
/// program. Places in a text that nobody has are left out of what is wrong.
fn from_text<T: DeserializeOwned>(part: &Value) -> Found<T> {
    serde_json::from_slice(part.to_string().as_bytes()).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        message.strip_suffix(&place).unwrap_or(&message).to_owned()
    })
}

/// Puts begin and end around texts as `add_bos_token` and `add_eos_token` say.
fn surround(tokenizer: &mut Tokenizer, config: &Value) -> Found<()> {
    let end = |wanted: &str, name: &str| {
        let text = added::text(&config[name]).filter(|_| config[wanted] == Value::Bool(true))?;
        Some((text, tokenizer.token_to_id(text)? as usize))
    };
    let ends = Ends { bos: end("add_bos_token", "bos_token"), eos: end("add_eos_token", "eos_token") };
    tokenizer.with_post_processor(Some(from_text::<PostProcessorWrapper>(&ends.post_processor())?));
    Ok(())
}
