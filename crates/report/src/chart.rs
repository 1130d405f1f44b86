//! Charts as SVG.

use crate::curves::Curve;
use crate::format::{exact_bytes, real};
use maud::PreEscaped;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (520, 260);

/// Colours of curves, which stand out from light and dark pages by 3 to 1 and can be told apart there, and by those who see no red or no green.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x2b, 0x7b, 0xba),
    RGBColor(0xd6, 0x74, 0x00),
    RGBColor(0x2a, 0x9d, 0x6f),
    RGBColor(0xb0, 0x4d, 0x9e),
];

/// Stands for the colour of the page's text, which plotters cannot name.
const INK: RGBColor = RGBColor(0x01, 0x02, 0x03);
const INK_TEXT: &str = "#010203";

/// How a curve is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Line,
    /// A line with a dot at every point: there are few.
    Dots,
}

pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) curve: &'a Curve,
    pub(crate) mark: Mark,
}

/// Curves over optimiser steps; `None` where not one has two points.
pub(crate) fn lines(series: &[Series]) -> Option<PreEscaped<String>> {
    let drawn: Vec<_> = series.iter().filter(|series| series.curve.points.len() > 1).collect();
    let points = || drawn.iter().flat_map(|series| &series.curve.points);
    let (x, y) = (range(points().map(|p| p.0))?, padded(range(points().map(|p| p.1))?));
    svg(|area| {
        let mut chart = frame(area, &Axis { title: "step", range: x }, &Axis { title: "", range: y })?;
        for (index, series) in drawn.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let line = LineSeries::new(series.curve.points.iter().copied(), colour.stroke_width(2));
            let drawn_line = chart.draw_series(line)?;
            if drawn.len() > 1 {
                drawn_line.label(series.name).legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2))
                });
            }
            if series.mark == Mark::Dots {
                let dots = series.curve.points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
                chart.draw_series(dots)?;
            }
        }
        if drawn.len() > 1 {
            let mut labels = chart.configure_series_labels();
            labels.position(SeriesLabelPosition::UpperRight).label_font(ink(12)).border_style(TRANSPARENT);
            labels.draw()?;
        }
        Ok(())
    })
}

/// A point of a plane.
pub(crate) struct Dot {
    pub(crate) at: (f64, f64),
    /// Drawn filled, and joined with the others of its kind.
    pub(crate) is_marked: bool,
}

/// Points with the values of `x` and `y`; `None` where there are not two.
pub(crate) fn plane(dots: &[Dot], x: &str, y: &str) -> Option<PreEscaped<String>> {
    let finite = || dots.iter().filter(|dot| dot.at.0.is_finite() && dot.at.1.is_finite());
    if finite().count() < 2 {
        return None;
    }
    let axis = |title, range| Axis { title, range };
    let along = axis(x, padded(range(finite().map(|dot| dot.at.0))?));
    let up = axis(y, padded(range(finite().map(|dot| dot.at.1))?));
    svg(|area| {
        let mut chart = frame(area, &along, &up)?;
        let colour = COLOURS[0];
        let mut marked: Vec<(f64, f64)> = finite().filter(|dot| dot.is_marked).map(|dot| dot.at).collect();
        marked.sort_by(|one, other| one.0.total_cmp(&other.0));
        chart.draw_series(LineSeries::new(marked, colour.mix(0.4).stroke_width(1)))?;
        chart.draw_series(finite().map(|dot| match dot.is_marked {
            true => Circle::new(dot.at, 5, colour.filled()),
            false => Circle::new(dot.at, 5, colour.stroke_width(1)),
        }))?;
        Ok(())
    })
}

struct Axis<'a> {
    title: &'a str,
    range: (f64, f64),
}

impl Axis<'_> {
    fn label(&self, value: f64) -> String {
        if self.title.ends_with("bytes") { exact_bytes(value) } else { real(value) }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn ink(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn frame<'a, 'b>(
    area: &'a Area<'b>,
    along: &Axis,
    up: &Axis,
) -> Result<Chart<'a, 'b>, Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(58)
        .build_cartesian_2d(along.range.0..along.range.1, up.range.0..up.range.1)?;
    let (along_label, up_label) = (|value: &f64| along.label(*value), |value: &f64| up.label(*value));
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(6)
        .y_labels(5)
        .x_desc(along.title)
        .y_desc(up.title)
        .axis_desc_style(ink(12))
        .label_style(ink(12).pos(Pos::new(HPos::Center, VPos::Top)))
        .x_label_formatter(&along_label)
        .y_label_formatter(&up_label)
        .axis_style(INK.mix(0.5))
        .bold_line_style(INK.mix(0.12))
        .light_line_style(TRANSPARENT);
    mesh.draw()?;
    Ok(chart)
}

/// Draws a chart; `None` if plotters cannot, which it can on a text.
fn svg(draw: impl FnOnce(&Area<'_>) -> Drawn) -> Option<PreEscaped<String>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&area).ok()?;
        area.present().ok()?;
    }
    // The size is that of the page's column.
    let (width, height) = SIZE;
    let text = text.replacen(&format!("width=\"{width}\" height=\"{height}\" "), "role=\"img\" ", 1);
    Some(PreEscaped(text.replace(INK_TEXT, "currentColor")))
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// With room around the points, and wider than nothing.
fn padded((low, high): (f64, f64)) -> (f64, f64) {
    let room = match (high - low) * 0.06 {
        room if room > 0.0 => room,
        _ => (high.abs() * 0.05).max(1e-9),
    };
    (low - room, high + room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_an_image_in_the_colours_of_the_page() {
        let curve = Curve { points: vec![(1.0, 2.0), (2.0, 1.5), (3.0, 1.4)] };
        let few = Curve { points: vec![(1.0, 2.5)] };
        let series = |curve| Series { name: "loss", curve, mark: Mark::Dots };
        let PreEscaped(svg) = lines(&[series(&curve), series(&curve)]).expect("a chart");
        assert!(
            svg.starts_with("<svg role=\"img\"") && svg.contains("currentColor") && !svg.contains(INK_TEXT),
            "{svg}"
        );
        assert!(svg.contains("<circle") && svg.contains("polyline"));
        assert!(lines(&[series(&few)]).is_none() && lines(&[]).is_none());
        let flat = Curve { points: vec![(1.0, 2.0), (2.0, 2.0)] };
        assert!(lines(&[series(&flat)]).is_some());
    }
}
