//! What the metrics of an evaluator demand of one another: names, and ranks from 1 on without gaps.

use super::metric::ReadMetric;
use super::sub_metric::ReadSubMetric;
use crate::evaluators::Metric;
use crate::fields::GivenOption;
use crate::findings::Findings;
use crate::names::list_names;

/// The metrics, if all could be read and fit together. `found` is the list that they stand in.
pub(super) fn check(
    read: Vec<Option<ReadMetric>>,
    found: &GivenOption<'_>,
    findings: &mut Findings,
) -> Option<Vec<Metric>> {
    let errors = findings.errors.len();
    if read.is_empty() {
        findings.error(found.node.at, &found.path, "there is no metric", None);
    }
    let mut metrics: Vec<ReadMetric> = read.into_iter().collect::<Option<_>>()?;
    for (index, metric) in metrics.iter().enumerate() {
        let name = &metric.metric.name;
        if metrics[..index].iter().any(|other| other.metric.name == *name) {
            let message =
                format!("there is already a metric `{name}`, and results have the names of metrics");
            findings.error(metric.name_at, format!("{}.name", metric.path), message, None);
        }
    }
    rank(&mut metrics, found, findings);
    for value in metrics.iter().flat_map(|metric| &metric.sub_types) {
        if let (None, Some((at, path))) = (value.value.priority, &value.goal) {
            findings.warn(*at, path, "`goal` is not used: the value has no `priority`");
        }
    }
    let metrics = metrics.into_iter().map(|ReadMetric { metric, sub_types, .. }| Metric {
        sub_types: sub_types.into_iter().map(|read| read.value).collect(),
        ..metric
    });
    (findings.errors.len() == errors).then(|| metrics.collect())
}

/// Olive's rules: the ranks are 1 to n, each once; a single value gets the first; several need ranks.
fn rank(metrics: &mut [ReadMetric], found: &GivenOption<'_>, findings: &mut Findings) {
    let mut values: Vec<&mut ReadSubMetric> =
        metrics.iter_mut().flat_map(|metric| &mut metric.sub_types).collect();
    let ranked = values.iter().filter(|value| value.value.priority.is_some()).count();
    if let [single] = values.as_mut_slice()
        && ranked == 0
    {
        single.value.priority = Some(1);
        return;
    }
    if ranked == 0 && !values.is_empty() {
        let message = "several values are measured, and none of them has a `priority`";
        let hint = format!(
            "give the value that counts most `\"priority\": 1`; measured are {}",
            list_names(values.iter().map(|value| value.value.measure.name()))
        );
        findings.error(found.node.at, &found.path, message, Some(hint));
        return;
    }
    for (index, value) in values.iter().enumerate() {
        let Some(rank) = value.value.priority else { continue };
        let (at, path) = &value.rank;
        if values[..index].iter().any(|other| other.value.priority == Some(rank)) {
            findings.error(*at, path, format!("another value has the priority {rank} already"), None);
        } else if rank as usize > ranked {
            let hint =
                if ranked == 1 { "the only one is 1".into() } else { format!("they are 1 to {ranked}") };
            let message = format!("the priorities have a gap below {rank}");
            findings.error(*at, path, message, Some(hint));
        } else if rank == 0 {
            findings.error(*at, path, "priorities begin with 1", Some("-1 is none".into()));
        }
    }
}
