//! The points of a search, and their numbers.

use super::strategy::SearchStrategy;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use serde_json::{Map, Value as Json};
use std::fmt;

/// A search that is on.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub strategy: SearchStrategy,
    /// One for every entry of `passes`, in the order of the file.
    pub passes: Vec<SearchedPass>,
}

/// What may vary in an entry of `passes`.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchedPass {
    pub name: String,
    /// One, or those of a list.
    pub alternatives: Vec<Alternative>,
}

/// One of the passes that an entry may be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Alternative {
    /// In the order of the documentation.
    pub options: Vec<SearchedOption>,
}

/// An option with several values.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchedOption {
    /// `training_args.learning_rate`.
    pub name: String,
    /// The keys that lead to it in the file.
    pub keys: Vec<String>,
    pub values: Vec<Json>,
}

/// The combinations of some passes' alternatives and values, numbered as in Olive: a number is little-endian in mixed
/// radix, so that the first pass, and in it the first option, changes fastest; the alternatives of a pass come one after
/// the other.
#[derive(Debug, Clone)]
pub struct SearchSpace<'a> {
    passes: Vec<&'a SearchedPass>,
    len: u64,
}

/// One combination.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchPoint {
    pub index: u64,
    pub choices: Vec<PassChoice>,
}

/// What a pass is at a point.
#[derive(Debug, Clone, PartialEq)]
pub struct PassChoice {
    pub pass: String,
    /// Number of the alternative.
    pub alternative: usize,
    pub values: Vec<ChosenValue>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ChosenValue {
    pub option: String,
    /// Number of the value.
    pub position: usize,
    pub value: Json,
}

impl Search {
    /// The space of passes that are searched together, by their numbers in `passes`. `None`: it has more points than
    /// numbers of 64 bits.
    pub fn space(&self, passes: &[usize]) -> Option<SearchSpace<'_>> {
        SearchSpace::new(passes.iter().filter_map(|index| self.passes.get(*index)))
    }

    /// The document of a configuration with the values of a point, and without a search. Passes that the point has not are
    /// their first alternative with its first values.
    pub fn document(&self, document: &Json, choices: &[PassChoice]) -> Json {
        let mut document = document.clone();
        for key in ["/search_strategy", "/engine/search_strategy"] {
            if let Some(strategy) = document.pointer_mut(key) {
                *strategy = Json::Null;
            }
        }
        let Some(Json::Object(entries)) = document.get_mut("passes") else { return document };
        for pass in &self.passes {
            let Some(entry) = entries.get_mut(&pass.name) else { continue };
            let choice = choices.iter().find(|choice| choice.pass == pass.name);
            let number = choice.map_or(0, |choice| choice.alternative);
            if let Json::Array(alternatives) = entry
                && number < alternatives.len()
            {
                *entry = alternatives.swap_remove(number);
            }
            let options = pass.alternatives.get(number).map_or(&[][..], |alternative| &alternative.options);
            for (index, option) in options.iter().enumerate() {
                let chosen = choice.and_then(|choice| choice.values.get(index)).map(|chosen| &chosen.value);
                if let Some(value) = chosen.or(option.values.first()) {
                    put(entry, &option.keys, value);
                }
            }
        }
        document
    }
}

/// Sets what the keys lead to.
fn put(entry: &mut Json, keys: &[String], value: &Json) {
    let place = keys.iter().try_fold(entry, |entry, key| entry.get_mut(key));
    if let Some(place) = place {
        *place = value.clone();
    }
}

impl SearchedPass {
    fn len(&self) -> Option<u64> {
        self.alternatives.iter().try_fold(0_u64, |len, alternative| len.checked_add(alternative.len()?))
    }

    /// `index` is below the number of points.
    fn choice(&self, mut index: u64) -> PassChoice {
        let mut alternative = 0;
        for (number, candidate) in self.alternatives.iter().enumerate() {
            alternative = number;
            match candidate.len() {
                Some(len) if index >= len => index -= len,
                _ => break,
            }
        }
        let options = self.alternatives.get(alternative).map_or(&[][..], |found| &found.options);
        let values = options.iter().map(|option| {
            let len = option.values.len() as u64;
            let position = (index % len) as usize;
            index /= len;
            ChosenValue { option: option.name.clone(), position, value: option.values[position].clone() }
        });
        PassChoice { pass: self.name.clone(), alternative, values: values.collect() }
    }
}

impl Alternative {
    fn len(&self) -> Option<u64> {
        self.options.iter().try_fold(1_u64, |len, option| len.checked_mul(option.values.len() as u64))
    }
}

impl<'a> SearchSpace<'a> {
    /// `None`: there are more points than numbers of 64 bits.
    pub fn new(passes: impl Iterator<Item = &'a SearchedPass>) -> Option<SearchSpace<'a>> {
        let passes: Vec<&SearchedPass> = passes.collect();
        let len = passes.iter().try_fold(1_u64, |len, pass| len.checked_mul(pass.len()?))?;
        Some(SearchSpace { passes, len })
    }

    /// The passes whose values it combines.
    pub fn passes(&self) -> impl Iterator<Item = &'a SearchedPass> {
        self.passes.iter().copied()
    }

    /// Number of the points.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// There is no point: an option has no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The point of a number; `None` beyond the last.
    pub fn point(&self, index: u64) -> Option<SearchPoint> {
        if index >= self.len {
            return None;
        }
        let mut rest = index;
        let choices = self.passes.iter().map(|pass| {
            let len = pass.len()?;
            let choice = pass.choice(rest % len);
            rest /= len;
            Some(choice)
        });
        Some(SearchPoint { index, choices: choices.collect::<Option<_>>()? })
    }
}

/// As Olive writes a point: `{"index": 4, "values": {"lora": [0, {"r": [1, 32]}]}}`.
impl Serialize for SearchPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut point = serializer.serialize_struct("SearchPoint", 2)?;
        point.serialize_field("index", &self.index)?;
        point.serialize_field("values", &Choices(&self.choices))?;
        point.end()
    }
}

struct Choices<'a>(&'a [PassChoice]);

impl Serialize for Choices<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut choices = serializer.serialize_map(Some(self.0.len()))?;
        for choice in self.0 {
            let values: Map<String, Json> = choice
                .values
                .iter()
                .map(|chosen| {
                    (chosen.option.clone(), Json::from(vec![chosen.position.into(), chosen.value.clone()]))
                })
                .collect();
            choices.serialize_entry(&choice.pass, &(choice.alternative, values))?;
        }
        choices.end()
    }
}

/// As Olive's log has a point: `SearchPoint(4, {lora[0]: {r[1]: 32}})`.
impl fmt::Display for SearchPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choices = self.choices.iter().map(|choice| {
            let values = choice.values.iter();
            let values =
                values.map(|chosen| format!("{}[{}]: {}", chosen.option, chosen.position, chosen.value));
            let values = values.collect::<Vec<String>>().join(", ");
            format!("{}[{}]: {{{values}}}", choice.pass, choice.alternative)
        });
        write!(f, "SearchPoint({}, {{{}}})", self.index, choices.collect::<Vec<String>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{ExecutionOrder, Sampler};
    use serde_json::json;

    fn option(name: &str, values: Json) -> SearchedOption {
        let values = values.as_array().expect("a list").clone();
        SearchedOption { name: name.into(), keys: vec![name.into()], values }
    }

    fn pass(name: &str, alternatives: Vec<Vec<SearchedOption>>) -> SearchedPass {
        let alternatives = alternatives.into_iter().map(|options| Alternative { options });
        SearchedPass { name: name.into(), alternatives: alternatives.collect() }
    }

    fn search(passes: Vec<SearchedPass>) -> Search {
        let strategy = SearchStrategy {
            order: ExecutionOrder::Joint,
            sampler: Sampler::Sequential,
            max_samples: None,
            max_iter: None,
            max_time: None,
            stop_when_goals_met: false,
            output_model_num: None,
            include_pass_params: true,
            beam: None,
        };
        Search { strategy, passes }
    }

    fn adapter_and_graph() -> Search {
        let block = option("int4_block_size", json!([32, 64, 128]));
        let symmetric = option("int4_is_symmetric", json!([true, false]));
        search(vec![
            pass("lora", vec![vec![option("r", json!([16, 32, 64]))]]),
            pass("mb", vec![vec![block, symmetric]]),
        ])
    }

    /// Recorded from Olive 0.13.0.
    #[test]
    fn a_number_means_the_point_that_it_means_in_olive() {
        let search = adapter_and_graph();
        let space = search.space(&[0, 1]).expect("a space");
        assert_eq!(space.len(), 18);
        let point = space.point(4).expect("a point");
        assert_eq!(
            point.to_string(),
            "SearchPoint(4, {lora[0]: {r[1]: 32}, mb[0]: {int4_block_size[1]: 64, int4_is_symmetric[0]: true}})"
        );
        let written = json!({"index": 4, "values": {
            "lora": [0, {"r": [1, 32]}],
            "mb": [0, {"int4_block_size": [1, 64], "int4_is_symmetric": [0, true]}]}});
        assert_eq!(serde_json::to_value(&point).expect("JSON"), written);
        assert!(space.point(18).is_none() && search.space(&[1]).expect("a space").len() == 6);
    }

    #[test]
    fn alternatives_lie_one_after_the_other_and_every_point_once() {
        let two = || option("a", json!([1, 2]));
        let alternatives = vec![vec![two(), option("b", json!([1, 2]))], vec![two()], vec![], vec![]];
        let search = search(vec![
            pass("A", alternatives),
            pass("B", vec![vec![two()], vec![]]),
            pass("C", vec![vec![], vec![]]),
        ]);
        let space = search.space(&[0, 1, 2]).expect("a space");
        assert_eq!(space.len(), 48);
        let points: Vec<SearchPoint> = (0..48).filter_map(|index| space.point(index)).collect();
        let first = points.iter().take(8).map(|point| point.choices[0].alternative);
        assert_eq!(first.collect::<Vec<usize>>(), [0, 0, 0, 0, 1, 1, 2, 3]);
        let values =
            |index: usize| points[index].choices[0].values.iter().map(|v| v.position).collect::<Vec<_>>();
        assert_eq!((values(1), values(2), values(5)), (vec![1, 0], vec![0, 1], vec![1]));
        assert_eq!((points[8].choices[1].values[0].position, points[24].choices[2].alternative), (1, 1));
        let mut written: Vec<String> = points.iter().map(|point| format!("{:?}", point.choices)).collect();
        written.sort();
        written.dedup();
        assert_eq!(written.len(), 48);
    }

    #[test]
    fn spaces_beyond_64_bits_have_no_numbers() {
        let many = json!((0..256).collect::<Vec<i32>>());
        let options = (0..9).map(|_| option("o", many.clone())).collect();
        assert!(search(vec![pass("p", vec![options])]).space(&[0]).is_none());
    }

    #[test]
    fn a_point_becomes_a_document_without_lists() {
        let document = json!({"engine": {"search_strategy": true}, "passes": {
            "lora": {"r": [16, 32, 64]},
            "mb": {"int4_block_size": [32, 64, 128], "int4_is_symmetric": "SEARCHABLE_VALUES"}}});
        let search = adapter_and_graph();
        let point = search.space(&[0, 1]).and_then(|space| space.point(4)).expect("a point");
        let expected = json!({"engine": {"search_strategy": null}, "passes": {
            "lora": {"r": 32}, "mb": {"int4_block_size": 64, "int4_is_symmetric": true}}});
        assert_eq!(search.document(&document, &point.choices), expected);
        let first = search.document(&document, &point.choices[..1]);
        assert_eq!(first["passes"]["mb"]["int4_block_size"], 32);
    }
}
