//! Strings that end an answer, wherever tokens begin and end.

/// Holds text back while its end could begin a stop string.
#[derive(Debug)]
pub(crate) struct StopStrings {
    strings: Vec<String>,
    held: String,
}

/// What of the text can be given out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// All up to here; more may follow.
    Text(String),
    /// The last of it: a stop string follows.
    Last(String),
}

impl StopStrings {
    /// None of `strings` is empty.
    pub(crate) fn new(strings: Vec<String>) -> StopStrings {
        StopStrings { strings, held: String::new() }
    }

    /// Takes what was generated. The earliest stop string counts.
    pub(crate) fn push(&mut self, piece: &str) -> Released {
        self.held.push_str(piece);
        if let Some(at) = self.strings.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(at);
            return Released::Last(std::mem::take(&mut self.held));
        }
        let kept = self.strings.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        Released::Text(std::mem::replace(&mut self.held, rest))
    }

    /// What is held back, when nothing more comes.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest end of `text` that `stop` begins with and goes on from.
fn overlap(text: &str, stop: &str) -> usize {
    let most = text.len().min(stop.len() - 1);
    let begins = |len: &usize| stop.is_char_boundary(*len) && text.ends_with(&stop[..*len]);
    (1..=most).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let mut strings = StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = Vec::new();
        for piece in pieces {
            match strings.push(piece) {
                Released::Text(text) => out.push(text),
                Released::Last(text) => {
                    out.push(text);
                    return (out, true);
                }
            }
        }
        out.push(strings.finish());
        (out, false)
    }

    #[test]
    fn a_stop_string_is_found_across_pieces_and_the_earliest_counts() {
        let (text, stopped) = run(&["lo w"], &["hel", "lo", " ", "world"]);
        assert_eq!((text.concat().as_str(), stopped), ("hel", true));
        let (text, stopped) = run(&["world", "wor"], &["hello ", "world"]);
        assert_eq!((text.concat().as_str(), stopped), ("hello ", true));
        let (text, stopped) = run(&["b", "ab"], &["xab"]);
        assert_eq!((text.concat().as_str(), stopped), ("x", true));
    }

    #[test]
    fn only_what_can_match_is_held_back_and_nothing_is_lost() {
        assert_eq!(run(&["###"], &["a", "b#", "#c", "##"]).0, ["a", "b", "##c", "", "##"]);
        assert_eq!(run(&["日本"], &["今日", "は"]).0, ["今", "日は", ""]);
        assert_eq!(run(&[], &["a", "b"]).0, ["a", "b", ""]);
    }

    #[test]
    fn a_stop_string_that_repeats_itself_is_found() {
        let (text, stopped) = run(&["aab"], &["a", "a", "a", "b"]);
        assert_eq!((text.concat().as_str(), stopped), ("a", true));
    }
}
