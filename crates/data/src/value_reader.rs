//! From JSON to [`Value`], within the room that there is.

use crate::room::Meter;
use crate::value::Value;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;

/// Keys of an object that are looked through faster than looked up.
const FEW: usize = 32;

/// Reads a value, and takes room for what it holds.
#[derive(Clone, Copy)]
pub(crate) struct ValueReader<'m>(pub(crate) &'m Meter<'m>);

impl ValueReader<'_> {
    fn take<E: de::Error>(self, bytes: usize) -> Result<(), E> {
        self.0.take(bytes).map_err(|_| E::custom("there is no room for it"))
    }
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueReader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        // `datasets` reads what does not fit 64 bits with sign as a float, too.
        Ok(i64::try_from(v).map_or(Value::Float(v as f64), Value::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        self.take(v.len())?;
        Ok(Value::Str(v.to_owned()))
    }

    fn visit_string<E: de::Error>(self, v: String) -> Result<Value, E> {
        self.take(v.len())?;
        Ok(Value::Str(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            self.take(size_of::<Value>())?;
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        // Where the keys of an object that has many of them lie.
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            self.take(key.len() + size_of::<(String, Value)>())?;
            let place = match places.is_empty() {
                true => entries.iter().position(|(k, _)| *k == key),
                false => places.get(&key).copied(),
            };
            if let Some(place) = place {
                entries[place].1 = value;
                continue;
            }
            if !places.is_empty() {
                places.insert(key.clone(), entries.len());
            }
            entries.push((key, value));
            if places.is_empty() && entries.len() > FEW {
                places = entries.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
            }
        }
        Ok(Value::Dict(entries))
    }
}
