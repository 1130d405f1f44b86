//! A survey of data for people.

use super::output::{self, Emphasis};
use crate::report::wrap;
use olive_config::DataConfig;
use olive_core::Result;
use olive_data::{Piece, Survey};

/// A dataset, and what it is used for.
pub(super) struct Surveyed {
    pub(super) config: DataConfig,
    pub(super) purpose: &'static str,
    pub(super) survey: Survey,
    /// What is odd about it.
    pub(super) warnings: Vec<String>,
}

/// Rows of some lengths.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) from: usize,
    pub(super) below: usize,
    pub(super) rows: usize,
}

/// At most so many bins, of a width that people count in, from the shortest to the longest.
pub(super) fn bins(lengths: &[usize]) -> Vec<Bin> {
    const MOST: usize = 12;
    let (Some(shortest), Some(longest)) = (lengths.iter().min(), lengths.iter().max()) else {
        return Vec::new();
    };
    let mut widths = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.saturating_pow(power)));
    let width = widths.find(|width| longest / width - shortest / width < MOST).unwrap_or(usize::MAX);
    let bin = |index: usize| {
        let (from, below) = (index * width, (index + 1) * width);
        Bin { from, below, rows: lengths.iter().filter(|length| (from..below).contains(*length)).count() }
    };
    (shortest / width..=longest / width).map(bin).collect()
}

/// The length that this share of the rows does not exceed.
pub(super) fn quantile(lengths: &[usize], share: f64) -> Option<usize> {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    sorted.get((share * last as f64).round() as usize).copied()
}

/// What counts, as configurations have it.
pub(super) fn loss_on(one: &Surveyed) -> &'static str {
    let asked = one.config.pre_process.loss_on.map(|loss_on| loss_on.name());
    one.survey.chat.as_ref().map_or(asked.unwrap_or("all"), |chat| chat.loss_on.name())
}

pub(super) fn print(one: &Surveyed) -> Result<()> {
    let columns = wrap::columns(std::io::stdout()).unwrap_or(80);
    for line in facts(one) {
        output::result(&line)?;
    }
    for line in histogram(&bins(&one.survey.lengths), columns) {
        output::result(&line)?;
    }
    for (index, example) in one.survey.examples.iter().enumerate() {
        output::result(&format!("\nsample {}", index + 1))?;
        let emphasis = |piece: &Piece| if piece.weight > 0.0 { Emphasis::Learned } else { Emphasis::None };
        output::emphasised(example.iter().map(|piece| (emphasis(piece), piece.text.as_str())))?;
    }
    Ok(())
}

/// What there is to say before the lengths.
fn facts(one: &Surveyed) -> Vec<String> {
    let Surveyed { config, purpose, survey, warnings } = one;
    let field = |name: &str, value: String| format!("  {name:<10}{value}");
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let format = survey.chat.as_ref().map_or("texts", |chat| chat.found.format.name());
    let tokens: usize = survey.lengths.iter().sum();
    let limit = config.pre_process.max_seq_len;
    let longer = survey.lengths.iter().filter(|length| **length > limit).count();
    let mut lines = vec![
        format!("{} ({purpose}): {format}", config.name),
        field("rows", format!("{}, of which {} cannot be learned", survey.rows, survey.bad.len())),
        field(
            "tokens",
            format!(
                "{tokens}, {:.0} % of them in the loss ({})",
                share(survey.counted, tokens),
                loss_on(one)
            ),
        ),
        field("samples", format!("{} of at most {limit} tokens", survey.dataset.samples.len())),
    ];
    if let (Some(median), Some(longest)) = (quantile(&survey.lengths, 0.5), survey.lengths.iter().max()) {
        let longer =
            format!("{longer} rows ({:.0} %) are longer than {limit}", share(longer, survey.lengths.len()));
        lines.push(field("lengths", format!("half of them up to {median}, the longest {longest}; {longer}")));
    }
    lines.extend(warnings.iter().map(|warning| format!("  warning: {warning}")));
    const SHOWN: usize = 5;
    for (location, fault) in survey.bad.iter().take(SHOWN) {
        lines.push(format!("  {location}: {fault}"));
    }
    if let Some((_, fault)) = survey.bad.first() {
        lines.push(format!("  hint: {}", fault.hint()));
    }
    lines
}

/// A bar for every bin.
fn histogram(bins: &[Bin], columns: usize) -> Vec<String> {
    const LEAST: usize = 10;
    let most = bins.iter().map(|bin| bin.rows).max().unwrap_or(0).max(1);
    let label = |bin: &Bin| match bin.below - 1 {
        last if last == bin.from => last.to_string(),
        last => format!("{}–{last}", bin.from),
    };
    let width = bins.iter().map(|bin| label(bin).chars().count()).max().unwrap_or(0);
    let room = columns.saturating_sub(width + 16).clamp(LEAST, 60);
    let bar = |rows: usize| {
        // Eighths of a column.
        let eighths = (rows * room * 8).div_ceil(most);
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        format!("{}{rest}", "█".repeat(eighths / 8))
    };
    bins.iter().map(|bin| format!("  {:>width$}  {} {}", label(bin), bar(bin.rows), bin.rows)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_round_steps() {
        let found = bins(&[3, 7, 11, 19, 40]);
        assert_eq!((found.len(), found[0].below, found[8].rows), (9, 5, 1));
        assert_eq!(found.iter().map(|bin| bin.rows).sum::<usize>(), 5);
        let wide = bins(&[1, 1999]);
        assert_eq!((wide.len(), wide[9].from, wide[9].below), (10, 1800, 2000));
        assert_eq!(bins(&[830]), [Bin { from: 830, below: 831, rows: 1 }]);
        assert!(bins(&[]).is_empty());
        assert_eq!((quantile(&[5, 1, 9], 0.5), quantile(&[], 0.5)), (Some(5), None));
        let lines = histogram(&found, 40);
        assert!(lines[0].starts_with("    0–4  ██") && lines[1].ends_with(" 1"), "{lines:?}");
    }
}
