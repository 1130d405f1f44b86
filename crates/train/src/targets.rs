//! Which linear layers get an adapter.

use crate::error::TrainError;
use olive_arch::{Linear, Spec};
use olive_config::canonical::Targets;
use olive_decoder::whole;
use regex::Regex;

/// The layers that `targets` selects, in the order of the model; `None` selects PEFT's default for the architecture.
///
/// A name selects the modules whose path is the name or ends with a dot and the name; a pattern must match the whole
/// path, as in PEFT.
///
/// # Errors
/// A name or pattern that selects nothing, or something that is not a linear layer of the decoder.
pub fn select(spec: &Spec, targets: Option<&Targets>) -> Result<Vec<Linear>, TrainError> {
    let all: Vec<Linear> = spec.all_linears().collect();
    match targets {
        None => {
            let names = if spec.attention.packed_qkv { vec!["qkv_proj"] } else { vec!["q_proj", "v_proj"] };
            by_name(&all, &names)
        }
        Some(Targets::AllLinear) => Ok(all),
        Some(Targets::Names(names)) => by_name(&all, &names.iter().map(String::as_str).collect::<Vec<_>>()),
        Some(Targets::Pattern(pattern)) => {
            let whole = Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|e| TrainError::BadPattern { pattern: pattern.clone(), reason: e.to_string() })?;
            let selected: Vec<Linear> = all.iter().filter(|l| whole.is_match(&l.module)).cloned().collect();
            if selected.is_empty() {
                return Err(TrainError::NoSuchTarget { target: pattern.clone(), existing: existing(&all) });
            }
            Ok(selected)
        }
    }
}

fn by_name(all: &[Linear], names: &[&str]) -> Result<Vec<Linear>, TrainError> {
    let named = |linear: &Linear, name: &str| {
        linear.module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    for name in names {
        if !all.iter().any(|l| named(l, name)) {
            let (target, existing) = ((*name).to_owned(), existing(all));
            return Err(match *name {
                "lm_head" | "embed_tokens" => TrainError::NotALinearLayer { target, existing },
                _ => TrainError::NoSuchTarget { target, existing },
            });
        }
    }
    if names.is_empty() {
        return Err(TrainError::NoSuchTarget { target: String::new(), existing: existing(all) });
    }
    Ok(all.iter().filter(|l| names.iter().any(|name| named(l, name))).cloned().collect())
}

/// The modules that `names` selects to be trained whole, with their shapes: those whose path ends with a name, as in PEFT.
///
/// # Errors
/// A name that selects nothing, or something that cannot be trained whole.
pub fn select_whole(spec: &Spec, names: &[String]) -> Result<Vec<(String, Vec<usize>)>, TrainError> {
    let all = whole::candidates(spec);
    for name in names {
        let tied = spec.tied
            && !name.is_empty()
            && ["model.embed_tokens", "lm_head"].iter().any(|m| m.ends_with(name.as_str()));
        if tied {
            return Err(TrainError::Tied { module: name.clone() });
        }
        if name.is_empty() || !all.iter().any(|(module, ..)| module.ends_with(name.as_str())) {
            let mut existing: Vec<String> = Vec::new();
            for (module, ..) in &all {
                let last = module.rsplit('.').next().unwrap_or(module);
                if !existing.iter().any(|e| e == last) {
                    existing.push(last.into());
                }
            }
            return Err(TrainError::NotWhole { module: name.clone(), existing });
        }
    }
    let selected = |module: &str| names.iter().any(|name| module.ends_with(name.as_str()));
    Ok(all.into_iter().filter(|(m, ..)| selected(m)).map(|(module, _, shape)| (module, shape)).collect())
}

/// Last parts of the paths, each once.
fn existing(all: &[Linear]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for linear in all {
        if !names.iter().any(|n| n == linear.kind.name()) {
            names.push(linear.kind.name().into());
        }
    }
    names
}
