//! Which matrices of a checkpoint become codes, and how.

use super::error::QuantiseError;
use olive_arch::{LinearKind, Spec};
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_model::{Checkpoint, ModelFolder, QuantisationSettings};
use olive_model::{ModuleSettings, NewCodes};
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What an option or a note says of a module; what it leaves out is the default's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// −1: the whole row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_size: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric: Option<bool>,
}

/// What SelectiveMixedPrecision leaves for the quantisers after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Note {
    pub default: Override,
    pub overrides: BTreeMap<String, Override>,
}

impl Note {
    /// The note in a folder, if there is one.
    ///
    /// # Errors
    /// A file that is no note.
    pub fn read(dir: &Path) -> Result<Option<Note>> {
        let path = dir.join(ModelFolder::NOTE);
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(QuantiseError::Note { path, reason: e.to_string() }.into()),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(note) => Ok(Some(note)),
                Err(e) => Err(QuantiseError::Note { path, reason: e.to_string() }.into()),
            },
        }
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(ModelFolder::NOTE);
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        std::fs::write(&path, text).map_err(|e| QuantiseError::Note { path, reason: e.to_string() }.into())
    }
}

/// What a pass was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub default: ModuleSettings,
    pub overrides: BTreeMap<String, Override>,
    pub lm_head: bool,
    pub embeds: bool,
}

/// What becomes of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub new: Vec<NewCodes>,
    /// What the new `config.json` says.
    pub settings: QuantisationSettings,
    /// A float head that was the embedding, which is quantised: it needs a matrix of its own.
    pub split_head: bool,
}

pub(crate) const EMBEDDING_MODULE: &str = "model.embed_tokens";

impl Override {
    fn over(&self, default: ModuleSettings) -> ModuleSettings {
        ModuleSettings {
            bits: self.bits.unwrap_or(default.bits),
            symmetric: self.symmetric.unwrap_or(default.symmetric),
            group: match self.group_size {
                None => default.group,
                Some(size) => usize::try_from(size).ok().filter(|size| *size > 0),
            },
        }
    }

    fn under(self, stronger: Override) -> Override {
        Override {
            bits: stronger.bits.or(self.bits),
            group_size: stronger.group_size.or(self.group_size),
            symmetric: stronger.symmetric.or(self.symmetric),
        }
    }
}

impl Plan {
    /// What `wanted` makes of the model, after what `note` says about it.
    ///
    /// # Errors
    /// Settings that do not exist or do not fit a matrix, a matrix that is missing.
    pub fn new(
        folder: &ModelFolder,
        checkpoint: &Checkpoint,
        wanted: &Wanted,
        note: Option<&Note>,
        events: &dyn EventSink,
    ) -> Result<Plan> {
        let spec = folder.spec()?;
        let wanted = noted(wanted, note, events);
        let existing = folder.quantisation()?;
        let mut planner = Planner { spec: &spec, checkpoint, wanted: &wanted, chosen: BTreeMap::new() };
        planner.layers()?;
        let own_matrix =
            |name: &str| checkpoint.get(name).is_some_and(|tensor| tensor.neighbour_groups().is_none());
        let shared = spec.tied;
        if wanted.embeds && own_matrix(Spec::EMBEDDING) {
            planner.choose(EMBEDDING_MODULE, Spec::EMBEDDING)?;
        }
        if wanted.lm_head && own_matrix(spec.head_name()) {
            planner.choose(Spec::HEAD_MODULE, spec.head_name())?;
        }
        let mut chosen = planner.chosen;
        warn_of_unknown(&wanted.overrides, &chosen, &spec, events);
        let of = |module: &str| {
            chosen.iter().find(|(name, _)| *name == module).map(|(_, (_, settings))| *settings)
        };
        let (head, embedding) = (of(Spec::HEAD_MODULE), of(EMBEDDING_MODULE));
        let tied = shared && head.is_some() && head == embedding;
        if tied {
            chosen.remove(Spec::HEAD_MODULE);
        }
        let default = existing.as_ref().map_or(wanted.default, |existing| existing.default);
        let mut overrides = existing.as_ref().map(|existing| existing.overrides.clone()).unwrap_or_default();
        for (module, (_, settings)) in &chosen {
            overrides.insert(module.clone(), *settings);
        }
        if let Some(settings) = head {
            overrides.insert(Spec::HEAD_MODULE.to_owned(), settings);
        }
        overrides.retain(|_, settings| *settings != default);
        let before = |of: fn(&QuantisationSettings) -> bool| existing.as_ref().is_some_and(of);
        let settings = QuantisationSettings {
            default,
            overrides,
            lm_head: head.is_some() || before(|settings| settings.lm_head),
            embeds: embedding.is_some() || before(|settings| settings.embeds),
            tied: tied || before(|settings| settings.tied),
        };
        let new =
            chosen.into_iter().map(|(module, (tensor, settings))| NewCodes { module, tensor, settings });
        Ok(Plan { new: new.collect(), settings, split_head: shared && embedding.is_some() && head.is_none() })
    }
}

/// `wanted` as a note changes it.
fn noted(wanted: &Wanted, note: Option<&Note>, events: &dyn EventSink) -> Wanted {
    let Some(note) = note else { return wanted.clone() };
    let default = note.default.over(wanted.default);
    let mut replaced = Vec::new();
    if default.bits != wanted.default.bits {
        replaced.push(format!("`bits` {} by {}", wanted.default.bits, default.bits));
    }
    if default.group != wanted.default.group {
        let size = |group: Option<usize>| group.map_or(-1, |group| group as i64);
        replaced.push(format!("`group_size` {} by {}", size(wanted.default.group), size(default.group)));
    }
    if default.symmetric != wanted.default.symmetric {
        replaced.push(format!("`sym` {} by {}", wanted.default.symmetric, default.symmetric));
    }
    if !replaced.is_empty() {
        let message = format!("SelectiveMixedPrecision, which ran before, replaces {}", replaced.join(", "));
        events.emit(Event::Info { message });
    }
    let mut overrides = note.overrides.clone();
    for (module, stronger) in &wanted.overrides {
        let weaker = overrides.get(module).copied().unwrap_or_default();
        overrides.insert(module.clone(), weaker.under(*stronger));
    }
    Wanted { default, overrides, ..wanted.clone() }
}

struct Planner<'a> {
    spec: &'a Spec,
    checkpoint: &'a Checkpoint,
    wanted: &'a Wanted,
    /// By module: the tensor, and what becomes of it.
    chosen: BTreeMap<String, (String, ModuleSettings)>,
}

impl Planner<'_> {
    fn settings(&self, module: &str) -> ModuleSettings {
        let default = self.wanted.default;
        self.wanted.overrides.get(module).map_or(default, |own| own.over(default))
    }

    fn layers(&mut self) -> Result<()> {
        for layer in 0..self.spec.num_layers() {
            let mut inputs = Vec::new();
            for linear in self.spec.linears(layer) {
                let (module, tensor) = (linear.module.clone(), linear.weight_name());
                let attention = matches!(linear.kind, LinearKind::Q | LinearKind::K | LinearKind::V);
                match self.checkpoint.tensor(&tensor)?.neighbour_groups() {
                    Some(groups) if attention => inputs.push((module, Some(groups.settings))),
                    Some(_) => {}
                    None => {
                        self.choose(&module, &tensor)?;
                        if attention {
                            inputs.push((module, None));
                        }
                    }
                }
            }
            self.unify(&inputs);
        }
        Ok(())
    }

    /// Queries, keys and values have one setting: that of a member that is quantised already, else the most precise.
    fn unify(&mut self, inputs: &[(String, Option<ModuleSettings>)]) {
        let written = inputs.iter().find_map(|(_, settings)| *settings);
        let group = |settings: &ModuleSettings| settings.group.unwrap_or(usize::MAX);
        let mine =
            inputs.iter().filter_map(|(module, _)| self.chosen.get(module)).map(|(_, settings)| *settings);
        let most = mine.min_by_key(|settings| (std::cmp::Reverse(settings.bits), group(settings)));
        let Some(best) = written.or(most) else { return };
        for (module, _) in inputs {
            if let Some((_, settings)) = self.chosen.get_mut(module) {
                *settings = best;
            }
        }
    }

    fn choose(&mut self, module: &str, tensor: &str) -> Result<()> {
        let settings = self.settings(module);
        let refuse = |reason: String| QuantiseError::Settings { module: module.to_owned(), reason };
        settings.check().map_err(refuse)?;
        let width = self.checkpoint.tensor(tensor)?.shape.last().copied().unwrap_or_default();
        if let Some(group) = settings.group.filter(|group| !width.is_multiple_of(*group)) {
            return Err(
                refuse(format!("`group_size` {group} does not divide its rows of {width} weights")).into()
            );
        }
        self.chosen.insert(module.to_owned(), (tensor.to_owned(), settings));
        Ok(())
    }
}

/// Names in `overrides` that are no modules of the model.
fn warn_of_unknown(
    overrides: &BTreeMap<String, Override>,
    chosen: &BTreeMap<String, (String, ModuleSettings)>,
    spec: &Spec,
    events: &dyn EventSink,
) {
    let linears = (0..spec.num_layers()).flat_map(|layer| spec.linears(layer)).map(|linear| linear.module);
    let known: Vec<String> =
        linears.chain([Spec::HEAD_MODULE, EMBEDDING_MODULE].map(str::to_owned)).collect();
    for module in overrides.keys().filter(|module| !chosen.contains_key(*module) && !known.contains(module)) {
        let nearest = olive_config::nearest(module, known.iter().map(String::as_str));
        let meant = nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default();
        events.emit(Event::Warning {
            message: format!("`overrides` names `{module}`, which the model does not have{meant}"),
        });
    }
}
