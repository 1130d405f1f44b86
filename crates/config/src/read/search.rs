//! `search_strategy`, and whether the rest of the configuration goes with it.

use super::passes::PassEntries;
use super::sets::{Sets, is_off};
use crate::evaluators::Evaluator;
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::list_names;
use crate::node::NodeValue;
use crate::origin::Era;
use crate::search::{ExecutionOrder, SEARCH, Sampler, SamplerName, Search, SearchStrategy, StrategyOptions};
use crate::values::Values;
use std::sync::Arc;

/// What a search depends on.
pub(super) struct Searched<'a, P: ?Sized> {
    pub(super) passes: &'a PassEntries<P>,
    pub(super) flows: &'a [Vec<usize>],
    /// That of the engine; `None` as well where it is wrong, which was said.
    pub(super) evaluator: Option<&'a Arc<Evaluator>>,
}

/// `None`: there is no search, or it is wrong, and that was said.
pub(super) fn read<P: ?Sized>(
    root: &Fields<'_>,
    sets: Option<Sets>,
    searched: &Searched<'_, P>,
    model_era: Era,
    findings: &mut Findings,
) -> Option<Search> {
    let found = root.found("search_strategy")?;
    if is_off(found.node) {
        return None;
    }
    if !matches!(found.node.value, NodeValue::Bool(_) | NodeValue::Object(_)) {
        let message = format!("expected true, false or an object, found {}", found.node.describe());
        findings.error(found.node.at, &found.path, message, None);
        return None;
    }
    let (strategy, values) = strategy(found, model_era, findings)?;
    let Sets { passes, unset } = sets?;
    let search = Search { strategy, passes };
    check_evaluators(root, found, strategy.order, searched, findings);
    check_space(&search, found, &values, searched, findings);
    if strategy.include_pass_params && !unset.is_empty() {
        let message = format!(
            "Olive would try values of its own for {}; here what is written is all that is tried",
            unset.join(", ")
        );
        findings.warn_hint(found.at, &found.path, message, "its values: \"SEARCHABLE_VALUES\"");
    }
    Some(search)
}

fn strategy(
    found: &GivenOption<'_>,
    model_era: Era,
    findings: &mut Findings,
) -> Option<(SearchStrategy, Values)> {
    let mut fields = match &found.node.value {
        NodeValue::Object(_) => Fields::open(found.node, &found.path, &SEARCH, findings),
        _ => Fields::empty(&found.path, found.at, &SEARCH),
    };
    let older = fields.found("search_algorithm_config").cloned();
    if let Some(older) = older
        && let NodeValue::Object(entries) = &older.node.value
    {
        fields.absorb(entries, &older.path, true, findings);
    }
    let era = fields.era().unwrap_or(model_era);
    let values = fields.resolve(era, findings);
    let options = StrategyOptions::read(&values)?;
    warn_unused(&values, &options, findings);
    let joint = options.execution_order == ExecutionOrder::Joint;
    if !joint && options.sampler == SamplerName::Halving {
        let message = "`halving` compares the trainings of all points, not pass by pass";
        let hint = "\"execution_order\": \"joint\"".to_owned();
        values.error("sampler", message, Some(hint), findings);
    }
    let sampler = match options.sampler {
        SamplerName::Sequential => Sampler::Sequential,
        SamplerName::Random => {
            Sampler::Random { seed: options.seed, with_replacement: options.with_replacement }
        }
        SamplerName::Tpe => {
            Sampler::Tpe { seed: options.seed, multivariate: options.multivariate, group: options.group }
        }
        SamplerName::Halving => Sampler::Halving { eta: options.eta, min_steps: options.min_steps },
    };
    let draws = matches!(sampler, Sampler::Random { .. } | Sampler::Tpe { .. });
    let max_samples = options.max_samples.or((era == Era::Old && draws).then_some(1));
    let strategy = SearchStrategy {
        order: options.execution_order,
        sampler,
        max_samples: max_samples.filter(|samples| *samples > 0),
        max_iter: options.max_iter.filter(|_| joint),
        max_time: options.max_time.filter(|_| joint),
        stop_when_goals_met: options.stop_when_goals_met && joint,
        output_model_num: options.output_model_num,
        include_pass_params: options.include_pass_params,
        beam: options.beam.filter(|_| !joint),
    };
    Some((strategy, values))
}

/// Says which options belong to another order or sampler.
fn warn_unused(values: &Values, options: &StrategyOptions, findings: &mut Findings) {
    const JOINT: &str = "a search of all passes at once (joint)";
    const SEEDED: &str = "the samplers random and tpe";
    let joint = options.execution_order == ExecutionOrder::Joint;
    let is = |name: SamplerName| options.sampler == name;
    for (option, used, owner) in [
        ("stop_when_goals_met", joint, JOINT),
        ("max_iter", joint, JOINT),
        ("max_time", joint, JOINT),
        ("beam", !joint, "a search pass by pass"),
        ("seed", is(SamplerName::Random) || is(SamplerName::Tpe), SEEDED),
        ("with_replacement", is(SamplerName::Random), "the sampler random"),
        ("multivariate", is(SamplerName::Tpe), "the sampler tpe"),
        ("group", is(SamplerName::Tpe), "the sampler tpe"),
        ("eta", is(SamplerName::Halving), "the sampler halving"),
        ("min_steps", is(SamplerName::Halving), "the sampler halving"),
    ] {
        if !used && values.given(option) {
            values.warn(option, format!("`{option}` is not used: it belongs to {owner}"), findings);
        }
    }
}

/// Results are compared by what an evaluator ranks: that of the last pass, or pass by pass of every one, else the engine's.
fn check_evaluators<P: ?Sized>(
    root: &Fields<'_>,
    found: &GivenOption<'_>,
    order: ExecutionOrder,
    searched: &Searched<'_, P>,
    findings: &mut Findings,
) {
    for flow in searched.flows {
        let compared = match order {
            ExecutionOrder::Joint => flow.last().map_or(&[][..], std::slice::from_ref),
            ExecutionOrder::PassByPass => flow.as_slice(),
        };
        for pass in compared.iter().filter_map(|index| searched.passes.passes.get(*index)) {
            let hint = "\"evaluator\": {\"metrics\": [{\"name\": \"ppl\", \"type\": \"accuracy\", \"data_config\": NAME, \
                        \"sub_types\": [{\"name\": \"perplexity\"}]}]}";
            let missing = || root.lacks("evaluator") && pass.evaluator.is_none();
            match pass.evaluator.as_ref().or(searched.evaluator) {
                Some(evaluator) if !evaluator.ranks() => {
                    let message = format!(
                        "a search compares values with a `priority`, and the evaluator `{}` has none",
                        evaluator.name
                    );
                    findings.error(found.at, &found.path, message, Some(format!("for example {hint}")));
                }
                None if missing() => {
                    let message = "a search needs `evaluator`, which says which result is the better one";
                    findings.error(found.at, &found.path, message, Some(format!("for example {hint}")));
                }
                _ => {}
            }
        }
    }
}

fn check_space<P: ?Sized>(
    search: &Search,
    found: &GivenOption<'_>,
    values: &Values,
    searched: &Searched<'_, P>,
    findings: &mut Findings,
) {
    let varied = search.passes.iter().flat_map(|pass| {
        let options = pass.alternatives.iter().flat_map(|alternative| &alternative.options);
        options.map(|option| format!("`{}` of `{}`", option.name, pass.name))
    });
    let varied: Vec<String> = varied.collect();
    if !search.strategy.include_pass_params && !varied.is_empty() {
        let message =
            format!("options are not varied, and there are several values for {}", varied.join(", "));
        values.error("include_pass_params", message, None, findings);
    }
    for flow in searched.flows {
        match search.space(flow).map(|space| space.len()) {
            None => {
                let message = "there are more points than a search can number";
                findings.error(found.at, &found.path, message, Some("give fewer values".into()));
            }
            Some(1) => {
                let passes = flow.iter().filter_map(|index| searched.passes.passes.get(*index));
                let names = passes.map(|pass| pass.name.as_str());
                let message = format!("nothing is varied: {} have one value each", list_names(names));
                let hint = "give an option several values, for example \"learning_rate\": [0.0001, 0.0002]";
                findings.warn_hint(found.at, &found.path, message, hint);
            }
            Some(_) => {}
        }
    }
}
