//! Several runs side by side.

use crate::curves::{Training, trainings};
use crate::format::{duration, number, option, real, time};
use crate::page;
use crate::run::Run;
use crate::words::model_name;
use maud::html;
use std::collections::BTreeMap;

/// A table with one column per run.
pub struct Comparison {
    /// Names of the runs.
    pub runs: Vec<String>,
    /// What is said of every run; the first row of a group of rows has its title.
    pub rows: Vec<ComparisonRow>,
}

/// A row of a [`Comparison`].
pub struct ComparisonRow {
    pub group: &'static str,
    pub name: String,
    /// `None`: the run does not have it.
    pub values: Vec<Option<String>>,
}

impl Comparison {
    /// How runs ended, the options in which they differ, what their trainings came to, and what was measured.
    pub fn of(runs: &[Run]) -> Comparison {
        let mut rows = Vec::new();
        let mut row = |group, name: String, values: Vec<Option<String>>| {
            if values.iter().any(Option::is_some) {
                rows.push(ComparisonRow { group, name, values });
            }
        };
        let each = |value: &dyn Fn(&Run) -> Option<String>| runs.iter().map(value).collect::<Vec<_>>();
        row("run", "started".into(), each(&|run| Some(time(run.record.run().started))));
        row("run", "ended as".into(), each(&|run| Some(page::state(run).to_owned())));
        row(
            "run",
            "time of all passes".into(),
            each(&|run| Some(duration(run.steps().map(|s| s.seconds).sum()))),
        );
        for (name, values) in differing_options(runs) {
            row("options that differ", name, values);
        }
        let trained: Vec<Vec<Training>> = runs.iter().map(|run| trainings(&run.metrics)).collect();
        for pass in in_order(trained.iter().flatten().map(|training| training.pass)) {
            let of = |value: &dyn Fn(&Training) -> Option<f64>| -> Vec<Option<String>> {
                let find =
                    |all: &Vec<Training>| all.iter().find(|training| training.pass == pass).and_then(value);
                trained.iter().map(|all| find(all).map(real)).collect()
            };
            row("training", format!("{pass}: last loss"), of(&|t| t.loss.last()));
            row("training", format!("{pass}: best held-out loss"), of(&|t| t.held_out.lowest()));
            row("training", format!("{pass}: tokens/s at the end"), of(&|t| t.tokens_per_second.last()));
        }
        let measured: Vec<BTreeMap<String, String>> = runs.iter().map(measured).collect();
        for name in in_order(measured.iter().flat_map(|values| values.keys().map(String::as_str))) {
            let values = measured.iter().map(|values| values.get(name).cloned()).collect();
            row("measured", name.to_owned(), values);
        }
        Comparison { runs: runs.iter().map(|run| run.name.clone()).collect(), rows }
    }
}

/// Names, each once, in the order of their first use.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// What was measured of a run's models, by model and value.
fn measured(run: &Run) -> BTreeMap<String, String> {
    let values = run.evaluations().flat_map(|evaluation| {
        let model = model_name(&evaluation.model);
        evaluation
            .metrics
            .iter()
            .map(move |(name, value)| (format!("{model}: {name}"), number(name, value.value)))
    });
    values.collect()
}

fn differing_options(runs: &[Run]) -> Vec<(String, Vec<Option<String>>)> {
    let options: Vec<Vec<(String, String)>> = runs
        .iter()
        .map(|run| run.options().into_iter().map(|(name, value)| (name, option(&value))).collect())
        .collect();
    let names = in_order(options.iter().flatten().map(|(name, _)| name.as_str()));
    let rows = names.into_iter().map(|name| {
        let of =
            |all: &Vec<(String, String)>| all.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
        (name.to_owned(), options.iter().map(of).collect::<Vec<_>>())
    });
    rows.filter(|(_, values)| values.iter().any(|value| *value != values[0])).collect()
}

/// Several runs as one page.
pub fn compare_page(runs: &[Run]) -> String {
    let comparison = Comparison::of(runs);
    let body = html! {
        h1 { "Runs side by side" }
        div.scroll {
            table {
                thead {
                    tr { th { "" } @for run in &comparison.runs { th { (run) } } }
                }
                @for rows in comparison.rows.chunk_by(|a, b| a.group == b.group) {
                    tbody {
                        tr.group { th colspan=(comparison.runs.len() + 1) { (rows[0].group) } }
                        @for row in rows {
                            tr {
                                th { (row.name) }
                                @for value in &row.values { td { (value.as_deref().unwrap_or("–")) } }
                            }
                        }
                    }
                }
            }
        }
        (page::curves_of(runs))
    };
    page::document("Runs side by side", &body)
}
