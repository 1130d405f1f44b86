//! Which files are the model.

use crate::error::PublishError;
use crate::left_out::{LeftOut, Why, judge};
use crate::local_file::LocalFile;
use glob::Pattern;
use olive_core::{InnerPath, Result, error::IoContext, file};
use olive_model::MODEL_CONFIG;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What becomes of symbolic links that lead out of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// They stop the push.
    #[default]
    Inside,
    /// The files that they lead to are pushed.
    Followed,
}

/// What the user chooses of a folder.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    links: Links,
}

impl Choice {
    /// Patterns in which `*` stands for any letters, `/` among them; one that ends with `/` stands for a folder.
    ///
    /// # Errors
    /// [`PublishError::Pattern`].
    pub fn new(include: &[String], exclude: &[String], links: Links) -> Result<Choice, PublishError> {
        let parsed = |patterns: &[String]| -> Result<Vec<Pattern>, PublishError> {
            patterns.iter().map(|text| pattern(text)).collect()
        };
        Ok(Choice { include: parsed(include)?, exclude: parsed(exclude)?, links })
    }

    /// Why a file is not taken, which its name alone would leave out as `why`.
    fn verdict(&self, name: &str, why: Option<Why>) -> Option<Why> {
        let fits = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        match why {
            Some(why) if !why.can_be_included() => Some(why),
            _ if fits(&self.exclude) => Some(Why::Excluded),
            _ if fits(&self.include) => None,
            why => why.or((!self.include.is_empty()).then_some(Why::NotIncluded)),
        }
    }
}

fn pattern(text: &str) -> Result<Pattern, PublishError> {
    let whole = if text.ends_with('/') { format!("{text}*") } else { text.to_owned() };
    Pattern::new(&whole)
        .map_err(|error| PublishError::Pattern { given: text.to_owned(), reason: error.to_string() })
}

/// The files of a model, as a repository has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The folder that becomes the repository's root, or that of the file.
    pub folder: PathBuf,
    /// By name.
    pub files: Vec<LocalFile>,
    pub left_out: Vec<LeftOut>,
}

impl Package {
    /// The files of a folder or file that `olive` makes or takes: of the output folder of a run the result, with the card of
    /// the run.
    ///
    /// # Errors
    /// [`PublishError::NotThere`], [`PublishError::Nothing`], [`PublishError::Link`], [`PublishError::FileName`]; a folder that
    /// cannot be read.
    pub fn of(model: &Path, choice: &Choice) -> Result<Package> {
        let given = model.to_owned();
        let model = model.canonicalize().map_err(|_| PublishError::NotThere { path: given.clone() })?;
        if model.is_file() {
            let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let folder = model.parent().unwrap_or(&model).to_owned();
            let file = LocalFile::new(checked_name(&name, &model)?, model)?;
            return Ok(Package { folder, files: vec![file], left_out: Vec::new() });
        }
        let (folder, card) = root(&model)?;
        let mut walk =
            Walk { root: &folder, choice, of_a_run: is_of_a_run(&folder), files: vec![], left_out: vec![] };
        walk.folder(&folder, "", None)?;
        let Walk { mut files, mut left_out, .. } = walk;
        if let Some(card) = card
            && choice.verdict(CARD, None).is_none()
        {
            files.push(LocalFile::new(CARD.to_owned(), card)?);
        }
        if files.is_empty() {
            return Err(PublishError::Nothing { path: given }.into());
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        left_out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Package { folder, files, left_out })
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(LocalFile::size).sum()
    }

    /// The model card.
    pub fn card(&self) -> Option<&LocalFile> {
        self.files.iter().find(|file| file.name == CARD)
    }

    /// The base that an adapter names by a path of this machine, which leads nowhere elsewhere.
    pub fn local_base(&self) -> Option<String> {
        let config = self.files.iter().find(|file| file.name == "adapter_config.json")?;
        let config: Value = serde_json::from_slice(&config.content().ok()?).ok()?;
        let base = config["base_model_name_or_path"].as_str()?;
        let is_id =
            base.split('/').count() == 2 && !base.starts_with(['/', '.', '~']) && !Path::new(base).exists();
        (!is_id && !base.is_empty()).then(|| base.to_owned())
    }
}

const CARD: &str = "README.md";

/// The folder with the model itself, and the card that lies elsewhere.
fn root(model: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let has = |name: &str| model.join(name).is_file();
    if ["genai_config.json", "adapter_config.json", "config.json"].into_iter().any(has) {
        return Ok((model.to_owned(), None));
    }
    let merged = file::read(&model.join(MODEL_CONFIG))
        .ok()
        .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        .is_some_and(|result| result["config"]["adapter_path"].is_null());
    let inner = if !merged && has("adapter/adapter_config.json") {
        "adapter"
    } else if has("model/config.json") || has("model/genai_config.json") {
        "model"
    } else {
        return Ok((model.to_owned(), None));
    };
    let folder = model.join(inner);
    if folder.is_symlink() {
        return Err(PublishError::Link { path: folder, place: "to a folder" }.into());
    }
    let card = model.join(CARD);
    let is_wanted = card.is_file() && !card.is_symlink() && !folder.join(CARD).exists();
    Ok((folder, is_wanted.then_some(card)))
}

/// Whether a run wrote into the folder.
fn is_of_a_run(folder: &Path) -> bool {
    ["run_history.json", MODEL_CONFIG].into_iter().any(|name| folder.join(name).is_file())
        || folder.join(olive_core::RECORDS).is_dir()
}

/// A name that a repository can have.
fn checked_name(name: &str, path: &Path) -> Result<String, PublishError> {
    match InnerPath::parse(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(error) => Err(PublishError::FileName { path: path.to_owned(), reason: error.reason.to_owned() }),
    }
}

struct Walk<'a> {
    root: &'a Path,
    choice: &'a Choice,
    of_a_run: bool,
    files: Vec<LocalFile>,
    left_out: Vec<LeftOut>,
}

impl Walk<'_> {
    /// Takes what is in a folder. `why` is why all of it is left out unless somebody names it.
    fn folder(&mut self, folder: &Path, before: &str, why: Option<Why>) -> Result<()> {
        for entry in file::entries(folder).at("read", folder)? {
            let entry = entry.at("read", folder)?;
            let path = entry.path();
            let Some(last) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(PublishError::FileName { path, reason: "is not UTF-8".to_owned() }.into());
            };
            let name = format!("{before}{last}");
            let kind = entry.file_type().at("read", &path)?;
            let why = why.or(judge(&last, kind.is_dir(), self.of_a_run && before.is_empty()));
            match why {
                Some(why) if !why.can_be_included() => {
                    let name = if kind.is_dir() { format!("{name}/") } else { name };
                    self.left_out.push(LeftOut { name, why });
                }
                why if kind.is_dir() => self.inner_folder(&path, &name, why)?,
                why => self.file(path, name, why, kind.is_symlink())?,
            }
        }
        Ok(())
    }

    fn inner_folder(&mut self, path: &Path, name: &str, why: Option<Why>) -> Result<()> {
        let (files, left_out) = (self.files.len(), self.left_out.len());
        self.folder(path, &format!("{name}/"), why)?;
        if let Some(why) = why
            && self.files.len() == files
        {
            // One line for all of it.
            self.left_out.truncate(left_out);
            self.left_out.push(LeftOut { name: format!("{name}/"), why });
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf, name: String, why: Option<Why>, is_link: bool) -> Result<()> {
        if let Some(why) = self.choice.verdict(&name, why) {
            self.left_out.push(LeftOut { name, why });
            return Ok(());
        }
        if is_link {
            self.check_link(&path)?;
        } else if !path.is_file() {
            self.left_out.push(LeftOut { name, why: Why::Odd });
            return Ok(());
        }
        let name = checked_name(&name, &path)?;
        self.files.push(LocalFile::new(name, path)?);
        Ok(())
    }

    fn check_link(&self, path: &Path) -> Result<(), PublishError> {
        let refuse = |place| Err(PublishError::Link { path: path.to_owned(), place });
        match path.canonicalize() {
            Err(_) => refuse("nowhere"),
            Ok(target) if target.is_dir() => refuse("to a folder"),
            Ok(target) if !target.is_file() => refuse("to what is no file"),
            Ok(target) if self.choice.links == Links::Inside && !target.starts_with(self.root) => {
                refuse("out of the folder")
            }
            Ok(target) if self.is_left_out(&target) => refuse("to a file that is not pushed"),
            Ok(_) => Ok(()),
        }
    }

    /// Whether the name of a file in the folder, or of one above it, is that of something that is never pushed.
    fn is_left_out(&self, target: &Path) -> bool {
        let inner = target.strip_prefix(self.root).ok();
        let last = target.file_name().map(Path::new);
        let names = inner.or(last).into_iter().flat_map(Path::components);
        names.into_iter().any(|name| {
            let name = name.as_os_str().to_string_lossy();
            judge(&name, false, false).is_some_and(|why| !why.can_be_included())
        })
    }
}
