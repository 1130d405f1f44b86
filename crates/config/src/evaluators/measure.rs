//! The types of metrics and their sub types.

use serde::Serialize;

/// One value that can be measured: a sub type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Mean of −ln p over the counted tokens of all samples, in nats. Labels with this id are not counted, nor are those
    /// that the data config masks.
    Loss { ignore_index: i64 },
    /// exp of the loss.
    Perplexity { ignore_index: i64 },
    /// Milliseconds that the model takes for the first batch.
    Latency(Statistic),
    /// Milliseconds until the first token of an answer is there.
    TimeToFirstToken,
    /// Milliseconds for each further token.
    TimePerToken,
    /// Samples per second: batch size ÷ latency.
    Throughput(Statistic),
    /// Tokens of prompts per second.
    PrefillTokensPerSecond,
    /// Generated tokens per second.
    DecodeTokensPerSecond,
    /// Bytes of the model's files; of an adapter, those of the adapter.
    SizeOnDisk,
    /// Largest resident memory while the model is measured, in bytes.
    PeakMemory,
    /// Share of the questions whose right choice is the most likely one.
    ChoiceAccuracy,
    /// The same with log-likelihoods divided by the bytes of the choice.
    ChoiceAccuracyPerByte,
    /// Share of the prompts whose greedy answer is the one of the data.
    ExactMatch,
}

/// What is told of repeated measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    Avg,
    Max,
    Min,
    P50,
    P75,
    P90,
    P95,
    P99,
    P999,
}

impl Statistic {
    const ALL: [Statistic; 9] = [
        Statistic::Avg,
        Statistic::Max,
        Statistic::Min,
        Statistic::P50,
        Statistic::P75,
        Statistic::P90,
        Statistic::P95,
        Statistic::P99,
        Statistic::P999,
    ];

    fn name(self) -> &'static str {
        match self {
            Statistic::Avg => "avg",
            Statistic::Max => "max",
            Statistic::Min => "min",
            Statistic::P50 => "p50",
            Statistic::P75 => "p75",
            Statistic::P90 => "p90",
            Statistic::P95 => "p95",
            Statistic::P99 => "p99",
            Statistic::P999 => "p999",
        }
    }

    /// The quantile that it is, between 0 and 1; `None`: it is the mean.
    pub fn quantile(self) -> Option<f64> {
        Some(match self {
            Statistic::Avg => return None,
            Statistic::Min => 0.0,
            Statistic::P50 => 0.5,
            Statistic::P75 => 0.75,
            Statistic::P90 => 0.9,
            Statistic::P95 => 0.95,
            Statistic::P99 => 0.99,
            Statistic::P999 => 0.999,
            Statistic::Max => 1.0,
        })
    }
}

/// What torchmetrics ignores unless it is told otherwise.
const IGNORED: i64 = -100;

impl Measure {
    /// The name of the sub type, which is the second half of the key of a result.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Loss { .. } => "loss",
            Measure::Perplexity { .. } => "perplexity",
            Measure::Latency(statistic) | Measure::Throughput(statistic) => statistic.name(),
            Measure::TimeToFirstToken => "time_to_first_token",
            Measure::TimePerToken => "per_token",
            Measure::PrefillTokensPerSecond => "prefill_tokens_per_second",
            Measure::DecodeTokensPerSecond => "decode_tokens_per_second",
            Measure::SizeOnDisk => "bytes",
            Measure::PeakMemory => "peak_bytes",
            Measure::ChoiceAccuracy => "acc",
            Measure::ChoiceAccuracyPerByte => "acc_norm",
            Measure::ExactMatch => "exact_match",
        }
    }

    /// Whether a larger value is the better one, unless a file says otherwise.
    pub fn higher_is_better(self) -> bool {
        match self {
            Measure::Loss { .. }
            | Measure::Perplexity { .. }
            | Measure::Latency(_)
            | Measure::TimeToFirstToken
            | Measure::TimePerToken
            | Measure::SizeOnDisk
            | Measure::PeakMemory => false,
            Measure::Throughput(_)
            | Measure::PrefillTokensPerSecond
            | Measure::DecodeTokensPerSecond
            | Measure::ChoiceAccuracy
            | Measure::ChoiceAccuracyPerByte
            | Measure::ExactMatch => true,
        }
    }
}

/// The `type` of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricType {
    Accuracy,
    Latency,
    Throughput,
    SizeOnDisk,
    MultipleChoice,
    Generation,
    Memory,
}

impl MetricType {
    pub(crate) const ALL: [MetricType; 7] = [
        MetricType::Accuracy,
        MetricType::Latency,
        MetricType::Throughput,
        MetricType::SizeOnDisk,
        MetricType::MultipleChoice,
        MetricType::Generation,
        MetricType::Memory,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            MetricType::Accuracy => "accuracy",
            MetricType::Latency => "latency",
            MetricType::Throughput => "throughput",
            MetricType::SizeOnDisk => "size_on_disk",
            MetricType::MultipleChoice => "multiple_choice",
            MetricType::Generation => "generation",
            MetricType::Memory => "memory",
        }
    }

    /// Its sub types.
    pub(crate) fn measures(self) -> Vec<Measure> {
        let statistics = |measure: fn(Statistic) -> Measure| Statistic::ALL.into_iter().map(measure);
        match self {
            MetricType::Accuracy => {
                vec![Measure::Perplexity { ignore_index: IGNORED }, Measure::Loss { ignore_index: IGNORED }]
            }
            MetricType::Latency => statistics(Measure::Latency)
                .chain([Measure::TimeToFirstToken, Measure::TimePerToken])
                .collect(),
            MetricType::Throughput => statistics(Measure::Throughput)
                .chain([Measure::PrefillTokensPerSecond, Measure::DecodeTokensPerSecond])
                .collect(),
            MetricType::SizeOnDisk => vec![Measure::SizeOnDisk],
            MetricType::MultipleChoice => {
                vec![Measure::ChoiceAccuracy, Measure::ChoiceAccuracyPerByte]
            }
            MetricType::Generation => vec![Measure::ExactMatch],
            MetricType::Memory => vec![Measure::PeakMemory],
        }
    }

    /// Why there is no such sub type, for those that Olive has besides, and what there is instead.
    pub(crate) fn refusal(self, sub_type: &str) -> Option<(&'static str, &'static str)> {
        const CLASSES: (&str, &str) = (
            "it compares classes, and a text decoder gives none",
            "the type `multiple_choice` has `acc`, and `accuracy` has `perplexity`",
        );
        const SPEECH: (&str, &str) = ("it measures speech", "`accuracy` has `perplexity` and `loss`");
        const IMAGES: (&str, &str) =
            ("it compares answers about images", "the type `generation` has `exact_match`");
        if self != MetricType::Accuracy {
            return None;
        }
        match sub_type {
            "accuracy_score" | "f1_score" | "precision" | "recall" | "auroc" => Some(CLASSES),
            "wer" | "rtfx" => Some(SPEECH),
            "exact_match" | "relaxed_accuracy" | "word_sort_ratio" => Some(IMAGES),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_has_two_sub_types_of_one_name() {
        for metric in MetricType::ALL {
            let mut names: Vec<&str> = metric.measures().into_iter().map(Measure::name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{metric:?}");
            assert!(names.iter().all(|name| metric.refusal(name).is_none()), "{metric:?}");
        }
    }
}
