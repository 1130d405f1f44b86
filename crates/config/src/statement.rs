//! One statement per option: the field of a struct, the row of the table and the reader of the field.

use crate::option::{BOOL, INT, Kind, NUMBER, TEXT, TEXTS};
use crate::values::Setting;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A type of field that an option can have.
pub trait OptionValue: Sized {
    /// The form of the value, where the option does not narrow it.
    const KIND: Kind;

    /// The value. `None`: there is none, and that was said.
    fn read(setting: &Setting) -> Option<Self>;
}

/// Declares a struct of options. Every option is stated once, as a field with its documentation, which is also that of
/// the schema:
///
/// ```ignore
/// options! {
///     #[derive(Debug, Clone, Serialize)]
///     pub struct MyOptions {
///         MY_OPTIONS {
///             /// How much of it.
///             pub amount: usize = at_least(1), was(&["my_amount"]), default("64");
///             /// Which kind; null is the model's.
///             pub flavour as "my_flavour": Option<Flavour>;
///             /// What the target decides.
///             derived provider: String;
///             /// An option of Olive's that is not needed here.
///             - "my_cache" = Kind::Any, ignored("there is no cache");
///         }
///     }
/// }
/// ```
///
/// A field has the option of its name, or of that after `as`. Its kind is that of its type, or that after `=`; then come
/// methods of [`Opt`](crate::option::Opt). A function after `=>` reads the field instead of its type. `derived` fields
/// have no option and begin as `Default`; `nested` ones are another struct of options of the same block. Lines that begin
/// with `-` are options without a field. `MY_OPTIONS` becomes a constant with the rows for a
/// [`Block`](crate::option::Block); there may be several such groups, as fields stand in the order in which they
/// serialise, and rows in that of the documentation. `MyOptions::read` makes the struct of the values of a block.
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($part:ident { $($items:tt)* })+ }
    ) => {
        $crate::options!(
            @munch [$(#[$meta])* pub struct $name] [] [] [] ;
            $(@part $part; $($items)*)+
        );
    };

    // A field and its option.
    (
        @munch $head:tt [$($fields:tt)*] [$($reads:tt)*] [$($parts:tt)*] $part:ident [$($rows:tt)*];
        $(#[doc = $doc:literal])+ $(#[serde $serde:tt])? pub $field:ident $(as $option:literal)? : $type:ty
            $(= $kind:expr)? $(, $how:ident $arguments:tt)* $(=> $read:path)? ;
        $($rest:tt)*
    ) => {
        $crate::options!(
            @munch $head
            [$($fields)* $(#[doc = $doc])+ $(#[serde $serde])? pub $field: $type,]
            [$($reads)* $field = $crate::options!(@name $field $($option)?), $crate::options!(@read $type $(, $read)?);]
            [$($parts)*] $part
            [$($rows)*
                $crate::option::Opt::new(
                    $crate::options!(@name $field $($option)?),
                    $crate::options!(@kind $type $(, $kind)?),
                    $crate::option::doc_line(concat!($($doc),+)),
                )$(.$how $arguments)*,
            ];
            $($rest)*
        );
    };
    // A field without an option.
    (
        @munch $head:tt [$($fields:tt)*] [$($reads:tt)*] [$($parts:tt)*] $part:ident [$($rows:tt)*];
        $(#[doc = $doc:literal])+ $(#[serde $serde:tt])? derived $field:ident : $type:ty ;
        $($rest:tt)*
    ) => {
        $crate::options!(
            @munch $head
            [$($fields)* $(#[doc = $doc])+ $(#[serde $serde])? pub $field: $type,]
            [$($reads)* $field;]
            [$($parts)*] $part [$($rows)*];
            $($rest)*
        );
    };
    // The options of another struct.
    (
        @munch $head:tt [$($fields:tt)*] [$($reads:tt)*] [$($parts:tt)*] $part:ident [$($rows:tt)*];
        $(#[doc = $doc:literal])+ $(#[serde $serde:tt])? nested $field:ident : $type:ty ;
        $($rest:tt)*
    ) => {
        $crate::options!(
            @munch $head
            [$($fields)* $(#[doc = $doc])+ $(#[serde $serde])? pub $field: $type,]
            [$($reads)* $field => $type;]
            [$($parts)*] $part [$($rows)*];
            $($rest)*
        );
    };
    // An option without a field.
    (
        @munch $head:tt $fields:tt $reads:tt $parts:tt $part:ident [$($rows:tt)*];
        $(#[doc = $doc:literal])+ - $option:literal = $kind:expr $(, $how:ident $arguments:tt)* ;
        $($rest:tt)*
    ) => {
        $crate::options!(
            @munch $head $fields $reads $parts $part
            [$($rows)*
                $crate::option::Opt::new(
                    $option,
                    $kind,
                    $crate::option::doc_line(concat!($($doc),+)),
                )$(.$how $arguments)*,
            ];
            $($rest)*
        );
    };
    // The next group.
    (
        @munch $head:tt $fields:tt $reads:tt [$($parts:tt)*] $($done:ident [$($rows:tt)*])?;
        @part $part:ident; $($rest:tt)*
    ) => {
        $crate::options!(
            @munch $head $fields $reads [$($parts)* $($done [$($rows)*])?] $part []; $($rest)*
        );
    };
    // The end.
    (
        @munch [$(#[$meta:meta])* pub struct $name:ident] [$($fields:tt)*]
            [$($field:ident $(= $option:expr, $read:expr)? $(=> $nested:ty)?;)*]
            [$($part:ident [$($rows:tt)*])*] $last:ident [$($last_rows:tt)*];
    ) => {
        $(#[$meta])*
        pub struct $name { $($fields)* }

        $(pub const $part: &[$crate::option::Opt] = &[$($rows)*];)*
        pub const $last: &[$crate::option::Opt] = &[$($last_rows)*];

        impl $name {
            /// The options that a block gives. `None`: one has no value, and that was said.
            pub fn read(values: &$crate::Values) -> Option<$name> {
                Some($name {
                    $($field: $crate::options!(@value values $(, $option, $read)? $(; $nested)?),)*
                })
            }
        }
    };

    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $option:literal) => { $option };
    (@kind $type:ty) => { <$type as $crate::OptionValue>::KIND };
    (@kind $type:ty, $kind:expr) => { $kind };
    (@read $type:ty) => { <$type as $crate::OptionValue>::read };
    (@read $type:ty, $read:path) => { $read };
    (@value $values:ident; $nested:ty) => { <$nested>::read($values)? };
    (@value $values:ident) => { Default::default() };
    (@value $values:ident, $option:expr, $read:expr) => { $read($values.get($option))? };
}

/// Makes an enum that serialises to words the type of an option with a choice: `choice!(Ramp: "linear", "cosine")`.
/// `a|b` gives `b` as another word for `a`.
#[macro_export]
macro_rules! choice {
    ($type:ty: $($word:literal),+ $(,)?) => {
        impl $crate::OptionValue for $type {
            const KIND: $crate::option::Kind = $crate::option::Kind::Choice(&[$($word),+]);

            fn read(setting: &$crate::Setting) -> Option<$type> {
                serde_json::from_value(setting.json.clone()).ok()
            }
        }
    };
}

impl<T: OptionValue> OptionValue for Option<T> {
    const KIND: Kind = T::KIND;

    fn read(setting: &Setting) -> Option<Option<T>> {
        if setting.json.is_null() { Some(None) } else { T::read(setting).map(Some) }
    }
}

impl OptionValue for bool {
    const KIND: Kind = BOOL;

    fn read(setting: &Setting) -> Option<bool> {
        Some(setting.json.as_bool().unwrap_or_default())
    }
}

macro_rules! whole {
    ($($type:ty),+) => {
        $(impl OptionValue for $type {
            const KIND: Kind = INT;

            fn read(setting: &Setting) -> Option<$type> {
                Some(setting.json.as_u64().and_then(|value| value.try_into().ok()).unwrap_or_default())
            }
        })+
    };
}

whole!(u8, u64, usize);

impl OptionValue for f64 {
    const KIND: Kind = NUMBER;

    fn read(setting: &Setting) -> Option<f64> {
        Some(setting.json.as_f64().unwrap_or_default())
    }
}

impl OptionValue for String {
    const KIND: Kind = TEXT;

    fn read(setting: &Setting) -> Option<String> {
        Some(setting.json.as_str().unwrap_or_default().to_owned())
    }
}

impl OptionValue for Vec<String> {
    const KIND: Kind = TEXTS;

    fn read(setting: &Setting) -> Option<Vec<String>> {
        let items = setting.json.as_array().map_or(&[][..], Vec::as_slice);
        Some(items.iter().filter_map(Json::as_str).map(str::to_owned).collect())
    }
}

impl OptionValue for Map<String, Json> {
    const KIND: Kind = Kind::Any;

    fn read(setting: &Setting) -> Option<Map<String, Json>> {
        Some(setting.json.as_object().cloned().unwrap_or_default())
    }
}

impl OptionValue for PathBuf {
    const KIND: Kind = TEXT;

    fn read(setting: &Setting) -> Option<PathBuf> {
        String::read(setting).map(PathBuf::from)
    }
}

impl OptionValue for BTreeMap<String, Json> {
    const KIND: Kind = Kind::Any;

    fn read(setting: &Setting) -> Option<BTreeMap<String, Json>> {
        Some(Map::read(setting)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::fields::Fields;
    use crate::findings::Findings;
    use crate::json;
    use crate::option::{Block, DefaultValue, TEXT, at_least};
    use crate::origin::Era;
    use crate::values::Setting;

    options! {
        #[derive(Debug, PartialEq)]
        pub struct Baking {
            HEAT {
                /// Degrees,
                /// Celsius.
                pub heat as "temperature": usize = at_least(1), was(&["temp"]), default("180");
                /// Whether there is any.
                derived hot: bool;
                /// Nobody asks for it.
                - "timer" = TEXT, quiet();
            }
            DOUGH {
                /// What goes in.
                pub parts: Vec<String> => upper_case;
                /// Who eats it.
                pub guest: Option<String>;
            }
        }
    }

    static BLOCK: Block =
        Block { name: "baking", doc: "", wrapper: None, outer: &[], parts: &[DOUGH, HEAT], open: None };

    fn upper_case(setting: &Setting) -> Option<Vec<String>> {
        let parts: Vec<String> = crate::OptionValue::read(setting)?;
        Some(parts.iter().map(|part| part.to_uppercase()).collect())
    }

    #[test]
    fn a_statement_is_a_field_a_row_and_a_reader() {
        let names: Vec<&str> = BLOCK.options().map(|opt| opt.name).collect();
        assert_eq!(names, ["parts", "guest", "temperature", "timer"]);
        assert_eq!(HEAT[0].doc, "Degrees, Celsius.");
        assert_eq!((HEAT[0].old_names, HEAT[0].new_default), (&["temp"][..], DefaultValue::Json("180")));

        let node = json::parse_value(r#"{"temp": 200, "parts": ["salt", "flour"]}"#).expect("JSON");
        let mut findings = Findings::default();
        let values = Fields::open(&node, "", &BLOCK, &mut findings).resolve(Era::New, &mut findings);
        let parts = vec!["SALT".to_owned(), "FLOUR".to_owned()];
        assert_eq!(Baking::read(&values), Some(Baking { heat: 200, hot: false, parts, guest: None }));
        assert!(findings.none());
    }
}
