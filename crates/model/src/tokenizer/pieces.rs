//! Lists of tokens with kinds and scores, as SentencePiece keeps them and GGUF after it.

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Kinds of tokens; both formats number them alike.
pub(crate) mod kind {
    pub(crate) const NORMAL: usize = 1;
    pub(crate) const UNKNOWN: usize = 2;
    pub(crate) const CONTROL: usize = 3;
    pub(crate) const USER_DEFINED: usize = 4;
    pub(crate) const UNUSED: usize = 5;
}

/// A space in SentencePiece tokens.
pub(crate) const SPACE: &str = "\u{2581}";

/// Tokens in the order of their ids, and the kind of each.
pub(crate) struct Pieces<'a> {
    pub(crate) tokens: Vec<&'a str>,
    pub(crate) kinds: Vec<usize>,
}

impl<'a> Pieces<'a> {
    /// Token to id, without the fillers that only make the matrix larger.
    pub(crate) fn vocabulary(&self) -> Map<String, Value> {
        let filler = |token: &str, kind: usize| kind == kind::UNUSED && token.starts_with("[PAD");
        (self.tokens.iter().zip(&self.kinds).enumerate())
            .filter(|(_, (token, kind))| !filler(token, **kind))
            .map(|(id, (token, _))| ((*token).to_owned(), json!(id)))
            .collect()
    }

    /// `added_tokens`: those that are found in texts before anything else. Some take the space after them along.
    pub(crate) fn added(&self, swallows_space: fn(&str) -> bool) -> Vec<Value> {
        (self.tokens.iter().zip(&self.kinds).enumerate())
            .filter(|(_, (_, kind))| matches!(**kind, kind::UNKNOWN | kind::CONTROL | kind::USER_DEFINED))
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": swallows_space(token), "normalized": false, "special": *kind != kind::USER_DEFINED,
                })
            })
            .collect()
    }

    /// The tokens of this kind.
    pub(crate) fn of_kind(&self, kind: usize) -> Vec<&'a str> {
        self.tokens.iter().zip(&self.kinds).filter(|(_, k)| **k == kind).map(|(token, _)| *token).collect()
    }

    /// SentencePiece's BPE. Its merges follow from the scores, one for every token.
    pub(crate) fn byte_pair_model(&self, scores: &[f32], unknown: Option<&str>) -> Value {
        json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": self.vocabulary(), "merges": self.merges(scores),
        })
    }

    /// Every way to put a token together from two others, best score first: SentencePiece merges the pair whose result
    /// has the highest score. The order among equals is that of transformers' converter.
    fn merges(&self, scores: &[f32]) -> Vec<[&'a str; 2]> {
        let (tokens, kinds) = (&self.tokens, &self.kinds);
        let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (*token, id)).collect();
        let mergeable = |id: usize| matches!(kinds[id], kind::NORMAL | kind::UNUSED | kind::USER_DEFINED);
        let mut merges: Vec<(usize, [&'a str; 2])> = (0..tokens.len())
            .into_par_iter()
            .filter(|&id| mergeable(id))
            .flat_map_iter(|id| {
                let token = tokens[id];
                let parts = token.char_indices().skip(1).filter_map(|(at, _)| {
                    let (left, right) = token.split_at(at);
                    Some((ids.get(left)?, ids.get(right)?, [left, right]))
                });
                let mut parts: Vec<_> = parts.collect();
                parts.sort_by_key(|(left, right, _)| (**left, **right));
                parts.into_iter().map(move |(_, _, pair)| (id, pair)).collect::<Vec<_>>()
            })
            .collect();
        let rank = |&(id, [left, right]): &(usize, [&str; 2])| {
            (scores[id], left.chars().count(), right.chars().count())
        };
        merges.sort_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            b.0.total_cmp(&a.0).then((b.1, b.2).cmp(&(a.1, a.2)))
        });
        merges.into_iter().map(|(_, pair)| pair).collect()
    }
}

/// The two parts of a merge as it is written in files; a part is never empty.
pub(crate) fn split_merge(merge: &str) -> Option<[&str; 2]> {
    let (at, _) = merge.char_indices().skip(1).find(|(_, c)| *c == ' ')?;
    Some([&merge[..at], &merge[at + 1..]]).filter(|[_, second]| !second.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_score_merges_first() {
        let tokens = ["a", "b", "c", "ab", "bc", "abc", "<s>"];
        let kinds = [1, 1, 1, 1, 1, 1, 3];
        let scores = [-10.0, -11.0, -12.0, -2.0, -1.0, -3.0, 0.0];
        let merges = Pieces { tokens: tokens.into(), kinds: kinds.into() }.merges(&scores);
        assert_eq!(merges, [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"]]);
    }

    #[test]
    fn merges_have_two_parts() {
        assert_eq!(split_merge("Ġ t"), Some(["Ġ", "t"]));
        assert_eq!(split_merge("t"), None);
        assert_eq!(split_merge("t "), None);
    }
}
