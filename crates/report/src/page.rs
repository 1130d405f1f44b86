//! The page of a run.

use crate::answers::answers;
use crate::chart::{self, Mark, Series};
use crate::curves::{Training, trainings};
use crate::format::{duration, option, real, time};
use crate::run::Run;
use crate::search::searches;
use crate::stages::Stages;
use crate::visible::visible;
use crate::words::{goal_text, not_evaluated_text};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use olive_engine::record::RunState;

/// Tells pages of this program from those of others.
pub(crate) const GENERATOR: &str = "olive report";

const STYLE: &str = include_str!("style.css");

/// A run as one page.
pub fn run_page(run: &Run) -> String {
    let title = run.title();
    let body = html! {
        (head(run, &title))
        (stages(run))
        (searches(run))
        (answers(&Stages::of(run).rows))
        @for training in trainings(&run.metrics) { (curves(&training)) }
        (warnings(run))
        (configuration(run))
        (surroundings(run))
    };
    document(&title, &body)
}

pub(crate) fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(GENERATOR);
                meta name="color-scheme" content="light dark";
                title { (title) " – olive" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    visible(&page.into_string()).into_owned()
}

pub(crate) fn state(run: &Run) -> &'static str {
    match run.record.state() {
        RunState::Running => "running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Interrupted => "interrupted",
    }
}

fn head(run: &Run, title: &str) -> Markup {
    let document = run.record.run();
    let ended = document.ended.map(|ended| duration(ended - document.started));
    html! {
        header {
            h1 { (title) }
            p.facts {
                span class={ "state " (state(run)) } { (state(run)) }
                span { (time(document.started)) }
                @if let Some(ended) = ended { span { (ended) } }
            }
            @if let Some(error) = &document.error {
                p.error { (error.message) @if let Some(hint) = &error.hint { br; (hint) } }
            }
        }
    }
}

fn stages(run: &Run) -> Markup {
    let stages = Stages::of(run);
    if stages.rows.is_empty() {
        return html! { p { "No pass came to its end." } };
    }
    html! {
        section {
            h2 { "Stages" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "model" } th.text { "pass" } th { "time" } th { "" } th { "size" }
                            @for name in &stages.metrics { th { (name) } }
                        }
                    }
                    tbody {
                        @for stage in &stages.rows {
                            tr {
                                th { (stage.name) }
                                td.text { (stage.kind()) } td { (stage.time()) } td.text { (stage.state()) }
                                td { (stage.size()) }
                                @for name in &stages.metrics {
                                    td { (stage.metric(name).unwrap_or_else(|| "–".into())) }
                                }
                            }
                        }
                    }
                }
            }
            (goals(run))
        }
    }
}

fn goals(run: &Run) -> Markup {
    let goals = run.evaluations().flat_map(|e| e.goals.iter().map(move |goal| (&e.model, goal)));
    let missing = run.evaluations().filter_map(not_evaluated_text);
    let items: Vec<Markup> = goals
        .map(|(model, goal)| html! { li class=(if goal.met { "met" } else { "missed" }) { (goal_text(model, goal)) } })
        .chain(missing.map(|text| html! { li.missed { (text) } }))
        .collect();
    html! {
        @if !items.is_empty() { ul.goals { @for item in items { (item) } } }
    }
}

fn curves(training: &Training) -> Markup {
    let series = |name, curve, mark| Series { name, curve, mark };
    let line = |name, curve| chart::lines(&[series(name, curve, Mark::Line)]);
    let losses =
        [series("training", &training.loss, Mark::Line), series("held out", &training.held_out, Mark::Dots)];
    let charts = [
        ("Loss", chart::lines(&losses)),
        ("Learning rate", line("learning rate", &training.learning_rate)),
        ("Gradient norm", line("gradient norm", &training.gradient_norm)),
        ("Tokens per second", line("tokens per second", &training.tokens_per_second)),
    ];
    html! {
        section {
            h2 { "Training of " (training.pass) }
            p.facts {
                @if let Some(loss) = training.loss.last() { span { "last loss " (real(loss)) } }
                @if let Some(loss) = training.held_out.lowest() { span { "best held-out loss " (real(loss)) } }
            }
            div.charts {
                @for (title, svg) in charts {
                    @if let Some(svg) = svg { figure { figcaption { (title) } (svg) } }
                }
            }
        }
    }
}

/// The losses of several runs in one chart each for training and held-out rows.
pub(crate) fn curves_of(runs: &[Run]) -> Markup {
    let trained: Vec<(String, Vec<Training>)> =
        runs.iter().map(|run| (run.name.clone(), trainings(&run.metrics))).collect();
    let all =
        || trained.iter().flat_map(|(name, trainings)| trainings.iter().map(move |t| (name.as_str(), t)));
    let losses: Vec<Series> =
        all().map(|(name, training)| Series { name, curve: &training.loss, mark: Mark::Line }).collect();
    let held_out: Vec<Series> =
        all().map(|(name, training)| Series { name, curve: &training.held_out, mark: Mark::Dots }).collect();
    let charts = [("Loss", chart::lines(&losses)), ("Held-out loss", chart::lines(&held_out))];
    html! {
        div.charts {
            @for (title, svg) in charts {
                @if let Some(svg) = svg { figure { figcaption { (title) } (svg) } }
            }
        }
    }
}

fn warnings(run: &Run) -> Markup {
    html! {
        @if !run.warnings.is_empty() {
            section {
                h2 { "Warnings" }
                ul { @for warning in &run.warnings { li { (warning) } } }
            }
        }
    }
}

fn configuration(run: &Run) -> Markup {
    let steps = run.plan.iter().flat_map(|plan| &plan.flows).flat_map(|flow| &flow.steps);
    html! {
        section {
            h2 { "Configuration" }
            @if let Some(plan) = &run.plan {
                details { summary { "input model" } pre { (format!("{:#}", plan.input_model)) } }
            }
            @for step in steps {
                details {
                    summary { (step.pass) " – " (step.r#type) }
                    div.scroll {
                        table {
                            thead { tr { th { "option" } th.text { "value" } th.text { "from" } } }
                            tbody {
                                @for resolved in &step.resolved {
                                    tr {
                                        th { (resolved.name) }
                                        td.text { (option(&resolved.value)) }
                                        td.text { (resolved.origin) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn surroundings(run: &Run) -> Markup {
    let document = run.record.run();
    let detail = run.evaluations().map(|evaluation| &evaluation.detail).last();
    let runtime = run.evaluations().find_map(|evaluation| evaluation.detail.versions.onnxruntime.as_ref());
    let facts = [
        ("olive", Some(document.olive_version.clone())),
        ("ONNX Runtime", runtime.cloned()),
        ("machine", document.host.clone()),
        ("processor", detail.and_then(|detail| detail.machine.as_ref()?.cpu.clone())),
        ("threads", detail.and_then(|detail| Some(detail.machine.as_ref()?.threads.to_string()))),
        ("device", Some(document.device.clone())),
        ("configuration", document.config.clone()),
        ("record", Some(document.id.clone())),
    ];
    html! {
        section {
            h2 { "Versions and machine" }
            dl {
                @for (name, value) in facts {
                    @if let Some(value) = value { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}
